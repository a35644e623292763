"""Reads: short ones at once in the event loop, long ones in threads with connections of their own."""

import sqlite3
from asyncio import Lock
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from models.allowance import Allowance, Heavy
from models.errors import TookTooLong, TooLarge
from models.loop_turns import SHARE
from models.sqlite.containment import json_contains
from models.sqlite.file_health import FileHealth
from models.statements import Record, Statement
from models.threads import Threads

if TYPE_CHECKING:
    from models.sqlite.database import Database

HOLD = 0.02
"""Seconds that a read may hold the event loop; one that takes longer is given up there and made in a thread."""

FEW = 200
"""Rows up to which a read in the event loop is too short to hold up others."""

STEPS_BETWEEN_LOOKS = 50_000
"""Steps of SQLite's machine after which a read looks whether its time is over: about half a millisecond."""

TOO_LONG = "This took too long; ask for less at once."

ROWS_TOGETHER = 32
"""Rows with long texts that are read before their bytes are counted."""

HEAVY = 2
"""Requests that may hold many bytes of rows at the same time."""


class ReadConnection:
    """A connection that only reads. A read ends when its time is over, also within the functions that SQLite calls."""

    def __init__(self, connection: sqlite3.Connection, health: FileHealth) -> None:
        self.sqlite = connection
        self._health = health
        self._until = inf
        self._allowance = Allowance()
        connection.execute("PRAGMA query_only = ON")
        connection.set_progress_handler(self._is_over, STEPS_BETWEEN_LOOKS)
        connection.create_function("json_contains", 2, self._contains, deterministic=True)

    def fetch(self, statement: Statement, values: Record, allowance: Allowance, until: float = inf) -> list[Record]:
        """All rows. Raises `TookTooLong` past the request's deadline or past `until`, whichever comes first."""
        self._allowance, self._until = allowance, until
        cursor = self.sqlite.cursor()
        cursor.row_factory = statement.row
        try:
            if statement.spills:
                self.sqlite.execute("PRAGMA temp_store = FILE")
            cursor.execute(statement.text, values)
            if not statement.wide:
                return cursor.fetchall()
            if statement.single and allowance.uncounted:
                allowance.uncounted -= 1
                return cursor.fetchall()
            return self._counted(cursor, statement, allowance)
        except sqlite3.DatabaseError as error:
            cursor.close()
            if self._is_over():
                raise TookTooLong(TOO_LONG) from None
            raise self._health.explain(error) from error
        except (TooLarge, Heavy, TookTooLong):
            cursor.close()
            raise
        finally:
            self._until = inf
            if statement.spills:
                self.sqlite.execute("PRAGMA temp_store = MEMORY")

    def _counted(self, cursor: sqlite3.Cursor, statement: Statement, allowance: Allowance) -> list[Record]:
        """All rows of a statement with long texts, unless they have more bytes than the request may still read."""
        rows: list[Any] = []
        size = 0
        some: list[Any] = cursor.fetchmany(ROWS_TOGETHER)
        while some:
            for text in statement.wide:
                size += sum(map(len, filter(None, map(text, some))))
            try:
                # First the bytes: a read that needs a place must not be made in a thread before it has one.
                allowance.has_bytes(size)
                self._check()
            except (TooLarge, Heavy, TookTooLong):
                # The error keeps this frame, and would keep the rows in memory for as long as it lives.
                rows, some = [], []
                raise
            rows += some
            # Fewer rows than asked for are the last ones.
            some = cursor.fetchmany(ROWS_TOGETHER) if len(some) == ROWS_TOGETHER else []
        allowance.bytes_left -= size
        return rows

    def _is_over(self) -> bool:
        now = monotonic()
        return now > self._until or now > self._allowance.deadline

    def _check(self) -> None:
        if self._is_over():
            raise TookTooLong(TOO_LONG)

    def _contains(self, whole: str, part: str) -> bool:
        self._check()
        return json_contains(whole, part, self._check)


class SlowReads:
    """Connections for reads that may take long, each used in one thread at a time."""

    def __init__(
        self, path: Path, count: int, connect: Callable[[Path], sqlite3.Connection], health: FileHealth
    ) -> None:
        self._threads = Threads("reader", count)
        self.connections = [ReadConnection(connect(path), health) for _ in range(count)]
        self._free = list(self.connections)

    async def fetch(self, statement: Statement, values: Record, allowance: Allowance) -> list[Record]:
        """All rows, once it is the credential's turn."""
        return await self._threads.run(allowance, self._fetch, statement, values, allowance)

    def _fetch(self, statement: Statement, values: Record, allowance: Allowance) -> list[Record]:
        # There are as many connections as threads.
        connection = self._free.pop()
        try:
            return connection.fetch(statement, values, allowance)
        finally:
            self._free.append(connection)

    def close(self) -> None:
        """Ends what is being read, and lets go of the file."""
        for connection in self.connections:
            with suppress(sqlite3.Error):
                connection.sqlite.interrupt()
        self._threads.close()
        for connection in self.connections:
            connection.sqlite.close()


class Reader:
    """The reads of one request: short ones by an index run at once, those that may take long in a thread."""

    def __init__(self, database: "Database", allowance: Allowance) -> None:
        self._database = database
        self.allowance = allowance
        self._placing: Lock | None = None

    def look_up(self, statement: Statement, parameters: Record) -> Record | None:
        """The one row of a short read by an index, at once: for what comes before an operation and is no part of it."""
        rows = self._database.reading.fetch(statement, {**statement.defaults, **parameters}, self.allowance)
        return rows[0] if rows else None

    async def fetch(self, statement: Statement, parameters: Record, *, slowly: bool = False) -> list[Record]:
        """All rows of a statement; `slowly` for one that may read more than it returns.

        A read that takes unexpectedly long in the event loop is given up there and made again in a thread.
        """
        database, allowance = self._database, self.allowance
        database.observe(statement)
        values = {**statement.defaults, **parameters} if statement.defaults else parameters
        if not slowly:
            turns, now = database.loop_turns, monotonic()
            if now - allowance.rested > SHARE or now - turns.since > SHARE:
                await allowance.pause()
                now = monotonic()
            try:
                rows = database.reading.fetch(statement, values, allowance, now + HOLD)
                if len(rows) > FEW:
                    turns.count(now)
                return rows
            except TookTooLong:
                turns.count(now)
                allowance.check()
            except Heavy:
                await self._take_place()
        try:
            return await database.slow_reads.fetch(statement, values, allowance)
        except Heavy:
            await self._take_place()
            return await database.slow_reads.fetch(statement, values, allowance)

    async def _take_place(self) -> None:
        """Waits for the request's turn to hold many bytes; `Allowance.close` gives the place back.

        Reads of one request that wait side by side share its place. One that gets its turn after the request has ended
        gives it back itself, since nobody else would.
        """
        turns, allowance = self._database.heavy, self.allowance
        if self._placing is None:
            self._placing = Lock()
        async with self._placing:
            if allowance.place is not None:
                return
            await turns.take(allowance.credential)
            if allowance.is_over:
                turns.give_back(allowance.credential)
                allowance.check()
            allowance.place = partial(turns.give_back, allowance.credential)
