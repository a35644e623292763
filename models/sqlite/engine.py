"""A SQLite file that a URL names: see `models.store.Database`."""

import asyncio
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from models.errors import DatabaseProblem
from models.revisions import Report, revisions, say_nothing
from models.sqlite.backups import back_up
from models.sqlite.database import SqliteStore
from models.sqlite.file_health import identity_of
from models.sqlite.filling import SqliteFilling, filling
from models.sqlite.migrate import migrate, refuse_unfinished, revision_at
from models.sqlite.restoring import restore
from models.sqlite.snapshot import SqliteSnapshot, snapshot
from models.store import CONNECTIONS, SLOW_READERS, CopyProgress, Database


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

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def exists(self) -> bool:
        return self.path.exists()

    def prepare(self) -> None:
        self.migrate()
        refuse_unfinished(self.path)

    def _refuse_citus(self, on_citus: bool) -> None:
        if on_citus:
            raise DatabaseProblem(f"{self.path} is a SQLite file; Citus is an extension of PostgreSQL.")

    def migrate(self, report: Report = say_nothing, *, on_citus: bool = False) -> None:
        self._refuse_citus(on_citus)
        migrate(self.path, report=report)

    def missing(self, *, on_citus: bool = False) -> list[str]:
        self._refuse_citus(on_citus)
        return revisions().missing(revision_at(self.path), self.name)

    async def open(
        self,
        *,
        prepares: bool = False,
        durable: bool = True,
        slow_readers: int = SLOW_READERS,
        connections: int = CONNECTIONS,
        replica_url: str = "",
        direct_url: str = "",
    ) -> SqliteStore:
        if prepares:
            await asyncio.to_thread(self.prepare)
        return await SqliteStore.open(self.path, durable=durable, slow_readers=slow_readers)

    def check_version(self) -> None:
        if not self.exists():
            raise DatabaseProblem(f"{self.path} does not exist.")
        revisions().check(revision_at(self.path), self.name)
        refuse_unfinished(self.path)

    def identity(self) -> object:
        found = identity_of(str(self.path))
        return found or self.path.absolute()

    def snapshot(self) -> AbstractContextManager[SqliteSnapshot]:
        return snapshot(self.path)

    @contextmanager
    def filling(self) -> Generator[SqliteFilling]:
        if self.exists():
            revisions().check(revision_at(self.path), self.name)
        else:
            self.migrate()
        with filling(self.path) as filled:
            yield filled

    def back_up(self, target: Path, *, overwrite: bool, progress: CopyProgress) -> None:
        back_up(self.path, target, overwrite=overwrite, progress=progress)

    def restore(self, backup: Path, *, progress: CopyProgress) -> str | None:
        former = restore(backup, self.path, progress)
        return former and str(former)
