"""Jobs: a model reads messages in the background, outside any transaction; its findings become memories.

A job is enqueued in the transaction that adds messages, and removed in the one that stores the findings. In between one
process holds a lease on it: a crash loses nothing, and a process whose lease has expired writes nothing.
"""

from collections.abc import Mapping, Sequence, Set
from datetime import timedelta
from random import uniform
from uuid import uuid4

from models.formation import SOURCES_OF_MEMORY, SessionOwner, memories_naming, ordered_sources, standing_memories
from models.jobs import ListedJob, claim_job, job_is_due, job_of_session, job_table, jobs_of_all, try_again
from models.keys import fingerprint
from models.locks import hold_memories
from models.memories import NEUTRAL, memories_by_key, memory_table, standing_summaries
from models.messages import latest_messages, messages_by_sequence, whole_messages_between
from models.rows import JobRow, MemoryRow, MessageRow, SessionRow
from models.sessions import sessions_by_key
from models.store import Transaction
from models.values import Time, json_of, value_of
from resolvers.formation.asking import MESSAGE_CHARACTERS, Answer, Reading
from resolvers.formation.formation import keep_formed
from resolvers.memory_rows import MEMORY, Owner, insert_sources, memory_row, message_sources, supersede
from resolvers.operation_context import OperationContext
from resolvers.parts import said_in
from resolvers.speakers import is_nobodys, speaker_among, speakers_of
from resolvers.times import later

MESSAGES_AT_ONCE = 30
"""Most messages in one request to a model."""
_SENT_TOGETHER = 24_000
_BEFORE = 6
_KNOWN = 40
_EDITED = 1000
FIRST_PAUSE, LONGEST_PAUSE = 5.0, 3600.0
"""Seconds until a failed job is retried: doubled each time, with random jitter down to half."""
_READ_ROLES = ("USER", "ASSISTANT")


async def enqueue(
    write: Transaction, context: OperationContext, session: SessionRow, rows: Sequence[MessageRow]
) -> None:
    """Queues the new messages of a session: extends the session's job, or creates one."""
    now = context.clock.now()
    through = rows[-1]["sequence"]
    job = await job_of_session(write, session["key"])
    if job is not None:
        await job_table.update(write, job, {"through_sequence": through, "updated_at": now, **_revived(job, now)})
        return
    await job_table.insert(write, _row(session, after=rows[0]["sequence"] - 1, through=through, edited=[], now=now))


async def enqueue_again(
    write: Transaction, context: OperationContext, session: SessionRow, sequences: Set[int]
) -> None:
    """Queues messages to be read again; a failed job is retried."""
    now = context.clock.now()
    job = await job_of_session(write, session["key"])
    if job is None:
        last = session["last_sequence"]
        await job_table.insert(write, _row(session, after=last, through=last, edited=_latest(sequences), now=now))
        return
    changes = _revived(job, now)
    again = {n for n in sequences if n <= job["after_sequence"] or job["status"] == "RUNNING"}
    if again:
        changes["edited"] = json_of(_latest(again.union(value_of(job["edited"]))))
    if changes:
        await job_table.update(write, job, {**changes, "updated_at": now})


def _latest(sequences: Set[int]) -> list[int]:
    """As many of the messages to be read again as a job takes."""
    return sorted(sequences)[-_EDITED:]


def _row(session: SessionRow, *, after: int, through: int, edited: list[int], now: Time) -> JobRow:
    return {
        "session_key": session["key"],
        "project": session["project"],
        "status": "PENDING",
        "after_sequence": after,
        "through_sequence": through,
        "edited": json_of(edited),
        "attempts": 0,
        "due_at": now,
        "claim": None,
        "last_error": None,
        "created_at": now,
        "updated_at": now,
    }


def _revived(job: JobRow, now: Time) -> dict[str, object]:
    """Retries a failed job together with the new messages."""
    return {"status": "PENDING", "attempts": 0, "due_at": now} if job["status"] == "FAILED" else {}


