"""Two users become one: everything moves, what both have is kept once, and nothing of the first one is left."""

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from models.keys import user_key
from recallql.auth.credentials import REFUSED
from tests.archives import Command, copied, fill, serving
from tests.desk import Desk
from tests.documents import (
    ADD_MESSAGES,
    CREATE_AGENT,
    CREATE_DOCUMENT,
    CREATE_MEMORY,
    CREATE_SESSION,
    CREATE_USER,
    DELETE_SESSION,
    DELETE_USER,
    END_SESSION,
    ISSUE_USER_TOKEN,
    NODES,
    UPDATE_MEMORY,
    UPDATE_SESSION,
    mutation,
)
from tests.model_server import ModelServer
from tests.places import Fresh
from tests.plans import plans, scans
from tests.searches import assert_index_is_exact, index_now, texts
from tests.servers import Server, Start, wait_until

RECEIPT = "receipt { userId erasedAt filesClearedAt sessions messages memories documents }"
MERGE = mutation("mergeUsers", f"user {{ userId version }} {RECEIPT}")
ERASE = mutation("deleteUser", f"deletedUserId {RECEIPT}")
MEMORIES = """query ($userId: String!) { user(userId: $userId) {
  memories(first: 100, filter: {history: true}, orderBy: {field: VALID_FROM, direction: ASC}) {
    nodes { id memoryId kind content about method supersededBy { content } validUntil sources(first: 100) {
      nodes { __typename ... on Message { id session { sessionId } } ... on Document { title } } } } } } }"""
SHOWN = "email firstName lastName name about metadata formMemories"


@pytest.fixture
def users(server: Server) -> Server:
    """A server with the users ada and guest, who have nothing yet."""
    for user_id in ("ada", "guest"):
        server.accepted(CREATE_USER, userId=user_id)
    return server


def merge(server: Server, gone: str = "guest", kept: str = "ada") -> dict[str, Any]:
    return server.accepted(MERGE, fromUserId=gone, intoUserId=kept)


def say(server: Server, user_id: str, content: str, **fields: Any) -> str:
    """Says something in the user's one session; the message's id."""
    said = {"role": "USER", "content": content, **fields}
    payload = server.accepted(ADD_MESSAGES, sessionId=f"s-{user_id}", userId=user_id, messages=[said])
    return payload["messages"][0]["id"]


def remember(server: Server, user_id: str, content: str = "rows at dawn", **fields: Any) -> str:
    given = {"userId": user_id, "kind": "FACT", "content": content, **fields}
    return server.accepted(CREATE_MEMORY, **given)["memory"]["id"]


def document(server: Server, user_id: str, content: str, **fields: Any) -> str:
    given = {"userId": user_id, "title": "Notes", "content": content, **fields}
    return server.accepted(CREATE_DOCUMENT, **given)["document"]["id"]


def memories(server: Server, user_id: str = "ada") -> list[dict[str, Any]]:
    return server.graphql(MEMORIES, userId=user_id)["user"]["memories"]["nodes"]


def contents(server: Server, user_id: str = "ada") -> list[str]:
    return sorted(memory["content"] for memory in memories(server, user_id))


def sources(memory: dict[str, Any]) -> list[str]:
    nodes = memory["sources"]["nodes"]
    return [node["title"] if node["__typename"] == "Document" else node["session"]["sessionId"] for node in nodes]


# Everything moves


