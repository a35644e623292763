"""What search reads: the texts of a scope, and on SQLite a full-text index that finds candidates in a large one.

The index lags behind on purpose: putting a row in by itself costs three times the insert, in a batch a fifth of it. So
a row is its own entry in the queue: those above `through` are not in the index yet, and a search reads them as they
are. What is edited, deleted or erased leaves the index in the same transaction, by triggers (see the migration).

All that is SQLite's own about searching is here, in the migration and in `models/words.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from json import loads
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
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    text,
)

from models.database import Database, Reader, Transaction
from models.documents import FILTERS as DOCUMENT_FILTERS
from models.keyset import Condition, between
from models.memories import FILTERS as MEMORY_FILTERS
from models.messages import MESSAGES_OF_SESSION
from models.scope import Scope
from models.statements import CrossJoin, Record, Statement, in_project
from models.tables import documents, memories, messages, sessions

NEAR = 2
"""Turns before and after a message that are read along with it."""

INDEXED_TOGETHER = 4096
"""Rows that one transaction puts into an index: the larger, the cheaper a row."""

_COUNTED = 100_000
"""Rows with a word, at most, that are counted; beyond that it says nothing anyway."""


@dataclass(frozen=True, eq=False)
class Collection:
    """A kind of object that can be searched.

    Up to `scanned` of them in the whole project, and up to `scanned_of_one` in a user's or a session's, are read one
    by one; where there are more, the index says which, and the `chosen` best of them are read. `late` is how many may
    wait to be put into it. Of one text `vectors` are kept at most.
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

    @property
    def name(self) -> str:
        return self.table.name

    def is_of(self, row: Record) -> bool:
        return getattr(type(row), "noun", None) == self.noun


MESSAGES = Collection(
    "Message",
    messages,
    messages.c.content,
    MESSAGES_OF_SESSION.filters,
    scanned=3000,
    scanned_of_one=20_000,
    chosen=200,
    late=2048,
    vectors=20,
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
    """Whether a row is of the user and of the session; or a document, of the user or of the agent."""
    if collection is DOCUMENTS:
        return or_(*(documents.c[f"{name}_key"] == bindparam(name, type_=LargeBinary) for name in whose))
    owner = sessions if collection is MESSAGES else collection.table
    columns = {"user": owner.c.user_key, "session": sessions.c.key if collection is MESSAGES else owner.c.session_key}
    return and_(*(columns[name] == bindparam(name, type_=LargeBinary) for name in whose))


def _read(collection: Collection, given: tuple[str, ...]) -> Select[Any]:
    """What scoring needs of each row, the same for every kind; `passes` says whether it may be a result."""
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
        collection.words.label("text"),
        table.c.created_at,
        passes.label("passes"),
    ]
    return select(*columns)


@lru_cache(maxsize=256)
def _all_of(collection: Collection, whose: tuple[str, ...], given: tuple[str, ...]) -> Statement:
    conditions = _conditions(collection, whose)
    if collection is not MESSAGES:
        return Statement(_read(collection, given).where(*conditions).order_by(collection.table.c.key))
    joined = CrossJoin(sessions, messages)
    conditions.append(messages.c.session_key == sessions.c.key)
    return Statement(
        _read(collection, given).select_from(joined).where(*conditions).order_by(sessions.c.key, messages.c.sequence)
    )


_numbers = func.json_each(bindparam("numbers", type_=Text)).table_valued("value", name="numbers")


@lru_cache(maxsize=256)
def _some_of(collection: Collection, whose: tuple[str, ...], given: tuple[str, ...]) -> Statement:
    """The rows with these numbers that can be seen; of messages with those said shortly before and after."""
    conditions = _conditions(collection, whose)
    if collection is not MESSAGES:
        joined = CrossJoin(_numbers, collection.table)
        conditions.append(_number(collection.table) == _numbers.c.value)
        return Statement(_read(collection, given).select_from(joined).where(*conditions))
    hit = messages.alias("hit")
    conditions += [
        literal_column("hit.number", Integer) == _numbers.c.value,
        sessions.c.key == hit.c.session_key,
        messages.c.session_key == hit.c.session_key,
        messages.c.sequence.between(hit.c.sequence - NEAR, hit.c.sequence + NEAR),
    ]
    joined = CrossJoin(CrossJoin(CrossJoin(_numbers, hit), sessions), messages)
    return Statement(_read(collection, given).select_from(joined).where(*conditions))


@lru_cache(maxsize=256)
def _passing(collection: Collection, whose: tuple[str, ...], given: tuple[str, ...]) -> Statement:
    """Which of these numbers are of rows that may be results."""
    table = collection.table
    conditions = [_number(table) == _numbers.c.value, *_conditions(collection, whose)]
    conditions += [collection.filters[name](table) for name in given]
    joined = CrossJoin(_numbers, table)
    if collection is MESSAGES:
        joined = CrossJoin(joined, sessions)
        conditions.append(sessions.c.key == messages.c.session_key)
    return Statement(select(_number(table).label("number")).select_from(joined).where(*conditions))


