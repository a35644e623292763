"""Budgets of bytes that the requests of one process share."""

from collections.abc import Hashable

from recallql.http.throttle import TooMany


class Busy(TooMany):
    """The process has no room left, through no fault of this credential (HTTP 503)."""


class Budget:
    """Bytes that requests hold at the same time, shared between credentials. Used from one event loop.

    A credential may hold as much as it leaves free: half of the budget when it is alone, else half of what the others
    leave. So greedy credentials always leave room for one that holds nothing.
    """

    def __init__(self, size: int, noun: str) -> None:
        self._size = size
        self._noun = noun
        self._held: dict[Hashable, int] = {}
        self.used = 0

    def take(self, credential: Hashable, size: int) -> None:
        """Counts bytes, which `give_back` has to follow; raises `TooMany` or `Busy` when they don't fit."""
        held = self._held.get(credential, 0)
        if held + size > self._size - self.used - size:
            raise self._refusal(credential, held, size)
        self._held[credential] = held + size
        self.used += size

    def give_back(self, credential: Hashable, size: int) -> None:
        left = self._held.get(credential, 0) - size
        if left > 0:
            self._held[credential] = left
        else:
            self._held.pop(credential, None)
        self.used -= size

    def check(self, credential: Hashable) -> None:
        """Raises `TooMany` when a credential holds nearly all that it may: three eighths of the budget."""
        held = self._held.get(credential, 0)
        if held > self._size * 3 // 8:
            raise self._refusal(credential, held, 1)

    def _refusal(self, credential: Hashable, held: int, size: int) -> TooMany:
        if held and credential is not None:  # None: connections that have not sent one yet
            return TooMany(
                f"This credential has {held} bytes of {self._noun} here, and there is no room for {size} more now.", 1
            )
        return Busy(f"The server has no room for {size} bytes of {self._noun} now.", 1)


class Share:
    """The bytes that one holder has taken of a budget, and the credential that they count for."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._credential: Hashable = None
        self._size = 0

    def set(self, credential: Hashable, size: int) -> None:
        """Replaces the bytes that it holds; if `Budget.take` raises, it holds none."""
        if self._size:
            self._budget.give_back(self._credential, self._size)
            self._size = 0
        if size:
            self._budget.take(credential, size)
            self._credential, self._size = credential, size
