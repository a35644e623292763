"""Deletion: soft for sessions, hard by purging or at once, and the erasure of a user with everything that is theirs."""

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.documents import (
    CREATE_AGENT,
    CREATE_DOCUMENT,
    CREATE_MEMORY,
    DELETE_MESSAGE,
    DELETE_MESSAGES,
    DELETE_SESSION,
    ERRORS,
    NODES,
    UPDATE_MESSAGE,
    UPDATE_USER,
    mutation,
)
from tests.servers import Server
from tests.sessions import (
    ADD,
    CREATE,
    END,
    REOPEN,
    UPDATE,
    UPSERT,
    add,
    contents,
    find,
    get,
    instant,
    turn,
)

DELETE_INACTIVE = mutation("deleteInactiveSessions", "deletedSessionIds hasMore")
PURGE = mutation("purgeDeleted", "sessions messages memories")
CREATE_USER = mutation("createUser", "user { id version }")
ERASE = mutation("deleteUser", "deletedUserId receipt { userId erasedAt sessions messages memories documents }")
LIST = """query ($filter: SessionFilter) {
  sessions(first: 100, filter: $filter, orderBy: {field: SESSION_ID, direction: ASC}) {
    nodes { sessionId deletedAt } totalCount
  }
}"""
NODE = "query ($id: ID!) { node(id: $id) { id } }"
OF_USER = """query ($userId: String!) { user(userId: $userId) { id version
  sessions(first: 10, orderBy: {field: SESSION_ID, direction: ASC}) { totalCount nodes { sessionId } }
  memories(first: 10) { totalCount nodes { id } }
  documents(first: 10) { totalCount nodes { id } }
} }"""


def listed(server: Server, **filters: Any) -> list[str]:
    sessions = server.graphql(LIST, filter=filters or None)["sessions"]
    assert sessions["totalCount"] == len(sessions["nodes"])
    return [session["sessionId"] for session in sessions["nodes"]]


def delete(server: Server, session_id: str, **fields: Any) -> str:
    return server.accepted(DELETE_SESSION, sessionId=session_id, **fields)["deletedSessionId"]


def user(server: Server, user_id: str, **fields: Any) -> str:
    return server.accepted(CREATE_USER, userId=user_id, **fields)["user"]["id"]


def memory(server: Server, content: str, **fields: Any) -> str:
    return server.accepted(CREATE_MEMORY, kind="FACT", content=content, **fields)["memory"]["id"]


def known(server: Server, *ids: str) -> list[bool]:
    """The global ids that lead to an object, by `nodes` and `node` alike."""
    nodes = server.graphql(NODES, ids=ids)["nodes"]
    assert [server.graphql(NODE, id=id_)["node"] is not None for id_ in ids] == [node is not None for node in nodes]
    return [node is not None for node in nodes]


def texts(server: Server) -> str:
    """Every text in every row of every table, in one string; without the full-text index's blobs."""
    rows = [row for rows in server.tables().values() for row in rows]
    return "\n".join(value for row in rows for value in row if isinstance(value, str))


# Soft deletion


def test_a_deleted_session_is_returned_nowhere(server: Server) -> None:
    user(server, "ada")
    server.accepted(CREATE_AGENT, agentId="bot", name="Bot")
    session = server.accepted(CREATE, sessionId="gone", userId="ada", agentId="bot", metadata={"k": "v"})["session"]
    message_ids = [message["id"] for message in add(server, "gone", "one", "two")["messages"]]
    add(server, "stays", "hello", userId="ada")
    of_session = memory(server, "said in the session", sessionId="gone")
    of_user = memory(server, "known of the user", userId="ada")
    ids = [session["id"], *message_ids, of_session]
    assert known(server, *ids) == [True] * 4

    assert delete(server, "gone") == session["id"]

    assert find(server, "gone") is None
    assert listed(server) == ["stays"]
    for filters in ({"sessionIds": ["gone"]}, {"metadata": {"k": "v"}}, {"agentIds": ["bot"]}, {"deleted": False}):
        assert "gone" not in listed(server, **filters)
    assert known(server, *ids, of_user) == [False] * 4 + [True]
    found = server.graphql(OF_USER, userId="ada")["user"]
    assert found["sessions"] == {"totalCount": 1, "nodes": [{"sessionId": "stays"}]}
    assert found["memories"] == {"totalCount": 1, "nodes": [{"id": of_user}]}
    agent = server.graphql('{ agent(agentId: "bot") { sessions { totalCount nodes { sessionId } } } }')["agent"]
    assert agent["sessions"] == {"totalCount": 0, "nodes": []}


