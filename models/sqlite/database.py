"""The database: how it is opened, read and written.

Reads have connections of their own. All writes of a process go through one writer: the operations that wait are
carried out together, each in a savepoint of its own, and answered after the one commit that makes all of them durable.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import text

from models.allowance import Allowance
from models.errors import DatabaseProblem, Unavailable
from models.keys import lane_of
from models.loop_turns import LoopTurns
from models.sqlite.clearing import Clearing
from models.sqlite.containment import json_contains
from models.sqlite.file_health import BUSY, FileHealth, problem_of
from models.sqlite.reading import HEAVY, ReadConnection, Reader, SlowReads
from models.statements import Record, Statement
from models.threads import Turns
from models.words import indexed

T = TypeVar("T")

BATCH = 256
"""Operations that share a commit, at most: what waits longer than this many is answered by the next one."""

LOCK_PATIENCE = 30.0
"""Seconds that a write waits for another process's."""

# A row that takes pages from the file and gives them back, and so writes them to the log.
_take_room = Statement(text("INSERT INTO leases VALUES ('check', zeroblob(:size), 0)"), upkeep=True)
_give_room = Statement(text("DELETE FROM leases WHERE name = 'check'"), upkeep=True)

SMALL_CHECK, LARGE_CHECK = 8 * 1024, 512 * 1024
"""Bytes that a check of readiness writes; the larger number once a write has failed for lack of room."""

CHECK_PATIENCE = 2.0
"""Seconds after which a check of readiness stops waiting."""

# These say that a statement is wrong.
_FAULTS = (sqlite3.IntegrityError, sqlite3.ProgrammingError, sqlite3.NotSupportedError)

SLOW_READERS = 4
"""Connections for reads that may take long."""


def path_of(url: str) -> Path:
    """The file of a `sqlite:///file` URL (`sqlite:////absolute/file` for an absolute one)."""
    scheme, separator, path = url.partition(":///")
    if not separator or scheme not in ("sqlite", "sqlite+aiosqlite"):
        raise DatabaseProblem(
            f"The database URL {url.split('@')[-1]!r} is not one of this version's: give sqlite:///file "
            "(sqlite:////folder/file for an absolute path)."
        )
    if path in ("", ":memory:") or "?" in path:
        raise DatabaseProblem(
            f"The database URL {url!r} names no file: RecallQL keeps its data in one, as in sqlite:///recallql.db."
        )
    return Path(path)


def connect(path: Path, *, timeout: float = LOCK_PATIENCE) -> sqlite3.Connection:
    """A connection as every one here is: WAL, durable commits, foreign keys, deleted bytes overwritten."""
    connection = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
    connection.create_function("json_contains", 2, json_contains, deterministic=True)
    connection.create_function("indexed", 1, indexed, deterministic=True)
    connection.create_function("lane_of", 1, lane_of, deterministic=True)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("PRAGMA cache_size = -16384")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


class Transaction(Reader):
    """Reads and writes that become durable together, or not at all."""

    def __init__(self, connection: sqlite3.Connection, database: "Database") -> None:
        super().__init__(database, Allowance())
        self._connection = connection
        self._shapes: dict[Statement, sqlite3.Cursor] = {}

    async def execute(self, statement: Statement, parameters: Record, *, slowly: bool = False) -> int:
        """Carries out a statement; the number of rows it changed."""
        self._database.observe(statement)
        values = {**statement.defaults, **parameters} if statement.defaults else parameters
        if slowly:
            return (await self._database.in_writer_thread(self._connection.execute, statement.text, values)).rowcount
        return self._connection.execute(statement.text, values).rowcount

    @contextmanager
    def savepoint(self) -> Generator[None]:
        """Undoes what is done within it, and nothing else of the transaction, when it raises."""
        self._connection.execute("SAVEPOINT part")
        try:
            yield
        except Exception:
            # A full disk may have ended the whole transaction.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK TO part")
            raise
        finally:
            if self._connection.in_transaction:
                self._connection.execute("RELEASE part")

    async def insert(self, statement: Statement, shape: Statement, rows: Sequence[dict[str, Any]]) -> list[Record]:
        """Inserts rows, whose values stand in the order of the columns of `shape`; given back as records of it."""
        self._database.observe(statement)
        self._connection.executemany(statement.text, rows)
        cursor = self._shapes.get(shape)
        if cursor is None:
            cursor = self._shapes[shape] = self._connection.execute(shape.text, shape.defaults)
        kept: list[Any] = [statement.row(cursor, tuple(row.values())) for row in rows]
        return kept

    # The writer's own connection, whatever the statement: only there what was just written can be seen.

    def look_up(self, statement: Statement, parameters: Record) -> Record | None:
        rows = self._rows(statement, {**statement.defaults, **parameters})
        return rows[0] if rows else None

    async def fetch(self, statement: Statement, parameters: Record, *, slowly: bool = False) -> list[Record]:
        self._database.observe(statement)
        values = {**statement.defaults, **parameters} if statement.defaults else parameters
        if slowly:
            return await self._database.in_writer_thread(self._rows, statement, values)
        return self._rows(statement, values)

    def _rows(self, statement: Statement, values: Record) -> list[Record]:
        cursor = self._connection.cursor()
        cursor.row_factory = statement.row
        return cursor.execute(statement.text, values).fetchall()


