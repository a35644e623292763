"""Memories by the application's own ids: `upsertMemory`, and messages that `sourceMessages` names."""

from pathlib import Path
from typing import Any

import pytest

from tests.archives import Command, write
from tests.documents import (
    ADD_MESSAGES,
    CREATE_AGENT,
    DELETE_MESSAGE,
    DELETE_SESSION,
    ISSUE_USER_TOKEN,
    UPDATE_MESSAGE,
    mutation,
)
from tests.memories import CREATE, MEMORY, add_session, add_user, contents, declare, memory, sources
from tests.searches import texts
from tests.servers import Api, Server

UPSERT = mutation("upsertMemory", f"memory {{ {MEMORY} }} created")
OWNERS: list[dict[str, str]] = [{"userId": "ada"}, {"sessionId": "chat"}, {"agentId": "guide"}]


@pytest.fixture
def town(server: Server) -> Server:
    for user in ("ada", "bob"):
        add_user(server, user)
    server.accepted(CREATE_AGENT, agentId="guide", name="Guide")
    add_session(server, userId="ada", agentId="guide")
    return server


def token(server: Server, *permissions: str) -> Api:
    api = Api(server.port, server.place)
    issued = server.accepted(ISSUE_USER_TOKEN, userId="ada", permissions=list(permissions))
    api.client.headers["authorization"] = f"Bearer {issued['token']}"
    return api


def upsert(api: Api, content: str | None = "Likes tea.", **fields: Any) -> tuple[dict[str, Any], bool]:
    given = {"memoryId": "m", "kind": "PREFERENCE", "content": content} | fields
    payload = api.accepted(UPSERT, **{name: value for name, value in given.items() if value is not ...})
    return payload["memory"], payload["created"]


# upsertMemory


@pytest.mark.parametrize("owner", OWNERS)
def test_an_upsert_creates_a_memory_and_then_changes_it(town: Server, owner: dict[str, str]) -> None:
    made, created = upsert(town, rating=0.5, metadata={"a": 1, "gone": None}, **owner)
    assert (created, made["content"], made["rating"], made["metadata"]) == (True, "Likes tea.", 0.5, {"a": 1})
    changed, created = upsert(town, "Likes coffee.", metadata={"b": 2}, **owner)
    expected = {"content": "Likes coffee.", "version": 2, "metadata": {"a": 1, "b": 2}}
    assert (changed, created) == (made | expected | {"updatedAt": changed["updatedAt"]}, False)
    again, created = upsert(town, "Likes coffee.", metadata={"b": 2}, **owner)
    assert (again, created) == (changed, False)
    assert memory(town, made["id"]) == changed
    assert texts(town, "coffee tea") == ["Likes coffee."]


def test_an_upsert_keeps_what_is_left_out_and_clears_what_is_null(town: Server) -> None:
    period = {"validFrom": "2024-01-01T00:00:00Z", "validUntil": "2030-01-01T00:00:00Z"}
    made, _ = upsert(town, userId="ada", rating=0.5, expiresAt="2040-01-01T00:00:00Z", metadata={"a": 1}, **period)
    kept, created = upsert(town, ..., kind=..., userId="ada", rating=0.6)  # pyright: ignore[reportArgumentType]
    assert (kept, created) == (made | {"rating": 0.6, "version": 2, "updatedAt": kept["updatedAt"]}, False)
    cleared, _ = upsert(town, userId="ada", rating=None, expiresAt=None, validFrom=None, validUntil=None, metadata=None)
    nothing = dict.fromkeys(("rating", "expiresAt", "validFrom", "validUntil"))
    assert cleared == made | nothing | {"metadata": {}, "version": 3, "updatedAt": cleared["updatedAt"]}
    replaced, _ = upsert(town, userId="ada", metadata={"n": None}, metadataMode="REPLACE")
    assert replaced["metadata"] == {"n": None}


def test_an_upsert_keeps_the_sources(town: Server) -> None:
    (said,) = say(town, "hello")
    made = declare(town, userId="ada", memoryId="m", sources=[said])
    changed, created = upsert(town, userId="ada")
    assert (changed["id"], created) == (made["id"], False)
    assert sources(town, made["id"]) == {said}


