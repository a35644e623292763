"""What every operation is given: the database, whom the request speaks for, and the clock."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from models.database import Database, Reader, Transaction
from models.scope import Scope
from resolvers.times import Clock

T = TypeVar("T")


@dataclass
class Context:
    """Made for one operation. `role` is SERVICE for the application itself."""

    database: Database
    clock: Clock
    scope: Scope = field(default_factory=Scope)
    role: str = "SERVICE"
    batches: dict[Any, Any] = field(default_factory=dict[Any, Any])
    """The batches of this operation, while graphql-core runs it (see `breadth.batching`)."""

    @property
    def read(self) -> Reader:
        return self.database.reader

    async def write(self, operation: Callable[[Transaction], Awaitable[T]]) -> T:
        """Carries out a mutation; see `Database.write`."""
        return await self.database.write(operation)
