"""Relay's connections, over the pages of `resolvers.connections`."""

import inspect
from functools import partial
from operator import attrgetter
from typing import Annotated, Any, Generic, TypeVar

import strawberry
from strawberry import UNSET

from breadth import BatchResolver, PageSize, batch_field, computed_field
from resolvers.connections import DEFAULT_PAGE, LARGEST_PAGE, NODE, PLACE, ROWS, Listed, paging, total_counts

T = TypeVar("T")


def itself(page: T) -> T:
    return page


def cursor_at(rows: Listed, place: int) -> str:
    return rows.cursors[place]


@strawberry.type(description="The position of a page in its list.")
class PageInfo:
    has_next_page: bool = computed_field(
        attrgetter("has_next_page"),
        description="Going forward: true if more items follow. Going backward: true if `before` was given.",
    )
    has_previous_page: bool = computed_field(
        attrgetter("has_previous_page"),
        description="Going backward: true if more items precede. Going forward: true if `after` was given.",
    )
    start_cursor: str | None = computed_field(
        attrgetter("start_cursor"), description="The cursor of the first item; null for an empty page."
    )
    end_cursor: str | None = computed_field(
        attrgetter("end_cursor"), description="The cursor of the last item; null for an empty page."
    )


@strawberry.type(description="An item of a list and its position there.")
class Edge(Generic[T]):
    cursor: str = computed_field(
        cursor_at,
        needs=(ROWS, PLACE),
        unescaped=True,
        description="An opaque position for `after` and `before`, valid only for this list, filter and order.",
    )
    node: T = computed_field(itself, needs=(NODE,), description="The item.")


@strawberry.type(description="One page of a list.")
class Connection(Generic[T]):
    edges: list[Edge[T]] = computed_field(attrgetter("edges"), description="The items with their cursors.")
    nodes: list[T] = computed_field(attrgetter("nodes"), description="The items alone.")
    page_info: PageInfo = computed_field(itself, description="The position of the page in the list.")
    total_count: int = batch_field(
        total_counts, description="The number of items in the whole list, with its filter. Counted only when selected."
    )


First = Annotated[int | None, strawberry.argument(description="The number of items to return after `after`: 0 to 100.")]
After = Annotated[str | None, strawberry.argument(description="The cursor that the page starts after.")]
Last = Annotated[
    int | None, strawberry.argument(description="The number of items to return before `before`: 0 to 100.")
]
Before = Annotated[str | None, strawberry.argument(description="The cursor that the page ends before.")]


def parameter(name: str, annotation: object, default: object = UNSET) -> inspect.Parameter:
    """An argument of a batch field."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


PAGING = [parameter("first", First), parameter("after", After), parameter("last", Last), parameter("before", Before)]
PAGE_SIZE = PageSize(("first", "last"), default=DEFAULT_PAGE, largest=LARGEST_PAGE, lookup=10)


def connection_field(
    resolve: BatchResolver,
    *,
    description: str,
    filter: object = None,
    order: object = None,
    unordered: str = "the newest first",
    needs: tuple[str, ...] = ("key",),
    records_at: tuple[tuple[str, ...], ...] = (("edges", "node"), ("nodes",)),
) -> Any:
    """A connection: `resolve(context, parents, paging, filter, order, columns)` gives a page for each parent.

    `unordered` names the order that it has when the client asks for none.
    """
    parameters = list(PAGING)
    left_out: dict[str, None] = {}
    if filter is not None:
        described = strawberry.argument(description="The items to list; all of them when left out.")
        left_out["filter"] = None
        parameters.append(parameter("filter", Annotated[filter | None, described]))  # pyright: ignore[reportOperatorIssue]
    if order is not None:
        described = strawberry.argument(description=f"The order; {unordered} when left out.")
        left_out["order"] = None
        parameters.append(parameter("order_by", Annotated[order | None, described]))  # pyright: ignore[reportOperatorIssue]

    return batch_field(
        resolve,
        description=f"{description} 20 per page by default.",
        parameters=parameters,
        arguments=partial(_arguments, **left_out),
        needs=needs,
        records_at=records_at,
        page_size=PAGE_SIZE,
    )


def _arguments(
    *,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
    order_by: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    if "order" in more:
        more["order"] = order_by
    return {"paging": paging(first, after, last, before), **more}
