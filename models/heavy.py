"""Slots for requests that hold many bytes of rows: see `models.allowance`."""

from asyncio import Lock
from functools import partial

from models.allowance import Allowance
from models.threads import Turns

HEAVY = 2
"""Requests that may hold many bytes of rows at the same time."""


class HeavySlot:
    """The slot of one request, which `Allowance.close` releases. Concurrent reads of the request share it."""

    def __init__(self, turns: Turns, allowance: Allowance) -> None:
        self._turns = turns
        self._allowance = allowance
        self._placing = Lock()

    async def take(self) -> None:
        """Waits for the slot, unless the request has it.

        A read that gets the slot after the request has ended releases it itself, since nobody else would.
        """
        turns, allowance = self._turns, self._allowance
        async with self._placing:
            if allowance.slot is not None:
                return
            await turns.take(allowance.credential)
            if allowance.is_over:
                turns.give_back(allowance.credential)
                allowance.check()
            allowance.slot = partial(turns.give_back, allowance.credential)
