"""Limits how often an event that clients can cause is logged."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

MOST = 100
"""The most keys that are remembered, and so the most lines that are logged within the time."""


@dataclass(slots=True)
class Told:
    """The time at which a key was last logged, and how often it was passed over since."""

    at: float
    passed_over: int = 0


class Seldom:
    """Lets each key be logged once a minute; beyond `MOST` different ones, no further key."""

    def __init__(self, *, seconds: float = 60, now: Callable[[], float] = monotonic) -> None:
        self._seconds = seconds
        self._now = now
        self._told: OrderedDict[str, Told] = OrderedDict()
        """The longest untold first."""

    def is_due(self, key: str) -> bool:
        """Tells whether the key is due to be logged, and counts it as logged."""
        return self.passed_over(key) is not None

    def passed_over(self, key: str) -> int | None:
        """Returns how often the key was passed over since it was last logged; None if it is not due."""
        before = self._now() - self._seconds
        told = self._told.get(key)
        if told is not None and told.at > before:
            told.passed_over += 1
            return None
        if told is None and len(self._told) >= MOST:
            if next(iter(self._told.values())).at > before:
                return None
            self._told.popitem(last=False)
        self._told[key] = Told(self._now())
        self._told.move_to_end(key)
        return 0 if told is None else told.passed_over
