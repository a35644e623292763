"""Memories of several sessions of a user, when one of these sessions goes or gets another owner."""

from sqlalchemy import bindparam, delete, exists, not_, select, update
from sqlalchemy.dialects.postgresql import distinct_on

from models.expressions import in_checked_project
from models.keys import memory_key
from models.memories import memory_table
from models.rows import MemoryRow, SessionRow
from models.scope import Scope
from models.statements import NoRow, Statement
from models.store import Transaction
from models.tables import memories, memory_sources, sessions
from models.watched import WATCHED, Watched, remove_watched

_live = memories.c.deleted_at.is_(None)
_other_place = (
    select(memory_sources.c.session_key)
    .join(sessions, sessions.c.key == memory_sources.c.session_key)
    .where(
        memory_sources.c.memory_key == memories.c.key,
        memory_sources.c.session_key != bindparam("session"),
        memory_sources.c.sequence > sessions.c.deleted_through,
        sessions.c.deleted_at.is_(None),
        sessions.c.user_key == memories.c.user_key,
    )
    .order_by(memory_sources.c.position)
    .limit(1)
    .correlate(memories)
    .scalar_subquery()
)
_formed_here = (
    memories.c.session_key == bindparam("session"),
    memories.c.method != "DECLARED",
    _live,
    in_checked_project(memories),
)
_moved = memories.alias("moved")
# The same for all memories of the session at once.
_other_places = (
    select(memory_sources.c.memory_key, memory_sources.c.session_key)
    .ext(distinct_on(memory_sources.c.memory_key))
    .join(_moved, _moved.c.key == memory_sources.c.memory_key)
    .join(sessions, sessions.c.key == memory_sources.c.session_key)
    .where(
        _moved.c.session_key == bindparam("session"),
        memory_sources.c.session_key != bindparam("session"),
        memory_sources.c.sequence > sessions.c.deleted_through,
        sessions.c.deleted_at.is_(None),
        sessions.c.user_key == _moved.c.user_key,
    )
    .order_by(memory_sources.c.memory_key, memory_sources.c.position)
    .subquery("other")
)
_move = Statement(
    update(memories).where(*_formed_here, _other_place.is_not(None)).values(session_key=_other_place),
    NoRow,
    others={
        "citus": update(memories)
        .where(*_formed_here, memories.c.key == _other_places.c.memory_key)
        .values(session_key=_other_places.c.session_key)
    },
)


async def move_shared(write: Transaction, scope: Scope, session: SessionRow) -> None:
    """Before a session is removed: memories that were also formed from another session of the user move to that one."""
    await write.execute(_move, {**scope.values, "session": session["key"]})


_formed = (memories.c.method != "DECLARED") & _live & in_checked_project(memories)
_in_session = memory_sources.c.session_key == bindparam("session")
# By key, so that only the few sources of the session are read, and not all memories.
_told_here = memories.c.key.in_(select(memory_sources.c.memory_key).where(_in_session))
_told_elsewhere = exists(
    select(memory_sources.c.position).where(
        memory_sources.c.memory_key == memories.c.key, memory_sources.c.session_key != bindparam("session")
    )
)
_of_session = memories.c.session_key == bindparam("session")
_claim_for_session = Statement(
    update(memories)
    .where(memories.c.session_key != bindparam("session"), _formed, _told_here, not_(_told_elsewhere))
    .values(session_key=bindparam("session"))
)
_shared = Statement(
    select(memories).where(memories.c.session_key != bindparam("session"), _formed, _told_here),
    MemoryRow,
)
_take_sources = Statement(
    update(memory_sources)
    .where(memory_sources.c.memory_key == bindparam("memory"), _in_session)
    .values(memory_key=bindparam("copy"))
)
# The sources from other sessions that are left by now were deleted with those.
_drop_others = Statement(
    delete(memories).where(_of_session, _formed, _told_elsewhere, not_(_told_here)).returning(*WATCHED), Watched
)
_drop_sources = Statement(
    delete(memory_sources).where(
        memory_sources.c.session_key != bindparam("session"),
        memory_sources.c.memory_key.in_(select(memories.c.key).where(_of_session, memories.c.method != "DECLARED")),
    )
)


async def part_shared(write: Transaction, scope: Scope, session: SessionRow, owner: bytes | None) -> None:
    """Before a session changes its owner: memories formed from it alone move along, those with other sources stay.

    Of the latter the new owner gets a copy whose sources are this session's messages.
    """
    key = session["key"]
    values = {**scope.values, "session": key}
    await move_shared(write, scope, session)
    await write.execute(_claim_for_session, values)
    for row in await write.fetch(_shared, values):
        own: MemoryRow = {
            **row,
            "key": memory_key(key, None),
            "memory_id": None,
            "session_key": key,
            "user_key": owner,
            # The memory that superseded it may not be the new owner's.
            "superseded_by": None,
            "version": 1,
        }
        copy = await memory_table.insert(write, own)
        await write.execute(_take_sources, {"session": key, "memory": row["key"], "copy": copy["key"]})
    await remove_watched(write, _drop_others, values)
    await write.execute(_drop_sources, values)
