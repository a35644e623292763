"""The full-text index on SQLite, which finds the texts with a word within the scope of a search.

The rowid of a text in the index has 63 bits: its project's number, its owner's lane (see `models.keys.lane_of`) and its
own number in its table. FTS5 keeps the rowids of each word sorted and seeks in them, so that the cost of a search
depends on its own project or its owner's lanes, however much others have.

The index lags behind on purpose: indexing a row on its own costs three times the insert, in a batch a fifth of it. Rows
above `through` are not indexed yet; a search scans those of its scope. Edits and deletions update the index in the same
transaction, by triggers (see the migrations).
"""

from asyncio import gather
from sys import maxsize
from typing import Any, TypedDict

from sqlalchemy import func, text
from sqlalchemy.sql.expression import ClauseElement

from models.full_text import Progress
from models.keys import LANE_BITS
from models.search_kinds import SEARCH_KINDS, SearchKind
from models.statements import NoRow, R, Statement
from models.store import Reader, Store, Transaction

NUMBER_BITS = 31
LANE, LANES, PROJECT = 2**NUMBER_BITS, 2**LANE_BITS, 2 ** (NUMBER_BITS + LANE_BITS)
"""The capacities: numbers in a lane, lanes in a project, and numbers in a project."""

PROJECTS = 2**14
"""Projects with a range of their own in the index; further ones share the statistics of words."""

STEP_ROWS, STEP_CHARACTERS = 1024, 500_000
"""Most rows that one transaction indexes, and most of their characters (or one longer text): other writes wait
meanwhile."""

STEPS = 64
"""Most steps of indexing that share a transaction."""


def sql_of(clause: ClauseElement) -> str:
    return str(clause.compile(compile_kwargs={"literal_binds": True}))


def names_of(kind: SearchKind) -> dict[str, Any]:
    """The SQL fragments of a kind, by their placeholders in the statements here."""
    table, owned = kind.table.name, kind.owned
    joined = "".join(f" CROSS JOIN {owned.name} ON {sql_of(condition)}" for condition in kind.joined)
    owner = sql_of(func.coalesce(*kind.placed))
    return {
        "table": table,
        "index": f"{table}_words",
        "rows": f"{table}{joined}",
        "words": sql_of(kind.words),
        "project": f"{owned.name}.project",
        # Messages use the lane stored in their session, whose owner may change.
        "lane_of_row": f"{owned.name}.lane" if "lane" in owned.c else f"lane_of({owner})",
        "lane": LANE,
        "lanes": LANES,
        "span": PROJECT,
        "last": PROJECTS - 1,
    }


class Progressed(TypedDict):
    """The number up to which the rows of a table are indexed, and its newest number."""

    through: int
    newest: int


class Numbered(TypedDict):
    number: int


class IndexedProject(Numbered):
    """A project's number in the index, and how many of its texts are there."""

    count: int


def _texts(sql: str, row: type[R] = NoRow, *, upkeep: bool = False) -> dict[str, Statement[R]]:
    """A statement for each kind."""
    return {
        kind.name: Statement(text(sql.format(**names_of(kind))), row, upkeep=upkeep) for kind in SEARCH_KINDS.values()
    }


_progress = _texts(
    "SELECT through, (SELECT coalesce(max(number), 0) FROM {table}) AS newest FROM indexed WHERE name = '{table}'",
    Progressed,
)


async def _through(read: Reader, kind: SearchKind) -> Progressed:
    row = await read.look_up(_progress[kind.name], {})
    return Progressed(through=0, newest=0) if row is None else row


async def index_progress(read: Reader, kind: SearchKind) -> Progress:
    row = await _through(read, kind)
    return Progress(row["newest"], row["newest"] - row["through"])


async def indexed_through(read: Reader, kind: SearchKind) -> int:
    """The number up to which the rows of a table are indexed."""
    return (await _through(read, kind))["through"]


# Indexing rows


# Row by row, so that no more long texts are read than are indexed.
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
    Numbered,
    upkeep=True,
)
_new_projects = _texts(
    "INSERT INTO indexed_projects (project, number) "
    "SELECT project, min({last}, (SELECT max(number) FROM indexed_projects) + row_number() OVER (ORDER BY project)) "
    "FROM (SELECT DISTINCT {project} AS project FROM {rows} WHERE {table}.number > :through AND {table}.number <= :end)"
    " WHERE project NOT IN (SELECT project FROM indexed_projects)",
    upkeep=True,
)
# FTS5 buffers insertions in memory as long as the rowids ascend, and flushes when they don't.
_put = _texts(
    "INSERT INTO {index} (rowid, text) "
    "SELECT indexed_projects.number * {span} + {lane_of_row} * {lane} + {table}.number, indexed({words}) "
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


async def _put_some(database: Store, kind: SearchKind) -> None:
    """Indexes the next rows of a kind, as many as fit into a short transaction."""

    async def step(write: Transaction) -> None:
        through = await indexed_through(write, kind)
        limits = {"through": through, "limit": STEP_ROWS, "characters": STEP_CHARACTERS}
        end = (await write.fetch(_step_end[kind.name], limits, slowly=True))[0]["number"]
        for statement in (_new_projects, _put, _counted, _mark):
            await write.execute(statement[kind.name], {"through": through, "end": end}, slowly=True)

    await database.write(step)


async def bring_up_to_date(database: Store, kind: SearchKind, *, late: int) -> None:
    steps, before = 1, maxsize
    while (waiting := (await index_progress(database.reader, kind)).waiting) > late:
        # If writers are faster than single steps, several steps share a transaction with their writes.
        steps = min(2 * steps, STEPS) if waiting > before else max(1, steps // 2)
        before = waiting
        await gather(*(_put_some(database, kind) for _ in range(steps)))


_project = _texts("SELECT number, {table} AS count FROM indexed_projects WHERE project = :project", IndexedProject)


async def _in_index(read: Reader, kind: SearchKind, project: str) -> IndexedProject | None:
    rows = await read.fetch(_project[kind.name], {"project": project})
    return rows[0] if rows else None


async def number_of_project(read: Reader, kind: SearchKind, project: str) -> int | None:
    """A project's number, None if it has none yet."""
    row = await _in_index(read, kind, project)
    return row and row["number"]


async def count_of_project(read: Reader, kind: SearchKind, project: str) -> int:
    row = await _in_index(read, kind, project)
    return 0 if row is None else row["count"]
