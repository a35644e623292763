"""Databases of PostgreSQL for the tests. They are emptied after a test and used again: creating one takes forty times
as long."""

import asyncio
import itertools
import secrets
import threading
import time
from collections.abc import Coroutine, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
from sqlmodel import SQLModel

from models.postgres.connecting import Address
from models.store import database_at
from tests.kept_connections import BETWEEN, KeptConnections
from tests.places import Place, Places, Rows

T = TypeVar("T")

PATIENCE = 20.0
"""Seconds in which the connections of a test have to end."""

SMALL = 256 * 1024
"""Bytes of a table below which deleting its rows takes less than truncating it."""

KEPT = "alembic_version"

TABLES = (
    f"SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> '{KEPT}' "
    "AND tablename !~ '_[0-9]{5,}$'"
)
"""The names of the tables, without those that Citus makes for their parts."""

SEARCHED = ("documents", "memories", "messages")

COLUMNS = f"""SELECT table_name::text, array_agg(column_name::text ORDER BY ordinal_position)
FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> '{KEPT}' AND column_name <> 'terms'
GROUP BY table_name ORDER BY table_name"""
"""The columns of each table, without those of the full-text index."""

SCHEMA = """SELECT md5(string_agg(attrelid || ' ' || attname || ' ' || xmin, ',' ORDER BY attrelid, attnum))
FROM pg_attribute WHERE attrelid >= 16384"""
"""Differs once a column of a table or of an index was added, changed or dropped."""

OTHERS = f"""SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
AND application_name NOT LIKE 'citus%' AND application_name <> '{BETWEEN}'"""


