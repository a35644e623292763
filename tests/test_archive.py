"""`recallql import` and `recallql export`: files of lines, an object each."""

import contextlib
import json
import logging
import os
import pty
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import recallql.commands.archive
from recallql.commands.cli import main
from tests.servers import REPOSITORY, Api, Server

Line = dict[str, Any]

LONG = 123456789012345678901234567890


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


def url_of(path: Path) -> tuple[str, str]:
    return "--database-url", f"sqlite:///{path}"


def environment() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RECALLQL_")}
    return inherited | {"PYTHONPATH": str(REPOSITORY)}


def run(*arguments: str | Path, cwd: Path | None = None, stdin: bytes | None = None) -> Outcome:
    """The command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "recallql", *map(str, arguments)],
        input=b"" if stdin is None else stdin,
        capture_output=True,
        env=environment(),
        cwd=cwd,
        timeout=60,
    )
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


Command = Callable[..., Outcome]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """The command within this process, for the many short calls; an exception that it lets out fails the test."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def call(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["recallql", *map(str, arguments)])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = 0 if end.code is None else int(end.code)
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    yield call
    root.handlers = handlers
    root.setLevel(level)


@pytest.fixture
def path(migrated_file: Path, tmp_path: Path) -> Path:
    """A fresh database file that nobody serves."""
    fresh = tmp_path / "fresh.db"
    shutil.copyfile(migrated_file, fresh)
    return fresh


def write(file: Path, lines: list[Line]) -> Path:
    file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return file


INSERT_DOCUMENT = """INSERT INTO documents
  (key, project, document_id, user_key, agent_key, title, content, metadata, digest, created_at, updated_at, version)
  VALUES (?, 'default', NULL, NULL, ?, 't', ?, '{}', ?, ?, ?, 1)"""


