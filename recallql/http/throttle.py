"""Limits on the requests that one credential may have under way, and on those in a minute."""

from collections.abc import Callable, Hashable
from math import ceil
from time import monotonic

from recallql.cache import LruCache

REMEMBERED = 16_384
"""Credentials whose rate is known; one that is forgotten starts anew."""


ROUNDING = 1e-6
"""What the reckoning of a share of a request may be off by: who waited as long as told is let in."""


class TooMany(Exception):
    """Which limit is reached, and after how many whole seconds it is worth trying again."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Throttle:
    """The limits of one kind of credential; 0 is none. Used from one event loop.

    The rate is a token bucket: a minute's requests may come at once, and as time passes more may follow.
    """

    def __init__(self, *, in_flight: int, per_minute: int, now: Callable[[], float] = monotonic) -> None:
        self._in_flight = in_flight
        self._per_minute = per_minute
        self._now = now
        self._under_way: dict[Hashable, int] = {}
        self._buckets: LruCache[Hashable, tuple[float, float]] = LruCache(REMEMBERED)

    def enter(self, credential: Hashable) -> None:
        """Counts a request, which `leave` has to follow; `TooMany` when there are too many already."""
        under_way = self._under_way.get(credential, 0)
        if self._in_flight and under_way >= self._in_flight:
            raise TooMany(
                f"{under_way} requests of this credential are under way; at most {self._in_flight} may be.", 1
            )
        if self._per_minute:
            self._take(credential)
        self._under_way[credential] = under_way + 1

    def _take(self, credential: Hashable) -> None:
        now = self._now()
        left, at = self._buckets.get(credential) or (float(self._per_minute), now)
        left = min(left + (now - at) * self._per_minute / 60, self._per_minute)
        if left < 1 - ROUNDING:
            self._buckets.put(credential, (left, now))
            wait = ceil((1 - left) * 60 / self._per_minute)
            raise TooMany(f"More than {self._per_minute} requests of this credential came in a minute.", wait)
        self._buckets.put(credential, (max(left - 1, 0.0), now))

    def leave(self, credential: Hashable) -> None:
        """Counts a request no longer."""
        left = self._under_way[credential] - 1
        if left:
            self._under_way[credential] = left
        else:
            del self._under_way[credential]
