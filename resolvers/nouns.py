"""Nouns: one description of each, which creation, update, upsert, import and export follow.

A column of a noun's table is an `Attribute`, which clients give, `Derived` from others, or `Internal`. Where one is
forgotten `tests/test_nouns.py` fails.
"""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, TypeVar, cast

from models.values import Time, json_of
from resolvers.inputs import Rule, Values, created, integer_rule, key_rule, metadata_rule
from resolvers.json_values import merge_patch
from resolvers.updates import Change, changed_metadata

R = TypeVar("R")

Type = Literal["text", "integer", "number", "time", "json", "key"]

MOST = 2**30
"""A number of a line of an import, at most: it must have room to grow."""


@dataclass(frozen=True)
class Attribute:
    """What clients give of an object when they create it and, unless it is `fixed`, when they change it.

    In a change null gives it its default again, or is refused if it is `required`.
    """

    name: str
    rule: Rule | None = None
    _: KW_ONLY
    type: Type = "text"
    default: Any = None
    fixed: bool = False
    required: bool = False
    exported: bool = True


@dataclass(frozen=True)
class Derived:
    """What is worked out `by` a function of other columns, and anew when they change, unless it is `kept`."""

    name: str
    by: Callable[..., Any]
    of: tuple[str, ...]
    _: KW_ONLY
    type: Type = "text"
    kept: bool = False
    exported: bool = False


@dataclass(frozen=True)
class Internal:
    """What the server keeps. A line of an import gives it, by its rule, if it is exported."""

    name: str
    rule: Rule | None = None
    _: KW_ONLY
    type: Type = "text"
    default: Any = None
    exported: bool = False


Column = Attribute | Derived | Internal

KEY = Internal("key", type="key")
PROJECT = Internal("project", key_rule)
METADATA = Attribute("metadata", metadata_rule, type="json", default="{}")
CREATED_AT = Attribute("created_at", type="time", fixed=True)
UPDATED_AT = Internal("updated_at", type="time", exported=True)
VERSION = Internal("version", integer_rule(1, MOST), type="integer", default=1, exported=True)


class Noun:
    """A kind of object, by the columns of its table in their order.

    `references` are the rules of inputs that name other objects. `rules` are those of all inputs.
    """

    def __init__(self, name: str, *columns: Column, references: Mapping[str, Rule] | None = None) -> None:
        self.name = name
        self.columns = {column.name: column for column in columns}
        given = [column for column in columns if not isinstance(column, Derived)]
        self.rules: dict[str, Rule] = {column.name: column.rule for column in given if column.rule is not None}
        self.rules |= references or {}
        attributes = [column for column in columns if isinstance(column, Attribute)]
        self.required = tuple(column.name for column in attributes if column.required)
        self._changing = {column.name: column for column in attributes if not column.fixed}
        self._derived = [column for column in columns if isinstance(column, Derived)]
        self._blank = {column.name: None if isinstance(column, Derived) else column.default for column in columns}
        # A key of a line belongs to another database: whoever imports it makes one of it.
        taken = [column for column in given if column.type != "key"]
        taken = [column for column in taken if isinstance(column, Attribute) or column.exported]
        self._taken = {column.name: column.type == "json" for column in taken}

    def new(self, values: Values) -> dict[str, Any]:
        """Every column of a new object but its keys and the times of the server; `values` have no nulls."""
        row = self._blank.copy()
        taken = self._taken
        for name, value in values.items():
            if name in taken:
                row[name] = json_of(value) if taken[name] else value
        for column in self._derived:
            row[column.name] = column.by(*[row[name] for name in column.of])
        return row

    def change(self, values: Values) -> Change:
        """Returns what an update wants: null gives an attribute its default."""
        columns: dict[str, Any] = {}
        for name, value in values.items():
            column = self._changing.get(name)
            if column is not None and column.type != "json":
                columns[name] = column.default if value is None else value
        for column in self._derived:
            if not column.kept and column.of[0] in columns:
                columns[column.name] = column.by(columns[column.of[0]])
        return changed_metadata(columns, values)

    def new_or_change(self, values: Values) -> tuple[dict[str, Any], Change]:
        """Returns the columns of a new object, and what an upsert wants of one that is there."""
        given = created(values)
        if "metadata" in given and given.get("metadata_mode") != "REPLACE":
            given["metadata"] = merge_patch({}, given["metadata"])
        return self.new(given), self.change(values)

    @property
    def exported(self) -> dict[str, Column]:
        return {name: column for name, column in self.columns.items() if column.exported}


def stamped(row: type[R], columns: Mapping[str, Any], now: Time, **keys: Any) -> R:
    """The row of a new object, in a transaction: with its keys, and the time where it brings none of its own."""
    times = {"created_at": columns["created_at"] or now, "updated_at": columns["updated_at"] or now}
    # `tests/test_nouns.py` compares the columns of each noun with its table.
    return cast(R, {**columns, **times, **keys})