def rows(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0").fetchall()
        return {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for (name,) in names}


def counts(path: Path) -> dict[str, int]:
    return {name: len(found) for name, found in rows(path).items()}


def said(outcome: Outcome) -> str:
    """The one line that a failing command says."""
    assert outcome.status == 1, outcome
    assert "Traceback" not in outcome.err, outcome.err
    assert outcome.err.count("\n") == 1, f"not one line: {outcome.err!r}"
    assert outcome.err.startswith("recallql: "), outcome.err
    return outcome.err


# A file with every type of line, as an application would write it.
EVERY_TYPE: list[Line] = [
    {
        "type": "user",
        "userId": "ada",
        "email": "Ada@Example.org",
        "firstName": "Ada",
        "lastName": "Løvelace",
        "about": "line one\nline two\u2028three",
        "metadata": {"a": {"b": [1, LONG, -LONG, 1.5, None, True, {"ü": "日本🎉"}]}, "plan": "pro", "": 0},
        "documents": [
            {"title": "Notes", "content": "on engines", "metadata": {"n": 1}},
            {"title": "More", "content": "…"},
        ],
        "createdAt": "2023-05-06T07:08:09.123456+02:00",
    },
    {"type": "user", "userId": "bob"},
    {
        "type": "agent",
        "agentId": "tutor",
        "name": "Tutor",
        "instructions": "Be kind.",
        "documents": [{"title": "T", "content": "C"}],
    },
    {
        "type": "session",
        "sessionId": "s",
        "userId": "ada",
        "agentId": "tutor",
        "situation": "on a ship",
        "metadata": {"topic": ["x", {"y": 2**63}]},
        "tokenBudget": 900,
        "contextOverflow": "TRUNCATE",
        "createdAt": "2023-05-07T00:00:00Z",
    },
    {"type": "session", "sessionId": "nobody's"},
    {"type": "message", "sessionId": "s", "role": "SYSTEM", "content": "Hello, 世界", "messageId": "first"},
    {
        "type": "message",
        "sessionId": "s",
        "role": "ASSISTANT",
        "toolCalls": [{"id": "c1", "function": {"name": "f", "arguments": '{"x": 1}'}}],
        "metadata": {"deep": {"er": [[]]}},
    },
    {
        "type": "message",
        "sessionId": "s",
        "role": "TOOL",
        "name": "f",
        "content": "42",
        "toolCallId": "c1",
        "tokenCount": 7,
    },
    {"type": "message", "sessionId": "s", "role": "USER", "parts": [{"type": "image", "url": "https://x/y.png"}]},
    {
        "type": "message",
        "sessionId": "s",
        "role": "USER",
        "content": "said then",
        "createdAt": "2023-05-07T01:00:00Z",
    },
    {"type": "message", "sessionId": "unannounced", "role": "FUNCTION", "content": "a session by itself"},
    {"type": "document", "documentId": "d1", "userEmail": "ada@example.ORG", "title": "By e-mail", "content": "text"},
    {"type": "document", "agentId": "tutor", "title": "Nameless", "content": "text"},
    {
        "type": "memory",
        "memoryId": "m1",
        "userId": "ada",
        "kind": "FACT",
        "content": "likes ships",
        "rating": 0.5,
        "validFrom": "2023-01-01T00:00:00Z",
        "validUntil": "2030-01-01T00:00:00Z",
        "expiresAt": "2031-01-01T00:00:00Z",
        "sources": [{"sessionId": "s", "sequence": 1}, {"sessionId": "s", "sequence": 3}],
        "metadata": {"k": "v"},
        "createdAt": "2023-05-08T00:00:00Z",
    },
    {"type": "memory", "sessionId": "s", "kind": "SUMMARY", "content": "They spoke.", "method": "EXTRACTIVE"},
    {"type": "memory", "userId": "bob", "kind": "EVENT", "content": "was born", "method": "MODEL", "model": "some-8b"},
]

WIDE = {
    "users": """{ users(first: 10, orderBy: {field: USER_ID, direction: ASC}) { totalCount pageInfo { hasNextPage
        endCursor } edges { cursor node { __typename id userId email firstName lastName name about metadata createdAt
        updatedAt version
        sessions(first: 100) { totalCount edges { cursor node { id sessionId } } }
        byActivity: sessions(first: 100, orderBy: {field: LAST_ACTIVITY_AT, direction: ASC}) { edges { cursor node {
            id } } }
        memories(first: 100) { totalCount edges { cursor node { id } } }
        history: memories(first: 100, filter: {history: true}) { totalCount edges { cursor node { ...wide } } }
        then: memories(first: 100, filter: {asOf: "2024-01-01T00:00:00Z"}) { edges { node { id } } }
        documents(first: 100) { totalCount edges { cursor node { ...text } } }
        summary { ...wide } } } } }
        fragment text on Document { id documentId title content metadata createdAt updatedAt version user { id }
            agent { id } }
        fragment wide on Memory { id memoryId kind content method model rating validFrom validUntil expiresAt metadata
            createdAt updatedAt version user { id } session { id } supersededBy { id } supersedes { id }
            sources(first: 100) { totalCount nodes { __typename ... on Message { id } ... on Document { id } } } }""",
    "sessions": """{ sessions(first: 50) { totalCount edges { cursor node { id sessionId situation metadata tokenBudget
        contextOverflow createdAt updatedAt endedAt deletedAt lastActivityAt version user { id } agent { id }
        messages(first: 100) { totalCount edges { cursor node { id messageId sequence role name content parts toolCalls
            toolCallId metadata tokenCount createdAt updatedAt version session { id } memories { edges { cursor node {
            id } } } } } }
        lastPage: messages(last: 2) { pageInfo { hasPreviousPage startCursor } nodes { id } }
        users: messages(first: 100, filter: {roles: [USER]}) { totalCount edges { cursor node { id } } }
        memories(first: 100, filter: {history: true}) { edges { cursor node { id content supersededBy { id } } } }
        summary { id content } } } } }""",
    "agents": """{ agents(first: 100) { totalCount edges { cursor node { id agentId name about instructions model
        metadata createdAt updatedAt version sessions {
        edges { cursor node { id } } } documents { totalCount edges { cursor
        node { id documentId title content metadata createdAt updatedAt version } } } } } } }""",
    "orders": """{ a: sessions(orderBy: {field: UPDATED_AT, direction: DESC}) { edges { cursor node { id } } }
        b: sessions(orderBy: {field: SESSION_ID, direction: ASC}) { edges { cursor node { id } } }
        c: sessions(filter: {ended: true}) { totalCount edges { cursor node { id } } }
        d: sessions(filter: {hasUser: false}) { totalCount edges { cursor node { id } } }
        e: sessions(filter: {userIds: ["ada"], agentIds: ["tutor"]}) { totalCount nodes { id } }
        f: users(filter: {metadata: {plan: "pro"}}) { totalCount nodes { id } }
        g: users(filter: {emails: ["ADA@example.org"]}) { totalCount nodes { id } }
        h: users(orderBy: {field: UPDATED_AT, direction: ASC}) { edges { cursor node { id } } } }""",
}
NODES = """query ($ids: [ID!]!) { nodes(ids: $ids) { __typename id ... on User { name } ... on Session { sessionId }
    ... on Message { content sequence } ... on Memory { content } ... on Document { title } ... on Agent { about } }
    }"""


def ids_in(answer: Any) -> Iterator[str]:
    if isinstance(answer, dict):
        if isinstance(answer.get("id"), str):
            yield answer["id"]
        for name, value in answer.items():
            if name not in ("metadata", "parts", "toolCalls"):
                yield from ids_in(value)
    elif isinstance(answer, list):
        for value in answer:
            yield from ids_in(value)


def answers(api: Api) -> dict[str, Any]:
    """What the wide queries answer, and all the objects by their ids."""
    found = {name: api.graphql(query) for name, query in WIDE.items()}
    ids = sorted(set(ids_in(found)))
    assert len(ids) < 100
    return {**found, "nodes": api.graphql(NODES, ids=ids)}


@contextlib.contextmanager
def serving(path: Path) -> Iterator[Server]:
    running = Server(path)
    try:
        yield running
    finally:
        running.close()


def copied(command: Command, source: Path, folder: Path, migrated_file: Path) -> Path:
    """A fresh file that an export of `source` was imported into."""
    lines, target = folder / "copied.ndjson", folder / "copied.db"
    assert command("export", lines, *url_of(source)).status == 0
    shutil.copyfile(migrated_file, target)
    imported = command("import", lines, *url_of(target))
    assert imported.status == 0, imported.err
    return target


ADD = """mutation ($input: AddMessagesInput!) { addMessages(input: $input) { session { id }
    messages { id sequence content } deduplicated userErrors { code message path } } }"""


def mutate(api: Api, name: str, selection: str, /, **fields: Any) -> dict[str, Any]:
    kind = name[0].upper() + name[1:]
    document = f"""mutation ($input: {kind}Input!) {{ {name}(input: $input) {{ {selection}
        userErrors {{ code message path }} }} }}"""
    return api.accepted(document, **fields)


def say(api: Api, session: str, *contents: str, **fields: Any) -> list[str]:
    messages = [{"role": "USER", "content": content} for content in contents]
    return [message["id"] for message in api.accepted(ADD, sessionId=session, messages=messages, **fields)["messages"]]


def fill(api: Api) -> None:
    """A database with a past: edits, deletions, ended, deleted and revived sessions, superseded memories."""
    for user in ("ada", "bob", "erased"):
        mutate(
            api,
            "createUser",
            "user { id }",
            userId=user,
            email=f"{user.capitalize()}@Example.org",
            metadata={"plan": "pro", "n": [LONG, {"ü": None}]},
            documents=[{"title": f"of {user}", "content": "text"}],
        )
    mutate(api, "updateUser", "user { id }", userId="ada", name="Ada", about="changed", metadata={"more": {"x": 1.0}})
    mutate(
        api, "createAgent", "agent { id }", agentId="tutor", name="Tutor", documents=[{"title": "a", "content": "b"}]
    )
    mutate(api, "updateAgent", "agent { id }", agentId="tutor", model="m", instructions="Be brief.")
    mutate(
        api,
        "createSession",
        "session { id }",
        sessionId="s1",
        userId="ada",
        agentId="tutor",
        tokenBudget=100,
        contextOverflow="ERROR",
        situation="at sea",
    )
    told = say(api, "s1", "one", "two", "three", "four", "five", "six")
    mutate(api, "deleteMessage", "deletedMessageId", id=told[1])
    mutate(api, "deleteMessage", "deletedMessageId", id=told[5])
    mutate(api, "updateMessage", "message { id }", id=told[2], content="three, edited", metadata={"edited": True})
    api.accepted(
        ADD,
        sessionId="s1",
        messages=[
            {
                "messageId": "own",
                "role": "ASSISTANT",
                "toolCalls": [{"id": 1.0, "z": 1, "a": [LONG]}],
                "metadata": {"k": 1},
            },
            {"role": "TOOL", "parts": [{"b": 2, "a": 1}], "toolCallId": "1", "createdAt": "2020-01-01T00:00:00+05:00"},
        ],
    )
    mutate(api, "updateSession", "session { id }", sessionId="s1", metadata={"mood": "good"})
    say(api, "ended", "that was all", userId="bob")
    mutate(api, "endSession", "session { id }", sessionId="ended")
    say(api, "deleted", "nobody hears", userId="ada")
    mutate(api, "createMemory", "memory { id }", sessionId="deleted", kind="FACT", content="gone with its session")
    mutate(api, "deleteSession", "deletedSessionId", sessionId="deleted")
    say(api, "revived", "before", "before that", userId="ada")
    mutate(api, "deleteSession", "deletedSessionId", sessionId="revived")
    revived = say(api, "revived", "after")
    say(api, "renewed", "old")
    mutate(api, "deleteSession", "deletedSessionId", sessionId="renewed")
    mutate(api, "createSession", "session { id }", sessionId="renewed", createdAt="2021-01-01T00:00:00Z")
    say(api, "renewed", "new")
    mutate(api, "createSession", "session { id }", sessionId="empty", userId="bob")
    say(api, "ownerless", "who am I", "no idea")
    document = mutate(
        api, "createDocument", "document { id }", documentId="d", userId="ada", title="D", content="before"
    )["document"]["id"]
    mutate(api, "updateDocument", "document { id }", id=document, content="after")

    def remember(content: str, **fields: Any) -> str:
        return mutate(api, "createMemory", "memory { id }", content=content, **{"kind": "FACT", **fields})["memory"][
            "id"
        ]

    older = remember("lives in Rome", userId="ada", memoryId="home")
    newer = remember("lives in Bonn", userId="ada", supersedes=[older], validFrom="2025-01-01T00:00:00Z")
    newest = remember("lives in Oslo", userId="ada", supersedes=[newer])
    mutate(api, "deleteMemory", "deletedMemoryId", id=newest)
    remember("first summary", sessionId="s1", kind="SUMMARY")
    remember("second summary", sessionId="s1", kind="SUMMARY")
    remember("of the user", userId="ada", kind="SUMMARY", sources=[document, told[0], revived[0]])
    rated = remember("rated", sessionId="ended", rating=0.25, expiresAt="2020-01-01T00:00:00Z", metadata={"a": [1]})
    mutate(api, "updateMemory", "memory { id }", id=rated, rating=0.75)
    mutate(api, "deleteUser", "deletedUserId", userId="erased")


def contract_fields() -> dict[str, set[str]]:
    """The fields of each type of line, by the contract's create inputs and what exported lines add."""
    text = (REPOSITORY / "schema.graphql").read_text()

    def fields(name: str) -> set[str]:
        body = text.split(f"\ninput {name} {{")[1].split("\n}")[0]
        return set(re.findall(r"^  (\w+):", body, re.MULTILINE))

    always = {"type", "project", "createdAt", "updatedAt", "version"}
    return {
        "user": fields("CreateUserInput") | always | {"id"},
        "agent": fields("CreateAgentInput") | always,
        "session": fields("CreateSessionInput")
        | always
        | {"endedAt", "lastActivityAt", "lastSequence", "deletedMessages", "id"},
        "message": fields("MessageInput")
        | always
        | {"sessionId", "sequence", "digest", "formMemories", "withheldMemories"},
        "document": fields("CreateDocumentInput") | always | {"key", "digest"},
        "memory": fields("CreateMemoryInput")
        | always
        | {"key", "method", "model", "supersededBy", "supersededFrom", "correctedAt", "digest"} - {"supersedes"},
    }


def test_a_file_with_every_type_of_line_is_imported_and_exported(tmp_path: Path) -> None:
    file = write(tmp_path / "in.ndjson", EVERY_TYPE)
    imported = run("import", file, cwd=tmp_path)
    assert imported.status == 0, imported.err
    assert imported.err.count("position") == imported.err.count("\n") == 1
    exported = run("export", cwd=tmp_path)
    assert exported.status == 0, exported.err
    assert exported.err == "exported 2 users, 1 agent, 5 documents, 3 sessions, 6 messages, 3 memories\n"
    lines = [json.loads(line) for line in exported.out.split("\n")[:-1]]
    kinds = [line["type"] for line in lines]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "user": 2,
        "agent": 1,
        "document": 5,
        "session": 3,
        "message": 6,
        "memory": 3,
    }
    # Whatever was given comes out again, times in UTC.
    by_id = {(line["type"], line.get("userId"), line.get("content")): line for line in lines}
    ada = by_id["user", "ada", None]
    assert ada["metadata"] == EVERY_TYPE[0]["metadata"]
    assert ada["about"] == EVERY_TYPE[0]["about"]
    assert ada["createdAt"] == "2023-05-06T05:08:09.123456Z"
    messages = [line for line in lines if line["type"] == "message" and line["sessionId"] == "s"]
    assert [message["sequence"] for message in messages] == [1, 2, 3, 4, 5]
    given = [line for line in EVERY_TYPE if line["type"] == "message" and line["sessionId"] == "s"]
    for before, after in zip(given, messages, strict=True):
        assert before.items() <= after.items()
    memory = by_id["memory", "ada", "likes ships"]
    assert [(source["sessionId"], source["sequence"]) for source in memory["sources"]] == [("s", 1), ("s", 3)]
    session = next(line for line in lines if line["type"] == "session" and line["sessionId"] == "s")
    assert EVERY_TYPE[3].items() <= session.items()
    assert by_id["memory", "bob", "was born"]["model"] == "some-8b"


