"""Statements for forming memories: existing memories, and the messages that are their sources.

Memories belong to a user, or to a session without one: `owner` is a row with both keys. Memories with the same content
or subject are only compared if they are about the same speaker.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from sqlalchemy import ColumnElement, FromClause, Integer, bindparam, case, exists, func, or_, select, union_all

from models.columns import Number
from models.expressions import CrossJoin, each_of, in_checked_project
from models.memories import source_table
from models.rows import MemoryRow, MemorySourceRow, MessageRow, SessionRow
from models.scope import Scope
from models.statements import Statement
from models.store import Reader, Transaction
from models.tables import memories, memory_sources, messages


class SessionOwner(TypedDict):
    """The keys of a session's user and of the session, one of which owns its memories."""

    user_key: bytes | None
    session_key: bytes


class OrderedSource(TypedDict):
    """A source's position and, for a message, its session and sequence."""

    position: int
    session_key: bytes | None
    sequence: int | None


class SourceName(TypedDict):
    """The name in a message that is a source of a memory."""

    memory_key: bytes
    name: str | None


class Room(TypedDict):
    """The numbers of a memory's sources and of those that are a given message, and the next position."""

    sources: int
    position: int
    there: int


SOURCES_OF_MEMORY = 100
"""Most sources of a formed memory: further repetitions add no certainty."""

AROUND = 8
"""Memories on a subject that are read on either side of a new one: more than one, since one that denies another object
ends nothing."""

_live = memories.c.deleted_at.is_(None)
_since = func.coalesce(memories.c.valid_from, memories.c.created_at)


def is_open(rows: FromClause) -> ColumnElement[bool]:
    """The condition that nothing has ended a memory by `now`."""
    return (
        rows.c.superseded_from.is_(None)
        & or_(rows.c.valid_until.is_(None), rows.c.valid_until > bindparam("now"))
        & or_(rows.c.expires_at.is_(None), rows.c.expires_at > bindparam("now"))
    )


def _of(*, user: bool) -> list[ColumnElement[bool]]:
    own = [memories.c.user_key == bindparam("user")]
    return (own if user else [memories.c.user_key.is_(None), memories.c.session_key == bindparam("session")]) + [_live]


_of_speaker = memories.c.about_folded.is_not_distinct_from(bindparam("about"))


_alike = {
    user: Statement(
        select(memories)
        .where(
            memories.c.fingerprint == bindparam("fingerprint"),
            memories.c.key != bindparam("but"),
            *_of(user=user),
            _of_speaker,
            in_checked_project(memories),
            memories.c.kind != "SUMMARY",
            is_open(memories),
        )
        # A formed memory can get one more source; a declared one is not changed.
        .order_by(memories.c.method == "DECLARED", memories.c.created_at, memories.c.key)
        .limit(1),
        MemoryRow,
    )
    for user in (True, False)
}
_on_subject = {
    (user, later): Statement(
        select(memories)
        .where(
            memories.c.subject == bindparam("subject"),
            memories.c.key != bindparam("but"),
            *_of(user=user),
            _of_speaker,
            in_checked_project(memories),
            memories.c.method == "RULE",
            _since > bindparam("moment") if later else _since <= bindparam("moment"),
        )
        .order_by(_since if later else _since.desc(), memories.c.created_at if later else memories.c.created_at.desc())
        .limit(AROUND),
        MemoryRow,
    )
    for user in (True, False)
    for later in (True, False)
}
_standing = {
    user: Statement(
        select(memories)
        .where(*_of(user=user), in_checked_project(memories), memories.c.kind != "SUMMARY", is_open(memories))
        .order_by(memories.c.created_at.desc(), memories.c.key.desc())
        .limit(bindparam("limit", type_=Integer)),
        MemoryRow,
    )
    for user in (True, False)
}
_keys_naming = select(memory_sources.c.memory_key).where(
    memory_sources.c.session_key == bindparam("session"),
    memory_sources.c.sequence.in_(each_of("sequences", Number)),
)
_naming = Statement(
    select(memories)
    .where(
        memories.c.key.in_(_keys_naming),
        memories.c.method.in_(each_of("methods")),
        in_checked_project(memories),
    )
    .order_by(memories.c.created_at, memories.c.key),
    MemoryRow,
)
_told = memories.alias("told")


