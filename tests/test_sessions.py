"""Sessions: how they come into being, change, end and are listed. Deleting them is in test_deletion.py."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.documents import CREATE_AGENT, CREATE_USER, DELETE_MESSAGE, DELETE_SESSION, mutation
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
)

UPDATE_MESSAGE = mutation("updateMessage", "message { content }")
LIST = """query ($filter: SessionFilter, $orderBy: SessionOrder) {
  sessions(first: 100, filter: $filter, orderBy: $orderBy) { nodes { sessionId } totalCount }
}"""


def create(server: Server, **fields: Any) -> dict[str, Any]:
    return server.accepted(CREATE, **fields)["session"]


def update(server: Server, **fields: Any) -> dict[str, Any]:
    payload = server.accepted(UPDATE, **fields)
    return payload["session"]


def listed(server: Server, order: str | None = None, **filters: Any) -> list[str]:
    """The sessionIds of a list, in its order, whose totalCount must agree; `order` is "FIELD DIRECTION"."""
    order_by = dict(zip(("field", "direction"), order.split(), strict=True)) if order else None
    sessions = server.graphql(LIST, filter=filters or None, orderBy=order_by)["sessions"]
    assert sessions["totalCount"] == len(sessions["nodes"])
    return [session["sessionId"] for session in sessions["nodes"]]


def users(server: Server, *keys: str) -> None:
    for key in keys:
        server.accepted(CREATE_USER, userId=key)


def test_a_session_is_created_with_what_the_application_gives(server: Server) -> None:
    users(server, "ada")
    server.accepted(CREATE_AGENT, agentId="bot", name="Bot")
    given = {
        "sessionId": "s",
        "situation": "Buying a train ticket.",
        "metadata": {"channel": "web", "n": [1, None]},
        "tokenBudget": 2000,
        "contextOverflow": "TRUNCATE",
    }
    session = create(server, userId="ada", agentId="bot", **given)
    assert {field: session[field] for field in given} == given
    assert (session["user"], session["agent"]) == ({"userId": "ada"}, {"agentId": "bot"})
    assert (session["endedAt"], session["deletedAt"], session["version"]) == (None, None, 1)
    assert session["lastActivityAt"] == session["createdAt"]
    assert get(server, "s") == session


def test_a_session_without_a_key_gets_one(server: Server) -> None:
    sessions = [create(server), create(server), create(server, sessionId=None)]
    keys = {session["sessionId"] for session in sessions}
    assert len(keys) == 3
    assert all(1 <= len(key) <= 512 for key in keys)
    assert all(get(server, session["sessionId"]) == session for session in sessions)


def test_null_in_the_creation_of_a_session_means_left_out(server: Server) -> None:
    fields = ["userId", "agentId", "situation", "metadata", "tokenBudget", "contextOverflow", "createdAt"]
    session = create(server, sessionId="s", **dict.fromkeys(fields, None))
    assert session["metadata"] == {}
    assert [session[field] for field in ("user", "agent", "situation", "tokenBudget", "contextOverflow")] == [None] * 5


def test_a_session_is_created_only_once(server: Server) -> None:
    first = create(server, sessionId="s", situation="first")
    error = server.refused(CREATE, sessionId="s", situation="second")
    assert (error["code"], error["path"]) == ("ALREADY_EXISTS", ["sessionId"])
    add(server, "t", "hello")
    assert server.refused(CREATE, sessionId="t")["code"] == "ALREADY_EXISTS"
    assert get(server, "s") == first


def test_of_twenty_clients_creating_one_session_exactly_one_succeeds(server: Server) -> None:
    def attempt(number: int) -> dict[str, Any]:
        return server.graphql(CREATE, input={"sessionId": "s", "situation": str(number)})["createSession"]

    with ThreadPoolExecutor(20) as pool:
        payloads = list(pool.map(attempt, range(20)))
    (winner,) = [payload["session"] for payload in payloads if payload["session"]]
    assert [error["code"] for payload in payloads for error in payload["userErrors"]] == ["ALREADY_EXISTS"] * 19
    assert get(server, "s") == winner


def test_a_session_of_an_unknown_user_or_agent_is_not_created(server: Server) -> None:
    for document in (CREATE, UPSERT):
        error = server.refused(document, sessionId="s", userId="nobody")
        assert (error["code"], error["path"]) == ("NOT_FOUND", ["userId"])
        error = server.refused(document, sessionId="s", agentId="nobody")
        assert (error["code"], error["path"]) == ("NOT_FOUND", ["agentId"])
    assert find(server, "s") is None


def test_the_creation_time_of_a_session_may_be_given(server: Server) -> None:
    session = create(server, sessionId="s", createdAt="2020-01-02T03:04:05.000006+02:00")
    assert instant(session["createdAt"]) == instant("2020-01-02T01:04:05.000006Z")
    assert session["createdAt"].endswith("Z")


def test_the_keys_of_sessions_are_byte_exact_and_have_1_to_512_characters(server: Server) -> None:
    keys = ["S", "s", "s ", "\u00e9", "e\u0301", "😀" * 512]
    for key in keys:
        create(server, sessionId=key, situation=key)
        assert get(server, key)["situation"] == key
    for document in (CREATE, UPSERT):
        error = server.refused(document, sessionId="")
        assert (error["code"], error["path"]) == ("INVALID", ["sessionId"])
        error = server.refused(document, sessionId="x" * 513)
        assert error["code"] in ("INVALID", "TOO_LARGE")
        assert error["path"] == ["sessionId"]
    assert find(server, "") is None
    assert find(server, "x" * 513) is None


def test_a_situation_holds_64_kib_of_utf_8(server: Server) -> None:
    for text in ("x" * 65_536, "é" * 32_768):
        assert create(server, situation=text)["situation"] == text
    create(server, sessionId="s")
    for text in ("x" * 65_537, "é" * 32_769):
        for document, fields in ((CREATE, {}), (UPDATE, {"sessionId": "s"}), (UPSERT, {"sessionId": "t"})):
            error = server.refused(document, situation=text, **fields)
            assert (error["code"], error["path"]) == ("TOO_LARGE", ["situation"])


def test_the_metadata_of_a_session_keeps_to_its_limits(server: Server) -> None:
    deep: dict[str, Any] = {}
    for _ in range(32):
        deep = {"a": deep}
    create(server, sessionId="s")
    for metadata, code in (({"a": "é" * 33_000}, "TOO_LARGE"), (deep, "TOO_LARGE"), ([], "INVALID"), ("x", "INVALID")):
        for document, fields in ((CREATE, {}), (UPDATE, {"sessionId": "s"}), (UPSERT, {"sessionId": "t"})):
            error = server.refused(document, metadata=metadata, **fields)
            assert (error["code"], error["path"][:1]) == (code, ["metadata"])
    assert create(server, metadata=deep["a"])["metadata"] == deep["a"]


def test_what_no_database_stores_is_invalid_in_a_session(server: Server) -> None:
    create(server, sessionId="s")
    for text in ("nul \0", "lone \ud800"):
        for document, fields in ((CREATE, {}), (UPDATE, {"sessionId": "s"}), (UPSERT, {"sessionId": "t"})):
            error = server.refused(document, situation=text, **fields)
            assert (error["code"], error["path"]) == ("INVALID", ["situation"])
            error = server.refused(document, metadata={"a": [text]}, **fields)
            assert (error["code"], error["path"][:1]) == ("INVALID", ["metadata"])
        for document in (CREATE, UPSERT):
            error = server.refused(document, sessionId=text)
            assert (error["code"], error["path"]) == ("INVALID", ["sessionId"])
        error = server.refused(ADD, sessionId=text, messages=[{"role": "USER", "content": "hello"}])
        assert (error["code"], error["path"]) == ("INVALID", ["sessionId"])


def test_adding_messages_creates_an_unknown_session(server: Server) -> None:
    session = add(server, "s", "hello")["session"]
    assert (session["sessionId"], session["user"], session["metadata"]) == ("s", None, {})
    assert (session["version"], session["endedAt"], session["deletedAt"]) == (1, None, None)
    assert get(server, "s") == session
    assert listed(server) == ["s"]


def test_a_session_is_created_once_by_twenty_clients_adding_messages(server: Server) -> None:
    with ThreadPoolExecutor(20) as pool:
        ids = set(pool.map(lambda number: add(server, "s", f"turn {number}")["session"]["id"], range(20)))
    assert len(ids) == 1
    assert listed(server) == ["s"]
    assert sorted(contents(server, "s")) == sorted(f"turn {number}" for number in range(20))


def test_adding_messages_attaches_a_new_session_to_its_user(server: Server) -> None:
    users(server, "ada")
    assert add(server, "s", "hello", userId="ada")["session"]["user"] == {"userId": "ada"}
    assert listed(server, userIds=["ada"]) == ["s"]


def test_adding_messages_attaches_an_ownerless_session(server: Server) -> None:
    users(server, "ada")
    add(server, "s", "before")
    assert get(server, "s")["user"] is None
    assert add(server, "s", "after", userId="ada")["session"]["user"] == {"userId": "ada"}
    assert contents(server, "s") == ["before", "after"]
    assert listed(server, userIds=["ada"]) == ["s"]
    assert add(server, "s", "again", userId="ada")["session"]["user"] == {"userId": "ada"}
    assert add(server, "s", "no user named")["session"]["user"] == {"userId": "ada"}


def test_adding_messages_for_an_unknown_user_writes_nothing(server: Server) -> None:
    add(server, "known", "hello")
    for session_id in ("new", "known"):
        messages = [{"role": "USER", "content": "hello"}]
        error = server.refused(ADD, sessionId=session_id, userId="nobody", messages=messages)
        assert (error["code"], error["path"]) == ("NOT_FOUND", ["userId"])
    assert find(server, "new") is None
    assert contents(server, "known") == ["hello"]
    assert get(server, "known")["user"] is None


def test_adding_messages_to_the_session_of_another_user_is_a_conflict(server: Server) -> None:
    users(server, "ada", "bob")
    add(server, "s", "hello", userId="ada")
    error = server.refused(ADD, sessionId="s", userId="bob", messages=[{"role": "USER", "content": "mine"}])
    assert error["code"] == "CONFLICT"
    assert get(server, "s")["user"] == {"userId": "ada"}
    assert contents(server, "s") == ["hello"]


def test_an_update_of_a_session_keeps_what_is_left_out_and_clears_what_is_null(server: Server) -> None:
    users(server, "ada")
    server.accepted(CREATE_AGENT, agentId="bot", name="Bot")
    fields = {"situation": "x", "metadata": {"a": 1}, "tokenBudget": 100, "contextOverflow": "ERROR"}
    before = create(server, sessionId="s", userId="ada", agentId="bot", **fields)
    after = update(server, sessionId="s", situation="y")
    assert after == before | {"situation": "y", "version": 2, "updatedAt": after["updatedAt"]}
    assert instant(after["updatedAt"]) > instant(before["updatedAt"])
    cleared = update(server, sessionId="s", agentId=None, **dict.fromkeys(fields, None))
    expected = {"situation": None, "metadata": {}, "tokenBudget": None, "contextOverflow": None, "agent": None}
    assert cleared == after | expected | {"version": 3, "updatedAt": cleared["updatedAt"]}
    assert get(server, "s") == cleared
    detached = update(server, sessionId="s", userId=None)
    assert detached["user"] is None
    assert listed(server, userIds=["ada"]) == []
    assert listed(server, hasUser=False) == ["s"]


def test_a_session_is_given_to_another_user_by_an_update(server: Server) -> None:
    users(server, "ada", "bob")
    add(server, "s", "hello", userId="ada")
    assert update(server, sessionId="s", userId="bob")["user"] == {"userId": "bob"}
    assert (listed(server, userIds=["ada"]), listed(server, userIds=["bob"])) == ([], ["s"])
    assert contents(server, "s") == ["hello"]
    for field in ("userId", "agentId"):
        error = server.refused(UPDATE, sessionId="s", **{field: "nobody"})
        assert (error["code"], error["path"]) == ("NOT_FOUND", [field])


def test_the_metadata_of_a_session_is_merged(server: Server) -> None:
    create(server, sessionId="s", metadata={"foo": "bar", "n": {"a": 1, "b": None}, "l": [1, 2]})
    merged = update(server, sessionId="s", metadata={"qax": "baz", "n": {"a": None, "c": 2}, "l": [3]})
    assert merged["metadata"] == {"foo": "bar", "qax": "baz", "n": {"b": None, "c": 2}, "l": [3]}
    replaced = update(server, sessionId="s", metadata={"z": None}, metadataMode="REPLACE")
    assert replaced["metadata"] == {"z": None}


def test_an_unknown_session_is_null_and_cannot_be_changed(server: Server) -> None:
    assert find(server, "nothing") is None
    for document in (UPDATE, END, REOPEN):
        error = server.refused(document, sessionId="nothing")
        assert (error["code"], error["path"]) == ("NOT_FOUND", ["sessionId"])


def test_an_upsert_creates_a_session_or_updates_it(server: Server) -> None:
    users(server, "ada")
    payload = server.accepted(UPSERT, sessionId="s", userId="ada", situation="x", metadata={"a": 1, "b": None})
    session = payload["session"]
    assert (payload["created"], session["user"], session["situation"]) == (True, {"userId": "ada"}, "x")
    assert (session["metadata"], session["version"]) == ({"a": 1}, 1)
    again = server.accepted(UPSERT, sessionId="s", tokenBudget=7, metadata={"c": 2})
    changes = {"tokenBudget": 7, "metadata": {"a": 1, "c": 2}, "version": 2, "updatedAt": again["session"]["updatedAt"]}
    assert (again["created"], again["session"]) == (False, session | changes)
    cleared = server.accepted(UPSERT, sessionId="s", situation=None, metadata={"n": None}, metadataMode="REPLACE")
    assert cleared["created"] is False
    assert (cleared["session"]["situation"], cleared["session"]["metadata"]) == (None, {"n": None})
    assert cleared["session"]["user"] == {"userId": "ada"}


def test_an_upsert_keeps_the_messages_of_a_session(server: Server) -> None:
    add(server, "s", "hello")
    assert server.accepted(UPSERT, sessionId="s", situation="x")["created"] is False
    assert contents(server, "s") == ["hello"]
    assert add(server, "s", "again")["messages"][0]["sequence"] == 2


def test_the_version_of_a_session_moves_only_when_something_changes(server: Server) -> None:
    users(server, "ada")
    fields: dict[str, Any] = {"userId": "ada", "situation": "x", "tokenBudget": 5, "metadata": {"a": 1}}
    before = create(server, sessionId="s", **fields)
    assert update(server, sessionId="s") == before
    assert update(server, sessionId="s", **fields) == before
    assert update(server, sessionId="s", agentId=None, contextOverflow=None, metadata={"z": None}) == before
    assert server.accepted(UPSERT, sessionId="s", **fields)["session"] == before
    assert update(server, sessionId="s", situation="y")["version"] == 2


def test_adding_messages_moves_last_activity_but_not_version_and_updated_at(server: Server) -> None:
    before = create(server, sessionId="s")
    after = add(server, "s", "hello")["session"]
    assert after == before | {"lastActivityAt": after["lastActivityAt"]}
    assert instant(after["lastActivityAt"]) > instant(before["lastActivityAt"])
    assert update(server, sessionId="s", situation="x", expectedVersion=1)["version"] == 2


def test_last_activity_is_the_servers_time_of_the_last_message(server: Server) -> None:
    before = add(server, "s", "hello")["session"]["lastActivityAt"]
    messages = [{"role": "USER", "content": "imported", "createdAt": "2001-01-01T00:00:00Z"}]
    payload = server.accepted(ADD, sessionId="s", messages=messages)
    assert instant(payload["messages"][0]["createdAt"]) == instant("2001-01-01T00:00:00Z")
    assert instant(payload["session"]["lastActivityAt"]) > instant(before)
    assert get(server, "s")["lastActivityAt"] == payload["session"]["lastActivityAt"]


def test_an_update_of_another_version_of_a_session_is_a_conflict(server: Server) -> None:
    create(server, sessionId="s")
    assert update(server, sessionId="s", situation="x", expectedVersion=1)["version"] == 2
    for version in (1, 3):
        assert server.refused(UPDATE, sessionId="s", situation="y", expectedVersion=version)["code"] == "CONFLICT"
    assert get(server, "s")["situation"] == "x"


def test_an_ended_session_refuses_messages_until_reopened(server: Server) -> None:
    add(server, "s", "before")
    ended = server.accepted(END, sessionId="s")["session"]
    assert ended["endedAt"] is not None
    assert get(server, "s") == ended
    error = server.refused(ADD, sessionId="s", messages=[{"role": "USER", "content": "too late"}])
    assert error["code"] == "SESSION_ENDED"
    assert contents(server, "s") == ["before"]
    assert server.accepted(REOPEN, sessionId="s")["session"]["endedAt"] is None
    assert add(server, "s", "after")["messages"][0]["sequence"] == 2
    assert contents(server, "s") == ["before", "after"]


def test_ending_or_reopening_twice_changes_nothing_and_is_no_error(server: Server) -> None:
    created = create(server, sessionId="s")
    assert server.accepted(REOPEN, sessionId="s")["session"] == created
    ended = server.accepted(END, sessionId="s")["session"]
    assert server.accepted(END, sessionId="s")["session"] == ended
    reopened = server.accepted(REOPEN, sessionId="s")["session"]
    assert server.accepted(REOPEN, sessionId="s")["session"] == reopened
    assert get(server, "s") == reopened


def test_an_ended_session_is_readable_and_editable(server: Server) -> None:
    users(server, "ada")
    first, second = add(server, "s", "one", "two")["messages"]
    ended = server.accepted(END, sessionId="s")["session"]
    assert contents(server, "s") == ["one", "two"]
    assert listed(server) == ["s"]
    updated = update(server, sessionId="s", situation="x", userId="ada")
    assert (updated["situation"], updated["user"], updated["endedAt"]) == ("x", {"userId": "ada"}, ended["endedAt"])
    server.accepted(UPDATE_MESSAGE, id=first["id"], content="edited")
    server.accepted(DELETE_MESSAGE, id=second["id"])
    assert contents(server, "s") == ["edited"]
    upserted = server.accepted(UPSERT, sessionId="s", situation="y")
    assert (upserted["created"], upserted["session"]["endedAt"]) == (False, ended["endedAt"])


def test_of_twenty_clients_ending_a_session_all_see_one_time(server: Server) -> None:
    create(server, sessionId="s")
    with ThreadPoolExecutor(20) as pool:
        times = set(pool.map(lambda _: server.accepted(END, sessionId="s")["session"]["endedAt"], range(20)))
    assert len(times) == 1


def test_sessions_are_filtered_by_what_they_are(server: Server) -> None:
    users(server, "ada", "bob")
    server.accepted(CREATE_AGENT, agentId="bot", name="Bot")
    create(server, sessionId="a", userId="ada", metadata={"channel": "web", "tags": ["x", "y"], "flag": True})
    create(server, sessionId="b", userId="bob", agentId="bot", metadata={"channel": "app", "n": {"m": 1, "o": 2}})
    create(server, sessionId="c", metadata={"channel": "web", "flag": 1})
    server.accepted(END, sessionId="c")

    def keys(**filters: Any) -> list[str]:
        return listed(server, order="SESSION_ID ASC", **filters)

    assert keys() == ["a", "b", "c"]
    assert keys(sessionIds=["c", "a", "nothing"]) == ["a", "c"]
    assert keys(userIds=["ada"]) == ["a"]
    assert keys(userIds=["ada", "bob", "nobody"]) == ["a", "b"]
    assert keys(agentIds=["bot"]) == ["b"]
    assert keys(agentIds=["nothing"]) == []
    assert keys(ended=True) == ["c"]
    assert keys(ended=False) == ["a", "b"]
    assert keys(hasUser=True) == ["a", "b"]
    assert keys(hasUser=False) == ["c"]
    assert keys(deleted=False) == ["a", "b", "c"]
    assert keys(deleted=True) == []
    assert keys(metadata={"channel": "web"}) == ["a", "c"]
    assert keys(metadata={"tags": ["y"]}) == ["a"]
    assert keys(metadata={"n": {"m": 1}}) == ["b"]
    assert keys(metadata={"flag": True}) == ["a"]
    assert keys(metadata={"flag": 1}) == ["c"]
    assert keys(metadata={"channel": "web"}, hasUser=True) == ["a"]
    assert keys(sessionIds=["a", "b"], userIds=["bob"], ended=False) == ["b"]


def test_the_lists_of_a_session_filter_hold_at_most_100_keys(server: Server) -> None:
    create(server, sessionId="s")
    keys = [str(number) for number in range(99)]
    assert listed(server, sessionIds=[*keys, "s"]) == ["s"]
    for field in ("sessionIds", "userIds", "agentIds"):
        (error,) = server.errors(LIST, filter={field: [*keys, "s", "t"]})
        assert error["extensions"]["code"] == "BAD_USER_INPUT"


def test_sessions_are_found_by_when_they_were_created_and_last_active(server: Server) -> None:
    times = {}
    for key, day in (("a", 3), ("b", 2), ("c", 1)):
        create(server, sessionId=key, createdAt=f"2020-01-0{day}T00:00:00Z")
    for key in "cab":
        times[key] = add(server, key, "hello")["session"]["lastActivityAt"]

    def keys(**filters: Any) -> list[str]:
        return listed(server, order="SESSION_ID ASC", **filters)

    assert keys(createdAt={"since": "2020-01-02T00:00:00Z", "until": "2020-01-03T00:00:00Z"}) == ["b"]
    assert keys(createdAt={"since": "2020-01-02T00:00:00Z"}) == ["a", "b"]
    assert keys(lastActivityAt={"since": times["a"]}) == ["a", "b"]
    assert keys(lastActivityAt={"since": times["c"], "until": times["b"]}) == ["a", "c"]
    assert keys(lastActivityAt={"until": times["c"]}) == []


def test_sessions_are_listed_newest_first_unless_ordered_otherwise(server: Server) -> None:
    for key, day in (("a", 3), ("b", 2), ("c", 1)):
        create(server, sessionId=key, createdAt=f"2020-01-0{day}T00:00:00Z")
    for key in "bca":
        update(server, sessionId=key, situation="changed")
    for key in "acb":
        add(server, key, "hello")
    assert listed(server) == ["a", "b", "c"]
    assert listed(server, order="CREATED_AT DESC") == ["a", "b", "c"]
    assert listed(server, order="CREATED_AT ASC") == ["c", "b", "a"]
    assert listed(server, order="SESSION_ID ASC") == ["a", "b", "c"]
    assert listed(server, order="SESSION_ID DESC") == ["c", "b", "a"]
    assert listed(server, order="UPDATED_AT DESC") == ["a", "c", "b"]
    assert listed(server, order="UPDATED_AT ASC") == ["b", "c", "a"]
    assert listed(server, order="LAST_ACTIVITY_AT DESC") == ["b", "c", "a"]
    assert listed(server, order="LAST_ACTIVITY_AT ASC") == ["a", "c", "b"]


def test_the_keys_of_sessions_are_sorted_by_code_point(server: Server) -> None:
    keys = ["10", "9", "A", "Z", "a", "é", "\uff5e", "😀"]
    for key in reversed(keys):
        create(server, sessionId=key)
    assert listed(server, order="SESSION_ID ASC") == keys


def test_the_sessions_of_a_user_are_its_own(server: Server) -> None:
    users(server, "ada", "bob", "eve")
    for key, user in (("a1", "ada"), ("b1", "bob"), ("a2", "ada"), ("none", None)):
        create(server, sessionId=key, userId=user, metadata={"n": key[-1]})
    query = """query ($userId: String!, $filter: SessionFilter) { user(userId: $userId) {
      sessions(first: 10, filter: $filter, orderBy: {field: SESSION_ID, direction: ASC}) {
        totalCount nodes { sessionId } } } }"""

    def of(user_id: str, **filters: Any) -> list[str]:
        sessions = server.graphql(query, userId=user_id, filter=filters)["user"]["sessions"]
        assert sessions["totalCount"] == len(sessions["nodes"])
        return [session["sessionId"] for session in sessions["nodes"]]

    assert of("ada") == ["a1", "a2"]
    assert of("bob") == ["b1"]
    assert of("eve") == []
    assert of("ada", metadata={"n": "2"}) == ["a2"]
    assert of("ada", sessionIds=["a1", "b1"]) == ["a1"]
    assert of("ada", userIds=["bob"]) == []


def test_a_time_without_an_offset_is_bad_user_input(server: Server) -> None:
    (error,) = server.errors(CREATE, input={"sessionId": "s", "createdAt": "2020-01-01T00:00:00"})
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    (error,) = server.errors(LIST, filter={"createdAt": {"since": "2020-01-01T00:00:00"}})
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert find(server, "s") is None


def test_server_times_are_recent_and_in_utc(server: Server) -> None:
    session = add(server, "s", "hello")["session"]
    for field in ("createdAt", "updatedAt", "lastActivityAt"):
        assert session[field].endswith("Z")
        assert abs(datetime.now().astimezone() - instant(session[field])) < timedelta(minutes=1)


@pytest.mark.parametrize("deleted", [False, True])
def test_only_an_update_takes_a_session_from_its_user(server: Server, deleted: bool) -> None:
    users(server, "ada", "bo")
    add(server, "s", "I live in Turin.", userId="ada", formMemories=True)
    if deleted:
        server.accepted(DELETE_SESSION, sessionId="s")
    before = server.tables()
    wrong: list[tuple[str, dict[str, Any]]] = [
        (ADD, {"userId": "bo", "messages": [{"role": "USER", "content": "mine"}]})
    ]
    if not deleted:
        wrong += [(UPSERT, {"userId": "bo", "situation": "taken"}), (UPSERT, {"userId": None, "situation": "taken"})]
    for document, fields in wrong:
        refusal = server.refused(document, sessionId="s", **fields)
        assert (refusal["code"], refusal["path"]) == ("CONFLICT", ["userId"])
        assert server.tables() == before
    if deleted:
        return
    assert server.accepted(UPSERT, sessionId="s", userId="ada", situation="hers")["session"]["situation"] == "hers"
    memories = "{ user(userId: %s) { memories { nodes { content } } sessions { nodes { sessionId } } } }"
    for user in ("bo", "ada"):
        server.accepted(UPDATE, sessionId="s", userId=user)
        found = server.graphql(memories % f'"{user}"')["user"]
        assert found["memories"]["nodes"] == [{"content": "I live in Turin"}]
        assert found["sessions"]["nodes"] == [{"sessionId": "s"}]
    server.accepted(UPDATE, sessionId="s", userId=None)
    assert server.accepted(UPSERT, sessionId="s", userId="bo")["session"]["user"] == {"userId": "bo"}


def test_the_last_activity_can_be_given_at_creation(server: Server) -> None:
    session = create(
        server, sessionId="s", createdAt="2020-01-01T00:00:00Z", lastActivityAt="2020-02-03T00:00:00+01:00"
    )
    assert instant(session["lastActivityAt"]) == instant("2020-02-02T23:00:00Z")
    order = '{ sessions(filter: {lastActivityAt: {until: "2020-03-01T00:00:00Z"}}) { nodes { sessionId } } }'
    assert server.graphql(order)["sessions"]["nodes"] == [{"sessionId": "s"}]
    add(server, "s", "on")
    assert server.graphql(order)["sessions"]["nodes"] == []