def test_everything_moves_and_keeps_its_ids(users: Server) -> None:
    users.accepted(CREATE_AGENT, agentId="moss", name="Moss")
    message = say(users, "guest", "I live in Turin.")
    say(users, "ada", "Good morning.")
    for session, mutation_ in (("ended", END_SESSION), ("deleted", DELETE_SESSION)):
        said = [{"role": "USER", "content": "I like old bridges."}]
        users.accepted(ADD_MESSAGES, sessionId=session, userId="guest", messages=said)
        users.accepted(mutation_, sessionId=session)
    users.accepted(UPDATE_SESSION, sessionId="ended", agentId="moss", title="Bridges")
    ids = [message, remember(users, "guest"), document(users, "guest", "the longest river")]
    session = """{ session(sessionId: "ended") { id version title endedAt user { userId } agent { agentId }
      lastActivityAt messages { nodes { id content } } memories { nodes { id content user { userId } } } } }"""
    before = users.graphql(session)["session"]

    payload = merge(users)

    assert payload["user"] == {"userId": "ada", "version": 1}
    counts = {name: payload["receipt"][name] for name in ("userId", "sessions", "messages", "memories", "documents")}
    assert counts == {"userId": "guest", "sessions": 0, "messages": 0, "memories": 0, "documents": 0}
    after = users.graphql(session)["session"]
    assert after["user"] == {"userId": "ada"}
    assert after["memories"]["nodes"][0].pop("user") == {"userId": "ada"}
    assert before["memories"]["nodes"][0].pop("user") == {"userId": "guest"}
    assert after == before | {"user": after["user"], "version": before["version"] + 1}
    assert [node and node["id"] for node in users.graphql(NODES, ids=ids)["nodes"]] == ids
    listed = users.graphql(
        '{ user(userId: "ada") { sessions { nodes { sessionId } } documents { nodes { content } } } }'
    )
    assert {node["sessionId"] for node in listed["user"]["sessions"]["nodes"]} == {"s-guest", "s-ada", "ended"}
    assert listed["user"]["documents"]["nodes"] == [{"content": "the longest river"}]
    assert contents(users) == ["I like old bridges", "I live in Turin", "rows at dawn"]
    assert users.graphql('{ user(userId: "guest") { userId } }') == {"user": None}
    deleted = "{ sessions(filter: {deleted: true}) { nodes { sessionId user { userId } } } }"
    assert users.graphql(deleted)["sessions"]["nodes"] == [{"sessionId": "deleted", "user": {"userId": "ada"}}]
    key = user_key("default", "guest")
    assert [name for name, rows in users.tables().items() if any(key in row for row in rows)] == ["erasures"]


def test_a_session_that_moved_goes_on_with_its_new_user(users: Server) -> None:
    say(users, "guest", "I live in Turin.")
    merge(users)
    said = [{"role": "USER", "content": "I live in Bonn."}]
    error = users.refused(ADD_MESSAGES, sessionId="s-guest", userId="guest", messages=said)
    assert (error["code"], error["path"]) == ("NOT_FOUND", ["userId"])
    users.accepted(ADD_MESSAGES, sessionId="s-guest", userId="ada", messages=said)
    assert [(each["content"], each["supersededBy"]) for each in memories(users)] == [
        ("I live in Turin", {"content": "I live in Bonn"}),
        ("I live in Bonn", None),
    ]
    assert users.accepted(ERASE, userId="ada")["receipt"]["messages"] == 2


@pytest.mark.parametrize(
    ("kept", "gone", "merged"),
    [
        ({}, {"email": "g@x.org", "firstName": "Gus"}, {"email": "g@x.org", "firstName": "Gus", "name": "Gus"}),
        ({"email": "a@x.org", "about": "likes tea"}, {"email": "g@x.org", "about": "likes ale"}, {}),
        ({"firstName": "Ada"}, {"name": "Gus", "lastName": "King"}, {"lastName": "King", "name": "Ada King"}),
        ({"name": "Ada"}, {"name": "Gus", "about": "likes ale"}, {"about": "likes ale"}),
        ({}, {"name": "Gus", "formMemories": False}, {"name": "Gus", "formMemories": False}),
        ({"formMemories": True}, {"formMemories": False}, {}),
        ({}, {}, {}),
        (
            {"metadata": {"plan": "pro", "deep": {"a": 1, "none": None}, "list": [1]}},
            {"metadata": {"plan": "free", "deep": {"a": 2, "none": 3, "b": {"c": [2]}}, "list": [2], "more": None}},
            {"metadata": {"plan": "pro", "deep": {"a": 1, "none": None, "b": {"c": [2]}}, "list": [1], "more": None}},
        ),
        ({"metadata": {"a": 1}}, {"metadata": {"a": {"b": 1}}}, {}),
    ],
)
def test_attributes_that_the_user_lacks_come_from_the_other(
    server: Server, kept: dict[str, Any], gone: dict[str, Any], merged: dict[str, Any]
) -> None:
    server.accepted(CREATE_USER, userId="ada", **kept)
    server.accepted(CREATE_USER, userId="guest", **gone)
    shown = f'{{ user(userId: "ada") {{ {SHOWN} }} }}'
    before = server.graphql(shown)["user"]
    version = merge(server)["user"]["version"]
    assert server.graphql(shown)["user"] == before | merged
    assert version == (2 if merged else 1)
    found = server.graphql("{ users(orderBy: {field: NAME, direction: ASC}) { nodes { userId } } }")
    assert found["users"]["nodes"] == [{"userId": "ada"}]
    email = (before | merged)["email"]
    if email is not None:
        by_email = "query ($email: String!) { users(filter: {emails: [$email]}) { nodes { userId } } }"
        assert server.graphql(by_email, email=email)["users"]["nodes"] == [{"userId": "ada"}]


