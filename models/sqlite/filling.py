"""Fills a file with the rows of another database: see `models.copying`."""

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Table

from models.errors import DatabaseProblem
from models.search_kinds import SEARCH_KINDS, SearchKind
from models.sqlite.database import connect
from models.sqlite.file_health import BUSY, problem_of
from models.sqlite.forms import form_of
from models.sqlite.snapshot import SqliteSnapshot
from models.statements import Parameters, Statement
from models.store import Filling

PATIENCE = 1.0
"""Seconds to wait for others who have the file open, such as a command that is about to end."""

_CACHE = "PRAGMA cache_size = -131072"
"""Keys of users and sessions are spread over their whole index."""

# The bytes of a user who was erased elsewhere were never here: the next start says so in the receipt.
_REMOVALS = (
    "INSERT INTO removals (key, removed_at) SELECT removal, erased_at FROM erasures WHERE removal IS NOT NULL "
    "ON CONFLICT DO NOTHING"
)


class SqliteFilling(SqliteSnapshot, Filling):
    """A file, through the only connection that it has."""

    @contextmanager
    def transaction(self) -> Generator[None]:
        self._sqlite.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._sqlite.in_transaction:
                self._sqlite.execute("ROLLBACK")
            raise
        self._sqlite.execute("COMMIT")

    def execute(self, statement: Statement[Any], parameters: Parameters) -> None:
        form = form_of(statement)
        self._sqlite.execute(form.text, form.bound(parameters))

    def begin(self) -> None:
        """Indexes are kept: making them anew would sort all rows in memory."""

    def add(self, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        of = next((kind for kind in SEARCH_KINDS.values() if kind.vectors is table), None)
        self._sqlite.executemany(_insert(table) if of is None else _insert_vectors(of), rows)

    def complete(self) -> None:
        for kind in SEARCH_KINDS.values():
            self._sqlite.execute(_fill_vectors(kind))
        self._sqlite.execute(_REMOVALS)


def _insert(table: Table) -> str:
    columns = [column.name for column in table.columns]
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608


def _insert_vectors(kind: SearchKind) -> str:
    """Vectors have the number of their text."""
    keys = [column.name for column in kind.vectors.primary_key]
    found = " AND ".join(f"{key} = ?{place}" for place, key in enumerate(keys, 1))
    return (
        f"INSERT INTO {kind.vectors.name} (number, {', '.join(keys)}, vectors) "  # noqa: S608 - no values
        f"SELECT number, {', '.join(keys)}, ?{len(keys) + 1} FROM {kind.table.name} WHERE {found}"
    )


def _fill_vectors(kind: SearchKind) -> str:
    """Only the newest texts may be without a row: see `models.sqlite.vectors`."""
    table, vectors = kind.table.name, kind.vectors.name
    keys = ", ".join(column.name for column in kind.vectors.primary_key)
    return (
        f"INSERT INTO {vectors} (number, {keys}, vectors) SELECT number, {keys}, NULL FROM {table} "  # noqa: S608
        f"WHERE number <= (SELECT max(number) FROM {vectors}) ON CONFLICT DO NOTHING"
    )


@contextmanager
def filling(path: Path) -> Generator[SqliteFilling]:
    """Keeps others from opening the file until the end of the block."""
    try:
        with closing(connect(path, timeout=PATIENCE, alone=True)) as connection:
            connection.execute(_CACHE)
            yield SqliteFilling(connection, path)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "") in BUSY:
            raise DatabaseProblem(
                f"{path} is in use; stop the server, with all its workers, and other users of the file."
            ) from error
        raise DatabaseProblem(problem_of(error, path)) from error
