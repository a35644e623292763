"""The limits on documents: each to the number, fragments spread out, in time that is in proportion to the document."""

import asyncio
import re
from dataclasses import replace

import pytest
from graphql import (
    get_introspection_query,
    parse,
)

from breadth import Executor, Limits, PlainContext, Request
from recallql.errors import describe
from schema.root import schema as published
from tests.documents import CREATE_USER, VIEWER
from tests.limits.sized import (
    DOUBLING,
    aliases,
    characters,
    comments,
    cost,
    depth,
    directives,
    doubling,
    fields,
    tokens,
    too_complex,
    work_of,
)
from tests.servers import REPOSITORY, Server, Start

pytestmark = pytest.mark.once

GRAPHQL = "application/graphql-response+json"


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
def test_a_document_is_answered_up_to_a_limit_and_refused_above_it(limited: Start, name: str) -> None:
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
        executor = Executor(published, describe, limits=replace(Limits(), **{setting: count - 1}))
        answer = asyncio.run(executor.execute(Request(build(count)), PlainContext()))
        assert "QUERY_TOO_COMPLEX" in str(answer.body)


def test_a_limit_of_nothing_lets_what_has_none_pass(limited: Start) -> None:
    server = limited(aliases=0, directives=0)
    assert server.graphql(VIEWER) == {"viewer": {"role": "SERVICE"}}
    assert "1 aliases" in too_complex(server.execute("{ viewer { a: role } }"))
    assert "1 directives" in too_complex(server.execute("{ viewer { role @include(if: true) } }"))
    assert "1 directives" in too_complex(server.execute("query @unknown { viewer { role } }"))
    assert "1 directives" in too_complex(server.execute("query ($x: Int @unknown) { viewer { role } }"))
    assert "1 directives" in too_complex(server.execute(VIEWER + " fragment F on Viewer @unknown { role }"))


def test_the_largest_operation_of_a_document_counts_and_of_costs_the_one_that_is_run(
    limited: Start,
) -> None:
    server = limited(fields=4, cost=20)
    small, large = "query Small { viewer { role } }", "query Large { sessions(first: 5) { nodes { id } } }"
    both = {"query": small + large}
    assert server.post(both | {"operationName": "Small"}).json() == {"data": {"viewer": {"role": "SERVICE"}}}
    assert "cost is 21;" in too_complex(server.post(both | {"operationName": "Large"}).json())
    wide = {"query": small + "query Wide { viewer { a: role b: role c: role d: role } }", "operationName": "Small"}
    assert "selects 5 fields" in too_complex(server.post(wide).json())


def test_a_mutation_over_a_limit_changes_nothing(limited: Start) -> None:
    server = limited(aliases=1, cost=100)
    create = 'createUser(input: {userId: "u"}) { user { id } }'
    too_complex(server.execute(f"mutation {{ a: {create} b: {create} }}"))
    costly = 'createUser(input: {userId: "u"}) { user { sessions(first: 100) { nodes { id } } } }'
    too_complex(server.execute(f"mutation {{ {costly} }}"))
    assert server.graphql('{ user(userId: "u") { id } }') == {"user": None}


@pytest.mark.parametrize("document", [aliases(7), cost(33)], ids=["document", "cost"])
def test_the_status_is_that_of_other_requests_at_fault(limited: Start, document: str) -> None:
    server = limited(aliases=6, cost=31)
    assert server.post({"query": document}).status_code == 200
    assert server.post({"query": document}, {"accept": GRAPHQL}).status_code == 422
    for accept, status in (("application/json", 200), (GRAPHQL, 422)):
        response = server.client.get(server.url, params={"query": document}, headers={"accept": accept})
        assert response.status_code == status
        too_complex(response.json())


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
    playground = REPOSITORY / "playground" / "conversations.graphql"
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
    # On PostgreSQL graphql-core has the users' rows in any order.
    assert {tuple(error["path"]) for error in answer["errors"]} <= {(f"u{i}", "sessions") for i in range(count)}
    assert answer["data"]["viewer"] == {"role": "SERVICE"}
    assert [answer["data"][f"u{i}"] for i in range(count)] == [None] * count
