"""Reads: short ones directly in the event loop, long ones in threads with connections of their own."""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from math import inf
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from models.allowance import Allowance, Heavy
from models.errors import TookTooLong, TooLarge, Unavailable
from models.full_text import FullText
from models.heavy import HeavySlot
from models.loop_turns import SHARE
from models.sqlite import vectors, word_search
from models.sqlite.containment import json_contains
from models.sqlite.file_health import FileHealth
from models.sqlite.forms import Form, form_of
from models.statements import Parameters, Statement
from models.store import R, Reader, Receive
from models.threads import Threads
from models.vectors import Vectors

if TYPE_CHECKING:
    from models.sqlite.database import SqliteStore

HOLD = 0.02
"""Seconds that a read may block the event loop; one that takes longer is interrupted and repeated in a thread."""

FEW = 200
"""Up to this number of rows a read in the event loop is too short to delay others."""

STEPS_BETWEEN_LOOKS = 50_000
"""Steps of SQLite's virtual machine between two checks of a read's deadline: about half a millisecond."""

TOO_LONG = "This took too long; ask for less at once."

ROWS_TOGETHER = 32
"""Rows with long texts that are read before their bytes are counted."""


class ReadConnection:
    """A read-only connection. A read ends at its deadline, also within the functions that SQLite calls."""

    def __init__(self, connection: sqlite3.Connection, health: FileHealth) -> None:
        self.sqlite = connection
        self._health = health
        self._until = inf
        self._allowance = Allowance()
        connection.execute("PRAGMA query_only = ON")
        connection.set_progress_handler(self._is_over, STEPS_BETWEEN_LOOKS)
        connection.create_function("json_contains", 2, self._contains, deterministic=True)

    def fetch(self, form: Form, values: Parameters, allowance: Allowance, until: float = inf) -> list[Any]:
        """All rows. Raises `TookTooLong` past the request's deadline or past `until`, whichever comes first."""
        self._allowance, self._until = allowance, until
        cursor = self.sqlite.cursor()
        cursor.row_factory = form.row
        try:
            if form.spills:
                self.sqlite.execute("PRAGMA temp_store = FILE")
            cursor.execute(form.text, values)
            if not form.wide and not form.written:
                return cursor.fetchall()
            if form.single and allowance.uncounted:
                allowance.uncounted -= 1
                return cursor.fetchall()
            return self._counted(cursor, form, allowance)
        except sqlite3.DatabaseError as error:
            cursor.close()
            if self._is_over():
                raise TookTooLong(TOO_LONG) from None
            raise self._health.explain(error) from error
        except (TooLarge, Heavy, TookTooLong, Unavailable):
            cursor.close()
            raise
        finally:
            self._until = inf
            if form.spills:
                self.sqlite.execute("PRAGMA temp_store = MEMORY")

    def _counted(self, cursor: sqlite3.Cursor, form: Form, allowance: Allowance) -> list[Any]:
        """All rows of a statement with long texts, unless they have more bytes than the request may still read."""
        rows: list[Any] = []
        size = 0
        some: list[Any] = cursor.fetchmany(ROWS_TOGETHER)
        while some:
            for text in form.wide:
                texts: Iterable[str | None] = map(text, some)
                size += sum(map(len, filter(None, texts)))
            written = [([*map(json, some)], columns) for json, columns in form.written]
            size += sum(sum(map(len, texts)) for texts, _ in written)
            try:
                # First the bytes: a read that needs a slot must not run in a thread before it has one.
                allowance.has_bytes(size)
                self._check()
                for texts, columns in written:
                    self._check_text(b"".join(texts), columns)
            except (TooLarge, Heavy, TookTooLong):
                # The error references this frame, and would keep the rows in memory for as long as it lives.
                rows, some, written = [], [], []
                raise
            rows += some
            # Fewer rows than requested are the last ones.
            some = cursor.fetchmany(ROWS_TOGETHER) if len(some) == ROWS_TOGETHER else []
        allowance.bytes_left -= size
        return rows

    def _check_text(self, json: bytes, columns: Sequence[str]) -> None:
        """Raises if objects in JSON are not UTF-8, as an answer has to be: a stored text is damaged.

        Each begins and ends with a bracket, so that together they are valid if each of them is.
        """
        try:
            if not json.isascii():
                json.decode()
        except UnicodeDecodeError:
            raise self._health.damaged_text(", ".join(columns)) from None

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

    async def fetch(self, form: Form, values: Parameters, allowance: Allowance) -> list[Any]:
        """Reads all rows once it is the credential's turn."""
        return await self._threads.run(allowance, self._fetch, form, values, allowance)

    def _fetch(self, form: Form, values: Parameters, allowance: Allowance) -> list[Any]:
        # There are as many connections as threads.
        connection = self._free.pop()
        try:
            return connection.fetch(form, values, allowance)
        finally:
            self._free.append(connection)

    def close(self) -> None:
        """Interrupts running reads, and closes the connections."""
        for connection in self.connections:
            with suppress(sqlite3.Error):
                connection.sqlite.interrupt()
        self._threads.close()
        for connection in self.connections:
            connection.sqlite.close()


class SqliteReader(Reader):
    """The reads of one request: short ones by index run directly, those that may take long in a thread."""

    full_text: FullText = word_search
    vectors: Vectors = vectors
    has_leaves = True

    def __init__(self, store: "SqliteStore", allowance: Allowance) -> None:
        self._store = store
        self.allowance = allowance
        self._slot: HeavySlot | None = None

    async def look_up(self, statement: Statement[R], parameters: Parameters) -> R | None:
        form = form_of(statement)
        rows = self._store.reading.fetch(form, form.bound(parameters), self.allowance)
        return rows[0] if rows else None

    async def fetch(self, statement: Statement[R], parameters: Parameters, *, slowly: bool = False) -> list[R]:
        """Reads all rows. A read that takes unexpectedly long in the event loop is repeated in a thread."""
        store, allowance = self._store, self.allowance
        form: Form = statement.forms.get("sqlite") or form_of(statement)
        if store.listener is not None:
            store.observe(form)
        values = form.bound(parameters) if form.binds else parameters
        if not slowly:
            turns, now = store.loop_turns, monotonic()
            if now - allowance.rested > SHARE or now - turns.since > SHARE:
                await allowance.pause()
                now = monotonic()
            try:
                rows = store.reading.fetch(form, values, allowance, now + HOLD)
                if len(rows) > FEW:
                    turns.count(now)
                return rows
            except TookTooLong:
                turns.count(now)
                allowance.check()
            except Heavy:
                await self._take_slot()
        try:
            return await store.slow_reads.fetch(form, values, allowance)
        except Heavy:
            await self._take_slot()
            return await store.slow_reads.fetch(form, values, allowance)

    async def stream(self, statement: Statement[Any], parameters: Parameters, receive: Receive) -> None:
        form = form_of(statement)
        self._store.observe(form)
        await self._store.slow_reads.fetch(form.given_to(receive), form.bound(parameters), self.allowance)

    async def _take_slot(self) -> None:
        if self._slot is None:
            self._slot = HeavySlot(self._store.heavy, self.allowance)
        await self._slot.take()
