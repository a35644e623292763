"""Copies of a database file: backups by the operator, and those that its migrations leave beside it.

SQLite's backup API copies pages as they are, at the speed of the disk and with progress; `VACUUM INTO` takes twice as
long and tells nothing on its way. All steps of a copy read one snapshot, so that they never start again, and neither
they nor the writers wait. A copy gets its name once it is complete, checked and synced.
"""

import os
import sqlite3
import stat
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from glob import escape
from pathlib import Path
from secrets import token_hex
from threading import TIMEOUT_MAX

from models.errors import DatabaseProblem
from models.sqlite.file_health import find_damage, is_full, problem_of
from models.store import CopyProgress

PAGES = 1024
"""Pages that are copied between two reports of the progress."""

LOGS = ("-wal", "-shm", "-journal")
"""The files that SQLite keeps beside a database while it is in use, by the ends of their names."""

TABLES = {"alembic_version", "users", "sessions", "messages"}
"""Tables by which a database of RecallQL is known."""


def back_up(path: Path, target: Path, *, overwrite: bool = False, progress: CopyProgress | None = None) -> None:
    """Copies a database file, also while it is written to. Raises `DatabaseProblem` and leaves no file if it can't."""
    _check_target(path, target, overwrite)
    try:
        with closing(open_file(path)) as source:
            if revision_of(source) is None:
                raise DatabaseProblem(f"{path} holds no database of RecallQL; name the database with --database-url.")
            with unfinished(target, mode=stat.S_IMODE(path.stat().st_mode)) as part:
                copy_pages(source, part, progress)
                _check_target(path, target, overwrite)
                part.replace(target)
                sync_folder(target.parent)
    except sqlite3.Error as error:
        raise DatabaseProblem(problem_of(error, target if is_full(error) else path)) from error
    except OSError as error:
        raise DatabaseProblem(f"{target} can't be written: {error.strerror}.") from error


def back_up_before_migration(path: Path, revision: str) -> None:
    """Copies the file before a migration."""
    back_up(path, path.with_name(f"{path.name}.backup-{revision}"), overwrite=True)


def _check_target(path: Path, target: Path, overwrite: bool) -> None:
    if not path.exists():
        raise DatabaseProblem(f"{path} does not exist; name the database with --database-url.")
    if target.exists() and not overwrite:
        raise DatabaseProblem(f"{target} exists; name another file, or replace it with --overwrite.")
    if target.exists() and (not target.is_file() or target.samefile(path)):
        raise DatabaseProblem(f"{target} can't take the backup; name another file.")
    refuse_logs(target)


def refuse_logs(file: Path) -> None:
    """Raises `DatabaseProblem` if SQLite's logs stand beside a file, which is then in use, or incomplete by itself."""
    for log in LOGS:
        if file.with_name(f"{file.name}{log}").exists():
            raise DatabaseProblem(
                f"{file} is a database in use, or was left by a crash, since {file.name}{log} stands beside it; "
                "name another file."
            )


def open_file(path: Path, options: str = "mode=rw", timeout: float = 5.0) -> sqlite3.Connection:
    """A connection to a file, which is not created if it does not exist. `timeout` is in seconds."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?{options}", timeout=timeout, uri=True, isolation_level=None)


def tables_of(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def revision_of(connection: sqlite3.Connection) -> str | None:
    """The revision of a database's tables; None if they are another application's, or there are none."""
    if not tables_of(connection) >= TABLES:
        return None
    found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return found and found[0]


@contextmanager
def unfinished(target: Path, *, mode: int) -> Generator[Path]:
    """A new file beside a target, which the block moves into place; otherwise it is removed."""
    part = target.with_name(f"{target.name}.{token_hex(4)}.part")
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
    try:
        yield part
    finally:
        for end in ("", *LOGS):
            part.with_name(f"{part.name}{end}").unlink(missing_ok=True)


def copy_pages(source: sqlite3.Connection, part: Path, progress: CopyProgress | None) -> None:
    """Copies a snapshot of a database to an empty file, then checks and syncs this file."""

    def report(_: int, remaining: int, total: int) -> None:
        if progress is not None:
            progress(total - remaining, total)

    with closing(sqlite3.connect(part, isolation_level=None)) as copy:
        # It is synced once, at the end.
        copy.execute("PRAGMA synchronous = OFF")
        source.execute("BEGIN")
        source.execute("SELECT 1 FROM sqlite_master").fetchone()
        source.backup(copy, pages=PAGES, progress=report)
        source.execute("ROLLBACK")
        # In WAL mode, which was copied too, even a reader of the copy would create logs beside it.
        copy.execute("PRAGMA journal_mode = DELETE")
    with closing(open_file(part)) as copy:
        found = find_damage(copy, TIMEOUT_MAX)
    if found is not None:
        damage = sqlite3.DatabaseError(found)
        damage.sqlite_errorname = "SQLITE_CORRUPT"
        raise damage
    with part.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Makes the names of the files in a folder durable."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def backups_of(path: Path) -> list[Path]:
    """The copies that migrations left of this file, oldest revision first."""
    return sorted(path.parent.glob(f"{escape(path.name)}.backup-*"))


def remove_backups(path: Path, older_than: float) -> list[str]:
    """Removes the copies of this file that are at least this many seconds old; returns their names."""
    old = [backup for backup in backups_of(path) if backup.stat().st_mtime < time.time() - older_than]
    for backup in old:
        backup.unlink(missing_ok=True)
    return [backup.name for backup in old]
