"""Finds the end of each request, in bytes sent to the real process.

Whatever is kept about requests between them must not show: neither in the next answer, nor in the memory.
"""

import itertools
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.servers import Process
from tests.wire import (
    GRAPHQL,
    HEAD,
    KINDS,
    QUERY,
    USERS,
    Closed,
    Connection,
    ask,
    body,
    chunked,
    found,
    graphql,
    mutation,
    request,
)

MEBIBYTE = 1024 * 1024
LARGEST_BODY = 8 * MEBIBYTE

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("unharmed")]


# One after another


def test_two_requests_alternate_on_one_connection(connection: Connection) -> None:
    for number in range(200):
        headers = {"Accept": GRAPHQL} if number % 2 else None
        answer = connection.ask(ask(number % 10, headers))
        assert found(answer, number % 10)
        assert (answer.header("content-type") or "").startswith(GRAPHQL) == bool(number % 2)


def test_one_head_comes_with_one_body_after_another(connection: Connection) -> None:
    for number in itertools.chain(range(USERS), reversed(range(USERS)), [3, 3, 3, 4, 3]):
        assert found(connection.ask(HEAD + body(number)), number)


def test_requests_of_every_kind_alternate(process: Process, connection: Connection) -> None:
    kinds = list(KINDS.values())
    for first, second in itertools.product(kinds, repeat=2):
        for kind in (first, second, first):
            assert kind.ask(connection) == kind.alone(process.port)


def test_what_one_connection_asks_does_not_answer_another(process: Process) -> None:
    with Connection(process.port) as one, Connection(process.port) as other:
        for position in range(1, len(HEAD + body(1))):
            one.send((HEAD + body(1))[:position])
            other.send((HEAD + body(2))[:position])
            one.send((HEAD + body(1))[position:])
            assert found(one.answer(), 1)
            other.send((HEAD + body(2))[position:])
            assert found(other.answer(), 2)


def test_many_connections_in_step_are_each_given_their_own_answer(process: Process) -> None:
    connections = [Connection(process.port) for _ in range(40)]
    try:
        for _ in range(3):
            wholes = [ask(number % USERS) for number in range(len(connections))]
            for start in range(0, len(wholes[0]), 23):
                for connection, whole in zip(connections, wholes, strict=True):
                    connection.send(whole[start : start + 23])
            for number, connection in enumerate(connections):
                assert found(connection.answer(), number % USERS)
    finally:
        for connection in connections:
            connection.socket.close()


ADD = """mutation ($messages: [MessageInput!]!) {
  addMessages(input: {sessionId: "slow", messages: $messages}) { messages { sequence } userErrors { code } }
}"""


def test_a_quick_request_is_answered_after_the_slow_one_before_it(connection: Connection) -> None:
    messages = [{"role": "USER", "content": "x" * 10_000} for _ in range(100)]
    slow = request(graphql(ADD, messages=messages))
    for pieces in ((slow, ask(1), ask(2)), (slow + ask(1), ask(2)), (slow, ask(1)[:90], ask(1)[90:] + ask(2))):
        for _ in range(3):
            connection.send(*pieces)
            payload = connection.answer().json()["data"]["addMessages"]
            assert payload["userErrors"] == []
            assert len(payload["messages"]) == 100
            assert found(connection.answer(), 1)
            assert found(connection.answer(), 2)


def test_a_request_sees_what_the_one_before_it_has_written(connection: Connection) -> None:
    rename = 'mutation ($name: String!) { upsertUser(input: {userId: "renamed", name: $name}) { created } }'
    read = request(graphql(QUERY, id="renamed"))
    for number in range(50):
        connection.send(request(graphql(rename, name=f"name {number}")) + read)
        assert "errors" not in connection.answer().json()
        assert connection.answer().json() == {"data": {"user": {"name": f"name {number}"}}}


# Cut anywhere


def test_a_request_may_be_cut_at_every_byte(connection: Connection) -> None:
    for warm in (False, True):
        for position in range(1, len(ask(1))):
            if warm:
                assert found(connection.ask(ask(2)), 2)
            assert found(connection.ask(ask(1)[:position], ask(1)[position:]), 1), position


def test_a_request_may_come_byte_by_byte(connection: Connection) -> None:
    for number in (1, 2, 1):
        assert found(connection.ask(*(bytes([byte]) for byte in ask(number))), number)