class LoopThread:
    """An event loop in a thread, for the coroutines of tests, which may run in a loop themselves."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tests-postgres", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=300)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class PostgresPlace(Place):
    """A database of a server."""

    def __init__(self, url: str, places: "PostgresPlaces") -> None:
        self.url = url
        self.dsn = Address(url).dsn
        self.name = urlsplit(url).path[1:]
        self._places = places
        self._run = places.loop.run
        self._connection: Any = None
        self._schema: str | None = None

    async def connection(self) -> Any:
        """The one connection with which the tests themselves read and write."""
        if self._connection is None or self._connection.is_closed():
            self._connection = await Address(self.url).connect(application_name="tests")
        return self._connection

    def query(self, statement: str, *values: Any) -> Rows:
        return self._run(self._query(statement, *values))

    async def _query(self, statement: str, *values: Any) -> Rows:
        connection = await self.connection()
        return [tuple(row) for row in await connection.fetch(statement, *values)]

    def insert(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        names = list(rows[0])
        marks = ", ".join(f"${n}" for n, _ in enumerate(names, 1))
        statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})"

        async def insert() -> None:
            connection = await self.connection()
            await connection.executemany(statement, [[row[name] for name in names] for row in rows])

        self._run(insert())

    def tables(self) -> dict[str, Rows]:
        async def read() -> dict[str, Rows]:
            found: dict[str, Rows] = {}
            for name, columns in await self._query(COLUMNS):
                found[name] = await self._query(f"SELECT {', '.join(columns)} FROM {name}")
                if name in SEARCHED:
                    found[f"{name}_words"] = await self._query(f"SELECT number, terms::text FROM {name}")
            return found

        return self._run(read())

    def content(self) -> bytes:
        return repr(self.tables()).encode()

    def columns(self, table: str) -> set[str]:
        query = "SELECT column_name::text FROM information_schema.columns WHERE table_name = $1"
        return {name for (name,) in self.query(query, table)}

    @contextmanager
    def blocking_writes(self) -> Generator[None]:
        blocking = self._run(self._block())
        try:
            yield
        finally:
            self._run(blocking.close())

    async def _block(self) -> Any:
        names = [name for (name,) in await self._query(TABLES)]
        blocking = await Address(self.url).connect()
        await blocking.execute(f"BEGIN; LOCK TABLE {', '.join(names)} IN EXCLUSIVE MODE")
        return blocking

    @contextmanager
    def connected(self, application: str, statement: str) -> Generator[None]:
        """A block in which an application has a connection, with which it has executed a statement."""
        connection = self._run(Address(self.url).connect(application_name=application))
        self._run(connection.execute(statement))
        try:
            yield
        finally:
            self._run(connection.close())

    def check(self) -> None:
        """PostgreSQL itself keeps the references, and checks the pages that it reads."""

    def close(self) -> None:
        self._places.give_back(self)

    # For `PostgresPlaces`

    async def remember(self) -> None:
        """Notes the state to which the database returns when it is emptied."""
        self._schema = await (await self.connection()).fetchval(SCHEMA)

    async def empty(self) -> bool:
        """Removes all rows; False if the tables themselves have been changed."""
        await self.wait_until_unused()
        connection = await self.connection()
        if self._schema is None or await connection.fetchval(SCHEMA) != self._schema:
            return False
        names = await _filled(connection)
        small = [name for name, size in names if size <= SMALL]
        grown = [name for name, size in names if size > SMALL]
        if grown:
            await connection.execute(f"TRUNCATE {', '.join(grown)} CASCADE")
        if small:
            await connection.execute("; ".join(f"DELETE FROM {name}" for name in small))
        return True

    async def wait_until_unused(self) -> None:
        """Waits until the servers of the test have closed their connections."""
        connection = await self.connection()
        deadline = time.monotonic() + PATIENCE
        while count := await connection.fetchval(OTHERS):
            assert time.monotonic() < deadline, f"{count} connections to {self.name} are left open"
            await asyncio.sleep(0.002)

    async def disconnect(self) -> None:
        if self._connection is not None:
            await self._connection.close()


async def _filled(connection: Any) -> list[tuple[str, int]]:
    """The tables with rows, each with the bytes that it takes; those that refer to others come first."""
    names = [name for (name,) in await connection.fetch(TABLES)]
    order = {table.name: n for n, table in enumerate(reversed(SQLModel.metadata.sorted_tables))}
    names.sort(key=lambda name: order.get(name, -1))
    tests = ", ".join(f"CASE WHEN EXISTS (TABLE {name}) THEN pg_relation_size('{name}') END" for name in names)
    sizes = await connection.fetchval(f"SELECT ARRAY[{tests}]")
    return [(name, size) for name, size in zip(names, sizes, strict=True) if size is not None]


class PostgresPlaces(Places):
    """Databases with a prefix of this process's own, on a server where others may have theirs."""

    def __init__(self, dsn: str) -> None:
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr("models.postgres.database.Connections", KeptConnections)
        self.loop = LoopThread()
        self._dsn = dsn
        self._prefix = f"recallql_test_{secrets.token_hex(4)}"
        self._numbers = itertools.count()
        self._idle: list[PostgresPlace] = []
        self._made: list[PostgresPlace] = []
        self._server: Any = self.loop.run(Address(dsn).connect_plainly())
        self._prepare()

    def _prepare(self) -> None:
        self._template = self._create("template0")
        database_at(self._template.url).migrate()

    def fresh(self, folder: Path) -> PostgresPlace:
        return self._idle.pop() if self._idle else self._made_from(self._template)

    def blank(self) -> PostgresPlace:
        """A database without tables."""
        return self._create("template0")

    def copy(self, place: Place, folder: Path) -> PostgresPlace:
        assert isinstance(place, PostgresPlace)
        return self._made_from(place)

    def give_back(self, place: PostgresPlace) -> None:
        if self.loop.run(place.empty()):
            self._idle.append(place)
        else:
            self._drop(place)

    def close(self) -> None:
        for place in list(self._made):
            self._drop(place)
        self.loop.run(self._server.close())
        self.loop.close()
        self._patch.undo()

    def _made_from(self, source: PostgresPlace) -> PostgresPlace:
        self.loop.run(_leave(source))
        place = self._create(source.name)
        self.loop.run(place.remember())
        return place

    def _create(self, template: str) -> PostgresPlace:
        name = f"{self._prefix}_{next(self._numbers)}"
        self.loop.run(self._server.execute(f"CREATE DATABASE {name} TEMPLATE {template} ENCODING 'UTF8'"))
        place = PostgresPlace(urlsplit(self._dsn)._replace(path=f"/{name}").geturl(), self)
        self._made.append(place)
        KeptConnections.databases.add(place.dsn)
        return place

    def _drop(self, place: PostgresPlace) -> None:
        self._made.remove(place)
        KeptConnections.databases.remove(place.dsn)
        KeptConnections.end(place.dsn)
        self.loop.run(place.disconnect())
        # Whoever is still connected belongs to a test that failed.
        self.loop.run(self._server.execute(f"DROP DATABASE {place.name} WITH (FORCE)"))


async def _leave(place: PostgresPlace) -> None:
    """Has nobody connected to a database, which is needed to copy it."""
    KeptConnections.end(place.dsn)
    await place.wait_until_unused()
    await place.disconnect()
