"""`recallql import --from`: the files of other systems, with samples in `tests/importing`."""

import json
import signal
import sqlite3
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import recallql.importing.reading as reading
from models.errors import DataError
from recallql.commands.archive import check_file
from recallql.commands.cli import System
from recallql.importing.source import Source
from recallql.importing.translating import name_of, translated
from tests.archives import Command, counts, said, serving
from tests.commands import begin
from tests.places import Fresh, Place
from tests.postgres_places import PostgresPlace, PostgresPlaces
from tests.servers import Server, wait_until

FOLDER = Path(__file__).parent / "importing"
SAMPLES = {path.name.partition(".")[0]: path for path in sorted(FOLDER.iterdir())}
OPTIONS: dict[str, tuple[str, ...]] = {
    "chatgpt": ("--user", "zoe"),
    "letta": ("--user", "zoe"),
    "honcho": ("--project", "default"),
}

SESSION = """query ($sessionId: String!) { session(sessionId: $sessionId) {
    title situation metadata createdAt endedAt lastActivityAt tokenBudget contextOverflow
    user { userId } agent { agentId name instructions model }
    messages(first: 100) { nodes {
        messageId role name content parts toolCalls toolCallId metadata tokenCount createdAt } }
    memories(filter: {history: true}) { nodes { memoryId kind content method } } } }"""

USER = """query ($userId: String!) { user(userId: $userId) { name email about metadata createdAt
    memories(first: 100, filter: {history: true, methods: [DECLARED]}) {
        nodes { memoryId kind content rating validFrom expiresAt metadata createdAt } }
    documents(first: 100) { nodes { documentId title content metadata } } } }"""


def session_of(server: Server, session_id: str) -> dict[str, Any]:
    found = server.graphql(SESSION, sessionId=session_id)["session"]
    return {**found, "messages": found["messages"]["nodes"], "memories": found["memories"]["nodes"]}


def user_of(server: Server, user_id: str) -> dict[str, Any]:
    found = server.graphql(USER, userId=user_id)["user"]
    memories = sorted(found["memories"]["nodes"], key=lambda memory: memory["memoryId"] or "")
    return {**found, "memories": memories, "documents": found["documents"]["nodes"]}


def chosen(values: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(value[name] for name in names) for value in values]


