"""Copies everything of a database into an empty one, and compares the two: see `Copy`.

Both are read with the same statements, and have the same values for the same row (see `models.columns`). Rows are
written through a `Filling` (`models/store.py`), which each database's folder implements: `models/sqlite/filling.py`,
`models/postgres/filling.py`. It also makes anew what only its database has: the numbers of searchable rows and the
full-text index.

The target notes in the table `copied_tables` how many rows of each table it has, and their checksum, in the transaction
that adds them. An interrupted copy so goes on where it ended, if the source still has those rows. While the table is
there, no server starts on the target.
"""

from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from itertools import islice
from typing import Any, NamedTuple, TypedDict

from sqlalchemy import Column, ColumnElement, Double, MetaData, Table, bindparam, column, func, literal, select, text

from models.columns import Flag, Number, Time, Words
from models.errors import DatabaseProblem
from models.expressions import upsert
from models.statements import Count, Statement
from models.store import Filling, Snapshot
from models.tables import SQLModel
from models.writing import SEARCHED

MADE_ANEW = frozenset(("leases", "notices", "removals"))
"""Tables about the processes that use a database, and about its files."""

ROWS_TOGETHER = 5000
"""Rows that are added in one transaction."""

SIZE_TOGETHER = 8 * 1024 * 1024
"""The size of rows, in bytes or more, after which a transaction ends, however few rows they are."""

CHECKSUM_SIZE = 16

Row = tuple[Any, ...]
Read = Callable[[Mapping[str, Any]], Row]
Advance = Callable[[int], None]
"""A function that is called with a number of rows that were read or written."""


class CopiedTable(TypedDict):
    name: str
    count: int
    checksum: str


copied_tables = Table(
    "copied_tables",
    MetaData(),
    Column("name", Words, primary_key=True),
    Column("count", Number, nullable=False),
    Column("checksum", Words, nullable=False),
)


def unfinished_copy(name: str) -> str:
    """The message about a database that has the table `copied_tables`."""
    return f"{name} is an unfinished copy; run the same `recallql copy` again, which continues it."


class Notes:
    """The table `copied_tables` of a database that is being filled."""

    _create = Statement(
        text(
            "CREATE TABLE IF NOT EXISTS copied_tables "
            "(name TEXT PRIMARY KEY NOT NULL, count BIGINT NOT NULL, checksum TEXT NOT NULL)"
        )
    )
    _drop = Statement(text("DROP TABLE copied_tables"))
    _read = Statement(select(copied_tables), CopiedTable)
    _put = Statement(
        upsert(copied_tables)
        .values({each.name: bindparam(each.name, type_=each.type) for each in copied_tables.columns})
        .on_conflict_do_update(
            index_elements=["name"],
            set_={each.name: bindparam(each.name, type_=each.type) for each in copied_tables.columns},
        )
    )

    def __init__(self, target: Filling) -> None:
        self._target = target

    def begin(self) -> dict[str, CopiedTable]:
        """Creates the table if it is not there; returns what is in it."""
        self._target.execute(self._create, {})
        rows = self._target.rows(self._read, {})
        return {
            row["name"]: CopiedTable(name=row["name"], count=row["count"], checksum=row["checksum"]) for row in rows
        }

    def put(self, table: CopiedTable) -> None:
        self._target.execute(self._put, table)

    def end(self) -> None:
        self._target.execute(self._drop, {})


