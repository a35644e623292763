"""Agents: who talks to the users; their sessions, and what becomes of these without them."""

from typing import Any

import pytest

from tests.documents import DELETE_AGENT, DELETE_SESSION, mutation
from tests.servers import Api, Server

AGENT = "id agentId name about instructions model metadata createdAt updatedAt version"
CREATE = mutation("createAgent", f"agent {{ {AGENT} }}")
UPDATE = mutation("updateAgent", f"agent {{ {AGENT} }}")
UPSERT = mutation("upsertAgent", f"agent {{ {AGENT} }} created")
SESSION = "session { id sessionId version agent { agentId } }"
CREATE_SESSION = mutation("createSession", SESSION)
UPDATE_SESSION = mutation("updateSession", SESSION)
UPSERT_SESSION = mutation("upsertSession", f"{SESSION} created")
GET = f"query ($agentId: String!) {{ agent(agentId: $agentId) {{ {AGENT} }} }}"
NODE = f"query ($id: ID!) {{ node(id: $id) {{ __typename ... on Agent {{ {AGENT} }} }} }}"
LIST = "{ agents(first: 100) { nodes { agentId } totalCount } }"
SESSIONS = """query ($agentId: String!, $filter: SessionFilter) {
  agent(agentId: $agentId) {
    sessions(first: 100, filter: $filter) { nodes { sessionId agent { agentId } } totalCount }
  }
}"""
AGENT_OF = "query ($sessionId: String!) { session(sessionId: $sessionId) { agent { agentId name } } }"


def hire(server: Api, agent_id: str = "guide", name: str = "Guide", **fields: Any) -> dict[str, Any]:
    return server.accepted(CREATE, agentId=agent_id, name=name, **fields)["agent"]


def agent(server: Api, agent_id: str = "guide") -> dict[str, Any] | None:
    return server.graphql(GET, agentId=agent_id)["agent"]


def agents(server: Api) -> list[str]:
    found = server.graphql(LIST)["agents"]
    assert found["totalCount"] == len(found["nodes"])
    return [node["agentId"] for node in found["nodes"]]


def add_session(server: Api, session_id: str = "chat", **fields: Any) -> dict[str, Any]:
    return server.accepted(CREATE_SESSION, sessionId=session_id, **fields)["session"]


def sessions(server: Api, agent_id: str = "guide", **filters: Any) -> list[str]:
    found = server.graphql(SESSIONS, agentId=agent_id, filter=filters or None)["agent"]["sessions"]
    assert found["totalCount"] == len(found["nodes"])
    assert all(node["agent"] == {"agentId": agent_id} for node in found["nodes"])
    return sorted(node["sessionId"] for node in found["nodes"])


def test_an_agent_is_created_and_found(server: Server) -> None:
    given: dict[str, Any] = {
        "about": "Knows the town",
        "instructions": "Be kind.",
        "model": "small",
        "metadata": {"a": None, "b": [1]},
    }
    made = hire(server, **given)
    assert {name: made[name] for name in given} == given
    assert (made["agentId"], made["name"], made["version"]) == ("guide", "Guide", 1)
    assert made["createdAt"] == made["updatedAt"]
    assert agent(server) == made
    assert server.graphql(NODE, id=made["id"])["node"] == {"__typename": "Agent"} | made


def test_an_agent_needs_no_more_than_a_name(server: Server) -> None:
    made = server.accepted(CREATE, name="Guide")["agent"]
    assert made["agentId"]
    assert (made["about"], made["instructions"], made["model"], made["metadata"]) == ("", None, None, {})
    assert agent(server, made["agentId"]) == made
    assert server.accepted(CREATE, name="Guide")["agent"]["agentId"] != made["agentId"]
    optional = ("agentId", "about", "instructions", "model", "metadata", "documents")
    null = server.accepted(CREATE, name="Guide", **dict.fromkeys(optional))["agent"]
    assert (null["about"], null["instructions"], null["model"], null["metadata"]) == ("", None, None, {})


