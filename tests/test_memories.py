"""Declared memories: owners, retries, validity, superseding, summaries, sources, changes and deletions."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.servers import Api, Server

MEMORY = """id memoryId kind content method model rating validFrom validUntil expiresAt metadata createdAt updatedAt
  version user { userId } session { sessionId } supersededBy { id } supersedes { id }"""
ERRORS = "userErrors { code message path }"
CREATE = f"mutation ($input: CreateMemoryInput!) {{ createMemory(input: $input) {{ memory {{ {MEMORY} }} {ERRORS} }} }}"
UPDATE = f"mutation ($input: UpdateMemoryInput!) {{ updateMemory(input: $input) {{ memory {{ {MEMORY} }} {ERRORS} }} }}"
DELETE = f"mutation ($input: DeleteMemoryInput!) {{ deleteMemory(input: $input) {{ deletedMemoryId {ERRORS} }} }}"
CREATE_USER = f"mutation ($input: CreateUserInput!) {{ createUser(input: $input) {{ user {{ id }} {ERRORS} }} }}"
DELETE_USER = f"""mutation ($input: DeleteUserInput!) {{
  deleteUser(input: $input) {{ deletedUserId receipt {{ memories documents }} {ERRORS} }}
}}"""
CREATE_SESSION = (
    f"mutation ($input: CreateSessionInput!) {{ createSession(input: $input) {{ session {{ id }} {ERRORS} }} }}"
)
UPDATE_SESSION = (
    f"mutation ($input: UpdateSessionInput!) {{ updateSession(input: $input) {{ session {{ id }} {ERRORS} }} }}"
)
END_SESSION = f"mutation ($input: EndSessionInput!) {{ endSession(input: $input) {{ session {{ id }} {ERRORS} }} }}"
DELETE_SESSION = f"""mutation ($input: DeleteSessionInput!) {{
  deleteSession(input: $input) {{ deletedSessionId {ERRORS} }}
}}"""
ADD = f"""mutation ($input: AddMessagesInput!) {{
  addMessages(input: $input) {{ messages {{ id sequence }} {ERRORS} }}
}}"""
UPDATE_MESSAGE = (
    f"mutation ($input: UpdateMessageInput!) {{ updateMessage(input: $input) {{ message {{ id }} {ERRORS} }} }}"
)
DELETE_MESSAGE = (
    f"mutation ($input: DeleteMessageInput!) {{ deleteMessage(input: $input) {{ deletedMessageId {ERRORS} }} }}"
)
DELETE_MESSAGES = f"""mutation ($input: DeleteMessagesInput!) {{
  deleteMessages(input: $input) {{ deletedMessageIds hasMore {ERRORS} }}
}}"""
CREATE_DOCUMENT = f"""mutation ($input: CreateDocumentInput!) {{
  createDocument(input: $input) {{ document {{ id }} {ERRORS} }}
}}"""
DELETE_DOCUMENT = f"""mutation ($input: DeleteDocumentInput!) {{
  deleteDocument(input: $input) {{ deletedDocumentId {ERRORS} }}
}}"""
NODE = f"query ($id: ID!) {{ node(id: $id) {{ ... on Memory {{ {MEMORY} }} }} }}"
OF_USER = """query ($userId: String!, $filter: MemoryFilter) {
  user(userId: $userId) { memories(first: 100, filter: $filter) { nodes { id content } totalCount } }
}"""
OF_SESSION = """query ($sessionId: String!, $filter: MemoryFilter) {
  session(sessionId: $sessionId) { memories(first: 100, filter: $filter) { nodes { id content } totalCount } }
}"""
OF_MESSAGE = """query ($id: ID!) {
  node(id: $id) { ... on Message { memories(first: 100) { nodes { id content } totalCount } } }
}"""
SOURCES = """query ($id: ID!) { node(id: $id) { ... on Memory { sources(first: 100) {
  edges { cursor node { __typename ... on Node { id } } } totalCount
  nodes { __typename ... on Message { id sequence } ... on Document { id title } }
} } } }"""
SUMMARIES = """query ($userId: String!, $sessionId: String!) {
  user(userId: $userId) { summary { id content } } session(sessionId: $sessionId) { summary { id content } }
}"""


def add_user(server: Api, user_id: str = "ada") -> str:
    return server.accepted(CREATE_USER, userId=user_id)["user"]["id"]


def add_session(server: Api, session_id: str = "chat", **fields: Any) -> str:
    return server.accepted(CREATE_SESSION, sessionId=session_id, **fields)["session"]["id"]


def add_messages(server: Api, *contents: str, session_id: str = "chat") -> list[str]:
    """The ids of new messages, from which nothing is formed."""
    messages = [{"role": "ASSISTANT", "content": content} for content in contents]
    payload = server.accepted(ADD, sessionId=session_id, messages=messages, formMemories=False)
    return [message["id"] for message in payload["messages"]]


def declare(server: Api, content: str = "Lives in Pécs", **fields: Any) -> dict[str, Any]:
    return server.accepted(CREATE, **({"kind": "FACT", "content": content} | fields))["memory"]


def memory(server: Api, memory_id: str) -> dict[str, Any] | None:
    return server.graphql(NODE, id=memory_id)["node"]


def contents(server: Api, user_id: str = "ada", **filters: Any) -> list[str]:
    """What a user's memories say, in alphabetical order."""
    memories = server.graphql(OF_USER, userId=user_id, filter=filters or None)["user"]["memories"]
    assert memories["totalCount"] == len(memories["nodes"])
    return sorted(node["content"] for node in memories["nodes"])


def contents_of_session(server: Api, session_id: str = "chat", **filters: Any) -> list[str]:
    memories = server.graphql(OF_SESSION, sessionId=session_id, filter=filters or None)["session"]["memories"]
    assert memories["totalCount"] == len(memories["nodes"])
    return sorted(node["content"] for node in memories["nodes"])


