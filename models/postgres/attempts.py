"""The attempts at a transaction: which errors another one may follow, and for how long."""

from math import inf
from random import uniform
from time import monotonic

from models.allowance import Allowance
from models.errors import Unavailable
from models.postgres.faults import AGAIN, TAKEN, explained, is_gone
from models.postgres.transaction import Missed, Wanted

PATIENCE = 30.0
"""Seconds that a write waits for others that change the same."""

BRIEFLY = 1.0
"""Seconds that an operation of one statement waits: then a transaction takes its place, and waits until its end."""

PAUSES = 0.002, 0.1
"""Seconds before the second attempt, about, and at most before a later one."""

TAKEN_TIMES = 5
"""Attempts with a key that is taken: it is not that of a faster transaction any more."""

GONE_TIMES, GONE_PAUSE = 3, 0.2
"""Attempts with a connection that is lost, and the seconds between them."""

MAY_BE_KEPT = (
    "The connection to the database was lost during the commit: the write may have been kept, or not. With ids of your "
    "own it is safe to repeat."
)


class Attempts:
    """The attempts at one transaction, until the deadline of its request."""

    def __init__(self, allowance: Allowance) -> None:
        patience = PATIENCE if allowance.deadline == inf else min(PATIENCE, allowance.deadline - monotonic())
        self._end = monotonic() + patience
        self._made = self._taken = self._gone = 0
        self._wanted: dict[tuple[str, bytes], Wanted] = {}
        self.is_committing = False
        """True from the moment when COMMIT is sent: then only the server's answer tells that nothing was kept."""

    def begin(self) -> str:
        """Begins an attempt; returns the SQL for it."""
        self.is_committing = False
        left = max(1, round((self._end - monotonic()) * 1000))
        return f"BEGIN; SET LOCAL lock_timeout = {left}"

    @property
    def may_wait(self) -> bool:
        """True if an operation of one statement would wait no longer than this write may."""
        return self._end - monotonic() > BRIEFLY

    @property
    def wanted(self) -> list[Wanted]:
        """The locks that an attempt takes before it begins, since those before have missed them, in their order."""
        return sorted(self._wanted.values(), key=lambda wanted: wanted.order)

    @property
    def is_last(self) -> bool:
        """True if no further attempt would follow a key that is taken."""
        return self._taken + 1 >= TAKEN_TIMES

    def pause_after(self, error: Exception) -> float | None:
        """The seconds until the next attempt; None if there is none, since it would fail in the same way."""
        self._made += 1
        if monotonic() >= self._end:
            return None
        if isinstance(error, Missed):
            wanted = error.wanted
            self._wanted[wanted.form.locking, wanted.key] = wanted
            return 0.0
        if isinstance(error, TAKEN):
            self._taken += 1
            return self._pause if self._taken < TAKEN_TIMES else None
        if isinstance(error, AGAIN):
            return self._pause
        if is_gone(error) and not isinstance(error, TimeoutError) and not self.is_committing:
            self._gone += 1
            return GONE_PAUSE if self._gone < GONE_TIMES else None
        return None

    def explained(self, error: Exception) -> Exception:
        """The error for the caller when no further attempt follows."""
        return Unavailable(MAY_BE_KEPT) if self.is_committing and is_gone(error) else explained(error)

    @property
    def _pause(self) -> float:
        # Of two that met, one is to be first now.
        first, most = PAUSES
        return uniform(0, min(most, first * 2 ** min(self._made, 10)))  # noqa: S311 - nothing secret
