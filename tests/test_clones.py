"""Clones of sessions: what is copied, what is not, and how they go on."""

import io
from typing import Any

import pytest

import resolvers.clones
from recallql.commands.archive import export_file, import_file
from recallql.settings import Settings
from tests.documents import (
    CREATE_AGENT,
    CREATE_SESSION,
    CREATE_USER,
    DELETE_MEMORY,
    DELETE_MESSAGE,
    DELETE_SESSION,
    DELETE_USER,
    END_SESSION,
    ISSUE_USER_TOKEN,
    UPDATE_MESSAGE,
    mutation,
)
from tests.model_server import ModelServer
from tests.places import Fresh
from tests.servers import Api, Server, Start, wait_until
from tests.sessions import add, contents, turn

ATTRIBUTES = """title situation metadata tokenBudget contextOverflow formMemories user { userId } agent { agentId }"""
OWN = "id sessionId createdAt updatedAt lastActivityAt endedAt version"
SAID = """messageId sequence role name content parts toolCalls toolCallId metadata tokenCount createdAt utcOffset
  updatedAt version"""
READ = f"""query ($id: String!) {{ session(sessionId: $id) {{ {OWN} {ATTRIBUTES}
  messages(first: 100) {{ totalCount nodes {{ id {SAID} }} }} memories {{ totalCount }} }} }}"""
CLONE = mutation("cloneSession", f"session {{ {OWN} }}")
ADD = mutation("addMessages", "messages { id sequence content } deduplicated memories { id content }")


def read(server: Api, id: str) -> dict[str, Any]:
    return server.graphql(READ, id=id)["session"]


def clone(server: Api, id: str = "chat", new: str | None = "copy", **fields: Any) -> dict[str, Any]:
    return server.accepted(CLONE, sessionId=id, newSessionId=new, **fields)["session"]


def said(server: Api, id: str) -> list[dict[str, Any]]:
    """The messages without their ids."""
    return [{**node, "id": None} for node in read(server, id)["messages"]["nodes"]]


def sequences(server: Api, id: str) -> list[int]:
    messages = read(server, id)["messages"]
    assert messages["totalCount"] == len(messages["nodes"])
    return [node["sequence"] for node in messages["nodes"]]


@pytest.fixture
def chat(server: Server) -> Server:
    """A conversation of four messages with all that a session and a message can have."""
    server.accepted(CREATE_USER, userId="ada", name="Ada")
    server.accepted(CREATE_AGENT, agentId="guide", name="Guide")
    server.accepted(
        CREATE_SESSION,
        sessionId="chat",
        userId="ada",
        agentId="guide",
        title="Ferries",
        situation="On an island",
        metadata={"a": [1]},
        tokenBudget=900,
        contextOverflow="TRUNCATE",
        formMemories=True,
        createdAt="2024-01-01T00:00:00Z",
        lastActivityAt="2024-01-02T00:00:00Z",
    )
    call = [{"id": "t1", "type": "function", "function": {"name": "timetable", "arguments": "{}"}}]
    add(
        server,
        "chat",
        turn("When does it go?", "m1", createdAt="2024-01-01T12:00:00+02:00", name="Ada", metadata={"n": 1}),
        turn(None, "m2", role="ASSISTANT", toolCalls=call, tokenCount=3),
        turn("at nine", "m3", role="TOOL", toolCallId="t1", parts=[{"type": "text", "text": "at nine"}]),
        turn("I like ferries.", "m4"),
    )
    return server


def test_a_clone_has_the_messages_and_attributes_and_is_a_session_of_its_own(chat: Server) -> None:
    chat.accepted(END_SESSION, sessionId="chat")
    before = read(chat, "chat")
    copy = clone(chat)
    assert read(chat, "chat") == before
    after = read(chat, "copy")
    assert said(chat, "copy") == said(chat, "chat")
    for name in ("title", "situation", "metadata", "tokenBudget", "contextOverflow", "formMemories", "user", "agent"):
        assert after[name] == before[name], name
        assert after[name] is not None
    ids = [{node["id"] for node in one["messages"]["nodes"]} | {one["id"]} for one in (before, after)]
    assert len(ids[0] | ids[1]) == 2 * 5
    assert (after["id"], after["endedAt"], after["version"]) == (copy["id"], None, 1)
    # It was made now, whatever the times of its source.
    assert after["createdAt"] == after["lastActivityAt"] == after["updatedAt"] > before["updatedAt"]
    for node in after["messages"]["nodes"]:
        found = chat.graphql(
            "query ($id: ID!) { node(id: $id) { ... on Message { session { sessionId } } } }", id=node["id"]
        )
        assert found["node"]["session"] == {"sessionId": "copy"}


