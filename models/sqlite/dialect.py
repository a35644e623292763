"""SQLite's SQL for the expressions that differ between databases (see `models.expressions`)."""

from typing import Any

from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from models.containment import FORMS
from models.expressions import (
    Contains,
    CrossJoin,
    Each,
    Greatest,
    Hex,
    JsonList,
    JsonObject,
    OnCitus,
    ParentKey,
    ParentRows,
    Unindexed,
    Written,
)

DIALECT = sqlite.dialect(paramstyle="named")

LONG_JSON = 4096
"""Bytes of JSON from which on a function compares it, which ends at a request's deadline."""


def _arguments(element: FunctionElement[Any], compiler: SQLCompiler, options: dict[str, Any]) -> list[str]:
    return [compiler.process(argument, **options) for argument in element.clauses]


@compiles(Each, "sqlite")
def _each(element: Each, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each({_arguments(element, compiler, options)[0]})"


# SQLite cannot bind a list, and JSON has no bytes; so keys are bound as one blob, and read from it by position.


@compiles(ParentRows, "sqlite")
def _parent_rows(element: ParentRows, compiler: SQLCompiler, **options: Any) -> str:
    numbers, _ = element.clauses
    return f"json_each({compiler.process(numbers, **options)})"


@compiles(ParentKey, "sqlite")
def _parent_key(element: ParentKey, compiler: SQLCompiler, **options: Any) -> str:
    keys, position = _arguments(element, compiler, options)
    return f"substr({keys}, {position} * 16 + 1, 16)"


@compiles(Greatest, "sqlite")
def _greatest(element: Greatest, compiler: SQLCompiler, **options: Any) -> str:
    return f"max({', '.join(_arguments(element, compiler, options))})"


@compiles(Contains, "sqlite")
def _contains(element: Contains, compiler: SQLCompiler, **options: Any) -> str:
    whole, part, one, other, *scalars = _arguments(element, compiler, options)
    has_needle = f"({whole} GLOB {one} AND {whole} GLOB {other})"
    compared = f"json_contains({whole}, {part})"
    if not scalars:
        return f"CASE WHEN {has_needle} THEN {compared} ELSE 0 END"
    of_each = (scalars[place : place + 1 + FORMS] for place in range(0, len(scalars), 1 + FORMS))
    equal = " AND ".join(
        f"CASE {whole} -> {path} {' '.join(f'WHEN {text} THEN 1' for text in texts)} END" for path, *texts in of_each
    )
    # The JSON functions end no sooner than they have parsed it, and compare keys as they are written.
    is_other = f"length(CAST({whole} AS BLOB)) > {LONG_JSON} OR {whole} GLOB '*\\*'"
    return f"CASE WHEN NOT {has_needle} THEN 0 WHEN {is_other} THEN {compared} WHEN {equal} THEN 1 ELSE 0 END"


@compiles(Unindexed, "sqlite")
def _unindexed(element: Unindexed, compiler: SQLCompiler, **options: Any) -> str:
    return f"+{_arguments(element, compiler, options)[0]}"


@compiles(OnCitus, "sqlite")
def _on_citus(element: OnCitus, compiler: SQLCompiler, **options: Any) -> str:
    condition, _ = element.clauses
    return compiler.process(condition, **options)


@compiles(JsonObject, "sqlite")
def _json_object(element: JsonObject, compiler: SQLCompiler, **options: Any) -> str:
    return f"json(json_object({', '.join(_arguments(element, compiler, options))}))"


@compiles(Written, "sqlite")
def _written(element: Written, compiler: SQLCompiler, **options: Any) -> str:
    # As a text the driver would decode it, and the answer encode it again.
    return f"CAST(json_object({', '.join(_arguments(element, compiler, options))}) AS BLOB)"


@compiles(JsonList, "sqlite")
def _json_list(element: JsonList, compiler: SQLCompiler, **options: Any) -> str:
    return f"nullif(json_group_array({_arguments(element, compiler, options)[0]}), '[]')"


@compiles(Hex, "sqlite")
def _hex(element: Hex, compiler: SQLCompiler, **options: Any) -> str:
    return f"nullif(lower(hex({_arguments(element, compiler, options)[0]})), '')"


@compiles(CrossJoin, "sqlite")
def _cross_join(element: CrossJoin, compiler: SQLCompiler, **options: Any) -> str:
    left = compiler.process(element.left, **options)
    return f"{left} CROSS JOIN {compiler.process(element.right, **options)}"
