"""Migrates a PostgreSQL database to this version, or checks that this was done."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from alembic.runtime.migration import MigrationContext
from asyncpg import PostgresError
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from models.copying import copied_tables, unfinished_copy
from models.distribution import DISTRIBUTED
from models.errors import DatabaseProblem
from models.postgres.citus import distribute, refuse_without_citus, undistributed
from models.postgres.connecting import Address
from models.postgres.faults import problem_of
from models.revisions import MIGRATIONS, Report, Revisions, revisions, say_nothing

T = TypeVar("T")

LOCK = 0x5265_6361_6C6C_514C
"""The number of the advisory lock of a migration: only one process migrates at a time."""

_READY = "SELECT version_num, to_regclass($1) IS NULL FROM alembic_version"


async def migrate(
    address: Address, migrations: Path = MIGRATIONS, report: Report = say_nothing, *, on_citus: bool = False
) -> None:
    """Applies the missing migrations, and distributes tables `on_citus`, in one transaction.

    Raises `DatabaseProblem` if that is impossible.
    """
    upgrade = _upgrade_on_citus if on_citus else _upgrade
    await _with_connection(address, partial(upgrade, revisions=revisions(migrations), report=report))


async def missing(address: Address, *, on_citus: bool = False) -> list[str]:
    """A line about each migration that the database lacks, and `on_citus` about each table to be distributed."""
    return await _with_connection(address, _missing_on_citus if on_citus else _missing)


async def prepare(address: Address, *, unfinished: bool = False) -> None:
    """Creates the tables in an empty database; raises `DatabaseProblem` for one with tables of another version, and,
    unless that is allowed, for an unfinished copy.

    Those that serve it must stop before it is migrated, so nobody does that unasked.
    """
    try:
        connection = await address.connect_plainly()
    except Exception as error:
        raise problem_of(error, address.name, address.user) from error
    try:
        if await is_ready(connection):
            return
    finally:
        await connection.close()
    await _with_connection(address, _prepare if unfinished else _prepare_whole)


async def is_ready(connection: Any) -> bool:
    """True if the database has this version's tables, and is no unfinished copy: found out without Alembic, which takes
    several times as long, at each start."""
    try:
        found = await connection.fetch(_READY, copied_tables.name)
    except PostgresError:
        # Above all, there are no tables.
        return False
    return [*map(tuple, found)] == [(revisions().newest, True)]


async def check_version(address: Address) -> None:
    """Raises `DatabaseProblem` unless the database has this version's tables, all of them filled if it is a copy."""
    await _with_connection(address, _check_whole)


async def _with_connection(address: Address, function: Callable[[Connection, Address], T]) -> T:
    engine = create_async_engine(
        # Behind a pooler nothing may be prepared for later.
        "postgresql+asyncpg://?prepared_statement_cache_size=0",
        async_creator=address.connect_plainly,
        poolclass=NullPool,
        # Migrations get JSON as text on every database.
        json_deserializer=str,
    )
    try:
        async with engine.begin() as bound:
            return await bound.run_sync(function, address)
    except DatabaseProblem:
        raise
    except Exception as error:
        cause = getattr(error, "orig", None)
        raise problem_of(getattr(cause, "__cause__", None) or cause or error, address.name, address.user) from error
    finally:
        await engine.dispose()


def _upgrade(bound: Connection, address: Address, revisions: Revisions, report: Report) -> None:
    # Another process may be migrating; what it has done is seen after it.
    bound.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
    _refuse_foreign(bound, address)
    if revisions.missing(_current(bound), address.name):
        revisions.apply(bound, report)


def _missing(bound: Connection, address: Address) -> list[str]:
    _refuse_foreign(bound, address)
    return revisions().missing(_current(bound), address.name)


def _upgrade_on_citus(bound: Connection, address: Address, revisions: Revisions, report: Report) -> None:
    refuse_without_citus(bound, address.name)
    _upgrade(bound, address, revisions, report)
    distribute(bound, address.name, report)


def _missing_on_citus(bound: Connection, address: Address) -> list[str]:
    refuse_without_citus(bound, address.name)
    return [
        *_missing(bound, address),
        *(f"{table}: distributed by {DISTRIBUTED[table]}" for table in undistributed(bound)),
    ]


def _prepare(bound: Connection, address: Address) -> None:
    if _current(bound) is None:
        _upgrade(bound, address, revisions(), say_nothing)
    else:
        _check(bound, address)


def _prepare_whole(bound: Connection, address: Address) -> None:
    _prepare(bound, address)
    _refuse_unfinished(bound, address)


def _check_whole(bound: Connection, address: Address) -> None:
    _check(bound, address)
    _refuse_unfinished(bound, address)


def _refuse_unfinished(bound: Connection, address: Address) -> None:
    if bound.exec_driver_sql(f"SELECT to_regclass('{copied_tables.name}')").scalar() is not None:
        raise DatabaseProblem(unfinished_copy(address.name))


def _check(bound: Connection, address: Address) -> None:
    _refuse_foreign(bound, address)
    revisions().check(_current(bound), address.name)


def _current(bound: Connection) -> str | None:
    return MigrationContext.configure(bound).get_current_revision()


def _refuse_foreign(bound: Connection, address: Address) -> None:
    tables = bound.exec_driver_sql(
        "SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = current_schema()"
    ).scalars()
    names = set(tables)
    if names and not names.issuperset(("alembic_version", "users", "sessions", "messages")):
        raise DatabaseProblem(
            f"{address.name} holds tables of another application; give RecallQL a database of its own."
        )