@pytest.fixture
def imported(place: Place, command: Command, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server on what was imported of the sample that the test names."""
    system = request.param
    done = command("import", "--from", system, SAMPLES[system], *OPTIONS.get(system, ()), *place.option)
    assert done.status == 0, done.err
    with serving(place) as running:
        yield running


def of_sample(system: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("imported", [system], indirect=True)


@of_sample("openai")
def test_threads_and_conversations_of_openai_come_in_the_order_of_their_times(imported: Server) -> None:
    thread = session_of(imported, "thread_abc")
    assert chosen(thread["messages"], "messageId", "role", "content", "createdAt", "metadata") == [
        ("msg_1", "USER", "I live in Lyon.", "2023-11-03T12:03:20Z", {"mood": "good"}),
        ("msg_2", "ASSISTANT", "Lyon has two rivers【1】.", "2023-11-03T12:03:25Z", {}),
    ]
    assert thread["messages"][0]["parts"][1]["image_file"] == {"file_id": "file-2", "detail": "low"}
    assert thread["messages"][1]["parts"][0]["text"]["annotations"][0]["file_citation"] == {"file_id": "file-1"}
    assert thread["user"] == {"userId": "zoe"}
    assert thread["agent"]["agentId"] == "asst_guide"
    assert thread["metadata"] == {"user_id": "zoe", "topic": "move"}
    assert (thread["createdAt"], thread["lastActivityAt"]) == ("2023-11-03T12:02:29Z", "2023-11-03T12:03:25Z")
    assert chosen(thread["memories"], "content", "method") == [("I live in Lyon", "RULE")]
    assert session_of(imported, "thread_def")["user"] is None
    items = session_of(imported, "conv_1")["messages"]
    assert chosen(items, "role", "content", "toolCallId") == [
        ("USER", "What is the weather in Lyon?", None),
        ("ASSISTANT", "", None),
        ("ASSISTANT", "", None),
        ("TOOL", "", "call_1"),
        ("ASSISTANT", "It is warm.", None),
    ]
    assert items[2]["parts"][0]["arguments"] == '{"city": "Lyon"}'


@of_sample("mem0")
def test_memories_of_mem0_become_facts_of_their_owners(imported: Server) -> None:
    zoe = user_of(imported, "zoe")["memories"]
    assert chosen(zoe, "memoryId", "kind", "content", "createdAt", "expiresAt") == [
        ("8a1f0c1e-0001", "FACT", "Zoe lives in Lyon.", "2024-07-20T08:30:36.275141Z", None),
        ("8a1f0c1e-0002", "FACT", "Zoe wants a quiet room.", "2024-07-21T08:00:00Z", "2035-01-31T00:00:00Z"),
    ]
    assert zoe[0]["metadata"] == {"topic": "home", "categories": ["personal_details"], "app_id": "travel"}
    assert zoe[1]["metadata"] == {"actor_id": "zoe", "role": "user", "agent_id": "guide"}
    trip = session_of(imported, "trip-1")
    assert (trip["user"], trip["agent"]["agentId"]) == ({"userId": "zoe"}, "guide")
    assert chosen(trip["memories"], "memoryId") == [("8a1f0c1e-0002",)]
    # The session of the same run is another user's.
    assert chosen(user_of(imported, "ben")["memories"], "content", "metadata") == [
        ("Ben likes trains.", {"run_id": "trip-1"})
    ]
    of_agent = 'query { agent(agentId: "guide") { memories { nodes { content } } } }'
    assert imported.graphql(of_agent)["agent"]["memories"]["nodes"] == [{"content": "Tours start at nine."}]


@of_sample("chatgpt")
def test_a_conversation_of_chatgpt_is_the_branch_that_was_shown_last(imported: Server) -> None:
    shown = session_of(imported, "c1")
    assert chosen(shown["messages"], "messageId", "role", "name", "content", "createdAt", "toolCallId") == [
        ("ctx", "SYSTEM", None, "I live in Turin.\nBe brief.", "2023-11-14T22:13:20.500000Z", None),
        ("n1", "USER", None, "Which bridge is this?", "2023-11-14T22:13:21.125000Z", None),
        ("n2", "ASSISTANT", None, "", "2023-11-14T22:13:40Z", None),
        ("n3", "ASSISTANT", None, "", "2023-11-14T22:13:41Z", None),
        # Its clock said that it came before the call that it answers.
        ("n4", "TOOL", "python", "3\n", "2023-11-14T22:13:41Z", "n3"),
        ("n5", "ASSISTANT", None, "It is the Pont Bonaparte.", "2023-11-14T22:13:45Z", None),
        ("n6", "USER", None, "I prefer trains.", "2023-11-14T22:26:40Z", None),
        ("n7", "ASSISTANT", None, "Then take the TGV.", "2023-11-14T22:26:50Z", None),
    ]
    messages = {message["messageId"]: message for message in shown["messages"]}
    assert messages["n1"]["parts"][0]["asset_pointer"] == "file-service://file-1"
    assert messages["n2"]["parts"][0]["summary"] == "Looking"
    assert messages["n3"]["toolCalls"][0]["function"] == {"name": "python", "arguments": "print(3)"}
    assert messages["n5"]["metadata"] == {"model_slug": "gpt-4o"}
    assert (shown["title"], shown["metadata"]) == ("A weekend in Lyon", {"model": "gpt-4o"})
    assert (shown["user"], shown["agent"]["agentId"]) == ({"userId": "zoe"}, "g-guide")
    # What the account tells the model is not said by the user in this conversation.
    assert chosen(shown["memories"], "content") == [("I prefer trains",)]


def test_other_branches_are_sessions_of_their_own_on_request(place: Place, command: Command) -> None:
    sample = SAMPLES["chatgpt"]
    one = command("import", "--from", "chatgpt", sample, *place.option)
    assert "1 messages of other branches (--branches all imports them)" in one.out
    both = command("import", "--from", "chatgpt", "--branches", "all", sample, *place.option)
    assert both.out.startswith("imported 1 session, 3 messages; 10 were there already\n")
    assert "branches" not in both.out
    with serving(place) as server:
        other = session_of(server, "c1:n2b")
    assert chosen(other["messages"], "messageId") == [("ctx",), ("n1",), ("n2b",)]
    assert other["metadata"] == {"model": "gpt-4o", "branchOf": "c1"}


@of_sample("chats")
def test_chats_in_the_form_of_chat_messages_are_imported(imported: Server) -> None:
    tour = session_of(imported, "tour-1")
    assert chosen(tour["messages"], "role", "content", "toolCallId") == [
        ("SYSTEM", "You are a guide.", None),
        ("USER", "I live in Lyon.", None),
        ("ASSISTANT", "", None),
        ("TOOL", "21 degrees", "call_1"),
        ("ASSISTANT", "It is warm.", None),
    ]
    assert tour["messages"][1]["createdAt"] == "2024-05-01T08:00:00Z"
    assert tour["messages"][2]["toolCalls"][0]["id"] == "call_1"
    assert (tour["title"], tour["user"]) == ("A tour", {"userId": "zoe"})
    desk = session_of(imported, "desk")
    assert chosen(desk["messages"], "messageId", "content") == [("m1", "Is anybody there?"), ("m2", "Yes.")]
    assert desk["lastActivityAt"] == "2024-05-01T08:00:01.500000Z"
    sessions = imported.graphql("{ sessions { nodes { sessionId messages { nodes { role content } } } } }")
    [nameless] = [each for each in sessions["sessions"]["nodes"] if each["sessionId"].startswith("chat-")]
    assert chosen(nameless["messages"]["nodes"], "role", "content") == [
        ("USER", "Hello."),
        ("ASSISTANT", "Hello, too."),
    ]


@of_sample("zep")
def test_sessions_and_facts_of_zep_are_imported(imported: Server) -> None:
    zoe = user_of(imported, "zoe")
    assert (zoe["name"], zoe["email"], zoe["metadata"]) == ("Zoe Bell", "zoe@example.org", {"plan": "pro"})
    assert chosen(zoe["memories"], "memoryId", "kind", "content", "rating") == [
        (None, "FACT", "Zoe moved by train.", None),
        ("77b2", "SUMMARY", "Zoe told of her move.", None),
        ("9a1e", "FACT", "Zoe lives in Lyon.", 0.9),
    ]
    session = session_of(imported, "z1")
    assert chosen(session["messages"], "messageId", "role", "name", "content", "metadata", "createdAt") == [
        ("5f0c", "USER", "Zoe", "I moved to Lyon.", {"seen": True}, "2024-01-02T10:00:00Z"),
        ("5f0d", "ASSISTANT", "Travel bot", "How do you like it there?", {}, "2024-01-02T10:00:05Z"),
        ("5f0e", "USER", "Moderator", "Welcome.", {}, "2024-01-02T10:00:06Z"),
    ]
    assert session["messages"][0]["tokenCount"] == 5
    assert (session["endedAt"], session["metadata"]) == ("2024-01-03T00:00:00Z", {"topic": "move"})
    # The facts came along: no rule formed them again.
    assert {memory["method"] for memory in session["memories"]} == {"DECLARED"}
    thread = session_of(imported, "t1")
    assert chosen(thread["messages"], "role", "name", "content") == [("USER", "Ben", "I like trains.")]
    [edge] = user_of(imported, "ben")["memories"]
    assert (edge["content"], edge["validFrom"]) == ("Ben likes trains.", "2025-06-01T00:00:01Z")
    assert edge["metadata"] == {"name": "LIKES", "attributes": {"strength": 2}}


@of_sample("julep")
def test_users_agents_docs_and_entries_of_julep_are_imported(imported: Server) -> None:
    user = user_of(imported, "0190-user")
    assert (user["name"], user["about"], user["metadata"]) == ("Zoe", "Likes rivers.", {"plan": "pro"})
    assert user["documents"] == [
        {
            "documentId": "0190-doc1",
            "title": "Lyon",
            "content": "The Rhône flows through Lyon.",
            "metadata": {"lang": "en"},
        }
    ]
    session = session_of(imported, "0190-session")
    assert session["agent"] == {
        "agentId": "0190-agent",
        "name": "Guide",
        "instructions": "Be kind.\nBe brief.",
        "model": "gpt-4o",
    }
    assert (session["situation"], session["tokenBudget"], session["contextOverflow"]) == ("A tour.", 2000, "TRUNCATE")
    assert chosen(session["messages"], "messageId", "role", "content", "toolCallId", "createdAt") == [
        ("e1", "USER", "Where is the river?", None, "2024-11-03T00:00:00.500000Z"),
        ("e2", "ASSISTANT", "", None, "2024-11-03T00:00:01Z"),
        ("e3", "FUNCTION", '{"river":"Rhône"}', "call_1", "2024-11-03T00:00:02Z"),
        ("e4", "ASSISTANT", "To the east.", None, "2024-11-03T00:00:03Z"),
    ]
    assert session["messages"][1]["toolCalls"][0]["function"]["name"] == "map"
    assert {memory["content"] for memory in session["memories"]} == {
        "They spoke of the river.",
        "Zoe asked for the river.",
    }
    docs = 'query { agent(agentId: "0190-agent") { documents { nodes { content } } } }'
    assert imported.graphql(docs)["agent"]["documents"]["nodes"] == [
        {"content": "Lyon lies on two rivers.\n\nTurin on one."}
    ]


@of_sample("langgraph")
def test_items_threads_and_histories_of_langgraph_and_langchain_are_imported(imported: Server) -> None:
    memories = {memory["memoryId"]: memory for memory in user_of(imported, "zoe")["memories"]}
    assert memories["memories/zoe/home"]["content"] == "Zoe lives in Lyon."
    assert memories["memories/zoe/home"]["createdAt"] == "2025-01-01T10:00:00.123456Z"
    assert memories["memories/zoe/home"]["metadata"] == {
        "namespace": ["memories", "zoe"],
        "key": "home",
        "confidence": 0.9,
    }
    assert memories["zoe/memories/k2"]["content"] == "Zoe likes rivers."
    assert memories["users/zoe/profile/diet"]["content"] == '{"vegan":true}'
    thread = session_of(imported, "th-1")
    assert thread["user"] == {"userId": "zoe"}
    assert chosen(thread["messages"], "messageId", "role", "content", "toolCallId") == [
        ("lc-1", "USER", "I moved to Lyon.", None),
        ("lc-2", "ASSISTANT", "I look it up.", None),
        ("lc-3", "TOOL", "21 degrees", "tu_1"),
    ]
    assert thread["messages"][1]["toolCalls"][0]["args"] == {"city": "Lyon"}
    assert thread["messages"][1]["metadata"] == {"response_metadata": {"model_name": "claude"}}
    history = session_of(imported, "h-1")["messages"]
    assert chosen(history, "role", "name", "content") == [
        ("USER", None, "Hello."),
        ("ASSISTANT", None, ""),
        ("USER", "Ben", "I am Ben."),
    ]
    assert history[1]["toolCalls"] == [{"type": "function", "function": {"name": "greet", "arguments": "{}"}}]
    assert chosen(session_of(imported, "h-2")["messages"], "role", "content") == [("USER", "From a row.")]
    # A list of messages is a session of the file's name.
    assert chosen(session_of(imported, "langgraph")["messages"], "role", "content") == [("SYSTEM", "Be brief.")]


@of_sample("honcho")
def test_peers_sessions_and_conclusions_of_honcho_are_imported(imported: Server) -> None:
    session = session_of(imported, "z1")
    assert (session["user"], session["agent"]["agentId"]) == ({"userId": "zoe"}, "guide")
    assert (session["metadata"], session["lastActivityAt"]) == ({"topic": "tour"}, "2025-09-02T00:00:03Z")
    assert chosen(session["messages"], "messageId", "role", "name", "content") == [
        ("m1", "USER", "zoe", "I live in Lyon."),
        ("m2", "ASSISTANT", "guide", "Shall we walk?"),
        ("m3", "USER", "ben", "I come, too."),
    ]
    memories = user_of(imported, "zoe")["memories"]
    assert {(memory["kind"], memory["content"]) for memory in memories} == {
        ("FACT", "Zoe lives in Lyon."),
        ("SUMMARY", "Name: Zoe\nLives in Lyon"),
        ("SUMMARY", "Zoe asked for a tour."),
    }
    assert user_of(imported, "zoe")["metadata"] == {"plan": "team"}


def test_a_workspace_of_honcho_is_a_project(place: Place, command: Command) -> None:
    assert command("import", "--from", "honcho", SAMPLES["honcho"], *place.option).status == 0
    assert {row[0] for row in place.query("SELECT project FROM users")} == {"travel"}


@of_sample("letta")
def test_agents_blocks_and_messages_of_letta_are_imported(imported: Server) -> None:
    session = session_of(imported, "Sam")
    assert session["agent"] == {
        "agentId": "Sam",
        "name": "Sam",
        "instructions": "You are Sam.",
        "model": "openai/gpt-4o-mini",
    }
    assert chosen(session["messages"], "role", "content", "toolCallId") == [
        ("SYSTEM", "You are Sam.", None),
        ("SYSTEM", '{"type": "login", "last_login": "Never"}', None),
        ("USER", "I live in Lyon.", None),
        ("ASSISTANT", "A fine city.", None),
        ("TOOL", '{"status": "OK", "message": "None"}', "call-1"),
    ]
    [human] = user_of(imported, "zoe")["memories"]
    assert (human["memoryId"], human["content"]) == ("Sam/human", "Zoe lives in Lyon.")
    of_agent = 'query { agent(agentId: "Sam") { memories { nodes { memoryId content } } } }'
    assert imported.graphql(of_agent)["agent"]["memories"]["nodes"] == [
        {"memoryId": "persona", "content": "I am Sam, a planner."}
    ]


@pytest.mark.parametrize("system", SAMPLES)
def test_a_dry_run_writes_nothing_and_a_second_import_adds_nothing(
    system: str, place: Place, tmp_path: Path, command: Command
) -> None:
    arguments = ("import", "--from", system, SAMPLES[system], *OPTIONS.get(system, ()))
    before = place.tables()
    tried = command(*arguments, "--dry-run", *place.option)
    assert tried.status == 0, tried.err
    assert place.tables() == before
    unmade = tmp_path / "unmade.db"
    assert command(*arguments, "--dry-run", "--database-url", f"sqlite:///{unmade}").out == tried.out
    assert not unmade.exists()
    first = command(*arguments, *place.option)
    would, did = (out.out.partition(" import ")[2] or out.out.partition("imported ")[2] for out in (tried, first))
    assert sorted(would.partition(", unless")[0].split(", ")) == sorted(did.partition(";")[0].split(", "))
    # What has no equivalent is listed by both.
    assert tried.out.splitlines()[1:] == first.out.splitlines()[1:] != []
    after = counts(place)
    second = command(*arguments, *place.option)
    assert second.out.startswith("imported nothing; "), second.out
    assert counts(place) == after
    place.check()


@pytest.mark.parametrize("system", SAMPLES)
def test_a_file_that_is_cut_off_is_refused_in_one_line_and_nothing_of_it_is_there(
    system: str, place: Place, tmp_path: Path, command: Command
) -> None:
    whole = SAMPLES[system].read_bytes()
    # Where the file has a value on each line, a cut at the end of a line is not to be seen.
    cut = whole[: whole.rstrip().rindex(b"\n") + 40] if b"\n{" in whole else whole[: len(whole) * 3 // 4]
    file = tmp_path / SAMPLES[system].name
    file.write_bytes(cut)
    before = place.tables()
    outcome = command("import", "--from", system, file, *OPTIONS.get(system, ()), *place.option)
    assert "JSON" in said(outcome)
    assert place.tables() == before


@pytest.mark.once
@pytest.mark.parametrize("system", SAMPLES)
@pytest.mark.parametrize("other", SAMPLES)
def test_the_file_of_another_system_is_refused_in_one_line(system: str, other: str, tmp_path: Path) -> None:
    if system == other:
        return
    with pytest.raises(DataError) as refused, translated(system, Source(str(SAMPLES[other]))):
        pass
    assert "\n" not in str(refused.value)


@pytest.mark.once
def test_a_file_that_is_taken_for_another_systems_is_named(place: Place, tmp_path: Path, command: Command) -> None:
    refused = said(command("import", "--from", "openai", SAMPLES["chatgpt"], *place.option))
    assert refused == ("recallql: item 1: it has no field 'messages' or 'items'. This looks like --from chatgpt.\n")
    own = tmp_path / "own.ndjson"
    own.write_text('{"type": "user", "userId": "ada"}\n')
    assert "RecallQL's own format: leave --from out" in said(command("import", "--from", "chats", own, *place.option))
    missing = said(command("import", "--from", "zep", tmp_path / "missing.json", *place.option))
    assert "missing.json can't be read" in missing


@pytest.mark.once
def test_a_line_that_breaks_a_rule_is_named_by_the_other_systems_ids(
    place: Place, tmp_path: Path, command: Command
) -> None:
    thread = {"id": "t1", "messages": [{"id": "m1", "role": "boss", "content": "Hi."}]}
    file = tmp_path / "threads.jsonl"
    file.write_text(json.dumps(thread))
    before = place.tables()
    refused = said(command("import", "--from", "openai", file, *place.option))
    assert refused.startswith('recallql: message "m1" of session "t1": role: ')
    assert refused.endswith("Nothing was imported; correct it and import the file again.\n")
    assert place.tables() == before
    skipped = tmp_path / "skipped.ndjson"
    outcome = command("import", "--from", "openai", file, "--skip-bad", skipped, *place.option)
    assert (outcome.status, outcome.out) == (3, "imported 1 session; 0 were there already\n")
    assert json.loads(skipped.read_bytes())["messageId"] == "m1"


@pytest.mark.once
def test_fields_of_a_newer_version_are_counted(place: Place, tmp_path: Path, command: Command) -> None:
    chats = [{"id": f"c{n}", "reactions": ["+1"], "messages": [{"role": "user", "content": "Hi."}]} for n in range(3)]
    file = tmp_path / "chats.jsonl"
    file.write_text("\n".join(map(json.dumps, chats)))
    outcome = command("import", "--from", "chats", file, *place.option)
    assert outcome.out.splitlines()[1] == "without an equivalent, and left out: 3 chat.reactions"


@pytest.mark.once
def test_metadata_and_parts_that_are_too_large_are_left_out_and_counted(
    place: Place, tmp_path: Path, command: Command
) -> None:
    long = "x" * 70_000
    metadata = {"citations": [long], "model": "gpt-4o"}
    parts = [{"type": "text", "text": "Look."}, {"type": "image_url", "image_url": {"url": long}}]
    message = {"id": "m", "role": "user", "content": parts, "metadata": metadata}
    file = tmp_path / "chats.jsonl"
    file.write_text(json.dumps({"id": "c", "messages": [message]}))
    outcome = command("import", "--from", "chats", file, *place.option)
    assert "1 message parts of more than 64 KiB, 1 message.metadata.citations" in outcome.out
    with serving(place) as server:
        [kept] = session_of(server, "c")["messages"]
    assert (kept["content"], kept["parts"], kept["metadata"]) == ("Look.", None, {"model": "gpt-4o"})


@pytest.mark.once
def test_half_a_character_is_replaced(place: Place, tmp_path: Path, command: Command) -> None:
    file = tmp_path / "chats.jsonl"
    file.write_text(
        '{"id": "c", "messages": [{"role": "user", "content": "cut \\ud83d",'
        ' "metadata": {"n": 123456789012345678901}}]}'
    )
    outcome = command("import", "--from", "chats", file, *place.option)
    assert "1 halves of characters, which were replaced" in outcome.out
    with serving(place) as server:
        [kept] = session_of(server, "c")["messages"]
    assert (kept["content"], kept["metadata"]) == ("cut ?", {"n": 123456789012345678901})


@pytest.mark.once
def test_options_of_other_systems_go_with_from(place: Place, command: Command) -> None:
    outcome = command("import", SAMPLES["chats"], "--user", "zoe", *place.option)
    assert outcome.status == 2
    assert "--from" in outcome.err


def test_standard_input_is_imported(place: Place) -> None:
    from tests.archives import run

    text = SAMPLES["zep"].read_text(encoding="utf-8")
    done = run("import", "--from", "zep", "-", *place.option, stdin=text)
    assert done.out.startswith("imported 2 users, 2 sessions, 4 messages, 4 memories; 0 were there already\n"), done.err


def test_an_import_that_was_killed_is_completed_by_the_next_one(fresh: Fresh, tmp_path: Path, command: Command) -> None:
    file = tmp_path / "threads.jsonl"
    with file.open("w") as written:
        for n in range(300):
            said = [
                {"id": f"m{n}-{k}", "role": "user", "content": f"{n} {k}", "created_at": 10**9 + k} for k in range(10)
            ]
            written.write(json.dumps({"id": f"t{n}", "created_at": 10**9, "user": "zoe", "messages": said}) + "\n")
    whole, killed = fresh(), fresh()
    arguments = ("import", "--from", "openai", file)
    assert command(*arguments, *whole.option).status == 0
    with (tmp_path / "out").open("w") as out:
        process = begin(*arguments, *killed.option, stdout=out, stderr=out)
        wait_until(lambda: killed.query("SELECT count(*) FROM messages")[0][0])
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    partly = killed.query("SELECT count(*) FROM messages")[0][0]
    assert 0 < partly <= 3000
    assert command(*arguments, *killed.option).status == 0
    for table, columns in (
        ("users", "user_id"),
        ("messages", "message_id, sequence, content, created_at"),
        ("sessions", "session_id, last_sequence, last_activity_at"),
    ):
        query = f"SELECT {columns} FROM {table} ORDER BY 1, 2" if "," in columns else f"SELECT {columns} FROM {table}"
        assert whole.query(query) == killed.query(query)


# Translators by themselves.


def lines_of(system: str, source: Source) -> list[dict[str, Any]]:
    with translated(system, source) as (file, size):
        check_file(file, size=size, name_of=name_of)
        file.seek(0)
        return [json.loads(line) for line in file]


@pytest.mark.once
@given(times=st.lists(st.none() | st.integers(0, 3), max_size=8), data=st.data())
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_message_of_a_tree_is_in_a_branch(times: list[int | None], data: st.DataObject, tmp_path: Path) -> None:
    ids = [f"n{n}" for n in range(len(times))]
    parents = [None if n == 0 else data.draw(st.sampled_from(ids[:n])) for n in range(len(ids))]
    mapping: dict[str, dict[str, Any]] = {
        id: {
            "id": id,
            "parent": parent,
            "message": {
                "id": id,
                "author": {"role": "user"},
                "create_time": moment and 10**9 + moment,
                "content": {"content_type": "text", "parts": [id]},
            },
        }
        for id, parent, moment in zip(ids, parents, times, strict=True)
    }
    current = data.draw(st.sampled_from(ids)) if ids else None
    file = tmp_path / "conversations.json"
    file.write_text(json.dumps([{"id": "c", "create_time": 10**9, "mapping": mapping, "current_node": current}]))
    lines = lines_of("chatgpt", Source(str(file), all_branches=True))
    messages = [line for line in lines if line["type"] == "message"]
    assert {line["content"] for line in messages} == set(ids)
    way: list[str] = []
    at = current
    while at is not None:
        way.insert(0, at)
        at = mapping[at]["parent"]
    assert [line["content"] for line in messages if line["sessionId"] == "c"] == way
    for session in {line["sessionId"] for line in messages}:
        moments = [line["createdAt"] for line in messages if line["sessionId"] == session]
        assert moments == sorted(moments)
    formed = [line["content"] for line in messages if line.get("formMemories") is not False]
    assert sorted(formed) == sorted(ids)


@given(order=st.permutations(range(6)))
@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.sqlite
def test_messages_of_a_thread_come_by_time_and_then_as_in_the_file(
    order: list[int], fresh: Fresh, tmp_path: Path
) -> None:
    from recallql.commands.archive import import_file
    from recallql.settings import Settings

    times = [5, 5, 5, 1, 9, 1]
    messages = [{"id": f"m{n}", "role": "user", "content": "x", "created_at": 10**9 + times[n]} for n in order]
    file = tmp_path / "threads.jsonl"
    file.write_text(json.dumps({"id": "t", "messages": messages}))
    place = fresh()
    with translated("openai", Source(str(file))) as (lines, size):
        import_file(lines, Settings(database_url=place.url), size=size)
    found = [row[0] for row in place.query("SELECT message_id FROM messages ORDER BY sequence")]
    assert found == [f"m{n}" for n in sorted(order, key=lambda n: times[n])]


VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-2, 10**10)
    | st.text(max_size=3)
    | st.just([])
    | st.just({})
    | st.just([1])
    | st.just(["a"])
    | st.just([[]])
)


def places_in(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield way
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places_in(inner, (*way, key))


@pytest.mark.once
@pytest.mark.parametrize("system", SAMPLES)
@given(data=st.data())
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_anywhere_is_translated_or_refused_in_one_line(
    system: str, data: st.DataObject, tmp_path: Path
) -> None:
    text = SAMPLES[system].read_text(encoding="utf-8")
    is_lines = SAMPLES[system].suffix == ".jsonl"
    value: Any = [json.loads(line) for line in text.splitlines() if line] if is_lines else json.loads(text)
    way = data.draw(st.sampled_from([way for way in places_in(value) if way]))
    target = value
    for key in way[:-1]:
        target = target[key]
    target[way[-1]] = data.draw(VALUES)
    file = tmp_path / SAMPLES[system].name
    file.write_text("\n".join(map(json.dumps, value)) if is_lines else json.dumps(value))
    try:
        lines_of(system, Source(str(file), user="zoe"))
    except DataError as refused:
        lines = str(refused).splitlines()
    else:
        return
    assert len(lines) == 1


@pytest.mark.once
@pytest.mark.parametrize("role", ["\x1e", "\n", "us\u2028er", "\x1b[31m"])
def test_a_control_character_of_the_file_does_not_reach_the_terminal(role: str, tmp_path: Path) -> None:
    file = tmp_path / "chats.jsonl"
    file.write_text(json.dumps({"messages": [{"role": role, "content": "Hi"}]}))
    with pytest.raises(DataError) as refused:
        lines_of("chats", Source(str(file), user="zoe"))
    assert str(refused.value).isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.once
@given(
    value=st.lists(JSON, max_size=4) | st.dictionaries(st.text(max_size=3), JSON, max_size=4),
    chunk=st.integers(1, 9),
    indent=st.none() | st.just(1),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_is_read_value_by_value_whatever_is_read_at_once(
    value: Any, chunk: int, indent: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "CHUNK", chunk)
    written = json.dumps(value, ensure_ascii=False, indent=indent).encode("utf-8", "surrogatepass")
    try:
        written.decode()
    except UnicodeDecodeError:
        return
    found = list(reading.json_values(BytesIO(written)))
    if isinstance(value, list):
        assert [item.value for item in found] == value
        return
    whole: dict[str, Any] = {key: [] for key in value if value[key] == []}
    for item in found:
        if item.number:
            whole.setdefault(item.key, []).append(item.value)
        else:
            whole[item.key] = item.value
    assert whole == value
    if len(written) > 2:
        with pytest.raises(DataError):
            list(reading.json_values(BytesIO(written[:-1])))


@pytest.mark.once
def test_a_large_file_is_not_read_whole(tmp_path: Path) -> None:
    import tracemalloc

    file = tmp_path / "conversations.json"
    with file.open("w") as written:
        written.write("[")
        for n in range(3000):
            written.write(("," if n else "") + json.dumps({"n": n, "text": "x" * 10_000}))
        written.write("]")
    tracemalloc.start()
    with file.open("rb") as opened:
        assert sum(1 for _ in reading.json_values(opened)) == 3000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 1024 * 1024


# Databases of other systems.

HISTORY = """CREATE TABLE history (id TEXT PRIMARY KEY, memory_id TEXT, old_memory TEXT, new_memory TEXT, event TEXT,
    created_at DATETIME, updated_at DATETIME, is_deleted INTEGER, actor_id TEXT, role TEXT);
CREATE TABLE messages (id TEXT PRIMARY KEY, session_scope TEXT, role TEXT, content TEXT, name TEXT,
    created_at DATETIME);
INSERT INTO history VALUES
    ('h1', 'm1', NULL, 'Zoe lives in Rome.', 'ADD', '2024-07-01T00:00:00-07:00', NULL, 0, NULL, 'user'),
    ('h2', 'm1', 'Zoe lives in Rome.', 'Zoe lives in Lyon.', 'UPDATE',
        '2024-07-01T00:00:00-07:00', '2024-08-01T00:00:00-07:00', 0, NULL, 'user'),
    ('h3', 'm2', NULL, 'Zoe likes rain.', 'ADD', '2024-07-02T00:00:00-07:00', NULL, 0, NULL, NULL),
    ('h4', 'm2', 'Zoe likes rain.', NULL, 'DELETE', NULL, NULL, 1, NULL, NULL);
INSERT INTO messages VALUES
    ('x1', 'run_id=r1&user_id=zoe', 'user', 'I live in Lyon.', NULL, '2024-08-01T00:00:00+00:00'),
    ('x2', 'run_id=r1&user_id=zoe', 'assistant', 'Noted.', NULL, '2024-08-01T00:00:01+00:00');"""


def test_the_last_version_of_each_memory_in_mem0s_history_is_imported(
    place: Place, tmp_path: Path, command: Command
) -> None:
    file = tmp_path / "history.db"
    connection = sqlite3.connect(file)
    connection.executescript(HISTORY)
    connection.close()
    before = file.read_bytes()
    assert "name the owner of its memories with --user" in said(
        command("import", "--from", "mem0", file, *place.option)
    )
    done = command("import", "--from", "mem0", file, "--user", "zoe", *place.option)
    assert done.out.splitlines() == [
        "imported 1 user, 1 session, 2 messages, 1 memory; 0 were there already",
        "without an equivalent, and left out: 1 deleted memories, 2 earlier versions of memories",
    ]
    assert file.read_bytes() == before
    with serving(place) as server:
        [memory] = user_of(server, "zoe")["memories"]
        assert (memory["memoryId"], memory["content"], memory["createdAt"]) == (
            "m1",
            "Zoe lives in Lyon.",
            "2024-07-01T07:00:00Z",
        )
        messages = session_of(server, "r1")["messages"]
    assert chosen(messages, "messageId", "role", "content") == [
        ("x1", "USER", "I live in Lyon."),
        ("x2", "ASSISTANT", "Noted."),
    ]
    other = tmp_path / "other.db"
    sqlite3.connect(other).execute("CREATE TABLE t (a)").connection.close()
    assert "is it mem0's history.db?" in said(
        command("import", "--from", "mem0", other, "--user", "zoe", *place.option)
    )


ZEP_1 = """CREATE SCHEMA zep; SET search_path = zep;
CREATE TABLE users (uuid uuid PRIMARY KEY DEFAULT gen_random_uuid(), id bigserial, created_at timestamptz NOT NULL
    DEFAULT current_timestamp, updated_at timestamptz, deleted_at timestamptz, user_id varchar NOT NULL UNIQUE,
    email varchar, first_name varchar, last_name varchar, project_uuid uuid NOT NULL, metadata jsonb);
CREATE TYPE role_type_enum AS ENUM ('norole', 'system', 'assistant', 'user', 'function', 'tool');
CREATE TABLE sessions (uuid uuid PRIMARY KEY DEFAULT gen_random_uuid(), id bigserial,
    session_id varchar NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT current_timestamp, updated_at timestamptz NOT NULL DEFAULT
    current_timestamp, deleted_at timestamptz, ended_at timestamptz, metadata jsonb, user_id varchar REFERENCES users
    (user_id), project_uuid uuid NOT NULL);
CREATE TABLE messages (uuid uuid PRIMARY KEY DEFAULT gen_random_uuid(), id bigserial, created_at timestamptz NOT NULL
    DEFAULT current_timestamp, updated_at timestamptz, deleted_at timestamptz, session_id varchar NOT NULL REFERENCES
    sessions (session_id), project_uuid uuid NOT NULL, role varchar NOT NULL, role_type role_type_enum,
    content varchar NOT NULL, token_count bigint NOT NULL, metadata jsonb);
INSERT INTO users (user_id, email, first_name, project_uuid, metadata, created_at, deleted_at) VALUES
    ('zoe', 'zoe@example.org', 'Zoe', gen_random_uuid(), '{"plan": "pro"}', '2024-01-01 00:00:00+00', NULL),
    ('gone', NULL, NULL, gen_random_uuid(), NULL, '2024-01-01 00:00:00+00', '2024-02-01 00:00:00+00');
INSERT INTO sessions (session_id, user_id, metadata, project_uuid, created_at, updated_at, deleted_at) VALUES
    ('z1', 'zoe', '{"topic": "move"}', gen_random_uuid(), '2024-01-02 00:00:00+00', '2024-01-02 10:00:05+00', NULL),
    ('z2', 'zoe', NULL, gen_random_uuid(), '2024-01-02 00:00:00+00', '2024-01-02 00:00:00+00',
        '2024-01-03 00:00:00+00'),
    ('g1', 'gone', NULL, gen_random_uuid(), '2024-01-02 00:00:00+00', '2024-01-02 00:00:00+00', NULL);
INSERT INTO messages (uuid, session_id, role, role_type, content, token_count, metadata, project_uuid, created_at,
    deleted_at) VALUES
    ('00000000-0000-4000-8000-000000000001', 'z1', 'Zoe', 'user', 'I live in Lyon.', 5, '{"n": 1}',
        gen_random_uuid(), '2024-01-02 10:00:00.123456+00', NULL),
    ('00000000-0000-4000-8000-000000000002', 'z1', 'bot', 'assistant', 'Fine.', 2, NULL, gen_random_uuid(),
        '2024-01-02 10:00:05+00', NULL),
    ('00000000-0000-4000-8000-000000000003', 'z1', 'Zoe', 'user', 'deleted', 1, NULL, gen_random_uuid(),
        '2024-01-02 10:00:06+00', '2024-01-02 11:00:00+00'),
    ('00000000-0000-4000-8000-000000000004', 'z2', 'Zoe', 'user', 'with its session', 1, NULL, gen_random_uuid(),
        '2024-01-02 10:00:06+00', NULL),
    ('00000000-0000-4000-8000-000000000005', 'g1', 'x', 'user', 'with its user', 1, NULL, gen_random_uuid(),
        '2024-01-02 10:00:06+00', NULL);"""

ZEP_0 = """CREATE SCHEMA zep; SET search_path = zep;
CREATE TABLE users (uuid uuid PRIMARY KEY, created_at timestamptz NOT NULL, updated_at timestamptz,
    deleted_at timestamptz, user_id varchar NOT NULL UNIQUE, metadata jsonb);
CREATE TABLE session (uuid uuid PRIMARY KEY DEFAULT gen_random_uuid(), session_id varchar NOT NULL UNIQUE,
    created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL, deleted_at timestamptz, metadata jsonb,
    user_uuid uuid);
CREATE TABLE message (uuid uuid PRIMARY KEY DEFAULT gen_random_uuid(), id bigserial, created_at timestamptz NOT NULL,
    updated_at timestamptz, deleted_at timestamptz, session_id varchar NOT NULL, role varchar NOT NULL,
    content varchar NOT NULL, token_count bigint NOT NULL, metadata jsonb);
CREATE TABLE summary (uuid uuid PRIMARY KEY DEFAULT gen_random_uuid(), created_at timestamptz NOT NULL,
    updated_at timestamptz, deleted_at timestamptz, session_id varchar NOT NULL, content varchar, metadata jsonb,
    token_count bigint NOT NULL, summary_point_uuid uuid NOT NULL);
INSERT INTO users VALUES ('00000000-0000-4000-8000-00000000000a', '2023-01-01 00:00:00+00', NULL, NULL, 'zoe', NULL);
INSERT INTO session (session_id, created_at, updated_at, user_uuid) VALUES
    ('z1', '2023-01-02 00:00:00+00', '2023-01-02 00:00:00+00', '00000000-0000-4000-8000-00000000000a');
INSERT INTO message (created_at, session_id, role, content, token_count) VALUES
    ('2023-01-02 00:00:01+00', 'z1', 'human', 'I live in Lyon.', 5),
    ('2023-01-02 00:00:02+00', 'z1', 'ai', 'Fine.', 2);
INSERT INTO summary (created_at, session_id, content, token_count, summary_point_uuid) VALUES
    ('2023-01-02 00:00:03+00', 'z1', 'Zoe lives in Lyon.', 5, gen_random_uuid());"""


async def opened(place: Place) -> Any:
    assert isinstance(place, PostgresPlace)
    return await place.connection()


@pytest.fixture
def zep(postgres_places: PostgresPlaces, tmp_path: Path) -> Iterator[Any]:
    """Runs SQL that makes a schema `zep` in a real database; returns a URL by which its tables are found."""
    with postgres_places.lent(tmp_path) as place:

        def make(sql: str) -> str:
            async def run() -> None:
                connection = await opened(place)
                await connection.execute(sql)
                await connection.execute("RESET search_path")

            postgres_places.loop.run(run())
            return f"{place.url}{'&' if '?' in place.url else '?'}options=-csearch_path%3Dzep"

        yield make

        async def drop() -> None:
            await (await opened(place)).execute("DROP SCHEMA IF EXISTS zep CASCADE")

        postgres_places.loop.run(drop())


def test_the_tables_of_zep_1_are_imported_without_what_was_deleted(zep: Any, place: Place, command: Command) -> None:
    done = command("import", "--from", "zep", zep(ZEP_1), *place.option)
    assert done.out.splitlines() == [
        "imported 1 user, 1 session, 2 messages; 0 were there already",
        "without an equivalent, and left out: 3 deleted messages, 2 deleted sessions, 1 deleted users",
    ], done.err
    with serving(place) as server:
        session = session_of(server, "z1")
        zoe = user_of(server, "zoe")
    assert (zoe["email"], zoe["metadata"]) == ("zoe@example.org", {"plan": "pro"})
    assert chosen(session["messages"], "messageId", "role", "name", "content", "metadata", "createdAt") == [
        (
            "00000000-0000-4000-8000-000000000001",
            "USER",
            "Zoe",
            "I live in Lyon.",
            {"n": 1},
            "2024-01-02T10:00:00.123456Z",
        ),
        ("00000000-0000-4000-8000-000000000002", "ASSISTANT", "bot", "Fine.", {}, "2024-01-02T10:00:05Z"),
    ]
    assert chosen(session["memories"], "content", "method") == [("I live in Lyon", "RULE")]


def test_the_tables_of_zep_0_are_imported_with_summaries(zep: Any, place: Place, command: Command) -> None:
    url = zep(ZEP_0)
    first, second = (command("import", "--from", "zep", url, *place.option) for _ in range(2))
    assert first.out.startswith("imported 1 user, 1 session, 2 messages, 1 memory; 0 were there already\n"), first.err
    assert second.out.startswith("imported nothing; 5 were there already\n"), second.err
    with serving(place) as server:
        session = session_of(server, "z1")
    assert session["user"] == {"userId": "zoe"}
    assert chosen(session["messages"], "role", "name", "content") == [
        ("USER", None, "I live in Lyon."),
        ("ASSISTANT", None, "Fine."),
    ]
    assert "Zoe lives in Lyon." in {memory["content"] for memory in session["memories"]}


def test_a_database_without_the_tables_is_refused_in_one_line(zep: Any, place: Place, command: Command) -> None:
    before = place.tables()
    assert "neither Zep's tables" in said(command("import", "--from", "zep", zep("CREATE SCHEMA zep"), *place.option))
    nobody = "postgresql://nobody@127.0.0.1:1/nothing"
    assert "127.0.0.1:1" in said(command("import", "--from", "zep", nobody, *place.option))
    assert place.tables() == before


def test_every_system_has_a_sample() -> None:
    assert set(SAMPLES) == {system.value for system in System}
