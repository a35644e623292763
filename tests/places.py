"""Databases for the tests, each fresh and with all its tables. A test that asks for one runs on every database.

A test reads and writes rows with SQL that all of them understand; keys are 16 bytes there, and times and JSON values
are texts, as in `models.values`.
"""

import contextlib
import shutil
import sqlite3
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from models.sqlite.database import connect
from models.sqlite.migrate import MIGRATIONS, migrate
from models.store import Database, database_at

Rows = list[tuple[Any, ...]]


class Place(ABC):
    """One database of a test, which a URL names."""

    url: str

    @property
    def option(self) -> tuple[str, str]:
        """The option of the command that names the database."""
        return "--database-url", self.url

    @property
    def database(self) -> Database:
        return database_at(self.url)

    @abstractmethod
    def query(self, statement: str, *values: Any) -> Rows:
        """Executes a statement, whose parameters are `$1`, `$2`… in it, and returns its rows."""

    @abstractmethod
    def insert(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        """Inserts rows that have values for the same columns."""

    @abstractmethod
    def tables(self) -> dict[str, Rows]:
        """The rows of all tables, those of the full-text index included."""

    @abstractmethod
    def content(self) -> bytes:
        """All that the database keeps, on SQLite also what is left in its files of deleted rows."""

    @abstractmethod
    def columns(self, table: str) -> set[str]:
        """The names of a table's columns."""

    @abstractmethod
    def blocking_writes(self) -> AbstractContextManager[None]:
        """A block in which no other transaction can write a row."""

    @abstractmethod
    def check(self) -> None:
        """Asserts that the database is undamaged, that every reference leads to a row, and that the index of metadata
        has what is there."""

    @abstractmethod
    def close(self) -> None:
        """Gives the database back, which nobody uses any more."""


class Places(ABC):
    """Where fresh databases come from, for all tests of a process."""

    @abstractmethod
    def fresh(self, folder: Path) -> Place:
        """A database without rows; if it is a file, in this folder."""

    @abstractmethod
    def copy(self, place: Place, folder: Path) -> Place:
        """A copy of a database that nobody uses at the moment."""

    @contextlib.contextmanager
    def lent(self, folder: Path) -> Generator[Place]:
        """A fresh database for a block."""
        place = self.fresh(folder)
        try:
            yield place
        finally:
            place.close()

    @abstractmethod
    def close(self) -> None: ...


Fresh = Callable[[], Place]
"""The fixture `fresh`: makes a fresh database."""


class SqlitePlace(Place):
    """A database file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"

    def query(self, statement: str, *values: Any) -> Rows:
        with contextlib.closing(connect(self.path)) as connection:
            return connection.execute(statement, {str(n): value for n, value in enumerate(values, 1)}).fetchall()

    def insert(self, table: str, rows: Sequence[dict[str, Any]]) -> None:
        names = list(rows[0])
        marks = ", ".join(f":{name}" for name in names)
        with contextlib.closing(connect(self.path)) as connection, connection:
            connection.execute("BEGIN")
            connection.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", rows)

    def tables(self) -> dict[str, Rows]:
        with contextlib.closing(sqlite3.connect(self.path, timeout=30)) as connection:
            found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0")
            names = sorted(name for (name,) in found)
            return {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}

    def content(self) -> bytes:
        # Another process reads: when one closes a file, all its locks on that file end, also those of SQLite.
        files = [self.path, *self.path.parent.glob(f"{self.path.name}-wal")]
        return subprocess.run(["cat", *files], stdout=subprocess.PIPE, check=True).stdout

    def columns(self, table: str) -> set[str]:
        return {row[1] for row in self.query(f"PRAGMA table_info({table})")}

    @contextlib.contextmanager
    def blocking_writes(self) -> Generator[None]:
        with contextlib.closing(connect(self.path)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield

    def check(self) -> None:
        assert self.query("PRAGMA integrity_check") == [("ok",)]
        assert self.query("PRAGMA foreign_key_check") == []
        leaves = " UNION ALL ".join(
            f"SELECT leaves.value, {table}.key FROM {table}, json_each(leaves_of('{table}', project, metadata)) leaves"
            for table in ("users", "sessions", "documents")
        )
        assert self.query("SELECT leaf, key FROM metadata_leaves") == self.query(f"{leaves} ORDER BY 1, 2")

    def close(self) -> None:
        """The file stays, for whoever looks into why a test failed."""


def older_place(folder: Path, revision: str) -> SqlitePlace:
    """A file as the version with this revision made it, without rows."""
    migrations, path = folder / "migrations", folder / "older.db"
    shutil.copytree(MIGRATIONS, migrations, ignore=shutil.ignore_patterns("__pycache__"))
    for later in (migrations / "versions").glob("[0-9]*.py"):
        if later.name[: len(revision)] > revision:
            later.unlink()
    migrate(path, migrations)
    return SqlitePlace(path)


class SqlitePlaces(Places):
    """Copies of one migrated file."""

    def __init__(self, folder: Path) -> None:
        self.template = SqlitePlace(folder / "template.db")
        self.template.database.migrate()

    def fresh(self, folder: Path) -> SqlitePlace:
        return self.copy(self.template, folder)

    def copy(self, place: Place, folder: Path) -> SqlitePlace:
        assert isinstance(place, SqlitePlace)
        path, number = folder / "recallql.db", 1
        while path.exists():
            number += 1
            path = folder / f"recallql-{number}.db"
        shutil.copyfile(place.path, path)
        return SqlitePlace(path)

    def close(self) -> None:
        """Leaves the files, as pytest does."""
