"""An export that is imported again gives the same data: objects, orders, cursors, versions, and what was deleted."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.archives import Command, copied, fill, kept, mutate, say, serving
from tests.documents import ADD_MESSAGES, DELETE_MESSAGES
from tests.places import Fresh
from tests.servers import REPOSITORY, Api, Server

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
        node { id documentId title content metadata createdAt updatedAt version } } }
        memories(filter: {history: true}) { edges { cursor node { id content supersededBy { id } agent { id } } } }
        } } } }""",
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
    """The answers to the wide queries, and all objects by their ids."""
    found = {name: api.graphql(query) for name, query in WIDE.items()}
    ids = sorted(set(ids_in(found)))
    assert len(ids) < 100
    return {**found, "nodes": api.graphql(NODES, ids=ids)}


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


def test_importing_an_export_into_its_own_database_changes_nothing(
    server: Server, tmp_path: Path, command: Command
) -> None:
    fill(server)
    file = tmp_path / "out.ndjson"
    assert command("export", file, *server.place.option).status == 0
    before = server.tables()
    imported = command("import", file, *server.place.option)
    assert imported.status == 0, imported.err
    assert server.tables() == before


def test_an_export_imported_into_a_fresh_file_gives_the_same_answers(
    server: Server, fresh: Fresh, tmp_path: Path, command: Command
) -> None:
    fill(server)
    before = answers(server)
    assert len(before["nodes"]["nodes"]) > 25
    with serving(copied(command, server.place, tmp_path, fresh)) as other:
        after = answers(other)
        for name in before:
            assert after[name] == before[name], name
        assert other.graphql("{ sessions(filter: {deleted: true}) { totalCount } }")["sessions"]["totalCount"] == 0
        # The counter goes on where it was, also behind messages that were deleted at the end.
        for api in (server, other):
            (message,) = api.accepted(ADD_MESSAGES, sessionId="s1", messages=[{"role": "USER", "content": "on"}])[
                "messages"
            ]
            assert message["sequence"] == 9


def test_an_export_of_an_import_is_the_same_byte_for_byte(
    server: Server, fresh: Fresh, tmp_path: Path, command: Command
) -> None:
    fill(server)
    target = copied(command, server.place, tmp_path, fresh)
    again = tmp_path / "again.ndjson"
    assert command("export", again, *target.option).status == 0
    assert again.read_bytes() == (tmp_path / "copied.ndjson").read_bytes()


def test_a_retry_is_still_recognised_after_an_import(
    server: Server, fresh: Fresh, tmp_path: Path, command: Command
) -> None:
    first = {"messageId": "a", "role": "USER", "content": "as first sent", "parts": [{"z": 1.0, "a": "é"}]}
    sent = server.accepted(ADD_MESSAGES, sessionId="s", messages=[first])["messages"]
    mutate(server, "updateMessage", "message { id }", id=sent[0]["id"], content="edited")
    with serving(copied(command, server.place, tmp_path, fresh)) as other:
        again = other.accepted(ADD_MESSAGES, sessionId="s", messages=[first])
        assert again["deduplicated"] == 1
        assert again["messages"][0]["content"] == "edited"


def test_a_memory_that_rests_on_a_deleted_session_is_exported_and_imported(
    server: Server, fresh: Fresh, tmp_path: Path, command: Command
) -> None:
    mutate(server, "createUser", "user { id }", userId="ada")
    (gone,) = say(server, "gone", "a word", userId="ada")
    (stays,) = say(server, "stays", "another", userId="ada")
    mutate(server, "createMemory", "memory { id }", userId="ada", kind="FACT", content="x", sources=[gone, stays])
    mutate(server, "deleteSession", "deletedSessionId", sessionId="gone")
    before = answers(server)
    with serving(copied(command, server.place, tmp_path, fresh)) as other:
        assert answers(other) == before


def test_a_memory_that_lost_a_source_is_exported_and_imported_with_its_cursors(
    server: Server, fresh: Fresh, tmp_path: Path, command: Command
) -> None:
    mutate(server, "createUser", "user { id }", userId="ada")
    told = say(server, "s", "one", "two", "three", userId="ada")
    mutate(server, "createMemory", "memory { id }", userId="ada", kind="FACT", content="x", sources=told)
    mutate(server, "deleteMessage", "deletedMessageId", id=told[1])
    query = (
        '{ user(userId: "ada") { memories { nodes { sources { edges { cursor node { ... on Message { id } } } } } } } }'
    )
    before = server.graphql(query)
    with serving(copied(command, server.place, tmp_path, fresh)) as other:
        assert other.graphql(query) == before


def test_what_is_deleted_is_not_exported(server: Server, command: Command) -> None:
    fill(server)
    exported = command("export", *server.place.option)
    assert exported.status == 0, exported.err
    lines = [json.loads(line) for line in exported.out.split("\n")[:-1]]
    assert not [line for line in lines if "erased" in (line.get("userId"), line.get("title"))]
    assert "deleted" not in {line.get("sessionId") for line in lines}
    contents = {line.get("content") for line in lines}
    assert not contents & {"nobody hears", "gone with its session", "before that", "old", "two", "lives in Oslo"}
    assert contents >= {"after", "new", "three, edited", "lives in Bonn", "lives in Rome"}


