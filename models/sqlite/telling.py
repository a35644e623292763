"""Tells of commits to a SQLite file: of those of other processes by looking at its version now and then."""

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from models.notice_log import add_entry, prune_entries
from models.notices import Notice, encode
from models.telling import Telling

if TYPE_CHECKING:
    from models.sqlite.database import SqliteStore
    from models.sqlite.transaction import SqliteTransaction

QUICK, SLOW = 0.005, 0.1
"""The least and the most seconds between two looks."""

SLOWER = 1.05
"""The factor by which each pause is longer than the one before it, until another process commits. A commit is seen
after a twentieth of the time since the last one, at most after `SLOW`."""


class SqliteTelling(Telling):
    """The listeners of a file. Its entries are part of the transactions that they tell of."""

    def __init__(self, store: "SqliteStore") -> None:
        super().__init__(store)
        self._sqlite = store

    async def note(self, write: "SqliteTransaction", notices: Sequence[Notice]) -> None:
        """Notes a transaction's notices for other processes."""
        await write.execute(add_entry, self.log.entry(encode(notices)))
        if (values := self.log.prune()) is not None:
            await write.execute(prune_entries, values)

    async def _follow(self) -> None:
        version, pause = 0, SLOW
        while True:
            await asyncio.sleep(pause)
            pause = min(pause * SLOWER, SLOW)
            with suppress(sqlite3.Error):
                (now,) = self._sqlite.reading.sqlite.execute("PRAGMA data_version").fetchone()
                if now == version:
                    self.log.looked()
                    continue
                version = now
                if await self._read():
                    pause = QUICK
