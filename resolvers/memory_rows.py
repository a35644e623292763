"""Rows of memories: stores them with their sources, supersedes others, removes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

from models.keys import fingerprint, folded, identity, memory_key
from models.memories import memory_table, source_table, unlink_newer
from models.rows import MemoryRow, MemorySourceRow, SessionRow, UserRow
from models.store import Transaction
from models.values import Time, json_of
from resolvers.inputs import CONTENT_BYTES, TEXT_BYTES, key_rule, required_text, share_rule, text
from resolvers.nouns import (
    CREATED_AT,
    METADATA,
    PROJECT,
    UPDATED_AT,
    VERSION,
    Attribute,
    Derived,
    Internal,
    Noun,
    stamped,
)
from resolvers.operation_context import OperationContext
from resolvers.updates import revise


@dataclass(frozen=True)
class Owner:
    """The subject of a memory. `identity` is that of the session, or else of the user."""

    user: bytes | None
    session: bytes | None
    identity: bytes

    @classmethod
    def of_session(cls, row: SessionRow) -> "Owner":
        return cls(row["user_key"], row["key"], identity(row["key"], row["nonce"]))

    @classmethod
    def of_user(cls, row: UserRow) -> "Owner":
        return cls(row["key"], None, identity(row["key"], row["nonce"]))

    def has(self, row: MemoryRow) -> bool:
        """True if a memory belongs to the same user or, without a user, to the same session."""
        return row["user_key"] == self.user if self.user else row["session_key"] == self.session


def digest_of(kind: str, content: str, about: str | None = None) -> bytes:
    """The digest of the fields that a retry must repeat."""
    repeated = [kind, content, *([] if about is None else [about])]
    return blake2b(json_of(repeated).encode(), digest_size=16).digest()


def _folded(about: str | None) -> str | None:
    return None if about is None else folded(about)


MEMORY = Noun(
    "Memory",
    Internal("key", type="key", exported=True),
    PROJECT,
    Attribute("memory_id", key_rule, fixed=True),
    Internal("user_key", type="key"),
    Internal("session_key", type="key"),
    Attribute("kind", required=True),
    Attribute("content", required_text(CONTENT_BYTES), required=True),
    Internal("method", default="DECLARED", exported=True),
    Internal("model", text, exported=True),
    Internal("subject", text, exported=True),
    Attribute("rating", share_rule, type="number"),
    Attribute("valid_from", type="time"),
    Attribute("valid_until", type="time"),
    Attribute("expires_at", type="time"),
    Internal("superseded_by", type="key", exported=True),
    Internal("superseded_from", type="time", exported=True),
    METADATA,
    Derived("digest", digest_of, of=("kind", "content", "about"), type="key", kept=True, exported=True),
    Derived("fingerprint", fingerprint, of=("content",), type="key"),
    CREATED_AT,
    UPDATED_AT,
    Internal("deleted_at", type="time"),
    VERSION,
    Attribute("about", required_text(TEXT_BYTES), fixed=True),
    Derived("about_folded", _folded, of=("about",)),
    Internal("corrected_at", type="time", exported=True),
    references={"user_id": key_rule, "session_id": key_rule},
)


def memory_row(context: OperationContext, columns: dict[str, Any], owner: Owner, now: Time) -> MemoryRow:
    """Builds the row of a new memory from the columns of `MEMORY.new`."""
    return stamped(
        MemoryRow,
        columns,
        now,
        project=context.scope.project,
        key=memory_key(owner.identity, columns["memory_id"]),
        user_key=owner.user,
        session_key=owner.session,
    )


def about_columns(about: str | None) -> dict[str, str | None]:
    """The columns with the person that a memory is about: a name, or None for the user."""
    return {"about": about, "about_folded": _folded(about)}


class Source(NamedTuple):
    """A source of a memory: a message (by session and sequence) or a document; an export also gives its `position`."""

    session_key: bytes | None = None
    sequence: int | None = None
    document_key: bytes | None = None
    position: int | None = None


def message_sources(session: SessionRow, sequences: Sequence[int]) -> list[Source]:
    """Messages of a session as the sources of a memory."""
    return [Source(session["key"], sequence) for sequence in sequences]


async def insert_sources(write: Transaction, memory: MemoryRow, sources: Sequence[Source]) -> None:
    rows: list[MemorySourceRow] = [
        {
            "memory_key": memory["key"],
            "position": position if source.position is None else source.position,
            "session_key": source.session_key,
            "sequence": source.sequence,
            "document_key": source.document_key,
        }
        for position, source in enumerate(sources)
    ]
    if rows:
        await source_table.insert_many(write, rows)


async def supersede(
    write: Transaction, context: OperationContext, newer: MemoryRow, older: Sequence[MemoryRow]
) -> None:
    """Ends older memories, if they were open, when the newer one begins."""
    start = newer["valid_from"] or newer["created_at"]
    # An event is current from its creation on.
    current = min(start, newer["created_at"]) if newer["kind"] == "EVENT" else start
    for row in {row["key"]: row for row in older}.values():
        wanted = {
            "superseded_by": newer["key"],
            "superseded_from": row["superseded_from"] or current,
            "valid_until": row["valid_until"] or start,
        }
        await revise(write, memory_table, row, wanted, context.clock.now())


async def remove_memory(write: Transaction, row: MemoryRow) -> None:
    await unlink_newer(write, row)
    await memory_table.delete(write, row)
