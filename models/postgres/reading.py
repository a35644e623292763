"""Reads: each takes a connection for itself, in the turn of its credential, until its deadline."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from models.allowance import Allowance
from models.errors import TookTooLong
from models.postgres.faults import explained
from models.postgres.forms import Form, form_of
from models.statements import Parameters, Statement
from models.store import R, Reader, Receive

if TYPE_CHECKING:
    from models.postgres.database import PostgresStore

ROWS_TOGETHER = 500
"""Rows of a stream that are in memory together."""

TOO_LONG = "This took too long; ask for less at once."


def seconds_left(allowance: Allowance) -> float | None:
    """The seconds until the deadline; None without one. Raises `TookTooLong` past it."""
    if allowance.deadline == inf:
        return None
    left = allowance.deadline - monotonic()
    if left <= 0:
        raise TookTooLong(TOO_LONG)
    return left


def count_bytes(rows: list[Any], form: Form, allowance: Allowance) -> None:
    """Counts the long texts of rows; raises `TooLarge` if the request may not read as many bytes."""
    size = 0
    for text in form.wide:
        texts: Iterable[str | None] = map(text, rows)
        size += sum(map(len, filter(None, texts)))
    allowance.has_bytes(size)
    allowance.bytes_left -= size


class PostgresReader(Reader):
    """The reads of one request."""

    def __init__(self, store: "PostgresStore", allowance: Allowance) -> None:
        self._store = store
        self.allowance = allowance

    async def look_up(self, statement: Statement[R], parameters: Parameters) -> R | None:
        rows = await self.fetch(statement, parameters)
        return rows[0] if rows else None

    async def fetch(self, statement: Statement[R], parameters: Parameters, *, slowly: bool = False) -> list[R]:
        form: Form = statement.forms.get("postgres") or form_of(statement)
        store, allowance = self._store, self.allowance
        store.observe(form)
        async with self._connection() as connection:
            rows = await connection.fetch(
                form.text, *form.bound(parameters), timeout=seconds_left(allowance), record_class=form.row
            )
        if form.wide:
            count_bytes(rows, form, allowance)
        await allowance.rest()
        return rows

    async def stream(self, statement: Statement[Any], parameters: Parameters, receive: Receive) -> None:
        form = form_of(statement)
        self._store.observe(form)
        async with self._connection() as connection, connection.transaction(readonly=True):
            values = form.bound(parameters)
            cursor = await connection.cursor(form.text, *values, timeout=seconds_left(self.allowance))
            while rows := await cursor.fetch(ROWS_TOGETHER, timeout=seconds_left(self.allowance)):
                await self._store.threads.run(self.allowance, _give, rows, receive)

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Any]:
        store, allowance = self._store, self.allowance
        try:
            async with store.reads.connection(allowance) as connection:
                yield connection
        except Exception as error:
            raise explained(error) from error


def _give(rows: list[Any], receive: Receive) -> None:
    for row in rows:
        receive(tuple(row))
