"""WebSockets that speak graphql-transport-ws: the protocol, its limits, and what ends a connection."""

import json
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from wsproto.events import BytesMessage, CloseConnection, Message, Ping
from wsproto.frame_protocol import CloseReason

from recallql.live.messages import LONGEST_ID
from recallql.live.socket import OPEN_BYTES
from recallql.live.websocket import MESSAGE_BYTES, WebSocket
from resolvers.credentials import key_hash, list_api_keys, revoke_api_key
from tests.desk import Desk
from tests.loop_watch import watched
from tests.places import Place
from tests.servers import Process, Serve, Server, Start, wait_until
from tests.sockets import PROTOCOL, Client, Ended, handshake
from tests.streaming import TICKS, Ticker, tick_of
from tests.wire import Connection as Wire
from tests.wire import ask, found

pytestmark = pytest.mark.once

HELLO = {"data": {"viewer": {"role": "SERVICE"}}}
VIEWER = "{ viewer { role } }"
KEY = "0123456789abcdef-a-key-of-the-test"


def closing(client: Client) -> tuple[int, str]:
    ended = client.end()
    return ended.code, ended.reason


# The handshake


def test_a_handshake_is_accepted_with_the_subprotocol(server: Server) -> None:
    for offered in (PROTOCOL, f"graphql-ws, {PROTOCOL}", f"{PROTOCOL},other"):
        with Client(server.port, protocol=offered) as client:
            assert client.answer.header("sec-websocket-protocol") == PROTOCOL
            assert client.answer.header("sec-websocket-extensions") is None
            assert client.begin().ask(VIEWER) == HELLO


@pytest.mark.parametrize("offered", ["graphql-ws", "chat", "graphql-ws, chat", None])
def test_another_subprotocol_is_refused_with_a_reason_that_browsers_show(server: Server, offered: str | None) -> None:
    with Client(server.port, protocol=offered) as client:
        assert client.answer.header("sec-websocket-protocol") == (offered and offered.split(",")[0])
        assert closing(client) == (4406, f"Use the subprotocol {PROTOCOL}, as npm's graphql-ws does.")


def test_compression_is_not_offered(server: Server) -> None:
    with Client(server.port, {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}) as client:
        assert client.answer.header("sec-websocket-extensions") is None
        assert client.begin().ask(VIEWER) == HELLO


@pytest.mark.parametrize(
    "wrong", [{"Sec-WebSocket-Version": "12"}, {"Sec-WebSocket-Key": "short"}, {"Sec-WebSocket-Key": "é" * 24}]
)
def test_a_malformed_handshake_is_refused(server: Server, wrong: dict[str, str]) -> None:
    with Wire(server.port) as wire:
        answer = wire.ask(handshake(wrong), method="GET")
        assert (answer.status, answer.codes()) == (426, ["BAD_USER_INPUT"])
        assert answer.header("sec-websocket-version") == "13"
        assert wire.is_closed()


def test_there_is_no_websocket_elsewhere(server: Server) -> None:
    for path in ("/", "/ready", "/graphql/more"):
        with Wire(server.port) as wire:
            assert wire.ask(handshake(path=path), method="GET").status == 403
            assert wire.is_closed()
    with Client(server.port, path="/graphql/") as client:
        assert client.begin().ask(VIEWER) == HELLO


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://elsewhere.example"},
        {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "memory.example"},
        {"X-Forwarded-For": "10.0.0.1"},
    ],
)
def test_a_websocket_is_refused_from_where_a_post_would_be(server: Server, headers: dict[str, str]) -> None:
    with Wire(server.port) as wire:
        answer = wire.ask(handshake(headers), method="GET")
        assert (answer.status, answer.codes()) == (403, ["FORBIDDEN"])
        assert wire.is_closed()


def test_a_page_of_a_listed_origin_may_connect(start: Start) -> None:
    server = start(cors_origins="https://app.example")
    with Client(server.port, {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}) as client:
        assert client.begin().ask(VIEWER) == HELLO
    with Client(server.port, {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}) as client:
        assert client.begin().ask(VIEWER) == HELLO


