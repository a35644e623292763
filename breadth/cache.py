"""A bounded cache that a flood of new keys does not empty of what is in use."""

from collections import OrderedDict
from collections.abc import Callable
from sys import maxsize
from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


def _nothing(_key: Any, _value: Any) -> int:
    return 0


class Cache(Generic[K, V]):
    """At most `size` entries (a segmented LRU), and no more than `most` bytes by what `weigh` says of each.

    New ones are on trial in a fifth of it. One that is asked for again is kept with the others that were; of those the
    least recently used goes back on trial. What an entry weighs may grow: `shrink` is called then.
    """

    def __init__(self, size: int, *, most: int = maxsize, weigh: Callable[[K, V], int] = _nothing) -> None:
        self._trial: OrderedDict[K, V] = OrderedDict()
        self._kept: OrderedDict[K, V] = OrderedDict()
        if size < 2:
            raise ValueError("a cache of two parts has a size of 2 at least")
        self._most_on_trial = max(1, size // 5)
        self._most_kept = size - self._most_on_trial
        self._most = most
        self._weigh = weigh

    def __len__(self) -> int:
        return len(self._trial) + len(self._kept)

    @property
    def weight(self) -> int:
        """Bytes of all entries."""
        return sum(self._weigh(*entry) for part in (self._trial, self._kept) for entry in part.items())

    def get(self, key: K) -> V | None:
        value = self._kept.get(key)
        if value is not None:
            self._kept.move_to_end(key)
            return value
        value = self._trial.pop(key, None)
        if value is not None:
            self._kept[key] = value
            if len(self._kept) > self._most_kept:
                self._try(*self._kept.popitem(last=False))
        return value

    def put(self, key: K, value: V) -> None:
        if key in self._kept:
            self._kept[key] = value
        else:
            self._try(key, value)
        if self._most < maxsize:
            self.shrink()

    def shrink(self) -> None:
        """Drops what has been on trial the longest, then what was used the longest time ago, until the rest fits."""
        over = self.weight - self._most
        for part in (self._trial, self._kept):
            while over > 0 and part:
                over -= self._weigh(*part.popitem(last=False))

    def _try(self, key: K, value: V) -> None:
        self._trial[key] = value
        if len(self._trial) > self._most_on_trial:
            self._trial.popitem(last=False)
