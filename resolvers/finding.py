"""Pages of lists by an index beside their table, where that is faster than to go through a list in its order."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from models.finding import COMMON, FEW, Finder, Found, rarest
from models.keyset import MOSTLY_TRUE, Listing
from resolvers.connections import Page, Paging, connect
from resolvers.errors import BadInput
from resolvers.filters import Filter
from resolvers.operation_context import OperationContext


async def connect_found(
    context: OperationContext,
    listing: Listing[Any],
    tried: Listing[Any],
    finders: Sequence[Finder[Any]],
    paging: Paging,
    **part: Any,
) -> list[Page | BadInput]:
    """The page of a list of the project; `tried` is the same list, of which the first rows are tried. For `part` see
    `connect`."""
    filter: Filter = part["filter"]
    if "words" not in filter.values and _has_others(filter):
        listing, part = await narrowed(context, listing, finders, 1, part)
        return await connect(context, listing, paging, None, **part)
    found = await _rarest(context, listing, finders, filter, COMMON)
    if found is None:
        return await connect(context, listing, paging, None, **part)
    part = _with(part, found)
    if found.number >= COMMON:
        (page,) = await connect(context, tried, paging, None, **part)
        if isinstance(page, BadInput):
            return [page]
        if page.has_more:
            page.query = replace(page.query, listing=found.listing)
            return [page]
    return await connect(context, found.listing, paging, None, **part)


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
    found = await _rarest(context, listing, finders, part["filter"], most) if most else None
    return (found.listing, _with(part, found)) if found is not None and found.number < most else (listing, part)


async def _rarest(
    context: OperationContext, listing: Listing[Any], finders: Sequence[Finder[Any]], filter: Filter, most: int
) -> Found[Any] | None:
    if listing.is_selective(filter.given):
        return None
    return await rarest(context.read, context.scope, finders, filter.values, most)


def _with(part: dict[str, Any], found: Found[Any]) -> dict[str, Any]:
    filter: Filter = part["filter"]
    return {**part, "filter": replace(filter, values={**filter.values, **found.values})}


def _has_others(filter: Filter) -> bool:
    """True for a filter of more than metadata."""
    return any(not name.startswith("metadata") for name in filter.given if name not in MOSTLY_TRUE)
