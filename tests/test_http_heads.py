"""Heads of requests, odd and ordinary, and how long a connection lives: said to the real process byte by byte.

Nothing that is remembered of one head may pass for another that differs in a single byte.
"""

import os
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
import uvicorn

from recallql.app import create_app
from recallql.settings import Settings
from tests.places import Place
from tests.servers import START_SECONDS, Process, Serve
from tests.wire import HEAD, UPSERT, Closed, Connection, ask, body, chunked, found, graphql, mutation, request

MEBIBYTE = 1024 * 1024

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("unharmed")]


ODD_HEADS: dict[str, tuple[Callable[[bytes], bytes], set[int]]] = {
    "names in capitals": (lambda head: head.replace(b"Content-", b"CONTENT-"), {200}),
    "names of mixed case": (lambda head: head.replace(b"Content-Length", b"cOnTeNt-lEnGtH"), {200}),
    "no space after colons": (lambda head: head.replace(b": ", b":"), {200}),
    "tabs after colons": (lambda head: head.replace(b": ", b":\t \t"), {200}),
    "spaces at the ends": (lambda head: head.replace(b"json\r\n", b"json  \t\r\n"), {200}),
    "an empty value": (lambda head: head.replace(b"\r\n\r\n", b"\r\nX-Empty:\r\n\r\n"), {200}),
    "bytes that are no ascii": (lambda head: head.replace(b"\r\n\r\n", b"\r\nX: \xc3\xa9\xff\x80\r\n\r\n"), {200}),
    "a name with marks": (lambda head: head.replace(b"\r\n\r\n", b"\r\n!#$%&'*+-.^_`|~: x\r\n\r\n"), {200}),
    "the same name many times": (lambda head: head.replace(b"\r\n\r\n", b"\r\nX: 1" * 50 + b"\r\n\r\n"), {200}),
    "lines before it": (lambda head: b"\r\n\r\n" + head, {200}),
    "a space before a colon": (lambda head: head.replace(b"Host:", b"Host :"), {400}),
    "a space before the colon of the length": (lambda head: head.replace(b"Length:", b"Length :"), {400}),
    "a space before a name": (lambda head: head.replace(b"Host:", b" Host:"), {400}),
    "a continued line": (lambda head: head.replace(b"\r\n\r\n", b"\r\nX: a\r\n b\r\n\r\n"), {400}),
    "a line without a colon": (lambda head: head.replace(b"\r\n\r\n", b"\r\nX\r\n\r\n"), {400}),
    "an empty name": (lambda head: head.replace(b"\r\n\r\n", b"\r\n: x\r\n\r\n"), {400}),
    "a zero byte in a value": (lambda head: head.replace(b"json", b"json\0"), {400}),
    "a zero byte in a name": (lambda head: head.replace(b"Host", b"Ho\0st"), {400}),
    "a bare return in a value": (lambda head: head.replace(b"\r\n\r\n", b"\r\nX: a\rY: b\r\n\r\n"), {400}),
    "a bare line feed": (lambda head: head.replace(b"\r\n\r\n", b"\r\nX: a\nY: b\r\n\r\n"), {200, 400}),
    "line feeds only": (lambda head: head.replace(b"\r\n", b"\n"), {200, 400}),
    "returns only": (lambda head: head.replace(b"\r\n", b"\r") + b"\r\n\r\n", {400}),
    "a method in small letters": (lambda head: head.replace(b"POST", b"post"), {400}),
    "a method that there is not": (lambda head: head.replace(b"POST", b"POSTS"), {400, 405, 501}),
    "two spaces": (lambda head: head.replace(b"POST ", b"POST  "), {200, 400}),
    "a tab": (lambda head: head.replace(b"POST ", b"POST\t"), {400}),
    "no version": (lambda head: head.replace(b" HTTP/1.1", b""), {200, 400, 505}),
    "another protocol": (lambda head: head.replace(b"HTTP/1.1", b"HTTQ/1.1"), {400}),
    "a version with more": (lambda head: head.replace(b"HTTP/1.1", b"HTTP/1.11"), {400, 505}),
    "a version in small letters": (lambda head: head.replace(b"HTTP/1.1", b"http/1.1"), {400}),
    "the preface of http 2": (lambda _: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 505}),
    "a whole address": (lambda head: head.replace(b"/graphql", b"http://127.0.0.1/graphql"), {200}),
    "a path in percents": (lambda head: head.replace(b"/graphql", b"/%67raphq%6C"), {200}),
    "an empty query string": (lambda head: head.replace(b"/graphql", b"/graphql?"), {200}),
    "a query string": (lambda head: head.replace(b"/graphql", b"/graphql?query=%7B"), {200}),
    "a slash more": (lambda head: head.replace(b"/graphql", b"//graphql"), {404}),
    "a slash behind": (lambda head: head.replace(b"/graphql", b"/graphql/"), {200}),
    "a path over dots": (lambda head: head.replace(b"/graphql", b"/x/../graphql"), {404}),
    "a path in capitals": (lambda head: head.replace(b"/graphql", b"/GRAPHQL"), {404}),
    "a path with more": (lambda head: head.replace(b"/graphql", b"/graphqls"), {404}),
    "a path with less": (lambda head: head.replace(b"/graphql", b"/graph"), {404}),
    "a path with a mark in percents": (lambda head: head.replace(b"/graphql", b"/graphql%3Fx"), {404}),
    "no path": (lambda head: head.replace(b"/graphql", b"*"), {400, 404}),
    "a path without a slash": (lambda head: head.replace(b"/graphql", b"graphql"), {400}),
    "a path that is no ascii": (lambda head: head.replace(b"/graphql", b"/graphql\xff"), {400, 404}),
    "another host": (lambda head: head.replace(b"127.0.0.1", b"127.0.0.1.example.org"), {403}),
    "an empty host": (lambda head: head.replace(b"127.0.0.1", b""), {400, 403}),
    "another content type": (lambda head: head.replace(b"json", b"jsom"), {415}),
    "no content type": (lambda head: head.replace(b"Content-Type: application/json\r\n", b""), {415}),
}
HOSTS = {
    "no host": b"",
    "two hosts": b"Host: 127.0.0.1\r\nHost: 127.0.0.1\r\n",
    "another host before": b"Host: example.org\r\nHost: 127.0.0.1\r\n",
    "another host behind": b"Host: 127.0.0.1\r\nHost: example.org\r\n",
}


