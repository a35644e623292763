"""The values of columns that need conversion: times and JSON.

On every database rows hold both in the form that an answer needs, so that a page of rows becomes an answer without a
conversion: a `Time` is RFC 3339 in UTC without the `Z`, a `Json` the text of a JSON value. SQLite stores them so;
another database's driver converts when it binds and reads values. All other code goes through these functions.
"""

import json
from datetime import UTC, datetime
from typing import Any, NewType, TypeAlias, TypeGuard

import orjson

Time = NewType("Time", str)
"""A time in UTC with microseconds where there are any. Times sort as their texts do."""

Json = NewType("Json", str)
"""The text of a JSON value."""

JsonValue: TypeAlias = "str | int | float | bool | list[JsonValue] | dict[str, JsonValue] | None"
"""A JSON value as Python objects, from a client or another server."""


def time_of(moment: datetime) -> Time:
    """Converts a time with an offset to the column's value."""
    return Time(moment.astimezone(UTC).replace(tzinfo=None).isoformat())


def datetime_of(time: Time) -> datetime:
    """Converts a column's value to a time in UTC."""
    return datetime.fromisoformat(time).replace(tzinfo=UTC)


def rfc3339(time: Time) -> str:
    """A time as answers and exports show it."""
    return f"{time}Z"


def json_of(value: Any) -> Json:
    """Converts a JSON value to the column's value."""
    try:
        return Json(orjson.dumps(value).decode())
    except TypeError:  # integers beyond 64 bits
        return Json(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def value_of(text: Json) -> Any:
    """Converts a column's value to a JSON value."""
    return json.loads(text)


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """True if a JSON value is an object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """True if a JSON value is a list."""
    return isinstance(value, list)
