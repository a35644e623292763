"""Sessions: conversations of a user, perhaps with an agent."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from models.jobs import jobs_of_sessions
from models.keys import lane_of, new_nonce, session_key
from models.locks import hold_memories
from models.rows import AgentRow, MemoryRow, MessageRow, SessionRow, UserRow
from models.sessions import (
    SESSION_FINDERS,
    SESSION_FINDERS_OF_AGENT,
    SESSION_FINDERS_OF_USER,
    SESSIONS,
    SESSIONS_OF_AGENT,
    SESSIONS_OF_USER,
    SESSIONS_TRIED,
    References,
    clear,
    delete_hard,
    delete_softly,
    inactive_sessions,
    owned_by,
    session_by_id,
    session_table,
    sessions_by_key,
)
from models.shared_memories import move_shared
from models.sort_texts import LAST
from models.sources import Sources, forget_sources
from models.store import Reader, Transaction
from models.values import Time
from resolvers.agents import find_agent
from resolvers.connections import Columns, Page, Paging, connect, connect_to, part_of
from resolvers.deletions import LARGEST_DELETION
from resolvers.errors import BadInput, Refused, refuse
from resolvers.filters import Filter, FilterBuilder, Given
from resolvers.finding import connect_found, narrowed
from resolvers.formation.formation import give_session, summarise
from resolvers.ids import global_id
from resolvers.inputs import (
    Values,
    check,
    check_version,
    created,
    forbidden_field,
    integer_rule,
    key_rule,
    text,
)
from resolvers.nouns import (
    CREATED_AT,
    FORM_MEMORIES,
    KEY,
    METADATA,
    MOST,
    PROJECT,
    UPDATED_AT,
    VERSION,
    Attribute,
    Internal,
    Noun,
    stamped,
)
from resolvers.operation_context import OperationContext
from resolvers.references import follow
from resolvers.updates import Change, revise
from resolvers.users import find_user, find_viewer

SESSION = Noun(
    "Session",
    KEY,
    PROJECT,
    Attribute("session_id", key_rule, fixed=True),
    Internal("user_key", type="key"),
    Internal("agent_key", type="key"),
    Attribute("situation", text),
    METADATA,
    Attribute("token_budget", integer_rule(1), type="integer"),
    Attribute("context_overflow"),
    CREATED_AT,
    UPDATED_AT,
    Internal("ended_at", type="time", exported=True),
    Internal("deleted_at", type="time"),
    Attribute("last_activity_at", type="time", fixed=True),
    VERSION,
    Internal("last_sequence", integer_rule(0, MOST), type="integer", default=0, exported=True),
    Internal("deleted_through", type="integer", default=0),
    Internal("nonce", type="integer"),
    Internal("lane", type="integer"),
    Attribute("title", text),
    Internal("user_ascending", default=LAST),
    Internal("user_descending", default=""),
    FORM_MEMORIES,
    references={"user_id": key_rule, "agent_id": key_rule},
)
DEFAULT_DELETION = 100


async def session(context: OperationContext, session_id: str) -> SessionRow | None:
    """A session that was not deleted."""
    row = await session_by_id(context.read, context.scope, session_id)
    return row if row is not None and row["deleted_at"] is None else None


async def sessions_of(context: OperationContext, rows: Sequence[MessageRow | MemoryRow]) -> list[SessionRow | None]:
    """The session of each message or memory."""
    return await follow(context, sessions_by_key, [row["session_key"] for row in rows])


async def pending_of(context: OperationContext, rows: Sequence[SessionRow]) -> list[bool]:
    """True for each session with messages that a model has yet to read, also if it has failed to."""
    return [job is not None for job in await jobs_of_sessions(context.read, context.scope, rows)]


def session_filter(context: OperationContext, given: Given) -> Filter:
    builder = FilterBuilder(given)
    if builder.asked.get("deleted"):
        context.only_service("list deleted sessions")
    builder.flag("deleted", yes="deleted", no="live")
    if "deleted" not in builder.asked:
        builder.add("live")
    builder.flag("ended", yes="ended", no="open").flag("has_user", yes="owned", no="ownerless")
    return (
        builder.metadata()
        .lists("session_ids", "user_ids", "agent_ids")
        .ranges("created_at", "last_activity_at")
        .build()
    )


async def list_sessions(
    context: OperationContext,
    parents: Sequence[object],
    paging: Paging,
    filter: Given,
    order: Given,
    columns: Columns = None,
) -> list[Page | BadInput]:
    part = part_of(order, session_filter(context, filter), columns)
    viewer = context.scope.user
    if viewer is None:
        return await connect_found(context, SESSIONS, SESSIONS_TRIED, SESSION_FINDERS, paging, **part)
    listing, part = await narrowed(context, SESSIONS_OF_USER, SESSION_FINDERS_OF_USER, 1, part)
    return await connect(context, listing, paging, [viewer], **part)


async def sessions_of_users(
    context: OperationContext,
    users: Sequence[UserRow],
    paging: Paging,
    filter: Given,
    order: Given,
    columns: Columns = None,
) -> list[Page | BadInput]:
    part = part_of(order, session_filter(context, filter), columns)
    listing, part = await narrowed(context, SESSIONS_OF_USER, SESSION_FINDERS_OF_USER, len(users), part)
    return await connect_to(context, listing, paging, users, **part)


async def sessions_of_agents(
    context: OperationContext,
    agents: Sequence[AgentRow],
    paging: Paging,
    filter: Given,
    order: Given,
    columns: Columns = None,
) -> list[Page | BadInput]:
    part = part_of(order, session_filter(context, filter), columns)
    listing, part = await narrowed(context, SESSIONS_OF_AGENT, SESSION_FINDERS_OF_AGENT, len(agents), part)
    return await connect(context, listing, paging, [row["key"] for row in agents], **part)


async def find_session(read: Reader, context: OperationContext, session_id: str) -> SessionRow:
    """The session that a mutation names; NOT_FOUND if it does not exist or was deleted."""
    row = await session_by_id(read, context.scope, session_id)
    if row is None or row["deleted_at"] is not None:
        raise refuse("NOT_FOUND", "There is no session with this sessionId.", "sessionId")
    return row


def session_row(context: OperationContext, columns: dict[str, Any], now: Time, named: References) -> SessionRow:
    """Builds the row of a new session from the columns of `SESSION.new`; an import gives the nonce."""
    key = session_key(context.scope.project, columns["session_id"])
    return stamped(
        SessionRow,
        {**columns, **named},
        now,
        project=context.scope.project,
        key=key,
        last_activity_at=columns["last_activity_at"] or now,
        nonce=new_nonce() if columns["nonce"] is None else columns["nonce"],
        lane=lane_of(named.get("user_key") or key),
    )


async def references(write: Transaction, context: OperationContext, values: Values) -> References:
    """The columns of the user and the agent that an input names; null for none. A user may only name itself."""
    named: References = {}
    if context.scope.user is not None:
        named |= owned_by(await find_viewer(write, context))
    if "user_id" in values:
        user_id = values["user_id"]
        named |= owned_by(None if user_id is None else await find_user(write, context, user_id))
    if "agent_id" in values:
        agent_id = values["agent_id"]
        named["agent_key"] = None if agent_id is None else (await find_agent(write, context, agent_id))["key"]
    return named


async def begin_session(
    write: Transaction, context: OperationContext, values: Values, columns: dict[str, Any], remains: SessionRow | None
) -> SessionRow:
    """Creates a session; a deleted one under its key is removed permanently, and only its sequence continues."""
    row = session_row(context, columns, context.clock.now(), await references(write, context, values))
    if remains is None:
        return await session_table.insert(write, row)
    last = remains["last_sequence"]
    await hold_memories(write, context.scope, user=remains["user_key"])
    await forget_sources(write, Sources.of_session(remains))
    await clear(write, remains, row["updated_at"])
    changes: dict[str, Any] = {**row, "last_sequence": last}
    del changes["key"]
    return await session_table.update(write, remains, changes)


async def create_session(context: OperationContext, given: Values) -> SessionRow:
    values = created(given)
    check(values, SESSION.rules)
    values.setdefault("session_id", str(uuid4()))
    columns = SESSION.new(values)

    async def operation(write: Transaction) -> SessionRow:
        row = await session_by_id(write, context.scope.whole_project, values["session_id"])
        if row is not None and (row["deleted_at"] is None or context.scope.user is not None):
            raise _already_exists(context)
        return await begin_session(write, context, values, columns, row)

    return await context.write(operation)


def _already_exists(context: OperationContext) -> Refused:
    """The refusal of a taken key. For a user that of a deleted session is taken, too: to begin anew under it would
    remove the old one for good, which no user may."""
    way = "use updateSession or upsertSession" if context.scope.user is None else "choose another sessionId"
    return refuse("ALREADY_EXISTS", f"A session with this sessionId exists; {way}.", "sessionId")


def refuse_other_owner(session: SessionRow, owner: bytes | None) -> None:
    """Refuses to change a session's owner: only `update_session` gives it to somebody else, or to nobody."""
    if session["user_key"] not in (None, owner):
        raise refuse("CONFLICT", "The session belongs to another user; only updateSession changes that.", "userId")


