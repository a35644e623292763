"""Creations under one key, and updates of one object, by many clients at the same time."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.documents import mutation
from tests.places import Place
from tests.racing.races import ADD, Servers, codes_of, count, said, send
from tests.servers import Api

Operation = Callable[[Api], dict[str, Any]]

CREATE_USER = mutation("createUser", "user { id }")
CLIENTS = 8


def _sending(name: str, selection: str, /, **fields: Any) -> Operation:
    return lambda api: send(api, mutation(name, selection), **fields)


@pytest.fixture
def begun(servers: Servers) -> Servers:
    """With a user, an agent and a session to refer to."""
    send(servers.first, CREATE_USER, userId="u")
    send(servers.first, mutation("createAgent", "agent { id }"), agentId="a", name="A")
    send(servers.first, ADD, sessionId="s", userId="u", messages=said("hello"))
    return servers


@pytest.mark.parametrize(
    "create",
    [
        _sending(
            "createUser", "user { id }", userId="new", documents=[{"documentId": "d", "title": "t", "content": "c"}]
        ),
        _sending("createAgent", "agent { id }", agentId="new", name="A"),
        _sending("createSession", "session { id }", sessionId="new", userId="u", agentId="a"),
        _sending("cloneSession", "session { id }", sessionId="s", newSessionId="new"),
    ],
    ids=["user", "agent", "session", "clone"],
)
def test_of_creations_under_one_key_one_is_carried_out(begun: Servers, create: Operation) -> None:
    found = Counter(str(codes_of(payload)) for payload in begun.race(*[create] * CLIENTS))
    assert found == {"[]": 1, "['ALREADY_EXISTS']": CLIENTS - 1}


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("createMemory", {"userId": "u", "memoryId": "m", "kind": "FACT", "content": "c"}),
        ("createMemory", {"agentId": "a", "memoryId": "m", "kind": "FACT", "content": "c"}),
        ("createMemory", {"sessionId": "s", "memoryId": "m", "kind": "FACT", "content": "c"}),
        ("createDocument", {"userId": "u", "documentId": "d", "title": "t", "content": "c"}),
        ("createDocument", {"agentId": "a", "documentId": "d", "title": "t", "content": "c"}),
    ],
    ids=str,
)
def test_equal_creations_under_one_key_return_one_object(begun: Servers, name: str, fields: dict[str, Any]) -> None:
    noun = name.removeprefix("create").lower()
    payloads = begun.race(*[_sending(name, f"{noun} {{ id }}", **fields)] * CLIENTS)
    assert [codes_of(payload) for payload in payloads] == [[]] * CLIENTS
    assert len({payload[noun]["id"] for payload in payloads}) == 1


def test_of_different_memories_under_one_key_one_is_kept(begun: Servers) -> None:
    def create(number: int) -> Operation:
        return _sending("createMemory", "memory { id }", userId="u", memoryId="m", kind="FACT", content=str(number))

    found = Counter(str(codes_of(payload)) for payload in begun.race(*map(create, range(CLIENTS))))
    assert found == {"[]": 1, "['CONFLICT']": CLIENTS - 1}


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("upsertUser", {"userId": "new"}),
        ("upsertAgent", {"agentId": "new", "name": "A"}),
        ("upsertSession", {"sessionId": "new", "userId": "u"}),
        ("upsertMemory", {"userId": "u", "memoryId": "m", "kind": "FACT", "content": "c"}),
    ],
    ids=str,
)
def test_of_upserts_one_creates_and_all_others_update(begun: Servers, name: str, fields: dict[str, Any]) -> None:
    def upsert(number: int) -> Operation:
        noun = name.removeprefix("upsert").lower()
        return _sending(name, f"created {noun} {{ version }}", **fields, metadata={"by": number})

    payloads = begun.race(*map(upsert, range(CLIENTS)))
    assert [codes_of(payload) for payload in payloads] == [[]] * CLIENTS
    assert [payload["created"] for payload in payloads].count(True) == 1
    noun = name.removeprefix("upsert").lower()
    assert sorted(payload[noun]["version"] for payload in payloads) == list(range(1, CLIENTS + 1))


@pytest.mark.parametrize("noun", ["user", "agent", "session", "memory", "document", "message"])
def test_no_update_is_lost(begun: Servers, noun: str) -> None:
    named = _named(begun.first, noun)
    update = mutation(f"update{noun.title()}", f"{noun} {{ version metadata }}")

    def change(number: int) -> Callable[[Api], list[list[str]]]:
        return lambda api: [codes_of(send(api, update, **named, metadata={f"{number} {turn}": 1})) for turn in range(4)]

    assert begun.race(*map(change, range(6))) == [[[]] * 4] * 6
    last = send(begun.first, update, **named, metadata={})[noun]
    assert (last["version"], len(last["metadata"])) == (25, 24)


@pytest.mark.parametrize("noun", ["user", "agent", "session", "memory", "document", "message"])
def test_of_updates_of_one_version_one_is_carried_out(begun: Servers, noun: str) -> None:
    named = _named(begun.first, noun)

    def change(number: int) -> Operation:
        selection = f"{noun} {{ version }}"
        return _sending(f"update{noun.title()}", selection, **named, expectedVersion=1, metadata={"by": number})

    found = Counter(str(codes_of(payload)) for payload in begun.race(*map(change, range(CLIENTS))))
    assert found == {"[]": 1, "['CONFLICT']": CLIENTS - 1}


def _named(api: Api, noun: str) -> dict[str, str]:
    """The fields that name a new object, or one that is there, at its first version."""
    match noun:
        case "user" | "agent":
            return {f"{noun}Id": noun[0]}
        case "session":
            send(api, mutation("createSession", "session { id }"), sessionId="n")
            return {"sessionId": "n"}
        case "message":
            return {
                "id": send(api, mutation("addMessages", "messages { id }"), sessionId="n", messages=said("x"))[
                    "messages"
                ][0]["id"]
            }
        case "memory":
            payload = send(api, mutation("createMemory", "memory { id }"), userId="u", kind="FACT", content="c")
        case _:
            payload = send(api, mutation("createDocument", "document { id }"), userId="u", title="t", content="c")
    return {"id": payload[noun]["id"]}


def test_of_summaries_of_one_user_the_last_one_stands(begun: Servers, place: Place) -> None:
    def summarise(number: int) -> Operation:
        return _sending("createMemory", "memory { id }", userId="u", kind="SUMMARY", content=str(number))

    payloads = begun.race(*map(summarise, range(CLIENTS)))
    assert [codes_of(payload) for payload in payloads] == [[]] * CLIENTS
    assert count(place, "memories", "superseded_from IS NULL") == 1


def test_tokens_that_are_issued_at_the_same_time_have_one_signing_key(begun: Servers, place: Place) -> None:
    tokens = begun.race(*[_sending("issueUserToken", "token", userId="u")] * CLIENTS)
    assert [codes_of(payload) for payload in tokens] == [[]] * CLIENTS
    assert count(place, "signing_keys") == 1
