"""Every list of the contract: pages and their ends, cursors, totals, order, and walking while others write.

`world` is a server whose lists have about 23 rows each and are only read; `server` is an empty one of the test's own.
"""

import base64
import itertools
import random
import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.documents import (
    DELETE_MESSAGE,
    DELETE_SESSION,
    DELETE_USER,
    END_SESSION,
    ERRORS,
    UPDATE_SESSION,
    UPDATE_USER,
    mutation,
)
from tests.places import Fresh
from tests.servers import Api, Server

ROWS = 23
PAGE_INFO = "pageInfo { hasNextPage hasPreviousPage startCursor endCursor }"
CONNECTION = (
    f"edges {{ cursor node {{ ... on Node {{ id }} }} }} nodes {{ ... on Node {{ id }} }} {PAGE_INFO} totalCount"
)
ADD = mutation("addMessages", "messages { id sequence } messageEdges { cursor node { id } }")


@dataclass(frozen=True)
class Listing:
    """A list, as a query in which `@` stands for its paging arguments and its selection."""

    text: str
    arguments: str = ""

    def query(self, selection: str = CONNECTION) -> str:
        paging = f"(first: $first, after: $after, last: $last, before: $before {self.arguments})"
        query = self.text.replace("@", f"{paging} {{ {selection} }}")
        return f"query ($first: Int, $after: String, $last: Int, $before: String) {query}"

    def ask(self, server: Api, selection: str, **arguments: Any) -> dict[str, Any]:
        found = server.graphql(self.query(selection), **arguments)
        while found.keys().isdisjoint({"edges", "nodes"}):
            (found,) = found.values()
        return found

    def page(self, server: Api, **arguments: Any) -> dict[str, Any]:
        """A page, once what holds for every page has been checked."""
        page = self.ask(server, CONNECTION, **arguments)
        edges, info = page["edges"], page["pageInfo"]
        assert [edge["node"] for edge in edges] == page["nodes"]
        assert len({edge["cursor"] for edge in edges}) == len(edges)
        assert info["startCursor"] == (edges[0]["cursor"] if edges else None)
        assert info["endCursor"] == (edges[-1]["cursor"] if edges else None)
        return page

    def ids(self, server: Api, **arguments: Any) -> list[str]:
        return [node["id"] for node in self.page(server, **arguments)["nodes"]]

    def cursors(self, server: Api) -> list[str]:
        return [edge["cursor"] for edge in self.page(server, first=100)["edges"]]

    def forward(self, server: Api, size: int) -> list[str]:
        """Every id, page after page from the start."""
        seen: list[str] = []
        after = None
        for _ in range(400):
            page = self.page(server, first=size, after=after)
            seen += [node["id"] for node in page["nodes"]]
            assert page["pageInfo"]["hasPreviousPage"] is (after is not None)
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                return seen
            assert len(page["nodes"]) == size
        raise AssertionError("The walk does not end.")

    def backward(self, server: Api, size: int) -> list[str]:
        """Every id, page before page from the end: the last row first."""
        seen: list[str] = []
        before = None
        for _ in range(400):
            page = self.page(server, last=size, before=before)
            seen += reversed([node["id"] for node in page["nodes"]])
            assert page["pageInfo"]["hasNextPage"] is (before is not None)
            before = page["pageInfo"]["startCursor"]
            if not page["pageInfo"]["hasPreviousPage"]:
                return seen
            assert len(page["nodes"]) == size
        raise AssertionError("The walk does not end.")

    def refuses(self, server: Api, **arguments: Any) -> None:
        answer = server.execute(self.query(), **arguments)
        assert answer.get("errors"), f"{self.text} accepted {arguments}"
        assert {error["extensions"]["code"] for error in answer["errors"]} == {"BAD_USER_INPUT"}, answer["errors"]
        assert all(error["message"] for error in answer["errors"])


def create(server: Api, kind: str, inputs: list[dict[str, Any]]) -> list[str]:
    """The ids of new objects of one kind, made by one document."""
    parameters = ", ".join(f"$i{i}: Create{kind}Input!" for i in range(len(inputs)))
    made = f"{{ made: {kind.lower()} {{ id }} {ERRORS} }}"
    fields = " ".join(f"m{i}: create{kind}(input: $i{i}) {made}" for i in range(len(inputs)))
    data = server.graphql(f"mutation ({parameters}) {{ {fields} }}", **{f"i{i}": one for i, one in enumerate(inputs)})
    payloads = [data[f"m{i}"] for i in range(len(inputs))]
    assert [payload["userErrors"] for payload in payloads] == [[]] * len(inputs)
    return [payload["made"]["id"] for payload in payloads]


def say(server: Api, session_id: str, messages: list[dict[str, Any]]) -> list[str]:
    messages = [{"role": "ASSISTANT", "content": "something"} | message for message in messages]
    payload = server.accepted(ADD, sessionId=session_id, messages=messages, formMemories=False)
    return [message["id"] for message in payload["messages"]]