def test_the_second_of_two_requests_may_be_cut_at_every_byte(connection: Connection) -> None:
    for position in range(len(ask(2)) + 1):
        connection.send(ask(1) + ask(2)[:position], ask(2)[position:] + ask(3))
        for number in (1, 2, 3):
            assert found(connection.answer(), number), position


def test_a_body_may_follow_its_head_after_a_while(connection: Connection) -> None:
    for number in (1, 2):
        connection.send(HEAD)
        time.sleep(0.05)
        assert found(connection.ask(body(number)), number)
        connection.send(HEAD + body(number)[:7])
        time.sleep(0.05)
        assert found(connection.ask(body(number)[7:]), number)


@pytest.mark.parametrize("size", [64 * 1024, MEBIBYTE, LARGEST_BODY])
def test_a_large_body_comes_in_many_segments(connection: Connection, size: int) -> None:
    for number in (1, 2):
        whole = request(body(number).ljust(size))
        assert found(connection.ask(whole), number)
        assert found(connection.ask(whole[:500], whole[500:60_000], whole[60_000:]), number)


def test_many_requests_come_in_one_segment(connection: Connection) -> None:
    numbers = [number * 7 % USERS for number in range(100)]
    connection.send(b"".join(map(ask, numbers)))
    for number in numbers:
        assert found(connection.answer(), number)


def test_a_client_may_read_late(process: Process) -> None:
    numbers = [number * 7 % USERS for number in range(3000)]
    with Connection(process.port, patience=60) as connection:
        sender = threading.Thread(target=connection.send, args=(b"".join(map(ask, numbers)),), daemon=True)
        sender.start()
        time.sleep(0.5)
        for number in numbers:
            assert found(connection.answer(), number)
        sender.join(10)
        assert not sender.is_alive()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), names=st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=12))
def test_requests_cut_anywhere_are_answered_in_order_as_each_is_alone(
    process: Process, data: st.DataObject, names: list[str]
) -> None:
    kinds = [KINDS[name] for name in names]
    expected = [kind.alone(process.port) for kind in kinds]
    stream = b"".join(kind.data for kind in kinds)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=8), label="cuts"))
    with Connection(process.port) as connection:
        connection.send(*(stream[start:end] for start, end in itertools.pairwise([0, *cuts, len(stream)])))
        for kind, answer in zip(kinds, expected, strict=True):
            assert kind.read(connection) == answer


# The length of a body


def test_a_body_ends_where_its_head_says(connection: Connection) -> None:
    """The bytes after a body are the next request, even after the same head with another body."""
    for _ in range(3):
        assert found(connection.ask(ask(1)), 1)
    connection.send(HEAD + body(2) + b"\r\n" + HEAD + body(3))
    assert found(connection.answer(), 2)
    assert found(connection.answer(), 3)


@pytest.mark.parametrize("more", [b" ", b"}", b"\0", b"GET", body(2)])
def test_what_follows_a_body_and_is_no_request_ends_the_connection(connection: Connection, more: bytes) -> None:
    for _ in range(3):
        assert found(connection.ask(ask(1)), 1)
    assert found(connection.ask(HEAD + body(2)), 2)
    assert connection.ask(more + b"\r\n\r\n").status == 400
    assert connection.is_closed()


@pytest.mark.parametrize("more", [b"}", b"XXX", ask(1).replace(b"Host:", b"Host :"), ask(1).replace(b"POST", b"POTS")])
def test_what_is_no_request_is_refused_after_the_requests_before_it_are_answered(
    connection: Connection, more: bytes
) -> None:
    connection.send(ask(1) + ask(2) + more + b"\r\n\r\n")
    assert found(connection.answer(), 1)
    assert found(connection.answer(), 2)
    assert connection.answer().status == 400
    assert connection.is_closed()


def test_a_body_that_is_too_short_is_waited_for(connection: Connection) -> None:
    for _ in range(3):
        assert found(connection.ask(ask(1)), 1)
    connection.send(HEAD + body(2)[:-1])
    connection.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        connection.answer()
    connection.socket.settimeout(10)
    assert found(connection.ask(b"}" + ask(3)), 2)
    assert found(connection.answer(), 3)


