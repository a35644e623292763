"""Hostile, broken and excessive input: always a clear answer with a code, never HTTP 500, never an inside view.

All tests share one server: whatever one of them sends must not harm the next.
"""

import itertools
import json
import math
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.servers import Server

CODES = {
    "BAD_USER_INPUT",
    "GRAPHQL_PARSE_FAILED",
    "GRAPHQL_VALIDATION_FAILED",
    "OPERATION_RESOLUTION_FAILURE",
    "QUERY_TOO_COMPLEX",
    "PAYLOAD_TOO_LARGE",
}
USER_CODES = {"ALREADY_EXISTS", "NOT_FOUND", "INVALID", "CONFLICT", "SESSION_ENDED", "TOO_LARGE"}
INSIDE = re.compile(  # in lower case
    r'traceback|file "|sqlite|sqlalchemy|site-packages|\.py\b|/tmp/|/usr/|/home/|object at 0x|nonetype|'
    r"orjson|strawberry|pydantic|unique constraint|select .* from|insert (?:or|into)|update \w+ set|delete from|"
    r"codec can't|\b(?:type|value|key|index|attribute|name|recursion|memory|overflow|assertion|runtime|"
    r"unicode\w*|operational|integrity|programming|interface|data|json|jsondecode)error\b"
)
MEBIBYTE = 1024 * 1024
ERRORS = "userErrors { code message path }"
OPERATIONS = {
    "user": "query ($x: String!) { user(userId: $x) { userId } }",
    "session": "query ($x: String!) { session(sessionId: $x) { sessionId } }",
    "agent": "query ($x: String!) { agent(agentId: $x) { agentId } }",
    "node": "query ($x: ID!) { node(id: $x) { id } }",
    "nodes": "query ($x: [ID!]!) { nodes(ids: $x) { id } }",
    "users": "query ($x: UserFilter) { users(filter: $x) { totalCount nodes { userId } } }",
    "sessions": "query ($x: SessionFilter) { sessions(filter: $x) { totalCount nodes { sessionId } } }",
    "order": "query ($x: SessionOrder) { sessions(orderBy: $x) { nodes { sessionId } } }",
    "first": "query ($x: Int) { users(first: $x) { nodes { userId } } }",
    "after": "query ($x: String) { users(after: $x) { nodes { userId } } }",
    "messages": 'query ($x: MessageFilter) { session(sessionId: "here") { messages(filter: $x) { totalCount } } }',
    "memories": 'query ($x: MemoryFilter) { user(userId: "here") { memories(filter: $x) { totalCount } } }',
    "documents": 'query ($x: DocumentFilter) { user(userId: "here") { documents(filter: $x) { totalCount } } }',
    "search": "query ($x: String!) { search(query: $x) { edges { score highlight } } }",
    "search's filter": 'query ($x: SearchFilter) { search(query: "here", filter: $x) { edges { score highlight } } }',
    "search's scope": 'query ($x: [SearchScope!]) { search(query: "here", scope: $x) { edges { score highlight } } }',
    "search's cursor": 'query ($x: String) { search(query: "here", after: $x) { pageInfo { endCursor } } }',
    "include": "query ($x: Boolean!) { viewer { id @include(if: $x) role } }",
}
MUTATIONS = {
    name: f"mutation ($x: {name[0].upper()}{name[1:]}Input!) {{ {name}(input: $x) {{ {ERRORS} }} }}"
    for name in (
        "createUser",
        "updateUser",
        "upsertUser",
        "deleteUser",
        "createSession",
        "updateSession",
        "upsertSession",
        "endSession",
        "reopenSession",
        "deleteSession",
        "deleteInactiveSessions",
        "addMessages",
        "updateMessage",
        "deleteMessage",
        "deleteMessages",
        "createMemory",
        "updateMemory",
        "deleteMemory",
        "deleteMemories",
        "createDocument",
        "updateDocument",
        "deleteDocument",
        "createAgent",
        "updateAgent",
        "upsertAgent",
        "deleteAgent",
        "purgeDeleted",
    )
}


class Target:
    """A server with a little data, and a client that looks closely at every answer."""

    def __init__(self, server: Server) -> None:
        self.server = server
        said = [{"role": "USER", "content": "hello"}]
        self.mutate("createUser", userId="here", documents=[{"title": "t", "content": "c"}])
        self.mutate("createAgent", agentId="here", name="Here")
        self.mutate("createSession", sessionId="here", userId="here", agentId="here")
        self.mutate("addMessages", sessionId="here", messages=said, formMemories=False)
        self.mutate("createMemory", sessionId="here", kind="FACT", content="c")
        query = """{
          user(userId: "here") { id documents { nodes { id } } memories { nodes { id } } }
          session(sessionId: "here") { messages { nodes { id } } }
        }"""
        found = server.graphql(query)
        self.user = found["user"]["id"]
        self.document = found["user"]["documents"]["nodes"][0]["id"]
        self.memory = found["user"]["memories"]["nodes"][0]["id"]
        self.message = found["session"]["messages"]["nodes"][0]["id"]

    def mutate(self, name: str, /, **fields: Any) -> None:
        assert self.server.graphql(MUTATIONS[name], x=fields)[name]["userErrors"] == []

    def send(self, body: Any, headers: dict[str, str] | None = None) -> httpx.Response:
        """What comes back is never a fault of the server's, and every error in it has a code that clients know."""
        response = self.server.post(body, headers)
        assert response.status_code in (200, 294, 400, 413, 415, 422), response.text[:2000]
        assert response.headers["content-type"].startswith(("application/json", "application/graphql-response+json"))
        answer = response.json()
        assert isinstance(answer, dict)
        assert answer.keys() <= {"data", "errors", "extensions"}
        assert "data" in answer or answer["errors"]
        sent = (body if isinstance(body, bytes) else json.dumps(body).encode()).decode(errors="replace").lower()
        for error in answer.get("errors", []):
            assert isinstance(error["message"], str)
            assert error["message"]
            assert error["extensions"]["code"] in CODES, error
            assert all(found in sent for found in INSIDE.findall(error["message"].lower())), error
            assert "stacktrace" not in error["extensions"]
        for payload in (answer.get("data") or {}).values():
            for error in payload.get("userErrors", []) if isinstance(payload, dict) else []:
                assert error["code"] in USER_CODES, error
                assert error["message"]
                assert all(found in sent for found in INSIDE.findall(error["message"].lower())), error
                assert all(isinstance(step, str) for step in error["path"])
        return response

    def ask(self, query: Any, variables: Any = None) -> dict[str, Any]:
        return self.send({"query": query, "variables": variables}).json()

    def codes(self, query: Any, variables: Any = None) -> set[str]:
        """The codes of the errors that an operation is answered with: it must have some."""
        answer = self.ask(query, variables)
        assert answer.get("errors"), answer
        return {error["extensions"]["code"] for error in answer["errors"]}

    def user_errors(self, name: str, /, **fields: Any) -> list[tuple[str, list[str]]]:
        """The codes and paths of the userErrors of a mutation that must be refused."""
        answer = self.ask(MUTATIONS[name], {"x": fields})
        assert "errors" not in answer, answer
        errors = answer["data"][name]["userErrors"]
        assert errors, f"{name} accepted it"
        return [(error["code"], error["path"]) for error in errors]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    server = Server(tmp_path_factory.mktemp("bad-input") / "recallql.db")
    yield Target(server)
    assert server.client.get(f"{server.base}/health").status_code == 200
    assert server.graphql('{ user(userId: "here") { userId } }') == {"user": {"userId": "here"}}
    server.close()