def test_importing_a_file_twice_changes_nothing(path: Path, tmp_path: Path, command: Command) -> None:
    file = write(tmp_path / "in.ndjson", EVERY_TYPE)
    assert command("import", file, *url_of(path)).status == 0
    before = rows(path)
    exported = command("export", *url_of(path)).out
    again = command("import", file, *url_of(path))
    assert again.status == 0, again.err
    assert str(len(EVERY_TYPE)) in again.out
    assert rows(path) == before
    assert command("export", *url_of(path)).out == exported


def test_importing_an_export_into_its_own_database_changes_nothing(
    server: Server, tmp_path: Path, command: Command
) -> None:
    fill(server)
    file = tmp_path / "out.ndjson"
    assert command("export", file, *url_of(server.path)).status == 0
    before = server.tables()
    imported = command("import", file, *url_of(server.path))
    assert imported.status == 0, imported.err
    assert server.tables() == before


def test_messages_without_ids_get_their_own_and_are_not_kept_twice(
    path: Path, tmp_path: Path, command: Command
) -> None:
    lines: list[Line] = [
        {"type": "message", "sessionId": f"s{i % 2}", "role": "USER", "content": "the same words"} for i in range(6)
    ]
    file = write(tmp_path / "in.ndjson", lines)
    for _ in range(2):
        assert command("import", file, *url_of(path)).status == 0
        with contextlib.closing(sqlite3.connect(path)) as connection:
            kept = connection.execute("SELECT sequence, message_id FROM messages ORDER BY session_key, sequence")
            assert [tuple(row) for row in kept] == [(n, f"sequence-{n}") for n in (1, 2, 3)] * 2
    # A longer file of the same conversation adds what is new.
    write(file, [*lines, {"type": "message", "sessionId": "s0", "role": "USER", "content": "the same words"}])
    assert command("import", file, *url_of(path)).status == 0
    assert counts(path)["messages"] == 7


def test_documents_and_memories_without_ids_are_not_kept_twice(path: Path, tmp_path: Path, command: Command) -> None:
    lines: list[Line] = [{"type": "user", "userId": "u"}]
    lines += [{"type": "document", "userId": "u", "title": f"{i}", "content": "c"} for i in range(2)]
    lines += [{"type": "memory", "userId": "u", "kind": "FACT", "content": f"{i}"} for i in range(2)]
    file = write(tmp_path / "in.ndjson", lines)
    for _ in range(2):
        assert command("import", file, *url_of(path)).status == 0
        assert (counts(path)["documents"], counts(path)["memories"]) == (2, 2)


def test_an_export_imported_into_a_fresh_file_gives_the_same_answers(
    server: Server, migrated_file: Path, tmp_path: Path, command: Command
) -> None:
    fill(server)
    before = answers(server)
    assert len(before["nodes"]["nodes"]) > 25
    with serving(copied(command, server.path, tmp_path, migrated_file)) as other:
        after = answers(other)
        for name in before:
            assert after[name] == before[name], name
        assert other.graphql("{ sessions(filter: {deleted: true}) { totalCount } }")["sessions"]["totalCount"] == 0
        # The counter goes on where it was, also behind messages that were deleted at the end.
        for api in (server, other):
            (message,) = api.accepted(ADD, sessionId="s1", messages=[{"role": "USER", "content": "on"}])["messages"]
            assert message["sequence"] == 9


def test_an_export_of_an_import_is_the_same_byte_for_byte(
    server: Server, migrated_file: Path, tmp_path: Path, command: Command
) -> None:
    fill(server)
    target = copied(command, server.path, tmp_path, migrated_file)
    again = tmp_path / "again.ndjson"
    assert command("export", again, *url_of(target)).status == 0
    assert again.read_bytes() == (tmp_path / "copied.ndjson").read_bytes()


def test_a_retry_is_still_recognised_after_an_import(
    server: Server, migrated_file: Path, tmp_path: Path, command: Command
) -> None:
    first = {"messageId": "a", "role": "USER", "content": "as first sent", "parts": [{"z": 1.0, "a": "é"}]}
    sent = server.accepted(ADD, sessionId="s", messages=[first])["messages"]
    mutate(server, "updateMessage", "message { id }", id=sent[0]["id"], content="edited")
    with serving(copied(command, server.path, tmp_path, migrated_file)) as other:
        again = other.accepted(ADD, sessionId="s", messages=[first])
        assert again["deduplicated"] == 1
        assert again["messages"][0]["content"] == "edited"


def test_a_memory_that_rests_on_a_deleted_session_is_exported_and_imported(
    server: Server, migrated_file: Path, tmp_path: Path, command: Command
) -> None:
    mutate(server, "createUser", "user { id }", userId="ada")
    (gone,) = say(server, "gone", "a word", userId="ada")
    (stays,) = say(server, "stays", "another", userId="ada")
    mutate(server, "createMemory", "memory { id }", userId="ada", kind="FACT", content="x", sources=[gone, stays])
    mutate(server, "deleteSession", "deletedSessionId", sessionId="gone")
    before = answers(server)
    with serving(copied(command, server.path, tmp_path, migrated_file)) as other:
        assert answers(other) == before


