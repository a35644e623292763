"""Erasure of a user and purge of deleted rows: statements that remove rows permanently, and count them."""

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from sqlalchemy import ColumnElement, FromClause, Integer, Select, bindparam, delete, func, or_, select

from models.expressions import CrossJoin, Parents, in_checked_project, parent_key, parents, upsert
from models.locks import hold_memories_of_session, hold_sessions
from models.removals import note_removal
from models.rows import ErasureRow, SessionDeletionRow, UserRow
from models.scope import Scope
from models.sources import Sources, forget_sources
from models.statements import Count, Keyed, Parameters, Statement
from models.store import Reader, Transaction
from models.tables import (
    deleted_messages,
    document_vectors,
    documents,
    erasures,
    jobs,
    memories,
    memory_sources,
    memory_vectors,
    message_vectors,
    messages,
    session_deletions,
    sessions,
    user_words,
    users,
    withheld_memories,
)
from models.users import user_table
from models.values import Time
from models.watched import WATCHED, WATCHED_SESSION, Watched, WatchedSession, remove_watched

PURGED_TOGETHER, PURGED_ROWS = 100, 2_000
"""Deletions that one transaction of the purge processes, and messages and memories that it removes: it holds the writer
for some 20 ms."""

_user: ColumnElement[Any] = bindparam("user")
_own_sessions = select(sessions.c.key).where(sessions.c.user_key == _user)
_removed_sessions = select(*WATCHED_SESSION).where(sessions.c.user_key == _user)
_own_memories = or_(memories.c.user_key == _user, memories.c.session_key.in_(_own_sessions))


def _count(table: FromClause) -> Select[int]:
    return select(func.count().label("count")).select_from(table)


_counts = {
    "sessions": Statement(_count(sessions).where(sessions.c.user_key == _user), Count),
    "messages": Statement(_count(messages).where(messages.c.session_key.in_(_own_sessions)), Count),
    "memories": Statement(_count(memories).where(_own_memories), Count),
    "documents": Statement(_count(documents).where(documents.c.user_key == _user), Count),
}
NO_RECEIPT: Mapping[str, None] = dict.fromkeys(_counts)
"""The counts in the row of an erasure that removed nothing: of a user who got another userId."""

_keys = Statement(
    # A session to which somebody appends just now is held by that alone: its messages are to be counted, too.
    _removed_sessions.with_for_update(key_share=True),
    WatchedSession,
    others={"citus": _removed_sessions},
)
_erase_memories = Statement(delete(memories).where(_own_memories).returning(*WATCHED), Watched)
_erase = [
    Statement(delete(messages).where(messages.c.session_key.in_(_own_sessions))),
    Statement(delete(sessions).where(sessions.c.user_key == _user)),
    Statement(delete(documents).where(documents.c.user_key == _user)),
]
_given = {column.name: bindparam(column.name, type_=column.type) for column in erasures.columns}
_keep = Statement(
    upsert(erasures)
    .values({**_given, "generation": 1})
    .on_conflict_do_update(index_elements=["key"], set_={**_given, "generation": erasures.c.generation + 1})
    .returning(*erasures.c),
    ErasureRow,
)
_left_of_user = [
    Statement(_count(table).where(table.c[column] == _user), Count)
    for table, column in (
        *((users, "key"), (user_words, "user_key"), (sessions, "user_key")),
        *((memories, "user_key"), (documents, "user_key")),
    )
]
_left_of_sessions = [
    Statement(_count(CrossJoin(parents, table)).where(table.c.session_key == parent_key), Count)
    for table in (
        *(messages, message_vectors, deleted_messages, withheld_memories),
        *(session_deletions, memories, memory_sources, jobs),
    )
]
# By the keys of the user's own rows.
_left_of_rows = [
    (
        Statement(select(owned.c.key).where(condition), Keyed),
        Statement(_count(CrossJoin(parents, table)).where(table.c.key == parent_key), Count),
    )
    for owned, condition, table in (
        (memories, _own_memories, memory_vectors),
        (documents, documents.c.user_key == _user, document_vectors),
    )
]

_erasure = Statement(select(erasures).where(erasures.c.key == _user), ErasureRow)


async def last_erasure(read: Reader, user: bytes) -> ErasureRow | None:
    """The last erasure of the user under this key: its time (`erased_at`) and its number (`generation`)."""
    return await read.look_up(_erasure, {"user": user})


async def erasure_of(read: Reader, user: bytes) -> ErasureRow | None:
    """The last erasure of the user under this key, with its receipt; None if there was none, or it has no receipt."""
    rows = await read.fetch(_erasure, {"user": user})
    return rows[0] if rows and rows[0]["sessions"] is not None else None


async def erase_user(write: Transaction, scope: Scope, user: UserRow, now: Time) -> ErasureRow:
    """Removes a user and all of the user's data; returns the row of the erasure, which counts the removed rows.

    Raises `RuntimeError` when a check afterwards finds a row left, which rolls all of it back.
    """
    values = {**scope.values, "user": user["key"]}
    removed_sessions = await write.fetch(_keys, values, slowly=True)
    own_sessions = Parents([row["key"] for row in removed_sessions])
    counted = {
        name: (await write.fetch(statement, values, slowly=True))[0]["count"] for name, statement in _counts.items()
    }
    own_rows = [
        (left, Parents([row["key"] for row in await write.fetch(keys, values, slowly=True)]).values)
        for keys, left in _left_of_rows
    ]
    await forget_sources(write, Sources.of_user(user))
    await remove_watched(write, _erase_memories, values, slowly=True)
    for statement in _erase:
        await write.execute(statement, values, slowly=True)
    for row in removed_sessions:
        write.changed(sessions.name, row, None)
    erasure = await end_user(write, user, now, counted)
    await _look_up(write, [*own_rows, *((statement, own_sessions.values) for statement in _left_of_sessions)])
    return erasure


