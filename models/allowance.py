"""The allowance of one request: until when it may work, how much it may read, and in whose turn."""

import asyncio
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping
from contextlib import contextmanager
from math import inf
from sys import maxsize
from time import monotonic
from typing import Any

from models.errors import TookTooLong, TooLarge
from models.loop_turns import SHARE, LoopTurns

UNCOUNTED = 4
"""Single rows that a request may read before their bytes are counted, which takes longer than to read a small one."""

LIGHT = 4 * 1024 * 1024
"""Bytes of rows that any number of requests may hold at the same time."""


class Heavy(Exception):
    """A request is about to hold more bytes of rows than `LIGHT`, and has to wait for a slot among those that may."""


class Allowance:
    """The time and the bytes that one request may still use.

    Without arguments there is no limit, as for a background task.

    It may work for so many `seconds`, until its `deadline` (a time of `monotonic`), and read so many `bytes` of rows
    for its answer. `credential` says who works: those that wait for a thread or for the event loop get it in `turns`
    (see `models.threads` and `models.loop_turns`).
    """

    __slots__ = ("bytes_left", "credential", "deadline", "most_bytes", "rested", "slot", "turns", "uncounted")

    def __init__(
        self,
        seconds: float = inf,
        bytes: int = maxsize,
        credential: Hashable = None,
        turns: LoopTurns | None = None,
    ) -> None:
        self.rested = now = monotonic()
        """When the request last let others have the event loop, as far as it knows."""
        self.deadline = now + seconds
        self.most_bytes = self.bytes_left = bytes
        self.uncounted = UNCOUNTED
        self.slot: Callable[[], None] | None = None
        """Gives back the request's slot among those that hold many bytes, if it has one."""
        self.credential = credential
        self.turns = turns

    @property
    def is_over(self) -> bool:
        return monotonic() > self.deadline

    def check(self) -> None:
        """Raises `TookTooLong` once the deadline has passed. Long loops in threads call it, so that they end."""
        if monotonic() > self.deadline:
            raise TookTooLong("This took too long; ask for less at once, or with filters that match more.")

    def end(self) -> None:
        """Ends all work of the request, since nobody waits for it any more."""
        self.deadline = -inf

    def has_bytes(self, size: int) -> None:
        """Raises `TooLarge` when fewer bytes of rows are left, `Heavy` when a slot is needed for so many.

        What has no limit, as a background task, needs no slot: nothing would tell when it gives one back.
        """
        if size > self.bytes_left:
            raise self._too_large()
        held = self.most_bytes - self.bytes_left + size
        if held > LIGHT and self.slot is None and self.most_bytes < maxsize:
            raise Heavy

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"The texts for this take more than {self.most_bytes:,} bytes; ask for less at once (`first`), "
            "or leave out the fields with long texts."
        )

    @contextmanager
    def passing(self) -> Generator[None]:
        """Gives back the bytes of rows that are read within, since they are let go again."""
        left = self.bytes_left
        try:
            yield
        finally:
            self.bytes_left = left

    def keep(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Counts rows that are kept of those that were given back."""
        self.bytes_left -= sum(len(row["content"]) for row in rows)
        if self.bytes_left < 0:
            raise self._too_large()

    def close(self) -> None:
        """Gives back what the request holds."""
        if self.slot is not None:
            self.slot()
            self.slot = None

    async def rest(self) -> None:
        """Lets others have the event loop if it has been held for longer than a share, by this request or by all."""
        now = monotonic()
        if now - self.rested > SHARE or (self.turns is not None and now - self.turns.since > SHARE):
            await self.pause()

    async def pause(self) -> None:
        """Lets others have the event loop, until it is the turn of the request's credential."""
        if self.turns is None:
            await asyncio.sleep(0)
        else:
            await self.turns.take(self.credential)
        self.rested = monotonic()
