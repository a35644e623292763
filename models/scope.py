"""Whose data a statement may touch: a required argument of each one."""

from dataclasses import dataclass
from functools import cached_property
from typing import TypedDict

from sqlalchemy import ColumnElement, bindparam, func

from models.columns import Key


@dataclass(frozen=True)
class Scope:
    """What the request may see: its project, and within that all (`user` is None), or what is of one user, by key."""

    project: str = "default"
    user: bytes | None = None

    @property
    def role(self) -> str:
        """SERVICE for the application itself, USER for one user."""
        return "SERVICE" if self.user is None else "USER"

    @cached_property
    def values(self) -> dict[str, str | bytes | None]:
        """The values that statements are given of it."""
        return {"project": self.project, "viewer": self.user}

    @property
    def whole_project(self) -> "Scope":
        """For finding out whether a key is taken, by whomever."""
        return Scope(self.project)


class Owned(TypedDict):
    """A row of what belongs to a user, or to nobody."""

    user_key: bytes | None


viewer = bindparam("viewer", type_=Key)


def of_viewer(owner: ColumnElement[bytes | None]) -> ColumnElement[bool]:
    """Tells whether the owner is the user whom the request speaks for; any is, for the application itself."""
    return owner.is_not_distinct_from(func.coalesce(viewer, owner))
