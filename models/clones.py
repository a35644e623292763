"""Statements that copy the messages of a session into another one."""

from collections.abc import Mapping
from typing import Any, TypedDict

from sqlalchemy import BindParameter, ColumnElement, Table, bindparam, func, insert, null, select

from models.columns import Key, Number
from models.messages import Sequenced, generation_of
from models.rows import SessionRow
from models.statements import Statement
from models.store import Reader, Transaction
from models.tables import deleted_messages, messages, withheld_memories


class Range(TypedDict):
    """The messages of a session above one sequence, up to another."""

    session: bytes
    floor: int
    through: int


def _in_range(table: Table) -> list[ColumnElement[bool]]:
    return [
        table.c.session_key == bindparam("session", type_=Key),
        table.c.sequence > bindparam("floor", type_=Number),
        table.c.sequence <= bindparam("through", type_=Number),
    ]


_new_key: BindParameter[Any] = bindparam("new_key", type_=Key)


def _copy(table: Table, **changed: ColumnElement[Any]) -> Statement[Any]:
    """Copies the rows of a range with another session's key, and with these columns changed."""
    values: Mapping[str, ColumnElement[Any]] = {"session_key": _new_key, **changed}
    columns = [values.get(column.name, column) for column in table.columns]
    rows = select(*columns).where(*_in_range(table)).order_by(table.c.sequence)
    return Statement(insert(table).from_select([column.name for column in table.columns], rows))


_copies = [
    _copy(messages, generation=bindparam("generation", type_=Number)),
    _copy(withheld_memories),
    # Without the hashes: what was deleted may be said anew.
    _copy(deleted_messages, message_id_hash=null()),
]
_last = Statement(select(func.max(messages.c.sequence).label("sequence")).where(*_in_range(messages)), Sequenced)

_texts = (messages.c.content, messages.c.parts, messages.c.tool_calls, messages.c.parts_text, messages.c.aside)
_characters = sum((func.coalesce(func.length(text), 0) for text in _texts), func.length(messages.c.metadata))
_sizes = (
    select(messages.c.sequence, func.sum(_characters).over(order_by=messages.c.sequence).label("size"))
    .where(*_in_range(messages))
    .subquery("sizes")
)
# Not ordered: the sums come in the order of sequences, and SQLite stops at the first one that is too large.
_first_over = Statement(
    select(_sizes.c.sequence).where(_sizes.c.size > bindparam("most", type_=Number)).limit(1), Sequenced
)


def range_of(session: SessionRow, through: int) -> Range:
    return {"session": session["key"], "floor": session["deleted_through"], "through": through}


async def first_over(read: Reader, session: SessionRow, through: int, characters: int) -> int | None:
    """The first message of a session with which its texts have more characters than these; None if all fit."""
    found = await read.fetch(_first_over, {**range_of(session, through), "most": characters}, slowly=True)
    return found[0]["sequence"] if found else None


async def last_of(read: Reader, session: SessionRow, through: int) -> int:
    """The sequence of a session's last message up to this one; 0 if there is none."""
    return (await read.fetch(_last, {**range_of(session, through)}))[0]["sequence"] or 0


async def copy_messages(write: Transaction, source: SessionRow, clone: SessionRow) -> None:
    """Copies the messages up to the last one of the clone, the gaps that deleted ones have left, and what is not to be
    formed of them again."""
    values = {**range_of(source, clone["last_sequence"]), "new_key": clone["key"], "generation": generation_of(clone)}
    for statement in _copies:
        await write.execute(statement, values, slowly=True)