class Tally:
    """Counts the rows of a table and adds up their digests, so that their order makes no difference."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0

    def add(self, row: Row) -> int:
        """Adds a row; returns its size in bytes, about."""
        # Of the values that rows have, each has one such text, and different ones have different texts.
        written = ascii(row).encode()
        self._sum += int.from_bytes(blake2b(written, digest_size=CHECKSUM_SIZE).digest())
        self.count += 1
        return len(written)

    def of(self, table: str) -> CopiedTable:
        return {"name": table, "count": self.count, "checksum": f"{self._sum % 256**CHECKSUM_SIZE:032x}"}


class CopyTable(NamedTuple):
    """A table that is copied: the statements that read it, and the function that takes the values of a row."""

    table: Table
    rows: Statement[Mapping[str, Any]]
    counting: Statement[Count]
    first: Statement[Count]
    read: Read

    def of(self, database: Snapshot) -> Iterator[Row]:
        return map(self.read, database.rows(self.rows, {}))


def _copy_table(table: Table) -> CopyTable:
    # Those of equal worth are found in the order of their numbers.
    order: list[ColumnElement[Any]] = [column("number")] if table.name in SEARCHED else [*table.primary_key]
    # A text without vectors waits for them, with a row or without one.
    kept = [table.c.vectors.is_not(None)] if "vectors" in table.c else []
    return CopyTable(
        table,
        Statement(select(*table.columns).where(*kept).order_by(*order), dict[str, Any]),
        Statement(select(func.count().label("count")).select_from(table).where(*kept), Count),
        Statement(select(literal(1).label("count")).select_from(table).limit(1), Count),
        _reader(table),
    )


def _reader(table: Table) -> Read:
    """The function that takes the values of a row, in the one form that they have for all databases."""
    conversions = [
        (place, convert) for place, column in enumerate(table.columns) if (convert := _conversion(column)) is not None
    ]
    if not conversions:
        return tuple

    def read(row: Mapping[str, Any]) -> Row:
        values: list[Any] = list(row)
        for place, convert in conversions:
            if values[place] is not None:
                values[place] = convert(values[place])
        return tuple(values)

    return read


def _conversion(column: Column[Any]) -> Callable[[Any], Any] | None:
    """Makes one value of those that only one of the databases tells apart."""
    if column.type is Time:
        return _shortest
    if column.type is Flag:
        return bool
    return (0.0).__add__ if isinstance(column.type, Double) else None


def _shortest(time: str) -> str:
    """A time without a fraction of zeros, which earlier versions wrote."""
    return time.removesuffix(".000000")


TABLES = [_copy_table(table) for table in SQLModel.metadata.sorted_tables if table.name not in MADE_ANEW]
"""Every table after those that its rows refer to."""


class Copy:
    """A copy of one database into another, or what remains to be done of it."""

    def __init__(self, source: Snapshot, target: Filling, *, name: str) -> None:
        """`name` is the target's in messages. Raises `DatabaseProblem` if the target has rows of its own."""
        self._source = source
        self._target = target
        self._name = name
        self._notes = Notes(target)
        self._done = self._begin()

    def _begin(self) -> dict[str, CopiedTable]:
        target = self._target
        with target.transaction():
            done = self._notes.begin()
            if not done and any(list(target.rows(table.first, {})) for table in TABLES):
                raise DatabaseProblem(f"{self._name} is not empty; copy into an empty database.")
            target.begin()
        return done

    def count(self) -> int:
        """Counts the rows of the source."""
        return sum(next(self._source.rows(table.counting, {}))["count"] for table in TABLES)

    def add_all(self, advance: Advance) -> list[CopiedTable]:
        """Adds the rows that the target does not have yet; returns the tables as they are in the source."""
        return [self._add(table, advance) for table in TABLES]

    def complete(self) -> None:
        with self._target.transaction():
            self._target.complete()

    def _add(self, table: CopyTable, advance: Advance) -> CopiedTable:
        name, tally, rows = table.table.name, Tally(), table.of(self._source)
        if done := self._done.get(name):
            for row in islice(rows, done["count"]):
                tally.add(row)
                advance(1)
            if tally.of(name) != done:
                raise DatabaseProblem(
                    f"{self._name} holds the unfinished copy of another database, or of this one before it changed; "
                    "empty it and copy again."
                )
        while batch := _next_batch(rows, tally):
            with self._target.transaction():
                self._target.add(table.table, batch)
                self._notes.put(tally.of(name))
            advance(len(batch))
        return tally.of(name)

    def compare(self, tables: list[CopiedTable], advance: Advance) -> None:
        """Compares the target with these tables, and ends the copy. Raises `DatabaseProblem` for a difference."""
        with self._target.transaction():
            for table, copied in zip(TABLES, tables, strict=True):
                tally = Tally()
                for row in table.of(self._target):
                    tally.add(row)
                    advance(1)
                if tally.of(table.table.name) != copied:
                    raise DatabaseProblem(
                        f"The copy differs from its source in the table {table.table.name}; empty {self._name} and "
                        "copy again."
                    )
            self._notes.end()


def _next_batch(rows: Iterator[Row], tally: Tally) -> list[Row]:
    """The next rows, as many as one transaction adds, which are also added to the tally."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += tally.add(row)
        if len(batch) == ROWS_TOGETHER or size >= SIZE_TOGETHER:
            break
    return batch
