"""Rows of memories: stores them with their sources, supersedes others, removes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

from models.keys import fingerprint, folded_name, identity, memory_key
from models.memories import memory_table, source_table, unlink_newer
from models.rows import AgentRow, DocumentRow, MemoryRow, MemorySourceRow, SessionRow, UserRow
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
    """The owner of a memory: a user, a session with its user, or an agent. `identity` is that of the session, or else
    of the user or the agent."""

    identity: bytes
    user: bytes | None = None
    session: bytes | None = None
    agent: bytes | None = None

    @classmethod
    def of_session(cls, row: SessionRow) -> "Owner":
        return cls(identity(row["key"], row["nonce"]), user=row["user_key"], session=row["key"])

    @classmethod
    def of_user(cls, row: UserRow) -> "Owner":
        return cls(identity(row["key"], row["nonce"]), user=row["key"])

    @classmethod
    def of_agent(cls, row: AgentRow) -> "Owner":
        return cls(row["key"], agent=row["key"])

    @property
    def narrowest(self) -> tuple[str, bytes]:
        """The kind of owner that a summary is of, and its key: the session rather than its user."""
        if self.session is not None:
            return "session", self.session
        return ("agent", self.agent) if self.agent is not None else ("user", self.user or b"")

    def has(self, row: MemoryRow) -> bool:
        """True if a memory belongs to the same user or agent or, without a user, to the same session."""
        if self.user is not None:
            return row["user_key"] == self.user
        return (row["session_key"], row["agent_key"]) == (self.session, self.agent)

    def may_rest_on(self, source: SessionRow | DocumentRow) -> bool:
        """True if messages of this session, or this document, may be sources: those of the user, of nobody, or of the
        agent's own sessions with any user."""
        if source["user_key"] in (None, self.user):
            return True
        return self.agent is not None and source["agent_key"] == self.agent


def digest_of(kind: str, content: str, about: str | None = None) -> bytes:
    """The digest of the fields that a retry must repeat."""
    repeated = [kind, content, *([] if about is None else [about])]
    return blake2b(json_of(repeated).encode(), digest_size=16).digest()


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
    Derived("about_folded", folded_name, of=("about",)),
    Internal("corrected_at", type="time", exported=True),
    Internal("agent_key", type="key"),
    references={"user_id": key_rule, "session_id": key_rule, "agent_id": key_rule},
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
        agent_key=owner.agent,
    )


def about_columns(about: str | None) -> dict[str, str | None]:
    """The columns with the person that a memory is about: a name, or None for the user."""
    return {"about": about, "about_folded": folded_name(about)}


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
