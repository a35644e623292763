"""The limits on documents: each to the number, fragments spread out, in time that is in proportion to the document."""

import asyncio
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    Undefined,
    get_introspection_query,
    get_named_type,
    is_composite_type,
    parse,
    value_from_ast_untyped,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from breadth import Executor, Limits, PlainContext, Request
from breadth.limits import TooComplex
from breadth.measures import Measurer
from recallql.errors import describe
from recallql.settings import Settings
from schema.connections import PAGE_SIZE
from schema.contexts import CONTEXT_SIZE
from schema.root import schema as published
from schema.search import SEARCH_SIZE
from tests.servers import Server

SCHEMA = published._schema
GRAPHQL = "application/graphql-response+json"
DEFAULT = Settings().limits


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the limits that it has by default."""
    server = Server(tmp_path_factory.mktemp("limits") / "recallql.db")
    yield server
    server.close()


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """A server with limits of one's own: `limited(depth=3)`."""
    running: list[Server] = []

    def start(**limits: int) -> Server:
        settings = {f"max_query_{name}": limit for name, limit in limits.items()}
        running.append(Server(tmp_path / f"{len(running)}.db", **settings))
        return running[-1]

    yield start
    for server in running:
        server.close()


def too_complex(answer: dict[str, Any]) -> str:
    """The message of an answer that refuses a document as too complex."""
    assert "data" not in answer
    (error,) = answer["errors"]
    assert error["extensions"] == {"code": "QUERY_TOO_COMPLEX"}
    return error["message"]


# Each limit, to the number

VIEWER = "{ viewer { role } }"
LOOKUP = 10
CONTEXT_LOOKUP, CONTEXT_LIST, SEARCH_LOOKUP = 8000, 50, 10_000
"""What a page costs beside its fields."""


def characters(count: int) -> str:
    return VIEWER + " " * (count - len(VIEWER))


def tokens(count: int) -> str:
    """`{`, `viewer`, `{`, `}`, `}`, and the rest."""
    return "{ viewer {" + " role" * (count - 5) + " } }"


def comments(count: int) -> str:
    return "# one\n" * count + VIEWER


