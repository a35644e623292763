"""Migrates a PostgreSQL database to this version, or checks that this was done."""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from models.errors import DatabaseProblem
from models.postgres.connecting import Address
from models.postgres.faults import problem_of
from models.revisions import config_of, revisions

MIGRATIONS = Path(__file__).parent.parent / "migrations"

LOCK = 0x5265_6361_6C6C_514C
"""The number of the advisory lock of a migration: only one process migrates at a time."""


def _scripts() -> tuple[Config, ScriptDirectory]:
    return config_of(MIGRATIONS), revisions(MIGRATIONS)


async def migrate(address: Address) -> None:
    """Applies the missing migrations, in one transaction. Raises `DatabaseProblem` if they can't be applied."""
    await _with_connection(address, _upgrade)


async def prepare(address: Address) -> None:
    """Creates the tables in an empty database; raises `DatabaseProblem` for one with tables of another version.

    Those that serve it must stop before it is migrated, so nobody does that unasked.
    """
    await _with_connection(address, _prepare)


async def _with_connection(address: Address, function: Any) -> None:
    engine = create_async_engine("postgresql+asyncpg://", async_creator=address.connect_plainly, poolclass=NullPool)
    try:
        async with engine.begin() as bound:
            await bound.run_sync(function, address)
    except DatabaseProblem:
        raise
    except Exception as error:
        cause = getattr(error, "orig", None)
        raise problem_of(getattr(cause, "__cause__", None) or cause or error, address.name, address.user) from error
    finally:
        await engine.dispose()


def _upgrade(bound: Connection, address: Address) -> None:
    bound.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
    _refuse_foreign(bound, address)
    config, scripts = _scripts()
    current = MigrationContext.configure(bound).get_current_revision()
    if current == scripts.get_current_head():
        return
    if current is not None:
        _refuse_newer(scripts, current, address)
    config.attributes["connection"] = bound
    command.upgrade(config, "head")


def _prepare(bound: Connection, address: Address) -> None:
    _, scripts = _scripts()
    current = MigrationContext.configure(bound).get_current_revision()
    if current == scripts.get_current_head():
        return
    if current is None:
        _upgrade(bound, address)
        return
    _refuse_newer(scripts, current, address)
    raise DatabaseProblem(
        f"{address.name} has the tables of an older version of RecallQL (schema {current}); run `recallql migrate`."
    )


def _refuse_foreign(bound: Connection, address: Address) -> None:
    tables = bound.exec_driver_sql(
        "SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = current_schema()"
    ).scalars()
    names = set(tables)
    if names and "alembic_version" not in names:
        raise DatabaseProblem(
            f"{address.name} holds tables of another application; give RecallQL a database of its own."
        )


def _refuse_newer(scripts: ScriptDirectory, current: str, address: Address) -> None:
    try:
        scripts.get_revision(current)
    except (ResolutionError, CommandError) as error:
        raise DatabaseProblem(
            f"{address.name} was written by a newer version of RecallQL (schema {current}); install that version."
        ) from error
