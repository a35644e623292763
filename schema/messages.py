"""The GraphQL types of messages."""

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import strawberry

from breadth import PageSize, batch_field, computed_field
from resolvers.ids import message_id
from resolvers.memories import memories_of_messages
from resolvers.messages import LARGEST_BATCH, add_messages, delete_message, delete_range, update_message
from resolvers.sessions import sessions_of
from schema.connections import Connection, Edge, connection_field
from schema.inputs import MODE, VERSION, DateTimeRange, MetadataMode, OrderDirection, optional, required
from schema.mutations import UserError, errors_field, mutation
from schema.nodes import Node
from schema.scalars import JSON, DateTime

if TYPE_CHECKING:
    from schema.memories import Memory
    from schema.sessions import Session

LazySession = Annotated["Session", strawberry.lazy("schema.sessions")]
LazyMemory = Annotated["Memory", strawberry.lazy("schema.memories")]


@strawberry.enum(description="The role of a message's author.")
class Role(Enum):
    SYSTEM = strawberry.enum_value("SYSTEM", description="The application, to the model.")
    DEVELOPER = strawberry.enum_value(
        "DEVELOPER", description="The application, to the model, as newer model interfaces call SYSTEM."
    )
    USER = strawberry.enum_value("USER", description="The user.")
    ASSISTANT = strawberry.enum_value("ASSISTANT", description="The model.")
    TOOL = strawberry.enum_value("TOOL", description="A tool, with what it found.")
    FUNCTION = strawberry.enum_value("FUNCTION", description="A function, as older model interfaces call a tool.")


@strawberry.type(description="One turn of a conversation.")
class Message(Node):
    id: strawberry.ID = computed_field(
        message_id,
        description="The object's global id.",
        needs=("session_key", "generation", "sequence"),
        unescaped=True,
    )
    message_id: str | None = required("The client's own key, unique in its session: makes retries idempotent.")
    sequence: int = required("1, 2, 3 … in the session, in the order in which they were stored.")
    session: LazySession | None = batch_field(
        sessions_of, description="The session that it belongs to; never null.", needs=("session_key",)
    )
    role: Role = required("The role of its author.")
    name: str | None = required("The name of the one who speaks.")
    content: str = required('Its text; "" beside tool calls or parts without text.')
    parts: JSON | None = required("Content parts, as the client sent them; their text counts as the message's text.")
    tool_calls: JSON | None = required("The tools that the model called, as the client sent them.")
    tool_call_id: str | None = required("The id of the tool call that this answers.")
    metadata: JSON = required("The application's own data.")
    token_count: int = required(
        "The tokens of the content, the parts and the tool calls: the client's count, else the server's."
    )
    created_at: DateTime = required("The time when it was said: the client's time when it sent one, else the server's.")
    utc_offset: int | None = required(
        "The offset from UTC that createdAt was sent with, in minutes; null if it was sent as Z, or was not sent."
    )
    updated_at: DateTime = required("The time of its last change.")
    version: int = required("1 at first; more when it was edited.")
    memories: Connection[LazyMemory] = connection_field(
        memories_of_messages,
        description="Every memory that names this message among its sources, newest first.",
        needs=("session_key", "sequence"),
    )


@strawberry.input(description="A filter for messages; all conditions must hold.")
class MessageFilter:
    message_ids: list[str] | None = optional("Messages with one of these keys of the client's own; at most 100.")
    names: list[str] | None = optional(
        "Messages under one of these names, compared as MemoryFilter.about does: in any case, and with spaces, dots, "
        "hyphens and underscores alike; at most 100."
    )
    roles: list[Role] | None = optional("Messages of one of these roles; at most 100.")
    created_at: DateTimeRange | None = optional("The time when they were said.")
    metadata: JSON | None = optional(
        "Messages whose metadata contains this object, as PostgreSQL's @> does; up to 64 KiB and 4,000 values."
    )


@strawberry.enum(description="The orders of messages.")
class MessageOrderField(Enum):
    SEQUENCE = strawberry.enum_value("SEQUENCE", description="The order in which they were stored.")
    CREATED_AT = strawberry.enum_value(
        "CREATED_AT",
        description="The time when they were said; ties by sequence. Older turns may have been added later.",
    )


@strawberry.input(description="An order of messages.")
class MessageOrder:
    field: MessageOrderField = required("The field to order by.")
    direction: OrderDirection = required("The direction.")


