"""Text counts wherever a model puts it: in the parts of a message, in its tool calls, in what tools answered."""

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

from conftest import Server
from test_search import assert_index_is_exact, index_now
from test_search_scope import fill

from models.database import connect
from models.migrate import MIGRATIONS, migrate

ADD = """mutation ($input: AddMessagesInput!) { addMessages(input: $input) {
  messages { id sequence content parts toolCalls tokenCount } deduplicated memories { content }
  userErrors { code message path } } }"""
UPDATE = """mutation ($input: UpdateMessageInput!) { updateMessage(input: $input) {
  message { id content parts toolCalls tokenCount version } userErrors { code message path } } }"""
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
    {"type": "of_another_maker", "text": "a zebra"},
    {"text": "a zebra"},
    "a zebra",
]
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
        is_own = part in (SAID[0], SAID[1], SAID[4], SAID[8], SAID[9])
        assert (name in json.dumps(server.graphql(MEMORIES))) == is_own, part


def test_parts_of_an_older_file_are_found_after_its_migration(tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(MIGRATIONS, older, ignore=shutil.ignore_patterns("000[6-9]_*", "__pycache__"))
    path = tmp_path / "recallql.db"
    migrate(path, older)
    part = json.dumps([{"type": "text", "text": "a zebra"}])
    call = json.dumps([{"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"a": "zebra"}'}}])
    rows = [
        {"content": "", "parts": None, "tool_calls": None},
        {"content": "", "parts": part, "tool_calls": None},
        {"content": "Wait.", "parts": None, "tool_calls": call},
    ]
    fill(path, "ada", [*rows, *rows])
    with contextlib.closing(connect(path)) as connection:
        connection.execute(
            "INSERT INTO indexed_projects (project, number) VALUES ('default', 0) ON CONFLICT DO NOTHING"
        )
        connection.execute(
            "INSERT INTO messages_words (rowid, text) SELECT lane * 2147483648 + number, indexed(content) "
            "FROM messages JOIN sessions ON sessions.key = session_key WHERE number <= 3"
        )
        connection.execute("UPDATE indexed_projects SET messages = 3")
        connection.execute("UPDATE indexed SET through = 3 WHERE name = 'messages'")
    server = Server(path)
    try:
        assert_index_is_exact(path)
        answer = server.graphql('{ search(query: "zebra", userId: "ada") { nodes { ... on Message { sequence } } } }')
        assert {node["sequence"] for node in answer["search"]["nodes"]} >= {2, 3, 5, 6}
        index_now(server)
        assert_index_is_exact(path)
    finally:
        server.close()


def test_an_edit_of_parts_or_tool_calls_changes_all_that_was_made_of_them(server: Server) -> None:
    (message,) = add(server, {"messageId": "m", "parts": [{"type": "text", "text": "My name is Ada."}]})
    index_now(server)
    changed = server.accepted(UPDATE, id=message["id"], parts=[{"type": "text", "text": "My name is Bob."}])["message"]
    assert_index_is_exact(server.path)
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
    assert_index_is_exact(server.path)
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