def test_frames_that_come_with_the_handshake_are_read(server: Server) -> None:
    early = Client.frames_of({"type": "connection_init"})
    with Client(server.port, early=early) as client:
        assert client.heard() == {"type": "connection_ack"}
        assert client.ask(VIEWER) == HELLO


def test_a_websocket_follows_requests_on_the_same_connection(server: Server) -> None:
    server.graphql('mutation { upsertUser(input: {userId: "user-1", name: "user-1"}) { created } }')
    wire = Wire(server.port)
    assert found(wire.ask(ask(1)), 1)
    assert found(wire.ask(ask(1, {"Expect": "100-continue"})) and wire.answer(), 1)
    with Client(server.port, wire=wire) as client:
        assert client.begin().ask(VIEWER) == HELLO


# Messages


def test_a_ping_is_answered_at_any_time_with_its_payload(server: Server) -> None:
    with Client(server.port) as client:
        for begun in (False, True):
            client.say(type="ping")
            assert client.heard() == {"type": "pong"}
            client.say(type="ping", payload={"number": 1})
            assert client.heard() == {"type": "pong", "payload": {"number": 1}}
            client.say(type="pong")
            client.say(type="pong", payload={})
            client.say(type="complete", id="nothing")
            if not begun:
                client.begin()


INVALID: dict[str, Any] = {
    "no JSON": "hello",
    "nothing": "",
    "an array": [{"type": "ping"}],
    "a string": '"ping"',
    "no type": {},
    "another type": {"type": "start", "id": "1"},
    "a type that is no string": {"type": 1},
    "a message of the server": {"type": "connection_ack"},
    "an answer": {"type": "next", "id": "1", "payload": {}},
    "an error": {"type": "error", "id": "1", "payload": []},
    "a payload that is no object": {"type": "ping", "payload": "now"},
    "a payload in an array": {"type": "pong", "payload": []},
    "parameters in a string": {"type": "connection_init", "payload": "Bearer"},
    "a credential that is no string": {"type": "connection_init", "payload": {"authorization": 1}},
    "two credentials": {
        "type": "connection_init",
        "payload": {"authorization": "Bearer a", "Authorization": "Bearer b"},
    },
    "credentials in one": {"type": "connection_init", "payload": {"authorization": "Bearer a, Bearer b"}},
    "no id": {"type": "subscribe", "payload": {"query": VIEWER}},
    "an empty id": {"type": "subscribe", "id": "", "payload": {"query": VIEWER}},
    "a number as id": {"type": "subscribe", "id": 1, "payload": {"query": VIEWER}},
    "a long id": {"type": "subscribe", "id": "x" * (LONGEST_ID + 1), "payload": {"query": VIEWER}},
    "no payload": {"type": "subscribe", "id": "1"},
    "no query": {"type": "subscribe", "id": "1", "payload": {}},
    "a query that is no string": {"type": "subscribe", "id": "1", "payload": {"query": 1}},
    "variables in an array": {"type": "subscribe", "id": "1", "payload": {"query": VIEWER, "variables": []}},
    "a name that is no string": {"type": "subscribe", "id": "1", "payload": {"query": VIEWER, "operationName": 1}},
    "extensions in a string": {"type": "subscribe", "id": "1", "payload": {"query": VIEWER, "extensions": ""}},
    "nothing to complete": {"type": "complete"},
    "a completed number": {"type": "complete", "id": 7},
    "not a number": '{"type": "ping", "payload": {"number": NaN}}',
    "much nesting": "[" * 100_000,
}


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_message_closes_the_connection(server: Server, name: str) -> None:
    message = INVALID[name]
    with Client(server.port) as client:
        if "connection_init" not in str(message):
            client.begin()
        client.send(Message(data=message if isinstance(message, str) else json.dumps(message)))
        code, reason = closing(client)
        assert code == 4400
        assert reason.endswith(".") or len(reason) > 100, reason


def test_a_binary_message_closes_the_connection(server: Server) -> None:
    with Client(server.port) as client:
        client.begin().send(BytesMessage(data=b'{"type": "ping"}'))
        assert closing(client) == (4400, "A message is a text, not binary.")


