"""Statements on messages. A message is its session's key and its sequence there."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypedDict

from sqlalchemy import ColumnElement, FromClause, Integer, bindparam, delete, func, select, tuple_, update

from models.columns import Number
from models.containment import contains
from models.expressions import CrossJoin, Parents, each_of, is_in_project, on_citus, parent_key, parent_number, parents
from models.keys import NONCE_BITS, message_id_hash
from models.keyset import Fetched, Listing, between, cut, fetch_one_each, in_list, parent_of
from models.locks import hold_sessions
from models.rows import DeletedMessageRow, MessageRow, SessionRow
from models.scope import Scope, of_viewer
from models.statements import Count, Statement
from models.store import Reader, Transaction
from models.tables import deleted_messages, messages, sessions
from models.values import Time
from models.writing import TypedTable

message_table = TypedTable(messages, MessageRow)
deleted_message_table = TypedTable(deleted_messages, DeletedMessageRow)


class Tombstone(TypedDict):
    message_id_hash: bytes


class Sequenced(TypedDict):
    sequence: int


class Spoken(TypedDict):
    created_at: Time
    sequence: int


class Named(TypedDict):
    name: str


class Located(TypedDict):
    """The session, the sequence and the client's own key of a message."""

    session_key: bytes
    sequence: int
    message_id: str | None


class Place(NamedTuple):
    """A message by its session and its sequence, or by its session and the client's own key."""

    session_key: bytes
    sequence: int | None = None
    message_id: str | None = None


def _with_message_id(rows: FromClause) -> ColumnElement[bool]:
    """The condition for the session's messages with one of these client keys.

    All messages that can be seen have the session's generation (see `generation_of`); with it the index on the client
    keys is used.
    """

    def in_generation(session: ColumnElement[bytes], of: FromClause) -> ColumnElement[bool]:
        nonce = select(sessions.c.nonce).where(sessions.c.key == session).correlate(of).scalar_subquery()
        return rows.c.generation == nonce * 2**NONCE_BITS + parent_number

    current = on_citus(in_generation(parent_key, parents), in_generation(rows.c.session_key, rows))
    return current & rows.c.message_id.in_(each_of("message_ids"))


MESSAGES_OF_SESSION = Listing(
    name="messages of a session",
    table=messages,
    row=MessageRow,
    # A parent's number is its `deleted_through`: the messages up to it went when the session was deleted.
    floor="sequence",
    always=lambda rows: rows.c.session_key == parent_key,
    orders={"sequence": ("sequence",), "created_at": ("created_at", "sequence")},
    filters={
        "message_ids": _with_message_id,
        "names": in_list("name_folded", "names"),
        "roles": in_list("role", "roles"),
        **contains(),
        **between("created_at"),
    },
    selective=("message_ids",),
)

