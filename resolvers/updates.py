"""Updates: only what changes is written, and only then does the version move."""

from collections.abc import Mapping
from typing import Any

from models.statements import Record
from models.store import Transaction
from models.writing import R, TypedTable
from resolvers.errors import refuse
from resolvers.inputs import Values
from resolvers.json_values import Unacceptable, metadata_text, same_json


async def revise(write: Transaction, table: TypedTable[R], row: Record, wanted: Mapping[str, Any], now: str) -> R:
    """The row with the wanted values, version and `updated_at` moved on; the row itself if it has them already."""
    changes = {
        name: value
        for name, value in wanted.items()
        if row[name] != value and not (name == "metadata" and same_json(row[name], value))
    }
    return await table.update(write, row, changes and {**changes, "updated_at": now, "version": row["version"] + 1})


def wanted_metadata(kept: str | None, values: Values) -> dict[str, str]:
    """Returns what an update wants of `metadata`, by its mode; of a new object (`kept` is None) MERGE starts from
    `{}`."""
    if "metadata" not in values:
        return {}
    try:
        return {"metadata": metadata_text(kept, values["metadata"], values.get("metadata_mode") or "MERGE")}
    except Unacceptable as problem:
        raise refuse(problem.code, f"The merged metadata can't be kept. {problem}", "metadata") from problem


def given_of(values: Values, *names: str) -> dict[str, Any]:
    """The named values that were given, null included."""
    return {name: values[name] for name in names if name in values}
