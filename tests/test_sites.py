"""Pages of other origins: what a browser lets those of a named origin do, and what the others are told."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from recallql.seldom import MOST, Seldom
from recallql.settings import Settings
from tests.documents import VIEWER
from tests.places import Fresh
from tests.servers import Serve, Server, Start
from tests.wire import Connection, graphql, request

pytestmark = pytest.mark.once

KEY = "a-key-of-this-test-only"
APP = "https://app.example.org"
NAMED = [
    APP,
    "http://localhost:3000",
    "tauri://localhost",
    "capacitor://localhost",
    "ionic://localhost",
    "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    "moz-extension://5b2a1c9e-0d3f-4f6b-9a51-3c8f2e7d6b10",
    "https://[::1]:8443",
]


@pytest.fixture(scope="module")
def server(shared: Fresh) -> Iterator[Server]:
    running = Server(shared(), cors_origins=", ".join(NAMED), api_key=KEY)
    yield running
    running.close()


def preflight(server: Any, origin: str, path: str = "/graphql", asked: str = "content-type") -> httpx.Response:
    headers = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": asked}
    return server.client.options(server.base + path, headers=headers)


# Which origins


@pytest.mark.parametrize("origin", NAMED)
def test_a_named_origin_may_ask_whatever_its_scheme(server: Server, origin: str) -> None:
    answer = preflight(server, origin)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == origin
    asked = {"origin": origin, "sec-fetch-site": "cross-site", "authorization": f"Bearer {KEY}"}
    answer = server.post({"query": VIEWER}, asked)
    assert answer.json() == {"data": {"viewer": {"role": "SERVICE"}}}
    assert answer.headers["access-control-allow-origin"] == origin


WRITTEN = {
    "https://app.example.org": ["https://app.example.org"],
    " https://app.example.org , http://localhost:3000 ": ["https://app.example.org", "http://localhost:3000"],
    "https://app.example.org,\thttp://a,": ["https://app.example.org", "http://a"],
    "HTTPS://App.Example.ORG:443": ["https://app.example.org"],
    "http://localhost:80, http://localhost:443": ["http://localhost", "http://localhost:443"],
    "https://localhost:80": ["https://localhost:80"],
    "tauri://localhost, Capacitor://localhost": ["tauri://localhost", "capacitor://localhost"],
    "http://[::1]:3000": ["http://[::1]:3000"],
    "https://bücher.example": ["https://xn--bcher-kva.example"],
    "app://obsidian.md": ["app://obsidian.md"],
    "": [],
    " , ": [],
}


@pytest.mark.parametrize("text", WRITTEN)
def test_origins_may_be_written_in_any_way_that_is_clear(text: str) -> None:
    assert Settings(cors_origins=text).origins == frozenset(WRITTEN[text])


WRONG = [
    "*",
    "null",
    "https://*.example.org",
    "example.org",
    "localhost:3000",
    "https://example.org/",
    "https://example.org/path",
    "https://example.org?x",
    "https://example.org#x",
    "https://user@example.org",
    "https://example.org:0",
    "https://example.org:99999",
    "https://example.org:x",
    "https://",
    "https:example.org",
    "ftp://example.org",
    "file://",
    "data:text/html,x",
    "https://a b",
    "https://a\nb",
    "https://a;https://b",
    "https://[::1",
    "https://a..b ü",
]


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_origin_is_refused_with_the_reason(text: str) -> None:
    for given in (text, f"{APP}, {text}"):
        with pytest.raises(ValidationError, match="cors_origins") as refused:
            Settings(cors_origins=given)
        assert "origin" in str(refused.value)
    if text in ("*", "null"):
        assert f"`{text}`" in str(refused.value)


# What a page may send


ASKED = [
    "content-type,authorization",
    "apollographql-client-name,apollographql-client-version,content-type",
    "apollo-require-preflight, x-apollo-operation-name",
    "traceparent, tracestate, baggage, sentry-trace",
    "x-request-id",
    "X-Anything-At-All",
    ", ".join(f"x-header-{number}" for number in range(100)),
]


@pytest.mark.parametrize("asked", ASKED)
def test_a_page_may_send_the_headers_that_it_asks_for(server: Server, asked: str) -> None:
    allowed = preflight(server, APP, asked=asked).headers["access-control-allow-headers"]
    assert {name.strip().lower() for name in allowed.split(",")} == {name.strip().lower() for name in asked.split(",")}


@pytest.mark.parametrize("asked", ["", "a b", "x: y", "(x)", "x,,y", "x;y", "é", ", ".join(["x-long"] * 5000)])
def test_a_list_of_headers_that_is_none_is_not_repeated(server: Server, asked: str) -> None:
    with Connection(server.port) as connection:
        head = {"Origin": APP, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": asked}
        answer = connection.ask(request(headers=head, method="OPTIONS"), method="OPTIONS")
    assert answer.status == 204
    assert answer.header("access-control-allow-headers") == "content-type, authorization"


@pytest.mark.parametrize("path", ["/graphql", "/graphql/", "/health", "/ready", "/", "/nowhere"])
def test_a_preflight_is_answered_at_every_address(server: Server, path: str) -> None:
    answer = preflight(server, APP, path)
    assert answer.status_code == 204
    assert answer.content == b""
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["access-control-allow-methods"] == "GET, HEAD, POST"
    assert "origin" in answer.headers["vary"]
    assert preflight(server, "https://example.org", path).status_code == 403


# What a page may read


def answers_to(server: Server, origin: str) -> dict[int, list[httpx.Response]]:
    """Answers of every kind to a page of an origin, by their status."""
    client, key = server.client, {"authorization": f"Bearer {KEY}"}
    base, url, asked = server.base, server.url, {"origin": origin}
    json_type = {"content-type": "application/json"}
    found = [
        server.post({"query": VIEWER}, asked | key),
        server.post({"query": "{ users(first: -1) { totalCount } }"}, asked | key | {"accept": GRAPHQL}),
        server.post({"query": VIEWER}, asked),
        server.post({"query": VIEWER}, asked | {"authorization": "Bearer wrong"}),
        server.post(b"{", asked | key),
        server.post({"query": "{ x }"}, asked | key | {"accept": GRAPHQL}),
        server.post({"query": VIEWER}, asked | key | {"accept": "text/plain"}),
        server.post({"query": VIEWER}, asked | key | {"content-type": "text/plain"}),
        server.post({"query": VIEWER}, asked | key | {"content-encoding": "br"}),
        server.post(b" " * (8 * 1024 * 1024 + 1), asked | key),
        client.put(url, headers=asked | key | json_type),
        client.get(url, params={"query": "mutation { x }"}, headers=asked | key),
        client.get(url, params={"query": "x" * 20_000}, headers=asked | key),
        client.get(f"{base}/nowhere", headers=asked),
        client.post(f"{base}/nowhere", headers=asked),
        client.post(f"{base}/health", headers=asked),
        client.get(f"{base}/health", headers=asked),
        client.get(f"{base}/ready", headers=asked),
        client.get(f"{base}/", headers=asked),
        client.get(url, headers=asked | {"accept": "text/html"}),
    ]
    by_status: dict[int, list[httpx.Response]] = {}
    for answer in found:
        by_status.setdefault(answer.status_code, []).append(answer)
    return by_status


GRAPHQL = "application/graphql-response+json"


def test_a_page_of_a_named_origin_may_read_every_answer(server: Server) -> None:
    found = answers_to(server, APP)
    assert found.keys() >= {200, 294, 400, 401, 404, 405, 406, 413, 414, 415, 422}
    for status, answers in found.items():
        for answer in answers:
            assert answer.headers["access-control-allow-origin"] == APP, status
            assert answer.headers.get_list("access-control-allow-origin") == [APP]
            exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
            assert {"retry-after", "www-authenticate", "allow"} <= exposed
            assert len(answer.headers.get_list("vary")) == 1, status
            assert "origin" in answer.headers["vary"].split(", "), status


def test_a_page_may_read_when_it_may_ask_again(start: Start) -> None:
    server = start(cors_origins=APP, service_per_minute=1)
    assert server.post({"query": VIEWER}, {"origin": APP}).status_code == 200
    refused = server.post({"query": VIEWER}, {"origin": APP})
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert "retry-after" in refused.headers["access-control-expose-headers"]
    assert refused.headers["access-control-allow-origin"] == APP


def test_a_page_of_another_origin_may_read_nothing(server: Server) -> None:
    for origin in ("https://example.org", "null", f"{APP}.example.org", "http://app.example.org", f"{APP}:444"):
        for answers in answers_to(server, origin).values():
            for answer in answers:
                assert not [name for name in answer.headers if name.startswith("access-control-")]
                assert "origin" in answer.headers["vary"]


# What a refused page is told


def test_a_refused_page_is_told_which_setting_names_origins(server: Server) -> None:
    for answer in (
        preflight(server, "https://example.org"),
        server.post({"query": VIEWER}, {"origin": "https://example.org", "authorization": f"Bearer {KEY}"}),
    ):
        assert answer.status_code == 403
        (error,) = answer.json()["errors"]
        assert error["extensions"]["code"] == "FORBIDDEN"
        assert "RECALLQL_CORS_ORIGINS" in error["message"]
        assert "https://example.org" in error["message"]


def test_a_refused_origin_is_logged_once_a_minute(serve: Serve) -> None:
    server = serve(env={"RECALLQL_CORS_ORIGINS": APP, "RECALLQL_LOG_FORMAT": "json"})
    for _ in range(20):
        assert server.post({"query": VIEWER}, {"origin": "https://one.example"}).status_code == 403
        assert preflight(server, "https://one.example").status_code == 403
    server.post({"query": VIEWER}, {"origin": "https://two.example"})
    for number in range(2 * MOST):
        server.post({"query": VIEWER}, {"origin": f"https://{number}.example/{'x' * 1000}"})
    logged = [json.loads(line) for line in server.output().splitlines() if "RECALLQL_CORS_ORIGINS" in line]
    origins = [line["origin"] for line in logged]
    assert origins[:2] == ["https://one.example", "https://two.example"]
    assert len(origins) == len(set(origins)) == MOST
    assert max(map(len, origins)) <= 200


def test_what_is_logged_seldom_is_due_again_after_a_minute() -> None:
    now = [0.0]
    seldom = Seldom(now=lambda: now[0])
    assert [seldom.is_due("a"), seldom.is_due("a"), seldom.is_due("b")] == [True, False, True]
    now[0] = 59.9
    assert [seldom.is_due("a"), seldom.is_due("c")] == [False, True]
    now[0] = 60.1
    assert [seldom.is_due("a"), seldom.is_due("a"), seldom.is_due("c")] == [True, False, False]
    for number in range(1000):
        seldom.is_due(str(number))
    assert len(seldom._told) == MOST


def test_an_error_in_the_body_of_a_request_can_be_read_too(server: Server) -> None:
    head = {"Origin": APP, "Transfer-Encoding": "chunked", "Authorization": f"Bearer {KEY}"}
    with Connection(server.port) as connection:
        answer = connection.ask(request(headers=head) + b"zz\r\n" + graphql(VIEWER))
    assert answer.status == 400
    assert answer.header("access-control-allow-origin") == APP
