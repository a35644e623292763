"""GraphQL over HTTP: methods, content types, statuses, the page for browsers, health, and connections kept alive."""

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from models.errors import Unavailable
from tests.documents import CREATE_USER, VIEWER
from tests.places import Fresh
from tests.servers import Server, Start

pytestmark = pytest.mark.once

GRAPHQL = "application/graphql-response+json"
JSON = "application/json"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
SERVICE = {"data": {"viewer": {"role": "SERVICE"}}}
COSTLY = "users(first: 100) { nodes { sessions(first: 100) { nodes { messages(first: 100) { nodes { id } } } } } }"
CREATE = 'mutation { createUser(input: {userId: "ada"}) { user { userId } userErrors { code } } }'


@pytest.fixture(scope="module")
def api(shared: Fresh) -> Iterator[Server]:
    """One server for all the tests: they write next to nothing."""
    server = Server(shared())
    yield server
    server.close()


def media_type(response: httpx.Response) -> str:
    return response.headers["content-type"].partition(";")[0].strip().lower()


def ask(api: Server, query: str, accept: str = JSON, **more: object) -> httpx.Response:
    return api.post({"query": query} | more, {"accept": accept})


def codes(response: httpx.Response) -> set[str]:
    return {error["extensions"]["code"] for error in response.json()["errors"]}


# POST


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (JSON, {JSON}),
        (GRAPHQL, {GRAPHQL}),
        (f"{JSON}; charset=utf-8", {JSON}),
        (f"{GRAPHQL}; charset=utf-8", {GRAPHQL}),
        (f"{GRAPHQL}, {JSON};q=0.9", {GRAPHQL}),
        (f"{JSON};q=0.9, {GRAPHQL};q=0.8", {JSON, GRAPHQL}),
        ("Application/JSON", {JSON}),
        ("*/*", {JSON, GRAPHQL}),
        ("application/*", {JSON, GRAPHQL}),
        ("text/html, */*;q=0.1", {JSON, GRAPHQL}),
        ("", {JSON, GRAPHQL}),
        (",;q=,", {JSON, GRAPHQL}),
    ],
)
def test_the_answer_has_the_type_that_is_accepted(api: Server, accept: str, expected: set[str]) -> None:
    response = ask(api, VIEWER, accept)
    assert response.status_code == 200
    assert media_type(response) in expected
    assert response.json() == SERVICE


def test_an_answer_is_utf_8(api: Server) -> None:
    query = 'mutation { createUser(input: {name: "Zażółć 🦆"}) { user { name } } }'
    for accept in (JSON, GRAPHQL):
        response = ask(api, query, accept)
        assert json.loads(response.content.decode("utf-8"))["data"]["createUser"]["user"] == {"name": "Zażółć 🦆"}


REQUEST_ERRORS: dict[str, tuple[dict[str, Any], str, int]] = {
    "syntax": ({"query": "{ viewer {"}, "GRAPHQL_PARSE_FAILED", 400),
    "an empty document": ({"query": ""}, "GRAPHQL_PARSE_FAILED", 400),
    "validation": ({"query": "{ unknown }"}, "GRAPHQL_VALIDATION_FAILED", 422),
    "a literal of the wrong type": ({"query": '{ users(first: "1") { totalCount } }'}, "BAD_USER_INPUT", 422),
    "variables": (
        {"query": "query ($x: Int!) { users(first: $x) { totalCount } }", "variables": {"x": "1"}},
        "BAD_USER_INPUT",
        422,
    ),
    "operation": ({"query": "query A { viewer { role } }", "operationName": "B"}, "OPERATION_RESOLUTION_FAILURE", 422),
    "two operations": (
        {"query": "query A { viewer { role } } query B { viewer { id } }"},
        "OPERATION_RESOLUTION_FAILURE",
        422,
    ),
    "fragments only": ({"query": "fragment F on Query { viewer { role } }"}, "GRAPHQL_VALIDATION_FAILED", 422),
    "the cost": ({"query": "{" + " ".join(f"a{n}: {COSTLY}" for n in range(5)) + "}"}, "QUERY_TOO_COMPLEX", 422),
    "the depth": ({"query": "{ user " * 30 + "}" * 30}, "QUERY_TOO_COMPLEX", 422),
    "another hash": (
        {"query": VIEWER, "extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}},
        "BAD_USER_INPUT",
        422,
    ),
    "a hash that is not known": (
        {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}},
        "PERSISTED_QUERY_NOT_FOUND",
        200,
    ),
}


