"""Before messages are deleted or edited: the memories that rest on them go, or do without them.

Nobody can tell which words of a memory that a model wrote came from which of its sources. So it is removed, and the
model reads the other sources again.
"""

from collections import defaultdict
from collections.abc import Sequence

from models.formation import memories_quoting
from models.locks import hold_memories_of_session
from models.memories import remove_memories, sources_of_memories
from models.rows import MemoryRow, MessageRow
from models.sessions import sessions_by_key
from models.sources import Sources, forget_sources
from models.store import Transaction
from resolvers.formation.formation import forget_lines
from resolvers.formation.jobs import enqueue_again
from resolvers.operation_context import OperationContext


async def forget(
    write: Transaction, context: OperationContext, rows: Sequence[MessageRow], *, edited: bool = False
) -> None:
    """Removes the memories and summaries derived from these messages of one session; with `edited` they stay, and are
    read again."""
    await hold_memories_of_session(write, context.scope, rows[0]["session_key"])
    sequences = {row["sequence"] for row in rows}
    quoting = await memories_quoting(write, context.scope, rows)
    await forget_lines(write, context, (row for row in quoting if row["method"] == "EXTRACTIVE"), sequences)
    # The application vouches for the content of a memory that it corrected.
    written = [row for row in quoting if row["method"] == "MODEL" and row["corrected_at"] is None]
    if written:
        gone = () if edited else [(rows[0]["session_key"], sequence) for sequence in sequences]
        await _form_again(write, context, written, set(gone))
    await forget_sources(write, Sources.of_messages(rows), formed_only=edited)


async def _form_again(
    write: Transaction, context: OperationContext, written: Sequence[MemoryRow], gone: set[tuple[bytes, int]]
) -> None:
    """Removes memories; if there is a model, it reads their sources again, apart from messages that are gone."""
    # A superseded one would come back as if it still held.
    standing = [row for row in written if row["superseded_from"] is None]
    left: defaultdict[bytes, set[int]] = defaultdict(set)
    for source in await sources_of_memories(write, standing) if context.asks_model else ():
        place = source["session_key"], source["sequence"]
        if place not in gone:
            left[place[0]].add(place[1])
    await remove_memories(write, written)
    for session in await sessions_by_key(write, context.scope, list(left)) if left else ():
        if session is not None:
            await enqueue_again(write, context, session, left[session["key"]])
