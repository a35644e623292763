"""Rows of memories: how one is kept with what it rests on, takes the place of others, and is removed."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from models.keys import fingerprint, folded, identity, memory_key
from models.memories import memory_table, source_table, unlink_newer
from models.statements import Record
from models.store import Transaction
from resolvers.inputs import Values
from resolvers.json_values import json_text
from resolvers.operation_context import OperationContext
from resolvers.updates import revise


@dataclass(frozen=True)
class Owner:
    """Whom a memory is about. `identity` is that of the session, or else of the user."""

    user: bytes | None
    session: bytes | None
    identity: bytes

    @classmethod
    def of_session(cls, row: Record) -> "Owner":
        return cls(row["user_key"], row["key"], identity(row["key"], row["nonce"]))

    @classmethod
    def of_user(cls, row: Record) -> "Owner":
        return cls(row["key"], None, identity(row["key"], row["nonce"]))

    def has(self, row: Record) -> bool:
        """Tells whether a memory belongs to the same user, or, where there is none, the same session."""
        return row["user_key"] == self.user if self.user else row["session_key"] == self.session


def digest_of(values: Values) -> bytes:
    """Of what a retry must repeat."""
    about = values.get("about")
    repeated = [values["kind"], values["content"], *([] if about is None else [about])]
    return blake2b(json_text(repeated).encode(), digest_size=16).digest()


def memory_row(context: OperationContext, values: Values, owner: Owner, now: str) -> dict[str, Any]:
    """Every column of a new memory."""
    return {
        "key": memory_key(owner.identity, values.get("memory_id")),
        "project": context.scope.project,
        "memory_id": values.get("memory_id"),
        "user_key": owner.user,
        "session_key": owner.session,
        "kind": values["kind"],
        "content": values["content"],
        "method": values.get("method", "DECLARED"),
        "model": values.get("model"),
        "subject": values.get("subject"),
        "rating": values.get("rating"),
        "valid_from": values.get("valid_from"),
        "valid_until": values.get("valid_until"),
        "expires_at": values.get("expires_at"),
        "superseded_by": None,
        "superseded_from": None,
        "metadata": json_text(values.get("metadata", {})),
        "digest": digest_of(values),
        "fingerprint": fingerprint(values["content"]),
        "created_at": values.get("created_at", now),
        "updated_at": now,
        "deleted_at": None,
        "version": 1,
        "corrected_at": None,
        **about_columns(values.get("about")),
    }


def about_columns(about: str | None) -> dict[str, str | None]:
    """The columns that say whom a memory is about: a name, or None for the user's own."""
    return {"about": about, "about_folded": None if about is None else folded(about)}


def message_sources(session: Record, sequences: Sequence[int]) -> list[dict[str, Any]]:
    """Messages of a session as the sources of a memory."""
    return [{"session_key": session["key"], "sequence": sequence, "document_key": None} for sequence in sequences]


async def insert_sources(write: Transaction, memory: Record, sources: Sequence[dict[str, Any]]) -> None:
    rows = [{"memory_key": memory["key"], "position": position, **source} for position, source in enumerate(sources)]
    if rows:
        await source_table.insert_many(write, rows)


async def supersede(write: Transaction, context: OperationContext, newer: Record, older: Sequence[Record]) -> None:
    """The older memories end where the newer one begins, if they were open."""
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


async def remove_memory(write: Transaction, row: Record) -> None:
    await unlink_newer(write, row["key"])
    await memory_table.delete(write, row)
