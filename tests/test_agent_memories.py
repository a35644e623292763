"""Memories of agents: what an agent itself has learned, which belongs to the project and to no user."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.keys import agent_key
from tests.archives import Command, copied
from tests.documents import (
    CREATE_AGENT,
    CREATE_DOCUMENT,
    DELETE_AGENT,
    DELETE_DOCUMENT,
    DELETE_MEMORY,
    DELETE_USER,
    ISSUE_USER_TOKEN,
    PURGE_DELETED,
    UPDATE_MEMORY,
)
from tests.memories import CREATE, MEMORY, add_messages, add_session, add_user, contents, declare, memory, sources
from tests.places import Fresh, older_place
from tests.searches import assert_index_is_exact, index_now, texts
from tests.servers import Api, Server, Start

OF_AGENT = """query ($agentId: String!, $filter: MemoryFilter, $orderBy: MemoryOrder) { agent(agentId: $agentId) {
  memories(first: 100, filter: $filter, orderBy: $orderBy) { nodes { id content agent { agentId } } totalCount } } }"""
OWNERS = """query ($id: ID!) { node(id: $id) { ... on Memory {
  memoryId agent { agentId } user { userId } session { sessionId } supersedes { id } supersededBy { id } } } }"""


def hire(server: Api, agent_id: str = "guide") -> str:
    return server.accepted(CREATE_AGENT, agentId=agent_id, name=agent_id)["agent"]["id"]


def learned(server: Api, agent_id: str = "guide", order: str | None = None, **filters: Any) -> list[str]:
    """The contents of an agent's memories."""
    by = order and {"field": order, "direction": "DESC"}
    found = server.graphql(OF_AGENT, agentId=agent_id, filter=filters or None, orderBy=by)["agent"]["memories"]
    assert found["totalCount"] == len(found["nodes"])
    assert all(node["agent"] == {"agentId": agent_id} for node in found["nodes"])
    return [node["content"] for node in found["nodes"]]


@pytest.fixture
def ada(server: Server) -> Iterator[Api]:
    """Ada with her token, and a session of hers with the agent `guide`."""
    add_user(server)
    hire(server)
    add_session(server, userId="ada", agentId="guide")
    api = Api(server.port, server.place)
    token = server.accepted(ISSUE_USER_TOKEN, userId="ada")["token"]
    api.client.headers["authorization"] = f"Bearer {token}"
    yield api
    api.close()


def test_a_memory_belongs_to_an_agent_alone(server: Server) -> None:
    hire(server)
    made = declare(server, "Refunds take 5 days", agentId="guide", rating=0.5)
    assert (made["user"], made["session"]) == (None, None)
    assert server.graphql(OWNERS, id=made["id"])["node"]["agent"] == {"agentId": "guide"}
    assert memory(server, made["id"]) == made
    assert learned(server) == ["Refunds take 5 days"]
    add_user(server)
    declared = declare(server, userId="ada")
    assert server.graphql(OWNERS, id=declared["id"])["node"]["agent"] is None
    assert contents(server) == ["Lives in Pécs"]


def test_an_agents_memories_are_filtered_and_ordered_as_all_are(server: Server) -> None:
    hire(server)
    for content, fields in (("a", {"rating": 0.2}), ("b", {"rating": 0.9, "kind": "EVENT"}), ("c", {"rating": 0.5})):
        declare(server, content, agentId="guide", **fields)
    declare(server, "old", agentId="guide", validUntil="2020-01-01T00:00:00Z")
    assert learned(server) == ["c", "b", "a"]
    assert learned(server, order="RATING") == ["b", "c", "a"]
    assert learned(server, kinds=["EVENT"]) == ["b"]
    assert sorted(learned(server, history=True)) == ["a", "b", "c", "old"]


@pytest.mark.parametrize(
    ("owner", "code", "path"),
    [
        ({}, "INVALID", []),
        ({"agentId": "guide", "userId": "ada"}, "INVALID", ["agentId"]),
        ({"agentId": "guide", "sessionId": "chat"}, "INVALID", ["agentId"]),
        ({"agentId": "nobody"}, "NOT_FOUND", ["agentId"]),
        ({"agentId": ""}, "INVALID", ["agentId"]),
        ({"agentId": "x" * 513}, "INVALID", ["agentId"]),
    ],
)
def test_a_memory_has_one_kind_of_owner(server: Server, owner: dict[str, str], code: str, path: list[str]) -> None:
    hire(server)
    add_user(server)
    add_session(server)
    error = server.refused(CREATE, kind="FACT", content="x", **owner)
    assert (error["code"], error["path"]) == (code, path)


