"""Writes the rows of a table: inserts, updates of changed columns, deletions."""

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import Table, bindparam, delete, false, insert, select, update

from models.errors import Overtaken
from models.statements import Statement
from models.store import Transaction

R = TypeVar("R", bound=Mapping[str, Any])

SEARCHED = frozenset(("messages", "memories", "documents"))
"""Tables with a full-text index, which an edit or a deletion updates at once."""

_TEXTS = frozenset(("content", "parts_text", "aside"))

LONG = 20_000
"""Texts from this length in characters are edited and deleted in a thread."""


class TypedTable(Generic[R]):
    """A table and the type of its rows. Each change is noted for those who listen to commits."""

    def __init__(self, table: Table, row: type[R]) -> None:
        self._table = table
        self.row = row
        self._update = lru_cache(maxsize=64)(self._updating)

    async def insert(self, write: Transaction, values: R) -> R:
        """Inserts a row with every column; returns the stored row."""
        row = (await write.fetch(self._insert, values))[0]
        write.changed(self._table.name, None, row)
        return row

    async def insert_many(self, write: Transaction, rows: Sequence[R]) -> list[R]:
        """Inserts rows, each with every column in the order of the table; returns the stored rows."""
        kept = await write.insert(self._insert_many, self._shape, cast(Sequence[dict[str, Any]], rows))
        for row in kept:
            write.changed(self._table.name, None, row)
        return kept

    async def update(self, write: Transaction, row: R, changes: Mapping[str, Any]) -> R:
        """Updates these columns of a row and returns it; without columns returns it unchanged.

        Raises `Overtaken` if the row is gone, or has another version by now (see `models.locks`).
        """
        if not changes:
            return row
        keys = {f"the_{name}": row[name] for name in self._read}
        slowly = self._is_long(row) or self._is_long(changes)
        statement = self._update(tuple(sorted(changes)))
        updated = await write.fetch(statement, {**changes, **keys}, slowly=slowly)
        if not updated:
            raise Overtaken(f"a row of {self._table.name} was changed or removed since it was read")
        changed = updated[0]
        write.changed(self._table.name, row, changed)
        return changed

    async def delete(self, write: Transaction, row: R) -> None:
        keys = {name: row[name] for name in self._keys}
        await write.execute(self._delete, keys, slowly=self._is_long(row))
        write.changed(self._table.name, row, None)

    @cached_property
    def _keys(self) -> list[str]:
        return [column.name for column in self._table.primary_key]

    @cached_property
    def _read(self) -> list[str]:
        """The columns by which a row is the one that was read."""
        return [*self._keys, "version"] if "version" in self._table.c else self._keys

    @cached_property
    def _parameters(self) -> dict[str, Any]:
        return {column.name: bindparam(column.name, type_=column.type) for column in self._table.columns}

    @cached_property
    def _insert(self) -> Statement[R]:
        return Statement(insert(self._table).values(self._parameters).returning(*self._table.columns), self.row)

    @cached_property
    def _insert_many(self) -> Statement[R]:
        # SQLite would make a row of each; see `Transaction.insert`.
        return Statement(
            insert(self._table).values(self._parameters), self.row, others={"postgres": self._insert.clause}
        )

    @cached_property
    def _shape(self) -> Statement[R]:
        """A SELECT without rows, with the columns of inserted rows."""
        return Statement(select(*self._table.columns).where(false()), self.row)

    def _updating(self, columns: tuple[str, ...]) -> Statement[R]:
        keys = [self._table.c[name] == bindparam(f"the_{name}") for name in self._read]
        values: dict[str, Any] = {name: bindparam(name) for name in columns}
        return Statement(update(self._table).where(*keys).values(values).returning(*self._table.columns), self.row)

    @cached_property
    def _delete(self) -> Statement[Any]:
        return Statement(delete(self._table).where(*(key == bindparam(key.name) for key in self._table.primary_key)))

    def _is_long(self, row: Mapping[str, Any]) -> bool:
        """True if updating the full-text index for a text would block the event loop."""
        if self._table.name not in SEARCHED:
            return False
        names = [name for name in row.keys() if name in _TEXTS]  # noqa: SIM118 - a driver's row has no `in`
        return sum(len(row[name] or "") for name in names) > LONG
