"""Memory formation without a model: claims that rules find in a user's messages, and extractive summaries.

It runs in the transaction that adds the messages. A statement on a subject ends the one before it, by when they were
said and not by when they came; a summary replaces the one before it, but never one that was declared or that a model
wrote.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from models.formation import (
    add_source,
    formed_in,
    memories_around,
    memories_naming,
    memory_like,
    names_of_sources,
    ordered_sources,
)
from models.keys import fingerprint
from models.locks import hold_memories
from models.memories import NEUTRAL, is_withheld, memories_by_key, memory_table, standing_summaries
from models.messages import latest_messages
from models.rows import MemoryRow, MessageRow, SessionRow
from models.sessions import SUMMARY_EVERY, change_owner
from models.store import Transaction
from models.users import users_by_key
from resolvers.formation.dates import local_day
from resolvers.formation.extracts import Line, choose, sentences_of
from resolvers.formation.rules import Claim, ends
from resolvers.memory_rows import (
    MEMORY,
    Owner,
    about_columns,
    digest_of,
    insert_sources,
    memory_row,
    message_sources,
    remove_memory,
    supersede,
)
from resolvers.operation_context import OperationContext
from resolvers.parts import said_in
from resolvers.speakers import Speakers, is_users_own, speaker_among, speaker_of, speakers_of
from resolvers.updates import revise

LEAST_SUMMARISED = 4
"""Sentences that a conversation must have to be summarised at its end."""
_READ_AT_FIRST = 200
_MACHINE = "Assistant: "
_RULES = ("RULE", "EXTRACTIVE")


Claims = Mapping[int, Sequence[Claim]]
"""Claims that rules found in messages before the transaction, by sequence; most messages have none."""


async def form_by_rules(
    write: Transaction, context: OperationContext, session: SessionRow, rows: Iterable[MessageRow], claims: Claims
) -> list[MemoryRow]:
    """Forms the memories of these messages, each once, in the order of the messages."""
    formed: dict[bytes, MemoryRow] = {}
    speakers: Speakers | None = None
    for row in rows if claims else ():
        found = claims.get(row["sequence"])
        if not found:
            continue
        if speakers is None:
            await hold_memories(write, context.scope, user=session["user_key"])
            speakers = await speakers_of(write, context.scope, session, session["user_key"])
        about = speakers.about(row["name"])
        for claim in found:
            values = {"method": "RULE", "kind": claim.kind, "subject": claim.subject, "content": claim.content}
            values |= {"about": about, "valid_from": row["created_at"], "rating": NEUTRAL}
            memory = await keep_formed(write, context, session, values, [row["sequence"]])
            if memory is not None:
                formed[memory["key"]] = memory
    if len(formed) < 2:
        return list(formed.values())
    # One may have ended another.
    return [row for row in await memories_by_key(write, context.scope, list(formed)) if row is not None]


async def keep_formed(
    write: Transaction, context: OperationContext, session: SessionRow, values: dict[str, Any], sequences: Sequence[int]
) -> MemoryRow | None:
    """Forms a memory of a session's messages, or returns the existing one with the same content; None if the
    application declared it itself, or has withheld it."""
    now = context.clock.now()
    row = memory_row(context, MEMORY.new(values), Owner.of_session(session), now)
    if await is_withheld(write, session, sequences, row["fingerprint"]):
        return None
    known = await memory_like(write, context.scope, row, now)
    if known is not None:
        if known["method"] == "DECLARED":
            return None
        for sequence in sequences:
            await add_source(write, known, session["key"], sequence)
        return known
    ended, after = await _neighbours(write, context, row)
    if after is not None:
        # It was said before what is known by now: it held until then.
        start = after["valid_from"] or after["created_at"]
        row["superseded_by"] = after["key"]
        row["superseded_from"] = row["valid_until"] = start
    kept = await memory_table.insert(write, row)
    await insert_sources(write, kept, message_sources(session, sequences))
    for older in ended:
        await _end(write, context, older, kept)
    return kept


async def give_session(write: Transaction, context: OperationContext, session: SessionRow, user: bytes | None) -> None:
    """Merges the memories formed from a session into those of its new owner."""
    for owner in (session["user_key"], user):
        await hold_memories(write, context.scope, user=owner)
    await change_owner(write, context.scope, session, user)
    formed = await formed_in(write, context.scope, session)
    await _tell_apart(write, context, session, user, formed)
    for key in [row["key"] for row in formed]:
        # Read anew: one that came before may have ended it.
        row = (await memories_by_key(write, context.scope, [key]))[0]
        if row is not None:
            await _place(write, context, row)


async def _tell_apart(
    write: Transaction, context: OperationContext, session: SessionRow, user: bytes | None, formed: Sequence[MemoryRow]
) -> None:
    """Determines again, by the names in the messages, which memories are about the owner; others keep their name."""
    speakers = await speakers_of(write, context.scope, session, user)
    named = await names_of_sources(write, session)
    for row in formed:
        told = [speakers.about(name) for name in named.get(row["key"], ())]
        about = speaker_among(told or [speakers.about(row["about"])], row["about"])
        await revise(write, memory_table, row, about_columns(about), context.clock.now())


async def _place(write: Transaction, context: OperationContext, row: MemoryRow) -> None:
    """A memory that got another owner is one with what says the same, or ends what it supersedes, or is ended."""
    if row["superseded_from"] is None and row["valid_until"] is None:
        known = await memory_like(write, context.scope, row, context.clock.now())
        if known is not None:
            if known["method"] != "DECLARED":
                for place in await ordered_sources(write, row):
                    if place["session_key"] is not None and place["sequence"] is not None:
                        await add_source(write, known, place["session_key"], place["sequence"])
            await remove_memory(write, row)
            return
    await _settle(write, context, row)


async def _settle(write: Transaction, context: OperationContext, row: MemoryRow) -> None:
    """Ends what a memory supersedes among those of its owner, and the memory where a later one supersedes it."""
    ended, after = await _neighbours(write, context, row)
    if after is not None:
        await _end(write, context, row, after)
    for older in ended:
        await _end(write, context, older, row)


async def _neighbours(
    write: Transaction, context: OperationContext, row: Mapping[str, Any]
) -> tuple[list[MemoryRow], MemoryRow | None]:
    """The memories on its subject that one formed by a rule ends, and the one that ends it."""
    subject, content = row["subject"], row["content"]
    if row["method"] != "RULE" or subject is None:
        return [], None
    before, after = await memories_around(write, context.scope, row)
    ended = [older for older in before if ends(content, older["content"], subject)]
    return ended, next((newer for newer in after if ends(newer["content"], content, subject)), None)


async def _end(write: Transaction, context: OperationContext, older: MemoryRow, newer: MemoryRow) -> None:
    """The older memory ends where the newer begins, also if until now one that begins later still had ended it."""
    start = newer["valid_from"] or newer["created_at"]
    # One that something else has ended by then has nothing to do with this.
    if older["superseded_from"] is not None and older["superseded_from"] <= start:
        return
    wanted = {"superseded_by": newer["key"], "superseded_from": start}
    # Unless the application has said itself until when it was true.
    if older["valid_until"] in (None, older["superseded_from"]):
        wanted["valid_until"] = start
    await revise(write, memory_table, older, wanted, context.clock.now())


async def formed_of(write: Transaction, context: OperationContext, rows: Sequence[MessageRow]) -> list[MemoryRow]:
    """The memories formed from messages that were stored before, for the answer to a retry."""
    found = await memories_naming(write, context.scope, rows, _RULES)
    return [memory for memory in found if memory["deleted_at"] is None]


async def summarise(
    write: Transaction, context: OperationContext, session: SessionRow, *, added: int = 0
) -> MemoryRow | None:
    """A new extractive summary of a session, given the number of its new messages; None if it has no sentences."""
    await hold_memories(write, context.scope, user=session["user_key"])
    standing = await standing_summaries(write, context.scope, owner=("session", session["key"]))
    if any(summary["method"] != "EXTRACTIVE" for summary in standing):
        return None
    former = [line for summary in standing for line in await _lines(write, summary)]
    rows = await latest_messages(write, session, max(SUMMARY_EVERY, added) if former else _READ_AT_FIRST)
    said = await _said(write, context, session, rows)
    if len(said) < LEAST_SUMMARISED:
        return None
    known = {line.sequence for line in former}
    length = session["last_sequence"] - session["deleted_through"]
    lines = choose([*former, *(line for line in said if line.sequence not in known)], length)
    content = "\n".join(line.text for line in lines)
    if not content or any(summary["content"] == content for summary in standing):
        return None
    values = {"kind": "SUMMARY", "method": "EXTRACTIVE", "content": content, "rating": NEUTRAL}
    owner = Owner.of_session(session)
    row = memory_row(context, MEMORY.new(values), owner, context.clock.now())
    kept = await memory_table.insert(write, row)
    await insert_sources(write, kept, message_sources(session, [line.sequence for line in lines]))
    await supersede(write, context, kept, standing)
    return kept


async def _said(
    write: Transaction, context: OperationContext, session: SessionRow, rows: Sequence[MessageRow]
) -> list[Line]:
    """The sentences that people and models said, with their speakers, unless all are the user's own."""
    spoken = [row for row in rows if row["role"] in ("USER", "ASSISTANT")]
    user = (await users_by_key(write, context.scope, [session["user_key"]]))[0] if session["user_key"] else None
    is_told_apart = any(not is_users_own(row["role"], row["name"]) for row in spoken)
    return [
        line._replace(
            speaker=speaker_of(row, user) if is_told_apart else None,
            day=local_day(row["created_at"], row["utc_offset"]),
            is_machine=row["role"] == "ASSISTANT" and not row["name"],
        )
        for row in spoken
        if row["forms_memories"]
        for line in sentences_of(row["sequence"], said_in(row))
    ]


async def _lines(write: Transaction, summary: MemoryRow) -> list[Line]:
    """The sentences of an extractive summary: a line for each source."""
    sequences = [place["sequence"] or 0 for place in await ordered_sources(write, summary)]
    texts = summary["content"].split("\n")
    # The application may have changed it: then nobody knows whose its words are.
    if len(texts) != len(sequences):
        return []
    return [
        Line(sequence, text, is_machine=text.startswith(_MACHINE), former=True)
        for sequence, text in zip(sequences, texts, strict=True)
    ]


async def forget_lines(
    write: Transaction, context: OperationContext, summaries: Iterable[MemoryRow], gone: Set[int]
) -> None:
    """Removes the lines that quote these messages from extractive summaries, and a summary without its last line."""
    for summary in summaries:
        lines = await _lines(write, summary)
        content = "\n".join(line.text for line in lines if line.sequence not in gone)
        if lines and not content:
            await remove_memory(write, summary)
        # If the application has rewritten the summary, its text stays; the sources are removed all the same.
        if not content:
            continue
        changed = {"content": content, "fingerprint": fingerprint(content)}
        changed["digest"] = digest_of(summary["kind"], content)
        await revise(write, memory_table, summary, changed, context.clock.now())
