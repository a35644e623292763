"""Lines of an import or export: one description for each kind of object, and how a row becomes a line.

A line has the fields of the contract's create input, and those columns that a creation cannot say: a column that is
not `hidden` here is exported, and taken from a line when it is imported.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Column, LargeBinary, Table

from models.statements import Record
from models.tables import agents, documents, memories, messages, sessions, users
from resolvers.agents import RULES as AGENT_RULES
from resolvers.documents import DOCUMENT_RULES, document_digest
from resolvers.ids import global_id
from resolvers.inputs import Rule, camel, integer_rule, key_rule, text
from resolvers.memories import RULES as MEMORY_RULES
from resolvers.memory_rows import digest_of as memory_digest
from resolvers.messages import RULES as MESSAGE_RULES
from resolvers.sessions import RULES as SESSION_RULES
from resolvers.times import with_offset
from resolvers.users import RULES as USER_RULES

Line = dict[str, Any]
"""An object by snake_case field name, `type` included; nulls are left out."""

MOST = 2**30
"""A number of a line, at most: it must have room to grow."""

JSON_COLUMNS = frozenset(("metadata", "parts", "tool_calls"))
_WRITTEN_AS_JSON = JSON_COLUMNS | {"sources", "deleted_messages", "withheld_memories"}
_TIMES = frozenset(("valid_from", "valid_until", "superseded_from"))

_EXPORTED_RULES: dict[str, Rule] = {
    "project": key_rule,
    "version": integer_rule(1, MOST),
    "last_sequence": integer_rule(0, MOST),
    "model": text,
    "subject": text,
}
"""Rules of what exported lines add."""


class Kind(NamedTuple):
    """The fields of a type of line: the columns of a table but the hidden ones, and what statements join to them.

    `rank` is the place among the kinds when a file is imported: what may be referred to comes first.
    """

    rank: int
    table: Table
    hidden: frozenset[str]
    joined: tuple[str, ...]
    rules: Mapping[str, Rule]

    @property
    def columns(self) -> dict[str, Column[Any]]:
        return {column.name: column for column in self.table.columns if column.name not in self.hidden}

    @property
    def plain(self) -> list[str]:
        """Columns whose values stand in a line as they are kept."""
        return [
            name
            for name, column in self.columns.items()
            if name not in JSON_COLUMNS and not isinstance(column.type, LargeBinary)
        ]


def _kind(rank: int, table: Table, rules: Mapping[str, Rule], *, hidden: str, joined: str = "") -> Kind:
    every = {**_EXPORTED_RULES, **rules}
    return Kind(rank, table, frozenset(("project", *hidden.split())), ("project", *joined.split()), every)


KINDS = {
    "user": _kind(0, users, USER_RULES, hidden="key email_folded nonce", joined="id"),
    "agent": _kind(1, agents, AGENT_RULES, hidden="key"),
    "document": _kind(
        2,
        documents,
        {**DOCUMENT_RULES, "user_id": key_rule, "user_email": text, "agent_id": key_rule},
        hidden="user_key agent_key",
        joined="user_id agent_id",
    ),
    "session": _kind(
        3,
        sessions,
        SESSION_RULES,
        hidden="key user_key agent_key deleted_at deleted_through nonce lane",
        joined="id user_id agent_id deleted_messages",
    ),
    "message": _kind(
        3,
        messages,
        {**MESSAGE_RULES, "session_id": key_rule, "sequence": integer_rule(1, MOST)},
        hidden="session_key generation forms_memories utc_offset parts_text aside",
        joined="session_id form_memories withheld_memories",
    ),
    "memory": _kind(
        4,
        memories,
        MEMORY_RULES,
        hidden="user_key session_key fingerprint about_folded deleted_at",
        joined="user_id session_id sources",
    ),
}


def as_exported(line: Line) -> Line:
    """The columns that a line gives as they are kept, also those that a creation can't give."""
    return {name: line[name] for name in KINDS[line["type"]].plain if name in line}


_FIRST = ("project", "id", "key", "session_id", "user_id", "agent_id")


def _in_order(kind: Kind) -> list[str]:
    names = [*kind.columns, *kind.joined]
    return [name for name in _FIRST if name in names] + [name for name in names if name not in _FIRST]


_WRITTEN = {type: [(name, camel(name)) for name in _in_order(kind)] for type, kind in KINDS.items()}


_DIGESTS = {"Document": document_digest, "Memory": memory_digest}


def line_of(row: Record) -> bytes:
    """A row as a line of an export, without what is null."""
    noun: str = type(row).noun  # pyright: ignore[reportAttributeAccessIssue]
    line: dict[str, Any] = {"type": noun.lower()}
    digest_of = _DIGESTS.get(noun)
    for name, written in _WRITTEN[noun.lower()]:
        value = global_id(noun, row["key"], row["nonce"]) if name == "id" else row[name]
        # True is what is meant without it.
        if value is None or (name == "form_memories" and value):
            continue
        # An import works it out, unless the object was changed since.
        if name == "digest" and digest_of is not None and value == digest_of({**row}):
            continue
        if name == "form_memories":
            value = False
        elif name in _WRITTEN_AS_JSON:
            value = orjson.Fragment(value)
        elif name == "created_at" and noun == "Message":
            value = with_offset(value, row["utc_offset"])
        elif name.endswith("_at") or name in _TIMES:
            value = f"{value}Z"
        elif isinstance(value, bytes):
            value = value.hex()
        line[written] = value
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