@pytest.mark.parametrize("name", REQUEST_ERRORS)
def test_an_error_of_the_request_has_its_own_status_in_the_type_for_graphql(api: Server, name: str) -> None:
    body, code, status = REQUEST_ERRORS[name]
    response = api.post(body, {"accept": GRAPHQL})
    assert response.status_code == status
    assert media_type(response) == GRAPHQL
    assert codes(response) == {code}
    assert "data" not in response.json()
    parameters = {key: value if isinstance(value, str) else json.dumps(value) for key, value in body.items()}
    response = api.client.get(api.url, params=parameters, headers={"accept": GRAPHQL})
    assert (response.status_code, codes(response)) == (status, {code})


@pytest.mark.parametrize("name", REQUEST_ERRORS)
def test_an_error_of_a_well_formed_request_is_a_200_in_plain_json(api: Server, name: str) -> None:
    body, code, _ = REQUEST_ERRORS[name]
    response = api.post(body, {"accept": JSON})
    assert response.status_code == 200
    assert media_type(response) == JSON
    assert codes(response) == {code}
    assert "data" not in response.json()


@pytest.mark.parametrize(("accept", "status"), [(JSON, 200), (GRAPHQL, 294)])
def test_an_answer_with_data_and_errors_is_a_294_in_the_type_for_graphql(api: Server, accept: str, status: int) -> None:
    api.post({"query": 'mutation { upsertUser(input: {userId: "partial"}) { created } }'})
    partial = '{ viewer { role } user(userId: "partial") { sessions(first: -1) { totalCount } } }'
    nothing = "{ users(first: -1) { totalCount } }"
    for query, data in ((partial, SERVICE["data"] | {"user": None}), (nothing, None)):
        response = ask(api, query, accept)
        by_url = api.client.get(api.url, params={"query": query}, headers={"accept": accept})
        assert (response.status_code, by_url.status_code) == (status, status)
        assert response.json()["data"] == data
        assert codes(response) == {"BAD_USER_INPUT"}
        assert response.json()["errors"][0]["path"]
        assert response.json()["errors"][0]["locations"]


@pytest.mark.parametrize(("accept", "status"), [(JSON, 200), (GRAPHQL, 294)])
def test_what_a_credential_may_not_do_is_told_within_the_answer(api: Server, accept: str, status: int) -> None:
    api.post({"query": 'mutation { upsertUser(input: {userId: "ada-2"}) { created } }'})
    issued = api.graphql('mutation { issueUserToken(input: {userId: "ada-2"}) { token } }')
    headers = {"accept": accept, "authorization": f"Bearer {issued['issueUserToken']['token']}"}
    response = api.post({"query": 'mutation { deleteUser(input: {userId: "ada-2"}) { userErrors { code } } }'}, headers)
    assert response.status_code == status
    assert codes(response) == {"FORBIDDEN"}
    assert "data" in response.json()


def test_a_request_that_takes_too_long_is_a_504(start: Start) -> None:
    api = start(request_timeout=0.2)
    with api.place.blocking_writes():
        for accept in (JSON, GRAPHQL):
            response = ask(api, CREATE, accept)
            assert response.status_code == 504
            assert media_type(response) == accept
            assert codes(response) == {"TIMEOUT"}
            assert "data" not in response.json()


@pytest.mark.parametrize("accept", [JSON, GRAPHQL])
def test_a_user_error_is_a_200(api: Server, accept: str) -> None:
    response = ask(api, 'mutation { deleteUser(input: {userId: "nobody"}) { userErrors { code } } }', accept)
    assert response.status_code == 200
    assert response.json() == {"data": {"deleteUser": {"userErrors": [{"code": "NOT_FOUND"}]}}}


