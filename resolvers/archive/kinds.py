"""Lines of an import or export: one description for each kind of object, and how a row becomes a line.

A line has the fields of the API's create input, and those columns that a creation cannot set: a column that is not
`hidden` here is exported, and an import reads it from the line.
"""

from typing import Any, NamedTuple

import orjson

from models.rows import AnyRow
from models.statements import noun_of
from models.values import rfc3339
from resolvers.agents import AGENT
from resolvers.documents import DOCUMENT
from resolvers.drafts import MESSAGE
from resolvers.ids import global_id
from resolvers.inputs import camel
from resolvers.memory_rows import MEMORY
from resolvers.nouns import Column, Derived, Noun
from resolvers.sessions import SESSION
from resolvers.times import with_offset
from resolvers.users import USER

Line = dict[str, Any]
"""An object by snake_case field name, `type` included; nulls are omitted."""


class Kind(NamedTuple):
    """A type of line: the exported columns of a noun, and the columns that statements join to them.

    `rank` is its place among the kinds in an import: kinds that others refer to come first.
    """

    rank: int
    noun: Noun
    joined: tuple[str, ...]


KINDS = {
    "user": Kind(0, USER, ("project", "id")),
    "agent": Kind(1, AGENT, ("project",)),
    "document": Kind(2, DOCUMENT, ("project", "user_id", "agent_id")),
    "session": Kind(3, SESSION, ("project", "id", "user_id", "agent_id", "deleted_messages")),
    "message": Kind(3, MESSAGE, ("project", "session_id", "form_memories", "withheld_memories")),
    "memory": Kind(4, MEMORY, ("project", "user_id", "session_id", "agent_id", "sources")),
}
_JOINED_AS_JSON = frozenset(("sources", "deleted_messages", "withheld_memories"))

_FIRST = ("project", "id", "key", "session_id", "user_id", "agent_id")


def _in_order(kind: Kind) -> list[str]:
    names = [*kind.noun.exported, *kind.joined]
    return [name for name in _FIRST if name in names] + [name for name in names if name not in _FIRST]


_WRITTEN = {
    kind.noun.name: [(name, camel(name), kind.noun.columns.get(name)) for name in _in_order(kind)]
    for kind in KINDS.values()
}


def line_of(row: AnyRow) -> bytes:
    """A row as a line of an export, without nulls."""
    noun = noun_of(row)
    line: dict[str, Any] = {"type": noun.lower()}
    for name, written, column in _WRITTEN[noun]:
        value = global_id(noun, row["key"], row["nonce"]) if name == "id" else row[name]
        if value is None:
            continue
        # An import computes it, unless the object was changed since.
        if isinstance(column, Derived) and value == column.value(row):
            continue
        line[written] = (
            _offset_time(row) if (noun, name) == ("Message", "created_at") else _written(name, column, value)
        )
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def _offset_time(message: AnyRow) -> str:
    return with_offset(message["created_at"], message["utc_offset"])


def _written(name: str, column: Column | None, value: Any) -> Any:
    """Converts a column's value to that of a line."""
    if name == "form_memories":
        return bool(value)
    if name in _JOINED_AS_JSON:
        return orjson.Fragment(value)
    match column.type if column is not None else "text":
        case "json":
            return orjson.Fragment(value)
        case "time":
            return rfc3339(value)
        case "key":
            return value.hex()
        case _:
            return value
