"""Drafts: messages prepared before the transaction that stores them.

A draft has everything that needs no database: JSON as text, tokens (perhaps by the application's own counter), the
digest for comparisons with a retry, and the claims that rules find. The transaction adds the message's sequence, keys
and times, and the decision to form memories of it where the message and its batch leave that to session and user.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from models.keys import folded_name
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
    Derived("name_folded", folded_name, of=("name",)),
    references={"project": key_rule, "session_id": key_rule},
)
_SENT = ("role", "name", "content", "parts", "tool_calls", "tool_call_id")
"""Columns that a retry must repeat as first sent."""


class Draft(NamedTuple):
    """A message without its sequence: every column of the table in its order, and the claims found in it.

    `digest` is None for a message without an id, which is never compared with a retry. `forms` is the choice of the
    message, else of its batch, to form memories of it.
    """

    columns: Mapping[str, Any]
    message_id: str | None
    digest: bytes | None
    claims: Sequence[Claim]
    forms: bool | None

    def row(self, session: SessionRow, sequence: int, now: Time, *, forms: bool) -> MessageRow:
        """Builds the row of the message at its place in a session; `forms` decides where the draft has no choice."""
        return stamped(
            MessageRow,
            self.columns,
            now,
            session_key=session["key"],
            sequence=sequence,
            generation=generation_of(session),
            forms_memories=int(forms if self.forms is None else self.forms),
        )

    def repeats(self, row: MessageRow) -> bool:
        """True if the stored message with the same id, or at the same place, equals this one."""
        columns = self.columns
        # Most retries repeat the stored message exactly; comparing that needs no digest.
        is_plain = row["digest"] is None and columns["digest"] is None
        if is_plain and all(row[name] == columns[name] for name in _SENT):
            return True
        return first_sent(row) == self.digest


def draft_of(count_tokens: Callable[[str], int], values: Values, *, forms: bool | None = None) -> Draft:
    """Prepares a message whose `values` have no nulls; `forms` is the choice of its batch to form memories."""
    columns = MESSAGE.new(values)
    texts = texts_of(columns["content"], columns["parts"], columns["tool_calls"])
    columns["parts_text"], columns["aside"] = texts.said, texts.aside
    if columns["token_count"] is None:
        columns["token_count"] = texts.tokens(count_tokens)
    own = columns["message_id"]
    # Memories of an exported message with a place were formed before the export.
    is_placed = "sequence" in values
    digest = digest_of({**values, "content": columns["content"]}) if is_placed or own is not None else None
    forms = values.get("form_memories", forms)
    is_read = forms is not False and not is_placed
    claims = claims_of(columns["role"], columns["name"], texts.own) if is_read else ()
    return Draft(columns, own, digest, claims, forms)


def claims_of(role: str, name: str | None, own: str) -> Sequence[Claim]:
    """The claims that rules find in the speaker's own words; only in a user's message."""
    return claims_in(own) if role == "USER" and own and not is_nobodys(name) else ()


async def drafts_of(context: OperationContext, batch: Sequence[Values], *, forms: bool | None = None) -> list[Draft]:
    """Prepares a batch of messages, in a thread if the request is large."""

    def make() -> list[Draft]:
        drafts: list[Draft] = []
        for values in batch:
            context.allowance.check()
            drafts.append(draft_of(context.count_tokens, values, forms=forms))
        return drafts

    return await context.prepare(make)


def digest_of(values: Values) -> bytes:
    """The digest of the fields that a retry must repeat: role, name, content, parts and tool calls as first sent."""
    sent = [values.get(name) for name in _SENT]
    try:
        written = orjson.dumps(sent, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # an integer of more than 64 bits
        written = json.dumps(sent, sort_keys=True, separators=(",", ":")).encode()
    return blake2b(written, digest_size=16).digest()


def first_sent(row: Mapping[str, Any]) -> bytes:
    """The digest of a message as first sent; only an edited message stores it."""
    if row["digest"] is not None:
        return row["digest"]
    given = {name: value_of(row[name]) for name in ("parts", "tool_calls") if row[name] is not None}
    return digest_of({**{name: row[name] for name in ("role", "name", "content", "tool_call_id")}, **given})