def test_a_memory_that_lost_a_source_is_exported_and_imported_with_its_cursors(
    server: Server, migrated_file: Path, tmp_path: Path, command: Command
) -> None:
    mutate(server, "createUser", "user { id }", userId="ada")
    told = say(server, "s", "one", "two", "three", userId="ada")
    mutate(server, "createMemory", "memory { id }", userId="ada", kind="FACT", content="x", sources=told)
    mutate(server, "deleteMessage", "deletedMessageId", id=told[1])
    query = (
        '{ user(userId: "ada") { memories { nodes { sources { edges { cursor node { ... on Message { id } } } } } } } }'
    )
    before = server.graphql(query)
    with serving(copied(command, server.path, tmp_path, migrated_file)) as other:
        assert other.graphql(query) == before


def test_what_is_deleted_is_not_exported(server: Server, command: Command) -> None:
    fill(server)
    exported = command("export", *url_of(server.path))
    assert exported.status == 0, exported.err
    lines = [json.loads(line) for line in exported.out.split("\n")[:-1]]
    assert not [line for line in lines if "erased" in (line.get("userId"), line.get("title"))]
    assert "deleted" not in {line.get("sessionId") for line in lines}
    contents = {line.get("content") for line in lines}
    assert not contents & {"nobody hears", "gone with its session", "before that", "old", "two", "lives in Oslo"}
    assert contents >= {"after", "new", "three, edited", "lives in Bonn", "lives in Rome"}


def test_an_export_has_an_object_a_line_with_known_fields_only(server: Server, command: Command) -> None:
    fill(server)
    exported = command("export", *url_of(server.path))
    fields = contract_fields()
    assert exported.out.endswith("}\n")
    for text in exported.out.removesuffix("\n").split("\n"):
        line = json.loads(text)
        assert set(line) <= fields[line["type"]], line
        assert None not in line.values(), line
        for source in line.get("sources", ()):
            named = {name for name, value in source.items() if value is not None}
            assert named - {"position"} in ({"sessionId", "sequence"}, {"documentKey"}), source


def test_what_others_refer_to_stands_before_them_in_an_export(server: Server, command: Command) -> None:
    fill(server)
    lines = [json.loads(line) for line in command("export", *url_of(server.path)).out.split("\n")[:-1]]
    seen: set[tuple[str, str]] = set()
    for line in lines:
        kind = line["type"]
        for name in ("user", "agent", "session"):
            if (key := line.get(f"{name}Id")) is not None:
                assert kind == name or (name, key) in seen, line
        seen.add((kind, line.get(f"{kind}Id", "")))


PEAK = """
import sys
from recallql.commands.cli import main
try:
    main()
finally:
    with open("/proc/self/status") as status:
        peak = next(line for line in status if line.startswith("VmHWM:"))
    print("PEAK", peak.split()[1], file=sys.stderr)
"""


