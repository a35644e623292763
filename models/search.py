"""Reads for search: the texts of a scope, all of them if they are few, else those that the full-text index names.

Scope and filters are part of every statement, so that what others wrote never takes the place of what is looked for.
All that is SQLite's own about searching is in `models/sqlite/word_index.py`, `models/words.py` and the migrations.
"""

from asyncio import gather
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from sys import maxsize
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    LargeBinary,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
)

from models.documents import FILTERS as DOCUMENT_FILTERS
from models.keys import lane_of
from models.keyset import Condition, between
from models.memories import FILTERS as MEMORY_FILTERS
from models.messages import MESSAGES_OF_SESSION
from models.scope import Scope
from models.sqlite.database import Database, Reader
from models.sqlite.word_index import (
    HIGHEST,
    INDEXED,
    Bound,
    Look,
    Progress,
    between_bounds,
    hits,
    progress,
    project_in_index,
    put_some,
)
from models.statements import CrossJoin, Statement, in_project
from models.tables import documents, memories, messages, sessions

STEPS = 64
"""Steps of indexing, at most, that are taken together."""

NEAR = 2
"""Turns before and after a message that are read along with it."""


@dataclass(frozen=True, eq=False)
class Collection:
    """A kind of object that can be searched.

    Up to `scanned` of them in the whole project, and up to `scanned_of_one` in a user's or a session's, are read one
    by one; where there are more, the index says which, and they are read `chosen` at a time, best first. `late` is how
    many may wait to be put into it while others are written. Of one text `vectors` are kept at most.

    `words` is all that one is found by: what is `said`, and the `aside` that counts less, which messages have.
    """

    noun: str
    table: Table
    words: ColumnElement[str]
    filters: Mapping[str, Condition]
    scanned: int
    scanned_of_one: int
    chosen: int
    late: int
    vectors: int
    aside: ColumnElement[Any] = field(default_factory=null)
    said_alone: ColumnElement[str] | None = None

    @property
    def said(self) -> ColumnElement[str]:
        return self.words if self.said_alone is None else self.said_alone

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def has_neighbours(self) -> bool:
        """True for messages: those before and after a match are found with it."""
        return self.table is messages

    def is_of(self, row: Mapping[str, Any]) -> bool:
        return getattr(type(row), "noun", None) == self.noun


MESSAGES = Collection(
    "Message",
    messages,
    literal_column(INDEXED["messages"].words, Text),
    MESSAGES_OF_SESSION.filters,
    scanned=3000,
    scanned_of_one=20_000,
    chosen=200,
    late=2048,
    vectors=20,
    aside=messages.c.aside,
    said_alone=case(
        (messages.c.parts_text.is_(None), messages.c.content),
        else_=messages.c.content + "\n" + messages.c.parts_text,
    ),
)
MEMORIES = Collection(
    "Memory",
    memories,
    memories.c.content,
    {**MEMORY_FILTERS, **between("created_at")},
    scanned=3000,
    scanned_of_one=20_000,
    chosen=200,
    late=1024,
    vectors=20,
)
DOCUMENTS = Collection(
    "Document",
    documents,
    documents.c.title + "\n" + documents.c.content,
    {**DOCUMENT_FILTERS, **between("created_at")},
    # One may be as long as a thousand messages.
    scanned=100,
    scanned_of_one=100,
    chosen=50,
    late=64,
    # A hundred times as long, it may take more room.
    vectors=512,
)
COLLECTIONS = {"MESSAGES": MESSAGES, "MEMORIES": MEMORIES, "DOCUMENTS": DOCUMENTS}


@dataclass(frozen=True)
class Within:
    """Where to search: a user's objects, a session's, or with neither the whole project's.

    Of documents an agent's may be searched along with the user's. `given` names the filters that a result must pass,
    and `values` holds theirs.
    """

    user: bytes | None = None
    session: bytes | None = None
    agent: bytes | None = None
    given: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def keys(self) -> dict[str, bytes]:
        places = {"user": self.user, "session": self.session, "agent": self.agent}
        return {name: key for name, key in places.items() if key is not None}

    @property
    def whose(self) -> tuple[str, ...]:
        """Which keys narrow the search; none for the whole project."""
        return tuple(self.keys)

    @property
    def bound(self) -> dict[str, Any]:
        return {**self.values, **self.keys}


def _number(table: FromClause) -> ColumnElement[int]:
    return literal_column(f"{table.name}.number", Integer)  # pyright: ignore[reportAttributeAccessIssue]


