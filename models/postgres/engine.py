"""A PostgreSQL database that a URL names: see `models.store.Database`."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from models.postgres.connecting import Address
from models.postgres.database import PostgresStore
from models.postgres.filling import PostgresFilling, filling
from models.postgres.migrate import check_version, migrate, missing, prepare
from models.postgres.snapshot import PostgresSnapshot, kept
from models.revisions import Report, say_nothing
from models.store import CONNECTIONS, SLOW_READERS, Database

_IDENTITY = (
    "SELECT system_identifier, oid::bigint FROM pg_control_system(), pg_database WHERE datname = current_database()"
)


class PostgresDatabase(Database):
    """A database of a server. Its name in messages is its URL without the password."""

    def __init__(self, url: str) -> None:
        self.address = Address(url)

    @property
    def name(self) -> str:
        return self.address.name

    @property
    def url(self) -> str:
        return self.address.name

    def exists(self) -> bool:
        return True

    def prepare(self) -> None:
        asyncio.run(prepare(self.address))

    def migrate(self, report: Report = say_nothing, *, on_citus: bool = False) -> None:
        asyncio.run(migrate(self.address, report=report, on_citus=on_citus))

    def missing(self, *, on_citus: bool = False) -> list[str]:
        return asyncio.run(missing(self.address, on_citus=on_citus))

    async def open(
        self,
        *,
        prepares: bool = False,
        durable: bool = True,
        slow_readers: int = SLOW_READERS,
        connections: int = CONNECTIONS,
        replica_url: str = "",
        direct_url: str = "",
    ) -> PostgresStore:
        return await PostgresStore.open(
            self.address,
            prepares=prepares,
            durable=durable,
            connections=connections,
            replica=Address(replica_url) if replica_url else None,
            direct=Address(direct_url) if direct_url else None,
        )

    def check_version(self) -> None:
        asyncio.run(check_version(self.address))

    def identity(self) -> object:
        with kept(self.address, self.address.connect) as own:
            return tuple(own.run(own.connection.fetchrow(_IDENTITY)))

    @contextmanager
    def snapshot(self) -> Generator[PostgresSnapshot]:
        with kept(self.address, self._begin) as own:
            yield PostgresSnapshot(own)

    async def _begin(self) -> Any:
        connection = await self.address.connect()
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return connection

    @contextmanager
    def filling(self) -> Generator[PostgresFilling]:
        asyncio.run(prepare(self.address, unfinished=True))
        with filling(self.address) as filled:
            yield filled
