"""Fields that take all parents of a level at once, reached from graphql-core through a loader."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import strawberry
from strawberry import Info

BatchResolver = Callable[..., Awaitable[Sequence[Any]]]
"""`resolve(context, parents, **arguments)`: one result for each parent, in order.

An exception in a result's place is that parent's error.
"""


class HasBatches(Protocol):
    """What the glue needs of an operation's context: a place for the batches that are being gathered."""

    batches: dict[Any, Any]


def batch_field(
    resolve: BatchResolver,
    *,
    description: str,
    parameters: Sequence[inspect.Parameter] = (),
    arguments: Callable[..., dict[str, Any]] = dict,
) -> Any:
    """A field whose resolver takes all parents of its level.

    `parameters` are the field's arguments, annotated for Strawberry; `arguments` turns them into the resolver's own,
    once for the level. The field's type is its annotation in the class.
    """

    def load(root: Any, info: Info, **given: Any) -> asyncio.Future[Any]:
        batches = info.context.batches
        level = _level(info)
        batch = batches.get(level)
        if batch is None:
            batch = batches[level] = _Batch(resolve, info.context, arguments(**given))
            # graphql-core resolves the fields of one level before the loop goes on; then the batch is complete.
            asyncio.get_running_loop().call_soon(batch.start, batches, level)
        return batch.add(root)

    return _field(load, description, parameters)


def computed_field(compute: Callable[[Any], Any], *, description: str) -> Any:
    """A field that is worked out from its parent alone."""
    return _field(lambda root: compute(root), description, ())


def _field(resolver: Callable[..., Any], description: str, parameters: Sequence[inspect.Parameter]) -> Any:
    own = list(inspect.signature(resolver).parameters.values())
    reserved = [parameter for parameter in own if parameter.kind is not inspect.Parameter.VAR_KEYWORD]
    resolver.__signature__ = inspect.Signature([*reserved, *parameters])  # pyright: ignore[reportFunctionMemberAccess]
    resolver.__annotations__ = {parameter.name: parameter.annotation for parameter in (*reserved, *parameters)}
    return strawberry.field(resolver=resolver, description=description)


def _level(info: Info) -> tuple[Any, ...]:
    """What the fields of one level share: their path without list positions, and the type that they are fields of."""
    names: list[Any] = [info._raw_info.parent_type.name]  # pyright: ignore[reportPrivateUsage]
    path: Any = info.path
    while path is not None:
        if isinstance(path.key, str):
            names.append(path.key)
        path = path.prev
    return tuple(names)


class _Batch:
    """The parents of one level, gathered while graphql-core walks them."""

    def __init__(self, resolve: BatchResolver, context: Any, arguments: dict[str, Any]) -> None:
        self._resolve = resolve
        self._context = context
        self._arguments = arguments
        self._parents: list[Any] = []
        self._futures: list[asyncio.Future[Any]] = []

    def add(self, parent: Any) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._parents.append(parent)
        self._futures.append(future)
        return future

    def start(self, batches: dict[Any, Any], level: tuple[Any, ...]) -> None:
        del batches[level]
        # The task is held by the futures that wait for it.
        task = asyncio.get_running_loop().create_task(self._run())
        for future in self._futures:
            future.add_done_callback(lambda _, task=task: None)

    async def _run(self) -> None:
        try:
            results = await self._resolve(self._context, self._parents, **self._arguments)
            if len(results) != len(self._parents):
                raise RuntimeError(f"a batch resolver gave {len(results)} results for {len(self._parents)} parents")
        except Exception as error:
            results = [error] * len(self._parents)
        for future, result in zip(self._futures, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
