"""PostgreSQL's `@>` on JSON texts, for databases that lack it."""

from functools import lru_cache
from json import loads
from typing import Any


def contains(whole: Any, part: Any) -> bool:
    """Whether `whole` holds `part`: objects by key, lists as sets, scalars by value and JSON type."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and contains(whole[key], part[key]) for key in part)
    if isinstance(part, list):
        return isinstance(whole, list) and _list_contains(whole, part)
    # In Python True == 1; in JSON a truth value is no number.
    if isinstance(whole, bool) or isinstance(part, bool):
        return whole is part
    return not isinstance(whole, (dict, list)) and whole == part


def _list_contains(whole: list[Any], part: list[Any]) -> bool:
    # Scalars are looked up, so that two long lists take no more than their lengths together.
    scalars = {_scalar(item) for item in whole if not isinstance(item, dict | list)}
    nested = [item for item in whole if isinstance(item, dict | list)]
    return all(
        any(contains(item, wanted) for item in nested)
        if isinstance(wanted, dict | list)
        else _scalar(wanted) in scalars
        for wanted in part
    )


def _scalar(value: Any) -> tuple[bool, Any]:
    return isinstance(value, bool), value


@lru_cache(maxsize=64)
def _parsed(text: str) -> Any:
    return loads(text)


def json_contains(whole: str, part: str) -> bool:
    """The function that SQLite calls for each row; `part` is the same for all of them and parsed once."""
    return contains(loads(whole), _parsed(part))
