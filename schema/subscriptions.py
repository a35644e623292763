"""The subscriptions, and the GraphQL types of their events."""

import inspect
from enum import Enum
from typing import Annotated, Any

import strawberry
from strawberry import ID

from breadth import computed_field, stream_field
from resolvers.subscriptions import memory_changed, message_added, message_changed, session_changed
from schema.connections import Edge, itself, parameter
from schema.inputs import required
from schema.memories import Memory
from schema.messages import Message
from schema.sessions import Session


@strawberry.enum(description="What has happened to an object.")
class Change(Enum):
    CREATED = strawberry.enum_value("CREATED", description="It is new, or has become visible.")
    UPDATED = strawberry.enum_value("UPDATED", description="It was changed, once or several times.")
    DELETED = strawberry.enum_value("DELETED", description="It is gone, or no longer visible.")


def _node_id() -> Any:
    return required("The object's global id.")


def _object() -> Any:
    return computed_field(itself, needs=("object",), description="The object as it is now; null when it is gone.")


@strawberry.type(description="A change of a message.")
class MessageEvent:
    change: Change = required("What has happened to it.")
    node_id: ID = _node_id()
    message: Message | None = _object()


@strawberry.type(description="A change of a memory.")
class MemoryEvent:
    change: Change = required("What has happened to it.")
    node_id: ID = _node_id()
    memory: Memory | None = _object()


@strawberry.type(description="A change of a session.")
class SessionEvent:
    change: Change = required("What has happened to it.")
    node_id: ID = _node_id()
    session: Session | None = _object()


def _argument(name: str, annotation: Any, description: str, default: object = strawberry.UNSET) -> inspect.Parameter:
    return parameter(name, Annotated[annotation, strawberry.argument(description=description)], default)


_REQUIRED = inspect.Parameter.empty
_SESSION_ID = _argument("session_id", str, "The session's key; it need not exist yet.", _REQUIRED)
_USER_ID = _argument(
    "user_id", str | None, "The user whose objects are watched; all that the viewer sees when left out."
)


@strawberry.type(description="The subscriptions. Only messageAdded continues after a reconnect; refetch the others.")
class Subscription:
    message_added: Edge[Message] = stream_field(
        message_added,
        description="The messages of a session: those after a place, then each new one, without gap or duplicate. "
        "Without a place those that are added from now on.",
        parameters=[
            _SESSION_ID,
            _argument(
                "after", str | None, "A cursor of Session.messages in its own order: that of the last event received."
            ),
            _argument("after_sequence", int | None, "A message's sequence; 0 is from the start."),
        ],
    )
    message_changed: MessageEvent = stream_field(
        message_changed, description="The edits and deletions of a session's messages.", parameters=[_SESSION_ID]
    )
    memory_changed: MemoryEvent = stream_field(
        memory_changed, description="The changes of memories.", parameters=[_USER_ID]
    )
    session_changed: SessionEvent = stream_field(
        session_changed, description="The changes of sessions, new messages included.", parameters=[_USER_ID]
    )
