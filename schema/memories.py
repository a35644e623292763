"""The GraphQL types of memories."""

from typing import TYPE_CHECKING, Annotated

import strawberry

from breadth import batch_field
from resolvers.agents import agents_of
from resolvers.memories import (
    create_memory,
    delete_memories,
    delete_memory,
    newer_of,
    older_of,
    update_memory,
    upsert_memory,
)
from resolvers.memory_sources import sources_of
from resolvers.sessions import sessions_of
from resolvers.users import users_of
from schema.connections import Connection, connection_field
from schema.documents import Document
from schema.inputs import MODE, VERSION, MetadataMode, optional, required
from schema.memory_filters import MemoryFilter, MemoryKind, MemoryMethod
from schema.messages import Message
from schema.mutations import UserError, errors_field, mutation
from schema.nodes import Node, id_field
from schema.scalars import JSON, DateTime

if TYPE_CHECKING:
    from schema.agents import Agent
    from schema.sessions import Session
    from schema.users import User

MemorySource = Annotated[
    Message | Document,
    strawberry.union("MemorySource", description="The sources that a memory can have. More types may follow."),
]


@strawberry.type(
    description="Something worth knowing later, of a user, a session or an agent, with where it came from."
)
class Memory(Node):
    id: strawberry.ID = id_field("Memory")
    memory_id: str | None = required("The client's own key, unique with its user, session or agent.")
    kind: MemoryKind = required("Its kind.")
    content: str = required("The content.")
    method: MemoryMethod = required("The way it was made.")
    model: str | None = required("The model that wrote it, when the method is MODEL.")
    user: Annotated["User", strawberry.lazy("schema.users")] | None = batch_field(
        users_of, description="The user to whom it belongs.", needs=("user_key",)
    )
    session: Annotated["Session", strawberry.lazy("schema.sessions")] | None = batch_field(
        sessions_of, description="The session it was formed from or declared for.", needs=("session_key",)
    )
    agent: Annotated["Agent", strawberry.lazy("schema.agents")] | None = batch_field(
        agents_of,
        description="The agent to which it belongs, if no user or session does: what the agent itself has learned.",
        needs=("agent_key",),
    )
    about: str | None = required(
        "The name of the speaker whom it is about, where several people speak in a session; null: the user's own."
    )
    sources: Connection[MemorySource] = connection_field(
        sources_of, description="Its sources, in the order in which they were named.", records_at=()
    )
    rating: float | None = required("Its quality or certainty, from 0 to 1.")
    valid_from: DateTime | None = required(
        "The start of its validity in the world, createdAt when null; of an event the time when it takes place."
    )
    valid_until: DateTime | None = required("The end of its validity; null while it is open.")
    superseded_by: Annotated["Memory", strawberry.lazy("schema.memories")] | None = batch_field(
        newer_of, description="The memory that supersedes it.", needs=("superseded_by",)
    )
    supersedes: list[Annotated["Memory", strawberry.lazy("schema.memories")]] = batch_field(
        older_of, description="The memories that it supersedes, newest first.", needs=("key",)
    )
    expires_at: DateTime | None = required("The time from which it is not listed.")
    metadata: JSON = required("The application's own data.")
    created_at: DateTime = required("The time of its creation.")
    updated_at: DateTime = required("The time of its last change.")
    version: int = required("Starts at 1; every update that changes something adds one.")


@strawberry.input(description="A message by the application's own ids: its session's, and its own or its sequence.")
class MessagePlace:
    session_id: str = required("The session's key.")
    message_id: str | None = optional("The message's own key; leave it out to give `sequence`.")
    sequence: int | None = optional("Its sequence in the session; leave it out to give `messageId`.")


@strawberry.input(
    description="A memory to declare, of a user, of a session (which implies its user) or of an agent alone."
)
class CreateMemoryInput:
    memory_id: str | None = optional(
        "The client's own key, unique with its user, session or agent; makes retries idempotent."
    )
    about: str | None = optional(
        "The name of whom it is about, if that is not the user: up to 64 KiB. It is kept apart from the user's own."
    )
    user_id: str | None = optional("The user to whom it belongs.")
    session_id: str | None = optional("The session to which it belongs.")
    agent_id: str | None = optional(
        "The agent to which it belongs, instead of a user or a session; not for user tokens, which don't see it."
    )
    kind: MemoryKind = required("Its kind. A SUMMARY supersedes the current one.")
    content: str = required("The content, up to 1 MiB.")
    rating: float | None = optional("Its quality or certainty, from 0 to 1.")
    valid_from: DateTime | None = optional("The start of its validity in the world.")
    valid_until: DateTime | None = optional("The end of its validity.")
    expires_at: DateTime | None = optional("The time from which it is not listed.")
    sources: list[strawberry.ID] | None = optional("Global ids of the messages and documents it rests on; at most 100.")
    source_messages: list[MessagePlace] | None = optional(
        "Messages it rests on, by the application's own ids; at most 100 together with `sources`."
    )
    supersedes: list[strawberry.ID] | None = optional("Global ids of the memories that it supersedes; at most 100.")
    metadata: JSON | None = optional("The application's own data.")
    created_at: DateTime | None = optional("The time of its creation; now when left out.")


