"""SQL that differs between databases, as expressions: each database's folder compiles them to its own SQL.

`models/sqlite/dialect.py` has SQLite's forms. Compiling a statement fails if one of its expressions has no form for the
database.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    FromClause,
    Integer,
    LargeBinary,
    Select,
    bindparam,
    cast,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.expression import Join
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine, UserDefinedType

from models.columns import Json, Key, Number, Time, Words

upsert = postgresql.insert
"""INSERT … ON CONFLICT. The compiler of each database that has it renders this object."""


class ListOf(UserDefinedType[Any]):
    """The type of a parameter that is bound to a list of values of one type."""

    cache_ok = True

    def __init__(self, item: TypeEngine[Any]) -> None:
        self.item = item


class Each(FunctionElement[Any]):
    """A row for each value of a bound list."""

    name = "each"
    inherit_cache = True


class ParentRows(FunctionElement[Any]):
    """A row for each of many parents: see `Parents`."""

    name = "parent_rows"
    inherit_cache = True


class ParentKey(FunctionElement[bytes]):
    """The key of the parent in a row of `ParentRows`."""

    name = "parent_key"
    inherit_cache = True
    type = Key


class Greatest(FunctionElement[int]):
    """The greater of two numbers."""

    name = "greatest"
    inherit_cache = True
    type = Number


class Contains(FunctionElement[bool]):
    """Containment of one JSON value in another, as PostgreSQL's `@>` defines it.

    The other arguments are for databases that lack it: see `models.containment`.
    """

    name = "json_contains"
    inherit_cache = True
    type = Boolean()


class Unindexed(FunctionElement[Any]):
    """A value that no index is used for: rows are checked by it that another condition has found.

    Without statistics a planner may prefer the index of a whole project, or of a user, to the few rows wanted.
    """

    name = "unindexed"
    inherit_cache = True

    def __init__(self, value: ColumnElement[Any]) -> None:
        super().__init__(value)
        self.type = value.type


class Unplanned(Unindexed):
    """A text that is `Unindexed` on PostgreSQL, too.

    A plan that is kept may have been made while a table was empty, when all indexes seemed equally good.
    """

    name = "unplanned"
    inherit_cache = True


class OnCitus(FunctionElement[bool]):
    """A condition, and the one that takes its place on Citus (see `models.distribution`)."""

    name = "on_citus"
    inherit_cache = True
    type = Boolean()


class JsonObject(FunctionElement[str]):
    """A JSON object of names and values, one after the other."""

    name = "json_object"
    inherit_cache = True
    type = Json


class Written(FunctionElement[bytes]):
    """A JSON object of names and values, one after the other, as bytes. SQLite only."""

    name = "written"
    inherit_cache = True
    type = LargeBinary()
    column_names: Sequence[str] = ()


class JsonList(FunctionElement[str]):
    """The values of all rows as a JSON list, in the order of a column; null for no rows.

    On SQLite, where the function takes no order, it has to be that of the index by which the rows are found.
    """

    name = "json_list"
    inherit_cache = True
    type = Json

    def __init__(self, value: ColumnElement[Any], order: ColumnElement[Any]) -> None:
        super().__init__(value, order)


class Hex(FunctionElement[str]):
    """Bytes as hexadecimal digits."""

    name = "hex"
    inherit_cache = True
    type = Words


class CrossJoin(Join):
    """A join in this order of tables, where the database's planner would choose another.

    SQLite's CROSS JOIN fixes the order; a plain join was seen to scan a whole table first.
    """

    inherit_cache = True

    def __init__(self, left: FromClause, right: FromClause) -> None:
        super().__init__(left, right, onclause=bindparam("true", 1, type_=Integer) == 1)


class Parents:
    """Many parents for one statement: a list with their keys, and a list with a number for each."""

    __slots__ = ("count", "values")

    def __init__(self, keys: list[bytes], numbers: list[int] | None = None) -> None:
        self.count = len(keys)
        self.values: dict[str, Any] = {
            "parent_keys": keys,
            "parents": [0] * len(keys) if numbers is None else numbers,
        }


parents = ParentRows(
    bindparam("parents", type_=ListOf(Number)), bindparam("parent_keys", type_=ListOf(Key))
).table_valued("key", "value", name="parents")
"""The parents of a statement: `key` is each one's position, `value` its number."""

parent_number: ColumnElement[int] = parents.c.value
parent_key: ColumnElement[bytes] = ParentKey(bindparam("parent_keys", type_=ListOf(Key)), parents.c.key)


def in_project(rows: FromClause) -> ColumnElement[bool]:
    return rows.c.project == bindparam("project")


def in_checked_project(rows: FromClause) -> ColumnElement[bool]:
    """As `in_project`, for rows that the index of their owner, or of another key, is to find."""
    return Unindexed(rows.c.project) == bindparam("project")


def is_in_project(row: FromClause) -> ColumnElement[bool]:
    """As `in_project`, for a row that its primary key is to find."""
    return Unplanned(row.c.project) == bindparam("project")


def each_of(name: str, item: TypeEngine[Any] = Words) -> Select[Any]:
    """The values of a bound list (of texts, unless another type is given), for `IN`."""
    values = Each(bindparam(name, type_=ListOf(item))).table_valued("value", name=f"each_{name}")
    return select(values.c.value)


def bound_rows(name: str, columns: Sequence[ColumnElement[Any]]) -> FromClause:
    """The rows of bound lists, one list for each column: `name_column`. `number` counts the rows from 1. PostgreSQL
    only."""
    lists = [
        cast(bindparam(f"{name}_{column.key}", type_=ListOf(column.type)), ListOf(column.type)) for column in columns
    ]
    named = (Column(column.key, column.type) for column in columns)
    return func.unnest(*lists).table_valued(*named, with_ordinality="number", name=name).render_derived(name=name)


def greatest(one: ColumnElement[int], other: ColumnElement[int]) -> ColumnElement[int]:
    return Greatest(one, other)


def on_citus(condition: ColumnElement[bool], instead: ColumnElement[bool]) -> ColumnElement[bool]:
    """The first condition, and on Citus the second."""
    return OnCitus(condition, instead)


def written(columns: Sequence[Column[Any]], keys: Sequence[ColumnElement[str]]) -> ColumnElement[bytes]:
    """Values of texts, numbers and times as a JSON object in bytes, in the form that answers have."""
    zone = literal_column("'Z'", Words)
    values = (column + zone if column.type is Time else column for column in columns)
    whole = Written(*(part for pair in zip(keys, values, strict=True) for part in pair))
    whole.column_names = [column.name for column in columns]
    return whole


def json_contains(whole: ColumnElement[Any], *part: ColumnElement[Any]) -> ColumnElement[bool]:
    return Contains(whole, *part)