def contents_of_message(server: Api, message_id: str) -> list[str]:
    memories = server.graphql(OF_MESSAGE, id=message_id)["node"]["memories"]
    assert memories["totalCount"] == len(memories["nodes"])
    return sorted(node["content"] for node in memories["nodes"])


def sources(server: Api, memory_id: str) -> set[str]:
    found = server.graphql(SOURCES, id=memory_id)["node"]["sources"]
    assert [edge["node"]["id"] for edge in found["edges"]] == [node["id"] for node in found["nodes"]]
    assert found["totalCount"] == len(found["nodes"])
    return {node["id"] for node in found["nodes"]}


def moment(text: str) -> datetime:
    assert text.endswith("Z"), text
    return datetime.fromisoformat(text)


# Owners


def test_a_memory_is_declared_for_a_user(server: Server) -> None:
    add_user(server)
    before = datetime.now(UTC)
    made = declare(server, "Likes tea", userId="ada", kind="PREFERENCE")
    after = datetime.now(UTC)
    assert made["user"] == {"userId": "ada"}
    assert made["session"] is None
    assert (made["kind"], made["content"], made["method"], made["model"]) == (
        "PREFERENCE",
        "Likes tea",
        "DECLARED",
        None,
    )
    assert made["memoryId"] is made["rating"] is made["validFrom"] is made["validUntil"] is made["expiresAt"] is None
    assert made["metadata"] == {}
    assert made["supersededBy"] is None
    assert made["supersedes"] == []
    assert made["version"] == 1
    assert made["createdAt"] == made["updatedAt"]
    assert before - timedelta(seconds=1) <= moment(made["createdAt"]) <= after + timedelta(seconds=1)
    assert memory(server, made["id"]) == made
    assert contents(server) == ["Likes tea"]


def test_a_memory_is_declared_for_a_session_without_a_user(server: Server) -> None:
    add_session(server)
    made = declare(server, sessionId="chat")
    assert made["session"] == {"sessionId": "chat"}
    assert made["user"] is None
    assert contents_of_session(server) == ["Lives in Pécs"]


def test_a_session_implies_its_user(server: Server) -> None:
    add_user(server)
    add_session(server, userId="ada")
    made = declare(server, sessionId="chat")
    assert made["session"] == {"sessionId": "chat"}
    assert made["user"] == {"userId": "ada"}
    assert contents(server) == contents_of_session(server) == ["Lives in Pécs"]


def test_a_memory_may_name_a_session_and_the_user_it_belongs_to(server: Server) -> None:
    add_user(server)
    add_session(server, userId="ada")
    made = declare(server, sessionId="chat", userId="ada")
    assert (made["user"], made["session"]) == ({"userId": "ada"}, {"sessionId": "chat"})


def test_a_memory_of_the_user_is_not_one_of_each_session(server: Server) -> None:
    add_user(server)
    add_session(server, userId="ada")
    declare(server, userId="ada")
    assert contents_of_session(server) == []


def test_a_session_and_another_user_than_its_own_are_invalid(server: Server) -> None:
    add_user(server)
    add_user(server, "bob")
    add_session(server, userId="ada")
    error = server.refused(CREATE, sessionId="chat", userId="bob", kind="FACT", content="x")
    assert error["code"] == "INVALID"


def test_a_memory_without_user_and_session_is_invalid(server: Server) -> None:
    assert server.refused(CREATE, kind="FACT", content="x")["code"] == "INVALID"
    assert server.refused(CREATE, kind="FACT", content="x", userId=None, sessionId=None)["code"] == "INVALID"


@pytest.mark.parametrize("owner", ["userId", "sessionId"])
def test_a_memory_of_somebody_unknown_is_not_found(server: Server, owner: str) -> None:
    error = server.refused(CREATE, kind="FACT", content="x", **{owner: "nobody"})
    assert (error["code"], error["path"]) == ("NOT_FOUND", [owner])


def test_memories_can_be_declared_for_an_ended_session(server: Server) -> None:
    add_session(server)
    server.accepted(END_SESSION, sessionId="chat")
    declare(server, "All said", sessionId="chat", kind="SUMMARY")
    assert contents_of_session(server) == ["All said"]


def test_declaring_a_memory_is_no_activity_of_its_session(server: Server) -> None:
    add_session(server)
    read = '{ session(sessionId: "chat") { version updatedAt lastActivityAt } }'
    before = server.graphql(read)
    declare(server, sessionId="chat")
    assert server.graphql(read) == before


@pytest.mark.parametrize("kind", ["FACT", "PREFERENCE", "EVENT", "SUMMARY"])
def test_every_kind_can_be_declared(server: Server, kind: str) -> None:
    add_user(server)
    made = declare(server, userId="ada", kind=kind)
    assert (made["kind"], made["method"]) == (kind, "DECLARED")


def test_a_memory_keeps_everything_it_was_given(server: Server) -> None:
    add_user(server)
    given = {
        "memoryId": "m-1",
        "kind": "EVENT",
        "content": "Zażółć 🦆\nsecond line",
        "rating": 0.25,
        "validFrom": "2024-01-01T02:00:00+02:00",
        "validUntil": "2999-01-01T00:00:00.123456Z",
        "expiresAt": "2999-06-01T00:00:00-05:30",
        "metadata": {"a": [1, 2.5, None, {"b": "é"}], "none": None},
        "createdAt": "2023-12-24T18:00:00Z",
    }
    made = declare(server, userId="ada", **given)
    for field in ("memoryId", "kind", "content", "rating", "metadata"):
        assert made[field] == given[field]
    for field in ("validFrom", "validUntil", "expiresAt", "createdAt"):
        assert moment(made[field]) == datetime.fromisoformat(given[field])
    assert memory(server, made["id"]) == made


@pytest.mark.parametrize("rating", [0, 1, 0.5, 0.3333333333333333, 1e-9])
def test_a_rating_lies_between_zero_and_one(server: Server, rating: float) -> None:
    add_user(server)
    assert declare(server, userId="ada", rating=rating)["rating"] == rating