async def is_due(context: OperationContext) -> bool:
    return await job_is_due(context.read, context.clock.now())


async def claim(context: OperationContext, *, lease: float, attempts: int) -> JobRow | None:
    """Claims a due job with a lease in seconds; None if there is none, or it has had too many attempts."""

    async def operation(write: Transaction) -> JobRow | None:
        now = context.clock.now()
        job = await claim_job(write, uuid4().bytes, now=now, until=later(now, timedelta(seconds=lease)))
        # The process crashed in every attempt, so no error was recorded.
        if job is not None and job["attempts"] > attempts:
            reason = "the server stopped while the model was asked"
            await job_table.update(write, job, {"status": "FAILED", "claim": None, "last_error": reason})
            return None
        return job

    return await context.write(operation)


async def reading_for(context: OperationContext, job: JobRow) -> Reading | None:
    """The input for the model; None if the session was deleted."""
    session = (await sessions_by_key(context.read, context.scope, [job["session_key"]]))[0]
    if session is None:
        return None
    first = max(job["after_sequence"], session["deleted_through"]) + 1
    edited = value_of(job["edited"])[:MESSAGES_AT_ONCE]
    places = [(session["key"], sequence) for sequence in edited if sequence < first]
    old = [row for row in await messages_by_sequence(context.read, context.scope, places) if row is not None]
    room = MESSAGES_AT_ONCE - len(old)
    rows = await whole_messages_between(context.read, session, first, job["through_sequence"], room)
    sent: list[MessageRow] = []
    through, size = job["through_sequence"], 0
    for row in [*old, *rows]:
        if _is_read(row):
            size += min(len(said_in(row)), MESSAGE_CHARACTERS)
            if sent and size > _SENT_TOGETHER:
                through = max(sent[-1]["sequence"], first - 1)
                edited = [sequence for sequence in edited if sequence <= sent[-1]["sequence"]]
                break
            sent.append(row)
    else:
        if len(rows) == room:
            through = rows[-1]["sequence"] if rows else first - 1
    owner = SessionOwner(user_key=session["user_key"], session_key=session["key"])
    summaries = await standing_summaries(context.read, context.scope, owner=("session", session["key"]))
    before = await latest_messages(context.read, session, _BEFORE, through=first - 1)
    again = {row["sequence"] for row in old}
    return Reading(
        session=session,
        sent=sent,
        before=[row for row in before if _is_read(row) and row["sequence"] not in again],
        known=await _known(context, owner, old),
        summary=_newest(summaries),
        through=through,
        edited=edited,
        speakers=await speakers_of(context.read, context.scope, session, session["user_key"]),
    )


async def _known(context: OperationContext, owner: SessionOwner, old: Sequence[MessageRow]) -> list[MemoryRow]:
    """The newest memories of the owner, and those formed from messages that are read again, ended ones too: the model
    is not to form them once more."""
    known = await standing_memories(context.read, context.scope, owner, context.clock.now(), _KNOWN)
    formed = await memories_naming(context.read, context.scope, old, ("RULE", "MODEL")) if old else []
    there = {row["key"] for row in known}
    return (
        known
        + [row for row in formed if row["key"] not in there and row["kind"] != "SUMMARY" and row["deleted_at"] is None][
            -_KNOWN:
        ]
    )


def _is_read(row: MessageRow) -> bool:
    return (
        bool(row["forms_memories"])
        and row["role"] in _READ_ROLES
        and bool(said_in(row).strip())
        and not is_nobodys(row["name"])
    )


def _newest(summaries: Sequence[MemoryRow]) -> MemoryRow | None:
    return max(summaries, key=lambda row: (row["created_at"], row["key"]), default=None)


