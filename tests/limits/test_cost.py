"""The cost of an operation: the fields that its answer may have, and the look-ups of its pages."""

from dataclasses import dataclass
from typing import Any

import pytest

from tests.documents import ADD_MESSAGES, CREATE_USER
from tests.limits.sized import CONTEXT_LOOKUP, DEFAULT, LOOKUP, too_complex
from tests.servers import Server, Start

pytestmark = pytest.mark.once


@dataclass
class Asked:
    document: str
    cost: int
    variables: dict[str, Any]


def asked(document: str, fields: int, pages: int = 0, **variables: Any) -> Any:
    return pytest.param(
        Asked(document, fields + LOOKUP * pages, variables), id=f"{document[:60]} {variables or ''}".strip()
    )


PAGE = "query ($n: Int, $m: Int) { sessions(first: $n, last: $m) { nodes { id } pageInfo { endCursor } } }"
"""`sessions`, `pageInfo`, `endCursor`; and two for each session."""
NESTED = """query ($n: Int!, $m: Int = 3) { users(first: $n) { nodes { ...U } } }
    fragment U on User { sessions(last: $m) { edges { cursor node { messages(first: 4) { nodes { id } } } } } }"""
ADD = "mutation ($i: AddMessagesInput!) { addMessages(input: $i) { messages { id role } deduplicated } }"
ADD_LIST = """mutation ($m: [MessageInput!]!) {
    addMessages(input: {sessionId: "s", messages: $m}) { messages { id role } deduplicated } }"""
MESSAGE = {"role": "USER", "content": "c"}


@pytest.mark.parametrize(
    "case",
    [
        asked("{ viewer { role } }", 2),
        asked("{ viewer { role __typename } __typename }", 4),
        # Connections: 20 when nothing is said, by `first`, by `last`, and never above what a page may have.
        asked("{ sessions { nodes { id } } }", 41, 1),
        asked("{ sessions(first: 7) { nodes { id } } }", 15, 1),
        asked("{ sessions(last: 7) { nodes { id } } }", 15, 1),
        asked("{ sessions(first: null, last: 7) { nodes { id } } }", 15, 1),
        asked("{ sessions(first: 0) { nodes { id } totalCount } }", 2, 1),
        asked("{ sessions(first: 7) { edges { cursor node { id } } pageInfo { endCursor } totalCount } }", 32, 1),
        asked(
            "{ users(first: 2) { nodes { sessions(first: 3) { nodes { messages(first: 4) { nodes { id } } } } } } }",
            65,
            9,
        ),
        asked('{ user(userId: "u") { sessions(first: 3) { nodes { id } ... { nodes { version } } } } }', 14, 1),
        asked("{ sessions(first: 101) { nodes { id } } }", 201, 1),
        # A context: as many messages as are asked for.
        asked('{ session(sessionId: "s") { context { messages { role } text } } }', 3 + 50 * 2 + CONTEXT_LOOKUP),
        asked(
            '{ session(sessionId: "s") { context(lastMessages: 3) { messages { role name } } } }',
            2 + 3 * 3 + CONTEXT_LOOKUP,
        ),
        asked("{ sessions(first: 2147483647) { nodes { id } } }", 201, 1),
        asked("{ sessions(first: -5) { nodes { id } } }", 1, 1),
        # In variables.
        asked(PAGE, 43, 1),
        asked(PAGE, 43, 1, n=None),
        asked(PAGE, 17, 1, n=7),
        asked(PAGE, 17, 1, m=7),
        asked(PAGE, 17, 1, n=None, m=7),
        asked(PAGE, 3, 1, n=0),
        asked(PAGE, 3, 1, n=-5),
        asked(PAGE, 203, 1, n=1000),
        asked(NESTED, 1 + 2 * (1 + 1 + 3 * (3 + 1 + 4 * 2)), 1 + 2 * (1 + 3), n=2),
        asked(NESTED, 1 + 2 * (1 + 1 + 5 * (3 + 1 + 4 * 2)), 1 + 2 * (1 + 5), n=2, m=5),
        asked(NESTED, 1 + 2 * (1 + 1 + 20 * (3 + 1 + 4 * 2)), 1 + 2 * (1 + 20), n=2, m=None),
        asked(NESTED, 1, 1, n=0, m=100),
        asked("query ($n: Int = 4) { a: sessions(first: $n) { totalCount } b: sessions { totalCount } }", 4, 2),
        # Lists that are given by their items.
        asked('{ nodes(ids: ["a", "b", "c"]) { id } }', 6),
        asked('{ nodes(ids: "a") { id } }', 2),
        asked("{ nodes(ids: []) { id } }", 0),
        asked("query ($a: ID!) { nodes(ids: [$a, $a]) { id } }", 4, a="x"),
        asked("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", 6, ids=["a", "b", "c"]),
        asked("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", 2, ids="a"),
        asked("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", 200, ids=["a"] * 150),
        # By the type that a fragment is on.
        asked('{ node(id: "x") { id ... on User { sessions(first: 5) { nodes { id } } } } }', 13, 1),
        asked('{ node(id: "x") { ...F } } fragment F on Session { messages(first: 5) { nodes { id } } }', 12, 1),
        asked('{ node(id: "x") { ... on User { about } ... on Agent { about } } }', 3),
        asked(
            '{ node(id: "x") { ... on Node { ... on Memory { sources(first: 2) { nodes { __typename } } } } } }', 6, 1
        ),
        # A connection's fragment takes the size of the page that it is spread on.
        asked(
            "{ a: users(first: 2) { ...F } b: users(first: 3) { ...F } } fragment F on UserConnection { nodes { id } }",
            12,
            2,
        ),
        # Lists that nothing gives a size.
        asked('{ node(id: "x") { ... on Memory { supersedes { id } } } }', 41),
        # What is left out by a directive counts all the same.
        asked("{ viewer { role @skip(if: true) id @include(if: false) } }", 3),
        # A fragment once in a selection set, wherever else it is spread again.
        asked("{ viewer { ...F ...F } } fragment F on Viewer { role }", 2),
        asked("{ viewer { ...F ... { ...F } } } fragment F on Viewer { role }", 3),
        # Mutations.
        asked(ADD, 2 + 3, i={"sessionId": "s", "messages": [MESSAGE]}),
        asked(ADD, 2 + 9, i={"sessionId": "s", "messages": [MESSAGE] * 3}),
        asked(ADD_LIST, 2 + 9, m=[MESSAGE] * 3),
        asked(
            'mutation { createUser(input: {userId: "u"}) { user { id } userErrors { code path } } }', 3 + 20 * (2 + 20)
        ),
    ],
)
def test_the_cost_is_the_fields_that_the_answer_may_have_and_the_look_ups_of_its_pages(
    api: Server, case: Asked
) -> None:
    body = {"query": case.document, "variables": case.variables, "extensions": {"cost": True}}
    answer = api.post(body).json()
    assert answer["extensions"] == {"cost": {"requested": case.cost, "limit": DEFAULT.cost}}
    assert "data" in answer


