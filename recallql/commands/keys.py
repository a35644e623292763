"""`recallql key …` and `recallql token`: credentials, for operators with access to the database."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from models.errors import DataError
from models.rows import ApiKeyRow
from models.scope import Scope
from models.store import Database, database_at
from recallql.commands.stores import existing, run
from recallql.settings import Settings
from resolvers import credentials
from resolvers.errors import Refused
from resolvers.operation_context import OperationContext
from resolvers.times import Clock

T = TypeVar("T")


class KeyProblem(DataError):
    """A key or a token was not made or changed; the message is for the operator."""


def create_key(settings: Settings, *, name: str, project: str) -> tuple[ApiKeyRow, str]:
    """Creates a key, and the database if it does not exist; returns the key's row and the key."""
    database = database_at(settings.database_url)
    database.prepare()
    return _run(database, lambda context: credentials.create_api_key(context, {"name": name, "project": project}))


def list_keys(settings: Settings) -> Sequence[ApiKeyRow]:
    return _run(existing(settings), credentials.list_api_keys)


def revoke_key(settings: Settings, id: str) -> ApiKeyRow:
    return _run(existing(settings), lambda context: credentials.revoke_api_key(context, id))


def rotate_signing_key(settings: Settings, *, at_once: bool) -> str:
    return _run(existing(settings), lambda context: credentials.rotate_signing_key(context, at_once=at_once))


def issue_token(
    settings: Settings, *, user_id: str, project: str, expires_in: int | None, permissions: list[str] | None
) -> credentials.IssuedToken:
    """Issues a token; returns it with its expiry."""
    values = {"user_id": user_id, "expires_in_seconds": expires_in, "permissions": permissions}
    return _run(existing(settings), lambda context: credentials.issue_user_token(context, values), project=project)


def _run(database: Database, operation: Callable[[OperationContext], Awaitable[T]], *, project: str = "default") -> T:
    try:
        return run(database, lambda store: operation(OperationContext(store, Clock(), Scope(project))))
    except Refused as refusal:
        raise KeyProblem(str(refusal)) from refusal
