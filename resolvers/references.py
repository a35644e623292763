"""Follows references: fetches each row once, however many others refer to it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from models.scope import Scope
from models.store import Reader
from resolvers.operation_context import OperationContext

R = TypeVar("R")

ByKey = Callable[[Reader, Scope, list[bytes]], Awaitable[list[R | None]]]


async def follow(context: OperationContext, by_key: ByKey[R], keys: Sequence[bytes | None]) -> list[R | None]:
    """The row of each key; None for no key and for a row that the viewer can't see."""
    wanted = list(dict.fromkeys(key for key in keys if key is not None))
    if not wanted:
        return [None] * len(keys)
    rows = dict(zip(wanted, await by_key(context.read, context.scope, wanted), strict=True))
    return [None if key is None else rows[key] for key in keys]