@pytest.mark.parametrize("name", ODD_HEADS)
def test_an_odd_head_after_the_ordinary_one_is_taken_for_what_it_is(process: Process, name: str) -> None:
    change, statuses = ODD_HEADS[name]
    odd = change(HEAD)
    assert odd != HEAD
    for cut in (False, True):
        with Connection(process.port) as connection:
            for number in range(3):
                assert found(connection.ask(ask(number)), number)
            pieces = (odd + body(4),) if not cut else (odd[:20], odd[20:] + body(4))
            answer = connection.ask(*pieces)
            assert answer.status in statuses, answer
            assert answer.status != 200 or found(answer, 4)
            # Either the framing is in order and the connection goes on, or it ends here.
            try:
                assert found(connection.ask(ask(5)), 5)
            except (OSError, Closed):
                assert answer.header("connection") == "close"


@pytest.mark.parametrize("name", HOSTS)
def test_a_request_names_one_host(connection: Connection, name: str) -> None:
    assert found(connection.ask(ask(1)), 1)
    answer = connection.ask(HEAD.replace(b"Host: 127.0.0.1\r\n", HOSTS[name]) + body(2))
    assert answer.status == 400
    assert answer.codes() == ["BAD_USER_INPUT"]


# Every head that differs in a byte


class Reference:
    """The same application on the same database, under uvicorn's own protocol."""

    def __init__(self, place: Place) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        app = create_app(Settings(database_url=place.url))
        self._server = uvicorn.Server(uvicorn.Config(app, http="httptools", ws="none", log_config=None))
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],), daemon=True)
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not self._server.started:
            assert self._thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)


@pytest.fixture(scope="module")
def reference(process: Process) -> Iterator[int]:
    """The port of a server that remembers nothing of a head."""
    running = Reference(process.place)
    yield running.port
    running.close()


def after_warming(port: int, data: bytes) -> tuple[int, bytes]:
    """Status and body of the first answer to bytes that come after three ordinary requests; (0, b"") for none."""
    with Connection(port) as connection:
        for number in range(3):
            assert found(connection.ask(ask(number)), number)
        try:
            connection.send(data)
            connection.socket.settimeout(0.05)
            try:
                answer = connection.answer()
            except TimeoutError:
                # It waits for more: a body, or the end of the head.
                connection.socket.settimeout(10)
                connection.send(ask(5, {"Connection": "close"}) * 60)
                answer = connection.answer()
        except (OSError, Closed):
            return 0, b""
        return answer.status, answer.body if answer.status == 200 else b""


