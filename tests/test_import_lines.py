"""The lines of an import: which are refused, by number, and what those before and after them become."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import recallql.commands.archive
from tests.archives import KEPT, Command, Line, counts, kept, mutate, said, serving, write
from tests.documents import ADD_MESSAGES
from tests.places import Place
from tests.servers import Server


def test_messages_without_ids_get_their_own_and_are_not_kept_twice(
    place: Place, tmp_path: Path, command: Command
) -> None:
    lines: list[Line] = [
        {"type": "message", "sessionId": f"s{i % 2}", "role": "USER", "content": "the same words"} for i in range(6)
    ]
    file = write(tmp_path / "in.ndjson", lines)
    for _ in range(2):
        assert command("import", file, *place.option).status == 0
        kept = place.query("SELECT sequence, message_id FROM messages ORDER BY session_key, sequence")
        assert kept == [(n, f"sequence-{n}") for n in (1, 2, 3)] * 2
    # A longer file of the same conversation adds what is new.
    write(file, [*lines, {"type": "message", "sessionId": "s0", "role": "USER", "content": "the same words"}])
    assert command("import", file, *place.option).status == 0
    assert counts(place)["messages"] == 7


def test_documents_and_memories_without_ids_are_not_kept_twice(place: Place, tmp_path: Path, command: Command) -> None:
    lines: list[Line] = [{"type": "user", "userId": "u"}]
    lines += [{"type": "document", "userId": "u", "title": f"{i}", "content": "c"} for i in range(2)]
    lines += [{"type": "memory", "userId": "u", "kind": "FACT", "content": f"{i}"} for i in range(2)]
    file = write(tmp_path / "in.ndjson", lines)
    for _ in range(2):
        assert command("import", file, *place.option).status == 0
        assert (counts(place)["documents"], counts(place)["memories"]) == (2, 2)


def test_the_documents_in_a_line_of_a_user_keep_their_own_ids(place: Place, tmp_path: Path, command: Command) -> None:
    line: Line = {"type": "user", "userId": "u", "documents": [{"documentId": "d", "title": "t", "content": "c"}]}
    assert command("import", write(tmp_path / "in.ndjson", [line]), *place.option).status == 0
    assert place.query("SELECT document_id FROM documents") == [("d",)]


BIG = 1024 * 1024 + 1
GOOD: Line = {"type": "message", "sessionId": "s", "role": "USER", "content": "mended", "messageId": "mended"}
DOCUMENT: Line = {"type": "document", "userId": "ada", "title": "t", "content": "c"}
MEMORY: Line = {"type": "memory", "userId": "ada", "kind": "FACT", "content": "c"}
DEEP: Any = json.loads('{"a":' * 33 + "{}" + "}" * 33)

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


@pytest.mark.once
@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_line_is_named_and_the_mended_file_is_imported_as_a_whole(
    fault: str, place: Place, tmp_path: Path, command: Command
) -> None:
    bad, words = FAULTS[fault]
    before = place.tables()
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
    words_said = said(command("import", file, *place.option))
    assert re.search(r"\bline 5\b", words_said), words_said
    assert re.search(words, words_said), words_said
    assert len(words_said) < 2000, "the message repeats what is wrong at length"
    assert place.tables() == before, "what was in its batch was kept"

    file.write_bytes(b"\n".join([*lines, json.dumps(GOOD).encode(), *lines[:1]]))
    mended = command("import", file, *place.option)
    assert mended.status == 0, mended.err
    kept = counts(place)
    assert (kept["users"], kept["sessions"], kept["messages"]) == (2, 1, 2)


def test_nothing_is_imported_when_a_line_at_the_end_is_malformed(
    place: Place, tmp_path: Path, command: Command
) -> None:
    lines = [{"type": "message", "sessionId": "s", "role": "USER", "content": f"{n}"} for n in range(1, 1201)]
    file = write(tmp_path / "in.ndjson", [*lines, {**lines[0], "role": "NOBODY"}])
    failed = command("import", file, *place.option)
    assert "line 1201" in said(failed)
    assert counts(place)["messages"] == 0


@pytest.mark.parametrize("batch", [1, 3, 500])
def test_what_was_imported_before_a_line_that_names_nothing_stays(
    place: Place, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(recallql.commands.archive, "BATCH", batch)
    lines = [{"type": "session", "sessionId": f"s{n}", "userId": "ada"} for n in range(5)]
    lines.insert(3, {"type": "session", "sessionId": "s2b", "userId": "nobody"})
    user = {"type": "user", "userId": "ada"}
    words = said(command("import", write(tmp_path / "in.ndjson", [*lines, user]), *place.option))
    assert re.search(r"\bline 4\b", words), words
    assert counts(place)["sessions"] == {1: 3, 3: 2, 500: 0}[batch]
    assert ("Nothing was imported" if batch == 500 else "Part of the file was imported") in words
    lines[3]["userId"] = "ada"
    assert command("import", write(tmp_path / "in.ndjson", [*lines, user]), *place.option).status == 0
    with serving(place) as api:
        nodes = api.graphql('{ user(userId: "ada") { sessions { nodes { sessionId } } } }')["user"]["sessions"]["nodes"]
    assert {node["sessionId"] for node in nodes} == {line["sessionId"] for line in lines}


def test_a_memory_line_supersedes_the_memories_that_it_names(server: Server, tmp_path: Path, command: Command) -> None:
    mutate(server, "createUser", "user { id }", userId="ada")
    created = mutate(server, "createMemory", "memory { id }", userId="ada", kind="FACT", content="old")
    older = created["memory"]["id"]
    line = {"type": "memory", "userId": "ada", "kind": "FACT", "content": "new", "supersedes": [older]}
    outcome = command("import", write(tmp_path / "in.ndjson", [line]), *server.place.option)
    if outcome.status != 0:
        assert "supersedes" in said(outcome), "a field that can't be honoured is refused by name"
        return
    query = '{ user(userId: "ada") { memories(filter: {history: true}) { nodes { content supersedes { id } } } } }'
    found = server.graphql(query)["user"]["memories"]["nodes"]
    assert {"content": "new", "supersedes": [{"id": older}]} in found


@pytest.mark.once
@pytest.mark.parametrize("ending", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
@pytest.mark.parametrize("final", [True, False], ids=["final newline", "no final newline"])
def test_line_endings_blank_lines_and_a_byte_order_mark_do_not_matter(
    place: Place, tmp_path: Path, command: Command, ending: bytes, start: bytes, final: bool
) -> None:
    users = [json.dumps({"type": "user", "userId": f"u{n}"}).encode() for n in range(3)]
    text = start + ending.join([users[0], b"", b"  ", *users[1:]]) + (ending if final else b"")
    file = tmp_path / "in.ndjson"
    file.write_bytes(text)
    imported = command("import", file, *place.option)
    assert imported.status == 0, imported.err
    assert {row[2] for row in place.tables()["users"]} == {"u0", "u1", "u2"}


@pytest.mark.once
def test_blank_lines_count_when_a_bad_line_is_named(place: Place, tmp_path: Path, command: Command) -> None:
    file = tmp_path / "in.ndjson"
    file.write_text('\n\n{"type": "user", "userId": "u"}\n\nnonsense\n')
    assert re.search(r"\bline 5\b", said(command("import", file, *place.option)))


def test_messages_without_a_place_are_imported_into_a_session_that_has_ended(
    place: Place, tmp_path: Path, command: Command
) -> None:
    ended = "2024-05-06T07:08:09Z"
    lines: list[Line] = [{"type": "session", "sessionId": "s", "endedAt": ended}]
    lines += [{"type": "message", "sessionId": "s", "role": "USER", "content": f"{n}"} for n in range(3)]
    file = write(tmp_path / "in.ndjson", lines)
    for _ in range(2):
        imported = command("import", file, *place.option)
        assert imported.status == 0, imported.err
    with serving(place) as api:
        assert api.graphql(KEPT, sessionId="s")["session"]["endedAt"] == ended
        assert kept(api, "s") == ["0", "1", "2"]
        refusal = api.refused(ADD_MESSAGES, sessionId="s", messages=[{"role": "USER", "content": "more"}])
        assert refusal["code"] == "SESSION_ENDED"


@pytest.mark.parametrize("batch", [1, 500])
@pytest.mark.parametrize("placed", [False, True], ids=["without sequence", "with sequence"])
def test_a_session_line_after_its_messages_is_applied(
    place: Place, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch, batch: int, placed: bool
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
        imported = command("import", file, *place.option)
        assert imported.status == 0, imported.err
    with serving(place) as api:
        found = api.graphql(KEPT, sessionId="s")["session"]
        assert (found["user"], found["situation"], found["metadata"]) == ({"userId": "ada"}, "at sea", {"a": [1]})
        assert kept(api, "s") == ["1", "2"]
        of_user = api.graphql('{ user(userId: "ada") { sessions { nodes { sessionId } } } }')["user"]["sessions"]
        assert of_user["nodes"] == [{"sessionId": "s"}]
        (next_one,) = api.accepted(ADD_MESSAGES, sessionId="s", messages=[{"role": "USER", "content": "3"}])["messages"]
        assert next_one["sequence"] == 3


TWO_MESSAGES: list[Line] = [
    {"type": "message", "sessionId": "s", "role": "USER", "content": f"{n}", "sequence": n} for n in (1, 2)
]


@pytest.mark.parametrize("positions", [(0, 0), (3, 3), (1, None), (None, 0)])
def test_two_sources_with_one_position_are_refused_by_line(
    place: Place, tmp_path: Path, command: Command, positions: tuple[int | None, int | None]
) -> None:
    sources = [{"sessionId": "s", "sequence": n, "position": at} for n, at in zip((1, 2), positions, strict=True)]
    memory = {"type": "memory", "sessionId": "s", "kind": "FACT", "content": "c", "sources": sources}
    words = said(command("import", write(tmp_path / "in.ndjson", [*TWO_MESSAGES, memory]), *place.option))
    assert re.search(r"\bline 3\b", words), words
    assert counts(place)["memories"] == counts(place)["messages"] == 0


def test_sources_are_imported_in_the_order_of_their_positions(place: Place, tmp_path: Path, command: Command) -> None:
    sources = [{"sessionId": "s", "sequence": 1, "position": 1}, {"sessionId": "s", "sequence": 2, "position": 0}]
    memory = {"type": "memory", "sessionId": "s", "kind": "FACT", "content": "c", "sources": sources}
    imported = command("import", write(tmp_path / "in.ndjson", [*TWO_MESSAGES, memory]), *place.option)
    assert imported.status == 0, imported.err
    query = '{ session(sessionId: "s") { memories { nodes { sources { nodes { ... on Message { sequence } } } } } } }'
    with serving(place) as api:
        (found,) = api.graphql(query)["session"]["memories"]["nodes"]
    assert found["sources"]["nodes"] == [{"sequence": 2}, {"sequence": 1}]


@pytest.mark.parametrize("number", [2**31 - 1, 2**30 + 1])
def test_a_number_without_room_to_grow_is_refused(place: Place, tmp_path: Path, command: Command, number: int) -> None:
    lines: list[Line] = [
        {"type": "user", "userId": "ada", "version": number},
        {"type": "session", "sessionId": "s", "version": number},
        {"type": "session", "sessionId": "s", "lastSequence": number},
        {**TWO_MESSAGES[0], "version": number},
        {**TWO_MESSAGES[0], "sequence": number},
    ]
    before = place.tables()
    for line in lines:
        words = said(command("import", write(tmp_path / "in.ndjson", [line]), *place.option))
        assert re.search(r"\bline 1\b", words), words
        assert any(name in words for name in ("version", "lastSequence", "sequence")), words
    assert place.tables() == before


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
    assert command("import", str(file), *server.place.option).status == 0
    found = server.graphql('{ user(userId: "ada") { memories { nodes { content } } } }')
    assert found["user"]["memories"]["nodes"] == [{"content": "greets"}]
    add = (
        'mutation { addMessages(input: {sessionId: "s", messages: [{role: USER, content: "x"}]}) '
        "{ messages { sequence } } }"
    )
    # A deleted message's number is not given again, in whatever order the lines come.
    assert server.graphql(add)["addMessages"]["messages"] == [{"sequence": 9}]
