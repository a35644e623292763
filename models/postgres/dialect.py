"""PostgreSQL's SQL for the expressions that differ between databases (see `models.expressions`)."""

from typing import Any

from sqlalchemy import LargeBinary, Text
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.dialects.postgresql.base import PGTypeCompiler
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from models.columns import Time
from models.expressions import (
    Contains,
    CrossJoin,
    Each,
    Greatest,
    Hex,
    JsonList,
    JsonObject,
    ListOf,
    OnCitus,
    ParentKey,
    ParentRows,
    Unindexed,
    Unplanned,
)


class TypeCompiler(PGTypeCompiler):
    """Every integer has 64 bits, as on SQLite."""

    def visit_INTEGER(self, type_: Any, **options: Any) -> str:
        return "BIGINT"


class Dialect(asyncpg.dialect):
    """Numbers its parameters: `$1`."""

    type_compiler_cls = TypeCompiler
    supports_statement_cache = True


class CitusDialect(Dialect):
    """Leaves out what Citus refuses (see `models.distribution`)."""

    supports_statement_cache = True


DIALECT = Dialect(paramstyle="numeric_dollar")
DIALECTS: dict[str, Dialect] = {"postgres": DIALECT, "citus": CitusDialect(paramstyle="numeric_dollar")}
"""The dialects of the kinds of a database."""


def _arguments(element: FunctionElement[Any], compiler: SQLCompiler, options: dict[str, Any]) -> list[str]:
    return [compiler.process(argument, **options) for argument in element.clauses]


@compiles(ListOf, "postgresql")
def _list_of(element: ListOf, compiler: PGTypeCompiler, **_: Any) -> str:
    if isinstance(element.item, LargeBinary):
        return "uuid[]"
    if element.item is Time:
        return "timestamptz[]"
    return "text[]" if isinstance(element.item, Text) else "bigint[]"


def _bound_list(argument: Any, compiler: SQLCompiler, options: dict[str, Any]) -> str:
    return f"{compiler.process(argument, **options)}::{compiler.dialect.type_compiler_instance.process(argument.type)}"


@compiles(Each, "postgresql")
def _each(element: Each, compiler: SQLCompiler, **options: Any) -> str:
    (values,) = element.clauses
    return f"(SELECT value FROM unnest({_bound_list(values, compiler, options)}) AS bound (value))"  # noqa: S608 - no values


@compiles(ParentRows, "postgresql")
def _parent_rows(element: ParentRows, compiler: SQLCompiler, **options: Any) -> str:
    numbers, keys = (_bound_list(argument, compiler, options) for argument in element.clauses)
    bound = f"unnest({keys}, {numbers}) WITH ORDINALITY AS bound (parent, value, position)"
    return f"(SELECT position - 1 AS key, value, parent, position FROM {bound})"  # noqa: S608 - no values


@compiles(ParentKey, "postgresql")
def _parent_key(element: ParentKey, compiler: SQLCompiler, **options: Any) -> str:
    keys, position = element.clauses
    if keys.key == "parent_keys":
        return "parents.parent"
    return f"({_bound_list(keys, compiler, options)})[{compiler.process(position, **options)} + 1]"


@compiles(Greatest, "postgresql")
def _greatest(element: Greatest, compiler: SQLCompiler, **options: Any) -> str:
    return f"greatest({', '.join(_arguments(element, compiler, options))})"


@compiles(OnCitus, "postgresql")
def _on_citus(element: OnCitus, compiler: SQLCompiler, **options: Any) -> str:
    condition, instead = element.clauses
    return compiler.process(instead if isinstance(compiler.dialect, CitusDialect) else condition, **options)


@compiles(Contains, "postgresql")
def _contains(element: Contains, compiler: SQLCompiler, **options: Any) -> str:
    # A parameter that is compiled has to be in the statement.
    whole, part = (compiler.process(argument, **options) for argument in list(element.clauses)[:2])
    return f"({whole})::jsonb @> ({part})::jsonb"


# PostgreSQL keeps statistics of its own, and chooses indexes by them.
@compiles(Unindexed, "postgresql")
def _unindexed(element: Unindexed, compiler: SQLCompiler, **options: Any) -> str:
    return _arguments(element, compiler, options)[0]


@compiles(Unplanned, "postgresql")
def _unplanned(element: Unplanned, compiler: SQLCompiler, **options: Any) -> str:
    return f"({_arguments(element, compiler, options)[0]} || '')"


@compiles(JsonObject, "postgresql")
def _json_object(element: JsonObject, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_build_object({', '.join(_arguments(element, compiler, options))})::text"


@compiles(JsonList, "postgresql")
def _json_list(element: JsonList, compiler: SQLCompiler, **options: Any) -> str:
    item, order = _arguments(element, compiler, options)
    value, _ = element.clauses
    return f"json_agg({item}{'::json' if isinstance(value, JsonObject) else ''} ORDER BY {order})::text"


@compiles(Hex, "postgresql")
def _hex(element: Hex, compiler: SQLCompiler, **options: Any) -> str:
    return f"replace({_arguments(element, compiler, options)[0]}::text, '-', '')"


@compiles(CrossJoin, "postgresql")
def _cross_join(element: CrossJoin, compiler: SQLCompiler, **options: Any) -> str:
    left = compiler.process(element.left, **options)
    return f"{left} CROSS JOIN {compiler.process(element.right, **options)}"