def test_a_clone_without_a_key_gets_one(chat: Server) -> None:
    first, second = clone(chat, new=None), clone(chat, new=None)
    assert len({"chat", first["sessionId"], second["sessionId"]}) == 3
    assert sequences(chat, first["sessionId"]) == [1, 2, 3, 4]


@pytest.mark.parametrize("through", [1, 3, 4])
def test_a_clone_ends_with_the_message_that_is_named_and_goes_on_behind_it(chat: Server, through: int) -> None:
    clone(chat, throughSequence=through)
    assert sequences(chat, "copy") == list(range(1, through + 1))
    (message,) = add(chat, "copy", "Another way")["messages"]
    assert message["sequence"] == through + 1
    assert sequences(chat, "chat") == [1, 2, 3, 4]


def test_what_cannot_be_cloned_is_refused_and_changes_nothing(chat: Server) -> None:
    chat.accepted(CREATE_SESSION, sessionId="gone")
    chat.accepted(DELETE_SESSION, sessionId="gone")
    chat.accepted(CREATE_SESSION, sessionId="taken")
    before = chat.tables()
    for fields, code, path in [
        ({"throughSequence": 5}, "INVALID", ["throughSequence"]),
        ({"throughSequence": 0}, "INVALID", ["throughSequence"]),
        ({"throughSequence": -1}, "INVALID", ["throughSequence"]),
        ({"sessionId": "unknown"}, "NOT_FOUND", ["sessionId"]),
        ({"sessionId": "gone"}, "NOT_FOUND", ["sessionId"]),
        ({"newSessionId": "taken"}, "ALREADY_EXISTS", ["newSessionId"]),
        ({"newSessionId": "gone"}, "ALREADY_EXISTS", ["newSessionId"]),
        ({"newSessionId": "chat"}, "ALREADY_EXISTS", ["newSessionId"]),
        ({"newSessionId": ""}, "INVALID", ["newSessionId"]),
        ({"newSessionId": "x" * 513}, "INVALID", ["newSessionId"]),
    ]:
        fault = chat.refused(CLONE, **{"sessionId": "chat", "newSessionId": "copy"} | fields)
        assert (fault["code"], fault["path"]) == (code, path), fields
    assert "has the sequence 4" in chat.refused(CLONE, sessionId="chat", throughSequence=5)["message"]
    assert chat.tables() == before


def test_what_is_too_much_for_a_clone_is_refused_with_what_fits(chat: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolvers.clones, "LARGEST_CLONE", 3)
    fault = chat.refused(CLONE, sessionId="chat", newSessionId="copy")
    assert (fault["code"], fault["path"]) == ("TOO_LARGE", ["throughSequence"])
    assert "at most 3 messages" in fault["message"]
    assert "`throughSequence: 3`" in fault["message"]
    clone(chat, throughSequence=3)
    monkeypatch.setattr(resolvers.clones, "LARGEST_CLONE", 5000)
    monkeypatch.setattr(resolvers.clones, "CLONE_CHARACTERS", 150)
    fault = chat.refused(CLONE, sessionId="chat", newSessionId="small")
    assert fault["code"] == "TOO_LARGE"
    assert "150 characters" in fault["message"]
    fits = int(fault["message"].split("throughSequence: ")[1].split("`")[0])
    assert 1 <= fits < 4
    clone(chat, new="small", throughSequence=fits)
    assert chat.refused(CLONE, sessionId="chat", throughSequence=fits + 1)["code"] == "TOO_LARGE"


def test_gaps_of_deleted_messages_stay_and_their_ids_are_free_again(chat: Server) -> None:
    ids = [node["id"] for node in read(chat, "chat")["messages"]["nodes"]]
    chat.accepted(DELETE_MESSAGE, id=ids[1])
    chat.accepted(DELETE_MESSAGE, id=ids[3])
    clone(chat)
    assert sequences(chat, "copy") == [1, 3]
    assert chat.refused(ADD, sessionId="chat", messages=[turn("other", "m2")])["code"] == "CONFLICT"
    messages = add(chat, "copy", turn("other", "m2"), turn("more"))["messages"]
    assert [message["sequence"] for message in messages] == [4, 5]
    assert sequences(chat, "copy") == [1, 3, 4, 5]


def test_messages_of_before_a_deletion_of_the_session_are_not_copied(chat: Server) -> None:
    chat.accepted(DELETE_SESSION, sessionId="chat")
    add(chat, "chat", turn("Back again", "m1"), "and here")
    clone(chat)
    assert sequences(chat, "copy") == [5, 6]
    assert add(chat, "copy", "on")["messages"][0]["sequence"] == 7
    query = '{ session(sessionId: "copy") { context(maxTokens: 10) { droppedMessages messages { id } } } }'
    context = chat.graphql(query)["session"]["context"]
    assert 0 < context["droppedMessages"] == 3 - len(context["messages"])
    clone(chat, new="empty", throughSequence=3)
    assert sequences(chat, "empty") == []
    assert add(chat, "empty", "first")["messages"][0]["sequence"] == 1


