"""The full-text index on PostgreSQL, which finds the texts with a word within the scope of a search.

A searched row has the `terms` of its text: a hash for each of its words, and one for the lane in which its project
keeps it (see `models.keys.lane_of`). A GIN index on them finds the rows that have both a word and a lane: it goes
through the shorter of the two lists and looks up each entry in the other, so that the cost of a search depends on its
own project or its owner's lanes, however much others have. All hashes are the project's own.

A row waits for the index while its `terms` are null: a new one, and one whose text or owner was changed (see
`models.postgres.forms`). Its number says nothing about that, for numbers are not given in the order of commits.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from sys import maxsize
from typing import Any, TypedDict

from sqlalchemy import func, text
from sqlalchemy.sql import visitors
from sqlalchemy.sql.expression import ClauseElement

from models.full_text import Progress
from models.keys import lane_of
from models.postgres.dialect import DIALECT
from models.search_kinds import SEARCH_KINDS, SearchKind
from models.statements import Count, NoRow, R, Statement
from models.stemming import term_of
from models.store import Reader, Store, Transaction
from models.words import words

STEP_ROWS, STEP_BYTES = 1024, 500_000
"""Most rows that one transaction indexes, and most bytes of them (or one longer text): who edits one of them waits
meanwhile."""

STEPS = 16
"""Most times as many that one transaction indexes while others write faster than this one indexes."""

MANY = 100_000
"""Rows that are counted, at most."""

SAMPLE = 20_000
"""Conversations whose turns are counted; where a project has more, these are taken for the average."""

PATIENCE = 0.1
"""Seconds before the next look while another process indexes."""


@lru_cache(maxsize=200_000)
def _hash(sort: str, text: str) -> int:
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, person=sort.encode())
    return int.from_bytes(digest.digest(), "big", signed=True)


def term_in(project: str, word: str) -> int:
    """The term of a word, in any of its forms, in the texts of a project."""
    return _hash("project", project) ^ _hash("word", term_of(word))


def mark_of(project: str, lane: int) -> int:
    """The term of all texts in a lane of a project."""
    return _hash("project", project) ^ _hash("lane", str(lane))


def terms_of(project: str, lane: int, text: str) -> list[int]:
    """The terms of a text."""
    return [mark_of(project, lane), *{term_in(project, word) for word in set(words(text))}]


def sql_of(clause: ClauseElement) -> str:
    return str(clause.compile(dialect=DIALECT, compile_kwargs={"literal_binds": True}))


def _columns_of(kind: SearchKind, clause: ClauseElement) -> list[str]:
    """The columns of a kind's table that an expression is made of."""
    found = (part for part in visitors.iterate(clause) if getattr(part, "table", None) is kind.table)
    return list(dict.fromkeys(vars(column)["name"] for column in found))


INDEXED = {
    kind.table.name: frozenset(_columns_of(kind, func.coalesce(kind.words, *kind.placed)))
    for kind in SEARCH_KINDS.values()
}
"""The columns of each searched table that the terms of a row are made of."""


def names_of(kind: SearchKind) -> dict[str, str]:
    """The SQL fragments of a kind, by their placeholders in the statements here."""
    table, owned = kind.table.name, kind.owned
    joined = "".join(f"JOIN {owned.name} ON {sql_of(condition)}" for condition in kind.joined)
    # Messages are in the lane of their session, whose owner may change.
    owner = "CAST(NULL AS uuid)" if joined else sql_of(func.coalesce(*kind.placed))
    sizes = [f"coalesce(octet_length({table}.{name}), 0)" for name in _columns_of(kind, kind.words)]
    return {
        "table": table,
        "joined": joined,
        "words": sql_of(kind.words),
        "hash": f"hashtextextended({sql_of(kind.words)}, 0)",
        "size": " + ".join(sizes),
        "project": f"{owned.name}.project",
        "lane": f"{owned.name}.lane" if joined else "NULL",
        "owner": owner,
        "vectors": kind.vectors.name,
        "many": str(MANY),
        "keys": ", ".join(column.name for column in kind.vectors.primary_key),
    }


