"""The viewer: whom a request speaks for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from models.keys import key_of
from models.scope import Scope
from models.users import users_by_key
from resolvers.context import Context


@dataclass(frozen=True, slots=True)
class Viewer:
    """The application itself (`role` SERVICE) or one user of it (USER), in one project.

    A user may not be there, when an identity provider vouches for somebody whom the application has not created.
    """

    role: str = "SERVICE"
    project: str = "default"
    user_id: str | None = None
    user_key: bytes | None = None
    """The key of the user's row (`models.keys.user_key`)."""
    credential: str = "none"
    """How it was shown, for logs; never the secret."""
    scope: Scope = field(init=False, compare=False, repr=False)
    """What it may see."""

    @property
    def is_service(self) -> bool:
        """Whether it is the application itself."""
        return self.role == "SERVICE"

    def __post_init__(self) -> None:
        object.__setattr__(self, "scope", Scope(self.project, self.user_key))


async def viewer(context: Context, parents: Sequence[Any]) -> list[dict[str, Any]]:
    """What a request can be told of its viewer: role, project and, for a user token, user."""
    scope = context.scope
    user = None if scope.user is None else (await users_by_key(context.read, scope, [scope.user]))[0]
    key = scope.user or key_of("viewer", scope.project)
    return [{"key": key, "role": context.role, "project": scope.project, "user": user}] * len(parents)
