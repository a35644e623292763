"""Tables of another system's PostgreSQL database."""

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson

from models.foreign import ForeignTables
from models.postgres.connecting import Address
from models.postgres.snapshot import Kept, kept

_COLUMNS = """SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(quote_ident($1)) AND attnum > 0
    AND NOT attisdropped"""
_AT_ONCE = 1000


@contextmanager
def tables_of(url: str) -> Generator[ForeignTables]:
    address = Address(url)

    async def begin() -> Any:
        connection = await address.connect_plainly()
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return connection

    with kept(address, begin) as own:
        yield PostgresTables(own)


class PostgresTables(ForeignTables):
    """The tables of a database, in a transaction of its own connection."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    def columns(self, table: str) -> set[str]:
        return {row["attname"] for row in self._kept.run(self._kept.connection.fetch(_COLUMNS, table))}

    def rows(self, table: str, *, order_by: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
        # The server writes the values as JSON, whatever their types.
        order = ", ".join(f'"{name}"' for name in order_by)
        text = f'SELECT row_to_json(t)::text AS row FROM "{table}" t ORDER BY {order}'  # noqa: S608
        cursor = self._kept.run(self._opened(text))
        while rows := self._kept.run(cursor.fetch(_AT_ONCE)):
            yield from (orjson.loads(row["row"]) for row in rows)

    async def _opened(self, text: str) -> Any:
        return await self._kept.connection.cursor(text)
