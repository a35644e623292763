"""Sessions as the tests of their life and of their deletion read and write them: all fields, and all messages."""

from datetime import datetime
from typing import Any

from tests.documents import mutation
from tests.servers import Api

SESSION = """id sessionId user { userId } agent { agentId } situation metadata tokenBudget contextOverflow
  createdAt updatedAt endedAt deletedAt lastActivityAt version"""
CREATE = mutation("createSession", f"session {{ {SESSION} }}")
UPDATE = mutation("updateSession", f"session {{ {SESSION} }}")
UPSERT = mutation("upsertSession", f"session {{ {SESSION} }} created")
END = mutation("endSession", f"session {{ {SESSION} }}")
REOPEN = mutation("reopenSession", f"session {{ {SESSION} }}")
ADD = mutation("addMessages", f"session {{ {SESSION} }} messages {{ id sequence content createdAt }} deduplicated")
GET = f"query ($sessionId: String!) {{ session(sessionId: $sessionId) {{ {SESSION} }} }}"
CONTENTS = """query ($sessionId: String!) {
  session(sessionId: $sessionId) { messages(first: 100) { nodes { content sequence } totalCount } }
}"""


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def turn(content: str | None = "hello", message_id: str | None = None, **fields: Any) -> dict[str, Any]:
    """A message to send; without a messageId of its own when none is given."""
    message: dict[str, Any] = {"role": "USER", "content": content} | fields
    return message | {"messageId": message_id} if message_id is not None else message


def add(server: Api, session_id: str, *messages: dict[str, Any] | str, **fields: Any) -> dict[str, Any]:
    """Adds messages by their contents, or by all that they are; the payload."""
    turns = [turn(message) if isinstance(message, str) else message for message in messages]
    return server.accepted(ADD, sessionId=session_id, messages=turns, **{"formMemories": False, **fields})


def find(server: Api, session_id: str) -> dict[str, Any] | None:
    return server.graphql(GET, sessionId=session_id)["session"]


def get(server: Api, session_id: str) -> dict[str, Any]:
    """A session that must be there."""
    session = find(server, session_id)
    assert session is not None, f"there is no session {session_id!r}"
    return session


def contents(server: Api, session_id: str) -> list[str]:
    """The contents of all its messages, which totalCount must agree with."""
    messages = server.graphql(CONTENTS, sessionId=session_id)["session"]["messages"]
    assert messages["totalCount"] == len(messages["nodes"])
    return [message["content"] for message in messages["nodes"]]
