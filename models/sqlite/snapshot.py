"""Reads of one snapshot of a file."""

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from models.errors import DatabaseProblem
from models.sqlite.database import LOCK_PATIENCE
from models.sqlite.file_health import problem_of
from models.sqlite.forms import form_of
from models.statements import Parameters, Statement
from models.store import R, Snapshot


class SqliteSnapshot(Snapshot):
    """A snapshot of the file, from the time when its connection began to read."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._sqlite = connection
        self._path = path

    def rows(self, statement: Statement[R], parameters: Parameters) -> Iterator[R]:
        form = form_of(statement)
        cursor = self._sqlite.cursor()
        cursor.row_factory = form.row
        try:
            # Not `yield from`, which would close the cursor of a connection that is closed already.
            for row in cursor.execute(form.text, form.bound(parameters)):  # noqa: UP028
                yield row
        except sqlite3.Error as error:
            raise DatabaseProblem(
                f"{self._path} can't be read to its end: {error}. Restore it from a backup."
            ) from error


@contextmanager
def snapshot(path: Path) -> Generator[SqliteSnapshot]:
    """Changes nothing in the file, not even its journal mode."""
    try:
        with closing(sqlite3.connect(path, timeout=LOCK_PATIENCE, isolation_level=None)) as connection:
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("BEGIN")
            yield SqliteSnapshot(connection, path)
    except sqlite3.Error as error:
        raise DatabaseProblem(problem_of(error, path)) from error
