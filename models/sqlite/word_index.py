"""The full-text index on SQLite: which texts hold which words, in the scope of a search and nowhere else.

A text stands in the index under a number of 63 bits: its project's number, its owner's lane (see `models.keys.lane_of`)
and its own number in its table. FTS5 keeps the numbers of each word in order and seeks in them, so that a search costs
what its own project or its owner's lanes hold, however much others have.

The index lags behind on purpose: putting a row in by itself costs three times the insert, in a batch a fifth of it.
Rows above `through` are not in it yet, and a search reads those of its scope as they are. Edits and deletions change
the index in the same transaction, by triggers (see the migrations).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from json import dumps
from typing import Any, NamedTuple

from sqlalchemy import Integer, Subquery, TextClause, column, text

from models.keys import LANE_BITS
from models.sqlite.database import Database, Reader, Transaction
from models.statements import Record, Statement

NUMBER_BITS = 31
LANE, PROJECT = 2**NUMBER_BITS, 2 ** (NUMBER_BITS + LANE_BITS)
"""The count of numbers in a lane, and in a project."""

PROJECTS = 2**14
"""Projects whose texts stand apart in the index; what is found in further ones shares statistics of words."""

STEP_ROWS, STEP_CHARACTERS = 1024, 500_000
"""Rows that one transaction puts into an index, and their characters, at most, or one longer text: others wait
meanwhile."""

SOUGHT = 64
"""Lanes of one user that are looked for one by one; of more, all lanes between the first and the last are read."""

COUNTED = 100_000
"""Rows with a word that are counted, at most; beyond that its weight hardly changes."""

RARE = 2**40
"""A row that holds a rare word of the question is worth more than this, and any other row less (see `Term`)."""


@dataclass(frozen=True)
class Indexed:
    """A table whose texts are indexed: `place` is the SQL of a row's number in the index, but for its own number; it
    takes the row's columns from `rows`, which names the table and what it is joined with."""

    table: str
    words: str
    rows: str
    place: str
    project: str


_LANE_OF = "lane_of(coalesce({table}.user_key, {table}.{other}))"
INDEXED = {
    of.table: of
    for of in (
        Indexed(
            "messages",
            "CASE WHEN coalesce(messages.parts_text, messages.aside) IS NULL THEN messages.content ELSE "
            "messages.content || coalesce(char(10) || messages.parts_text, '') "
            "|| coalesce(char(10) || messages.aside, '') END",
            "messages CROSS JOIN sessions ON sessions.key = messages.session_key",
            "sessions.lane",
            "sessions.project",
        ),
        Indexed(
            "memories",
            "memories.content",
            "memories",
            _LANE_OF.format(table="memories", other="session_key"),
            "memories.project",
        ),
        Indexed(
            "documents",
            "documents.title || char(10) || documents.content",
            "documents",
            _LANE_OF.format(table="documents", other="agent_key"),
            "documents.project",
        ),
    )
}


def _text(sql: str, of: Indexed) -> TextClause:
    numbers = {"lane": LANE, "lanes": 2**LANE_BITS, "span": PROJECT, "last": PROJECTS - 1}
    return text(sql.format(**vars(of), index=f"{of.table}_words", found=_FOUND.format(of=of, **numbers), **numbers))


def _texts(sql: str, *, upkeep: bool = False) -> dict[str, Statement]:
    """A statement for each index."""
    return {name: Statement(_text(sql, of), upkeep=upkeep) for name, of in INDEXED.items()}


# The rows of the index with a term, in the part that is read (see `Part`).
_FOUND = """json_each(:starts) AS start CROSS JOIN {of.table}_words WHERE {of.table}_words MATCH term.word
AND {of.table}_words.rowid BETWEEN start.value AND start.value + :width
AND (:lanes IS NULL OR {of.table}_words.rowid / {lane} % {lanes} IN (SELECT value FROM json_each(:lanes)))"""


class Progress(NamedTuple):
    """Up to which number the rows of a table are in its index, and the newest number there is."""

    through: int
    newest: int

    @property
    def waiting(self) -> int:
        """The number of rows that wait, about."""
        return self.newest - self.through


_progress = _texts(
    "SELECT through, (SELECT coalesce(max(number), 0) FROM {table}) AS newest FROM indexed WHERE name = '{table}'"
)


def progress(read: Reader, table: str) -> Progress:
    row = read.look_up(_progress[table], {})
    return Progress(0, 0) if row is None else Progress(row["through"], row["newest"])


# Putting rows in