Operation = Callable[[Transaction], Awaitable[Any]]


class Database:
    """One SQLite file. Made by `open`, closed by `close`; used from one event loop.

    `written` is set by every commit that changed rows; who waits for it clears it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listener: Callable[[str], None] | None = None
        self._waiting: deque[tuple[Operation, asyncio.Future[Any]]] = deque()
        self._emptying: deque[tuple[float, asyncio.Future[bool]]] = deque()
        self._woken = asyncio.Event()
        self.written = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recallql-writer")
        self._closing = False
        self.loop_turns = LoopTurns()
        """For requests that use the event loop for long."""
        self.heavy = Turns(HEAVY)
        """For requests that hold many bytes of rows: see `models.allowance`."""
        self._checking: asyncio.Task[None] | None = None
        self.health = FileHealth(path)

    @classmethod
    async def open(cls, path: Path, *, synchronous: str = "full", slow_readers: int = SLOW_READERS) -> "Database":
        """`synchronous` is how durable a commit is: "full" survives a power cut, "normal" a crash of the process.

        `slow_readers` is the number of connections for reads that may take long.
        """
        database = cls(path)
        try:
            database.reading = ReadConnection(connect(path), database.health)
            database.slow_reads = SlowReads(path, slow_readers, connect, database.health)
            # The loop must not sleep in a lock: the writer waits for one by itself.
            database._writing = connect(path, timeout=0)
            database.health.watch(database._writing)
        except sqlite3.Error as error:
            raise DatabaseProblem(problem_of(error, path)) from error
        database._waits_for_disk = synchronous != "normal"
        if synchronous == "normal":
            database._writing.execute("PRAGMA synchronous = NORMAL")
        database._transaction = Transaction(database._writing, database)
        database._writer = asyncio.create_task(database._write_on(), name="writer")
        database.clearing = Clearing(database)
        database.clearing.start()
        return database

    reading: ReadConnection
    """For short reads in the event loop."""
    slow_reads: SlowReads
    _writing: sqlite3.Connection
    _transaction: Transaction
    _writer: asyncio.Task[None]
    _waits_for_disk: bool
    clearing: Clearing

    @property
    def reader(self) -> Reader:
        """Reads without limits, for what is no request."""
        return Reader(self, Allowance())

    async def close(self) -> None:
        """Carries out what was queued, then lets go of the file."""
        await self.clearing.stop()
        self._closing = True
        self._woken.set()
        await self._writer
        await asyncio.to_thread(self.slow_reads.close)
        self.reading.sqlite.close()
        self._thread.shutdown()
        self._writing.close()
        self.health.close()

    def observe(self, statement: Statement) -> None:
        """Tells who listens of a request's statement about to run (how tests count them)."""
        if self.listener is not None and not statement.upkeep:
            self.listener(statement.text)

    async def in_writer_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def write(self, operation: Callable[[Transaction], Awaitable[T]]) -> T:
        """Carries out `operation` in a transaction and returns what it returned, once that is durable.

        What it raises undoes it and is raised here. Once queued it is carried out even if the caller goes away.
        """
        if self._closing:
            raise Unavailable("The server is stopping; try again.")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((operation, future))
        self._woken.set()
        return await future

    def move_log(self) -> None:
        """Moves what it can of the write-ahead log into the file, without a lock that others wait for."""
        # A connection to a place where the file is no longer would make another one there.
        self.health.check_place()
        with closing(connect(self.path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    async def empty_log(self, patience: float) -> bool:
        """Moves the rest of the write-ahead log into the file and empties it; False while a reader holds it.

        It waits for readers and other processes for so many seconds, and writes wait behind it.
        """
        if self._closing:
            raise Unavailable("The server is stopping; try again.")
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._emptying.append((patience, future))
        self._woken.set()
        return await future

    def _emptied(self, patience: float) -> bool:
        self._writing.execute(f"PRAGMA busy_timeout = {round(patience * 1000)}")
        try:
            return self._writing.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0] == 0
        finally:
            self._writing.execute("PRAGMA busy_timeout = 0")

    async def _write_on(self) -> None:
        while self._waiting or self._emptying or not self._closing:
            while self._emptying:
                # Here this process has no transaction open that would be in the way.
                patience, future = self._emptying.popleft()
                try:
                    answer = await self.in_writer_thread(self._emptied, patience)
                except Exception as error:
                    answer = self._explained(error)
                _settle(future, answer)
            if not self._waiting:
                self._woken.clear()
                await self._woken.wait()
                continue
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH))]
            try:
                answers = await self._commit_together([operation for operation, _ in batch])
            except Exception as error:
                self._roll_back()
                if getattr(error, "sqlite_errorname", "") in BUSY:
                    # Those who wait behind have waited as long, or will: one patience is for all.
                    batch += self._waiting
                    self._waiting.clear()
                answers = [self._explained(error)] * len(batch)
            for (_, future), answer in zip(batch, answers, strict=True):
                _settle(future, answer)

    async def _commit_together(self, operations: list[Operation]) -> list[Any]:
        """Carries out operations in one transaction; for each what it returned, or the exception that undid it."""
        await self._begin()
        changes = self._writing.total_changes
        pace = Allowance()
        answers: list[Any] = []
        for operation in operations:
            await pace.rest()
            self._writing.execute("SAVEPOINT operation")
            try:
                answers.append(await operation(self._transaction))
            except Exception as error:
                # A full disk may end the whole transaction; then nothing of the others is left either.
                if not self._writing.in_transaction:
                    raise
                self._writing.execute("ROLLBACK TO operation")
                answers.append(self._explained(error))
            self._writing.execute("RELEASE operation")
        self.health.check_place()
        if self._waits_for_disk:
            # In a thread; meanwhile the loop reads, and the next operations gather.
            await self.in_writer_thread(self._writing.execute, "COMMIT")
        else:
            self._writing.execute("COMMIT")
        # What went into a file that is not there any more must not be acknowledged.
        self.health.check_place()
        if self._writing.total_changes != changes:
            self.written.set()
        return answers

    def _explained(self, error: Exception) -> Exception:
        """A fault of the database in words; one of the program as it is."""
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, _FAULTS):
            return self.health.explain(error)
        return error

    async def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LOCK_PATIENCE
        while True:
            try:
                self._writing.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorname", "") not in BUSY or loop.time() > deadline:
                    raise
                await asyncio.sleep(0.002)

    def _roll_back(self) -> None:
        with suppress(sqlite3.Error):
            if self._writing.in_transaction:
                self._writing.execute("ROLLBACK")

    async def check(self) -> None:
        """Raises `Unavailable` when no write can be made durable, or when the file is not what it was.

        Those who ask at the same time share one check.
        """
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check(), name="check of readiness")
        await asyncio.shield(self._checking)

    async def _check(self) -> None:
        self.health.check_place()
        size = LARGE_CHECK if self.health.write_failed else SMALL_CHECK

        async def make_room(write: Transaction) -> None:
            await write.execute(_take_room, {"size": size})
            await write.execute(_give_room, {})

        try:
            await asyncio.wait_for(self.write(make_room), CHECK_PATIENCE)
        except TimeoutError as error:
            raise Unavailable("A write has been waiting for its turn for long.") from error
        self.health.write_failed &= size == SMALL_CHECK
        await self.health.check()


def _settle(future: asyncio.Future[Any], answer: Any) -> None:
    if future.done():
        return
    if isinstance(answer, BaseException):
        future.set_exception(answer)
        # A caller that went away does not ask for it; that is no lost error.
        future.exception()
    else:
        future.set_result(answer)
