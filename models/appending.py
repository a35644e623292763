"""Appends messages without reading first: in one statement, which is a transaction by itself, where transactions run at
the same time; elsewhere in two, of the session and of its messages.

It is for the frequent case: a session of which only the counters change. For any other it changes nothing, and the
usual transaction follows, which reads first.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from itertools import count
from typing import Any, ClassVar, cast

from sqlalchemy import (
    TIMESTAMP,
    ColumnElement,
    Interval,
    bindparam,
    case,
    func,
    insert,
    or_,
    select,
    type_coerce,
    update,
)

from models.columns import Flag, Number
from models.expressions import CrossJoin, bound_rows, is_in_project
from models.keys import NONCE_BITS, session_key
from models.messages import generation_of, message_table
from models.rows import MessageRow, SessionRow
from models.scope import Scope, of_viewer
from models.sessions import summary_is_due, users_choice
from models.statements import Statement
from models.store import Transaction
from models.tables import messages, sessions
from models.values import Time, datetime_of, time_of


class Stored(dict[str, Any]):
    """A message's row as the statement stores it: the database need not send the texts back."""

    noun: ClassVar[str] = "Message"


AHEAD = timedelta(seconds=2)
"""If the session's last activity is later than the messages by less than this, somebody else was faster. If by more, it
has another reason, such as a wrong clock."""

_PLACED = ("session_key", "sequence", "generation", "forms_memories")
"""The columns of a message that depend on its session."""
_EMPTY: Mapping[str, Any] = dict.fromkeys(column.name for column in messages.columns)
_GIVEN = [column.name for column in messages.columns if column.name not in _PLACED]

_Moment = TIMESTAMP(timezone=True)
_count = bindparam("count", type_=Number)
_choice = bindparam("choice", type_=Flag)
_last = sessions.c.last_sequence + _count
_now = bindparam("now", type_=_Moment)
# While it waited for the session, messages with later times may have come first: then these are moved behind them.
_late = type_coerce(sessions.c.last_activity_at, _Moment) - bindparam("since", type_=_Moment)
_growing = (
    update(sessions)
    .where(
        sessions.c.key == bindparam("key"),
        is_in_project(sessions),
        of_viewer(sessions.c.user_key),
        sessions.c.deleted_at.is_(None),
        sessions.c.ended_at.is_(None),
        or_(_choice.is_(False), ~summary_is_due(sessions.c.last_sequence, _last)),
    )
    .values(last_sequence=_last)
    .returning(
        *sessions.columns,
        func.coalesce(_choice, sessions.c.form_memories, users_choice, bindparam("setting", type_=Flag)).label("forms"),
    )
)
_changed = (
    _growing.where(_late < AHEAD)
    .values(last_activity_at=_now + func.greatest(_late, timedelta(), type_=Interval()))
    .cte("changed")
)


@lru_cache(maxsize=64)
def _appending(names: tuple[str, ...] = ("updated_at",)) -> Statement[SessionRow]:
    """The statement for messages with values in these columns: most have none in most columns.

    On SQLite it changes the session alone, whatever the columns are.
    """
    given = bound_rows("given", [messages.c[name] for name in names])
    moved = type_coerce(given.c.updated_at, _Moment) + (type_coerce(_changed.c.last_activity_at, _Moment) - _now)
    values: dict[str, ColumnElement[Any]] = {
        "session_key": _changed.c.key,
        "sequence": _changed.c.last_sequence - _count + given.c.number,
        "generation": _changed.c.nonce * 2**NONCE_BITS + _changed.c.deleted_through,
        "forms_memories": case((_changed.c.forms, 1), else_=0),
        **{name: given.c[name] for name in names},
        "updated_at": moved,
        "created_at": func.coalesce(given.c.created_at, moved) if "created_at" in names else moved,
    }
    rows = select(*values.values()).select_from(CrossJoin(_changed, given))
    added = insert(messages).from_select(list(values), rows).cte("added")
    alone = _growing.values(last_activity_at=bindparam("now", type_=sessions.c.last_activity_at.type))
    return Statement(alone, SessionRow, others={"postgres": select(_changed).add_cte(added)})


async def append_at_once(
    write: Transaction,
    scope: Scope,
    session_id: str,
    rows: Sequence[Mapping[str, Any]],
    times: Sequence[Time],
    *,
    choice: bool | None,
    setting: bool,
) -> tuple[SessionRow, list[MessageRow]] | None:
    """Appends messages, which lack their place and times, to a session of the scope; returns it and their rows.

    `times` has one for each, and one after them. Memories may be formed of them by `choice`, else by that of the
    session, of its user, or by the `setting`. Returns None, and changes nothing, if the session is unknown, deleted,
    ended, or due for a summary.
    """
    values: dict[str, Any] = {**scope.values, "key": session_key(scope.project, session_id), "now": times[-1]}
    values |= {"choice": choice, "setting": setting, "count": len(rows)}
    if write.runs_alone:
        found = await write.fetch(_appending(), values)
    else:
        columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in _GIVEN}
        columns["updated_at"] = list(times[:-1])
        names = tuple(name for name, column in columns.items() if column.count(None) < len(rows))
        values |= {f"given_{name}": columns[name] for name in names} | {"since": times[0]}
        found = await write.fetch(_appending(names), values)
    if not found:
        return None
    session: Any = found[0]
    stored = _stored(session, rows, times)
    if write.runs_alone:
        stored = await message_table.insert_many(write, stored)
    write.changed(sessions.name, session, session)
    return session, stored


def _stored(session: Any, rows: Sequence[Mapping[str, Any]], times: Sequence[Time]) -> list[MessageRow]:
    """The rows as the statement has stored them."""
    if session["last_activity_at"] != times[-1]:
        delay = datetime_of(session["last_activity_at"]) - datetime_of(times[-1])
        times = [time_of(datetime_of(time) + delay) for time in times]
    place = {"session_key": session["key"], "generation": generation_of(session)}
    place["forms_memories"] = int(session["forms"])
    first = session["last_sequence"] - len(rows) + 1
    return [
        cast(
            MessageRow,
            Stored({**_EMPTY, **row, **place}, sequence=n, created_at=row["created_at"] or time, updated_at=time),
        )
        for n, row, time in zip(count(first), rows, times, strict=False)
    ]
