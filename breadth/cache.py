"""A cache bounded in entries and bytes; a flood of new keys does not evict the entries in use."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class WeighedCache(Generic[K, V]):
    """A segmented LRU of at most `size` entries and `most` bytes; `weigh` returns the bytes of an entry.

    New entries are on probation in a fifth of it. An entry that is used again moves to the protected segment; when that
    is full, its least recently used entry goes back on probation.
    """

    def __init__(self, size: int, *, most: int = 0, weigh: Callable[[K, V], int] | None = None) -> None:
        self._trial: OrderedDict[K, V] = OrderedDict()
        self._kept: OrderedDict[K, V] = OrderedDict()
        if size < 2:
            raise ValueError("a cache of two parts has a size of 2 at least")
        self._most_on_trial = max(1, size // 5)
        self._most_kept = size - self._most_on_trial
        self._most = most
        self._weigh = weigh
        self._weights: dict[K, int] = {}
        self.weight = 0
        """Bytes of all entries."""

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
                self._try(*self._kept.popitem(last=False))
        return value

    def put(self, key: K, value: V) -> None:
        if key in self._kept:
            self._kept[key] = value
        else:
            self._try(key, value)
        self.update(key)

    def update(self, key: K) -> None:
        """Weighs an entry again, since it may have grown, and makes room for it.

        The oldest entries on probation are evicted first, then the least recently used ones.
        """
        value = self._kept.get(key) or self._trial.get(key)
        if self._weigh is None or value is None:
            return
        weight = self._weigh(key, value)
        self.weight += weight - self._weights.get(key, 0)
        self._weights[key] = weight
        while self.weight > self._most:
            self._drop(self._trial or self._kept)

    def _try(self, key: K, value: V) -> None:
        self._trial[key] = value
        if len(self._trial) > self._most_on_trial:
            self._drop(self._trial)

    def _drop(self, part: OrderedDict[K, V]) -> None:
        key, _ = part.popitem(last=False)
        self.weight -= self._weights.pop(key, 0)
