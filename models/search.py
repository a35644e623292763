"""Reads for search: the texts of a scope, all of them if they are few, else those that the full-text index finds.

Scope and filters are part of every statement, so that other users' texts never crowd out the matches. What the index
finds is in `models/candidates.py`; the index itself is the database's own (see `models/full_text.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypedDict

from sqlalchemy import ColumnElement, Integer, Select, and_, bindparam, func, literal, literal_column, null, select

from models.candidates import joined, numbers
from models.expressions import CrossJoin, in_checked_project, in_project
from models.full_text import COUNTED, Part, Progress
from models.keys import lane_of
from models.scope import Scope
from models.search_kinds import Conversation, Receive, SearchKind, Within, number_of
from models.statements import Count, NoRow, Statement
from models.store import Reader, Store
from models.tables import sessions


@dataclass(frozen=True)
class Extent:
    """The size of a scope: its approximate number of texts, and a flag for so few that all are read.

    `lanes` are the lanes of the index with the texts; None for all lanes of the project, whose texts are counted then.
    """

    count: int
    is_small: bool
    lanes: Sequence[int] | None


MOST_SESSIONS = 20_000
"""Sessions of an agent that are looked at, at most; for an agent with more the whole project is looked through."""

_limit = bindparam("limit", type_=Integer)


class LaneSize(Count):
    """The approximate number of turns in a lane."""

    lane: int


class ProjectSize(Count):
    """The numbers of conversations, and of turns in them."""

    conversations: int


class Placed(TypedDict):
    """The owner in whose lane an object is."""

    owner: bytes


@lru_cache(maxsize=16)
def _sizes(kind: SearchKind, talk: Conversation, whose: tuple[str, ...]) -> Statement[LaneSize]:
    """The approximate number of turns in each lane, of an owner's conversations or one of them."""
    lane = kind.owned.c.lane
    conditions = kind.in_scope(whose)
    return Statement(select(lane, func.sum(talk.size).label("count")).where(*conditions).group_by(lane), LaneSize)


@lru_cache(maxsize=8)
def _project_size(kind: SearchKind, talk: Conversation) -> Statement[ProjectSize]:
    """Counts the conversations of a project, up to a limit, and the turns in these."""
    some = select(talk.size.label("size")).where(in_project(kind.owned)).limit(_limit).subquery()
    turns = func.coalesce(func.sum(literal_column("size", Integer)), 0)
    size = select(func.count().label("conversations"), turns.label("count")).select_from(some)
    return Statement(size, ProjectSize)


@lru_cache(maxsize=16)
def _few(kind: SearchKind, whose: tuple[str, ...]) -> Statement[Count]:
    """Counts the rows, up to a limit, deleted ones included."""
    conditions = [*kind.found(whose), *kind.in_scope(whose)]
    some = select(literal(1)).select_from(kind.table).where(*conditions).limit(_limit).subquery()
    return Statement(select(func.count().label("count")).select_from(some), Count)


_sessions_of_agent = Statement(
    select(func.count().label("count")).select_from(
        select(literal(1))
        .where(sessions.c.agent_key == bindparam("agent"), in_checked_project(sessions))
        .limit(_limit)
        .subquery()
    ),
    Count,
)


@lru_cache(maxsize=16)
def _placed(kind: SearchKind, whose: tuple[str, ...]) -> Statement[Placed]:
    return Statement(select(func.coalesce(*kind.placed).label("owner")).distinct().where(*kind.in_scope(whose)), Placed)


async def extent(read: Reader, scope: Scope, kind: SearchKind, within: Within) -> Extent:
    bound = {**scope.values, **within.bound}
    if not within.whose:
        return await _extent_of_project(read, scope, kind)
    if within.whose == ("agent",) and "sessions" in kind.owners:
        counted = await read.fetch(_sessions_of_agent, {**bound, "limit": MOST_SESSIONS + 1})
        if counted[0]["count"] > MOST_SESSIONS:
            return await _whole_project(read, scope, kind)
    if kind.conversation is not None:
        rows = await read.fetch(_sizes(kind, kind.conversation, within.whose), bound, slowly=True)
        count = sum(row["count"] for row in rows)
        return Extent(count, count <= kind.scanned_of_one, [row["lane"] for row in rows])
    most = kind.scanned_of_one
    count = (await read.fetch(_few(kind, within.whose), {**bound, "limit": most + 1}))[0]["count"]
    if count <= most:
        return Extent(count, is_small=True, lanes=list({lane_of(key) for key in within.keys}))
    if within.whose == ("agent",) and "sessions" in kind.owners:
        return await _whole_project(read, scope, kind)
    return Extent(count, is_small=False, lanes=await _lanes(read, kind, within, bound))