@pytest.mark.parametrize(
    ("fields", "code", "path"),
    [
        ({"userId": "ada", "content": ...}, "INVALID", ["content"]),
        ({"userId": "ada", "kind": ...}, "INVALID", ["kind"]),
        ({"userId": "ada", "content": None}, "INVALID", ["content"]),
        ({"userId": "ada", "kind": None}, "INVALID", ["kind"]),
        ({"userId": "ada", "content": " "}, "INVALID", ["content"]),
        ({"userId": "ada", "rating": 1.5}, "INVALID", ["rating"]),
        ({"userId": "ada", "memoryId": ""}, "INVALID", ["memoryId"]),
        ({"userId": "ada", "memoryId": "x" * 513}, "INVALID", ["memoryId"]),
        ({"userId": "ada", "metadata": []}, "INVALID", ["metadata"]),
        (
            {"userId": "ada", "validFrom": "2025-01-01T00:00:00Z", "validUntil": "2024-01-01T00:00:00Z"},
            "INVALID",
            ["validUntil"],
        ),
        ({}, "INVALID", []),
        ({"userId": None, "agentId": None}, "INVALID", []),
        ({"userId": "ada", "agentId": "guide"}, "INVALID", ["agentId"]),
        ({"sessionId": "chat", "userId": "bob"}, "INVALID", ["userId"]),
        ({"userId": "nobody"}, "NOT_FOUND", ["userId"]),
        ({"sessionId": "nothing"}, "NOT_FOUND", ["sessionId"]),
        ({"agentId": "nobody"}, "NOT_FOUND", ["agentId"]),
    ],
)
def test_a_bad_upsert_is_refused(town: Server, fields: dict[str, Any], code: str, path: list[str]) -> None:
    given = {"memoryId": "m", "kind": "FACT", "content": "x"} | fields
    error = town.refused(UPSERT, **{name: value for name, value in given.items() if value is not ...})
    assert (error["code"], error["path"]) == (code, path)


def test_a_bad_change_by_an_upsert_is_refused(town: Server) -> None:
    declare(town, userId="ada", memoryId="m", about="Zoe", validFrom="2025-01-01T00:00:00Z")
    for fields, code, path in (
        ({"validUntil": "2024-01-01T00:00:00Z"}, "INVALID", ["validUntil"]),
        ({"content": None}, "INVALID", ["content"]),
        ({"kind": None}, "INVALID", ["kind"]),
        ({"about": "Yan"}, "CONFLICT", ["about"]),
        ({"about": None}, "CONFLICT", ["about"]),
    ):
        error = town.refused(UPSERT, memoryId="m", userId="ada", **fields)
        assert (error["code"], error["path"]) == (code, path)
    _, created = upsert(town, userId="ada", about="ZOE")
    assert created is False


def test_a_memory_id_is_the_owners_own(town: Server) -> None:
    made = [upsert(town, **owner)[0]["id"] for owner in (*OWNERS, {"userId": "bob"})]
    assert len(set(made)) == 4
    assert upsert(town, userId="ada")[0]["id"] == made[0]
    add_session(town, "gone", userId="ada")
    before, _ = upsert(town, sessionId="gone")
    town.accepted(DELETE_SESSION, sessionId="gone")
    assert town.refused(UPSERT, memoryId="m", sessionId="gone", kind="FACT", content="x")["code"] == "NOT_FOUND"
    say(town, "again", session="gone")
    anew, created = upsert(town, "Anew.", sessionId="gone")
    assert (anew["id"], anew["version"], created) == (before["id"], 1, True)


def test_a_summary_by_an_upsert_supersedes_the_current_one(town: Server) -> None:
    for owner in OWNERS:
        first = declare(town, "first", kind="SUMMARY", **owner)
        second, _ = upsert(town, "second", kind="SUMMARY", **owner)
        assert second["supersedes"] == [{"id": first["id"]}]
        changed, _ = upsert(town, "second, changed", kind="SUMMARY", **owner)
        assert (changed["supersedes"], changed["supersededBy"]) == ([{"id": first["id"]}], None)


