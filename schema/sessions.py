"""The GraphQL types of sessions."""

import strawberry

from breadth import batch_field
from resolvers.agents import agents_of
from resolvers.clones import CLONE_CHARACTERS, LARGEST_CLONE, clone_session
from resolvers.memories import memories_of_sessions, summaries_of_sessions
from resolvers.messages import messages_of_sessions
from resolvers.sessions import (
    create_session,
    delete_inactive_sessions,
    delete_session,
    end_session,
    pending_of,
    reopen_session,
    update_session,
    upsert_session,
)
from resolvers.users import users_of
from schema.agents import Agent
from schema.connections import Connection, connection_field
from schema.contexts import Context, ContextOverflow, context_of_session
from schema.inputs import MODE, VERSION, MetadataMode, optional, required
from schema.memories import Memory
from schema.memory_filters import MemoryFilter, MemoryOrder
from schema.messages import Message, MessageFilter, MessageOrder
from schema.mutations import UserError, errors_field, mutation
from schema.nodes import Node, id_field
from schema.scalars import JSON, DateTime
from schema.users import User

FORM_MEMORIES = (
    "True forms memories of its messages, false forms none, unless the batch or the message says otherwise. Null "
    "leaves it to the session's user."
)


@strawberry.type(description="One conversation.")
class Session(Node):
    id: strawberry.ID = id_field("Session")
    session_id: str = required("The application's own key.")
    user: User | None = batch_field(
        users_of, description="The session's user; null while it has none.", needs=("user_key",)
    )
    agent: Agent | None = batch_field(agents_of, description="The agent it is held with.", needs=("agent_key",))
    title: str | None = required("Its name in a list of conversations.")
    situation: str | None = required("The subject of the conversation, for the prompt.")
    metadata: JSON = required("The application's own data.")
    token_budget: int | None = required("The token budget of its context; the server's default when null.")
    context_overflow: ContextOverflow | None = required("The treatment of a context that exceeds its budget.")
    form_memories: bool | None = required(FORM_MEMORIES)
    memories_pending: bool = batch_field(
        pending_of,
        description="True while messages wait for a chat model to form memories of them: for the first attempt, during "
        "it, for the next one, or after the last one has failed, until more messages come or the job is retried.",
        needs=("key",),
    )
    created_at: DateTime = required("The time of its creation.")
    updated_at: DateTime = required("The last change of its own attributes; messages do not count.")
    ended_at: DateTime | None = required("The time when it was ended; null while it goes on.")
    deleted_at: DateTime | None = required("The time when it was deleted; null unless it is listed as deleted.")
    last_activity_at: DateTime = required(
        "The server's time of the last message, else of creation; createSession and imports can set it."
    )
    version: int = required("Starts at 1; every update that changes something adds one.")
    messages: Connection[Message] = connection_field(
        messages_of_sessions,
        description="Its messages, oldest first by default; `last: 20` is the newest page.",
        filter=MessageFilter,
        order=MessageOrder,
        unordered="by sequence, the first message first",
        needs=("key", "nonce", "deleted_through"),
    )
    memories: Connection[Memory] = connection_field(
        memories_of_sessions,
        description="Memories formed from this session or declared for it, newest first by default.",
        filter=MemoryFilter,
        order=MemoryOrder,
        needs=("key", "nonce"),
    )
    summary: Memory | None = batch_field(
        summaries_of_sessions, description="The session's standing summary.", needs=("key",)
    )
    context: Context | None = context_of_session()


@strawberry.input(description="A new session.")
class CreateSessionInput:
    session_id: str | None = optional("The application's own key, 1 to 512 characters; one is made when left out.")
    user_id: str | None = optional("The key of the session's user; it can be attached later.")
    agent_id: str | None = optional("The agent it is held with.")
    title: str | None = optional("Its name in a list of conversations, up to 64 KiB.")
    situation: str | None = optional("The subject of the conversation, up to 64 KiB.")
    form_memories: bool | None = optional(FORM_MEMORIES)
    metadata: JSON | None = optional("The application's own data.")
    token_budget: int | None = optional("The token budget of its context.")
    context_overflow: ContextOverflow | None = optional("The treatment of a context that exceeds its budget.")
    created_at: DateTime | None = optional("The time of its creation; now when left out.")
    last_activity_at: DateTime | None = optional(
        "The time of its last activity in another system; now when left out. The next message updates it."
    )


@strawberry.input(description="A change of a session: omitted fields are kept, null fields are cleared.")
class UpdateSessionInput:
    session_id: str = required("The session's key.")
    user_id: str | None = optional(
        "The key of the session's new user, even if it has another one; its memories move along."
    )
    agent_id: str | None = optional("The agent it is held with.")
    title: str | None = optional("Its name in a list of conversations, up to 64 KiB.")
    situation: str | None = optional("The subject of the conversation.")
    form_memories: bool | None = optional(FORM_MEMORIES)
    metadata: JSON | None = optional("Metadata to merge or to replace.")
    metadata_mode: MetadataMode | None = optional(MODE)
    token_budget: int | None = optional("The token budget of its context.")
    context_overflow: ContextOverflow | None = optional("The treatment of a context that exceeds its budget.")
    expected_version: int | None = optional(VERSION)


