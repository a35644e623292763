"""The database: opening, reading and writing it.

Reads have connections of their own. All writes of a process go through one writer (group commit): the waiting
operations run in one transaction, each in its own savepoint, and are acknowledged after its commit.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import text

from models.allowance import Allowance
from models.errors import ConstraintViolated, DatabaseProblem, Unavailable
from models.heavy import HEAVY
from models.keys import lane_of
from models.leaves import stored_leaves
from models.loop_turns import LoopTurns
from models.notices import Listener, combined
from models.sqlite.backups import remove_backups
from models.sqlite.clearing import SqliteClearing
from models.sqlite.containment import json_contains
from models.sqlite.file_health import BUSY, FileHealth, problem_of
from models.sqlite.forms import Form
from models.sqlite.reading import ReadConnection, SlowReads, SqliteReader
from models.sqlite.telling import SqliteTelling
from models.sqlite.transaction import SqliteTransaction
from models.statements import Statement
from models.store import SLOW_READERS, AtOnce, Reader, Store, T, Transaction
from models.threads import Turns
from models.words import index_text

log = structlog.get_logger("recallql.database")

BATCH = 256
"""Most operations that share a commit; the others wait for the next one."""

LOCK_PATIENCE = 30.0
"""Seconds that a write waits for another process's write."""

# A row that allocates and frees pages of the file, and so writes them to the log.
_take_room = Statement(text("INSERT INTO leases VALUES ('check', zeroblob(:size), 0)"), upkeep=True)
_give_room = Statement(text("DELETE FROM leases WHERE name = 'check'"), upkeep=True)

SMALL_CHECK, LARGE_CHECK = 8 * 1024, 512 * 1024
"""Bytes that a readiness check writes; the larger number after a write has failed for lack of space."""

CHECK_PATIENCE = 2.0
"""Seconds after which a readiness check stops waiting."""

# These mean that a statement is wrong.
_FAULTS = (sqlite3.ProgrammingError, sqlite3.NotSupportedError)


def connect(path: Path, *, timeout: float = LOCK_PATIENCE, alone: bool = False) -> sqlite3.Connection:
    """Opens a connection with the settings of all connections: WAL, durable commits, foreign keys, secure deletion.

    While one that is `alone` is open, nobody else can open the file.
    """
    connection = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
    if alone:
        # Before the first access: the lock is then on the file, and not on parts of its log.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.create_function("json_contains", 2, json_contains, deterministic=True)
    connection.create_function("indexed", 1, index_text, deterministic=True)
    connection.create_function("lane_of", 1, lane_of, deterministic=True)
    connection.create_function("leaves_of", 3, stored_leaves, deterministic=True)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("PRAGMA cache_size = -16384")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


Operation = Callable[[Transaction], Awaitable[Any]]


