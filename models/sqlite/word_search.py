"""Reads of the full-text index on SQLite: the rows with the words of a question, and the rows not indexed yet.

Each function takes the kind to read, and the scope and filters of the search, which are part of every statement.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from json import dumps
from typing import Any, NamedTuple, TypedDict

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Subquery,
    TextClause,
    bindparam,
    column,
    exists,
    literal,
    select,
    text,
)

from models.expressions import CrossJoin, Each, ListOf
from models.scope import Scope
from models.search_kinds import Conversation, Receive, SearchKind, Within
from models.sqlite.word_index import LANE, PROJECT, index_progress, names_of, number_of, project_in_index
from models.statements import Count, NoRow, Statement
from models.store import Reader

NEAR = 2
"""Turns that are read before and after a matching message."""

SOUGHT = 64
"""Up to this number the lanes of a user are read one by one; beyond it, all between the first and the last."""

COUNTED = 100_000
"""Limit on counting the rows with a word; beyond it the word's weight hardly changes."""

RARE = 2**40
"""The worth of a row with a rare word of the question is above this, that of any other row below (see `Term`)."""


class Part(NamedTuple):
    """The part of an index that a search reads: `width` rowids from each of `starts` on, only those in `lanes` unless
    they are None, and only rows up to the number `through`."""

    starts: Sequence[int]
    width: int
    lanes: Sequence[int] | None
    through: int

    @property
    def look_ups(self) -> int:
        """The number of index reads for one word."""
        return max(1, len(self.starts))

    @property
    def values(self) -> dict[str, Any]:
        lanes = None if self.lanes is None else dumps(self.lanes)
        return {"starts": dumps(self.starts), "width": self.width - 1, "lanes": lanes, "through": self.through}


async def part_to_read(read: Reader, scope: Scope, kind: SearchKind, lanes: Sequence[int] | None) -> Part:
    """The part with a project's texts, or those of some of its lanes, as far as they are indexed now."""
    project, _ = await project_in_index(read, kind, scope.project)
    through = (await index_progress(read, kind)).through
    if project is None:
        return Part([], 1, None, through)
    start = project * PROJECT
    if lanes is None:
        return Part([start], PROJECT, None, through)
    if len(lanes) <= SOUGHT:
        return Part([start + lane * LANE for lane in sorted(lanes)], LANE, None, through)
    return Part([start + min(lanes) * LANE], (max(lanes) - min(lanes) + 1) * LANE, lanes, through)


class Term(NamedTuple):
    """A word of a question and its worth in a row. Rows with a rare word are worth more than all others."""

    word: str
    worth: int
    rare: bool

    @property
    def base(self) -> int:
        return RARE if self.rare else 0


class Bound(NamedTuple):
    """A position in the order of candidates: by worth, then newest first."""

    worth: int
    number: int


HIGHEST, COMMON, LOWEST = Bound(2 * RARE, 0), Bound(RARE, 0), Bound(0, 0)
"""Before all candidates, between those with a rare word and the others, and after all."""


@dataclass(frozen=True)
class Look:
    """A query of a part of the index for terms.

    `tail` has the rows with a term that are not indexed yet: their number, worth, and the base of their terms (see
    `Term`).
    """

    terms: Sequence[Term]
    part: Part
    tail: Sequence[tuple[int, int, int]] = ()

    @property
    def values(self) -> dict[str, Any]:
        return {
            "terms": dumps([(_match(term.word), term.worth, term.base) for term in self.terms]),
            "tail": dumps(self.tail),
            **self.part.values,
        }


def _match(word: str) -> str:
    return f'"{word}"'


# The indexed rows with a term, in the part to read (see `Part`).
_FOUND = """json_each(:starts) AS start CROSS JOIN {index} WHERE {index} MATCH term.word
AND {index}.rowid BETWEEN start.value AND start.value + :width
AND (:lanes IS NULL OR {index}.rowid / {lane} % {lanes} IN (SELECT value FROM json_each(:lanes)))"""