async def _change(
    write: Transaction, context: OperationContext, row: SessionRow, values: Values, change: Change, *, takes: bool
) -> SessionRow:
    keys = await references(write, context, values)
    if "user_key" in keys and not takes:
        refuse_other_owner(row, keys["user_key"])
    if "user_key" in keys and keys["user_key"] != row["user_key"]:
        await give_session(write, context, row, keys["user_key"])
    return await revise(write, session_table, row, {**change.of(row), **keys}, context.clock.now())


async def update_session(context: OperationContext, values: Values) -> SessionRow:
    check(values, SESSION.rules)
    change = SESSION.change(values)

    async def operation(write: Transaction) -> SessionRow:
        row = await find_session(write, context, values["session_id"])
        check_version(row, values)
        return await _change(write, context, row, values, change, takes=True)

    return await context.write(operation)


async def upsert_session(context: OperationContext, values: Values) -> tuple[SessionRow, bool]:
    """Returns the session, and True if it is new."""
    check(values, SESSION.rules)
    columns, change = SESSION.new_or_change(values)

    async def operation(write: Transaction) -> tuple[SessionRow, bool]:
        row = await session_by_id(write, context.scope, values["session_id"])
        if row is not None and row["deleted_at"] is None:
            return await _change(write, context, row, values, change, takes=False), False
        return await begin_session(write, context, created(values), columns, row), True

    return await context.write(operation)


