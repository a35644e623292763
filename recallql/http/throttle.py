"""Limits on one credential's concurrent requests, and on its requests in a minute."""

from collections.abc import Callable, Hashable
from math import ceil
from time import monotonic

from recallql.cache import LruCache

REMEMBERED = 16_384
"""Credentials whose rate is remembered; one that is forgotten starts with a full bucket."""


ROUNDING = 1e-6
"""The tolerance for rounding, so that a client that waits for `Retry-After` is admitted."""


class TooMany(Exception):
    """A limit is reached; `retry_after` is in whole seconds."""

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
        """Counts a request, which `leave` has to follow; raises `TooMany` when there are too many already."""
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
        """Ends the count of a request in flight."""
        left = self._under_way[credential] - 1
        if left:
            self._under_way[credential] = left
        else:
            del self._under_way[credential]
