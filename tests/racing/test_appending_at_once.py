"""Appends that PostgreSQL carries out in one statement: they do what a transaction does."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

import resolvers.sessions
from models.keys import FIRST_NONCE
from models.notices import Notice
from models.postgres.attempts import BRIEFLY
from models.postgres.database import PostgresStore
from models.values import Time
from resolvers.times import Clock
from tests.documents import (
    CREATE_SESSION,
    CREATE_USER,
    DELETE_SESSION,
    END_SESSION,
    ISSUE_USER_TOKEN,
    UPDATE_SESSION,
    mutation,
)
from tests.places import Place
from tests.postgres_places import PostgresPlace
from tests.racing.races import ADD, END, Servers, codes_of, count, nothing_is_left, said, send
from tests.servers import Api, Server, wait_until

MESSAGE = """{ id messageId sequence role name content parts toolCalls toolCallId metadata tokenCount createdAt
  utcOffset updatedAt version session { id } ... on Node { __typename } }"""
SESSION = "{ id sessionId lastActivityAt updatedAt endedAt version user { userId } messages(first: 1) { totalCount } }"
WHOLE = mutation(
    "addMessages",
    f"messages {MESSAGE} messageEdges {{ cursor node {{ id }} }} session {SESSION} deduplicated memories {{ content }}",
)
STORED = f'query {{ session(sessionId: "s") {{ messages(last: 100) {{ edges {{ cursor node {MESSAGE} }} }} }} }}'
ROWS = (
    "SELECT (to_jsonb(row) - 'number' - 'terms')::text FROM messages AS row ORDER BY sequence",
    "SELECT to_jsonb(row)::text FROM sessions AS row",
    "SELECT kind, method, content, about FROM memories ORDER BY content",
)
AT_ONCE = "WITH changed AS"
WAITING = """SELECT pid FROM pg_stat_activity
  WHERE datname = current_database() AND application_name = 'recallql' AND wait_event_type = 'Lock'"""

Input = dict[str, Any]


class Case(NamedTuple):
    """A batch for the session `s`, and what is sent before it."""

    batch: Input
    before: tuple[tuple[str, Input], ...] = ((CREATE_SESSION, {"sessionId": "s"}),)


def of(session: Input, *, user: Input | None = None) -> tuple[tuple[str, Input], ...]:
    users = () if user is None else ((CREATE_USER, {"userId": "u"} | user),)
    return (*users, (CREATE_SESSION, {"sessionId": "s"} | session))


def batch(*texts: str, **fields: Any) -> Input:
    return {"messages": said(*texts or ("hello", "how are you?")), **fields}


TALK = [
    "The boat race starts at the old lighthouse.",
    "Lanterns for the boat race hang along the pier.",
    "The lighthouse keeper sells tickets for the race.",
    "Tickets cost less before the lanterns are lit.",
    "Nobody may swim near the pier during the race.",
    "The winner of the boat race keeps a silver lantern.",
] * 3
"""Eighteen messages: after two more a summary falls due."""

EVERYTHING = [
    {
        "role": "USER",
        "name": "Ann  B.",
        "content": "Grüße 🙂 \\ \" '",
        "tokenCount": 7,
        "metadata": {"b": 1, "a": [1.50, None, "x"]},
        "createdAt": "2001-02-03T04:05:06.5+01:30",
    },
    {"role": "ASSISTANT", "toolCalls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]},
    {"role": "TOOL", "content": "", "toolCallId": "1", "createdAt": "0001-01-01T00:00:00Z"},
    {"role": "USER", "parts": [{"type": "text", "text": "a part"}], "createdAt": "9999-12-31T23:59:59.999999Z"},
    {"role": "SYSTEM", "content": "x" * 50_000},
]

AT_ONCE_CASES = {
    "plain": Case(batch()),
    "none formed": Case(batch(formMemories=False)),
    "formed": Case(batch(formMemories=True)),
    "everything": Case({"messages": EVERYTHING}),
    "a hundred": Case(batch(*map(str, range(100)), formMemories=False)),
    "the session's choice": Case(batch(), of({"formMemories": False})),
    "the user's choice": Case(batch(), of({"userId": "u"}, user={"formMemories": False})),
    "the session's choice before the user's": Case(
        batch(), of({"userId": "u", "formMemories": True}, user={"formMemories": False})
    ),
    "the user's session": Case(batch(userId="u"), of({"userId": "u"}, user={})),
    "restored before": Case(
        batch(),
        (
            *(
                (ADD, {"sessionId": "s", **batch()}),
                (DELETE_SESSION, {"sessionId": "s"}),
            ),
            (ADD, {"sessionId": "s", **batch()}),
        ),
    ),
    "up to a summary": Case(batch(), ((ADD, {"sessionId": "s", **batch(*"abcdefghijklmnopq")}),)),
    "after a summary": Case(batch(), ((ADD, {"sessionId": "s", **batch(*TALK, "a", "b")}),)),
    "no summary, since none is formed": Case(batch(formMemories=False), ((ADD, {"sessionId": "s", **batch(*TALK)}),)),
}
USUAL_CASES = {
    "a new session": Case(batch(), ()),
    "a new session of a user": Case(batch(userId="u"), ((CREATE_USER, {"userId": "u"}),)),
    "own ids": Case({"messages": [{"role": "USER", "content": "a", "messageId": "1"}]}),
    "a claim": Case(batch("I live in Paris.")),
    "choices of their own": Case(
        {"messages": [{"role": "USER", "content": "a", "formMemories": False}, {"role": "USER", "content": "b"}]}
    ),
    "a summary that falls due": Case(batch(), ((ADD, {"sessionId": "s", **batch(*TALK)}),)),
    "an ended session": Case(batch(), (*of({}), (END_SESSION, {"sessionId": "s"}))),
    "a deleted session": Case(batch(), (*of({}), (DELETE_SESSION, {"sessionId": "s"}))),
    "a session for a user": Case(batch(userId="u"), of({}, user={})),
    "another user's session": Case(batch(userId="v"), ((CREATE_USER, {"userId": "v"}), *of({"userId": "u"}, user={}))),
    "an unknown user": Case(batch(userId="v"), of({"userId": "u"}, user={})),
}
FORMING = ("a claim", "a summary that falls due", "after a summary")


@pytest.fixture
def place(postgres_place: PostgresPlace) -> PostgresPlace:
    return postgres_place


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same time and the same nonces in each run."""
    monkeypatch.setattr(Clock, "now", lambda _: Time("2026-01-02T03:04:05.678901"))
    monkeypatch.setattr(resolvers.sessions, "new_nonce", lambda: FIRST_NONCE)