def neighbours(data: bytes, position: int) -> Iterator[bytes]:
    """Variants of the bytes that differ at one position."""
    before, byte, after = data[:position], data[position : position + 1], data[position + 1 :]
    yield before + after
    yield before + byte + byte + after
    for other in {byte.swapcase(), bytes([byte[0] ^ 1]), b" ", b"\r", b"\n", b"\0", b":", b"0", b"z", b"\xe9"} - {byte}:
        yield before + other + after


def test_a_head_that_differs_in_a_byte_is_answered_as_if_no_other_had_come(process: Process, reference: int) -> None:
    for position in range(len(HEAD)):
        for head in neighbours(HEAD, position):
            assert after_warming(process.port, head + body(4)) == after_warming(reference, head + body(4)), head


# How long a connection lives


@pytest.mark.parametrize("value", ["close", "Close", "CLOSE", "close, x", "x, close", "close,", " close "])
def test_a_connection_ends_with_the_request_that_says_so(connection: Connection, value: str) -> None:
    for _ in range(3):
        assert found(connection.ask(ask(1)), 1)
    last = ask(2, {"Connection": value})
    answer = connection.ask(last + mutation("smuggled"))
    assert found(answer, 2)
    assert answer.header("connection") == "close"
    assert connection.is_closed()


def test_a_connection_that_is_to_be_kept_is_kept(connection: Connection) -> None:
    for value in ("keep-alive", "Keep-Alive", "x", ""):
        for number in (1, 2):
            answer = connection.ask(ask(number, {"Connection": value}))
            assert found(answer, number)
            assert answer.header("connection") != "close"


@pytest.mark.parametrize("kept", [None, "close", "keep-alive"])
def test_http_1_0_is_answered_and_closed_unless_both_sides_keep_it(process: Process, kept: str | None) -> None:
    headers = {"Connection": kept} if kept else {}
    for warm in (0, 3):
        with Connection(process.port) as connection:
            for _ in range(warm):
                assert found(connection.ask(ask(1)), 1)
            answer = connection.ask(ask(2, headers, version="1.0"))
            assert found(answer, 2)
            assert answer.header("transfer-encoding") is None
            if kept == "keep-alive" and answer.header("connection") == "keep-alive":
                assert found(connection.ask(ask(3)), 3)
            else:
                assert connection.is_closed()


def test_an_idle_connection_is_closed_and_one_with_a_request_under_way_is_not(process: Process) -> None:
    """uvicorn's five seconds count from an answer to the next byte, whatever that byte belongs to."""
    whole = ask(1)
    cuts = (1, 20, len(HEAD) - 1, len(HEAD), len(whole) - 1)
    with ExitStack() as opened:
        idle = opened.enter_context(Connection(process.port))
        busy = [opened.enter_context(Connection(process.port)) for _ in cuts]
        for connection in (idle, *busy):
            assert found(connection.ask(ask(2), ask(3)), 2)
            assert found(connection.answer(), 3)
        time.sleep(3)
        for connection, cut in zip(busy, cuts, strict=True):
            connection.send(whole[:cut])
        time.sleep(3)
        for connection, cut in zip(busy, cuts, strict=True):
            assert found(connection.ask(whole[cut:]), 1), cut
        assert idle.is_closed()


def test_a_connection_in_use_is_kept_whatever_it_was_used_for_first(process: Process) -> None:
    with ExitStack() as opened:
        connections = [opened.enter_context(Connection(process.port)) for _ in range(3)]
        for connection, first in zip(
            connections, (request(method="GET", target="/health"), request(b"{"), ask(1)), strict=True
        ):
            connection.ask(first)
        for _ in range(12):
            time.sleep(0.5)
            for connection in connections:
                assert found(connection.ask(ask(1)), 1)


