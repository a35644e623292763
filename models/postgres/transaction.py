"""A transaction on PostgreSQL."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from models.allowance import Allowance
from models.errors import ConstraintViolated
from models.postgres.faults import AGAIN
from models.postgres.forms import Form, form_of
from models.postgres.reading import PostgresReader
from models.statements import Parameters, R, Statement
from models.store import Change, Receive, Transaction

if TYPE_CHECKING:
    from models.postgres.database import PostgresStore


class PostgresTransaction(PostgresReader, Transaction):
    """The transaction of one operation. Rows that it reads by their keys stay until its end: see `Statement.lock`."""

    def __init__(self, store: "PostgresStore", connection: Any) -> None:
        super().__init__(store, Allowance())
        self._connection_held = connection
        self.changes: list[Change] = []
        """The rows changed so far; recorded only while there are listeners."""
        self.has_written = False

    async def fetch(self, statement: Statement[R], parameters: Parameters, *, slowly: bool = False) -> list[R]:
        form: Form = statement.forms.get("postgres") or form_of(statement)
        self._store.observe(form)
        self.has_written |= form.writes
        return await self._connection_held.fetch(form.locking, *form.bound(parameters), record_class=form.row)

    async def stream(self, statement: Statement[Any], parameters: Parameters, receive: Receive) -> None:
        for row in await self.fetch(statement, parameters):
            receive(tuple(row))  # pyright: ignore[reportArgumentType] - a row is its values

    async def execute(self, statement: Statement[Any], parameters: Parameters, *, slowly: bool = False) -> int:
        form: Form = statement.forms.get("postgres") or form_of(statement)
        self._store.observe(form)
        self.has_written = True
        status = await self._connection_held.execute(form.text, *form.bound(parameters))
        return int(status.rpartition(" ")[2])

    async def insert(self, statement: Statement[R], shape: Statement[R], rows: Sequence[dict[str, Any]]) -> list[R]:
        form = form_of(statement)
        self._store.observe(form)
        self.has_written = True
        values = [form.bound(row) for row in rows]
        if len(values) == 1:
            return await self._connection_held.fetch(form.text, *values[0], record_class=form.row)
        return await self._connection_held.fetchmany(form.text, values, record_class=form.row)

    @asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None]:
        noted = len(self.changes)
        try:
            async with self._connection_held.transaction():
                yield
        except Exception as error:
            del self.changes[noted:]
            if isinstance(error, AGAIN):
                raise ConstraintViolated(str(error)) from error
            raise

    @asynccontextmanager
    async def deferred_references(self) -> AsyncGenerator[None]:
        await self._connection_held.execute("SET CONSTRAINTS ALL DEFERRED")
        try:
            yield
        finally:
            await self._connection_held.execute("SET CONSTRAINTS ALL IMMEDIATE")

    def changed(self, action: str, table: str, row: Any) -> None:
        if self._store.listeners:
            self.changes.append(Change(action, table, row))