def peak_megabytes(*arguments: str | Path) -> float:
    """The largest memory that the command took, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, arguments)],
        env=environment(),
        capture_output=True,
        timeout=60,
        check=True,
    )
    (peak,) = re.findall(rb"PEAK (\d+)", done.stderr)
    return int(peak) / 1024


def test_a_large_file_takes_no_more_memory_than_a_small_one(migrated_file: Path, tmp_path: Path) -> None:
    peaks: list[tuple[float, float]] = []
    for count in (1_000, 10_000):
        file, path = tmp_path / f"{count}.ndjson", tmp_path / f"{count}.db"
        shutil.copyfile(migrated_file, path)
        with file.open("w") as lines:
            for n in range(count):
                said = f"{n} " + "word " * 800
                line = {"type": "message", "sessionId": f"s{n % 5}", "role": "USER", "content": said, "tokenCount": 800}
                lines.write(json.dumps(line) + "\n")
        taken = peak_megabytes("import", file, *url_of(path))
        written = tmp_path / f"{count}.out"
        peaks.append((taken, peak_megabytes("export", written, *url_of(path))))
        with written.open("rb") as opened:
            assert sum(1 for _ in opened) == count + 5
    (small_in, small_out), (large_in, large_out) = peaks
    # The larger file holds 36 MB more; SQLite's caches may fill.
    assert large_in - small_in < 25
    assert large_out - small_out < 25


def test_an_export_does_not_hold_all_documents_in_memory(migrated_file: Path, tmp_path: Path) -> None:
    peaks: list[float] = []
    for count in (2, 100):
        path = tmp_path / f"{count}.db"
        shutil.copyfile(migrated_file, path)
        with contextlib.closing(sqlite3.connect(path)) as connection, connection:
            now = "2025-01-01T00:00:00"
            connection.execute(
                "INSERT INTO agents VALUES (?, 'default', 'a', 'a', '', NULL, NULL, '{}', ?, ?, 1)",
                (bytes(16), now, now),
            )
            connection.executemany(
                INSERT_DOCUMENT,
                [(n.to_bytes(16), bytes(16), "x" * 1_000_000, bytes(16), now, now) for n in range(count)],
            )
        peaks.append(peak_megabytes("export", tmp_path / f"{count}.out", *url_of(path)))
    assert peaks[1] - peaks[0] < 50, "98 MB more of documents were held at once"


BIG = 1024 * 1024 + 1
GOOD: Line = {"type": "message", "sessionId": "s", "role": "USER", "content": "mended", "messageId": "mended"}
DOCUMENT: Line = {"type": "document", "userId": "ada", "title": "t", "content": "c"}
MEMORY: Line = {"type": "memory", "userId": "ada", "kind": "FACT", "content": "c"}
DEEP: Any = {}
for _ in range(33):
    DEEP = {"a": DEEP}

# What is wrong, the line, and words of which the message must have one.
FAULTS: dict[str, tuple[Line | bytes | list[Any] | str | int, str]] = {
    "not JSON": (b'{"type": "user", "userId":', "JSON"),
    "two objects": (b'{"type":"user","userId":"x"} {}', "JSON"),
    "a list": ([GOOD], "object"),
    "a text": ("user", "object"),
    "a number": (5, "object"),
    "null": (b"null", "object"),
    "NaN": (b'{"type":"user","userId":"x","metadata":{"a":NaN}}', "NaN"),
    "Infinity": (b'{"type":"user","userId":"x","metadata":{"a":-Infinity}}', "Infinity"),
    "bad UTF-8": (b'{"type":"user","userId":"x\xff"}', "UTF-8"),
    "a lone surrogate": (b'{"type":"user","userId":"x","name":"\\ud800"}', "surrogate"),
    "U+0000": ({"type": "user", "userId": "x\0"}, "U\\+0000"),
    "nesting without end": (b'{"type":"user","userId":"x","metadata":' + b"[" * 200_000, "nested|JSON"),
    "no type": ({"userId": "x"}, "type"),
    "an unknown type": ({"type": "thing"}, "thing"),
    "a type that is no text": ({"type": ["user"]}, "type"),
    "an unknown field": ({"type": "user", "userId": "x", "colour": "red"}, "colour"),
    "a field of another type": ({**GOOD, "situation": "x"}, "situation"),
    "a number for a text": ({"type": "user", "userId": 5}, "userId"),
    "a text for a number": ({"type": "session", "sessionId": "x", "tokenBudget": "5"}, "tokenBudget"),
    "a naive time": ({"type": "user", "userId": "x", "createdAt": "2025-01-01T00:00:00"}, "offset"),
    "no time at all": ({"type": "user", "userId": "x", "createdAt": "2025-02-30T00:00:00Z"}, "createdAt"),
    "a user without a key": ({"type": "user", "name": "x"}, "userId"),
    "an agent without a key": ({"type": "agent", "name": "x"}, "agentId"),
    "an agent without a name": ({"type": "agent", "agentId": "x"}, "name"),
    "a session without a key": ({"type": "session"}, "sessionId"),
    "a message without a session": ({"type": "message", "role": "USER", "content": "x"}, "sessionId"),
    "a message without a role": ({"type": "message", "sessionId": "s", "content": "x"}, "role"),
    "a message without content": ({"type": "message", "sessionId": "s", "role": "USER"}, "content"),
    "a memory without a kind": ({"type": "memory", "userId": "ada", "content": "x"}, "kind"),
    "a memory without an owner": ({"type": "memory", "kind": "FACT", "content": "x"}, "userId|owner|sessionId"),
    "a document without an owner": ({"type": "document", "title": "t", "content": "c"}, "owner"),
    "a document with two owners": ({**DOCUMENT, "agentId": "a"}, "owner"),
    "a key too long": ({"type": "user", "userId": "x" * 513}, "512"),
    "an empty key": ({"type": "session", "sessionId": ""}, "sessionId"),
    "a session key too long": ({**GOOD, "sessionId": "x" * 513}, "512"),
    "content too large": ({**GOOD, "content": "x" * BIG}, "content"),
    "a text too large": ({"type": "user", "userId": "x", "about": "x" * 65537}, "about"),
    "metadata that is no object": ({"type": "user", "userId": "x", "metadata": [1]}, "metadata"),
    "metadata too large": ({"type": "user", "userId": "x", "metadata": {"a": "x" * 65536}}, "metadata"),
    "metadata too deep": ({"type": "user", "userId": "x", "metadata": DEEP}, "metadata"),
    "parts too large": ({**GOOD, "parts": ["x" * 65536]}, "parts"),
    "an unknown user": ({"type": "session", "sessionId": "x", "userId": "nobody"}, "userId"),
    "an unknown agent": ({"type": "session", "sessionId": "x", "agentId": "nobody"}, "agentId"),
    "a document of an unknown user": ({**DOCUMENT, "userId": "nobody"}, "userId"),
    "a memory of an unknown session": ({**MEMORY, "sessionId": "nowhere"}, "sessionId"),
    "a memory of another's session": ({**MEMORY, "userId": "bob", "sessionId": "s"}, "userId"),
    "an unknown role": ({**GOOD, "role": "BOSS"}, "BOSS"),
    "an unknown kind": ({**MEMORY, "kind": "RUMOUR"}, "RUMOUR"),
    "an unknown method": ({**MEMORY, "method": "MAGIC"}, "MAGIC"),
    "an unknown overflow": ({"type": "session", "sessionId": "x", "contextOverflow": "BURST"}, "BURST"),
    "a rating beyond 1": ({**MEMORY, "rating": 1.5}, "rating"),
    "a token budget of 0": ({"type": "session", "sessionId": "x", "tokenBudget": 0}, "tokenBudget"),
    "a sequence of 0": ({**GOOD, "sequence": 0}, "sequence"),
    "a sequence that is no integer": ({**GOOD, "sequence": 1.5}, "sequence"),
    "a sequence that is taken": ({**GOOD, "sequence": 1}, "sequence"),
    "a messageId that is taken": ({**GOOD, "messageId": "m1"}, "messageId"),
    "a messageId that another place has": ({**GOOD, "messageId": "m1", "sequence": 7}, "messageId"),
    "a source that is not there": ({**MEMORY, "sources": [{"sessionId": "s", "sequence": 99}]}, "sources"),
    "a document that is not there": ({**MEMORY, "sources": [{"documentKey": "00" * 16}]}, "sources"),
    "a source that names nothing": ({**MEMORY, "sources": [{}]}, "sources"),
    "a source that is an id": ({**MEMORY, "sources": ["Mabc1"]}, "sources"),
    "a validity that ends first": (
        {**MEMORY, "validFrom": "2025-01-02T00:00:00Z", "validUntil": "2025-01-01T00:00:00Z"},
        "validUntil",
    ),
    "a model with U+0000": ({**MEMORY, "model": "a\0b"}, "model"),
    "a document's key that is no key": ({**DOCUMENT, "key": "zz"}, "key"),
    "a memory's key that is too short": ({**MEMORY, "key": "abcd"}, "key"),
    "a digest that is none": ({**GOOD, "sequence": 7, "digest": "zz"}, "digest"),
    "a newer memory's key that is none": ({**MEMORY, "supersededBy": "zz"}, "supersededBy"),
    "a source's key that is none": ({**MEMORY, "sources": [{"documentKey": "zz"}]}, "sources"),
    "a version of 0": ({"type": "user", "userId": "x", "version": 0}, "version"),
    "a last sequence below 0": ({"type": "session", "sessionId": "x", "lastSequence": -1}, "lastSequence"),
    "a user's document without a title": (
        {"type": "user", "userId": "x", "documents": [{"title": "", "content": "c"}]},
        "documents",
    ),
    "a user's document too large": (
        {"type": "user", "userId": "x", "documents": [{"title": "t", "content": "x" * BIG}]},
        "documents",
    ),
    "an agent's document with wrong metadata": (
        {"type": "agent", "agentId": "x", "name": "x", "documents": [{"title": "t", "content": "c", "metadata": []}]},
        "documents",
    ),
    "a user's 101 documents": (
        {"type": "user", "userId": "x", "documents": [{"title": "t", "content": "c"}] * 101},
        "documents",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_line_is_named_and_the_mended_file_is_imported_as_a_whole(
    fault: str, path: Path, tmp_path: Path, command: Command
) -> None:
    bad, words = FAULTS[fault]
    before = rows(path)
    lines = [
        json.dumps(line).encode()
        for line in (
            {"type": "user", "userId": "ada"},
            {"type": "user", "userId": "bob"},
            {"type": "session", "sessionId": "s", "userId": "ada"},
            {"type": "message", "sessionId": "s", "role": "USER", "content": "one", "messageId": "m1", "sequence": 1},
        )
    ]
    file = tmp_path / "in.ndjson"
    file.write_bytes(b"\n".join([*lines, bad if isinstance(bad, bytes) else json.dumps(bad).encode(), *lines[:1]]))
    words_said = said(command("import", file, *url_of(path)))
    assert re.search(r"\bline 5\b", words_said), words_said
    assert re.search(words, words_said), words_said
    assert len(words_said) < 2000, "the message repeats what is wrong at length"
    assert rows(path) == before, "what was in its batch was kept"

    file.write_bytes(b"\n".join([*lines, json.dumps(GOOD).encode(), *lines[:1]]))
    mended = command("import", file, *url_of(path))
    assert mended.status == 0, mended.err
    kept = counts(path)
    assert (kept["users"], kept["sessions"], kept["messages"]) == (2, 1, 2)


def test_nothing_is_imported_when_a_line_at_the_end_is_malformed(tmp_path: Path) -> None:
    lines = [{"type": "message", "sessionId": "s", "role": "USER", "content": f"{n}"} for n in range(1, 1201)]
    file = write(tmp_path / "in.ndjson", [*lines, {**lines[0], "role": "NOBODY"}])
    failed = run("import", file, cwd=tmp_path)
    assert "line 1201" in said(failed)
    assert counts(tmp_path / "recallql.db")["messages"] == 0


@pytest.mark.parametrize("batch", [1, 3, 500])
def test_what_was_imported_before_a_line_that_names_nothing_stays(
    path: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(recallql.commands.archive, "BATCH", batch)
    lines = [{"type": "session", "sessionId": f"s{n}", "userId": "ada"} for n in range(5)]
    lines.insert(3, {"type": "session", "sessionId": "s2b", "userId": "nobody"})
    user = {"type": "user", "userId": "ada"}
    words = said(command("import", write(tmp_path / "in.ndjson", [*lines, user]), *url_of(path)))
    assert re.search(r"\bline 4\b", words), words
    assert counts(path)["sessions"] == {1: 3, 3: 2, 500: 0}[batch]
    assert ("Nothing was imported" if batch == 500 else "A part of the file was imported") in words
    lines[3]["userId"] = "ada"
    assert command("import", write(tmp_path / "in.ndjson", [*lines, user]), *url_of(path)).status == 0
    with serving(path) as api:
        nodes = api.graphql('{ user(userId: "ada") { sessions { nodes { sessionId } } } }')["user"]["sessions"]["nodes"]
    assert {node["sessionId"] for node in nodes} == {line["sessionId"] for line in lines}


def test_a_memory_line_supersedes_the_memories_that_it_names(server: Server, tmp_path: Path, command: Command) -> None:
    mutate(server, "createUser", "user { id }", userId="ada")
    created = mutate(server, "createMemory", "memory { id }", userId="ada", kind="FACT", content="old")
    older = created["memory"]["id"]
    line = {"type": "memory", "userId": "ada", "kind": "FACT", "content": "new", "supersedes": [older]}
    outcome = command("import", write(tmp_path / "in.ndjson", [line]), *url_of(server.path))
    if outcome.status != 0:
        assert "supersedes" in said(outcome), "a field that can't be honoured is refused by name"
        return
    query = '{ user(userId: "ada") { memories(filter: {history: true}) { nodes { content supersedes { id } } } } }'
    found = server.graphql(query)["user"]["memories"]["nodes"]
    assert {"content": "new", "supersedes": [{"id": older}]} in found


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
@pytest.mark.parametrize("final", [True, False], ids=["final newline", "no final newline"])
def test_line_endings_blank_lines_and_a_byte_order_mark_do_not_matter(
    path: Path, tmp_path: Path, command: Command, ending: bytes, start: bytes, final: bool
) -> None:
    users = [json.dumps({"type": "user", "userId": f"u{n}"}).encode() for n in range(3)]
    text = start + ending.join([users[0], b"", b"  ", *users[1:]]) + (ending if final else b"")
    file = tmp_path / "in.ndjson"
    file.write_bytes(text)
    imported = command("import", file, *url_of(path))
    assert imported.status == 0, imported.err
    assert {row[2] for row in rows(path)["users"]} == {"u0", "u1", "u2"}


def test_blank_lines_count_when_a_bad_line_is_named(path: Path, tmp_path: Path, command: Command) -> None:
    file = tmp_path / "in.ndjson"
    file.write_text('\n\n{"type": "user", "userId": "u"}\n\nnonsense\n')
    assert re.search(r"\bline 5\b", said(command("import", file, *url_of(path))))


@pytest.mark.parametrize("text", [b"", b"\n\n"], ids=["empty", "blank"])
def test_an_empty_file_imports_nothing(path: Path, tmp_path: Path, command: Command, text: bytes) -> None:
    file = tmp_path / "in.ndjson"
    file.write_bytes(text)
    before = rows(path)
    outcome = command("import", file, *url_of(path))
    assert outcome.status == 0, outcome.err
    assert rows(path) == before


def test_standard_input_is_imported_and_standard_output_exported(path: Path, tmp_path: Path, command: Command) -> None:
    lines = "".join(json.dumps(line) + "\n" for line in EVERY_TYPE).encode()
    imported = run("import", "-", *url_of(path), stdin=lines)
    assert imported.status == 0, imported.err
    file = tmp_path / "out.ndjson"
    to_file = command("export", file, *url_of(path))
    assert to_file.status == 0, to_file.err
    assert run("export", *url_of(path)).out == file.read_text(encoding="utf-8")


def test_a_file_that_cannot_be_read_is_named(path: Path, tmp_path: Path, command: Command) -> None:
    for missing in (tmp_path / "missing.ndjson", tmp_path):
        assert str(missing) in said(command("import", missing, *url_of(path)))


def test_an_export_does_not_overwrite_a_file(path: Path, tmp_path: Path, command: Command) -> None:
    file = tmp_path / "out.ndjson"
    file.write_text("precious")
    assert str(file) in said(command("export", file, *url_of(path)))
    assert file.read_text() == "precious"


def test_an_export_into_a_folder_that_is_not_there_is_refused(path: Path, tmp_path: Path, command: Command) -> None:
    file = tmp_path / "nowhere" / "out.ndjson"
    assert str(file) in said(command("export", file, *url_of(path)))


def test_an_export_that_fails_leaves_no_file(tmp_path: Path, command: Command) -> None:
    file, database = tmp_path / "out.ndjson", tmp_path / "missing.db"
    assert str(database) in said(command("export", file, *url_of(database)))
    assert not database.exists(), "an export must not make a database"
    assert not file.exists(), "what is left looks like an export of nothing, and refuses the next one"


def test_an_export_into_a_closed_pipe_says_nothing(path: Path, tmp_path: Path, command: Command) -> None:
    lines: list[Line] = [
        {"type": "message", "sessionId": "s", "role": "USER", "content": "word " * 2000} for _ in range(100)
    ]
    assert command("import", write(tmp_path / "in.ndjson", lines), *url_of(path)).status == 0
    with subprocess.Popen(
        [sys.executable, "-m", "recallql", "export", *url_of(path)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as export:
        assert export.stdout is not None
        assert export.stderr is not None
        assert export.stdout.readline().startswith(b'{"type":"session"')
        export.stdout.close()
        assert b"Traceback" not in export.stderr.read()
        assert export.wait(timeout=30) != 0


@pytest.mark.parametrize("action", ["import", "export"])
def test_a_progress_bar_is_shown_on_a_terminal_and_nowhere_else(
    path: Path, tmp_path: Path, command: Command, action: str
) -> None:
    file = write(tmp_path / "in.ndjson", [{"type": "user", "userId": f"u{n}"} for n in range(50)])
    if action == "export":
        assert command("import", file, *url_of(path)).status == 0
        file = tmp_path / "out.ndjson"
    seen = bytearray()
    terminal, its_end = pty.openpty()

    def read() -> None:
        with contextlib.suppress(OSError):
            while piece := os.read(terminal, 4096):
                seen.extend(piece)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    done = subprocess.run(
        [sys.executable, "-m", "recallql", action, file, *url_of(path)],
        env=environment() | {"TERM": "xterm", "COLUMNS": "80"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=its_end,
        timeout=60,
    )
    os.close(its_end)
    reader.join(timeout=10)
    os.close(terminal)
    assert done.returncode == 0
    assert f"{action}ing".encode() in seen
    assert b"100%" in seen
    assert b"%" not in done.stdout
    if action == "export":
        file.unlink()
    assert "%" not in command(action, file, *url_of(path)).err


def test_an_import_beside_a_server_leaves_no_gaps(server: Server, tmp_path: Path) -> None:
    count = 1500
    lines: list[Line] = [
        {"type": "message", "sessionId": "s", "role": "USER", "content": f"imported {n}"} for n in range(count)
    ]
    file = write(tmp_path / "in.ndjson", lines)
    with subprocess.Popen(
        [sys.executable, "-m", "recallql", "import", str(file), *url_of(server.path)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as importing:
        said_here = 0
        while importing.poll() is None:
            say(server, "s", f"said {said_here}")
            said_here += 1
        assert importing.stdout is not None
        assert importing.returncode == 0, importing.stdout.read()
    say(server, "s", "said last")
    with contextlib.closing(sqlite3.connect(server.path)) as connection:
        kept = connection.execute("SELECT sequence, content FROM messages ORDER BY sequence").fetchall()
    assert [sequence for sequence, _ in kept] == list(range(1, count + said_here + 2))
    imported = [content for _, content in kept if content.startswith("imported")]
    assert imported == [f"imported {n}" for n in range(count)]
    mine = [content for _, content in kept if content.startswith("said")]
    assert mine == [*(f"said {n}" for n in range(said_here)), "said last"]


def test_an_export_is_of_one_moment_while_others_write(server: Server) -> None:
    say(server, "s", *["before"] * 50)
    stop = threading.Event()
    api = Api(server.port, server.path)

    def talk() -> None:
        while not stop.is_set():
            say(api, "s", "a pair", "a pair")

    talking = threading.Thread(target=talk)
    talking.start()
    exported = run("export", *url_of(server.path))
    stop.set()
    talking.join()
    api.close()
    assert exported.status == 0, exported.err
    lines = [json.loads(line) for line in exported.out.split("\n")[:-1]]
    (session,) = [line for line in lines if line["type"] == "session"]
    messages = [line for line in lines if line["type"] == "message"]
    assert len(messages) == session["lastSequence"] == messages[-1]["sequence"]
    assert len(messages) % 2 == 0


@pytest.mark.parametrize("arguments", [["import"], ["import", "a", "b"], ["export", "--nonsense"], ["nonsense"]])
def test_a_wrong_use_of_the_command_ends_with_2(command: Command, arguments: list[str]) -> None:
    outcome = command(*arguments)
    assert outcome.status == 2
    assert "Usage" in outcome.err


# What a review found


HISTORY = """{ user(userId: "ada") { memories(filter: {history: true}) {
    nodes { id content validFrom validUntil supersededBy { id } supersedes { id } } } } }"""
KEPT = """query ($sessionId: String!) { session(sessionId: $sessionId) { situation metadata endedAt user { userId }
    messages(first: 100) { nodes { content sequence } } } }"""
DELETE_RANGE = """mutation ($input: DeleteMessagesInput!) { deleteMessages(input: $input) {
    deletedMessageIds hasMore userErrors { code message path } } }"""


def kept(api: Api, session: str) -> list[str]:
    nodes = api.graphql(KEPT, sessionId=session)["session"]["messages"]["nodes"]
    return [node["content"] for node in nodes]


def exported(api: Api, folder: Path, command: Command) -> Path:
    file = folder / "exported.ndjson"
    outcome = command("export", file, *url_of(api.path))
    assert outcome.status == 0, outcome.err
    return file


def test_a_memory_superseded_before_it_was_to_begin_is_exported_and_imported(
    server: Server, migrated_file: Path, tmp_path: Path, command: Command
) -> None:
    mutate(server, "createUser", "user { id }", userId="ada")
    fields = {"userId": "ada", "kind": "FACT"}
    older = mutate(server, "createMemory", "memory { id }", content="old", validFrom="2030-01-01T00:00:00Z", **fields)[
        "memory"
    ]["id"]
    mutate(
        server,
        "createMemory",
        "memory { id }",
        content="new",
        validFrom="2025-01-01T00:00:00Z",
        supersedes=[older],
        **fields,
    )
    before = server.graphql(HISTORY)
    assert len(before["user"]["memories"]["nodes"]) == 2
    with serving(copied(command, server.path, tmp_path, migrated_file)) as other:
        assert other.graphql(HISTORY) == before


def test_a_message_deleted_after_an_export_stays_deleted_when_that_is_imported(
    server: Server, tmp_path: Path, command: Command
) -> None:
    first = {"messageId": "m", "role": "USER", "content": "to be forgotten"}
    (message,) = server.accepted(ADD, sessionId="s", messages=[first])["messages"]
    rest = say(server, "s", "two", "three")
    file = exported(server, tmp_path, command)
    mutate(server, "deleteMessage", "deletedMessageId", id=message["id"])
    before = server.tables()
    imported = command("import", file, *url_of(server.path))
    assert imported.status == 0, imported.err
    assert server.tables() == before
    assert kept(server, "s") == ["two", "three"]
    assert server.refused(ADD, sessionId="s", messages=[first])["code"] == "CONFLICT"
    gone = server.accepted(DELETE_RANGE, sessionId="s", fromSequence=1, toSequence=3)
    assert (gone["deletedMessageIds"], gone["hasMore"]) == (rest, False)
    assert kept(server, "s") == []


def test_the_id_of_a_deleted_message_is_refused_after_an_import_elsewhere(
    server: Server, migrated_file: Path, tmp_path: Path, command: Command
) -> None:
    first = {"messageId": "m", "role": "USER", "content": "to be forgotten"}
    (message,) = server.accepted(ADD, sessionId="s", messages=[first])["messages"]
    told = say(server, "s", "two", "three")
    for gone in (message["id"], told[1]):
        mutate(server, "deleteMessage", "deletedMessageId", id=gone)
    target = copied(command, server.path, tmp_path, migrated_file)
    lines = [json.loads(line) for line in (tmp_path / "copied.ndjson").read_text().splitlines()]
    (session,) = [line for line in lines if line["type"] == "session"]
    assert [stone["sequence"] for stone in session["deletedMessages"]] == [1, 3]
    with serving(target) as other:
        assert other.refused(ADD, sessionId="s", messages=[first])["code"] == "CONFLICT"
        assert kept(other, "s") == ["two"]
        assert say(other, "s", "four") == say(server, "s", "four"), "the sequence goes on behind the deleted one"


def test_messages_without_a_place_are_imported_into_a_session_that_has_ended(
    path: Path, tmp_path: Path, command: Command
) -> None:
    ended = "2024-05-06T07:08:09Z"
    lines: list[Line] = [{"type": "session", "sessionId": "s", "endedAt": ended}]
    lines += [{"type": "message", "sessionId": "s", "role": "USER", "content": f"{n}"} for n in range(3)]
    file = write(tmp_path / "in.ndjson", lines)
    for _ in range(2):
        imported = command("import", file, *url_of(path))
        assert imported.status == 0, imported.err
    with serving(path) as api:
        assert api.graphql(KEPT, sessionId="s")["session"]["endedAt"] == ended
        assert kept(api, "s") == ["0", "1", "2"]
        refusal = api.refused(ADD, sessionId="s", messages=[{"role": "USER", "content": "more"}])
        assert refusal["code"] == "SESSION_ENDED"


@pytest.mark.parametrize("batch", [1, 500])
@pytest.mark.parametrize("placed", [False, True], ids=["without sequence", "with sequence"])
def test_a_session_line_after_its_messages_is_applied(
    path: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch, batch: int, placed: bool
) -> None:
    monkeypatch.setattr(recallql.commands.archive, "BATCH", batch)
    lines: list[Line] = [{"type": "user", "userId": "ada"}]
    for n in (1, 2):
        line = {"type": "message", "sessionId": "s", "role": "USER", "content": f"{n}"}
        lines.append(line | ({"sequence": n} if placed else {}))
    session = {"sessionId": "s", "userId": "ada", "situation": "at sea", "metadata": {"a": [1]}}
    lines.append({"type": "session", **session})
    file = write(tmp_path / "in.ndjson", lines)
    for _ in range(2):
        imported = command("import", file, *url_of(path))
        assert imported.status == 0, imported.err
    with serving(path) as api:
        found = api.graphql(KEPT, sessionId="s")["session"]
        assert (found["user"], found["situation"], found["metadata"]) == ({"userId": "ada"}, "at sea", {"a": [1]})
        assert kept(api, "s") == ["1", "2"]
        of_user = api.graphql('{ user(userId: "ada") { sessions { nodes { sessionId } } } }')["user"]["sessions"]
        assert of_user["nodes"] == [{"sessionId": "s"}]
        (next_one,) = api.accepted(ADD, sessionId="s", messages=[{"role": "USER", "content": "3"}])["messages"]
        assert next_one["sequence"] == 3


def test_an_import_restores_a_memory_that_went_with_its_revived_session(
    server: Server, tmp_path: Path, command: Command
) -> None:
    query = '{ session(sessionId: "s") { memories { nodes { id memoryId content } } } }'
    say(server, "s", "one")
    for fields in ({"memoryId": "m", "content": "with a key"}, {"content": "without a key"}):
        mutate(server, "createMemory", "memory { id }", sessionId="s", kind="FACT", **fields)
    before = server.graphql(query)
    assert len(before["session"]["memories"]["nodes"]) == 2
    file = exported(server, tmp_path, command)
    mutate(server, "deleteSession", "deletedSessionId", sessionId="s")
    say(server, "s", "back")
    assert server.graphql(query)["session"]["memories"]["nodes"] == []
    imported = command("import", file, *url_of(server.path))
    assert imported.status == 0, imported.err
    assert server.graphql(query) == before


TWO_MESSAGES: list[Line] = [
    {"type": "message", "sessionId": "s", "role": "USER", "content": f"{n}", "sequence": n} for n in (1, 2)
]


@pytest.mark.parametrize("positions", [(0, 0), (3, 3), (1, None), (None, 0)])
def test_two_sources_with_one_position_are_refused_by_line(
    path: Path, tmp_path: Path, command: Command, positions: tuple[int | None, int | None]
) -> None:
    sources = [{"sessionId": "s", "sequence": n, "position": at} for n, at in zip((1, 2), positions, strict=True)]
    memory = {"type": "memory", "sessionId": "s", "kind": "FACT", "content": "c", "sources": sources}
    words = said(command("import", write(tmp_path / "in.ndjson", [*TWO_MESSAGES, memory]), *url_of(path)))
    assert re.search(r"\bline 3\b", words), words
    assert counts(path)["memories"] == counts(path)["messages"] == 0


def test_sources_are_imported_in_the_order_of_their_positions(path: Path, tmp_path: Path, command: Command) -> None:
    sources = [{"sessionId": "s", "sequence": 1, "position": 1}, {"sessionId": "s", "sequence": 2, "position": 0}]
    memory = {"type": "memory", "sessionId": "s", "kind": "FACT", "content": "c", "sources": sources}
    imported = command("import", write(tmp_path / "in.ndjson", [*TWO_MESSAGES, memory]), *url_of(path))
    assert imported.status == 0, imported.err
    query = '{ session(sessionId: "s") { memories { nodes { sources { nodes { ... on Message { sequence } } } } } } }'
    with serving(path) as api:
        (found,) = api.graphql(query)["session"]["memories"]["nodes"]
    assert found["sources"]["nodes"] == [{"sequence": 2}, {"sequence": 1}]


def test_importing_again_leaves_the_messages_of_a_revived_session_deleted(
    server: Server, tmp_path: Path, command: Command
) -> None:
    first = {"messageId": "m", "role": "USER", "content": "before"}
    server.accepted(ADD, sessionId="s", messages=[first, {"role": "USER", "content": "before that"}])
    file = exported(server, tmp_path, command)
    mutate(server, "deleteSession", "deletedSessionId", sessionId="s")
    say(server, "s", "after")
    before = server.tables()
    imported = command("import", file, *url_of(server.path))
    assert imported.status == 0, imported.err
    assert server.tables() == before
    assert kept(server, "s") == ["after"]


@pytest.mark.parametrize("number", [2**31 - 1, 2**30 + 1])
def test_a_number_without_room_to_grow_is_refused(path: Path, tmp_path: Path, command: Command, number: int) -> None:
    lines: list[Line] = [
        {"type": "user", "userId": "ada", "version": number},
        {"type": "session", "sessionId": "s", "version": number},
        {"type": "session", "sessionId": "s", "lastSequence": number},
        {**TWO_MESSAGES[0], "version": number},
        {**TWO_MESSAGES[0], "sequence": number},
    ]
    before = rows(path)
    for line in lines:
        words = said(command("import", write(tmp_path / "in.ndjson", [line]), *url_of(path)))
        assert re.search(r"\bline 1\b", words), words
        assert any(name in words for name in ("version", "lastSequence", "sequence")), words
    assert rows(path) == before


def many_documents(migrated_file: Path, path: Path, count: int) -> Path:
    """A file with an agent and its documents of a megabyte each."""
    shutil.copyfile(migrated_file, path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        now = "2025-01-01T00:00:00"
        connection.execute(
            "INSERT INTO agents VALUES (?, 'default', 'a', 'a', '', NULL, NULL, '{}', ?, ?, 1)", (bytes(16), now, now)
        )
        connection.executemany(
            INSERT_DOCUMENT,
            [(n.to_bytes(16), bytes(16), "x" * 1_000_000, bytes(16), now, now) for n in range(count)],
        )
    return path


def test_an_export_that_is_killed_leaves_nothing_under_its_name(migrated_file: Path, tmp_path: Path) -> None:
    database = many_documents(migrated_file, tmp_path / "large.db", 100)
    folder = tmp_path / "out"
    folder.mkdir()
    file = folder / "out.ndjson"
    with subprocess.Popen(
        [sys.executable, "-m", "recallql", "export", str(file), *url_of(database)],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as export:
        deadline = time.monotonic() + 30
        while not any(one.stat().st_size for one in folder.iterdir()):
            assert export.poll() is None, "it ended before it had written anything"
            assert time.monotonic() < deadline
            time.sleep(0.001)
        export.kill()
        assert export.wait(timeout=30) != 0
    assert not file.exists()
    assert run("export", file, *url_of(database)).status == 0, "what is left stands in the way of the next one"
    assert len(file.read_bytes().splitlines()) == 101
    assert list(folder.iterdir()) == [file]


def test_an_export_of_a_damaged_file_leaves_nothing(migrated_file: Path, tmp_path: Path, command: Command) -> None:
    database = many_documents(migrated_file, tmp_path / "damaged.db", 2)
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_documents_1'"
        (page,) = connection.execute(query).fetchone()
    with database.open("r+b") as opened:
        opened.seek(size * (page - 1))
        opened.write(b"\xa5" * size)
    folder = tmp_path / "out"
    folder.mkdir()
    assert str(database) in said(command("export", folder / "out.ndjson", *url_of(database)))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("count", [0, 1, 5])
def test_an_export_onto_a_full_disk_says_so(migrated_file: Path, tmp_path: Path, count: int) -> None:
    database = many_documents(migrated_file, tmp_path / "any.db", count)
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "recallql", "export", *url_of(database)],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    assert "No space left" in said(Outcome(done.returncode, "", done.stderr.decode()))


def test_importing_again_after_a_source_was_deleted_changes_nothing(
    server: Server, tmp_path: Path, command: Command
) -> None:
    server.graphql('mutation { createUser(input: {userId: "ada"}) { userErrors { code } } }')
    added = server.graphql(
        'mutation { addMessages(input: {sessionId: "s", userId: "ada", messages: [{role: USER, content: "a"}, '
        '{role: USER, content: "b"}]}) { messages { id } } }'
    )["addMessages"]["messages"]
    create = "mutation ($i: CreateMemoryInput!) { createMemory(input: $i) { memory { id } userErrors { code } } }"
    memory = {"sessionId": "s", "kind": "FACT", "content": "both", "sources": [message["id"] for message in added]}
    kept = server.graphql(create, i=memory)["createMemory"]["memory"]["id"]
    file = tmp_path / "all.ndjson"
    assert command("export", str(file), "--database-url", f"sqlite:///{server.path}").status == 0
    server.graphql("mutation ($id: ID!) { deleteMemory(input: {id: $id}) { deletedMemoryId } }", id=kept)
    server.graphql("mutation ($id: ID!) { deleteMessage(input: {id: $id}) { deletedMessageId } }", id=added[0]["id"])
    outcome = command("import", str(file), "--database-url", f"sqlite:///{server.path}")
    assert outcome.status == 0, outcome
    query = "query ($id: ID!) { node(id: $id) { ... on Memory { sources { nodes { ... on Message { content } } } } } }"
    assert server.graphql(query, id=kept)["node"]["sources"]["nodes"] == [{"content": "b"}]


def test_a_session_line_after_its_messages_takes_its_memories_along(
    server: Server, tmp_path: Path, command: Command
) -> None:
    lines = [
        {"type": "user", "userId": "ada"},
        {"type": "message", "sessionId": "s", "role": "USER", "content": "hello"},
        {"type": "memory", "sessionId": "s", "kind": "FACT", "content": "greets"},
        {"type": "session", "sessionId": "s", "userId": "ada", "deletedMessages": [{"sequence": 7}]},
    ]
    file = tmp_path / "late.ndjson"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert command("import", str(file), "--database-url", f"sqlite:///{server.path}").status == 0
    found = server.graphql('{ user(userId: "ada") { memories { nodes { content } } } }')
    assert found["user"]["memories"]["nodes"] == [{"content": "greets"}]
    add = (
        'mutation { addMessages(input: {sessionId: "s", messages: [{role: USER, content: "x"}]}) '
        "{ messages { sequence } } }"
    )
    # A deleted message's number is not given again, in whatever order the lines come.
    assert server.graphql(add)["addMessages"]["messages"] == [{"sequence": 9}]