def test_metadata_that_is_too_large_together_is_refused(server: Server) -> None:
    for user_id in ("ada", "guest"):
        server.accepted(CREATE_USER, userId=user_id, metadata={user_id: "x" * 40_000})
    error = server.refused(MERGE, fromUserId="guest", intoUserId="ada")
    assert (error["code"], error["path"]) == ("TOO_LARGE", [])
    assert "Shorten that of either with updateUser." in error["message"]


# What both have


def test_a_memory_that_both_have_is_kept_once_with_the_sources_of_both(users: Server) -> None:
    for user_id in ("guest", "ada"):
        say(users, user_id, "I live in Turin.")
        say(users, user_id, f"I like {user_id} songs.")
    assert merge(users)["receipt"]["memories"] == 1
    turin = [memory for memory in memories(users) if "Turin" in memory["content"]]
    assert [sources(memory) for memory in turin] == [["s-guest", "s-ada"]]
    assert len(memories(users)) == 3
    # The one source after the other goes, and the memory with the last.
    for session in ("s-ada", "s-guest"):
        assert len([memory for memory in memories(users) if "Turin" in memory["content"]]) == 1
        users.accepted(DELETE_SESSION, sessionId=session, permanently=True)
    assert memories(users) == []


@pytest.mark.parametrize(
    ("of_guest", "of_ada", "left"),
    [
        # The one with a memoryId stays, else the oldest.
        ([{}], [{}], [("guest", None)]),
        ([{"memoryId": "m"}], [{}], [("guest", "m")]),
        ([{}], [{"memoryId": "m"}], [("ada", "m")]),
        ([{"memoryId": "m"}], [{"memoryId": "m"}], [("ada", "m")]),
        ([{"memoryId": "m"}], [{"memoryId": "n"}], [("ada", "n"), ("guest", "m")]),
        # What one user has twice stays so.
        ([{}, {}], [{}], [("guest", None), ("guest", None)]),
        ([{}], [{}, {}], [("guest", None)]),
        ([{"memoryId": "m"}, {}], [{}, {}], [("guest", "m"), ("guest", None)]),
        ([{"about": "bo"}], [{"about": "Bo"}], [("guest", None)]),
        ([{"rating": 1.0, "metadata": {"a": 1}}], [{"rating": 1.0, "metadata": {"a": 1}}], [("guest", None)]),
        ([{"expiresAt": "2040-01-01T00:00:00Z"}], [{"expiresAt": "2040-01-01T00:00:00Z"}], [("guest", None)]),
    ],
)
def test_of_declared_memories_that_are_equal_one_stays(
    users: Server, of_guest: list[dict[str, Any]], of_ada: list[dict[str, Any]], left: list[tuple[str, str | None]]
) -> None:
    assert merged(users, of_guest, of_ada) == left
    if len(left) < len(of_guest) + len(of_ada):
        assert any({"s-ada", "s-guest"} == set(sources(memory)) for memory in memories(users))


CONTENTS = {"guest": "Rows at dawn.", "ada": "rows at dawn"}


def merged(
    server: Server, of_guest: list[dict[str, Any]], of_ada: list[dict[str, Any]]
) -> list[tuple[str, str | None]]:
    """Merges users with these declared memories; returns the users whose memories are left, with the memoryIds."""
    for user_id, given in (("guest", of_guest), ("ada", of_ada)):
        source = say(server, user_id, "Good morning.")
        for fields in given:
            remember(server, user_id, CONTENTS[user_id], sources=[source], **fields)
    receipt = merge(server)["receipt"]
    found = memories(server)
    assert receipt["memories"] == len(of_guest) + len(of_ada) - len(found)
    users = {content: user_id for user_id, content in CONTENTS.items()}
    return sorted(((users[memory["content"]], memory["memoryId"]) for memory in found), key=str)


@pytest.mark.parametrize("owner", ["guest", "ada"])
@pytest.mark.parametrize(
    "fields",
    [
        {"about": "Bo"},
        {"kind": "PREFERENCE"},
        {"kind": "SUMMARY"},
        {"rating": 1.0},
        {"metadata": {"crm": 77}},
        {"validFrom": "2020-01-01T00:00:00Z"},
        {"validFrom": "2040-01-01T00:00:00Z"},
        {"validUntil": "2040-01-01T00:00:00Z"},
        {"expiresAt": "2040-01-01T00:00:00Z"},
    ],
    ids=lambda fields: next(iter(fields)),
)
@pytest.mark.parametrize("memory_id", [{}, {"memoryId": "m"}], ids=["no id", "one id"])
def test_declared_memories_that_differ_both_stay(
    users: Server, owner: str, fields: dict[str, Any], memory_id: dict[str, Any]
) -> None:
    given = {user_id: [memory_id | (fields if user_id == owner else {})] for user_id in ("guest", "ada")}
    of_guest = ("guest", None)
    assert merged(users, given["guest"], given["ada"]) == [("ada", memory_id.get("memoryId")), of_guest]


