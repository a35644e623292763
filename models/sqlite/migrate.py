"""Migrates a database file to this version, after a backup copy, or checks that this was done."""

import sqlite3
from contextlib import closing
from pathlib import Path

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from models.copying import copied_tables, unfinished_copy
from models.errors import DatabaseProblem
from models.revisions import MIGRATIONS, Report, Revisions, revisions, say_nothing
from models.sqlite.backups import TABLES, back_up_before_migration, open_file, revision_of, tables_of
from models.sqlite.database import LOCK_PATIENCE, connect
from models.sqlite.file_health import find_damage, identity_of, problem_of, read_edges

LOOK = 0.25
"""Seconds for which the pages of the file are checked for damage."""


def migrate(path: Path, migrations: Path = MIGRATIONS, report: Report = say_nothing) -> None:
    """Opens or creates the file and applies the missing migrations, in one transaction.

    Raises `DatabaseProblem` if it can't be opened or written, is damaged, is not a SQLite database, belongs to another
    application, or was written by a newer version.
    """
    try:
        _look_at(path)
        before = identity_of(str(path))
        with closing(connect(path)) as connection:
            _upgrade(connection, path, revisions(migrations), report)
        with closing(sqlite3.connect(path, timeout=LOCK_PATIENCE)) as connection:
            read_edges(connection)
            found = find_damage(connection, LOOK)
            after = identity_of(str(path))
    except sqlite3.Error as error:
        raise DatabaseProblem(problem_of(error, path)) from error
    except DBAPIError as error:
        cause = error.orig if isinstance(error.orig, sqlite3.Error) else sqlite3.Error(str(error.orig))
        raise DatabaseProblem(problem_of(cause, path)) from error
    if before not in (None, after):
        raise DatabaseProblem(f"{path} was replaced meanwhile, as `recallql restore` does; start again.")
    if found is not None:
        raise DatabaseProblem(f"{path} is damaged ({found}); restore it from a backup.")


def revision_at(path: Path) -> str | None:
    """The revision of a file's tables; None if it has none, or does not exist. Changes nothing in it."""
    if not path.exists():
        return None
    try:
        with closing(open_file(path)) as connection:
            refuse_foreign(connection, path)
            return revision_of(connection)
    except sqlite3.Error as error:
        raise DatabaseProblem(problem_of(error, path)) from error


def refuse_unfinished(path: Path) -> None:
    """Raises `DatabaseProblem` for a file into which another database was not copied to its end."""
    with closing(open_file(path)) as connection:
        if copied_tables.name in tables_of(connection):
            raise DatabaseProblem(unfinished_copy(str(path)))


def _look_at(path: Path) -> None:
    """Runs before anything in the file is changed, including its journal mode."""
    if path.is_file():
        with closing(sqlite3.connect(path, timeout=LOCK_PATIENCE)) as connection:
            refuse_foreign(connection, path)


def refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    """Raises `DatabaseProblem` if a file holds tables of another application."""
    tables = tables_of(connection)
    if tables and not tables >= TABLES:
        raise DatabaseProblem(f"{path} holds tables of another application; give RecallQL a file of its own.")


def _upgrade(connection: sqlite3.Connection, path: Path, revisions: Revisions, report: Report) -> None:
    if _is_current(connection, revisions):
        return
    engine = create_engine("sqlite://", creator=lambda: connection, poolclass=NullPool)
    # The driver would begin too late; of two processes that start together only one may migrate.
    event.listen(engine, "begin", _begin)
    with engine.begin() as bound:
        current = MigrationContext.configure(bound).get_current_revision()
        if revisions.missing(current, str(path)):
            if current is not None:
                back_up_before_migration(path, current)
            revisions.apply(bound, report)


def _is_current(connection: sqlite3.Connection, revisions: Revisions) -> bool:
    """True if no migration is missing: found out without Alembic, which takes several times as long, at each start."""
    # Fails for a file that can't be written.
    connection.execute("BEGIN IMMEDIATE")
    try:
        return revision_of(connection) == revisions.newest
    finally:
        connection.execute("ROLLBACK")


def _begin(bound: Connection) -> None:
    bound.exec_driver_sql("BEGIN IMMEDIATE")