def test_a_page_size_beyond_what_is_allowed_is_the_resolvers_to_refuse(api: Server) -> None:
    (error,) = api.errors("{ sessions(first: 2147483647) { nodes { id } } }")
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert "2147483647" in error["message"]


def test_the_answer_has_what_its_cost_says_when_its_pages_are_full(server: Server) -> None:
    for user in range(3):
        server.accepted(CREATE_USER, userId=f"{user}")
        for session in range(4):
            server.accepted(ADD_MESSAGES, sessionId=f"{user}-{session}", userId=f"{user}", messages=[MESSAGE] * 5)
    document = """query ($n: Int) { users(first: $n) { edges { cursor node { id ...U } } pageInfo { endCursor } } }
        fragment U on User { name sessions(last: 4) { ...S } }
        fragment S on SessionConnection { totalCount nodes { messages(first: 5) { nodes { id role } } } }"""
    body = {"query": document, "variables": {"n": 3}, "extensions": {"cost": True}}
    answer = server.post(body).json()
    pages = 1 + 3 + 3 * 4
    assert answer["extensions"]["cost"]["requested"] == fields_of(answer["data"]) + LOOKUP * pages


def fields_of(value: Any) -> int:
    """Fields of an answer: each counts once for each item of its list."""
    if isinstance(value, list):
        return sum(fields_of(item) for item in value)
    if not isinstance(value, dict):
        return 1
    return sum((len(item) if isinstance(item, list) else 1) + below(item) for item in value.values())


def below(value: Any) -> int:
    if isinstance(value, list):
        return sum(below(item) for item in value)
    return fields_of(value) if isinstance(value, dict) else 0


def test_the_cost_is_told_only_when_asked_for_and_also_when_it_is_too_high(limited: Start) -> None:
    server = limited(cost=20)
    query = "query ($n: Int) { sessions(first: $n) { nodes { id } } }"
    for extensions in ({}, None, {"cost": False}, {"cost": 1}, {"cost": "true"}, {"cost": {}}, {"Cost": True}):
        body = {"query": query, "variables": {"n": 1}, "extensions": extensions}
        assert server.post(body).json() == {"data": {"sessions": {"nodes": []}}}
    body = {"query": query, "variables": {"n": 5}, "extensions": {"cost": True}}
    answer = server.post(body).json()
    assert answer.pop("extensions") == {"cost": {"requested": 21, "limit": 20}}
    assert "cost is 21; the limit is 20." in too_complex(answer)
    asked = {"query": query, "variables": '{"n": 4}', "extensions": '{"cost": true}'}
    assert server.client.get(server.url, params=asked).json() == {
        "data": {"sessions": {"nodes": []}},
        "extensions": {"cost": {"requested": 19, "limit": 20}},
    }


def test_variables_decide_about_each_request_anew(limited: Start) -> None:
    server = limited(cost=51)
    query = "query ($n: Int) { sessions(first: $n) { nodes { id } } }"
    for _ in range(2):
        assert server.graphql(query, n=20)
        assert "cost is 53;" in too_complex(server.execute(query, n=21))
        assert server.graphql(query)