def test_nothing_runs_before_the_connection_is_acknowledged(server: Server) -> None:
    with Client(server.port) as client:
        client.subscribe("1", VIEWER)
        assert closing(client)[0] == 4401


def test_a_connection_begins_once(server: Server) -> None:
    with Client(server.port) as client:
        client.begin().say(type="connection_init")
        assert closing(client) == (4429, "Too many initialisation requests")


def test_a_connection_begins_soon(start: Start) -> None:
    server = start(init_timeout=0.3)
    with Client(server.port) as client:
        # A ping is no beginning.
        client.say(type="ping")
        assert client.heard() == {"type": "pong"}
        assert closing(client) == (4408, "Connection initialisation timeout")
    with Client(server.port) as client:
        client.begin()
        time.sleep(0.6)
        assert client.ask(VIEWER) == HELLO


def test_an_id_is_open_once_and_free_again_when_it_is_completed(start: Start, ticker: Ticker) -> None:
    server = start()
    with Client(server.port) as client:
        client.begin().subscribe("a", TICKS)
        client.subscribe("b", TICKS)
        ticker.wait_for(2)
        client.say(type="complete", id="a")
        ticker.wait_for(1)
        client.subscribe("a", TICKS)
        ticker.wait_for(2)
        ticker.tick(server, number=1)
        assert sorted(client.heard()["id"] for _ in range(2)) == ["a", "b"]
        client.subscribe("b", TICKS)
        assert closing(client) == (4409, "Subscriber for b already exists")
    ticker.wait_for(0)


# Operations


def test_the_answers_are_those_of_a_post(server: Server) -> None:
    add = """mutation ($content: String!) { addMessages(input: {sessionId: "s", userId: "ada", messages: [
      {role: USER, content: $content, messageId: "one"}]}) { messages { content } userErrors { code } } }"""
    read = """query Q($first: Int) { sessions(first: $first) { nodes { sessionId user { userId } } } }
      query R { a: viewer { role } }"""
    requests: list[dict[str, Any]] = [
        {"query": VIEWER},
        {"query": add, "variables": {"content": "größer\u2028 \U0001f600"}},
        {"query": add, "variables": {"content": "x" * 300_000}},
        {"query": read, "variables": {"first": 1}, "operationName": "Q"},
        {"query": read, "operationName": "R", "extensions": {"cost": True}},
        {"query": "{ users(first: -1) { totalCount } }"},
        {"query": "{ __schema { queryType { name } } }"},
        {"query": "{ nobody }"},
        {"query": "{"},
        {"query": read},
        {"query": add},
        {"query": "query ($first: Int!) { users(first: $first) { totalCount } }", "variables": {"first": "many"}},
        {"query": None, "extensions": {"persistedQuery": {"version": 1, "sha256Hash": "0" * 64}}},
    ]
    with Client(server.port) as client:
        client.begin()
        for request in requests:
            client.say(type="subscribe", id="1", payload=request)
            heard = client.heard()
            posted = server.post(request).json()
            if "data" in posted:
                assert heard == {"type": "next", "id": "1", "payload": posted}
                assert client.heard() == {"type": "complete", "id": "1"}
            else:
                assert heard == {"type": "error", "id": "1", "payload": posted["errors"]}


def test_operations_of_one_connection_run_at_the_same_time(start: Start, ticker: Ticker) -> None:
    server = start()
    with Client(server.port) as client:
        client.begin().subscribe("slow", 'mutation { change(name: "slow", seconds: 0.5) }')
        client.subscribe("fast", "{ hello }")
        assert [client.heard()["id"] for _ in range(4)] == ["fast", "fast", "slow", "slow"]


def test_a_mutation_is_carried_out_though_its_client_goes(start: Start, ticker: Ticker) -> None:
    server = start()
    with Client(server.port) as client:
        client.begin().subscribe("a", 'mutation { change(name: "completed", seconds: 0.3) }')
        client.say(type="complete", id="a")
        client.subscribe("a", 'mutation { change(name: "left", seconds: 0.3) }')
        client.say(type="ping")
        assert client.heard() == {"type": "pong"}
    wait_until(lambda: ticker.changed == ["completed", "left"])


