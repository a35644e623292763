"""Connections to PostgreSQL that outlive the application of a test: the next one on the same database takes them over.

To begin a connection, and to plan the first statements on it, takes the server longer than most tests do. What an
application in a `tests.servers.Host` leaves is kept, if its database is one of `tests.postgres_places`.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import asyncpg

from models.postgres.pool import Connections

BETWEEN = "between two tests"
"""The name of the application that a kept connection has, so that nobody takes it for one in use."""

KEPT = 2
"""The most connections that are kept for one use: few tests read or write more often at the same time."""


class KeptConnections(Connections):
    """The connections of an application, which leaves the idle ones to the next."""

    loops: ClassVar[set[asyncio.AbstractEventLoop]] = set()
    """The event loops in which there will be another application."""
    databases: ClassVar[set[str]] = set()
    """The databases that will have another application, by their `Url.dsn`."""
    left: ClassVar[defaultdict[tuple[Any, ...], list[Any]]] = defaultdict(list)
    """The connections that are kept, by what they may be used for."""

    def __init__(self, connect: Callable[[], Awaitable[Any]], count: int) -> None:
        super().__init__(self._take_over, count)
        self._begin = connect
        # Those that write have settings of their own.
        owner: Any = getattr(connect, "__self__", None)
        dsn, loop = getattr(getattr(owner, "address", owner), "dsn", None), asyncio.get_running_loop()
        self._use = (dsn, loop, getattr(connect, "__name__", ""), getattr(owner, "_durable", True))
        self._is_kept = dsn in self.databases and loop in self.loops

    async def _take_over(self) -> Any:
        while self._is_kept and self.left[self._use]:
            connection = self.left[self._use].pop()
            if await _is_renamed(connection, "RESET application_name"):
                return connection
        return await self._begin()

    async def close(self) -> None:
        if self._mending:
            await asyncio.wait(self._mending)
        left = self.left[self._use]
        while self._is_kept and self._idle and len(left) < KEPT:
            connection = self._idle.pop()
            if await _is_renamed(connection, f"SET application_name = '{BETWEEN}'"):
                left.append(connection)
        await super().close()

    @classmethod
    def end(cls, dsn: str) -> None:
        """Ends the connections that are kept to a database; any thread may call it."""
        for use in [use for use in cls.left if use[0] == dsn]:
            for connection in cls.left.pop(use):
                use[1].call_soon_threadsafe(connection.terminate)


async def _is_renamed(connection: Any, statement: str) -> bool:
    """False for a connection that a test has ended."""
    try:
        await connection.execute(statement)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        connection.terminate()
        return False
    return True
