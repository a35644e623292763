"""Appends that do not read first: they do what the usual ones do."""

from typing import Any, NamedTuple

import pytest

import resolvers.messages
import resolvers.sessions
from models.keys import FIRST_NONCE
from models.notices import Notice
from models.values import Time
from resolvers.times import Clock
from tests.documents import (
    CREATE_SESSION,
    CREATE_USER,
    DELETE_SESSION,
    END_SESSION,
    ISSUE_USER_TOKEN,
    mutation,
)
from tests.places import Place
from tests.racing.races import ADD, codes_of, count, said, send
from tests.servers import Api, Server

MESSAGE = """{ id messageId sequence role name content parts toolCalls toolCallId metadata tokenCount createdAt
  utcOffset updatedAt version session { id } ... on Node { __typename } }"""
SESSION = "{ id sessionId lastActivityAt updatedAt endedAt version user { userId } messages(first: 1) { totalCount } }"
WHOLE = mutation(
    "addMessages",
    f"messages {MESSAGE} messageEdges {{ cursor node {{ id }} }} session {SESSION} deduplicated memories {{ content }}",
)
STORED = f'query {{ session(sessionId: "s") {{ messages(last: 100) {{ edges {{ cursor node {MESSAGE} }} }} }} }}'
TABLES = ("messages", "sessions", "memories")
AT_ONCE = ("WITH changed AS", "UPDATE sessions")
"""The beginning of the first statement that writes, on PostgreSQL and on SQLite; the usual one is an INSERT."""
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
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same time and the same nonces in each run."""
    monkeypatch.setattr(Clock, "now", lambda _: Time("2026-01-02T03:04:05.678901"))
    monkeypatch.setattr(resolvers.sessions, "new_nonce", lambda: FIRST_NONCE)


def rows_of(place: Place, table: str) -> list[Any]:
    """The rows of a table, without the numbers that the database gives them, and the keys that are made up."""
    names = sorted(place.columns(table) - {"number", "terms"} - ({"key"} if table == "memories" else set()))
    return sorted(place.query(f"SELECT {', '.join(names)} FROM {table}"), key=repr)


def carried_out(server: Server, case: Case) -> tuple[Any, list[Any], list[str]]:
    """The answer to the batch of a case, the rows after it, and its statements; nothing is left of it then."""
    for document, fields in case.before:
        assert codes_of(send(server, document, **fields)) == []
    seen: list[str] = []
    server.app.state.database.listener = seen.append
    answer = server.execute(WHOLE, input={"sessionId": "s", **case.batch})
    server.app.state.database.listener = None
    rows = [rows_of(server.place, table) for table in TABLES]
    shown = server.graphql(STORED)
    if (answer["data"]["addMessages"]["messages"]) is not None:
        edges = shown["session"]["messages"]["edges"][-len(case.batch["messages"]) :]
        assert answer["data"]["addMessages"]["messages"] == [edge["node"] for edge in edges]
        cursors = [edge["cursor"] for edge in answer["data"]["addMessages"]["messageEdges"]]
        assert cursors == [edge["cursor"] for edge in edges]
    for table in ("messages", "memories", "sessions", "users"):
        server.place.query(f"DELETE FROM {table}")
    return answer, rows, seen


async def not_at_once(*_: Any) -> None:
    """In place of an append at once: the usual one follows."""


def writing(statements: list[str]) -> list[str]:
    return [text for text in statements if "INSERT" in text or "UPDATE" in text]


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize("name", [*AT_ONCE_CASES, *USUAL_CASES])
def test_an_append_does_the_same_in_one_statement_as_in_a_transaction(
    server: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = (AT_ONCE_CASES | USUAL_CASES)[name]
    answer, rows, seen = carried_out(server, case)
    monkeypatch.setattr(resolvers.messages, "_append_at_once", not_at_once)
    assert (answer, rows) == carried_out(server, case)[:2]
    assert (rows[2] != []) == (name in FORMING)
    if name in AT_ONCE_CASES:
        assert writing(seen)[0].startswith(AT_ONCE)


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
        if not at_once:
            monkeypatch.setattr(resolvers.messages, "_append_at_once", not_at_once)
        answers.append(codes_of(send(viewer, ADD, sessionId="s", **batch(**chosen))))
    viewer.close()
    is_own = owner == "ada" and named != "bob"
    assert answers == ([[], []] if is_own else [["NOT_FOUND"]] * 2)
    assert count(server.place, "messages") == 4 * is_own


def test_listeners_are_told_of_the_session_alike(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Notice] = []
    send(server, CREATE_SESSION, sessionId="s")
    server.host.wait_for(server.app.state.database.listen(told.extend))
    for at_once in (True, False):
        if not at_once:
            monkeypatch.setattr(resolvers.messages, "_append_at_once", not_at_once)
        send(server, ADD, sessionId="s", **batch())
    once, after = told
    assert after.sequence == once.sequence + 2
    assert once == after._replace(sequence=once.sequence)
