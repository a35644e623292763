"""The writer's transaction on SQLite."""

import sqlite3
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from models.allowance import Allowance
from models.errors import ConstraintViolated
from models.notices import Notice, notices_of
from models.sqlite.forms import Form, form_of
from models.sqlite.reading import SqliteReader
from models.statements import Parameters, R, Statement
from models.store import Transaction

if TYPE_CHECKING:
    from models.sqlite.database import SqliteStore


class SqliteTransaction(SqliteReader, Transaction):
    """The operation that the writer is running."""

    runs_alone = True

    def __init__(self, connection: sqlite3.Connection, store: "SqliteStore") -> None:
        super().__init__(store, Allowance())
        self._connection = connection
        self._shapes: dict[str, sqlite3.Cursor] = {}
        self.notices: list[Notice] = []
        """Those of the rows changed since the beginning."""

    async def execute(self, statement: Statement[Any], parameters: Parameters, *, slowly: bool = False) -> int:
        form: Form = statement.forms.get("sqlite") or form_of(statement)
        if self._store.listener is not None:
            self._store.observe(form)
        values = form.bound(parameters) if form.binds else parameters
        if slowly:
            return (await self._store.in_writer_thread(self._connection.execute, form.text, values)).rowcount
        return self._connection.execute(form.text, values).rowcount

    @asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None]:
        noted = len(self.notices)
        self._connection.execute("SAVEPOINT part")
        try:
            yield
        except Exception as error:
            # A full disk may have ended the whole transaction.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK TO part")
            del self.notices[noted:]
            if isinstance(error, sqlite3.IntegrityError):
                raise ConstraintViolated(str(error)) from error
            raise
        finally:
            if self._connection.in_transaction:
                self._connection.execute("RELEASE part")

    @asynccontextmanager
    async def deferred_references(self) -> AsyncGenerator[None]:
        self._connection.execute("PRAGMA defer_foreign_keys = ON")
        try:
            yield
        finally:
            self._connection.execute("PRAGMA defer_foreign_keys = OFF")

    async def insert(self, statement: Statement[R], shape: Statement[R], rows: Sequence[dict[str, Any]]) -> list[R]:
        form, row_form = form_of(statement), form_of(shape)
        self._store.observe(form)
        self._connection.executemany(form.text, rows)
        cursor = self._shapes.get(row_form.text)
        if cursor is None:
            cursor = self._shapes[row_form.text] = self._connection.execute(row_form.text, row_form.defaults)
        return [form.row(cursor, tuple(row.values())) for row in rows]

    # Always the writer's own connection: only there the uncommitted rows are visible.

    async def look_up(self, statement: Statement[R], parameters: Parameters) -> R | None:
        form = form_of(statement)
        rows = self._rows(form, form.bound(parameters))
        return rows[0] if rows else None

    async def fetch(self, statement: Statement[R], parameters: Parameters, *, slowly: bool = False) -> list[R]:
        form: Form = statement.forms.get("sqlite") or form_of(statement)
        if self._store.listener is not None:
            self._store.observe(form)
        values = form.bound(parameters) if form.binds else parameters
        if slowly:
            return await self._store.in_writer_thread(self._rows, form, values)
        return self._rows(form, values)

    def _rows(self, form: Form, values: Parameters) -> list[Any]:
        cursor = self._connection.cursor()
        cursor.row_factory = form.row
        return cursor.execute(form.text, values).fetchall()

    def changed(self, table: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> None:
        self.notices += notices_of(table, before, after)