@pytest.fixture(scope="module")
def lifted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A server whose limits on documents are so high that what they keep out comes in."""
    limits = dict.fromkeys(("characters", "tokens", "aliases", "directives", "fields", "cost"), 10**12) | {"depth": 200}
    path = tmp_path_factory.mktemp("lifted") / "recallql.db"
    server = Server(path, **{f"max_query_{name}": limit for name, limit in limits.items()})
    yield Target(server)
    assert server.graphql('{ user(userId: "here") { userId } }') == {"user": {"userId": "here"}}
    server.close()


@pytest.fixture(autouse=True)
def still_answering(target: Target) -> Iterator[None]:
    yield
    assert target.ask("{ viewer { role } }") == {"data": {"viewer": {"role": "SERVICE"}}}


# Bodies

GOOD = b'"query": "{ viewer { role } }"'
BODIES = {
    "empty": b"",
    "space": b" \n",
    "a number": b"5",
    "a float": b"1.5",
    "null": b"null",
    "true": b"true",
    "a list": b"[]",
    "a text": b'"x"',
    "a document": b"{ viewer { role } }",
    "an empty object": b"{}",
    "a batch": b"[{" + GOOD + b"}]",
    "an open object": b"{" + GOOD,
    "something after": b"{" + GOOD + b"} x",
    "two objects": b"{" + GOOD + b"}{" + GOOD + b"}",
    "a trailing comma": b"{" + GOOD + b",}",
    "single quotes": b"{'query': '{ viewer { role } }'}",
    "a comment": b"{" + GOOD + b"/* x */}",
    "a raw newline": b'{"query": "{ viewer\n { role } }"}',
    "a raw NUL": b'{"query": "{ viewer { role } }\0"}',
    "bad UTF-8": b"{" + GOOD + b', "x": "\xff"}',
    "bad UTF-8 in the query": b'{"query": "{ viewer { role } } # \xc3"}',
    "overlong UTF-8": b"{" + GOOD + b', "x": "\xc0\x80"}',
    "a surrogate in UTF-8": b"{" + GOOD + b', "x": "\xed\xa0\x80"}',
    "UTF-16": ("{" + GOOD.decode() + "}").encode("utf-16"),
    "noise": bytes(range(256)),
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
    "NaN": b"{" + GOOD + b', "variables": {"a": NaN}}',
    "Infinity": b"{" + GOOD + b', "variables": {"a": Infinity}}',
    "-Infinity": b"{" + GOOD + b', "variables": {"a": [{"b": -Infinity}]}}',
    "nan": b"{" + GOOD + b', "variables": {"a": nan}}',
    "a bad escape": b"{" + GOOD + b', "x": "\\x00"}',
    "a bad number": b"{" + GOOD + b', "x": 01}',
    "deep open lists": b"[" * 200_000,
    "deep lists": b"[" * 200_000 + b"]" * 200_000,
    "deep open objects": b'{"a":' * 200_000,
    "deep objects": b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
    "deep variables": b"{" + GOOD + b', "variables": {"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}}",
    "deep extensions": b"{" + GOOD + b', "extensions": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    "no query": b'{"variables": {}, "operationName": "x"}',
    "query: null": b'{"query": null}',
    "query: 5": b'{"query": 5}',
    "query: []": b'{"query": ["{ viewer { role } }"]}',
    "query: {}": b'{"query": {}}',
    "query: true": b'{"query": true}',
    "variables: []": b"{" + GOOD + b', "variables": []}',
    "variables: 5": b"{" + GOOD + b', "variables": 5}',
    "variables: text": b"{" + GOOD + b', "variables": "{}"}',
    "variables: false": b"{" + GOOD + b', "variables": false}',
    "operationName: 5": b"{" + GOOD + b', "operationName": 5}',
    "operationName: {}": b"{" + GOOD + b', "operationName": {}}',
    "operationName: false": b"{" + GOOD + b', "operationName": false}',
    "extensions: 5": b"{" + GOOD + b', "extensions": 5}',
    "extensions: []": b"{" + GOOD + b', "extensions": []}',
}

WELL_FORMED_JSON = {"null", "true", "a number", "a float", "a text", "a list", "a batch", "an empty object", "no query"}


@pytest.mark.parametrize("accept", ["application/json", "application/graphql-response+json"])
@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_no_request_is_refused(target: Target, name: str, accept: str) -> None:
    response = target.send(BODIES[name], {"accept": accept})
    # JSON that is no GraphQL request is told apart from what is no JSON, though not in the older type.
    is_json = name in WELL_FORMED_JSON or ":" in name
    assert response.status_code == (422 if is_json and "graphql" in accept else 400)
    assert response.json()["errors"]
    assert "data" not in response.json()


def test_what_may_be_left_out_may_be_null(target: Target) -> None:
    body = b"{" + GOOD + b', "variables": null, "operationName": null, "extensions": null, "unknown": [1]}'
    assert target.send(body).json() == {"data": {"viewer": {"role": "SERVICE"}}}
    body = b"{" + GOOD + b', "variables": {}, "extensions": {"a": 1}}'
    assert target.send(body).json() == {"data": {"viewer": {"role": "SERVICE"}}}


def test_a_body_may_have_eight_mebibytes_and_no_more(target: Target) -> None:
    body = b"{" + GOOD + b"}"
    full = body + b" " * (8 * MEBIBYTE - len(body))
    assert target.send(full).json() == {"data": {"viewer": {"role": "SERVICE"}}}
    for larger in (full + b" ", full * 2):
        response = target.send(larger)
        assert response.status_code == 413
        assert {error["extensions"]["code"] for error in response.json()["errors"]} == {"PAYLOAD_TOO_LARGE"}


def test_a_body_without_a_stated_length_is_measured_all_the_same(target: Target) -> None:
    def pieces(size: int) -> Iterator[bytes]:
        body = b"{" + GOOD + b"}"
        yield body
        for start in range(len(body), size, 65536):
            yield b" " * min(65536, size - start)

    client, url = target.server.client, target.server.url
    headers = {"content-type": "application/json"}
    assert client.post(url, content=pieces(MEBIBYTE), headers=headers).status_code == 200
    assert client.post(url, content=pieces(8 * MEBIBYTE + 1), headers=headers).status_code == 413


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/plain; charset=utf-8",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        "application/xml",
        "application/jsonp",
        "x",
        None,
    ],
)
def test_only_json_is_taken(target: Target, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    response = target.server.client.post(target.server.url, content=b"{" + GOOD + b"}", headers=headers)
    assert response.status_code == 415
    assert response.json()["errors"][0]["extensions"]["code"]


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"]
)
def test_json_is_taken_however_its_type_is_written(target: Target, content_type: str) -> None:
    assert target.send(b"{" + GOOD + b"}", {"content-type": content_type}).status_code == 200


def test_a_compressed_body_is_refused_or_understood(target: Target) -> None:
    response = target.server.post(b"{" + GOOD + b"}", {"content-encoding": "gzip"})
    assert response.status_code in (200, 400, 415)


# Documents

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
    "{ users(orderBy: {field: NAME, direction: ASC}) { totalCount } }",
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


# Variables

WRONG_VARIABLES = [
    ("user", 5),
    ("user", None),
    ("user", True),
    ("user", ["a"]),
    ("user", {"a": 1}),
    ("user", 1.5),
    ("node", 1.5),
    ("node", True),
    ("node", {}),
    ("nodes", [None]),
    ("nodes", [[]]),
    ("nodes", {"a": 1}),
    ("nodes", ["x"] * 101),
    ("first", "1"),
    ("first", 1.5),
    ("first", True),
    ("first", 2**31),
    ("first", 2**63),
    ("first", 10**400),
    ("first", -(10**30)),
    ("first", 1e300),
    ("first", [1, 2]),
    ("first", {}),
    ("after", 5),
    ("after", []),
    ("users", 5),
    ("users", "x"),
    ("users", [1]),
    ("users", {"unknown": 1}),
    ("users", {"": 1}),
    ("users", {"\0": 1}),
    ("users", {"userIds": 5}),
    ("users", {"userIds": [None]}),
    ("users", {"userIds": {"a": 1}}),
    ("users", {"createdAt": 5}),
    ("users", {"createdAt": {"since": 5}}),
    ("users", {"createdAt": {"since": True}}),
    ("users", {"createdAt": {"since": {}}}),
    ("order", {"field": "NAME", "direction": "ASC"}),
    ("order", {"field": "\ud800", "direction": "ASC"}),
    ("order", {"field": "SESSION_ID"}),
    ("order", {"field": None, "direction": "ASC"}),
    ("order", {"field": ["SESSION_ID"], "direction": "ASC"}),
    ("include", "true"),
    ("include", 1),
    ("include", None),
    ("createUser", None),
    ("createUser", []),
    ("createUser", "x"),
    ("createUser", {"userId": 5}),
    ("createUser", {"userId": ["x"]}),
    ("createUser", {"documents": [None]}),
    ("createUser", {"documents": [{"title": "t"}]}),
    ("createUser", {"documents": 5}),
    ("createUser", {"createdAt": 1704067200}),
    ("updateUser", {}),
    ("updateUser", {"userId": None}),
    ("updateUser", {"userId": "here", "expectedVersion": "1"}),
    ("updateUser", {"userId": "here", "expectedVersion": 2**31}),
    ("updateUser", {"userId": "here", "metadataMode": "merge"}),
    ("addMessages", {"sessionId": "here", "messages": None}),
    ("addMessages", {"sessionId": "here", "messages": [{"content": "no role"}]}),
    ("addMessages", {"sessionId": "here", "messages": [{"role": "user", "content": "x"}]}),
    ("addMessages", {"sessionId": "here", "messages": [{"role": "USER", "content": 5}]}),
    ("addMessages", {"sessionId": "here", "messages": [{"role": "USER", "content": "x", "tokenCount": 1.5}]}),
    ("createMemory", {"userId": "here", "kind": "FACT", "content": "x", "rating": "1"}),
    ("createMemory", {"userId": "here", "kind": "FACT", "content": "x", "rating": True}),
    ("createMemory", {"userId": "here", "kind": "FACT", "content": "x", "sources": [None]}),
    ("createMemory", {"userId": "here", "kind": "fact", "content": "x"}),
    ("createSession", {"contextOverflow": "DROP"}),
    ("createSession", {"tokenBudget": 10**20}),
    ("deleteMessages", {"sessionId": "here", "fromSequence": 2**31}),
]


@pytest.mark.parametrize(("operation", "value"), WRONG_VARIABLES, ids=lambda value: ascii(value)[:60])
def test_a_variable_of_the_wrong_type_is_bad_user_input(target: Target, operation: str, value: Any) -> None:
    document = OPERATIONS.get(operation) or MUTATIONS[operation]
    assert target.codes(document, {"x": value}) == {"BAD_USER_INPUT"}


def test_a_missing_variable_is_bad_user_input(target: Target) -> None:
    for operation in ("user", "node", "nodes", "include"):
        assert target.codes(OPERATIONS[operation], {}) == {"BAD_USER_INPUT"}
        assert target.codes(OPERATIONS[operation], {"y": 1, "": 2, "\0": 3}) == {"BAD_USER_INPUT"}


# Times

GOOD_TIMES = {
    "2024-02-29T23:59:59Z": "2024-02-29T23:59:59+00:00",
    "2024-01-01T00:00:00.123456Z": "2024-01-01T00:00:00.123456+00:00",
    "2024-01-01T00:00:00.5-12:30": "2024-01-01T12:30:00.500000+00:00",
    "2024-01-01T00:00:00+00:00": "2024-01-01T00:00:00+00:00",
    "2024-01-01T23:59:59+23:59": "2024-01-01T00:00:59+00:00",
    "0001-01-01T00:00:00Z": "0001-01-01T00:00:00+00:00",
    "9999-12-31T23:59:59.999999Z": "9999-12-31T23:59:59.999999+00:00",
}
BAD_TIMES = [
    "2024-01-01T00:00:00",
    "2024-01-01T00:00:00.000000",
    "2024-01-01",
    "2024",
    "00:00:00Z",
    "2024-02-30T00:00:00Z",
    "2023-02-29T00:00:00Z",
    "2024-13-01T00:00:00Z",
    "2024-00-01T00:00:00Z",
    "2024-01-00T00:00:00Z",
    "2024-01-01T24:00:01Z",
    "2024-01-01T25:00:00Z",
    "2024-01-01T00:60:00Z",
    "2024-01-01T00:00:61Z",
    "2024-01-01T00:00:00+25:00",
    "2024-01-01T00:00:00+0100",
    "2024-01-01T00:00:00+01",
    "2024-01-01T00:00:00 +01:00",
    "2024-01-01T00:00:00+01:00:30",
    "2024-01-01T00:00Z",
    "2024-01-01T00Z",
    "20240101T000000Z",
    "2024-W01-1T00:00:00Z",
    "2024-001T00:00:00Z",
    "24-01-01T00:00:00Z",
    "12024-01-01T00:00:00Z",
    "+2024-01-01T00:00:00Z",
    "-2024-01-01T00:00:00Z",
    "2024-1-1T00:00:00Z",
    "2024-01-01T00:00:00,5Z",
    "2024-01-01T00:00:00.Z",
    "2024-01-01T00:00:00ZZ",
    "2024-01-01T00:00:00Z\n",
    " 2024-01-01T00:00:00Z",
    "2024-01-01T00:00:00Z\0",
    "２０２４-01-01T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+00:01",
    "9999-12-31T23:59:59-00:01",
    "1704067200",
    "now",
    "",
    "\ud800",
    "x" * 100_000,
]


def test_times_are_taken_with_their_offset_and_given_back_in_utc(target: Target) -> None:
    query = "query ($since: DateTime) { users(filter: {createdAt: {since: $since}}) { totalCount } }"
    mutation = """mutation ($at: DateTime) {
      createMemory(input: {userId: "here", kind: EVENT, content: "x", validFrom: $at}) { memory { validFrom } }
    }"""
    for text, expected in GOOD_TIMES.items():
        assert target.ask(query, {"since": text})["data"]
        assert target.ask(query.replace("$since}", f'"{text}"}}').replace("($since: DateTime)", ""))["data"]
        given = target.ask(mutation, {"at": text})["data"]["createMemory"]["memory"]["validFrom"]
        assert given.endswith("Z")
        whole = expected if "." in expected else expected.replace("+", ".000000+")
        assert given in (expected.replace("+00:00", "Z"), whole.replace("+00:00", "Z"))


@pytest.mark.parametrize("text", BAD_TIMES, ids=lambda text: ascii(text)[:40])
def test_a_time_that_is_none_is_bad_user_input(target: Target, text: str) -> None:
    query = "query ($since: DateTime) { users(filter: {createdAt: {since: $since}}) { totalCount } }"
    assert target.codes(query, {"since": text}) == {"BAD_USER_INPUT"}
    assert target.codes(OPERATIONS["users"], {"x": {"createdAt": {"until": text}}}) == {"BAD_USER_INPUT"}
    assert target.codes(OPERATIONS["memories"], {"x": {"asOf": text}}) == {"BAD_USER_INPUT"}
    assert target.codes(MUTATIONS["createUser"], {"x": {"createdAt": text}}) == {"BAD_USER_INPUT"}
    assert target.codes(MUTATIONS["purgeDeleted"], {"x": {"deletedBefore": text}}) == {"BAD_USER_INPUT"}
    if text.isprintable():
        literal = json.dumps(text, ensure_ascii=False)
        codes = target.codes(f"{{ users(filter: {{createdAt: {{since: {literal}}}}}) {{ totalCount }} }}")
        assert codes <= {"BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED"}


# Texts that no database keeps

TEXTS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("createUser", {"userId": "@"}, ["userId"]),
    ("createUser", {"email": "@"}, ["email"]),
    ("createUser", {"firstName": "@"}, ["firstName"]),
    ("createUser", {"lastName": "@"}, ["lastName"]),
    ("createUser", {"name": "@"}, ["name"]),
    ("createUser", {"about": "@"}, ["about"]),
    ("createUser", {"metadata": {"a": "@"}}, ["metadata"]),
    ("createUser", {"metadata": {"@": 1}}, ["metadata"]),
    ("createUser", {"metadata": {"a": [{"b": ["@"]}]}}, ["metadata"]),
    ("createUser", {"metadata": {"a": {"@": {}}}}, ["metadata"]),
    ("createUser", {"documents": [{"title": "@", "content": "c"}]}, ["documents", "0", "title"]),
    ("createUser", {"documents": [{"title": "t", "content": "@"}]}, ["documents", "0", "content"]),
    (
        "createUser",
        {"documents": [{"title": "t", "content": "c", "metadata": {"a": "@"}}]},
        ["documents", "0", "metadata"],
    ),
    ("updateUser", {"userId": "here", "about": "@"}, ["about"]),
    ("updateUser", {"userId": "here", "metadata": {"@": None}}, ["metadata"]),
    ("updateUser", {"userId": "here", "metadata": {"a": "@"}, "metadataMode": "REPLACE"}, ["metadata"]),
    ("upsertUser", {"userId": "here", "name": "@"}, ["name"]),
    ("upsertUser", {"userId": "@"}, ["userId"]),
    ("createSession", {"sessionId": "@"}, ["sessionId"]),
    ("createSession", {"situation": "@"}, ["situation"]),
    ("updateSession", {"sessionId": "here", "situation": "@"}, ["situation"]),
    ("upsertSession", {"sessionId": "here", "metadata": {"a": "@"}}, ["metadata"]),
    ("addMessages", {"sessionId": "@", "messages": [{"role": "USER", "content": "c"}]}, ["sessionId"]),
    (
        "addMessages",
        {"sessionId": "here", "messages": [{"role": "USER", "content": "@"}]},
        ["messages", "0", "content"],
    ),
    (
        "addMessages",
        {
            "sessionId": "here",
            "messages": [{"role": "USER", "content": "c"}, {"role": "USER", "content": "c", "name": "@"}],
        },
        ["messages", "1", "name"],
    ),
    (
        "addMessages",
        {"sessionId": "here", "messages": [{"role": "USER", "content": "c", "messageId": "@"}]},
        ["messages", "0", "messageId"],
    ),
    (
        "addMessages",
        {"sessionId": "here", "messages": [{"role": "USER", "content": "c", "parts": [{"@": 1}]}]},
        ["messages", "0", "parts"],
    ),
    (
        "addMessages",
        {"sessionId": "here", "messages": [{"role": "USER", "content": "c", "toolCalls": ["@"]}]},
        ["messages", "0", "toolCalls"],
    ),
    (
        "addMessages",
        {"sessionId": "here", "messages": [{"role": "TOOL", "content": "c", "toolCallId": "@"}]},
        ["messages", "0", "toolCallId"],
    ),
    (
        "addMessages",
        {"sessionId": "here", "messages": [{"role": "USER", "content": "c", "metadata": {"a": "@"}}]},
        ["messages", "0", "metadata"],
    ),
    ("createMemory", {"userId": "here", "kind": "FACT", "content": "@"}, ["content"]),
    ("createMemory", {"userId": "here", "kind": "FACT", "content": "c", "memoryId": "@"}, ["memoryId"]),
    ("createMemory", {"userId": "here", "kind": "FACT", "content": "c", "metadata": {"@": 1}}, ["metadata"]),
    ("createDocument", {"userId": "here", "title": "@", "content": "c"}, ["title"]),
    ("createDocument", {"userId": "here", "title": "t", "content": "@"}, ["content"]),
    ("createDocument", {"userId": "here", "title": "t", "content": "c", "documentId": "@"}, ["documentId"]),
    ("createAgent", {"name": "@"}, ["name"]),
    ("createAgent", {"agentId": "@", "name": "n"}, ["agentId"]),
    ("createAgent", {"name": "n", "instructions": "@"}, ["instructions"]),
    ("createAgent", {"name": "n", "model": "@"}, ["model"]),
    ("upsertAgent", {"agentId": "here", "name": "n", "about": "@"}, ["about"]),
]


def put(where: Any, text: str) -> Any:
    """A copy of an input with a text in the place of @."""
    if isinstance(where, dict):
        return {put(key, text): put(value, text) for key, value in where.items()}
    if isinstance(where, list):
        return [put(value, text) for value in where]
    return text if where == "@" else where


@pytest.mark.parametrize("text", ["a\0b", "\0", "\ud800", "a\udfffb", "\udc00\ud800"], ids=ascii)
@pytest.mark.parametrize(
    ("mutation", "fields", "path"), TEXTS, ids=lambda value: str(value) if isinstance(value, str) else ""
)
def test_a_text_that_no_database_keeps_is_invalid(
    target: Target, mutation: str, fields: dict[str, Any], path: list[str], text: str
) -> None:
    (error, *_) = target.user_errors(mutation, **put(fields, text))
    assert error[0] == "INVALID"
    assert error[1][: len(path)] == path


@pytest.mark.parametrize(
    "text", ["a\0b", "\0", "\ud800", "", "x" * 513, "x" * MEBIBYTE], ids=lambda text: ascii(text)[:12]
)
def test_a_key_that_cannot_be_is_not_found(target: Target, text: str) -> None:
    for operation in ("user", "session", "agent", "node"):
        answer = target.ask(OPERATIONS[operation], {"x": text})
        if "errors" in answer:
            assert "\ud800" in text or "\0" in text, answer
            assert {error["extensions"]["code"] for error in answer["errors"]} == {"BAD_USER_INPUT"}
        else:
            assert answer == {"data": {operation: None}}
    answer = target.ask(OPERATIONS["nodes"], {"x": [text, target.user]})
    assert "errors" in answer or answer == {"data": {"nodes": [None, {"id": target.user}]}}
    for field in ("userIds", "emails"):
        answer = target.ask(OPERATIONS["users"], {"x": {field: [text]}})
        assert "errors" in answer or answer["data"]["users"] == {"totalCount": 0, "nodes": []}
    for metadata in ({"a": text}, {text: 1}, {"a": [{text: [text]}]}):
        for operation in ("users", "sessions", "messages", "memories", "documents"):
            target.ask(OPERATIONS[operation], {"x": {"metadata": metadata}})
    for mutation, key in (
        ("deleteUser", "userId"),
        ("endSession", "sessionId"),
        ("deleteAgent", "agentId"),
        ("deleteMemory", "id"),
    ):
        assert {code for code, _ in target.user_errors(mutation, **{key: text})} <= {
            "NOT_FOUND",
            "INVALID",
            "TOO_LARGE",
        }


def test_a_text_in_a_document_may_be_anything_that_graphql_can_write(target: Target) -> None:
    document = 'mutation { createUser(input: {name: "a\\u0000b"}) { user { id } userErrors { code message path } } }'
    errors = target.ask(document)["data"]["createUser"]["userErrors"]
    assert [(error["code"], error["path"]) for error in errors] == [("INVALID", ["name"])]
    for raw in ("a\0b", "\ud800", "\x07", "\x7f"):
        target.ask(f'mutation {{ createUser(input: {{name: "{raw}"}}) {{ user {{ name }} {ERRORS} }} }}')
    for text in ("\\uD83E\\uDD86", "\\u{1F986}", "🦆"):
        document = f'mutation {{ createUser(input: {{name: "{text}"}}) {{ user {{ name }} }} }}'
        assert target.ask(document) == {"data": {"createUser": {"user": {"name": "🦆"}}}}


def test_every_other_character_is_kept(target: Target) -> None:
    text = "".join(
        map(chr, [*range(1, 0x20), 0x7F, 0x85, 0xA0, 0x2028, 0x2029, 0xFEFF, 0xFFFD, 0xFFFE, 0xFFFF, 0x10FFFF])
    )
    mutation = """mutation ($x: CreateUserInput!) {
      createUser(input: $x) { user { userId name about metadata } userErrors { code message path } }
    }"""
    given = {"userId": text, "name": text, "about": text, "metadata": {text: [text]}}
    answer = target.ask(mutation, {"x": given})
    assert answer["data"]["createUser"] == {"user": given, "userErrors": []}
    assert target.ask(OPERATIONS["user"], {"x": text}) == {"data": {"user": {"userId": text}}}


# Too much of something


def test_keys_have_at_most_512_characters(target: Target) -> None:
    for key in ("", "x" * 513, "🦆" * 513, "x" * MEBIBYTE):
        wanted = {"INVALID"} if not key else {"INVALID", "TOO_LARGE"}
        message = {"role": "USER", "content": "c", "messageId": key}
        for mutation, fields, path in (
            ("createUser", {"userId": key}, ["userId"]),
            ("createSession", {"sessionId": key}, ["sessionId"]),
            ("addMessages", {"sessionId": key, "messages": [{"role": "USER", "content": "c"}]}, ["sessionId"]),
            ("addMessages", {"sessionId": "here", "messages": [message]}, ["messages", "0", "messageId"]),
        ):
            (error, *_) = target.user_errors(mutation, **fields)
            assert error[0] in wanted
            assert error[1] == path
    target.mutate("createUser", userId="🦆" * 512)
    assert target.ask(OPERATIONS["user"], {"x": "🦆" * 512}) == {"data": {"user": {"userId": "🦆" * 512}}}


def test_too_large_texts_are_refused(target: Target) -> None:
    large, huge = "x" * (64 * 1024 + 1), "x" * (MEBIBYTE + 1)
    message = {"role": "USER", "content": "c"}
    for mutation, fields, path in (
        ("createUser", {"about": large}, ["about"]),
        ("createSession", {"situation": large}, ["situation"]),
        ("createAgent", {"name": "n", "instructions": large}, ["instructions"]),
        ("createUser", {"metadata": {"a": large}}, ["metadata"]),
        ("createUser", {"metadata": {large: 1}}, ["metadata"]),
        ("createUser", {"metadata": {"a": [0] * 40_000}}, ["metadata"]),
        (
            "addMessages",
            {"sessionId": "here", "messages": [message, message | {"content": huge}]},
            ["messages", "1", "content"],
        ),
        ("addMessages", {"sessionId": "here", "messages": [message | {"parts": [large]}]}, ["messages", "0", "parts"]),
        (
            "addMessages",
            {"sessionId": "here", "messages": [message | {"metadata": {"a": large}}]},
            ["messages", "0", "metadata"],
        ),
        ("updateMessage", {"id": target.message, "content": huge}, ["content"]),
        ("updateMessage", {"id": target.message, "metadata": {"a": large}}, ["metadata"]),
        ("createDocument", {"userId": "here", "title": "t", "content": huge}, ["content"]),
    ):
        assert ("TOO_LARGE", path) in target.user_errors(mutation, **fields)


def test_a_batch_has_one_to_one_hundred_messages(target: Target) -> None:
    message = {"role": "USER", "content": "c"}
    for count in (0, 101, 1000):
        (error, *_) = target.user_errors("addMessages", sessionId="batches", messages=[message] * count)
        assert error[0] in ({"INVALID"} if count == 0 else {"TOO_LARGE", "INVALID"})
        assert error[1] == ["messages"]
    assert target.ask(OPERATIONS["session"], {"x": "batches"}) == {"data": {"session": None}}
    target.mutate("addMessages", sessionId="batches", messages=[message] * 100, formMemories=False)


def test_at_most_one_hundred_ids_are_looked_up(target: Target) -> None:
    assert target.codes(OPERATIONS["nodes"], {"x": [target.user] * 101}) == {"BAD_USER_INPUT"}
    assert target.ask(OPERATIONS["nodes"], {"x": [target.user] * 100}) == {
        "data": {"nodes": [{"id": target.user}] * 100}
    }
    assert target.ask(OPERATIONS["nodes"], {"x": []}) == {"data": {"nodes": []}}


def test_deep_json_in_variables_is_refused_clearly(target: Target) -> None:
    for depth in (33, 100, 900, 5000):
        metadata: Any = "[" * (depth - 1) + "]" * (depth - 1)
        for text in (f'{{"a": {metadata}}}', '{"a":' * depth + "1" + "}" * depth):
            for name in ("createUser", "updateUser"):
                body = (
                    f'{{"query": "{MUTATIONS[name]}", "variables": {{"x": {{"userId": "here", "metadata": {text}}}}}}}'
                )
                answer = target.send(body.encode()).json()
                errors = answer.get("errors") or answer["data"][name]["userErrors"]
                assert errors, depth
                if depth == 33 and "data" in answer:
                    assert [(error["code"], error["path"]) for error in errors] == [("TOO_LARGE", ["metadata"])]
            for name in ("users", "sessions", "messages", "memories", "documents"):
                body = f'{{"query": "{OPERATIONS[name]}", "variables": {{"x": {{"metadata": {text}}}}}}}'
                if '"' not in OPERATIONS[name]:
                    target.send(body.encode())


def test_deep_json_in_a_document_is_refused_clearly(target: Target) -> None:
    for depth in (33, 100, 900, 5000, 100_000):
        for literal in ("{a: " * depth + "1" + "}" * depth, "{a: " + "[" * depth + "]" * depth + "}", "[" * depth):
            document = f"mutation {{ createUser(input: {{metadata: {literal}}}) {{ user {{ id }} {ERRORS} }} }}"
            answer = target.ask(document)
            assert answer.get("errors") or answer["data"]["createUser"]["userErrors"], depth
            target.ask(f"{{ users(filter: {{metadata: {literal}}}) {{ totalCount }} }}")


NUMBERS = [
    *("1e400", "-1e400", "1e-400", "1E+2", "-0", "-0.0", "1.0", "1e5", "123456789.123456789", "0." + "1" * 5000),
    *(f"{2**53 + 1}", f"{2**63}", f"{-(2**63) - 1}", f"{2**64}", f"{10**30}", f"{10**400}"),
    *("1" * 5000, "-" + "9" * 20_000, "1e" + "9" * 1000),
]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:12])
def test_a_number_in_metadata_is_kept_as_it_is_or_refused_clearly(target: Target, number: str) -> None:
    mutation = f"mutation ($m: JSON) {{ createUser(input: {{metadata: $m}}) {{ user {{ metadata }} {ERRORS} }} }}"
    body = f'{{"query": "{mutation}", "variables": {{"m": {{"n": [{number}]}}}}}}'.encode()
    literal = mutation.replace("($m: JSON)", "").replace("$m", f"{{n: [{number}]}}")
    for response in (target.send(body), target.send({"query": literal})):
        answer = response.json()
        if answer.get("errors") or answer["data"]["createUser"]["userErrors"]:
            continue
        # The number as it came back, compared without a limit on digits and without Python's floats in between.
        (given,) = re.findall(r'"n":\s*\[\s*([^\]\s]+)\s*\]', response.text)
        assert same_number(given, number), f"{number[:40]} came back as {given[:40]}"
    for name in ("users", "messages", "memories", "documents"):
        body = json.dumps({"query": OPERATIONS[name], "variables": {"x": {"metadata": {"n": ["@"]}}}})
        target.send(body.replace('"@"', number).encode())


def same_number(one: str, other: str) -> bool:
    """Integers are the same exactly, and fractions are when they are the same double."""
    if re.fullmatch(r"-?\d+", one) and re.fullmatch(r"-?\d+", other):
        return one.removeprefix("-") == other.removeprefix("-") and (one[0] == other[0] or one in ("0", "-0"))
    return math.isfinite(float(one)) and float(one) == float(other)


def test_numbers_that_json_has_not_are_not_taken_from_documents_either(target: Target) -> None:
    for literal in ("1e400", "-1e400", "1e99999"):
        fields = f'userId: "here", kind: FACT, content: "c", rating: {literal}'
        document = f"mutation {{ createMemory(input: {{{fields}}}) {{ {ERRORS} }} }}"
        answer = target.ask(document)
        assert answer.get("errors") or answer["data"]["createMemory"]["userErrors"]


# Expensive documents


fresh = itertools.count()


def seconds(target: Target, document: str) -> float:
    """The processor time of an answer that was not remembered, with what asks: the better of two."""
    taken = []
    for _ in range(2):
        start = time.process_time()
        target.ask(f"{document}\n# {next(fresh)}")
        taken.append(time.process_time() - start)
    return min(taken)


def aliases(count: int) -> str:
    return "{ " + " ".join(f"a{i}: viewer {{ role }}" for i in range(count)) + " }"


def test_five_thousand_aliases_take_time_in_proportion(lifted: Target) -> None:
    assert lifted.ask(aliases(5000))["data"] == {f"a{i}": {"role": "SERVICE"} for i in range(5000)}
    few, many = (seconds(lifted, aliases(count)) for count in (500, 5000))
    assert many < 25 * few + 1.5, f"{few:.3f} s for 500, {many:.3f} s for 5,000"


EXPENSIVE = {
    "one field 5,000 times": "{ viewer { " + "role " * 5000 + "} }",
    "one object 3,000 times": "{ " + "viewer { role } " * 3000 + "}",
    "one inline fragment 3,000 times": "{ viewer { " + "... on Viewer { role } " * 3000 + "} }",
    "one fragment spread 3,000 times": "{ viewer { " + "...F " * 3000 + "} } fragment F on Viewer { role }",
    "5,000 unknown fields": "{ " + " ".join(f"user{i}" for i in range(5000)) + " }",
    "a field of a million characters": "{ " + "u" * 1_000_000 + " }",
    "a million commas": "{" + "," * 1_000_000 + "viewer { role } }",
    "a comment of a million characters": "# " + "x" * 1_000_000 + "\n{ viewer { role } }",
    "5,000 variables": "query (" + " ".join(f"$v{i}: Int" for i in range(5000)) + ") { viewer { role } }",
    "5,000 operations": " ".join(f"query Q{i} {{ viewer {{ role }} }}" for i in range(5000)),
    "5,000 fragments": "{ viewer { role } } " + " ".join(f"fragment F{i} on Viewer {{ role }}" for i in range(5000)),
    "a chain of 3,000 fragments": "{ viewer { ...F0 } } "
    + " ".join(f"fragment F{i} on Viewer {{ ...F{i + 1} }}" for i in range(3000))
    + " fragment F3000 on Viewer { role }",
    "5,000 directives": "{ viewer { role " + "@include(if: true) " * 5000 + "} }",
    "5,000 unknown directives": "{ viewer { role " + "@x " * 5000 + "} }",
    "5,000 arguments": "{ users(" + " ".join(f"a{i}: 1" for i in range(5000)) + ") { totalCount } }",
    "10,000 levels of unknown fields": "{ a " * 10_000 + "}" * 10_000,
    "10,000 levels of inline fragments": "{ " + "... { " * 10_000 + "viewer { role } " + "}" * 10_001,
    "100,000 open braces": "{" * 100_000,
    "100,000 open lists": "{ users(first: " + "[" * 100_000,
    "10,000 levels of a type": "query ($x: " + "[" * 10_000 + "Int" + "]" * 10_000 + ") { viewer { role } }",
    "a block string of a million lines": '{ user(userId: """' + "\n" * 1_000_000 + '""") { id } }',
}


@pytest.mark.parametrize("name", EXPENSIVE)
def test_an_expensive_document_is_answered_soon(target: Target, lifted: Target, name: str) -> None:
    assert seconds(target, EXPENSIVE[name]) < 2
    # Without limits it takes seconds, and no longer with more of the same: the validation stops at its own limits.
    assert seconds(lifted, EXPENSIVE[name]) < 15


@pytest.mark.parametrize("count", [17, 25, 60])
@pytest.mark.parametrize(
    "spread",
    [
        "...F{next} ...F{next}",
        "... on User {{ ...F{next} }} ... on User {{ ...F{next} }}",
        "a: sessions {{ nodes {{ user {{ ...F{next} }} }} }} b: sessions {{ nodes {{ user {{ ...F{next} }} }} }}",
        "sessions {{ nodes {{ user {{ ...F{next} }} }} }} sessions {{ nodes {{ user {{ ...F{next} }} }} }}",
        "...F{next} @include(if: true) ...F{next} @skip(if: false)",
    ],
    ids=["spreads", "inline fragments", "aliases", "merged fields", "directives"],
)
def test_doubling_fragments_do_not_take_doubling_time(target: Target, lifted: Target, count: int, spread: str) -> None:
    fragments = [f"fragment F{i} on User {{ {spread.format(next=i + 1)} }}" for i in range(count)]
    document = '{ user(userId: "nobody") { ...F0 } } ' + " ".join(fragments) + f" fragment F{count} on User {{ id }}"
    for server in (target, lifted):
        assert seconds(server, document) < 3
        assert server.ask(document).get("data") in ({"user": None}, None)


def test_doubling_fragments_that_merge_are_answered(target: Target) -> None:
    count = 17
    fragments = [f"fragment F{i} on User {{ ...F{i + 1} ...F{i + 1} }}" for i in range(count)]
    document = '{ user(userId: "here") { ...F0 } } ' + " ".join(fragments) + f" fragment F{count} on User {{ userId }}"
    assert target.ask(document) == {"data": {"user": {"userId": "here"}}}


@pytest.mark.parametrize("depth", [3, 10, 50, 300, 2000])
def test_a_deep_query_is_answered_or_called_too_complex(lifted: Target, depth: int) -> None:
    level = "sessions(first: 1) { nodes { user { "
    document = '{ user(userId: "here") { ' + level * depth + "userId" + " } } }" * depth + " } }"
    start = time.process_time()
    answer = lifted.ask(document)
    assert time.process_time() - start < 5
    if "errors" in answer:
        assert depth > 50
        assert {e["extensions"]["code"] for e in answer["errors"]} == {"QUERY_TOO_COMPLEX"}
        return
    user = answer["data"]["user"]
    for _ in range(depth):
        user = user["sessions"]["nodes"][0]["user"]
    assert user == {"userId": "here"}


@pytest.mark.parametrize("count", [300, 950, 3000])
def test_many_mutations_in_one_document_are_all_carried_out_or_none(target: Target, count: int) -> None:
    mark = f"mark_{next(fresh)}"
    one = f"createUser(input: {{metadata: {{{mark}: 1}}}}) {{ user {{ id }} {ERRORS} }}"
    answer = target.ask("mutation { " + " ".join(f"a{i}: {one}" for i in range(count)) + " }")
    found = target.ask(OPERATIONS["users"], {"x": {"metadata": {mark: 1}}})["data"]["users"]
    if "errors" in answer:
        assert {error["extensions"]["code"] for error in answer["errors"]} == {"QUERY_TOO_COMPLEX"}
        assert found["totalCount"] == 0
    else:
        assert len({payload["user"]["id"] for payload in answer["data"].values()}) == found["totalCount"] == count


def test_introspection_that_doubles_is_answered_soon(lifted: Target) -> None:
    level = "fields { type { ofType { "
    document = "{ __schema { types { " + level * 12 + "name" + " } } }" * 12 + " } } }"
    start = time.process_time()
    lifted.ask(document)
    assert time.process_time() - start < 5


# Whatever comes

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


# What a review found


@pytest.mark.parametrize("depth", range(60, 67))
def test_an_answer_deeper_than_json_is_written_is_called_too_complex(lifted: Target, depth: int) -> None:
    level = "sessions(first: 1) { nodes { user { "
    document = '{ user(userId: "here") { ' + level * depth + "userId" + " } } }" * depth + " } }"
    answer = lifted.ask(document)
    if depth >= 63:
        assert {error["extensions"]["code"] for error in answer["errors"]} == {"QUERY_TOO_COMPLEX"}
        return
    user = answer["data"]["user"]
    for _ in range(depth):
        user = user["sessions"]["nodes"][0]["user"]
    assert user == {"userId": "here"}


@pytest.mark.parametrize("count", [950, 2000])
def test_many_mutations_in_one_document_are_all_carried_out_once(lifted: Target, count: int) -> None:
    total = "{ users(first: 0) { totalCount } }"
    before = lifted.ask(total)["data"]["users"]["totalCount"]
    one = f"createUser(input: {{}}) {{ user {{ id }} {ERRORS} }}"
    answer = lifted.ask("mutation { " + " ".join(f"a{i}: {one}" for i in range(count)) + " }")
    assert "errors" not in answer, answer["errors"]
    assert list(answer["data"]) == [f"a{i}" for i in range(count)]
    assert all(payload["userErrors"] == [] for payload in answer["data"].values())
    assert len({payload["user"]["id"] for payload in answer["data"].values()}) == count
    assert lifted.ask(total)["data"]["users"]["totalCount"] == before + count
