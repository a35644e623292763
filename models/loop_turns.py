"""Turns on the event loop, for requests that need it for long."""

import asyncio
from collections import deque
from collections.abc import Hashable
from math import inf
from time import monotonic

SHARE = 0.01
"""Seconds for which a request may hold the event loop before others get a turn."""


class LoopTurns:
    """Lets one request that has used its share go on in each round of the event loop, from each credential in turn.

    What has just come in is answered between two of them, so that it waits for one share and not for as many as there
    are requests. Used from one event loop.
    """

    def __init__(self) -> None:
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}
        self._is_counting = False
        self.since = inf
        """When the round of the loop began, as far as it is known to have held up others already."""

    async def take(self, credential: Hashable) -> None:
        """Waits for the credential's turn."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(credential, deque()).append(turn)
        self.count(monotonic())
        await turn

    def count(self, since: float) -> None:
        """Notes that the loop is being held for long in this round, which began by `since` at the latest."""
        if not self._is_counting:
            self._is_counting, self.since = True, since
            asyncio.get_running_loop().call_soon(self._next_round)

    def _next_round(self) -> None:
        self._is_counting, self.since = False, inf
        self._serve()
        if self._waiting:
            self.count(monotonic())

    def _serve(self) -> None:
        """Gives the turn to the first that still waits, of the credential that was served the longest time ago."""
        while self._waiting:
            credential = next(iter(self._waiting))
            turns = self._waiting.pop(credential)
            turn = turns.popleft()
            if turns:
                # It goes to the end of those that wait.
                self._waiting[credential] = turns
            if not turn.done():
                turn.set_result(None)
                return
