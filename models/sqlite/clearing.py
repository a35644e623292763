"""Clearing: removes the bytes of removed rows from the files, in the background.

When rows are removed, their words stay in two places for a while: in older segments of the full-text indexes and in the
write-ahead log. Each transaction that permanently removes rows records that in `removals`. One task in each process
merges the indexes, truncates the log, and deletes the records. Since these are rows, another process or the next start
finishes the work that this one leaves. A lease ensures that one process works at a time.

A reader of the database, such as an export, pins the log for as long as it reads. Until it ends the task retries, and
never makes writes wait for longer than `READER_PATIENCE`.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache, partial
from time import monotonic, time_ns
from typing import TYPE_CHECKING, Any, TypedDict
from uuid import uuid4

import structlog
from sqlalchemy import ColumnElement, bindparam, case, column, delete, func, insert, null, select, table, text, update

from models.errors import DataError, Unavailable
from models.expressions import Parents, parent_key, parents
from models.keys import KEY_SIZE
from models.leases import take_lease
from models.statements import Statement
from models.store import Clearing, Transaction
from models.tables import erasures, removals
from models.values import Time, rfc3339, time_of

if TYPE_CHECKING:
    from models.sqlite.database import SqliteStore

log = structlog.get_logger("recallql.clearing")

LOOK_EVERY = 1.0
"""Seconds between two checks for removals by other processes."""

SHORTEST_PAUSE, LONGEST_PAUSE = 0.02, 0.2
"""Seconds between two attempts to truncate the log."""

READER_PATIENCE = 0.15
"""Seconds that an attempt waits for readers of the log, while writes wait for it."""

WAIT_EVERY = 1.0
"""Seconds between two attempts that wait for readers. Other attempts fail at once if there is a reader."""

BRIEFLY = 0.25
"""Seconds that purges and permanent deletions wait; their answers do not depend on it."""

LONGEST_WAIT = 3600.0
"""Seconds that an erasure without a deadline waits."""

STEP = 0.015
"""Target for the seconds that a merging step holds the writer."""

MERGED_AT_FIRST, MERGED_AT_MOST = 64, 4096
"""Pages of an index that the first step merges, and the maximum for any step."""

LEASE = 2_000
"""Milliseconds of a process's lease on the clearing. It renews the lease while it works."""

TOLD_AFTER, TOLD_EVERY = 1.0, 60.0
"""Seconds before a warning that a reader delays the clearing is logged, and between two such warnings."""


class Noted(TypedDict):
    """The recorded removals: their number, the time of the oldest, and their keys in hexadecimal form."""

    waiting: int
    since: Time | None
    keys: str


class Index(TypedDict):
    name: str


class Changes(TypedDict):
    changes: int


# In one row, so that a check takes one short read.
_noted = Statement(
    select(
        func.count().label("waiting"),
        func.min(removals.c.removed_at).label("since"),
        func.coalesce(func.group_concat(func.hex(removals.c.key), ""), "").label("keys"),
    ),
    Noted,
    upkeep=True,
)
_now: ColumnElement[Any] = bindparam("now")
_cleared = Statement(
    update(erasures)
    .where(erasures.c.removal.in_(select(parent_key).select_from(parents)))
    .values(
        removal=null(),
        # The time must not be before the erasure, even if the clock was set back.
        files_cleared_at=case((erasures.c.erased_at > _now, erasures.c.erased_at), else_=_now),
    ),
    upkeep=True,
)
_forget = Statement(delete(removals).where(removals.c.key.in_(select(parent_key).select_from(parents))), upkeep=True)
_indexes = Statement(
    text(
        "SELECT name FROM sqlite_master "
        "WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL TABLE %USING fts5%' ORDER BY name"
    ),
    Index,
    upkeep=True,
)
_changes = Statement(text("SELECT total_changes() AS changes"), Changes, upkeep=True)


@lru_cache(maxsize=16)
def _merge(index: str) -> Statement[Any]:
    """Commands to FTS5 have the form of an INSERT."""
    commands = table(index, column(index), column("rank"))
    return Statement(insert(commands).values({index: "merge", "rank": bindparam("pages")}), upkeep=True)


