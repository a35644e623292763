"""Documents that cannot be parsed, or do not fit the schema."""

import pytest

from tests.bad_input.targets import CODES, Target

pytestmark = pytest.mark.once

UNPARSABLE = [
    "",
    " ",
    "\n",
    "#",
    "# only a comment\n# and another",
    ",,,",
    "\ufeff",
    "{",
    "}",
    "{ viewer { role }",
    "{ viewer { role } } }",
    "{ viewer(role: ) { role } }",
    "query",
    "query ($x) { viewer { role } }",
    "subscription",
    "fragment on on Viewer { role }",
    "{ ... }",
    '{ user(userId: "a) { id } }',
    '{ user(userId: "a\nb") { id } }',
    '{ user(userId: "\\x") { id } }',
    '{ user(userId: "\\uD800") { id } }',
    '{ user(userId: "\\u{110000}") { id } }',
    '{ user(userId: """a) { id } }',
    "{ users(first: 01) { totalCount } }",
    "{ users(first: 1x) { totalCount } }",
    "{ users(first: 1.) { totalCount } }",
    "{ users(first: NaN(5)) { totalCount } }",
    "{ viewer { role } } ?",
    "{ viewer { role } } \0",
    "{ viewer { role } } \ud800",
    "{ \ud800\udc00 }",
    "{ é }",
    "\u202e{ viewer { role } }",
    "\x07",
    "SELECT 1",
    "null",
    "5",
]


@pytest.mark.parametrize("document", UNPARSABLE, ids=ascii)
def test_a_document_that_cannot_be_parsed_says_so(target: Target, document: str) -> None:
    assert target.codes(document) <= (
        {"GRAPHQL_PARSE_FAILED"} if document.strip() else {"GRAPHQL_PARSE_FAILED", "BAD_USER_INPUT"}
    )


INVALID = [
    "{ unknown }",
    "{ viewer { unknown } }",
    "{ viewer }",
    "{ viewer { role { x } } }",
    "{ user { id } }",
    "{ user(userId: null) { id } }",
    "{ user(userId: 5) { id } }",
    "{ user(userId: a) { id } }",
    '{ user(userId: ["a"]) { id } }',
    '{ user(userId: "a", unknown: 1) { id } }',
    '{ user(userId: "a", userId: "b") { id } }',
    '{ user(userId: "a") { id } user(userId: "b") { id } }',
    '{ users(first: "5") { totalCount } }',
    "{ users(first: 1.5) { totalCount } }",
    "{ users(first: 2147483648) { totalCount } }",
    "{ users(first: 99999999999999999999999999999999999999999) { totalCount } }",
    "{ users(first: true) { totalCount } }",
    "{ users(filter: {unknown: 1}) { totalCount } }",
    "{ users(filter: {userIds: [1]}) { totalCount } }",
    "{ users(filter: {userIds: [null]}) { totalCount } }",
    "{ users(filter: 5) { totalCount } }",
    "{ users(orderBy: {field: AGE, direction: ASC}) { totalCount } }",
    '{ users(orderBy: {field: "USER_ID", direction: ASC}) { totalCount } }',
    "{ users(orderBy: {field: USER_ID}) { totalCount } }",
    "{ sessions(filter: {ended: 1}) { totalCount } }",
    '{ node(id: "x") { userId } }',
    "{ node(id: true) { id } }",
    "{ nodes(ids: [null]) { id } }",
    '{ node(id: "x") { ... on Nothing { id } } }',
    '{ node(id: "x") { ... on Viewer { id } } }',
    "{ ...F }",
    "{ ...F } fragment F on Query { ...F }",
    "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }",
    "{ viewer { role } } fragment F on Viewer { role }",
    "{ viewer { ...F } } fragment F on User { id }",
    "query ($x: Int) { viewer { role } }",
    "query ($x: Unknown) { user(userId: $x) { id } }",
    "query ($x: User) { user(userId: $x) { id } }",
    "query ($x: String) { user(userId: $x) { id } }",
    "query ($x: Int!) { user(userId: $x) { id } }",
    "query ($x: String!, $x: String!) { user(userId: $x) { id } }",
    "{ user(userId: $x) { id } }",
    "query A { viewer { role } } query A { viewer { role } }",
    "{ viewer { role } } query A { viewer { role } }",
    "{ viewer @unknown { role } }",
    "{ viewer @include { role } }",
    "{ viewer @include(if: 1) { role } }",
    '{ viewer @include(if: "true") { role } }',
    "{ viewer @include(if: true) @include(if: true) { role } }",
    "query @include(if: true) { viewer { role } }",
    "mutation { createUser { user { id } } }",
    "mutation { createUser(input: {userId: 5}) { user { id } } }",
    'mutation { createUser(input: {unknown: "x"}) { user { id } } }',
    "mutation { createUser(input: null) { user { id } } }",
    'mutation { addMessages(input: {sessionId: "s"}) { userErrors { code } } }',
    'mutation { addMessages(input: {sessionId: "s", messages: [{role: ROBOT}]}) { userErrors { code } } }',
    'mutation { addMessages(input: {sessionId: "s", messages: [null]}) { userErrors { code } } }',
    'mutation { createMemory(input: {userId: "here", kind: FACT}) { userErrors { code } } }',
    'mutation { createMemory(input: {userId: "here", kind: FACT, content: "x", rating: "1"}) { userErrors { code } } }',
    "{ __schema { unknown } }",
    "{ __type { name } }",
    "{ __type(name: 5) { name } }",
    "type Query { a: Int }",
    "{ viewer { role } } type A { a: Int }",
    "extend type Query { a: Int }",
    "schema { query: Query }",
    "{ viewer { role } } directive @a on FIELD",
]


@pytest.mark.parametrize("document", INVALID, ids=ascii)
def test_a_document_that_does_not_fit_the_schema_says_so(target: Target, document: str) -> None:
    assert target.codes(document) <= {"GRAPHQL_VALIDATION_FAILED", "BAD_USER_INPUT", "OPERATION_RESOLUTION_FAILURE"}


def test_an_operation_is_chosen_by_its_name(target: Target) -> None:
    two = "query A { viewer { role } } query B { viewer { project } }"
    assert target.send({"query": two, "operationName": "B"}).json() == {"data": {"viewer": {"project": "default"}}}
    only = "query A { viewer { role } }"
    for name in (None, "A"):
        assert target.send({"query": only, "operationName": name}).json() == {"data": {"viewer": {"role": "SERVICE"}}}
    names = ["C", "a", "A ", "A B", "\0", "\ud800", "é", "x" * 100_000, "__proto__", "'"]
    asked = [(two, None), (two, ""), *((two, name) for name in names), *((only, name) for name in names)]
    for document, name in asked:
        for accept, statuses in (("application/json", (200, 400)), ("application/graphql-response+json", (422,))):
            response = target.send({"query": document, "operationName": name}, {"accept": accept})
            assert response.status_code in statuses
            codes = {error["extensions"]["code"] for error in response.json()["errors"]}
            assert codes <= ({"OPERATION_RESOLUTION_FAILURE"} if name != "\ud800" else CODES), name


def test_a_document_of_fragments_only_has_nothing_to_carry_out(target: Target) -> None:
    codes = target.codes("fragment F on Viewer { role }")
    assert codes <= {"OPERATION_RESOLUTION_FAILURE", "GRAPHQL_VALIDATION_FAILED"}


def test_a_subscription_is_not_answered_over_post(target: Target) -> None:
    assert target.codes("subscription { x }") & CODES
