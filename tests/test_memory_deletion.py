"""Memories that are deleted: alone, with their session, with their user."""

import pytest

import resolvers.deletions
from tests.documents import (
    CREATE_USER,
    DELETE_MEMORY,
    DELETE_SESSION,
    mutation,
)
from tests.memories import (
    CREATE,
    SUMMARIES,
    UPDATE,
    add_messages,
    add_session,
    add_user,
    contents,
    contents_of_session,
    declare,
    memory,
    sources,
)
from tests.servers import Server

ERASE = mutation("deleteUser", "deletedUserId receipt { memories documents }")


def test_a_deleted_memory_is_gone(server: Server) -> None:
    add_user(server)
    made = declare(server, "gone", userId="ada", memoryId="m")
    declare(server, "kept", userId="ada")
    assert server.accepted(DELETE_MEMORY, id=made["id"])["deletedMemoryId"] == made["id"]
    assert memory(server, made["id"]) is None
    assert contents(server, history=True) == ["kept"]
    assert server.refused(DELETE_MEMORY, id=made["id"])["code"] == "NOT_FOUND"
    assert server.refused(UPDATE, id=made["id"], content="x")["code"] == "NOT_FOUND"


def test_nothing_of_a_deleted_memory_remains_in_the_database(server: Server) -> None:
    add_user(server)
    made = declare(server, "unmistakable words", userId="ada", memoryId="unmistakable key")
    server.accepted(DELETE_MEMORY, id=made["id"])
    assert "unmistakable" not in str(server.tables())


def test_the_key_of_a_deleted_memory_is_free_again(server: Server) -> None:
    add_user(server)
    made = declare(server, "first", userId="ada", memoryId="m")
    server.accepted(DELETE_MEMORY, id=made["id"])
    again = declare(server, "second", userId="ada", memoryId="m")
    assert (again["content"], again["version"]) == ("second", 1)


def test_what_is_no_memory_can_be_neither_changed_nor_deleted(server: Server) -> None:
    user_id = add_user(server)
    for wrong in (user_id, "nonsense", "", "🦆", "x" * 5000):
        assert server.refused(DELETE_MEMORY, id=wrong)["code"] in {"NOT_FOUND", "INVALID"}
        assert server.refused(UPDATE, id=wrong, content="x")["code"] in {"NOT_FOUND", "INVALID"}


def test_a_deleted_session_hides_its_memories_and_leaves_the_rest(server: Server) -> None:
    add_user(server)
    for session_id in ("chat", "other"):
        add_session(server, session_id, userId="ada")
    (message,) = add_messages(server, "said in the chat")
    hidden = declare(server, "of the chat", sessionId="chat", kind="SUMMARY")
    declare(server, "of the other", sessionId="other")
    rest = declare(server, "of the user", userId="ada", sources=[message])
    server.accepted(DELETE_SESSION, sessionId="chat")
    assert contents(server) == contents(server, history=True) == ["of the other", "of the user"]
    assert memory(server, hidden["id"]) is None
    assert sources(server, rest["id"]) == set()
    assert server.refused(UPDATE, id=hidden["id"], content="x")["code"] == "NOT_FOUND"
    assert server.refused(DELETE_MEMORY, id=hidden["id"])["code"] == "NOT_FOUND"
    assert server.refused(CREATE, sessionId="chat", kind="FACT", content="x")["code"] == "NOT_FOUND"
    error = server.refused(CREATE, userId="ada", kind="FACT", content="x", sources=[message])
    assert (error["code"], error["path"]) == ("NOT_FOUND", ["sources", "0"])
    error = server.refused(CREATE, userId="ada", kind="FACT", content="x", supersedes=[hidden["id"]])
    assert (error["code"], error["path"]) == ("NOT_FOUND", ["supersedes", "0"])


def test_a_memory_of_a_deleted_session_is_not_shown_as_what_superseded_another(server: Server) -> None:
    add_user(server)
    add_session(server, userId="ada")
    old = declare(server, "old", userId="ada")
    new = declare(server, "new", sessionId="chat", supersedes=[old["id"]])
    older = declare(server, "older", sessionId="chat")
    newer = declare(server, "newer", userId="ada", supersedes=[older["id"]])
    server.accepted(DELETE_SESSION, sessionId="chat")
    assert memory(server, new["id"]) is memory(server, older["id"]) is None
    found_old, found_newer = memory(server, old["id"]), memory(server, newer["id"])
    assert found_old is not None
    assert found_old["supersededBy"] is None
    assert found_newer is not None
    assert found_newer["supersedes"] == []
    assert contents(server) == ["newer"]


def test_the_memories_of_a_session_that_comes_back_stay_deleted(server: Server) -> None:
    add_user(server)
    add_session(server, userId="ada")
    hidden = declare(server, "hidden", sessionId="chat", kind="SUMMARY")
    server.accepted(DELETE_SESSION, sessionId="chat")
    add_messages(server, "back")
    assert contents(server) == contents_of_session(server, history=True) == []
    assert memory(server, hidden["id"]) is None
    assert server.graphql(SUMMARIES, userId="ada", sessionId="chat")["session"] == {"summary": None}
    declare(server, "new", sessionId="chat")
    assert contents(server) == contents_of_session(server) == ["new"]


def test_an_erasure_takes_every_memory_of_the_user(server: Server) -> None:
    for user_id in ("ada", "bob"):
        add_user(server, user_id)
        add_session(server, f"chat of {user_id}", userId=user_id)
        declare(server, f"of {user_id}", userId=user_id)
        declare(server, f"of the session of {user_id}", sessionId=f"chat of {user_id}")
    mine = declare(server, "another", userId="ada")
    receipt = server.accepted(ERASE, userId="ada")["receipt"]
    assert receipt["memories"] == 3
    assert memory(server, mine["id"]) is None
    assert contents(server, "bob") == ["of bob", "of the session of bob"]


def test_long_memories_are_deleted_a_few_at_a_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.accepted(CREATE_USER, userId="ada")
    monkeypatch.setattr(resolvers.deletions, "DELETED_CHARACTERS", 100)
    create = mutation("createMemory", "memory { id }")
    made = [
        server.accepted(create, userId="ada", kind="FACT", content="ä" * length)["memory"]["id"]
        for length in (40, 60, 1, 101, 5, 5)
    ]
    delete = mutation("deleteMemories", "deletedMemoryIds hasMore")
    for first, end in ((0, 2), (2, 3), (3, 4), (4, 6)):
        done = server.accepted(delete, userId="ada")
        assert (done["deletedMemoryIds"], done["hasMore"]) == (made[first:end], end < 6)