_COUNTS = """
SELECT (SELECT count(*) FROM (SELECT 1 FROM {found} LIMIT :limit)) AS count
FROM (SELECT key, value AS word FROM json_each(:words)) AS term ORDER BY term.key
"""

# Without a limit SQLite would drop the ORDER BY, and a join with this would have to sort.
_HITS = """
WITH term AS MATERIALIZED (
  SELECT json_extract(value, '$[0]') AS word, json_extract(value, '$[1]') AS worth, json_extract(value, '$[2]') AS base
  FROM json_each(:terms)
), found AS (
  SELECT {index}.rowid % {lane} AS number, term.worth, term.base FROM term CROSS JOIN {found}
  AND {index}.rowid % {lane} <= :through
  UNION ALL SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
  FROM json_each(:tail)
), hit AS (
  SELECT number, sum(worth) + max(base) AS worth FROM found GROUP BY number
)
SELECT number, worth FROM hit WHERE (worth, number) < (:from_worth, :from_number)
AND (worth, number) >= (:to_worth, :to_number) ORDER BY worth DESC, number DESC LIMIT -1
"""


def _text(sql: str, kind: SearchKind) -> TextClause:
    names = names_of(kind)
    return text(sql.format(**names, found=_FOUND.format(**names)))


@lru_cache(maxsize=8)
def _counts(kind: SearchKind) -> Statement[Count]:
    return Statement(_text(_COUNTS, kind), Count)


async def count_words(
    read: Reader, kind: SearchKind, part: Part, words: Sequence[str], *, most: int = COUNTED
) -> list[int]:
    """For each word the number of texts in the part with any of its forms, up to a limit."""
    bound = {"words": dumps([_match(word) for word in words]), "limit": most, **part.values}
    return [row["count"] for row in await read.fetch(_counts(kind), bound, slowly=True)]


@lru_cache(maxsize=8)
def _hits(kind: SearchKind) -> Subquery:
    """The rows that a `Look` finds between two bounds, best first: their numbers and worth."""
    return _text(_HITS, kind).columns(column("number", Integer), column("worth", Integer)).subquery("hit")


def _between(first: Bound, last: Bound) -> dict[str, Any]:
    """The parameters of `_hits` for its bounds; the first bound is excluded."""
    return {
        "from_worth": first.worth,
        "from_number": first.number,
        "to_worth": last.worth,
        "to_number": last.number,
    }


numbers = Each(bindparam("numbers", type_=ListOf(Integer()))).table_valued("value", name="numbers")


def joined(kind: SearchKind, *before: FromClause) -> FromClause:
    """The tables in which rows of a kind are looked up, one by one: these first, then its own."""
    owned = () if kind.owned is kind.table else (kind.owned,)
    return reduce(CrossJoin, (*before, kind.table, *owned))


@lru_cache(maxsize=64)
def _tail(kind: SearchKind, whose: tuple[str, ...]) -> Statement[NoRow]:
    # By number, even if there is an index by owner: they are the newest of millions.
    recent = kind.table.alias("recent")
    number = number_of(recent)
    conditions = [*kind.visible(whose), number > bindparam("through", type_=Integer), number_of(kind.table) == number]
    columns = (number.label("number"), kind.words.label("text"))
    return Statement(select(*columns).select_from(joined(kind, recent)).where(*conditions))


async def read_tail(read: Reader, scope: Scope, kind: SearchKind, within: Within, part: Part, receive: Receive) -> None:
    """Numbers and texts of the rows of a scope that were not indexed yet when `part` was read."""
    await read.stream(_tail(kind, within.whose), {**scope.values, **within.bound, "through": part.through}, receive)


class Found(TypedDict):
    """A row found in the index."""

    number: int


class Candidate(Found):
    worth: int