@strawberry.input(description="A session to create, or to update if one with this key exists.")
class UpsertSessionInput:
    session_id: str = required("The application's own key, 1 to 512 characters.")
    user_id: str | None = optional(
        "The key of its user, if it has none yet; CONFLICT if it has another. Memories move along."
    )
    agent_id: str | None = optional("The agent it is held with.")
    title: str | None = optional("Its name in a list of conversations, up to 64 KiB.")
    situation: str | None = optional("The subject of the conversation, up to 64 KiB.")
    form_memories: bool | None = optional(FORM_MEMORIES)
    metadata: JSON | None = optional("Metadata to merge or to replace.")
    metadata_mode: MetadataMode | None = optional(MODE)
    token_budget: int | None = optional("The token budget of its context.")
    context_overflow: ContextOverflow | None = optional("The treatment of a context that exceeds its budget.")


@strawberry.input(description="A session to end.")
class EndSessionInput:
    session_id: str = required("The session's key.")


@strawberry.input(description="A session to reopen.")
class ReopenSessionInput:
    session_id: str = required("The session's key.")


@strawberry.input(description="A session to delete.")
class DeleteSessionInput:
    session_id: str = required("The session's key.")
    permanently: bool | None = optional("True removes it for good at once; new messages then start a new session.")


@strawberry.input(description="Inactive sessions to delete.")
class DeleteInactiveSessionsInput:
    inactive_since: DateTime = required("Sessions whose last activity was before this time.")
    user_id: str | None = optional("Only this user's.")
    limit: int | None = optional("The most objects to delete, 1 to 1,000; 100 when left out.")


@strawberry.input(description="A session to clone: its attributes and its messages, without its memories.")
class CloneSessionInput:
    session_id: str = required("The key of the session to copy.")
    new_session_id: str | None = optional("The key of the clone, 1 to 512 characters; one is made when left out.")
    through_sequence: int | None = optional(
        "The sequence of the last message to copy, 1 or more; all messages when left out. At most "
        f"{LARGEST_CLONE:,} messages with {CLONE_CHARACTERS:,} characters of text are copied."
    )


@strawberry.type(description="The result of cloneSession.")
class CloneSessionPayload:
    session: Session | None = required("The clone.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="The result of createSession.")
class CreateSessionPayload:
    session: Session | None = required("The new session.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="The result of updateSession.")
class UpdateSessionPayload:
    session: Session | None = required("The session after the update.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="The result of upsertSession.")
class UpsertSessionPayload:
    session: Session | None = required("The session as it is now.")
    created: bool | None = required("True if the session is new.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="The result of endSession.")
class EndSessionPayload:
    session: Session | None = required("The session, ended.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="The result of reopenSession.")
class ReopenSessionPayload:
    session: Session | None = required("The session, open.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="The result of deleteSession.")
class DeleteSessionPayload:
    deleted_session_id: strawberry.ID | None = required("The global id of the deleted object.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="The result of deleteInactiveSessions.")
class DeleteInactiveSessionsPayload:
    deleted_session_ids: list[strawberry.ID] = required(
        "The global ids of the deleted objects, the longest inactive first."
    )
    has_more: bool | None = required("True if there are more to delete.")
    user_errors: list[UserError] = errors_field()


@strawberry.type
class SessionMutations:
    create_session: CreateSessionPayload = mutation(
        create_session,
        CreateSessionInput,
        lambda session: {"session": session},
        description="Creates a session; under the key of a deleted one it starts anew, and its sequence goes on.",
    )
    update_session: UpdateSessionPayload = mutation(
        update_session,
        UpdateSessionInput,
        lambda session: {"session": session},
        description="Changes a session.",
    )
    upsert_session: UpsertSessionPayload = mutation(
        upsert_session,
        UpsertSessionInput,
        lambda result: {"session": result[0], "created": result[1]},
        description="Creates a session, or updates the one with this key.",
    )
    end_session: EndSessionPayload = mutation(
        end_session,
        EndSessionInput,
        lambda session: {"session": session},
        description="Ends a session: further messages are refused with SESSION_ENDED. Ending twice changes nothing.",
    )
    reopen_session: ReopenSessionPayload = mutation(
        reopen_session,
        ReopenSessionInput,
        lambda session: {"session": session},
        description="Reopens an ended session.",
    )
    delete_session: DeleteSessionPayload = mutation(
        delete_session,
        DeleteSessionInput,
        lambda id: {"deleted_session_id": id},
        description="Deletes a session: it and what is in it stop being returned. New messages bring it back, empty.",
    )
    clone_session: CloneSessionPayload = mutation(
        clone_session,
        CloneSessionInput,
        lambda session: {"session": session},
        description="Copies a session with its messages up to a sequence into a new, open one: to try another way. "
        "Messages keep sequence, times and messageId; no memories are copied or formed.",
    )
    delete_inactive_sessions: DeleteInactiveSessionsPayload = mutation(
        delete_inactive_sessions,
        DeleteInactiveSessionsInput,
        lambda result: {"deleted_session_ids": result[0], "has_more": result[1]},
        description="Soft-deletes sessions without recent activity.",
        lists=("deleted_session_ids",),
    )