async def end_user(
    write: Transaction,
    user: UserRow,
    now: Time,
    counted: Mapping[str, int | None] = NO_RECEIPT,
    *,
    merged_into: bytes | None = None,
) -> ErasureRow:
    """Removes the row of a user who owns nothing any more, and refuses older tokens from now on.

    The row of the erasure is a receipt if it has counts; `merged_into` is the user who got everything. Raises
    `RuntimeError` when a check finds a row of the user left, which rolls all of it back.
    """
    await user_table.delete(write, user)
    receipt = {**counted, "key": user["key"], "erased_at": now, "nonce": user["nonce"], "merged_into": merged_into}
    removal = {"removal": await note_removal(write, now), "files_cleared_at": None}
    erasure = (await write.fetch(_keep, {**receipt, **removal}))[0]
    await _look_up(write, [(statement, {"user": user["key"]}) for statement in _left_of_user])
    return erasure


async def _look_up(write: Transaction, looked_up: Iterable[tuple[Statement[Count], Parameters]]) -> None:
    for statement, bound in looked_up:
        if (await write.fetch(statement, bound, slowly=True))[0]["count"]:
            raise RuntimeError(f"the erasure left rows behind: {statement.clause}")


class OldDeletion(SessionDeletionRow):
    """A deletion with the current state of its session."""

    session_deleted_at: Time | None
    deleted_through: int


class Oldest(TypedDict):
    """The number of a session's oldest messages up to a limit, and the sequence of the last of them."""

    count: int
    last: int


_old_deletions = Statement(
    select(session_deletions, sessions.c.deleted_at.label("session_deleted_at"), sessions.c.deleted_through)
    .join(sessions, sessions.c.key == session_deletions.c.session_key)
    .where(session_deletions.c.deleted_at < bindparam("before"), in_checked_project(sessions))
    .order_by(session_deletions.c.deleted_at)
    .limit(PURGED_TOGETHER),
    OldDeletion,
)
_up_to = [
    Statement(
        delete(table).where(
            table.c.session_key == bindparam("session"),
            table.c.sequence <= bindparam("through"),
        )
    )
    for table in (deleted_messages, messages)
]
_some = (
    select(messages.c.sequence)
    .where(messages.c.session_key == bindparam("session"), messages.c.sequence <= bindparam("through"))
    .order_by(messages.c.sequence)
    .limit(bindparam("limit", type_=Integer))
    .subquery()
)
_oldest = Statement(select(func.count().label("count"), func.max(_some.c.sequence).label("last")), Oldest)
_deleted = memories.alias("deleted")
_old_memories = Statement(
    delete(memories).where(
        memories.c.key.in_(
            select(_deleted.c.key)
            .where(_deleted.c.deleted_at < bindparam("before"), in_checked_project(_deleted))
            .limit(PURGED_ROWS)
        )
    )
)
_drop_session = Statement(
    delete(sessions).where(sessions.c.key == bindparam("session"), sessions.c.deleted_at < bindparam("before"))
)
_drop_deletion = Statement(
    delete(session_deletions).where(
        session_deletions.c.session_key == bindparam("session"), session_deletions.c.deleted_at < bindparam("before")
    )
)


async def purge(write: Transaction, scope: Scope, *, before: str, now: str) -> dict[str, int]:
    """Permanently removes rows that were soft-deleted before a time, and old messages of restored sessions.

    One call removes a bounded number of rows. `steps` is 0 when nothing was left to do.
    """
    values = {**scope.values, "before": before}
    removed = await write.execute(_old_memories, values, slowly=True)
    counted = {"steps": removed, "sessions": 0, "messages": 0, "memories": removed}
    if removed:
        # The sessions follow in a transaction of their own: others may hold them and wait for one of these memories.
        await note_removal(write, now)
        return counted
    for row in await write.fetch(_old_deletions, values):
        room = PURGED_ROWS - counted["messages"]
        if room <= 0:
            break
        # Another process may be purging the same one: then nothing of it is left to do.
        await hold_sessions(write, scope, [row["session_key"]])
        await hold_memories_of_session(write, scope, row["session_key"])
        through = row["through_sequence"]
        bound = {"session": row["session_key"], "through": through, "before": before}
        oldest = (await write.fetch(_oldest, {**bound, "limit": room}))[0]
        is_whole = oldest["count"] < room
        if not is_whole:
            bound["through"] = through = oldest["last"]
        await forget_sources(write, Sources.of_deletion(row, through))
        for statement in _up_to:
            await write.execute(statement, bound, slowly=True)
        counted["messages"] += oldest["count"]
        counted["steps"] += 1
        if is_whole:
            await write.execute(_drop_deletion, bound)
            counted["sessions"] += await write.execute(_drop_session, bound)
    if counted["steps"]:
        await note_removal(write, now)
    return counted