@lru_cache(maxsize=256)
def _candidates(kind: SearchKind, whose: tuple[str, ...], given: tuple[str, ...]) -> Statement[Candidate]:
    hit, talk = _hits(kind), kind.conversation
    conditions = [*kind.visible(whose), number_of(kind.table) == hit.c.number]
    if given and talk is not None:
        near = kind.table.alias("near")
        of_near = [kind.filters[name](near) for name in given]
        conditions.append(exists(select(literal(1)).where(*_are_near(talk, near), *of_near)))
    else:
        conditions += [kind.filters[name](kind.table) for name in given]
    limit = bindparam("limit", type_=Integer)
    clause = select(hit.c.number, hit.c.worth).select_from(joined(kind, hit)).where(*conditions).limit(limit)
    return Statement(clause, Candidate, spills=True)


def _turn_in(talk: Conversation, rows: FromClause) -> tuple[ColumnElement[bytes], ColumnElement[int]]:
    """The conversation and the position of a turn, with its table under an alias."""
    key, position = talk.key.name, talk.position.name
    return rows.c[key], rows.c[position]


def _are_near(talk: Conversation, near: FromClause) -> list[ColumnElement[bool]]:
    """The conditions that a turn, with its table under an alias, is near another and not deleted."""
    key, position = _turn_in(talk, near)
    return [
        key == talk.key,
        position.between(talk.position - NEAR, talk.position + NEAR),
        position > talk.floor,
    ]


async def candidates(
    read: Reader,
    scope: Scope,
    kind: SearchKind,
    within: Within,
    look: Look,
    first: Bound,
    last: Bound,
    limit: int,
) -> list[Bound]:
    """The best rows between two bounds (the first excluded, the last included) that pass the filters; for turns also
    those near one that passes."""
    bound = {**scope.values, **within.bound, **look.values, **_between(first, last), "limit": limit}
    rows = await read.fetch(_candidates(kind, within.whose, within.given), bound, slowly=True)
    return [Bound(row["worth"], row["number"]) for row in rows]


@lru_cache(maxsize=64)
def _around(kind: SearchKind, talk: Conversation, whose: tuple[str, ...]) -> Statement[Found]:
    found = kind.table.alias("found")
    key, position = _turn_in(talk, found)
    conditions = [
        number_of(found) == numbers.c.value,
        talk.table.c.key == key,
        talk.key == key,
        talk.position.between(position - NEAR, position + NEAR),
        *kind.visible(whose),
    ]
    tables = reduce(CrossJoin, (numbers, found, talk.table, kind.table))
    return Statement(
        select(number_of(kind.table).label("number")).distinct().select_from(tables).where(*conditions), Found
    )


async def around(read: Reader, scope: Scope, kind: SearchKind, within: Within, found: Sequence[int]) -> Sequence[int]:
    """The numbers of these rows, and of the turns shortly before and after them."""
    if kind.conversation is None:
        return found
    bound = {**scope.values, **within.bound, "numbers": list(found)}
    statement = _around(kind, kind.conversation, within.whose)
    return [row["number"] for row in await read.fetch(statement, bound, slowly=True)]


@lru_cache(maxsize=64)
def _near_better(kind: SearchKind, talk: Conversation, whose: tuple[str, ...]) -> Statement[Found]:
    hit, own = _hits(kind), kind.table.alias("own")
    key, position = _turn_in(talk, own)
    conditions = [
        number_of(own) == numbers.c.value,
        talk.table.c.key == key,
        talk.key == key,
        talk.position.between(position - NEAR, position + NEAR),
        hit.c.number == number_of(kind.table),
        *kind.visible(whose),
    ]
    tables = reduce(CrossJoin, (numbers, own, talk.table, kind.table, hit))
    clause = select(numbers.c.value.label("number")).distinct().select_from(tables).where(*conditions)
    return Statement(clause, Found, spills=True)


async def near_better(
    read: Reader, scope: Scope, kind: SearchKind, within: Within, look: Look, last: Bound, found: Sequence[int]
) -> set[int]:
    """Those of these turns that are near a candidate up to a bound (included): they were found with it."""
    if kind.conversation is None:
        return set()
    bound = {**scope.values, **within.bound, **look.values, **_between(HIGHEST, last), "numbers": list(found)}
    statement = _near_better(kind, kind.conversation, within.whose)
    return {row["number"] for row in await read.fetch(statement, bound, slowly=True)}
