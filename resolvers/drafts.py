"""Drafts: messages made ready before the transaction that keeps them.

A draft holds what takes no database: JSON as text, tokens (perhaps by the application's own counter), the digest that a
retry is compared by, and what rules find. The transaction adds the place of the message, its keys and its times.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from models.messages import generation_of
from models.statements import Record
from resolvers.formation.rules import Claim, claims_in
from resolvers.inputs import Values
from resolvers.json_values import json_text
from resolvers.operation_context import OperationContext
from resolvers.parts import texts_of
from resolvers.speakers import is_nobodys
from resolvers.times import offset_of

_SENT = ("role", "name", "content", "parts", "tool_calls", "tool_call_id")
"""Columns that a retry must repeat, as first sent."""


class Draft(NamedTuple):
    """A message without its place: every column of the table in its order, and what was found in it.

    `digest` is None for a message without an id, which is never compared.
    """

    columns: Mapping[str, Any]
    message_id: str | None
    digest: bytes | None
    claims: Sequence[Claim]

    def row(self, session: Record, sequence: int, now: str) -> dict[str, Any]:
        """The row of the message at its place in a session."""
        columns = self.columns
        return {
            **columns,
            "session_key": session["key"],
            "sequence": sequence,
            "generation": generation_of(session),
            "created_at": columns["created_at"] or now,
            "updated_at": columns["updated_at"] or now,
        }

    def repeats(self, row: Record) -> bool:
        """Tells whether a message under the same id, or at the same place, is this one."""
        columns = self.columns
        # Most retries repeat what is kept letter by letter, which takes no digest to see.
        is_plain = row["digest"] is None and columns["digest"] is None
        if is_plain and all(row[name] == columns[name] for name in _SENT):
            return True
        return first_sent(row) == self.digest


def draft_of(count_tokens: Callable[[str], int], values: Values, *, forms_memories: bool = True) -> Draft:
    """Makes a message ready whose `values` have no nulls."""
    content = values.get("content", "")
    parts = json_text(values["parts"]) if "parts" in values else None
    calls = json_text(values["tool_calls"]) if "tool_calls" in values else None
    texts = texts_of(content, parts, calls)
    role, name, own, tokens = values["role"], values.get("name"), values.get("message_id"), values.get("token_count")
    created_at = values.get("created_at")
    columns = {
        "session_key": b"",
        "sequence": 0,
        "generation": 0,
        "message_id": own,
        "role": role,
        "name": name,
        "content": content,
        "parts": parts,
        "tool_calls": calls,
        "tool_call_id": values.get("tool_call_id"),
        "parts_text": texts.said,
        "aside": texts.aside,
        "metadata": json_text(values["metadata"]) if "metadata" in values else "{}",
        "token_count": texts.tokens(count_tokens) if tokens is None else tokens,
        "forms_memories": int(forms_memories),
        "digest": None,
        "created_at": created_at,
        "utc_offset": offset_of(created_at),
        "updated_at": None,
        "version": 1,
    }
    # What an export gives a place had its memories formed before.
    is_placed = "sequence" in values
    digest = digest_of({**values, "content": content}) if is_placed or own is not None else None
    claims = claims_of(role, name, texts.own) if forms_memories and not is_placed else ()
    return Draft(columns, own, digest, claims)


def claims_of(role: str, name: str | None, own: str) -> Sequence[Claim]:
    """Returns what rules find in a message by what its speaker says in its own words: only in a user's."""
    return claims_in(own) if role == "USER" and own and not is_nobodys(name) else ()


async def drafts_of(context: OperationContext, batch: Sequence[Values], *, forms_memories: bool = True) -> list[Draft]:
    """Makes a batch of messages ready, aside if the request is large."""

    def make() -> list[Draft]:
        drafts: list[Draft] = []
        for values in batch:
            context.allowance.check()
            drafts.append(draft_of(context.count_tokens, values, forms_memories=forms_memories))
        return drafts

    return await context.prepare(make)


def digest_of(values: Values) -> bytes:
    """Of what a retry must repeat: role, name, content, parts and tool calls as first sent."""
    sent = [values.get(name) for name in _SENT]
    try:
        written = orjson.dumps(sent, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # an integer of more than 64 bits
        written = json.dumps(sent, sort_keys=True, separators=(",", ":")).encode()
    return blake2b(written, digest_size=16).digest()


def first_sent(row: Mapping[str, Any]) -> bytes:
    """The digest of what was first sent of a message; it is only kept of one that was edited since."""
    if row["digest"] is not None:
        return row["digest"]
    given = {name: json.loads(row[name]) for name in ("parts", "tool_calls") if row[name] is not None}
    return digest_of({**{name: row[name] for name in ("role", "name", "content", "tool_call_id")}, **given})
