"""Filters: metadata containment as PostgreSQL's @> has it, keys, ranges, states, and what a filter may not be."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.documents import DELETE_SESSION, END_SESSION, ERRORS, REOPEN_SESSION, UPDATE_SESSION, mutation
from tests.servers import Api, Server

ADD = mutation("addMessages", "messages { id sequence createdAt }")
UPDATE_USER = mutation("updateUser", "user { updatedAt }")
USERS = "query ($filter: UserFilter) { users(first: 100, filter: $filter) { nodes { it: userId } totalCount } }"
SESSIONS = (
    "query ($filter: SessionFilter) { sessions(first: 100, filter: $filter) { nodes { it: sessionId } totalCount } }"
)
AGENTS = "query ($filter: AgentFilter) { agents(first: 100, filter: $filter) { nodes { it: agentId } totalCount } }"
USER_SESSIONS = """query ($filter: SessionFilter) {
  user(userId: "ada") { sessions(first: 100, filter: $filter) { nodes { it: sessionId } totalCount } }
}"""
AGENT_SESSIONS = """query ($filter: SessionFilter) {
  agent(agentId: "guide") { sessions(first: 100, filter: $filter) { nodes { it: sessionId } totalCount } }
}"""
MESSAGES = """query ($filter: MessageFilter) {
  session(sessionId: "chat") { messages(first: 100, filter: $filter) { nodes { it: content } totalCount } }
}"""
USER_MEMORIES = """query ($filter: MemoryFilter) {
  user(userId: "ada") { memories(first: 100, filter: $filter) { nodes { it: content } totalCount } }
}"""
SESSION_MEMORIES = """query ($filter: MemoryFilter) {
  session(sessionId: "chat") { memories(first: 100, filter: $filter) { nodes { it: content } totalCount } }
}"""
USER_DOCUMENTS = """query ($filter: DocumentFilter) {
  user(userId: "ada") { documents(first: 100, filter: $filter) { nodes { it: title } totalCount } }
}"""
AGENT_DOCUMENTS = """query ($filter: DocumentFilter) {
  agent(agentId: "guide") { documents(first: 100, filter: $filter) { nodes { it: title } totalCount } }
}"""


def create(server: Api, kind: str, inputs: list[dict[str, Any]]) -> None:
    """New objects of one kind, made by one document."""
    parameters = ", ".join(f"$i{i}: Create{kind}Input!" for i in range(len(inputs)))
    fields = " ".join(f"m{i}: create{kind}(input: $i{i}) {{ {ERRORS} }}" for i in range(len(inputs)))
    data = server.graphql(f"mutation ({parameters}) {{ {fields} }}", **{f"i{i}": one for i, one in enumerate(inputs)})
    assert [payload["userErrors"] for payload in data.values()] == [[]] * len(inputs)


def found(server: Api, query: str, **conditions: Any) -> list[str]:
    """The objects that a filter admits, in alphabetical order."""
    connection = server.graphql(query, filter=conditions)
    while "nodes" not in connection:
        (connection,) = connection.values()
    assert connection["totalCount"] == len(connection["nodes"])
    return sorted(node["it"] for node in connection["nodes"])


def refused(server: Api, query: str, **conditions: Any) -> None:
    errors = server.errors(query, filter=conditions)
    assert {error["extensions"]["code"] for error in errors} == {"BAD_USER_INPUT"}, errors


# Containment


def contains(whole: Any, part: Any) -> bool:
    """`whole @> part` in PostgreSQL, below the outermost level (where a list would contain a bare scalar, too)."""
    if isinstance(whole, dict) and isinstance(part, dict):
        return all(key in whole and contains(whole[key], value) for key, value in part.items())
    if isinstance(whole, list) and isinstance(part, list):
        return all(any(contains(one, wanted) for one in whole) for wanted in part)
    if isinstance(whole, dict | list) or isinstance(part, dict | list):
        return False
    return isinstance(whole, bool) is isinstance(part, bool) and whole == part


# From PostgreSQL's documentation (8.14.3) and its regression tests (jsonb.sql), below a key unless an object.
POSTGRESQL = [
    ("foo", "foo", True),
    ([1, 2, 3], [1, 3], True),
    ([1, 2, 3], [3, 1], True),
    ([1, 2, 3], [1, 2, 2], True),
    ({"product": "PostgreSQL", "version": 9.4, "jsonb": True}, {"version": 9.4}, True),
    ([1, 2, [1, 3]], [1, 3], False),
    ([1, 2, [1, 3]], [[1, 3]], True),
    ({"foo": {"bar": "baz"}}, {"bar": "baz"}, False),
    ({"foo": {"bar": "baz"}}, {"foo": {}}, True),
    (["foo", "bar"], "bar", False),  # Only outermost does a list contain a bare scalar.
    ("bar", ["bar"], False),
    ({"a": "b", "b": 1, "c": None}, {"a": "b"}, True),
    ({"a": "b", "b": 1, "c": None}, {"a": "b", "c": None}, True),
    ({"a": "b", "b": 1, "c": None}, {"a": "b", "g": None}, False),
    ({"a": "b", "b": 1, "c": None}, {"a": "b", "c": "q"}, False),
    ({"a": "b", "b": 1, "c": None}, {"a": "b", "c": "b"}, False),
    ({"a": "b", "b": 1, "c": None}, {"g": None}, False),
    ({"a": "b", "c": "d"}, {"a": "b", "c": "d", "e": "f"}, False),
    ([1, 2], [1, 2, 2], True),
    ([1, 1, 2], [1, 2, 2], True),
    ([[1, 2]], [[1, 2, 2]], True),
    ([1, 2, 2], [1, 2], True),
    ([[1, 2, 2]], [[1, 2]], True),
    ({}, {"a": 1}, False),
    ([{"a": 1, "b": 2}], [{"a": 1}], True),
    ([{"a": 1}, {"b": 2}], [{"a": 1, "b": 2}], False),
    ([1, "a", [1, 2]], ["a", [1]], True),
    ([], [], True),
    ([1], [], True),
    ([], [1], False),
    ([{}], [[]], False),
    ([[]], [[]], True),
    ([[]], [{}], False),
    ([1], {}, False),
    ({}, [], False),
    ({"a": [1]}, {}, True),
    (1, {}, False),
    (1, [], False),
    (None, None, True),
    (None, {}, False),
    ([None], [None], True),
    ([], [None], False),
    (1, 1.0, True),
    (100, 1e2, True),
    (0, -0.0, True),
    (0.1, 0.10, True),
    (1, 1.0000001, False),
    (True, 1, False),
    (1, True, False),
    (False, 0, False),
    (False, None, False),
    (True, True, True),
    (False, True, False),
    ([True], [1], False),
    ([1], [True], False),
    ([0], [False], False),
    ({"a": [True, {"b": 1}]}, {"a": [{"b": True}]}, False),
    ("1", 1, False),
    (1, "1", False),
    ("true", True, False),
    ("null", None, False),
    ("", None, False),
    ("a", "A", False),
    ("é", "e\u0301", False),
    ("ab", "a", False),
    ("a%", "a%", True),
    ("ab", "a%", False),
    ("a_", "ab", False),
    (9007199254740993, 9007199254740992, False),
    (9223372036854775807, 9223372036854775806, False),
    (-(2**63), -(2**63), True),
    (0.1 + 0.2, 0.3, False),
    (5e-324, 5e-324, True),
    ("1e2", 100, False),
]
# Keys that a path language would take for something else.
STRANGE_KEYS = [
    "",
    " ",
    "a.b",
    "$",
    "$.a",
    "[0]",
    "a[0]",
    '"',
    "'",
    "\\",
    "*",
    "#",
    "@",
    "?",
    "%",
    "é",
    "🦆",
    "\n",
    "x" * 300,
]
DOCUMENTS: list[Any] = []
for _whole, _, _ in POSTGRESQL:
    # 1, 1.0 and True are one to Python's `in`, and three to JSON.
    if json.dumps(_whole) not in [json.dumps(document) for document in DOCUMENTS]:
        DOCUMENTS.append(_whole)


@dataclass(frozen=True)
class Kind:
    """Something that has metadata: how to keep some, and how to ask for them."""

    query: str
    keep: Callable[[Api, list[Any]], None]


def named(kind: str, key: str, /, **fields: Any) -> Callable[[Api, list[Any]], None]:
    def keep(server: Api, metadata: list[Any]) -> None:
        create(server, kind, [fields | {key: f"{i:03}", "metadata": one} for i, one in enumerate(metadata)])

    return keep


def keep_messages(server: Api, metadata: list[Any]) -> None:
    messages = [{"role": "USER", "content": f"{i:03}", "metadata": one} for i, one in enumerate(metadata)]
    server.accepted(ADD, sessionId="chat", messages=messages, formMemories=False)


KINDS = {
    "users": Kind(USERS, named("User", "userId")),
    "agents": Kind(AGENTS, named("Agent", "agentId", name="Guide")),
    "sessions": Kind(SESSIONS, named("Session", "sessionId")),
    "User.sessions": Kind(USER_SESSIONS, named("Session", "sessionId", userId="ada")),
    "Agent.sessions": Kind(AGENT_SESSIONS, named("Session", "sessionId", agentId="guide")),
    "Session.messages": Kind(MESSAGES, keep_messages),
    "User.memories": Kind(USER_MEMORIES, named("Memory", "content", userId="ada", kind="FACT")),
    "Session.memories": Kind(SESSION_MEMORIES, named("Memory", "content", sessionId="chat", kind="FACT")),
    "User.documents": Kind(USER_DOCUMENTS, named("Document", "title", userId="ada", content="c")),
    "Agent.documents": Kind(AGENT_DOCUMENTS, named("Document", "title", agentId="guide", content="c")),
}
every_kind = pytest.mark.parametrize("name", KINDS)


def add_owners(server: Api, name: str) -> None:
    """Whom the objects of a kind belong to, unless it would be one of them."""
    if name != "users":
        create(server, "User", [{"userId": "ada"}])
    if "essions" not in name:
        create(server, "Session", [{"sessionId": "chat"}])
    if name != "agents":
        create(server, "Agent", [{"agentId": "guide", "name": "Guide"}])


def test_the_oracle_agrees_with_postgresql() -> None:
    for whole, part, expected in POSTGRESQL:
        assert contains({"k": whole}, {"k": part}) is expected, (whole, part)


@every_kind
def test_metadata_is_filtered_by_containment(server: Server, name: str) -> None:
    add_owners(server, name)
    metadata = [{"k": document} for document in DOCUMENTS]
    KINDS[name].keep(server, metadata)
    parts = [*(part for _, part, _ in POSTGRESQL), *DOCUMENTS]
    for part in parts:
        expected = [f"{i:03}" for i, whole in enumerate(metadata) if contains(whole, {"k": part})]
        assert found(server, KINDS[name].query, metadata={"k": part}) == expected, part


@every_kind
def test_whole_metadata_is_compared_from_its_outermost_object(server: Server, name: str) -> None:
    add_owners(server, name)
    whole = {"a": "b", "n": {"x": [1, {"y": None}], "z": True}}
    KINDS[name].keep(server, [whole, {}])
    for part in (whole, {"a": "b"}, {"n": {"x": [{"y": None}]}}, {"n": {"z": True}, "a": "b"}, {"n": {}}):
        assert found(server, KINDS[name].query, metadata=part) == ["000"], part
    for part in ({"x": [1]}, {"z": True}, {"n": {"x": [{"y": 1}]}}, {"a": "b", "n": {"z": False}}, {"n": None}):
        assert found(server, KINDS[name].query, metadata=part) == [], part
    assert found(server, KINDS[name].query, metadata={}) == ["000", "001"]


@every_kind
def test_keys_of_metadata_are_only_keys(server: Server, name: str) -> None:
    add_owners(server, name)
    metadata: list[Any] = [{key: 1} for key in STRANGE_KEYS]
    metadata += [{"a": {"b": 1}}, {"a": [1]}]
    KINDS[name].keep(server, metadata)
    for i, key in enumerate(STRANGE_KEYS):
        assert found(server, KINDS[name].query, metadata={key: 1}) == [f"{i:03}"], key
        assert found(server, KINDS[name].query, metadata={key: {key: 1}}) == [], key
    assert found(server, KINDS[name].query, metadata={"a": {"b": 1}}) == [f"{len(STRANGE_KEYS):03}"]


@every_kind
def test_texts_in_metadata_are_only_texts(server: Server, name: str) -> None:
    add_owners(server, name)
    texts = [
        *STRANGE_KEYS,
        "' OR 1=1 --",
        "\\u0041",
        "A",
        "{}",
        "[]",
        "null",
        "a\tb",
        "\u2028",
        "\x7f",
        "\x01",
        "''",
    ]
    KINDS[name].keep(server, [{"k": text} for text in texts])
    for i, text in enumerate(texts):
        assert found(server, KINDS[name].query, metadata={"k": text}) == [f"{i:03}"], text


@every_kind
def test_a_metadata_filter_that_is_no_object_is_refused(server: Server, name: str) -> None:
    add_owners(server, name)
    for wrong in (5, 1.5, "x", "{}", True, False, [], [{}], [["a", 1]]):
        refused(server, KINDS[name].query, metadata=wrong)


def test_a_metadata_filter_may_be_written_into_the_document(server: Server) -> None:
    create(server, "User", [{"userId": "a", "metadata": {"n": {"l": [1, "x"], "t": True, "z": None}}}, {"userId": "b"}])
    for literal in ("{n: {}}", '{n: {l: ["x"]}}', "{n: {t: true, z: null}}", "{n: {l: [1.0]}}"):
        data = server.graphql(f"{{ users(filter: {{metadata: {literal}}}) {{ nodes {{ userId }} totalCount }} }}")
        assert data["users"] == {"nodes": [{"userId": "a"}], "totalCount": 1}
    query = "query ($x: JSON) { users(filter: {metadata: {n: {l: [$x]}}}) { totalCount } }"
    assert server.graphql(query, x="x")["users"] == {"totalCount": 1}
    assert server.graphql(query, x="y")["users"] == {"totalCount": 0}
    for literal in ('"x"', "5", "[]", "true"):
        answer = server.execute(f"{{ users(filter: {{metadata: {literal}}}) {{ totalCount }} }}")
        assert {error["extensions"]["code"] for error in answer["errors"]} <= {
            "BAD_USER_INPUT",
            "GRAPHQL_VALIDATION_FAILED",
        }


def test_a_merge_changes_what_a_filter_finds(server: Server) -> None:
    create(server, "User", [{"userId": "a", "metadata": {"old": 1}}])
    server.accepted(UPDATE_USER, userId="a", metadata={"new": [1, 2], "old": None})
    assert found(server, USERS, metadata={"new": [2]}) == ["a"]
    assert found(server, USERS, metadata={"old": 1}) == []


def test_an_empty_filter_leaves_everything(server: Server) -> None:
    create(server, "User", [{"userId": "ada"}])
    create(server, "Session", [{"sessionId": "chat", "userId": "ada"}])
    for query, everything in ((USERS, ["ada"]), (SESSIONS, ["chat"]), (USER_SESSIONS, ["chat"])):
        assert found(server, query) == everything
        assert found(server, query, createdAt={}) == everything
        assert found(server, query, createdAt=None, userIds=None) == everything
        assert found(server, query, createdAt={"since": None, "until": None}) == everything


# Users


def test_users_are_filtered_by_their_keys(server: Server) -> None:
    create(server, "User", [{"userId": key} for key in ("a", "A", "b", " a", "é", "x" * 512)])
    assert found(server, USERS, userIds=["a"]) == ["a"]
    assert found(server, USERS, userIds=["b", "a", "a", "nobody", "x" * 512]) == ["a", "b", "x" * 512]
    assert found(server, USERS, userIds=["nobody"]) == []
    assert found(server, USERS, userIds=["", "x" * 513, "e\u0301", "%"]) == []
    assert found(server, USERS, userIds=["a", *(f"{i}" for i in range(99))]) == ["a"]


def test_users_are_filtered_by_email_casefolded_and_exactly(server: Server) -> None:
    emails = {"a": "Ada@Example.org", "b": "ada@example.org", "c": "STRASSE@x", "d": "straße@x", "e": None, "f": "a%@x"}
    create(server, "User", [{"userId": key, "email": email} for key, email in emails.items()])
    assert found(server, USERS, emails=["ADA@EXAMPLE.ORG"]) == ["a", "b"]
    assert found(server, USERS, emails=["Straße@X"]) == ["c", "d"]
    assert found(server, USERS, emails=["ada@example.org", "a%@x"]) == ["a", "b", "f"]
    assert found(server, USERS, emails=["ada@example.or", "ada@example.org ", "%", ""]) == []


def test_users_are_filtered_by_time(server: Server) -> None:
    years = {f"{year}": f"{year}-01-01T00:00:00Z" for year in (2001, 2002, 2003)}
    create(server, "User", [{"userId": key, "createdAt": at} for key, at in years.items()])
    check_range(server, USERS, "createdAt")
    late = server.accepted(UPDATE_USER, userId="2002", about="x")["user"]["updatedAt"]
    later = moved(late, 1)
    assert found(server, USERS, updatedAt={"since": late, "until": later}) == ["2002"]
    assert found(server, USERS, updatedAt={"since": later}) == []
    assert "2002" not in found(server, USERS, updatedAt={"until": late})
    assert found(server, USERS, updatedAt={"since": late}, createdAt={"since": years["2003"]}) == []


def moved(text: str, microseconds: int) -> str:
    return (datetime.fromisoformat(text) + timedelta(microseconds=microseconds)).astimezone(UTC).isoformat()


def check_range(server: Api, query: str, field: str) -> None:
    """`since <= t < until`, for what was created at the beginnings of 2001, 2002 and 2003 and is named after them."""
    for since, until, expected in (
        ("2002-01-01T00:00:00Z", None, ["2002", "2003"]),
        ("2002-01-01T00:00:00.000001Z", None, ["2003"]),
        (None, "2002-01-01T00:00:00Z", ["2001"]),
        (None, "2002-01-01T00:00:00.000001Z", ["2001", "2002"]),
        ("2002-01-01T00:00:00Z", "2003-01-01T00:00:00Z", ["2002"]),
        ("2002-01-01T05:30:00+05:30", "2002-01-01T00:00:00.000001-00:00", ["2002"]),
        ("2002-01-01T05:29:59.999999+05:30", "2002-01-01T00:00:00Z", []),
        ("2002-01-01T00:00:00Z", "2002-01-01T00:00:00Z", []),
        ("2003-01-01T00:00:00Z", "2001-01-01T00:00:00Z", []),
        ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", ["2001", "2002", "2003"]),
    ):
        given = {name: at for name, at in (("since", since), ("until", until)) if at}
        assert found(server, query, **{field: given}) == expected, given


def test_agents_are_filtered_by_their_keys_and_time(server: Server) -> None:
    create(server, "Agent", [{"agentId": key, "name": "x", "metadata": {"n": 1}} for key in ("a", "A", "ä")])
    assert found(server, AGENTS, agentIds=["a", "ä", "b", "a\0"]) == ["a", "ä"]
    assert found(server, AGENTS, agentIds=[]) == []
    times = server.graphql("{ agents { nodes { agentId createdAt } } }")["agents"]["nodes"]
    newest = times[0]
    assert newest["agentId"] == "ä"
    assert found(server, AGENTS, createdAt={"since": newest["createdAt"]}) == ["ä"]
    assert found(server, AGENTS, createdAt={"until": newest["createdAt"]}, metadata={"n": 1}) == ["A", "a"]
    assert found(server, AGENTS, createdAt={"until": newest["createdAt"]}, agentIds=["A", "ä"]) == ["A"]


def test_conditions_of_a_filter_hold_together(server: Server) -> None:
    rows = [("a", "x@x", 1, 2001), ("b", "x@x", 2, 2002), ("c", "y@y", 1, 2003)]
    create(
        server,
        "User",
        [
            {"userId": key, "email": email, "metadata": {"n": n}, "createdAt": f"{year}-01-01T00:00:00Z"}
            for key, email, n, year in rows
        ],
    )
    assert found(server, USERS, emails=["x@x"], metadata={"n": 1}) == ["a"]
    assert found(server, USERS, userIds=["a", "b"], createdAt={"since": "2002-01-01T00:00:00Z"}) == ["b"]
    assert found(server, USERS, userIds=["c"], emails=["x@x"]) == []


# Sessions


@pytest.fixture
def sessions(server: Server) -> Server:
    """Sessions with and without a user and an agent, open and ended, created in three years."""
    create(server, "User", [{"userId": "ada"}, {"userId": "bob"}])
    create(server, "Agent", [{"agentId": "guide", "name": "Guide"}, {"agentId": "clerk", "name": "Clerk"}])
    rows = [("2001", "ada", "guide"), ("2002", "bob", "clerk"), ("2003", None, None), ("2004", "ada", None)]
    create(
        server,
        "Session",
        [
            {"sessionId": key, "userId": user, "agentId": agent, "createdAt": f"{key}-01-01T00:00:00Z"}
            for key, user, agent in rows
        ],
    )
    return server


def test_sessions_are_filtered_by_their_keys_users_and_agents(sessions: Server) -> None:
    assert found(sessions, SESSIONS, sessionIds=["2003", "2001", "nothing", ""]) == ["2001", "2003"]
    assert found(sessions, SESSIONS, userIds=["ada"]) == ["2001", "2004"]
    assert found(sessions, SESSIONS, userIds=["bob", "ada", "nobody"]) == ["2001", "2002", "2004"]
    assert found(sessions, SESSIONS, agentIds=["clerk"]) == ["2002"]
    assert found(sessions, SESSIONS, agentIds=["guide", "clerk", "nobody"]) == ["2001", "2002"]
    assert found(sessions, SESSIONS, agentIds=["nobody"]) == []
    assert found(sessions, SESSIONS, userIds=["ada"], agentIds=["guide"]) == ["2001"]
    assert found(sessions, USER_SESSIONS, sessionIds=["2001", "2002"]) == ["2001"]
    assert found(sessions, USER_SESSIONS, userIds=["bob"]) == []
    assert found(sessions, USER_SESSIONS, agentIds=["guide"]) == ["2001"]
    assert found(sessions, AGENT_SESSIONS, userIds=["ada"]) == ["2001"]


def test_sessions_are_filtered_by_whether_they_have_a_user(sessions: Server) -> None:
    assert found(sessions, SESSIONS, hasUser=True) == ["2001", "2002", "2004"]
    assert found(sessions, SESSIONS, hasUser=False) == ["2003"]
    assert found(sessions, SESSIONS, hasUser=None) == ["2001", "2002", "2003", "2004"]
    assert found(sessions, USER_SESSIONS, hasUser=False) == []
    assert found(sessions, SESSIONS, hasUser=False, userIds=["ada"]) == []
    sessions.accepted(UPDATE_SESSION, sessionId="2003", userId="bob")
    assert found(sessions, SESSIONS, hasUser=False) == []
    sessions.accepted(UPDATE_SESSION, sessionId="2001", userId=None)
    assert found(sessions, SESSIONS, hasUser=False) == ["2001"]


def test_sessions_are_filtered_by_whether_they_have_ended(sessions: Server) -> None:
    for key in ("2002", "2004"):
        sessions.accepted(END_SESSION, sessionId=key)
    assert found(sessions, SESSIONS, ended=True) == ["2002", "2004"]
    assert found(sessions, SESSIONS, ended=False) == ["2001", "2003"]
    assert found(sessions, SESSIONS, ended=None) == ["2001", "2002", "2003", "2004"]
    assert found(sessions, USER_SESSIONS, ended=True) == ["2004"]
    sessions.accepted(REOPEN_SESSION, sessionId="2004")
    assert found(sessions, SESSIONS, ended=True) == ["2002"]


def test_only_a_filter_shows_deleted_sessions(sessions: Server) -> None:
    for key in ("2002", "2004"):
        sessions.accepted(DELETE_SESSION, sessionId=key)
    assert found(sessions, SESSIONS) == found(sessions, SESSIONS, deleted=False) == ["2001", "2003"]
    assert found(sessions, SESSIONS, deleted=True) == ["2002", "2004"]
    assert found(sessions, SESSIONS, deleted=True, userIds=["ada"]) == ["2004"]
    assert found(sessions, SESSIONS, deleted=True, hasUser=False) == []
    query = "{ sessions(filter: { deleted: true }) { nodes { sessionId deletedAt } } }"
    assert all(node["deletedAt"] for node in sessions.graphql(query)["sessions"]["nodes"])
    sessions.accepted(ADD, sessionId="2004", messages=[{"role": "USER", "content": "back"}])
    assert found(sessions, SESSIONS, deleted=True) == ["2002"]
    assert found(sessions, SESSIONS) == ["2001", "2003", "2004"]


def test_sessions_are_filtered_by_time(sessions: Server) -> None:
    sessions.accepted(DELETE_SESSION, sessionId="2004", permanently=True)
    check_range(sessions, SESSIONS, "createdAt")
    query = '{ session(sessionId: "2002") { lastActivityAt } }'
    sessions.accepted(
        ADD, sessionId="2002", messages=[{"role": "USER", "content": "x", "createdAt": "2010-01-01T00:00:00Z"}]
    )
    last = sessions.graphql(query)["session"]["lastActivityAt"]
    assert datetime.fromisoformat(last) > datetime(2020, 1, 1, tzinfo=UTC), "It is the server's time, not the client's."
    assert found(sessions, SESSIONS, lastActivityAt={"since": last, "until": moved(last, 1)}) == ["2002"]
    assert found(sessions, SESSIONS, lastActivityAt={"since": moved(last, 1)}) == []
    assert "2002" not in found(sessions, SESSIONS, lastActivityAt={"until": last})


# Messages


def test_messages_are_filtered_by_role(server: Server) -> None:
    roles = ["SYSTEM", "DEVELOPER", "USER", "ASSISTANT", "TOOL", "FUNCTION"]
    messages = [{"role": role, "content": role} for role in roles]
    server.accepted(ADD, sessionId="chat", messages=messages, formMemories=False)
    for role in roles:
        assert found(server, MESSAGES, roles=[role]) == [role]
    assert found(server, MESSAGES, roles=["USER", "TOOL", "USER"]) == ["TOOL", "USER"]
    assert found(server, MESSAGES, roles=roles) == found(server, MESSAGES, roles=None) == sorted(roles)


def test_messages_are_filtered_by_time(server: Server) -> None:
    messages = [
        {"role": "USER", "content": f"{year}", "createdAt": f"{year}-01-01T00:00:00Z", "metadata": {"n": year % 2}}
        for year in (2003, 2001, 2002)
    ]
    server.accepted(ADD, sessionId="chat", messages=messages, formMemories=False)
    check_range(server, MESSAGES, "createdAt")
    since = {"since": "2002-01-01T00:00:00Z"}
    assert found(server, MESSAGES, createdAt=since, metadata={"n": 1}, roles=["USER"]) == ["2003"]


# Memories


@pytest.fixture
def memories(server: Server) -> Server:
    """Memories of every kind, with and without a rating, those of a session among them."""
    create(server, "User", [{"userId": "ada"}])
    create(server, "Session", [{"sessionId": "chat", "userId": "ada"}])
    rows = [("FACT", None), ("FACT", 0), ("FACT", 0.5), ("PREFERENCE", 1), ("EVENT", 0.25), ("SUMMARY", None)]
    made = [
        {"sessionId": "chat", "kind": kind, "content": f"{kind} {rating}", "rating": rating} for kind, rating in rows
    ]
    create(server, "Memory", [*made, {"userId": "ada", "kind": "FACT", "content": "of the user", "rating": 0.75}])
    return server


def test_memories_are_filtered_by_kind(memories: Server) -> None:
    assert found(memories, USER_MEMORIES, kinds=["FACT"]) == ["FACT 0", "FACT 0.5", "FACT None", "of the user"]
    assert found(memories, SESSION_MEMORIES, kinds=["FACT"]) == ["FACT 0", "FACT 0.5", "FACT None"]
    assert found(memories, USER_MEMORIES, kinds=["EVENT", "SUMMARY"]) == ["EVENT 0.25", "SUMMARY None"]
    assert len(found(memories, USER_MEMORIES, kinds=["EVENT", "SUMMARY", "FACT", "PREFERENCE"])) == 7


def test_memories_are_filtered_by_method(memories: Server) -> None:
    assert len(found(memories, USER_MEMORIES, methods=["DECLARED"])) == 7
    assert found(memories, USER_MEMORIES, methods=["RULE", "EXTRACTIVE", "MODEL"]) == []
    assert len(found(memories, SESSION_MEMORIES, methods=["RULE", "DECLARED"])) == 6


def test_a_memory_without_a_rating_does_not_pass_a_least_one(memories: Server) -> None:
    rated = ["EVENT 0.25", "FACT 0", "FACT 0.5", "PREFERENCE 1"]
    assert found(memories, SESSION_MEMORIES, minRating=0) == rated
    assert found(memories, USER_MEMORIES, minRating=0) == sorted([*rated, "of the user"])
    assert found(memories, USER_MEMORIES, minRating=0.5) == ["FACT 0.5", "PREFERENCE 1", "of the user"]
    assert found(memories, USER_MEMORIES, minRating=0.500001) == ["PREFERENCE 1", "of the user"]
    assert found(memories, USER_MEMORIES, minRating=1) == ["PREFERENCE 1"]
    assert found(memories, USER_MEMORIES, minRating=0.5, kinds=["FACT"], methods=["DECLARED"]) == [
        "FACT 0.5",
        "of the user",
    ]
    assert len(found(memories, USER_MEMORIES, minRating=None)) == 7


# What a filter may not be

LONG = [f"{i}" for i in range(101)]


IMPOSSIBLE = [
    (USERS, {"userIds": LONG}),
    (USERS, {"emails": LONG}),
    (SESSIONS, {"sessionIds": LONG}),
    (SESSIONS, {"userIds": LONG}),
    (SESSIONS, {"agentIds": LONG}),
    (USER_SESSIONS, {"sessionIds": LONG}),
    (AGENT_SESSIONS, {"userIds": LONG}),
    (MESSAGES, {"messageIds": LONG}),
    (MESSAGES, {"messageIds": [1]}),
    (MESSAGES, {"names": LONG}),
    (USER_MEMORIES, {"memoryIds": LONG}),
    (SESSION_MEMORIES, {"memoryIds": [None]}),
    (USER_DOCUMENTS, {"documentIds": LONG}),
    (AGENT_DOCUMENTS, {"documentIds": [1]}),
    (AGENTS, {"agentIds": LONG}),
    (AGENTS, {"agentIds": [None]}),
    (AGENTS, {"createdAt": {"since": "2024-01-01T00:00:00"}}),
    (AGENTS, {"metadata": []}),
    (USERS, {"userIds": [None]}),
    (USERS, {"userIds": [5]}),
    (USERS, {"userIds": {}}),
    (USERS, {"unknown": 1}),
    (USERS, {"createdAt": "2024-01-01T00:00:00Z"}),
    (USERS, {"createdAt": {"since": "2024-01-01T00:00:00"}}),
    (USERS, {"createdAt": {"since": "2024-02-30T00:00:00Z"}}),
    (USERS, {"createdAt": {"after": "2024-02-01T00:00:00Z"}}),
    (SESSIONS, {"ended": "true"}),
    (SESSIONS, {"ended": 1}),
    (SESSIONS, {"deleted": "yes"}),
    (SESSIONS, {"hasUser": []}),
    (MESSAGES, {"roles": ["user"]}),
    (MESSAGES, {"roles": ["ROBOT"]}),
    (MESSAGES, {"roles": [None]}),
    (USER_MEMORIES, {"kinds": ["THOUGHT"]}),
    (USER_MEMORIES, {"methods": [1]}),
    (USER_MEMORIES, {"minRating": "0.5"}),
    (USER_MEMORIES, {"minRating": True}),
    (USER_MEMORIES, {"asOf": "2024-01-01"}),
    (USER_MEMORIES, {"asOf": "yesterday"}),
    (USER_MEMORIES, {"history": "false"}),
]


def test_a_condition_that_cannot_be_is_refused(memories: Server) -> None:
    create(memories, "Agent", [{"agentId": "guide", "name": "Guide"}])
    for query, condition in IMPOSSIBLE:
        refused(memories, query, **condition)


# What a review found


def test_a_key_with_a_nul_finds_nobody(sessions: Server) -> None:
    create(sessions, "User", [{"userId": "nobody", "email": "nobody@example.org"}])
    for end in ("\0zzz", "\0", "\ud800"):
        assert found(sessions, USERS, userIds=[f"ada{end}"]) == []
        assert found(sessions, USERS, emails=[f"nobody@example.org{end}"]) == []
        assert found(sessions, USERS, userIds=[f"ada{end}", "ada"]) == ["ada"]
        assert found(sessions, SESSIONS, userIds=[f"ada{end}"]) == []
        for key in found(sessions, SESSIONS):
            assert found(sessions, SESSIONS, sessionIds=[f"{key}{end}"]) == []


def test_a_metadata_filter_beyond_64_kibibytes_is_refused(server: Server) -> None:
    create(server, "User", [{"userId": "ada", "metadata": {"a": "x" * (64 * 1024 - 8)}}])
    assert found(server, USERS, metadata={"a": "x" * (64 * 1024 - 8)}) == ["ada"]
    for metadata in ({"a": "x" * (64 * 1024 - 7)}, {"a": "x" * 2**20}, {"a": list(range(50_000))}):
        refused(server, USERS, metadata=metadata)


def test_a_long_list_in_a_long_list_is_found(server: Server) -> None:
    create(server, "User", [{"userId": "ada", "metadata": {"a": list(range(9000))}}])
    create(server, "User", [{"userId": "bob", "metadata": {"a": [n for n in range(9000) if n != 2999]}}])
    wanted = list(range(3000))
    begin = time.process_time()
    assert found(server, USERS, metadata={"a": wanted}) == ["ada"]
    assert found(server, USERS, metadata={"a": wanted[::-1][1:]}) == ["ada", "bob"]
    assert found(server, USERS, metadata={"a": [*wanted, 9000]}) == []
    assert found(server, USERS, metadata={"a": [*wanted, True]}) == []
    assert found(server, USERS, metadata={"a": [*wanted, [1]]}) == []
    assert time.process_time() - begin < 2