def _conditions(collection: Collection, whose: tuple[str, ...]) -> list[ColumnElement[bool]]:
    """Whose rows can be seen at all; of messages beside their sessions."""
    owner = sessions if collection is MESSAGES else collection.table
    found = [in_project(owner)]
    if collection is MESSAGES:
        found += [sessions.c.deleted_at.is_(None), messages.c.sequence > sessions.c.deleted_through]
    if collection is MEMORIES:
        found += [memories.c.deleted_at.is_(None), MEMORY_FILTERS["as_of"](memories)]
    if whose:
        found.append(_belongs(collection, whose))
    return found


def _belongs(collection: Collection, whose: tuple[str, ...]) -> ColumnElement[bool]:
    """The condition that a row is of the user and of the session, or a document of the user or of the agent."""
    if collection is DOCUMENTS:
        return or_(*(documents.c[f"{name}_key"] == bindparam(name, type_=LargeBinary) for name in whose))
    owner = sessions if collection is MESSAGES else collection.table
    columns = {"user": owner.c.user_key, "session": sessions.c.key if collection is MESSAGES else owner.c.session_key}
    return and_(*(columns[name] == bindparam(name, type_=LargeBinary) for name in whose))


def _read(collection: Collection, given: tuple[str, ...]) -> Select[Any]:
    """Selects the columns that scoring needs, the same for every kind (see `resolvers.search.gathering`).

    `passes` says whether a row may be a result, `aside` is what it is found by besides its text.
    """
    table = collection.table
    passes = and_(*(collection.filters[name](table) for name in given)) if given else literal_column("1")
    is_message = collection is MESSAGES
    columns: list[ColumnElement[Any]] = [
        _number(table).label("number"),
        (messages.c.session_key if is_message else table.c.key).label("place"),
        (messages.c.sequence if is_message else literal_column("0", Integer)).label("position"),
        (messages.c.role if is_message else null()).label("role"),
        (messages.c.name if is_message else null()).label("name"),
        (sessions.c.user_key if is_message else null()).label("owner"),
        collection.said.label("text"),
        collection.aside.label("aside"),
        table.c.created_at,
        passes.label("passes"),
    ]
    return select(*columns)


@dataclass(frozen=True)
class Extent:
    """The size of a scope: about how many texts it has, and whether these are so few that all are read.

    `lanes` are those of the index that the texts stand in; None for all lanes of the project.
    """

    count: int
    is_small: bool
    lanes: Sequence[int] | None


@lru_cache(maxsize=16)
def _sizes(whose: tuple[str, ...]) -> Statement:
    """About how many messages the sessions of a user, or one session, have in each lane."""
    size = sessions.c.last_sequence - sessions.c.deleted_through
    columns = (sessions.c.lane, func.sum(size).label("count"))
    conditions = (in_project(sessions), _belongs(MESSAGES, whose))
    return Statement(select(*columns).where(*conditions).group_by(sessions.c.lane))


_limit = bindparam("limit", type_=Integer)
_project_size = Statement(
    select(
        func.count().label("sessions"), func.coalesce(func.sum(literal_column("size")), 0).label("count")
    ).select_from(
        select((sessions.c.last_sequence - sessions.c.deleted_through).label("size"))
        .where(in_project(sessions))
        .limit(_limit)
        .subquery()
    )
)


@lru_cache(maxsize=16)
def _few(collection: Collection, whose: tuple[str, ...]) -> Statement:
    """Counts the rows, up to a limit, deleted ones included."""
    # Of a user's memories those of one session are found by the session.
    narrow = whose[-1:] if collection is MEMORIES else whose
    belongs = _belongs(collection, narrow) if whose else in_project(collection.table)
    return Statement(
        select(func.count().label("count")).select_from(select(literal(1)).where(belongs).limit(_limit).subquery())
    )


_owners_of_session = Statement(
    select(memories.c.user_key).distinct().where(memories.c.session_key == bindparam("session"), in_project(memories))
)


