"""The store: a database as the packages above see it. It is opened by URL and queried with statements.

    async with opened(database_at("sqlite:///recallql.db")) as store:
        rows = await store.reader.fetch(statement, {"project": "default"})
        row = await store.write(operation)

`Store`, `Reader` and `Transaction` say what each database gives; everything that is one database's own is in its folder
(`models/sqlite/`). A read cannot write, since only a `Transaction` has the methods for that.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from typing import Any, NamedTuple, Protocol, TypeVar

from models.allowance import Allowance
from models.errors import DatabaseProblem
from models.loop_turns import LoopTurns
from models.statements import Parameters, Statement

R = TypeVar("R")
T = TypeVar("T")

SLOW_READERS = 4
"""Connections for reads that may take long."""

Receive = Callable[[tuple[Any, ...]], None]
"""A function that takes the values of one row."""


class Change(NamedTuple):
    """A row that a transaction has inserted, updated or deleted: the name of its table, and its values.

    An update has the values after it, a deletion those before it.
    """

    action: str
    table: str
    row: Mapping[str, Any]


Listener = Callable[[Sequence[Change]], None]
"""A function that is told of all rows that one transaction has changed, after it has become durable."""


class Reader(Protocol):
    """The reads of one request."""

    allowance: Allowance

    async def look_up(self, statement: Statement[R], parameters: Parameters) -> R | None:
        """The one row of a short read by an index, or None."""
        ...

    async def fetch(self, statement: Statement[R], parameters: Parameters, *, slowly: bool = False) -> list[R]:
        """All rows of a statement; `slowly` for one that may read more than it returns."""
        ...

    async def stream(self, statement: Statement[Any], parameters: Parameters, receive: Receive) -> None:
        """Gives all rows of a slow read to a function one by one, in the thread that reads them. None is kept."""
        ...


class Transaction(Reader, Protocol):
    """Reads and writes that become durable together, or not at all."""

    async def execute(self, statement: Statement[Any], parameters: Parameters, *, slowly: bool = False) -> int:
        """Carries out a statement; returns the number of rows that it changed."""
        ...

    async def insert(self, statement: Statement[R], shape: Statement[R], rows: Sequence[dict[str, Any]]) -> list[R]:
        """Inserts rows, whose values stand in the order of the columns of `shape`; returns them as rows of it."""
        ...

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """Undoes what is done within it, and nothing else of the transaction, when it raises."""
        ...

    def changed(self, action: str, table: str, row: Any) -> None:
        """Notes a change of a row for those who listen to commits."""
        ...


class Clearing(Protocol):
    """The removal of deleted bytes from the database's files, in the background."""

    async def status(self) -> dict[str, Any]:
        """The number of removals whose bytes still have to leave the files, since when, and the reason of a delay."""
        ...

    async def wait_for(self, removal: bytes, seconds: float) -> None:
        """Waits until the bytes of a removal have left the files, for so many seconds at most."""
        ...

    async def wait_briefly(self) -> None:
        """Waits for all removals so far, but only as long as that takes when nothing holds them up."""
        ...


class Store(Protocol):
    """One database, as one process uses it. Used from one event loop."""

    loop_turns: LoopTurns
    """For requests that use the event loop for long."""

    clearing: Clearing

    written: asyncio.Event
    """Set by every commit of this process that changed rows; the one task that waits for it clears it."""

    @property
    def reader(self) -> Reader:
        """Reads without limits, for what is no request."""
        ...

    def read_within(self, allowance: Allowance) -> Reader:
        """The reads of a request, within what it may use."""
        ...

    async def write(self, operation: Callable[[Transaction], Awaitable[T]]) -> T:
        """Carries out `operation` in a transaction and returns what it returned, once that is durable.

        What it raises undoes it and is raised here. Once queued it is carried out even if the caller goes away.
        """
        ...

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Has a function told of every commit of this process; returns a function that ends that."""
        ...

    async def check(self) -> None:
        """Raises `Unavailable` when no write can be made durable."""
        ...

    async def keep_checked(self) -> None:
        """Looks for damage of the database now and then, until it is cancelled."""
        ...

    async def remove_backups(self, *, older_than: float) -> list[str]:
        """Removes the copies that migrations have left so many seconds ago; returns their names."""
        ...

    async def close(self) -> None:
        """Carries out what was queued, then lets go of the database."""
        ...


class Snapshot(Protocol):
    """A database as it is at one moment; used from one thread, without an event loop."""

    def rows(self, statement: Statement[R], parameters: Parameters) -> Iterator[R]:
        """The rows of a statement, one by one as they are read."""
        ...


class Database(Protocol):
    """A database that a URL names, whether it is there or not."""

    @property
    def name(self) -> str:
        """Its name in messages to the operator."""
        ...

    def exists(self) -> bool: ...

    def migrate(self) -> None:
        """Makes the database if need be, and brings it to the tables of this version.

        `DatabaseProblem` says why it can't be used.
        """
        ...

    async def open(self, *, durable: bool = True, slow_readers: int = SLOW_READERS) -> Store:
        """Opens a migrated database. `durable` commits survive a power cut, others a crash of the process."""
        ...

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """The database as it is now."""
        ...


def database_at(url: str) -> Database:
    """The database that a URL names: `sqlite:///file`, or `sqlite:////folder/file` for an absolute path.

    `DatabaseProblem` says what is wrong with another URL.
    """
    scheme = url.partition("://")[0]
    if scheme in ("sqlite", "sqlite+aiosqlite"):
        # Only the driver that is used is loaded.
        from models.sqlite.engine import SqliteDatabase

        return SqliteDatabase.at(url)
    raise DatabaseProblem(
        f"The database URL {url.split('@')[-1]!r} is not one of this version's: give sqlite:///file "
        "(sqlite:////folder/file for an absolute path)."
    )


@asynccontextmanager
async def opened(database: Database) -> AsyncGenerator[Store]:
    """A store that is closed at the end of the block."""
    store = await database.open()
    try:
        yield store
    finally:
        await store.close()