def test_an_answer_is_dated_when_it_is_made(process: Process) -> None:
    for pause in (0, 2.5):
        time.sleep(pause)
        with socket.create_connection(("127.0.0.1", process.port), timeout=10) as connection:
            connection.sendall(ask(1, {"Connection": "close"}))
            head = b"".join(iter(lambda: connection.recv(4096), b"")).partition(b"\r\n\r\n")[0].decode()
        (date,) = (line[6:] for line in head.splitlines() if line.lower().startswith("date: "))
        assert abs((datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds()) < 2.5


# 100-continue


def test_a_client_that_waits_to_continue_is_told_to(connection: Connection) -> None:
    for number in (1, 2):
        head = ask(number, {"Expect": "100-continue"}).removesuffix(body(number))
        assert connection.ask(head).status == 100
        assert found(connection.ask(body(number)), number)
        assert found(connection.ask(ask(3)), 3)


def test_a_client_need_not_wait_to_continue(connection: Connection) -> None:
    whole = ask(1, {"Expect": "100-continue"})
    for cut in (1, 30, len(whole) - len(body(1)), len(whole) - 5, len(whole)):
        answer = connection.ask(whole[:cut], whole[cut:])
        assert found(connection.answer() if answer.status == 100 else answer, 1)
        assert found(connection.ask(ask(2)), 2)


def test_a_client_that_waits_is_told_what_is_wrong_before_it_sends_a_body(process: Process) -> None:
    for headers, status in (({"Content-Type": "text/plain"}, 415), ({"Host": "example.org"}, 403)):
        with Connection(process.port) as connection:
            head = ask(1, {"Expect": "100-continue", **headers}).removesuffix(body(1))
            answer = connection.ask(head)
            assert answer.status == status
            # The body that was announced is no request, whether it comes or not.
            if answer.header("connection") != "close":
                assert found(connection.ask(body(1), ask(2)), 2)


def test_another_expectation_is_refused_or_ignored(connection: Connection) -> None:
    answer = connection.ask(ask(1, {"Expect": "a-miracle"}))
    assert answer.status == 417 or found(answer, 1)


# Other protocols


H2C = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQCAAAAAAIAAAAA"}


@pytest.mark.parametrize("headers", [H2C, {"Connection": "upgrade", "Upgrade": "TLS/1.0"}])
def test_an_offer_of_another_protocol_is_passed_over(process: Process, headers: dict[str, str]) -> None:
    """Java's own HTTP client makes one with its first request."""
    with Connection(process.port, patience=2) as connection:
        assert found(connection.ask(ask(1)), 1)
        assert found(connection.ask(ask(2, headers)), 2)
        assert found(connection.ask(ask(3)), 3)
        whole = ask(4, headers)
        assert found(connection.ask(whole[:40], whole[40:-3], whole[-3:] + ask(5)), 4)
        assert found(connection.answer(), 5)


def test_an_offer_without_a_body_does_no_harm(process: Process) -> None:
    with Connection(process.port) as connection:
        answer = connection.ask(request(headers=H2C, method="GET", target="/health"), method="GET")
        assert answer.status == 200


# Floods


def memory(process: Process) -> int:
    """Bytes that the process holds."""
    status = Path(f"/proc/{process.process.pid}/status")
    if not status.is_file():
        pytest.skip("The memory of a process is read from /proc.")
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def test_heads_that_never_come_again_are_not_kept(process: Process) -> None:
    before = memory(process)
    with Connection(process.port, patience=60) as connection:
        for batch in range(100):
            heads = [ask(1, {"X-Number": f"{batch}-{number}", "X-Long": "x" * 8000}) for number in range(100)]
            sender = threading.Thread(target=connection.send, args=(b"".join(heads),), daemon=True)
            sender.start()
            for _ in heads:
                assert found(connection.answer(), 1)
            sender.join(60)
    # What was sent: 80 MB.
    assert memory(process) - before < 24 * MEBIBYTE


FLOODS = {
    "headers": (HEAD.removesuffix(b"\r\n"), b"X-Header: of some length\r\n"),
    "a header": (HEAD.removesuffix(b"\r\n") + b"X: ", b"y" * 25),
    "a name": (HEAD.removesuffix(b"\r\n"), b"y" * 25),
    "an address": (b"POST /graphql?", b"y" * 25),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_head_without_an_end_is_refused_soon(process: Process, name: str) -> None:
    start, more = FLOODS[name]
    before = memory(process)
    sent = len(start)
    with Connection(process.port) as connection:
        try:
            connection.send(start)
            while sent < 40 * MEBIBYTE:
                connection.send(more * 4000)
                sent += len(more) * 4000
                time.sleep(0.001)
        except OSError:
            pass
    assert sent < 4 * MEBIBYTE, "It was read on and on."
    assert memory(process) - before < 16 * MEBIBYTE


def test_a_head_over_the_limit_is_told_so(process: Process) -> None:
    for data in (ask(1, {"X": "y" * 70_000}), ask(1, {f"X-{number}": "y" * 50 for number in range(1500)})):
        with Connection(process.port) as connection:
            answer = connection.ask(data)
            assert answer.status == 431
            assert answer.codes() == ["BAD_USER_INPUT"]
            assert connection.is_closed()


def test_a_head_of_sixteen_kibibytes_is_taken(connection: Connection) -> None:
    """Cookies and tokens are long."""
    for number in (1, 2):
        assert found(connection.ask(ask(number, {"Cookie": "c" * 8000, "X-Token": "t" * 8000})), number)


@pytest.mark.parametrize("size", [1_000, 20_000, 200_000, 3_000_000])
def test_a_long_address_is_answered(connection: Connection, size: int) -> None:
    for path in ("/graphql?query=%7B__typename%7D&x=", "/", "/graphql/"):
        with Connection(connection.socket.getpeername()[1]) as another:
            try:
                answer = another.ask(request(method="GET", target=path + "x" * size), method="GET")
            except (OSError, Closed):
                continue
            assert answer.status in (200, 400, 404, 414, 431)


# Connections that break off


def reset(connection: Connection) -> None:
    """Closes it the hard way."""
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.socket.close()


@pytest.mark.parametrize("end", [lambda connection: connection.socket.close(), reset], ids=["closed", "reset"])
def test_a_connection_may_break_off_at_every_byte(process: Process, end: Callable[[Connection], None]) -> None:
    whole = request(graphql(UPSERT, id="smuggled"))
    in_chunks = request(headers={"Transfer-Encoding": "chunked"}) + chunked([graphql(UPSERT, id="smuggled")])
    for data in (whole, in_chunks):
        for position in range(len(data) - 1):
            for before in (b"", ask(1)) if position % 5 == 0 else (b"",):
                connection = Connection(process.port)
                connection.send(before + data[:position])
                end(connection)


def test_a_client_that_says_no_more_is_answered(process: Process) -> None:
    for pieces in ((ask(1),), (ask(1)[:30], ask(1)[30:]), (ask(2), ask(1)), (ask(2) + ask(2) + ask(1),)):
        with Connection(process.port) as connection:
            connection.send(*pieces)
            connection.finish()
            answers = [connection.answer() for _ in range(b"".join(pieces).count(b"POST"))]
            assert found(answers[-1], 1)
            assert connection.is_closed()


def test_a_connection_may_break_off_with_answers_under_way(process: Process) -> None:
    for count in (1, 2, 50):
        for half in (b"", ask(1)[:50]):
            for end in (lambda connection: connection.socket.close(), reset):
                connection = Connection(process.port)
                connection.send(ask(1) * count + half)
                end(connection)


def test_hundreds_of_connections_may_wait_in_the_middle_of_a_request(process: Process) -> None:
    with ExitStack() as opened:
        waiting = [opened.enter_context(Connection(process.port)) for _ in range(300)]
        for number, connection in enumerate(waiting):
            connection.send(ask(number % 10)[: number % len(ask(1))])
        with Connection(process.port) as another:
            started = time.monotonic()
            assert found(another.ask(ask(1)), 1)
            assert time.monotonic() - started < 5
        for number, connection in enumerate(waiting):
            assert found(connection.ask(ask(number % 10)[number % len(ask(1)) :]), number % 10)


def test_connections_at_once_are_each_given_their_own_answers(process: Process) -> None:
    def talk(start: int) -> None:
        with Connection(process.port, patience=30) as connection:
            for number in range(start, start + 100):
                assert found(
                    connection.ask(ask(number % 10, {"X-Of": str(start)} if number % 3 else None)), number % 10
                )

    with ThreadPoolExecutor(16) as threads:
        for talked in [threads.submit(talk, start) for start in range(16)]:
            talked.result()


def test_a_server_stops_although_connections_are_open(serve: Serve) -> None:
    server = serve()
    with ExitStack() as opened:
        idle, begun, in_head = (opened.enter_context(Connection(server.port)) for _ in range(3))
        for connection in (idle, in_head):
            assert connection.ask(ask(1)).status == 200
        for connection in (begun, in_head):
            connection.send(HEAD[:50])
        time.sleep(0.1)
        started = time.monotonic()
        os.kill(server.process.pid, signal.SIGTERM)
        assert server.process.wait(20) == 0
        assert time.monotonic() - started < 10
        assert idle.is_closed()
