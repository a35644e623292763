"""Whatever comes is answered: generated bodies, requests, values and documents."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bad_input.targets import MUTATIONS, OPERATIONS, Target

QUICK = settings(max_examples=120, deadline=None)
surrogates = st.characters(categories=["Cs"])
texts = st.text(st.characters() | surrogates | st.sampled_from("\0'\"{}$:_-"), max_size=12)
numbers = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([2**31, 2**63, 10**40, -1, 1e308])
)
leaves = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)
FIELDS = [
    *("userId", "sessionId", "agentId", "id", "email", "name", "about", "content", "title", "metadata", "documents"),
    *("messages", "role", "kind", "rating", "createdAt", "sources", "supersedes", "validFrom", "expectedVersion"),
    *("metadataMode", "limit", "since", "until", "userIds", "deleted", "memoryId", "parts", "toolCalls", "asOf"),
]
PLAUSIBLE = ["here", "USER", "FACT", "MERGE", "2024-01-01T00:00:00Z", "2024-01-01T00:00:00", 1, 0.5, True, None, {}, []]
inputs = st.recursive(
    st.sampled_from(PLAUSIBLE) | leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | texts, inner, max_size=6),
    max_leaves=15,
)


@QUICK
@given(body=values)
def test_whatever_json_comes_is_answered(target: Target, body: Any) -> None:
    target.send(json.dumps(body).encode())


@QUICK
@given(body=st.binary(max_size=60))
def test_whatever_bytes_come_are_answered(target: Target, body: bytes) -> None:
    assert target.send(body).status_code == 400


@QUICK
@given(query=st.just("{ viewer { role } }") | values, variables=values, name=values, extensions=values)
def test_whatever_stands_in_a_request_is_answered(
    target: Target, query: Any, variables: Any, name: Any, extensions: Any
) -> None:
    body = {"query": query, "variables": variables, "operationName": name, "extensions": extensions}
    target.send(json.dumps(body).encode())


@settings(QUICK, max_examples=300)
@given(operation=st.sampled_from(sorted(OPERATIONS)), value=inputs)
def test_whatever_a_query_is_given_is_answered(target: Target, operation: str, value: Any) -> None:
    target.ask(OPERATIONS[operation], {"x": value})


@settings(QUICK, max_examples=400)
@given(mutation=st.sampled_from(sorted(MUTATIONS.keys() - {"deleteUser", "purgeDeleted"})), value=inputs)
def test_whatever_a_mutation_is_given_is_answered(target: Target, mutation: str, value: Any) -> None:
    target.ask(MUTATIONS[mutation], {"x": value})


TOKENS = [
    *(
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        ":",
        "!",
        "=",
        "|",
        "&",
        "@",
        "$",
        "...",
        ",",
        '"',
        '"""',
        "#",
        "\\u0000",
        "\n",
        "\ud800",
    ),
    *("query", "mutation", "subscription", "fragment", "on", "input", "true", "false", "null", "1", "-1", "1.5", "1e9"),
    *("viewer", "user", "users", "sessions", "node", "nodes", "edges", "cursor", "id", "userId", "role", "__typename"),
    *("first", "last", "after", "filter", "orderBy", "metadata", "createUser", "userErrors", "code", "__schema"),
    *("@include(if:", "@skip(if:", "$x:", "Int", "$x", "Viewer", "User", "Query", '"here"', "types", "name"),
]


@settings(QUICK, max_examples=300)
@given(tokens=st.lists(st.sampled_from(TOKENS), max_size=25))
def test_whatever_document_comes_is_answered(target: Target, tokens: list[str]) -> None:
    target.ask(" ".join(tokens), {"x": 1})


WHOLE = """query Q($first: Int = 2, $on: Boolean! = true, $m: JSON) {
  user(userId: "here") {
    ...F
    a: sessions(
      first: $first, filter: {metadata: $m, ended: false}, orderBy: {field: CREATED_AT, direction: DESC}
    ) { edges { cursor node { id } } pageInfo { endCursor } totalCount }
  }
  node(id: "x") { __typename ... on Message @include(if: $on) { content } }
  __schema { types { name } }
}
fragment F on User { userId name metadata createdAt memories(last: 1) { nodes { kind rating } } }"""


def test_the_whole_document_is_right(target: Target) -> None:
    assert target.server.graphql(WHOLE)["user"]["userId"] == "here"


@settings(QUICK, max_examples=300)
@given(data=st.data(), changes=st.integers(1, 4))
def test_whatever_a_document_is_turned_into_is_answered(target: Target, data: st.DataObject, changes: int) -> None:
    document = WHOLE
    for _ in range(changes):
        start = data.draw(st.integers(0, len(document)))
        end = data.draw(st.integers(start, min(len(document), start + 8)))
        document = document[:start] + data.draw(texts | st.sampled_from(TOKENS)) + document[end:]
    target.ask(document)
