"""Opens the database for a command."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from models.errors import DatabaseProblem
from models.store import Database, Store, database_at, opened
from recallql.settings import Settings

T = TypeVar("T")


def existing(settings: Settings) -> Database:
    """The database of the settings, brought to this version's tables.

    Raises `DatabaseProblem` when it does not exist: a mistyped name must not create one.
    """
    database = database_at(settings.database_url)
    if not database.exists():
        raise DatabaseProblem(f"{database.name} does not exist; name the database with --database-url.")
    database.prepare()
    return database


def run(database: Database, operation: Callable[[Store], Awaitable[T]]) -> T:
    """Runs one operation on a migrated database, and returns its result."""

    async def run_opened() -> T:
        async with opened(database) as store:
            return await operation(store)

    return asyncio.run(run_opened())
