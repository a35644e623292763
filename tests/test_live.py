"""Subscriptions: what they show, to whom, and that nothing is lost or comes twice."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from models.notices import MISSED, Notice, Seen
from resolvers.live import MOST_WAITING, Topic, Watch
from tests.documents import (
    CREATE_AGENT,
    CREATE_MEMORY,
    CREATE_SESSION,
    CREATE_USER,
    DELETE_AGENT,
    DELETE_MEMORY,
    DELETE_MESSAGE,
    DELETE_SESSION,
    DELETE_USER,
    UPDATE_MEMORY,
    UPDATE_MESSAGE,
    UPDATE_SESSION,
    mutation,
)
from tests.live import (
    ADD,
    ADDED,
    EDGES,
    MEMORIES,
    MESSAGES,
    SESSIONS,
    Connect,
    add,
    changes,
    contents,
    events,
    follow,
    nothing_comes,
    token_of,
)
from tests.places import Place
from tests.servers import Process, Server, Start
from tests.sockets import Client

MERGE = mutation("mergeUsers", "user { id }")
RENAME = mutation("renameUser", "user { id }")
PERMANENTLY = {"permanently": True}

# messageAdded


def test_what_was_missed_comes_first_and_then_each_new_message(server: Server, connect: Connect) -> None:
    add(server, "s", "one", "two")
    add(server, "s", "three")
    client = connect(server)
    client.subscribe("1", ADDED, session="s", start=0)
    before = events(client, 3)
    add(server, "s", "four", "five")
    found = [*before, *events(client, 2)]
    assert [event["node"]["content"] for event in found] == ["one", "two", "three", "four", "five"]
    stored = server.graphql(EDGES, id="s")["session"]["messages"]["edges"]
    assert [(event["cursor"], event["node"]["sequence"]) for event in found] == [
        (edge["cursor"], edge["node"]["sequence"]) for edge in stored
    ]


def test_the_sender_resumes_from_the_edges_of_its_own_messages(server: Server, connect: Connect) -> None:
    first, second = add(server, "s", "one", "two")["messageEdges"]
    client = connect(server)
    client.subscribe("1", ADDED, session="s", after=first["cursor"])
    client.subscribe("2", ADDED, session="s", after=second["cursor"])
    assert contents(client, 1) == ["two"]
    add(server, "s", "three")
    assert contents(client, 2) == ["three", "three"]


def test_without_a_place_only_new_messages_come(server: Server, connect: Connect) -> None:
    add(server, "s", "old")
    client = connect(server)
    follow(server, client, "1", ADDED, session="s")
    add(server, "s", "new")
    assert contents(client, 1) == ["new"]


WRONG: list[dict[str, Any]] = [
    {"start": 3},
    {"start": -1},
    {"start": 2**31 - 1},
    {"after": ""},
    {"after": "abc"},
    {"after": "ffffffff"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_place_that_is_none_of_the_session_is_refused(
    wrong: dict[str, Any], server: Server, connect: Connect
) -> None:
    add(server, "s", "one", "two")
    answer = connect(server).ask(ADDED, session="s", **wrong)
    (error,) = answer["errors"]
    assert (error["extensions"]["code"], error["path"]) == ("BAD_USER_INPUT", ["messageAdded"])


def test_a_cursor_of_another_list_and_two_places_are_refused(server: Server, connect: Connect) -> None:
    (edge,) = add(server, "s", "one")["messageEdges"]
    (other,) = add(server, "other", "one")["messageEdges"]
    client = connect(server)
    for place in ({"after": other["cursor"]}, {"after": edge["cursor"], "start": 0}):
        (error,) = client.ask(ADDED, session="s", **place)["errors"]
        assert error["extensions"]["code"] == "BAD_USER_INPUT"
    for key in ("", "x" * 513):
        (error,) = client.ask(ADDED, session=key)["errors"]
        assert error["extensions"]["code"] == "BAD_USER_INPUT"


def test_a_session_that_is_not_there_is_waited_for(server: Server, connect: Connect) -> None:
    client = connect(server)
    follow(server, client, "1", ADDED, session="s")
    (error,) = client.ask(ADDED, session="s", start=1)["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    server.accepted(CREATE_SESSION, sessionId="s")
    add(server, "s", "one")
    assert contents(client, 1) == ["one"]


@pytest.mark.parametrize("permanently", [False, True])
def test_a_session_that_is_deleted_and_begins_anew_goes_on(permanently: bool, server: Server, connect: Connect) -> None:
    add(server, "s", "one", "two")
    client = connect(server)
    client.subscribe("1", ADDED, session="s", start=0)
    assert contents(client, 2) == ["one", "two"]
    server.accepted(DELETE_SESSION, sessionId="s", permanently=permanently)
    add(server, "s", "three", "four")
    found = events(client, 2)
    assert [event["node"]["content"] for event in found] == ["three", "four"]
    assert [event["node"]["sequence"] for event in found] == ([1, 2] if permanently else [3, 4])
    server.accepted(DELETE_SESSION, sessionId="s")
    server.accepted(CREATE_SESSION, sessionId="s")
    add(server, "s", "five")
    assert contents(client, 1) == ["five"]


def test_an_event_is_selected_from_as_in_queries(server: Server, connect: Connect) -> None:
    server.accepted(CREATE_USER, userId="ada", name="Ada")
    client = connect(server)
    client.subscribe(
        "1",
        """subscription { messageAdded(sessionId: "s", afterSequence: 0) { node {
          ...Turn memories { nodes { content } } session { user { name sessions { totalCount } } } } } }
        fragment Turn on Message { text: content role __typename }""",
    )
    add(server, "s", "I live in Turin.", userId="ada", formMemories=True)
    (event,) = events(client, 1)
    assert event["node"] == {
        "text": "I live in Turin.",
        "role": "USER",
        "__typename": "Message",
        "memories": {"nodes": [{"content": "I live in Turin"}]},
        "session": {"user": {"name": "Ada", "sessions": {"totalCount": 1}}},
    }


def test_long_messages_come_whole(server: Server, connect: Connect) -> None:
    texts = [str(number) * 700_000 for number in range(5)]
    for text in texts:
        add(server, "s", text)
    client = connect(server)
    client.subscribe("1", ADDED, session="s", start=0)
    assert contents(client, 5) == texts


def test_nothing_is_lost_or_twice_while_many_write_and_readers_reconnect(server: Server) -> None:
    sessions, writers, batches = ["a", "b"], 4, 15
    ended = threading.Event()

    def write(number: int) -> None:
        chance = random.Random(number)
        for batch in range(batches):
            session = chance.choice(sessions)
            turns = [f"{number}.{batch}.{turn}" for turn in range(chance.randint(1, 3))]
            add(server, session, *turns)
            if chance.random() < 0.3:
                # Refused as a whole: its sequences are given to others.
                wrong = {"sessionId": session, "messages": [{"role": "USER", "content": "x"}, {"role": "USER"}]}
                assert server.graphql(ADD, input=wrong)["addMessages"]["userErrors"]

    def stored(session: str) -> list[int]:
        edges = server.graphql(EDGES, id=session)["session"]["messages"]["edges"]
        return [edge["node"]["sequence"] for edge in edges]

    def read(number: int) -> list[int]:
        chance, session = random.Random(1000 + number), sessions[number % 2]
        found: list[int] = []
        place: dict[str, Any] = {"start": 0}
        while not ended.is_set() or found[-1:] != stored(session)[-1:]:
            with Client(server.port) as client:
                client.begin().subscribe("1", ADDED, session=session, **place)
                client.socket.settimeout(0.5)
                with suppress(TimeoutError):
                    for _ in range(chance.randint(1, 12)):
                        (event,) = events(client, 1)
                        found.append(event["node"]["sequence"])
                        place = {"after": event["cursor"]}
        return found

    with ThreadPoolExecutor(writers + 6) as threads:
        reading = [threads.submit(read, number) for number in range(6)]
        try:
            list(threads.map(write, range(writers)))
        finally:
            ended.set()
        for each in reading:
            found = each.result()
            assert found == list(range(1, len(found) + 1))


def test_many_subscribers_of_a_session_share_a_read(server: Server, connect: Connect) -> None:
    clients = [connect(server) for _ in range(8)]
    for client in clients:
        follow(server, client, "1", ADDED, session="s")
    statements: list[str] = []
    database = server.app.state.database
    database.listener = statements.append
    add(server, "s", "one")
    for client in clients:
        assert contents(client, 1) == ["one"]
    database.listener = None
    assert len([text for text in statements if text.startswith("SELECT") and "messages.content" in text]) <= 2


def test_what_is_sent_after_a_subscription_comes_after_its_beginning(server: Server, connect: Connect) -> None:
    for number in range(5):
        client = connect(server)
        messages = [
            {"type": "subscribe", "id": "events", "payload": {"query": SESSIONS}},
            {
                "type": "subscribe",
                "id": "mutation",
                "payload": {"query": CREATE_SESSION, "variables": {"input": {"sessionId": f"s{number}"}}},
            },
        ]
        client.socket.sendall(b"".join(map(client.frames_of, messages)))
        heard = [client.heard() for _ in range(3)]
        assert {message["id"] for message in heard} == {"events", "mutation"}
        (event,) = (message["payload"]["data"]["sessionChanged"] for message in heard if message["id"] == "events")
        assert event["change"] == "CREATED"


# Who sees it


def test_a_user_waits_for_a_session_until_it_is_the_users_own(server: Server, connect: Connect) -> None:
    for user in ("ada", "bo"):
        server.accepted(CREATE_USER, userId=user)
    add(server, "s", "before")
    ada, bo = connect(server, token_of(server, "ada")), connect(server, token_of(server, "bo"))
    # Nobody learns from the error that the session has messages.
    (error,) = ada.ask(ADDED, session="s", start=1)["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    for client in (ada, bo):
        client.subscribe("all", ADDED, session="s", start=0)
        nothing_comes(client, server)
    server.accepted(UPDATE_SESSION, sessionId="s", userId="ada")
    assert contents(ada, 1) == ["before"]
    add(server, "s", "adas")
    assert contents(ada, 1) == ["adas"]
    nothing_comes(bo, server)
    server.accepted(UPDATE_SESSION, sessionId="s", userId="bo")
    add(server, "s", "bos")
    assert contents(bo, 3) == ["before", "adas", "bos"]
    nothing_comes(ada, server)


def test_a_session_that_changes_its_owner_is_gone_for_one_and_new_for_the_other(
    server: Server, connect: Connect
) -> None:
    for user in ("ada", "bo"):
        server.accepted(CREATE_USER, userId=user)
    id = server.accepted(CREATE_SESSION, sessionId="s", userId="ada")["session"]["id"]
    ada, bo, service = (
        connect(server, token_of(server, "ada")),
        connect(server, token_of(server, "bo")),
        connect(server),
    )
    for client in (ada, bo, service):
        follow(server, client, "1", SESSIONS)
    follow(server, service, "2", SESSIONS, user="bo")
    server.accepted(UPDATE_SESSION, sessionId="s", userId="bo")
    assert changes(ada, 1) == [("DELETED", id)]
    assert changes(bo, 1) == [("CREATED", id)]
    assert sorted(changes(service, 2)) == [("CREATED", id), ("UPDATED", id)]


def test_what_is_somebody_elses_has_no_events(server: Server, connect: Connect) -> None:
    for user in ("ada", "bo"):
        server.accepted(CREATE_USER, userId=user)
    message = add(server, "s", "I live in Turin.", userId="ada", formMemories=True)["messages"][0]["id"]
    bo = connect(server, token_of(server, "bo"))
    for number, (document, variables) in enumerate(
        [
            (SESSIONS, {"user": "ada"}),
            (MEMORIES, {"user": "ada"}),
            (MESSAGES, {"session": "s"}),
            (SESSIONS, {}),
            (MEMORIES, {}),
        ]
    ):
        follow(server, bo, str(number), document, **variables)
    server.accepted(UPDATE_MESSAGE, id=message, content="I live in Oslo.")
    server.accepted(UPDATE_SESSION, sessionId="s", title="t")
    server.accepted(DELETE_MESSAGE, id=message)
    nothing_comes(bo, server)


def test_a_token_without_read_may_not_subscribe(server: Server, connect: Connect) -> None:
    server.accepted(CREATE_USER, userId="ada")
    client = connect(server, token_of(server, "ada", "WRITE"))
    of_session = {"session": "s"}
    for document, variables in ((ADDED, of_session), (MESSAGES, of_session), (MEMORIES, {}), (SESSIONS, {})):
        answer = client.ask(document, **variables)
        assert {error["extensions"]["code"] for error in answer["errors"]} == {"FORBIDDEN"}


# Changes


def test_the_changes_of_sessions_are_told(server: Server, connect: Connect) -> None:
    client = connect(server)
    follow(server, client, "1", SESSIONS)
    id = server.accepted(CREATE_SESSION, sessionId="s")["session"]["id"]
    assert changes(client, 1) == [("CREATED", id)]
    server.accepted(UPDATE_SESSION, sessionId="s", title="Trip")
    assert events(client, 1) == [{"change": "UPDATED", "nodeId": id, "session": {"id": id, "title": "Trip"}}]
    add(server, "s", "one")
    assert changes(client, 1) == [("UPDATED", id)]
    server.accepted(DELETE_SESSION, sessionId="s")
    assert events(client, 1) == [{"change": "DELETED", "nodeId": id, "session": None}]
    assert add(server, "s", "back")["session"]["id"] == id
    assert changes(client, 1) == [("CREATED", id)]
    server.accepted(DELETE_SESSION, sessionId="s", permanently=True)
    assert changes(client, 1) == [("DELETED", id)]
    other = server.accepted(CREATE_SESSION, sessionId="s")["session"]["id"]
    assert other != id
    assert changes(client, 1) == [("CREATED", other)]


def test_a_session_loses_its_agent_with_an_event(server: Server, connect: Connect) -> None:
    server.accepted(CREATE_AGENT, agentId="a", name="a")
    id = server.accepted(CREATE_SESSION, sessionId="s", agentId="a")["session"]["id"]
    client = connect(server)
    follow(server, client, "1", SESSIONS)
    server.accepted(DELETE_AGENT, agentId="a")
    assert changes(client, 1) == [("UPDATED", id)]


def test_the_changes_of_messages_are_told(server: Server, connect: Connect) -> None:
    first, second = add(server, "s", "one", "two")["messages"]
    client = connect(server)
    follow(server, client, "1", MESSAGES, session="s")
    server.accepted(UPDATE_MESSAGE, id=first["id"], content="eins")
    event = {"change": "UPDATED", "nodeId": first["id"], "message": {"id": first["id"], "content": "eins"}}
    assert events(client, 1) == [event]
    add(server, "s", "three")
    server.accepted(DELETE_MESSAGE, id=second["id"])
    assert events(client, 1) == [{"change": "DELETED", "nodeId": second["id"], "message": None}]


def test_the_changes_of_memories_are_told_whatever_makes_them(server: Server, connect: Connect) -> None:
    server.accepted(CREATE_USER, userId="ada")
    client = connect(server)
    follow(server, client, "1", MEMORIES, user="ada")
    message = add(server, "s", "I live in Turin.", userId="ada", formMemories=True)["messages"][0]["id"]
    (formed,) = events(client, 1)
    assert (formed["change"], formed["memory"]["content"]) == ("CREATED", "I live in Turin")
    server.accepted(UPDATE_MESSAGE, id=message, content="I live in Oslo.")
    one, other = sorted(events(client, 2), key=lambda event: event["change"])
    assert (one["change"], one["memory"]["content"]) == ("CREATED", "I live in Oslo")
    assert (other["change"], other["nodeId"]) == ("DELETED", formed["nodeId"])
    server.accepted(DELETE_SESSION, sessionId="s")
    assert changes(client, 1) == [("DELETED", one["nodeId"])]
    id = server.accepted(CREATE_MEMORY, userId="ada", kind="PREFERENCE", content="Likes tea")["memory"]["id"]
    assert changes(client, 1) == [("CREATED", id)]
    server.accepted(UPDATE_MEMORY, id=id, content="Likes green tea")
    event = {"change": "UPDATED", "nodeId": id, "memory": {"id": id, "content": "Likes green tea"}}
    assert events(client, 1) == [event]
    server.accepted(DELETE_MEMORY, id=id)
    assert changes(client, 1) == [("DELETED", id)]


def test_users_who_become_one_and_who_are_renamed_or_erased_are_told_of(server: Server, connect: Connect) -> None:
    for user in ("ada", "bo"):
        server.accepted(CREATE_USER, userId=user)
    session = server.accepted(CREATE_SESSION, sessionId="s", userId="ada")["session"]["id"]
    memory = server.accepted(CREATE_MEMORY, userId="ada", kind="PREFERENCE", content="Likes tea")["memory"]["id"]
    ada, bo, carl = connect(server), connect(server), connect(server)
    for client, user in ((ada, "ada"), (bo, "bo"), (carl, "carl")):
        follow(server, client, "sessions", SESSIONS, user=user)
        follow(server, client, "memories", MEMORIES, user=user)
    server.accepted(MERGE, fromUserId="ada", intoUserId="bo")
    assert sorted(changes(ada, 2)) == [("DELETED", session), ("DELETED", memory)]
    assert sorted(changes(bo, 2)) == [("CREATED", session), ("CREATED", memory)]
    server.accepted(RENAME, userId="bo", newUserId="carl")
    assert sorted(changes(bo, 2)) == [("DELETED", session), ("DELETED", memory)]
    assert sorted(changes(carl, 2)) == [("CREATED", session), ("CREATED", memory)]
    server.accepted(DELETE_USER, userId="carl")
    assert sorted(changes(carl, 2)) == [("DELETED", session), ("DELETED", memory)]


def test_an_agents_memories_are_told_to_the_application(server: Server, connect: Connect) -> None:
    server.accepted(CREATE_AGENT, agentId="a", name="a")
    client = connect(server)
    follow(server, client, "1", MEMORIES)
    id = server.accepted(CREATE_MEMORY, agentId="a", kind="FACT", content="Speaks Latin")["memory"]["id"]
    server.accepted(DELETE_AGENT, agentId="a")
    found = changes(client, 1)
    if found == [("CREATED", id)]:
        found = changes(client, 1)
    assert found == [("DELETED", id)]


# Several processes, and outages


def test_another_process_is_heard(place: Place, serve: Callable[..., Process], connect: Connect) -> None:
    one, other = serve(place=place), serve(place=place)
    other.accepted(CREATE_USER, userId="ada")
    client = connect(one)
    client.subscribe("1", ADDED, session="s", start=0)
    for document, variables in ((SESSIONS, {"user": "ada"}), (MEMORIES, {"user": "ada"}), (MESSAGES, {"session": "s"})):
        follow(one, client, document, document, **variables)
    added = add(other, "s", "I live in Turin.", userId="ada", formMemories=True)
    found = {name: event for event in events(client, 3) for name in ("node", "session", "memory") if name in event}
    assert found["node"]["node"]["content"] == "I live in Turin."
    assert found["session"]["nodeId"] == added["session"]["id"]
    assert found["memory"]["memory"]["content"] == "I live in Turin"
    other.accepted(DELETE_MESSAGE, id=added["messages"][0]["id"])
    assert sorted(changes(client, 2)) == sorted(
        [("DELETED", added["messages"][0]["id"]), ("DELETED", found["memory"]["nodeId"])]
    )


def test_messages_of_which_nobody_has_told_come_too(
    place: Place, start: Start, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: Any) -> None:
        """As if the process were killed before it told others."""

    monkeypatch.setattr("resolvers.live.RECOVER_EVERY", 0.2)
    monkeypatch.setattr("models.sqlite.telling.SqliteTelling.note", nothing)
    monkeypatch.setattr("models.postgres.telling.PostgresTelling._send", nothing)
    server, other = start(place), start(place)
    client = connect(server)
    follow(server, client, "1", ADDED, session="s")
    add(other, "s", "one")
    assert contents(client, 1) == ["one"]


def test_a_client_resumes_at_another_process_when_its_own_is_killed(
    place: Place, serve: Callable[..., Process], connect: Connect
) -> None:
    one, other = serve(place=place), serve(place=place)
    client = connect(one)
    client.subscribe("1", ADDED, session="s", start=0)
    add(one, "s", "one")
    add(other, "s", "two")
    last = events(client, 2)[-1]
    one.process.kill()
    add(other, "s", "three")
    again = connect(other)
    again.subscribe("1", ADDED, session="s", after=last["cursor"])
    add(other, "s", "four")
    assert contents(again, 2) == ["three", "four"]


def test_who_waits_with_too_many_changes_is_told_to_fetch_again() -> None:
    watch = Watch(Topic("sessions", "p"))
    seen = Seen("p", None)
    for number in range(MOST_WAITING):
        watch.add(Notice("sessions", b"%d" % number, 1, 0, None, seen))
    assert not watch.has_missed
    watch.add(Notice("sessions", b"one more", 1, 0, None, seen))
    assert watch.has_missed
    other = Watch(Topic("sessions", "p"))
    other.add(MISSED)
    assert other.has_missed