async def keep_answer(
    context: OperationContext, job: JobRow, reading: Reading, answer: Answer | None, model: str
) -> None:
    """Stores the findings about unchanged messages, if the caller still holds the lease.

    Findings are None if there was nothing to ask the model.
    """

    async def operation(write: Transaction) -> None:
        session = (await sessions_by_key(write, context.scope, [job["session_key"]]))[0]
        mine = await _still_claimed(write, job)
        if mine is None:
            return
        if session is None:
            await job_table.delete(write, mine)
            return
        await hold_memories(write, context.scope, user=session["user_key"])
        if session["user_key"] != reading.session["user_key"] or await _is_some_gone(write, context, reading):
            # The model was shown the memories of another owner, or memories that are gone since.
            await _release(write, context, mine, attempts=0)
            return
        shown = [*reading.before, *reading.sent]
        there = await messages_by_sequence(write, context.scope, [(session["key"], row["sequence"]) for row in shown])
        same = {
            now["sequence"]: now
            for now, then in zip(there, shown, strict=True)
            if now is not None and said_in(now) == said_in(then)
        }
        if answer is not None:
            await _keep_memories(write, context, session, reading, answer, same, model)
            # All that was shown may be in a summary.
            if len(same) == len(shown) and answer.summary and answer.summary.strip():
                await _keep_summary(write, context, session, reading, answer.summary.strip(), model)
        await _go_on(write, context, mine, reading, same, _torn(answer, same.keys()) if answer is not None else set())

    await context.write(operation)


async def _is_some_gone(write: Transaction, context: OperationContext, reading: Reading) -> bool:
    """True if a memory that the model was shown was removed meanwhile: its words may stand in the answer."""
    shown = [*reading.known, *([] if reading.summary is None else [reading.summary])]
    return None in await memories_by_key(write, context.scope, [row["key"] for row in shown])


def _torn(answer: Answer, same: Set[int]) -> set[int]:
    """The unchanged sources of findings that also name messages edited or deleted meanwhile."""
    return {n for found in answer.memories if not same >= set(found.sources) for n in found.sources} & same


async def _keep_memories(
    write: Transaction,
    context: OperationContext,
    session: SessionRow,
    reading: Reading,
    answer: Answer,
    same: Mapping[int, MessageRow],
    model: str,
) -> None:
    again = set(reading.edited)
    ended = {row["fingerprint"] for row in reading.known if row["superseded_from"] is not None}
    for found in answer.memories:
        if not same.keys() >= set(found.sources):
            continue  # Its sources were edited or deleted meanwhile.
        if set(found.sources) <= again and fingerprint(found.content.strip()) in ended:
            continue
        said_at = max(same[sequence]["created_at"] for sequence in found.sources)
        # The messages determine the people it can be about, not the model.
        told = reading.speakers.among([same[sequence] for sequence in found.sources])
        about = speaker_among(told or [None, *reading.speakers.among(same.values())], found.about)
        values = {
            "kind": found.kind,
            "content": found.content.strip(),
            "method": "MODEL",
            "model": model,
            "about": about,
            "rating": found.rating,
        }
        sources = list(dict.fromkeys(found.sources))
        kept = await keep_formed(write, context, session, {**values, "valid_from": said_at}, sources)
        if kept is None or not found.replaces:
            continue
        keys = [reading.replaceable[number]["key"] for number in dict.fromkeys(found.replaces)]
        older = [
            row
            for row in await memories_by_key(write, context.scope, keys)
            if row is not None
            and row["key"] != kept["key"]
            and row["user_key"] == session["user_key"]
            and row["about_folded"] == kept["about_folded"]
            and row["superseded_from"] is None
            and (row["valid_from"] or row["created_at"]) <= said_at
        ]
        await supersede(write, context, kept, older)