def test_an_upsert_of_a_formed_memory_is_a_correction(
    town: Server, command: Command, tmp_path: Path, server: Server
) -> None:
    message = {"role": "USER", "content": "I live in Turin.", "messageId": "u"}
    (said,) = town.accepted(ADD_MESSAGES, sessionId="chat", messages=[message], formMemories=False)["messages"]
    line = {"type": "memory", "userId": "ada", "memoryId": "m", "kind": "FACT", "content": "I live in Turin"}
    line |= {"method": "RULE", "subject": "home", "sourceMessages": [{"sessionId": "chat", "messageId": "u"}]}
    done = command("import", write(tmp_path / "m.ndjson", [line]), *server.place.option)
    assert done.status == 0, done.err
    changed, created = upsert(town, "Lives near Turin.", userId="ada", kind="FACT")
    assert (created, changed["method"]) == (False, "RULE")
    town.accepted(UPDATE_MESSAGE, id=said["id"], content="I live in Turin!")
    assert contents(town) == ["Lives near Turin."], "what the application corrected is not formed again"


def test_a_user_token_upserts_its_own_memories_with_the_permission_to_manage(town: Server) -> None:
    declare(town, userId="bob", memoryId="m")
    api = token(town, "READ", "WRITE", "MANAGE")
    made, created = upsert(api)
    assert (made["user"], created) == ({"userId": "ada"}, True)
    assert upsert(api, "Likes coffee.", userId="ada") == (made | {"content": "Likes coffee."} | _new(api, made), False)
    for fields, code in (
        ({"userId": "bob"}, "NOT_FOUND"),
        ({"agentId": "guide"}, "FORBIDDEN"),
        ({"sessionId": "other"}, "NOT_FOUND"),
    ):
        assert api.refused(UPSERT, memoryId="m", kind="FACT", content="x", **fields)["code"] == code
    api.close()
    writer = token(town, "READ", "WRITE")
    (error,) = writer.errors(UPSERT, input={"memoryId": "m", "kind": "FACT", "content": "x"})
    assert error["extensions"]["code"] == "FORBIDDEN"
    writer.close()


def _new(api: Api, made: dict[str, Any]) -> dict[str, Any]:
    """The version and time of a memory now."""
    stored = memory(api, made["id"])
    assert stored is not None
    return {"version": 2, "updatedAt": stored["updatedAt"]}


# sourceMessages


def say(server: Server, *contents: str, session: str = "chat") -> list[str]:
    """The ids of new messages, whose own ids are their contents."""
    messages = [{"role": "ASSISTANT", "content": content, "messageId": content} for content in contents]
    payload = server.accepted(ADD_MESSAGES, sessionId=session, messages=messages, formMemories=False)
    return [message["id"] for message in payload["messages"]]


def test_messages_are_named_by_the_applications_own_ids(town: Server) -> None:
    ids = say(town, "one", "two", "three")
    other = say(town, "one", session="open")
    places: list[dict[str, Any]] = [
        {"sessionId": "chat", "messageId": "two"},
        {"sessionId": "open", "messageId": "one", "sequence": None},
        {"sessionId": "chat", "sequence": 3, "messageId": None},
        {"sessionId": "chat", "sequence": 2},
    ]
    made = declare(town, userId="ada", sources=[ids[0], ids[1]], sourceMessages=places)
    assert sources(town, made["id"]) == {*ids, *other}
    assert sources(town, declare(town, userId="ada", sourceMessages=[])["id"]) == set()
    assert sources(town, declare(town, agentId="guide", sourceMessages=[places[0]])["id"]) == {ids[1]}


@pytest.mark.parametrize(
    ("wrong", "code", "path"),
    [
        ({"sessionId": "chat"}, "INVALID", []),
        ({"sessionId": "chat", "messageId": None, "sequence": None}, "INVALID", []),
        ({"sessionId": "chat", "messageId": "one", "sequence": 1}, "INVALID", []),
        ({"sessionId": "", "sequence": 1}, "INVALID", ["sessionId"]),
        ({"sessionId": "chat", "messageId": "x" * 513}, "INVALID", ["messageId"]),
        ({"sessionId": "chat", "messageId": "a\0b"}, "INVALID", ["messageId"]),
        ({"sessionId": "chat", "messageId": "unknown"}, "NOT_FOUND", []),
        ({"sessionId": "chat", "messageId": "gone"}, "NOT_FOUND", []),
        ({"sessionId": "chat", "sequence": 3}, "NOT_FOUND", []),
        ({"sessionId": "chat", "sequence": 0}, "NOT_FOUND", []),
        ({"sessionId": "chat", "sequence": -1}, "NOT_FOUND", []),
        ({"sessionId": "unknown", "sequence": 1}, "NOT_FOUND", []),
        ({"sessionId": "deleted", "messageId": "one"}, "NOT_FOUND", []),
        ({"sessionId": "bobs", "messageId": "one"}, "INVALID", []),
        ({"sessionId": "bobs", "sequence": 1}, "INVALID", []),
    ],
)
def test_a_bad_source_message_is_refused(town: Server, wrong: dict[str, Any], code: str, path: list[str]) -> None:
    _, gone = say(town, "one", "gone")
    town.accepted(DELETE_MESSAGE, id=gone)
    add_session(town, "bobs", userId="bob")
    for session in ("bobs", "deleted"):
        say(town, "one", session=session)
    town.accepted(DELETE_SESSION, sessionId="deleted")
    given = [{"sessionId": "chat", "sequence": 1}, wrong]
    error = town.refused(CREATE, kind="FACT", content="x", userId="ada", sourceMessages=given)
    assert (error["code"], error["path"]) == (code, ["sourceMessages", "1", *path])


