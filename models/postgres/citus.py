"""Spreads the tables of a new database over the machines of a Citus cluster: see `models.distribution`."""

from sqlalchemy import Connection

from models.distribution import DISTRIBUTED
from models.errors import DatabaseProblem
from models.revisions import Report

_INSTALLED = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')"
_WHERE = "SELECT logicalrelid::text FROM pg_dist_partition WHERE partmethod = 'h'"

# The shards of a table are made one after the other: in a transaction, tables that refer to one another have to be.
_IN_TURN = "SET LOCAL citus.multi_shard_modify_mode = 'sequential'"


def refuse_without_citus(bound: Connection, name: str) -> None:
    if not bound.exec_driver_sql(_INSTALLED).scalar():
        raise DatabaseProblem(f"{name} has no Citus; run `CREATE EXTENSION citus` in it, on all its machines.")


def undistributed(bound: Connection) -> list[str]:
    """The tables that are still to be distributed, each after those that it refers to."""
    distributed = set(bound.exec_driver_sql(_WHERE).scalars())
    return [table for table in DISTRIBUTED if table not in distributed]


def distribute(bound: Connection, name: str, report: Report) -> None:
    """Distributes the tables that are not yet; raises `DatabaseProblem` if they have rows."""
    tables = undistributed(bound)
    for table in tables:
        if bound.exec_driver_sql(f"SELECT EXISTS (SELECT FROM {table})").scalar():  # noqa: S608 - a table of ours
            raise DatabaseProblem(
                f"{name} has rows in {table}; distribute the tables of a new database, then `recallql copy` into it."
            )
    bound.exec_driver_sql(_IN_TURN)
    first = next(iter(DISTRIBUTED))
    for table in tables:
        together = "" if table == first else f", colocate_with => '{first}'"
        bound.exec_driver_sql(f"SELECT create_distributed_table('{table}', '{DISTRIBUTED[table]}'{together})")
        report(f"{table}: distributed by {DISTRIBUTED[table]}")
