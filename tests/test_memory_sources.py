"""Sources of memories, and the sessions that they belong to: named, deleted, edited, attached to another user."""

import pytest

from tests.documents import (
    ADD_MESSAGES,
    CREATE_DOCUMENT,
    DELETE_DOCUMENT,
    DELETE_MESSAGE,
    DELETE_MESSAGES,
    UPDATE_MESSAGE,
    UPDATE_SESSION,
)
from tests.memories import (
    CREATE,
    SOURCES,
    add_messages,
    add_session,
    add_user,
    contents,
    contents_of_message,
    contents_of_session,
    declare,
    memory,
    sources,
)
from tests.servers import Server

# Sources


def test_a_memory_names_the_messages_and_documents_it_rests_on(server: Server) -> None:
    add_user(server)
    add_session(server, userId="ada")
    first, second, third = add_messages(server, "one", "two", "three")
    document = server.accepted(CREATE_DOCUMENT, userId="ada", title="t", content="c")["document"]["id"]
    made = declare(server, "both", userId="ada", sources=[second, document, first])
    assert sources(server, made["id"]) == {first, second, document}
    nodes = server.graphql(SOURCES, id=made["id"])["node"]["sources"]["nodes"]
    assert {"__typename": "Message", "id": second, "sequence": 2} in nodes
    assert {"__typename": "Document", "id": document, "title": "t"} in nodes
    assert contents_of_message(server, first) == contents_of_message(server, second) == ["both"]
    assert contents_of_message(server, third) == []


def test_a_memory_without_sources_has_an_empty_list_of_them(server: Server) -> None:
    add_user(server)
    assert sources(server, declare(server, userId="ada", sources=[])["id"]) == set()
    assert sources(server, declare(server, userId="ada")["id"]) == set()


def test_a_message_lists_every_memory_that_names_it(server: Server) -> None:
    add_user(server)
    add_session(server, userId="ada")
    (message,) = add_messages(server, "one")
    old = declare(server, "old", userId="ada", sources=[message])
    declare(server, "new", userId="ada", sources=[message], supersedes=[old["id"]])
    declare(server, "of the session", sessionId="chat", sources=[message])
    declare(server, "was", userId="ada", sources=[message], validUntil="2001-01-01T00:00:00Z")
    assert contents_of_message(server, message) == ["new", "of the session", "old", "was"]


def test_a_source_that_is_none_is_refused(server: Server) -> None:
    user_id = add_user(server)
    add_session(server, userId="ada")
    there, gone = add_messages(server, "one", "two")
    server.accepted(DELETE_MESSAGE, id=gone)
    for wrong in (gone, user_id, "nonsense", ""):
        error = server.refused(CREATE, userId="ada", kind="FACT", content="x", sources=[there, wrong])
        assert error["code"] == "NOT_FOUND" if wrong == gone else error["code"] in {"NOT_FOUND", "INVALID"}
        assert error["path"] == ["sources", "1"]


def test_a_declared_memory_stays_without_the_message_that_is_deleted(server: Server) -> None:
    add_session(server)
    first, second = add_messages(server, "one", "two")
    both = declare(server, "both", sessionId="chat", sources=[first, second])
    alone = declare(server, "alone", sessionId="chat", sources=[first])
    server.accepted(DELETE_MESSAGE, id=first)
    assert contents_of_session(server) == ["alone", "both"]
    assert sources(server, both["id"]) == {second}
    assert sources(server, alone["id"]) == set()


def test_a_declared_memory_stays_without_the_messages_of_a_deleted_range(server: Server) -> None:
    add_session(server)
    messages = add_messages(server, "one", "two", "three", "four")
    made = declare(server, "all", sessionId="chat", sources=messages)
    server.accepted(DELETE_MESSAGES, sessionId="chat", fromSequence=2, toSequence=3)
    assert sources(server, made["id"]) == {messages[0], messages[3]}


def test_a_declared_memory_stays_when_its_message_is_edited(server: Server) -> None:
    add_session(server)
    (message,) = add_messages(server, "one")
    made = declare(server, "mine", sessionId="chat", sources=[message])
    server.accepted(UPDATE_MESSAGE, id=message, content="another")
    assert contents_of_session(server) == ["mine"]
    assert sources(server, made["id"]) <= {message}


def test_a_memory_stays_without_the_document_that_is_deleted(server: Server) -> None:
    add_user(server)
    document = server.accepted(CREATE_DOCUMENT, userId="ada", title="t", content="c")["document"]["id"]
    made = declare(server, "kept", userId="ada", sources=[document])
    server.accepted(DELETE_DOCUMENT, id=document)
    assert contents(server) == ["kept"]
    assert sources(server, made["id"]) == set()


# Sessions that change hands


@pytest.mark.parametrize("first_owner", [None, "ada"])
def test_a_session_that_changes_its_owner_takes_its_memories_along(server: Server, first_owner: str | None) -> None:
    for user_id in ("ada", "bob"):
        add_user(server, user_id)
    add_session(server, userId=first_owner)
    moved = declare(server, "goes along", sessionId="chat", memoryId="m")
    declare(server, "stays", userId="ada")
    server.accepted(UPDATE_SESSION, sessionId="chat", userId="bob")
    assert contents(server, "bob") == ["goes along"]
    assert contents(server, "ada") == ["stays"]
    found = memory(server, moved["id"])
    assert found is not None
    assert (found["user"], found["session"]) == ({"userId": "bob"}, {"sessionId": "chat"})


def test_a_session_without_its_owner_keeps_its_memories(server: Server) -> None:
    add_user(server)
    add_session(server, userId="ada")
    declare(server, "goes along", sessionId="chat")
    server.accepted(UPDATE_SESSION, sessionId="chat", userId=None)
    assert contents(server) == []
    assert contents_of_session(server) == ["goes along"]


def test_a_message_that_attaches_its_session_takes_the_memories_along(server: Server) -> None:
    add_user(server)
    add_session(server)
    declare(server, "goes along", sessionId="chat")
    server.accepted(
        ADD_MESSAGES, sessionId="chat", userId="ada", messages=[{"role": "USER", "content": "hi"}], formMemories=False
    )
    assert contents(server) == ["goes along"]