async def _keep_summary(
    write: Transaction, context: OperationContext, session: SessionRow, reading: Reading, content: str, model: str
) -> None:
    """Replaces the summary that the model was shown, if it is unchanged and was not declared."""
    standing = await standing_summaries(write, context.scope, owner=("session", session["key"]))
    newest = _newest(standing)
    before, now = (row and (row["key"], row["content"]) for row in (reading.summary, newest))
    if before != now or (newest is not None and (newest["method"] == "DECLARED" or newest["content"] == content)):
        return
    sequences = {row["sequence"] for row in [*reading.before, *reading.sent]}
    for summary in standing:
        sequences |= {place["sequence"] for place in await ordered_sources(write, summary) if place["sequence"]}
    values = {"kind": "SUMMARY", "content": content, "method": "MODEL", "model": model, "rating": NEUTRAL}
    row = memory_row(context, MEMORY.new(values), Owner.of_session(session), context.clock.now())
    kept = await memory_table.insert(write, row)
    await insert_sources(write, kept, message_sources(session, sorted(sequences)[-SOURCES_OF_MEMORY:]))
    await supersede(write, context, kept, standing)


async def _go_on(
    write: Transaction,
    context: OperationContext,
    job: JobRow,
    reading: Reading,
    same: Mapping[int, MessageRow],
    torn: Set[int],
) -> None:
    """Removes the job, or continues it with messages that were left, added or edited meanwhile, or torn."""
    sent = {row["sequence"] for row in reading.sent}
    changed = sent - same.keys()
    edited = _latest(
        torn
        | {
            sequence
            for sequence in value_of(job["edited"])
            if sequence in changed or (sequence not in sent and sequence not in reading.edited)
        }
    )
    if reading.through >= job["through_sequence"] and not edited:
        await job_table.delete(write, job)
        return
    changes = {"after_sequence": max(reading.through, job["after_sequence"]), "edited": json_of(edited)}
    await _release(write, context, job, **changes, attempts=0, last_error=None)


async def _still_claimed(write: Transaction, job: JobRow) -> JobRow | None:
    now = await job_of_session(write, job["session_key"])
    return now if now is not None and now["claim"] == job["claim"] else None


async def _release(write: Transaction, context: OperationContext, job: JobRow, **changes: object) -> None:
    now = context.clock.now()
    free = {"status": "PENDING", "claim": None, "due_at": now, "updated_at": now}
    await job_table.update(write, job, {**free, **changes})


async def give_back(context: OperationContext, job: JobRow) -> None:
    """Releases the job without an answer; the attempt does not count."""

    async def operation(write: Transaction) -> None:
        mine = await _still_claimed(write, job)
        if mine is not None:
            await _release(write, context, mine, attempts=max(mine["attempts"] - 1, 0))

    await context.write(operation)


async def drop(context: OperationContext, job: JobRow) -> None:
    """Removes the job of a deleted session."""

    async def operation(write: Transaction) -> None:
        mine = await _still_claimed(write, job)
        if mine is not None:
            await job_table.delete(write, mine)

    await context.write(operation)


async def put_off(
    context: OperationContext, job: JobRow, reason: str, *, attempts: int, after: float | None = None
) -> bool:
    """Records a failed attempt; returns True if it was the last one, so that the job stays FAILED."""

    async def operation(write: Transaction) -> bool:
        mine = await _still_claimed(write, job)
        if mine is None:
            return False
        now = context.clock.now()
        failed = mine["attempts"] >= attempts
        pause = min(FIRST_PAUSE * 2 ** (mine["attempts"] - 1), LONGEST_PAUSE) * uniform(0.5, 1)  # noqa: S311 (no secret)
        changes = {"status": "FAILED" if failed else "PENDING", "last_error": reason}
        changes["due_at"] = later(now, timedelta(seconds=max(pause, after or 0.0)))
        await job_table.update(write, mine, {**changes, "claim": None, "updated_at": now})
        return failed

    return await context.write(operation)


async def list_jobs(context: OperationContext, limit: int) -> Sequence[ListedJob]:
    return await jobs_of_all(context.read, limit)


async def retry_jobs(context: OperationContext, session: bytes | None) -> int:
    """Makes failed jobs due at once, that of a session or all; returns their number."""

    async def operation(write: Transaction) -> int:
        return await try_again(write, session, context.clock.now())

    return await context.write(operation)
