"""Acknowledged writes survive, whole, when the server is killed or stopped, or its client leaves."""

import contextlib
import json
import random
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from tests.documents import mutation
from tests.servers import Api, Serve, wait_until

ADD = mutation("addMessages", "messages { messageId sequence content } deduplicated")
PAGE = """query ($sessionId: String!, $after: String) { session(sessionId: $sessionId) {
  messages(first: 100, after: $after) {
    nodes { messageId sequence content } pageInfo { hasNextPage endCursor }
  }
} }"""
SESSIONS = ["s0", "s1", "s2"]

Batch = tuple[str, list[dict[str, Any]]]


def stored(server: Api, session_id: str) -> list[dict[str, Any]]:
    """All messages of a session in order, or none for an unknown session."""
    messages: list[dict[str, Any]] = []
    after = None
    while True:
        session = server.graphql(PAGE, sessionId=session_id, after=after)["session"]
        if session is None:
            return []
        page = session["messages"]
        messages += page["nodes"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            return messages


class Load:
    """Clients that append batches without pause until their server is gone; it keeps what was sent and acknowledged."""

    def __init__(self, server: Api, name: str, clients: int = 6) -> None:
        self.server = server
        self.name = name
        self.acknowledged: list[tuple[Batch, list[int]]] = []
        self.unanswered: list[Batch] = []
        self.faults: list[str] = []
        self.enough = threading.Event()
        self.threads = [threading.Thread(target=self.client, args=(number,), daemon=True) for number in range(clients)]
        for thread in self.threads:
            thread.start()

    def client(self, number: int) -> None:
        chance = random.Random(f"{self.name} {number}")
        with httpx.Client(timeout=30.0, trust_env=False) as client:
            for turn in range(100_000):
                keys = [f"{self.name}-{number}-{turn}-{place}" for place in range(chance.randint(1, 5))]
                messages = [{"messageId": key, "role": "USER", "content": f"content of {key}"} for key in keys]
                batch = (chance.choice(SESSIONS), messages)
                variables = {"input": {"sessionId": batch[0], "messages": messages, "formMemories": False}}
                try:
                    response = client.post(self.server.url, json={"query": ADD, "variables": variables})
                except httpx.TransportError:
                    self.unanswered.append(batch)
                    return
                if response.status_code == 503:
                    self.unanswered.append(batch)
                    return
                payload = response.json().get("data", {}).get("addMessages")
                if not payload or payload["userErrors"]:
                    self.faults.append(response.text)
                    return
                self.acknowledged.append((batch, [message["sequence"] for message in payload["messages"]]))
                if len(self.acknowledged) >= 60:
                    self.enough.set()

    def join(self) -> None:
        for thread in self.threads:
            thread.join(timeout=60)
            assert not thread.is_alive(), "a client still waits for an answer"
        assert self.faults == []


def check_nothing_is_lost(server: Api, loads: list[Load]) -> None:
    """Every acknowledged message stands where its answer said, every batch is whole, sequences have no gap."""
    places: dict[tuple[str, str], int] = {}
    contents: dict[tuple[str, str], str] = {}
    for session_id in SESSIONS:
        messages = stored(server, session_id)
        assert [message["sequence"] for message in messages] == list(range(1, len(messages) + 1))
        for message in messages:
            assert (session_id, message["messageId"]) not in places, "a message is stored twice"
            places[session_id, message["messageId"]] = message["sequence"]
            contents[session_id, message["messageId"]] = message["content"]
    sent = set()
    for load in loads:
        for (session_id, messages), numbers in load.acknowledged:
            keys = [(session_id, message["messageId"]) for message in messages]
            assert [places.get(key) for key in keys] == numbers
            assert [contents[key] for key in keys] == [message["content"] for message in messages]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            sent.update(keys)
        for session_id, messages in load.unanswered:
            keys = [(session_id, message["messageId"]) for message in messages]
            there = [key in places for key in keys]
            assert all(there) or not any(there), "half of a batch was written"
            sent.update(keys)
    assert places.keys() <= sent, "a message is there that nobody sent"


def send_again(server: Api, batch: Batch) -> dict[str, Any]:
    session_id, messages = batch
    return server.accepted(ADD, sessionId=session_id, messages=messages, formMemories=False)


def raw_request(server: Api, session_id: str, *contents: str) -> bytes:
    messages = [{"role": "USER", "content": content} for content in contents]
    variables = {"input": {"sessionId": session_id, "messages": messages, "formMemories": False}}
    body = json.dumps({"query": ADD, "variables": variables}).encode()
    head = f"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def raw_answer(connection: socket.socket) -> dict[str, Any]:
    with connection.makefile("rb") as answer:
        status = answer.readline()
        assert status.split()[1:2] == [b"200"], f"no answer but {status!r}"
        length = 0
        while (line := answer.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return json.loads(answer.read(length))


def test_no_acknowledged_message_is_lost_when_the_process_is_killed(serve: Serve) -> None:
    server = serve()
    loads: list[Load] = []
    for number in range(3):
        load = Load(server, f"round-{number}")
        loads.append(load)
        assert load.enough.wait(30), "the clients were not answered"
        server.process.send_signal(signal.SIGKILL)
        assert server.wait() == -signal.SIGKILL
        load.join()
        server.place.check()
        server = serve(place=server.place)
        check_nothing_is_lost(server, loads)

        for batch, sequences in load.acknowledged[-20:]:
            payload = send_again(server, batch)
            assert payload["deduplicated"] == len(batch[1])
            assert [message["sequence"] for message in payload["messages"]] == sequences
        for batch in load.unanswered:
            first, second = send_again(server, batch), send_again(server, batch)
            assert first["deduplicated"] in (0, len(batch[1]))
            assert second["deduplicated"] == len(batch[1])
            assert second["messages"] == first["messages"]
        check_nothing_is_lost(server, loads)


def test_what_was_acknowledged_before_a_kill_holds_for_every_kind_of_write(serve: Serve) -> None:
    server = serve()
    server.graphql(
        """mutation {
             createUser(input: {userId: "ada", about: "before", metadata: {a: 1}}) { userErrors { code } }
             updateUser(input: {userId: "ada", about: "after", metadata: {b: 2}}) { userErrors { code } }
             createUser2: createUser(input: {userId: "bob"}) { userErrors { code } }
             addMessages(input: {sessionId: "s", userId: "ada", messages: [{role: USER, content: "hello"}]})
               { userErrors { code } }
             createSession(input: {sessionId: "gone"}) { userErrors { code } }
             deleteSession(input: {sessionId: "gone"}) { userErrors { code } }
             endSession(input: {sessionId: "s"}) { userErrors { code } }
             deleteUser(input: {userId: "bob"}) { userErrors { code } }
           }"""
    )
    server.process.send_signal(signal.SIGKILL)
    server.wait()
    server = serve(place=server.place)
    data = server.graphql(
        """{ ada: user(userId: "ada") { about metadata version } bob: user(userId: "bob") { id }
             gone: session(sessionId: "gone") { id }
             s: session(sessionId: "s") { endedAt messages { nodes { content sequence } } } }"""
    )
    assert data["ada"] == {"about": "after", "metadata": {"a": 1, "b": 2}, "version": 2}
    assert (data["bob"], data["gone"]) == (None, None)
    assert data["s"]["endedAt"] is not None
    assert data["s"]["messages"]["nodes"] == [{"content": "hello", "sequence": 1}]


def test_sigterm_under_load_loses_no_acknowledged_message_and_exits_with_0(serve: Serve) -> None:
    server = serve()
    load = Load(server, "load")
    assert load.enough.wait(30), "the clients were not answered"
    server.process.terminate()
    assert server.wait() == 0, server.output()
    load.join()
    server.place.check()
    check_nothing_is_lost(serve(place=server.place), [load])


def test_sigterm_lets_mutations_in_flight_finish_and_answers_them(serve: Serve) -> None:
    server = serve()
    server.graphql(ADD, input={"sessionId": "s", "messages": [{"role": "USER", "content": "first"}]})
    with contextlib.ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30)) for _ in range(5)
        ]
        with server.place.blocking_writes():
            for number, connection in enumerate(connections):
                connection.sendall(raw_request(server, "s", f"in flight {number}"))
            time.sleep(0.3)
            server.process.terminate()
            time.sleep(0.3)
            assert server.process.poll() is None, "the process did not wait for the mutations in flight"
        with ThreadPoolExecutor(5) as pool:
            payloads = [answer["data"]["addMessages"] for answer in pool.map(raw_answer, connections)]
    assert all(payload["userErrors"] == [] for payload in payloads)
    assert sorted(payload["messages"][0]["sequence"] for payload in payloads) == [2, 3, 4, 5, 6]
    assert server.wait() == 0, server.output()
    again = serve(place=server.place)
    answered = {message["sequence"]: message["content"] for payload in payloads for message in payload["messages"]}
    assert {message["sequence"]: message["content"] for message in stored(again, "s")} == {1: "first"} | answered


