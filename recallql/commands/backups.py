"""`recallql backup` and `recallql restore`: a database in one file."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from models.store import CopyProgress, database_at
from recallql.commands.progress import progress_bars
from recallql.settings import Settings


@contextmanager
def _followed() -> Generator[CopyProgress]:
    """A function that moves a progress bar. The check after the last page tells nothing on its way."""
    with progress_bars() as bars:
        task = bars.add_task("copying", total=None)

        def follow(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total, description="copying" if done < total else "checking")

        yield follow


def back_up(settings: Settings, file: Path, *, overwrite: bool) -> str:
    """Copies the database to a file; returns the name of the database."""
    database = database_at(settings.database_url)
    with _followed() as progress:
        database.back_up(file, overwrite=overwrite, progress=progress)
    return database.name


def restore(settings: Settings, file: Path) -> tuple[str, str | None]:
    """Puts a copy of a backup in the place of the database; returns the names of the database and the former one."""
    database = database_at(settings.database_url)
    with _followed() as progress:
        return database.name, database.restore(file, progress=progress)