def test_an_agent_that_is_there_is_not_created_again(server: Server) -> None:
    made = hire(server)
    error = server.refused(CREATE, agentId="guide", name="Another")
    assert (error["code"], error["path"]) == ("ALREADY_EXISTS", ["agentId"])
    assert agent(server) == made


def test_an_unknown_agent_is_null(server: Server) -> None:
    for key in ("nobody", "", "x" * 513, "x" * 100_000, "🦆"):
        assert agent(server, key) is None


def test_agent_ids_are_byte_exact(server: Server) -> None:
    keys = ["k", "K", " k", "k ", "é", "e\u0301", "%", "_", "k/1?#", "x" * 512, "🦆" * 512, "'; drop table agents; --"]
    for key in keys:
        hire(server, key, f"agent {key}")
    assert [found and found["agentId"] for found in (agent(server, key) for key in keys)] == keys


@pytest.mark.parametrize("key", ["", "x" * 513, "a\0b"])
def test_an_agent_id_that_cannot_be_is_refused(server: Server, key: str) -> None:
    for document in (CREATE, UPSERT):
        error = server.refused(document, agentId=key, name="Guide")
        assert error["code"] in ({"TOO_LARGE", "INVALID"} if len(key) > 512 else {"INVALID"})
        assert error["path"] == ["agentId"]


def test_the_newest_agent_comes_first(server: Server) -> None:
    for key in ("b", "c", "a"):
        hire(server, key)
    assert agents(server) == ["a", "c", "b"]


def test_limits_of_an_agent_are_checked(server: Server) -> None:
    full = "é" * (32 * 1024)
    made = hire(server, about=full, instructions=full)
    assert (made["about"], made["instructions"]) == (full, full)
    for field, value, code in (
        ("about", full + "a", "TOO_LARGE"),
        ("instructions", full + "a", "TOO_LARGE"),
        ("metadata", {"a": "x" * 66_000}, "TOO_LARGE"),
        ("metadata", [], "INVALID"),
        ("name", "a\0b", "INVALID"),
        ("about", "\0", "INVALID"),
        ("instructions", "\0", "INVALID"),
        ("model", "\0", "INVALID"),
    ):
        fields = {"name": "Guide"} | {field: value}
        for document in (UPDATE, UPSERT):
            error = server.refused(document, agentId="guide", **fields)
            assert (error["code"], error["path"]) == (code, [field])
        error = server.refused(CREATE, agentId="another", **fields)
        assert (error["code"], error["path"]) == (code, [field])


# Updates


def test_an_update_keeps_what_is_left_out_and_clears_what_is_null(server: Server) -> None:
    made = hire(server, about="a", instructions="i", model="m", metadata={"a": 1})
    changed = server.accepted(UPDATE, agentId="guide", name="New")["agent"]
    assert changed == made | {"name": "New", "version": 2, "updatedAt": changed["updatedAt"]}
    assert changed["updatedAt"] > made["updatedAt"]
    cleared = dict.fromkeys(("about", "instructions", "model", "metadata"))
    changed = server.accepted(UPDATE, agentId="guide", **cleared)["agent"]
    assert {name: changed[name] for name in cleared} == cleared | {"about": "", "metadata": {}}
    assert (changed["name"], changed["version"]) == ("New", 3)


def test_the_name_of_an_agent_cannot_be_cleared(server: Server) -> None:
    hire(server)
    error = server.refused(UPDATE, agentId="guide", name=None)
    assert (error["code"], error["path"]) == ("INVALID", ["name"])


def test_an_update_of_an_unknown_agent_is_not_found(server: Server) -> None:
    for document, fields in ((UPDATE, {"name": "x"}), (DELETE_AGENT, {})):
        error = server.refused(document, agentId="nobody", **fields)
        assert (error["code"], error["path"]) == ("NOT_FOUND", ["agentId"])