async def _lanes(read: Reader, kind: SearchKind, within: Within, bound: dict[str, Any]) -> list[int]:
    """The lanes with the objects of owners; those of a session are in its user's lane."""
    if within.sessions is None:
        return list({lane_of(key) for key in within.keys})
    rows = await read.fetch(_placed(kind, within.whose), bound, slowly=True)
    return list({lane_of(row["owner"]) for row in rows})


async def _whole_project(read: Reader, scope: Scope, kind: SearchKind) -> Extent:
    """A scope of which each lane of the project may have a part, such as that of an agent with many users."""
    count = await read.full_text.count_of_project(read, kind, scope.project)
    return Extent(count, is_small=False, lanes=None)


async def _extent_of_project(read: Reader, scope: Scope, kind: SearchKind) -> Extent:
    count = await read.full_text.count_of_project(read, kind, scope.project)
    if count > kind.scanned:
        return Extent(count, is_small=False, lanes=None)
    bound = {**scope.values, "limit": kind.scanned + 1}
    if kind.conversation is None:
        there = (await read.fetch(_few(kind, ()), bound))[0]["count"]
        return Extent(count, there <= kind.scanned, None)
    row = (await read.fetch(_project_size(kind, kind.conversation), bound, slowly=True))[0]
    return Extent(count, max(row["conversations"], row["count"]) <= kind.scanned, None)


async def part_to_read(read: Reader, scope: Scope, kind: SearchKind, lanes: Sequence[int] | None) -> Part:
    """The part of the index with a project's texts, or those of some of its lanes, as far as they are indexed now."""
    return await read.full_text.part_to_read(read, scope, kind, lanes)


async def count_words(
    read: Reader, kind: SearchKind, part: Part, words: Sequence[str], *, most: int = COUNTED
) -> list[int]:
    """For each word the number of texts in the part with any of its forms, up to a limit."""
    return await read.full_text.count_words(read, kind, part, words, most=most)


async def index_progress(read: Reader, kind: SearchKind) -> Progress:
    """The progress of indexing a kind's texts."""
    return await read.full_text.index_progress(read, kind)


async def bring_up_to_date(database: Store, kind: SearchKind, *, late: int | None = None) -> None:
    """Indexes the texts that wait, step by step, until no more than `late` wait (the kind's own limit for None)."""
    await database.reader.full_text.bring_up_to_date(database, kind, late=kind.late if late is None else late)


def _read(kind: SearchKind, given: tuple[str, ...]) -> Select[*tuple[Any, ...]]:
    """Selects the columns that scoring needs, the same for every kind (see `resolvers.search.gathering`).

    `passes` is true for a row that may be a result, `aside` is searched besides its text.
    """
    turn = kind.turn
    passes: ColumnElement[Any] = (
        and_(*(kind.filters[name](kind.table) for name in given)) if given else literal_column("1", Integer)
    )
    return select(
        number_of(kind.table).label("number"),
        *(turn[name].label(name) for name in ("thread", "position", "role", "name", "user")),
        kind.said.label("text"),
        (null() if kind.aside is None else kind.aside).label("aside"),
        kind.table.c.created_at,
        passes.label("passes"),
    )


@lru_cache(maxsize=256)
def _all_of(kind: SearchKind, whose: tuple[str, ...], given: tuple[str, ...]) -> Statement[NoRow]:
    tables = kind.table if kind.owned is kind.table else CrossJoin(kind.owned, kind.table)
    conditions = [*kind.found(whose), *kind.visible(whose)]
    return Statement(_read(kind, given).select_from(tables).where(*conditions))


async def read_all(read: Reader, scope: Scope, kind: SearchKind, within: Within, receive: Receive) -> None:
    """All rows of a scope, in no order."""
    await read.stream(_all_of(kind, within.whose, within.given), {**scope.values, **within.bound}, receive)


@lru_cache(maxsize=256)
def _some_of(kind: SearchKind, whose: tuple[str, ...], given: tuple[str, ...]) -> Statement[NoRow]:
    conditions = [number_of(kind.table) == numbers.c.value, *kind.visible(whose)]
    return Statement(_read(kind, given).select_from(joined(kind, numbers)).where(*conditions))


async def read_some(
    read: Reader, scope: Scope, kind: SearchKind, within: Within, found: Sequence[int], receive: Receive
) -> None:
    """The rows of a scope with these numbers, in no order."""
    values = {**scope.values, **within.bound, "numbers": list(found)}
    await read.stream(_some_of(kind, within.whose, within.given), values, receive)
