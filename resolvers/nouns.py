"""Nouns: one description of each, which drives creation, update, upsert, import and export.

A column of a noun's table is an `Attribute`, which clients set, `Derived` from others, or `Internal`. If a column is
missing, `tests/test_nouns.py` fails.
"""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, TypeVar, cast

from models.values import Time, json_of
from resolvers.inputs import Rule, Values, created, integer_rule, key_rule, metadata_rule
from resolvers.json_values import merge_patch
from resolvers.updates import Change, changed_metadata

R = TypeVar("R")

Type = Literal["text", "integer", "number", "flag", "time", "json", "key"]

MOST = 2**30
"""The largest number in a line of an import: counters must have room to grow."""


@dataclass(frozen=True)
class Attribute:
    """A column that clients set when they create an object and, unless it is `fixed`, when they update it.

    In an update null resets it to its default, or is refused if it is `required`.
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
    """A column computed `by` a function of others, and again when they change, unless it is `kept`."""

    name: str
    by: Callable[..., Any]
    of: tuple[str, ...]
    _: KW_ONLY
    type: Type = "text"
    kept: bool = False
    exported: bool = False

    def value(self, row: Mapping[str, Any]) -> Any:
        """The value for a row with the columns that it is computed of."""
        return self.by(*[row[name] for name in self.of])


@dataclass(frozen=True)
class Internal:
    """A column that the server sets. If it is exported, a line of an import has it, checked by its rule."""

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
FORM_MEMORIES = Attribute("form_memories", type="flag")
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
        # A key in a line belongs to another database: the import derives a new one from it.
        taken = [column for column in given if column.type != "key"]
        taken = [column for column in taken if isinstance(column, Attribute) or column.exported]
        self._taken = {column.name: column.type == "json" for column in taken}

    def new(self, values: Values) -> dict[str, Any]:
        """Every column of a new object except its keys and the server's times; `values` have no nulls."""
        row = self._blank.copy()
        taken = self._taken
        for name, value in values.items():
            if name in taken:
                row[name] = json_of(value) if taken[name] else value
        for column in self._derived:
            row[column.name] = column.value(row)
        return row

    def change(self, values: Values) -> Change:
        """The columns that an update sets: null resets an attribute to its default."""
        columns: dict[str, Any] = {}
        for name, value in values.items():
            column = self._changing.get(name)
            if column is not None and column.type != "json":
                columns[name] = column.default if value is None else value
        late: list[Derived] = []
        for column in self._derived:
            given = [name in columns for name in column.of]
            if all(given) and not column.kept:
                columns[column.name] = column.value(columns)
            elif any(given) and not column.kept:
                late.append(column)
        return changed_metadata(columns, values)._replace(derived=late)

    def new_or_change(self, values: Values) -> tuple[dict[str, Any], Change]:
        """The columns of a new object, and those that an upsert sets in an existing one."""
        given = created(values)
        if "metadata" in given and given.get("metadata_mode") != "REPLACE":
            given["metadata"] = merge_patch({}, given["metadata"])
        return self.new(given), self.change(values)

    def lacking(self, row: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
        """The attributes that a row lacks and another one has, except for JSON, as an update gives them."""
        plain = (name for name, column in self._changing.items() if column.type != "json")
        return {name: other[name] for name in plain if row[name] == self._blank[name] != other[name]}

    @property
    def exported(self) -> dict[str, Column]:
        return {name: column for name, column in self.columns.items() if column.exported}


def stamped(row: type[R], columns: Mapping[str, Any], now: Time, **keys: Any) -> R:
    """Builds the row of a new object in a transaction: adds its keys, and times unless it has its own."""
    times = {"created_at": columns["created_at"] or now, "updated_at": columns["updated_at"] or now}
    # `tests/test_nouns.py` compares the columns of each noun with its table.
    return cast(R, {**columns, **times, **keys})
