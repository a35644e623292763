"""Whose data a statement may touch: a required argument of each one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scope:
    """The project that the request speaks for; projects know nothing of each other."""

    project: str = "default"

    @property
    def values(self) -> dict[str, str]:
        return {"project": self.project}
