"""The health of the database's file: its identity since it was opened, the integrity of its pages, free disk space.

Problems that statements meet are remembered: a damaged file stays damaged until it is restored and the server
restarted.
"""

import asyncio
import os
import re
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from threading import Timer, get_native_id
from typing import NoReturn

import structlog

from models.errors import DataError, Unavailable

log = structlog.get_logger("recallql.database")

BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_BUSY_SNAPSHOT")

LEAST_FREE = 1024 * 1024
"""Bytes that must be free on the disk."""

QUICK = 0.05
"""Seconds for which a readiness check reads pages: enough for all of a file of some 50 MB."""

WHOLE_AFTER = 2.0
"""Seconds from the start to the first check of the whole file, so that requests come first. The start has checked as
much of it as takes a moment."""

WHOLE_EVERY, AGAIN_AFTER = 6 * 3600.0, 600.0
"""Seconds between two checks of the whole file, and before an interrupted one is retried."""

MOVED = (
    "The database file was moved, removed or replaced while the server runs; nothing can be written. "
    "Put the file back and restart the server."
)
DAMAGED = "The database file is damaged; restore it from a backup and restart the server."
FULL = "The disk is full; nothing was kept."

_not_text = re.compile(r"Could not decode to UTF-8 column '(\w+)'")

Identity = tuple[int, int] | None


def identity_of(path: str) -> Identity:
    """The identity of the file at a path; None if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - faster, and before every commit
    except OSError:
        return None
    return found.st_dev, found.st_ino


def read_edges(connection: sqlite3.Connection) -> None:
    """Reads the first and the last row of every table, and so the pages at the top of each B-tree."""
    connection.text_factory = bytes
    tables = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND rootpage > 0").fetchall()
    for name, sql in tables:
        rows = f'SELECT * FROM "{name.decode()}"'  # noqa: S608 - the name comes from the schema
        connection.execute(f"{rows} LIMIT 1").fetchall()
        if b"WITHOUT ROWID" not in sql.upper():
            connection.execute(f"{rows} ORDER BY rowid DESC LIMIT 1").fetchall()
    connection.text_factory = str


def find_damage(connection: sqlite3.Connection, seconds: float) -> str | None:
    """The damage of a file's pages found within a number of seconds; None if none was found."""
    timer = Timer(seconds, connection.interrupt)
    timer.start()
    try:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorname", "") != "SQLITE_INTERRUPT":
            raise
        return None
    finally:
        timer.cancel()
    # The line before names the database.
    return None if found == "ok" else found.splitlines()[-1]


def is_damage(error: sqlite3.Error) -> bool:
    """Tells whether a file is damaged, or is no database."""
    name = getattr(error, "sqlite_errorname", "")
    return name.startswith("SQLITE_CORRUPT") or name == "SQLITE_NOTADB"


def is_full(error: sqlite3.Error) -> bool:
    """Tells whether a disk refused a write."""
    return getattr(error, "sqlite_errorname", "") in ("SQLITE_FULL", "SQLITE_IOERR_WRITE")


def problem_of(error: sqlite3.Error, path: Path) -> str:
    """The reason why a file can't be opened or used, for the operator."""
    name = getattr(error, "sqlite_errorname", "")
    if path.is_dir():
        return f"{path} is a folder; give the name of a file."
    if name == "SQLITE_NOTADB":
        return f"{path} is not a SQLite database; give another file, or move this one away."
    if name in ("SQLITE_READONLY", "SQLITE_READONLY_DIRECTORY", "SQLITE_READONLY_DBMOVED"):
        return f"{path} can't be written; check who owns the file and its folder."
    if name.startswith("SQLITE_CANTOPEN"):
        if not path.parent.is_dir():
            return f"{path} can't be opened: the folder {path.parent} does not exist; create it first."
        return f"{path} can't be opened or created; check the rights on {path.parent}."
    if name in BUSY:
        return f"{path} is locked by another process; stop it, or wait until it has finished."
    if is_full(error):
        return f"{path} can't be written: the disk is full, or has a fault."
    if name.startswith("SQLITE_CORRUPT"):
        return f"{path} is damaged ({error}); restore it from a backup."
    return f"{path} can't be used: {error}."


