"""Memories in time: from when to when they are true, what supersedes what, and which summary is shown."""

import pytest

from tests.documents import (
    ADD_MESSAGES,
    DELETE_MEMORY,
    DELETE_SESSION,
)
from tests.memories import CREATE, SUMMARIES, add_session, add_user, contents, declare, memory, moment
from tests.servers import Server

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
    server.accepted(DELETE_MEMORY, id=new["id"])
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
    server.accepted(DELETE_MEMORY, id=new["id"])
    assert contents(server) == []


def test_deleting_the_older_memory_leaves_the_newer_one(server: Server) -> None:
    add_user(server)
    old = declare(server, "old", userId="ada")
    new = declare(server, "new", userId="ada", supersedes=[old["id"]])
    server.accepted(DELETE_MEMORY, id=old["id"])
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
    server.accepted(DELETE_MEMORY, id=gone["id"])
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
        server.accepted(DELETE_MEMORY, id=declare(server, "new", kind="SUMMARY", **owner)["id"])
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
        server.accepted(DELETE_MEMORY, id=new["id"])
    else:
        server.accepted(DELETE_SESSION, sessionId="chat", permanently=way == "session for good")
        if way == "purge":
            server.graphql('mutation { purgeDeleted(input: {deletedBefore: "2099-01-01T00:00:00Z"}) { sessions } }')
        server.accepted(ADD_MESSAGES, sessionId="chat", userId="ada", messages=[{"role": "USER", "content": "back"}])
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
