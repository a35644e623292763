"""Imports messages: a run of lines of one session at a time."""

import json
from collections import Counter
from dataclasses import replace
from typing import Any

from models.keys import message_id_hash
from models.memories import withhold_of_message
from models.messages import (
    deleted_ids,
    deleted_sequences,
    message_table,
    messages_at,
    messages_by_message_id,
    messages_by_sequence,
)
from models.rows import MessageRow, SessionRow
from models.sessions import owned_by, session_table, session_to_extend
from models.store import Transaction
from resolvers.archive.entries import Collision, MessageEntry, hex_of
from resolvers.drafts import Draft, first_sent
from resolvers.messages import append, decided, form
from resolvers.operation_context import OperationContext
from resolvers.sessions import SESSION, session_row


async def add_messages(write: Transaction, context: OperationContext, entries: list[MessageEntry]) -> int:
    """Adds the messages of one session that do not exist and were not deleted since; returns their number."""
    line = entries[0].line
    session, choice = await session_to_extend(write, context.scope, line["session_id"])
    if session is None:
        columns = SESSION.new({"session_id": line["session_id"]})
        row = session_row(context, columns, context.clock.now(), owned_by(None))
        session = await session_table.insert(write, row)
    add = _add_placed if "sequence" in line else _append
    before = session["last_activity_at"]
    count, session = await add(write, context, session, entries, forms=decided(context, choice))
    activity = entries[0].activity
    if count and activity is not None:
        await session_table.update(write, session, {"last_activity_at": max(activity, before)})
    return count


async def _add_placed(
    write: Transaction, context: OperationContext, session: SessionRow, entries: list[MessageEntry], *, forms: bool
) -> tuple[int, SessionRow]:
    """Adds messages with an exported sequence; forms no memories from them, since the export has those too."""
    if session["deleted_at"] is not None:
        return 0, session
    sequences = [entry.line["sequence"] for entry in entries]
    gone = await deleted_sequences(write, session, sequences)
    places = [(session["key"], sequence) for sequence in sequences]
    there = await messages_by_sequence(write, context.scope, places)
    stored: dict[int, MessageRow | None] = dict(zip(sequences, there, strict=True))
    known = await messages_by_message_id(write, session, _ids(entries))
    rows: list[MessageRow] = []
    for entry in entries:
        line, sequence, own = entry.line, entry.line["sequence"], entry.line.get("message_id")
        # Messages deleted since the export stay deleted.
        if sequence in gone or sequence <= session["deleted_through"]:
            continue
        if (other := stored.get(sequence)) is not None:
            if entry.draft.repeats(other):
                continue
            raise _collision(entry, session, other, "sequence")
        if own is not None and own in known:
            raise _collision(entry, session, known[own], "messageId")
        row = entry.draft.row(session, sequence, context.clock.now(), forms=forms)
        stored[sequence] = row
        if own is not None:
            known[own] = row
        rows.append(row)
    new = {row["sequence"] for row in rows}
    if rows:
        await message_table.insert_many(write, rows)
        for line in [entry.line for entry in entries if "withheld_memories" in entry.line]:
            if line["sequence"] in new:
                said = [hex_of({"withheld_memories": hash}, "withheld_memories") for hash in line["withheld_memories"]]
                await withhold_of_message(write, session, line["sequence"], said)
        last = max(session["last_sequence"], *new)
        session = await session_table.update(write, session, {"last_sequence": last})
    return len(rows), session


async def _append(
    write: Transaction, context: OperationContext, session: SessionRow, entries: list[MessageEntry], *, forms: bool
) -> tuple[int, SessionRow]:
    """Appends messages without a sequence, and forms memories from them one by one, as if they were new."""
    gone = await deleted_ids(write, session, [message_id_hash(entry.line["message_id"]) for entry in entries])
    known = await messages_by_message_id(write, session, _ids(entries))
    said = await _said_already(write, session, [entry for entry in entries if entry.line["message_id"] not in known])
    fresh: dict[str, Draft] = {}
    for entry in entries:
        own, draft = entry.line["message_id"], entry.draft
        if own in known:
            if not draft.repeats(known[own]):
                raise _collision(entry, session, known[own], "messageId")
        elif own in fresh:
            if draft.digest != fresh[own].digest:
                raise _collision(entry, session, None, "messageId")
        elif (
            message_id_hash(own) not in gone and not 0 < entry.alike <= said[entry.line.get("created_at"), draft.digest]
        ):
            fresh[own] = draft
    if not fresh:
        return 0, session
    added = await append(write, context, session, list(fresh.values()), forms=forms, even_ended=True)
    for row in [row for row in added.new if row["forms_memories"]]:
        # The session as of this message, so that the formed memories do not depend on the batches of lines.
        said_by_then = {**added.session, "last_sequence": row["sequence"]}
        await form(write, context, replace(added, session=said_by_then, messages=[row], new=[row]))
    return len(fresh), added.session


async def _said_already(
    write: Transaction, session: SessionRow, entries: list[MessageEntry]
) -> Counter[tuple[Any, bytes | None]]:
    """The number of the session's messages equal to each of these lines, with the same time."""
    moments = list({entry.line["created_at"] for entry in entries if entry.alike})
    if not moments or session["last_sequence"] == session["deleted_through"]:
        return Counter()
    return Counter((row["created_at"], first_sent(row)) for row in await messages_at(write, session, moments))


def _ids(entries: list[MessageEntry]) -> list[str]:
    return [entry.line["message_id"] for entry in entries if "message_id" in entry.line]


def _collision(entry: MessageEntry, session: SessionRow, other: Any, name: str) -> Collision:
    """The conflict of a line with an existing message, or with another line of the run."""
    own = entry.line.get("message_id", "")
    if name == "messageId" and not entry.line.get("sequence") and own == f"sequence-{own[9:]}":
        what = f"Another message has this position ({own[9:]}) in the session"
    else:
        what = f"Another message of the session has this {name}"
    session_id = json.dumps(session["session_id"], ensure_ascii=False)
    if other is None:
        return Collision(entry.number, f"{name}: {what.replace('the session', f'the session {session_id}')}")
    text = " ".join(other["content"].split())
    quoted = json.dumps(text if len(text) <= 60 else f"{text[:60]}…", ensure_ascii=False)
    place = f"message {other['sequence']} of session {session_id}, {other['role']} {quoted}"
    return Collision(entry.number, f"{name}: {what}: {place}")