class FileHealth:
    """A process's knowledge about the health of the file that it has open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found = identity_of(str(path))
        self._watched: list[tuple[str, Identity]] = []
        self._is_damaged = False
        self._is_closing = False
        self._whole: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recallql-health")
        self.write_failed = False
        """True once the disk has refused a write, until a large one succeeds."""

    def watch(self, connection: sqlite3.Connection) -> None:
        """Remembers which files a connection has open: the database and its write-ahead log.

        Raises `Unavailable` if the file was replaced since this object was made: connections may have opened either.
        """
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        # The log is beside the file itself, not beside a symbolic link to it.
        file = connection.execute("PRAGMA database_list").fetchone()[2]
        names = [str(self._path.absolute()), f"{file}-wal"]
        self._watched = [(name, identity_of(name)) for name in names]
        if self._watched[0][1] != self._found:
            raise Unavailable(MOVED)

    def check_file(self) -> None:
        """Raises `Unavailable` when the files are no longer at their paths. It takes 3 µs."""
        for name, identity in self._watched:
            if identity_of(name) != identity:
                raise Unavailable(MOVED)

    def explain(self, error: sqlite3.Error) -> DataError:
        """Converts a database error to one that clients may see. The details are logged, but no stored text."""
        name = getattr(error, "sqlite_errorname", "")
        not_text = _not_text.match(str(error))
        if not_text is not None:
            return self.damaged_text(not_text[1])
        log.error("the database refused", error=str(error), code=name or None)
        if is_damage(error):
            self._is_damaged = True
            return Unavailable(DAMAGED)
        if name in BUSY:
            return Unavailable("The database is busy with another process's work; try again.")
        self.write_failed |= name == "SQLITE_FULL" or name.startswith("SQLITE_IOERR")
        if name == "SQLITE_FULL":
            return Unavailable(FULL)
        return Unavailable("The database could not do this now; nothing was changed.")

    def damaged_text(self, column: str) -> DataError:
        """The error for a text that is not UTF-8, in one of these columns."""
        log.error("a stored text is damaged: it is not UTF-8", column=column)
        return Unavailable("A stored text is damaged; the log says in which column.")

    async def check(self) -> None:
        """Raises `Unavailable` when the disk is full, or damage of the file is known or found."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._check)

    def _check(self) -> None:
        if self._is_damaged:
            raise Unavailable(DAMAGED)
        if shutil.disk_usage(self._path.absolute().parent).free < LEAST_FREE:
            raise Unavailable(FULL)
        try:
            # Other connections do not read cached pages again.
            with closing(sqlite3.connect(self._path, timeout=1)) as connection:
                read_edges(connection)
                found = find_damage(connection, QUICK)
        except sqlite3.DatabaseError as error:
            raise self.explain(error) from error
        if found is not None:
            self._meet_damage(found)

    def _meet_damage(self, found: str) -> NoReturn:
        self._is_damaged = True
        log.error("the database file is damaged; restore it from a backup", found=found)
        raise Unavailable(DAMAGED)

    async def keep_checked(self) -> None:
        """Checks the whole file soon after the start and then periodically, in a thread of low priority."""
        await asyncio.sleep(WHOLE_AFTER)
        thread = ThreadPoolExecutor(1, thread_name_prefix="recallql-check")
        try:
            while not self._is_damaged:
                pause = AGAIN_AFTER
                with suppress(Unavailable):
                    is_done = await asyncio.get_running_loop().run_in_executor(thread, self._check_whole)
                    pause = WHOLE_EVERY if is_done else AGAIN_AFTER
                await asyncio.sleep(pause)
        finally:
            self._is_closing = True
            self.let_go()
            thread.shutdown(wait=False)

    def _check_whole(self) -> bool:
        """Checks all pages; False when it was interrupted."""
        if hasattr(os, "setpriority"):
            os.setpriority(os.PRIO_PROCESS, get_native_id(), 19)
        self.check_file()
        try:
            with closing(sqlite3.connect(self._path, timeout=1, check_same_thread=False)) as connection:
                self._whole = connection
                if self._is_closing:
                    return False
                found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
                return False
            raise self.explain(error) from error
        finally:
            self._whole = None
        if found != "ok":
            self._meet_damage(found)
        return True

    def let_go(self) -> None:
        """Interrupts a check of the whole file, since it pins the write-ahead log like any other reader."""
        if (connection := self._whole) is not None:
            with suppress(sqlite3.Error):
                connection.interrupt()

    def close(self) -> None:
        self.let_go()
        self._thread.shutdown()
