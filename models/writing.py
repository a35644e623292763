"""The three statements every table needs: insert a row, update its changed columns, delete it."""

from functools import lru_cache
from typing import Any

from sqlalchemy import Table, bindparam, delete, false, insert, select, update

from models.sqlite.database import Transaction
from models.statements import Record, Row, Statement

SEARCHED = frozenset(("messages", "memories", "documents"))
"""Tables whose texts have a full-text index, which an edit or a deletion changes at once."""

_TEXTS = frozenset(("content", "parts_text", "aside"))

LONG = 20_000
"""Characters of a text that is edited or deleted in a thread."""


@lru_cache(maxsize=64)
def insertion(table: Table, row: type[Row] = Row) -> Statement:
    """Inserts a row with every column given and returns it."""
    values = {column.name: bindparam(column.name, type_=column.type) for column in table.columns}
    return Statement(insert(table).values(values).returning(*table.columns), row)


@lru_cache(maxsize=64)
def _insertion(table: Table, row: type[Row]) -> tuple[Statement, Statement]:
    """Inserts a row with every column given; and a selection of none, which is the shape of such rows."""
    values = {column.name: bindparam(column.name, type_=column.type) for column in table.columns}
    return Statement(insert(table).values(values), row), Statement(select(*table.columns).where(false()), row)


@lru_cache(maxsize=512)
def _update(table: Table, row: type[Row], columns: tuple[str, ...]) -> Statement:
    keys = [column == bindparam(f"the_{column.name}") for column in table.primary_key]
    return Statement(
        update(table).where(*keys).values({name: bindparam(name) for name in columns}).returning(*table.columns), row
    )


@lru_cache(maxsize=64)
def _delete(table: Table) -> Statement:
    return Statement(delete(table).where(*(column == bindparam(column.name) for column in table.primary_key)))


async def insert_row(write: Transaction, table: Table, row: type[Row], values: Record) -> Record:
    return (await write.fetch(insertion(table, row), values))[0]


async def insert_rows(write: Transaction, table: Table, row: type[Row], rows: list[dict[str, Any]]) -> list[Record]:
    """Inserts many rows, each with every column in the order of the table; given back as they are kept."""
    insertion, shape = _insertion(table, row)
    return await write.insert(insertion, shape, rows)


async def update_row(write: Transaction, table: Table, row: Record, changes: dict[str, Any]) -> Record:
    """The row with these columns changed; the row as it is if there are none."""
    if not changes:
        return row
    kind = type(row) if isinstance(row, Row) else Row
    keys = {f"the_{column.name}": row[column.name] for column in table.primary_key}
    slowly = _is_long(table, row) or _is_long(table, changes)
    statement = _update(table, kind, tuple(sorted(changes)))
    return (await write.fetch(statement, {**changes, **keys}, slowly=slowly))[0]


async def delete_row(write: Transaction, table: Table, row: Record) -> None:
    keys = {column.name: row[column.name] for column in table.primary_key}
    await write.execute(_delete(table), keys, slowly=_is_long(table, row))


def _is_long(table: Table, row: Record) -> bool:
    """Tells whether taking a text out of the full-text index, or putting it in, would hold the event loop."""
    if table.name not in SEARCHED:
        return False
    names = [name for name in row.keys() if name in _TEXTS]  # noqa: SIM118
    return sum(len(row[name] or "") for name in names) > LONG
