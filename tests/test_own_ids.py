"""Objects by the application's own ids: filters find exactly those objects within the list that they filter."""

import contextlib
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.documents import (
    ADD_MESSAGES,
    CREATE_AGENT,
    CREATE_DOCUMENT,
    CREATE_MEMORY,
    CREATE_SESSION,
    CREATE_USER,
    DELETE_MESSAGE,
    DELETE_SESSION,
    ISSUE_USER_TOKEN,
    UPDATE_SESSION,
    mutation,
)
from tests.servers import Api, Server

DELETE_MEMORIES = mutation("deleteMemories", "deletedMemoryIds hasMore")
IDS = ["a", "b", "ä", "c"]
OWNERS = ("ada", "bob")


@dataclass(frozen=True)
class Listed:
    """A list as a query: the field of its owner, its own, its filter, and the own id of its objects."""

    owner: str
    field: str
    filter: str

    @property
    def own(self) -> str:
        return self.filter.removesuffix("s")

    def ask(self, server: Api, key: str, filter: dict[str, Any], paging: str = "") -> dict[str, Any]:
        type = f"{self.field[0].upper()}{self.field[1:-1]}Filter".replace("Memorie", "Memory")
        query = f"""query ($key: String!, $filter: {type}) {{ owner: {self.owner}({self.owner}Id: $key) {{
            {self.field}(filter: $filter {paging}) {{ totalCount pageInfo {{ hasNextPage endCursor }} edges {{ cursor }}
            nodes {{ {self.own} }} }} }} }}"""
        return server.graphql(query, key=key, filter=filter)["owner"][self.field]

    def found(self, server: Api, key: str, *ids: str, **filter: Any) -> list[str]:
        page = self.ask(server, key, {self.filter: ids, **filter})
        nodes = [node[self.own] for node in page["nodes"]]
        assert page["totalCount"] == len(nodes)
        return sorted(nodes)


LISTS = {
    "Session.messages": Listed("session", "messages", "messageIds"),
    "User.memories": Listed("user", "memories", "memoryIds"),
    "Session.memories": Listed("session", "memories", "memoryIds"),
    "Agent.memories": Listed("agent", "memories", "memoryIds"),
    "User.documents": Listed("user", "documents", "documentIds"),
    "Agent.documents": Listed("agent", "documents", "documentIds"),
}
every_list = pytest.mark.parametrize("name", LISTS)


def add(server: Api, name: str, key: str, id: str | None, **more: Any) -> None:
    """Adds an object to a list of the owner with this key."""
    listed = LISTS[name]
    owner, own = {f"{listed.owner}Id": key}, {listed.own: id}
    match listed.field:
        case "messages":
            server.accepted(ADD_MESSAGES, **owner, messages=[{"role": "USER", "content": f"{id}"} | own | more])
        case "memories":
            server.accepted(CREATE_MEMORY, **owner, **own, kind="FACT", content=f"{id}", **more)
        case _:
            server.accepted(CREATE_DOCUMENT, **owner, **own, title=f"{id}", content="c", **more)


def fill(server: Api, name: str) -> None:
    """Two owners whose objects have the same ids, and objects without one."""
    for key in OWNERS:
        server.accepted(CREATE_USER, userId=key)
        server.accepted(CREATE_AGENT, agentId=key, name=key)
        server.accepted(CREATE_SESSION, sessionId=key, userId=key)
        for id in (*IDS, None):
            add(server, name, key, id)


@contextlib.contextmanager
def token_of(server: Server, user: str) -> Generator[Api]:
    """The API for a user's token."""
    api = Api(server.port, server.place)
    api.client.headers["authorization"] = f"Bearer {server.accepted(ISSUE_USER_TOKEN, userId=user)['token']}"
    yield api
    api.close()


@every_list
def test_objects_are_found_by_their_own_ids(server: Server, name: str) -> None:
    fill(server, name)
    listed = LISTS[name]
    for key in OWNERS:
        assert listed.found(server, key, "b") == ["b"]
        assert listed.found(server, key, "ä", "a", "a") == ["a", "ä"]
        # Ids are byte-exact; unknown ones, and those that cannot be stored, match nothing.
        assert listed.found(server, key, "A", "a\u0308", "", "b\0", "\ud800", "x" * 600, "c") == ["c"]
        assert listed.found(server, key) == []
    assert listed.ask(server, "ada", {listed.filter: None})["totalCount"] == 5


