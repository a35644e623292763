"""The context of an operation: what its resolvers are given, and what execution asks of it."""

from asyncio import sleep
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Context(Protocol):
    """The least that a context has. `PlainContext` is one to derive from where nothing else is needed."""

    batches: dict[Any, Any]
    """The batches of the operation while graphql-core runs it (see `breadth.batching`)."""

    @property
    def is_large(self) -> bool:
        """True when the request is so large that working on its variables would hold the event loop."""
        ...

    async def in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Calls a function that takes long, off the event loop if there is a way, and returns what it returns."""
        ...

    async def rest(self) -> None:
        """Lets others have the event loop, if it is their turn. Execution calls it between the parts of long work."""
        ...


class PlainContext:
    """A context that works in the event loop alone."""

    is_large = False

    def __init__(self) -> None:
        self.batches: dict[Any, Any] = {}

    async def in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return function(*arguments)

    async def rest(self) -> None:
        await sleep(0)