@pytest.mark.parametrize("rating", [-0.0001, 1.0001, -1, 2, 1e308])
def test_another_rating_is_invalid(server: Server, rating: float) -> None:
    add_user(server)
    error = server.refused(CREATE, userId="ada", kind="FACT", content="x", rating=rating)
    assert (error["code"], error["path"]) == ("INVALID", ["rating"])
    made = declare(server, userId="ada", rating=1)
    assert server.refused(UPDATE, id=made["id"], rating=rating)["code"] == "INVALID"


def test_null_in_a_declaration_means_left_out(server: Server) -> None:
    add_user(server)
    names = ("memoryId", "sessionId", "rating", "validFrom", "validUntil", "expiresAt", "sources", "supersedes")
    made = declare(server, userId="ada", metadata=None, createdAt=None, **dict.fromkeys(names))
    assert made["metadata"] == {}
    assert made["rating"] is made["session"] is made["memoryId"] is None


def test_content_may_have_one_mebibyte_of_utf_8_and_no_more(server: Server) -> None:
    add_user(server)
    full = "é" * (512 * 1024)
    assert declare(server, full, userId="ada")["content"] == full
    for content in (full + "a", "a" * (1024 * 1024 + 1), "🦆" * (256 * 1024 + 1)):
        error = server.refused(CREATE, userId="ada", kind="FACT", content=content)
        assert (error["code"], error["path"]) == ("TOO_LARGE", ["content"])


def test_metadata_may_have_64_kibibytes_and_32_levels(server: Server) -> None:
    add_user(server)
    deep: dict[str, Any] = {}
    for _ in range(31):
        deep = {"a": deep}
    assert declare(server, userId="ada", metadata=deep)["metadata"] == deep
    assert declare(server, userId="ada", metadata={"a": "x" * 60_000})["metadata"] == {"a": "x" * 60_000}
    for metadata in ({"a": deep}, {"a": "x" * 66_000}, {"a": "é" * 33_000}, {"a": [deep]}):
        error = server.refused(CREATE, userId="ada", kind="FACT", content="x", metadata=metadata)
        assert (error["code"], error["path"]) == ("TOO_LARGE", ["metadata"])


@pytest.mark.parametrize("metadata", [5, "x", True, [], [{"a": 1}], 1.5])
def test_metadata_that_is_no_object_is_invalid(server: Server, metadata: Any) -> None:
    add_user(server)
    error = server.refused(CREATE, userId="ada", kind="FACT", content="x", metadata=metadata)
    assert (error["code"], error["path"]) == ("INVALID", ["metadata"])


# Retries


def test_a_repeated_memory_is_returned_as_stored(server: Server) -> None:
    add_user(server)
    given = {"memoryId": "m", "userId": "ada", "rating": 0.5, "metadata": {"a": 1}, "validFrom": "2020-01-01T00:00:00Z"}
    made = declare(server, **given)
    assert declare(server, **given) == made
    assert contents(server) == ["Lives in Pécs"]


def test_a_repeated_memory_with_other_content_is_a_conflict(server: Server) -> None:
    add_user(server)
    made = declare(server, memoryId="m", userId="ada")
    error = server.refused(CREATE, memoryId="m", userId="ada", kind="FACT", content="Lives in Graz")
    assert error["code"] == "CONFLICT"
    assert memory(server, made["id"]) == made


def test_a_retry_after_an_edit_makes_no_second_memory(server: Server) -> None:
    add_user(server)
    made = declare(server, memoryId="m", userId="ada")
    server.accepted(UPDATE, id=made["id"], content="Lives in Graz")
    again = declare(server, memoryId="m", userId="ada")
    assert (again["id"], again["content"]) == (made["id"], "Lives in Graz")
    assert contents(server) == ["Lives in Graz"]


def test_a_memory_id_is_unique_within_its_owner_only(server: Server) -> None:
    for user_id in ("ada", "bob"):
        add_user(server, user_id)
    for session_id in ("chat", "other"):
        add_session(server, session_id)
    owners = [{"userId": "ada"}, {"userId": "bob"}, {"sessionId": "chat"}, {"sessionId": "other"}]
    made = [declare(server, f"memory {i}", memoryId="m", **owner) for i, owner in enumerate(owners)]
    assert len({one["id"] for one in made}) == 4
    assert [declare(server, f"memory {i}", memoryId="m", **owner) for i, owner in enumerate(owners)] == made


def test_memories_without_a_key_are_all_kept(server: Server) -> None:
    add_user(server)
    assert declare(server, userId="ada")["id"] != declare(server, userId="ada")["id"]
    assert contents(server) == ["Lives in Pécs", "Lives in Pécs"]


def test_memory_ids_are_byte_exact(server: Server) -> None:
    add_user(server)
    keys = ["k", "K", " k", "k ", "é", "e\u0301", "ｋ", "k/1", "%6B", "x" * 512, "🦆" * 512]
    made = [declare(server, f"{i}", userId="ada", memoryId=key) for i, key in enumerate(keys)]
    assert [one["memoryId"] for one in made] == keys
    assert len({one["id"] for one in made}) == len(keys)


@pytest.mark.parametrize("key", ["", "x" * 513, "a\0b"])
def test_a_memory_id_that_cannot_be_is_refused(server: Server, key: str) -> None:
    add_user(server)
    error = server.refused(CREATE, userId="ada", kind="FACT", content="x", memoryId=key)
    assert error["code"] in ({"TOO_LARGE", "INVALID"} if len(key) > 512 else {"INVALID"})
    assert error["path"] == ["memoryId"]


# Validity


