"""What is worth a line in the log, but not one for each request that somebody may send."""

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

MOST = 100
"""Different keys that are remembered, and so the lines that are written at most within the time."""


class Seldom:
    """Tells once a minute of each key that it is due; beyond `MOST` different ones, of none."""

    def __init__(self, *, seconds: float = 60, now: Callable[[], float] = monotonic) -> None:
        self._seconds = seconds
        self._now = now
        self._told: OrderedDict[str, float] = OrderedDict()

    def is_due(self, key: str) -> bool:
        """Whether the key was not told of within the time; from now on it was."""
        before = self._now() - self._seconds
        while self._told and next(iter(self._told.values())) <= before:
            self._told.popitem(last=False)
        if key in self._told or len(self._told) >= MOST:
            return False
        self._told[key] = self._now()
        return True
