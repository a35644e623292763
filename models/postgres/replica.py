"""A replica of the database, for reads that may lag: it is used while it follows closely."""

import asyncio
from collections import deque
from contextlib import suppress
from time import monotonic
from typing import Any

import structlog

from models.allowance import Allowance
from models.errors import DatabaseProblem
from models.postgres.connecting import Address
from models.postgres.faults import is_gone, problem_of
from models.postgres.pool import Connections

log = structlog.get_logger("recallql.database")

LONGEST_LAG = 5.0
"""Seconds by which a replica may lag behind while it is read."""

LOOK_EVERY = 1.0
"""Seconds between two looks at how far it is."""

LOOK_PATIENCE = 2.0
"""Seconds after which a look is given up."""

_IDENTITY = "system_identifier, (SELECT oid::bigint FROM pg_database WHERE datname = current_database()) AS number"
_WRITTEN = f"SELECT {_IDENTITY}, pg_current_wal_flush_lsn() - '0/0' AS position FROM pg_control_system()"  # noqa: S608
_REPLAYED = f"SELECT {_IDENTITY}, pg_last_wal_replay_lsn() - '0/0' AS position FROM pg_control_system()"  # noqa: S608


class Replica:
    """A streaming replica of a primary. A look compares the position that it has replayed with those of the primary."""

    def __init__(self, address: Address, primary: Connections) -> None:
        self.address = address
        self.reads = Connections(address.connect, primary.count)
        self.is_close = False
        """True while it has replayed everything that the primary had written `LONGEST_LAG` seconds ago."""
        self._primary = primary
        self._written = deque[tuple[float, int]]()
        """The primary's positions of the last seconds, each with its time."""
        self._reason = ""
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Looks once, and from then on; raises `DatabaseProblem` if it can't be this primary's replica.

        One that is away may come back: until then all reads are the primary's.
        """
        try:
            await self._look()
        except Exception as error:
            if not is_gone(error):
                await self.reads.close()
                raise problem_of(error, self.address.name, self.address.user) from error
            self._set_aside(problem_of(error, self.address.name, self.address.user))
        self._watching = asyncio.create_task(self._watch(), name="look at the replica")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                await self._look()
            except Exception as error:
                self._set_aside(problem_of(error, self.address.name, self.address.user))

    async def _look(self) -> None:
        async with asyncio.timeout(LOOK_PATIENCE):
            written = await _asked(self._primary, _WRITTEN)
            self._written.append((monotonic(), written["position"]))
            replayed = await _asked(self.reads, _REPLAYED)
        if any(written[name] != replayed[name] for name in ("system_identifier", "number")):
            raise DatabaseProblem(f"{self.address.name} is another database, and no replica; check read_database_url.")
        while self._written[0][0] < monotonic() - LONGEST_LAG:
            self._written.popleft()
        if replayed["position"] is None:
            self._set_aside("it is a replica no longer")
        elif replayed["position"] < self._written[0][1]:
            self._set_aside(f"it has not caught up with what was written {LONGEST_LAG:.0f} seconds ago")
        elif not self.is_close:
            self.is_close, self._reason = True, ""
            log.info("the replica is read", replica=self.address.name)

    def _set_aside(self, reason: object) -> None:
        self.is_close = False
        if str(reason) != self._reason:
            self._reason = str(reason)
            log.warning("the replica is not read; the primary is, instead", reason=self._reason)

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
        await self.reads.close()


async def _asked(connections: Connections, statement: str) -> Any:
    async with connections.connection(Allowance()) as connection:
        return await connection.fetchrow(statement)
