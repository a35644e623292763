"""The allowance of one request: its deadline, the bytes that it may read, and its credential for fair scheduling."""

import asyncio
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping
from contextlib import contextmanager
from math import inf
from sys import maxsize
from time import monotonic
from typing import Any

from models.errors import Exhausted, TookTooLong, TooLarge
from models.loop_turns import SHARE, LoopTurns

UNCOUNTED = 4
"""Single rows that a request may read uncounted: counting takes longer than reading a small row."""

LIGHT = 4 * 1024 * 1024
"""Bytes of rows that each request may hold without taking a slot."""


class Heavy(Exception):
    """A request is about to hold more bytes of rows than `LIGHT`, and first has to wait for a slot."""


class Allowance:
    """The time and the bytes that one request may still use; without arguments both are unlimited.

    A request may work for `seconds`, until its `deadline` (a time of `monotonic`), and read `bytes` of rows for its
    answer. Requests that wait for a thread or for the event loop take turns by `credential` (see `models.threads` and
    `models.loop_turns`).
    """

    __slots__ = (
        "bytes_left",
        "credential",
        "deadline",
        "most_bytes",
        "refused",
        "rested",
        "slot",
        "turns",
        "uncounted",
    )

    def __init__(
        self,
        seconds: float = inf,
        bytes: int = maxsize,
        credential: Hashable = None,
        turns: LoopTurns | None = None,
    ) -> None:
        self.rested = now = monotonic()
        """The time when the request is known to have last yielded the event loop."""
        self.deadline = now + seconds
        self.most_bytes = self.bytes_left = bytes
        self.uncounted = UNCOUNTED
        self.slot: Callable[[], None] | None = None
        """Releases the request's slot for holding many bytes, if it has one."""
        self.refused: Exhausted | None = None
        """Says that the request was refused a connection to the database, if it was."""
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
        """Cancels all work of the request, since nobody waits for its answer any more."""
        self.deadline = -inf

    def has_bytes(self, size: int) -> None:
        """Raises `TooLarge` when fewer bytes of rows are left, `Heavy` when this many need a slot.

        Unlimited work, such as a background task, needs no slot: nothing would tell when to release it.
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
        """Returns the bytes of rows that are read within the block, since those rows are freed at its end."""
        left = self.bytes_left
        try:
            yield
        finally:
            self.bytes_left = left

    def keep(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Counts the rows that are kept of those whose bytes were returned."""
        self.bytes_left -= sum(len(row["content"]) for row in rows)
        if self.bytes_left < 0:
            raise self._too_large()

    def close(self) -> None:
        """Releases the request's slot."""
        if self.slot is not None:
            self.slot()
            self.slot = None

    async def rest(self) -> None:
        """Yields the event loop if it has been held for longer than a share, by this request or by all together."""
        now = monotonic()
        if now - self.rested > SHARE or (self.turns is not None and now - self.turns.since > SHARE):
            await self.pause()

    async def pause(self) -> None:
        """Yields the event loop until it is the turn of the request's credential."""
        if self.turns is None:
            await asyncio.sleep(0)
        else:
            await self.turns.take(self.credential)
        self.rested = monotonic()