def _has_source(position: int, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    there = (memory_sources.c.memory_key == _told.c.key) & (memory_sources.c.position == position)
    return exists(select(memory_sources.c.position).where(there, *conditions).correlate(_told))


# A model's summary of a long session names the newest messages that it rests on, the earliest of them first.
_keys_summarising = select(_told.c.key).where(
    _told.c.session_key == bindparam("session"),
    _told.c.kind == "SUMMARY",
    _told.c.method == "MODEL",
    _has_source(0, memory_sources.c.sequence > bindparam("first")),
    _has_source(SOURCES_OF_MEMORY - 1),
)
_quoting = Statement(
    select(memories).where(
        memories.c.key.in_(union_all(_keys_naming, _keys_summarising)),
        or_(memories.c.method == "EXTRACTIVE", memories.c.method == "MODEL"),
        in_checked_project(memories),
    ),
    MemoryRow,
)
_formed_in = Statement(
    select(memories)
    .where(
        memories.c.session_key == bindparam("session"),
        memories.c.method != "DECLARED",
        memories.c.kind != "SUMMARY",
        _live,
        in_checked_project(memories),
    )
    .order_by(_since, memories.c.created_at, memories.c.key),
    MemoryRow,
)
_names = Statement(
    select(memory_sources.c.memory_key, messages.c.name)
    .select_from(CrossJoin(memory_sources, messages))
    .where(
        memory_sources.c.session_key == bindparam("session"),
        messages.c.session_key == memory_sources.c.session_key,
        messages.c.sequence == memory_sources.c.sequence,
        messages.c.role == "USER",
    )
    .order_by(memory_sources.c.memory_key, memory_sources.c.position),
    SourceName,
)
_spoken_of = Statement(
    select(memories.c.key)
    .where(memories.c.session_key == bindparam("session"), memories.c.about_folded == bindparam("about"), _live)
    .limit(1)
)
_places = Statement(
    select(memory_sources.c.position, memory_sources.c.session_key, memory_sources.c.sequence)
    .where(memory_sources.c.memory_key == bindparam("key"))
    .order_by(memory_sources.c.position),
    OrderedSource,
)
_room = Statement(
    select(
        func.count().label("sources"),
        (func.coalesce(func.max(memory_sources.c.position), -1) + 1).label("position"),
        func.count(
            case(
                (
                    (memory_sources.c.session_key == bindparam("session"))
                    & (memory_sources.c.sequence == bindparam("sequence")),
                    1,
                )
            )
        ).label("there"),
    ).where(memory_sources.c.memory_key == bindparam("key")),
    Room,
)


def _speaker(scope: Scope, memory: Mapping[str, Any]) -> dict[str, Any]:
    own = {"user": memory["user_key"], "session": memory["session_key"], "about": memory["about_folded"]}
    return {**scope.values, **own}


async def memory_like(read: Reader, scope: Scope, memory: Mapping[str, Any], now: str) -> MemoryRow | None:
    """Other memories with the same content that hold, apart from summaries."""
    values = {**_speaker(scope, memory), "fingerprint": memory["fingerprint"], "now": now, "but": memory["key"]}
    found = await read.fetch(_alike[memory["user_key"] is not None], values)
    return found[0] if found else None


async def memories_around(
    read: Reader, scope: Scope, memory: Mapping[str, Any]
) -> tuple[list[MemoryRow], list[MemoryRow]]:
    """Other memories that rules formed on a memory's subject: the last ones up to its beginning, and the next ones."""
    moment = memory["valid_from"] or memory["created_at"]
    values = {**_speaker(scope, memory), "subject": memory["subject"], "moment": moment, "but": memory["key"]}
    of_user = memory["user_key"] is not None
    before, after = [await read.fetch(_on_subject[of_user, later], values) for later in (False, True)]
    return before, after


async def standing_memories(read: Reader, scope: Scope, owner: SessionOwner, now: str, limit: int) -> list[MemoryRow]:
    """The memories that hold, apart from summaries, newest first."""
    values = {"user": owner["user_key"], "session": owner["session_key"], "now": now, "limit": limit}
    return await read.fetch(_standing[owner["user_key"] is not None], {**scope.values, **values})


async def memories_naming(
    read: Reader, scope: Scope, rows: Sequence[MessageRow], methods: Sequence[str]
) -> list[MemoryRow]:
    """Memories of some methods with sources among these messages of one session, also those deleted with it."""
    sequences = [row["sequence"] for row in rows]
    values = {**scope.values, "session": rows[0]["session_key"], "sequences": sequences, "methods": methods}
    return await read.fetch(_naming, values)


async def memories_quoting(read: Reader, scope: Scope, rows: Sequence[MessageRow]) -> list[MemoryRow]:
    """The extractive summaries, and the memories by a model, that rest on these messages of one session."""
    sequences = [row["sequence"] for row in rows]
    values = {"session": rows[0]["session_key"], "sequences": sequences, "first": min(sequences)}
    # It looks at all memories of the session: 20 ms for 6,000 of them.
    return await read.fetch(_quoting, {**scope.values, **values}, slowly=True)


async def formed_in(read: Reader, scope: Scope, session: SessionRow) -> list[MemoryRow]:
    """The memories formed from a session, apart from summaries, by the time from which they hold."""
    return await read.fetch(_formed_in, {**scope.values, "session": session["key"]})


async def names_of_sources(read: Reader, session: SessionRow) -> dict[bytes, list[str | None]]:
    """For each memory with USER messages of a session as sources, the names in these messages."""
    names: dict[bytes, list[str | None]] = {}
    for row in await read.fetch(_names, {"session": session["key"]}):
        names.setdefault(row["memory_key"], []).append(row["name"])
    return names


async def is_spoken_of(read: Reader, session: SessionRow, about: str) -> bool:
    """True if a memory of the session is about this (folded) name."""
    return bool(await read.fetch(_spoken_of, {"session": session["key"], "about": about}))


async def ordered_sources(read: Reader, memory: MemoryRow) -> list[OrderedSource]:
    """The sources of a memory, in order."""
    return await read.fetch(_places, {"key": memory["key"]})


async def add_source(write: Transaction, memory: MemoryRow, session: bytes, sequence: int) -> None:
    """Adds a message to a memory's sources, unless it is one of them or they have reached their limit."""
    (room,) = await write.fetch(_room, {"key": memory["key"], "session": session, "sequence": sequence})
    if room["there"] or room["sources"] >= SOURCES_OF_MEMORY:
        return
    source: MemorySourceRow = {
        "memory_key": memory["key"],
        "position": room["position"],
        "session_key": session,
        "sequence": sequence,
        "document_key": None,
    }
    await source_table.insert(write, source)
