"""The orders of lists by names, addresses, titles and keys: nulls last, ties by key, pages in both directions."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.archives import Outcome, serving
from tests.documents import (
    ADD_MESSAGES,
    CREATE_AGENT,
    CREATE_DOCUMENT,
    CREATE_SESSION,
    CREATE_USER,
    DELETE_USER,
    UPDATE_DOCUMENT,
    UPDATE_SESSION,
    UPDATE_USER,
    mutation,
)
from tests.places import Place
from tests.servers import Api, Server

UPSERT_USER = mutation("upsertUser", "user { id }")
UPSERT_SESSION = mutation("upsertSession", "session { id }")
UPDATE_AGENT = mutation("updateAgent", "agent { id }")
LONG = "z" * 100


@dataclass(frozen=True)
class Order:
    """An order of a list: where the list is, the order's field, and the field that tells its objects apart."""

    place: str
    field: str
    own: str

    def page(self, api: Api, direction: str, paging: str) -> dict[str, Any]:
        arguments = f"({paging} orderBy: {{field: {self.field}, direction: {direction}}})"
        selection = f"{{ edges {{ cursor node {{ {self.own} }} }} pageInfo {{ hasNextPage hasPreviousPage }} }}"
        found = api.graphql(self.place.replace("@", arguments + selection))
        while "edges" not in found:
            (found,) = found.values()
        return found

    def walk(self, api: Api, direction: str, *, backward: bool = False, between: Callable[[], Any] = int) -> list[str]:
        """Every object in pages of two, in the list's order; `between` is called before each further page."""
        seen: list[str] = []
        cursor = ""
        while True:
            bound = f'{"before" if backward else "after"}: "{cursor}",' if cursor else ""
            page = self.page(api, direction, f"{'last' if backward else 'first'}: 2, {bound}")
            nodes = [edge["node"][self.own] for edge in page["edges"]]
            seen = nodes + seen if backward else seen + nodes
            if not page["pageInfo"]["hasPreviousPage" if backward else "hasNextPage"]:
                return seen
            cursor = page["edges"][0 if backward else -1]["cursor"]
            between()

    def both(self, api: Api) -> tuple[list[str], list[str]]:
        """The list in ascending and in descending order, however it is walked."""
        ascending, descending = (self.walk(api, direction) for direction in ("ASC", "DESC"))
        assert self.walk(api, "ASC", backward=True) == ascending
        assert self.walk(api, "DESC", backward=True) == descending
        return ascending, descending


BY_NAME = Order("{ users@ }", "NAME", "userId")
BY_EMAIL = Order("{ users@ }", "EMAIL", "userId")
BY_USER = Order("{ sessions@ }", "USER_ID", "sessionId")
AGENTS_BY_NAME = Order("{ agents@ }", "NAME", "agentId")
AGENTS_BY_ID = Order("{ agents@ }", "AGENT_ID", "agentId")
AGENTS_BY_UPDATE = Order("{ agents@ }", "UPDATED_AT", "agentId")
OF_USER, OF_AGENT = '{ user(userId: "ada") { documents@ } }', '{ agent(agentId: "guide") { documents@ } }'
DOCUMENT_OWNERS = {"userId": OF_USER, "agentId": OF_AGENT}


# Users


def test_users_are_ordered_by_the_name_that_is_shown(server: Server) -> None:
    for user_id, names in {
        "none": {},
        "also none": {"firstName": "", "lastName": ""},
        "full": {"name": "Bea", "firstName": "Zoe"},
        "first": {"firstName": "Ada"},
        "last": {"lastName": "Ada"},
        "both": {"firstName": "Ada", "lastName": "Byron"},
        "lower": {"name": "ada"},
        "umlaut": {"name": "Äda"},
        "smile": {"name": "😀"},
    }.items():
        server.accepted(CREATE_USER, userId=user_id, **names)
    ascending, descending = BY_NAME.both(server)
    assert ascending == ["first", "last", "both", "full", "lower", "umlaut", "smile", "also none", "none"]
    assert descending == ["smile", "umlaut", "lower", "full", "both", "last", "first", "none", "also none"]


def test_users_are_ordered_by_email(server: Server) -> None:
    for user_id, email in {"1": "b@x", "2": None, "3": "B@x", "4": "b@x", "5": None, "6": "a@x"}.items():
        server.accepted(CREATE_USER, userId=user_id, email=email)
    assert BY_EMAIL.both(server) == (["3", "6", "1", "4", "2", "5"], ["4", "1", "6", "3", "5", "2"])


def test_a_long_name_is_ordered_by_its_first_hundred_characters(server: Server) -> None:
    for user_id, end in (("1", "b"), ("2", "a"), ("3", "")):
        server.accepted(CREATE_USER, userId=user_id, name=LONG + end)
    server.accepted(CREATE_USER, userId="0", name=LONG[:-1])
    assert BY_NAME.both(server) == (["0", "1", "2", "3"], ["3", "2", "1", "0"])