_in_live_session = (
    sessions.c.key == parent_key,
    sessions.c.deleted_at.is_(None),
    is_in_project(sessions),
    of_viewer(sessions.c.user_key),
    messages.c.session_key == parent_key,
    messages.c.sequence > sessions.c.deleted_through,
)
_by_sequence = Statement(
    select(parents.c.key.label("parent"), messages)
    .select_from(CrossJoin(CrossJoin(parents, sessions), messages))
    .where(*_in_live_session, messages.c.sequence == parent_number),
    MessageRow,
)
_by_message_id = Statement(
    select(messages).where(
        messages.c.session_key == bindparam("session"),
        messages.c.generation == bindparam("generation"),
        messages.c.message_id.in_(each_of("message_ids")),
    ),
    MessageRow,
)
_numbered = (messages.c.session_key, messages.c.sequence, messages.c.message_id)
_located = Statement(
    select(parents.c.key.label("parent"), *_numbered)
    .select_from(CrossJoin(CrossJoin(parents, sessions), messages))
    .where(*_in_live_session, messages.c.sequence == parent_number),
    Located,
)
_located_by_id = Statement(
    select(*_numbered)
    .select_from(CrossJoin(CrossJoin(parents, sessions), messages))
    .where(
        *_in_live_session,
        messages.c.generation == sessions.c.nonce * 2**NONCE_BITS + sessions.c.deleted_through,
        messages.c.message_id.in_(each_of("message_ids")),
    ),
    Located,
)
_tombstones = Statement(
    select(deleted_messages.c.message_id_hash)
    .select_from(CrossJoin(parents, deleted_messages))
    .where(
        deleted_messages.c.session_key == bindparam("session"),
        deleted_messages.c.message_id_hash == parent_key,
        # An expression, so that SQLite uses the index on the hash, not the one on the sequence, which most rows match.
        deleted_messages.c.sequence + 0 > bindparam("deleted_through"),
    ),
    Tombstone,
)
_deleted_sequences = Statement(
    select(deleted_messages.c.sequence).where(
        deleted_messages.c.session_key == bindparam("session"),
        deleted_messages.c.sequence.in_(each_of("sequences", Number)),
    ),
    Sequenced,
)
_at = Statement(
    select(messages).where(
        messages.c.session_key == bindparam("session"),
        # An expression, so that SQLite uses the index on the times.
        messages.c.sequence + 0 > bindparam("floor"),
        messages.c.created_at.in_(each_of("moments", messages.c.created_at.type)),
    ),
    MessageRow,
)
_range = Statement(
    select(messages.c.session_key, messages.c.generation, messages.c.sequence, messages.c.message_id)
    .where(
        messages.c.session_key == bindparam("session"),
        messages.c.sequence >= bindparam("first"),
        messages.c.sequence <= bindparam("last"),
    )
    .order_by(messages.c.sequence)
    .limit(bindparam("limit", type_=Integer)),
    MessageRow,
)
_whole = {
    newest: Statement(
        select(messages)
        .where(
            messages.c.session_key == bindparam("session"),
            messages.c.sequence >= bindparam("first"),
            messages.c.sequence <= bindparam("last"),
        )
        .order_by(messages.c.sequence.desc() if newest else messages.c.sequence)
        .limit(bindparam("limit", type_=Integer)),
        MessageRow,
    )
    for newest in (True, False)
}
_oldest = (
    select(messages.c.sequence, messages.c.role, messages.c.name)
    .where(messages.c.session_key == bindparam("session"), messages.c.sequence >= bindparam("first"))
    .order_by(messages.c.sequence)
    # If this many have no name, messages without a name are the user's.
    .limit(1000)
    .subquery()
)
_names = Statement(
    select(_oldest.c.name).where(_oldest.c.role == "USER", _oldest.c.name > "").order_by(_oldest.c.sequence).limit(50),
    Named,
)
# Keeps SQLite from using the index on the sequence, which would sort the whole session.
_newest = {
    before: Statement(
        select(messages)
        .where(
            messages.c.session_key == bindparam("session"),
            messages.c.sequence + 0 > bindparam("floor"),
            *(
                [tuple_(messages.c.created_at, messages.c.sequence) < tuple_(bindparam("time"), bindparam("sequence"))]
                if before
                else []
            ),
        )
        .order_by(messages.c.created_at.desc(), messages.c.sequence.desc())
        .limit(bindparam("limit", type_=Integer)),
        MessageRow,
    )
    for before in (True, False)
}
_moment = Statement(
    select(messages.c.created_at, messages.c.sequence)
    .where(messages.c.session_key == bindparam("session"), messages.c.sequence + 0 > bindparam("floor"))
    .order_by(messages.c.created_at.desc(), messages.c.sequence.desc())
    .limit(1)
    .offset(bindparam("newer", type_=Integer)),
    Spoken,
)
_newest_of_role = Statement(
    select(messages)
    .where(
        messages.c.session_key == bindparam("session"),
        messages.c.sequence + 0 > bindparam("floor"),
        messages.c.role == bindparam("role"),
    )
    .order_by(messages.c.created_at.desc(), messages.c.sequence.desc())
    .limit(bindparam("limit", type_=Integer)),
    MessageRow,
)
_renew = Statement(
    update(messages)
    .where(messages.c.session_key == bindparam("session"), messages.c.generation == bindparam("old"))
    .values(generation=bindparam("new"))
)
_deleted = Statement(
    select(func.count().label("count")).where(
        deleted_messages.c.session_key == bindparam("session"), deleted_messages.c.sequence > bindparam("floor")
    ),
    Count,
)
_delete = Statement(
    delete(messages).where(
        messages.c.session_key == bindparam("session"), messages.c.sequence.in_(each_of("sequences", Number))
    )
)


