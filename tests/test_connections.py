"""Every list of the contract: pages, their ends, cursors, totals, and walking while others write.

`world` is one server whose lists have about 23 rows each; the tests that use it only read. `server` is a fresh one.
"""

import base64
import itertools
import random
import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from conftest import Api, Server
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROWS = 23
PAGE_INFO = "pageInfo { hasNextPage hasPreviousPage startCursor endCursor }"
CONNECTION = (
    f"{{ edges {{ cursor node {{ ... on Node {{ id }} }} }} nodes {{ ... on Node {{ id }} }} {PAGE_INFO} totalCount }}"
)
VARIABLES = "$first: Int, $after: String, $last: Int, $before: String"
PAGING = "first: $first, after: $after, last: $last, before: $before"
ERRORS = "userErrors { code message path }"
CREATED = {
    "User": "user { id }",
    "Session": "session { id }",
    "Memory": "memory { id }",
    "Document": "document { id }",
    "Agent": "agent { id }",
}
ADD = f"""mutation ($input: AddMessagesInput!) {{
  addMessages(input: $input) {{ messages {{ id sequence }} messageEdges {{ cursor node {{ id }} }} {ERRORS} }}
}}"""


@dataclass(frozen=True)
class List:
    """A list of the contract: its name, and what encloses it in a query."""

    name: str
    parent: str = ""
    arguments: str = ""

    @property
    def query(self) -> str:
        field = self.name.rpartition(".")[2]
        inner = f"{field}({PAGING} {self.arguments}) {CONNECTION}"
        return f"query ({VARIABLES}) {{ {self.parent or ''} {f'{{ {inner} }}' if self.parent else inner} }}"

    def page(self, server: Api, **arguments: Any) -> dict[str, Any]:
        """A page, once what holds for every page has been checked."""
        (found,) = server.graphql(self.query, **arguments).values()
        page = found[self.name.rpartition(".")[2]] if self.parent else found
        edges, info = page["edges"], page["pageInfo"]
        assert [edge["node"] for edge in edges] == page["nodes"]
        assert len({edge["cursor"] for edge in edges}) == len(edges)
        assert info["startCursor"] == (edges[0]["cursor"] if edges else None)
        assert info["endCursor"] == (edges[-1]["cursor"] if edges else None)
        return page

    def ids(self, server: Api, **arguments: Any) -> list[str]:
        return [node["id"] for node in self.page(server, **arguments)["nodes"]]

    def refuses(self, server: Api, **arguments: Any) -> None:
        answer = server.execute(self.query, **arguments)
        assert answer.get("errors"), f"{self.name} accepted {arguments}"
        assert {error["extensions"]["code"] for error in answer["errors"]} == {"BAD_USER_INPUT"}, answer["errors"]
        assert all(error["message"] for error in answer["errors"])


def create(server: Api, kind: str, inputs: list[dict[str, Any]]) -> list[str]:
    """The ids of new objects of one kind, all made by one document."""
    made: list[str] = []
    for start in range(0, len(inputs), 100):
        batch = inputs[start : start + 100]
        parameters = ", ".join(f"$i{i}: Create{kind}Input!" for i in range(len(batch)))
        fields = " ".join(
            f"m{i}: create{kind}(input: $i{i}) {{ {CREATED[kind]} {ERRORS} }}" for i in range(len(batch))
        )
        data = server.graphql(f"mutation ({parameters}) {{ {fields} }}", **{f"i{i}": one for i, one in enumerate(batch)})
        for i in range(len(batch)):
            payload = data[f"m{i}"]
            assert payload["userErrors"] == [], payload["userErrors"]
            made.append(payload[kind.lower()]["id"])
    return made


def say(server: Api, session_id: str, count: int, **fields: Any) -> list[str]:
    messages = [{"role": "ASSISTANT", "content": f"message {i}"} | fields for i in range(count)]
    payload = server.accepted(ADD, sessionId=session_id, messages=messages, formMemories=False)
    return [message["id"] for message in payload["messages"]]


def times(count: int) -> list[str]:
    """Times of creation, not in order, many of them the same."""
    return [f"2024-01-{1 + (7 * i) % 11:02d}T00:00:00Z" for i in range(count)]


@dataclass(frozen=True)
class World(Api):
    pass


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, List]]]:
    running = Server(tmp_path_factory.mktemp("connections") / "recallql.db")
    create(running, "Agent", [{"agentId": f"agent {i}", "name": f"{i}"} for i in range(ROWS)])
    create(running, "User", [{"userId": f"user {i}", "createdAt": at} for i, at in enumerate(times(ROWS))])
    owned = {"userId": "user 1", "agentId": "agent 1"}
    create(running, "Session", [{"sessionId": f"s {i}", "createdAt": at} | owned for i, at in enumerate(times(ROWS))])
    create(running, "Session", [{"sessionId": f"other {i}", "userId": "user 2", "agentId": "agent 2"} for i in range(4)])
    messages = say(running, "s 1", ROWS)
    say(running, "s 2", 4)
    text = {"title": "t", "content": "c"}
    of_user = [text | {"userId": "user 1", "createdAt": at} for at in times(ROWS)]
    documents = create(running, "Document", of_user)
    create(running, "Document", [text | {"userId": "user 2"} for _ in range(4)])
    create(running, "Document", [text | {"agentId": "agent 1", "createdAt": at} for at in times(ROWS)])
    create(running, "Document", [text | {"agentId": "agent 2"} for _ in range(4)])
    fact = {"kind": "FACT", "content": "c"}
    create(running, "Memory", [fact | {"userId": "user 1", "createdAt": at} for at in times(ROWS)])
    create(running, "Memory", [fact | {"userId": "user 2"} for _ in range(4)])
    in_session = fact | {"sessionId": "s 1", "sources": [messages[0]]}
    create(running, "Memory", [in_session | {"createdAt": at} for at in times(ROWS)])
    create(running, "Memory", [fact | {"sessionId": "s 2", "sources": [messages[1]]} for _ in range(4)])
    mixed = [source for pair in zip(messages[:12], documents[:11] + [documents[12]], strict=True) for source in pair]
    many, few = create(running, "Memory", [fact | {"userId": "user 3", "sources": mixed[:size]} for size in (ROWS, 4)])
    lists = [
        List("users"),
        List("sessions"),
        List("agents"),
        List("user.sessions", 'user(userId: "user 1")'),
        List("user.memories", 'user(userId: "user 1")'),
        List("user.documents", 'user(userId: "user 1")'),
        List("session.messages", 'session(sessionId: "s 1")'),
        List("session.memories", 'session(sessionId: "s 1")'),
        List("message.memories", f'node(id: "{messages[0]}") {{ ... on Message'),
        List("memory.sources", f'node(id: "{many}") {{ ... on Memory'),
        List("agent.sessions", 'agent(agentId: "agent 1")'),
        List("agent.documents", 'agent(agentId: "agent 1")'),
    ]
    others = [
        List("other user.sessions", 'user(userId: "user 2")'),
        List("other user.memories", 'user(userId: "user 2")'),
        List("other user.documents", 'user(userId: "user 2")'),
        List("other session.messages", 'session(sessionId: "s 2")'),
        List("other session.memories", 'session(sessionId: "s 2")'),
        List("other message.memories", f'node(id: "{messages[1]}") {{ ... on Message'),
        List("other memory.sources", f'node(id: "{few}") {{ ... on Memory'),
        List("other agent.sessions", 'agent(agentId: "agent 2")'),
        List("other agent.documents", 'agent(agentId: "agent 2")'),
    ]
    yield running, {one.name: one for one in lists + others}
    running.close()
