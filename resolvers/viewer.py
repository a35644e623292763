"""The viewer: whom a request's credential speaks for."""

from collections.abc import Sequence
from typing import Any

from models.keys import key_of
from models.users import users_by_key
from resolvers.context import Context


async def viewer(context: Context, parents: Sequence[Any]) -> list[dict[str, Any]]:
    """Its role, project and, for a user token, user."""
    scope = context.scope
    user = None if scope.user is None else (await users_by_key(context.read, scope, [scope.user]))[0]
    key = scope.user or key_of("viewer", scope.project)
    return [{"key": key, "role": context.role, "project": scope.project, "user": user}] * len(parents)