Moment = tuple[str, int]
"""A message's time and sequence: the order of a conversation."""


def generation_of(session: SessionRow) -> int:
    """The generation of messages written to a session now; it differs before a deletion and in earlier sessions."""
    return session["nonce"] << NONCE_BITS | session["deleted_through"]


def nonce_of(generation: int) -> int:
    """The nonce that a session had when a message was written to it."""
    return generation >> NONCE_BITS


async def messages_by_sequence(read: Reader, scope: Scope, places: list[tuple[bytes, int]]) -> list[MessageRow | None]:
    """Messages by session key and sequence; None for one that is deleted or not there."""
    of = Parents([session for session, _ in places], [sequence for _, sequence in places])
    await hold_sessions(read, scope, of.values["parent_keys"])
    return await fetch_one_each(read, scope, _by_sequence, of)


async def messages_by_message_id(
    read: Reader, session: SessionRow, message_ids: Sequence[str]
) -> dict[str | None, MessageRow]:
    """The session's messages with one of these client keys, by that key."""
    values = {"session": session["key"], "generation": generation_of(session), "message_ids": message_ids}
    return {row["message_id"]: row for row in await read.fetch(_by_message_id, values)}


async def sequences_at(read: Reader, scope: Scope, places: Sequence[Place]) -> list[int | None]:
    """The sequence of the message at each place; None if there is none."""
    of = Parents([place.session_key for place in places], [place.sequence or 0 for place in places])
    await hold_sessions(read, scope, of.values["parent_keys"])
    found: list[int | None] = [None] * of.count
    for row in await read.fetch(_located, {**scope.values, **of.values}):
        found[parent_of(row)] = row["sequence"]
    ids = [place.message_id for place in places if place.message_id is not None]
    if not ids:
        return found
    named = Parents(list({place.session_key for place in places if place.message_id is not None}))
    rows = await read.fetch(_located_by_id, {**scope.values, **named.values, "message_ids": ids})
    by_id = {(row["session_key"], row["message_id"]): row["sequence"] for row in rows}
    return [
        sequence if place.message_id is None else by_id.get((place.session_key, place.message_id))
        for place, sequence in zip(places, found, strict=True)
    ]


async def deleted_ids(read: Reader, session: SessionRow, hashes: list[bytes]) -> set[bytes]:
    """Those of these hashes that are of client keys of the session's deleted messages."""
    values = {"session": session["key"], "deleted_through": session["deleted_through"], **Parents(hashes).values}
    return {row["message_id_hash"] for row in await read.fetch(_tombstones, values)}


async def messages_between(read: Reader, session: SessionRow, first: int, last: int, limit: int) -> Fetched[MessageRow]:
    """The keys of the first messages of a range, up to a limit."""
    first = max(first, session["deleted_through"] + 1)
    values = {"session": session["key"], "first": first, "last": last, "limit": limit + 1}
    return cut(await read.fetch(_range, values), limit)


async def latest_messages(
    read: Reader, session: SessionRow, limit: int, *, through: int | None = None
) -> list[MessageRow]:
    """The session's newest messages (up to a sequence) in their order."""
    last = session["last_sequence"] if through is None else through
    values = {"session": session["key"], "first": session["deleted_through"] + 1, "last": last, "limit": limit}
    return (await read.fetch(_whole[True], values, slowly=limit > 100))[::-1]