def test_a_body_that_is_no_json_is_a_400_in_both_types(api: Server) -> None:
    for accept in (JSON, GRAPHQL):
        response = api.post(b"{", {"accept": accept})
        assert response.status_code == 400
        assert response.json()["errors"]


def test_variables_operation_and_extensions_are_taken(api: Server) -> None:
    query = "query A { viewer { id } } query B($on: Boolean!) { viewer { role @include(if: $on) project } }"
    for on in (True, False):
        more = {"query": query, "variables": {"on": on}, "operationName": "B", "extensions": {"trace": 1}}
        answer = api.post(more).json()
        assert answer == {"data": {"viewer": ({"role": "SERVICE"} if on else {}) | {"project": "default"}}}


def test_fields_come_in_the_order_they_were_asked_for(api: Server) -> None:
    data = ask(api, "{ z: viewer { role } a: viewer { project id role } __typename }").json()["data"]
    assert list(data) == ["z", "a", "__typename"]
    assert list(data["a"]) == ["project", "id", "role"]


@pytest.mark.parametrize("accept", [JSON, GRAPHQL])
def test_an_answer_with_an_error_that_passes_says_when_to_try_again(
    server: Server, monkeypatch: pytest.MonkeyPatch, accept: str
) -> None:
    async def away(*_: Any, **__: Any) -> None:
        raise Unavailable("The database is away.")

    headers = {"accept": accept}
    mutation = {"query": CREATE_USER, "variables": {"input": {"userId": "ada"}}}
    assert "retry-after" not in server.post(mutation, headers).headers
    assert "retry-after" not in server.post({"query": '{ search(query: "") { totalCount } }'}, headers).headers
    monkeypatch.setattr(server.app.state.database, "write", away)
    response = server.post(mutation | {"variables": {"input": {"userId": "bo"}}}, headers)
    assert [error["extensions"]["code"] for error in response.json()["errors"]] == ["UNAVAILABLE"]
    assert response.headers["retry-after"] == "1"


# GET


@pytest.mark.parametrize("accept", ["text/html", BROWSER])
def test_a_browser_gets_a_page(api: Server, accept: str) -> None:
    response = api.client.get(api.url, headers={"accept": accept})
    assert response.status_code == 200
    assert media_type(response) == "text/html"
    assert "<html" in response.text.lower()


@pytest.mark.parametrize("accept", [JSON, GRAPHQL])
def test_a_query_may_be_sent_by_get(api: Server, accept: str) -> None:
    response = api.client.get(api.url, params={"query": VIEWER}, headers={"accept": accept})
    assert response.status_code == 200
    assert media_type(response) == accept
    assert response.json() == SERVICE
    parameters = {
        "query": "query A { viewer { id } } query B($id: String!) { user(userId: $id) { userId } }",
        "variables": '{"id": "n\\u00f6body &=+%"}',
        "operationName": "B",
    }
    response = api.client.get(api.url, params=parameters, headers={"accept": accept})
    assert response.json() == {"data": {"user": None}}


def test_a_mutation_by_get_is_refused_and_changes_nothing(api: Server) -> None:
    mixed = f"query Q {VIEWER} {CREATE.replace('mutation', 'mutation M')}"
    for accept in (JSON, GRAPHQL):
        for parameters in ({"query": CREATE}, {"query": mixed, "operationName": "M"}):
            response = api.client.get(api.url, params=parameters, headers={"accept": accept})
            assert response.status_code == 405
            assert "POST" in response.headers["allow"]
            assert response.json()["errors"][0]["extensions"]["code"]
        assert api.graphql('{ user(userId: "ada") { userId } }') == {"user": None}
        response = api.client.get(api.url, params={"query": mixed, "operationName": "Q"}, headers={"accept": accept})
        assert response.json() == SERVICE


def test_an_empty_parameter_of_a_get_is_none(api: Server) -> None:
    query = "query null { viewer { role } }"
    for more in ("&variables=", "&operationName=", "&extensions=", "&operationName=null", "&variables=null", "&x=y"):
        response = api.client.get(f"{api.url}?query={quote(query)}{more}", headers={"accept": GRAPHQL})
        assert (response.status_code, response.json()) == (200, SERVICE), more
    response = api.client.get(f"{api.url}?query={quote(VIEWER)}&operationName=null", headers={"accept": GRAPHQL})
    assert (response.status_code, codes(response)) == (422, {"OPERATION_RESOLUTION_FAILURE"})


