"""Appends that PostgreSQL carries out in one statement, beside others that hold the session or append to it, too."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from models.postgres.attempts import BRIEFLY
from tests.documents import CREATE_SESSION, CREATE_USER, DELETE_SESSION, UPDATE_SESSION, mutation
from tests.places import Place
from tests.postgres_places import PostgresPlace
from tests.racing.races import ADD, END, Servers, codes_of, count, nothing_is_left, said, send
from tests.racing.test_appending_at_once import STORED, WHOLE, Input, batch
from tests.servers import Api, Server, wait_until

WAITING = """SELECT pid FROM pg_stat_activity
  WHERE datname = current_database() AND application_name = 'recallql' AND wait_event_type = 'Lock'"""


@pytest.fixture
def place(postgres_place: PostgresPlace) -> PostgresPlace:
    return postgres_place


@pytest.mark.parametrize(("ahead", "moves"), [("1 second", True), ("1 hour", False)])
def test_an_append_that_was_overtaken_gets_times_after_those_of_the_faster_one(
    server: Server, ahead: str, moves: bool
) -> None:
    send(server, CREATE_SESSION, sessionId="s")
    server.place.query(f"UPDATE sessions SET last_activity_at = now() + interval '{ahead}'")
    ((overtaken,),) = server.place.query("SELECT last_activity_at FROM sessions")
    said_before = {"role": "USER", "content": "c", "createdAt": "2001-02-03T04:05:06Z"}
    answer = server.accepted(WHOLE, sessionId="s", messages=[*said("a", "b"), said_before])
    edges = server.graphql(STORED)["session"]["messages"]["edges"]
    assert answer["messages"] == [edge["node"] for edge in edges]
    ((last,),) = server.place.query("SELECT last_activity_at FROM sessions")
    first, second, third = (message["createdAt"][:-1] for message in answer["messages"])
    assert first < second < last == answer["session"]["lastActivityAt"][:-1]
    assert (overtaken <= first) == moves
    assert third == "2001-02-03T04:05:06"


# Waiting


def held(place: PostgresPlace) -> Any:
    """A block in which somebody else holds the session."""
    return place.connected("somebody", "BEGIN; SELECT FROM sessions FOR UPDATE")


def test_an_append_that_waits_for_long_is_kept_once(server: Server, postgres_place: PostgresPlace) -> None:
    send(server, CREATE_SESSION, sessionId="s")
    with ThreadPoolExecutor(1) as threads:
        with held(postgres_place):
            answer = threads.submit(send, server, ADD, sessionId="s", **batch())
            time.sleep(BRIEFLY + 0.5)
            assert not answer.done()
        assert codes_of(answer.result()) == []
    assert count(postgres_place, "messages") == 2


@pytest.mark.parametrize("seconds", [0.8, 1.6])
def test_an_append_gives_up_at_the_deadline_of_its_request(postgres_place: PostgresPlace, seconds: float) -> None:
    server = Server(postgres_place, request_timeout=seconds)
    send(server, CREATE_SESSION, sessionId="s")
    with held(postgres_place):
        begun = time.monotonic()
        answer = server.execute(ADD, input={"sessionId": "s", **batch()})
        assert time.monotonic() - begun < seconds + 5
        assert answer["errors"][0]["extensions"]["code"] in ("UNAVAILABLE", "TIMEOUT")
        wait_until(lambda: not postgres_place.query(WAITING))
    server.close()
    assert count(postgres_place, "messages") == 0


def test_an_append_whose_connection_is_lost_is_not_repeated(server: Server, postgres_place: PostgresPlace) -> None:
    send(server, CREATE_SESSION, sessionId="s")
    with ThreadPoolExecutor(1) as threads, held(postgres_place):
        answer = threads.submit(server.execute, ADD, input={"sessionId": "s", **batch()})
        wait_until(lambda: postgres_place.query(WAITING))
        postgres_place.query(END)
        (error,) = answer.result()["errors"]
    assert error["extensions"]["code"] == "UNAVAILABLE"
    assert "may have been kept, or not" in error["message"]
    assert count(postgres_place, "messages") == 0
    assert codes_of(send(server, ADD, sessionId="s", **batch())) == []


# Others at the same time


def adding(session: str, kept: list[int], ended: threading.Event, **fields: Any) -> Callable[[Api], None]:
    """Appends until something has ended, or the user is gone; notes the sequences."""

    def run(api: Api) -> None:
        while not ended.is_set():
            payload = send(api, ADD, sessionId=session, **batch(**fields))
            if codes_of(payload):
                assert codes_of(payload) == ["NOT_FOUND"]
                return
            kept.extend(message["sequence"] for message in payload["messages"])

    return run


def repeating(ended: threading.Event, times: int, *sent: tuple[str, Input]) -> Callable[[Api], None]:
    def run(api: Api) -> None:
        try:
            for document, fields in sent * times:
                assert codes_of(send(api, document, **fields)) == []
        finally:
            ended.set()

    return run


def test_the_receipt_of_an_erasure_counts_what_was_added_until_then(servers: Servers, place: Place) -> None:
    for number in range(12):
        user, ended, kept = f"u{number}", threading.Event(), list[int]()
        send(servers.first, CREATE_USER, userId=user)
        for session in "ab":
            send(servers.first, CREATE_SESSION, sessionId=session + user, userId=user)
        receipts: list[int] = []

        def erase(api: Api, user: str = user, receipts: list[int] = receipts) -> None:
            time.sleep(0.02)
            payload = send(api, mutation("deleteUser", "receipt { messages }"), userId=user)
            receipts.append(payload["receipt"]["messages"])

        clients = [adding(session + user, kept, ended, userId=user) for session in "aabb"]
        servers.race(erase, *clients)
        assert receipts == [len(kept)]
    nothing_is_left(place)
    assert count(place, "messages") == count(place, "sessions") == 0


def test_appends_while_a_session_is_deleted_restored_and_given_to_users_have_no_gap(
    servers: Servers, place: Place
) -> None:
    for user in "uv":
        send(servers.first, CREATE_USER, userId=user)
    send(servers.first, CREATE_SESSION, sessionId="s")
    ended, kept = threading.Event(), list[int]()
    changes = repeating(
        ended,
        8,
        (UPDATE_SESSION, {"sessionId": "s", "userId": "u"}),
        (ADD, {"sessionId": "s", **batch("I live in Paris.")}),
        (mutation("renameUser", "user { id }"), {"userId": "u", "newUserId": "w"}),
        (mutation("mergeUsers", "user { id }"), {"fromUserId": "w", "intoUserId": "v"}),
        (CREATE_USER, {"userId": "u"}),
        (UPDATE_SESSION, {"sessionId": "s", "userId": None}),
    )
    servers.race(changes, *[adding("s", kept, ended)] * 4)
    assert sorted(kept) == sorted(set(kept))
    assert len(kept) + 8 == count(place, "messages")
    assert place.query("SELECT last_sequence FROM sessions") == [(len(kept) + 8,)]
    nothing_is_left(place)

    ended, kept = threading.Event(), list[int]()
    first = count(place, "messages")
    deletions = repeating(ended, 12, (DELETE_SESSION, {"sessionId": "s"}), (ADD, {"sessionId": "s", **batch()}))
    servers.race(deletions, *[adding("s", kept, ended)] * 3)
    (last,) = place.query("SELECT last_sequence FROM sessions")[0]
    assert last == first + len(kept) + 24
    assert len(set(kept)) == len(kept)
    assert count(place, "messages", "sequence NOT BETWEEN 1 AND (SELECT last_sequence FROM sessions)") == 0
    assert count(place, "messages") == last


def test_the_times_of_messages_keep_to_their_order(servers: Servers, place: Place) -> None:
    send(servers.first, CREATE_SESSION, sessionId="s")
    ended, kept = threading.Event(), list[int]()
    wait = [lambda _: (time.sleep(1), ended.set())]
    servers.race(*wait, *[adding("s", kept, ended)] * 6)
    assert sorted(kept) == list(range(1, len(kept) + 1))
    disorder = """SELECT count(*) FROM messages AS one JOIN messages AS next
      ON next.session_key = one.session_key AND next.sequence = one.sequence + 1
      WHERE next.created_at < one.created_at"""
    assert place.query(disorder) == [(0,)]