@pytest.mark.parametrize("owner", ["guest", "ada"])
def test_a_declared_memory_of_a_session_goes_with_it_and_that_of_the_user_stays(users: Server, owner: str) -> None:
    remember(users, "ada" if owner == "guest" else "guest")
    users.accepted(CREATE_SESSION, sessionId="s", userId=owner)
    remember(users, owner, "Rows at dawn.", userId=None, sessionId="s")
    assert merge(users)["receipt"]["memories"] == 0
    users.accepted(DELETE_SESSION, sessionId="s", permanently=True)
    assert contents(users) == ["rows at dawn"]


@pytest.mark.parametrize("declares", ["guest", "ada"])
@pytest.mark.parametrize(
    ("fields", "is_one"),
    [({}, True), ({"memoryId": "m"}, True), ({"expiresAt": "2040-01-01T00:00:00Z"}, False), ({"rating": 1.0}, False)],
)
def test_a_declared_memory_that_says_no_more_takes_the_place_of_a_formed_one(
    users: Server, declares: str, fields: dict[str, Any], is_one: bool
) -> None:
    says = "ada" if declares == "guest" else "guest"
    say(users, says, "I live in Turin.")
    (formed,) = memories(users, says)
    source = document(users, declares, "x")
    remember(users, declares, formed["content"].upper() + ".", sources=[source], **fields)
    merge(users)
    found = memories(users)
    assert len(found) == (1 if is_one else 2)
    if is_one:
        assert (found[0]["method"], sources(found[0])) == ("DECLARED", ["Notes", f"s-{says}"])


@pytest.mark.parametrize("changed", ["guest", "ada"])
def test_a_formed_memory_that_the_application_has_changed_stays(users: Server, changed: str) -> None:
    for user_id in ("guest", "ada"):
        say(users, user_id, "I like old bridges.")
    users.accepted(UPDATE_MEMORY, id=memories(users, changed)[0]["id"], expiresAt="2040-01-01T00:00:00Z")
    assert merge(users)["receipt"]["memories"] == 0
    assert len(memories(users)) == 2


@pytest.mark.parametrize("earlier", ["guest", "ada"])
def test_of_formed_memories_the_best_rated_one_stays_or_else_the_earliest(users: Server, earlier: str) -> None:
    for user_id in ("guest", "ada"):
        for said in ("I like old bridges.", "I like old songs."):
            say(users, user_id, said, createdAt=f"{2020 + (user_id != earlier)}-01-01T00:00:00Z")
    better = next(memory["id"] for memory in memories(users, "ada") if "songs" in memory["content"])
    of_ada = "content LIKE '%songs' AND user_key = $1"
    users.place.query(f"UPDATE memories SET rating = 0.9 WHERE {of_ada}", user_key("default", "ada"))
    earliest = next(memory["id"] for memory in memories(users, earlier) if "bridges" in memory["content"])
    assert merge(users)["receipt"]["memories"] == 2
    assert {memory["id"] for memory in memories(users)} == {better, earliest}


def test_one_own_id_for_different_contents_stays_with_the_user_who_is_kept(users: Server) -> None:
    for user_id in ("guest", "ada"):
        remember(users, user_id, f"fact of {user_id}", memoryId="same")
        remember(users, user_id, f"other of {user_id}", memoryId=f"of {user_id}")
        document(users, user_id, f"text of {user_id}", documentId="same")
        document(users, user_id, f"more of {user_id}", documentId=f"of {user_id}")
    receipt = merge(users)["receipt"]
    assert (receipt["memories"], receipt["documents"]) == (0, 0)
    assert {memory["content"]: memory["memoryId"] for memory in memories(users)} == {
        "fact of guest": None,
        "fact of ada": "same",
        "other of guest": "of guest",
        "other of ada": "of ada",
    }
    read = '{ user(userId: "ada") { documents { nodes { content documentId } } } }'
    found = users.graphql(read)["user"]["documents"]["nodes"]
    assert {each["content"]: each["documentId"] for each in found} == {
        "text of guest": None,
        "text of ada": "same",
        "more of guest": "of guest",
        "more of ada": "of ada",
    }
    before = len(memories(users))
    remember(users, "ada", "other of guest", memoryId="of guest")
    document(users, "ada", "more of guest", documentId="of guest")
    error = users.refused(CREATE_MEMORY, userId="ada", memoryId="of guest", kind="FACT", content="another")
    assert error["code"] == "CONFLICT"
    assert (len(memories(users)), len(users.tables()["documents"])) == (before, 4)