def texts(
    sql: str,
    row: type[R] = NoRow,
    *,
    upkeep: bool = False,
    on_citus: str | None = None,
    names_of: Callable[[SearchKind], dict[str, str]] = names_of,
) -> dict[str, Statement[R]]:
    """A statement for each kind; `on_citus` takes its place there (see `models.distribution`)."""

    def statement(kind: SearchKind) -> Statement[R]:
        names = names_of(kind)
        others = {} if on_citus is None else {"citus": text(on_citus.format(**names))}
        return Statement(text(sql.format(**names)), row, upkeep=upkeep, others=others)

    return {kind.name: statement(kind) for kind in SEARCH_KINDS.values()}


class ProgressRow(TypedDict):
    newest: int
    waiting: int


class Waiting(TypedDict):
    """A row that waits: its place, its text, and a hash of the text by which a change is noticed."""

    number: int
    project: str
    lane: int | None
    owner: bytes | None
    text: str
    hash: int


_progress = texts(
    "SELECT coalesce((SELECT max(number) FROM {table}), 0) AS newest, "
    "(SELECT count(*) FROM (SELECT 1 FROM {table} WHERE terms IS NULL LIMIT {many}) AS few) AS waiting",
    ProgressRow,
    upkeep=True,
)


async def index_progress(read: Reader, kind: SearchKind) -> Progress:
    row = (await read.fetch(_progress[kind.name], {}))[0]
    return Progress(row["newest"], row["waiting"])


# Indexing rows

_LOCK = "hashtextextended('recallql {table}', 0)"
_try_lock = texts(f"SELECT CAST(pg_try_advisory_xact_lock({_LOCK}) AS int) AS count", Count, upkeep=True)
_lock = texts(f"SELECT pg_advisory_xact_lock({_LOCK})", upkeep=True)
# The rows are looked up one by one, however many wait or did so at the last ANALYZE: joined, they might be read by all
# that wait for each, or with the whole table.
_waiting = texts(
    """
WITH size AS (
  SELECT number, {size} AS bytes FROM {table} WHERE terms IS NULL ORDER BY number LIMIT :limit
), step AS (
  SELECT number, sum(bytes) OVER (ORDER BY number) - bytes AS before FROM size
)
SELECT {table}.number, {project} AS project, {lane} AS lane, {owner} AS owner, {words} AS text, {hash} AS hash
FROM {table} {joined} WHERE {table}.number = ANY (ARRAY(SELECT number FROM step WHERE before < :bytes))
""",
    Waiting,
    upkeep=True,
)
_GIVEN = """
unnest(CAST(:numbers AS bigint[]), CAST(:hashes AS bigint[]), CAST(:owners AS uuid[]), CAST(:terms AS text[]))
AS given (number, hash, owner, terms)
"""
# A row that was changed meanwhile goes on waiting. The index on rows that wait is kept from use, for the same reason.
_PUT = """
UPDATE {table} SET terms = CAST(given.terms AS bigint[]) FROM [given]
WHERE {table}.number = given.number AND coalesce(cardinality({table}.terms), -1) < 0 AND {hash} = given.hash
AND {owner} IS NOT DISTINCT FROM given.owner
"""
_put = texts(
    _PUT.replace("[given]", _GIVEN),
    upkeep=True,
    # It takes no function there, but a list that was made before.
    on_citus=f"WITH given AS MATERIALIZED (SELECT * FROM {_GIVEN})" + _PUT.replace("[given]", "given"),  # noqa: S608
)
_queue = texts(
    """
INSERT INTO {vectors} ({keys}, text_hash)
SELECT {keys}, {hash} FROM {table} WHERE number = ANY (CAST(:numbers AS bigint[])) AND terms IS NOT NULL
AND EXISTS (SELECT 1 FROM vector_models WHERE name = '{vectors}')
ON CONFLICT ({keys}) DO UPDATE SET text_hash = excluded.text_hash,
vectors = CASE WHEN coalesce({vectors}.text_hash, excluded.text_hash) = excluded.text_hash THEN {vectors}.vectors END
""",
    upkeep=True,
)