def test_what_is_not_valid_now_is_not_listed(server: Server) -> None:
    add_user(server)
    past, future = "2001-01-01T00:00:00Z", "2999-01-01T00:00:00Z"
    declare(server, "always", userId="ada")
    declare(server, "since long", userId="ada", validFrom=past)
    declare(server, "for long", userId="ada", validUntil=future, expiresAt=future)
    declare(server, "was", userId="ada", validFrom="2000-01-01T00:00:00Z", validUntil=past)
    declare(server, "will be", userId="ada", validFrom=future)
    declare(server, "forgotten", userId="ada", createdAt="2000-01-01T00:00:00Z", expiresAt=past)
    assert contents(server) == ["always", "for long", "since long"]
    assert len(contents(server, history=True)) == 6
    assert contents(server, history=False) == ["always", "for long", "since long"]


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2009-12-31T23:59:59.999999Z", []),
        ("2010-01-01T00:00:00Z", ["decade"]),
        ("2010-01-01T01:00:00+01:00", ["decade"]),
        ("2010-01-01T00:59:59.999999+01:00", []),
        ("2014-12-31T23:59:59.999999Z", ["decade"]),
        ("2015-01-01T00:00:00Z", ["created", "decade"]),
        ("2019-12-31T23:59:59.999999Z", ["created", "decade"]),
        ("2020-01-01T00:00:00Z", ["created"]),
        ("2999-01-01T00:00:00Z", ["created"]),
    ],
)
def test_as_of_tells_what_was_true_then(server: Server, at: str, expected: list[str]) -> None:
    add_user(server)
    long_ago = "2000-01-01T00:00:00Z"
    validity = {"validFrom": "2010-01-01T00:00:00Z", "validUntil": "2020-01-01T00:00:00Z"}
    declare(server, "decade", userId="ada", createdAt=long_ago, **validity)
    declare(server, "created", userId="ada", createdAt="2015-01-01T00:00:00Z")
    declare(server, "unknown then", userId="ada", createdAt=long_ago, expiresAt="2001-01-01T00:00:00Z")
    assert contents(server, asOf=at) == expected


def test_as_of_leaves_out_what_had_expired_by_then(server: Server) -> None:
    add_user(server)
    declare(server, userId="ada", createdAt="2010-01-01T00:00:00Z", expiresAt="2015-01-01T00:00:00Z")
    assert contents(server, asOf="2014-12-31T00:00:00Z") == ["Lives in Pécs"]
    assert contents(server, asOf="2015-01-02T00:00:00Z") == []


def test_valid_from_counts_before_the_time_of_creation(server: Server) -> None:
    add_user(server)
    declare(server, userId="ada", createdAt="2020-01-01T00:00:00Z", validFrom="2010-01-01T00:00:00Z")
    assert contents(server, asOf="2015-01-01T00:00:00Z") == ["Lives in Pécs"]
    assert contents(server, asOf="2005-01-01T00:00:00Z") == []


# Superseding


def test_a_newer_memory_closes_the_older_one_where_it_begins(server: Server) -> None:
    add_user(server)
    old = declare(server, "Lives in Pécs", userId="ada", validFrom="2010-01-01T00:00:00Z")
    new = declare(server, "Lives in Graz", userId="ada", validFrom="2020-01-01T00:00:00Z", supersedes=[old["id"]])
    assert new["supersedes"] == [{"id": old["id"]}]
    closed = memory(server, old["id"])
    assert closed is not None
    assert closed["supersededBy"] == {"id": new["id"]}
    assert moment(closed["validUntil"]) == moment("2020-01-01T00:00:00Z")
    assert contents(server) == ["Lives in Graz"]
    assert contents(server, asOf="2019-12-31T23:59:59Z") == ["Lives in Pécs"]
    assert contents(server, asOf="2020-01-01T00:00:00Z") == ["Lives in Graz"]
    assert contents(server, history=True) == ["Lives in Graz", "Lives in Pécs"]


def test_a_newer_memory_without_a_beginning_closes_the_older_one_at_its_creation(server: Server) -> None:
    add_user(server)
    old = declare(server, "old", userId="ada")
    new = declare(server, "new", userId="ada", supersedes=[old["id"]])
    closed = memory(server, old["id"])
    assert closed is not None
    assert closed["validUntil"] == new["createdAt"]
    old = declare(server, "old", userId="ada", createdAt="2010-01-01T00:00:00Z")
    declare(server, "new", userId="ada", createdAt="2015-01-01T00:00:00Z", supersedes=[old["id"]])
    closed = memory(server, old["id"])
    assert closed is not None
    assert moment(closed["validUntil"]) == moment("2015-01-01T00:00:00Z")


def test_superseding_keeps_an_end_that_was_known(server: Server) -> None:
    add_user(server)
    validity = {"validFrom": "2010-01-01T00:00:00Z", "validUntil": "2012-01-01T00:00:00Z"}
    old = declare(server, "old", userId="ada", **validity)
    declare(server, "new", userId="ada", validFrom="2020-01-01T00:00:00Z", supersedes=[old["id"]])
    closed = memory(server, old["id"])
    assert closed is not None
    assert moment(closed["validUntil"]) == moment("2012-01-01T00:00:00Z")


def test_a_memory_may_supersede_several(server: Server) -> None:
    add_user(server)
    old = [declare(server, f"old {i}", userId="ada")["id"] for i in range(3)]
    new = declare(server, "new", userId="ada", supersedes=old)
    assert {one["id"] for one in new["supersedes"]} == set(old)
    assert contents(server) == ["new"]


def test_a_chain_of_memories_shows_its_last(server: Server) -> None:
    add_user(server)
    first = declare(server, "first", userId="ada")
    second = declare(server, "second", userId="ada", supersedes=[first["id"]])
    third = declare(server, "third", userId="ada", supersedes=[second["id"]])
    assert contents(server) == ["third"]
    chain = [memory(server, one["id"]) for one in (first, second, third)]
    assert [one and one["supersededBy"] for one in chain] == [{"id": second["id"]}, {"id": third["id"]}, None]