def test_a_document_that_both_have_is_kept_once_and_stays_a_source(users: Server) -> None:
    kept = document(users, "ada", "the longest river", documentId="po")
    gone = document(users, "guest", "the longest river", documentId="po")
    remember(users, "guest", sources=[gone])
    remember(users, "ada", sources=[kept])
    remember(users, "guest", "rows at dusk", sources=[gone])
    assert merge(users)["receipt"]["documents"] == 1
    assert len(users.tables()["documents"]) == 1
    assert {memory["content"]: sources(memory) for memory in memories(users)} == {
        "rows at dawn": ["Notes"],
        "rows at dusk": ["Notes"],
    }
    assert [node and node["id"] for node in users.graphql(NODES, ids=[kept, gone])["nodes"]] == [kept, None]


@pytest.mark.sqlite
def test_a_merge_takes_as_many_statements_for_many_memories_as_for_a_few(server: Server) -> None:
    taken: list[list[str]] = []
    for count in (1, 30):
        users = [f"{name}{count}" for name in ("guest", "ada")]
        for user_id in users:
            server.accepted(CREATE_USER, userId=user_id)
            source = say(server, user_id, "I like old bridges.")
            for number in range(count):
                day = f"{2 * number + (user_id == users[0]):04}-01-01T00:00:00Z"
                say(server, user_id, f"I live in Town{number}{user_id}.", createdAt=f"2{day[1:]}")
                remember(server, user_id, f"summary {number}", kind="SUMMARY", about=f"Bo{number}")
                remember(server, user_id, f"fact {number}", sources=[source])
                remember(server, user_id, f"same {number}", memoryId=f"same {number}")
                remember(server, user_id, f"of {user_id} {number}", memoryId=f"of {user_id} {number}")
                remember(server, user_id, f"other of {user_id} {number}", memoryId=f"other {number}")
                document(server, user_id, f"text {number}", documentId=f"same {number}")
        taken.append([])
        server.app.state.database.listener = taken[-1].append
        receipt = merge(server, *users)["receipt"]
        server.app.state.database.listener = None
        assert (receipt["memories"], receipt["documents"]) == (2 * count + 1, count)
    assert taken[0] == taken[1]
    assert len(taken[0]) < 60
    for text, plan in plans(server.path, taken[0]).items():
        assert not scans(plan), f"{plan}\n{text}"
        # What many rows may have in common finds too much.
        found = [step for step in plan if re.search(r"\((project=\?|session_key=\? AND sequence=\?)\)", step)]
        assert not found, f"{found}\n{text}"


def test_a_memory_has_at_most_a_hundred_sources(users: Server) -> None:
    for user_id in ("guest", "ada"):
        said = [{"role": "USER", "content": f"Number {number}"} for number in range(70)]
        payload = users.accepted(ADD_MESSAGES, sessionId=f"s-{user_id}", userId=user_id, messages=said)
        remember(users, user_id, sources=[message["id"] for message in payload["messages"]])
    merge(users)
    (memory,) = memories(users)
    assert sources(memory) == ["s-guest"] * 70 + ["s-ada"] * 30


# What is true when


@pytest.mark.parametrize(
    ("said", "ends"),
    [
        ([("guest", "2021", "Turin"), ("ada", "2022", "Bonn")], {"Turin": "Bonn", "Bonn": None}),
        ([("ada", "2021", "Turin"), ("guest", "2022", "Bonn")], {"Turin": "Bonn", "Bonn": None}),
        (
            [("guest", "2020", "Turin"), ("guest", "2023", "Nice"), ("ada", "2021", "Bonn"), ("ada", "2024", "Oslo")],
            {"Turin": "Bonn", "Bonn": "Nice", "Nice": "Oslo", "Oslo": None},
        ),
    ],
)
def test_statements_on_one_subject_supersede_each_other_by_time(
    users: Server, said: list[tuple[str, str, str]], ends: dict[str, str | None]
) -> None:
    for user_id, year, city in said:
        say(users, user_id, f"I live in {city}.", createdAt=f"{year}-01-01T00:00:00Z")
    merge(users)
    years = {city: f"{year}-01-01T00:00:00Z" for _, year, city in said}
    found = {memory["content"]: memory for memory in memories(users)}
    for city, newer in ends.items():
        memory = found[f"I live in {city}"]
        assert memory["supersededBy"] == (newer and {"content": f"I live in {newer}"})
        assert memory["validUntil"] == (newer and years[newer])
    now = '{ user(userId: "ada") { memories { nodes { content } } } }'
    assert len(users.graphql(now)["user"]["memories"]["nodes"]) == 1


