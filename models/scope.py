"""The scope of a statement, a required argument of each one: the data that it may touch."""

from dataclasses import dataclass
from functools import cached_property
from typing import TypedDict

from sqlalchemy import ColumnElement, bindparam, func

from models.columns import Key


@dataclass(frozen=True)
class Scope:
    """The data that a request may access: a whole project (`user` is None), or that of the user with this key in it."""

    project: str = "default"
    user: bytes | None = None

    @property
    def role(self) -> str:
        """SERVICE for the application itself, USER for one user."""
        return "SERVICE" if self.user is None else "USER"

    @cached_property
    def values(self) -> dict[str, str | bytes | None]:
        """The scope as parameters of statements."""
        return {"project": self.project, "viewer": self.user}

    @property
    def whole_project(self) -> "Scope":
        """The scope for checking if a key is taken, by any user."""
        return Scope(self.project)


class Owned(TypedDict):
    """A row of an object that belongs to a user, or to nobody."""

    user_key: bytes | None


viewer = bindparam("viewer", type_=Key)


def of_viewer(owner: ColumnElement[bytes | None]) -> ColumnElement[bool]:
    """True if the owner is the viewer; always true for the application itself."""
    return owner.is_not_distinct_from(func.coalesce(viewer, owner))
