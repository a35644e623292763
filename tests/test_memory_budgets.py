"""The memory that a server uses for its clients is bounded in bytes, and shared between credentials."""

import contextlib
import re
import resource
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallql.http.budgets import Budget, Busy
from recallql.http.connections import RESERVED, Connections
from recallql.http.throttle import TooMany
from recallql.settings import Settings
from tests.places import Fresh
from tests.servers import Api, Process, Serve, Start, free_port
from tests.wire import GRAPHQL, Answer, Connection, chunked, graphql, request

MEBIBYTE = 1024 * 1024
KEY = "0123456789abcdef-a-key-of-the-test"
SERVICE = {"Authorization": f"Bearer {KEY}"}
VIEWER = graphql("{ viewer { role } }")
ADD = """mutation ($messages: [MessageInput!]!) {
  addMessages(input: {sessionId: "long", messages: $messages}) { userErrors { code } }
}"""
READ = graphql('{ session(sessionId: "long") { messages(first: 15) { nodes { content } } } }')
TOO_LONG = graphql('{ session(sessionId: "long") { messages(first: 20) { nodes { content } } } }')


def fill(server: Api, headers: dict[str, str]) -> None:
    """Have `READ` answered by 15 MiB, and `TOO_LONG` by 20."""
    for _ in range(4):
        messages = [{"role": "USER", "content": "x" * MEBIBYTE} for _ in range(5)]
        answer = server.post({"query": ADD, "variables": {"messages": messages}}, headers)
        assert answer.json() == {"data": {"addMessages": {"userErrors": []}}}


def token(server: Api, user: str) -> dict[str, str]:
    mutation = f'mutation {{ issueUserToken(input: {{userId: "{user}"}}) {{ token }} }}'
    server.post({"query": f'mutation {{ upsertUser(input: {{userId: "{user}"}}) {{ created }} }}'}, SERVICE)
    issued = server.post({"query": mutation}, SERVICE).json()["data"]["issueUserToken"]["token"]
    return {"Authorization": f"Bearer {issued}"}


