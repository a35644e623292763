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
from models.rows import MessageRow, SessionRow
from models.values import Time, value_of
from resolvers.formation.rules import Claim, claims_in
from resolvers.inputs import Values, content, integer_rule, json_rule, key_rule, text
from resolvers.nouns import CREATED_AT, METADATA, MOST, UPDATED_AT, VERSION, Attribute, Derived, Internal, Noun, stamped
from resolvers.operation_context import OperationContext
from resolvers.parts import texts_of
from resolvers.speakers import is_nobodys
from resolvers.times import offset_of

MESSAGE = Noun(
    "Message",
    Internal("session_key", type="key"),
    Internal("sequence", integer_rule(1, MOST), type="integer", default=0, exported=True),
    Internal("generation", type="integer"),
    Attribute("message_id", key_rule, fixed=True),
    Attribute("role", fixed=True),
    Attribute("name", text, fixed=True),
    Attribute("content", content, default="", required=True),
    Attribute("parts", json_rule, type="json"),
    Attribute("tool_calls", json_rule, type="json"),
    Attribute("tool_call_id", text, fixed=True),
    # The texts of a message are read together: see `draft_of`.
    Internal("parts_text"),
    Internal("aside"),
    METADATA,
    Attribute("token_count", integer_rule(0), type="integer"),
    Internal("forms_memories", type="integer", default=1),
    Internal("digest", type="key", exported=True),
    CREATED_AT,
    Derived("utc_offset", offset_of, of=("created_at",), type="integer", kept=True),
    UPDATED_AT,
    VERSION,
    references={"project": key_rule, "session_id": key_rule},
)
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

    def row(self, session: SessionRow, sequence: int, now: Time) -> MessageRow:
        """The row of the message at its place in a session."""
        generation = generation_of(session)
        return stamped(
            MessageRow, self.columns, now, session_key=session["key"], sequence=sequence, generation=generation
        )

    def repeats(self, row: MessageRow) -> bool:
        """Tells whether a message under the same id, or at the same place, is this one."""
        columns = self.columns
        # Most retries repeat what is kept letter by letter, which takes no digest to see.
        is_plain = row["digest"] is None and columns["digest"] is None
        if is_plain and all(row[name] == columns[name] for name in _SENT):
            return True
        return first_sent(row) == self.digest


def draft_of(count_tokens: Callable[[str], int], values: Values, *, forms_memories: bool = True) -> Draft:
    """Makes a message ready whose `values` have no nulls."""
    columns = MESSAGE.new(values)
    texts = texts_of(columns["content"], columns["parts"], columns["tool_calls"])
    columns["parts_text"], columns["aside"], columns["forms_memories"] = texts.said, texts.aside, int(forms_memories)
    if columns["token_count"] is None:
        columns["token_count"] = texts.tokens(count_tokens)
    own = columns["message_id"]
    # What an export gives a place had its memories formed before.
    is_placed = "sequence" in values
    digest = digest_of({**values, "content": columns["content"]}) if is_placed or own is not None else None
    claims = claims_of(columns["role"], columns["name"], texts.own) if forms_memories and not is_placed else ()
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
    given = {name: value_of(row[name]) for name in ("parts", "tool_calls") if row[name] is not None}
    return digest_of({**{name: row[name] for name in ("role", "name", "content", "tool_call_id")}, **given})
