"""A PostgreSQL database that a URL names: see `models.store.Database`."""

import asyncio
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

from models.postgres.connecting import Address
from models.postgres.database import PostgresStore
from models.postgres.faults import is_postgres, problem_of
from models.postgres.forms import form_of
from models.postgres.migrate import migrate, prepare
from models.statements import Parameters, Statement
from models.store import CONNECTIONS, SLOW_READERS, Database, R, Snapshot

ROWS_TOGETHER = 500
"""Rows of a snapshot that are fetched together."""


class PostgresSnapshot(Snapshot):
    """A snapshot, in a transaction of its own connection."""

    def __init__(self, runner: asyncio.Runner, connection: Any) -> None:
        self._runner = runner
        self._connection = connection

    def rows(self, statement: Statement[R], parameters: Parameters) -> Iterator[R]:
        form = form_of(statement)
        cursor = self._runner.run(self._open(form, parameters))
        while rows := self._runner.run(cursor.fetch(ROWS_TOGETHER)):
            yield from rows

    async def _open(self, form: Any, parameters: Parameters) -> Any:
        return await self._connection.cursor(form.text, *form.bound(parameters), record_class=form.row)


class PostgresDatabase(Database):
    """A database of a server. Its name in messages is its URL without the password."""

    def __init__(self, url: str) -> None:
        self.address = Address(url)

    @property
    def name(self) -> str:
        return self.address.name

    def exists(self) -> bool:
        return True

    def prepare(self) -> None:
        asyncio.run(prepare(self.address))

    def migrate(self) -> None:
        asyncio.run(migrate(self.address))

    async def open(
        self, *, durable: bool = True, slow_readers: int = SLOW_READERS, connections: int = CONNECTIONS
    ) -> PostgresStore:
        return await PostgresStore.open(self.address, durable=durable, connections=connections)

    @contextmanager
    def snapshot(self) -> Generator[PostgresSnapshot]:
        with asyncio.Runner() as runner:
            connection = None
            try:
                connection = runner.run(self._begin())
                yield PostgresSnapshot(runner, connection)
            except Exception as error:
                if is_postgres(error):
                    raise problem_of(error, self.name, self.address.user) from error
                raise
            finally:
                if connection is not None:
                    runner.run(connection.close())

    async def _begin(self) -> Any:
        connection = await self.address.connect()
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return connection
