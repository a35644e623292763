"""Subscriptions over HTTP: Server-Sent Events, and Apollo's multipart form."""

import asyncio
import json
import signal
import socket
import time
from typing import Any
from urllib.parse import quote

import pytest

from tests.desk import Desk
from tests.places import Place
from tests.servers import Process, Serve, Server, Start, wait_until
from tests.streaming import TICKS, Ticker, tick_of
from tests.streams import SSE, Stream
from tests.wire import GRAPHQL, Connection, ask, found, graphql, request

pytestmark = pytest.mark.once

URQL = (
    "application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed"
)
APOLLO = (
    "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/graphql-response+json,application/json;q=0.9"
)
KEY = "0123456789abcdef-a-key-of-the-test"
COMPLETE = ("complete", None, None)
ADD = """mutation ($session: String!, $content: String!) { addMessages(input: {sessionId: $session, messages: [
  {role: USER, content: $content}]}) { userErrors { code } } }"""
ADDED = """subscription ($session: String!, $after: Int) { messageAdded(sessionId: $session, afterSequence: $after) {
  cursor node { content } } }"""
ODD = {"Expect": "100-continue"}
"""A head that uvicorn's path takes."""


def next_of(answer: Any, position: str | None = None) -> tuple[str, str | None, Any]:
    return "next", position, answer


def by_url(query: str) -> str:
    return f"/graphql?query={quote(query)}"


# Who is answered by events


@pytest.mark.parametrize("accept", ["text/event-stream", URQL, "application/json, text/event-stream;q=0.1"])
@pytest.mark.parametrize("odd", [False, True])
def test_a_subscription_is_answered_by_events(start: Start, ticker: Ticker, accept: str, odd: bool) -> None:
    server = start()
    connection = Connection(server.port)
    headers = {"Accept": accept} | (ODD if odd else {})
    with Stream(server.port, TICKS, headers, connection=connection) as stream:
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.headers["cache-control"] == "no-store"
        assert stream.headers["x-accel-buffering"] == "no"
        assert stream.block() == ":"
        ticker.wait_for(1)
        for number in range(3):
            ticker.tick(server, number=number, size=number)
            assert stream.event() == next_of(tick_of(number, "x" * number))
        ticker.tick(server, fault="END")
        assert stream.event() == COMPLETE
        assert stream.rest() == b""


@pytest.mark.parametrize("accept", [URQL, APOLLO, f"{GRAPHQL}, text/event-stream", "application/json"])
def test_a_query_is_answered_in_json_wherever_that_is_taken(server: Server, accept: str) -> None:
    for headers in ({}, ODD):
        with Connection(server.port) as connection:
            answer = connection.ask(request(graphql("{ viewer { role } }"), headers | {"Accept": accept}))
            answer = connection.answer() if answer.status == 100 else answer
            assert answer.json() == {"data": {"viewer": {"role": "SERVICE"}}}
            assert (answer.header("content-type") or "").partition(";")[0] in (GRAPHQL, "application/json")


def test_a_query_from_a_client_that_takes_events_alone_is_one_event(server: Server) -> None:
    for query in ("{ viewer { role } }", "{ nobody }", "{", "{ users(first: -1) { totalCount } }"):
        answer = server.post({"query": query}).json()
        with Connection(server.port) as connection:
            for odd in ({}, ODD):
                connection.send(request(graphql(query), SSE | odd))
                got = connection.answer()
                got = connection.answer() if got.status == 100 else got
                assert got.status == 200
                assert got.header("content-type") == "text/event-stream; charset=utf-8"
                assert got.body == b":\n\nevent: next\ndata: %b\n\nevent: complete\ndata:\n\n" % json_of(answer)


