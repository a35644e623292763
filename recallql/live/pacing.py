"""Deliveries in pieces, between which requests are served."""

import asyncio
from collections import deque

AT_ONCE = 3
"""The most deliveries in one turn of the event loop, which take about half a millisecond."""


class Pacing:
    """Lets a few deliveries go on in each turn of the event loop, in the order in which they come."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._left = AT_ONCE
        self._is_turning = False

    async def turn(self) -> None:
        """Waits until it is this delivery's turn."""
        loop = asyncio.get_running_loop()
        if not self._is_turning:
            self._is_turning = True
            loop.call_soon(self._begin_turn, loop)
        if self._left and not self._waiting:
            self._left -= 1
            return
        waiting = loop.create_future()
        self._waiting.append(waiting)
        await waiting

    def _begin_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._left = AT_ONCE
        while self._left and self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                self._left -= 1
        self._is_turning = self._left < AT_ONCE
        if self._is_turning:
            loop.call_soon(self._begin_turn, loop)
