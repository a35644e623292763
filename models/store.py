"""The store: the interface of a database for the packages above. It is opened by URL and queried with statements.

    async with opened(database_at("sqlite:///recallql.db")) as store:
        rows = await store.reader.fetch(statement, {"project": "default"})
        row = await store.write(operation)

Every database implements `Store`, `Reader` and `Transaction`; code specific to a database is in its folder
(`models/sqlite/`). A `Reader` cannot write, since only a `Transaction` has the methods for that.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sqlalchemy import Table

from models.allowance import Allowance
from models.errors import DatabaseProblem
from models.loop_turns import LoopTurns
from models.notices import Listener
from models.revisions import Report, say_nothing
from models.statements import Parameters, Statement

if TYPE_CHECKING:
    from models.full_text import FullText
    from models.vectors import Vectors

R = TypeVar("R")
T = TypeVar("T")

SLOW_READERS = 4
"""Connections for reads that may take long."""

CONNECTIONS = 16
"""Connections of a process to a database server: half for reads, half for writes."""

Receive = Callable[[tuple[Any, ...]], None]
"""A function that is called with the values of one row."""

CopyProgress = Callable[[int, int], None]
"""A function that is called with the pages that were copied so far, and with the number of all pages."""

OWN_TOOLS = "PostgreSQL has tools of its own: pg_dump makes a backup, and pg_restore restores it."


class Held:
    """The rows that a transaction holds until its end; see `models.locks`."""

    __slots__ = ("changing", "sessions", "users")

    def __init__(self) -> None:
        self.users: dict[bytes, bool | None] = {}
        """The users who can't be erased meanwhile, and their choice to form memories."""
        self.sessions: dict[bytes, bytes | None] = {}
        """The sessions that nobody else can change meanwhile, and their users."""
        self.changing: set[bytes] = set()
        """The users and agents whose memories nobody else can change meanwhile."""

    def copy(self) -> "Held":
        copied = Held()
        copied.users, copied.sessions = self.users.copy(), self.sessions.copy()
        copied.changing = self.changing.copy()
        return copied


class Reader(Protocol):
    """The reads of one request. `full_text` and `vectors` are how its database searches; with `has_leaves` it has the
    leaves of metadata in a table (see `models.leaves`)."""

    allowance: Allowance
    full_text: "FullText"
    vectors: "Vectors"
    has_leaves: bool = False

    held: Held | None = None
    """The rows that a transaction holds, where transactions run at the same time; None for all other reads."""

    async def look_up(self, statement: Statement[R], parameters: Parameters) -> R | None:
        """The one row of a short read by index, or None."""
        ...

    async def fetch(self, statement: Statement[R], parameters: Parameters, *, slowly: bool = False) -> list[R]:
        """All rows of a statement; `slowly` if it may read more rows than it returns."""
        ...

    async def stream(self, statement: Statement[Any], parameters: Parameters, receive: Receive) -> None:
        """Calls a function with each row of a slow read, in the reading thread. No row is kept."""
        ...


