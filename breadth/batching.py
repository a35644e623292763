"""Calls batch resolvers from graphql-core: a loader gathers the parents of a level."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from strawberry import Info

from breadth.core import parent_type_name


def load(
    info: Info, resolve: Callable[..., Awaitable[Sequence[Any]]], parent: Any, arguments: Callable[[], dict[str, Any]]
) -> "asyncio.Future[Any]":
    """Resolves one parent as part of its level's batch, which the context's dictionary `batches` holds meanwhile."""
    batches = info.context.batches
    level = _level(info)
    batch = batches.get(level)
    if batch is None:
        batch = batches[level] = _Batch(resolve, info.context, arguments())
        # graphql-core resolves all fields of a level before it yields to the event loop; then the batch is complete.
        asyncio.get_running_loop().call_soon(batch.start, batches, level)
    return batch.add(parent)


def _level(info: Info) -> tuple[Any, ...]:
    """The key that the fields of one level share: their path without list positions, and their parent type."""
    names: list[Any] = [parent_type_name(info)]
    path: Any = info.path
    while path is not None:
        if isinstance(path.key, str):
            names.append(path.key)
        path = path.prev
    return tuple(names)


class _Batch:
    """The parents of one level, gathered while graphql-core walks them."""

    def __init__(
        self, resolve: Callable[..., Awaitable[Sequence[Any]]], context: Any, arguments: dict[str, Any]
    ) -> None:
        self._resolve = resolve
        self._context = context
        self._arguments = arguments
        self._parents: list[Any] = []
        self._futures: list[asyncio.Future[Any]] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, parent: Any) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        # A pending future references its batch, and the batch its task.
        future.add_done_callback(lambda _: self)
        self._parents.append(parent)
        self._futures.append(future)
        return future

    def start(self, batches: dict[Any, Any], level: tuple[Any, ...]) -> None:
        del batches[level]
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        results = await resolve_batch(self._resolve, self._context, self._parents, self._arguments)
        for future, result in zip(self._futures, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)


async def resolve_batch(
    resolve: Callable[..., Awaitable[Sequence[Any]]], context: Any, parents: Sequence[Any], arguments: dict[str, Any]
) -> Sequence[Any]:
    """Calls a batch resolver; returns the result for each parent: for all of them the exception, if it raises one."""
    try:
        results = await resolve(context, parents, **arguments)
        if len(results) == len(parents):
            return results
        raise RuntimeError(f"a batch resolver gave {len(results)} results for {len(parents)} parents")
    except Exception as error:
        return [error] * len(parents)
