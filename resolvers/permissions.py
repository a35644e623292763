"""The permissions of user tokens: the mutations that each of them allows, on the user's own data.

The application itself may run every mutation. `schema.permissions` checks before an operation runs that all of it is
permitted, and that nothing is read without READ.
"""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from resolvers.clones import clone_session
from resolvers.errors import Forbidden, for_service
from resolvers.grants import MANAGE, WRITE, Granted
from resolvers.inputs import Values, forbidden_field, refuse_all
from resolvers.memories import create_memory, delete_memories, delete_memory, update_memory, upsert_memory
from resolvers.messages import add_messages, delete_message, update_message
from resolvers.operation_context import OperationContext
from resolvers.sessions import create_session, delete_session, end_session, reopen_session, update_session

Mutation = Callable[[OperationContext, Values], Awaitable[Any]]


class Allowed(NamedTuple):
    """A mutation that a user token with this permission may run, giving these fields of its input."""

    permission: str
    fields: frozenset[str]
    is_update: bool = False
    """True if null clears a field, so that it is a value like any other."""


def writes(*fields: str) -> Allowed:
    return Allowed(WRITE, frozenset(fields))


def manages(*fields: str) -> Allowed:
    return Allowed(MANAGE, frozenset(fields))


def updates(*fields: str) -> Allowed:
    return Allowed(MANAGE, frozenset((*fields, "metadata", "metadata_mode", "expected_version")), is_update=True)


_VALIDITY = ("valid_from", "valid_until", "expires_at")

FOR_USERS: dict[Mutation, Allowed] = {
    create_session: writes(
        "session_id",
        "user_id",
        "agent_id",
        "title",
        "situation",
        "form_memories",
        "metadata",
        "token_budget",
        "context_overflow",
    ),
    # Of role USER, said now.
    add_messages: writes("session_id", "user_id", "messages", "form_memories"),
    create_memory: writes(
        "memory_id",
        "about",
        "user_id",
        "session_id",
        "kind",
        "content",
        "rating",
        *_VALIDITY,
        "sources",
        "source_messages",
        "supersedes",
        "metadata",
    ),
    clone_session: manages("session_id", "new_session_id", "through_sequence"),
    update_session: updates("session_id", "title", "situation", "form_memories"),
    end_session: manages("session_id"),
    reopen_session: manages("session_id"),
    # Softly.
    delete_session: manages("session_id", "permanently"),
    # Of role USER.
    update_message: updates("id", "content", "parts", "tool_calls", "token_count"),
    delete_message: manages("id"),
    update_memory: updates("id", "kind", "content", "rating", *_VALIDITY),
    upsert_memory: updates("memory_id", "about", "user_id", "session_id", "kind", "content", "rating", *_VALIDITY),
    delete_memory: manages("id"),
    delete_memories: manages("user_id", "session_id", "filter", "limit"),
}
"""The mutations that user tokens may run; all others take the application's own key. Each of these ensures that it only
touches the user's own objects."""


async def carry_out(mutation: Mutation, context: OperationContext, values: Values) -> Any:
    """Runs a mutation if the viewer has the permission; the application itself has all of them."""
    context.read_current()
    if context.scope.user is not None:
        allowed = check_permission(mutation, context.permissions)
        given = (name for name, value in values.items() if value is not None or allowed.is_update)
        refuse_all(forbidden_field(name) for name in given if name not in allowed.fields)
    return await mutation(context, values)


def check_permission(mutation: Mutation | None, granted: Granted) -> Allowed:
    """The entry of a mutation for users; raises `Forbidden` if there is none, or its permission was not granted."""
    allowed = FOR_USERS.get(mutation) if mutation is not None else None
    if allowed is None:
        raise for_service("run this mutation")
    if allowed.permission not in granted:
        raise Forbidden(f"This mutation takes the permission {allowed.permission}, which this token lacks.")
    return allowed