def test_head_is_answered_like_get_without_the_body(api: Server) -> None:
    for headers, parameters in (({"accept": GRAPHQL}, {"query": VIEWER}), ({"accept": BROWSER}, {})):
        got = api.client.get(api.url, params=parameters, headers=headers)
        head = api.client.head(api.url, params=parameters, headers=headers)
        assert head.content == b""
        assert head.status_code == got.status_code == 200
        for name in ("content-type", "content-length", "vary", "cache-control"):
            assert head.headers[name] == got.headers[name]


def test_what_is_wrong_with_a_get_is_said(api: Server) -> None:
    viewer = quote(VIEWER)
    for parameters in (
        "query=",
        "query=%7B",
        "query=%ff",
        "query=%00",
        "query=%ed%a0%80",
        "query={",
        f"query={viewer}&variables=[]",
        f"query={viewer}&variables={{",
        f"query={viewer}&variables=5",
        f"query={viewer}&variables=%7B%22a%22:NaN%7D",
        f"query={viewer}&variables={'[' * 5000}",
        f"query={viewer}&variables=%ff",
        f"query={viewer}&operationName=X",
        f"query={viewer}&extensions=[1]",
        "variables={}",
        "Query=x",
    ):
        response = api.client.get(f"{api.url}?{parameters}", headers={"accept": GRAPHQL})
        assert response.status_code in (400, 422), parameters
        assert codes(response) <= {
            "BAD_USER_INPUT",
            "GRAPHQL_PARSE_FAILED",
            "GRAPHQL_VALIDATION_FAILED",
            "OPERATION_RESOLUTION_FAILURE",
        }
    response = api.client.get(f"{api.url}?query={viewer}&variables={{", headers={"accept": GRAPHQL})
    assert "`variables`" in response.json()["errors"][0]["message"]
    for parameters in (f"query={viewer}&query={viewer}", f"query={viewer}&&=&%", f"query={viewer}&variables="):
        assert api.client.get(f"{api.url}?{parameters}", headers={"accept": JSON}).status_code in (200, 400)


# Other methods and places


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_not_allowed(api: Server, method: str) -> None:
    response = api.client.request(method, api.url, json={"query": CREATE})
    assert response.status_code == 405
    assert "POST" in response.headers["allow"]


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PROPFIND", "X", "GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "path", ["/graphql", "/health", "/ready", "/", "/nothing", "/graphql/", "/%00", "/%ff", "//", "/../x"]
)
def test_no_method_and_no_place_is_a_fault_of_the_server(api: Server, method: str, path: str) -> None:
    for accept in (JSON, BROWSER):
        response = api.client.request(method, api.base + path, headers={"accept": accept})
        assert response.status_code < 500
        assert "Traceback" not in response.text
        if method == "HEAD":
            assert response.content == b""


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_the_server_tells_how_it_is(api: Server, path: str) -> None:
    for accept in (JSON, "*/*", BROWSER):
        response = api.client.get(api.base + path, headers={"accept": accept})
        assert response.status_code == 200
        assert media_type(response) == JSON
        assert isinstance(response.json(), dict)


def test_an_unknown_place_is_not_found(api: Server) -> None:
    assert api.client.get(f"{api.base}/nothing").status_code == 404
    assert api.client.post(f"{api.base}/nothing", json={"query": VIEWER}).status_code == 404


# Whom the server takes itself for


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "localhost:8000", "[::1]", "[::1]:8000", "LOCALHOST"])
def test_a_loopback_name_is_served(api: Server, host: str) -> None:
    assert api.post({"query": VIEWER}, {"host": host}).json() == SERVICE