def test_a_memory_id_is_unique_within_its_agent(server: Server) -> None:
    hire(server)
    hire(server, "clerk")
    add_user(server)
    first = declare(server, "x", agentId="guide", memoryId="m")
    assert declare(server, "x", agentId="guide", memoryId="m") == first
    error = server.refused(CREATE, kind="FACT", content="y", agentId="guide", memoryId="m")
    assert (error["code"], error["path"]) == ("CONFLICT", ["memoryId"])
    others = [declare(server, "y", memoryId="m", **owner)["id"] for owner in ({"agentId": "clerk"}, {"userId": "ada"})]
    assert len({first["id"], *others}) == 3


def test_a_new_summary_of_an_agent_supersedes_its_current_one(server: Server) -> None:
    hire(server)
    hire(server, "clerk")
    add_user(server)
    kept = [declare(server, "s", kind="SUMMARY", **owner)["id"] for owner in ({"agentId": "clerk"}, {"userId": "ada"})]
    first = declare(server, "first", kind="SUMMARY", agentId="guide")["id"]
    second = declare(server, "second", kind="SUMMARY", agentId="guide")["id"]
    assert server.graphql(OWNERS, id=first)["node"]["supersededBy"] == {"id": second}
    assert learned(server) == ["second"]
    assert all(server.graphql(OWNERS, id=id)["node"]["supersededBy"] is None for id in kept)


def test_a_memory_supersedes_only_those_of_its_owner(server: Server) -> None:
    hire(server)
    hire(server, "clerk")
    add_user(server)
    add_session(server)
    owners: list[dict[str, str]] = [
        {"agentId": "guide"},
        {"agentId": "clerk"},
        {"userId": "ada"},
        {"sessionId": "chat"},
    ]
    ids = [declare(server, "x", **owner)["id"] for owner in owners]
    for newer in owners:
        for older, id in zip(owners, ids, strict=True):
            if newer != older:
                error = server.refused(CREATE, kind="FACT", content="y", supersedes=[id], **newer)
                assert (error["code"], error["path"]) == ("INVALID", ["supersedes", "0"])
    newer = declare(server, "y", agentId="guide", supersedes=[ids[0]])
    assert newer["supersedes"] == [{"id": ids[0]}]


def test_an_agents_memory_rests_on_its_sessions_and_documents(server: Server) -> None:
    hire(server)
    add_user(server)
    add_session(server, "with", userId="ada", agentId="guide")
    add_session(server, "without", userId="ada")
    document = server.accepted(CREATE_DOCUMENT, agentId="guide", title="t", content="c")["document"]["id"]
    (said,) = add_messages(server, "hello", session_id="with")
    (other,) = add_messages(server, "hello", session_id="without")
    made = declare(server, "greets", agentId="guide", sources=[said, document])
    assert sources(server, made["id"]) == {said, document}
    error = server.refused(CREATE, kind="FACT", content="x", agentId="guide", sources=[other])
    assert (error["code"], error["path"]) == ("INVALID", ["sources", "0"])
    server.accepted(DELETE_USER, userId="ada")
    assert sources(server, made["id"]) == {document}
    server.accepted(DELETE_DOCUMENT, id=document)
    assert learned(server) == ["greets"], "the application vouches for what it declared"


def test_a_user_token_sees_nothing_of_an_agents_memories(server: Server, ada: Api) -> None:
    (said,) = add_messages(server, "hello")
    id = declare(server, "zebra", agentId="guide", sources=[said])["id"]
    assert ada.graphql(OWNERS, id=id)["node"] is None
    (error,) = ada.errors('{ agent(agentId: "guide") { memories { totalCount } } }')
    assert error["extensions"]["code"] == "FORBIDDEN"
    of_message = "query ($id: ID!) { node(id: $id) { ... on Message { memories { totalCount nodes { id } } } } }"
    assert server.graphql(of_message, id=said)["node"]["memories"]["totalCount"] == 1
    assert ada.graphql(of_message, id=said)["node"]["memories"] == {"totalCount": 0, "nodes": []}
    assert texts(ada, "zebra") == []
    assert texts(server, "zebra") == ["zebra"]


