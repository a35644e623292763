"""Clients that send slowly, or do not read, are cut off: each step of a request has a deadline."""

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from tests.places import Fresh, Place
from tests.servers import Api, Process, Serve, Server, free_port, wait_until
from tests.wire import HEAD, Connection, ask, body, chunked, found, graphql, mutation, request

pytestmark = pytest.mark.once

KEY = "0123456789abcdef-a-key-of-the-test"
CHUNKED = request(headers={"Transfer-Encoding": "chunked"})
ODD = ask(1, {"Expect": "100-continue"}).removesuffix(body(1))
QUICK = {"RECALLQL_HEAD_TIMEOUT": "0.6", "RECALLQL_BODY_TIMEOUT": "0.8", "RECALLQL_ANSWER_TIMEOUT": "2"}
SOON = 4.0
"""Seconds by which a deadline of `QUICK` has passed, also on a machine with much to do."""

ADD = """mutation ($messages: [MessageInput!]!) {
  addMessages(input: {sessionId: "long", messages: $messages}) { userErrors { code } }
}"""
READ = '{ session(sessionId: "long") { messages(first: 15) { nodes { content } } } }'


def fill(process: Api) -> None:
    """Have `READ` answered by 15 MiB."""
    for _ in range(3):
        messages = [{"role": "USER", "content": "x" * 1024 * 1024} for _ in range(5)]
        answer = process.post({"query": ADD, "variables": {"messages": messages}})
        assert answer.json() == {"data": {"addMessages": {"userErrors": []}}}