def times(count: int) -> list[str]:
    """Times of creation, out of order, some of them the same."""
    return [f"2024-01-{1 + (7 * i) % 11:02d}T00:00:00Z" for i in range(count)]


# The world that is only read


@dataclass(frozen=True)
class World:
    server: Server
    lists: dict[str, Listing]
    others: dict[str, Listing]  # the same lists of other parents


LISTS = {
    "users": "{ users@ }",
    "sessions": "{ sessions@ }",
    "agents": "{ agents@ }",
    "User.sessions": '{ user(userId: "user %") { sessions@ } }',
    "User.memories": '{ user(userId: "user %") { memories@ } }',
    "User.documents": '{ user(userId: "user %") { documents@ } }',
    "Session.messages": '{ session(sessionId: "session %") { messages@ } }',
    "Session.memories": '{ session(sessionId: "session %") { memories@ } }',
    "Message.memories": '{ node(id: "%") { ... on Message { memories@ } } }',
    "Memory.sources": '{ node(id: "%") { ... on Memory { sources@ } } }',
    "Agent.sessions": '{ agent(agentId: "agent %") { sessions@ } }',
    "Agent.documents": '{ agent(agentId: "agent %") { documents@ } }',
}
every_list = pytest.mark.parametrize("name", LISTS)


@pytest.fixture(scope="module")
def world(shared: Fresh) -> Iterator[World]:
    server = Server(shared())
    create(server, "Agent", [{"agentId": f"agent {i}", "name": f"{i}"} for i in range(ROWS)])
    create(server, "User", [{"userId": f"user {i}", "createdAt": at} for i, at in enumerate(times(ROWS))])
    messages: list[str] = []
    summing_up: list[str] = []
    for owner, rows in ((1, ROWS), (2, 4)):
        user, agent, session = {"userId": f"user {owner}"}, {"agentId": f"agent {owner}"}, f"session {owner}"
        text, fact = {"title": "t", "content": "c"}, {"kind": "FACT", "content": "c"}
        keys = [session, *(f"{session}.{i}" for i in range(rows - 1))]
        given = zip(keys, times(rows), strict=True)
        create(server, "Session", [{"sessionId": key, "createdAt": at} | user | agent for key, at in given])
        messages += (said := say(server, session, [{}] * rows))
        documents = create(server, "Document", [text | user | {"createdAt": at} for at in times(rows)])
        create(server, "Document", [text | agent | {"createdAt": at} for at in times(rows)])
        create(server, "Memory", [fact | user | {"createdAt": at} for at in times(rows)])
        of_session = fact | {"sessionId": session, "sources": said[:1]}
        create(server, "Memory", [of_session | {"createdAt": at} for at in times(rows)])
        mixed = [*itertools.chain.from_iterable(zip(said, documents, strict=True))][:rows]
        summing_up += create(server, "Memory", [fact | user | {"sources": mixed}])
    parents = {"Message.memories": (messages[0], messages[ROWS]), "Memory.sources": tuple(summing_up)}
    chosen, others = (
        {name: Listing(text.replace("%", parents.get(name, "12")[i])) for name, text in LISTS.items()} for i in (0, 1)
    )
    yield World(server, chosen, {name: other for name, other in others.items() if other != chosen[name]})
    server.close()


@every_list
def test_walking_forward_gives_every_row_once_in_order(world: World, name: str) -> None:
    listing = world.lists[name]
    page = listing.page(world.server, first=100)
    rows = [node["id"] for node in page["nodes"]]
    assert len(set(rows)) == len(rows) == page["totalCount"] >= ROWS
    for size in (1, 3, 7, len(rows) - 1, len(rows), len(rows) + 1, 100):
        assert listing.forward(world.server, size) == rows


@every_list
def test_walking_backward_gives_every_row_once_in_reversed_order(world: World, name: str) -> None:
    listing = world.lists[name]
    rows = listing.ids(world.server, first=100)
    for size in (1, 3, 7, len(rows) - 1, len(rows), len(rows) + 1, 100):
        assert listing.backward(world.server, size) == rows[::-1]


@every_list
def test_pages_taken_from_the_end_stand_in_the_order_of_the_list(world: World, name: str) -> None:
    listing = world.lists[name]
    rows = listing.ids(world.server, first=100)
    assert listing.ids(world.server, last=5) == rows[-5:]
    before = listing.page(world.server, last=5)["pageInfo"]["startCursor"]
    assert listing.ids(world.server, last=5, before=before) == rows[-10:-5]


