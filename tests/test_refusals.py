"""The HTTP status tells the fault of a request: whom it speaks for, where it comes from, what it accepts."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

import recallql.http.operations
from recallql.http.requests import write_json
from tests.documents import VIEWER
from tests.places import Fresh
from tests.servers import Server
from tests.wire import Connection, graphql, request

GRAPHQL = "application/graphql-response+json"
JSON = "application/json"
KEY = "a-key-of-this-test-only"
BEARER = f"Bearer {KEY}"
CREATE = 'mutation { upsertUser(input: {userId: "ada"}) { created } }'


@pytest.fixture(scope="module")
def start(shared: Fresh) -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def begin(**settings: Any) -> Server:
        started.append(Server(shared(), **settings))
        return started[-1]

    yield begin
    for server in started:
        server.close()


@pytest.fixture(scope="module")
def keyless(start: Callable[..., Server]) -> Server:
    return start()


@pytest.fixture(scope="module")
def guarded(start: Callable[..., Server]) -> Server:
    return start(api_key=KEY)


def codes(response: httpx.Response) -> list[str]:
    return [error["extensions"]["code"] for error in response.json()["errors"]]


# Accept


NEITHER = [
    "text/plain",
    "image/png, text/event-streams",
    "text/event-stream;q=0",
    "multipart/mixed; boundary=x",
    "text/html",
    "text/*",
    f"{JSON};q=0",
    f"{JSON};q=0, {GRAPHQL};q=0.0",
    "*/*;q=0",
    "application/*;q=0, */*;q=0.0",
    f"{GRAPHQL};q=0, {JSON};q=0, */*",
    f"{GRAPHQL}; charset=iso-8859-1",
    f'{JSON}; charset="utf-16"',
    "application/jsonp",
    "x",
]


@pytest.mark.parametrize("accept", NEITHER)
def test_a_client_that_accepts_neither_type_gets_a_406_and_nothing_is_carried_out(keyless: Server, accept: str) -> None:
    query = CREATE.replace("ada", "nobody")
    for response in (
        keyless.post({"query": query}, {"accept": accept}),
        keyless.client.get(keyless.url, params={"query": VIEWER}, headers={"accept": accept}),
    ):
        assert response.status_code == 406
        assert response.headers["content-type"] == JSON
        assert JSON in response.json()["errors"][0]["message"]
        assert GRAPHQL in response.json()["errors"][0]["message"]
    assert keyless.graphql('{ user(userId: "nobody") { id } }') == {"user": None}


CHOSEN = {
    # Who names one of them gets it, with whatever parameters.
    GRAPHQL: GRAPHQL,
    f"{GRAPHQL}; charset=utf-8": GRAPHQL,
    f'{GRAPHQL};charset="UTF-8";q=1.0': GRAPHQL,
    f"{GRAPHQL}; profile=x": GRAPHQL,
    f"{JSON}; charset=utf-8": JSON,
    "APPLICATION/GraphQL-Response+JSON": GRAPHQL,
    # The weights decide, in any order; the newer type in doubt.
    f"{GRAPHQL}, {JSON};q=0.9": GRAPHQL,
    f"{JSON};q=0.9, {GRAPHQL}": GRAPHQL,
    f"{JSON}, {GRAPHQL};q=0.9": JSON,
    f"{JSON}, {GRAPHQL}": GRAPHQL,
    f"{JSON};q=.2, {GRAPHQL};q=.3": GRAPHQL,
    f"{JSON} ; q = 0.5 , {GRAPHQL} ; q = 0.4": JSON,
    f"text/event-stream, multipart/mixed, {GRAPHQL}, application/graphql+json, {JSON}": GRAPHQL,
    # The most specific range counts.
    f"{JSON};q=0, */*": GRAPHQL,
    f"{GRAPHQL};q=0, */*;q=0.1": JSON,
    f"{JSON};q=0.1, application/*;q=0.5": GRAPHQL,
    f"application/*;q=0.1, {JSON};q=0.5": JSON,
    # Who says no more than that anything will do gets the older type, which every client knows.
    "*/*": JSON,
    "*": JSON,
    "application/*": JSON,
    "application/json, text/plain, */*": JSON,
    "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2": JSON,
    "": JSON,
    ",;q=,": JSON,
    f"{GRAPHQL};q=x": JSON,
    f"{GRAPHQL};q=1.5": JSON,
    f"{GRAPHQL};q=-1": JSON,
    f"{GRAPHQL};q=nan": JSON,
    # A quoted text may hold what would separate items.
    f'text/plain; x="a, {JSON};q=1", {GRAPHQL};q=0.1': GRAPHQL,
}


@pytest.mark.parametrize("accept", CHOSEN)
def test_the_answer_has_the_type_that_the_client_prefers(keyless: Server, accept: str) -> None:
    response = keyless.post({"query": VIEWER}, {"accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"].partition(";")[0] == CHOSEN[accept]
    assert response.json() == {"data": {"viewer": {"role": "SERVICE"}}}


@pytest.mark.parametrize(
    ("lines", "chosen"),
    [
        ([], JSON),
        (["text/plain", GRAPHQL], GRAPHQL),
        ([GRAPHQL, "text/plain"], GRAPHQL),
        ([f"{GRAPHQL};q=0.5", f"{JSON};q=0.6"], JSON),
    ],
)
def test_several_accept_headers_are_one_list_and_none_accepts_anything(
    keyless: Server, lines: list[str], chosen: str
) -> None:
    more = "".join(f"Accept: {line}\r\n" for line in lines).encode()
    with Connection(keyless.port) as connection:
        for _ in range(2):
            answer = connection.ask(request(graphql(VIEWER)).replace(b"\r\n\r\n", b"\r\n" + more + b"\r\n", 1))
            assert answer.status == 200
            assert (answer.header("content-type") or "").partition(";")[0] == chosen


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=utf-8; profile=x",
        'application/json; profile="a;charset=latin1"; charset="utf-8"',
        "application/json ; CHARSET=UTF8",
        "application/json;",
    ],
)
def test_a_content_type_may_have_parameters(keyless: Server, content_type: str) -> None:
    assert keyless.post({"query": VIEWER}, {"content-type": content_type}).status_code == 200


@pytest.mark.parametrize("content_type", ["application/json; charset=latin1", 'application/json; charset="utf-16"'])
def test_another_charset_is_a_415(keyless: Server, content_type: str) -> None:
    assert keyless.post({"query": VIEWER}, {"content-type": content_type}).status_code == 415


# Two credentials


def with_lines(*lines: str) -> bytes:
    more = "".join(f"{line}\r\n" for line in lines).encode()
    return request(graphql(VIEWER)).replace(b"\r\n\r\n", b"\r\n" + more + b"\r\n", 1)


DOUBLED = [
    (f"Authorization: {BEARER}", f"Authorization: {BEARER}"),
    (f"Authorization: {BEARER}", "authorization: Bearer another-one"),
    ("AUTHORIZATION: Bearer another-one", f"Authorization: {BEARER}"),
    (f"Authorization: {BEARER}", "Authorization: Basic YTpi"),
    (f"Authorization: {BEARER}", "Authorization:"),
    (f"Authorization: {BEARER}, {BEARER}",),
    (f"Authorization: {BEARER},Bearer another-one",),
    (f"Authorization: Basic YTpi, {BEARER}",),
]


@pytest.mark.parametrize("lines", DOUBLED)
def test_two_credentials_are_a_400(keyless: Server, guarded: Server, lines: tuple[str, ...]) -> None:
    for server in (keyless, guarded):
        with Connection(server.port) as connection:
            for accept in (JSON, GRAPHQL):
                answer = connection.ask(with_lines(f"Accept: {accept}", *lines))
                assert answer.status == 400
                assert answer.codes() == ["BAD_USER_INPUT"]
                assert "Authorization" in answer.json()["errors"][0]["message"]
            by_url = with_lines(*lines).replace(b"POST /graphql ", b"PUT /graphql ")
            assert connection.ask(by_url).status == 400


def test_one_credential_is_taken_whatever_else_it_holds(guarded: Server) -> None:
    with Connection(guarded.port) as connection:
        assert connection.ask(with_lines(f"Authorization: {BEARER}")).status == 200
        for wrong in ('Digest username="a", realm="b"', "Bearer a,b", "Basic YTpi"):
            assert connection.ask(with_lines(f"Authorization: {wrong}")).status == 401


# Proxies


FORWARDING = [
    "Forwarded: for=192.0.2.60;proto=http;by=203.0.113.43",
    "X-Forwarded-For: 192.0.2.60",
    "X-Forwarded-For:",
    "X-Forwarded-Host: example.org",
    "X-Forwarded-Proto: https",
    "X-Real-IP: 192.0.2.60",
    "x-real-ip: 127.0.0.1",
    "Via: 1.1 proxy",
]


@pytest.mark.parametrize("line", FORWARDING)
def test_a_server_without_a_key_refuses_what_a_proxy_passes_on(keyless: Server, guarded: Server, line: str) -> None:
    with Connection(keyless.port) as connection:
        for _ in range(2):
            answer = connection.ask(with_lines(f"Accept: {GRAPHQL}", line))
            assert answer.status == 403
            assert answer.codes() == ["FORBIDDEN"]
            message = answer.json()["errors"][0]["message"]
            assert "proxy" in message
            assert "RECALLQL_API_KEY" in message
    name, _, value = line.partition(":")
    for params, accept in (({"query": VIEWER}, JSON), ({}, "text/html")):
        response = keyless.client.get(keyless.url, params=params, headers={"accept": accept, name: value.strip()})
        assert response.status_code == 403
        assert "proxy" in response.text
    with Connection(guarded.port) as connection:
        assert connection.ask(with_lines(f"Authorization: {BEARER}", line)).status == 200
    assert keyless.client.get(f"{keyless.base}/ready", headers={name: value.strip()}).status_code == 200


# The URL


def test_a_url_over_the_limit_is_a_414_and_one_within_it_is_read(keyless: Server) -> None:
    for accept in (JSON, GRAPHQL):
        for filling, status in ((15_000, 200), (17_000, 414), (60_000, 414)):
            target = f"/graphql?query=%7B__typename%7D&x={'y' * filling}"
            with Connection(keyless.port) as connection:
                answer = connection.ask(request(method="GET", target=target, headers={"Accept": accept}), method="GET")
            assert answer.status == status
            assert status == 200 or "POST" in answer.json()["errors"][0]["message"]
    with Connection(keyless.port) as connection:
        answer = connection.ask(request(method="GET", target="/graphql?query=" + "y" * 70_000), method="GET")
        assert answer.status == 414
        assert connection.is_closed()


# Batches


@pytest.mark.parametrize("batch", [[], [{"query": VIEWER}], [{"query": CREATE}, {"query": CREATE}], [1]])
def test_a_batch_is_told_that_batching_is_not_offered(keyless: Server, batch: list[Any]) -> None:
    for accept, status in ((JSON, 400), (GRAPHQL, 422)):
        response = keyless.post(json.dumps(batch).encode(), {"accept": accept})
        assert response.status_code == status
        assert codes(response) == ["BAD_USER_INPUT"]
        assert "atching is not supported" in response.json()["errors"][0]["message"]


# Memory

ADD = "mutation ($input: AddMessagesInput!) { addMessages(input: $input) { userErrors { code } } }"


def test_a_text_under_many_aliases_is_refused_before_it_is_written(
    keyless: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = {"role": "USER", "content": "y" * 1_000_000}
    keyless.accepted(ADD, sessionId="long", messages=[message], formMemories=False)
    written: list[int] = []

    def write(value: Any) -> bytes:
        body = write_json(value)
        written.append(len(body))
        return body

    # Answers are written by the one, refusals by the other.
    for module in ("operations", "endpoint"):
        monkeypatch.setattr(f"recallql.http.{module}.write_json", write)
    aliases = " ".join(f"a{number}: content" for number in range(400))
    query = f'{{ session(sessionId: "long") {{ messages(first: 1) {{ nodes {{ {aliases} }} }} }} }}'
    response = keyless.post({"query": query})
    assert codes(response) == ["PAYLOAD_TOO_LARGE"]
    assert max(written) < 10_000


def test_a_server_without_memory_says_so_and_goes_on(keyless: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    message = {"role": "USER", "content": "y" * 1_000_000}
    keyless.accepted(ADD, sessionId="large", messages=[message], formMemories=False)
    query = '{ session(sessionId: "large") { messages(first: 1) { nodes { content } } } }'
    with monkeypatch.context() as patched:
        patched.setattr(recallql.http.operations, "reserve", lambda size: bytearray(2**62))
        for accept in (JSON, GRAPHQL):
            response = keyless.post({"query": query}, {"accept": accept})
            assert response.status_code == 503
            assert codes(response) == ["UNAVAILABLE"]
            assert "memory" in response.json()["errors"][0]["message"]
    assert len(keyless.graphql(query)["session"]["messages"]["nodes"][0]["content"]) == 1_000_000
