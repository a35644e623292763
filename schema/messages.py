"""Messages, as clients see them."""

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


@strawberry.enum(description="Who speaks in a message.")
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
    )
    message_id: str | None = required("The client's own key, unique in its session: makes a retry safe.")
    sequence: int = required("1, 2, 3 … in the session, in the order in which they were kept.")
    session: LazySession | None = batch_field(
        sessions_of, description="The session it was said in; never null.", needs=("session_key",)
    )
    role: Role = required("Who speaks.")
    name: str | None = required("The name of the one who speaks.")
    content: str = required('What was said; "" beside tool calls or parts without text.')
    parts: JSON | None = required("Content parts, as the client sent them; their text counts as the message's text.")
    tool_calls: JSON | None = required("The tools that the model called, as the client sent them.")
    tool_call_id: str | None = required("Which tool call this answers.")
    metadata: JSON = required("The application's own data.")
    token_count: int = required(
        "How many tokens the content, the parts and the tool calls take: as the client said, else counted."
    )
    created_at: DateTime = required("When it was said: the client's time when it sent one, else the server's.")
    utc_offset: int | None = required(
        "The offset from UTC that createdAt was sent with, in minutes; null if it was sent as Z, or was not sent."
    )
    updated_at: DateTime = required("When it last changed.")
    version: int = required("1 at first; more when it was edited.")
    memories: Connection[LazyMemory] = connection_field(
        memories_of_messages,
        description="Every memory that names this message among its sources, newest first.",
        needs=("session_key", "sequence"),
    )


@strawberry.input(description="Which messages; all conditions must hold.")
class MessageFilter:
    roles: list[Role] | None = optional("Messages of one of these roles; at most 100.")
    created_at: DateTimeRange | None = optional("When they were said.")
    metadata: JSON | None = optional(
        "Messages whose metadata contains this object, as PostgreSQL's @> does; up to 64 KiB and 4,000 values."
    )


@strawberry.enum(description="What messages are ordered by.")
class MessageOrderField(Enum):
    SEQUENCE = strawberry.enum_value("SEQUENCE", description="The order in which they were kept.")
    CREATED_AT = strawberry.enum_value(
        "CREATED_AT", description="When they were said; ties by sequence. Older turns may have been added later."
    )


@strawberry.input(description="An order of messages.")
class MessageOrder:
    field: MessageOrderField = required("What to order by.")
    direction: OrderDirection = required("Which way.")


@strawberry.input(description="A message to add.")
class MessageInput:
    message_id: str | None = optional("The client's own key, unique in the session: a retry with it is not kept twice.")
    role: Role = required("Who speaks.")
    name: str | None = optional("The name of the one who speaks.")
    content: str | None = optional("What was said, up to 1 MiB; null only beside toolCalls or parts.")
    parts: JSON | None = optional("Content parts (texts, images, files), up to 64 KiB and 32 levels.")
    tool_calls: JSON | None = optional("The tools that the model called, up to 64 KiB and 32 levels.")
    tool_call_id: str | None = optional("Which tool call this answers.")
    metadata: JSON | None = optional("The application's own data.")
    token_count: int | None = optional(
        "How many tokens it takes in a prompt; content, parts and tool calls are counted when left out."
    )
    created_at: DateTime | None = optional("When it was said; now when left out.")


@strawberry.input(description="Messages to append to a session, all or none.")
class AddMessagesInput:
    session_id: str = required("Which session; an unknown one comes into being, a deleted one comes back.")
    user_id: str | None = optional("Whose session it is: attaches one that is nobody's. The user must exist.")
    messages: list[MessageInput] = required("1 to 100 messages, in order.")
    form_memories: bool | None = optional(
        "False keeps the server from forming memories of them, now and later; true when left out."
    )


@strawberry.input(description="A change of a message: what is left out is kept, what is null is cleared.")
class UpdateMessageInput:
    id: strawberry.ID = required("Which message.")
    content: str | None = optional("What was said; not null.")
    parts: JSON | None = optional("Content parts (texts, images, files), up to 64 KiB and 32 levels.")
    tool_calls: JSON | None = optional("The tools that the model called, up to 64 KiB and 32 levels.")
    metadata: JSON | None = optional("Metadata to merge or to replace.")
    metadata_mode: MetadataMode | None = optional(MODE)
    token_count: int | None = optional("How many tokens it takes in a prompt; null has them counted.")
    expected_version: int | None = optional(VERSION)


@strawberry.input(description="A message to delete.")
class DeleteMessageInput:
    id: strawberry.ID = required("Which message.")


@strawberry.input(description="A range of messages to delete; at most 1,000 a call.")
class DeleteMessagesInput:
    session_id: str = required("The session they are in.")
    from_sequence: int | None = optional("The first to delete; from the first of all when left out.")
    to_sequence: int | None = optional("The last to delete; to the last of all when left out.")


@strawberry.type(description="What became of addMessages.")
class AddMessagesPayload:
    session: LazySession | None = required("The session, as it is now.")
    messages: list[Message] = required("The messages in the order of the input, those kept before included.")
    message_edges: list[Edge[Message]] = required("The same with their cursors in Session.messages.")
    deduplicated: int | None = required("How many of them had been kept before.")
    memories: list[LazyMemory] = required(
        "What rules formed of them, and a summary that fell due; of those kept before, what was formed then. What was "
        "known already is there with one more source. What a model forms comes later, and not here."
    )
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="What became of updateMessage.")
class UpdateMessagePayload:
    message: Message | None = required("The message after the update.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="What became of deleteMessage.")
class DeleteMessagePayload:
    deleted_message_id: strawberry.ID | None = required("The global id of what is gone.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="What became of deleteMessages.")
class DeleteMessagesPayload:
    deleted_message_ids: list[strawberry.ID] = required("The global ids of what is gone, in order.")
    has_more: bool | None = required("Whether the range holds more messages to delete.")
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
        description="Edits a message; what was formed of its old content goes, and rules look at the new one.",
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