def test_deleted_sessions_are_listed_when_asked_for(server: Server) -> None:
    user(server, "ada")
    for session_id in ("a", "b", "c"):
        server.accepted(CREATE, sessionId=session_id, userId="ada" if session_id == "a" else None)
    delete(server, "a")
    delete(server, "b")
    sessions = server.graphql(LIST, filter={"deleted": True})["sessions"]
    assert [session["sessionId"] for session in sessions["nodes"]] == ["a", "b"]
    for session in sessions["nodes"]:
        assert abs(datetime.now(UTC) - instant(session["deletedAt"])) < timedelta(minutes=1)
    assert listed(server, deleted=True, userIds=["ada"]) == ["a"]
    assert listed(server, deleted=False) == listed(server) == ["c"]


def test_deleting_a_session_that_is_not_there_is_not_found(server: Server) -> None:
    add(server, "s", "hello")
    delete(server, "s")
    for session_id in ("s", "nothing"):
        error = server.refused(DELETE_SESSION, sessionId=session_id)
        assert (error["code"], error["path"]) == ("NOT_FOUND", ["sessionId"])
    assert server.refused(DELETE_SESSION, sessionId="nothing", permanently=True)["code"] == "NOT_FOUND"


def test_of_ten_clients_deleting_a_session_exactly_one_succeeds(server: Server) -> None:
    add(server, "s", "hello")

    def attempt(_: int) -> dict[str, Any]:
        return server.graphql(DELETE_SESSION, input={"sessionId": "s"})["deleteSession"]

    with ThreadPoolExecutor(10) as pool:
        payloads = list(pool.map(attempt, range(10)))
    assert sum(payload["deletedSessionId"] is not None for payload in payloads) == 1
    assert [error["code"] for payload in payloads for error in payload["userErrors"]] == ["NOT_FOUND"] * 9


def test_other_writes_to_a_deleted_session_are_not_found(server: Server) -> None:
    user(server, "ada")
    (message,) = add(server, "s", "hello", userId="ada")["messages"]
    delete(server, "s")
    for document, fields in (
        (UPDATE, {"sessionId": "s", "situation": "x"}),
        (UPDATE, {"sessionId": "s"}),
        (END, {"sessionId": "s"}),
        (REOPEN, {"sessionId": "s"}),
        (DELETE_SESSION, {"sessionId": "s"}),
        (DELETE_MESSAGES, {"sessionId": "s"}),
        (UPDATE_MESSAGE, {"id": message["id"], "content": "edited"}),
        (DELETE_MESSAGE, {"id": message["id"]}),
        (CREATE_MEMORY, {"sessionId": "s", "kind": "FACT", "content": "x"}),
    ):
        assert server.refused(document, **fields)["code"] == "NOT_FOUND", document
    assert listed(server, deleted=True) == ["s"]


# Undeletion


def test_a_deleted_session_comes_back_when_messages_are_added(server: Server) -> None:
    user(server, "ada")
    fields = {"situation": "x", "metadata": {"a": 1}, "tokenBudget": 5}
    before = server.accepted(CREATE, sessionId="s", userId="ada", **fields)["session"]
    old = add(server, "s", "one", "two")["messages"]
    of_session = memory(server, "declared", sessionId="s")
    delete(server, "s")

    payload = add(server, "s", "three")

    after = payload["session"]
    own = ("id", "sessionId", "user", "situation", "metadata", "tokenBudget", "createdAt")
    assert {field: after[field] for field in own} == {field: before[field] for field in own}
    assert (after["deletedAt"], after["endedAt"]) == (None, None)
    assert [message["sequence"] for message in payload["messages"]] == [3]
    assert get(server, "s") == after
    assert (listed(server), listed(server, deleted=True)) == (["s"], [])
    assert contents(server, "s") == ["three"]
    assert known(server, *[message["id"] for message in old], of_session) == [False] * 3
    assert known(server, before["id"], payload["messages"][0]["id"]) == [True] * 2
    assert server.graphql(OF_USER, userId="ada")["user"]["memories"]["totalCount"] == 0