@pytest.mark.parametrize("first", ["guest", "ada"])
def test_what_was_true_twice_holds_now(users: Server, first: str) -> None:
    """The memory of 2023 is not one with that of 2021, which the one of 2022 has ended."""
    second = "ada" if first == "guest" else "guest"
    said = [(first, "2021", "Turin"), (second, "2022", "Bonn"), (second, "2023", "Turin"), (first, "2024", "Turin")]
    for user_id, year, city in said:
        say(users, user_id, f"I live in {city}.", createdAt=f"{year}-01-01T00:00:00Z")
    merge(users)
    found = [(memory["content"], memory["validUntil"], sources(memory)) for memory in memories(users)]
    assert found == [
        ("I live in Turin", "2022-01-01T00:00:00Z", [f"s-{first}"] * 2),
        ("I live in Bonn", "2023-01-01T00:00:00Z", [f"s-{second}"]),
        ("I live in Turin", None, [f"s-{second}"]),
    ]


def test_statements_at_one_moment_leave_one_that_holds(users: Server) -> None:
    for user_id, city in (("guest", "Turin"), ("ada", "Bonn")):
        say(users, user_id, f"I live in {city}.", createdAt="2021-01-01T00:00:00Z")
    merge(users)
    now = '{ user(userId: "ada") { memories { nodes { content } } } }'
    assert len(users.graphql(now)["user"]["memories"]["nodes"]) == 1


def test_a_memory_is_superseded_by_the_one_that_took_the_place_of_its_successor(users: Server) -> None:
    remember(users, "ada", "Rows at dawn.")
    older = remember(users, "guest", "rows at noon")
    remember(users, "guest", "rows at dawn", supersedes=[older])
    merge(users)
    assert {memory["content"]: memory["supersededBy"] for memory in memories(users)} == {
        "rows at noon": {"content": "Rows at dawn."},
        "Rows at dawn.": None,
    }


@pytest.mark.parametrize("order", [("guest", "ada"), ("ada", "guest")])
def test_the_newer_summary_stands(users: Server, order: tuple[str, str]) -> None:
    for user_id in order:
        remember(users, user_id, f"summary of {user_id}", kind="SUMMARY")
        remember(users, user_id, f"Bo by {user_id}", kind="SUMMARY", about="Bo")
    merge(users)
    assert users.graphql('{ user(userId: "ada") { summary { content } } }')["user"]["summary"] == {
        "content": f"summary of {order[1]}"
    }
    older = {memory["content"]: memory["supersededBy"] for memory in memories(users) if memory["supersededBy"]}
    assert older == {
        f"summary of {order[0]}": {"content": f"summary of {order[1]}"},
        f"Bo by {order[0]}": {"content": f"Bo by {order[1]}"},
    }