# Row by row, so that of long texts no more are read than are put in.
_step_end = _texts(
    """
WITH RECURSIVE step (number, size, count) AS (
  SELECT :through, 0, 0 UNION ALL
  SELECT {table}.number, size + length({words}), count + 1 FROM step CROSS JOIN {table}
  WHERE {table}.number = (SELECT min(number) FROM {table} WHERE number > step.number)
  AND size < :characters AND count < :limit
)
SELECT max(number) AS number FROM step
""",
    upkeep=True,
)
_new_projects = _texts(
    "INSERT INTO indexed_projects (project, number) "
    "SELECT project, min({last}, (SELECT max(number) FROM indexed_projects) + row_number() OVER (ORDER BY project)) "
    "FROM (SELECT DISTINCT {project} AS project FROM {rows} WHERE {table}.number > :through AND {table}.number <= :end)"
    " WHERE project NOT IN (SELECT project FROM indexed_projects)",
    upkeep=True,
)
# FTS5 keeps what is inserted in memory as long as the numbers ascend, and writes it at once where they don't.
_put = _texts(
    "INSERT INTO {index} (rowid, text) "
    "SELECT indexed_projects.number * {span} + {place} * {lane} + {table}.number, indexed({words}) "
    "FROM {rows} CROSS JOIN indexed_projects ON indexed_projects.project = {project} "
    "WHERE {table}.number > :through AND {table}.number <= :end ORDER BY 1",
    upkeep=True,
)
_counted = _texts(
    "UPDATE indexed_projects SET {table} = {table} + new.count FROM ("
    "SELECT {project} AS project, count(*) AS count FROM {rows} "
    "WHERE {table}.number > :through AND {table}.number <= :end GROUP BY 1) AS new "
    "WHERE indexed_projects.project = new.project",
    upkeep=True,
)
_mark = _texts("UPDATE indexed SET through = :end WHERE name = '{table}'", upkeep=True)


async def put_some(database: Database, table: str) -> None:
    """Puts the next rows of a table into its index, as many as a transaction takes that nobody notices."""

    async def step(write: Transaction) -> None:
        through = progress(write, table).through
        limits = {"through": through, "limit": STEP_ROWS, "characters": STEP_CHARACTERS}
        end = (await write.fetch(_step_end[table], limits, slowly=True))[0]["number"]
        for statement in (_new_projects, _put, _counted, _mark):
            await write.execute(statement[table], {"through": through, "end": end}, slowly=True)

    await database.write(step)


# Looking words up


class Part(NamedTuple):
    """The part of an index that a search reads: `width` numbers from each of `starts` on, and of these only what is in
    `lanes`, where they are not None."""

    starts: Sequence[int]
    width: int
    lanes: Sequence[int] | None = None

    @property
    def values(self) -> dict[str, Any]:
        lanes = None if self.lanes is None else dumps(self.lanes)
        return {"starts": dumps(self.starts), "width": self.width - 1, "lanes": lanes}


def part_of(project: int | None, lanes: Sequence[int] | None) -> Part:
    """The part with a project's texts, or those of some of its lanes; nothing of a project has been indexed if it has
    no number."""
    if project is None:
        return Part([], 1)
    start = project * PROJECT
    if lanes is None:
        return Part([start], PROJECT)
    if len(lanes) <= SOUGHT:
        return Part([start + lane * LANE for lane in sorted(lanes)], LANE)
    return Part([start + min(lanes) * LANE], (max(lanes) - min(lanes) + 1) * LANE, lanes)


_project = _texts("SELECT number, {table} AS count FROM indexed_projects WHERE project = :project")


async def project_in_index(read: Reader, table: str, project: str) -> tuple[int | None, int]:
    """A project's number, None if it has none yet, and how many of its texts are in the index."""
    rows = await read.fetch(_project[table], {"project": project})
    return (rows[0]["number"], rows[0]["count"]) if rows else (None, 0)


_counts = _texts(
    "SELECT (SELECT count(*) FROM (SELECT 1 FROM {found} LIMIT :limit)) AS count "
    "FROM (SELECT key, value AS word FROM json_each(:words)) AS term ORDER BY term.key"
)


def _match(word: str) -> str:
    return f'"{word}"'


async def count_words(read: Reader, table: str, part: Part, words: Sequence[str], *, most: int = COUNTED) -> list[int]:
    """For each word in how many texts of the part it stands in any of its forms, up to so many."""
    bound = {"words": dumps([_match(word) for word in words]), "limit": most, **part.values}
    return [row["count"] for row in await read.fetch(_counts[table], bound, slowly=True)]


class Term(NamedTuple):
    """A word of a question and what it is worth in a row. Rows with a rare one are worth more than all others."""

    word: str
    worth: int
    rare: bool

    @property
    def base(self) -> int:
        return RARE if self.rare else 0


class Bound(NamedTuple):
    """A place in the order of candidates: the worthier first, of equals the newer."""

    worth: int
    number: int


HIGHEST, COMMON, LOWEST = Bound(2 * RARE, 0), Bound(RARE, 0), Bound(0, 0)
"""Before all candidates, between those with a rare word and the others, and after all."""


@dataclass(frozen=True)
class Look:
    """A look into the index for terms, in a part of it and up to the row `through`.

    `tail` has the rows above that which hold a term: their number, worth, and the base of their terms (see `Term`).
    """

    terms: Sequence[Term]
    part: Part
    through: int
    tail: Sequence[tuple[int, int, int]] = ()

    @property
    def values(self) -> dict[str, Any]:
        return {
            "terms": dumps([(_match(term.word), term.worth, term.base) for term in self.terms]),
            "tail": dumps(self.tail),
            "through": self.through,
            **self.part.values,
        }


# Without a limit SQLite would leave out the order, and whoever joins this would have to sort.
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


@lru_cache(maxsize=8)
def hits(table: str) -> Subquery:
    """The rows that a `Look` finds between two bounds, best first: their numbers and what they are worth."""
    clause = _text(_HITS, INDEXED[table])
    return clause.columns(column("number", Integer), column("worth", Integer)).subquery("hit")


def between_bounds(first: Bound, last: Bound) -> Record:
    """The parameters that `hits` takes for its bounds; the first bound is not included."""
    return {
        "from_worth": first.worth,
        "from_number": first.number,
        "to_worth": last.worth,
        "to_number": last.number,
    }
