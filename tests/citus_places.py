"""Databases of a Citus cluster for the tests."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from models.postgres.connecting import Address
from models.store import database_at
from tests.places import Place
from tests.postgres_places import PostgresPlace, PostgresPlaces

NODES = "SELECT groupid, nodename, nodeport FROM pg_dist_node WHERE isactive AND noderole = 'primary' ORDER BY groupid"

COLUMNS = """SELECT column_name::text FROM information_schema.columns
WHERE table_schema = 'public' AND table_name = $1 ORDER BY ordinal_position"""

IN_ORDER = """WITH RECURSIVE depth AS (
  SELECT oid, 0 AS n FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
  UNION SELECT conrelid, n + 1 FROM depth JOIN pg_constraint ON confrelid = depth.oid AND contype = 'f'
  AND conrelid <> confrelid
) SELECT relname::text FROM depth JOIN pg_class USING (oid) WHERE relname <> 'alembic_version'
GROUP BY relname ORDER BY max(n), relname"""
"""The tables, each after those that it refers to."""


class CitusPlaces(PostgresPlaces):
    """Databases on all machines of a cluster, each with its tables distributed.

    Citus keeps the parts of one database: another one, also a copy, is made anew on each machine.
    """

    def _prepare(self) -> None:
        nodes = self.loop.run(self._server.fetch(NODES))
        # A cluster of one machine may name none.
        self._coordinator = [(name, port) for group, name, port in nodes if group == 0][:1]
        here = urlsplit(self._dsn)
        account = f"{here.netloc.rpartition('@')[0]}@" if "@" in here.netloc else ""
        self._workers = [
            here._replace(netloc=f"{account}{name}:{port}").geturl() for group, name, port in nodes if group != 0
        ]

    def fresh(self, folder: Path) -> PostgresPlace:
        return self._idle.pop() if self._idle else self._distributed()

    def copy(self, place: Place, folder: Path) -> PostgresPlace:
        assert isinstance(place, PostgresPlace)
        copied = self.fresh(folder)
        self.loop.run(_copy_rows(place, copied))
        return copied

    def blank(self) -> PostgresPlace:
        place = self._create("template0")
        for worker in self._workers:
            self._execute(worker, f"CREATE DATABASE {place.name} TEMPLATE template0 ENCODING 'UTF8'")
        for url in (place.url, *(self._on(worker, place.name) for worker in self._workers)):
            self._execute(url, "CREATE EXTENSION citus")
        if self._coordinator:
            self._execute(place.url, "SELECT citus_set_coordinator_host($1, $2)", *self._coordinator[0])
        for worker in map(urlsplit, self._workers):
            self._execute(place.url, "SELECT citus_add_node($1, $2)", worker.hostname, worker.port)
        return place

    def _distributed(self) -> PostgresPlace:
        place = self.blank()
        database_at(place.url).migrate(on_citus=True)
        self.loop.run(place.remember())
        return place

    def _drop(self, place: PostgresPlace) -> None:
        super()._drop(place)
        for worker in self._workers:
            self._execute(worker, f"DROP DATABASE {place.name} WITH (FORCE)")

    def _on(self, url: str, database: str) -> str:
        return urlsplit(url)._replace(path=f"/{database}").geturl()

    def _execute(self, url: str, statement: str, *values: Any) -> None:
        async def execute() -> None:
            connection = await Address(url).connect_plainly()
            try:
                # The simple protocol, unless there are values: CREATE DATABASE is never part of a transaction.
                await (connection.fetch(statement, *values) if values else connection.execute(statement))
            finally:
                await connection.close()

        self.loop.run(execute())


async def _copy_rows(source: PostgresPlace, target: PostgresPlace) -> None:
    read, write = await source.connection(), await target.connection()
    for (table,) in await read.fetch(IN_ORDER):
        columns = [name for (name,) in await read.fetch(COLUMNS, table)]
        marks = ", ".join(f"${n}" for n, _ in enumerate(columns, 1))
        rows = await read.fetch(f"SELECT {', '.join(columns)} FROM {table}")
        await write.execute(f"DELETE FROM {table}")
        await write.executemany(
            f"INSERT INTO {table} ({', '.join(columns)}) OVERRIDING SYSTEM VALUE VALUES ({marks})", rows
        )
