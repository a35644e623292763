"""Statements on sessions."""

from typing import Any, TypedDict

from sqlalchemy import FromClause, Integer, bindparam, delete, exists, func, or_, select, update

from models.containment import contains
from models.expressions import (
    CrossJoin,
    Parents,
    each_of,
    in_checked_project,
    in_project,
    is_in_project,
    parent_key,
    parents,
)
from models.finding import tried
from models.jobs import drop_job
from models.keys import session_key
from models.keyset import Condition, Fetched, Listing, between, cut, fetch_by_key, is_null, is_set
from models.leaves import by_leaf
from models.locks import hold_memories, hold_user_of
from models.removals import note_removal
from models.rows import SessionDeletionRow, SessionRow, UserRow
from models.scope import Scope, of_viewer
from models.shared_memories import move_shared, part_shared
from models.sort_texts import ascending, descending
from models.statements import ByKey, Statement, lock_of
from models.store import Reader, Transaction
from models.tables import (
    agents,
    deleted_messages,
    jobs,
    memories,
    messages,
    session_deletions,
    sessions,
    users,
)
from models.values import Time
from models.watched import WATCHED, Watched, remove_watched
from models.writing import TypedTable


class References(TypedDict, total=False):
    """The columns of a session that name its user and its agent."""

    user_key: bytes | None
    user_ascending: str
    user_descending: str
    agent_key: bytes | None


SUMMARY_AFTER = 20
"""Messages after which a session is summarised first."""
SUMMARY_EVERY = 60
"""Messages from one summary to the next."""


