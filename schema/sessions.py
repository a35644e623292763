"""Sessions, as clients see them."""

import strawberry

from breadth import batch_field
from resolvers.agents import agents_of
from resolvers.memories import memories_of_sessions, summaries_of_sessions
from resolvers.messages import messages_of_sessions
from resolvers.sessions import (
    create_session,
    delete_inactive_sessions,
    delete_session,
    end_session,
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


@strawberry.type(description="One conversation.")
class Session(Node):
    id: strawberry.ID = id_field("Session")
    session_id: str = required("The application's own key.")
    user: User | None = batch_field(
        users_of, description="Whose it is; null while it is nobody's.", needs=("user_key",)
    )
    agent: Agent | None = batch_field(agents_of, description="The agent it is held with.", needs=("agent_key",))
    situation: str | None = required("What the conversation is about, for the prompt.")
    metadata: JSON = required("The application's own data.")
    token_budget: int | None = required("How many tokens its context may take; the server's default when null.")
    context_overflow: ContextOverflow | None = required("What to do with a context that does not fit.")
    created_at: DateTime = required("When it was created.")
    updated_at: DateTime = required("When its own attributes last changed; messages do not count.")
    ended_at: DateTime | None = required("When it was ended; null while it goes on.")
    deleted_at: DateTime | None = required("When it was deleted; null unless it is listed as deleted.")
    last_activity_at: DateTime = required(
        "The server's time of the last message, else of creation; createSession and imports can set it."
    )
    version: int = required("1 at first, one more at every update that changes something.")
    messages: Connection[Message] = connection_field(
        messages_of_sessions,
        description="What was said, oldest first unless ordered otherwise; `last: 20` is the newest page.",
        filter=MessageFilter,
        order=MessageOrder,
        unordered="by sequence, the first message first",
        needs=("key", "nonce", "deleted_through"),
    )
    memories: Connection[Memory] = connection_field(
        memories_of_sessions,
        description="What was formed from this session or declared for it, newest first unless ordered otherwise.",
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
    user_id: str | None = optional("Whose it is; it can be attached later.")
    agent_id: str | None = optional("The agent it is held with.")
    situation: str | None = optional("What it is about, up to 64 KiB.")
    metadata: JSON | None = optional("The application's own data.")
    token_budget: int | None = optional("How many tokens its context may take.")
    context_overflow: ContextOverflow | None = optional("What to do with a context that does not fit.")
    created_at: DateTime | None = optional("When it came into being; now when left out.")
    last_activity_at: DateTime | None = optional(
        "When something last happened in it, elsewhere; now when left out. The next message moves it on."
    )


@strawberry.input(description="A change of a session: what is left out is kept, what is null is cleared.")
class UpdateSessionInput:
    session_id: str = required("Which session.")
    user_id: str | None = optional("Whose it is from now on, also if it is another user's; its memories go along.")
    agent_id: str | None = optional("The agent it is held with.")
    situation: str | None = optional("What it is about.")
    metadata: JSON | None = optional("Metadata to merge or to replace.")
    metadata_mode: MetadataMode | None = optional(MODE)
    token_budget: int | None = optional("How many tokens its context may take.")
    context_overflow: ContextOverflow | None = optional("What to do with a context that does not fit.")
    expected_version: int | None = optional(VERSION)


@strawberry.input(description="A session to create, or to update when there is one under the key.")
class UpsertSessionInput:
    session_id: str = required("The application's own key, 1 to 512 characters.")
    user_id: str | None = optional(
        "Whose it is, if it is nobody's yet; CONFLICT for another user's. Memories go along."
    )
    agent_id: str | None = optional("The agent it is held with.")
    situation: str | None = optional("What it is about, up to 64 KiB.")
    metadata: JSON | None = optional("Metadata to merge or to replace.")
    metadata_mode: MetadataMode | None = optional(MODE)
    token_budget: int | None = optional("How many tokens its context may take.")
    context_overflow: ContextOverflow | None = optional("What to do with a context that does not fit.")


@strawberry.input(description="A session to end.")
class EndSessionInput:
    session_id: str = required("Which session.")


@strawberry.input(description="A session to reopen.")
class ReopenSessionInput:
    session_id: str = required("Which session.")


@strawberry.input(description="A session to delete.")
class DeleteSessionInput:
    session_id: str = required("Which session.")
    permanently: bool | None = optional("True removes it for good at once; new messages then start a new session.")


@strawberry.input(description="Sessions to delete because nothing has happened in them.")
class DeleteInactiveSessionsInput:
    inactive_since: DateTime = required("Those whose last activity was before this.")
    user_id: str | None = optional("Only this user's.")
    limit: int | None = optional("How many at most: 1 to 1,000, 100 when left out.")


@strawberry.type(description="What became of createSession.")
class CreateSessionPayload:
    session: Session | None = required("The new session.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="What became of updateSession.")
class UpdateSessionPayload:
    session: Session | None = required("The session after the update.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="What became of upsertSession.")
class UpsertSessionPayload:
    session: Session | None = required("The session as it is now.")
    created: bool | None = required("Whether the session is new.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="What became of endSession.")
class EndSessionPayload:
    session: Session | None = required("The session, ended.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="What became of reopenSession.")
class ReopenSessionPayload:
    session: Session | None = required("The session, open.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="What became of deleteSession.")
class DeleteSessionPayload:
    deleted_session_id: strawberry.ID | None = required("The global id of what is gone.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="What became of deleteInactiveSessions.")
class DeleteInactiveSessionsPayload:
    deleted_session_ids: list[strawberry.ID] = required("The global ids of what is gone, the longest inactive first.")
    has_more: bool | None = required("Whether there are more to delete.")
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
        description="Creates a session, or updates the one under the key.",
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
    delete_inactive_sessions: DeleteInactiveSessionsPayload = mutation(
        delete_inactive_sessions,
        DeleteInactiveSessionsInput,
        lambda result: {"deleted_session_ids": result[0], "has_more": result[1]},
        description="Deletes the sessions in which nothing has happened for long, softly.",
        lists=("deleted_session_ids",),
    )
