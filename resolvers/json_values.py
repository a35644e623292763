"""JSON values from clients: validation, size, serialization; merging of metadata."""

from math import isfinite
from typing import Any

from models.values import Json, JsonValue, json_of, value_of

LEVELS = 32
JSON_BYTES = 64 * 1024


def unstorable(text: str) -> str | None:
    """Describes the part of a string that a database cannot store; None if there is none."""
    if "\0" in text:
        return "holds the character U+0000; leave it out"
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half of a surrogate pair, which is not a character; send the whole character"
    return None


class Unacceptable(ValueError):
    """A JSON value that cannot be stored; `code` is INVALID or TOO_LARGE."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def check_json(value: JsonValue, level: int = 1) -> None:
    """Raises `Unacceptable` for texts and numbers that a database cannot store, and for too deep nesting."""
    if isinstance(value, str):
        if problem := unstorable(value):
            raise Unacceptable("INVALID", f"A text in it {problem}.")
    elif isinstance(value, float):
        if not isfinite(value):
            raise Unacceptable("INVALID", "A number in it is not finite, or too large; JSON has no such number.")
    elif isinstance(value, dict | list):
        if level > LEVELS:
            raise Unacceptable("TOO_LARGE", f"It has more than {LEVELS} levels of objects and lists; make it flatter.")
        if isinstance(value, dict):
            for key in value:
                check_json(key)
        for item in value.values() if isinstance(value, dict) else value:
            check_json(item, level + 1)


def count_values(value: JsonValue) -> int:
    """Counts the values nested in a JSON value, itself included."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(count_values, items))


def checked_text(value: JsonValue) -> Json:
    """Serializes a JSON value as stored; raises `Unacceptable` if it cannot be stored."""
    check_json(value)
    text = json_of(value)
    size = len(text) if text.isascii() else len(text.encode())
    if size > JSON_BYTES:
        raise Unacceptable("TOO_LARGE", f"It takes {size} bytes as JSON; at most {JSON_BYTES} are kept.")
    return text


def merge_patch(target: JsonValue, patch: JsonValue) -> JsonValue:
    """RFC 7396: objects merge, null removes a key, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged: dict[str, JsonValue] = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def merged_text(kept: Json, patch: JsonValue) -> Json:
    """Merges a patch into a stored object; returns the result as stored."""
    return checked_text(merge_patch(value_of(kept), patch))


def filled_text(kept: Json, other: Json) -> Json:
    """Adds to a stored object what only another one has, at every depth; returns the result as stored."""
    return kept if other == "{}" else checked_text(_filled(value_of(kept), value_of(other)))


def _filled(value: JsonValue, other: JsonValue) -> JsonValue:
    if not isinstance(value, dict) or not isinstance(other, dict):
        return value
    return {**other, **{key: _filled(item, other[key]) if key in other else item for key, item in value.items()}}


def same_json(text: Json, other: Json) -> bool:
    """True if two stored texts have equal JSON values, whatever the order of keys; 1 equals 1.0."""
    return text == other or _comparable(value_of(text)) == _comparable(value_of(other))


def _comparable(value: JsonValue) -> Any:
    if isinstance(value, dict):
        return {key: _comparable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    return (isinstance(value, bool), value)