def test_deleting_the_newer_memory_revives_nothing(server: Server) -> None:
    add_user(server)
    old = declare(server, "old", userId="ada")
    new = declare(server, "new", userId="ada", supersedes=[old["id"]])
    server.accepted(DELETE, id=new["id"])
    assert contents(server) == []
    assert contents(server, history=True) == ["old"]
    closed = memory(server, old["id"])
    assert closed is not None
    assert closed["validUntil"] == new["createdAt"]
    assert closed["supersededBy"] is None


def test_deleting_the_newer_memory_does_not_revive_one_that_is_valid_for_long(server: Server) -> None:
    add_user(server)
    old = declare(server, "old", userId="ada", validUntil="2999-01-01T00:00:00Z")
    new = declare(server, "new", userId="ada", supersedes=[old["id"]])
    assert contents(server) == ["new"]
    server.accepted(DELETE, id=new["id"])
    assert contents(server) == []


def test_deleting_the_older_memory_leaves_the_newer_one(server: Server) -> None:
    add_user(server)
    old = declare(server, "old", userId="ada")
    new = declare(server, "new", userId="ada", supersedes=[old["id"]])
    server.accepted(DELETE, id=old["id"])
    left = memory(server, new["id"])
    assert left is not None
    assert left["supersedes"] == []
    assert contents(server, history=True) == ["new"]


def test_repeating_a_memory_that_supersedes_changes_nothing(server: Server) -> None:
    add_user(server)
    old = declare(server, "old", userId="ada")
    given = {"memoryId": "m", "userId": "ada", "supersedes": [old["id"]]}
    new = declare(server, "new", **given)
    before = server.tables()
    assert declare(server, "new", **given) == new
    assert server.tables() == before


def test_superseding_what_is_no_memory_is_refused_and_changes_nothing(server: Server) -> None:
    user_id = add_user(server)
    old = declare(server, "old", userId="ada")
    gone = declare(server, "gone", userId="ada")
    server.accepted(DELETE, id=gone["id"])
    for wrong in (gone["id"], user_id, "nonsense", ""):
        error = server.refused(CREATE, userId="ada", kind="FACT", content="new", supersedes=[old["id"], wrong])
        assert error["code"] == "NOT_FOUND" if wrong == gone["id"] else error["code"] in {"NOT_FOUND", "INVALID"}
        assert error["path"] == ["supersedes", "1"]


# Summaries


def test_the_summary_is_the_newest_one(server: Server) -> None:
    add_user(server)
    add_session(server, userId="ada")
    assert server.graphql(SUMMARIES, userId="ada", sessionId="chat") == {
        "user": {"summary": None},
        "session": {"summary": None},
    }
    declare(server, "a fact", userId="ada")
    declare(server, "a fact", sessionId="chat")
    of_user = declare(server, "user 1", userId="ada", kind="SUMMARY")
    of_session = declare(server, "session 1", sessionId="chat", kind="SUMMARY")
    found = server.graphql(SUMMARIES, userId="ada", sessionId="chat")
    assert found["user"]["summary"] == {"id": of_user["id"], "content": "user 1"}
    assert found["session"]["summary"] == {"id": of_session["id"], "content": "session 1"}


def test_declaring_a_summary_supersedes_the_last_one(server: Server) -> None:
    add_user(server)
    add_session(server, userId="ada")
    for owner in ({"userId": "ada"}, {"sessionId": "chat"}):
        old = declare(server, "old", kind="SUMMARY", **owner)
        new = declare(server, "new", kind="SUMMARY", **owner)
        assert new["supersedes"] == [{"id": old["id"]}]
        closed = memory(server, old["id"])
        assert closed is not None
        assert closed["supersededBy"] == {"id": new["id"]}
        assert closed["validUntil"] == new["createdAt"]
    found = server.graphql(SUMMARIES, userId="ada", sessionId="chat")
    assert found["user"]["summary"]["content"] == found["session"]["summary"]["content"] == "new"
    assert contents(server) == ["new", "new"]
    assert contents(server, history=True) == ["new", "new", "old", "old"]


def test_summaries_of_other_owners_are_left_alone(server: Server) -> None:
    for user_id in ("ada", "bob"):
        add_user(server, user_id)
    for session_id in ("chat", "other"):
        add_session(server, session_id, userId="ada")
    owners = [{"userId": "ada"}, {"userId": "bob"}, {"sessionId": "chat"}, {"sessionId": "other"}]
    made = [declare(server, f"{owner}", kind="SUMMARY", **owner) for owner in owners]
    for user_id, session_id, of_user, of_session in (("ada", "chat", 0, 2), ("bob", "other", 1, 3)):
        found = server.graphql(SUMMARIES, userId=user_id, sessionId=session_id)
        assert found["user"]["summary"]["id"] == made[of_user]["id"]
        assert found["session"]["summary"]["id"] == made[of_session]["id"]


def test_deleting_the_summary_revives_no_older_one(server: Server) -> None:
    add_user(server)
    add_session(server, userId="ada")
    for owner in ({"userId": "ada"}, {"sessionId": "chat"}):
        declare(server, "old", kind="SUMMARY", **owner)
        server.accepted(DELETE, id=declare(server, "new", kind="SUMMARY", **owner)["id"])
    assert server.graphql(SUMMARIES, userId="ada", sessionId="chat") == {
        "user": {"summary": None},
        "session": {"summary": None},
    }


def test_a_repeated_summary_supersedes_nothing(server: Server) -> None:
    add_user(server)
    first = declare(server, "first", userId="ada", kind="SUMMARY", memoryId="1")
    second = declare(server, "second", userId="ada", kind="SUMMARY", memoryId="2")
    again = declare(server, "first", userId="ada", kind="SUMMARY", memoryId="1")
    assert again["id"] == first["id"]
    assert again["supersededBy"] == {"id": second["id"]}
    add_session(server)
    assert server.graphql(SUMMARIES, userId="ada", sessionId="chat")["user"]["summary"]["content"] == "second"


# Sources