def test_the_sequence_goes_on_through_several_deletions(server: Server) -> None:
    for number in range(4):
        payload = add(server, "s", f"{number}a", f"{number}b")
        assert [message["sequence"] for message in payload["messages"]] == [2 * number + 1, 2 * number + 2]
        assert contents(server, "s") == [f"{number}a", f"{number}b"]
        delete(server, "s")
    assert listed(server, deleted=True) == ["s"]


def test_a_deleted_session_comes_back_once_for_twenty_clients(server: Server) -> None:
    add(server, "s", "old")
    delete(server, "s")
    with ThreadPoolExecutor(20) as pool:
        payloads = list(pool.map(lambda number: add(server, "s", f"new {number}"), range(20)))
    assert sorted(payload["messages"][0]["sequence"] for payload in payloads) == list(range(2, 22))
    assert len(contents(server, "s")) == 20


def test_a_refused_batch_does_not_bring_a_deleted_session_back(server: Server) -> None:
    user(server, "ada")
    user(server, "bob")
    add(server, "s", "hello", userId="ada")
    delete(server, "s")
    for fields, code in (
        ({"messages": [turn("nul \0")]}, "INVALID"),
        ({"messages": []}, "INVALID"),
        ({"messages": [turn("x")], "userId": "nobody"}, "NOT_FOUND"),
        ({"messages": [turn("x")], "userId": "bob"}, "CONFLICT"),
    ):
        assert server.refused(ADD, sessionId="s", **fields)["code"] == code
    assert find(server, "s") is None
    assert listed(server, deleted=True) == ["s"]
    assert add(server, "s", "x", userId="ada")["session"]["user"] == {"userId": "ada"}


def test_an_ownerless_deleted_session_comes_back_attached(server: Server) -> None:
    user(server, "ada")
    add(server, "s", "old")
    delete(server, "s")
    assert add(server, "s", "new", userId="ada")["session"]["user"] == {"userId": "ada"}
    assert server.graphql(OF_USER, userId="ada")["user"]["sessions"]["nodes"] == [{"sessionId": "s"}]


def test_a_session_that_was_ended_stays_ended_even_when_deleted(server: Server) -> None:
    add(server, "s", turn("one", "m-1"))
    server.accepted(END, sessionId="s")
    delete(server, "s")
    for message in (turn("two"), turn("one", "m-1")):
        assert server.refused(ADD, sessionId="s", messages=[message])["code"] == "SESSION_ENDED"
    assert find(server, "s") is None
    assert listed(server, deleted=True) == ["s"]
    assert server.refused(REOPEN, sessionId="s")["code"] == "NOT_FOUND"


def test_a_deleted_session_that_was_reopened_before_comes_back(server: Server) -> None:
    add(server, "s", "one")
    server.accepted(END, sessionId="s")
    server.accepted(REOPEN, sessionId="s")
    delete(server, "s")
    assert [message["sequence"] for message in add(server, "s", "two")["messages"]] == [2]


# Starting anew