def test_retries_of_copied_messages_are_deduplicated(chat: Server) -> None:
    edited = read(chat, "chat")["messages"]["nodes"][3]
    chat.accepted(UPDATE_MESSAGE, id=edited["id"], content="I love ferries.")
    clone(chat)
    assert contents(chat, "copy")[3] == "I love ferries."
    assert add(chat, "copy", turn("I like ferries.", "m4"))["deduplicated"] == 1
    assert chat.refused(ADD, sessionId="copy", messages=[turn("Something else", "m4")])["code"] == "CONFLICT"
    assert sequences(chat, "copy") == [1, 2, 3, 4]


def test_cloning_forms_no_memories_and_edits_in_the_clone_do(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada")
    first = [turn("I live in Turin."), turn("I'm vegan."), turn("I like tea.", formMemories=False)]
    (turin, _) = server.accepted(ADD, sessionId="chat", userId="ada", messages=first)["memories"]
    server.accepted(DELETE_MEMORY, id=turin["id"])
    clone(server)
    assert read(server, "copy")["memories"]["totalCount"] == 0
    assert read(server, "chat")["memories"]["totalCount"] == 1
    for node, content in zip(
        read(server, "copy")["messages"]["nodes"],
        ("I live in Turin. Yes.", "I'm a nurse.", "I like coffee."),
        strict=True,
    ):
        server.accepted(UPDATE_MESSAGE, id=node["id"], content=content)
    nodes = server.graphql('{ session(sessionId: "copy") { memories { nodes { content } } } }')["session"]["memories"]
    # The first was deleted by hand, and of the third nothing is to be formed.
    assert nodes == {"nodes": [{"content": "I'm a nurse"}]}


def test_a_clone_waits_for_no_model(start: Start) -> None:
    model = ModelServer()
    model.hold.clear()
    try:
        server = start(chat_base_url=model.url, chat_model="small")
        server.accepted(ADD, sessionId="chat", messages=[turn("I live in Turin.")])
        clone(server)
        query = "{ sessions(orderBy: {field: SESSION_ID, direction: ASC}) { nodes { sessionId memoriesPending } } }"
        assert server.graphql(query)["sessions"]["nodes"] == [
            {"sessionId": "chat", "memoriesPending": True},
            {"sessionId": "copy", "memoriesPending": False},
        ]
    finally:
        model.close()


def test_a_clone_is_searched_exported_and_erased_like_any_session(chat: Server, fresh: Fresh) -> None:
    clone(chat, throughSequence=3)
    query = """{ search(query: "timetable", sessionId: "copy") { edges { highlight
      node { ... on Message { session { sessionId } } } } } }"""
    wait_until(lambda: "<mark>timetable</mark>" in str(chat.graphql(query)))
    assert {edge["node"]["session"]["sessionId"] for edge in chat.graphql(query)["search"]["edges"]} == {"copy"}
    lines, place = io.BytesIO(), fresh()
    export_file(lines, Settings(database_url=chat.place.url))
    import_file(io.BytesIO(lines.getvalue()), Settings(database_url=place.url), size=None)
    other = Server(place)
    try:
        for id in ("chat", "copy"):
            assert read(other, id) == read(chat, id)
    finally:
        other.close()
    chat.accepted(DELETE_USER, userId="ada")
    tables = chat.tables()
    assert not tables["messages"]
    assert not tables["sessions"]


def test_a_user_clones_only_what_is_its_own(chat: Server) -> None:
    chat.accepted(CREATE_USER, userId="bob")
    chat.accepted(CREATE_SESSION, sessionId="bobs", userId="bob")
    token = chat.accepted(ISSUE_USER_TOKEN, userId="ada", permissions=["READ", "WRITE", "MANAGE"])["token"]
    api = Api(chat.port, chat.place)
    api.client.headers["authorization"] = f"Bearer {token}"
    try:
        clone(api)
        assert read(api, "copy")["user"] == {"userId": "ada"}
        assert sequences(api, "copy") == [1, 2, 3, 4]
        assert api.refused(CLONE, sessionId="bobs", newSessionId="mine")["code"] == "NOT_FOUND"
        taken = [api.refused(CLONE, sessionId="chat", newSessionId=key) for key in ("bobs", "copy")]
        assert taken[0] == taken[1]
        assert taken[0]["code"] == "ALREADY_EXISTS"
    finally:
        api.close()
