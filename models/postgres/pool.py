"""Connections that requests take in turns: a stated number, fair between credentials."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

from asyncpg import ReadOnlySQLTransactionError

from models.allowance import Allowance, Heavy
from models.errors import Exhausted
from models.threads import Turns

PATIENCE = 10.0
"""Seconds that a request waits for a connection."""

MENDING = 5.0
"""Seconds that a connection has to become idle again after a statement was cancelled."""

UNUSED = 300.0
"""Seconds after which a connection that nobody has used is closed."""

LOOK_EVERY = 60.0
"""Seconds between two looks for such connections."""


class Connections:
    """A number of connections to one server, each opened when there is no idle one."""

    def __init__(self, connect: Callable[[], Awaitable[Any]], count: int) -> None:
        self._connect = connect
        self._turns = Turns(count)
        self.count = count
        self._idle: list[Any] = []
        """Those that are open and not in use, the one that was used last at the end."""
        self._mending = set[asyncio.Task[None]]()
        self._look = asyncio.get_running_loop().call_later(LOOK_EVERY, self._close_unused)

    def connection(self, allowance: Allowance) -> "Lent":
        """Lends a connection for a block; raises `Exhausted` when none becomes free in time."""
        return Lent(self, allowance)

    async def take(self, allowance: Allowance) -> Any:
        if asyncio.current_task() is None:
            # The server begins a request outside of a task, and may give it up as soon as it has to wait. That must be
            # before a statement is sent: otherwise the connection comes back while the statement runs.
            await asyncio.sleep(0)
        if not self._turns.take_free(allowance.credential):
            await self._wait(allowance)
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        try:
            await _begin_task()
            return await self._connect()
        except TimeoutError:
            self._turns.give_back(allowance.credential)
            raise ConnectionError("no answer") from None
        except BaseException:
            self._turns.give_back(allowance.credential)
            raise

    async def _wait(self, allowance: Allowance) -> None:
        if allowance.refused is not None:
            # The request has waited before.
            raise allowance.refused
        await _begin_task()
        # The answer that it was refused has to come before the deadline.
        patience = min(PATIENCE, (allowance.deadline - monotonic()) / 2)
        try:
            async with asyncio.timeout(patience):
                await self._turns.take(allowance.credential)
        except TimeoutError:
            allowance.refused = Exhausted(
                f"All {self.count} connections to the database are busy; try again in a moment."
            )
            raise allowance.refused from None

    def give_back(self, connection: Any, allowance: Allowance, error: BaseException | None) -> None:
        """Takes a connection back, after a block that ended with an error or without one."""
        if isinstance(error, ReadOnlySQLTransactionError):
            # The server is a standby now; another one may have taken its place.
            connection.terminate()
            self.forget_idle()
        if isinstance(error, GeneratorExit):
            # The caller has given up, and does not wait for the end of its statement.
            connection.terminate()
        if connection.is_closed():
            self._turns.give_back(allowance.credential)
        elif isinstance(error, asyncio.CancelledError | TimeoutError | Heavy) or connection.is_in_transaction():
            task = asyncio.create_task(self._mend(connection, allowance))
            self._mending.add(task)
            task.add_done_callback(self._mending.discard)
        else:
            self._put_back(connection, allowance)

    def _put_back(self, connection: Any, allowance: Allowance) -> None:
        connection.idle_since = monotonic()
        self._idle.append(connection)
        self._turns.give_back(allowance.credential)

    async def _mend(self, connection: Any, allowance: Allowance) -> None:
        """Waits until a cancelled statement has ended on the server, or closes the connection."""
        try:
            # The driver first waits for the end of what it has cancelled.
            await connection.execute("ROLLBACK" if connection.is_in_transaction() else "SELECT 1", timeout=MENDING)
        except Exception:
            connection.terminate()
            self._turns.give_back(allowance.credential)
        else:
            self._put_back(connection, allowance)

    def forget_idle(self) -> None:
        """Closes the idle connections: one of them was found broken, and the others probably are."""
        while self._idle:
            self._idle.pop().terminate()

    def _close_unused(self) -> None:
        self._look = asyncio.get_running_loop().call_later(LOOK_EVERY, self._close_unused)
        # One stays for the next request.
        while len(self._idle) > 1 and self._idle[0].idle_since < monotonic() - UNUSED:
            self._idle.pop(0).terminate()

    async def close(self) -> None:
        """Closes the idle connections. Nobody uses the others any more."""
        self._look.cancel()
        if self._mending:
            await asyncio.wait(self._mending)
        for connection in self._idle:
            await connection.close(timeout=MENDING)


class Lent:
    """A connection for one block."""

    __slots__ = ("_allowance", "_connection", "_connections")

    def __init__(self, connections: Connections, allowance: Allowance) -> None:
        self._connections = connections
        self._allowance = allowance

    async def __aenter__(self) -> Any:
        self._connection = await self._connections.take(self._allowance)
        return self._connection

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._connections.give_back(self._connection, self._allowance, error)


async def _begin_task() -> None:
    """Has a request that was begun outside of a task, as the server does for speed, continue in one."""
    if asyncio.current_task() is None:
        await asyncio.sleep(0)