@strawberry.input(description="A message to add.")
class MessageInput:
    message_id: str | None = optional(
        "The client's own key, unique in the session: a retry with it is not stored twice."
    )
    role: Role = required("The role of its author.")
    name: str | None = optional("The name of the one who speaks.")
    content: str | None = optional("Its text, up to 1 MiB; null only beside toolCalls or parts.")
    parts: JSON | None = optional("Content parts (texts, images, files), up to 64 KiB and 32 levels.")
    tool_calls: JSON | None = optional("The tools that the model called, up to 64 KiB and 32 levels.")
    tool_call_id: str | None = optional("The id of the tool call that this answers.")
    metadata: JSON | None = optional("The application's own data.")
    token_count: int | None = optional(
        "Its number of tokens in a prompt; when left out, the server counts content, parts and tool calls."
    )
    created_at: DateTime | None = optional("The time when it was said; now when left out.")
    form_memories: bool | None = optional(
        "True forms memories of it, false forms none, now and later; as its batch when left out."
    )


@strawberry.input(description="Messages to append to a session, all or none.")
class AddMessagesInput:
    session_id: str = required("The session's key; an unknown session is created, a deleted one restored.")
    user_id: str | None = optional(
        "The session's user, who must exist; a session without a user is attached to this one."
    )
    messages: list[MessageInput] = required("1 to 100 messages, in order.")
    form_memories: bool | None = optional(
        "True forms memories of them, false forms none, now and later, unless a message says otherwise. When left out, "
        "the session decides, else its user, else the server's setting."
    )


@strawberry.input(description="A change of a message: omitted fields are kept, null fields are cleared.")
class UpdateMessageInput:
    id: strawberry.ID = required("The message's global id.")
    content: str | None = optional("Its text; not null.")
    parts: JSON | None = optional("Content parts (texts, images, files), up to 64 KiB and 32 levels.")
    tool_calls: JSON | None = optional("The tools that the model called, up to 64 KiB and 32 levels.")
    metadata: JSON | None = optional("Metadata to merge or to replace.")
    metadata_mode: MetadataMode | None = optional(MODE)
    token_count: int | None = optional("Its number of tokens in a prompt; with null the server counts them.")
    expected_version: int | None = optional(VERSION)


@strawberry.input(description="A message to delete.")
class DeleteMessageInput:
    id: strawberry.ID = required("The message's global id.")


@strawberry.input(description="A range of messages to delete; at most 1,000 a call.")
class DeleteMessagesInput:
    session_id: str = required("The session they are in.")
    from_sequence: int | None = optional("The first to delete; from the first of all when left out.")
    to_sequence: int | None = optional("The last to delete; to the last of all when left out.")


@strawberry.type(description="The result of addMessages.")
class AddMessagesPayload:
    session: LazySession | None = required("The session, as it is now.")
    messages: list[Message] = required("The messages in the order of the input, those stored before included.")
    message_edges: list[Edge[Message]] = required("The same with their cursors in Session.messages.")
    deduplicated: int | None = required("The number of messages that had been stored before.")
    memories: list[LazyMemory] = required(
        "Memories that rules formed from them, and a summary that fell due; for messages stored before, those of then. "
        "A known memory is returned with one more source. Those that a model forms later are not included."
    )
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="The result of updateMessage.")
class UpdateMessagePayload:
    message: Message | None = required("The message after the update.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="The result of deleteMessage.")
class DeleteMessagePayload:
    deleted_message_id: strawberry.ID | None = required("The global id of the deleted object.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="The result of deleteMessages.")
class DeleteMessagesPayload:
    deleted_message_ids: list[strawberry.ID] = required("The global ids of the deleted objects, in order.")
    has_more: bool | None = required("True if the range holds more messages to delete.")
    user_errors: list[UserError] = errors_field()


@strawberry.type
class MessageMutations:
    add_messages: AddMessagesPayload = mutation(
        add_messages,
        AddMessagesInput,
        lambda added: {
            "session": added.session,
            "messages": added.messages,
            "message_edges": added.edges,
            "deduplicated": added.deduplicated,
            "memories": added.memories,
        },
        description="Appends messages to a session, all or none; they get the next sequences, side by side.",
        lists=("messages", "message_edges", "memories"),
        page_size=PageSize(("input.messages",), default=0, largest=LARGEST_BATCH),
    )
    update_message: UpdateMessagePayload = mutation(
        update_message,
        UpdateMessageInput,
        lambda message: {"message": message},
        description="Edits a message. Memories formed from it alone are removed, and rules read the new content.",
    )
    delete_message: DeleteMessagePayload = mutation(
        delete_message,
        DeleteMessageInput,
        lambda id: {"deleted_message_id": id},
        description="Deletes a message for good, with what was formed from it alone. Its sequence is not given again.",
    )
    delete_messages: DeleteMessagesPayload = mutation(
        delete_range,
        DeleteMessagesInput,
        lambda result: {"deleted_message_ids": result[0], "has_more": result[1]},
        description="Deletes a range of messages for good: to regenerate an answer, to reset a session.",
        lists=("deleted_message_ids",),
    )