@pytest.mark.parametrize(
    "host",
    ["example.org", "example.org:8000", "localhost.example.org", "127.0.0.1.example.org", "127.0.0.1@example.org", "0"],
)
def test_without_a_key_another_name_is_refused(api: Server, host: str) -> None:
    response = api.post({"query": CREATE}, {"host": host})
    assert 400 <= response.status_code < 500
    assert "SERVICE" not in response.text
    assert api.graphql('{ user(userId: "ada") { userId } }') == {"user": None}
    response = api.client.get(api.url, params={"query": VIEWER}, headers={"host": host})
    assert 400 <= response.status_code < 500


# Connections


def test_a_connection_stays_open(api: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=10)
    connection.connect()
    used = connection.sock
    body, headers = json.dumps({"query": VIEWER}), {"content-type": JSON}
    for _ in range(5):
        connection.request("POST", "/graphql", body, headers)
        assert json.loads(connection.getresponse().read()) == SERVICE
        assert connection.sock is used, "The server closed the connection."
    connection.request("POST", "/graphql", "{", headers)
    response = connection.getresponse()
    assert response.status == 400
    response.read()
    connection.request("GET", "/health")
    assert connection.getresponse().read()
    connection.close()


def test_a_connection_is_closed_when_it_is_asked_for(api: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=10)
    connection.request("POST", "/graphql", json.dumps({"query": VIEWER}), {"content-type": JSON, "connection": "close"})
    assert json.loads(connection.getresponse().read()) == SERVICE
    connection.close()


def speak(api: Server, data: bytes) -> bytes:
    """Returns the answer to bytes after which the client half-closes the connection."""
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
        connection.sendall(data)
        # The server may have closed the connection by then.
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while piece := connection.recv(65536):
            received += piece
        return received


def test_bytes_that_are_no_http_do_no_harm(api: Server) -> None:
    post = b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    for data in (
        b"",
        b"\r\n\r\n",
        b"hello\r\n\r\n",
        bytes(range(256)) * 4,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100,
        b"GET /graphql HTTP/1.1\r\n\r\n",
        b"GET /graphql HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        post + b"Content-Length: 10\r\n\r\n{",
        post + b"Content-Length: -1\r\n\r\n{}",
        post + b"Content-Length: x\r\n\r\n{}",
        post + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        post + b"Content-Length: 99999999999999999999\r\n\r\n{}",
        post + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        post + b"X: " + b"y" * 200_000 + b"\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /graphql HTTP/1.1\r\nHost: \xff\r\nContent-Type: \xff\r\nAccept: \xff\r\nContent-Length: 2\r\n\r\n{}",
    ):
        try:
            answer = speak(api, data)
        except ConnectionError:
            continue
        assert not answer.startswith((b"HTTP/1.1 5", b"HTTP/1.0 5")), (data[:80], answer[:200])
        assert b"Traceback" not in answer
    assert ask(api, VIEWER).json() == SERVICE


def test_clients_that_leave_early_do_no_harm(api: Server) -> None:
    body = json.dumps({"query": VIEWER}).encode()
    head = b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    whole = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    for length in (1, 20, len(head) + 5, len(whole) - 5, len(whole)):
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
                connection.sendall(whole[:length])
    assert ask(api, VIEWER).json() == SERVICE


@pytest.mark.parametrize("host", ["127.0.0.2", "127.0.0.2:8000", "127.255.255.254", "127.1.2.3:1"])
def test_every_loopback_address_is_served(api: Server, host: str) -> None:
    assert api.post({"query": VIEWER}, {"host": host}).json() == SERVICE


@pytest.mark.parametrize("accept", [JSON, GRAPHQL])
def test_an_answer_too_deep_for_json_is_no_fault_of_the_server(start: Start, accept: str) -> None:
    api = start(max_query_depth=200)
    api.graphql("""mutation {
      createUser(input: {userId: "deep"}) { userErrors { code } }
      createSession(input: {sessionId: "deep", userId: "deep"}) { userErrors { code } }
    }""")
    level = "sessions(first: 1) { nodes { user { "
    query = '{ user(userId: "deep") { ' + level * 63 + "userId" + " } } }" * 63 + " } }"
    response = ask(api, query, accept)
    assert response.status_code == (200 if accept == JSON else 422)
    assert codes(response) == {"QUERY_TOO_COMPLEX"}
