"""The context of every operation: the database, the viewer, the clock, and a model if there is one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from models.allowance import Allowance
from models.scope import Owned, Scope
from models.store import AtOnce, Reader, Store, Transaction
from models.threads import Threads
from resolvers.embeddings import Encoder
from resolvers.errors import for_service
from resolvers.grants import EVERYTHING, Granted
from resolvers.times import Clock
from resolvers.tokens import count_tokens

if TYPE_CHECKING:
    from resolvers.live import Live

T = TypeVar("T")

THREADS = 2
"""Threads for work that would block the event loop; they share one processor."""


def operation_threads() -> Threads:
    """Creates the threads for `OperationContext.in_thread`."""
    return Threads("operation", THREADS)


@dataclass(slots=True)
class OperationContext:
    """Made for one operation."""

    database: Store
    clock: Clock
    scope: Scope = field(default_factory=Scope)
    permissions: Granted = EVERYTHING
    count_tokens: Callable[[str], int] = count_tokens
    asks_model: bool = False
    """True if a model reads messages in the background and forms memories and summaries."""
    encoder: Encoder | None = None
    forms_memories: bool = True
    """True if memories are formed where neither the messages nor their session and user say otherwise."""
    live: "Live | None" = None
    """What subscriptions are woken by; None where there are none."""
    resume_after: str | None = None
    """The cursor of the last event that a client has received, which takes precedence over an operation's arguments."""
    may_lag: bool = False
    """True if reads may be those of a replica, which lags a little behind; see `read_current`."""
    batches: dict[Any, Any] = field(default_factory=dict[Any, Any])
    """The batches of this operation while graphql-core runs it (see `breadth.batching`)."""
    allowance: Allowance = field(default_factory=Allowance)
    threads: Threads = field(default_factory=operation_threads)
    is_large: bool = False
    """True if the request is so large that processing its input would block the event loop."""
    read: Reader = field(init=False)

    def __post_init__(self) -> None:
        self.read = self.database.read_within(self.allowance, may_lag=self.may_lag)

    def read_current(self) -> None:
        """Has all further reads see what was committed before them: those that a write goes by, or that follow it."""
        if self.may_lag:
            self.may_lag = False
            self.read = self.database.read_within(self.allowance)

    def only_service(self, what: str) -> None:
        """Raises `Forbidden` for a user; only the application itself may do this."""
        if self.scope.user is not None:
            raise for_service(what)

    def may_see(self, row: Owned) -> bool:
        """True if the viewer may see a row with this owner."""
        return self.scope.user is None or row["user_key"] == self.scope.user

    async def in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """Calls a function that would block the event loop in a thread (see `models.threads`) and returns its result.

        A slow function calls `self.allowance.check()` in its loops, so that it ends with the request.
        """
        return await self.threads.run(self.allowance, function, *arguments)

    async def rest(self) -> None:
        """Yields the event loop if it has been held for long: long work in it calls this now and then."""
        await self.allowance.rest()

    async def prepare(self, function: Callable[..., T], *arguments: Any) -> T:
        """Processes a request's input with a function before a transaction, in a thread if it is large."""
        return await self.in_thread(function, *arguments) if self.is_large else function(*arguments)

    async def write(self, operation: Callable[[Transaction], Awaitable[T]], *, at_once: AtOnce[T] | None = None) -> T:
        """Runs a mutation's transaction; see `Store.write`."""
        self.read_current()
        return await self.database.write(operation, self.allowance, at_once=at_once)
