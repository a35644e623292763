"""Tables of another system's SQLite file."""

import sqlite3
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from models.errors import DatabaseProblem
from models.foreign import ForeignTables


@contextmanager
def tables_of(path: str) -> Generator[ForeignTables]:
    try:
        uri = f"{Path(path).resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("BEGIN")
            yield SqliteTables(connection)
    except sqlite3.Error as error:
        raise DatabaseProblem(f"{path} can't be read as a SQLite database: {error}.") from error


class SqliteTables(ForeignTables):
    """The tables of an open file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def columns(self, table: str) -> set[str]:
        return {name for (name,) in self._connection.execute("SELECT name FROM pragma_table_info(?)", (table,))}

    def rows(self, table: str, *, order_by: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
        order = ", ".join(f'"{name}"' for name in order_by)
        for row in self._connection.execute(f'SELECT * FROM "{table}" ORDER BY {order}'):  # noqa: S608
            yield dict(row)