def test_a_users_place_follows_its_name_and_email(server: Server) -> None:
    server.accepted(CREATE_USER, userId="m", name="M", email="m@x")
    server.accepted(CREATE_USER, userId="u", name="A", email="a@x")
    server.accepted(UPDATE_USER, userId="u", name="Z")
    assert BY_NAME.walk(server, "ASC") == ["m", "u"]
    assert BY_EMAIL.walk(server, "ASC") == ["u", "m"]
    server.accepted(UPDATE_USER, userId="u", name=None, email="z@x", firstName="B")
    assert BY_NAME.walk(server, "ASC") == ["u", "m"]
    assert BY_EMAIL.walk(server, "ASC") == ["m", "u"]
    server.accepted(UPSERT_USER, userId="u", firstName=None, lastName="Y", email=None)
    assert BY_NAME.walk(server, "ASC") == ["m", "u"]
    assert BY_EMAIL.walk(server, "DESC") == ["m", "u"]
    server.accepted(UPDATE_USER, userId="u", lastName=None)
    assert BY_NAME.walk(server, "DESC") == ["m", "u"]


@pytest.mark.parametrize("direction", ["ASC", "DESC"])
@pytest.mark.parametrize("backward", [False, True])
def test_users_that_stay_are_met_once_in_the_order_of_names(server: Server, direction: str, backward: bool) -> None:
    stay = [f"s{i}" for i in range(7)]
    for i, user_id in enumerate(stay):
        server.accepted(CREATE_USER, userId=user_id, name=None if i < 3 else f"n{i // 2}")
    passing = iter(range(100))

    def between() -> None:
        number = next(passing)
        name = [None, "", "a", "n2", "z"][number % 5]
        server.accepted(CREATE_USER, userId=f"new {number}", name=name)
        if number:
            server.accepted(DELETE_USER, userId=f"new {number - 1}")

    seen = BY_NAME.walk(server, direction, backward=backward, between=between)
    assert sorted(user_id for user_id in seen if user_id in stay) == stay


def test_a_cursor_belongs_to_its_order_and_direction(server: Server) -> None:
    for i in range(3):
        server.accepted(CREATE_USER, userId=f"{i}", name="x", email="x")
    cursor = BY_NAME.page(server, "ASC", "")["edges"][0]["cursor"]
    for order in ("NAME, direction: DESC", "EMAIL, direction: ASC", "USER_ID, direction: ASC"):
        query = f'{{ users(after: "{cursor}", orderBy: {{field: {order}}}) {{ totalCount }} }}'
        assert [error["extensions"]["code"] for error in server.errors(query)] == ["BAD_USER_INPUT"]


# Sessions by user


def test_sessions_are_ordered_by_the_users_id(server: Server) -> None:
    for user in ("b", "a", "B" * 120):
        server.accepted(CREATE_USER, userId=user)
    for session, user in {"1": "b", "2": None, "3": "a", "4": "b", "5": None, "6": "B" * 120}.items():
        server.accepted(CREATE_SESSION, sessionId=session, userId=user)
    assert BY_USER.both(server) == (["6", "3", "1", "4", "2", "5"], ["4", "1", "3", "6", "5", "2"])
    nested = Order('{ user(userId: "b") { sessions@ } }', "USER_ID", "sessionId")
    assert nested.both(server) == (["1", "4"], ["4", "1"])


def test_a_sessions_place_follows_its_user(server: Server) -> None:
    for user in ("a", "m", "z"):
        server.accepted(CREATE_USER, userId=user)
    server.accepted(CREATE_SESSION, sessionId="of m", userId="m")
    said = [{"role": "USER", "content": "x"}]
    server.accepted(ADD_MESSAGES, sessionId="s", messages=said)
    assert BY_USER.both(server) == (["of m", "s"], ["of m", "s"])
    server.accepted(ADD_MESSAGES, sessionId="s", messages=said, userId="a")
    assert BY_USER.both(server) == (["s", "of m"], ["of m", "s"])
    server.accepted(UPDATE_SESSION, sessionId="s", userId="z")
    assert BY_USER.both(server) == (["of m", "s"], ["s", "of m"])
    server.accepted(UPDATE_SESSION, sessionId="s", userId=None)
    assert BY_USER.both(server) == (["of m", "s"], ["of m", "s"])
    server.accepted(UPSERT_SESSION, sessionId="s", userId="a")
    assert BY_USER.both(server) == (["s", "of m"], ["of m", "s"])
    server.accepted(UPDATE_SESSION, sessionId="s", title="no other user")
    assert BY_USER.both(server) == (["s", "of m"], ["of m", "s"])


