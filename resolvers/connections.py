"""Connections: Relay pagination of any listing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from models.expressions import Parents
from models.keys import identity
from models.keyset import Fetched, Listing, Run, Slice, fetch_counts, fetch_pages
from models.rows import SessionRow, UserRow
from resolvers.cursors import CursorForm, Cursors
from resolvers.errors import BadInput
from resolvers.filters import Filter, Given, order_of
from resolvers.operation_context import OperationContext

Columns = tuple[str | Run, ...] | None
"""The columns that start a page's rows; None for all."""

DEFAULT_PAGE = 20
LARGEST_PAGE = 100


@dataclass(frozen=True)
class Paging:
    """The checked pagination arguments of a connection field."""

    limit: int = DEFAULT_PAGE
    backwards: bool = False
    after: str | None = None
    before: str | None = None


def paging(first: int | None, after: str | None, last: int | None = None, before: str | None = None) -> Paging:
    """Checks the four arguments of a connection field; `BadInput` names the wrong one."""
    if first is not None and last is not None:
        raise BadInput("Give `first` (the page after a cursor) or `last` (the page before one), not both.")
    for name, size in (("first", first), ("last", last)):
        if size is not None and not 0 <= size <= LARGEST_PAGE:
            raise BadInput(f"`{name}` is {size}; a page has 0 to {LARGEST_PAGE} items.")
    size = last if first is None else first
    return Paging(DEFAULT_PAGE if size is None else size, last is not None, after, before)


class Listed:
    """Rows of a list, in its order, and their nodes (mostly the rows themselves)."""

    def __init__(self, rows: Sequence[Any], cursors: Cursors) -> None:
        self.rows = self.nodes = rows
        self._cursors = cursors

    @property
    def edges(self) -> "list[Edge]":
        return [(self, place, node) for place, node in enumerate(self.nodes)]

    @cached_property
    def cursors(self) -> list[str]:
        """Their cursors, which are only made if they are selected."""
        return self._cursors.of(self.rows)

    @property
    def start_cursor(self) -> str | None:
        return self._cursors.of(self.rows[:1])[0] if self.rows else None

    @property
    def end_cursor(self) -> str | None:
        return self._cursors.of(self.rows[-1:])[0] if self.rows else None


Edge = tuple[Listed, int, Any]
"""The rows that an item is one of, its place among them, and its node."""

ROWS, PLACE, NODE = range(3)


@dataclass(frozen=True, eq=False)
class Query:
    """The pages that were requested together, so that they can be counted together."""

    listing: Listing[Any]
    part: Slice
    parents: Parents | None


class Page(Listed):
    """One page of a connection."""

    def __init__(self, fetched: Fetched[Any], cursors: Cursors, paging: Paging, query: Query, index: int) -> None:
        super().__init__(fetched.rows, cursors)
        self.has_more = fetched.has_more
        self.query = query
        self.index = index
        self._paging = paging

    @property
    def has_next_page(self) -> bool:
        return self._paging.before is not None if self._paging.backwards else self.has_more

    @property
    def has_previous_page(self) -> bool:
        return self.has_more if self._paging.backwards else self._paging.after is not None


def part_of(order: Given, filter: Filter, columns: Columns) -> dict[str, Any]:
    """The keyword arguments of `connect` for a list with an order that clients choose."""
    name, descending = order_of(order)
    return {"order": name, "descending": descending, "filter": filter, "columns": columns}


async def connect(
    context: OperationContext,
    listing: Listing[Any],
    paging: Paging,
    parents: Sequence[bytes] | None,
    *,
    identities: Sequence[bytes] | None = None,
    numbers: Sequence[int] | None = None,
    order: str = "created_at",
    descending: bool = True,
    filter: Filter = Filter(),  # noqa: B008 - it is frozen
    columns: Columns = None,
) -> list[Page | BadInput]:
    """For each parent its page, or the error of its cursor; one statement however many parents there are.

    Without parents (None) the list is a root list of the project, and there is one page. Cursors are bound to
    `identities` (by default the parents' keys).
    """
    part: Slice = Slice(
        order=order,
        descending=descending,
        given=filter.given,
        values=filter.values,
        columns=columns,
        limit=paging.limit,
        backwards=paging.backwards,
    )
    pages: list[Page | BadInput | None] = [None] * (1 if parents is None else len(parents))
    form = CursorForm(listing, order, descending=descending, filter=filter, columns=columns)
    all_cursors = [Cursors(form, parent) for parent in ([None] if parents is None else identities or parents)]
    good: list[int] = []
    for index, cursors in enumerate(all_cursors):
        try:
            # A cursor is bound to one list: with one, at most a single parent passes this check.
            for name in ("after", "before"):
                if (cursor := getattr(paging, name)) is not None:
                    part = replace(part, **{name: cursors.position(cursor, name)})
            good.append(index)
        except BadInput as problem:
            pages[index] = problem
    if good:
        of = (
            None
            if parents is None
            else Parents([parents[i] for i in good], None if numbers is None else [numbers[i] for i in good])
        )
        query = Query(listing, part, of)
        fetched = await fetch_pages(context.read, context.scope, listing, part, of)
        for number, (index, one) in enumerate(zip(good, fetched, strict=True)):
            pages[index] = Page(one, all_cursors[index], paging, query, number)
    return [page for page in pages if page is not None]


async def connect_to(
    context: OperationContext, listing: Listing[Any], paging: Paging, rows: Sequence[UserRow | SessionRow], **part: Any
) -> list[Page | BadInput]:
    """The pages of users or sessions. A cursor is not valid for a later object under the same key.

    For `part` see `connect`.
    """
    identities = [identity(row["key"], row["nonce"]) for row in rows]
    return await connect(context, listing, paging, [row["key"] for row in rows], identities=identities, **part)


async def connect_visible(
    context: OperationContext, of_project: Listing[Any], of_user: Listing[Any], paging: Paging, **part: Any
) -> list[Page | BadInput]:
    """The page of a root list: of the project, or for a user of the user. For `part` see `connect`."""
    viewer = context.scope.user
    if viewer is None:
        return await connect(context, of_project, paging, None, **part)
    return await connect(context, of_user, paging, [viewer], **part)


async def total_counts(context: OperationContext, pages: Sequence[Page]) -> list[int]:
    """For each page the size of its whole list: one statement for all pages that were fetched together."""
    counts = {
        query: await fetch_counts(context.read, context.scope, query.listing, query.part, query.parents)
        for query in dict.fromkeys(page.query for page in pages)
    }
    return [counts[page.query][page.index] for page in pages]