def depth(count: int) -> str:
    """`user` and `userId`, and in between fields below fields in two fragments."""
    middle = "".join(
        f"fragment F{i} on User {{ sessions {{ nodes {{ ... on Session {{ user {{ ...F{i + 1} }} }} }} }} }}"
        for i in range((count - 2) // 3)
    )
    # What is left of a round of three: `sessions`, and `nodes`.
    last = ["userId", "sessions { totalCount }", "sessions { nodes { id } }"][(count - 2) % 3]
    return '{ user(userId: "x") { ...F0 } }' + middle + f"fragment F{(count - 2) // 3} on User {{ {last} }}"


def aliases(count: int) -> str:
    """Half of them in a fragment that is spread twice, the odd one outside."""
    inside = " ".join(f"a{i}: role" for i in range(count // 2))
    outside = "b: role" * (count % 2)
    return f"{{ viewer {{ ...F {outside} }} viewer {{ ...F }} }} fragment F on Viewer {{ role {inside} }}"


def directives(count: int) -> str:
    """On the operation's fields, on a fragment's spreads, and in the fragment, which is spread twice."""
    inside = "id @include(if: true) " * ((count - 3) // 2)
    outside = "id @skip(if: false) " * ((count - 3) % 2)
    return (
        "{ viewer { ...F @include(if: true) "
        + outside
        + "} viewer { ... @skip(if: false) { ...F @include(if: true) } } }"
        " fragment F on Viewer { role " + inside + "}"
    )


def fields(count: int) -> str:
    """Two of `viewer`, and in each the fragment with all but the odd one."""
    inside = "role " * ((count - 2) // 2)
    outside = "id " * ((count - 2) % 2)
    return f"{{ viewer {{ ...F {outside} }} viewer {{ ...F }} }} fragment F on Viewer {{ {inside} }}"


def cost(count: int) -> str:
    """`sessions` with its look-up, and `nodes` with their ids: two fields for each; the odd one outside."""
    more = count - 1 - LOOKUP
    return f"{{ sessions(first: {more // 2}) {{ nodes {{ id }} {'totalCount' * (more % 2)} }} }}"


EACH = {
    "characters": (characters, 300),
    "tokens": (tokens, 40),
    "comments": (comments, 20),
    "depth": (depth, 7),
    "aliases": (aliases, 6),
    "directives": (directives, 7),
    "fields": (fields, 12),
    "cost": (cost, 31),
}


@pytest.mark.parametrize("name", EACH)
def test_a_document_is_answered_up_to_a_limit_and_refused_above_it(limited: Callable[..., Server], name: str) -> None:
    build, limit = EACH[name]
    setting = "tokens" if name == "comments" else name
    server = limited(**{setting: limit})
    for count in (limit - 1, limit):
        assert "errors" not in server.execute(build(count)), count
    for count in (limit + 1, limit + 2, 3 * limit):
        for _ in ("first", "remembered"):
            message = too_complex(server.execute(build(count)))
            found = f"more than {limit}" if setting == "tokens" else f"{count}"
            assert re.search(rf" {found}[ ;]", message), message
            assert f"the limit is {limit}." in message
            assert f"RECALLQL_MAX_QUERY_{setting.upper()} " in message


@pytest.mark.parametrize("name", EACH)
def test_the_numbers_that_the_documents_of_these_tests_have_are_counted(name: str) -> None:
    build, limit = EACH[name]
    setting = "tokens" if name == "comments" else name
    for count in range(limit - 2, limit + 9):
        executor = Executor(published, describe, limits=Limits(**{setting: count - 1}))
        answer = asyncio.run(executor.execute(Request(build(count)), PlainContext()))
        assert "QUERY_TOO_COMPLEX" in str(answer.body)


def test_a_limit_of_nothing_lets_what_has_none_pass(limited: Callable[..., Server]) -> None:
    server = limited(aliases=0, directives=0)
    assert server.graphql(VIEWER) == {"viewer": {"role": "SERVICE"}}
    assert "1 aliases" in too_complex(server.execute("{ viewer { a: role } }"))
    assert "1 directives" in too_complex(server.execute("{ viewer { role @include(if: true) } }"))
    assert "1 directives" in too_complex(server.execute("query @unknown { viewer { role } }"))
    assert "1 directives" in too_complex(server.execute("query ($x: Int @unknown) { viewer { role } }"))
    assert "1 directives" in too_complex(server.execute(VIEWER + " fragment F on Viewer @unknown { role }"))


def test_the_largest_operation_of_a_document_counts_and_of_costs_the_one_that_is_run(
    limited: Callable[..., Server],
) -> None:
    server = limited(fields=4, cost=20)
    small, large = "query Small { viewer { role } }", "query Large { sessions(first: 5) { nodes { id } } }"
    both = {"query": small + large}
    assert server.post(both | {"operationName": "Small"}).json() == {"data": {"viewer": {"role": "SERVICE"}}}
    assert "cost is 21;" in too_complex(server.post(both | {"operationName": "Large"}).json())
    wide = {"query": small + "query Wide { viewer { a: role b: role c: role d: role } }", "operationName": "Small"}
    assert "selects 5 fields" in too_complex(server.post(wide).json())


def test_a_mutation_over_a_limit_changes_nothing(limited: Callable[..., Server]) -> None:
    server = limited(aliases=1, cost=100)
    create = 'createUser(input: {userId: "u"}) { user { id } }'
    too_complex(server.execute(f"mutation {{ a: {create} b: {create} }}"))
    costly = 'createUser(input: {userId: "u"}) { user { sessions(first: 100) { nodes { id } } } }'
    too_complex(server.execute(f"mutation {{ {costly} }}"))
    assert server.graphql('{ user(userId: "u") { id } }') == {"user": None}


@pytest.mark.parametrize("document", [aliases(7), cost(33)], ids=["document", "cost"])
def test_the_status_is_that_of_other_requests_at_fault(limited: Callable[..., Server], document: str) -> None:
    server = limited(aliases=6, cost=31)
    assert server.post({"query": document}).status_code == 200
    assert server.post({"query": document}, {"accept": GRAPHQL}).status_code == 422
    for accept, status in (("application/json", 200), (GRAPHQL, 422)):
        response = server.client.get(server.url, params={"query": document}, headers={"accept": accept})
        assert response.status_code == status
        too_complex(response.json())


# The cost


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
CREATE_USER = "mutation ($input: CreateUserInput!) { createUser(input: $input) { user { id } userErrors { code } } }"
ADD_MESSAGES = """mutation ($input: AddMessagesInput!) {
    addMessages(input: $input) { session { id } userErrors { code } } }"""


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


def test_the_cost_is_told_only_when_asked_for_and_also_when_it_is_too_high(limited: Callable[..., Server]) -> None:
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


def test_variables_decide_about_each_request_anew(limited: Callable[..., Server]) -> None:
    server = limited(cost=51)
    query = "query ($n: Int) { sessions(first: $n) { nodes { id } } }"
    for _ in range(2):
        assert server.graphql(query, n=20)
        assert "cost is 53;" in too_complex(server.execute(query, n=21))
        assert server.graphql(query)


# Defaults

MESSAGES = "id sequence role name content createdAt tokenCount metadata"
MEMORIES = "edges { cursor node { id kind content rating validFrom createdAt metadata } } pageInfo { endCursor }"


def conversations(users: str, sessions: str, messages: str, more: str = "") -> str:
    inner = f"messages(first: {messages}) {{ nodes {{ {MESSAGES} {more} }} }}"
    return (
        f"{{ users(first: {users}) {{ nodes {{ userId sessions(first: {sessions}) {{ nodes {{ id {inner} }} }} }} }} }}"
    )


def test_honest_use_is_within_the_defaults(api: Server) -> None:
    memories = f"memories {{ {MEMORIES} }}"
    assert api.graphql(conversations("1", "10", "100", memories))
    assert api.graphql(conversations("10", "10", "100"))
    assert api.graphql(conversations("100", "100", "5"))
    playground = Path(__file__).parent.parent / "playground" / "conversations.graphql"
    assert api.graphql(playground.read_text(encoding="utf-8"))


def test_a_hundred_times_a_hundred_times_a_hundred_is_beyond_the_defaults(api: Server) -> None:
    least = (
        "{ users(first: 100) { nodes { sessions(first: 100) { nodes { messages(first: 100) { nodes { id } } } } } } }"
    )
    for document in (least, conversations("100", "100", "100")):
        assert "RECALLQL_MAX_QUERY_COST" in too_complex(api.execute(document))
    sized = least.replace("{", "query ($n: Int) {", 1).replace("100", "$n")
    assert "RECALLQL_MAX_QUERY_COST" in too_complex(api.execute(sized, n=100))
    assert api.graphql(sized, n=70)


INTROSPECTION = {
    "plain": {},
    "all of it": {
        "specified_by_url": True,
        "directive_is_repeatable": True,
        "schema_description": True,
        "input_value_deprecation": True,
        "one_of": True,
    },
    "as GraphiQL asks": {"schema_description": True, "input_value_deprecation": True},
    "without descriptions": {"descriptions": False},
}


@pytest.mark.parametrize("options", INTROSPECTION.values(), ids=INTROSPECTION.keys())
def test_introspection_is_within_the_defaults(api: Server, options: dict[str, bool]) -> None:
    types = api.graphql(get_introspection_query(**options))["__schema"]["types"]
    assert {"User", "Session", "Message", "Memory"} <= {kind["name"] for kind in types}


# In proportion to the document


def work_of(document: DocumentNode, limits: Limits = DEFAULT) -> int:
    """Counts the calls that it takes to measure a document."""
    measurer = Measurer(SCHEMA, limits)
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        measurer.costs(document)
    except TooComplex:
        pass
    finally:
        sys.setprofile(None)
    return calls


LEVEL = "{{ nodes {{ user {{ ...F{next} }} }} }}"
DOUBLING = {
    "spreads": "... {{ ...F{next} }} ... {{ ...F{next} }}",
    "inline fragments": "... on User {{ ...F{next} }} ... on User {{ ...F{next} }}",
    "aliases": f"a: sessions {LEVEL} b: sessions {LEVEL}",
    "directives": "... @include(if: true) {{ ...F{next} }} ... @skip(if: false) {{ ...F{next} }}",
    "sizes": f"a: sessions(first: $n) {LEVEL} b: sessions {LEVEL}",
}


def doubling(spread: str, count: int) -> str:
    fragments = [f"fragment F{i} on User {{ {spread.format(next=i + 1)} }}" for i in range(count)]
    last = f" fragment F{count} on User {{ a: userId @include(if: true) }}"
    return 'query ($n: Int) { user(userId: "u") { ...F0 } } ' + " ".join(fragments) + last


@pytest.mark.parametrize("spread", DOUBLING.values(), ids=DOUBLING.keys())
def test_measuring_doubling_fragments_takes_work_in_proportion_to_the_document(spread: str) -> None:
    few, many, most = (work_of(parse(doubling(spread, count))) for count in (10, 100, 1000))
    assert many < 11 * few
    assert most < 11 * many


def test_ten_thousand_doubling_fragments_are_measured() -> None:
    largest = 2**53 - 1
    (cost,) = Measurer(SCHEMA, Limits()).costs(parse(doubling(DOUBLING["aliases"], 10_000), no_location=True)).values()
    assert cost.of({}) == largest, "it is a number that JSON has"
    (cost,) = Measurer(SCHEMA, Limits()).costs(parse(doubling(DOUBLING["sizes"], 500))).values()
    assert cost.of({"n": 100}) == largest
    document = parse(doubling(DOUBLING["aliases"], 500))
    for name in ("depth", "aliases", "directives", "fields"):
        with pytest.raises(TooComplex, match=f"RECALLQL_MAX_QUERY_{name.upper()}"):
            Measurer(SCHEMA, Limits(**{name: 1000}, setting=DEFAULT.setting)).costs(document)


@pytest.mark.parametrize("count", [17, 25, 60, 300])
@pytest.mark.parametrize("spread", DOUBLING.values(), ids=DOUBLING.keys())
def test_doubling_fragments_are_refused_by_the_defaults(api: Server, spread: str, count: int) -> None:
    too_complex(api.execute(doubling(spread, count)))


def test_many_operations_and_many_page_sizes_take_work_in_proportion() -> None:
    one = "query Q{i} ($n: Int) {{ a: users(first: $n) {{ ...F }} b: users(first: $n) {{ ...F }} }}"
    two = """ fragment F on UserConnection {
        nodes { a: sessions(first: $n) { nodes { id } } b: sessions(last: $n) { nodes { id } } } }"""
    few, many = (work_of(parse("".join(one.format(i=i) for i in range(count)) + two)) for count in (100, 1000))
    assert many < 11 * few
    wide = "query ($n: Int) {{ {} }}"
    pages = [" ".join(f"a{i}: users(first: $n) {{ nodes {{ id }} }}" for i in range(count)) for count in (100, 1000)]
    few, many = (work_of(parse(wide.format(page))) for page in pages)
    assert many < 11 * few


MEGABYTE = 1024 * 1024
LARGE = {
    "a comment": "# " + "x" * MEGABYTE + "\n" + VIEWER,
    "many comments": "#\n" * (MEGABYTE // 2) + VIEWER,
    "a string": '{ user(userId: "' + "x" * MEGABYTE + '") { id } }',
    "a block string": '{ user(userId: """' + "\n" * MEGABYTE + '""") { id } }',
    "a name": "{ " + "x" * MEGABYTE + " }",
    "a number": "{ sessions(first: " + "1" * MEGABYTE + ") { totalCount } }",
    "fields": "{ viewer {" + " role" * (MEGABYTE // 5) + " } }",
    "braces": "{" * MEGABYTE,
    "8 MB of whitespace": " " * (8 * MEGABYTE - 100) + VIEWER,
    "8 MB of commas": "," * (8 * MEGABYTE - 100) + VIEWER,
    "8 MB of nothing": "\ufeff" * (8 * MEGABYTE // 7),
    "no GraphQL": "?" * MEGABYTE,
    # As many characters as a document may have.
    "tokens": "{ viewer {" + " a" * ((DEFAULT.characters - 20) // 2) + " } }",
    "punctuation": "!" * DEFAULT.characters,
    "parentheses": "{a" + "(" * (DEFAULT.characters - 2),
    "spreads": "{" + "...F" * (DEFAULT.characters // 4 - 1) + "}",
    "small comments": "#\n" * (DEFAULT.characters // 2),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_document_of_a_megabyte_is_refused_at_once(name: str) -> None:
    executor = Executor(published, describe, limits=DEFAULT)
    taken = []
    for number in range(3):
        request = Request(LARGE[name] + f"#{number}" if len(LARGE[name]) > DEFAULT.characters else LARGE[name])
        start = time.process_time()
        answer = asyncio.run(executor.execute(request, PlainContext()))
        taken.append(time.process_time() - start)
        wrong = {"GRAPHQL_PARSE_FAILED"} if name in ("punctuation", "parentheses") else {"QUERY_TOO_COMPLEX"}
        assert {error["extensions"]["code"] for error in answer.body["errors"]} == wrong
        assert len(executor._documents._kept) == 0, "what is as large is not kept"
    assert min(taken) < 0.2


def test_what_is_refused_is_refused_again_without_another_look() -> None:
    executor = Executor(published, describe, limits=DEFAULT)
    small = doubling(DOUBLING["aliases"], 60)
    asyncio.run(executor.execute(Request(small), PlainContext()))
    refused = executor._documents._refused.get((small, True))
    assert refused is not None
    assert refused.errors[0]["extensions"]["code"] == "QUERY_TOO_COMPLEX"
    asyncio.run(executor.execute(Request(small), PlainContext()))
    assert executor._documents._refused.get((small, True)) is refused


# Documents that are wrong otherwise

DEEP = {
    "fields": "{ a " * 3000 + "}" * 3000,
    "inline fragments": "{ " + "... { " * 3000 + "viewer { role } " + "}" * 3001,
    "unknown type conditions": "{ " + "... on X { " * 1000 + "a" + "}" * 1001,
    "lists": "{ users(first: " + "[" * 5000 + "]" * 5000 + ") { totalCount } }",
    "objects": "{ users(filter: " + "{a:" * 3000 + "1" + "}" * 3000 + ") { totalCount } }",
    "types": "query ($x: " + "[" * 5000 + "Int" + "]" * 5000 + ") { viewer { role } }",
    "a chain of fragments": "{ viewer { ...F0 } } "
    + " ".join(f"fragment F{i} on Viewer {{ ...F{i + 1} }}" for i in range(1000))
    + " fragment F1000 on Viewer { role }",
    "a chain of fields": '{ user(userId: "u") { ...F0 } } '
    + " ".join(f"fragment F{i} on User {{ sessions {{ nodes {{ user {{ ...F{i + 1} }} }} }} }}" for i in range(500))
    + " fragment F500 on User { id }",
}


@pytest.mark.parametrize("name", DEEP)
def test_a_deep_document_is_too_complex(api: Server, name: str) -> None:
    too_complex(api.execute(DEEP[name]))


WRONG = {
    "a cycle": "{ viewer { ...A } } fragment A on Viewer { ...B } fragment B on Viewer { ...A }",
    "a fragment that spreads itself": "{ viewer { ...A } } fragment A on Viewer { role ...A }",
    "a cycle below fields": "{ users { nodes { ...A } } } fragment A on User { sessions { nodes { user { ...A } } } }",
    "an unknown fragment": "{ viewer { ...Missing } }",
    "a fragment that is not used": "{ viewer { role } } fragment A on Viewer { role }",
    "a fragment twice": "{ viewer { ...A } } fragment A on Viewer { role } fragment A on Viewer { id }",
    "a fragment on an unknown type": "{ viewer { ...A } } fragment A on Missing { role { x(first: 5) { y } } }",
    "a fragment on a scalar": "{ viewer { ...A } } fragment A on Int { role }",
    "an unknown field": "{ missing(first: 100) { nodes { a } } }",
    "a field of a leaf": "{ viewer { role { a { b } } } }",
    "an object without fields": "{ sessions }",
    "a page size of another type": '{ sessions(first: "many") { totalCount } }',
    "a page size that is no variable": "{ sessions(first: $n) { totalCount } }",
    "a list among sizes": "{ sessions(first: [1, 2]) { totalCount } }",
    "a size with many digits": "{ sessions(first: " + "9" * 5000 + ") { totalCount } }",
    "an object as a list": "{ nodes(ids: {a: 1}) { id } }",
    "a mutation's list": "mutation { addMessages(input: 5) { messages { id } } }",
    "a mutation's missing list": 'mutation { addMessages(input: {sessionId: "s"}) { messages { id } } }',
    "a subscription": "subscription { anything }",
    "a type": "type Query { a: Int }",
    "an operation twice": "query A { viewer { role } } query A { viewer { id } }",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_a_document_is_left_to_validation(api: Server, name: str) -> None:
    codes = {error["extensions"]["code"] for error in api.errors(WRONG[name])}
    assert codes <= {"GRAPHQL_VALIDATION_FAILED", "BAD_USER_INPUT"}


def test_a_cycle_of_doubling_fragments_is_answered_soon(api: Server) -> None:
    cycle = doubling(DOUBLING["aliases"], 200).replace("...F200 ", "...F0 ")
    few, many = (work_of(parse(doubling(DOUBLING["aliases"], n).replace(f"...F{n} ", "...F0 "))) for n in (20, 200))
    assert many < 11 * few
    assert api.errors(cycle)


# Errors


@pytest.mark.parametrize("count", [1, 19, 20, 21, 50, 150, 3000])
def test_at_most_twenty_errors_of_validation_are_named(api: Server, count: int) -> None:
    document = "{ " + " ".join(f"user{i}" for i in range(min(count, 2400))) + " }"
    errors = api.errors(document)
    assert len(errors) == min(count, 20)
    assert {error["extensions"]["code"] for error in errors} == {"GRAPHQL_VALIDATION_FAILED"}
    assert "user0" in errors[0]["message"]


@pytest.mark.parametrize("count", [1, 19, 20, 21, 50, 5000])
def test_at_most_twenty_errors_of_variables_are_named(api: Server, count: int) -> None:
    errors = api.errors("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=[None] * count)
    assert len(errors) == min(count, 20)
    assert {error["extensions"]["code"] for error in errors} == {"BAD_USER_INPUT"}
    assert "'$ids' has invalid value at [0]" in errors[0]["message"]


@pytest.mark.parametrize("more", ["", "__schema { queryType { name } }"], ids=["breadth-first", "graphql-core"])
@pytest.mark.parametrize("count", [1, 19, 20, 21, 150])
def test_at_most_twenty_errors_of_execution_are_named_and_the_data_stays(server: Server, count: int, more: str) -> None:
    server.accepted(CREATE_USER, userId="ada")
    wrong = " ".join(f'u{i}: user(userId: "ada") {{ sessions(first: 101) {{ totalCount }} }}' for i in range(count))
    answer = server.execute(f"{{ viewer {{ role }} {wrong} {more} }}")
    assert len(answer["errors"]) == min(count, 20)
    assert {error["extensions"]["code"] for error in answer["errors"]} == {"BAD_USER_INPUT"}
    assert answer["errors"][0]["path"] == ["u0", "sessions"]
    assert answer["data"]["viewer"] == {"role": "SERVICE"}
    assert [answer["data"][f"u{i}"] for i in range(count)] == [None] * count


def test_the_naive_count_below_has_the_numbers_of_the_code() -> None:
    assert (PAGE_SIZE.lookup, SEARCH_SIZE.lookup) == (LOOKUP, SEARCH_LOOKUP)
    assert (CONTEXT_SIZE.lookup, CONTEXT_SIZE.default) == (CONTEXT_LOOKUP, CONTEXT_LIST)


# Beside a naive count

TYPES = ["Query", "User", "Session", "Message", "Memory", "UserConnection", "SessionConnection", "Node", "Missing"]
LISTS = ["edges", "nodes", "messages", "messageEdges", "userErrors", "path", "supersedes", "sources", "addMessages"]
DIRECTIVES = st.sampled_from(["", "", " @include(if: true)", " @skip(if: $d) @x"])
SIZES = st.sampled_from(["", "first: 3", "last: 0", "first: $a", "first: null, last: $b", "ids: [1, 2]", "ids: $c"])
ADDED = st.sampled_from(["input: $i", "input: {messages: $l}", "input: {messages: [1, 2]}", "input: {}"])


def type_named(name: str) -> Any:
    kind = SCHEMA.type_map.get(name)
    return kind if is_composite_type(kind) else None


def type_below(kind: Any, name: str) -> Any:
    field = SCHEMA.get_field(kind, name) if kind else None
    below = get_named_type(field.type) if field else None
    return below if is_composite_type(below) else None


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Documents of fields that mostly are where the schema has them, with fragments that never go in circles."""
    count = draw(st.integers(0, 3))

    def selection(kind: Any, depth: int, later: int) -> str:
        there = list(getattr(kind, "fields", ()))
        names = [*(name for name in there if type_below(kind, name) or name in LISTS)] * 4 + there + ["missing", "id"]
        parts = []
        for _ in range(draw(st.integers(1, 3))):
            directive = draw(DIRECTIVES)
            form = draw(st.integers(0, 9))
            if form < 2 and later < count:
                parts.append(f"...F{draw(st.integers(later, count - 1))}{directive}")
            elif form == 2 and depth:
                name = draw(st.sampled_from(["", *TYPES]))
                inner = selection(type_named(name) if name else kind, depth - 1, later)
                parts.append(f"... {name and f'on {name}'}{directive} {{ {inner} }}")
            else:
                name = draw(st.sampled_from(names))
                arguments = draw(ADDED if name == "addMessages" else SIZES)
                inner = selection(type_below(kind, name), depth - 1, later) if depth and form < 9 else ""
                alias = draw(st.sampled_from(["", "", "a: "]))
                parts.append(f"{alias}{name}{arguments and f'({arguments})'}{directive}{inner and f' {{ {inner} }}'}")
        return " ".join(parts)

    fragments = [
        f"fragment F{i} on {name} {{ {selection(type_named(name), 3, i + 1)} }}"
        for i, name in enumerate(draw(st.lists(st.sampled_from(TYPES), min_size=count, max_size=count)))
    ]
    operation = draw(st.sampled_from(["query", "query", "mutation"]))
    root = SCHEMA.query_type if operation == "query" else SCHEMA.mutation_type
    variables = "($a: Int, $b: Int, $c: [ID!], $d: Boolean, $i: AddMessagesInput!, $l: [MessageInput!]!)"
    return f"{operation} {variables} {{ {selection(root, 5, 0)} }} {' '.join(fragments)}"


VARIABLES = st.fixed_dictionaries(
    {},
    optional={
        "a": st.none() | st.integers(-1, 110),
        "b": st.none() | st.integers(-1, 110),
        "c": st.none() | st.lists(st.just("x"), max_size=110),
        "i": st.fixed_dictionaries({}, optional={"messages": st.lists(st.just("x"), max_size=110)}),
        "l": st.lists(st.just("x"), max_size=110),
    },
)


class Naive:
    """Counts by walking every fragment again at every spread, with the size of the page handed down."""

    def __init__(self, document: DocumentNode, variables: dict[str, Any]) -> None:
        self.variables = variables
        self.fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
        (self.operation,) = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]

    def all(self) -> dict[str, int]:
        start = self.operation.selection_set
        root = SCHEMA.get_root_type(self.operation.operation)
        flat = [*self.flat(start, 1)]
        return {
            "depth": max(depth for _, depth in flat),
            "aliases": sum(node.alias is not None for node, _ in flat if isinstance(node, FieldNode)),
            "directives": sum(len(node.directives or ()) for node, _ in flat),
            "fields": sum(isinstance(node, FieldNode) for node, _ in flat),
            "cost": self.cost(start, root, 20),
        }

    def parts(self, selection_set: SelectionSetNode) -> Iterator[tuple[Any, bool]]:
        """The nodes of a selection set, and whether what they select counts: what is spread again does not."""
        spread: set[str] = set()
        for node in selection_set.selections:
            name = node.name.value if isinstance(node, FragmentSpreadNode) else None
            yield node, name not in spread
            spread |= {name} if name else set()

    def flat(self, selection_set: SelectionSetNode, depth: int) -> Iterator[tuple[Any, int]]:
        """All nodes with their depth; those that are no fields have that of the fields around them."""
        for node, counts in self.parts(selection_set):
            yield node, depth if isinstance(node, FieldNode) else depth - 1
            if isinstance(node, FragmentSpreadNode):
                if counts:
                    yield from self.flat(self.fragments[node.name.value].selection_set, depth)
            elif node.selection_set:
                yield from self.flat(node.selection_set, depth + isinstance(node, FieldNode))

    def cost(self, selection_set: SelectionSetNode, kind: Any, size: int) -> int:
        total = 0
        for node, counts in self.parts(selection_set):
            if isinstance(node, FragmentSpreadNode):
                fragment = self.fragments[node.name.value]
                if counts:
                    total += self.cost(fragment.selection_set, type_named(fragment.type_condition.name.value), size)
            elif isinstance(node, InlineFragmentNode):
                inner = type_named(node.type_condition.name.value) if node.type_condition else kind
                total += self.cost(node.selection_set, inner, size)
            else:
                field = SCHEMA.get_field(kind, node.name.value) if kind else None
                own = self.page_size(node, field)
                times, below = 1, 20 if own is None else own
                if field is not None and "[" in str(field.type):
                    times, below = (size if own is None else own), 20
                inner = type_below(kind, node.name.value)
                total += LOOKUP * (field is not None and "first" in field.args and "query" not in field.args)
                total += SEARCH_LOOKUP * (field is not None and {"first", "query"} <= field.args.keys())
                total += CONTEXT_LOOKUP * (field is not None and "maxTokens" in field.args)
                total += times * (1 + (self.cost(node.selection_set, inner, below) if node.selection_set else 0))
        return total

    def page_size(self, node: FieldNode, field: Any) -> int | None:
        """The number of items by the published schema: 20 for a connection by default, none for what goes by a list."""
        if field is None:
            return None
        if "maxTokens" in field.args:
            return CONTEXT_LIST
        given = {argument.name.value: self.value(argument.value) for argument in node.arguments or ()}
        if "first" in field.args:
            found = next((given[name] for name in ("first", "last") if given.get(name) is not None), 20)
        elif field is SCHEMA.query_type.fields["nodes"]:
            found = given.get("ids") or []
        elif field is SCHEMA.mutation_type.fields["addMessages"]:
            found = (given.get("input") or {}).get("messages") or []
        else:
            return None
        return max(0, min(found if isinstance(found, int) else len(found), 100))

    def value(self, node: Any) -> Any:
        found = value_from_ast_untyped(node, self.variables)
        return None if found is Undefined else found


@settings(max_examples=300, deadline=None)
@given(document=documents(), variables=VARIABLES)
def test_the_walk_counts_as_a_naive_one_does(document: str, variables: dict[str, Any]) -> None:
    parsed = parse(document)
    wanted = Naive(parsed, variables).all()
    assert Measurer(SCHEMA, Limits()).costs(parsed)[None].of(variables) == wanted.pop("cost")
    # The fragments that are not used are measured too, so a limit may be exceeded by these.
    for name, count in wanted.items():
        used = reachable(parsed)
        if count:
            with pytest.raises(TooComplex):
                Measurer(SCHEMA, Limits(**{name: count - 1})).costs(used)
        Measurer(SCHEMA, Limits(**{name: count})).costs(used)


def reachable(document: DocumentNode) -> DocumentNode:
    """A document without the fragments that its operation does not come to."""
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    kept: dict[str, Any] = {}
    waiting: list[Any] = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]
    operations = tuple(waiting)
    while waiting:
        for node in waiting.pop().selection_set.selections:
            if isinstance(node, FragmentSpreadNode) and node.name.value not in kept:
                kept[node.name.value] = fragments[node.name.value]
                waiting.append(fragments[node.name.value])
            elif getattr(node, "selection_set", None):
                waiting.append(node)
    return DocumentNode(definitions=(*operations, *kept.values()))
