"""The viewer: the application or the user that a request is authenticated as."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from models.keys import key_of
from models.rows import UserRow
from models.scope import Scope
from models.users import users_by_key
from resolvers.grants import EVERYTHING, Granted, listed
from resolvers.operation_context import OperationContext


@dataclass(frozen=True, slots=True)
class Viewer:
    """The application itself, or one of its users, in one project; `scope` is the data that the viewer may see.

    The user may not exist yet, if an identity provider authenticates somebody whom the application has not created.
    """

    scope: Scope
    user_id: str | None = None
    credential: str = "none"
    """The credential's description for logs; never the secret."""
    permissions: Granted = EVERYTHING

    @property
    def role(self) -> str:
        return self.scope.role

    @property
    def is_service(self) -> bool:
        return self.scope.user is None

    @property
    def project(self) -> str:
        return self.scope.project

    @property
    def user_key(self) -> bytes | None:
        """The key of the user's row (`models.keys.user_key`)."""
        return self.scope.user


class ShownViewer(TypedDict):
    key: bytes
    role: str
    project: str
    user: UserRow | None
    permissions: list[str]


async def viewer(context: OperationContext, parents: Sequence[object]) -> list[ShownViewer]:
    """The fields of a viewer for clients: role, project, permissions and, for a user token, user."""
    scope = context.scope
    user = None if scope.user is None else (await users_by_key(context.read, scope, [scope.user]))[0]
    key = scope.user or key_of("viewer", scope.project)
    shown: ShownViewer = {
        "key": key,
        "role": scope.role,
        "project": scope.project,
        "user": user,
        "permissions": listed(context.permissions),
    }
    return [shown] * len(parents)
