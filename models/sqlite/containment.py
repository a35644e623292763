"""PostgreSQL's `@>` on JSON texts, for databases that lack it.

Lists are compared by the scalars within their items, in time proportional to their length. Items that this cannot
distinguish are compared one by one, and `check` is called before each: it may raise, which ends the comparison.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import lru_cache
from json import loads
from typing import Any

from models.values import is_list, is_object

Check = Callable[[], None]


def contains(whole: Any, part: Any, check: Check = lambda: None) -> bool:
    """True if `whole` contains `part`: objects by key, lists as sets, scalars by value and JSON type."""
    if is_object(part):
        return is_object(whole) and all(key in whole and contains(whole[key], part[key], check) for key in part)
    if is_list(part):
        return is_list(whole) and _list_contains(whole, part, check)
    return not isinstance(whole, (dict, list)) and _scalar(whole) == _scalar(part)


def _list_contains(whole: list[Any], part: list[Any], check: Check) -> bool:
    # Scalars are looked up in a set, so that two long lists take time proportional to the sum of their lengths.
    scalars = {_scalar(item) for item in whole if not _is_nested(item)}
    if not all(_is_nested(wanted) or _scalar(wanted) in scalars for wanted in part):
        return False
    nested = _Nested([item for item in whole if _is_nested(item)], check)
    return all(nested.hold(wanted) for wanted in part if _is_nested(wanted))


class _Nested:
    """The objects and lists of a list, indexed by the scalars within them: only those with all scalars are compared."""

    def __init__(self, items: list[Any], check: Check) -> None:
        self._items = items
        self._check = check
        self._with: defaultdict[Hashable, set[int]] | None = None

    def hold(self, wanted: Any) -> bool:
        """True if one of them contains the wanted value."""
        for item in self._candidates(wanted):
            self._check()
            if contains(item, wanted, self._check):
                return True
        return False

    def _candidates(self, wanted: Any) -> Iterable[Any]:
        marks = set(_marks(wanted))
        if not marks:
            return self._items
        if self._with is None:
            self._with = defaultdict(set)
            for index, item in enumerate(self._items):
                for mark in _marks(item):
                    self._with[mark].add(index)
        found = sorted((self._with.get(mark, set[int]()) for mark in marks), key=len)
        return (self._items[index] for index in found[0].intersection(*found[1:]))


def _marks(value: Any, path: Hashable = None) -> Iterator[Hashable]:
    """Yields each scalar of a value with the keys that lead to it; any value that contains this one has all of them."""
    if is_object(value):
        for key, item in value.items():
            yield from _marks(item, (path, key))
    elif is_list(value):
        for item in value:
            yield from _marks(item, (path, None))
    else:
        yield path, _scalar(value)


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict | list)


def _scalar(value: Any) -> tuple[bool, Any]:
    # In Python True == 1; in JSON a boolean is not a number.
    return isinstance(value, bool), value


@lru_cache(maxsize=64)
def _parsed(text: str) -> Any:
    return loads(text)


def json_contains(whole: str, part: str, check: Check = lambda: None) -> bool:
    """The function that SQLite calls for each row; `part` is the same for all rows and parsed once."""
    return contains(loads(whole), _parsed(part), check)