def test_sessions_of_a_renamed_or_merged_user_are_in_order(server: Server) -> None:
    for user in ("a", "m", "z"):
        server.accepted(CREATE_USER, userId=user)
        server.accepted(CREATE_SESSION, sessionId=f"of {user}", userId=user)
    server.accepted(mutation("renameUser", "user { id }"), userId="a", newUserId="n")
    assert BY_USER.both(server) == (["of m", "of a", "of z"], ["of z", "of a", "of m"])
    server.accepted(mutation("mergeUsers", "user { id }"), fromUserId="z", intoUserId="m")
    assert BY_USER.both(server) == (["of m", "of z", "of a"], ["of a", "of z", "of m"])


def test_imported_users_and_sessions_are_in_order(
    command: Callable[..., Outcome], place: Place, tmp_path: Path
) -> None:
    lines = [
        {"type": "user", "userId": "u1", "firstName": "Zoe", "email": "a@x"},
        {"type": "user", "userId": "u2", "name": "Ada"},
        # The line of a session may follow its messages.
        {"type": "message", "sessionId": "s2", "role": "USER", "content": "x"},
        {"type": "session", "sessionId": "s1", "userId": "u2"},
        {"type": "session", "sessionId": "s2", "userId": "u1"},
        {"type": "session", "sessionId": "s3"},
        {"type": "agent", "agentId": "a1", "name": "Z", "documents": [{"title": "t", "content": "c"}]},
        {"type": "agent", "agentId": "a2", "name": "A"},
    ]
    file = tmp_path / "lines.ndjson"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    outcome = command("import", file, *place.option)
    assert outcome.status == 0, outcome.err
    with serving(place) as server:
        assert BY_NAME.both(server) == (["u2", "u1"], ["u1", "u2"])
        assert BY_EMAIL.both(server) == (["u1", "u2"], ["u1", "u2"])
        assert BY_USER.both(server) == (["s2", "s1", "s3"], ["s1", "s2", "s3"])
        assert AGENTS_BY_NAME.both(server) == (["a2", "a1"], ["a1", "a2"])


# Agents


def test_agents_are_ordered_by_name_and_id(server: Server) -> None:
    for agent_id, name in {"b": "Guide", "a": "guide", "B": "Guide", "c": LONG + "2", "d": LONG + "1"}.items():
        server.accepted(CREATE_AGENT, agentId=agent_id, name=name)
    assert AGENTS_BY_NAME.both(server) == (["B", "b", "a", "c", "d"], ["d", "c", "a", "b", "B"])
    assert AGENTS_BY_ID.both(server) == (["B", "a", "b", "c", "d"], ["d", "c", "b", "a", "B"])
    server.accepted(UPDATE_AGENT, agentId="b", name="zz" * 60)
    assert AGENTS_BY_NAME.walk(server, "ASC") == ["B", "a", "b", "c", "d"]


def test_agents_are_ordered_by_their_last_change(server: Server) -> None:
    for agent_id in ("1", "2", "3"):
        server.accepted(CREATE_AGENT, agentId=agent_id, name=agent_id)
    server.accepted(UPDATE_AGENT, agentId="2", about="changed")
    assert AGENTS_BY_UPDATE.both(server) == (["1", "3", "2"], ["2", "3", "1"])


# Documents


@pytest.mark.parametrize("owner", DOCUMENT_OWNERS)
def test_documents_are_ordered_by_title_and_last_change(server: Server, owner: str) -> None:
    server.accepted(CREATE_USER, userId="ada")
    server.accepted(CREATE_AGENT, agentId="guide", name="Guide")
    who = {"userId": "ada", "agentId": "guide"}[owner]
    ids: dict[str, str] = {}
    for own, title in {"1": "b", "2": "a", "3": "C", "4": LONG + "1"}.items():
        made = server.accepted(CREATE_DOCUMENT, **{owner: who}, documentId=own, title=title, content="c")
        ids[own] = made["document"]["id"]
    by_title = Order(DOCUMENT_OWNERS[owner], "TITLE", "documentId")
    assert by_title.both(server) == (["3", "2", "1", "4"], ["4", "1", "2", "3"])
    server.accepted(UPDATE_DOCUMENT, id=ids["2"], title="zzzz")
    assert by_title.both(server) == (["3", "1", "2", "4"], ["4", "2", "1", "3"])
    by_change = Order(DOCUMENT_OWNERS[owner], "UPDATED_AT", "documentId")
    assert by_change.both(server) == (["1", "3", "4", "2"], ["2", "4", "3", "1"])


def test_documents_of_one_title_are_all_met(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada")
    for own in range(7):
        server.accepted(CREATE_DOCUMENT, userId="ada", documentId=f"{own}", title="same", content="c")
    ascending, descending = Order(OF_USER, "TITLE", "documentId").both(server)
    assert sorted(ascending) == [f"{own}" for own in range(7)]
    assert descending == ascending[::-1]
