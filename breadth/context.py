"""The context of an operation, which its resolvers are given, and the interface that execution needs of it."""

from asyncio import sleep
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Context(Protocol):
    """The interface that every context implements. `PlainContext` is a base class with simple implementations."""

    batches: dict[Any, Any]
    """The batches of the operation while graphql-core runs it (see `breadth.batching`)."""

    @property
    def is_large(self) -> bool:
        """True when the request is so large that processing its variables would block the event loop."""
        ...

    async def in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Calls a slow function, off the event loop if possible, and returns its result."""
        ...

    async def rest(self) -> None:
        """Yields the event loop if it is others' turn. Execution calls it between the parts of long work."""
        ...


class PlainContext:
    """A context that does everything in the event loop."""

    is_large = False

    def __init__(self) -> None:
        self.batches: dict[Any, Any] = {}

    async def in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return function(*arguments)

    async def rest(self) -> None:
        await sleep(0)