@pytest.mark.parametrize("document", [CREATE, UPSERT], ids=["createSession", "upsertSession"])
def test_a_session_under_a_deleted_key_starts_anew_with_its_sequence_going_on(server: Server, document: str) -> None:
    user(server, "ada")
    fields = {"situation": "raresituation", "metadata": {"old": 1}, "tokenBudget": 5, "contextOverflow": "ERROR"}
    server.accepted(CREATE, sessionId="s", userId="ada", createdAt="2020-01-01T00:00:00Z", **fields)
    old = add(server, "s", turn("rarecontent one", "m-1"), "rarecontent two")["messages"]
    of_session = memory(server, "rarememory", sessionId="s")
    server.accepted(END, sessionId="s")
    delete(server, "s")

    payload = server.accepted(document, sessionId="s", metadata={"new": 2})

    session = payload["session"]
    assert payload.get("created", True) is True
    assert (session["user"], session["situation"], session["metadata"]) == (None, None, {"new": 2})
    assert (session["tokenBudget"], session["contextOverflow"], session["endedAt"]) == (None, None, None)
    assert (session["deletedAt"], session["version"]) == (None, 1)
    assert instant(session["createdAt"]) > instant("2021-01-01T00:00:00Z")
    assert contents(server, "s") == []
    assert (listed(server), listed(server, deleted=True)) == (["s"], [])
    assert known(server, *[message["id"] for message in old], of_session) == [False] * 3
    assert not [word for word in ("raresituation", "rarecontent", "rarememory") if word in texts(server)]
    added = add(server, "s", turn("other", "m-1"))
    assert (added["deduplicated"], added["messages"][0]["sequence"]) == (0, 3)
    found = server.graphql(OF_USER, userId="ada")["user"]
    assert (found["sessions"]["totalCount"], found["memories"]["totalCount"]) == (0, 0)


def test_a_session_under_a_deleted_key_may_belong_to_another_user(server: Server) -> None:
    user(server, "ada")
    user(server, "bob")
    add(server, "s", "of ada", userId="ada")
    delete(server, "s")
    assert server.accepted(CREATE, sessionId="s", userId="bob")["session"]["user"] == {"userId": "bob"}
    assert contents(server, "s") == []


def test_a_refused_creation_under_a_deleted_key_changes_nothing(server: Server) -> None:
    add(server, "s", "hello")
    delete(server, "s")
    for document in (CREATE, UPSERT):
        assert server.refused(document, sessionId="s", userId="nobody")["code"] == "NOT_FOUND"
        assert server.refused(document, sessionId="s", metadata=[])["code"] == "INVALID"
    assert listed(server, deleted=True) == ["s"]


# Hard deletion


def test_a_session_deleted_permanently_leaves_nothing(server: Server) -> None:
    user(server, "ada")
    session = server.accepted(CREATE, sessionId="s", userId="ada", situation="raresituation")["session"]
    messages = add(server, "s", turn("rarecontent", "raremessageid", metadata={"a": "raremetadata"}))["messages"]
    of_session = memory(server, "rarememory", sessionId="s")
    add(server, "stays", "hello", userId="ada")
    words = ["raresituation", "rarecontent", "raremessageid", "raremetadata", "rarememory"]
    before = texts(server)
    assert [word for word in words if word in before] == words

    assert delete(server, "s", permanently=True) == session["id"]

    assert find(server, "s") is None
    assert (listed(server), listed(server, deleted=True)) == (["stays"], [])
    assert known(server, session["id"], messages[0]["id"], of_session) == [False] * 3
    after = texts(server)
    assert [word for word in words if word in after] == []
    assert server.refused(DELETE_SESSION, sessionId="s")["code"] == "NOT_FOUND"
    assert contents(server, "stays") == ["hello"]


def test_the_key_of_a_permanently_deleted_session_can_be_created_again(server: Server) -> None:
    add(server, "s", "old")
    delete(server, "s", permanently=True)
    session = server.accepted(CREATE, sessionId="s")["session"]
    assert (session["version"], session["metadata"]) == (1, {})
    assert contents(server, "s") == []


def test_permanently_false_or_null_is_a_soft_deletion(server: Server) -> None:
    for session_id, permanently in (("a", False), ("b", None)):
        add(server, session_id, "hello")
        delete(server, session_id, permanently=permanently)
    assert listed(server, deleted=True) == ["a", "b"]