@pytest.fixture(scope="module")
def impatient(shared: Fresh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A server with short deadlines, with the user and the long session that the tests ask for."""
    log = tmp_path_factory.mktemp("impatient") / "recallql.log"
    running = Process(shared(), free_port(), [], QUICK, log)
    running.wait_until_ready()
    running.graphql('mutation { upsertUser(input: {userId: "user-1", name: "user-1"}) { created } }')
    fill(running)
    yield running
    running.close()


def unread(process: Api, data: bytes, *, room: int = 32 * 1024) -> Connection:
    """A connection that has sent this, reads nothing, and has little room for what it is sent."""
    connection = Connection.__new__(Connection)
    connection.socket = socket.socket()
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    connection.socket.settimeout(10)
    connection.socket.connect(("127.0.0.1", process.port))
    connection._received = b""  # pyright: ignore[reportPrivateUsage]
    connection.send(data)
    return connection


HALVES = {
    "a byte of a head": b"P",
    "a head": HEAD[:-2],
    "half a name": HEAD[:30],
    "a head of another method": b"GET /health HTTP/1.1\r\nHost: 127",
    "a body": HEAD + body(1)[:-1],
    "no byte of a body": HEAD,
    "no byte of a body after an odd head": ODD,
    "chunks": CHUNKED + chunked([body(1)])[:-2],
    "no chunk": CHUNKED,
    "a trailer": CHUNKED + chunked([body(1)])[:-2] + b"X-Trailer: ",
}


@pytest.mark.parametrize("before", [0, 2])
def test_a_request_that_stays_unfinished_is_refused_and_the_connection_closed(impatient: Process, before: int) -> None:
    def check(half: bytes) -> None:
        with Connection(impatient.port) as connection:
            for _ in range(before):
                assert found(connection.ask(ask(1)), 1)
            started = time.monotonic()
            connection.send(half)
            answer = connection.answer()
            while answer.status == 100:
                answer = connection.answer()
            assert 0.3 < time.monotonic() - started < SOON
            assert answer.status == 408
            assert answer.codes() == ["TIMEOUT"]
            assert answer.header("connection") == "close"
            assert connection.is_closed()

    with ThreadPoolExecutor(len(HALVES)) as threads:
        assert list(threads.map(check, HALVES.values())) == [None] * len(HALVES)


@pytest.mark.parametrize("data", [b"", b"\r\n", b"\r\n\r\n"])
def test_a_connection_that_asks_nothing_is_closed_without_a_word(impatient: Process, data: bytes) -> None:
    with Connection(impatient.port) as connection:
        connection.send(data)
        assert connection.is_closed()


def is_cut_while_sending(connection: Connection, pieces: Iterable[bytes]) -> bool:
    end = time.monotonic() + SOON
    try:
        for piece in pieces:
            connection.send(piece)
            time.sleep(0.04)
            if time.monotonic() > end:
                return False
    except OSError:
        return True
    return connection.answer().status == 408


@pytest.mark.parametrize("name", ["a head", "a body", "chunks"])
def test_a_byte_now_and_then_is_no_excuse(impatient: Process, name: str) -> None:
    with Connection(impatient.port) as connection:
        assert is_cut_while_sending(connection, (bytes([byte]) for byte in HALVES[name]))


def test_empty_lines_without_an_end_are_not_read_for_ever(impatient: Process) -> None:
    with Connection(impatient.port) as connection:
        assert is_cut_while_sending(connection, repeat(b"\r\n"))


def test_a_request_within_its_deadlines_is_answered_however_it_comes(impatient: Process) -> None:
    with Connection(impatient.port) as connection:
        for _ in range(4):
            connection.send(HEAD[:40])
            time.sleep(0.2)
            connection.send(HEAD[40:] + body(1)[:5])
            time.sleep(0.3)
            assert found(connection.ask(body(1)[5:]), 1)


def test_hundreds_of_half_open_connections_are_gone_after_the_deadline(impatient: Process) -> None:
    descriptors = Path(f"/proc/{impatient.process.pid}/fd")
    before = len(list(descriptors.iterdir()))
    halves = list(HALVES.values())
    with ExitStack() as opened:
        for number in range(500):
            connection = opened.enter_context(Connection(impatient.port))
            connection.send(halves[number % len(halves)])
        end = time.monotonic() + SOON + 2
        while len(list(descriptors.iterdir())) > before + 5 and time.monotonic() < end:
            time.sleep(0.05)
        assert len(list(descriptors.iterdir())) <= before + 5
        assert impatient.graphql("{ viewer { role } }")


# Answers that are not read


def test_a_connection_whose_answer_is_not_read_is_cut(impatient: Process) -> None:
    with ExitStack() as opened:
        connections = [
            opened.enter_context(unread(impatient, request(graphql(READ), headers)))
            for headers in ({}, {"Expect": "100-continue"}, {"Connection": "close"})
        ]
        time.sleep(SOON + 0.5)
        for connection in connections:
            received = b""
            with contextlib.suppress(OSError):
                received = connection.rest()
            assert len(received) < 15 * 1024 * 1024


@pytest.mark.parametrize("headers", [{}, {"Expect": "100-continue"}])
def test_a_client_that_reads_slowly_but_steadily_gets_its_answer(impatient: Process, headers: dict[str, str]) -> None:
    with unread(impatient, request(graphql(READ), headers | {"Connection": "close"}), room=128 * 1024) as connection:
        received = b""
        started = time.monotonic()
        while piece := connection.socket.recv(512 * 1024):
            received += piece
            if time.monotonic() - started < 3:
                time.sleep(0.05)
        assert received.endswith(b'"}]}}}}')
        assert received.count(b"x") > 15 * 1024 * 1024


# What is in flight


def token_of(process: Api) -> dict[str, str]:
    process.post({"query": 'mutation { upsertUser(input: {userId: "ada"}) { created } }'}, bearer(KEY))
    issue = 'mutation { issueUserToken(input: {userId: "ada"}) { token } }'
    return bearer(process.post({"query": issue}, bearer(KEY)).json()["data"]["issueUserToken"]["token"])


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


def status_of(process: Api, headers: dict[str, str]) -> int:
    with Connection(process.port) as connection:
        return connection.ask(request(graphql("{ viewer { role } }"), headers)).status


def eventually(status: int, ask: Callable[[], int]) -> None:
    end = time.monotonic() + SOON + 2
    while (found := ask()) != status and time.monotonic() < end:
        time.sleep(0.05)
    assert found == status


@pytest.fixture
def guarded(place: Place) -> Iterator[Server]:
    """A server that needs a credential, and takes one request of a user at a time."""
    running = Server(place, api_key=KEY, user_in_flight=1, answer_timeout=2)
    yield running
    running.close()


@pytest.mark.parametrize("odd", [{}, {"Expect": "100-continue"}])
def test_a_request_is_in_flight_from_its_head_until_its_answer_was_read(guarded: Server, odd: dict[str, str]) -> None:
    process = guarded
    throttle = guarded.app.endpoint.admissions._user
    assert throttle is not None
    under_way = throttle._under_way
    ada = token_of(process)
    for _ in range(3):
        messages = [{"role": "USER", "content": "x" * 1024 * 1024} for _ in range(5)]
        answer = process.post({"query": ADD.replace("long", "own"), "variables": {"messages": messages}}, ada)
        assert answer.json() == {"data": {"addMessages": {"userErrors": []}}}
    assert status_of(process, ada) == 200
    whole = request(graphql("{ viewer { role } }"), ada | odd)
    # A request is admitted, and forgotten, after a moment; another one of the user may come just then.
    wait_until(lambda: not under_way)
    with Connection(process.port) as connection:
        connection.send(whole[:-5])
        wait_until(lambda: under_way)
        assert status_of(process, ada) == 429
        assert status_of(process, bearer(KEY)) == 200
        connection.send(whole[-5:])
        while connection.answer().status == 100:
            pass
    eventually(200, lambda: status_of(process, ada))
    long = graphql(READ.replace("long", "own"))
    wait_until(lambda: not under_way)
    with unread(process, request(long, ada | odd)):
        wait_until(lambda: under_way)
        assert status_of(process, ada) == 429
        assert status_of(process, bearer(KEY)) == 200
        eventually(200, lambda: status_of(process, ada))


@pytest.mark.parametrize("headers", [{}, {"Expect": "100-continue"}, {"Transfer-Encoding": "chunked"}])
@pytest.mark.parametrize("credential", [{}, bearer("wrong")])
def test_a_body_is_not_waited_for_without_a_credential(
    guarded: Server, headers: dict[str, str], credential: dict[str, str]
) -> None:
    whole = request(b"x" * 8 * 1024 * 1024, headers | credential)
    with Connection(guarded.port) as connection:
        answer = connection.ask(whole[: whole.index(b"\r\n\r\n") + 4])
        assert answer.status == 401
        assert answer.codes() == ["UNAUTHENTICATED"]


# Stopping


def stopped(process: Process) -> float:
    started = time.monotonic()
    os.kill(process.process.pid, signal.SIGTERM)
    assert process.process.wait(25) == 0
    return time.monotonic() - started


def test_half_sent_requests_do_not_delay_the_end(serve: Serve) -> None:
    process = serve()
    with ExitStack() as opened:
        for half in HALVES.values():
            for before in (b"", ask(1)):
                connection = opened.enter_context(Connection(process.port))
                if before:
                    assert connection.ask(before).status == 200
                connection.send(half)
        time.sleep(0.3)
        assert stopped(process) < 5


def test_an_answer_that_is_not_read_delays_the_end_until_its_deadline(serve: Serve, impatient: Process) -> None:
    process = serve(place=impatient.place, env={"RECALLQL_ANSWER_TIMEOUT": "1"})
    with unread(process, request(graphql(READ))):
        time.sleep(0.5)
        assert stopped(process) < 8


def test_what_is_being_read_is_sent_to_the_end_before_it_stops(serve: Serve, impatient: Process) -> None:
    process = serve(place=impatient.place)
    received: list[Any] = []
    with unread(process, request(graphql(READ))) as connection:
        time.sleep(0.3)
        reader = threading.Thread(target=lambda: received.append(connection.answer()))
        stopper = threading.Timer(0.2, os.kill, (process.process.pid, signal.SIGTERM))
        stopper.start()
        time.sleep(0.5)
        reader.start()
        reader.join(20)
        assert process.process.wait(20) == 0
    (answer,) = received
    assert len(json.loads(answer.body)["data"]["session"]["messages"]["nodes"]) == 15


def test_a_request_in_full_is_answered_although_another_is_half_sent_behind_it(impatient: Process) -> None:
    with Connection(impatient.port) as connection:
        connection.send(ask(1) + HEAD[:50])
        assert found(connection.answer(), 1)
        assert connection.answer().status == 408
        assert connection.is_closed()
    with Connection(impatient.port) as connection:
        connection.send(mutation("behind") + ask(1) + HEAD)
        assert connection.answer().status == 200
        assert found(connection.answer(), 1)
        assert connection.answer().status == 408