def test_a_memory_names_the_messages_and_documents_it_rests_on(server: Server) -> None:
    add_user(server)
    add_session(server, userId="ada")
    first, second, third = add_messages(server, "one", "two", "three")
    document = server.accepted(CREATE_DOCUMENT, userId="ada", title="t", content="c")["document"]["id"]
    made = declare(server, "both", userId="ada", sources=[second, document, first])
    assert sources(server, made["id"]) == {first, second, document}
    nodes = server.graphql(SOURCES, id=made["id"])["node"]["sources"]["nodes"]
    assert {"__typename": "Message", "id": second, "sequence": 2} in nodes
    assert {"__typename": "Document", "id": document, "title": "t"} in nodes
    assert contents_of_message(server, first) == contents_of_message(server, second) == ["both"]
    assert contents_of_message(server, third) == []


def test_a_memory_without_sources_has_an_empty_list_of_them(server: Server) -> None:
    add_user(server)
    assert sources(server, declare(server, userId="ada", sources=[])["id"]) == set()
    assert sources(server, declare(server, userId="ada")["id"]) == set()


def test_a_message_lists_every_memory_that_names_it(server: Server) -> None:
    add_user(server)
    add_session(server, userId="ada")
    (message,) = add_messages(server, "one")
    old = declare(server, "old", userId="ada", sources=[message])
    declare(server, "new", userId="ada", sources=[message], supersedes=[old["id"]])
    declare(server, "of the session", sessionId="chat", sources=[message])
    declare(server, "was", userId="ada", sources=[message], validUntil="2001-01-01T00:00:00Z")
    assert contents_of_message(server, message) == ["new", "of the session", "old", "was"]


def test_a_source_that_is_none_is_refused(server: Server) -> None:
    user_id = add_user(server)
    add_session(server, userId="ada")
    there, gone = add_messages(server, "one", "two")
    server.accepted(DELETE_MESSAGE, id=gone)
    for wrong in (gone, user_id, "nonsense", ""):
        error = server.refused(CREATE, userId="ada", kind="FACT", content="x", sources=[there, wrong])
        assert error["code"] == "NOT_FOUND" if wrong == gone else error["code"] in {"NOT_FOUND", "INVALID"}
        assert error["path"] == ["sources", "1"]


def test_a_declared_memory_stays_without_the_message_that_is_deleted(server: Server) -> None:
    add_session(server)
    first, second = add_messages(server, "one", "two")
    both = declare(server, "both", sessionId="chat", sources=[first, second])
    alone = declare(server, "alone", sessionId="chat", sources=[first])
    server.accepted(DELETE_MESSAGE, id=first)
    assert contents_of_session(server) == ["alone", "both"]
    assert sources(server, both["id"]) == {second}
    assert sources(server, alone["id"]) == set()


def test_a_declared_memory_stays_without_the_messages_of_a_deleted_range(server: Server) -> None:
    add_session(server)
    messages = add_messages(server, "one", "two", "three", "four")
    made = declare(server, "all", sessionId="chat", sources=messages)
    server.accepted(DELETE_MESSAGES, sessionId="chat", fromSequence=2, toSequence=3)
    assert sources(server, made["id"]) == {messages[0], messages[3]}


def test_a_declared_memory_stays_when_its_message_is_edited(server: Server) -> None:
    add_session(server)
    (message,) = add_messages(server, "one")
    made = declare(server, "mine", sessionId="chat", sources=[message])
    server.accepted(UPDATE_MESSAGE, id=message, content="another")
    assert contents_of_session(server) == ["mine"]
    assert sources(server, made["id"]) <= {message}


def test_a_memory_stays_without_the_document_that_is_deleted(server: Server) -> None:
    add_user(server)
    document = server.accepted(CREATE_DOCUMENT, userId="ada", title="t", content="c")["document"]["id"]
    made = declare(server, "kept", userId="ada", sources=[document])
    server.accepted(DELETE_DOCUMENT, id=document)
    assert contents(server) == ["kept"]
    assert sources(server, made["id"]) == set()


# Sessions that change hands


@pytest.mark.parametrize("first_owner", [None, "ada"])
def test_a_session_that_changes_its_owner_takes_its_memories_along(server: Server, first_owner: str | None) -> None:
    for user_id in ("ada", "bob"):
        add_user(server, user_id)
    add_session(server, userId=first_owner)
    moved = declare(server, "goes along", sessionId="chat", memoryId="m")
    declare(server, "stays", userId="ada")
    server.accepted(UPDATE_SESSION, sessionId="chat", userId="bob")
    assert contents(server, "bob") == ["goes along"]
    assert contents(server, "ada") == ["stays"]
    found = memory(server, moved["id"])
    assert found is not None
    assert (found["user"], found["session"]) == ({"userId": "bob"}, {"sessionId": "chat"})


def test_a_session_without_its_owner_keeps_its_memories(server: Server) -> None:
    add_user(server)
    add_session(server, userId="ada")
    declare(server, "goes along", sessionId="chat")
    server.accepted(UPDATE_SESSION, sessionId="chat", userId=None)
    assert contents(server) == []
    assert contents_of_session(server) == ["goes along"]


def test_a_message_that_attaches_its_session_takes_the_memories_along(server: Server) -> None:
    add_user(server)
    add_session(server)
    declare(server, "goes along", sessionId="chat")
    server.accepted(
        ADD, sessionId="chat", userId="ada", messages=[{"role": "USER", "content": "hi"}], formMemories=False
    )
    assert contents(server) == ["goes along"]


# Updates


def test_an_update_keeps_what_is_left_out(server: Server) -> None:
    add_user(server)
    made = declare(server, userId="ada", rating=0.5, validFrom="2020-01-01T00:00:00Z", metadata={"a": 1}, memoryId="m")
    changed = server.accepted(UPDATE, id=made["id"], content="Lives in Graz")["memory"]
    assert changed["content"] == "Lives in Graz"
    assert changed["version"] == 2
    assert moment(changed["updatedAt"]) > moment(made["updatedAt"])
    new = {"content": changed["content"], "version": 2, "updatedAt": changed["updatedAt"]}
    assert changed == made | new
    assert memory(server, made["id"]) == changed


