"""Fair scheduling of the event loop among requests that need it for long."""

import asyncio
from collections import deque
from collections.abc import Hashable
from math import inf
from time import monotonic

SHARE = 0.01
"""Seconds for which a request may hold the event loop before others get a turn."""


class LoopTurns:
    """Resumes one request that has used its share per iteration of the event loop, taking credentials in turn.

    New requests are answered between two of them, so that they wait for one share and not for as many as there are
    requests. Used from one event loop.
    """

    def __init__(self) -> None:
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}
        self._is_counting = False
        self.since = inf
        """The start of the loop's iteration, as far as it is known to have blocked others."""

    async def take(self, credential: Hashable) -> None:
        """Waits for the credential's turn."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(credential, deque()).append(turn)
        self.count(monotonic())
        await turn

    def count(self, since: float) -> None:
        """Notes that this iteration of the loop, which began at `since` or before, takes long."""
        if not self._is_counting:
            self._is_counting, self.since = True, since
            asyncio.get_running_loop().call_soon(self._next_round)

    def _next_round(self) -> None:
        self._is_counting, self.since = False, inf
        self._serve()
        if self._waiting:
            self.count(monotonic())

    def _serve(self) -> None:
        """Gives the turn to the first waiting request of the least recently served credential."""
        while self._waiting:
            credential = next(iter(self._waiting))
            turns = self._waiting.pop(credential)
            turn = turns.popleft()
            if turns:
                # The credential moves to the end of the queue.
                self._waiting[credential] = turns
            if not turn.done():
                turn.set_result(None)
                return
