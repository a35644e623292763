"""The store on PostgreSQL: a pool of connections, and one transaction for each mutation."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypedDict

import structlog
from asyncpg import LockNotAvailableError
from sqlalchemy import func, select

from models.allowance import Allowance
from models.errors import Unavailable
from models.heavy import HEAVY
from models.loop_turns import LoopTurns
from models.notices import Listener, combined
from models.postgres.attempts import BRIEFLY, Attempts
from models.postgres.connecting import Address, kind_of
from models.postgres.faults import AGAIN, TAKEN, problem_of
from models.postgres.forms import Form
from models.postgres.migrate import is_ready, prepare
from models.postgres.pool import Connections
from models.postgres.reading import PostgresReader
from models.postgres.replica import Replica
from models.postgres.telling import PostgresTelling
from models.postgres.transaction import PostgresTransaction
from models.statements import Statement
from models.store import AtOnce, Reader, Store, T, Transaction
from models.threads import Threads, Turns

log = structlog.get_logger("recallql.database")

CHECK_PATIENCE = 2.0
"""Seconds after which a readiness check stops waiting."""


class _Numbered(TypedDict):
    number: int
    read_only: str


# A transaction with a number has a commit that the server makes durable, although it changes no row.
_takes_number = Statement(
    select(func.pg_current_xact_id().label("number"), func.current_setting("transaction_read_only").label("read_only")),
    _Numbered,
    upkeep=True,
)


class PostgresStore(Store):
    """One PostgreSQL database, as one process uses it."""

    writes_json = False
    waits_for_reads = True

    def __init__(self, address: Address, *, durable: bool, direct: Address | None = None) -> None:
        self.address = address
        self._durable = durable
        self.listener: Callable[[str], None] | None = None
        """A function that is called with each statement of a request; tests count statements with it."""
        self.written = asyncio.Event()
        self._telling = PostgresTelling(self, direct or address)
        self.loop_turns = LoopTurns()
        self.threads = Threads("scoring", 2)
        self.heavy = Turns(HEAVY)
        """Slots for requests that hold many bytes of rows: see `models.heavy`."""
        self._writing: set[asyncio.Task[Any]] = set()
        self._closing = False
        self._checking: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        address: Address,
        *,
        durable: bool,
        connections: int,
        prepares: bool = False,
        replica: Address | None = None,
        direct: Address | None = None,
    ) -> "PostgresStore":
        store = cls(address, durable=durable, direct=direct)
        store.reads = Connections(address.connect, connections - connections // 2)
        store.writes = Connections(store._connect_to_write, connections // 2)
        try:
            # The server that starts is told what is wrong, and the first request finds a connection.
            async with store.reads.connection(Allowance()) as connection:
                if prepares and not await is_ready(connection):
                    await prepare(address)
                store.kind = await kind_of(connection)
            if replica is not None:
                store.replica = Replica(replica, store.reads)
                await store.replica.start()
        except Exception as error:
            await store.close()
            raise problem_of(error, address.name, address.user) from error
        store.clearing = NoFiles()
        return store

    reads: Connections
    writes: Connections
    kind = "postgres"
    """The kind of the database, by which the forms of statements are chosen: see `connecting.kind_of`."""
    replica: Replica | None = None

    async def _connect_to_write(self) -> Any:
        connection = await self.address.connect()
        if not self.address.is_pooled:
            # For operations of one statement; a transaction sets both for itself.
            await connection.execute(f"SET lock_timeout = {round(BRIEFLY * 1000)}{self._commits('SET')}")
        return connection

    def _commits(self, set: str) -> str:
        return "" if self._durable else f"; {set} synchronous_commit = off"

    @property
    def _writes_at_once(self) -> bool:
        """True if operations of one statement are tried. A pooler forgets how long a statement may wait for others, and
        on Citus one that goes to the shard of a session can't read users."""
        return self.kind == "postgres" and not self.address.is_pooled

    @property
    def reader(self) -> Reader:
        return PostgresReader(self, Allowance())

    def read_within(self, allowance: Allowance, *, may_lag: bool = False) -> Reader:
        return PostgresReader(self, allowance, self.replica if may_lag else None)

    async def listen(self, listener: Listener) -> Callable[[], None]:
        return await self._telling.listen(listener)

    def observe(self, form: Form) -> None:
        if self.listener is not None and not form.upkeep:
            self.listener(form.text)

    async def write(
        self,
        operation: Callable[[Transaction], Awaitable[T]],
        allowance: Allowance | None = None,
        *,
        at_once: AtOnce[T] | None = None,
    ) -> T:
        if self._closing:
            raise Unavailable("The server is stopping; try again.")
        task = asyncio.create_task(self._write(operation, allowance or Allowance(), at_once))
        self._writing.add(task)
        task.add_done_callback(self._written)
        return await asyncio.shield(task)

    def _written(self, task: asyncio.Task[Any]) -> None:
        self._writing.discard(task)
        # A cancelled caller does not retrieve the exception; asyncio must not log it as lost.
        if not task.cancelled():
            task.exception()

    async def _write(
        self, operation: Callable[[Transaction], Awaitable[T]], allowance: Allowance, at_once: AtOnce[T] | None
    ) -> T:
        attempts = Attempts(allowance)
        while True:
            try:
                async with self.writes.connection(allowance) as connection:
                    if at_once is not None and self._writes_at_once and attempts.may_wait:
                        done, at_once = await self._execute(connection, at_once, attempts), None
                        if done is not None:
                            return done
                    return await self._transact(connection, operation, attempts)
            except Exception as error:
                pause = attempts.pause_after(error)
                if pause is None:
                    raise attempts.explained(error) from error
            await asyncio.sleep(pause)

    async def _execute(self, connection: Any, at_once: AtOnce[T], attempts: Attempts) -> T | None:
        """Executes an operation of one statement; None if it has changed nothing, or others were faster."""
        write = PostgresTransaction(self, connection)
        attempts.is_committing = True
        try:
            done = await at_once(write)
        except (*AGAIN, *TAKEN, LockNotAvailableError):
            return None
        if done is not None:
            self._tell(write)
        return done

    async def _transact(
        self, connection: Any, operation: Callable[[Transaction], Awaitable[T]], attempts: Attempts
    ) -> T:
        write = PostgresTransaction(self, connection, is_last=attempts.is_last)
        try:
            await connection.execute(attempts.begin() + self._commits("SET LOCAL"))
            for wanted in attempts.wanted:
                await write.take(wanted)
            result = await operation(write)
            attempts.is_committing = True
            status = await connection.execute("COMMIT")
        except BaseException:
            await _undo(connection)
            raise
        if status != "COMMIT":
            raise RuntimeError("the operation has gone on after an error that undid its transaction")
        if write.has_written:
            self._tell(write)
        return result

    def _tell(self, write: PostgresTransaction) -> None:
        self.written.set()
        self._telling.committed(combined(write.notices))

    async def check(self) -> None:
        """Raises `Unavailable` also where the server is a standby, or takes no writes for another reason.

        Concurrent callers share one check.
        """
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check(), name="check of readiness")
        await asyncio.shield(self._checking)

    async def _check(self) -> None:
        async def look(write: Transaction) -> None:
            if (await write.fetch(_takes_number, {}))[0]["read_only"] == "on":
                raise Unavailable("The database takes no writes at the moment.")

        try:
            await asyncio.wait_for(self.write(look), CHECK_PATIENCE)
        except TimeoutError as error:
            raise Unavailable("The database has not answered for long.") from error

    async def keep_checked(self) -> None:
        """PostgreSQL checks its files itself (see `data_checksums`)."""

    async def remove_backups(self, *, older_than: float) -> list[str]:
        return []

    async def close(self) -> None:
        self._closing = True
        if self._writing:
            await asyncio.wait(self._writing)
        await self._telling.close()
        if self.replica is not None:
            await self.replica.close()
        await self.reads.close()
        await self.writes.close()
        await asyncio.to_thread(self.threads.close)


async def _undo(connection: Any) -> None:
    """Rolls a transaction back. Where that fails, the connection is closed when it is given back."""
    try:
        if connection.is_in_transaction() and not connection.is_closed():
            await connection.execute("ROLLBACK")
    except Exception:
        log.debug("the connection of a transaction is lost")


class NoFiles:
    """PostgreSQL clears its files by itself, with VACUUM: nothing tells when a row's bytes have left them."""

    async def status(self) -> dict[str, Any]:
        return {"waiting": 0, "since": None}

    async def wait_for(self, removal: bytes, seconds: float) -> None:
        pass

    async def wait_briefly(self) -> None:
        pass