def test_an_update_changes_what_is_given(server: Server) -> None:
    add_user(server)
    made = declare(server, userId="ada")
    times = {
        "validFrom": "2020-01-01T00:00:00Z",
        "validUntil": "2999-01-01T00:00:00Z",
        "expiresAt": "2999-02-01T00:00:00Z",
    }
    changed = server.accepted(UPDATE, id=made["id"], kind="EVENT", rating=0.75, metadata={"a": 1}, **times)["memory"]
    assert (changed["kind"], changed["rating"], changed["metadata"]) == ("EVENT", 0.75, {"a": 1})
    assert {name: moment(changed[name]) for name in times} == {name: moment(time) for name, time in times.items()}


def test_an_update_clears_what_is_null(server: Server) -> None:
    add_user(server)
    times = {
        name: f"{year}-01-01T00:00:00Z"
        for name, year in (("validFrom", 2000), ("validUntil", 2998), ("expiresAt", 2999))
    }
    made = declare(server, userId="ada", rating=0.5, metadata={"a": 1}, **times)
    cleared = dict.fromkeys(("rating", "metadata", *times))
    changed = server.accepted(UPDATE, id=made["id"], **cleared)["memory"]
    assert {name: changed[name] for name in cleared} == cleared | {"metadata": {}}


@pytest.mark.parametrize("field", ["content", "kind"])
def test_a_required_text_cannot_be_cleared(server: Server, field: str) -> None:
    add_user(server)
    made = declare(server, userId="ada")
    error = server.refused(UPDATE, id=made["id"], **{field: None})
    assert (error["code"], error["path"]) == ("INVALID", [field])


def test_metadata_is_merged_or_replaced(server: Server) -> None:
    add_user(server)
    made = declare(server, userId="ada", metadata={"a": {"b": 1, "c": [1]}, "d": 1})
    change = {"id": made["id"], "metadata": {"a": {"c": [2], "e": 5}, "d": None}}
    assert server.accepted(UPDATE, **change)["memory"]["metadata"] == {"a": {"b": 1, "c": [2], "e": 5}}
    assert server.accepted(UPDATE, **change, metadataMode="REPLACE")["memory"]["metadata"] == change["metadata"]


def test_an_update_that_changes_nothing_is_no_new_version(server: Server) -> None:
    add_user(server)
    made = declare(server, userId="ada", rating=0.5, metadata={"a": 1}, validFrom="2020-01-01T00:00:00Z")
    for same in (
        {},
        {"content": made["content"]},
        {"metadata": {"a": 1}},
        {"metadata": {}},
        {"rating": 0.5},
        {"expiresAt": None},
    ):
        assert server.accepted(UPDATE, id=made["id"], **same)["memory"] == made
    assert server.accepted(UPDATE, id=made["id"], validFrom="2020-01-01T01:00:00+01:00")["memory"] == made


def test_an_update_of_another_version_is_a_conflict(server: Server) -> None:
    add_user(server)
    made = declare(server, userId="ada")
    server.accepted(UPDATE, id=made["id"], content="two", expectedVersion=1)
    for version in (1, 3, 0, -1):
        error = server.refused(UPDATE, id=made["id"], content="three", expectedVersion=version)
        assert (error["code"], error["path"]) == ("CONFLICT", ["expectedVersion"])
    assert server.accepted(UPDATE, id=made["id"], content="three", expectedVersion=2)["memory"]["version"] == 3


def test_an_update_can_make_a_memory_past_and_present_again(server: Server) -> None:
    add_user(server)
    made = declare(server, userId="ada", createdAt="2000-01-01T00:00:00Z")
    server.accepted(UPDATE, id=made["id"], validUntil="2001-01-01T00:00:00Z")
    assert contents(server) == []
    server.accepted(UPDATE, id=made["id"], validUntil=None)
    assert contents(server) == ["Lives in Pécs"]


def test_an_update_is_held_to_the_same_limits(server: Server) -> None:
    add_user(server)
    made = declare(server, userId="ada", metadata={"a": "x" * 60_000})
    assert server.refused(UPDATE, id=made["id"], content="a" * (1024 * 1024 + 1))["code"] == "TOO_LARGE"
    assert server.refused(UPDATE, id=made["id"], metadata={"b": "x" * 60_000})["code"] == "TOO_LARGE"
    assert server.refused(UPDATE, id=made["id"], metadata=[1])["code"] == "INVALID"
    assert server.refused(UPDATE, id=made["id"], content="a\0b")["code"] == "INVALID"


# Deletion


def test_a_deleted_memory_is_gone(server: Server) -> None:
    add_user(server)
    made = declare(server, "gone", userId="ada", memoryId="m")
    declare(server, "kept", userId="ada")
    assert server.accepted(DELETE, id=made["id"])["deletedMemoryId"] == made["id"]
    assert memory(server, made["id"]) is None
    assert contents(server, history=True) == ["kept"]
    assert server.refused(DELETE, id=made["id"])["code"] == "NOT_FOUND"
    assert server.refused(UPDATE, id=made["id"], content="x")["code"] == "NOT_FOUND"


def test_nothing_of_a_deleted_memory_remains_in_the_database(server: Server) -> None:
    add_user(server)
    made = declare(server, "unmistakable words", userId="ada", memoryId="unmistakable key")
    server.accepted(DELETE, id=made["id"])
    assert "unmistakable" not in str(server.tables())


def test_the_key_of_a_deleted_memory_is_free_again(server: Server) -> None:
    add_user(server)
    made = declare(server, "first", userId="ada", memoryId="m")
    server.accepted(DELETE, id=made["id"])
    again = declare(server, "second", userId="ada", memoryId="m")
    assert (again["content"], again["version"]) == ("second", 1)


