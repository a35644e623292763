"""Memories: declared for users and sessions, kept once, updated, and held to their limits."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.documents import (
    END_SESSION,
)
from tests.memories import (
    CREATE,
    UPDATE,
    add_session,
    add_user,
    contents,
    contents_of_session,
    declare,
    memory,
    moment,
)
from tests.servers import Server

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
    given: dict[str, Any] = {
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
    given: dict[str, Any] = {
        "memoryId": "m",
        "userId": "ada",
        "rating": 0.5,
        "metadata": {"a": 1},
        "validFrom": "2020-01-01T00:00:00Z",
    }
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