def test_sigterm_lets_a_request_arrive_whole_and_answers_it(serve: Serve) -> None:
    server = serve()
    request = raw_request(server, "s", "x" * 1000)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(request[: len(request) // 2])
        time.sleep(0.3)
        server.process.terminate()
        time.sleep(0.2)
        connection.sendall(request[len(request) // 2 :])
        assert raw_answer(connection)["data"]["addMessages"]["userErrors"] == []
    assert server.wait() == 0, server.output()
    assert len(stored(serve(place=server.place), "s")) == 1


def test_an_idle_server_stops_at_once_on_sigterm_and_sigint(serve: Serve) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        server = serve()
        server.graphql("{ users { totalCount } }")
        started = time.monotonic()
        server.process.send_signal(number)
        code = server.wait()
        assert time.monotonic() - started < 20, "it waited for its timeout, though nothing was in flight"
        if number == signal.SIGTERM:
            assert code == 0, server.output()


def test_a_queued_mutation_is_carried_out_though_its_client_went_away(serve: Serve) -> None:
    server = serve()
    server.graphql(ADD, input={"sessionId": "s", "messages": [{"role": "USER", "content": "first"}]})
    with server.place.blocking_writes():
        for number in range(3):
            with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
                connection.sendall(raw_request(server, "s", f"left alone {number}"))
                time.sleep(0.2)
    wait_until(lambda: len(stored(server, "s")) == 4)
    messages = stored(server, "s")
    assert [message["sequence"] for message in messages] == [1, 2, 3, 4]
    assert {message["content"] for message in messages[1:]} == {f"left alone {number}" for number in range(3)}


def test_two_workers_append_to_one_session_without_gaps(serve: Serve) -> None:
    server = serve("--workers", "2")

    def client(number: int) -> list[tuple[int, str]]:
        with httpx.Client(timeout=30.0, trust_env=False) as http:
            found = []
            for turn in range(5):
                messages = [{"role": "USER", "content": f"{number}.{turn}.{place}"} for place in range(2)]
                variables = {"input": {"sessionId": "s", "messages": messages, "formMemories": False}}
                payload = http.post(server.url, json={"query": ADD, "variables": variables}).json()["data"][
                    "addMessages"
                ]
                assert payload["userErrors"] == []
                first, second = payload["messages"]
                assert second["sequence"] == first["sequence"] + 1
                found += [(message["sequence"], message["content"]) for message in payload["messages"]]
            return found

    with ThreadPoolExecutor(20) as pool:
        answered = sorted(pair for pairs in pool.map(client, range(20)) for pair in pairs)
    assert [sequence for sequence, _ in answered] == list(range(1, 201))
    assert [(message["sequence"], message["content"]) for message in stored(server, "s")] == answered
