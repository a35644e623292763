"""Updates: write only changed columns, and increment the version only if there are any."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from models.rows import AnyRow
from models.store import Transaction
from models.values import json_of
from models.writing import R, TypedTable
from resolvers.errors import refuse
from resolvers.inputs import Values
from resolvers.json_values import Unacceptable, merge_patch, merged_text, same_json


class DerivedColumn(Protocol):
    """A column that is computed from others; see `resolvers.nouns.Derived`."""

    @property
    def name(self) -> str: ...

    def value(self, row: Mapping[str, Any], /) -> Any: ...


class Change(NamedTuple):
    """The changes of an update, computed before the transaction, except for what needs the row.

    `metadata` is the result for empty metadata, and for any if there is no `patch` to merge; None leaves it unchanged.
    `derived` are computed from changed and unchanged columns.
    """

    columns: dict[str, Any]
    metadata: str | None = None
    patch: Any = None
    derived: Sequence[DerivedColumn] = ()

    def of(self, row: AnyRow) -> dict[str, Any]:
        """The wanted columns of a row."""
        columns = self.columns
        if self.derived:
            whole = {**dict(row), **columns}
            columns = columns | {column.name: column.value(whole) for column in self.derived}
        if self.metadata is None:
            return columns
        if self.patch is None or row["metadata"] == "{}":
            return {**columns, "metadata": self.metadata}
        try:
            return {**columns, "metadata": merged_text(row["metadata"], self.patch)}
        except Unacceptable as problem:
            raise refuse(problem.code, f"The merged metadata can't be kept. {problem}", "metadata") from problem


def changed_metadata(columns: dict[str, Any], values: Values) -> Change:
    """The change of these columns and, by its mode, of the metadata, if the update has any."""
    if "metadata" not in values:
        return Change(columns)
    given = values["metadata"]
    if given is None:
        return Change(columns, "{}")
    if values.get("metadata_mode") == "REPLACE":
        return Change(columns, json_of(given))
    return Change(columns, json_of(merge_patch({}, given)), given)


async def revise(write: Transaction, table: TypedTable[R], row: R, wanted: Mapping[str, Any], now: str) -> R:
    """The row with the wanted values and a new version and `updated_at`; the row itself if it has them already."""
    changes = {
        name: value
        for name, value in wanted.items()
        if row[name] != value and not (name == "metadata" and same_json(row[name], value))
    }
    return await table.update(write, row, changes and {**changes, "updated_at": now, "version": row["version"] + 1})


def given_of(values: Values, *names: str) -> dict[str, Any]:
    """Those of the named values that the input has, null included."""
    return {name: values[name] for name in names if name in values}
