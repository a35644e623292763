"""A statement's form for SQLite: its text, the class of its rows, and the binding of its lists."""

import sqlite3
from collections.abc import Callable
from copy import copy
from functools import lru_cache
from operator import itemgetter
from typing import Any, ClassVar

import orjson
from sqlalchemy import LargeBinary

from models.expressions import ListOf, Written
from models.sqlite.dialect import DIALECT
from models.statements import LONG_TEXTS, Parameters, Statement


class Row(sqlite3.Row):
    """A row that knows its noun (see `models.statements.noun_of`)."""

    noun: ClassVar[str] = ""


@lru_cache
def row_class(noun: str) -> type[Row]:
    return type(f"{noun}Row", (Row,), {"noun": noun}) if noun else Row


def _json_list(values: list[Any]) -> str:
    return orjson.dumps(values).decode()


class Form:
    """The form of a statement for the driver.

    `defaults` are the values of literals in the statement; without `binds` the parameters are bound as they are. `wide`
    extract the columns with long texts from rows that become objects of an answer, `written` those that are JSON, with
    the names of the columns in it.
    """

    __slots__ = ("_lists", "binds", "defaults", "row", "single", "spills", "text", "upkeep", "wide", "written")

    def __init__(self, statement: Statement[Any]) -> None:
        compiled = statement.clause.compile(dialect=DIALECT)
        self.text = str(compiled)
        written: dict[str, Any] = compiled.params or {}
        self.defaults = {name: value for name, value in written.items() if value is not None}
        self._lists: list[tuple[str, Callable[[list[Any]], Any]]] = [
            (name, b"".join if isinstance(bound.type.item, LargeBinary) else _json_list)
            for name, bound in compiled.binds.items()
            if isinstance(bound.type, ListOf)
        ]
        self.binds = bool(self.defaults or self._lists)
        self.row: Any = row_class(statement.noun)
        self.single = statement.single
        self.spills = statement.spills
        self.upkeep = statement.upkeep
        columns: Any = getattr(statement.clause, "selected_columns", ()) if statement.noun else ()
        self.written = [
            (itemgetter(place), column.element.column_names)
            for place, column in enumerate(columns)
            if isinstance(getattr(column, "element", None), Written)
        ]
        self.wide = [itemgetter(place) for place, column in enumerate(columns) if column.name in LONG_TEXTS]

    def bound(self, parameters: Parameters) -> Parameters:
        """The values for the driver to bind."""
        values = {**self.defaults, **parameters}
        for name, convert in self._lists:
            values[name] = convert(values[name])
        return values

    def given_to(self, receive: Callable[[tuple[Any, ...]], None]) -> "Form":
        """The same form, except that a function is called with each row as it is read, and no row is kept."""
        form = copy(self)
        form.single, form.wide, form.written = False, [], []

        def row(_: sqlite3.Cursor, values: tuple[Any, ...]) -> None:
            receive(values)

        form.row = row
        return form


def form_of(statement: Statement[Any]) -> Form:
    """The statement's form, compiled on first use."""
    form = statement.forms.get("sqlite")
    if form is None:
        form = statement.forms["sqlite"] = Form(statement)
    return form