@every_list
def test_a_page_without_a_size_has_twenty_rows(world: World, name: str) -> None:
    listing = world.lists[name]
    rows = listing.ids(world.server, first=100)
    page = listing.page(world.server)
    assert [node["id"] for node in page["nodes"]] == rows[:20]
    assert page["pageInfo"]["hasNextPage"] is True
    assert page["pageInfo"]["hasPreviousPage"] is False
    assert listing.page(world.server, first=None, after=None, last=None, before=None) == page
    assert listing.ids(world.server, after=page["edges"][0]["cursor"]) == rows[1:21]


@every_list
def test_page_info_tells_whether_there_is_more(world: World, name: str) -> None:
    listing = world.lists[name]
    page = listing.page(world.server, first=100)
    cursors, total = [edge["cursor"] for edge in page["edges"]], page["totalCount"]

    def more(**arguments: Any) -> tuple[bool, bool]:
        info = listing.page(world.server, **arguments)["pageInfo"]
        return info["hasPreviousPage"], info["hasNextPage"]

    assert more(first=total) == more(last=total) == (False, False)
    assert more(first=total - 1) == (False, True)
    assert more(last=total - 1) == (True, False)
    assert more(first=100, after=cursors[0]) == (True, False)
    assert more(first=total - 2, after=cursors[0]) == (True, True)
    assert more(last=100, before=cursors[-1]) == (False, True)
    assert more(last=total - 2, before=cursors[-1]) == (True, True)
    assert listing.ids(world.server, first=5, after=cursors[-1]) == []
    assert listing.ids(world.server, last=5, before=cursors[0]) == []
    assert more(first=5, after=cursors[-1]) == (True, False)
    assert more(last=5, before=cursors[0]) == (False, True)


@every_list
def test_an_empty_page_may_be_asked_for(world: World, name: str) -> None:
    listing = world.lists[name]
    cursors = listing.cursors(world.server)
    for arguments in ({"first": 0}, {"last": 0}, {"first": 0, "after": cursors[3]}, {"last": 0, "before": cursors[3]}):
        page = listing.page(world.server, **arguments)
        assert page["edges"] == page["nodes"] == []
        assert page["totalCount"] == len(cursors)


@every_list
def test_the_total_is_that_of_the_whole_list_on_every_page(world: World, name: str) -> None:
    listing = world.lists[name]
    cursors = listing.cursors(world.server)
    for arguments in ({"first": 1}, {"last": 2}, {"first": 2, "after": cursors[5]}, {"last": 2, "before": cursors[5]}):
        assert listing.page(world.server, **arguments)["totalCount"] == len(cursors)


@every_list
def test_a_page_may_be_bounded_on_both_sides(world: World, name: str) -> None:
    listing = world.lists[name]
    rows, cursors = listing.ids(world.server, first=100), listing.cursors(world.server)
    between = {"after": cursors[3], "before": cursors[10]}
    assert listing.ids(world.server, first=100, **between) == rows[4:10]
    assert listing.ids(world.server, last=100, **between) == rows[4:10]
    assert listing.ids(world.server, first=2, **between) == rows[4:6]
    assert listing.ids(world.server, last=2, **between) == rows[8:10]
    assert listing.page(world.server, first=2, **between)["pageInfo"]["hasNextPage"] is True
    assert listing.page(world.server, last=2, **between)["pageInfo"]["hasPreviousPage"] is True
    assert listing.ids(world.server, first=2, before=cursors[10]) == rows[:2]
    assert listing.ids(world.server, last=2, after=cursors[3]) == rows[-2:]
    for nothing in ({"after": cursors[3], "before": cursors[4]}, {"after": cursors[3], "before": cursors[3]}):
        assert listing.ids(world.server, first=5, **nothing) == listing.ids(world.server, last=5, **nothing) == []
    assert listing.ids(world.server, first=5, after=cursors[10], before=cursors[3]) == []


@every_list
@pytest.mark.parametrize(
    "arguments",
    [
        {"first": -1},
        {"last": -1},
        {"first": 101},
        {"last": 101},
        {"first": 2**31 - 1},
        {"last": -(2**31)},
        {"first": 5, "last": 5},
        {"first": 0, "last": 0},
        {"first": 2**31},
        {"first": 1.5},
        {"first": "5"},
        {"first": True},
        {"after": 5},
    ],
    ids=str,
)
def test_a_page_that_cannot_be_is_refused(world: World, name: str, arguments: dict[str, Any]) -> None:
    world.lists[name].refuses(world.server, **arguments)


@every_list
def test_one_hundred_is_the_largest_page(world: World, name: str) -> None:
    listing = world.lists[name]
    assert listing.ids(world.server, first=100) == listing.ids(world.server, last=100)


# Cursors


@every_list
def test_a_cursor_of_another_list_is_refused(world: World, name: str) -> None:
    cursors = {other: listing.cursors(world.server)[1] for other, listing in world.lists.items() if other != name}
    for cursor in cursors.values():
        world.lists[name].refuses(world.server, first=5, after=cursor)
        world.lists[name].refuses(world.server, last=5, before=cursor)