def test_what_is_no_memory_can_be_neither_changed_nor_deleted(server: Server) -> None:
    user_id = add_user(server)
    for wrong in (user_id, "nonsense", "", "🦆", "x" * 5000):
        assert server.refused(DELETE, id=wrong)["code"] in {"NOT_FOUND", "INVALID"}
        assert server.refused(UPDATE, id=wrong, content="x")["code"] in {"NOT_FOUND", "INVALID"}


def test_a_deleted_session_hides_its_memories_and_leaves_the_rest(server: Server) -> None:
    add_user(server)
    for session_id in ("chat", "other"):
        add_session(server, session_id, userId="ada")
    (message,) = add_messages(server, "said in the chat")
    hidden = declare(server, "of the chat", sessionId="chat", kind="SUMMARY")
    declare(server, "of the other", sessionId="other")
    rest = declare(server, "of the user", userId="ada", sources=[message])
    server.accepted(DELETE_SESSION, sessionId="chat")
    assert contents(server) == contents(server, history=True) == ["of the other", "of the user"]
    assert memory(server, hidden["id"]) is None
    assert sources(server, rest["id"]) == set()
    assert server.refused(UPDATE, id=hidden["id"], content="x")["code"] == "NOT_FOUND"
    assert server.refused(DELETE, id=hidden["id"])["code"] == "NOT_FOUND"
    assert server.refused(CREATE, sessionId="chat", kind="FACT", content="x")["code"] == "NOT_FOUND"
    error = server.refused(CREATE, userId="ada", kind="FACT", content="x", sources=[message])
    assert (error["code"], error["path"]) == ("NOT_FOUND", ["sources", "0"])
    error = server.refused(CREATE, userId="ada", kind="FACT", content="x", supersedes=[hidden["id"]])
    assert (error["code"], error["path"]) == ("NOT_FOUND", ["supersedes", "0"])


def test_a_memory_of_a_deleted_session_is_not_shown_as_what_superseded_another(server: Server) -> None:
    add_user(server)
    add_session(server, userId="ada")
    old = declare(server, "old", userId="ada")
    new = declare(server, "new", sessionId="chat", supersedes=[old["id"]])
    older = declare(server, "older", sessionId="chat")
    newer = declare(server, "newer", userId="ada", supersedes=[older["id"]])
    server.accepted(DELETE_SESSION, sessionId="chat")
    assert memory(server, new["id"]) is memory(server, older["id"]) is None
    found_old, found_newer = memory(server, old["id"]), memory(server, newer["id"])
    assert found_old is not None
    assert found_old["supersededBy"] is None
    assert found_newer is not None
    assert found_newer["supersedes"] == []
    assert contents(server) == ["newer"]


def test_the_memories_of_a_session_that_comes_back_stay_deleted(server: Server) -> None:
    add_user(server)
    add_session(server, userId="ada")
    hidden = declare(server, "hidden", sessionId="chat", kind="SUMMARY")
    server.accepted(DELETE_SESSION, sessionId="chat")
    add_messages(server, "back")
    assert contents(server) == contents_of_session(server, history=True) == []
    assert memory(server, hidden["id"]) is None
    assert server.graphql(SUMMARIES, userId="ada", sessionId="chat")["session"] == {"summary": None}
    declare(server, "new", sessionId="chat")
    assert contents(server) == contents_of_session(server) == ["new"]


def test_an_erasure_takes_every_memory_of_the_user(server: Server) -> None:
    for user_id in ("ada", "bob"):
        add_user(server, user_id)
        add_session(server, f"chat of {user_id}", userId=user_id)
        declare(server, f"of {user_id}", userId=user_id)
        declare(server, f"of the session of {user_id}", sessionId=f"chat of {user_id}")
    mine = declare(server, "another", userId="ada")
    receipt = server.accepted(DELETE_USER, userId="ada")["receipt"]
    assert receipt["memories"] == 3
    assert memory(server, mine["id"]) is None
    assert contents(server, "bob") == ["of bob", "of the session of bob"]


# What a review found


@pytest.mark.parametrize("way", ["memory", "session", "session for good", "purge"])
def test_a_memory_under_the_key_of_a_deleted_one_supersedes_nothing_of_its(server: Server, way: str) -> None:
    add_user(server)
    add_session(server, userId="ada")
    old = declare(server, "old", userId="ada")
    new = declare(server, "new", sessionId="chat", memoryId="m", supersedes=[old["id"]])
    found = memory(server, old["id"])
    assert found is not None
    assert found["supersededBy"] == {"id": new["id"]}
    if way == "memory":
        server.accepted(DELETE, id=new["id"])
    else:
        server.accepted(DELETE_SESSION, sessionId="chat", permanently=way == "session for good")
        if way == "purge":
            server.graphql('mutation { purgeDeleted(input: {deletedBefore: "2099-01-01T00:00:00Z"}) { sessions } }')
        server.accepted(ADD, sessionId="chat", userId="ada", messages=[{"role": "USER", "content": "back"}])
    again = declare(server, "another", sessionId="chat", memoryId="m")
    assert again["supersedes"] == []
    found = memory(server, old["id"])
    assert found is not None
    assert found["supersededBy"] is None
    assert contents(server) == ["another"], "the old memory stays superseded"


@pytest.mark.parametrize("start", ["2099-01-01T00:00:00Z", "2020-01-01T00:00:00Z", None])
def test_the_summary_is_the_newest_one_also_when_it_begins_later(server: Server, start: str | None) -> None:
    add_user(server)
    add_session(server, userId="ada")
    for owner in ({"userId": "ada"}, {"sessionId": "chat"}):
        declare(server, "first", kind="SUMMARY", **owner)
        declare(server, "second", kind="SUMMARY", validFrom="2098-01-01T00:00:00Z", **owner)
        declare(server, "third", kind="SUMMARY", validFrom=start, **owner)
    found = server.graphql(SUMMARIES, userId="ada", sessionId="chat")
    assert found["user"]["summary"]["content"] == found["session"]["summary"]["content"] == "third"
