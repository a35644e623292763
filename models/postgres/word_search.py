"""Reads of the full-text index on PostgreSQL: the rows with the words of a question, and the rows that wait.

It implements `models.full_text.FullText`, together with what `word_index` has of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Subquery, column, literal_column, text

from models.columns import Number
from models.full_text import Look
from models.postgres.word_index import (
    bring_up_to_date,
    count_of_project,
    index_progress,
    mark_of,
    names_of,
    term_in,
)
from models.scope import Scope
from models.search_kinds import SearchKind
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
"""Up to this number the lanes of a user are read one by one; of more, all texts of the project with a word are read."""


@dataclass(frozen=True)
class Part:
    """The part of an index that a search reads: the lanes of a project with one of these `marks` (all of it without
    any), and of these only the lanes `among` them, unless that is None."""

    project: str
    marks: Sequence[int]
    among: Sequence[int] | None = None

    @property
    def look_ups(self) -> int:
        return max(1, len(self.marks))

    @property
    def values(self) -> dict[str, Any]:
        return {"marks": self.marks, "among": self.among}


async def part_to_read(read: Reader, scope: Scope, kind: SearchKind, lanes: Sequence[int] | None) -> Part:
    marks = [mark_of(scope.project, lane) for lane in lanes or ()]
    return Part(scope.project, marks) if len(marks) <= SOUGHT else Part(scope.project, [], marks)


# The indexed rows with a word, in the part to read (see `Part`).
_FOUND = "{table}.terms @> sought.terms"
_AMONG = " AND {table}.terms && CAST(:among AS bigint[])"

_COUNTS = """
SELECT (SELECT count(*) FROM (
  SELECT 1 FROM (
    SELECT array_remove(ARRAY[given.word, mark], NULL) AS terms
    FROM (SELECT 1) AS one LEFT JOIN unnest(CAST(:marks AS bigint[])) AS mark ON true
  ) AS sought CROSS JOIN {table} WHERE {found} LIMIT :limit
) AS few) AS count
FROM unnest(CAST(:words AS bigint[])) WITH ORDINALITY AS given (word, position) ORDER BY given.position
"""

# All words at once, and each to its end.
_COUNTS_ON_CITUS = """
WITH sought AS MATERIALIZED (
  SELECT given.position, array_remove(ARRAY[given.word, mark], NULL) AS terms
  FROM unnest(CAST(:words AS bigint[])) WITH ORDINALITY AS given (word, position)
  LEFT JOIN unnest(CAST(:marks AS bigint[])) AS mark ON true
), counted AS MATERIALIZED (
  SELECT sought.position, count(*) AS count FROM sought CROSS JOIN {table} WHERE {found} GROUP BY sought.position
)
SELECT least(coalesce(counted.count, 0), CAST(:limit AS bigint)) AS count
FROM unnest(CAST(:words AS bigint[])) WITH ORDINALITY AS given (word, position)
LEFT JOIN counted ON counted.position = given.position ORDER BY given.position
"""

# A row of the tail may have been indexed meanwhile.
_HITS = """
WITH sought AS MATERIALIZED (
  SELECT array_remove(ARRAY[given.word, mark], NULL) AS terms, given.worth, given.base
  FROM unnest(CAST(:words AS bigint[]), CAST(:worths AS bigint[]), CAST(:bases AS bigint[]))
  AS given (word, worth, base) LEFT JOIN unnest(CAST(:marks AS bigint[])) AS mark ON true
), late AS MATERIALIZED (
  SELECT * FROM unnest(CAST(:late AS bigint[]), CAST(:late_worths AS bigint[])) AS given (number, worth)
), found AS (
  SELECT {table}.number, CAST(sum(sought.worth) AS bigint) + max(sought.base) AS worth
  FROM sought CROSS JOIN {table} WHERE {found} GROUP BY {table}.number
), hit AS (
  SELECT number, worth FROM found WHERE NOT EXISTS (SELECT 1 FROM late WHERE late.number = found.number)
  UNION ALL SELECT number, worth FROM late
)
SELECT number, worth FROM hit WHERE (worth, number) < (CAST(:from_worth AS bigint), CAST(:from_number AS bigint))
AND (worth, number) >= (CAST(:to_worth AS bigint), CAST(:to_number AS bigint)) ORDER BY worth DESC, number DESC
"""


def _sql(sql: str, kind: SearchKind, *, is_wide: bool) -> str:
    names = names_of(kind)
    return sql.format(**names, found=(_FOUND + _AMONG * is_wide).format(**names))


@lru_cache(maxsize=16)
def _counts(kind: SearchKind, *, is_wide: bool) -> Statement[Count]:
    on_citus = text(_sql(_COUNTS_ON_CITUS, kind, is_wide=is_wide))
    return Statement(text(_sql(_COUNTS, kind, is_wide=is_wide)), Count, others={"citus": on_citus})


async def count_words(read: Reader, kind: SearchKind, part: Part, words: Sequence[str], *, most: int) -> list[int]:
    bound = {"words": [term_in(part.project, word) for word in words], "limit": most, **part.values}
    rows = await read.fetch(_counts(kind, is_wide=part.among is not None), bound, slowly=True)
    return [row["count"] for row in rows]


@lru_cache(maxsize=16)
def _hits(kind: SearchKind, *, is_wide: bool) -> Subquery:
    clause = text(_sql(_HITS, kind, is_wide=is_wide))
    return clause.columns(column("number", Number), column("worth", Number)).subquery("hit")


def hits(kind: SearchKind, part: Part) -> Subquery:
    return _hits(kind, is_wide=part.among is not None)


def values_of(look: Look) -> Mapping[str, Any]:
    part: Any = look.part
    return {
        "words": [term_in(part.project, term.word) for term in look.terms],
        "worths": [term.worth for term in look.terms],
        "bases": [term.base for term in look.terms],
        "late": [number for number, _, _ in look.tail],
        "late_worths": [worth + base for _, worth, base in look.tail],
        **part.values,
    }


def in_order(hit: Subquery) -> Sequence[ColumnElement[Any]]:
    return hit.c.worth.desc(), hit.c.number.desc()


def waits(rows: FromClause) -> ColumnElement[bool]:
    name: str = vars(rows)["name"]
    return literal_column(f"{name}.terms").is_(None)
