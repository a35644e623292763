"""Text counts wherever a model puts it: in the parts of a message, in its tool calls, in what tools answered."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import models.parts
from tests.documents import mutation
from tests.places import older_place
from tests.searches import assert_index_is_exact, fill, index_now
from tests.servers import Server

ADD = mutation(
    "addMessages",
    "messages { id sequence content parts toolCalls tokenCount } deduplicated memories { content }",
)
UPDATE = mutation("updateMessage", "message { id content parts toolCalls tokenCount version }")
SEARCH = """query ($asked: String!, $roles: [Role!]) {
  search(query: $asked, scope: [MESSAGES], sessionId: "s", filter: {roles: $roles}, first: 100) {
    edges { score highlight node { ... on Message { sequence } } } } }"""
MEMORIES = '{ session(sessionId: "s") { memories { nodes { content } } } }'


def add(server: Server, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    return server.accepted(ADD, sessionId="s", messages=[{"role": "USER"} | each for each in messages])["messages"]


def tokens(server: Server, **message: Any) -> int:
    return add(server, message)[0]["tokenCount"]


def edges(server: Server, asked: str) -> list[dict[str, Any]]:
    return server.graphql(SEARCH, asked=asked)["search"]["edges"]


def found(server: Server, asked: str) -> list[int]:
    """The sequences of the messages that hold a word, whose highlights must mark it."""
    marked = [edge for edge in edges(server, asked) if edge["highlight"] is not None]
    assert all("<mark>" in edge["highlight"] for edge in marked)
    return [edge["node"]["sequence"] for edge in marked]


SAID = [
    {"type": "text", "text": "a zebra"},
    {"type": "input_text", "text": "a zebra"},
    {"type": "output_text", "text": "a zebra", "annotations": []},
    {"type": "refusal", "refusal": "no zebra"},
    {"type": "text", "text": {"value": "a zebra", "annotations": []}},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a zebra"}]},
    {"type": "output_audio", "data": "UklGR", "transcript": "a zebra"},
    {"type": "audio", "audio": {"id": "audio_1", "transcript": "a zebra"}},
    {"type": "of_another_maker", "text": "a zebra"},
    {"type": "paragraph", "children": [{"text": "a zebra"}]},
    {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "text": "zebra"}]}]},
    {"text": "a zebra"},
    "a zebra",
]
OWN = [SAID[0], SAID[1], SAID[4], *SAID[-2:]]
ASIDE = [
    {"type": "tool_use", "id": "toolu_1", "name": "find", "input": {"animal": "zebra"}},
    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "a zebra"},
    {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "a zebra"}]},
    {"type": "tool_result", "content": [{"type": "tool_result", "content": [{"type": "text", "text": "zebra"}]}]},
    {"type": "function_call", "call_id": "call_1", "name": "find", "arguments": '{"animal": "zebra"}'},
    {"type": "function_call_output", "call_id": "call_1", "output": '{"animal": "zebra"}'},
    {"type": "function_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "a zebra"}]},
    {"type": "custom_tool_call", "call_id": "call_1", "name": "find", "input": "zebra"},
    {"type": "code_interpreter_call", "code": "zebra", "outputs": [{"type": "logs", "logs": "zebra"}]},
    {"type": "web_search_tool_result", "content": [{"type": "web_search_result", "title": "Zebra", "url": "x"}]},
    {"type": "mcp_call", "name": "find", "arguments": "{}", "output": "a zebra"},
    {"type": "tool-call", "toolCallId": "1", "toolName": "find", "input": {"animal": "zebra"}},
    {"type": "tool-result", "toolCallId": "1", "output": {"type": "json", "value": {"animal": "zebra"}}},
    {"type": "tool-invocation", "toolInvocation": {"toolCallId": "1", "toolName": "find", "args": {"a": "zebra"}}},
    {"type": "tool-invocation", "toolInvocation": {"toolCallId": "1", "args": {}, "result": {"animal": "zebra"}}},
    {"type": "functionResponse", "functionResponse": {"name": "find", "response": {"animal": "zebra"}}},
    {"functionCall": {"name": "find", "args": {"animal": "zebra"}}},
    {"functionResponse": {"name": "find", "response": {"result": {"animal": "zebra"}}}},
    {"toolUse": {"toolUseId": "1", "name": "find", "input": {"animal": "zebra"}}},
    {"toolResult": {"toolUseId": "1", "content": [{"json": {"animal": "zebra"}}]}},
    {"type": "thinking", "thinking": "a zebra", "signature": "s"},
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "a zebra"}]},
    {"text": "a zebra", "thought": True},
    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a zebra"}},
    {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "a zebra"}]}},
    {"type": "text-plain", "text": "a zebra", "mime_type": "text/plain"},
    {"type": "document", "document": {"name": "notes", "source": {"text": "a zebra"}}},
    {"type": "resource", "resource": {"uri": "file:///notes", "mimeType": "text/plain", "text": "a zebra"}},
    {"type": "search_result", "source": "https://example.com", "content": [{"type": "text", "text": "a zebra"}]},
    {"reasoningContent": {"reasoningText": {"text": "a zebra", "signature": "s"}}},
]


def test_text_in_a_part_counts_tokens_and_is_found(server: Server) -> None:
    empty = tokens(server, role="ASSISTANT", content="")
    for number, part in enumerate(SAID + ASIDE):
        alone = tokens(server, role="ASSISTANT", parts=part)
        beside = tokens(server, role="ASSISTANT", content="Look there.", parts=[part, part])
        assert empty < alone < beside, part
        assert {2 * number + 2, 2 * number + 3} <= set(found(server, "zebra")), part


def test_only_plain_text_of_the_user_forms_memories(server: Server) -> None:
    for number, part in enumerate(SAID + ASIDE):
        name = f"Ada{chr(97 + number)}"
        named = json.dumps(part).replace("a zebra", f"My name is {name}.").replace('"zebra"', f'"My name is {name}."')
        add(server, {"parts": [json.loads(named)]}, {"role": "ASSISTANT", "parts": [json.loads(named)]})
        is_own = part in OWN
        assert (name in json.dumps(server.graphql(MEMORIES))) == is_own, part


@pytest.mark.sqlite
def test_parts_of_an_older_file_are_found_after_its_migration(tmp_path: Path) -> None:
    place = older_place(tmp_path, "0005")
    part = json.dumps([{"type": "text", "text": "a zebra"}])
    call = json.dumps([{"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"a": "zebra"}'}}])
    rows = [
        {"content": "", "parts": None, "tool_calls": None},
        {"content": "", "parts": part, "tool_calls": None},
        {"content": "Wait.", "parts": None, "tool_calls": call},
    ]
    fill(place, "ada", [*rows, *rows])
    place.query("INSERT INTO indexed_projects (project, number) VALUES ('default', 0) ON CONFLICT DO NOTHING")
    place.query(
        "INSERT INTO messages_words (rowid, text) SELECT lane * 2147483648 + number, indexed(content) "
        "FROM messages JOIN sessions ON sessions.key = session_key WHERE number <= 3"
    )
    place.query("UPDATE indexed_projects SET messages = 3")
    place.query("UPDATE indexed SET through = 3 WHERE name = 'messages'")
    server = Server(place)
    try:
        assert_index_is_exact(place)
        answer = server.graphql('{ search(query: "zebra", userId: "ada") { nodes { ... on Message { sequence } } } }')
        assert {node["sequence"] for node in answer["search"]["nodes"]} >= {2, 3, 5, 6}
        index_now(server)
        assert_index_is_exact(place)
    finally:
        server.close()


def test_an_edit_of_parts_or_tool_calls_changes_all_that_was_made_of_them(server: Server) -> None:
    (message,) = add(server, {"messageId": "m", "parts": [{"type": "text", "text": "My name is Ada."}]})
    index_now(server)
    changed = server.accepted(UPDATE, id=message["id"], parts=[{"type": "text", "text": "My name is Bob."}])["message"]
    assert_index_is_exact(server.place)
    assert changed["version"] == 2
    assert (found(server, "Ada"), found(server, "Bob")) == ([], [1])
    assert [node["content"] for node in server.graphql(MEMORIES)["session"]["memories"]["nodes"]] != []
    assert "Ada" not in json.dumps(server.graphql(MEMORIES))
    called = server.accepted(UPDATE, id=message["id"], toolCalls=[{"function": {"name": "greet"}}])["message"]
    assert called["tokenCount"] > changed["tokenCount"]
    assert found(server, "greet") == [1]
    cleared = server.accepted(UPDATE, id=message["id"], parts=None, toolCalls=None, content="Nothing.")["message"]
    assert (cleared["parts"], cleared["toolCalls"], cleared["version"]) == (None, None, 4)
    assert (found(server, "Bob"), found(server, "greet"), found(server, "nothing")) == ([], [], [1])
    assert_index_is_exact(server.place)
    # A retry is compared with what was first sent.
    first = {"messageId": "m", "role": "USER", "parts": [{"type": "text", "text": "My name is Ada."}]}
    assert server.accepted(ADD, sessionId="s", messages=[first])["deduplicated"] == 1
    other = {"messageId": "m", "role": "USER", "parts": [{"type": "text", "text": "My name is Bob."}]}
    assert server.refused(ADD, sessionId="s", messages=[other])["code"] == "CONFLICT"


def test_an_edit_that_changes_nothing_keeps_the_version(server: Server) -> None:
    parts = [{"type": "text", "text": "Hello", "n": 1}]
    (message,) = add(server, {"parts": parts, "toolCalls": []})
    same = server.accepted(UPDATE, id=message["id"], parts=[{"n": 1.0, "text": "Hello", "type": "text"}], toolCalls=[])
    assert (same["message"]["version"], same["message"]["parts"]) == (1, parts)


def scores(server: Server, asked: str) -> dict[int, float]:
    return {edge["node"]["sequence"]: edge["score"] for edge in edges(server, asked)}


ANSWER = "The parcel to Oslo is under way."


@pytest.mark.parametrize("indexed", [False, True])
def test_what_people_say_is_found_before_what_tools_are_given_and_answer(
    server: Server, indexed: bool, request: pytest.FixtureRequest
) -> None:
    often = " ".join([ANSWER] * 20)
    apart = [{"role": "ASSISTANT", "content": "Let me see."}] * 5
    call = [{"id": "1", "type": "function", "function": {"name": "find", "arguments": json.dumps({"what": ANSWER})}}]
    asides: list[dict[str, Any]] = [
        {"role": "ASSISTANT", "content": "", "toolCalls": call},
        {"role": "TOOL", "toolCallId": "1", "content": ANSWER},
        {"role": "TOOL", "toolCallId": "1", "content": often},
        {"role": "FUNCTION", "content": ANSWER},
        {"role": "USER", "parts": [{"type": "tool_result", "tool_use_id": "1", "content": often}]},
        {"role": "TOOL", "toolCallId": "1", "parts": [{"type": "text", "text": ANSWER}]},
        {"role": "ASSISTANT", "parts": [{"type": "thinking", "thinking": ANSWER}]},
    ]
    for aside in asides:
        add(server, aside, *apart)
    said = [{"content": ANSWER}, {"parts": [{"type": "text", "text": ANSWER}]}]
    for message in said:
        add(server, message, *apart)
    if indexed:
        index_now(server)
        request.getfixturevalue("through_index")
    found = scores(server, "parcel Oslo")
    places = [number * 6 + 1 for number in range(len(asides) + len(said))]
    assert set(places) <= found.keys()
    spoken = places[len(asides) :]
    assert max(found[place] for place in places[: len(asides)]) < min(found[place] for place in spoken)


def test_a_question_is_found_before_the_calls_that_it_led_to(server: Server) -> None:
    turns: list[dict[str, Any]] = [
        {"content": "Could you please look up for me how warm it is going to be in Porto on the coming weekend?"},
        {
            "role": "ASSISTANT",
            "parts": [{"type": "tool_use", "id": "1", "name": "weather", "input": {"city": "Porto"}}],
        },
        {"role": "TOOL", "toolCallId": "1", "content": '{"city": "Porto", "degrees": 22}'},
        {"role": "ASSISTANT", "content": "Porto will be mild."},
    ]
    add(server, *turns)
    ranked = sorted(scores(server, "Porto").items(), key=lambda found: -found[1])
    assert {sequence for sequence, _ in ranked[:2]} == {1, 4}


def test_a_highlight_shows_the_part_of_the_text_that_answers(server: Server) -> None:
    filler = "nothing of interest " * 100
    add(
        server,
        {"content": filler, "parts": [{"type": "text", "text": f"{filler} the zebra <crossed> {filler}"}]},
        {"role": "ASSISTANT", "toolCalls": [{"function": {"name": "find", "arguments": '{"animal": "Okapi & co"}'}}]},
    )
    (edge,) = [edge for edge in edges(server, "zebra") if edge["highlight"]]
    assert "the <mark>zebra</mark> &lt;crossed&gt;" in edge["highlight"]
    (edge,) = [edge for edge in edges(server, "okapi") if edge["highlight"]]
    assert edge["highlight"] == "find animal: <mark>Okapi</mark> &amp; co"


def test_ids_addresses_and_encoded_bytes_are_no_text(server: Server) -> None:
    blob = "zebra" * 100
    wrapped = "\n".join([blob[:76]] * 6)
    quiet: list[Any] = [
        {"type": "image_url", "image_url": {"url": "https://example.com/zebra"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "zebra"}},
        {"type": "input_audio", "input_audio": {"data": "zebra", "format": "zebra"}},
        {"type": "file", "file": {"file_id": "zebra", "filename": "zebra"}},
        {"type": "tool_result", "tool_use_id": "zebra", "content": blob},
        {"type": "tool_result", "content": [{"type": "image", "source": {"type": "base64", "data": "zebra"}}]},
        {"type": "tool_result", "content": f"data:image/png;base64,{blob}"},
        {"type": "tool_use", "id": "zebra", "name": "show", "input": {"picture": wrapped}},
        {"type": "redacted_thinking", "data": "zebra"},
        {"type": "thinking", "thinking": "hm", "signature": "zebra"},
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "zebra"}}},
        {"type": "resource", "resource": {"uri": "file:///zebra", "text": "hm"}},
        {"type": "reasoning", "id": "zebra", "summary": [], "encrypted_content": "zebra"},
        {"type": "text", "text": "Hello", "annotations": [{"url": "zebra"}], "cache_control": {"type": "zebra"}},
        {"inlineData": {"mimeType": "image/zebra", "data": "zebra"}},
        {"image": {"format": "zebra", "source": {"bytes": "zebra"}}},
    ]
    add(server, *({"role": "ASSISTANT", "parts": [part]} for part in quiet))
    add(server, {"role": "ASSISTANT", "toolCalls": [{"id": "zebra", "function": {"name": "f", "arguments": "{}"}}]})
    assert found(server, "zebra") == []


def test_images_sounds_and_files_count_tokens_by_the_stated_rule(server: Server) -> None:
    empty = tokens(server, parts=[])
    media: list[tuple[Any, int]] = [
        ({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, 1000),
        ({"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}}, 85),
        ({"type": "input_image", "image_url": "https://example.com/a.png", "detail": "low"}, 85),
        ({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}, 1000),
        ({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}, 500),
        ({"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}, 5000),
        ({"type": "file", "file": {"file_id": "f"}}, 2000),
        ({"type": "input_file", "file_id": "f"}, 2000),
        ({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}}, 2000),
        ({"type": "file", "mediaType": "image/png", "url": "https://example.com/a.png"}, 1000),
        ({"inlineData": {"mimeType": "audio/wav", "data": "UklGRg=="}}, 500),
        ({"image": {"format": "png", "source": {"bytes": "iVBO"}}}, 1000),
        ({"type": "tool_result", "tool_use_id": "1", "content": [{"type": "image", "source": {}}]}, 1000),
    ]
    for part, expected in media:
        assert tokens(server, parts=[part]) - empty == expected, part
        assert tokens(server, parts=part) - empty == expected, part
    assert tokens(server, parts=[media[0][0]], tokenCount=7) == 7


CONTEXT = '{ session(sessionId: "s") { context(maxTokens: 900, overflow: ERROR) { tokenCount } } }'


@pytest.mark.parametrize("part", [{"type": "image", "source": {}}, {"type": "text", "text": "word " * 1000}])
def test_parts_count_where_a_context_may_not_overflow(server: Server, part: dict[str, Any]) -> None:
    add(server, {"parts": [{"type": "text", "text": "Hello"}]})
    assert server.graphql(CONTEXT)
    add(server, {"parts": [part]})
    (error,) = server.errors(CONTEXT)
    assert error["extensions"]["code"] == "CONTEXT_OVERFLOW"


def test_a_text_that_stands_in_the_content_and_in_the_parts_counts_once(server: Server) -> None:
    text = "The zebra crossed the road this morning."
    once = tokens(server, content=text)
    assert tokens(server, content=text, parts=[{"type": "text", "text": text}]) == once
    pieces = [{"type": "text", "text": text[:9]}, {"type": "text", "text": text[9:]}]
    assert tokens(server, content=text, parts=pieces) == once
    assert tokens(server, content=text, parts=[{"type": "text", "text": f"{text} Twice."}]) > once


def test_calls_that_stand_in_the_parts_and_in_tool_calls_count_once(server: Server) -> None:
    block = {"type": "tool_use", "id": "1", "name": "find", "input": {"animal": "zebra"}}
    call = {"name": "find", "args": {"animal": "zebra"}, "id": "1", "type": "tool_call"}
    once = tokens(server, role="ASSISTANT", content="Wait.", toolCalls=[call])
    assert tokens(server, role="ASSISTANT", content="Wait.", toolCalls=[call], parts=[block]) == once
    assert tokens(server, role="ASSISTANT", content="Wait.", toolCalls=[call], parts=[block | {"id": "2"}]) > once


def test_a_users_words_are_summarised_and_shown_to_a_model_in_parts_too(server: Server) -> None:
    subjects = ("garden", "harbour", "market", "library", "station", "theatre")
    turns = [
        {"parts": [{"type": "input_text", "text": f"We met at the {place} and talked about the {place} plan."}]}
        for place in subjects
    ]
    add(server, *turns)
    end = 'mutation { endSession(input: {sessionId: "s"}) { session { summary { content method } } } }'
    summary = server.graphql(end)["endSession"]["session"]["summary"]
    assert summary["method"] == "EXTRACTIVE"
    assert "talked about the" in summary["content"]


def test_large_parts_are_read_outside_the_event_loop(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[str] = set()

    def watched(text: str) -> str:
        threads.add(threading.current_thread().name)
        return spelled(text)

    spelled = models.parts._spelled
    monkeypatch.setattr(models.parts, "_spelled", watched)
    part = {"type": "tool_result", "content": json.dumps({f"key {n}": [n] for n in range(3000)})}
    add(server, *[{"role": "ASSISTANT", "parts": [part], "toolCalls": [part]}] * 20)
    assert threads
    assert not any(name.startswith(("uvicorn", "recallql-writer")) for name in threads), threads


@pytest.mark.parametrize(
    "hostile",
    [
        "[" * 60_000,
        '{"a":' * 8_000,
        "a" * 60_000 + "!",
        "a " * 30_000 + "!",
        "data:" + "a" * 60_000,
        json.dumps({str(n): n for n in range(4000)}),
    ],
    ids=lambda text: text[:6],
)
def test_hostile_texts_in_answers_of_tools_are_kept_as_they_are(server: Server, hostile: str) -> None:
    started = time.process_time()
    add(server, {"parts": [{"type": "tool_result", "content": hostile}]}, {"toolCalls": [{"arguments": hostile}]})
    assert time.process_time() - started < 2


def test_many_levels_are_looked_into(server: Server) -> None:
    part: dict[str, Any] = {"type": "text", "text": "a zebra"}
    for _ in range(15):
        part = {"type": "tool_result", "content": [part]}
    add(server, {"parts": part})
    assert found(server, "zebra") == [1]
    part = {"type": "tool_result", "content": [part]}
    assert server.refused(ADD, sessionId="s", messages=[{"role": "USER", "parts": part}])["code"] == "TOO_LARGE"
