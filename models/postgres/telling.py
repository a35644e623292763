"""Tells of commits to a PostgreSQL database.

What a process has committed it notes a moment later, for many commits together: in their transactions it would make
each of them slower. NOTIFY wakes the others, who read the log. A look now and then does without it: behind a pooler
there is no LISTEN, and a connection may be lost.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import func, select

from models.allowance import Allowance
from models.notice_log import add_entry, prune_entries
from models.notices import MISSED, Notice, combined, encode
from models.postgres.connecting import Address, closed_on_failure
from models.postgres.forms import form_of
from models.statements import Statement
from models.telling import Telling

if TYPE_CHECKING:
    from models.postgres.database import PostgresStore

log = structlog.get_logger("recallql.database")

CHANNEL = "recallql"

TOGETHER = 0.025
"""Seconds from one entry to the next: the commits between them are noted together."""

MOST = 500
"""The most notices in an entry."""

UNSENT = 20_000
"""The most notices that wait while the database is away; with more, others are told only that they missed some."""

LOOK_EVERY, POLL_EVERY = 5.0, 0.1
"""Seconds between two looks at the log, with LISTEN and without it."""

PAUSE = 1.0
"""Seconds from an attempt that failed to the next one."""

PATIENCE = 2.0
"""Seconds that closing waits for the last entry."""

_added = add_entry.clause.returning(add_entry.clause.table.c.number).cte("added")
_note = Statement(
    # A crash of the server may lose the last entries, with the connections of all who would read them.
    select(func.pg_notify(CHANNEL, ""), func.set_config("synchronous_commit", "off", True)).select_from(_added),
    upkeep=True,
)


class PostgresTelling(Telling):
    """The listeners of a database. LISTEN takes a connection of its own to `direct`, the server without a pooler."""

    def __init__(self, store: "PostgresStore", direct: Address) -> None:
        super().__init__(store)
        self._postgres = store
        self._direct = direct
        self._woken = asyncio.Event()
        self._unsent: list[Notice] = []
        self._sending: asyncio.Task[None] | None = None
        self._next_entry = 0.0

    def committed(self, notices: Sequence[Notice]) -> None:
        """Tells listeners at once, and other processes soon."""
        self.tell(notices)
        if not notices:
            return
        self._unsent += notices
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send(), name="tell other processes")

    async def _send(self) -> None:
        while self._unsent:
            await asyncio.sleep(self._next_entry - monotonic())
            self._next_entry = monotonic() + TOGETHER
            some, self._unsent = self._unsent[:MOST], self._unsent[MOST:]
            try:
                if body := combined(some):
                    await self._execute(_note, self.log.entry(encode(body)))
                if (values := self.log.prune()) is not None:
                    await self._execute(prune_entries, values)
            except Exception as error:
                log.debug("other processes could not be told of commits; it will be tried again", reason=repr(error))
                self._unsent = some + self._unsent if len(self._unsent) < UNSENT else [MISSED]
                await asyncio.sleep(PAUSE)

    async def _execute(self, statement: Statement[Any], values: dict[str, Any]) -> None:
        form = form_of(statement, self._postgres.kind)
        async with self._postgres.writes.connection(Allowance()) as connection:
            await connection.fetch(form.text, *form.bound(values))

    async def _follow(self) -> None:
        while True:
            connection = await self._connected()
            try:
                await self._read()
                await self._wait(POLL_EVERY if connection is None else LOOK_EVERY)
                while connection is not None and not connection.is_closed():
                    await self._read()
                    await self._wait(LOOK_EVERY)
            finally:
                if connection is not None:
                    connection.terminate()

    async def _wait(self, seconds: float) -> None:
        """Waits until somebody has told of a commit, up to a number of seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        self._woken.clear()

    async def _connected(self) -> Any:
        """A connection that listens; None if there is none now, or a pooler is in between."""
        if self._direct.is_pooled:
            return None
        try:
            connection = await self._direct.connect_plainly()
            with closed_on_failure(connection):
                if not self._direct.is_pooled:
                    connection.add_termination_listener(self._wake)
                    await connection.add_listener(CHANNEL, self._wake)
                    return connection
            await connection.close()
        except Exception as error:
            log.debug("no connection for LISTEN; it will be tried again", reason=repr(error))
        return None

    def _wake(self, *_: object) -> None:
        self._woken.set()

    async def close(self) -> None:
        await super().close()
        if self._sending is not None:
            await asyncio.wait([self._sending], timeout=PATIENCE)
            self._sending.cancel()
            await asyncio.wait([self._sending])