def test_a_user_token_declares_nothing_for_an_agent(server: Server, ada: Api) -> None:
    error = ada.refused(CREATE, kind="FACT", content="x", agentId="guide")
    assert (error["code"], error["path"]) == ("FORBIDDEN", ["agentId"])
    id = declare(server, agentId="guide")["id"]
    error = ada.refused(CREATE, kind="FACT", content="x", supersedes=[id])
    assert (error["code"], error["path"]) == ("NOT_FOUND", ["supersedes", "0"])


def test_the_memories_of_a_deleted_agent_are_gone(server: Server) -> None:
    hire(server, "unmistakable")
    hire(server, "clerk")
    for number in range(3):
        declare(server, f"unmistakable {number}", agentId="unmistakable")
    declare(server, "kept", agentId="clerk")
    index_now(server)
    declare(server, "unmistakable late", agentId="unmistakable")
    server.accepted(DELETE_AGENT, agentId="unmistakable")
    assert "unmistakable" not in str(server.tables())
    assert texts(server, "unmistakable kept") == ["kept"]
    assert_index_is_exact(server.place)
    hire(server, "unmistakable")
    assert learned(server, "unmistakable") == []


def test_an_erasure_and_a_purge_leave_an_agents_memories(server: Server) -> None:
    hire(server)
    add_user(server)
    add_session(server, userId="ada", agentId="guide")
    declare(server, "zebra", agentId="guide")
    declare(server, "otter", userId="ada")
    index_now(server)
    server.accepted(DELETE_USER, userId="ada")
    server.accepted(PURGE_DELETED, deletedBefore="2120-01-01T00:00:00Z")
    assert learned(server) == ["zebra"]
    assert_index_is_exact(server.place)


def test_the_index_follows_changes_of_an_agents_memories(server: Server) -> None:
    hire(server)
    ids = [declare(server, f"zebra {number}", agentId="guide")["id"] for number in range(3)]
    index_now(server)
    server.accepted(UPDATE_MEMORY, id=ids[0], content="heron")
    server.accepted(DELETE_MEMORY, id=ids[1])
    assert_index_is_exact(server.place)
    assert texts(server, "zebra") == ["zebra 2"]
    assert texts(server, "heron") == ["heron"]


def test_an_agents_memories_come_back_from_an_export(
    server: Server, command: Command, start: Start, tmp_path: Path, fresh: Fresh
) -> None:
    hire(server)
    (said,) = add_messages(server, "hello")
    first = declare(server, "first", kind="SUMMARY", agentId="guide", memoryId="m", sources=[said], metadata={"a": 1})
    second = declare(server, "second", kind="SUMMARY", agentId="guide")
    place = copied(command, server.place, tmp_path, fresh)
    again = command("import", tmp_path / "copied.ndjson", *place.option)
    assert again.status == 0, again.err
    copy = start(place)
    every = f'{{ agent(agentId: "guide") {{ memories(filter: {{history: true}}) {{ nodes {{ {MEMORY} }} }} }} }}'
    assert copy.graphql(every) == server.graphql(every)
    assert sources(copy, first["id"]) == sources(server, first["id"]) == {said}
    assert learned(copy) == ["second"]
    assert declare(copy, "first", kind="SUMMARY", agentId="guide", memoryId="m")["id"] == first["id"]
    assert second["supersedes"] == [{"id": first["id"]}]


@pytest.mark.sqlite
def test_a_file_from_before_agents_had_memories_keeps_its_index(tmp_path: Path, start: Start) -> None:
    place = older_place(tmp_path, "0007")
    now = "2025-01-01T00:00:00"
    common = {"project": "default", "metadata": "{}", "created_at": now, "updated_at": now, "version": 1}
    common |= {"kind": "FACT", "method": "DECLARED", "digest": b"", "fingerprint": b""}
    common |= {"user_key": agent_key("default", "ada")}
    place.insert(
        "memories", [common | {"key": bytes([number]) * 16, "content": f"zebra {number}"} for number in range(4)]
    )
    server = start(place)
    index_now(server)
    hire(server)
    id = declare(server, "zebra of the agent", agentId="guide")["id"]
    index_now(server)
    found = server.graphql('{ search(query: "zebra", first: 100) { nodes { ... on Memory { id content } } } }')
    assert len(found["search"]["nodes"]) == 5
    server.accepted(DELETE_MEMORY, id=id)
    server.accepted(UPDATE_MEMORY, id=found["search"]["nodes"][0]["id"], content="otter")
    assert_index_is_exact(place)
