"""PostgreSQL's `@>` on JSON texts, for databases that lack it."""

from functools import lru_cache
from json import loads
from typing import Any


def contains(whole: Any, part: Any) -> bool:
    """Whether `whole` holds `part`: objects by key, lists as sets, scalars by value and JSON type."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and contains(whole[key], part[key]) for key in part)
    if isinstance(part, list):
        return isinstance(whole, list) and all(any(contains(item, wanted) for item in whole) for wanted in part)
    # In Python True == 1; in JSON a truth value is no number.
    if isinstance(whole, bool) or isinstance(part, bool):
        return whole is part
    return not isinstance(whole, (dict, list)) and whole == part


@lru_cache(maxsize=64)
def _parsed(text: str) -> Any:
    return loads(text)


def json_contains(whole: str, part: str) -> bool:
    """The function that SQLite calls for each row; `part` is the same for all of them and parsed once."""
    return contains(loads(whole), _parsed(part))
