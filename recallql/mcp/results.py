"""The structured results of the tools, made from GraphQL's data. What is null there is left out here."""

import html
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field

# pydantic takes that of `typing` from Python 3.12 on only.
from typing_extensions import TypedDict

from recallql.mcp.arguments import Kind, Role

Data = Mapping[str, Any]

SessionId = Annotated[str, Field(description="The conversation, for `read_session`.")]
UserId = Annotated[str, Field(description="The user.")]
Time = Annotated[str, Field(description="A time in UTC, as in 2026-01-31T12:00:00.000000Z.")]


class AddedMessage(TypedDict):
    id: str
    sequence: Annotated[int, Field(description="The number of the message in its conversation, from 1.")]


class Added(TypedDict):
    session_id: SessionId
    messages: list[AddedMessage]


class Remembered(TypedDict):
    id: Annotated[str, Field(description="The memory's id, for `forget`.")]
    kind: Kind
    created_at: Time


class Forgotten(TypedDict):
    forgotten_id: Annotated[str, Field(description="The id of the memory that is gone.")]


class Found(TypedDict):
    type: Literal["message", "memory", "document"]
    id: Annotated[str, Field(description="The id; a memory's is for `forget`.")]
    content: Annotated[str, Field(description="The text; of a document the passage that answers best.")]
    score: Annotated[float, Field(description="The relevance, from 0 to 1, for comparison within one search.")]
    created_at: Time
    user_id: NotRequired[UserId]
    session_id: NotRequired[SessionId]
    role: NotRequired[Annotated[Role, Field(description="Who said a message.")]]
    name: NotRequired[Annotated[str, Field(description="The name of who said a message.")]]
    sequence: NotRequired[Annotated[int, Field(description="A message's number in its conversation.")]]
    kind: NotRequired[Annotated[Kind, Field(description="The kind of a memory.")]]
    about: NotRequired[Annotated[str, Field(description="Whom a memory is about, if that is not the user.")]]
    valid_from: NotRequired[Annotated[str, Field(description="The time from which a memory is true.")]]
    valid_until: NotRequired[Annotated[str, Field(description="The time until which a memory is true.")]]
    title: NotRequired[Annotated[str, Field(description="The title of a document.")]]


class Recalled(TypedDict):
    results: Annotated[list[Found], Field(description="What was found, best first.")]
    more: Annotated[bool, Field(description="True if there is more; give a higher `limit`.")]


class ReadMessage(TypedDict):
    id: str
    sequence: Annotated[int, Field(description="The number of the message in its conversation, from 1.")]
    role: Role
    name: NotRequired[str]
    content: str
    created_at: Time


class Packed(TypedDict):
    text: Annotated[str, Field(description="What to know, in Markdown, for the system prompt.")]
    messages: Annotated[list[ReadMessage], Field(description="The newest messages, oldest first.")]
    token_count: int
    max_tokens: int
    dropped_messages: Annotated[int, Field(description="The number of messages that did not fit.")]


class ListedSession(TypedDict):
    session_id: SessionId
    user_id: NotRequired[UserId]
    title: NotRequired[str]
    situation: NotRequired[Annotated[str, Field(description="The subject of the conversation.")]]
    created_at: Time
    last_activity_at: Time
    ended_at: NotRequired[Time]


class ListedSessions(TypedDict):
    sessions: Annotated[list[ListedSession], Field(description="The conversations, those used last first.")]
    next: NotRequired[Annotated[str, Field(description="Give this as `after` for the next page.")]]


class ReadSession(ListedSession):
    summary: NotRequired[Annotated[str, Field(description="The summary of the conversation.")]]
    messages: Annotated[list[ReadMessage], Field(description="The messages, oldest first.")]
    earlier: NotRequired[Annotated[str, Field(description="Give this as `before` to read older messages.")]]


def found(edge: Data) -> Found:
    """A result of a search."""
    node: Data = edge["node"]
    kind: str = node["__typename"]
    session: Data | None = node.get("session")
    user: Data | None = node.get("user") or (session or {}).get("user")
    content: str = node["content"] if "content" in node else plain(edge["highlight"] or "")
    given: Any = {
        "type": kind.lower(),
        "id": node["id"],
        "content": content,
        "score": edge["score"],
        "created_at": node["createdAt"],
        "user_id": user and user["userId"],
        "session_id": session and session["sessionId"],
        "role": node.get("role"),
        "name": node.get("name"),
        "sequence": node.get("sequence"),
        "kind": node.get("kind"),
        "about": node.get("about"),
        "valid_from": node.get("validFrom"),
        "valid_until": node.get("validUntil"),
        "title": node.get("title"),
    }
    return _without_nulls(given)


def read_message(node: Data) -> ReadMessage:
    """A message of a conversation."""
    given: Any = {
        "id": node["id"],
        "sequence": node["sequence"],
        "role": node["role"],
        "name": node["name"],
        "content": node["content"],
        "created_at": node["createdAt"],
    }
    return _without_nulls(given)


def listed_session(node: Data) -> ListedSession:
    """A conversation."""
    given: Any = {
        "session_id": node["sessionId"],
        "user_id": node["user"] and node["user"]["userId"],
        "title": node["title"],
        "situation": node["situation"],
        "created_at": node["createdAt"],
        "last_activity_at": node["lastActivityAt"],
        "ended_at": node["endedAt"],
    }
    return _without_nulls(given)


def read_session(session: Data) -> ReadSession:
    """A conversation with a page of its messages."""
    page: Data = session["messages"]["pageInfo"]
    given: Any = {
        **listed_session(session),
        "summary": session["summary"] and session["summary"]["content"],
        "messages": [read_message(node) for node in session["messages"]["nodes"]],
        "earlier": page["startCursor"] if page["hasPreviousPage"] else None,
    }
    return _without_nulls(given)


def packed(context: Data) -> Packed:
    """A context."""
    return {
        "text": context["text"],
        "messages": [read_message(node) for node in context["messages"]],
        "token_count": context["tokenCount"],
        "max_tokens": context["maxTokens"],
        "dropped_messages": context["droppedMessages"],
    }


def plain(highlight: str) -> str:
    """The text of a highlight, which is HTML."""
    return html.unescape(highlight.replace("<mark>", "").replace("</mark>", ""))


def _without_nulls(given: Any) -> Any:
    return {name: value for name, value in given.items() if value is not None}