@pytest.fixture(scope="module")
def guarded(shared: Fresh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A process with the limits that it has without settings, and a key."""
    log = tmp_path_factory.mktemp("guarded") / "recallql.log"
    environment = {"RECALLQL_API_KEY": KEY, "RECALLQL_USER_PER_MINUTE": "0"}
    running = Process(shared(), free_port(), [], environment, log)
    running.wait_until_ready()
    fill(running, SERVICE)
    yield running
    running.close()


@pytest.fixture
def start(start: Start) -> Start:
    """Servers that need a key."""
    return partial(start, api_key=KEY)


def resident(process: Process) -> int:
    """Bytes that the process holds now."""
    status = Path(f"/proc/{process.process.pid}/status")
    if not status.is_file():
        pytest.skip("The memory of a process is read from /proc.")
    (line,) = re.findall(r"VmRSS:\s+(\d+) kB", status.read_text())
    return int(line) * 1024


def highest(process: Process, seconds: float) -> int:
    """Bytes that the process holds at most within this time."""
    most, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        most = max(most, resident(process))
        time.sleep(0.05)
    return most


def ask_once(server: Api, headers: dict[str, str], body: bytes = VIEWER) -> Answer:
    with Connection(server.port) as connection:
        return connection.ask(request(body, headers))


def reluctant(port: int) -> Connection:
    """A connection with little room for what it is sent."""
    connection = Connection.__new__(Connection)
    connection.socket = socket.socket()
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
    connection.socket.settimeout(10)
    connection.socket.connect(("127.0.0.1", port))
    connection._received = b""  # pyright: ignore[reportPrivateUsage]
    return connection


def try_to_send(connection: Connection, data: bytes) -> None:
    with contextlib.suppress(OSError):
        connection.socket.sendall(data)


# Bodies

LARGE = 8 * MEBIBYTE
FORMS = {"plain": {}, "odd": {"X-Odd": "\x80", "Expect": "100-continue"}, "chunks": {"Transfer-Encoding": "chunked"}}


def unfinished(headers: dict[str, str], size: int = LARGE) -> bytes:
    """A request whose last byte is missing."""
    body = b" " * size
    chunks = headers.get("Transfer-Encoding")
    return request(chunked([body[i : i + 65536] for i in range(0, size, 65536)]) if chunks else body, headers)[:-1]


@pytest.mark.once
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("credential", [{}, {"Authorization": "Bearer wrong"}])
def test_bodies_without_a_credential_are_not_kept(guarded: Process, form: str, credential: dict[str, str]) -> None:
    before = resident(guarded)
    data = unfinished(FORMS[form] | credential)
    with ExitStack() as opened, ThreadPoolExecutor(20) as threads:
        connections = [opened.enter_context(Connection(guarded.port)) for _ in range(20)]
        # The server reads slowly what it discards.
        sent = threads.map(lambda connection: try_to_send(connection, data), connections)
        assert list(sent) == [None] * 20
        assert {connection.answer().status for connection in connections} == {401}
        assert resident(guarded) - before < 24 * MEBIBYTE
        assert ask_once(guarded, SERVICE).status == 200


@pytest.mark.once
@pytest.mark.parametrize("form", FORMS)
def test_unfinished_bodies_of_one_credential_leave_room_for_others(guarded: Process, form: str) -> None:
    before = resident(guarded)
    ada, bo = token(guarded, "ada"), token(guarded, "bo")
    data = unfinished(FORMS[form] | ada)
    statuses: list[int] = []
    with ExitStack() as opened:
        for _ in range(12):
            connection = opened.enter_context(Connection(guarded.port, patience=0.3))
            try_to_send(connection, data)
            try:
                answer = connection.answer()
                while answer.status == 100:
                    answer = connection.answer()
            except TimeoutError:
                continue
            statuses.append(answer.status)
            assert answer.codes() == ["RATE_LIMITED"]
            assert int(answer.header("retry-after") or 0) >= 1
        assert set(statuses) == {429}
        assert len(statuses) >= 7, "Half of the budget has room for four of them."
        assert resident(guarded) - before < 100 * MEBIBYTE
        for other in (bo, SERVICE):
            assert ask_once(guarded, other | FORMS["plain"], VIEWER.ljust(LARGE)).status == 200
        assert ask_once(guarded, ada).status == 200, "What comes in one piece needs no room."


@pytest.mark.once
def test_when_others_fill_the_budget_it_is_the_server_that_is_busy(start: Start) -> None:
    server = start(max_receiving_bytes=16 * MEBIBYTE)
    users = [token(server, f"user-{number}") for number in range(5)]
    with ExitStack() as opened:
        for user, size in zip(users, (8, 4, 2, 1), strict=False):
            connection = opened.enter_context(Connection(server.port))
            connection.send(request(b" " * (size * MEBIBYTE), user)[:1000])
        time.sleep(0.2)
        with Connection(server.port) as connection:
            answer = connection.ask(request(b" " * 6 * MEBIBYTE, users[-1])[:1000])
            assert answer.status == 503
            assert answer.codes() == ["UNAVAILABLE"]
            assert answer.header("retry-after") == "1"
        with Connection(server.port) as connection:
            whole = request(VIEWER, users[-1])
            connection.send(whole[:-1])
            time.sleep(0.05)
            assert connection.ask(whole[-1:]).status == 200, "There is always some room for who has nothing."
    assert ask_once(server, users[-1], VIEWER.ljust(7 * MEBIBYTE)).status == 200


@pytest.mark.once
def test_a_refused_body_is_read_only_for_a_while(start: Start) -> None:
    server = start()
    sent = 0
    with Connection(server.port) as connection:
        assert connection.ask(request(headers={"Content-Length": str(10**12)} | SERVICE)).status == 413
        with contextlib.suppress(OSError):
            while sent < 64 * MEBIBYTE:
                connection.send(b" " * MEBIBYTE)
                sent += MEBIBYTE
    assert 14 * MEBIBYTE < sent < 40 * MEBIBYTE


@pytest.mark.once
@pytest.mark.parametrize("kind", ["names", "a value", "a name"])
def test_trailers_are_bounded(guarded: Process, kind: str) -> None:
    before = resident(guarded)
    start = request(headers={"Transfer-Encoding": "chunked"} | SERVICE) + chunked([VIEWER])[:-2]
    more = {"names": b"X: y\r\n" * 10_000, "a value": b"y" * 60_000, "a name": b"n" * 60_000}[kind]
    sent = 0
    with Connection(guarded.port) as connection:
        connection.send(start + (b"X: " if kind == "a value" else b""))
        try:
            while sent < 40 * MEBIBYTE:
                connection.send(more)
                sent += len(more)
        except OSError:
            pass
    assert sent < 8 * MEBIBYTE
    assert resident(guarded) - before < 16 * MEBIBYTE


# Requests ahead of their answers


@pytest.mark.once
@pytest.mark.parametrize("target", ["/health", "/graphql"])
def test_requests_sent_ahead_are_not_kept_in_memory(guarded: Process, target: str) -> None:
    before = resident(guarded)
    flood = request(method="GET", target=target) * 40_000
    with ExitStack() as opened:
        for _ in range(40):
            connection = opened.enter_context(reluctant(guarded.port))
            connection.socket.setblocking(False)
            try_to_send(connection, flood)
        assert highest(guarded, 0.5) - before < 64 * MEBIBYTE
        assert ask_once(guarded, SERVICE).status == 200


@pytest.mark.once
def test_a_thousand_idle_connections_cost_little(guarded: Process) -> None:
    before = resident(guarded)
    with ExitStack() as opened:
        for number in range(1000):
            connection = opened.enter_context(Connection(guarded.port))
            if number % 2:
                connection.send(b"POST /graphql HTTP/1.1\r\nHost: ")
        assert ask_once(guarded, SERVICE).status == 200
        assert resident(guarded) - before < 48 * MEBIBYTE


@pytest.mark.once
def test_heads_with_many_headers_cost_little(guarded: Process) -> None:
    before = resident(guarded)
    head = b"POST /graphql HTTP/1.1\r\n" + b"a:b\r\n" * 12_000
    with ExitStack() as opened:
        for _ in range(100):
            connection = opened.enter_context(Connection(guarded.port))
            try_to_send(connection, head)
            assert connection.answer().status == 431
        assert resident(guarded) - before < 24 * MEBIBYTE


@pytest.mark.once
def test_unfinished_heads_of_many_connections_are_bounded_together(guarded: Process) -> None:
    before = resident(guarded)
    head = b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 60_000
    whole = request(VIEWER, SERVICE)
    with ExitStack() as opened:
        connections = [opened.enter_context(Connection(guarded.port)) for _ in range(700)]
        for connection in connections:
            try_to_send(connection, head)
        assert connections[-1].answer().codes() == ["UNAVAILABLE"]
        assert resident(guarded) - before < 96 * MEBIBYTE
        with Connection(guarded.port) as connection:
            connection.send(whole[:60])
            time.sleep(0.05)
            assert connection.ask(whole[60:]).status == 200, "An ordinary head needs no room."


@pytest.mark.once
def test_a_process_has_as_many_files_open_as_connections_need(serve: Serve) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        process = serve()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with ExitStack() as opened:
        for _ in range(400):
            opened.enter_context(Connection(process.port))
        with Connection(process.port) as connection:
            assert connection.ask(request(VIEWER)).status == 200


def test_fewer_connections_are_taken_where_fewer_files_may_be_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recallql.http.connections.descriptors", lambda: RESERVED + 2)
    connections = Connections(Settings(head_timeout=3600))
    first, second, third = (Mock(can_give_way=Mock(return_value=False)) for _ in range(3))
    assert connections.opened(first)
    assert connections.opened(second)
    assert not connections.opened(third)
    connections.closed(third)
    first.can_give_way.return_value = True
    assert connections.opened(third)
    first.give_way.assert_called_once()


# Answers


def test_a_client_that_does_not_read_its_answers_gets_no_more_and_others_do(guarded: Process) -> None:
    before = resident(guarded)
    statuses: list[int] = []
    bo = token(guarded, "bo")
    with ExitStack() as opened:
        waiting = [opened.enter_context(reluctant(guarded.port)) for _ in range(20)]
        for connection in waiting:
            connection.send(request(READ, SERVICE | {"Connection": "close"}))
        most = highest(guarded, 3)
        assert most - before < 300 * MEBIBYTE
        assert ask_once(guarded, bo).status == 200
        for connection in waiting:
            answer = connection.answer()
            statuses.append(answer.status)
            if answer.status == 429:
                assert answer.codes() == ["RATE_LIMITED"]
                assert answer.header("retry-after")
    assert 200 in statuses
    assert 429 in statuses
    assert ask_once(guarded, SERVICE, READ).status == 200


@pytest.mark.parametrize("accept", ["application/json", GRAPHQL])
@pytest.mark.parametrize("odd", [{}, {"Expect": "100-continue"}])
def test_an_answer_over_the_limit_is_refused_as_a_whole(guarded: Process, accept: str, odd: dict[str, str]) -> None:
    with Connection(guarded.port) as connection:
        answer = connection.ask(request(TOO_LONG, SERVICE | odd | {"Accept": accept}))
        while answer.status == 100:
            answer = connection.answer()
        assert answer.status < 300 if accept == "application/json" else answer.status in (294, 413)
        assert answer.codes() == ["PAYLOAD_TOO_LARGE"]
        assert answer.json().get("data") is None or answer.json()["data"] == {"session": None}
        assert len(answer.body) < 1000
        assert connection.ask(request(VIEWER, SERVICE)).status == 200


def test_the_largest_answer_is_a_setting(start: Start) -> None:
    server = start(max_answer_bytes=64 * 1024)
    aliases = " ".join(f"a{number}: __typename" for number in range(400))
    small, large = (graphql("{" + f" {aliases} " + more + "}") for more in ("", "viewer { role }"))
    for body in (small, large):
        assert ask_once(server, SERVICE, body).status == 200
    add = graphql(ADD, messages=[{"role": "USER", "content": "x" * 70_000}])
    assert ask_once(server, SERVICE, add).json() == {"data": {"addMessages": {"userErrors": []}}}
    answer = ask_once(server, SERVICE, READ)
    assert answer.codes() == ["PAYLOAD_TOO_LARGE"]


def test_metadata_counts_each_time_that_it_stands_in_an_answer(start: Start) -> None:
    server = start(max_answer_bytes=8 * MEBIBYTE)
    add = """mutation ($m: [MessageInput!]!) {
      addMessages(input: {sessionId: "long", messages: $m}) { userErrors { code } } }"""
    messages = [{"role": "USER", "content": "x", "metadata": {"text": "y" * 60_000}} for _ in range(10)]
    assert ask_once(server, SERVICE, graphql(add, m=messages)).json() == {"data": {"addMessages": {"userErrors": []}}}
    for times, refused in ((1, False), (200, True)):
        aliases = " ".join(f"m{number}: metadata" for number in range(times))
        query = graphql(f'{{ session(sessionId: "long") {{ messages(first: 10) {{ nodes {{ {aliases} }} }} }} }}')
        answer = ask_once(server, SERVICE, query)
        assert answer.status == 200
        if refused:
            assert answer.codes() == ["PAYLOAD_TOO_LARGE"]
        else:
            nodes = answer.json()["data"]["session"]["messages"]["nodes"]
            assert nodes == [{"m0": {"text": "y" * 60_000}}] * 10


# Connections


@pytest.mark.once
def test_a_new_connection_takes_the_place_of_the_oldest_without_a_credential(start: Start) -> None:
    server = start(max_connections=12)
    with ExitStack() as opened:
        known = opened.enter_context(Connection(server.port))
        assert known.ask(request(VIEWER, SERVICE)).status == 200
        strangers = [opened.enter_context(Connection(server.port)) for _ in range(30)]
        for stranger in strangers[-5:]:
            stranger.send(b"POST /graphql HTTP/1.1\r\n")
        for _ in range(3):
            assert ask_once(server, SERVICE).status == 200
            assert known.ask(request(VIEWER, SERVICE)).status == 200
        assert strangers[0].is_closed()


@pytest.mark.once
def test_one_users_connections_make_room_for_others(start: Start) -> None:
    server = start(max_connections=12, user_per_minute=0)
    ada, bo = token(server, "ada"), token(server, "bo")
    with ExitStack() as opened:
        first = opened.enter_context(Connection(server.port))
        assert first.ask(request(VIEWER, bo)).status == 200
        for _ in range(30):
            assert opened.enter_context(Connection(server.port)).ask(request(VIEWER, ada)).status == 200
        assert first.ask(request(VIEWER, bo)).status == 200, "The least has kept its one."


@pytest.mark.once
def test_without_room_a_connection_is_told_so(start: Start) -> None:
    server = start(max_connections=8, user_in_flight=0)
    ada = token(server, "ada")
    half = request(VIEWER, ada)[:-1]
    server.client.close()
    with ExitStack() as opened:
        busy = [opened.enter_context(Connection(server.port)) for _ in range(8)]
        for connection in busy:
            connection.send(half)
        # On PostgreSQL they are admitted after a moment; until then one of them would give way.
        time.sleep(1.5)
        with Connection(server.port) as connection:
            answer = connection.ask(b"")
            assert answer.status == 503
            assert answer.codes() == ["UNAVAILABLE"]
            assert connection.is_closed()
        for connection in busy:
            assert connection.ask(b"}").status == 200


def test_connections_that_end_before_their_answer_are_forgotten(start: Start) -> None:
    server = start()
    say = graphql('mutation { addMessages(input: {sessionId: "s", messages: []}) { deduplicated } }')
    upsert = graphql('mutation { upsertUser(input: {userId: "ada"}) { created } }')
    with server.place.blocking_writes():
        for odd in ({}, {"Expect": "100-continue"}):
            for body in (say, upsert):
                with Connection(server.port) as connection:
                    connection.send(request(body, SERVICE | odd))
                    time.sleep(0.05)
                    # Closed the hard way, so that the server notices at once.
                    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        time.sleep(0.1)
    server.client.close()
    connections = server.app.endpoint.connections
    end = time.monotonic() + 5
    while time.monotonic() < end and (connections._owners or connections._owned or connections._due):  # pyright: ignore[reportPrivateUsage]
        time.sleep(0.02)
    time.sleep(0.2)
    assert (connections._owners, connections._owned, connections._due) == ({}, {}, {})  # pyright: ignore[reportPrivateUsage]
    budgets = server.app.endpoint.admissions
    assert budgets.receiving.used == budgets.unsent.used == 0


# The arithmetic


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 100), st.booleans()), max_size=200))
def test_a_budget_is_never_exceeded_and_always_leaves_something_for_another(
    steps: list[tuple[str, int, bool]],
) -> None:
    budget = Budget(1000, "bytes")
    held: dict[str, list[int]] = {}
    for name, size, takes in steps:
        mine = held.setdefault(name, [])
        if takes:
            try:
                budget.take(name, size)
                mine.append(size)
            except Busy:
                assert not mine
            except TooMany:
                assert mine
        elif mine:
            budget.give_back(name, mine.pop())
        used = sum(map(sum, held.values()))
        assert budget.used == used <= 1000
        assert 1000 - used >= 1000 / 2 ** len(held), "A newcomer finds room for a little."
    for name, sizes in held.items():
        for size in sizes:
            budget.give_back(name, size)
    assert budget.used == 0