def test_purging_deletes_hard_what_was_deleted_before_a_time(server: Server) -> None:
    for session_id, count in (("a", 2), ("b", 3), ("c", 1), ("live", 1)):
        add(server, session_id, *[f"rarecontent {session_id}{number}" for number in range(count)])
    of_session = memory(server, "rarememory", sessionId="a")
    for session_id in "abc":
        delete(server, session_id)
    nodes = server.graphql(LIST, filter={"deleted": True})["sessions"]["nodes"]
    deleted_at = {session["sessionId"]: session["deletedAt"] for session in nodes}

    payload = server.accepted(PURGE, deletedBefore=deleted_at["c"])

    assert (payload["sessions"], payload["messages"], payload["memories"]) == (2, 5, 1)
    assert listed(server, deleted=True) == ["c"]
    assert listed(server) == ["live"]
    remaining = texts(server)
    assert "rarecontent a" not in remaining
    assert "rarecontent b" not in remaining
    assert "rarememory" not in remaining
    assert "rarecontent c" in remaining
    assert "rarecontent live" in remaining
    assert known(server, of_session) == [False]
    again = server.accepted(PURGE, deletedBefore=deleted_at["c"])
    assert (again["sessions"], again["messages"], again["memories"]) == (0, 0, 0)
    assert [message["sequence"] for message in add(server, "c", "back")["messages"]] == [2]