@every_list
def test_own_ids_are_paged_through_in_both_directions_while_others_are_added(server: Server, name: str) -> None:
    fill(server, name)
    listed, given = LISTS[name], {LISTS[name].filter: ["c", "a", "new", "b"]}
    order = [node[listed.own] for node in listed.ask(server, "ada", given)["nodes"]]
    assert sorted(order) == ["a", "b", "c"]
    page = listed.ask(server, "ada", given, "first: 2")
    assert page["pageInfo"]["hasNextPage"]
    assert [node[listed.own] for node in page["nodes"]] == order[:2]
    add(server, name, "ada", "other")
    rest = listed.ask(server, "ada", given, f'first: 2, after: "{page["pageInfo"]["endCursor"]}"')
    assert [node[listed.own] for node in rest["nodes"]] == order[2:]
    back = listed.ask(server, "ada", given, f'last: 1, before: "{page["edges"][1]["cursor"]}"')
    assert [node[listed.own] for node in back["nodes"]] == order[:1]


@every_list
def test_a_cursor_belongs_to_the_ids_that_were_asked_for(server: Server, name: str) -> None:
    fill(server, name)
    listed = LISTS[name]
    cursor = listed.ask(server, "ada", {listed.filter: ["a", "b"]})["edges"][0]["cursor"]
    query = f"""{{ {listed.owner}({listed.owner}Id: "ada") {{
        {listed.field}(after: "{cursor}", filter: {{{listed.filter}: ["a"]}}) {{ totalCount }} }} }}"""
    assert [error["extensions"]["code"] for error in server.errors(query)] == ["BAD_USER_INPUT"]


@every_list
def test_more_than_a_hundred_ids_are_refused(server: Server, name: str) -> None:
    fill(server, name)
    listed = LISTS[name]
    assert listed.found(server, "ada", *(f"{i}" for i in range(99)), "a") == ["a"]
    many = ", ".join(f'"{i}"' for i in range(101))
    query = f"""{{ {listed.owner}({listed.owner}Id: "ada") {{
        {listed.field}(filter: {{{listed.filter}: [{many}]}}) {{ totalCount }} }} }}"""
    (error,) = server.errors(query)
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["message"] == f"`filter.{listed.filter}` has 101 items; at most 100 are allowed."


@every_list
def test_own_ids_hold_together_with_other_conditions(server: Server, name: str) -> None:
    fill(server, name)
    add(server, name, "ada", "d", metadata={"n": 1})
    assert LISTS[name].found(server, "ada", "a", "d", metadata={"n": 1}) == ["d"]


def test_own_ids_are_filtered_below_many_parents_in_one_statement(server: Server) -> None:
    fill(server, "User.memories")
    query = '{ users { nodes { userId memories(filter: {memoryIds: ["b", "c"]}) { nodes { memoryId } } } } }'
    seen: list[str] = []
    server.app.state.database.listener = seen.append
    nodes = server.graphql(query)["users"]["nodes"]
    server.app.state.database.listener = None
    assert len(seen) == 2
    for node in nodes:
        assert {memory["memoryId"] for memory in node["memories"]["nodes"]} == {"b", "c"}


def test_a_users_memories_by_id_include_those_of_the_sessions(server: Server) -> None:
    fill(server, "User.memories")
    add(server, "Session.memories", "ada", "a")
    assert LISTS["User.memories"].found(server, "ada", "a") == ["a", "a"]
    assert LISTS["Session.memories"].found(server, "ada", "a") == ["a"]
    assert LISTS["Session.memories"].found(server, "ada", "b") == []


def test_past_memories_are_found_by_id_in_the_history(server: Server) -> None:
    fill(server, "User.memories")
    add(server, "User.memories", "ada", "past", validUntil="2020-01-01T00:00:00Z", validFrom="2019-01-01T00:00:00Z")
    listed = LISTS["User.memories"]
    assert listed.found(server, "ada", "past", "a") == ["a"]
    assert listed.found(server, "ada", "past", "a", history=True) == ["a", "past"]


def test_messages_of_a_session_that_was_deleted_or_created_anew_are_not_found(server: Server) -> None:
    fill(server, "Session.messages")
    listed = LISTS["Session.messages"]
    server.accepted(DELETE_SESSION, sessionId="ada")
    add(server, "Session.messages", "ada", "b")
    assert listed.found(server, "ada", *IDS) == ["b"]
    server.accepted(DELETE_SESSION, sessionId="ada")
    server.accepted(CREATE_SESSION, sessionId="ada")
    assert listed.found(server, "ada", *IDS) == []
    add(server, "Session.messages", "ada", "c")
    assert listed.found(server, "ada", *IDS) == ["c"]