def test_an_export_has_an_object_a_line_with_known_fields_only(server: Server, command: Command) -> None:
    fill(server)
    exported = command("export", *server.place.option)
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
    lines = [json.loads(line) for line in command("export", *server.place.option).out.split("\n")[:-1]]
    seen: set[tuple[str, str]] = set()
    for line in lines:
        kind = line["type"]
        for name in ("user", "agent", "session"):
            if (key := line.get(f"{name}Id")) is not None:
                assert kind == name or (name, key) in seen, line
        seen.add((kind, line.get(f"{kind}Id", "")))


HISTORY = """{ user(userId: "ada") { memories(filter: {history: true}) {
    nodes { id content validFrom validUntil supersededBy { id } supersedes { id } } } } }"""


def exported(api: Api, folder: Path, command: Command) -> Path:
    file = folder / "exported.ndjson"
    outcome = command("export", file, *api.place.option)
    assert outcome.status == 0, outcome.err
    return file


def test_a_memory_superseded_before_it_was_to_begin_is_exported_and_imported(
    server: Server, fresh: Fresh, tmp_path: Path, command: Command
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
    with serving(copied(command, server.place, tmp_path, fresh)) as other:
        assert other.graphql(HISTORY) == before


def test_a_message_deleted_after_an_export_stays_deleted_when_that_is_imported(
    server: Server, tmp_path: Path, command: Command
) -> None:
    first = {"messageId": "m", "role": "USER", "content": "to be forgotten"}
    (message,) = server.accepted(ADD_MESSAGES, sessionId="s", messages=[first])["messages"]
    rest = say(server, "s", "two", "three")
    file = exported(server, tmp_path, command)
    mutate(server, "deleteMessage", "deletedMessageId", id=message["id"])
    before = server.tables()
    imported = command("import", file, *server.place.option)
    assert imported.status == 0, imported.err
    assert server.tables() == before
    assert kept(server, "s") == ["two", "three"]
    assert server.refused(ADD_MESSAGES, sessionId="s", messages=[first])["code"] == "CONFLICT"
    gone = server.accepted(DELETE_MESSAGES, sessionId="s", fromSequence=1, toSequence=3)
    assert (gone["deletedMessageIds"], gone["hasMore"]) == (rest, False)
    assert kept(server, "s") == []


def test_the_id_of_a_deleted_message_is_refused_after_an_import_elsewhere(
    server: Server, fresh: Fresh, tmp_path: Path, command: Command
) -> None:
    first = {"messageId": "m", "role": "USER", "content": "to be forgotten"}
    (message,) = server.accepted(ADD_MESSAGES, sessionId="s", messages=[first])["messages"]
    told = say(server, "s", "two", "three")
    for gone in (message["id"], told[1]):
        mutate(server, "deleteMessage", "deletedMessageId", id=gone)
    target = copied(command, server.place, tmp_path, fresh)
    lines = [json.loads(line) for line in (tmp_path / "copied.ndjson").read_text().splitlines()]
    (session,) = [line for line in lines if line["type"] == "session"]
    assert [tombstone["sequence"] for tombstone in session["deletedMessages"]] == [1, 3]
    with serving(target) as other:
        assert other.refused(ADD_MESSAGES, sessionId="s", messages=[first])["code"] == "CONFLICT"
        assert kept(other, "s") == ["two"]
        assert say(other, "s", "four") == say(server, "s", "four"), "the sequence goes on behind the deleted one"


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
    imported = command("import", file, *server.place.option)
    assert imported.status == 0, imported.err
    assert server.graphql(query) == before


def test_importing_again_leaves_the_messages_of_a_revived_session_deleted(
    server: Server, tmp_path: Path, command: Command
) -> None:
    first = {"messageId": "m", "role": "USER", "content": "before"}
    server.accepted(ADD_MESSAGES, sessionId="s", messages=[first, {"role": "USER", "content": "before that"}])
    file = exported(server, tmp_path, command)
    mutate(server, "deleteSession", "deletedSessionId", sessionId="s")
    say(server, "s", "after")
    before = server.tables()
    imported = command("import", file, *server.place.option)
    assert imported.status == 0, imported.err
    assert server.tables() == before
    assert kept(server, "s") == ["after"]


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
    assert command("export", str(file), *server.place.option).status == 0
    server.graphql("mutation ($id: ID!) { deleteMemory(input: {id: $id}) { deletedMemoryId } }", id=kept)
    server.graphql("mutation ($id: ID!) { deleteMessage(input: {id: $id}) { deletedMessageId } }", id=added[0]["id"])
    outcome = command("import", str(file), *server.place.option)
    assert outcome.status == 0, outcome
    query = "query ($id: ID!) { node(id: $id) { ... on Memory { sources { nodes { ... on Message { content } } } } } }"
    assert server.graphql(query, id=kept)["node"]["sources"]["nodes"] == [{"content": "b"}]
