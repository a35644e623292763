"""Clones of sessions: a copy of a conversation up to a message, to go on from there in another way.

A clone has the messages and the attributes of its source, but none of its memories, and forms none of the messages
that it copies. The writer is held while they are copied, so that a clone has a limit, and is measured before.
"""

from uuid import uuid4

from models.agents import agents_by_key
from models.clones import copy_messages, first_over, last_of
from models.rows import SessionRow
from models.sessions import session_by_id, session_table
from models.store import Transaction
from resolvers.errors import Refused, refuse
from resolvers.inputs import Values, check, created, integer_rule, key_rule
from resolvers.nouns import Attribute
from resolvers.operation_context import OperationContext
from resolvers.sessions import SESSION, References, find_session, session_row

LARGEST_CLONE = 5_000
"""Most messages of a clone, deleted ones included: copying and committing them takes up to 100 ms."""
CLONE_CHARACTERS = 4 * 1024 * 1024
"""Most characters in all texts of the messages of a clone: a million takes about 20 ms."""

_COPIED = [name for name, column in SESSION.columns.items() if isinstance(column, Attribute) and not column.fixed]


async def clone_session(context: OperationContext, given: Values) -> SessionRow:
    values = created(given)
    check(values, {"session_id": key_rule, "new_session_id": key_rule, "through_sequence": integer_rule(1)})
    new_id = values.get("new_session_id") or str(uuid4())
    through = await _end_of(context, values)

    async def operation(write: Transaction) -> SessionRow:
        source = await find_session(write, context, values["session_id"])
        if await session_by_id(write, context.scope.whole_project, new_id) is not None:
            # Not even onto a deleted one: its sequence goes on, while a clone keeps that of its messages.
            message = "A session with this sessionId exists, or was deleted and not yet purged; choose another key."
            raise refuse("ALREADY_EXISTS", message, "newSessionId")
        if source["agent_key"] is not None:
            # It has to stay, as for any new session of it.
            await agents_by_key(write, context.scope.whole_project, [source["agent_key"]])
        row = _clone_of(context, source, new_id, await last_of(write, source, through))
        clone = await session_table.insert(write, row)
        await copy_messages(write, source, clone)
        return clone

    return await context.write(operation)


async def _end_of(context: OperationContext, values: Values) -> int:
    """The sequence up to which messages are copied; refuses what is too much for one transaction."""
    source = await find_session(context.read, context, values["session_id"])
    last, first = source["last_sequence"], source["deleted_through"] + 1
    through = values.get("through_sequence", last)
    if through > last:
        message = f"The session's last message has the sequence {last}; give at most that, or leave it out."
        raise refuse("INVALID", message, "throughSequence")
    if through - first >= LARGEST_CLONE:
        raise _too_large(f"{LARGEST_CLONE:,} messages, deleted ones included", first + LARGEST_CLONE - 1)
    over = await first_over(context.read, source, through, CLONE_CHARACTERS)
    if over is not None:
        raise _too_large(f"{CLONE_CHARACTERS:,} characters of text", over - 1)
    return through


def _too_large(limit: str, through: int) -> Refused:
    message = f"A clone takes at most {limit}; give `throughSequence: {through}` or less."
    return refuse("TOO_LARGE", message, "throughSequence")


def _clone_of(context: OperationContext, source: SessionRow, new_id: str, last: int) -> SessionRow:
    """The row of the clone. The messages of the source that went with an earlier deletion are missing in it as well."""
    kept = dict(source)
    columns = SESSION.new({"session_id": new_id}) | {name: kept[name] for name in _COPIED}
    columns |= {"last_sequence": last, "deleted_through": source["deleted_through"] if last else 0}
    owners: References = {
        "user_key": source["user_key"],
        "user_ascending": source["user_ascending"],
        "user_descending": source["user_descending"],
        "agent_key": source["agent_key"],
    }
    return session_row(context, columns, context.clock.now(), owners)