def test_a_deleted_message_is_not_found_by_its_id(server: Server) -> None:
    fill(server, "Session.messages")
    query = '{ session(sessionId: "ada") { messages(filter: {messageIds: ["b"]}) { nodes { id } } } }'
    (message,) = server.graphql(query)["session"]["messages"]["nodes"]
    server.accepted(DELETE_MESSAGE, id=message["id"])
    assert LISTS["Session.messages"].found(server, "ada", *IDS) == ["a", "c", "ä"]


def test_messages_by_id_come_in_either_order(server: Server) -> None:
    times = {"a": "2024-01-03T00:00:00Z", "b": "2024-01-01T00:00:00Z", "c": "2024-01-02T00:00:00Z"}
    for id, time in times.items():
        add(server, "Session.messages", "s", id, createdAt=time)
    listed = LISTS["Session.messages"]
    for order, expected in (("SEQUENCE", ["a", "b", "c"]), ("CREATED_AT", ["b", "c", "a"])):
        for direction in ("ASC", "DESC"):
            paging = f"orderBy: {{field: {order}, direction: {direction}}}"
            nodes = listed.ask(server, "s", {"messageIds": ["c", "b", "a"]}, paging)["nodes"]
            found = [node["messageId"] for node in nodes]
            assert found == (expected if direction == "ASC" else expected[::-1])


@pytest.mark.parametrize("name", [name for name in LISTS if not name.startswith("Agent")])
def test_a_user_token_finds_its_own_objects_by_id(server: Server, name: str) -> None:
    fill(server, name)
    listed = LISTS[name]
    with token_of(server, "ada") as ada:
        assert listed.found(ada, "ada", "a", "b") == ["a", "b"]
        query = f'{{ {listed.owner}({listed.owner}Id: "bob") {{ id }} }}'
        assert ada.graphql(query) == {listed.owner: None}


def test_a_user_token_finds_what_came_with_a_session(server: Server) -> None:
    fill(server, "Session.messages")
    server.accepted(CREATE_SESSION, sessionId="moved")
    add(server, "Session.messages", "moved", "a")
    with token_of(server, "ada") as ada:
        server.accepted(UPDATE_SESSION, sessionId="moved", userId="ada")
        assert LISTS["Session.messages"].found(ada, "moved", "a", "b") == ["a"]


def test_memories_are_deleted_by_their_ids_in_one_call(server: Server) -> None:
    fill(server, "User.memories")
    add(server, "Session.memories", "ada", "a")
    listed = LISTS["User.memories"]
    done = server.accepted(DELETE_MEMORIES, userId="ada", filter={"memoryIds": ["a", "c", "unknown"]})
    assert (len(done["deletedMemoryIds"]), done["hasMore"]) == (3, False)
    assert listed.found(server, "ada", *IDS) == ["b", "ä"]
    assert listed.found(server, "bob", *IDS) == sorted(IDS)
    error = server.refused(DELETE_MEMORIES, userId="ada", filter={"memoryIds": ["x"] * 101})
    assert (error["code"], error["path"]) == ("INVALID", ["filter"])


# Names


NAMES = [None, "Anna B.", "anna_b", "ANNA-B", "Ａｎｎａ b", "Anna", "Bea", "", "Straße"]


def said_under(api: Api, *names: str) -> list[int]:
    query = """query ($names: [String!]) { session(sessionId: "s") { messages(filter: {names: $names}) {
        nodes { sequence } totalCount } } }"""
    page = api.graphql(query, names=names)["session"]["messages"]
    assert page["totalCount"] == len(page["nodes"])
    return [node["sequence"] - 1 for node in page["nodes"]]


def test_messages_are_filtered_by_the_names_that_they_are_under(server: Server) -> None:
    messages = [{"role": "USER", "content": "x", "name": name} for name in NAMES]
    server.accepted(ADD_MESSAGES, sessionId="s", messages=messages, formMemories=False)
    # Case, the width of letters and the separator of a name's parts make no difference, as for `MemoryFilter.about`.
    for name in ("anna b", "Anna.B", "ANNA_B"):
        assert said_under(server, name) == [1, 2, 3, 4]
    assert said_under(server, "ANNA", "strasse") == [5, 8]
    assert said_under(server, "") == [7]
    assert said_under(server, "Nobody", "Be", "anna\0") == []
    assert said_under(server) == []
    many = ", ".join(['"x"'] * 101)
    (error,) = server.errors(
        f'{{ session(sessionId: "s") {{ messages(filter: {{names: [{many}]}}) {{ totalCount }} }} }}'
    )
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
