"""Files of lines, imported and exported: the command that does it, and databases with a past to do it with."""

import contextlib
import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, NamedTuple

from tests.commands import start
from tests.documents import ADD_MESSAGES, mutation
from tests.places import Fresh, Place
from tests.servers import Api, Server

Line = dict[str, Any]

LONG = 123456789012345678901234567890


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


def run(*arguments: str | Path, cwd: Path | None = None, stdin: str = "") -> Outcome:
    """The command in a process of its own."""
    done = start(*arguments, cwd=cwd, stdin=stdin)
    return Outcome(done.returncode, done.stdout, done.stderr)


Command = Callable[..., Outcome]


def write(file: Path, lines: list[Line]) -> Path:
    file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return file


def counts(place: Place) -> dict[str, int]:
    """The rows in each table of objects."""
    return {name: len(found) for name, found in place.tables().items() if name != "notices"}


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


@contextlib.contextmanager
def serving(place: Place) -> Generator[Server]:
    running = Server(place)
    try:
        yield running
    finally:
        running.close()


def copied(command: Command, source: Place, folder: Path, fresh: Fresh) -> Place:
    """A fresh database that an export of `source` was imported into."""
    lines, target = folder / "copied.ndjson", fresh()
    assert command("export", lines, *source.option).status == 0
    imported = command("import", lines, *target.option)
    assert imported.status == 0, imported.err
    return target


def mutate(api: Api, name: str, selection: str, /, **fields: Any) -> dict[str, Any]:
    return api.accepted(mutation(name, selection), **fields)


def say(api: Api, session: str, *contents: str, **fields: Any) -> list[str]:
    messages = [{"role": "USER", "content": content} for content in contents]
    return [
        message["id"]
        for message in api.accepted(ADD_MESSAGES, sessionId=session, messages=messages, **fields)["messages"]
    ]


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
    for content in ("Sums first.", "Sums first, then proofs."):
        mutate(api, "createMemory", "memory { id }", agentId="tutor", kind="SUMMARY", content=content)
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
        ADD_MESSAGES,
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


KEPT = """query ($sessionId: String!) { session(sessionId: $sessionId) { situation metadata endedAt user { userId }
    messages(first: 100) { nodes { content sequence } } } }"""


def kept(api: Api, session: str) -> list[str]:
    nodes = api.graphql(KEPT, sessionId=session)["session"]["messages"]["nodes"]
    return [node["content"] for node in nodes]


def add_documents(place: Place, count: int) -> None:
    """Adds an agent and documents of a megabyte each to a fresh database."""
    times = {"created_at": "2025-01-01T00:00:00", "updated_at": "2025-01-01T00:00:00"}
    fixed = {"project": "default", "metadata": "{}", "version": 1, **times}
    agent = {"key": bytes(16), "agent_id": "a", "name": "a", "about": "", "name_start": "a"}
    place.insert("agents", [fixed | agent])
    document = fixed | {"agent_key": bytes(16), "title": "t", "content": "x" * 1_000_000, "digest": bytes(16)}
    if count:
        place.insert("documents", [document | {"key": n.to_bytes(16)} for n in range(count)])