@pytest.mark.parametrize("difference", [-1, 1, 10, -10])
def test_another_length_with_the_same_body_is_taken_at_its_word(connection: Connection, difference: int) -> None:
    for _ in range(3):
        assert found(connection.ask(ask(1)), 1)
    length = len(body(1)) + difference
    claimed = request(body(1)[:length].ljust(length), {"Content-Length": str(length)})
    answer = connection.ask(claimed)
    assert (found(answer, 1)) if difference > 0 else answer.codes() == ["BAD_USER_INPUT"]
    assert found(connection.ask(ask(2)), 2)


def test_a_body_may_hold_what_looks_like_a_request(connection: Connection) -> None:
    inner = mutation("smuggled").decode()
    for text in (inner, "\r\n\r\n" + inner, HEAD.decode() * 3, "\r\n\r\n"):
        raw = graphql("query ($id: String!) { user(userId: $id) { name } }", id=text)
        unescaped = b"\r\n\r\n" + raw + b"\r\n\r\n"
        for content in (raw, unescaped):
            answer = connection.ask(request(content))
            assert answer.json() == {"data": {"user": None}}
            assert found(connection.ask(ask(1)), 1)


LENGTHS = {
    "twice the same": "{n}\r\nContent-Length: {n}",
    "twice another": "{n}\r\nContent-Length: 1",
    "twice another before": "1\r\nContent-Length: {n}",
    "a list": "{n}, {n}",
    "a sign": "+{n}",
    "negative": "-{n}",
    "hexadecimal": "0x{n:x}",
    "a fraction": "{n}.0",
    "with letters": "{n}a",
    "two words": "{n} 0",
    "empty": "",
    "underscores": "0_{n}",
    "beyond 64 bits": "{wrapped}",
    "long": "9" * 1000,
    "letters": "many",
    "quoted": '"{n}"',
}


@pytest.mark.parametrize("name", LENGTHS)
def test_a_length_that_is_no_number_is_refused(connection: Connection, name: str) -> None:
    for warm in range(3):
        assert found(connection.ask(ask(warm)), warm)
    length = LENGTHS[name].format(n=len(body(1)), wrapped=2**64 + len(body(1)))
    connection.send(request(body(1), {"Content-Length": length}), mutation("smuggled"))
    assert connection.answer().status == 400
    assert connection.is_closed()


@pytest.mark.parametrize("length", ["{n} ", "\t{n}", "   {n}\t ", "0{n}", "000000{n}"])
def test_a_length_may_have_zeros_and_spaces_around_it(connection: Connection, length: str) -> None:
    for number in (1, 2):
        written = request(body(number), {"Content-Length": length.format(n=len(body(number)))})
        assert found(connection.ask(written), number)
        assert found(connection.ask(ask(3)), 3)


@pytest.mark.parametrize("claimed", [LARGEST_BODY + 1, 10**12, 2**63 - 1])
def test_a_body_too_large_is_refused_and_no_part_of_it_is_a_request(process: Process, claimed: int) -> None:
    with Connection(process.port, patience=30) as connection:
        start = request(b" " * LARGEST_BODY, {"Content-Length": str(claimed)})
        # It may also close the connection before all of it is sent.
        try:
            connection.send(start, b" " + mutation("smuggled") if claimed > LARGEST_BODY + 1 else b" ")
            answer = connection.answer()
        except (OSError, Closed):
            return
        assert answer.status == 413
        assert answer.codes() == ["PAYLOAD_TOO_LARGE"]
        if claimed == LARGEST_BODY + 1 and answer.header("connection") != "close":
            assert found(connection.ask(ask(1)), 1)


@pytest.mark.parametrize("headers", [{}, {"Expect": "100-continue"}])
def test_a_stated_length_over_the_limit_is_refused_before_the_body_is_sent(
    process: Process, headers: dict[str, str]
) -> None:
    with Connection(process.port, patience=2) as connection:
        answer = connection.ask(request(headers={"Content-Length": str(LARGEST_BODY + 1)} | headers))
        assert answer.status == 413
        assert answer.codes() == ["PAYLOAD_TOO_LARGE"]


# Chunks


CHUNKED = request(headers={"Transfer-Encoding": "chunked"})