async def extent(read: Reader, scope: Scope, collection: Collection, within: Within) -> Extent:
    bound = {**scope.values, **within.bound}
    if collection is MESSAGES and within.whose:
        rows = await read.fetch(_sizes(within.whose), bound, slowly=True)
        count = sum(row["count"] for row in rows)
        return Extent(count, count <= collection.scanned_of_one, [row["lane"] for row in rows])
    if not within.whose:
        return await _extent_of_project(read, scope, collection)
    most = collection.scanned_of_one
    count = (await read.fetch(_few(collection, within.whose), {**bound, "limit": most + 1}))[0]["count"]
    if within.session is None or count <= most:
        return Extent(count, count <= most, [lane_of(key) for key in within.keys.values()])
    owners = [row["user_key"] for row in await read.fetch(_owners_of_session, bound, slowly=True)]
    return Extent(count, is_small=False, lanes=list({lane_of(owner or within.session) for owner in owners}))


async def _extent_of_project(read: Reader, scope: Scope, collection: Collection) -> Extent:
    _, count = await project_in_index(read, collection.name, scope.project)
    if count > collection.scanned:
        return Extent(count, is_small=False, lanes=None)
    bound = {**scope.values, "limit": collection.scanned + 1}
    if collection is not MESSAGES:
        there = (await read.fetch(_few(collection, ()), bound))[0]["count"]
        return Extent(count, there <= collection.scanned, None)
    row = (await read.fetch(_project_size, bound, slowly=True))[0]
    return Extent(count, max(row["sessions"], row["count"]) <= collection.scanned, None)


Receive = Callable[[tuple[Any, ...]], None]
"""A function that takes each row in turn, in the thread that reads: the texts are never in memory together."""


@lru_cache(maxsize=256)
def _all_of(collection: Collection, whose: tuple[str, ...], given: tuple[str, ...]) -> Statement:
    conditions = _conditions(collection, whose)
    if collection is not MESSAGES:
        return Statement(_read(collection, given).where(*conditions))
    conditions.append(messages.c.session_key == sessions.c.key)
    return Statement(_read(collection, given).select_from(CrossJoin(sessions, messages)).where(*conditions))


async def read_all(read: Reader, scope: Scope, collection: Collection, within: Within, receive: Receive) -> None:
    """All rows of a scope, in no order."""
    statement = _all_of(collection, within.whose, within.given).into(receive)
    await read.fetch(statement, {**scope.values, **within.bound}, slowly=True)


_numbers = func.json_each(bindparam("numbers", type_=Text)).table_valued("value", name="numbers")


def _list(numbers: Iterable[int]) -> str:
    return f"[{','.join(map(str, numbers))}]"


@lru_cache(maxsize=256)
def _some_of(collection: Collection, whose: tuple[str, ...], given: tuple[str, ...]) -> Statement:
    conditions = [_number(collection.table) == _numbers.c.value, *_conditions(collection, whose)]
    joined = CrossJoin(_numbers, collection.table)
    if collection is MESSAGES:
        joined = CrossJoin(joined, sessions)
        conditions.append(sessions.c.key == messages.c.session_key)
    return Statement(_read(collection, given).select_from(joined).where(*conditions))


async def read_some(
    read: Reader, scope: Scope, collection: Collection, within: Within, numbers: Sequence[int], receive: Receive
) -> None:
    """The rows of a scope with these numbers, in no order."""
    statement = _some_of(collection, within.whose, within.given).into(receive)
    await read.fetch(statement, {**scope.values, **within.bound, "numbers": _list(numbers)}, slowly=True)


def _scoped(collection: Collection, whose: tuple[str, ...], *before: FromClause) -> tuple[FromClause, list[Any]]:
    """The rows of a scope that are looked up one by one: what they are joined with, in this order, and conditions."""
    conditions = _conditions(collection, whose)
    joined: FromClause = collection.table
    for table in reversed(before):
        joined = CrossJoin(table, joined)
    if collection is MESSAGES:
        joined = CrossJoin(joined, sessions)
        conditions.append(sessions.c.key == messages.c.session_key)
    return joined, conditions


@lru_cache(maxsize=64)
def _tail(collection: Collection, whose: tuple[str, ...]) -> Statement:
    # By their numbers, also where the rows of one owner have an index: they are the newest of millions.
    recent = collection.table.alias("recent")
    number = literal_column("recent.number", Integer)
    joined, conditions = _scoped(collection, whose, recent)
    conditions += [number > bindparam("through", type_=Integer), _number(collection.table) == number]
    return Statement(
        select(number.label("number"), collection.words.label("text")).select_from(joined).where(*conditions)
    )


async def read_tail(
    read: Reader, scope: Scope, collection: Collection, within: Within, through: int, receive: Receive
) -> None:
    """Numbers and texts of the rows of a scope that were written after those up to a number."""
    statement = _tail(collection, within.whose).into(receive)
    await read.fetch(statement, {**scope.values, **within.bound, "through": through}, slowly=True)