def test_purging_takes_the_old_messages_of_a_session_that_came_back(server: Server) -> None:
    add(server, "s", "rarecontent one", "rarecontent two")
    memory(server, "rarememory", sessionId="s")
    delete(server, "s")
    add(server, "s", "new")
    payload = server.accepted(PURGE, deletedBefore=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    assert (payload["sessions"], payload["messages"], payload["memories"]) == (0, 2, 1)
    assert "rare" not in texts(server)
    assert contents(server, "s") == ["new"]
    assert [message["sequence"] for message in add(server, "s", "newer")["messages"]] == [4]


def test_purging_leaves_what_was_deleted_later(server: Server) -> None:
    add(server, "s", "one")
    delete(server, "s")
    payload = server.accepted(PURGE, deletedBefore="2020-01-01T00:00:00Z")
    assert (payload["sessions"], payload["messages"], payload["memories"]) == (0, 0, 0)
    assert listed(server, deleted=True) == ["s"]


def test_a_purged_key_can_be_used_again(server: Server) -> None:
    add(server, "s", turn("old", "m-1"))
    delete(server, "s")
    server.accepted(PURGE, deletedBefore=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    payload = add(server, "s", turn("new", "m-1"))
    assert payload["deduplicated"] == 0
    assert contents(server, "s") == ["new"]


# Inactive sessions


def test_inactive_sessions_are_deleted_softly(server: Server) -> None:
    ids = {session_id: add(server, session_id, "hello")["session"] for session_id in ("a", "b", "c")}
    payload = server.accepted(DELETE_INACTIVE, inactiveSince=ids["c"]["lastActivityAt"])
    assert sorted(payload["deletedSessionIds"]) == sorted(ids[session_id]["id"] for session_id in "ab")
    assert payload["hasMore"] is False
    assert (listed(server), listed(server, deleted=True)) == (["c"], ["a", "b"])
    again = server.accepted(DELETE_INACTIVE, inactiveSince=ids["c"]["lastActivityAt"])
    assert (again["deletedSessionIds"], again["hasMore"]) == ([], False)
    assert [message["sequence"] for message in add(server, "a", "back")["messages"]] == [2]


def test_a_session_is_active_by_its_messages_and_not_by_its_creation_time(server: Server) -> None:
    for session_id in ("old", "busy"):
        server.accepted(CREATE, sessionId=session_id)
    time.sleep(0.001)
    busy = add(server, "busy", turn("imported", createdAt="2001-01-01T00:00:00Z"))["session"]
    server.accepted(DELETE_INACTIVE, inactiveSince=busy["lastActivityAt"])
    assert listed(server) == ["busy"]


def test_inactive_sessions_are_deleted_as_many_as_the_limit_says(server: Server) -> None:
    for number in range(5):
        add(server, f"s{number}", "hello")
    future = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    for limit, left, more in ((2, 3, True), (1, 2, True), (2, 0, False)):
        payload = server.accepted(DELETE_INACTIVE, inactiveSince=future, limit=limit)
        assert (len(payload["deletedSessionIds"]), payload["hasMore"]) == (limit, more)
        assert len(listed(server)) == left


def test_inactive_sessions_are_deleted_of_one_user_only(server: Server) -> None:
    user(server, "ada")
    user(server, "bob")
    for session_id, owner in (("a", "ada"), ("b", "bob"), ("none", None)):
        server.accepted(CREATE, sessionId=session_id, userId=owner)
    future = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    server.accepted(DELETE_INACTIVE, inactiveSince=future, userId="ada")
    assert listed(server) == ["b", "none"]


def test_the_limit_of_a_deletion_of_inactive_sessions_is_1_to_1000(server: Server) -> None:
    add(server, "s", "hello")
    for limit in (0, -1, 1001):
        error = server.refused(DELETE_INACTIVE, inactiveSince="2030-01-01T00:00:00Z", limit=limit)
        assert (error["code"], error["path"]) == ("INVALID", ["limit"])
    assert server.accepted(DELETE_INACTIVE, inactiveSince="2100-01-01T00:00:00Z", limit=1000)["hasMore"] is False
    assert listed(server) == []


# Erasure


def test_the_erasure_of_a_user_takes_everything_and_counts_it(server: Server) -> None:
    id_ = user(server, "ada", documents=[{"title": "One", "content": "of ada"}, {"title": "Two", "content": "of ada"}])
    user(server, "bob", documents=[{"title": "Three", "content": "of bob"}])
    ids = []
    for session_id, count, owner in (
        ("a1", 3, "ada"),
        ("a2", 2, "ada"),
        ("a3", 0, "ada"),
        ("b", 2, "bob"),
        ("n", 1, None),
    ):
        session = server.accepted(CREATE, sessionId=session_id, userId=owner)["session"]
        messages = add(server, session_id, *map(str, range(count)))["messages"] if count else []
        if owner == "ada":
            ids += [session["id"], *[message["id"] for message in messages]]
    ids.append(memory(server, "of ada", userId="ada"))
    ids.append(memory(server, "of a1", sessionId="a1"))
    kept = memory(server, "of bob", userId="bob")
    document = server.accepted(CREATE_DOCUMENT, userId="ada", title="Four", content="of ada")["document"]["id"]
    delete(server, "a2")
    add(server, "a2", "back again")
    delete(server, "a3")

    payload = server.accepted(ERASE, userId="ada")

    receipt = payload["receipt"]
    assert payload["deletedUserId"] == id_
    assert receipt["userId"] == "ada"
    assert abs(datetime.now(UTC) - instant(receipt["erasedAt"])) < timedelta(minutes=1)
    counts = {field: receipt[field] for field in ("sessions", "messages", "memories", "documents")}
    assert counts == {"sessions": 3, "messages": 6, "memories": 2, "documents": 3}
    assert server.graphql(OF_USER, userId="ada")["user"] is None
    assert (listed(server), listed(server, deleted=True)) == (["b", "n"], [])
    assert known(server, id_, document, *ids) == [False] * (2 + len(ids))
    assert known(server, kept) == [True]
    found = server.graphql(OF_USER, userId="bob")["user"]
    assert [found[field]["totalCount"] for field in ("sessions", "memories", "documents")] == [1, 1, 1]
    assert (contents(server, "b"), contents(server, "n")) == (["0", "1"], ["0"])
    assert server.graphql("{ users { totalCount } }")["users"]["totalCount"] == 1


def test_the_erasure_of_a_user_who_has_nothing_counts_nothing(server: Server) -> None:
    user(server, "ada")
    receipt = server.accepted(ERASE, userId="ada")["receipt"]
    assert [receipt[field] for field in ("sessions", "messages", "memories", "documents")] == [0, 0, 0, 0]


@pytest.mark.sqlite
def test_the_bytes_of_an_erased_user_are_gone_from_the_files(server: Server) -> None:
    """Rare words, of which the tails are looked for: an index may keep the heads that words have in common."""
    tails: dict[str, str] = {}

    def rare(place: str) -> str:
        tails[place] = uuid.uuid4().hex[:16]
        return f"{tails[place][:4]}{tails[place]}"

    filler = " and so on, at some length, so that the text fills a page" * 100
    user(server, "bob", about="rareneighbour")
    user(
        server,
        user_id := rare("userId"),
        email=f"{rare('email')}@example.org",
        firstName=rare("firstName"),
        name=rare("name"),
        about=rare("about"),
        metadata={rare("metadata key"): {"n": [rare("metadata")]}},
        documents=[{"title": rare("document title"), "content": rare("document content") + filler}],
    )
    session_id = rare("sessionId")
    server.accepted(CREATE, sessionId=session_id, situation=rare("situation"), metadata={"a": rare("session metadata")})
    edited, deleted, *_ = add(
        server,
        session_id,
        turn(f"I said {rare('content before an edit')} then"),
        turn(f"I said {rare('content of a deleted message')} then"),
        turn(f"I said {rare('content')} {filler}", rare("messageId"), name=rare("message name")),
        turn("x", metadata={"a": rare("message metadata")}, parts=[rare("parts")], toolCalls=[rare("toolCalls")]),
        userId=user_id,
    )["messages"]
    server.accepted(UPDATE_MESSAGE, id=edited["id"], content=f"I said {rare('content after an edit')} then")
    server.accepted(DELETE_MESSAGE, id=deleted["id"])
    server.accepted(UPDATE_USER, userId=user_id, about=rare("about after an edit"))
    memory(server, f"likes {rare('memory')}", userId=user_id, metadata={"a": rare("memory metadata")})
    memory(server, f"likes {rare('memory of a session')}", sessionId=session_id)
    for number in range(3):
        gone = rare(f"deleted sessionId {number}")
        add(server, gone, f"{rare(f'deleted content {number}')} {filler}", userId=user_id)
        delete(server, gone)
    add(server, "of bob", "rareneighbour", userId="bob")
    for _ in range(3):
        server.graphql(OF_USER, userId=user_id)

    def found() -> list[str]:
        files = server.place.content().lower()
        return [place for place, tail in tails.items() if tail[-10:].encode() in files]

    history = {"content before an edit", "content of a deleted message", "about"}
    assert set(found()) | history == set(tails), "the words are looked for in the wrong way or place"

    server.accepted(ERASE, userId=user_id)

    assert found() == []
    assert b"rareneighbour" in server.place.content().lower()
    assert [name for name, rows in server.tables().items() if user_id in repr(rows)] == []


def test_bytes_of_a_user_are_gone_though_others_read_meanwhile(server: Server) -> None:
    word = f"rare{uuid.uuid4().hex}"
    user(server, "ada", email=f"{word}@example.org")
    for number in range(10):
        add(server, f"s{number}", *[f"{word} {turn}" for turn in range(20)], userId="ada")
    add(server, "other", "hello")
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            assert contents(server, "other") == ["hello"]
            server.graphql(LIST)

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        try:
            assert server.accepted(ERASE, userId="ada")["receipt"]["messages"] == 200
            assert word.encode() not in server.place.content().lower()
        finally:
            stop.set()
        for reader in readers:
            reader.result()


def test_an_erased_user_id_can_be_created_afresh_and_starts_empty(server: Server) -> None:
    user(server, "ada", email="a@example.org", metadata={"a": 1}, documents=[{"title": "One", "content": "x"}])
    old = add(server, "s", turn("old", "m-1"), userId="ada")
    memory(server, "known of ada", userId="ada")
    server.accepted(ERASE, userId="ada")
    assert server.accepted(CREATE_USER, userId="ada")["user"]["version"] == 1
    found = server.graphql(OF_USER, userId="ada")["user"]
    assert [found[field]["totalCount"] for field in ("sessions", "memories", "documents")] == [0, 0, 0]
    fresh = server.graphql('{ user(userId: "ada") { email name about metadata } }')["user"]
    assert fresh == {"email": None, "name": None, "about": "", "metadata": {}}
    assert known(server, old["session"]["id"], old["messages"][0]["id"]) == [False] * 2
    payload = add(server, "s", turn("new", "m-1"), userId="ada")
    assert payload["deduplicated"] == 0
    assert contents(server, "s") == ["new"]
    assert server.accepted(ERASE, userId="ada")["receipt"]["messages"] == 1


def test_a_session_attached_later_is_erased_with_its_earlier_messages(server: Server) -> None:
    user(server, "ada")
    add(server, "s", "rareword before")
    add(server, "s", "rareword after", userId="ada")
    server.accepted(CREATE, sessionId="t")
    add(server, "t", "rareword in another")
    server.accepted(UPDATE, sessionId="t", userId="ada")
    receipt = server.accepted(ERASE, userId="ada")["receipt"]
    assert (receipt["sessions"], receipt["messages"]) == (2, 3)
    assert b"rareword" not in server.place.content().lower()


def test_the_sessions_of_an_erased_user_do_not_come_back(server: Server) -> None:
    user(server, "ada")
    add(server, "s", "rareword", userId="ada")
    delete(server, "s")
    server.accepted(ERASE, userId="ada")
    session = add(server, "s", "new")["session"]
    assert session["user"] is None
    assert contents(server, "s") == ["new"]
    assert server.refused(ADD, sessionId="t", userId="ada", messages=[turn("x")])["code"] == "NOT_FOUND"
    assert server.refused(CREATE, sessionId="t", userId="ada")["code"] == "NOT_FOUND"


def test_nothing_of_a_user_survives_an_erasure_while_clients_write(server: Server) -> None:
    user(server, "ada")
    writing = threading.Event()

    def client(number: int) -> str:
        for turn_number in range(2_000):
            messages = [turn(f"rareword {number} {turn_number}")]
            fields = {"sessionId": f"s{number % 4}", "userId": "ada", "messages": messages}
            payload = server.graphql(ADD, input=fields)["addMessages"]
            if payload["userErrors"]:
                return payload["userErrors"][0]["code"]
            writing.set()
        return "never refused"

    with ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(client, number) for number in range(8)]
        assert writing.wait(20)
        time.sleep(0.2)
        receipt = server.accepted(ERASE, userId="ada")["receipt"]
        assert {future.result() for future in clients} == {"NOT_FOUND"}
    assert receipt["messages"] > 0
    assert (listed(server), listed(server, deleted=True)) == ([], [])
    assert "rareword" not in texts(server)
    assert b"rareword" not in server.place.content().lower()


# What a review found


def test_more_than_a_hundred_deleted_sessions_are_purged_in_one_call(server: Server) -> None:
    for start in range(0, 250, 50):
        fields = " ".join(
            f"""a{number}: addMessages(input: {{sessionId: "s{number}", formMemories: false, messages: [
              {{role: USER, content: "rarecontent"}}, {{role: USER, content: "rarecontent"}}
            ]}}) {{ {ERRORS} }}
            m{number}: createMemory(input: {{sessionId: "s{number}", kind: FACT, content: "rareword"}}) {{
              {ERRORS}
            }}"""
            for number in range(start, start + 50)
        )
        data = server.graphql(f"mutation {{ {fields} }}")
        assert all(payload["userErrors"] == [] for payload in data.values())
    add(server, "stays", "hello")
    future = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    keys = [f"s{number}" for number in range(250)]
    data = server.graphql(
        "mutation { "
        + " ".join(f'{key}: deleteSession(input: {{sessionId: "{key}"}}) {{ {ERRORS} }}' for key in keys)
        + " }"
    )
    assert all(payload["userErrors"] == [] for payload in data.values())
    payload = server.accepted(PURGE, deletedBefore=future)
    assert (payload["sessions"], payload["messages"], payload["memories"]) == (250, 500, 250)
    assert "rare" not in texts(server)
    assert listed(server, deleted=True) == []
    assert listed(server) == ["stays"]
    payload = server.accepted(PURGE, deletedBefore=future)
    assert (payload["sessions"], payload["messages"], payload["memories"]) == (0, 0, 0)
