"""The values of columns that no driver gives as Python has them: times and JSON.

Rows hold both in the form in which an answer needs them, on every database, so that a page of rows becomes an answer
without a conversion: a `Time` is RFC 3339 in UTC without the `Z`, a `Json` the text of a JSON value. SQLite keeps them
so; another database's driver converts where it binds and reads values. All other code goes through these functions.
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
"""A JSON value as Python has it: what a client or another server sent."""


def time_of(moment: datetime) -> Time:
    """The column's value for a time with an offset."""
    return Time(moment.astimezone(UTC).replace(tzinfo=None).isoformat())


def datetime_of(time: Time) -> datetime:
    """The time of a column's value, in UTC."""
    return datetime.fromisoformat(time).replace(tzinfo=UTC)


def rfc3339(time: Time) -> str:
    """A time as answers and exports show it."""
    return f"{time}Z"


def json_of(value: Any) -> Json:
    """The column's value for a JSON value."""
    try:
        return Json(orjson.dumps(value).decode())
    except TypeError:  # integers beyond 64 bits
        return Json(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def value_of(text: Json) -> Any:
    """The JSON value of a column's value."""
    return json.loads(text)


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Tells whether a JSON value is an object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Tells whether a JSON value is a list."""
    return isinstance(value, list)
