"""The lines of a file that is being imported, in a temporary database that disappears with the connection."""

import sqlite3
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from models.errors import DatabaseProblem
from models.staging import LinePosition, Staging

_TABLE = """CREATE TABLE lines (project TEXT, rank INTEGER, session TEXT, step INTEGER, sequence INTEGER, moment TEXT,
    own TEXT, number INTEGER, start INTEGER, size INTEGER)"""
_ADD = "INSERT INTO lines VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
# A message without a time is later than the ones before it in the file.
_IN_ORDER = """SELECT number, start, size FROM lines
    ORDER BY project, rank, session, step, sequence, coalesce(moment, max(moment) OVER (
        PARTITION BY project, rank, session, step, sequence ORDER BY number ROWS UNBOUNDED PRECEDING), ''), number"""
_INDEX = "CREATE INDEX IF NOT EXISTS places ON lines (session, sequence, own)"
_LIKE = """SELECT min(number) FROM lines WHERE session = :session AND project = :project AND rank = :rank
    AND number <> :number AND {} = :value"""


@contextmanager
def _explained() -> Generator[None]:
    """Explains to the operator why the temporary database can't be written."""
    try:
        yield
    except sqlite3.Error as error:
        raise DatabaseProblem(f"Where the lines stand can't be noted in a temporary file: {error}.") from error


class SqliteStaging(Staging):
    """The places of a file's lines."""

    def __init__(self) -> None:
        self._sqlite = sqlite3.connect("", isolation_level=None)
        self._sqlite.execute(_TABLE)
        self._sqlite.execute("BEGIN")

    def close(self) -> None:
        self._sqlite.close()

    def add(self, lines: Iterable[tuple[LinePosition, int, int, int]]) -> None:
        """Records lines: the place of each, its number, its offset in the file and its size in bytes."""
        with _explained():
            self._sqlite.executemany(_ADD, ((*place, *where) for place, *where in lines))

    def in_order(self) -> Iterator[tuple[int, int, int]]:
        """The number, offset and size of each line."""
        with _explained():
            sorted_lines = self._sqlite.execute(_IN_ORDER)
        yield from sorted_lines

    def line_like(self, place: LinePosition, number: int) -> int | None:
        """The number of the first other line with the same place in its session, or the same own key."""
        self._sqlite.execute(_INDEX)
        values: dict[str, Any] = {"session": place.session, "project": place.project, "rank": place.rank}
        for column in ("sequence", "own"):
            if value := getattr(place, column):
                found = self._sqlite.execute(_LIKE.format(column), {**values, "number": number, "value": value})
                if (other := found.fetchone()[0]) is not None:
                    return other
        return None
