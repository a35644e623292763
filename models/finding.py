"""Finds the rows of a list by an index beside its table, where that is faster than to go through the list in its order.

A filter may ask for several things, such as the beginnings of words: the index looks up the one that fewest rows have.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, NamedTuple

from models.keyset import Listing
from models.scope import Scope
from models.store import R, Reader

STEPS = (1_000, 10_000)
"""Rows of a project that are counted. If there are more with each thing asked for, as many rows of the list are tried
in its order: its page is soon full."""

COUNTED = 100_000
"""Rows that are counted in the end, to find the rarest of several things."""

FEW, FEWEST = 500, 200
"""Rows that are looked up where the list may be as short or has another filter with an index, and rows that are looked
up in the event loop."""


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


def tried(listing: Listing[R]) -> tuple[tuple[int, Listing[R]], ...]:
    """Each of `STEPS` with the list of as many first rows of this one."""
    return tuple((step, replace(listing, tried=step)) for step in STEPS)


async def find(
    read: Reader, scope: Scope, finders: Sequence[Finder[R]], values: Mapping[str, Any], most: int
) -> list[Found[R]]:
    """The rows that indexes find for a filter with these parameters, counted up to `most`. The fewest come first."""
    found = [
        one
        for finder in finders
        if finder.parameter in values
        for one in await finder.counts(read, scope, values[finder.parameter], most)
    ]
    return sorted(found, key=lambda one: one.number)