async def newest_messages(
    read: Reader, session: SessionRow, limit: int, *, before: Moment | None = None
) -> list[MessageRow]:
    """The session's last messages by time (before a time and sequence), newest first."""
    values: dict[str, Any] = {"session": session["key"], "floor": session["deleted_through"], "limit": limit}
    if before is not None:
        values |= {"time": before[0], "sequence": before[1]}
    return await read.fetch(_newest[before is not None], values, slowly=limit > 100)


async def newest_of_role(read: Reader, session: SessionRow, role: str, limit: int) -> list[MessageRow]:
    """The session's last messages of a role by time, newest first."""
    values = {"session": session["key"], "floor": session["deleted_through"], "role": role, "limit": limit}
    return await read.fetch(_newest_of_role, values)


async def moment_of_newest(read: Reader, session: SessionRow, number: int) -> Moment | None:
    """The time and sequence of the newest message after skipping a number of newer ones."""
    values = {"session": session["key"], "floor": session["deleted_through"], "newer": number}
    rows = await read.fetch(_moment, values, slowly=number > 1000)
    return (rows[0]["created_at"], rows[0]["sequence"]) if rows else None


async def whole_messages_between(
    read: Reader, session: SessionRow, first: int, last: int, limit: int
) -> list[MessageRow]:
    """The first messages of a range, up to a limit, with all their columns."""
    return await read.fetch(_whole[False], {"session": session["key"], "first": first, "last": last, "limit": limit})


async def messages_after(read: Reader, session: SessionRow, sequence: int, limit: int) -> list[MessageRow]:
    """The first messages after a sequence, up to a limit, with all their columns."""
    return await whole_messages_between(read, session, sequence + 1, session["last_sequence"], limit)


async def first_speakers(read: Reader, session: SessionRow) -> list[str]:
    """The names in the oldest USER messages of a session, in their order."""
    found = await read.fetch(_names, {"session": session["key"], "first": session["deleted_through"] + 1})
    return [row["name"] for row in found]


async def count_messages(read: Reader, session: SessionRow) -> int:
    """Counts a session's messages: the sequences given so far, without the few deleted ones."""
    values = {"session": session["key"], "floor": session["deleted_through"]}
    deleted = (await read.fetch(_deleted, values))[0]["count"]
    return session["last_sequence"] - session["deleted_through"] - deleted


async def delete_messages(write: Transaction, rows: Sequence[MessageRow]) -> None:
    """Permanently deletes messages of one session; tombstones keep their sequences and the hashes of client keys."""
    session, sequences = rows[0]["session_key"], [row["sequence"] for row in rows]
    await write.execute(_delete, {"session": session, "sequences": sequences}, slowly=True)
    for row in rows:
        write.changed(messages.name, row, None)
        own = row["message_id"]
        hash = None if own is None else message_id_hash(own)
        await deleted_message_table.insert(
            write, {"session_key": session, "sequence": row["sequence"], "message_id_hash": hash}
        )


async def keep_tombstone(write: Transaction, session: SessionRow, sequence: int, hash: bytes | None) -> None:
    """Writes the tombstone of a message."""
    key = session["key"]
    await deleted_message_table.insert(write, {"session_key": key, "sequence": sequence, "message_id_hash": hash})


async def deleted_sequences(read: Reader, session: SessionRow, sequences: list[int]) -> set[int]:
    """Those of these positions whose messages were deleted."""
    values = {"session": session["key"], "sequences": sequences}
    return {row["sequence"] for row in await read.fetch(_deleted_sequences, values)}


async def messages_at(read: Reader, session: SessionRow, moments: list[str]) -> list[MessageRow]:
    """The session's messages that were created at one of these times."""
    values = {"session": session["key"], "floor": session["deleted_through"], "moments": moments}
    return await read.fetch(_at, values)


async def set_generation(write: Transaction, before: SessionRow, session: SessionRow) -> None:
    """Rewrites the generation of a session's messages for a new nonce."""
    values = {"session": session["key"], "old": generation_of(before), "new": generation_of(session)}
    await write.execute(_renew, values, slowly=True)