@strawberry.input(description="A change of a memory: omitted fields are kept, null fields are cleared.")
class UpdateMemoryInput:
    id: strawberry.ID = required("The memory's global id.")
    kind: MemoryKind | None = optional("Its kind; not null.")
    content: str | None = optional("The content; not null.")
    rating: float | None = optional("Its quality or certainty, from 0 to 1.")
    valid_from: DateTime | None = optional("The start of its validity in the world.")
    valid_until: DateTime | None = optional("The end of its validity.")
    expires_at: DateTime | None = optional("The time from which it is not listed.")
    metadata: JSON | None = optional("Metadata to merge or to replace.")
    metadata_mode: MetadataMode | None = optional(MODE)
    expected_version: int | None = optional(VERSION)


@strawberry.input(
    description="A memory to create, or to update if its owner has one with this key. An update keeps its sources and "
    "omitted fields, and clears null fields."
)
class UpsertMemoryInput:
    memory_id: str = required("The client's own key, unique with its user, session or agent.")
    user_id: str | None = optional("The user to whom it belongs.")
    session_id: str | None = optional("The session to which it belongs.")
    agent_id: str | None = optional("The agent to which it belongs, instead of a user or a session.")
    about: str | None = optional("The name of whom it is about, if that is not the user; it can't be changed.")
    kind: MemoryKind | None = optional("Its kind; needed for a new memory, not null.")
    content: str | None = optional("The content, up to 1 MiB; needed for a new memory, not null.")
    rating: float | None = optional("Its quality or certainty, from 0 to 1.")
    valid_from: DateTime | None = optional("The start of its validity in the world.")
    valid_until: DateTime | None = optional("The end of its validity.")
    expires_at: DateTime | None = optional("The time from which it is not listed.")
    metadata: JSON | None = optional("Metadata to merge or to replace.")
    metadata_mode: MetadataMode | None = optional(MODE)


@strawberry.input(description="A memory to delete.")
class DeleteMemoryInput:
    id: strawberry.ID = required("The memory's global id.")


@strawberry.input(description="Memories to delete: those of one user or of one session.")
class DeleteMemoriesInput:
    user_id: str | None = optional("The user whose memories to delete, those of the user's sessions included.")
    session_id: str | None = optional("The session whose memories.")
    filter: MemoryFilter | None = optional(
        "The memories to delete, as in a list; all, past ones included, when left out."
    )
    limit: int | None = optional("The most objects to delete, 1 to 1,000; 1,000 when left out.")


@strawberry.type(description="The result of createMemory.")
class CreateMemoryPayload:
    memory: Memory | None = required("The new memory, or the stored one when this was a retry.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="The result of updateMemory.")
class UpdateMemoryPayload:
    memory: Memory | None = required("The memory after the update.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="The result of upsertMemory.")
class UpsertMemoryPayload:
    memory: Memory | None = required("The memory as it is now.")
    created: bool | None = required("True if the memory is new.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="The result of deleteMemory.")
class DeleteMemoryPayload:
    deleted_memory_id: strawberry.ID | None = required("The global id of the deleted object.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="The result of deleteMemories.")
class DeleteMemoriesPayload:
    deleted_memory_ids: list[strawberry.ID] = required("The global ids of the deleted objects, the oldest first.")
    has_more: bool | None = required("True if there are more to delete.")
    user_errors: list[UserError] = errors_field()


@strawberry.type
class MemoryMutations:
    create_memory: CreateMemoryPayload = mutation(
        create_memory,
        CreateMemoryInput,
        lambda memory: {"memory": memory},
        description="Declares a memory of a user, a session or an agent.",
    )
    update_memory: UpdateMemoryPayload = mutation(
        update_memory, UpdateMemoryInput, lambda memory: {"memory": memory}, description="Changes a memory."
    )
    upsert_memory: UpsertMemoryPayload = mutation(
        upsert_memory,
        UpsertMemoryInput,
        lambda result: {"memory": result[0], "created": result[1]},
        description="Declares a memory, or changes the one with this key: the store that agent frameworks expect.",
    )
    delete_memory: DeleteMemoryPayload = mutation(
        delete_memory,
        DeleteMemoryInput,
        lambda id: {"deleted_memory_id": id},
        description="Deletes a memory for good. What it superseded stays superseded.",
    )
    delete_memories: DeleteMemoriesPayload = mutation(
        delete_memories,
        DeleteMemoriesInput,
        lambda result: {"deleted_memory_ids": result[0], "has_more": result[1]},
        description="Deletes memories of a user or a session for good, by filter.",
        lists=("deleted_memory_ids",),
    )