def test_a_body_may_come_in_chunks_however_they_are_cut(connection: Connection) -> None:
    whole = body(1)
    for pieces in ([whole], [whole[:1], whole[1:]], [whole[i : i + 1] for i in range(len(whole))]):
        assert found(connection.ask(CHUNKED + chunked(pieces)), 1)
        assert found(connection.ask(ask(2)), 2)
    sent = CHUNKED + chunked([whole[:5], whole[5:40], whole[40:]])
    for position in range(1, len(sent)):
        assert found(connection.ask(sent[:position], sent[position:]), 1), position


@pytest.mark.parametrize(
    "form",
    [
        b"%x;name=value\r\n%s\r\n0\r\n\r\n",
        b'%x;name="va;lue"\r\n%s\r\n0;last\r\n\r\n',
        b"000%X\r\n%s\r\n000\r\n\r\n",
        b"%x\r\n%s\r\n0\r\nX-Trailer: one\r\nX-Trailer: two\r\n\r\n",
    ],
)
def test_chunks_may_have_extensions_and_trailers(connection: Connection, form: bytes) -> None:
    for number in (1, 2):
        assert found(connection.ask(CHUNKED + form % (len(body(number)), body(number))), number)
        assert found(connection.ask(ask(3)), 3)


@pytest.mark.parametrize(("host", "trailer"), [("127.0.0.1", "example.org"), ("example.org", "127.0.0.1")])
def test_a_trailer_is_no_header(connection: Connection, host: str, trailer: str) -> None:
    head = request(headers={"Host": host, "Transfer-Encoding": "chunked"})
    end = b"0\r\nHost: %s\r\n\r\n" % trailer.encode()
    answer = connection.ask(head + chunked([body(1)]).removesuffix(b"0\r\n\r\n") + end)
    assert found(answer, 1) if host == "127.0.0.1" else answer.status == 403


@pytest.mark.parametrize(
    "form",
    [
        b"+%x\r\n%s\r\n0\r\n\r\n",
        b"0x%x\r\n%s\r\n0\r\n\r\n",
        b"-%x\r\n%s\r\n0\r\n\r\n",
        b"%xg\r\n%s\r\n0\r\n\r\n",
        b"%x\r\n%s0\r\n\r\n",
        b"%x\r\n%s!\r\n0\r\n\r\n",
        b"fffffffffffffff%x\r\n%s\r\n0\r\n\r\n",
        b"%x\r\r\n%s\r\n0\r\n\r\n",
        b"\r\n%x\r\n%s\r\n0\r\n\r\n",
    ],
)
def test_a_chunk_of_another_form_is_refused(connection: Connection, form: bytes) -> None:
    assert found(connection.ask(ask(1)), 1)
    connection.send(CHUNKED + form % (len(body(1)), body(1)) + mutation("smuggled"))
    assert connection.answer().status == 400
    assert connection.is_closed()


def test_chunks_without_an_end_are_waited_for_up_to_the_limit(process: Process) -> None:
    with Connection(process.port, patience=30) as connection:
        connection.send(CHUNKED)
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        try:
            for _ in range(2 * LARGEST_BODY // 0x10000):
                connection.send(chunk)
            answer = connection.answer()
        except (OSError, Closed):
            return
        assert answer.status == 413
        assert answer.codes() == ["PAYLOAD_TOO_LARGE"]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("length", [0, 5, len(chunked([body(1)]))])
@pytest.mark.parametrize("coding", ["chunked", "Chunked", "\tchunked", "chunked, chunked", "identity", "xchunked", ""])
def test_a_body_with_a_length_and_in_chunks_is_refused(
    connection: Connection, coding: str, length: int, order: int
) -> None:
    assert found(connection.ask(ask(1)), 1)
    both = [("Content-Length", str(length)), ("Transfer-Encoding", coding)]
    head = request(headers=dict(both[::order]))
    connection.send(head + chunked([body(1)]) + mutation("smuggled"))
    assert connection.answer().status == 400
    assert connection.is_closed()


@pytest.mark.parametrize("coding", ["identity", "chunked, identity", "xchunked", "chunked;q=1", "\x0bchunked", "x"])
def test_a_coding_other_than_chunked_is_refused(connection: Connection, coding: str) -> None:
    assert found(connection.ask(ask(1)), 1)
    head = request(headers={"Transfer-Encoding": coding})
    connection.send(head + chunked([body(1)]) + mutation("smuggled"))
    assert connection.answer().status in (400, 501)
    assert connection.is_closed()
