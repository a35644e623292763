"""Restores a database file from a backup.

The backup is copied beside the database and checked there, while no other process can open the database. Its log is
written into it first: it is then one file, and a rename replaces it whole. The former database keeps a second name.
"""

import os
import sqlite3
import stat
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from glob import escape
from pathlib import Path
from time import monotonic, sleep

from models.errors import DatabaseProblem
from models.revisions import revisions
from models.sqlite.backups import LOGS, copy_pages, open_file, refuse_logs, revision_of, sync_folder, unfinished
from models.sqlite.file_health import BUSY, is_damage, is_full, problem_of
from models.sqlite.migrate import refuse_foreign
from models.store import CopyProgress

PATIENCE = 1.0
"""Seconds that a restore waits for others who have the database open, such as a command that is about to end."""

LOCKED_RANGE = 0x40000000, 512
"""The first byte that SQLite locks in a database file, and the number of bytes."""


def restore(backup: Path, path: Path, progress: CopyProgress | None = None) -> Path | None:
    """Puts a copy of a backup in the place of a database; returns the name that the former one has now, if any.

    Raises `DatabaseProblem` if the backup is none or is damaged, or if a process has the database open. Then, and when
    it is interrupted, the database is as before.
    """
    path = path.resolve()
    with _opened(backup, path) as source, _kept_from_others(path):
        try:
            with unfinished(path, mode=0o600) as part:
                copy_pages(source, part, progress)
                _give_rights(part, path if path.exists() else backup)
                return _replace(path, part)
        except sqlite3.Error as error:
            if is_damage(error):
                raise DatabaseProblem(f"{backup} is damaged ({error}); restore another backup.") from error
            raise DatabaseProblem(problem_of(error, path if is_full(error) else backup)) from error
        except OSError as error:
            raise DatabaseProblem(f"{path} can't be written: {error.strerror}.") from error


@contextmanager
def _opened(backup: Path, path: Path) -> Generator[sqlite3.Connection]:
    """A connection to a backup, which neither locks nor changes it nor creates logs beside it."""
    if not backup.is_file():
        raise DatabaseProblem(f"{backup} {'is no file' if backup.exists() else 'does not exist'}; name a backup.")
    if path.exists() and backup.samefile(path):
        raise DatabaseProblem(f"{backup} is the database itself; name a backup.")
    refuse_logs(backup)
    with closing(open_file(backup, "mode=ro&immutable=1")) as connection:
        try:
            revision = revision_of(connection)
            pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        except sqlite3.Error as error:
            if is_damage(error):
                raise DatabaseProblem(f"{backup} is no backup, or is damaged ({error}); name another file.") from error
            raise DatabaseProblem(problem_of(error, backup)) from error
        if revision is None:
            raise DatabaseProblem(f"{backup} is no backup: it holds no database of RecallQL.")
        if backup.stat().st_size < pages * size:
            raise DatabaseProblem(f"{backup} is not complete: it was cut; name another file.")
        revisions().missing(revision, str(backup))
        yield connection


@contextmanager
def _kept_from_others(path: Path) -> Generator[None]:
    """Keeps other processes from opening a database, if it exists; raises `DatabaseProblem` if one has it open.

    Whoever has read a database in WAL mode holds a lock on it until they close it, even when they are idle.
    """
    if not path.exists():
        yield
        return
    with closing(open_file(path, timeout=0)) as connection:
        # SQLite would begin to write an empty one.
        if path.stat().st_size > 0 and _locked(connection, path):
            yield
            return
    # SQLite can't lock what it can't read, but servers may still hold their locks on a file that was damaged.
    import fcntl

    start, length = LOCKED_RANGE
    with path.open("rb+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
        except OSError as error:
            raise _in_use(path) from error
        yield


def _locked(connection: sqlite3.Connection, path: Path) -> bool:
    """Writes a database's log into it and locks it until the connection closes; False if it is damaged."""
    deadline = monotonic() + PATIENCE
    try:
        refuse_foreign(connection, path)
        while not _is_alone(connection):
            if monotonic() > deadline:
                raise _in_use(path)
            sleep(0.05)
    except sqlite3.Error as error:
        if is_damage(error):
            return False
        raise DatabaseProblem(problem_of(error, path)) from error
    return True


def _is_alone(connection: sqlite3.Connection) -> bool:
    """Leaves WAL mode, which takes that no other connection is open, and keeps others from opening one."""
    try:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorname", "") in BUSY:
            return False
        raise
    if connection.execute("PRAGMA journal_mode").fetchone() == ("delete",):
        return True
    # Between the two statements somebody opened it.
    connection.execute("ROLLBACK")
    return False


def _in_use(path: Path) -> DatabaseProblem:
    return DatabaseProblem(f"{path} is in use; stop the server, with all its workers, and other users of the file.")


def _give_rights(part: Path, like: Path) -> None:
    found = like.stat()
    # Only root may give a file to somebody else.
    with suppress(PermissionError):
        os.chown(part, found.st_uid, found.st_gid)
    part.chmod(stat.S_IMODE(found.st_mode))


def _replace(path: Path, part: Path) -> Path | None:
    """Moves a file into the place of a database, which gets another name, as its logs do if it has any left."""
    existed = path.exists()
    aside = path.with_name(f"{path.name}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    if existed:
        _put_aside(path, aside)
    logs = [log for log in LOGS if path.with_name(f"{path.name}{log}").exists()]
    for log in logs:
        path.with_name(f"{path.name}{log}").rename(f"{aside}{log}")
    sync_folder(path.parent)
    part.replace(path)
    sync_folder(path.parent)
    return aside if existed or logs else None


def _put_aside(path: Path, aside: Path) -> None:
    """Gives a file a second name, so that its own is never without a file."""
    for name in path.parent.glob(f"{escape(path.name)}.replaced-*"):
        # Left by a restore that was interrupted before it replaced the file.
        if name.samefile(path):
            name.unlink()
    try:
        aside.hardlink_to(path)
    except OSError as error:
        raise DatabaseProblem(
            f"{path} can't be put aside ({error.strerror}); move it away, and restore again."
        ) from error
