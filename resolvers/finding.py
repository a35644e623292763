"""Pages of lists by an index beside their table, where that is faster than to go through a list in its order."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from models.finding import COUNTED, FEW, Finder, Found, find
from models.keyset import MOSTLY_TRUE, Listing
from resolvers.connections import Page, Paging, connect
from resolvers.errors import BadInput
from resolvers.filters import Filter
from resolvers.operation_context import OperationContext


async def connect_found(
    context: OperationContext,
    listing: Listing[Any],
    tried: Sequence[tuple[int, Listing[Any]]],
    finders: Sequence[Finder[Any]],
    paging: Paging,
    **part: Any,
) -> list[Page | BadInput]:
    """The page of a list of the project. `tried` has numbers of rows that are common, each with the list of the first
    rows that are tried then (see `models.finding`). For the rest see `connect`."""
    filter: Filter = part["filter"]
    if "words" not in filter.values and _has_others(filter):
        listing, part = await narrowed(context, listing, finders, 1, part)
        return await connect(context, listing, paging, None, **part)
    found: list[Found[Any]] = []
    # To compare words takes longer: a page that is not filled costs more than it may save.
    for common, first in tried[-1:] if "words" in filter.values else tried:
        found = await _find(context, listing, finders, filter, common)
        if not found:
            return await connect(context, listing, paging, None, **part)
        if found[0].number < common:
            break
        (page,) = await connect(context, first, paging, None, **_with(part, found[0]))
        if isinstance(page, BadInput):
            return [page]
        if page.has_more:
            page.query = replace(page.query, listing=found[0].listing)
            return [page]
    else:
        if len(found) > 1:
            found = await _find(context, listing, finders, filter, COUNTED)
    return await connect(context, found[0].listing, paging, None, **_with(part, found[0]))


async def narrowed(
    context: OperationContext,
    listing: Listing[Any],
    finders: Sequence[Finder[Any]],
    owners: int,
    part: dict[str, Any],
) -> tuple[Listing[Any], dict[str, Any]]:
    """A list, or that of the few rows that an index finds, with its `part` (see `connect`).

    The list may be short, and its other filters may have an index: so only few rows are looked up for all of its
    owners.
    """
    most = FEW // max(owners, 1)
    found = await _find(context, listing, finders, part["filter"], most) if most else []
    return (found[0].listing, _with(part, found[0])) if found and found[0].number < most else (listing, part)


async def _find(
    context: OperationContext, listing: Listing[Any], finders: Sequence[Finder[Any]], filter: Filter, most: int
) -> list[Found[Any]]:
    """See `models.finding.find`. If an index of the table itself serves the filter, nothing is found."""
    if listing.is_selective(filter.given):
        return []
    return await find(context.read, context.scope, finders, filter.values, most)


def _with(part: dict[str, Any], found: Found[Any]) -> dict[str, Any]:
    filter: Filter = part["filter"]
    return {**part, "filter": replace(filter, values={**filter.values, **found.values})}


def _has_others(filter: Filter) -> bool:
    """True for a filter of more than metadata."""
    return any(not name.startswith("metadata") for name in filter.given if name not in MOSTLY_TRUE)