def json_of(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "accept", ["*/*", "application/json", GRAPHQL, "text/event-stream;q=0, */*", "multipart/mixed"]
)
def test_a_subscription_without_events_is_told_what_to_do(start: Start, ticker: Ticker, accept: str) -> None:
    server = start()
    with Connection(server.port) as connection:
        for query in (TICKS, "subscription { ticks { nobody } }"):
            answer = connection.ask(request(graphql(query), {"Accept": accept}))
            if query == TICKS or accept == "multipart/mixed":
                assert answer.status == 406
                assert answer.codes() == ["BAD_USER_INPUT"]
            assert b"errors" in answer.body
        if accept != "multipart/mixed":
            answer = connection.ask(request(graphql(TICKS), {"Accept": accept}))
            assert b"Accept: text/event-stream" in answer.body
            assert b"graphql-transport-ws" in answer.body
    assert ticker.resumed == []


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ('subscription { ticks(fault: "no") { number } }', "BAD_USER_INPUT"),
        ("subscription { ticks { nobody } }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription {", "GRAPHQL_PARSE_FAILED"),
    ],
)
def test_a_subscription_that_can_not_start_is_one_event(start: Start, ticker: Ticker, query: str, code: str) -> None:
    server = start()
    with Connection(server.port) as connection:
        got = connection.ask(request(graphql(query), SSE))
        assert (got.status, got.header("content-type")) == (200, "text/event-stream; charset=utf-8")
        name, data, *rest = got.body.decode().removeprefix(":\n\n").split("\n")
        assert name == "event: next"
        assert json.loads(data.removeprefix("data: "))["errors"][0]["extensions"]["code"] == code
        assert rest == ["", "event: complete", "data:", "", ""]
        # A client that takes JSON gets JSON.
        answer = connection.ask(request(graphql(query), {"Accept": f"{GRAPHQL}, text/event-stream"}))
        assert answer.codes() == [code]


def test_a_stream_by_url(start: Start, ticker: Ticker) -> None:
    server = start()
    connection = Connection(server.port)
    line = {"method": "GET", "target": by_url(TICKS)}
    with Stream(server.port, "", line=line, body=b"", connection=connection) as stream:
        ticker.wait_for(1)
        ticker.tick(server, number=1)
        assert stream.event() == next_of(tick_of(1))


def test_a_client_of_http_1_0_gets_a_stream_that_ends_with_the_connection(start: Start, ticker: Ticker) -> None:
    server = start()
    for method, target, body in (("POST", "/graphql", graphql(TICKS)), ("GET", by_url(TICKS), b"")):
        line = {"version": "1.0", "method": method, "target": target}
        with Stream(server.port, "", line=line, body=body) as stream:
            assert "transfer-encoding" not in stream.headers
            ticker.wait_for(1)
            ticker.tick(server, number=1)
            assert stream.event() == next_of(tick_of(1))
            ticker.tick(server, fault="END")
            assert stream.event() == COMPLETE
            assert stream.connection.is_closed()


def test_the_head_of_a_stream_alone(start: Start, ticker: Ticker) -> None:
    server = start()
    with Connection(server.port) as connection:
        answer = connection.ask(request(method="HEAD", headers=SSE, target=by_url(TICKS)), method="HEAD")
        assert (answer.status, answer.header("content-type")) == (200, "text/event-stream; charset=utf-8")
        ticker.wait_for(0)
        assert connection.ask(request(graphql("{ hello }"))).json() == {"data": {"hello": "xxxxx"}}


# Events


def test_a_stream_resumes_after_the_last_event(server: Server) -> None:
    """`Last-Event-ID` goes before the request's own place."""
    for number in range(3):
        server.graphql(ADD, session="s", content=str(number))
    with Stream(server.port, ADDED, session="s", after=0) as stream:
        events = [stream.event() for _ in range(3)]
    for number, (name, position, answer) in enumerate(events):
        assert name == "next"
        assert answer["data"]["messageAdded"]["node"] == {"content": str(number)}
        assert position == answer["data"]["messageAdded"]["cursor"]
    with Stream(server.port, ADDED, {"Last-Event-ID": str(events[0][1])}, session="s", after=3) as stream:
        assert [stream.event() for _ in range(2)] == events[1:]
        server.graphql(ADD, session="s", content="live")
        assert stream.event()[2]["data"]["messageAdded"]["node"] == {"content": "live"}
    with Connection(server.port) as connection:
        answer = connection.ask(request(graphql(ADDED, session="s"), SSE | {"Last-Event-ID": "elsewhere"}))
        assert b"BAD_USER_INPUT" in answer.body


