"""Memories as the tests declare, find and list them."""

from datetime import datetime
from typing import Any

from tests.documents import (
    ADD_MESSAGES,
    CREATE_SESSION,
    CREATE_USER,
    mutation,
)
from tests.servers import Api

MEMORY = """id memoryId kind content method model rating validFrom validUntil expiresAt metadata createdAt updatedAt
  version user { userId } session { sessionId } supersededBy { id } supersedes { id }"""
CREATE = mutation("createMemory", f"memory {{ {MEMORY} }}")
UPDATE = mutation("updateMemory", f"memory {{ {MEMORY} }}")
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
    payload = server.accepted(ADD_MESSAGES, sessionId=session_id, messages=messages, formMemories=False)
    return [message["id"] for message in payload["messages"]]


def declare(server: Api, content: str = "Lives in Pécs", **fields: Any) -> dict[str, Any]:
    return server.accepted(CREATE, **({"kind": "FACT", "content": content} | fields))["memory"]


def memory(server: Api, memory_id: str) -> dict[str, Any] | None:
    return server.graphql(NODE, id=memory_id)["node"]


def contents(server: Api, user_id: str = "ada", **filters: Any) -> list[str]:
    """The contents of a user's memories, in alphabetical order."""
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