@lru_cache(maxsize=16)
def _count(collection: Collection, whose: tuple[str, ...]) -> Statement:
    """About how many there are, at most: what is deleted is counted too where that is cheaper."""
    table = collection.table
    if not whose:
        return Statement(select(func.coalesce(func.max(_number(table)), 0).label("count")).select_from(table))
    if collection is MESSAGES:
        size = sessions.c.last_sequence - sessions.c.deleted_through
        return Statement(select(func.coalesce(func.sum(size), 0).label("count")).where(_belongs(collection, whose)))
    # Of a user's memories those of one session are found by the session.
    narrow = whose[-1:] if collection is MEMORIES else whose
    some = select(literal(1)).where(_belongs(collection, narrow)).limit(collection.scanned_of_one + 1)
    return Statement(select(func.count().label("count")).select_from(some.subquery()))


def _texts(sql: str) -> dict[str, Statement]:
    """A statement for each collection's index."""
    written = {of.name: str(of.words.compile(compile_kwargs={"literal_binds": True})) for of in COLLECTIONS.values()}
    return {
        name: Statement(text(sql.format(table=name, index=f"{name}_words", words=words)))
        for name, words in written.items()
    }


_progress = _texts(
    "SELECT through, (SELECT coalesce(max(number), 0) FROM {table}) AS newest FROM indexed WHERE name = '{table}'"
)
# One text instead of many rows: ten thousand objects less to make.
_with_word = _texts(
    "SELECT json_group_array(rowid) AS numbers FROM "
    "(SELECT rowid FROM {index} WHERE {index} MATCH :word ORDER BY rowid DESC LIMIT :limit)"
)
_count_word = _texts("SELECT count(*) AS count FROM (SELECT 1 FROM {index} WHERE {index} MATCH :word LIMIT :limit)")
_tail = _texts("SELECT number, {words} AS text FROM {table} WHERE number > :through ORDER BY number")
_batch_end = _texts(
    "SELECT max(number) AS number FROM "
    "(SELECT number FROM {table} WHERE number > :through ORDER BY number LIMIT :limit)"
)
_put = _texts(
    "INSERT INTO {index} (rowid, text) SELECT number, indexed({words}) FROM {table} "
    "WHERE number > :through AND number <= :end"
)
_mark = _texts("UPDATE indexed SET through = :end WHERE name = '{table}'")


async def is_small(read: Reader, collection: Collection, within: Within) -> bool:
    """Whether a scope has so little in it that it is read whole."""
    count = (await read.fetch(_count(collection, within.whose), within.bound))[0]["count"]
    return count <= (collection.scanned_of_one if within.whose else collection.scanned)


async def read_all(read: Reader, scope: Scope, collection: Collection, within: Within) -> list[Record]:
    """All rows of a scope, in their order."""
    statement = _all_of(collection, within.whose, within.given)
    return await read.fetch(statement, {**scope.values, **within.bound}, slowly=True)


async def passing(
    read: Reader, scope: Scope, collection: Collection, within: Within, numbers: Iterable[int]
) -> set[int]:
    """Which of these numbers are of rows of the scope that pass its filters."""
    statement = _passing(collection, within.whose, within.given)
    bound = {**scope.values, **within.bound, "numbers": f"[{','.join(map(str, numbers))}]"}
    return {row["number"] for row in await read.fetch(statement, bound, slowly=True)}


async def read_some(
    read: Reader, scope: Scope, collection: Collection, within: Within, numbers: Sequence[int]
) -> list[Record]:
    """The rows of a scope with these numbers, and what was said near them; in no order, some more than once."""
    statement = _some_of(collection, within.whose, within.given)
    bound = {**scope.values, **within.bound, "numbers": f"[{','.join(map(str, numbers))}]"}
    return await read.fetch(statement, bound, slowly=True)


async def progress(read: Reader, collection: Collection) -> tuple[int, int]:
    """Through which number the rows are in the index, and the newest number there is."""
    row = (await read.fetch(_progress[collection.name], {}))[0]
    return row["through"], row["newest"]


async def read_tail(read: Reader, collection: Collection, through: int) -> list[Record]:
    """Numbers and texts of the rows that are not in the index yet, of any project."""
    return await read.fetch(_tail[collection.name], {"through": through}, slowly=True)


def _match(word: str) -> str:
    return f'"{word}"'


async def count_word(read: Reader, collection: Collection, word: str) -> int:
    """In how many rows of the index, of any project, a word stands in any of its forms."""
    bound = {"word": _match(word), "limit": _COUNTED}
    return (await read.fetch(_count_word[collection.name], bound, slowly=True))[0]["count"]


async def rows_with_word(read: Reader, collection: Collection, word: str, limit: int) -> list[int]:
    """The numbers of the newest rows in the index, of any project, in which a word stands in any of its forms."""
    bound = {"word": _match(word), "limit": limit}
    return loads((await read.fetch(_with_word[collection.name], bound, slowly=True))[0]["numbers"])


async def bring_up_to_date(database: Database, collection: Collection, *, late: int | None = None) -> None:
    """Puts the newer rows into the index, batch by batch, until no more than `late` wait."""
    late = collection.late if late is None else late

    async def batch(write: Transaction) -> bool:
        through, newest = await progress(write, collection)
        if newest - through <= late:
            return False
        name = collection.name
        bound = {"through": through, "limit": INDEXED_TOGETHER}
        end = (await write.fetch(_batch_end[name], bound))[0]["number"]
        await write.execute(_put[name], {"through": through, "end": end}, slowly=True)
        await write.execute(_mark[name], {"end": end})
        return True

    # A look before, so that nothing is written where nothing waits.
    through, newest = await progress(database.reader, collection)
    while newest - through > late and await database.write(batch):
        through, newest = await progress(database.reader, collection)
