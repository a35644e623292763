"""Users and agents who go while others add something of theirs."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.documents import mutation
from tests.places import Place
from tests.racing.races import ADD, Servers, codes_of, count, nothing_is_left, said, send
from tests.servers import Api

CREATE_USER = mutation("createUser", "user { id }")
CREATE_MEMORY = mutation("createMemory", "memory { id }")
ROUNDS = 6


def until(ended: threading.Event, *operations: Callable[[Api], dict[str, Any]]) -> Callable[[Api], None]:
    """Repeats operations, which may be refused, until something has ended."""

    def run(api: Api) -> None:
        while not ended.is_set():
            for operation in operations:
                operation(api)

    return run


def sending(name: str, selection: str, /, **fields: Any) -> Callable[[Api], dict[str, Any]]:
    return lambda api: send(api, mutation(name, selection), **fields)


def ending(ended: threading.Event, *operations: Callable[[Api], dict[str, Any]]) -> Callable[[Api], None]:
    def run(api: Api) -> None:
        try:
            for operation in operations:
                ended.wait(0.05)
                assert codes_of(operation(api)) == []
        finally:
            ended.set()

    return run


def test_nothing_is_left_of_a_user_who_is_erased_while_others_add_to_it(servers: Servers, place: Place) -> None:
    for number in range(ROUNDS):
        user, ended = f"u{number}", threading.Event()
        send(servers.first, CREATE_USER, userId=user)
        for session in (f"{user} own", f"{user} free"):
            send(servers.first, ADD, sessionId=session, messages=said("I live in Paris."))
        send(servers.first, mutation("updateSession", "session { id }"), sessionId=f"{user} own", userId=user)
        servers.race(
            ending(ended, sending("deleteUser", "receipt { sessions }", userId=user)),
            until(
                ended, sending("addMessages", "session { id }", sessionId=f"{user} own", messages=said("I love tea."))
            ),
            until(
                ended,
                sending("addMessages", "session { id }", sessionId=f"{user} free", userId=user, messages=said("hello")),
                sending("updateSession", "session { id }", sessionId=f"{user} free", userId=None),
            ),
            until(
                ended,
                sending("createMemory", "memory { id }", sessionId=f"{user} own", kind="FACT", content="c"),
                sending("createMemory", "memory { id }", userId=user, kind="SUMMARY", content="c"),
                sending("createDocument", "document { id }", userId=user, title="t", content="c"),
            ),
            until(
                ended,
                sending("createSession", "session { id }", userId=user),
                sending("cloneSession", "session { id }", sessionId=f"{user} own"),
                sending("endSession", "session { id }", sessionId=f"{user} own"),
                sending("reopenSession", "session { id }", sessionId=f"{user} own"),
            ),
        )
        assert servers.first.graphql("query ($id: String!) { user(userId: $id) { id } }", id=user) == {"user": None}
        assert place.query(f"SELECT count(*) FROM sessions WHERE user_ascending = '{user}'") == [(0,)]
    nothing_is_left(place)


def test_nothing_is_left_of_an_agent_that_is_deleted_while_others_refer_to_it(servers: Servers, place: Place) -> None:
    for number in range(ROUNDS):
        agent, ended = f"a{number}", threading.Event()
        send(servers.first, mutation("createAgent", "agent { id }"), agentId=agent, name="A")
        send(servers.first, mutation("createSession", "session { id }"), sessionId=f"{agent} s", agentId=agent)
        servers.race(
            ending(ended, sending("deleteAgent", "deletedAgentId", agentId=agent)),
            until(
                ended,
                sending("createSession", "session { id }", agentId=agent),
                sending("cloneSession", "session { id }", sessionId=f"{agent} s"),
            ),
            until(ended, sending("updateSession", "session { id }", sessionId=f"{agent} s", agentId=agent)),
            until(
                ended,
                sending("createMemory", "memory { id }", agentId=agent, kind="FACT", content="c"),
                sending("createDocument", "document { id }", agentId=agent, title="t", content="c"),
            ),
        )
    nothing_is_left(place)


@pytest.mark.parametrize(
    "move",
    [
        sending("renameUser", "user { id }", userId="from", newUserId="into"),
        sending("mergeUsers", "user { id }", fromUserId="from", intoUserId="into"),
    ],
    ids=["rename", "merge"],
)
def test_everything_moves_with_a_user_to_whom_others_add_meanwhile(
    servers: Servers, place: Place, move: Callable[[Api], dict[str, Any]], request: pytest.FixtureRequest
) -> None:
    users = ["from", "into"] if "merge" in request.node.name else ["from"]
    for user in users:
        send(servers.first, CREATE_USER, userId=user)
    ended = threading.Event()
    kept = threading.Lock()
    numbers = {"messages": 0, "memories": 0}

    def counting(name: str, operation: Callable[[Api], dict[str, Any]]) -> Callable[[Api], dict[str, Any]]:
        def run(api: Api) -> dict[str, Any]:
            payload = operation(api)
            with kept:
                numbers[name] += not codes_of(payload)
            return payload

        return run

    add = counting("messages", sending("addMessages", "session { id }", sessionId="s", messages=said("hello")))
    named = counting(
        "messages", sending("addMessages", "session { id }", sessionId="t", userId="from", messages=said("hello"))
    )
    remember = counting("memories", sending("createMemory", "memory { id }", userId="from", kind="FACT", content="c"))
    send(servers.first, mutation("createSession", "session { id }"), sessionId="s", userId="from")
    servers.race(ending(ended, move), until(ended, add), until(ended, add), until(ended, named), until(ended, remember))
    assert count(place, "messages") == numbers["messages"]
    assert count(place, "memories") == numbers["memories"]
    assert place.query("SELECT DISTINCT user_ascending FROM sessions") == [("into",)]
    nothing_is_left(place)


def test_a_message_that_becomes_a_source_while_it_is_deleted_leaves_no_source(servers: Servers, place: Place) -> None:
    send(servers.first, CREATE_USER, userId="u")
    add = mutation("addMessages", "messages { id }")
    for number in range(ROUNDS):
        session = {"sessionId": f"s{number}", "userId": "u"}
        (message,) = send(servers.first, add, **session, messages=said("I live in Paris."))["messages"]
        servers.race(
            sending("deleteMessage", "deletedMessageId", id=message["id"]),
            sending("createMemory", "memory { id }", userId="u", kind="FACT", content="c", sources=[message["id"]]),
            sending("addMessages", "session { id }", **session, messages=said("I live in Paris.")),
            sending("updateMessage", "message { id }", id=message["id"], content="I live in Rome."),
        )
    nothing_is_left(place)


def test_purges_at_the_same_time_remove_everything_once(servers: Servers, place: Place) -> None:
    for number in range(12):
        send(servers.first, ADD, sessionId=str(number), messages=said("I live in Paris.", "b", "c"))
        send(servers.first, mutation("deleteSession", "deletedSessionId"), sessionId=str(number))
    purge = sending("purgeDeleted", "sessions messages memories", deletedBefore="2100-01-01T00:00:00Z")
    removed = servers.race(*[purge] * 4)
    assert {name: sum(payload[name] for payload in removed) for name in ("sessions", "messages", "memories")} == {
        "sessions": 12,
        "messages": 36,
        "memories": 12,
    }
    assert count(place, "sessions") == count(place, "messages") == count(place, "memories") == 0