def test_metadata_is_merged_or_replaced(server: Server) -> None:
    hire(server, metadata={"foo": {"a": 1, "b": [1]}, "old": 1})
    change = {"agentId": "guide", "metadata": {"foo": {"b": [2]}, "old": None}}
    assert server.accepted(UPDATE, **change)["agent"]["metadata"] == {"foo": {"a": 1, "b": [2]}}
    assert server.accepted(UPDATE, **change, metadataMode="REPLACE")["agent"]["metadata"] == change["metadata"]


def test_an_update_that_changes_nothing_is_no_new_version(server: Server) -> None:
    made = hire(server, metadata={"a": 1})
    for same in ({}, {"name": "Guide"}, {"metadata": {"a": 1}}, {"about": None}, {"about": ""}, {"model": None}):
        assert server.accepted(UPDATE, agentId="guide", **same)["agent"] == made


def test_an_update_of_another_version_is_a_conflict(server: Server) -> None:
    hire(server)
    assert server.accepted(UPDATE, agentId="guide", name="2", expectedVersion=1)["agent"]["version"] == 2
    for version in (1, 3, 0, -1):
        error = server.refused(UPDATE, agentId="guide", name="3", expectedVersion=version)
        assert (error["code"], error["path"]) == ("CONFLICT", ["expectedVersion"])


def test_an_upsert_creates_an_agent(server: Server) -> None:
    payload = server.accepted(
        UPSERT, agentId="guide", name="Guide", metadata={"a": 1, "gone": None, "b": {"gone": None}}
    )
    assert payload["created"] is True
    made = payload["agent"]
    assert made["metadata"] == {"a": 1, "b": {}}
    assert (made["about"], made["instructions"], made["model"], made["version"]) == ("", None, None, 1)
    replaced = server.accepted(UPSERT, agentId="b", name="B", metadata={"kept": None}, metadataMode="REPLACE")
    assert (replaced["created"], replaced["agent"]["metadata"]) == (True, {"kept": None})
    null = server.accepted(UPSERT, agentId="c", name="C", about=None, metadata=None, model=None)["agent"]
    assert (null["about"], null["metadata"], null["model"]) == ("", {}, None)


def test_an_upsert_changes_the_agent_that_is_there(server: Server) -> None:
    made = hire(server, about="a", instructions="i", model="m", metadata={"a": 1})
    payload = server.accepted(UPSERT, agentId="guide", name="New", about=None, model=None, metadata={"b": 2})
    assert payload["created"] is False
    changed = payload["agent"]
    new = {"name": "New", "about": "", "model": None, "metadata": {"a": 1, "b": 2}, "version": 2}
    assert changed == made | new | {"updatedAt": changed["updatedAt"]}
    again = server.accepted(UPSERT, agentId="guide", name="New", about=None, model=None, metadata={"b": 2})
    assert again == payload
    assert agents(server) == ["guide"]


# Sessions


def test_a_session_is_held_with_an_agent(server: Server) -> None:
    hire(server)
    hire(server, "clerk")
    assert add_session(server, "one", agentId="guide")["agent"] == {"agentId": "guide"}
    assert add_session(server, "two")["agent"] is None
    payload = server.accepted(UPSERT_SESSION, sessionId="three", agentId="guide")
    assert payload["session"]["agent"] == {"agentId": "guide"}
    assert server.graphql(AGENT_OF, sessionId="one")["session"]["agent"] == {"agentId": "guide", "name": "Guide"}
    assert sessions(server) == ["one", "three"]
    assert sessions(server, "clerk") == []
    assert sessions(server, sessionIds=["one", "two"]) == ["one"]


def test_a_session_with_an_unknown_agent_is_not_found(server: Server) -> None:
    error = server.refused(CREATE_SESSION, sessionId="chat", agentId="nobody")
    assert (error["code"], error["path"]) == ("NOT_FOUND", ["agentId"])
    error = server.refused(UPSERT_SESSION, sessionId="chat", agentId="nobody")
    assert (error["code"], error["path"]) == ("NOT_FOUND", ["agentId"])
    add_session(server)
    error = server.refused(UPDATE_SESSION, sessionId="chat", agentId="nobody")
    assert (error["code"], error["path"]) == ("NOT_FOUND", ["agentId"])