@pytest.mark.parametrize("name", [name for name, text in LISTS.items() if "%" in text])
def test_a_cursor_of_another_parent_is_refused(world: World, name: str) -> None:
    mine, other = world.lists[name], world.others[name]
    mine.refuses(world.server, first=5, after=other.cursors(world.server)[0])
    mine.refuses(world.server, last=5, before=other.cursors(world.server)[0])
    other.refuses(world.server, first=5, after=mine.cursors(world.server)[0])


@pytest.mark.once
@every_list
def test_an_altered_cursor_is_refused(world: World, name: str) -> None:
    listing = world.lists[name]
    cursor = listing.cursors(world.server)[5]
    choose = random.Random(name)
    alphabet = string.ascii_letters + string.digits + "+/-_=.:"
    altered = {
        cursor[:i] + other + cursor[i + 1 :]
        for i, original in enumerate(cursor)
        for other in choose.sample(alphabet.replace(original, ""), 1 + 200 // len(cursor))
    }
    assert len(altered) >= 200
    # The last characters of base64 have bits that decoders ignore; padding and spaces are other ways to write the same.
    altered |= {cursor[:-1] + other for other in alphabet}
    altered |= {cursor[:i] + cursor[i + 1 :] for i in range(len(cursor))}
    altered |= {cursor + extra for extra in ("=", "==", "A", "AA", "AAAA", " ", "\n", "\0", "é", cursor)}
    altered |= {" " + cursor, cursor.rstrip("="), cursor.swapcase(), cursor.upper(), cursor[::-1], cursor[:20]}
    altered |= {cursor[:i] + cursor[i + 1] + cursor[i] + cursor[i + 2 :] for i in range(len(cursor) - 1)}
    for one in sorted(altered - {cursor}):
        listing.refuses(world.server, first=5, after=one)
    assert len(listing.ids(world.server, first=5, after=cursor)) == 5


@pytest.mark.once
@every_list
def test_a_forged_cursor_is_refused(world: World, name: str) -> None:
    listing = world.lists[name]
    plain = [
        "",
        " ",
        "0",
        "1",
        "null",
        "arrayconnection:5",
        '["user 1"]',
        '{"id":1}',
        "🦆",
        "\0",
        "\ud800",
        "x" * 100_000,
    ]
    encoded = [base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode() for text in plain]
    random_bytes = random.Random(name)
    noise = [base64.urlsafe_b64encode(random_bytes.randbytes(size)).decode() for size in range(1, 80)]
    (node, *_) = listing.ids(world.server, first=1)
    for cursor in [*plain, *encoded, *noise, *(one.rstrip("=") for one in noise), node]:
        listing.refuses(world.server, first=5, after=cursor)
        listing.refuses(world.server, last=5, before=cursor)


@pytest.mark.once
@every_list
def test_a_cursor_altered_beneath_its_encoding_is_refused(world: World, name: str) -> None:
    listing = world.lists[name]
    cursor = listing.cursors(world.server)[5]
    decode, encode = base64.urlsafe_b64decode, base64.urlsafe_b64encode
    if "+" in cursor or "/" in cursor:
        decode, encode = base64.b64decode, base64.b64encode
    try:
        raw = decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        number = int(cursor, 16)
        for bit in range(number.bit_length()):
            listing.refuses(world.server, first=5, after=f"{number ^ (1 << bit):x}")
        return
    for i in range(len(raw)):
        for bit in (0, 3, 7):
            changed = encode(raw[:i] + bytes([raw[i] ^ (1 << bit)]) + raw[i + 1 :]).decode()
            listing.refuses(world.server, first=5, after=changed if "=" in cursor else changed.rstrip("="))


ORDERS = [
    "",
    *(f"{field}, direction: {way}" for field in ("CREATED_AT", "UPDATED_AT", "SESSION_ID") for way in ("ASC", "DESC")),
]


def test_a_cursor_of_another_order_is_refused(world: World) -> None:
    in_order = {
        order: Listing("{ sessions@ }", f", orderBy: {{ field: {order} }}" if order else "") for order in ORDERS
    }
    cursors = {order: listing.cursors(world.server)[3] for order, listing in in_order.items()}
    for (order, listing), (other, cursor) in itertools.product(in_order.items(), cursors.items()):
        if order == other:
            assert len(listing.ids(world.server, first=5, after=cursor)) == 5
        elif {order, other} != {"", "CREATED_AT, direction: DESC"}:  # The default order may be named, too.
            listing.refuses(world.server, first=5, after=cursor)


@pytest.mark.parametrize(
    ("text", "filters"),
    [
        ("{ users@ }", ["", "createdAt: {since: $}", "createdAt: {until: $}", "metadata: {a: 1}", "metadata: {a: 2}"]),
        ("{ sessions@ }", ["", 'userIds: ["user 1"]', 'userIds: ["user 2"]', 'agentIds: ["agent 1"]', "ended: false"]),
        ('{ session(sessionId: "session 1") { messages@ } }', ["", "roles: [ASSISTANT]", "roles: [USER, ASSISTANT]"]),
        ('{ user(userId: "user 1") { memories@ } }', ["", "kinds: [FACT]", "kinds: [EVENT, FACT]", "history: true"]),
        ('{ user(userId: "user 1") { documents@ } }', ["", "metadata: {}"]),
    ],
)
def test_a_cursor_of_another_filter_is_refused(world: World, text: str, filters: list[str]) -> None:
    lists = [
        Listing(
            text, f", filter: {{ {chosen.replace('$', chr(34) + '2024-01-05T00:00:00Z' + chr(34))} }}" if chosen else ""
        )
        for chosen in filters
    ]
    cursors = [listing.cursors(world.server)[:1] for listing in lists]
    assert cursors[0]
    for (i, listing), (j, found) in itertools.product(enumerate(lists), enumerate(cursors)):
        for cursor in found:
            if i == j:
                listing.page(world.server, first=5, after=cursor)
            else:
                listing.refuses(world.server, first=5, after=cursor)


def test_a_list_is_the_same_by_whichever_way_it_is_reached(world: World) -> None:
    server = world.server
    by_key = world.lists["User.sessions"]
    (user, session) = (
        server.graphql('{ user(userId: "user 1") { id } session(sessionId: "session 1") { id } }')[name]["id"]
        for name in ("user", "session")
    )
    rows, cursors = by_key.ids(server, first=100), by_key.cursors(server)
    for text in (
        f'{{ node(id: "{user}") {{ ... on User {{ sessions@ }} }} }}',
        '{ session(sessionId: "session 1") { user { sessions@ } } }',
        f'{{ node(id: "{session}") {{ ... on Session {{ user {{ sessions@ }} }} }} }}',
    ):
        assert Listing(text).ids(server, first=5, after=cursors[4]) == rows[5:10]


def test_the_cursors_of_new_messages_are_those_of_the_session(server: Server) -> None:
    said = [{"role": "USER", "content": f"{i}"} for i in range(5)]
    edges = server.accepted(ADD, sessionId="chat", messages=said, formMemories=False)["messageEdges"]
    listing = Listing('{ session(sessionId: "chat") { messages@ } }')
    rows = listing.ids(server, first=100)
    assert [edge["node"]["id"] for edge in edges] == rows
    for i, edge in enumerate(edges):
        assert listing.ids(server, first=100, after=edge["cursor"]) == rows[i + 1 :]
        assert listing.ids(server, last=100, before=edge["cursor"]) == rows[:i]


# Order


@pytest.mark.parametrize("name", [name for name in LISTS if name not in ("Memory.sources", "Session.messages")])
def test_the_newest_comes_first(world: World, name: str) -> None:
    nodes = world.lists[name].ask(world.server, "nodes { createdAt }", first=100)["nodes"]
    found = [node["createdAt"] for node in nodes]
    assert found == sorted(found, reverse=True)
    assert len(set(found)) > 5


def test_messages_come_in_sequence(world: World) -> None:
    found = world.lists["Session.messages"].ask(world.server, "nodes { sequence }", first=100)["nodes"]
    assert [node["sequence"] for node in found] == list(range(1, ROWS + 1))
    newest = world.lists["Session.messages"].ask(world.server, "nodes { sequence }", last=3)["nodes"]
    assert [node["sequence"] for node in newest] == [ROWS - 2, ROWS - 1, ROWS]


# By UTF-16 units the last two would change places; by a language's rules many would.
KEYS = ["", " ", "A", "B", "Z", "_", "a", "aa", "b", "z", "~", "é", "ß", "Ω", "日", "\uffee", "🦆"]


@pytest.mark.parametrize(("plural", "field"), [("users", "USER_ID"), ("sessions", "SESSION_ID")])
def test_keys_are_sorted_by_code_point(server: Server, plural: str, field: str) -> None:
    kind = plural[:-1].capitalize()
    keys = [f"k{key}" for key in KEYS]
    shuffled = random.Random(1).sample(keys, len(keys))
    create(server, kind, [{f"{kind.lower()}Id": key} for key in shuffled])
    keys.sort(key=lambda key: [ord(character) for character in key])
    for direction, expected in (("ASC", keys), ("DESC", keys[::-1])):
        listing = Listing(f"{{ {plural}@ }}", f", orderBy: {{ field: {field}, direction: {direction} }}")
        found = listing.ask(server, f"nodes {{ key: {kind.lower()}Id }}", first=100)["nodes"]
        assert [node["key"] for node in found] == expected
        assert listing.forward(server, 3) == listing.ids(server, first=100) == listing.backward(server, 4)[::-1]


@pytest.mark.parametrize("direction", ["ASC", "DESC"])
def test_users_and_sessions_are_ordered_by_their_times(server: Server, direction: str) -> None:
    create(server, "User", [{"userId": f"{i}", "createdAt": at} for i, at in enumerate(times(15))])
    create(server, "Session", [{"sessionId": f"{i}", "createdAt": at} for i, at in enumerate(times(15))])
    for i in (3, 9, 1, 12):
        server.accepted(UPDATE_USER, userId=f"{i}", about="changed")
        server.accepted(UPDATE_SESSION, sessionId=f"{i}", situation="changed")
    for i in (8, 2, 9):
        say(server, f"{i}", [{}])
    for plural, field, column in (
        ("users", "CREATED_AT", "createdAt"),
        ("users", "UPDATED_AT", "updatedAt"),
        ("sessions", "CREATED_AT", "createdAt"),
        ("sessions", "UPDATED_AT", "updatedAt"),
        ("sessions", "LAST_ACTIVITY_AT", "lastActivityAt"),
    ):
        listing = Listing(f"{{ {plural}@ }}", f", orderBy: {{ field: {field}, direction: {direction} }}")
        found = [node[column] for node in listing.ask(server, f"nodes {{ {column} }}", first=100)["nodes"]]
        assert found == sorted(found, reverse=direction == "DESC")
        assert len(set(found)) > 3
        rows = listing.ids(server, first=100)
        assert len(set(rows)) == 15
        assert listing.forward(server, 4) == rows
        assert listing.backward(server, 4) == rows[::-1]


# Lists within lists


def test_every_parent_has_pages_of_its_own(server: Server) -> None:
    create(server, "User", [{"userId": f"user {i}"} for i in range(6)])
    keys = [f"{i}.{j}" for i in range(6) for j in range(i)]
    create(server, "Session", [{"sessionId": key, "userId": f"user {key[0]}"} for key in keys])
    for i, key in enumerate(keys):
        say(server, key, [{"content": f"{key} {n}"} for n in range(1 + i % 5)])
    by_key = "orderBy: { field: SESSION_ID, direction: ASC }"
    fields = f"""
      a: sessions(first: 2) {{
        nodes {{ id sessionId x: messages(first: 1) {{ {CONNECTION} }} }} {PAGE_INFO} totalCount
      }}
      b: sessions(last: 3, {by_key}) {{
        edges {{ cursor node {{ sessionId y: messages(last: 2) {{ {CONNECTION} }} }} }}
      }}
      c: sessions(first: 0) {{ {CONNECTION} }}
      sessions(first: 1, {by_key}) {{ nodes {{ sessionId messages {{ nodes {{ content }} {PAGE_INFO} }} }} totalCount }}
    """
    together = server.graphql(f"{{ users(first: 100) {{ nodes {{ userId {fields} }} }} }}")["users"]["nodes"]
    assert len(together) == 6
    for user in together:
        alone = server.graphql(f'{{ user(userId: "{user["userId"]}") {{ userId {fields} }} }}')["user"]
        assert user == alone
        own = [key for key in keys if f"user {key[0]}" == user["userId"]]
        assert [edge["node"]["sessionId"] for edge in user["b"]["edges"]] == own[-3:]
        assert [node["sessionId"] for node in user["sessions"]["nodes"]] == own[:1]
        assert user["a"]["totalCount"] == user["c"]["totalCount"] == user["sessions"]["totalCount"] == len(own)
        assert user["a"]["pageInfo"]["hasNextPage"] is (len(own) > 2)
        for node in user["sessions"]["nodes"]:
            said = [message["content"] for message in node["messages"]["nodes"]]
            assert said == [f"{node['sessionId']} {n}" for n in range(1 + keys.index(node["sessionId"]) % 5)]
        sessions = Listing(f'{{ user(userId: "{user["userId"]}") {{ sessions@ }} }}')
        rest = sessions.ids(server, first=100, after=user["a"]["pageInfo"]["endCursor"])
        assert [node["id"] for node in user["a"]["nodes"]] + (rest if own else []) == sessions.ids(server, first=100)


def test_a_cursor_of_one_parent_is_refused_below_several(world: World) -> None:
    cursor = world.lists["User.sessions"].cursors(world.server)[0]
    query = "query ($after: String) { users { nodes { sessions(after: $after) { nodes { id } } } } }"
    errors = world.server.errors(query, after=cursor)
    assert {error["extensions"]["code"] for error in errors} == {"BAD_USER_INPUT"}


def test_the_same_list_is_asked_for_twice_with_different_arguments(world: World) -> None:
    rows = world.lists["users"].ids(world.server, first=100)
    query = (
        "{ a: users(first: 2) { nodes { id } } b: users(last: 3) { nodes { id } } users { nodes { id } totalCount } }"
    )
    found = {name: [node["id"] for node in page["nodes"]] for name, page in world.server.graphql(query).items()}
    assert found == {"a": rows[:2], "b": rows[-3:], "users": rows[:20]}


# Walking while others write


@pytest.mark.parametrize("backward", [False, True])
def test_users_that_stay_are_met_once_while_others_come_and_go(server: Server, backward: bool) -> None:
    create(server, "User", [{"userId": f"{i}", "createdAt": at} for i, at in enumerate(times(40))])
    listing = Listing("{ users@ }")
    before = listing.ids(server, first=100)
    names = {node["id"]: node["userId"] for node in listing.ask(server, "nodes { id userId }", first=100)["nodes"]}
    choose = random.Random(5)
    deleted: set[str] = set()
    seen: list[str] = []
    cursor = None
    while True:
        page = listing.page(server, **({"last": 3, "before": cursor} if backward else {"first": 3, "after": cursor}))
        seen += [node["id"] for node in (reversed(page["nodes"]) if backward else page["nodes"])]
        if not page["pageInfo"]["hasPreviousPage" if backward else "hasNextPage"]:
            break
        cursor = page["pageInfo"]["startCursor" if backward else "endCursor"]
        # The row of the cursor itself goes, one behind and one ahead; new ones come at both ends and in between.
        for gone in {seen[-1], *choose.sample(sorted(names.keys() - deleted - {seen[-1]}), 2)} - deleted:
            if gone in names and len(deleted) < 25:
                server.accepted(DELETE_USER, userId=names[gone])
                deleted.add(gone)
        create(server, "User", [{"createdAt": f"20{year}-01-05T00:00:00Z"} for year in ("01", "24", "30")])
        assert len(seen) < 400
    assert len(set(seen)) == len(seen)
    order = before[::-1] if backward else before
    assert [one for one in seen if one in names and one not in deleted] == [one for one in order if one not in deleted]


def test_messages_that_stay_are_met_once_while_others_come_and_go(server: Server) -> None:
    listing = Listing('{ session(sessionId: "chat") { messages@ } }')
    written = say(server, "chat", [{}] * 20)
    deleted: set[str] = set()
    seen: list[str] = []
    choose = random.Random(6)
    cursor = None
    for step in itertools.count():
        page = listing.page(server, first=3, after=cursor)
        seen += [node["id"] for node in page["nodes"]]
        if not page["pageInfo"]["hasNextPage"]:
            break
        cursor = page["pageInfo"]["endCursor"]
        if step < 10:
            written += say(server, "chat", [{}] * 2)
            for gone in {seen[-1], choose.choice(written)} - deleted:
                server.accepted(DELETE_MESSAGE, id=gone)
                deleted.add(gone)
    assert len(set(seen)) == len(seen)
    stayed = [one for one in written if one not in deleted]
    assert [one for one in seen if one not in deleted] == stayed == listing.ids(server, first=100)


def test_sessions_that_are_deleted_during_a_walk_are_not_met(server: Server) -> None:
    create(server, "User", [{"userId": "ada"}])
    create(server, "Session", [{"sessionId": f"{i}", "userId": "ada"} for i in range(10)])
    for text in ("{ sessions@ }", '{ user(userId: "ada") { sessions@ } }'):
        listing = Listing(text)
        rows, total = listing.ids(server, first=100), listing.page(server)["totalCount"]
        keys = [node["sessionId"] for node in listing.ask(server, "nodes { sessionId }", first=100)["nodes"]]
        cursor = listing.page(server, first=3)["pageInfo"]["endCursor"]
        for key in (keys[2], keys[4]):
            server.accepted(DELETE_SESSION, sessionId=key)
        assert listing.ids(server, first=100, after=cursor) == [rows[3], *rows[5:]]
        assert listing.page(server)["totalCount"] == total - 2


# Against a plain model of the same data

fresh = itertools.count()
quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
some_times = st.sampled_from(["2024-01-01T00:00:00Z", "2024-01-01T00:00:00.000001Z", "2024-06-01T00:00:00Z"])


def check_against(server: Api, listing: Listing, expected: list[str], size: int, *, exactly: bool) -> list[str]:
    """Walk a list both ways; it has the rows that are expected, in this order if that is known exactly."""
    rows = listing.forward(server, size)
    assert listing.backward(server, size) == rows[::-1]
    assert listing.page(server, first=1)["totalCount"] == len(expected)
    assert rows == expected if exactly else sorted(rows) == sorted(expected)
    return rows


@quick
@given(
    rows=st.lists(st.tuples(some_times, st.integers(0, 2), st.booleans()), max_size=12),
    field=st.sampled_from(["CREATED_AT", "SESSION_ID"]),
    direction=st.sampled_from(["ASC", "DESC"]),
    wanted=st.none() | st.integers(0, 3),
    ended=st.none() | st.booleans(),
    size=st.integers(1, 5),
)
def test_sessions_are_listed_as_a_plain_model_lists_them(
    server: Server,
    rows: list[tuple[str, int, bool]],
    field: str,
    direction: str,
    wanted: int | None,
    ended: bool | None,
    size: int,
) -> None:
    user = f"user {next(fresh)}"
    create(server, "User", [{"userId": user}])
    keys = [f"{user}, session {(7 * i) % 13}" for i in range(len(rows))]
    inputs = [
        {"sessionId": key, "userId": user, "createdAt": at, "metadata": {"n": n}}
        for key, (at, n, _) in zip(keys, rows, strict=True)
    ]
    ids = dict(zip(keys, create(server, "Session", inputs) if inputs else [], strict=True))
    for key, (_, _, over) in zip(keys, rows, strict=True):
        if over:
            server.accepted(END_SESSION, sessionId=key)
    conditions = (
        f"{'' if wanted is None else f'metadata: {{n: {wanted}}}'} {'' if ended is None else f'ended: {ended}'.lower()}"
    )
    arguments = f", filter: {{ {conditions} }}, orderBy: {{ field: {field}, direction: {direction} }}"
    model = [
        (key, at)
        for key, (at, n, over) in zip(keys, rows, strict=True)
        if wanted in (None, n) and ended in (None, over)
    ]
    by_key = field == "SESSION_ID"
    model.sort(key=lambda row: row[0] if by_key else row[1].replace("00Z", "00.000000Z"), reverse=direction == "DESC")
    listing = Listing(f'{{ user(userId: "{user}") {{ sessions@ }} }}', arguments)
    found = check_against(server, listing, [ids[key] for key, _ in model], size, exactly=by_key)
    if not by_key:
        at = {ids[key]: created for key, created in model}
        assert [at[one] for one in found] == [created for _, created in model]


@quick
@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["USER", "ASSISTANT", "TOOL"]), st.integers(0, 2)), min_size=1, max_size=20
    ),
    gone=st.sets(st.integers(0, 19), max_size=4),
    roles=st.none() | st.sets(st.sampled_from(["USER", "ASSISTANT", "SYSTEM"]), min_size=1),
    wanted=st.none() | st.integers(0, 3),
    size=st.integers(1, 7),
)
def test_messages_are_listed_as_a_plain_model_lists_them(
    server: Server,
    rows: list[tuple[str, int]],
    gone: set[int],
    roles: set[str] | None,
    wanted: int | None,
    size: int,
) -> None:
    session = f"session {next(fresh)}"
    ids = say(server, session, [{"role": role, "metadata": {"n": [n]}} for role, n in rows])
    for i in gone & set(range(len(rows))):
        server.accepted(DELETE_MESSAGE, id=ids[i])
    conditions = "" if roles is None else f"roles: [{', '.join(sorted(roles))}]"
    conditions += "" if wanted is None else f" metadata: {{n: [{wanted}]}}"
    expected = [
        ids[i]
        for i, (role, n) in enumerate(rows)
        if i not in gone and (roles is None or role in roles) and wanted in (None, n)
    ]
    listing = Listing(f'{{ session(sessionId: "{session}") {{ messages@ }} }}', f", filter: {{ {conditions} }}")
    check_against(server, listing, expected, size, exactly=True)