def test_what_was_said_under_a_name_of_the_user_is_the_users_own(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada", name="Ada Lovelace")
    server.accepted(CREATE_USER, userId="guest", name="Visitor")
    for name in ("ada_lovelace", "Boris", "Visitor"):
        say(server, "guest", f"I like {name.lower()[:3]} songs.", name=name)
    remember(server, "guest", "declared", about="Ada Lovelace")
    merge(server)
    assert {memory["content"]: memory["about"] for memory in memories(server)} == {
        "I like ada songs": None,
        "I like bor songs": "Boris",
        "I like vis songs": None,
        "declared": "Ada Lovelace",
    }


# The user who is gone


def test_tokens_of_the_user_who_is_gone_are_refused_and_the_key_starts_empty(users: Server) -> None:
    desk = Desk(users.place)
    say(users, "guest", "I live in Turin.")
    old, kept = (users.accepted(ISSUE_USER_TOKEN, userId=user_id)["token"] for user_id in ("guest", "ada"))
    assert (desk.viewer(old).user_id, desk.viewer(kept).user_id) == ("guest", "ada")
    receipt = merge(users)["receipt"]
    assert users.accepted(ERASE, userId="guest")["receipt"] == receipt
    users.accepted(CREATE_USER, userId="guest")
    for credentials in (desk.credentials, desk.another()):
        assert desk.refused(old, credentials) == REFUSED
        assert desk.viewer(kept, credentials).user_id == "ada"
    assert desk.viewer(users.accepted(ISSUE_USER_TOKEN, userId="guest")["token"]).user_id == "guest"
    assert memories(users, "guest") == []
    assert users.accepted(ERASE, userId="guest")["receipt"] != receipt
    assert contents(users) == ["I live in Turin"]
    desk.close()


@pytest.mark.sqlite
def test_the_bytes_of_what_was_removed_leave_the_files(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada", email="ada@example.org", about="likes tea")
    server.accepted(CREATE_USER, userId="rareguest", email="rareguest@example.org", about="rareabout")
    for user_id, content in (("ada", "rows at raredawn"), ("rareguest", "ROWS AT RAREDAWN")):
        remember(server, user_id, content)
        document(server, user_id, "the longest river", documentId="po")
    index_now(server)
    receipt = merge(server, "rareguest")["receipt"]
    assert (receipt["memories"], receipt["documents"]) == (1, 1)
    assert receipt["filesClearedAt"] >= receipt["erasedAt"]
    left = server.place.content()
    for word in (b"rareguest", b"rareabout", b"ROWS AT"):
        assert word not in left, word
    assert b"rows at raredawn" in left


# Repetitions


def test_a_repeated_merge_returns_the_same_receipt(users: Server) -> None:
    say(users, "guest", "I live in Turin.")
    for user_id in ("guest", "ada"):
        remember(users, user_id)
    first = merge(users)
    assert first["receipt"]["memories"] == 1
    before = users.tables()
    assert merge(users) == first
    assert users.tables() == before
    # Another merge is not this one.
    users.accepted(CREATE_USER, userId="eve")
    error = users.refused(MERGE, fromUserId="guest", intoUserId="eve")
    assert (error["code"], error["path"]) == ("NOT_FOUND", ["fromUserId"])
    # A new user of this key is merged anew.
    users.accepted(CREATE_USER, userId="guest")
    assert merge(users)["receipt"]["erasedAt"] > first["receipt"]["erasedAt"]


def test_a_repeated_merge_into_an_erased_user_is_refused(users: Server) -> None:
    merge(users)
    users.accepted(DELETE_USER, userId="ada")
    error = users.refused(MERGE, fromUserId="guest", intoUserId="ada")
    assert (error["code"], error["path"]) == ("NOT_FOUND", ["fromUserId"])


# Refusals


@pytest.mark.parametrize(
    ("gone", "kept", "code", "path"),
    [
        ("nobody", "ada", "NOT_FOUND", "fromUserId"),
        ("ada", "nobody", "NOT_FOUND", "intoUserId"),
        ("erased", "ada", "NOT_FOUND", "fromUserId"),
        ("ada", "erased", "NOT_FOUND", "intoUserId"),
        ("ada", "ada", "INVALID", "intoUserId"),
        ("", "ada", "INVALID", "fromUserId"),
        ("ada", "x" * 513, "INVALID", "intoUserId"),
    ],
)
def test_a_merge_that_cannot_be_is_refused(users: Server, gone: str, kept: str, code: str, path: str) -> None:
    users.accepted(CREATE_USER, userId="erased")
    users.accepted(DELETE_USER, userId="erased")
    error = users.refused(MERGE, fromUserId=gone, intoUserId=kept)
    assert (error["code"], error["path"]) == (code, [path])


def test_a_merge_that_fails_changes_nothing(users: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for user_id in ("guest", "ada"):
        say(users, user_id, "I live in Turin.")
        remember(users, user_id, memoryId="same")
    before = users.tables()

    async def fail(*_: Any) -> None:
        raise RuntimeError("a test")

    monkeypatch.setattr("resolvers.merging.end_user", fail)
    (error,) = users.errors(MERGE, input={"fromUserId": "guest", "intoUserId": "ada"})
    assert error["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert users.tables() == before
    monkeypatch.undo()
    merge(users)


# Search


@pytest.mark.parametrize("indexed", [True, False])
def test_search_finds_what_has_moved(users: Server, indexed: bool, request: pytest.FixtureRequest) -> None:
    say(users, "guest", "The rarest of songs.")
    say(users, "ada", "The rarest of birds.")
    for user_id in ("guest", "ada"):
        remember(users, user_id, "hums rarest tunes")
        remember(users, user_id, f"heard rarest {user_id}", memoryId="same")
        document(users, user_id, "a rarest list", documentId="list")
    if indexed:
        request.getfixturevalue("through_index")
        index_now(users)
    merge(users)
    assert_index_is_exact(users.place)
    expected = ["The rarest of birds.", "The rarest of songs.", "hums rarest tunes"]
    expected += ["heard rarest ada", "heard rarest guest", "Notes"]
    assert sorted(texts(users, "rarest", userId="ada")) == sorted(texts(users, "rarest")) == sorted(expected)
    users.accepted(CREATE_USER, userId="guest")
    assert texts(users, "rarest", userId="guest") == []
    index_now(users)
    assert_index_is_exact(users.place)


def test_a_merged_user_is_found_by_the_words_that_came_from_the_other(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada", name="Ada Lovelace")
    server.accepted(CREATE_USER, userId="guest", name="Visitor", email="countess@example.org")
    merge(server)
    find = "query ($text: String!) { users(filter: {text: $text}) { nodes { userId } } }"
    for text, found in (("countess", ["ada"]), ("lovelace", ["ada"]), ("guest", []), ("visitor", [])):
        nodes = server.graphql(find, text=text)["users"]["nodes"]
        assert [node["userId"] for node in nodes] == found, text


@pytest.fixture
def endpoint() -> Iterator[ModelServer]:
    server = ModelServer(lambda body: '{"memories": [], "summary": null}')
    yield server
    server.close()


def test_vectors_move_along(start: Start, endpoint: ModelServer) -> None:
    server = start(embeddings="endpoint", embeddings_base_url=endpoint.url, embeddings_model="test")
    for user_id in ("ada", "guest"):
        server.accepted(CREATE_USER, userId=user_id)
    remember(server, "guest", "plays a harp", memoryId="music")
    document(server, "guest", "a list of harps", documentId="list")

    def is_made() -> bool:
        said = server.client.get(f"{server.base}/ready").json()["models"]["embeddings"]
        return said["status"] == "ready" and said["waiting"] == 0

    wait_until(is_made)
    asked = len(endpoint.asked)
    merge(server)
    search = '{ search(query: "plays harp", userId: "ada") { nodes { ... on Memory { content } } } }'
    assert {"content": "plays a harp"} in server.graphql(search)["search"]["nodes"]
    wait_until(is_made)
    assert [each.body["input"] for each in endpoint.asked[asked:]] == [["plays harp"]]


# Concurrency


def test_nothing_is_left_of_the_user_while_clients_write(users: Server) -> None:
    writing = threading.Event()

    def client(number: int) -> str:
        for turn in range(2_000):
            session = f"s{number}-{turn}"
            said = [{"role": "USER", "content": f"I live in Turin {turn}."}]
            match turn % 3:
                case 0:
                    payload = users.graphql(
                        ADD_MESSAGES, input={"sessionId": session, "userId": "guest", "messages": said}
                    )
                case 1:
                    users.graphql(ADD_MESSAGES, input={"sessionId": session, "messages": said})
                    payload = users.graphql(UPDATE_SESSION, input={"sessionId": session, "userId": "guest"})
                case _:
                    given = {"userId": "guest", "memoryId": f"m{turn}", "kind": "FACT", "content": f"fact {turn}"}
                    payload = users.graphql(CREATE_MEMORY, input=given)
            (answer,) = payload.values()
            if answer["userErrors"]:
                return answer["userErrors"][0]["code"]
            if turn > 10:
                writing.set()
        return "never refused"

    with ThreadPoolExecutor(6) as pool:
        clients = [pool.submit(client, number) for number in range(6)]
        assert writing.wait(60)
        merge(users)
        assert {future.result() for future in clients} == {"NOT_FOUND"}
    key = user_key("default", "guest")
    assert [name for name, rows in users.tables().items() if any(key in row for row in rows)] == ["erasures"]
    assert memories(users)
    index_now(users)
    assert_index_is_exact(users.place)
    users.place.check()


# Export and import


def test_an_export_after_a_merge_gives_the_same_data_elsewhere(
    server: Server, command: Command, tmp_path: Path, fresh: Fresh
) -> None:
    fill(server)
    for user_id in ("ada", "bob"):
        say(server, user_id, "I live in Turin.")
        remember(server, user_id, f"fact of {user_id}", memoryId="same")
        remember(server, user_id, memoryId=f"of {user_id}")
    merge(server, "bob")
    copy = copied(command, server.place, tmp_path, fresh)
    with serving(copy) as other:
        assert memories(other) == memories(server)
        lists = "sessions { nodes { id } } documents { nodes { id } }"
        shown = f'{{ user(userId: "ada") {{ {SHOWN} version {lists} }} }}'
        assert other.graphql(shown) == server.graphql(shown)