def carried_out(server: Server, case: Case) -> tuple[Any, list[Any], list[str]]:
    """The answer to the batch of a case, the rows after it, and its statements; nothing is left of it then."""
    for document, fields in case.before:
        assert codes_of(send(server, document, **fields)) == []
    seen: list[str] = []
    server.app.state.database.listener = seen.append
    answer = server.execute(WHOLE, input={"sessionId": "s", **case.batch})
    server.app.state.database.listener = None
    rows = [server.place.query(query) for query in ROWS]
    shown = server.graphql(STORED)
    if (answer["data"]["addMessages"]["messages"]) is not None:
        edges = shown["session"]["messages"]["edges"][-len(case.batch["messages"]) :]
        assert answer["data"]["addMessages"]["messages"] == [edge["node"] for edge in edges]
        cursors = [edge["cursor"] for edge in answer["data"]["addMessages"]["messageEdges"]]
        assert cursors == [edge["cursor"] for edge in edges]
    for table in ("messages", "memories", "sessions", "users"):
        server.place.query(f"DELETE FROM {table}")
    return answer, rows, seen


def writing(statements: list[str]) -> list[str]:
    return [text for text in statements if "INSERT" in text or "UPDATE" in text]


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize("name", [*AT_ONCE_CASES, *USUAL_CASES])
def test_an_append_does_the_same_in_one_statement_as_in_a_transaction(
    server: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = (AT_ONCE_CASES | USUAL_CASES)[name]
    answer, rows, seen = carried_out(server, case)
    monkeypatch.setattr(PostgresStore, "_writes_at_once", False)
    assert (answer, rows) == carried_out(server, case)[:2]
    assert (rows[2] != []) == (name in FORMING)
    if name in AT_ONCE_CASES:
        (statement,) = writing(seen)
        assert statement.startswith(AT_ONCE)


@pytest.mark.parametrize("owner", ["ada", "bob", None])
@pytest.mark.parametrize("named", ["ada", "bob", None])
def test_a_user_token_adds_to_the_users_own_sessions_alone(
    server: Server, owner: str | None, named: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for user in ("ada", "bob"):
        send(server, CREATE_USER, userId=user)
    send(server, CREATE_SESSION, sessionId="s", userId=owner)
    token = server.accepted(ISSUE_USER_TOKEN, userId="ada")["token"]
    viewer = Api(server.port, server.place)
    viewer.client.headers["authorization"] = f"Bearer {token}"
    chosen = {} if named is None else {"userId": named}
    answers = []
    for at_once in (True, False):
        monkeypatch.setattr(PostgresStore, "_writes_at_once", at_once)
        answers.append(codes_of(send(viewer, ADD, sessionId="s", **batch(**chosen))))
    viewer.close()
    is_own = owner == "ada" and named != "bob"
    assert answers == ([[], []] if is_own else [["NOT_FOUND"]] * 2)
    assert count(server.place, "messages") == 4 * is_own


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


def test_listeners_are_told_of_the_session_alike(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Notice] = []
    send(server, CREATE_SESSION, sessionId="s")
    server.host.wait_for(server.app.state.database.listen(told.extend))
    for at_once in (True, False):
        monkeypatch.setattr(PostgresStore, "_writes_at_once", at_once)
        send(server, ADD, sessionId="s", **batch())
    once, after = told
    assert after.sequence == once.sequence + 2
    assert once == after._replace(sequence=once.sequence)


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
