"""Contexts as the tests ask for them, with what holds for each of them."""

from typing import Any

from resolvers.contexts.prompts import FRAME, ROLE
from resolvers.tokens import count_tokens
from tests.documents import (
    CREATE_MEMORY,
    CREATE_SESSION,
    CREATE_USER,
)
from tests.servers import Server

PARTS = """text tokenCount maxTokens droppedMessages messages { sequence role name content tokenCount createdAt }
  memories { content } documents { title } recalled { sequence session { sessionId } } summary { content }"""
FRAMED = FRAME + ROLE
OF_SESSION = f"""query ($id: String!, $asked: String, $budget: Int, $overflow: ContextOverflow, $last: Int) {{
  session(sessionId: $id) {{
    context(query: $asked, maxTokens: $budget, overflow: $overflow, lastMessages: $last) {{ {PARTS} }} }} }}"""
OF_USER = f"""query ($id: String!, $asked: String, $budget: Int) {{
  user(userId: $id) {{ context(query: $asked, maxTokens: $budget) {{ {PARTS} }} }} }}"""


def of_session(server: Server, id: str, **asked: Any) -> dict[str, Any]:
    context = server.graphql(OF_SESSION, id=id, **asked)["session"]["context"]
    check(context)
    return context


def of_user(server: Server, id: str, **asked: Any) -> dict[str, Any]:
    context = server.graphql(OF_USER, id=id, **asked)["user"]["context"]
    check(context)
    assert context["messages"] == []
    return context


def check(context: dict[str, Any]) -> None:
    """Asserts the invariants of every context."""
    assert context["tokenCount"] <= context["maxTokens"]
    framed = [message["tokenCount"] + FRAMED for message in context["messages"]]
    named = [1 + count_tokens(message["name"]) for message in context["messages"] if message["name"]]
    text = count_tokens(context["text"]) + FRAMED if context["text"] else 0
    assert context["tokenCount"] == text + sum(framed) + sum(named)
    places = [(message["createdAt"], message["sequence"]) for message in context["messages"]]
    assert places == sorted(set(places))
    for found in context["memories"]:
        assert found["content"] in context["text"]
    for document in context["documents"]:
        assert document["title"] in context["text"]
    if context["summary"] is not None:
        assert context["summary"]["content"] in context["text"]


def sequences(context: dict[str, Any]) -> list[int]:
    return [message["sequence"] for message in context["messages"]]


def user(server: Server, id: str = "ada", **fields: Any) -> None:
    server.accepted(CREATE_USER, userId=id, **fields)


def session(server: Server, id: str = "now", **fields: Any) -> None:
    server.accepted(CREATE_SESSION, sessionId=id, **fields)


def remember(server: Server, content: str, kind: str = "FACT", **fields: Any) -> None:
    server.accepted(CREATE_MEMORY, content=content, kind=kind, **fields)


def turns(count: int, tokens: int = 10) -> list[dict[str, Any]]:
    """Messages that take so many tokens in a prompt, of which none answers anything."""
    return [
        {"content": f"turn {number}", "tokenCount": tokens - FRAMED, "role": "USER" if number % 2 else "ASSISTANT"}
        for number in range(1, count + 1)
    ]
