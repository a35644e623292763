"""`recallql key …` and `recallql token`: credentials, made by who has the database."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from models.errors import DataError
from models.scope import Scope
from models.sqlite.database import Database, path_of
from models.sqlite.migrate import migrate
from models.statements import Record
from recallql.commands.archive import check_source
from recallql.settings import Settings
from resolvers import credentials
from resolvers.errors import Refused
from resolvers.operation_context import OperationContext
from resolvers.times import Clock

T = TypeVar("T")


class KeyProblem(DataError):
    """Why a key or a token was not made or changed, in words."""


def create_key(settings: Settings, *, name: str, project: str) -> tuple[Record, str]:
    """A new key's row, and the key; the database is made if need be."""
    migrate(path_of(settings.database_url))
    return _run(settings, lambda context: credentials.create_api_key(context, {"name": name, "project": project}))


def list_keys(settings: Settings) -> list[Record]:
    check_source(settings)
    return _run(settings, credentials.list_api_keys)


def revoke_key(settings: Settings, id: str) -> Record:
    check_source(settings)
    return _run(settings, lambda context: credentials.revoke_api_key(context, id))


def rotate_signing_key(settings: Settings, *, at_once: bool) -> str:
    check_source(settings)
    return _run(settings, lambda context: credentials.rotate_signing_key(context, at_once=at_once))


def issue_token(settings: Settings, *, user_id: str, project: str, expires_in: int | None) -> dict[str, Any]:
    """The token and when it expires."""
    check_source(settings)
    values = {"user_id": user_id, "expires_in_seconds": expires_in}
    return _run(settings, lambda context: credentials.issue_user_token(context, values), project=project)


def _run(settings: Settings, operation: Callable[[OperationContext], Awaitable[T]], *, project: str = "default") -> T:
    async def run() -> T:
        database = await Database.open(path_of(settings.database_url))
        try:
            return await operation(OperationContext(database, Clock(), Scope(project)))
        except Refused as refusal:
            raise KeyProblem(str(refusal)) from refusal
        finally:
            await database.close()

    return asyncio.run(run())
