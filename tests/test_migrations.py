"""A database that an older version filled: after the migration it answers as one that this version filled."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.keys import agent_key, folded_name, session_key, user_key
from models.user_words import FOUND_BY, LARGEST_WORDS, words_of
from tests.places import Place, older_place
from tests.servers import Server

pytestmark = pytest.mark.sqlite

THEN = "2025-01-02T03:04:05"
STAMPS = {"created_at": THEN, "updated_at": THEN, "version": 1, "project": "default", "metadata": "{}"}
LONG = "Ω" * 150

USERS: list[dict[str, Any]] = [
    {"user_id": "u1", "email": "Zoe@x.org", "first_name": "Zoë", "last_name": "Ångström"},
    {"user_id": "u2", "email": None, "name": "Ada", "first_name": "Augusta"},
    {"user_id": "u3", "email": "ada@x.org"},
    {"user_id": "u4", "email": "b@x.org", "name": LONG, "last_name": ""},
    {"user_id": "u5", "email": "b@x.org", "first_name": "", "last_name": "Byron"},
]


def fill(place: Place) -> None:
    """Users, agents, sessions and documents as version 0007 keeps them."""
    for user in USERS:
        email = user["email"]
        row = STAMPS | {"about": "", "email_folded": email and email.casefold()} | user
        place.insert("users", [row | {"key": user_key("default", user["user_id"])}])
    for number, name in enumerate(["Tutor", LONG, "Guide"]):
        agent = {"key": agent_key("default", f"a{number}"), "agent_id": f"a{number}", "name": name, "about": ""}
        place.insert("agents", [STAMPS | agent])
    for number, user in enumerate(["u2", None, "u1"]):
        session = STAMPS | {"key": session_key("default", f"s{number}"), "session_id": f"s{number}"}
        session |= {"user_key": user and user_key("default", user), "agent_key": agent_key("default", "a0")}
        place.insert("sessions", [session | {"last_activity_at": THEN, "last_sequence": 0, "deleted_through": 0}])
    for number, title in enumerate(["Notes", LONG, "Letters"]):
        for owner in ({"user_key": user_key("default", "u1")}, {"agent_key": agent_key("default", "a0")}):
            key = f"{number}{next(iter(owner))}".encode().ljust(16, b"d")
            document = {"key": key, "document_id": f"d{number}", "title": title, "content": "c", "digest": b"d" * 16}
            place.insert("documents", [STAMPS | document | owner])


@pytest.fixture
def older(tmp_path: Path) -> Place:
    """A file of version 0007 with something in it."""
    place = older_place(tmp_path, "0007")
    fill(place)
    return place


@pytest.fixture
def migrated(older: Place) -> Iterator[Server]:
    server = Server(older)
    yield server
    server.close()


def listed(server: Server, field: str, own: str, order: str, direction: str) -> list[str]:
    query = f"{{ list: {field}(orderBy: {{field: {order}, direction: {direction}}}) {{ nodes {{ {own} }} }} }}"
    return [node[own] for node in server.graphql(query)["list"]["nodes"]]


@pytest.mark.parametrize(
    ("order", "ascending", "descending"),
    [
        # "Ada", "Byron", "Zoë Ångström", "Ω…", none
        ("NAME", ["u2", "u5", "u1", "u4", "u3"], ["u4", "u1", "u5", "u2", "u3"]),
        ("EMAIL", ["u1", "u3", "u4", "u5", "u2"], ["u5", "u4", "u3", "u1", "u2"]),
    ],
)
def test_migrated_users_are_in_order(migrated: Server, order: str, ascending: list[str], descending: list[str]) -> None:
    assert listed(migrated, "users", "userId", order, "ASC") == ascending
    assert listed(migrated, "users", "userId", order, "DESC") == descending


def test_migrated_sessions_are_in_the_order_of_their_users(migrated: Server) -> None:
    assert listed(migrated, "sessions", "sessionId", "USER_ID", "ASC") == ["s2", "s0", "s1"]
    assert listed(migrated, "sessions", "sessionId", "USER_ID", "DESC") == ["s0", "s2", "s1"]


@pytest.mark.parametrize(("owner", "key"), [("user", "u1"), ("agent", "a0")])
def test_migrated_documents_are_in_the_order_of_their_titles(migrated: Server, owner: str, key: str) -> None:
    query = f"""{{ {owner}({owner}Id: "{key}") {{
        documents(orderBy: {{field: TITLE, direction: ASC}}) {{ nodes {{ documentId }} }}
        found: documents(filter: {{documentIds: ["d1"]}}) {{ nodes {{ documentId }} }} }} }}"""
    lists = migrated.graphql(query)[owner]
    assert [node["documentId"] for node in lists["documents"]["nodes"]] == ["d2", "d0", "d1"]
    assert lists["found"]["nodes"] == [{"documentId": "d1"}]


def test_migrated_agents_are_in_order(migrated: Server) -> None:
    assert listed(migrated, "agents", "agentId", "NAME", "ASC") == ["a2", "a0", "a1"]
    assert listed(migrated, "agents", "agentId", "AGENT_ID", "DESC") == ["a2", "a1", "a0"]


def test_migrated_users_are_found_by_their_words(migrated: Server) -> None:
    for text, expected in {"zoe ang": ["u1"], "ada": ["u3", "u2"], "org": ["u5", "u4", "u3", "u1"], "zz": []}.items():
        query = "query ($text: String!) { users(filter: {text: $text}) { nodes { userId } } }"
        nodes = migrated.graphql(query, text=text)["users"]["nodes"]
        assert [node["userId"] for node in nodes] == expected, text


def test_the_speakers_of_more_messages_than_a_batch_are_found_by_their_names(older: Place) -> None:
    session = session_key("default", "s0")
    names = ["Ada Lovelace", "ADA_lovelace", "ada.LOVELACE", "Straße", "-", "Ｂｏｂ", None]
    fixed = {"session_key": session, "generation": 0, "content": "c", "token_count": 1, "forms_memories": 0}
    fixed |= {"role": "USER", "metadata": "{}", "created_at": THEN, "updated_at": THEN, "version": 1}
    older.insert("messages", [fixed | {"sequence": n, "name": names[n % 7]} for n in range(1, 2801)])
    older.query("UPDATE sessions SET last_sequence = 2800 WHERE key = $1", session)
    older.database.migrate()
    kept = older.query("SELECT name, name_folded FROM messages")
    assert kept == [(name, folded_name(name)) for name, _ in kept]
    server = Server(older)
    query = '{ session(sessionId: "s0") { messages(filter: {names: ["ada-lovelace"]}) { totalCount } } }'
    assert server.graphql(query)["session"]["messages"]["totalCount"] == 1200
    server.close()


def test_the_words_of_more_users_than_a_batch_are_those_that_new_users_have(older: Place) -> None:
    many: list[dict[str, Any]] = [
        {"user_id": f"user.{n}", "email": f"{n}@İstanbul.org", "name": f"Ｎａｍｅ {n} हिन्दी Ёлка" if n % 2 else None}
        for n in range(2500)
    ]
    many.append({"user_id": "long", "email": None, "name": " ".join(f"w{n}" + "x" * 70 for n in range(300))})
    for user in many:
        user |= STAMPS | {"about": "", "email_folded": user["email"], "key": user_key("default", user["user_id"])}
    older.insert("users", [{"name": None} | user for user in many])
    older.database.migrate()
    kept = set(older.query("SELECT user_key, word, project FROM user_words"))
    assert kept == {
        (user_key("default", user["user_id"]), word, "default")
        for user in USERS + many
        for word in words_of(user.get(name) for name in FOUND_BY)[:LARGEST_WORDS]
    }