class SqliteStore(Store):
    """One SQLite file. Made by `open`, closed by `close`; used from one event loop."""

    writes_json = True
    waits_for_reads = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listener: Callable[[str], None] | None = None
        """A function that is called with each statement of a request; tests count statements with it."""
        self._telling = SqliteTelling(self)
        self.written = asyncio.Event()
        self._waiting: deque[tuple[Operation, asyncio.Future[Any]]] = deque()
        self._emptying: deque[tuple[float, asyncio.Future[bool]]] = deque()
        self._woken = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recallql-writer")
        self._closing = False
        self.loop_turns = LoopTurns()
        """Turns for requests that use the event loop for long."""
        self.heavy = Turns(HEAVY)
        """Slots for requests that hold many bytes of rows: see `models.allowance`."""
        self._checking: asyncio.Task[None] | None = None
        self.health = FileHealth(path)

    @classmethod
    async def open(cls, path: Path, *, durable: bool = True, slow_readers: int = SLOW_READERS) -> "SqliteStore":
        store = cls(path)
        try:
            store.reading = ReadConnection(connect(path), store.health)
            store.slow_reads = SlowReads(path, slow_readers, connect, store.health)
            # SQLite must not sleep in the event loop for a lock: the writer does the waiting itself.
            store._writing = connect(path, timeout=0)
            store.health.watch(store._writing)
        except sqlite3.Error as error:
            raise DatabaseProblem(problem_of(error, path)) from error
        store._waits_for_disk = durable
        if not durable:
            store._writing.execute("PRAGMA synchronous = NORMAL")
        store._transaction = SqliteTransaction(store._writing, store)
        store._writer = asyncio.create_task(store._write_on(), name="writer")
        store.clearing = SqliteClearing(store)
        store.clearing.start()
        return store

    reading: ReadConnection
    """For short reads in the event loop."""
    slow_reads: SlowReads
    _writing: sqlite3.Connection
    _transaction: SqliteTransaction
    _writer: asyncio.Task[None]
    _waits_for_disk: bool
    clearing: SqliteClearing  # pyright: ignore[reportIncompatibleVariableOverride] - it is never reassigned

    @property
    def reader(self) -> Reader:
        return SqliteReader(self, Allowance())

    def read_within(self, allowance: Allowance, *, may_lag: bool = False) -> Reader:
        return SqliteReader(self, allowance)

    async def listen(self, listener: Listener) -> Callable[[], None]:
        return await self._telling.listen(listener)

    async def keep_checked(self) -> None:
        await self.health.keep_checked()

    async def remove_backups(self, *, older_than: float) -> list[str]:
        return await asyncio.to_thread(remove_backups, self.path, older_than)

    async def close(self) -> None:
        """Finishes queued writes, then closes the file."""
        await self.clearing.stop()
        await self._telling.close()
        self._closing = True
        self._woken.set()
        await self._writer
        await asyncio.to_thread(self.slow_reads.close)
        self.reading.sqlite.close()
        self._thread.shutdown()
        self._writing.close()
        self.health.close()

    def observe(self, form: Form) -> None:
        """Reports a request's statement that is about to run to `listener`."""
        if self.listener is not None and not form.upkeep:
            self.listener(form.text)

    async def in_writer_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def write(
        self,
        operation: Callable[[Transaction], Awaitable[T]],
        allowance: Allowance | None = None,
        *,
        at_once: AtOnce[T] | None = None,
    ) -> T:
        if self._closing:
            raise Unavailable("The server is stopping; try again.")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        async def either(write: Transaction) -> T:
            done = None if at_once is None else await at_once(write)
            return await operation(write) if done is None else done

        self._waiting.append((operation if at_once is None else either, future))
        self._woken.set()
        return await future

    def move_log(self) -> None:
        """Checkpoints the write-ahead log as far as possible without a lock that others would wait for."""
        # If the file has been moved away, connecting to its path would create another one.
        self.health.check_file()
        with closing(connect(self.path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    async def empty_log(self, patience: float) -> bool:
        """Checkpoints the rest of the write-ahead log and truncates it; False while a reader pins it.

        It waits for readers and other processes up to a number of seconds, and writes wait behind it.
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
            # Before the look at what waits: what comes, or closes the store, while the log is emptied sets it again.
            self._woken.clear()
            while self._emptying:
                # At this point this process has no open transaction that would block it.
                patience, future = self._emptying.popleft()
                try:
                    answer = await self.in_writer_thread(self._emptied, patience)
                except Exception as error:
                    answer = self._explained(error)
                _settle(future, answer)
            if not self._waiting:
                await self._woken.wait()
                continue
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH))]
            try:
                answers = await self._commit_together([operation for operation, _ in batch])
            except Exception as error:
                self._roll_back()
                if getattr(error, "sqlite_errorname", "") in BUSY:
                    # The operations behind it share this timeout instead of each waiting in turn.
                    batch += self._waiting
                    self._waiting.clear()
                answers = [self._explained(error)] * len(batch)
            for (_, future), answer in zip(batch, answers, strict=True):
                _settle(future, answer)

    async def _commit_together(self, operations: list[Operation]) -> list[Any]:
        """Runs operations in one transaction; for each its result, or the exception that rolled it back."""
        await self._begin()
        changes, noted = self._writing.total_changes, self._transaction.notices
        noted.clear()
        pace = Allowance()
        answers: list[Any] = []
        for operation in operations:
            await pace.rest()
            before = len(noted)
            self._writing.execute("SAVEPOINT operation")
            try:
                answers.append(await operation(self._transaction))
            except Exception as error:
                # A full disk may end the whole transaction; then the other operations are rolled back too.
                if not self._writing.in_transaction:
                    raise
                self._writing.execute("ROLLBACK TO operation")
                del noted[before:]
                answers.append(self._explained(error))
            self._writing.execute("RELEASE operation")
        told = combined(noted)
        if told:
            await self._telling.note(self._transaction, told)
        self.health.check_file()
        if self._waits_for_disk:
            # In a thread; meanwhile the loop serves reads, and the next operations queue up.
            await self.in_writer_thread(self._writing.execute, "COMMIT")
        else:
            self._writing.execute("COMMIT")
        # A commit to a file that was moved away must not be acknowledged.
        self.health.check_file()
        if self._writing.total_changes != changes:
            self.written.set()
            self._telling.tell(told)
        return answers

    def _explained(self, error: Exception) -> Exception:
        """Translates an error of the database; returns one of the program unchanged."""
        if isinstance(error, sqlite3.IntegrityError):
            return ConstraintViolated(str(error))
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
        """Raises `Unavailable` also when the file was replaced. Concurrent callers share one check."""
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check(), name="check of readiness")
        await asyncio.shield(self._checking)

    async def _check(self) -> None:
        self.health.check_file()
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
        # A cancelled caller does not retrieve the exception; asyncio must not log it as lost.
        future.exception()
    else:
        future.set_result(answer)
