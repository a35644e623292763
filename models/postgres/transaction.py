"""A transaction on PostgreSQL."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from models.allowance import Allowance
from models.errors import ConstraintViolated, Overtaken
from models.notices import Notice, notices_of
from models.postgres.faults import TAKEN
from models.postgres.forms import Form, form_of
from models.postgres.reading import PostgresReader
from models.statements import Parameters, R, Statement
from models.store import Held, Receive, Transaction

if TYPE_CHECKING:
    from models.postgres.database import PostgresStore


class Wanted(NamedTuple):
    """A lock on the row with a key, which a statement with these values reads."""

    form: Form
    values: Sequence[Any]
    key: bytes

    @property
    def order(self) -> tuple[int, bytes, bool]:
        """The order in which all transactions take their locks, the one that excludes all others first."""
        return self.form.rank or 0, self.key, self.form.strength != "UPDATE"


class Missed(Overtaken):
    """Another transaction has a lock that comes before those that this one holds: begun anew, it waits for it first."""

    def __init__(self, wanted: Wanted) -> None:
        super().__init__("another transaction holds a row that comes before those that this one holds")
        self.wanted = wanted


class PostgresTransaction(PostgresReader, Transaction):
    """The transaction of one operation, which takes the locks of its statements: see `models.locks`.

    `is_last`: a key that is taken is no longer assumed to be that of a faster transaction.
    """

    clears_files = False
    runs_alone = False

    def __init__(self, store: "PostgresStore", connection: Any, *, is_last: bool = False) -> None:
        super().__init__(store, Allowance())
        self._connection_held = connection
        self._is_last = is_last
        self._rank = -1
        """The highest rank of the rows locked or changed so far."""
        self.held: Held | None = Held()
        self.notices: list[Notice] = []
        """Those of the rows changed so far."""
        self.has_written = False

    async def take(self, wanted: Wanted) -> list[Any]:
        """Waits for a lock, and takes it."""
        rows = await self._connection_held.fetch(wanted.form.locking, *wanted.values, record_class=wanted.form.row)
        if rows:
            self._rank = max(self._rank, wanted.form.rank or 0)
        return rows

    async def fetch(self, statement: Statement[R], parameters: Parameters, *, slowly: bool = False) -> list[R]:
        form: Form = statement.forms.get(self._store.kind) or form_of(statement, self._store.kind)
        self._store.observe(form)
        values = form.bound(parameters)
        if form.rank is not None:
            return await self._lock(form, Wanted(form, values, parameters["key"]))
        self._note_write(form)
        return await self._connection_held.fetch(form.text, *values, record_class=form.row)

    def _note_write(self, form: Form) -> None:
        self.has_written |= form.writes
        self._rank = max(self._rank, form.changed)

    async def _lock(self, form: Form, wanted: Wanted) -> list[Any]:
        if wanted.order[0] > self._rank:
            return await self.take(wanted)
        rows = await self._connection_held.fetch(form.trying, *wanted.values, record_class=form.row)
        if not rows and await self._connection_held.fetch(form.text, *wanted.values):
            raise Missed(wanted)
        return rows

    async def stream(self, statement: Statement[Any], parameters: Parameters, receive: Receive) -> None:
        for row in await self.fetch(statement, parameters):
            receive(tuple(row))  # pyright: ignore[reportArgumentType] - a row is its values

    async def execute(self, statement: Statement[Any], parameters: Parameters, *, slowly: bool = False) -> int:
        form: Form = statement.forms.get(self._store.kind) or form_of(statement, self._store.kind)
        self._store.observe(form)
        self._note_write(form)
        status = await self._connection_held.execute(form.text, *form.bound(parameters))
        return int(status.rpartition(" ")[2])

    async def insert(self, statement: Statement[R], shape: Statement[R], rows: Sequence[dict[str, Any]]) -> list[R]:
        form = form_of(statement, self._store.kind)
        self._store.observe(form)
        self.has_written = True
        values = [form.bound(row) for row in rows]
        if len(values) == 1:
            return await self._connection_held.fetch(form.text, *values[0], record_class=form.row)
        return await self._connection_held.fetchmany(form.text, values, record_class=form.row)

    @asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None]:
        noted, held, connection = len(self.notices), self.held and self.held.copy(), self._connection_held
        await connection.execute("SAVEPOINT block")
        try:
            yield
            await connection.execute("RELEASE block")
        except Exception as error:
            if not connection.is_closed():
                await connection.execute("ROLLBACK TO block; RELEASE block")
            # The locks that were taken in the block are gone with it.
            self.held = held
            del self.notices[noted:]
            if isinstance(error, TAKEN) and self._is_last:
                raise ConstraintViolated(str(error)) from error
            raise

    @asynccontextmanager
    async def deferred_references(self) -> AsyncGenerator[None]:
        await self._connection_held.execute("SET CONSTRAINTS ALL DEFERRED")
        try:
            yield
        finally:
            await self._connection_held.execute("SET CONSTRAINTS ALL IMMEDIATE")

    def changed(self, table: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> None:
        self.notices += notices_of(table, before, after)
