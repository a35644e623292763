"""Statements on jobs: messages that a model has yet to read. A session has one job at most; see `models.tables.Job`."""

from collections.abc import Sequence

from sqlalchemy import Integer, bindparam, delete, literal_column, or_, select, update

from models.expressions import CrossJoin, Parents, in_project, parent_key, parents
from models.keyset import fetch_one_each
from models.rows import JobRow, SessionRow
from models.scope import Scope
from models.statements import Keyed, Statement, lock_of
from models.store import Reader, Transaction
from models.tables import jobs, sessions
from models.writing import TypedTable

job_table = TypedTable(jobs, JobRow)

_TRIED = 10
"""Due jobs of which a process tries to claim one, while others claim some of the same ones."""


class ListedJob(JobRow):
    """A job with the id of its session."""

    session_id: str


_by_session = Statement(
    select(jobs).where(jobs.c.session_key == bindparam("key")), JobRow, single=True, lock=lock_of(jobs)
)
# A literal in the statement: only then SQLite uses the partial index.
_due = (jobs.c.status != literal_column("'FAILED'")) & (jobs.c.due_at <= bindparam("now"))
_first_due = Statement(
    select(jobs.c.session_key.label("key"))
    .where(_due)
    .order_by(jobs.c.due_at)
    .limit(bindparam("limit", type_=Integer)),
    Keyed,
)
_is_due = Statement(select(jobs.c.session_key).where(_due).order_by(jobs.c.due_at).limit(1))
# Another process may be claiming the same job: then it is passed over.
_free = select(jobs.c.session_key).where(jobs.c.session_key == bindparam("session"), _due)
_claimed = (
    update(jobs)
    .values(
        status="RUNNING",
        claim=bindparam("new_claim"),
        due_at=bindparam("until"),
        attempts=jobs.c.attempts + 1,
        updated_at=bindparam("now"),
    )
    .returning(*jobs.columns)
)
_claim = Statement(
    _claimed.where(jobs.c.session_key == _free.with_for_update(skip_locked=True).scalar_subquery()),
    JobRow,
    # Waits for the other process, and finds the job claimed.
    others={"citus": _claimed.where(jobs.c.session_key == bindparam("session"), _due)},
)
_all = Statement(
    select(jobs, sessions.c.session_id)
    .join(sessions, sessions.c.key == jobs.c.session_key)
    .order_by(jobs.c.status, jobs.c.due_at)
    .limit(bindparam("limit", type_=Integer)),
    ListedJob,
)
_again = {
    every: Statement(
        update(jobs)
        .where(
            or_(jobs.c.status == "FAILED", (jobs.c.status == "PENDING") & (jobs.c.due_at > bindparam("now"))),
            *([] if every else [jobs.c.session_key == bindparam("session")]),
        )
        .values(status="PENDING", attempts=0, due_at=bindparam("now"), updated_at=bindparam("now"))
    )
    for every in (True, False)
}
_drop = Statement(delete(jobs).where(jobs.c.session_key == bindparam("session")))


_of_sessions = Statement(
    select(parents.c.key.label("parent"), jobs)
    .select_from(CrossJoin(parents, jobs))
    .where(jobs.c.session_key == parent_key, in_project(jobs)),
    JobRow,
)


async def jobs_of_sessions(read: Reader, scope: Scope, sessions: Sequence[SessionRow]) -> list[JobRow | None]:
    """The job of each session, whatever its status, or None."""
    return await fetch_one_each(read, scope, _of_sessions, Parents([row["key"] for row in sessions]))


async def job_of_session(read: Reader, session: bytes) -> JobRow | None:
    found = await read.fetch(_by_session, {"key": session})
    return found[0] if found else None


async def job_is_due(read: Reader, now: str) -> bool:
    """True if a job is due, or its process has let its lease expire."""
    return await read.look_up(_is_due, {"now": now}) is not None


async def claim_job(write: Transaction, claim: bytes, *, now: str, until: str) -> JobRow | None:
    """Claims the job that has been due the longest, until the lease ends; None when none is due."""
    given = {"new_claim": claim, "now": now, "until": until}
    for due in await write.fetch(_first_due, {"now": now, "limit": _TRIED}):
        found = await write.fetch(_claim, {**given, "session": due["key"]})
        if found:
            return found[0]
    return None


async def drop_job(write: Transaction, session: SessionRow) -> None:
    """Removes the job of a session that is about to be removed."""
    await write.execute(_drop, {"session": session["key"]})


async def jobs_of_all(read: Reader, limit: int) -> list[ListedJob]:
    """The jobs of all projects with their `session_id`: failed, pending and running ones."""
    return await read.fetch(_all, {"limit": limit})


async def try_again(write: Transaction, session: bytes | None, now: str) -> int:
    """Makes failed jobs due at once, also those waiting for their next attempt: one or all; returns their number."""
    return await write.execute(_again[session is None], {"session": session, "now": now})
