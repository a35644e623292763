"""A bounded cache that a flood of new keys does not empty of what is in use."""

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Cache(Generic[K, V]):
    """At most `size` entries (a segmented LRU).

    New ones are on trial in a fifth of it. One that is asked for again is kept with the others that were; of those the
    least recently used goes back on trial.
    """

    def __init__(self, size: int) -> None:
        self._trial: OrderedDict[K, V] = OrderedDict()
        self._kept: OrderedDict[K, V] = OrderedDict()
        if size < 2:
            raise ValueError("a cache of two parts has a size of 2 at least")
        self._most_on_trial = max(1, size // 5)
        self._most_kept = size - self._most_on_trial

    def __len__(self) -> int:
        return len(self._trial) + len(self._kept)

    def get(self, key: K) -> V | None:
        value = self._kept.get(key)
        if value is not None:
            self._kept.move_to_end(key)
            return value
        value = self._trial.pop(key, None)
        if value is not None:
            self._kept[key] = value
            if len(self._kept) > self._most_kept:
                self.put(*self._kept.popitem(last=False))
        return value

    def put(self, key: K, value: V) -> None:
        if key in self._kept:
            self._kept[key] = value
            return
        self._trial[key] = value
        if len(self._trial) > self._most_on_trial:
            self._trial.popitem(last=False)