def test_a_memory_has_at_most_a_hundred_sources(town: Server) -> None:
    (id,) = say(town, "one")
    place = {"sessionId": "chat", "messageId": "one"}
    for ids, places, path in ((101, 0, "sources"), (0, 101, "sourceMessages"), (50, 51, "sourceMessages")):
        given = {"sources": [id] * ids, "sourceMessages": [place] * places}
        error = town.refused(CREATE, kind="FACT", content="x", userId="ada", **given)
        assert (error["code"], error["path"]) == ("TOO_LARGE", [path])
    made = declare(town, userId="ada", sources=[id] * 50, sourceMessages=[place] * 50)
    assert sources(town, made["id"]) == {id}


def test_a_user_token_names_messages_of_its_own_sessions_only(town: Server) -> None:
    add_session(town, "bobs", userId="bob")
    (own,) = say(town, "one")
    say(town, "one", session="bobs")
    say(town, "one", session="open")
    api = token(town, "READ", "WRITE")
    made = declare(api, sourceMessages=[{"sessionId": "chat", "messageId": "one"}])
    assert sources(town, made["id"]) == {own}
    for session in ("bobs", "open"):
        place = {"sessionId": session, "messageId": "one"}
        assert api.refused(CREATE, kind="FACT", content="x", sourceMessages=[place])["code"] == "NOT_FOUND"
    api.close()


def test_many_source_messages_are_looked_up_together(town: Server) -> None:
    say(town, *(f"m{number}" for number in range(100)))
    seen: list[str] = []
    town.app.state.database.listener = seen.append

    def taken(count: int) -> int:
        seen.clear()
        places = [{"sessionId": "chat", "messageId": f"m{number}"} for number in range(count)]
        declare(town, userId="ada", sourceMessages=places)
        return len(seen)

    assert taken(2) == taken(100)


def test_lines_of_an_import_name_messages_by_the_applications_own_ids(
    server: Server, command: Command, tmp_path: Path
) -> None:
    lines: list[dict[str, Any]] = [
        {"type": "memory", "sessionId": "s", "kind": "FACT", "content": "x", "memoryId": "m"}
        | {"sources": [{"sessionId": "s", "sequence": 1, "position": 4}]}
        | {"sourceMessages": [{"sessionId": "s", "messageId": "b"}, {"sessionId": "s", "sequence": 3}]},
        *({"type": "message", "sessionId": "s", "messageId": id, "role": "USER", "content": id} for id in "abc"),
    ]
    file = write(tmp_path / "lines.ndjson", lines)
    for _ in range(2):
        done = command("import", file, *server.place.option)
        assert done.status == 0, done.err
    query = (
        """{ session(sessionId: "s") { memories { nodes { sources { nodes { ... on Message { content } } } } } } }"""
    )
    (made,) = server.graphql(query)["session"]["memories"]["nodes"]
    assert [node["content"] for node in made["sources"]["nodes"]] == ["a", "b", "c"]
    for place, said in (
        ({"sessionId": "s", "messageId": "none"}, "sourceMessages.0: There is no such message."),
        ({"sessionId": "s"}, "sourceMessages.0: A message has a `messageId` or a `sequence`"),
    ):
        bad = {"type": "memory", "sessionId": "s", "kind": "FACT", "content": "y", "sourceMessages": [place]}
        refused = command("import", write(tmp_path / "bad.ndjson", [bad]), *server.place.option)
        assert refused.status == 1
        assert said in refused.err, refused.err
