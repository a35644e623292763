"""Statements: built with SQLAlchemy Core, compiled once to the text that the driver gets."""

import sqlite3
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, ClassVar

from sqlalchemy import ColumnElement, FromClause, Integer, LargeBinary, Select, Table, bindparam, func, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ClauseElement, Join

_dialect = sqlite.dialect(paramstyle="named")

Key = bytes
Record = Mapping[str, Any]
"""A row as the driver gives it: its columns by name."""


class Row(sqlite3.Row):
    """A row that knows what it is a row of, for interfaces and unions."""

    noun: ClassVar[str] = ""


def row_of(noun: str) -> type[Row]:
    return type(f"{noun}Row", (Row,), {"noun": noun})


UserRow, SessionRow, MessageRow = row_of("User"), row_of("Session"), row_of("Message")
MemoryRow, DocumentRow, AgentRow = row_of("Memory"), row_of("Document"), row_of("Agent")


LONG_TEXTS = frozenset(
    (
        *("about", "aside", "content", "instructions", "metadata", "parts", "parts_text", "situation", "subject"),
        *("title", "tool_calls"),
    )
)
"""Columns whose values may be long: those of an object's rows are counted while they are read."""


class Statement:
    """The text of a statement, what its rows are, and the values that were written into it.

    `wide` take the columns with long texts out of rows that objects of an answer are made of. `single` says that
    there is one row at most. `upkeep` says that it belongs to no request. `spills` says that it may sort millions of
    numbers, which it does in temporary files beyond 16 MB; nothing else of it may get there.
    """

    __slots__ = ("defaults", "row", "single", "spills", "text", "upkeep", "wide")

    def __init__(
        self,
        clause: ClauseElement | Executable,
        row: type[Row] = Row,
        *,
        single: bool = False,
        upkeep: bool = False,
        spills: bool = False,
    ) -> None:
        compiled = clause.compile(dialect=_dialect)  # pyright: ignore[reportAttributeAccessIssue]
        self.text = str(compiled)
        self.defaults: dict[str, Any] = {
            name: value for name, value in (compiled.params or {}).items() if value is not None
        }
        self.row: Any = row
        self.single = single
        self.upkeep = upkeep
        self.spills = spills
        columns = getattr(clause, "selected_columns", ()) if row.noun else ()
        self.wide = [itemgetter(place) for place, column in enumerate(columns) if column.name in LONG_TEXTS]

    def into(self, receive: Callable[[tuple[Any, ...]], None]) -> "Statement":
        """The same statement, whose rows are given to a function one by one as they are read, and then forgotten.

        For slow reads, which are never made twice.
        """
        copy: Statement = object.__new__(Statement)
        copy.text, copy.defaults, copy.upkeep = self.text, self.defaults, self.upkeep
        copy.single, copy.spills, copy.wide = False, self.spills, []
        copy.row = lambda _, values: receive(values)
        return copy


class CrossJoin(Join):
    """SQLite's CROSS JOIN, which fixes the order: a plain join was seen to scan the whole table first."""

    inherit_cache = True

    def __init__(self, left: FromClause, right: FromClause) -> None:
        super().__init__(left, right, onclause=bindparam("true", 1, type_=Integer) == 1)


@compiles(CrossJoin)
def _cross_join(element: CrossJoin, compiler: SQLCompiler, **options: Any) -> str:
    left = compiler.process(element.left, **options)
    return f"{left} CROSS JOIN {compiler.process(element.right, **options)}"


class Parents:
    """Many parents as two values: their keys side by side, and a JSON list with a number for each.

    A list of keys cannot be bound as it is, and JSON holds no bytes; a position in one string of them does the same.
    """

    def __init__(self, keys: list[Key], numbers: list[int] | None = None) -> None:
        self.count = len(keys)
        numbers = [0] * len(keys) if numbers is None else numbers
        self.values = {"parent_keys": b"".join(keys), "parents": f"[{','.join(map(str, numbers))}]"}


parents = func.json_each(bindparam("parents")).table_valued("key", "value", name="parents")
parent_number: ColumnElement[int] = parents.c.value
parent_key: ColumnElement[bytes] = func.substr(
    bindparam("parent_keys", type_=LargeBinary), parents.c.key * 16 + 1, 16, type_=LargeBinary
)


def in_project(rows: FromClause) -> ColumnElement[bool]:
    return rows.c.project == bindparam("project")


def each_of(name: str) -> Select[Any]:
    """The values of a bound JSON list, for `IN`."""
    values = func.json_each(bindparam(name)).table_valued("value", name=f"each_{name}")
    return select(values.c.value)


class ByKey:
    """Rows of a table by their keys: one, or each with its parent's position as `parent` (see `Parents`)."""

    __slots__ = ("many", "one")

    def __init__(self, table: Table, row: type[Row], *, where: tuple[ColumnElement[bool], ...] = ()) -> None:
        conditions = (in_project(table), *where)
        self.one = Statement(select(table).where(table.c.key == bindparam("key"), *conditions), row, single=True)
        self.many = Statement(
            select(parents.c.key.label("parent"), table)
            .select_from(CrossJoin(parents, table))
            .where(table.c.key == parent_key, *conditions),
            row,
        )
