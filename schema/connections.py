"""Relay's connections, over the pages of `resolvers.connections`."""

import inspect
from functools import partial
from typing import Annotated, Any, Generic, TypeVar

import strawberry
from strawberry import UNSET

from breadth import BatchResolver, batch_field
from resolvers.connections import paging, total_counts
from schema.inputs import given

T = TypeVar("T")


@strawberry.type(description="Where a page stands in its list.")
class PageInfo:
    has_next_page: bool = strawberry.field(
        description="Going forward: whether more follows. Going backward: whether `before` was given."
    )
    has_previous_page: bool = strawberry.field(
        description="Going backward: whether more comes before. Going forward: whether `after` was given."
    )
    start_cursor: str | None = strawberry.field(description="The cursor of the first item; null for an empty page.")
    end_cursor: str | None = strawberry.field(description="The cursor of the last item; null for an empty page.")


@strawberry.type(description="An item of a list and its place there.")
class Edge(Generic[T]):
    cursor: str = strawberry.field(
        description="The item's place, for `after` and `before`: opaque, good for this list, filter and order only."
    )
    node: T = strawberry.field(description="The item.")


@strawberry.type(description="One page of a list.")
class Connection(Generic[T]):
    edges: list[Edge[T]] = strawberry.field(description="The items with their cursors.")
    nodes: list[T] = strawberry.field(description="The items alone.")
    page_info: PageInfo = strawberry.field(description="Where the page stands in the list.")
    total_count: int = batch_field(
        total_counts, description="How many items the whole list has, with its filter. Counted only when selected."
    )


First = Annotated[int | None, strawberry.argument(description="The first so many items after `after`: 0 to 100.")]
After = Annotated[str | None, strawberry.argument(description="The cursor that the page starts after.")]
Last = Annotated[int | None, strawberry.argument(description="The last so many items before `before`: 0 to 100.")]
Before = Annotated[str | None, strawberry.argument(description="The cursor that the page ends before.")]


def parameter(name: str, annotation: object, default: object = UNSET) -> inspect.Parameter:
    """An argument of a batch field."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


PAGING = [parameter("first", First), parameter("after", After), parameter("last", Last), parameter("before", Before)]


def connection_field(resolve: BatchResolver, *, description: str, filter: object = None, order: object = None) -> Any:
    """A connection: `resolve(context, parents, paging, filter, order)` gives a page for each parent."""
    parameters = list(PAGING)
    left_out: dict[str, Any] = {}
    if filter is not None:
        described = strawberry.argument(description="Which items to list; all of them when left out.")
        left_out["filter"] = UNSET
        parameters.append(parameter("filter", Annotated[filter | None, described]))  # pyright: ignore[reportOperatorIssue]
    if order is not None:
        described = strawberry.argument(description="How to order them; the newest first when left out.")
        left_out["order_by"] = UNSET
        parameters.append(parameter("order_by", Annotated[order | None, described]))  # pyright: ignore[reportOperatorIssue]

    return batch_field(
        resolve,
        description=f"{description} 20 a page unless asked otherwise.",
        parameters=parameters,
        arguments=partial(_arguments, **left_out),
    )


def _arguments(
    *, first: Any = UNSET, after: Any = UNSET, last: Any = UNSET, before: Any = UNSET, **more: Any
) -> dict[str, Any]:
    sizes = [None if size is UNSET else size for size in (first, after, last, before)]
    names = {"filter": "filter", "order_by": "order"}
    more = {names[name]: None if value is UNSET else given(value) for name, value in more.items()}
    return {"paging": paging(*sizes), **more}  # pyright: ignore[reportArgumentType]
