"""Fields that breadth-first execution understands, declared on Strawberry types.

- A plain field is read from its parent by name.
- A computed field is a function of its parent alone.
- A batch field's resolver is given every parent of its level at once, and returns one result for each, in order.
- A stream field is one of the subscription type; its resolver returns the events, which are its values.

A document with a field of any other kind is run by graphql-core as a whole.
"""

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson
import strawberry
from strawberry import UNSET, Info

from breadth.batching import load
from breadth.core import is_list

BatchResolver = Callable[..., Awaitable[Sequence[Any]]]
"""`resolve(context, parents, **arguments)`: one result for each parent, in order.

An exception in a result's place is that parent's error.
"""

Events = AsyncGenerator[Any]
"""The values of a stream field, one after the other. An exception in a value's place is that event's error."""

StreamResolver = Callable[..., Awaitable[Events]]
"""`await resolve(context, **arguments)` starts a stream; it raises if there is none with these arguments."""

Run = tuple[tuple[str, str], ...]
"""Neighbouring fields of a selection whose values a record has as one: their keys in the answer, and their names."""

MARK = "breadth"


@dataclass(frozen=True)
class Computed:
    """A computed field's function: it takes these plain values of the parent, or the parent itself (None).

    `unescaped`: its value is a string of letters, digits and other characters that JSON writes as they are.
    """

    compute: Callable[..., Any]
    needs: tuple[str, ...] | None
    unescaped: bool = False

    def of(self, parent: Any, read: Callable[[Any, str], Any]) -> Any:
        """The value for one parent, whose plain values `read(parent, name)` returns."""
        if self.needs is None:
            return self.compute(parent)
        return self.compute(*(read(parent, name) for name in self.needs))


@dataclass(frozen=True)
class PageSize:
    """The maximum number of items in a field's lists: the field itself, or the lists among its objects' fields.

    It is the first of `arguments` that is given: a number, or the length of a list. Their names are GraphQL's, and
    `input.items` is one within an input object. The resolver refuses more than `largest`. `lookup` is the cost of
    finding the items of one parent, in fields that could be answered in the same time.
    """

    arguments: tuple[str, ...]
    default: int
    largest: int
    lookup: int = 0


@dataclass(frozen=True)
class Batch:
    """A batch field's resolver; `arguments` converts the field's arguments to the resolver's, once per level.

    `needs` names the plain values of its parents that it reads (None: any of them). `records_at` is the path of fields
    to the records that it fetches: its resolver is then told, as `columns`, which of their values are wanted (None: any
    of them), and returns records that start with these in their order, by position as well as by name. A `Run` among
    them stands for one value: the bytes of a JSON object of the run's values under its keys (see `Executor`).
    """

    resolve: BatchResolver
    arguments: Callable[..., dict[str, Any]]
    needs: tuple[str, ...] | None
    records_at: tuple[tuple[str, ...], ...]
    page_size: PageSize | None = None


@dataclass(frozen=True)
class Stream:
    """A stream field's resolver; `arguments` converts the field's arguments to the resolver's, as for `Batch`."""

    resolve: StreamResolver
    arguments: Callable[..., dict[str, Any]]
    needs: None = None


def batch_field(
    resolve: BatchResolver,
    *,
    description: str,
    parameters: Sequence[inspect.Parameter] = (),
    arguments: Callable[..., dict[str, Any]] = dict,
    needs: tuple[str, ...] | None = None,
    records_at: tuple[tuple[str, ...], ...] = (),
    page_size: PageSize | None = None,
) -> Any:
    """A field whose resolver takes all parents of its level. Its type is its annotation in the class.

    `parameters` are the field's arguments, annotated for Strawberry. `arguments` is called with their plain values (see
    `plain`), without omitted ones. For `needs` and `records_at` see `Batch`, for the field's cost `PageSize`.
    """
    batch = Batch(resolve, arguments, needs, records_at, page_size)

    def from_graphql_core(root: Any, info: Info, **given: Any) -> Any:
        values = {name: plain(value) for name, value in given.items()}
        return load(info, resolve, root, lambda: arguments(**values))

    return _field(from_graphql_core, batch, description, parameters)


def stream_field(
    resolve: StreamResolver,
    *,
    description: str,
    parameters: Sequence[inspect.Parameter] = (),
    arguments: Callable[..., dict[str, Any]] = dict,
) -> Any:
    """A field of the subscription type. Its annotation in the class is the type of an event.

    For `parameters` and `arguments` see `batch_field`.
    """
    stream = Stream(resolve, arguments)

    async def from_graphql_core(root: Any, info: Info, **given: Any) -> Any:
        return await resolve(info.context, **arguments(**{name: plain(value) for name, value in given.items()}))

    return _field(from_graphql_core, stream, description, parameters, declare=strawberry.subscription)


def computed_field(
    compute: Callable[..., Any], *, description: str, needs: tuple[Any, ...] | None = None, unescaped: bool = False
) -> Any:
    """A field that is a function of its parent alone: `compute(*these plain values)`, or `compute(parent)` (None).

    Its type is its annotation in the class. For `unescaped` see `Computed`.
    """
    computed = Computed(compute, needs, unescaped)

    def from_graphql_core(root: Any, info: Info) -> Any:
        return computed.of(root, info._field.default_resolver)  # pyright: ignore[reportPrivateUsage]

    return _field(from_graphql_core, computed, description, ())


def _field(
    resolver: Callable[..., Any],
    mark: Computed | Batch | Stream,
    description: str,
    parameters: Sequence[inspect.Parameter],
    *,
    declare: Callable[..., Any] = strawberry.field,
) -> Any:
    own = inspect.signature(resolver).parameters.values()
    reserved = [parameter for parameter in own if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
    all_of_them = [*reserved, *parameters]
    setattr(resolver, MARK, mark)
    resolver.__signature__ = inspect.Signature(all_of_them)  # pyright: ignore[reportFunctionMemberAccess]
    resolver.__annotations__ = {parameter.name: parameter.annotation for parameter in all_of_them}
    return declare(resolver=resolver, description=description)


def json_text(text: str) -> orjson.Fragment:
    """The `serialize` of a scalar whose values are JSON texts: they are put into answers as they are."""
    return orjson.Fragment(text)


def plain(value: Any) -> Any:
    """An argument's value without Strawberry's classes.

    Input objects become dictionaries by Python name, without omitted fields; enums become their values.
    """
    if isinstance(value, Enum):
        return value.value
    if is_list(value):
        return [plain(item) for item in value]
    if getattr(value, "__strawberry_definition__", None) is not None:
        return {name: plain(item) for name, item in value.__dict__.items() if item is not UNSET}
    return value
