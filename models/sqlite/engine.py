"""A SQLite file that a URL names: see `models.store.Database`."""

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from models.errors import DatabaseProblem
from models.sqlite.backups import back_up
from models.sqlite.database import SqliteStore, connect
from models.sqlite.forms import form_of
from models.sqlite.migrate import migrate
from models.sqlite.restoring import restore
from models.statements import Parameters, Statement
from models.store import CONNECTIONS, SLOW_READERS, CopyProgress, Database, R, Snapshot


class SqliteSnapshot(Snapshot):
    """A snapshot of the file, from the time when its connection began to read."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._sqlite = connection

    def rows(self, statement: Statement[R], parameters: Parameters) -> Iterator[R]:
        form = form_of(statement)
        cursor = self._sqlite.cursor()
        cursor.row_factory = form.row
        return cursor.execute(form.text, form.bound(parameters))


class SqliteDatabase(Database):
    """A file. Its name in messages is its path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def at(cls, url: str) -> "SqliteDatabase":
        """The file of a `sqlite:///file` URL (`sqlite:////absolute/file` for an absolute one)."""
        path = url.partition(":///")[2]
        if path in ("", ":memory:") or "?" in path:
            raise DatabaseProblem(
                f"The database URL {url!r} names no file: RecallQL keeps its data in one, as in sqlite:///recallql.db."
            )
        return cls(Path(path))

    @property
    def name(self) -> str:
        return str(self.path)

    def exists(self) -> bool:
        return self.path.exists()

    def prepare(self) -> None:
        self.migrate()

    def migrate(self) -> None:
        migrate(self.path)

    async def open(
        self, *, durable: bool = True, slow_readers: int = SLOW_READERS, connections: int = CONNECTIONS
    ) -> SqliteStore:
        return await SqliteStore.open(self.path, durable=durable, slow_readers=slow_readers)

    @contextmanager
    def snapshot(self) -> Generator[SqliteSnapshot]:
        try:
            with closing(connect(self.path)) as connection:
                connection.execute("BEGIN")
                yield SqliteSnapshot(connection)
        except sqlite3.Error as error:
            raise DatabaseProblem(
                f"{self.path} can't be read to its end: {error}. Restore it from a backup."
            ) from error

    def back_up(self, target: Path, *, overwrite: bool, progress: CopyProgress) -> None:
        back_up(self.path, target, overwrite=overwrite, progress=progress)

    def restore(self, backup: Path, *, progress: CopyProgress) -> str | None:
        former = restore(backup, self.path, progress)
        return former and str(former)