class Transaction(Reader, Protocol):
    """Reads and writes that become durable together, or not at all."""

    runs_alone: bool
    """True if no other transaction of the database writes at the same time."""

    clears_files: bool = True
    """False where the database removes deleted bytes from its files by itself (see `models.removals`)."""

    async def execute(self, statement: Statement[Any], parameters: Parameters, *, slowly: bool = False) -> int:
        """Executes a statement; returns the number of rows that it changed."""
        ...

    async def insert(self, statement: Statement[R], shape: Statement[R], rows: Sequence[dict[str, Any]]) -> list[R]:
        """Inserts rows whose values are in the order of the columns of `shape`; returns them as rows of it."""
        ...

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """A savepoint: if the block raises, only its own changes are rolled back."""
        ...

    def deferred_references(self) -> AbstractAsyncContextManager[None]:
        """A block in which a key and the references to it may change one after the other."""
        ...

    def changed(self, table: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> None:
        """Notes a change of a row for those who listen (see `models.notices`)."""
        ...


AtOnce = Callable[[Transaction], Awaitable[T | None]]
"""An operation that does not read before it writes; where transactions run at the same time, it is one statement."""


class Clearing(Protocol):
    """Removes deleted bytes from the database's files, in the background."""

    async def status(self) -> dict[str, Any]:
        """The number of removals with bytes still in the files, the time of the oldest, and the reason of a delay."""
        ...

    async def wait_for(self, removal: bytes, seconds: float) -> None:
        """Waits until the bytes of a removal have left the files, up to a number of seconds."""
        ...

    async def wait_briefly(self) -> None:
        """Waits for all removals so far, but no longer than they take when nothing delays them."""
        ...


class Store(Protocol):
    """One database, as one process uses it. Used from one event loop."""

    loop_turns: LoopTurns
    """Turns for requests that use the event loop for long."""

    clearing: Clearing

    writes_json: bool
    """True if a page's rows may have values as JSON (see `models.keyset.Slice`), and this is the faster way."""

    waits_for_reads: bool
    """True if every read waits, for a server; False if short ones are done at once."""

    written: asyncio.Event
    """Set by every commit of this process that changed rows; the one task that waits for it clears it."""

    @property
    def reader(self) -> Reader:
        """Reads without limits, for work outside requests."""
        ...

    def read_within(self, allowance: Allowance, *, may_lag: bool = False) -> Reader:
        """The reads of a request, within its allowance; from a replica, if they may lag and there is one."""
        ...

    async def write(
        self,
        operation: Callable[[Transaction], Awaitable[T]],
        allowance: Allowance | None = None,
        *,
        at_once: AtOnce[T] | None = None,
    ) -> T:
        """Runs `operation` in a transaction and returns its result once the transaction is durable.

        An exception rolls it back and is raised here. Once queued it runs even if the caller is cancelled. Where
        transactions run at the same time, it may be called again, after everything of the call before was undone; those
        that wait take turns by the credential of `allowance`.

        `at_once` does the same without reading first, or returns None and changes nothing: then `operation` is run. It
        is tried once.
        """
        ...

    async def listen(self, listener: Listener) -> Callable[[], None]:
        """Calls a function with the notices of every commit from now on, of any process; returns a function that ends
        this. Those of this process come at once."""
        ...

    async def check(self) -> None:
        """Raises `Unavailable` when writes cannot be made durable."""
        ...

    async def keep_checked(self) -> None:
        """Checks the database for damage now and then, until it is cancelled."""
        ...

    async def remove_backups(self, *, older_than: float) -> list[str]:
        """Removes the copies that migrations left at least this many seconds ago; returns their names."""
        ...

    async def close(self) -> None:
        """Finishes queued writes, then closes the database."""
        ...


class Snapshot(Protocol):
    """A snapshot of a database; used from one thread, without an event loop."""

    def rows(self, statement: Statement[R], parameters: Parameters) -> Iterator[R]:
        """The rows of a statement, one by one as they are read."""
        ...


class Filling(Snapshot, Protocol):
    """A database that is filled with the rows of another one, and that nobody else uses meanwhile."""

    def transaction(self) -> AbstractContextManager[None]:
        """A block whose changes become durable together at its end, or not at all."""
        ...

    def execute(self, statement: Statement[Any], parameters: Parameters) -> None: ...

    def begin(self) -> None:
        """Prepares the database for many rows. It is also called when a filling that was interrupted goes on."""
        ...

    def add(self, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        """Adds rows, each with the values of all columns of the table."""
        ...

    def complete(self) -> None:
        """Adds what only this kind of database has, once all rows are there."""
        ...


class Database(Protocol):
    """A database that a URL names; it need not exist yet."""

    @property
    def name(self) -> str:
        """Its name in messages to the operator."""
        ...

    @property
    def url(self) -> str:
        """Its URL, without user and password."""
        ...

    def exists(self) -> bool: ...

    def prepare(self) -> None:
        """Makes the database ready for use: creates the tables in an empty one, and migrates a file. The database of a
        server, which others may be using, must have been migrated.

        Raises `DatabaseProblem` if it can't be used.
        """
        ...

    def migrate(self, report: Report = say_nothing, *, on_citus: bool = False) -> None:
        """Creates the tables, or migrates them to this version; reports each migration that it has applied. `on_citus`
        tables are distributed over the machines of a cluster: see `models.distribution`.

        All of them become durable together, or none. Raises `DatabaseProblem` if that is impossible.
        """
        ...

    def missing(self, *, on_citus: bool = False) -> list[str]:
        """A line about each thing that `migrate` would do. Changes nothing."""
        ...

    async def open(
        self,
        *,
        prepares: bool = False,
        durable: bool = True,
        slow_readers: int = SLOW_READERS,
        connections: int = CONNECTIONS,
        replica_url: str = "",
        direct_url: str = "",
    ) -> Store:
        """Opens a database that was prepared, or `prepares` it before. `durable` commits survive a power cut, others a
        crash of the process."""
        ...

    def check_version(self) -> None:
        """Raises `DatabaseProblem` unless the database has this version's tables, all of them filled if it is a copy.
        Changes nothing."""
        ...

    def identity(self) -> object:
        """A value that is equal for two URLs of the same database."""
        ...

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Opens a snapshot of the database."""
        ...

    def filling(self) -> AbstractContextManager[Filling]:
        """Opens the database to be filled, and creates its tables if it has none.

        Raises `DatabaseProblem` if it has those of another version, or if others are using it.
        """
        ...

    def back_up(self, target: Path, *, overwrite: bool, progress: CopyProgress) -> None:
        """Copies the database to a file, also while it is written to.

        Raises `DatabaseProblem` if that can't be done, and leaves no incomplete file.
        """
        raise DatabaseProblem(OWN_TOOLS)

    def restore(self, backup: Path, *, progress: CopyProgress) -> str | None:
        """Puts a copy of a backup in the place of the database; returns where the former one is now, if any.

        Raises `DatabaseProblem` if that can't be done; then the database is as before.
        """
        raise DatabaseProblem(OWN_TOOLS)


def database_at(url: str) -> Database:
    """The database that a URL names: `sqlite:///file` (`sqlite:////folder/file` for an absolute path), or
    `postgresql://user@host/database`.

    Raises `DatabaseProblem` for an invalid URL.
    """
    scheme = url.partition("://")[0]
    # Loads only the driver in use.
    if scheme in ("sqlite", "sqlite+aiosqlite"):
        from models.sqlite.engine import SqliteDatabase

        return SqliteDatabase.at(url)
    if scheme in ("postgresql", "postgres", "postgresql+asyncpg"):
        try:
            from models.postgres.engine import PostgresDatabase
        except ImportError as error:
            raise DatabaseProblem("PostgreSQL needs its driver: pip install 'recallql[postgres]'.") from error
        return PostgresDatabase(url)
    raise DatabaseProblem(
        f"The database URL {url.split('@')[-1]!r} is not one of this version's: give sqlite:///file "
        "(sqlite:////folder/file for an absolute path) or postgresql://user@host/database."
    )


@asynccontextmanager
async def opened(database: Database) -> AsyncGenerator[Store]:
    """A store that is closed at the end of the block."""
    store = await database.open()
    try:
        yield store
    finally:
        await store.close()
