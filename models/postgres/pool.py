"""Connections that requests take in turns: a stated number, fair between credentials."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from math import inf
from time import monotonic
from typing import Any

from models.allowance import Allowance
from models.errors import Unavailable
from models.threads import Turns

PATIENCE = 10.0
"""Seconds that a request waits for a connection."""


class Connections:
    """A share of a pool's connections."""

    def __init__(self, pool: Any, count: int) -> None:
        self._pool = pool
        self._turns = Turns(count)
        self.count = count

    @asynccontextmanager
    async def connection(self, allowance: Allowance) -> AsyncGenerator[Any]:
        """A connection; raises `Unavailable` when none becomes free in time."""
        credential = allowance.credential
        if asyncio.current_task() is None:
            # The server begins a request outside of a task; the driver needs one.
            await asyncio.sleep(0)
        patience = PATIENCE if allowance.deadline == inf else min(PATIENCE, allowance.deadline - monotonic())
        try:
            async with asyncio.timeout(patience):
                await self._turns.take(credential)
        except TimeoutError:
            raise Unavailable(
                f"All {self.count} connections to the database are busy; try again in a moment."
            ) from None
        try:
            async with self._pool.acquire() as connection:
                yield connection
        finally:
            self._turns.give_back(credential)
