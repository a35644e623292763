"""Corrects times that were written while the clock was ahead, and would delay work until the clock reaches them."""

from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, exists, literal, select, update

from models.statements import Statement
from models.store import Reader, Transaction
from models.tables import erasures, jobs, memories, session_deletions, sessions

_soon: ColumnElement[Any] = bindparam("soon")
_now: ColumnElement[Any] = bindparam("now")
_waits = (jobs.c.status != "FAILED") & (jobs.c.updated_at > _soon)
_later = session_deletions.alias("later")
_wrong = {
    jobs: _waits,
    erasures: erasures.c.erased_at > _soon,
    session_deletions: session_deletions.c.deleted_at > _soon,
    memories: memories.c.deleted_at > _soon,
}
_looks = [Statement(select(literal(1)).select_from(table).where(wrong).limit(1)) for table, wrong in _wrong.items()]
_corrections = [
    Statement(
        update(sessions)
        .where(
            sessions.c.deleted_at > _soon,
            sessions.c.key.in_(select(session_deletions.c.session_key).where(_wrong[session_deletions])),
        )
        .values(deleted_at=_now)
    ),
    # Keeps the last deletion of a session for all of them: two cannot have the same time.
    Statement(
        delete(session_deletions).where(
            _wrong[session_deletions],
            exists(
                select(_later.c.session_key).where(
                    _later.c.session_key == session_deletions.c.session_key,
                    _later.c.deleted_at > session_deletions.c.deleted_at,
                )
            ),
        )
    ),
    Statement(update(session_deletions).where(_wrong[session_deletions]).values(deleted_at=_now)),
    Statement(update(memories).where(_wrong[memories]).values(deleted_at=_now)),
    Statement(update(jobs).where(_waits).values(due_at=_now, updated_at=_now)),
    Statement(update(erasures).where(_wrong[erasures]).values(erased_at=_now)),
]


async def are_times_ahead(read: Reader, soon: str) -> bool:
    """True if a job is due after `soon`, or a deletion is dated after it."""
    for look in _looks:
        if await read.fetch(look, {"soon": soon}, slowly=True):
            return True
    return False


async def correct_times(write: Transaction, *, now: str, soon: str) -> None:
    """Sets deletion times after `soon` to now, and makes jobs that were written after it due now."""
    for statement in _corrections:
        await write.execute(statement, {"now": now, "soon": soon}, slowly=True)
