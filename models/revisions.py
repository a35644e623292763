"""The revisions of the tables, by the migrations that lead to them."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import Connection

from models.errors import DatabaseProblem

MIGRATIONS = Path(__file__).parent / "migrations"

Report = Callable[[str], None]
"""A function that is called with a line about each migration."""


def say_nothing(_: str) -> None:
    pass


class Revisions:
    """The migrations of a folder, which are Python: loaded once in a process, however many databases it opens."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._scripts = ScriptDirectory.from_config(self._config())
        self.newest = self._scripts.get_current_head()

    def _config(self) -> Config:
        config = Config()
        config.set_main_option("script_location", str(self._folder).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        return config

    def missing(self, current: str | None, name: str) -> list[str]:
        """A line about each revision that a database at the current one lacks; `name` is the database's in messages.

        Raises `DatabaseProblem` if a newer version of RecallQL wrote the database.
        """
        try:
            found = [*self._scripts.iterate_revisions("head", current or "base")]
        except (ResolutionError, CommandError) as error:
            raise DatabaseProblem(
                f"{name} was written by a newer version of RecallQL (schema {current}); "
                "install that version, or restore a backup."
            ) from error
        return [f"{script.revision}: {script.doc}" for script in reversed(found)]

    def check(self, current: str | None, name: str) -> None:
        """Raises `DatabaseProblem` if a database lacks a revision, or has one of a newer version."""
        if not self.missing(current, name):
            return
        if current is None:
            raise DatabaseProblem(f"{name} has no tables of RecallQL yet; run `recallql migrate`.")
        raise DatabaseProblem(
            f"{name} has the tables of an older version of RecallQL (schema {current}); run `recallql migrate`."
        )

    def apply(self, bound: Connection, report: Report) -> None:
        """Applies what is missing; `report` is called after each."""

        def applied(*, step: Any, **_: Any) -> None:
            report(f"{step.up_revision.revision}: {step.up_revision.doc}")

        config = self._config()
        config.attributes |= {"connection": bound, "applied": applied}
        command.upgrade(config, "head")


@cache
def revisions(folder: Path = MIGRATIONS) -> Revisions:
    """The migrations of a folder as they are now."""
    return Revisions(folder)