def test_events_are_answered_until_they_end(start: Start, ticker: Ticker) -> None:
    server = start()
    with Client(server.port) as client:
        client.begin().subscribe("a", TICKS)
        ticker.wait_for(1)
        for number in range(3):
            ticker.tick(server, number=number, size=number)
            assert client.heard() == {"type": "next", "id": "a", "payload": tick_of(number, "x" * number)}
        ticker.tick(server, fault="END")
        assert client.heard() == {"type": "complete", "id": "a"}
        assert client.ask("{ hello }") == {"data": {"hello": "xxxxx"}}


def test_an_event_that_fails_ends_nothing_unless_it_can_be_had_later(start: Start, ticker: Ticker) -> None:
    server = start()
    with Client(server.port) as client:
        client.begin().subscribe("a", TICKS)
        ticker.wait_for(1)
        ticker.tick(server, number=1, fault="BAD")
        heard = client.heard()
        assert (heard["type"], heard["payload"]["data"]) == ("next", None)
        assert heard["payload"]["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
        ticker.tick(server, number=2)
        assert client.heard()["payload"] == tick_of(2)
        ticker.tick(server, number=3, fault="UNAVAILABLE")
        heard = client.heard()
        assert (heard["type"], heard["payload"][0]["extensions"]["code"]) == ("error", "UNAVAILABLE")
        ticker.wait_for(0)
        client.subscribe("a", TICKS)
        ticker.wait_for(1)
        ticker.tick(server, fault="BREAK")
        heard = client.heard()
        assert (heard["type"], heard["payload"][0]["extensions"]["code"]) == ("error", "UNAVAILABLE")
        assert client.ask("{ hello }") == {"data": {"hello": "xxxxx"}}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ('subscription { ticks(fault: "no") { number } }', None),
        ("subscription { ticks { nobody } }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { __typename }", "GRAPHQL_VALIDATION_FAILED"),
    ],
)
def test_a_subscription_that_can_not_start_is_refused(
    start: Start, ticker: Ticker, query: str, code: str | None
) -> None:
    server = start()
    with Client(server.port) as client:
        client.begin().subscribe("a", query)
        heard = client.heard()
        if code is None:
            assert heard["type"] == "next"
            assert heard["payload"]["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
            assert client.heard() == {"type": "complete", "id": "a"}
        else:
            assert heard["type"] == "error"
            assert heard["payload"][0]["extensions"]["code"] == code
        client.subscribe("a", "{ hello }")
        assert client.heard()["type"] == "next"


def test_subscribers_who_select_the_same_share_an_answer(start: Start, ticker: Ticker) -> None:
    server = start()
    others = "subscription Other { ticks { text } }"
    clients = [Client(server.port).begin() for _ in range(5)]
    for client in clients:
        client.subscribe("same", TICKS)
        client.subscribe("other", others)
    ticker.wait_for(10)
    for number in range(3):
        ticker.tick(server, number=number, size=3)
        for client in clients:
            heard = {message["id"]: message["payload"] for message in (client.heard(), client.heard())}
            assert heard == {"same": tick_of(number, "xxx"), "other": {"data": {"ticks": {"text": "xxx"}}}}
        assert ticker.answers == 2 * (number + 1)
    for client in clients:
        client.socket.close()


# Frames


def test_a_message_may_come_in_pieces_with_pings_between_them(process: Process) -> None:
    text = json.dumps({"type": "subscribe", "id": "ü", "payload": {"query": VIEWER}}, ensure_ascii=False)
    with Client(process.port) as client:
        client.begin()
        pieces = [text[start : start + 7] for start in range(0, len(text), 7)]
        for number, piece in enumerate(pieces, 1):
            client.send(Message(data=piece, message_finished=number == len(pieces)))
            client.send(Ping(payload=b"%d" % number))
        assert client.heard() == {"type": "next", "id": "ü", "payload": HELLO}
        assert client.heard() == {"type": "complete", "id": "ü"}
        client.say(type="ping")
        assert client.heard() == {"type": "pong"}
        assert client.pongs
        assert client.pongs[-1] == b"%d" % len(pieces)


def test_many_messages_in_one_segment_are_all_answered(process: Process) -> None:
    with Client(process.port) as client:
        client.begin()
        many = b"".join(
            client.frames.send(Message(data=f'{{"type":"ping","payload":{{"n":{n}}}}}')) for n in range(999)
        )
        client.socket.sendall(many)
        assert [client.heard()["payload"]["n"] for _ in range(999)] == list(range(999))


@pytest.mark.parametrize("kind", ["pings", "messages", "pieces"])
def test_a_flood_of_frames_leaves_others_their_turn(server: Server, kind: str) -> None:
    with Client(server.port) as client:
        client.begin()
        frames = {
            "pings": [Ping()],
            "messages": [Message(data='{"type":"pong"}')],
            "pieces": [Message(data="", message_finished=False)],
        }
        flood = b"".join(client.frames.send(event) for event in frames[kind]) * 30_000
        with watched(server) as watch:
            client.socket.sendall(flood)
            time.sleep(0.2)
        assert watch.held < 0.1


@pytest.mark.parametrize("pieces", [1, 64])
def test_a_message_over_the_limit_closes_the_connection(server: Server, pieces: int) -> None:
    with Client(server.port) as client:
        client.begin()
        client.subscribe("1", VIEWER, unused=" " * (MESSAGE_BYTES - 200))
        assert client.heard()["payload"] == HELLO
        assert client.heard()["type"] == "complete"
        size = MESSAGE_BYTES // pieces
        for _ in range(pieces):
            client.send(Message(data=" " * size, message_finished=False))
        client.send(Message(data="  "))
        assert closing(client)[0] == 1009
    assert server.host.endpoint is not None
    wait_until(lambda: server.host.endpoint.admissions.receiving.used == 0)  # pyright: ignore[reportOptionalMemberAccess]


BROKEN = {
    "a frame without a mask": b"\x81\x02{}",
    "an unknown opcode": b"\x83\x80\0\0\0\0",
    "a reserved bit": b"\xc1\x80\0\0\0\0",
    "a ping in pieces": b"\x09\x80\0\0\0\0",
    "a continuation of nothing": b"\x80\x80\0\0\0\0",
    "a close of one byte": b"\x88\x81\0\0\0\0x",
}


@pytest.mark.parametrize("name", BROKEN)
def test_frames_that_break_the_rules_close_the_connection(server: Server, name: str) -> None:
    with Client(server.port) as client:
        client.begin().socket.sendall(BROKEN[name])
        assert closing(client)[0] == 1002


def test_a_text_that_is_not_utf_8_closes_the_connection(server: Server) -> None:
    with Client(server.port) as client:
        client.begin().socket.sendall(b"\x81\x82\0\0\0\0\xff\xff")
        assert closing(client)[0] == 1007


@pytest.mark.parametrize("code", [1000, 1001, 4999, None])
def test_a_client_says_goodbye(server: Server, code: int | None) -> None:
    with Client(server.port) as client:
        client.begin().send(CloseConnection(code=code or CloseReason.NO_STATUS_RCVD, reason="bye" if code else None))
        assert client.end().code == (code or 1005)
    assert server.host.endpoint is not None


def test_a_client_that_goes_without_a_word_leaves_nothing(start: Start, ticker: Ticker) -> None:
    server = start()
    for _ in range(3):
        with Client(server.port) as client:
            client.begin().subscribe("a", TICKS)
            ticker.wait_for(1)
        ticker.wait_for(0)
    endpoint = server.host.endpoint
    assert endpoint is not None
    assert endpoint.long_connections._places == {}  # pyright: ignore[reportPrivateUsage]
    assert endpoint.long_connections._tasks == set()  # pyright: ignore[reportPrivateUsage]


def test_a_dead_client_is_found_out_by_its_silence(start: Start, ticker: Ticker) -> None:
    server = start(keep_alive=0.4)
    with Client(server.port) as alive, Client(server.port) as dead:
        alive.begin().subscribe("a", TICKS)
        dead.begin().subscribe("a", TICKS)
        ticker.wait_for(2)
        alive.hear_pings(4)
        ticker.wait_for(1)
        ticker.tick(server, number=1)
        assert alive.heard()["payload"] == tick_of(1)


# Limits


def test_operations_of_a_connection_are_limited(start: Start, ticker: Ticker) -> None:
    server = start(socket_operations=3)
    with Client(server.port) as client:
        client.begin()
        for id in "abc":
            client.subscribe(id, TICKS)
        ticker.wait_for(3)
        client.subscribe("d", TICKS)
        heard = client.heard()
        assert (heard["type"], heard["id"]) == ("error", "d")
        assert heard["payload"][0]["extensions"]["code"] == "RATE_LIMITED"
        client.say(type="complete", id="a")
        ticker.wait_for(2)
        client.subscribe("d", TICKS)
        ticker.wait_for(3)
        ticker.tick(server)
        assert sorted(client.heard()["id"] for _ in range(3)) == ["b", "c", "d"]


def test_the_requests_of_open_subscriptions_have_a_limit_together(start: Start, ticker: Ticker) -> None:
    server = start()
    large = TICKS + " " * (OPEN_BYTES // 3)
    with Client(server.port) as client:
        client.begin()
        for id in ("one", "two", "more"):
            client.subscribe(id, large)
        ticker.wait_for(2)
        heard = client.heard()
        assert (heard["type"], heard["id"]) == ("error", "more")
        assert heard["payload"][0]["extensions"]["code"] == "RATE_LIMITED"
        # A request that is answered once is not kept.
        client.subscribe("query", "{ hello }" + " " * (OPEN_BYTES - 200))
        assert client.heard()["type"] == "next"


def test_connections_of_a_user_are_limited(start: Start, place: Place, desk: Desk) -> None:
    server = start(place, api_key=KEY, user_subscribers=2)
    for user in ("ada", "bob"):
        desk.user(user)
    token = desk.token()
    with Client(server.port) as one, Client(server.port) as two, Client(server.port) as three:
        one.begin(token)
        two.begin(token)
        three.say(type="connection_init", payload={"authorization": f"Bearer {desk.token()}"})
        assert closing(three)[0] == 4429
        with Client(server.port) as other, Client(server.port) as service:
            other.begin(desk.token("bob"))
            service.begin(KEY)
        one.send(CloseConnection(code=1000))
        assert one.end().code == 1000
        with Client(server.port) as again:
            again.begin(token)


def test_requests_over_a_connection_count_for_their_credential(start: Start, ticker: Ticker) -> None:
    server = start(service_per_minute=3)
    with Client(server.port) as client:
        client.begin().subscribe("a", TICKS)
        ticker.wait_for(1)
        for number in range(9):
            ticker.tick(server, number=number)
            assert client.heard()["payload"] == tick_of(number)
        assert [client.ask("{ hello }") for _ in range(2)] == [{"data": {"hello": "xxxxx"}}] * 2
        assert client.ask("{ hello }")[0]["extensions"]["code"] == "RATE_LIMITED"
        assert server.post({"query": "{ hello }"}).status_code == 429


def test_a_connection_with_nothing_open_gives_way_to_others(start: Start, ticker: Ticker) -> None:
    server = start(max_connections=8)
    with Client(server.port) as busy:
        busy.begin().subscribe("a", TICKS)
        ticker.wait_for(1)
        idle = [Client(server.port).begin() for _ in range(7)]
        wires = [Wire(server.port) for _ in range(3)]
        # The oldest go first.
        assert [client.end().code for client in idle[:3]] == [1006] * 3
        assert idle[3].ask("{ hello }") == {"data": {"hello": "xxxxx"}}
        ticker.tick(server, number=1)
        assert busy.heard()["payload"] == tick_of(1)
        for connection in [*wires, *idle]:
            connection.socket.close()


# Credentials


def test_the_credential_comes_with_the_beginning_or_the_handshake(start: Start, place: Place, desk: Desk) -> None:
    server = start(place, api_key=KEY)
    desk.user()
    for name in ("authorization", "Authorization", "AUTHORIZATION"):
        with Client(server.port) as client:
            client.say(type="connection_init", payload={name: f"Bearer {KEY}", "more": 1})
            assert client.heard() == {"type": "connection_ack"}
            assert client.ask(VIEWER) == HELLO
    with Client(server.port, {"Authorization": f"Bearer {KEY}"}) as client:
        assert client.begin().ask(VIEWER) == HELLO
    with Client(server.port, {"Authorization": f"Bearer {KEY}"}) as client:
        role = client.begin(desk.token()).ask(VIEWER)["data"]["viewer"]["role"]
        assert role == "USER"


@pytest.mark.parametrize("payload", [None, {}, {"authorization": ""}, {"authorization": "Bearer wrong-wrong-wrong"}])
def test_a_connection_without_a_good_credential_is_closed(start: Start, payload: dict[str, Any] | None) -> None:
    server = start(api_key=KEY)
    with Client(server.port) as client:
        client.say(type="connection_init", payload=payload)
        code, reason = closing(client)
        assert code == 4401
        assert "credential" in reason


def test_all_that_a_credential_has_open_ends_within_a_second_of_it(
    start: Start, place: Place, desk: Desk, ticker: Ticker
) -> None:
    """A token expires, a key is revoked, a user is erased; and of the two users of a key none notices the other."""
    server = start(place)
    for user in ("ada", "bob"):
        desk.user(user)
    key, other = desk.key(), desk.key()
    clients: list[tuple[Client, int]] = []

    def subscribed(credential: str, code: int) -> Client:
        client = Client(server.port).begin(credential)
        client.subscribe("a", TICKS)
        clients.append((client, code))
        ticker.wait_for(len(clients))
        return client

    with pytest.MonkeyPatch.context() as patched:
        expiring = desk.token(life=60)
        subscribed(expiring, 4403)
        subscribed(desk.token("bob"), 4401)
        subscribed(key, 4401)
        subscribed(key, 4401)
        lasting = subscribed(other, 0)
        clients.pop()
        idle = Client(server.port).begin(key)
        clients.append((idle, 4401))
        ticker.tick(server, number=1)
        for client, _ in [*clients, (lasting, 0)]:
            if client is not idle:
                assert client.heard()["payload"] == tick_of(1)
        desk.erase("bob")
        (row,) = [row for row in desk.run(list_api_keys(desk.context())) if row["hash"] == key_hash(key)]
        desk.run(revoke_api_key(desk.context(), row["id"]))
        assert server.host.endpoint is not None
        credentials = server.host.endpoint.long_connections._credentials  # pyright: ignore[reportPrivateUsage]
        patched.setattr(credentials, "_now", lambda: time.time() + 61)
        started = time.monotonic()
        assert [client.end().code for client, _ in clients] == [code for _, code in clients]
        assert time.monotonic() - started < 1.5
        ticker.wait_for(1)
        ticker.tick(server, number=2)
        assert lasting.heard()["payload"] == tick_of(2)
        # No operation begins after the credential, however soon it is asked for.
        assert closing(Client(server.port).tried(key))[0] == 4401
        assert closing(Client(server.port).tried(expiring)) == (4403, "The token has expired; get another.")


def test_a_connection_without_a_credential_ends_with_the_first_key(start: Start, place: Place, desk: Desk) -> None:
    server = start(place)
    with Client(server.port) as client:
        client.begin()
        desk.key()
        assert closing(client)[0] == 4401


def test_no_operation_runs_after_its_credential(start: Start, place: Place, desk: Desk) -> None:
    server = start(place)
    key = desk.key()
    with Client(server.port) as client:
        assert client.begin(key).ask(VIEWER) == HELLO
        (row,) = desk.run(list_api_keys(desk.context()))
        desk.run(revoke_api_key(desk.context(), row["id"]))
        client.subscribe("1", VIEWER)
        assert closing(client)[0] == 4401


# Clients that do not read


def slow(port: int) -> Client:
    """A client with little room for what it is sent."""
    wire = Wire.__new__(Wire)
    wire.socket = socket.socket()
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
    wire.socket.settimeout(10)
    wire.socket.connect(("127.0.0.1", port))
    wire._received = b""  # pyright: ignore[reportPrivateUsage]
    return Client(port, wire=wire)


def waiting(server: Server) -> int:
    """The bytes that wait in the process for clients to read."""
    return sum(
        each._transport.get_write_buffer_size()
        for each in server.host.uvicorn.server_state.connections
        if isinstance(each, WebSocket)
    )


def test_what_waits_for_a_slow_client_is_bounded_and_it_is_told_when_it_is_dropped(
    start: Start, ticker: Ticker
) -> None:
    server = start(answer_timeout=3)
    size = 4 * 1024 * 1024
    with slow(server.port) as client, Client(server.port) as other:
        client.begin()
        other.begin().subscribe("a", TICKS)
        for id in "abcdefgh":
            client.subscribe(id, TICKS)
        ticker.wait_for(9)
        before = memory()
        most = 0
        for number in range(6):
            ticker.tick(server, number=number, size=size)
            assert other.heard()["payload"]["data"]["ticks"]["number"] == number
            most = max(most, waiting(server))
        assert 0 < most < size + 1024
        assert memory() - before < 64 * 1024 * 1024
        # The events that were not sent wait as events, and are let go with the connection.
        ticker.wait_for(1)
        code, reason = closing(client)
        assert code == 1013
        assert "resume" in reason
        ticker.tick(server, number=1)
        assert other.heard()["payload"] == tick_of(1)


def memory() -> int:
    """The resident memory of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    raise AssertionError


def test_a_client_that_never_reads_is_cut_off(start: Start, ticker: Ticker) -> None:
    server = start(answer_timeout=0.5)
    with slow(server.port) as client:
        client.begin()
        client.subscribe("a", "query ($size: Int!) { hello(size: $size) }", size=8_000_000)
        wait_until(lambda: waiting(server) > 0)
        wait_until(lambda: waiting(server) == 0)


def test_a_slow_client_that_reads_on_is_not_dropped(start: Start, ticker: Ticker) -> None:
    server = start(answer_timeout=1)
    with slow(server.port) as client:
        client.begin()
        client.subscribe("a", "query ($size: Int!) { hello(size: $size) }", size=2_000_000)
        received = 0
        while received < 2_000_000:
            time.sleep(0.05)
            piece = client.socket.recv(32 * 1024)
            assert piece, f"it was dropped after {received} bytes"
            received += len(piece)


def test_a_flood_of_pings_that_nobody_reads_the_answers_of_takes_no_memory(start: Start, ticker: Ticker) -> None:
    server = start(answer_timeout=1)
    with slow(server.port) as client:
        client.begin()
        client.socket.settimeout(0.2)
        ping = client.frames.send(Ping(payload=b"x" * 125)) * 100
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                client.socket.sendall(ping)
            except (TimeoutError, ConnectionError):
                break
            assert waiting(server) < 64 * 1024
        else:
            raise AssertionError("it was not cut off")


# The end of the server


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 1001), (signal.SIGHUP, 1012)])
def test_the_end_of_the_server_is_told(serve: Serve, workers: int, number: signal.Signals, code: int) -> None:
    process = serve("--workers", str(workers))
    # A worker ends once another has started in its place.
    client, mute = [Client(process.port, wire=Wire(process.port, patience=100)) for _ in range(2)]
    with client, mute:
        client.begin()
        mute.begin()
        started = time.monotonic()
        process.process.send_signal(number)
        assert client.end().code == code
        if workers == 1 or number == signal.SIGTERM:
            assert process.wait() == 0
            # `mute` has not answered the goodbye.
            assert time.monotonic() - started < 10
            assert "Cancel" not in process.output()
        else:
            assert mute.end().code == code
            wait_until(lambda: heard_again(process), "the server did not come back")
        assert "Traceback" not in process.output()


def heard_again(process: Process) -> bool:
    try:
        with Client(process.port) as client:
            return client.begin().ask(VIEWER) == HELLO
    except (OSError, Ended):
        return False


def test_the_application_ends_its_connections_before_the_database(start: Start, ticker: Ticker) -> None:
    server = start()
    with Client(server.port) as client:
        client.begin().subscribe("a", TICKS)
        ticker.wait_for(1)
        server.close()
        assert ticker.queues == []
        assert client.end().code == 1001
