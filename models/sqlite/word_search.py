"""Reads of the full-text index on SQLite: the rows with the words of a question, and the rows not indexed yet.

It implements `models.full_text.FullText`, together with what `word_index` has of it.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from json import dumps
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, FromClause, Integer, Subquery, TextClause, bindparam, column, text

from models.full_text import Look
from models.scope import Scope
from models.search_kinds import SearchKind, number_of
from models.sqlite.word_index import (
    LANE,
    PROJECT,
    bring_up_to_date,
    count_of_project,
    index_progress,
    indexed_through,
    names_of,
    number_of_project,
)
from models.statements import Count, Statement
from models.store import Reader

__all__ = [
    "bring_up_to_date",
    "count_of_project",
    "count_words",
    "hits",
    "in_order",
    "index_progress",
    "part_to_read",
    "values_of",
    "waits",
]

SOUGHT = 64
"""Up to this number the lanes of a user are read one by one; beyond it, all between the first and the last."""


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
    project = await number_of_project(read, kind, scope.project)
    through = await indexed_through(read, kind)
    if project is None:
        return Part([], 1, None, through)
    start = project * PROJECT
    if lanes is None:
        return Part([start], PROJECT, None, through)
    if len(lanes) <= SOUGHT:
        return Part([start + lane * LANE for lane in sorted(lanes)], LANE, None, through)
    return Part([start + min(lanes) * LANE], (max(lanes) - min(lanes) + 1) * LANE, lanes, through)


def values_of(look: Look) -> Mapping[str, Any]:
    return {
        "terms": dumps([(_match(term.word), term.worth, term.base) for term in look.terms]),
        "tail": dumps(look.tail),
        **look.part.values,
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


async def count_words(read: Reader, kind: SearchKind, part: Part, words: Sequence[str], *, most: int) -> list[int]:
    """For each word the number of texts in the part with any of its forms, up to a limit."""
    bound = {"words": dumps([_match(word) for word in words]), "limit": most, **part.values}
    return [row["count"] for row in await read.fetch(_counts(kind), bound, slowly=True)]


@lru_cache(maxsize=8)
def _hits(kind: SearchKind) -> Subquery:
    return _text(_HITS, kind).columns(column("number", Integer), column("worth", Integer)).subquery("hit")


def hits(kind: SearchKind, part: Part) -> Subquery:
    return _hits(kind)


def in_order(hit: Subquery) -> Sequence[ColumnElement[Any]]:
    # A CROSS JOIN keeps it; sorted again, all rows would be looked up before the first of them.
    return ()


def waits(rows: FromClause) -> ColumnElement[bool]:
    return number_of(rows) > bindparam("through", type_=Integer)