def test_a_stream_whose_events_fail_says_so_and_is_complete(start: Start, ticker: Ticker) -> None:
    server = start()
    for fault in ("UNAVAILABLE", "BREAK"):
        with Stream(server.port, TICKS) as stream:
            ticker.wait_for(1)
            ticker.tick(server, fault="BAD", number=1)
            assert stream.event()[2]["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
            ticker.tick(server, fault=fault)
            assert stream.event()[2]["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
            assert stream.event() == COMPLETE
            assert stream.rest() == b""
            ticker.wait_for(0)


def test_a_silent_stream_gives_signs_of_life(start: Start, ticker: Ticker) -> None:
    """And none of the deadlines of a request ends it."""
    server = start(keep_alive=0.3, head_timeout=0.3, body_timeout=0.3, answer_timeout=0.3, request_timeout=0.5)
    for odd in ({}, ODD):
        with Stream(server.port, TICKS, odd) as stream:
            ticker.wait_for(1)
            started = time.monotonic()
            assert [stream.block() for _ in range(8)] == [":"] * 8
            assert time.monotonic() - started > 1.5
            ticker.tick(server, number=1)
            assert stream.event() == next_of(tick_of(1))
        ticker.wait_for(0)


def test_multipart_for_apollo(start: Start, ticker: Ticker) -> None:
    server = start(keep_alive=0.3)
    with Stream(server.port, TICKS, {"Accept": APOLLO}) as stream:
        assert stream.headers["content-type"] == 'multipart/mixed; boundary="graphql"; subscriptionSpec="1.0"'
        ticker.wait_for(1)
        ticker.tick(server, number=1)
        ticker.tick(server, fault="END")
        parts = stream.rest().split(b"\r\n--graphql")
        typed = b"\r\ncontent-type: application/json\r\n\r\n"
        assert parts == [b"", typed + json_of({"payload": tick_of(1)}), b"--\r\n"]
    with Stream(server.port, TICKS, {"Accept": APOLLO}) as stream:
        pieces = [stream.connection.chunk() for _ in range(2)]
        assert pieces == [b"\r\n--graphql", typed + b"{}\r\n--graphql"]


def test_another_server_of_asgi_sends_a_stream_and_tells_when_its_client_goes(start: Start, ticker: Ticker) -> None:
    server = start()
    sent: list[dict[str, Any]] = []
    gone = asyncio.Event()
    requests = [{"type": "http.request", "body": graphql(TICKS), "more_body": False}]

    async def receive() -> dict[str, Any]:
        if requests:
            return requests.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json"), (b"accept", b"text/event-stream")]
    scope = {"type": "http", "method": "POST", "path": "/graphql", "query_string": b"", "headers": headers}
    serving = asyncio.run_coroutine_threadsafe(server.app(scope, receive, send), server.host.loop)
    ticker.wait_for(1)
    ticker.tick(server, number=1)
    wait_until(lambda: len(sent) == 3)
    server.host.loop.call_soon_threadsafe(gone.set)
    serving.result(timeout=10)
    ticker.wait_for(0)
    assert sent[0]["status"] == 200
    assert dict(sent[0]["headers"])[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert [message["body"] for message in sent[1:]] == [
        b":\n\n",
        b"event: next\ndata: %b\n\n" % json_of(tick_of(1)),
        b"",
    ]


# Connections


@pytest.mark.parametrize("odd", [False, True])
def test_a_client_that_goes_leaves_nothing(start: Start, ticker: Ticker, odd: bool) -> None:
    server = start()
    for leave in (socket.socket.close, lambda s: s.shutdown(socket.SHUT_WR)):
        with Stream(server.port, TICKS, ODD if odd else {}) as stream:
            ticker.wait_for(1)
            leave(stream.connection.socket)
            ticker.wait_for(0)
    endpoint = server.host.endpoint
    assert endpoint is not None
    wait_until(lambda: not endpoint.long_connections._places)  # pyright: ignore[reportPrivateUsage]


def test_a_stream_follows_requests_and_is_followed_by_none(start: Start, ticker: Ticker) -> None:
    server = start()
    connection = Connection(server.port)
    assert connection.ask(request(graphql("{ hello }"))).status == 200
    with Stream(server.port, TICKS, connection=connection) as stream:
        ticker.wait_for(1)
        assert stream.headers["connection"] == "close"
        connection.send(request(graphql("{ hello }")))
        ticker.tick(server, number=1)
        assert stream.event() == next_of(tick_of(1))
        ticker.tick(server, fault="END")
        assert stream.event() == COMPLETE


def test_streams_do_not_give_way_and_count_for_their_credential(
    start: Start, place: Place, desk: Desk, ticker: Ticker
) -> None:
    server = start(place, api_key=KEY, user_subscribers=3, max_connections=8, user_in_flight=2)
    desk.user()
    token = {"Authorization": f"Bearer {desk.token()}"}
    streams = [Stream(server.port, TICKS, token) for _ in range(3)]
    ticker.wait_for(3)
    with Connection(server.port) as connection:
        answer = connection.ask(request(graphql(TICKS), SSE | token))
        assert (answer.status, answer.codes()) == (429, ["RATE_LIMITED"])
        assert connection.ask(request(graphql("{ hello }"), token)).json() == {"data": {"hello": "xxxxx"}}
    wires = [Connection(server.port) for _ in range(9)]
    ticker.tick(server, number=1)
    for stream in streams:
        assert stream.event() == next_of(tick_of(1))
        stream.connection.socket.close()
    for wire in wires:
        wire.socket.close()


def test_a_stream_ends_within_a_second_of_its_credential(
    start: Start, place: Place, desk: Desk, ticker: Ticker
) -> None:
    server = start(place)
    desk.user()
    key, token = desk.key(), desk.token()
    streams = [Stream(server.port, TICKS, {"Authorization": f"Bearer {each}"} | ODD) for each in (token, token, key)]
    ticker.wait_for(3)
    desk.erase()
    started = time.monotonic()
    for stream in streams[:2]:
        name, _, answer = stream.event()
        assert (name, answer["errors"][0]["extensions"]["code"]) == ("next", "UNAUTHENTICATED")
        assert stream.event() == COMPLETE
    assert time.monotonic() - started < 1.5
    ticker.tick(server, number=1)
    assert streams[2].event() == next_of(tick_of(1))
    for stream in streams:
        stream.connection.socket.close()
    with Connection(server.port) as connection:
        answer = connection.ask(request(graphql(TICKS), SSE | {"Authorization": f"Bearer {token}"}))
        assert (answer.status, answer.codes()) == (401, ["UNAUTHENTICATED"])
        assert answer.header("www-authenticate") == "Bearer"


def test_a_slow_reader_costs_one_event(start: Start, ticker: Ticker) -> None:
    server = start(answer_timeout=1.5)
    connection = Connection.__new__(Connection)
    connection.socket = socket.socket()
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
    connection.socket.settimeout(10)
    connection.socket.connect(("127.0.0.1", server.port))
    connection._received = b""  # pyright: ignore[reportPrivateUsage]
    size = 4 * 1024 * 1024
    with Stream(server.port, TICKS, connection=connection), Stream(server.port, TICKS) as other:
        ticker.wait_for(2)
        most = 0
        for number in range(8):
            ticker.tick(server, number=number, size=size)
            assert other.event()[2]["data"]["ticks"]["number"] == number
            connections = list(server.host.uvicorn.server_state.connections)
            most = max(most, *(each.transport.get_write_buffer_size() for each in connections))
        assert 0 < most < size + 1024
        ticker.wait_for(1)
        ticker.tick(server, number=9)
        assert other.event() == next_of(tick_of(9))


@pytest.mark.parametrize("odd", [False, True])
def test_the_end_of_the_server_ends_streams_without_completing_them(serve: Serve, odd: bool) -> None:
    process = serve()
    with Stream(process.port, ADDED, ODD if odd else {}, session="s") as stream:
        assert stream.block() == ":"
        started = time.monotonic()
        process.process.send_signal(signal.SIGTERM)
        assert stream.rest() == b""
        assert process.wait() == 0
        assert time.monotonic() - started < 10
    assert "Traceback" not in process.output()


def test_other_requests_are_answered_beside_streams(process: Process) -> None:
    with Stream(process.port, ADDED, session="beside") as stream, Connection(process.port) as connection:
        assert stream.block() == ":"
        assert found(connection.ask(ask(1)), 1)
        assert found(connection.ask(ask(2, {"Accept": URQL})), 2)
        process.graphql(ADD, session="beside", content="hello")
        assert stream.event()[2]["data"]["messageAdded"]["node"] == {"content": "hello"}
