"""Sequences of messages that many clients append at the same time."""

import threading
from typing import Any

from tests.documents import mutation
from tests.places import Place
from tests.racing.races import ADD, Servers, codes_of, count, said, send
from tests.servers import Api

PAGE = """query ($after: String) { session(sessionId: "s") { messages(first: 7, after: $after) {
  nodes { sequence } pageInfo { endCursor } } } }"""
WRITERS, BATCHES = 8, 15


def test_sequences_have_no_gaps_and_readers_skip_none_while_eight_clients_append(servers: Servers) -> None:
    written = threading.Event()
    left = threading.Semaphore(0)

    def write(api: Api) -> list[int]:
        kept: list[int] = []
        for turn in range(BATCHES):
            # Every third one is refused when the session is locked already.
            taken = {"messageId": "first", "content": f"another {turn}", "role": "USER"}
            refused = turn % 3 == 2
            payload = send(api, ADD, sessionId="s", messages=[*said("a", "b"), *([taken] if refused else [])])
            assert codes_of(payload) == (["CONFLICT"] if refused else [])
            kept += [message["sequence"] for message in payload["messages"] or []]
        left.release()
        return kept

    def read(api: Api) -> list[int]:
        seen: list[int] = []
        after = None
        while True:
            is_over = written.is_set()
            page = api.graphql(PAGE, after=after)["session"]["messages"]
            seen += [node["sequence"] for node in page["nodes"]]
            after = page["pageInfo"]["endCursor"] or after
            if is_over and not page["nodes"]:
                return seen

    def watch(_: Api) -> list[int]:
        for _writer in range(WRITERS):
            left.acquire()
        written.set()
        return []

    send(servers.first, ADD, sessionId="s", messages=[{"messageId": "first", "role": "USER", "content": "the first"}])
    results = servers.race(*[write] * WRITERS, read, read, watch)
    whole = list(range(1, 2 + sum(map(len, results[:WRITERS]))))
    assert sorted([1, *(sequence for kept in results[:WRITERS] for sequence in kept)]) == whole
    assert results[WRITERS] == results[WRITERS + 1] == whole
    assert all(kept == sorted(kept) for kept in results[:WRITERS])


def test_retries_of_a_batch_at_the_same_time_store_it_once(servers: Servers) -> None:
    batch: list[dict[str, Any]] = [{"messageId": str(n), "role": "USER", "content": str(n)} for n in range(3)]
    answers = servers.race(*[lambda api: send(api, ADD, sessionId="new", messages=batch)] * 8)
    assert [codes_of(answer) for answer in answers] == [[]] * 8
    assert {tuple(message["sequence"] for message in answer["messages"]) for answer in answers} == {(1, 2, 3)}


def test_a_statement_that_clients_send_at_the_same_time_is_one_memory(servers: Servers, place: Place) -> None:
    send(servers.first, mutation("createUser", "user { id }"), userId="u")

    def say(number: int) -> Any:
        place = {"sessionId": f"s{number % 3}", "userId": "u"}
        return lambda api: send(api, ADD, **place, messages=said("I live in Paris.", "I love green tea."))

    answers = servers.race(*map(say, range(9)))
    assert [codes_of(answer) for answer in answers] == [[]] * 9
    assert count(place, "memories") == 2
    assert count(place, "memory_sources") == 18


def test_a_deletion_and_appends_at_the_same_time_leave_no_gap_that_nobody_knows(servers: Servers, place: Place) -> None:
    ids = mutation("addMessages", "messages { id }")
    added = send(servers.first, ids, sessionId="s", messages=said(*"abcdefghij"))["messages"]

    def delete(api: Api) -> None:
        for message in added[1:9]:
            assert codes_of(send(api, mutation("deleteMessage", "deletedMessageId"), id=message["id"])) in (
                [],
                ["NOT_FOUND"],
            )

    def append(api: Api) -> None:
        for _ in range(8):
            assert codes_of(send(api, ADD, sessionId="s", messages=said("more"))) == []

    servers.race(delete, delete, append, append)
    assert place.query("SELECT last_sequence FROM sessions") == [(26,)]
    assert (count(place, "messages"), count(place, "deleted_messages")) == (18, 8)
