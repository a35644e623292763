"""Finds the rows of a list by an index beside its table, where that is faster than to go through the list in its order.

A filter may ask for several things, such as the beginnings of words: the index looks up the one that fewest rows have.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple

from models.keyset import Listing
from models.scope import Scope
from models.store import R, Reader

COMMON = 10_000
"""Rows of a project from which on those of a list are first tried in its order: a page is soon full."""

COUNTED = 100_000
"""Rows that are counted, to find the rarest of several things."""

TRIED = 10_000
"""Rows that are tried, before all are looked up and sorted."""

FEW = 500
"""Rows that are looked up where the list may be as short, or has another filter with an index."""


class Found(NamedTuple, Generic[R]):
    """The rows of a list with one thing that its filter asks for: the list by the index, and the `number` of rows up to
    a limit. `values` are further parameters of the list."""

    listing: Listing[R]
    number: int
    values: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Finder(Generic[R]):
    """An index beside a table: the parameter of the filter that it serves, and the function that counts the rows for
    each thing asked for, given the parameter's value and a limit."""

    parameter: str
    counts: Callable[[Reader, Scope, Any, int], Awaitable[list[Found[R]]]]


async def rarest(
    read: Reader, scope: Scope, finders: Sequence[Finder[R]], values: Mapping[str, Any], most: int
) -> Found[R] | None:
    """The fewest rows that an index finds for a filter with these parameters; None if none serves it.

    They are counted up to `most`, and beyond `COMMON` only if there is a choice.
    """
    found = [
        one
        for finder in finders
        if finder.parameter in values
        for one in await finder.counts(read, scope, values[finder.parameter], most)
    ]
    fewest = min(found, key=lambda one: one.number, default=None)
    if fewest is None or len(found) == 1 or fewest.number < most or most != COMMON:
        return fewest
    return await rarest(read, scope, finders, values, COUNTED)