@lru_cache(maxsize=256)
def _candidates(collection: Collection, whose: tuple[str, ...], given: tuple[str, ...]) -> Statement:
    hit = hits(collection.name)
    joined, conditions = _scoped(collection, whose, hit)
    conditions.append(_number(collection.table) == hit.c.number)
    if given and collection.has_neighbours:
        near = messages.alias("near")
        conditions.append(
            exists(
                select(literal(1)).where(
                    near.c.session_key == messages.c.session_key,
                    near.c.sequence.between(messages.c.sequence - NEAR, messages.c.sequence + NEAR),
                    near.c.sequence > sessions.c.deleted_through,
                    *(collection.filters[name](near) for name in given),
                )
            )
        )
    else:
        conditions += [collection.filters[name](collection.table) for name in given]
    return Statement(
        select(hit.c.number, hit.c.worth).select_from(joined).where(*conditions).limit(_limit), spills=True
    )


async def candidates(
    read: Reader,
    scope: Scope,
    collection: Collection,
    within: Within,
    look: Look,
    first: Bound,
    last: Bound,
    limit: int,
) -> list[Bound]:
    """The best rows between two bounds (the first excluded, the last not) that pass the filters, or of messages that
    have one near that does."""
    bound = {**scope.values, **within.bound, **look.values, **between_bounds(first, last), "limit": limit}
    rows = await read.fetch(_candidates(collection, within.whose, within.given), bound, slowly=True)
    return [Bound(row["worth"], row["number"]) for row in rows]


@lru_cache(maxsize=64)
def _around(whose: tuple[str, ...]) -> Statement:
    found = messages.alias("found")
    conditions = [
        literal_column("found.number", Integer) == _numbers.c.value,
        sessions.c.key == found.c.session_key,
        messages.c.session_key == found.c.session_key,
        messages.c.sequence.between(found.c.sequence - NEAR, found.c.sequence + NEAR),
        *_conditions(MESSAGES, whose),
    ]
    joined = CrossJoin(CrossJoin(CrossJoin(_numbers, found), sessions), messages)
    return Statement(select(_number(messages).label("number")).distinct().select_from(joined).where(*conditions))


async def around(read: Reader, scope: Scope, within: Within, numbers: Iterable[int]) -> list[int]:
    """The numbers of these messages and of those said shortly before and after."""
    bound = {**scope.values, **within.bound, "numbers": _list(numbers)}
    return [row["number"] for row in await read.fetch(_around(within.whose), bound, slowly=True)]


@lru_cache(maxsize=64)
def _near_better(whose: tuple[str, ...]) -> Statement:
    hit, own = hits(MESSAGES.name), messages.alias("own")
    conditions = [
        literal_column("own.number", Integer) == _numbers.c.value,
        sessions.c.key == own.c.session_key,
        messages.c.session_key == own.c.session_key,
        messages.c.sequence.between(own.c.sequence - NEAR, own.c.sequence + NEAR),
        hit.c.number == _number(messages),
        *_conditions(MESSAGES, whose),
    ]
    joined = CrossJoin(CrossJoin(CrossJoin(CrossJoin(_numbers, own), sessions), messages), hit)
    return Statement(
        select(_numbers.c.value.label("number")).distinct().select_from(joined).where(*conditions), spills=True
    )


async def near_better(
    read: Reader, scope: Scope, within: Within, look: Look, last: Bound, numbers: Sequence[int]
) -> set[int]:
    """Which of these messages stand near a candidate before a bound (included): they were found with it."""
    bound = {**scope.values, **within.bound, **look.values, **between_bounds(HIGHEST, last), "numbers": _list(numbers)}
    return {row["number"] for row in await read.fetch(_near_better(within.whose), bound, slowly=True)}


def index_progress(read: Reader, collection: Collection) -> Progress:
    return progress(read, collection.name)


async def bring_up_to_date(database: Database, collection: Collection, *, late: int | None = None) -> None:
    """Puts the newer rows into the index, step by step, until no more than `late` wait."""
    late = collection.late if late is None else late
    steps, before = 1, maxsize
    while (waiting := progress(database.reader, collection.name).waiting) > late:
        # Where others write faster than single steps follow, several steps share a transaction with what they write.
        steps = min(2 * steps, STEPS) if waiting > before else max(1, steps // 2)
        before = waiting
        await gather(*(put_some(database, collection.name) for _ in range(steps)))
