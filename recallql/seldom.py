"""What is worth a line in the log, but not one for each request that somebody may send."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

MOST = 100
"""Different keys that are remembered, and so the lines that are written at most within the time."""


@dataclass(slots=True)
class Told:
    """When a key was last told of, and how often it was not since."""

    at: float
    passed_over: int = 0


class Seldom:
    """Tells once a minute of each key that it is due; beyond `MOST` different ones, of none."""

    def __init__(self, *, seconds: float = 60, now: Callable[[], float] = monotonic) -> None:
        self._seconds = seconds
        self._now = now
        self._told: OrderedDict[str, Told] = OrderedDict()
        """The longest untold first."""

    def is_due(self, key: str) -> bool:
        """Tells whether the key was not told of within the time; from now on it was."""
        return self.passed_over(key) is not None

    def passed_over(self, key: str) -> int | None:
        """Returns how often the key was passed over since it was last told of; None if that was within the time."""
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