async def end_session(context: OperationContext, values: Values) -> SessionRow:
    """Idempotent: ending a session twice changes nothing."""

    async def operation(write: Transaction) -> SessionRow:
        row = await find_session(write, context, values["session_id"])
        if row["ended_at"] is not None:
            return row
        if not context.asks_model:
            await summarise(write, context, row)
        now = context.clock.now()
        return await revise(write, session_table, row, {"ended_at": now}, now)

    return await context.write(operation)


async def reopen_session(context: OperationContext, values: Values) -> SessionRow:
    async def operation(write: Transaction) -> SessionRow:
        row = await find_session(write, context, values["session_id"])
        return await revise(write, session_table, row, {"ended_at": None}, context.clock.now())

    return await context.write(operation)


async def delete_session(context: OperationContext, values: Values) -> str:
    """Deletes a session, softly, so that new messages restore it, or permanently; returns its id."""
    if values.get("permanently") and context.scope.user is not None:
        raise Refused(forbidden_field("permanently"))

    async def operation(write: Transaction) -> str:
        row = await find_session(write, context, values["session_id"])
        await hold_memories(write, context.scope, user=row["user_key"])
        if values.get("permanently"):
            await move_shared(write, context.scope, row)
            await forget_sources(write, Sources.of_session(row))
            await delete_hard(write, context.scope, row, context.clock.now())
        else:
            await delete_softly(write, context.scope, row, context.clock.now())
        return global_id("Session", row["key"], row["nonce"])

    deleted = await context.write(operation)
    if values.get("permanently"):
        await context.database.clearing.wait_briefly()
    return deleted


async def delete_inactive_sessions(context: OperationContext, values: Values) -> tuple[list[str], bool]:
    """Soft-deletes sessions; returns their ids, and True if there are more."""
    check(values, {"limit": integer_rule(1, LARGEST_DELETION), "user_id": key_rule})
    limit = values.get("limit") or DEFAULT_DELETION

    async def operation(write: Transaction) -> tuple[list[str], bool]:
        named = values.get("user_id")
        owner = None if named is None else (await find_user(write, context, named))["key"]
        found = await inactive_sessions(
            write, context.scope, inactive_since=values["inactive_since"], user=owner, limit=limit
        )
        for row in found.rows:
            await delete_softly(write, context.scope, row, context.clock.now())
        return [global_id("Session", row["key"], row["nonce"]) for row in found.rows], found.has_more

    return await context.write(operation)