def test_a_session_changes_its_agent(server: Server) -> None:
    for key in ("guide", "clerk"):
        hire(server, key)
    add_session(server, agentId="guide")
    assert server.accepted(UPDATE_SESSION, sessionId="chat", agentId="clerk")["session"]["agent"] == {
        "agentId": "clerk"
    }
    assert (sessions(server, "guide"), sessions(server, "clerk")) == ([], ["chat"])
    assert server.accepted(UPDATE_SESSION, sessionId="chat")["session"]["agent"] == {"agentId": "clerk"}
    assert server.accepted(UPDATE_SESSION, sessionId="chat", agentId=None)["session"]["agent"] is None
    assert sessions(server, "clerk") == []
    server.accepted(UPSERT_SESSION, sessionId="chat", agentId="guide")
    assert sessions(server, "guide") == ["chat"]


def test_a_deleted_session_is_none_of_the_agent(server: Server) -> None:
    hire(server)
    for key in ("one", "two"):
        add_session(server, key, agentId="guide")
    server.accepted(DELETE_SESSION, sessionId="one")
    assert sessions(server) == ["two"]


def test_a_deleted_agent_is_gone_and_its_sessions_stay(server: Server) -> None:
    made = hire(server)
    hire(server, "clerk")
    add_session(server, agentId="guide")
    add_session(server, "other", agentId="clerk")
    assert server.accepted(DELETE_AGENT, agentId="guide")["deletedAgentId"] == made["id"]
    assert agent(server) is None
    assert server.graphql(NODE, id=made["id"])["node"] is None
    assert agents(server) == ["clerk"]
    assert server.graphql(AGENT_OF, sessionId="chat")["session"] == {"agent": None}
    assert sessions(server, "clerk") == ["other"]
    assert server.refused(DELETE_AGENT, agentId="guide")["code"] == "NOT_FOUND"
    assert server.refused(CREATE_SESSION, sessionId="new", agentId="guide")["code"] == "NOT_FOUND"


def test_an_agent_created_under_the_key_of_a_deleted_one_starts_afresh(server: Server) -> None:
    hire(server, about="old", metadata={"a": 1})
    add_session(server, agentId="guide")
    server.accepted(DELETE_AGENT, agentId="guide")
    again = hire(server)
    assert (again["about"], again["metadata"], again["version"]) == ("", {}, 1)
    assert sessions(server) == []
    assert server.graphql(AGENT_OF, sessionId="chat")["session"] == {"agent": None}


def test_nothing_of_a_deleted_agent_remains_in_the_database(server: Server) -> None:
    document = {"title": "unmistakable title", "content": "unmistakable text"}
    hire(server, "unmistakable key", "unmistakable name", instructions="unmistakable", documents=[document])
    server.accepted(DELETE_AGENT, agentId="unmistakable key")
    assert "unmistakable" not in str(server.tables())


def test_the_sessions_of_a_deleted_agent_have_a_new_version(server: Server) -> None:
    query = """{ sessions(first: 10, orderBy: {field: SESSION_ID, direction: ASC}) {
      nodes { sessionId version createdAt updatedAt agent { agentId } }
    } }"""
    hire(server)
    hire(server, "clerk")
    for key, with_whom in (("one", "guide"), ("other", "clerk"), ("two", "guide")):
        add_session(server, key, agentId=with_whom)
    before = server.graphql(query)["sessions"]["nodes"]
    server.accepted(DELETE_AGENT, agentId="guide")
    after = server.graphql(query)["sessions"]["nodes"]
    assert [node["agent"] for node in after] == [None, {"agentId": "clerk"}, None]
    assert [node["version"] for node in after] == [2, 1, 2]
    assert after[1] == before[1]
    for old, new in zip(before, after, strict=True):
        assert new["createdAt"] == old["createdAt"]
        assert (new["updatedAt"] > old["updatedAt"]) is (new["version"] == 2)
    error = server.refused(
        UPDATE_SESSION,
        sessionId="one",
        expectedVersion=1,
        situation="x",
    )
    assert error["code"] == "CONFLICT"
