"""Filters by metadata: objects that contain another one, as PostgreSQL's `@>` says.

PostgreSQL compares by itself. SQLite has three ways, the cheapest first:

- Pieces of the filter's JSON, its needles, are in the text of all metadata that contains it.
- Scalars below keys are compared in the texts that writers of JSON have for them. A statement is compiled for some
  numbers of scalars (`SIZES`).
- All else is compared by a function (`models.sqlite.containment`), and so is metadata that has escapes, or is long: the
  function ends with its request.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice, takewhile
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, FromClause, bindparam

from models.columns import Words
from models.expressions import json_contains
from models.values import is_list, is_object, json_of

NAME = "metadata"

SIZES = (1, 2, 4)
"""The numbers of scalars that a statement compares."""

FORMS = 3
"""The texts of one scalar: a number may be stored as 1 or 1.0, and 1e16 as 10000000000000000 or 1e+16."""

_NEEDLES = (f"{NAME}_needle_0", f"{NAME}_needle_1")

LONGEST_NEEDLE, PIECES = 32, 8
"""Characters of a piece of a filter that are looked at, and pieces of which the needles are chosen."""

REPEATING = 8
"""Characters at the beginning of a needle among which may be its first one again."""

_PLAIN = re.compile(r"""[^\0-\x1f"\\/*?\[\x7f-\U0010ffff]+"?""")
"""Characters that every writer of JSON writes as they are, without those that mean something in a pattern, and the
quote at their end."""

_FREQUENT = frozenset('":,{}-_ 0123456789abcdef')
"""Characters of which metadata is full: a needle that starts with another one is found faster."""


def contains() -> dict[str, Callable[[FromClause], ColumnElement[bool]]]:
    """The forms of the filter of a list, by name; `containment` says which one a filter has."""
    return {_name(size): _condition(size) for size in (0, *SIZES)}


def _name(size: int) -> str:
    return f"{NAME}_{size}" if size else NAME


def _condition(size: int) -> Callable[[FromClause], ColumnElement[bool]]:
    names = [NAME, *_NEEDLES, *(name for place in range(size) for name in _names(place))]
    parameters: list[BindParameter[str]] = [bindparam(name, type_=Words) for name in names]
    return lambda rows: json_contains(rows.c.metadata, *parameters)


def _names(place: int) -> list[str]:
    """The parameters of one scalar: its path and its texts."""
    return [f"{NAME}_path_{place}", *(f"{NAME}_text_{place}_{form}" for form in range(FORMS))]


def containment(part: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name of the filter for metadata that contains an object, and its parameters."""
    values: dict[str, Any] = {NAME: json_of(part), **dict(zip(_NEEDLES, _needles(part), strict=True))}
    scalars = _scalars(part, "$", SIZES[-1])
    size = next((size for size in SIZES if scalars and len(scalars) <= size), 0)
    for place in range(size):
        path, texts = scalars[min(place, len(scalars) - 1)]
        values |= zip(_names(place), (path, *texts, *[texts[-1]] * (FORMS - len(texts))), strict=True)
    return _name(size), values


def _scalars(part: Mapping[str, Any], path: str, most: int) -> list[tuple[str, list[str]]]:
    """The paths and texts of all scalars of an object; none if it has more than `most`, or anything else."""
    found: list[tuple[str, list[str]]] = []
    for key, item in part.items():
        inner: list[tuple[str, list[str]]] = []
        # A path has no escapes. An empty object, too, must be there.
        if key and json_of(key) == f'"{key}"':
            here = f'{path}."{key}"'
            if is_object(item):
                inner = _scalars(item, here, most)
            elif not is_list(item):
                inner = [(here, texts_of(item))]
        found += inner
        if not inner or len(found) > most:
            return []
    return found


def texts_of(scalar: Any) -> list[str]:
    """The texts in which a scalar that equals this one may be stored."""
    if isinstance(scalar, bool) or not isinstance(scalar, int | float):
        return [str(json_of(scalar))]
    if scalar == 0:
        return ["0", "0.0", "-0.0"]
    texts: list[str] = [json_of(int(scalar))] if scalar == int(scalar) else []
    try:
        number = float(scalar)
    except OverflowError:
        return texts
    # The second is how a float is written beside an integer beyond 64 bits.
    return list(dict.fromkeys((*texts, str(json_of(number)), repr(number)))) if number == scalar else texts


def _needles(part: Mapping[str, Any]) -> list[str]:
    """Patterns for pieces of an object: those that are found fastest."""
    best = sorted(map(_pattern, islice(_pieces(part), PIECES)), reverse=True)
    return [pattern for *_, pattern in best[: len(_NEEDLES)]] + ["*"] * (len(_NEEDLES) - len(best))


def _pattern(piece: tuple[str, str]) -> tuple[bool, int, str]:
    """The pattern for a piece of JSON, after its worth. There may be spaces between a key and its value."""
    runs = [run for run in map(_run, piece) if run[1]]
    if not runs:
        return (False, 0, "*")
    return (runs[0][0], sum(length for _, length, _ in runs), f"*{'*'.join(run for *_, run in runs)}*")


def _run(text: str) -> tuple[bool, int, str]:
    """The part of a text that is found fastest, after its worth.

    It has no character that JSON may write in two ways, and repeats its first one at its beginning alone: a search for
    it takes time in proportion to the metadata, whatever this is.
    """
    best = (False, 0, "")
    for plain in _PLAIN.findall(text[:LONGEST_NEEDLE]):
        for start, char in enumerate(plain):
            again = plain.find(char, start + 1)
            run = plain[start:] if again < 0 else plain[start : max(again, start + REPEATING)]
            best = max(best, (len(run) > 3 and char not in _FREQUENT, len(run), run))
    return best


def _pieces(part: Any) -> Iterator[tuple[str, str]]:
    """Keys, each with the text that begins its value, that are in the JSON of all that contains an object."""
    if is_object(part):
        for key, item in part.items():
            yield _rest(key), _beginning(item)
            if is_object(item) or is_list(item):
                yield from _pieces(item)
    elif is_list(part):
        for item in part:
            if is_object(item) or is_list(item):
                yield from _pieces(item)
            else:
                yield "", _beginning(item)


def _beginning(item: Any) -> str:
    """The text, without its first quote, with which all values begin that contain this one."""
    if is_object(item) or is_list(item):
        return ""
    if isinstance(item, str):
        return _rest(item)
    shared = takewhile(lambda chars: len(set(chars)) == 1, zip(*texts_of(item), strict=False))
    return "".join(chars[0] for chars in shared)


def _rest(text: str) -> str:
    """The JSON of a text without its first quote, as far as it matters here."""
    return text.replace('"', '\\"') + '"'