def _made(rows: Sequence[Waiting]) -> dict[str, Any]:
    """The parameters of `_put` for rows that wait."""
    places = [lane_of(row["owner"]) if row["lane"] is None else row["lane"] for row in rows]
    terms = [terms_of(row["project"], lane, row["text"]) for row, lane in zip(rows, places, strict=True)]
    return {
        "numbers": [row["number"] for row in rows],
        "hashes": [row["hash"] for row in rows],
        "owners": [row["owner"] for row in rows],
        "terms": [f"{{{','.join(map(str, own))}}}" for own in terms],
    }


async def index_some(database: Store, kind: SearchKind, steps: int = 1) -> bool:
    """Indexes some rows of a kind, as many as fit into so many steps; False while another process does."""

    async def step(write: Transaction) -> bool:
        if not (await write.fetch(_try_lock[kind.name], {}))[0]["count"]:
            return False
        rows = await write.fetch(_waiting[kind.name], {"limit": steps * STEP_ROWS, "bytes": steps * STEP_BYTES})
        made = await asyncio.to_thread(_made, rows)
        await write.execute(_put[kind.name], made)
        await write.execute(_queue[kind.name], made)
        return True

    return await database.write(step)


async def pause_indexing(write: Transaction, kind: SearchKind) -> None:
    """Waits for the transaction that indexes rows of a kind; no other one does until the end of this transaction."""
    await write.fetch(_lock[kind.name], {})


async def bring_up_to_date(database: Store, kind: SearchKind, *, late: int) -> None:
    steps, before = 1, maxsize
    while (waiting := (await index_progress(database.reader, kind)).waiting) > late:
        steps = min(2 * steps, STEPS) if waiting > before else max(1, steps // 2)
        before = waiting
        if not await index_some(database, kind, steps):
            await asyncio.sleep(PATIENCE)


# Counting


class Size(Count):
    """The average number of texts in a conversation, and the number of conversations."""

    size: float


_of_conversations = {
    kind.name: Statement(
        text(
            f"""
SELECT (SELECT count(*) FROM (SELECT 1 FROM {kind.owned.name} WHERE project = :project LIMIT {MANY}) AS few) AS count,
(SELECT CAST(coalesce(avg(size), 0) AS float) FROM (
  SELECT {sql_of(kind.conversation.size)} AS size FROM {kind.owned.name} WHERE project = :project LIMIT {SAMPLE}
) AS few) AS size
"""  # noqa: S608 - names of tables
        ),
        Size,
    )
    for kind in SEARCH_KINDS.values()
    if kind.conversation is not None
}
_indexed = texts(
    "SELECT count(*) AS count FROM (SELECT 1 FROM {table} {joined} WHERE {project} = :project AND terms IS NOT NULL "
    "LIMIT {many}) AS few",
    Count,
)
_late = texts(
    "SELECT count(*) AS count FROM (SELECT 1 FROM {table} {joined} WHERE {project} = :project "
    "AND {table}.terms IS NULL LIMIT {many}) AS few",
    Count,
)


async def count_of_project(read: Reader, kind: SearchKind, project: str) -> int:
    of = {"project": project}
    if kind.conversation is None:
        return (await read.fetch(_indexed[kind.name], of, slowly=True))[0]["count"]
    row = (await read.fetch(_of_conversations[kind.name], of, slowly=True))[0]
    late = (await read.fetch(_late[kind.name], of, slowly=True))[0]["count"]
    return max(0, round(row["count"] * row["size"]) - late)