class SqliteClearing(Clearing):
    """The task of a process that clears the files. It runs from `start` to `stop`."""

    def __init__(self, store: "SqliteStore") -> None:
        self._store = store
        self._holder = uuid4().bytes
        self._woken = asyncio.Event()
        self._waiters: dict[bytes, asyncio.Future[None]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recallql-clearing")
        self._task: asyncio.Task[None] | None = None
        self._is_held = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="clearing")

    async def stop(self) -> None:
        """Ends the work; unfinished removals stay recorded, and the next process finishes them."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._thread.shutdown()

    async def status(self) -> dict[str, Any]:
        """The number of removals with bytes still in the files, the time of the oldest, and the reason of a delay."""
        noted = await self._noted()
        status: dict[str, Any] = {"waiting": noted["waiting"], "since": noted["since"] and rfc3339(noted["since"])}
        if noted["waiting"] and self._is_held:
            status["reason"] = "A reader of the database, such as an export, holds the write-ahead log."
        return status

    async def wait_for(self, removal: bytes, seconds: float) -> None:
        """Waits until the bytes of a removal have left the files, up to a number of seconds."""
        await self._wait([removal], min(max(seconds, 0), LONGEST_WAIT))

    async def wait_briefly(self) -> None:
        """Waits for all removals so far, but no longer than they take when no reader pins the log."""
        with suppress(DataError):
            await self._wait(_keys_of(await self._noted()), BRIEFLY)

    async def _wait(self, removals: list[bytes], seconds: float) -> None:
        loop = asyncio.get_running_loop()
        waiters = {self._waiters.setdefault(removal, loop.create_future()) for removal in removals}
        self._woken.set()
        if waiters:
            await asyncio.wait(waiters, timeout=seconds)

    async def _noted(self) -> Noted:
        return await self._store.reader.look_up(_noted, {}) or {"waiting": 0, "since": None, "keys": ""}

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            pause = LOOK_EVERY
            try:
                noted = await self._noted()
                self._tell(set(_keys_of(noted)))
                if noted["waiting"]:
                    # False if another process is clearing; then this one checks if that has finished.
                    pause = 0 if await self._clear() else LONGEST_PAUSE
            except Unavailable as error:
                log.warning("deleted bytes could not be cleared from the files now", reason=str(error))
            except Exception:
                log.exception("deleted bytes could not be cleared from the files; it will be tried again")
            with suppress(TimeoutError):
                # Not `wait_for`, which in Python 3.11 may swallow the cancellation that ends this task.
                async with asyncio.timeout(pause):
                    await self._woken.wait()

    def _tell(self, noted: set[bytes]) -> None:
        """Wakes those who wait for removals that are no longer recorded."""
        for key in self._waiters.keys() - noted:
            self._waiters.pop(key).set_result(None)

    async def _clear(self) -> bool:
        """Clears the files of all recorded removals; False when another process is doing so."""

        async def begin(write: Transaction) -> list[bytes] | None:
            if not await self._renew(write):
                return None
            return _keys_of((await write.fetch(_noted, {}))[0])

        keys = await self._store.write(begin)
        if keys is None:
            return False
        await self._merge_indexes()
        await self._empty_log()
        await self._store.write(partial(_settle, keys=keys))
        return True

    async def _renew(self, write: Transaction) -> bool:
        now = time_ns() // 1_000_000
        return await take_lease(write, name="clearing", holder=self._holder, now=now, length=LEASE)

    async def _merge_indexes(self) -> None:
        """Merges all segments of each full-text index into one, which has nothing of the removed texts.

        Each step is a short transaction. A negative number of pages starts a merge of all segments.
        """
        for index in [row["name"] for row in await self._store.reader.fetch(_indexes, {})]:
            pages, first = MERGED_AT_FIRST, True
            while True:
                changes, seconds = await self._store.write(
                    partial(self._step, index=index, pages=-pages if first else pages)
                )
                # FTS5 counts the command itself as a change.
                if changes < 2:
                    break
                pages = min(MERGED_AT_MOST, max(1, round(pages * min(2.0, STEP / seconds))))
                first = False

    async def _step(self, write: Transaction, *, index: str, pages: int) -> tuple[int, float]:
        await self._renew(write)
        before, started = (await write.fetch(_changes, {}))[0]["changes"], monotonic()
        await write.execute(_merge(index), {"pages": pages}, slowly=True)
        seconds = monotonic() - started
        return (await write.fetch(_changes, {}))[0]["changes"] - before, max(seconds, 1e-6)

    async def _empty_log(self) -> None:
        """Checkpoints and truncates the log, as soon as no reader pins it."""
        started = waited = renewed = monotonic()
        told, pause = started + TOLD_AFTER, SHORTEST_PAUSE
        while True:
            # First the part that needs no lock, so that writes wait for the rest only.
            await asyncio.get_running_loop().run_in_executor(self._thread, self._store.move_log)
            now = monotonic()
            patience = READER_PATIENCE if now - waited > WAIT_EVERY else 0.0
            if await self._store.empty_log(patience):
                break
            self._store.health.let_go()
            waited = monotonic() if patience else waited
            self._is_held = now - started > WAIT_EVERY
            if now > told:
                log.warning(
                    "deleted bytes stay in the write-ahead log while a reader holds it, such as an export",
                    seconds=round(now - started),
                )
                told = now + TOLD_EVERY
            if now - renewed > LEASE / 3000:
                await self._store.write(self._renew)
                renewed = now
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)
        self._is_held = False
        if told > started + TOLD_AFTER:
            log.info("the write-ahead log is emptied", seconds=round(monotonic() - started))


def _keys_of(noted: Noted) -> list[bytes]:
    keys = bytes.fromhex(noted["keys"])
    return [keys[start : start + KEY_SIZE] for start in range(0, len(keys), KEY_SIZE)]


async def _settle(write: Transaction, *, keys: list[bytes]) -> None:
    values = Parents(keys).values
    await write.execute(_cleared, {**values, "now": time_of(datetime.now(UTC))})
    await write.execute(_forget, values)