def summary_is_due(before: Any, now: Any) -> Any:
    """True if a session that has grown from one number of messages to another is due for a summary. The numbers may be
    those of a row, or expressions of a statement."""
    first = (before < SUMMARY_AFTER) & (now >= SUMMARY_AFTER)
    return first | (now // SUMMARY_EVERY > before // SUMMARY_EVERY)


def owned_by(user: UserRow | None) -> References:
    own = user and user["user_id"]
    return {"user_key": user and user["key"], "user_ascending": ascending(own), "user_descending": descending(own)}


class LastSequence(TypedDict):
    key: bytes
    last_sequence: int


session_table = TypedTable(sessions, SessionRow)
session_deletion_table = TypedTable(session_deletions, SessionDeletionRow)


ORDERS = {
    "created_at": ("created_at", "session_id"),
    "updated_at": ("updated_at", "session_id"),
    "last_activity_at": ("last_activity_at", "session_id"),
    "session_id": ("session_id",),
    "user_id": ("user_ascending", "session_id"),
}
FALLING = {"user_id": ("user_descending", "session_id")}


def _of_users(rows: FromClause):
    return rows.c.user_key.in_(select(users.c.key).where(in_project(users), users.c.user_id.in_(each_of("user_ids"))))


def _of_agents(rows: FromClause):
    return rows.c.agent_key.in_(
        select(agents.c.key).where(in_project(agents), agents.c.agent_id.in_(each_of("agent_ids")))
    )


FILTERS: dict[str, Condition] = {
    "live": is_null("deleted_at"),
    "deleted": is_set("deleted_at"),
    "ended": is_set("ended_at"),
    "open": is_null("ended_at"),
    "owned": is_set("user_key"),
    "ownerless": is_null("user_key"),
    **contains(),
    # By the index of the project, also within a list of an owner.
    "session_ids": lambda rows: in_project(rows) & rows.c.session_id.in_(each_of("session_ids")),
    "user_ids": _of_users,
    "agent_ids": _of_agents,
    **between("created_at"),
    **between("last_activity_at"),
}
SELECTIVE = ("session_ids",)

SESSIONS = Listing(
    name="sessions",
    table=sessions,
    row=SessionRow,
    always=in_project,
    nested=False,
    orders=ORDERS,
    falling=FALLING,
    filters=FILTERS,
    selective=SELECTIVE,
)
SESSIONS_OF_USER = Listing(
    name="sessions of a user",
    table=sessions,
    row=SessionRow,
    always=lambda rows: (rows.c.user_key == parent_key) & in_checked_project(rows) & of_viewer(rows.c.user_key),
    orders=ORDERS,
    falling=FALLING,
    filters=FILTERS,
    selective=SELECTIVE,
)
SESSIONS_OF_AGENT = Listing(
    name="sessions of an agent",
    table=sessions,
    row=SessionRow,
    always=lambda rows: (rows.c.agent_key == parent_key) & in_checked_project(rows) & of_viewer(rows.c.user_key),
    orders=ORDERS,
    falling=FALLING,
    filters=FILTERS,
    selective=SELECTIVE,
)

SESSIONS_TRIED = tried(SESSIONS)
SESSION_FINDERS = (by_leaf(SESSIONS),)
SESSION_FINDERS_OF_USER = (by_leaf(SESSIONS_OF_USER, "user_key"),)
SESSION_FINDERS_OF_AGENT = (by_leaf(SESSIONS_OF_AGENT, "agent_key"),)

_own = of_viewer(sessions.c.user_key)
users_choice = (
    select(users.c.form_memories)
    .where(users.c.key == sessions.c.user_key, is_in_project(users))
    .correlate(sessions)
    .scalar_subquery()
)
_to_extend = Statement(
    select(sessions, func.coalesce(sessions.c.form_memories, users_choice).label("choice")).where(
        sessions.c.key == bindparam("key"), is_in_project(sessions), _own
    ),
    SessionRow,
    single=True,
    # There the user is read when it is held.
    others={
        "postgres": select(sessions, sessions.c.form_memories.label("choice")).where(
            sessions.c.key == bindparam("key"), is_in_project(sessions), _own
        )
    },
    lock=lock_of(sessions),
)
_by_key = ByKey(sessions, SessionRow, where=(sessions.c.deleted_at.is_(None), _own))
_any_by_key = ByKey(sessions, SessionRow, where=(_own,))
_last_sequences = Statement(
    select(sessions.c.key, sessions.c.last_sequence)
    .select_from(CrossJoin(parents, sessions))
    .where(sessions.c.key == parent_key, is_in_project(sessions), _own),
    LastSequence,
)
_memories_follow = Statement(
    update(memories)
    .where(memories.c.session_key == bindparam("session"), in_checked_project(memories))
    .values(user_key=bindparam("owner"))
    .returning(*WATCHED),
    Watched,
)
_newer = memories.alias("newer")
_unlink_owners = Statement(
    update(memories)
    .where(
        or_(
            memories.c.session_key == bindparam("session"),
            memories.c.superseded_by.in_(select(_newer.c.key).where(_newer.c.session_key == bindparam("session"))),
        ),
        in_checked_project(memories),
        exists(
            select(_newer.c.key).where(
                _newer.c.key == memories.c.superseded_by, _newer.c.user_key.is_distinct_from(memories.c.user_key)
            )
        ),
    )
    .values(superseded_by=bindparam("none"))
)
_delete_memories = Statement(
    update(memories)
    .where(
        memories.c.session_key == bindparam("session"), memories.c.deleted_at.is_(None), in_checked_project(memories)
    )
    .values(deleted_at=bindparam("now"))
    .returning(*WATCHED),
    Watched,
)
_inactive = {
    of_user: Statement(
        select(sessions)
        .where(
            in_checked_project(sessions) if of_user else in_project(sessions),
            sessions.c.deleted_at.is_(None),
            sessions.c.last_activity_at < bindparam("inactive_since"),
            *([sessions.c.user_key == bindparam("user")] if of_user else []),
        )
        .order_by(sessions.c.last_activity_at, sessions.c.session_id)
        .limit(bindparam("limit", type_=Integer)),
        SessionRow,
    )
    for of_user in (False, True)
}
_clear_memories = Statement(
    delete(memories).where(memories.c.session_key == bindparam("session")).returning(*WATCHED), Watched
)
_clear = [
    Statement(delete(table).where(table.c.session_key == bindparam("session")))
    for table in (deleted_messages, session_deletions, messages, jobs)
]
_delete = Statement(delete(sessions).where(sessions.c.key == bindparam("session"), is_in_project(sessions)))


async def sessions_by_key(read: Reader, scope: Scope, keys: list[bytes]) -> list[SessionRow | None]:
    """Sessions that were not deleted."""
    if read.held is None:
        return await fetch_by_key(read, scope, _by_key, keys)
    held = {key: await _hold(read, scope, _by_key, key) for key in sorted(set(keys))}
    return [held[key] for key in keys]


async def _hold(read: Reader, scope: Scope, by_key: ByKey[SessionRow], key: bytes) -> SessionRow | None:
    """A session by its key, held with its user where transactions run at the same time."""
    row = (await fetch_by_key(read, scope, by_key, [key]))[0]
    if row is not None:
        await hold_user_of(read, scope, row)
    return row


async def session_by_id(read: Reader, scope: Scope, session_id: str) -> SessionRow | None:
    """The session with this key, also a deleted one."""
    return await _hold(read, scope, _any_by_key, session_key(scope.project, session_id))


def _choice_of(row: Any) -> bool | None:
    return row["choice"]


async def session_to_extend(read: Reader, scope: Scope, session_id: str) -> tuple[SessionRow | None, bool | None]:
    """The session with this key, also a deleted one, and its choice to form memories, else that of its user."""
    key = session_key(scope.project, session_id)
    rows = await read.fetch(_to_extend, {**scope.values, "key": key})
    if not rows:
        return None, None
    users_choice = await hold_user_of(read, scope, rows[0])
    choice = _choice_of(rows[0])
    return rows[0], users_choice if choice is None else choice


async def session_by_key(read: Reader, scope: Scope, key: bytes) -> SessionRow | None:
    """The session with this key, also a deleted one."""
    return (await fetch_by_key(read, scope, _any_by_key, [key]))[0]


async def last_sequences(read: Reader, scope: Scope, keys: list[bytes]) -> dict[bytes, int]:
    """The last sequence of each of these sessions that is there, by its key."""
    rows = await read.fetch(_last_sequences, {**scope.values, **Parents(keys).values})
    return {row["key"]: row["last_sequence"] for row in rows}


async def inactive_sessions(
    read: Reader, scope: Scope, *, inactive_since: str, user: bytes | None, limit: int
) -> Fetched[SessionRow]:
    """Sessions without activity since a time, the longest inactive first. A transaction holds them."""
    values = {**scope.values, "inactive_since": inactive_since, "user": user, "limit": limit + 1}
    found = cut(await read.fetch(_inactive[user is not None], values, slowly=True), limit)
    if read.held is None:
        return found
    held = await sessions_by_key(read, scope, [row["key"] for row in found.rows])
    # Another transaction may have changed one before it was held.
    still = [row for row in held if row is not None and row["last_activity_at"] < inactive_since]
    return Fetched([row for row in still if user in (None, row["user_key"])], found.has_more)


async def change_owner(write: Transaction, scope: Scope, session: SessionRow, owner: bytes | None) -> None:
    """Moves the session's memories to its new owner; none keeps a link to a newer memory of another owner."""
    await part_shared(write, scope, session, owner)
    for row in await write.fetch(_memories_follow, {**scope.values, "session": session["key"], "owner": owner}):
        write.changed(memories.name, {**row, "user_key": session["user_key"]}, row)
    await write.execute(_unlink_owners, {**scope.values, "session": session["key"], "none": None})


async def delete_softly(write: Transaction, scope: Scope, row: SessionRow, now: Time) -> SessionRow:
    """Soft-deletes a session and its contents; for its messages this only moves `deleted_through`."""
    await hold_memories(write, scope, user=row["user_key"])
    await move_shared(write, scope, row)
    await drop_job(write, row)
    for memory in await write.fetch(_delete_memories, {**scope.values, "session": row["key"], "now": now}):
        write.changed(memories.name, {**memory, "deleted_at": None}, None)
    through = row["last_sequence"]
    await session_deletion_table.insert(
        write, {"session_key": row["key"], "deleted_at": now, "through_sequence": through}
    )
    changes = {"deleted_at": now, "deleted_through": through}
    return await session_table.update(write, row, {**changes, "updated_at": now, "version": row["version"] + 1})


async def clear(write: Transaction, session: SessionRow, now: str) -> None:
    """Permanently removes everything that belongs to a session, but not its row."""
    await remove_watched(write, _clear_memories, {"session": session["key"]}, slowly=True)
    for statement in _clear:
        await write.execute(statement, {"session": session["key"]}, slowly=True)
    await note_removal(write, now)


async def delete_hard(write: Transaction, scope: Scope, session: SessionRow, now: str) -> None:
    await clear(write, session, now)
    await write.execute(_delete, {**scope.values, "session": session["key"]})
    write.changed(sessions.name, session, None)
