"""Fills a database with the rows of another one, by COPY: see `models.copying`."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Table

from models.errors import DatabaseProblem
from models.postgres.connecting import Address
from models.postgres.forms import form_of
from models.postgres.snapshot import PostgresSnapshot, kept
from models.statements import Parameters, Statement
from models.store import Filling

_USERS = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND application_name = 'recallql' AND pid <> pg_backend_pid()"
)

# Those that no key needs; they take half of the time of a copy.
_INDEXES = """
SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition FROM pg_index
JOIN pg_class ON pg_class.oid = indrelid
WHERE relnamespace = current_schema()::regnamespace
AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = indexrelid)
"""

_FIRST = datetime(2000, 1, 1)
"""The time, in UTC, from which the driver counts."""

_MICROSECOND = timedelta(microseconds=1)


def _time_to_server(time: str) -> tuple[int]:
    return ((datetime.fromisoformat(time) - _FIRST) // _MICROSECOND,)


def _time_from_server(time: tuple[int]) -> str:
    return (_FIRST + time[0] * _MICROSECOND).isoformat()


class PostgresFilling(PostgresSnapshot, Filling):
    """A database, through a connection of its own."""

    @contextmanager
    def transaction(self) -> Generator[None]:
        self._execute("BEGIN")
        try:
            yield
        except BaseException:
            if not self._kept.connection.is_closed():
                self._execute("ROLLBACK")
            raise
        self._execute("COMMIT")

    def execute(self, statement: Statement[Any], parameters: Parameters) -> None:
        form = form_of(statement, self._kept.kind)
        self._execute(form.text, *form.bound(parameters))

    def begin(self) -> None:
        """Drops indexes, and notes them in a table."""
        self._execute("CREATE TABLE IF NOT EXISTS copied_indexes (definition text NOT NULL)")
        for name, definition in self._fetch(_INDEXES):
            self._execute("INSERT INTO copied_indexes VALUES ($1)", definition)
            self._execute(f"DROP INDEX {name}")

    def add(self, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        columns = [column.name for column in table.columns]
        self._kept.run(self._kept.connection.copy_records_to_table(table.name, records=rows, columns=columns))

    def complete(self) -> None:
        for (definition,) in self._fetch("SELECT definition FROM copied_indexes"):
            self._execute(definition)
        self._execute("DROP TABLE copied_indexes")
        # A new table has no statistics yet, and servers are about to read it.
        self._execute("ANALYZE")

    def _fetch(self, text: str) -> list[Any]:
        return self._kept.run(self._kept.connection.fetch(text))

    def _execute(self, text: str, *values: Any) -> None:
        self._kept.run(self._kept.connection.execute(text, *values))


async def _connect(address: Address) -> Any:
    # The last commit removes a table, and waits for the disk in any case.
    connection = await address.connect(synchronous_commit="off")
    # COPY is binary, and so are the values that it takes.
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", encoder=_time_to_server, decoder=_time_from_server, format="tuple"
    )
    return connection


@contextmanager
def filling(address: Address) -> Generator[PostgresFilling]:
    """A database that nobody else uses, as far as the connections to it show."""
    with kept(address, partial(_connect, address)) as own:
        if users := own.run(own.connection.fetchval(_USERS)):
            raise DatabaseProblem(
                f"{address.name} is in use: RecallQL has {users} connections to it. Stop its servers, with all workers."
            )
        yield PostgresFilling(own)