@quick
@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["FACT", "EVENT"]), st.sampled_from([None, 0, 0.25, 1]), some_times), max_size=12
    ),
    kinds=st.none() | st.sets(st.sampled_from(["FACT", "EVENT", "PREFERENCE"]), min_size=1),
    at_least=st.none() | st.sampled_from([0, 0.25, 0.3, 1]),
    size=st.integers(1, 5),
)
def test_memories_are_listed_as_a_plain_model_lists_them(
    server: Server,
    rows: list[tuple[str, float | None, str]],
    kinds: set[str] | None,
    at_least: float | None,
    size: int,
) -> None:
    user = f"user {next(fresh)}"
    create(server, "User", [{"userId": user}])
    inputs = [
        {"userId": user, "content": "c", "kind": kind, "rating": rating, "createdAt": at} for kind, rating, at in rows
    ]
    ids = create(server, "Memory", inputs) if inputs else []
    conditions = "" if kinds is None else f"kinds: [{', '.join(sorted(kinds))}]"
    conditions += "" if at_least is None else f" minRating: {at_least}"
    expected = [
        one
        for one, (kind, rating, _) in zip(ids, rows, strict=True)
        if (kinds is None or kind in kinds) and (at_least is None or (rating is not None and rating >= at_least))
    ]
    listing = Listing(f'{{ user(userId: "{user}") {{ memories@ }} }}', f", filter: {{ {conditions} }}")
    found = check_against(server, listing, expected, size, exactly=False)
    at = {one: created.replace("00Z", "00.000000Z") for one, (_, _, created) in zip(ids, rows, strict=True)}
    assert [at[one] for one in found] == sorted((at[one] for one in found), reverse=True)
