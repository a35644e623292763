"""Statements on memories and their sources."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypedDict

from sqlalchemy import ColumnElement, FromClause, Integer, bindparam, delete, exists, func, or_, select, tuple_, update

from models.columns import Key, Number
from models.containment import contains
from models.expressions import (
    CrossJoin,
    Parents,
    each_of,
    in_checked_project,
    is_in_project,
    on_citus,
    parent_key,
    parent_number,
    parents,
    upsert,
)
from models.keyset import Condition, Listing, between, fetch_by_key, in_list, is_null, parent_of
from models.locks import hold_memories, hold_sessions
from models.rows import (
    MemoryRow,
    MemorySourceRow,
    SessionRow,
    WithheldMemoryRow,
)
from models.scope import Scope, of_viewer
from models.statements import ByKey, Count, Statement
from models.store import Reader, Transaction
from models.tables import documents, memories, memory_sources, messages, sessions, withheld_memories
from models.watched import WATCHED, Watched, remove_watched
from models.writing import TypedTable

memory_table = TypedTable(memories, MemoryRow)
source_table = TypedTable(memory_sources, MemorySourceRow)
withheld_table = TypedTable(withheld_memories, WithheldMemoryRow)


class SourceMessage(TypedDict):
    """A message that is a source of a memory."""

    memory_key: bytes
    session_key: bytes
    sequence: int


def _as_of(rows: FromClause) -> ColumnElement[bool]:
    """The condition that a memory holds at a time: it has begun, has not ended or expired, and is not superseded.

    An event holds from its creation on: it is worth knowing before it takes place.
    """
    now: ColumnElement[Any] = bindparam("as_of")
    return (
        or_(
            func.coalesce(rows.c.valid_from, rows.c.created_at) <= now,
            (rows.c.kind == "EVENT") & (rows.c.created_at <= now),
        )
        & or_(rows.c.valid_until.is_(None), rows.c.valid_until > now)
        & or_(rows.c.expires_at.is_(None), rows.c.expires_at > now)
        & or_(rows.c.superseded_from.is_(None), rows.c.superseded_from > now)
    )


FILTERS: dict[str, Condition] = {
    "memory_ids": in_list("memory_id", "memory_ids"),
    "as_of": _as_of,
    "about": in_list("about_folded", "about"),
    "own": is_null("about_folded"),
    "kinds": in_list("kind", "kinds"),
    "methods": in_list("method", "methods"),
    "min_rating": lambda rows: rows.c.rating >= bindparam("min_rating"),
    **contains(),
    "of_no_session": is_null("session_key"),
    "not_superseded": is_null("superseded_from"),
    **between("created_at"),
}


ORDERS = {"created_at": ("created_at", "key"), "valid_from": ("valid_from", "key"), "rating": ("rating", "key")}
ENDS: dict[str, tuple[Any, Any]] = {"valid_from": ("", "~"), "rating": (-1.0, 2.0)}
"""Values below and above any time, and any rating."""


def _listing(name: str, belongs: Condition) -> Listing[MemoryRow]:
    return Listing(
        name=name,
        table=memories,
        row=MemoryRow,
        always=lambda rows: (
            belongs(rows) & rows.c.deleted_at.is_(None) & in_checked_project(rows) & of_viewer(rows.c.user_key)
        ),
        orders=ORDERS,
        ends=ENDS,
        filters=FILTERS,
        selective=("memory_ids",),
    )


MEMORIES_OF_USER = _listing("memories of a user", lambda rows: rows.c.user_key == parent_key)
MEMORIES_OF_SESSION = _listing("memories of a session", lambda rows: rows.c.session_key == parent_key)
MEMORIES_OF_AGENT = _listing("memories of an agent", lambda rows: rows.c.agent_key == parent_key)
MEMORIES_OF_MESSAGE = _listing(
    "memories of a message",
    lambda rows: rows.c.key.in_(
        select(memory_sources.c.memory_key)
        .where(memory_sources.c.session_key == parent_key, memory_sources.c.sequence == parent_number)
        .correlate(parents)
    ),
)


def is_there(rows: FromClause, *, of_parents: bool = False) -> ColumnElement[bool]:
    """The condition that a source is visible: a document, or a message that was not deleted with its session.

    `of_parents`: the sources are those of the memories that are the statement's parents.
    """
    visible = (
        messages.c.sequence > sessions.c.deleted_through,
        sessions.c.deleted_at.is_(None),
        is_in_project(sessions),
        of_viewer(sessions.c.user_key),
    )
    message = (
        select(messages.c.sequence)
        .join(sessions, sessions.c.key == messages.c.session_key)
        .where(messages.c.session_key == rows.c.session_key, messages.c.sequence == rows.c.sequence, *visible)
    )
    document = select(documents.c.key).where(
        documents.c.key == rows.c.document_key, is_in_project(documents), of_viewer(documents.c.user_key)
    )
    of = memory_sources.alias("of")
    found = (
        select(of.c.session_key, of.c.sequence)
        .join(messages, (messages.c.session_key == of.c.session_key) & (messages.c.sequence == of.c.sequence))
        .join(sessions, sessions.c.key == messages.c.session_key)
        .where(*visible, *([of.c.memory_key.in_(each_of("parent_keys", Key))] if of_parents else []))
    )
    has_message = on_citus(exists(message), tuple_(rows.c.session_key, rows.c.sequence).in_(found))
    return or_(has_message, exists(document))


SOURCES_OF_MEMORY = Listing(
    name="sources of a memory",
    table=memory_sources,
    row=MemorySourceRow,
    always=lambda rows: (rows.c.memory_key == parent_key) & is_there(rows, of_parents=True),
    orders={"position": ("position",)},
)

NEUTRAL = 0.5
"""The rating by which memories without a rating are sorted, and that of memories formed without a model, or by one that
did not rate them: nobody has judged them, so a context ranks them as if they had none, and `minRating` finds them
up to here."""

_kinds_known = memories.c.kind != "SUMMARY"


@lru_cache(maxsize=256)
def _known(owner: str, given: tuple[str, ...]) -> Statement[MemoryRow]:
    best_first = func.coalesce(memories.c.rating, NEUTRAL).desc()
    clause = (
        select(memories)
        .where(
            memories.c[f"{owner}_key"] == bindparam("owner"),
            _kinds_known,
            memories.c.deleted_at.is_(None),
            in_checked_project(memories),
            of_viewer(memories.c.user_key),
            *(FILTERS[name](memories) for name in given),
            func.length(memories.c.content) <= bindparam("longest", type_=Integer),
        )
        .order_by(best_first, memories.c.created_at.desc(), memories.c.key.desc())
        .limit(bindparam("limit", type_=Integer))
    )
    return Statement(clause, MemoryRow)


_live = memories.c.deleted_at.is_(None)
_own = of_viewer(memories.c.user_key)
_by_key = ByKey(memories, MemoryRow, where=(_live, _own))
_any_by_key = ByKey(memories, MemoryRow, where=(_own,))
_superseded = Statement(
    select(parents.c.key.label("parent"), memories)
    .select_from(CrossJoin(parents, memories))
    .where(memories.c.superseded_by == parent_key, _live, in_checked_project(memories), _own)
    .order_by(parents.c.key, memories.c.created_at.desc(), memories.c.key.desc()),
    MemoryRow,
)
_apart_from_others = {
    "user": [memories.c.user_key == bindparam("owner"), memories.c.session_key.is_(None)],
    "session": [memories.c.session_key == bindparam("owner")],
    "agent": [memories.c.agent_key == bindparam("owner")],
}
_standing = {
    owner: Statement(
        select(memories).where(
            memories.c.kind == "SUMMARY",
            memories.c.superseded_from.is_(None),
            memories.c.about_folded.is_not_distinct_from(bindparam("about")),
            _live,
            in_checked_project(memories),
            *conditions,
        ),
        MemoryRow,
    )
    for owner, conditions in _apart_from_others.items()
}

_messages_of = Statement(
    select(memory_sources.c.memory_key, memory_sources.c.session_key, memory_sources.c.sequence)
    .select_from(CrossJoin(parents, memory_sources))
    .where(memory_sources.c.memory_key == parent_key, memory_sources.c.session_key.is_not(None)),
    SourceMessage,
)

_unlink = Statement(
    update(memories).where(memories.c.superseded_by == bindparam("key")).values(superseded_by=bindparam("none"))
)

_named = memories.c.key.in_(select(parent_key).select_from(parents))
_withhold = Statement(
    upsert(withheld_memories)
    .from_select(
        ["session_key", "sequence", "fingerprint"],
        select(
            messages.c.session_key,
            messages.c.sequence,
            func.coalesce(bindparam("said", type_=memories.c.fingerprint.type), memories.c.fingerprint),
        )
        .select_from(CrossJoin(CrossJoin(memories, memory_sources), messages))
        .where(
            _named,
            memories.c.method != "DECLARED",
            memory_sources.c.memory_key == memories.c.key,
            messages.c.session_key == memory_sources.c.session_key,
            messages.c.sequence == memory_sources.c.sequence,
        ),
    )
    .on_conflict_do_nothing()
)
_unlink_all = Statement(
    update(memories)
    .where(memories.c.superseded_by.in_(select(parent_key).select_from(parents)))
    .values(superseded_by=bindparam("none"))
)
_remove = Statement(delete(memories).where(_named).returning(*WATCHED), Watched)
_delete_of_agent = Statement(
    delete(memories)
    .where(memories.c.agent_key == bindparam("agent"), in_checked_project(memories))
    .returning(*WATCHED),
    Watched,
)
_withheld = Statement(
    select(func.count().label("count")).where(
        withheld_memories.c.session_key == bindparam("session"),
        withheld_memories.c.sequence.in_(each_of("sequences", Number)),
        withheld_memories.c.fingerprint == bindparam("fingerprint"),
    ),
    Count,
)


def _keys_of(memories: Sequence[MemoryRow]) -> Parents:
    return Parents([row["key"] for row in memories])


async def withhold(write: Transaction, memories: Sequence[MemoryRow], said: bytes | None = None) -> None:
    """Prevents these memories, or the content with this fingerprint, from being formed again from their sources."""
    await write.execute(_withhold, {**_keys_of(memories).values, "said": said}, slowly=len(memories) > 1)


async def withhold_of_message(write: Transaction, session: SessionRow, sequence: int, said: Sequence[bytes]) -> None:
    """Prevents memories with these fingerprints from being formed from a message."""
    key = session["key"]
    for fingerprint in set(said):
        await withheld_table.insert(write, {"session_key": key, "sequence": sequence, "fingerprint": fingerprint})


async def is_withheld(read: Reader, session: SessionRow, sequences: Sequence[int], fingerprint: bytes) -> bool:
    """True if the application has corrected or deleted this content, formed from one of these messages."""
    values = {"session": session["key"], "sequences": sequences, "fingerprint": fingerprint}
    return (await read.fetch(_withheld, values))[0]["count"] > 0


async def remove_memories(write: Transaction, memories: Sequence[MemoryRow]) -> None:
    """Deletes memories; the ones they superseded stay superseded, without a link to a newer memory."""
    keys = _keys_of(memories).values
    await write.execute(_unlink_all, {**keys, "none": None}, slowly=True)
    await remove_watched(write, _remove, keys, slowly=True)


async def unlink_newer(write: Transaction, memory: MemoryRow) -> None:
    """Before a memory is deleted: the ones it superseded stay superseded, without a link to a newer memory."""
    await write.execute(_unlink, {"key": memory["key"], "none": None})


async def memories_by_key(
    read: Reader, scope: Scope, keys: list[bytes], *, deleted: bool = False
) -> list[MemoryRow | None]:
    """Memories by key; with `deleted` also those that went with their session."""
    found = await fetch_by_key(read, scope, _any_by_key if deleted else _by_key, keys)
    if read.held is not None:
        await _hold_owners(read, scope, found)
    return found


async def _hold_owners(read: Reader, scope: Scope, rows: Sequence[MemoryRow | None]) -> None:
    for row in rows:
        if row is not None:
            await hold_memories(read, scope, user=row["user_key"], agent=row["agent_key"])
            if row["user_key"] is None and row["session_key"] is not None:
                await hold_sessions(read, scope, [row["session_key"]])


async def superseded_by(read: Reader, scope: Scope, keys: list[bytes]) -> list[list[MemoryRow]]:
    """For each memory the ones that it superseded, newest first."""
    of = Parents(keys)
    found: list[list[MemoryRow]] = [[] for _ in keys]
    for row in await read.fetch(_superseded, {**scope.values, **of.values}):
        found[parent_of(row)].append(row)
    return found


async def known_memories(
    read: Reader,
    scope: Scope,
    *,
    owner: tuple[str, bytes],
    given: tuple[str, ...],
    values: Mapping[str, Any],
    longest: int,
    limit: int,
) -> list[MemoryRow]:
    """Facts, preferences and events of a ("user", key), ("session", key) or ("agent", key) that pass filters (see
    `FILTERS`), with texts up to a length in characters: best rated first, then newest."""
    of, key = owner
    bound = {**scope.values, **values, "owner": key, "longest": longest, "limit": limit}
    return await read.fetch(_known(of, given), bound)


async def sources_of_memories(read: Reader, memories: Sequence[MemoryRow]) -> list[SourceMessage]:
    """The messages that are sources of memories."""
    return await read.fetch(_messages_of, _keys_of(memories).values) if memories else []


async def standing_summaries(
    read: Reader, scope: Scope, *, owner: tuple[str, bytes], about: str | None = None
) -> list[MemoryRow]:
    """The summaries of a ("session", key), an ("agent", key), or a ("user", key) apart from any session, that are not
    superseded."""
    of, key = owner
    return await read.fetch(_standing[of], {**scope.values, "owner": key, "about": about})


async def delete_memories_of_agent(write: Transaction, scope: Scope, agent: bytes) -> None:
    await remove_watched(write, _delete_of_agent, {**scope.values, "agent": agent}, slowly=True)
