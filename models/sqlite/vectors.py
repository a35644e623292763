"""Vectors of searchable texts on SQLite: the backlog of texts without vectors, storing and reading vectors.

A row belongs to the text with the same `number`. Texts are processed in the order of their numbers, so that those above
the highest number here have none yet; a text edited since has a row without vectors. A crash loses nothing, since there
is no other state. All vectors of a table are of one model.
"""

from collections.abc import Sequence
from typing import Any, TypedDict

from sqlalchemy import and_, null, text, true

from models.search_kinds import SEARCH_KINDS, SearchKind
from models.sqlite.word_index import sql_of
from models.statements import R, Statement
from models.store import Reader, Store, Transaction
from models.vectors import LONGEST_READ, VectorProgress, WaitingText


class KeptVectors(TypedDict):
    position: int
    vectors: bytes


class ProgressRow(TypedDict):
    newest: int
    through: int
    edited: int
    model: str | None


def _names_of(kind: SearchKind) -> dict[str, str]:
    """The SQL fragments of a kind, by their placeholders in the statements here."""
    turn, aside = kind.turn, null() if kind.aside is None else kind.aside
    owned = "".join(f"JOIN {kind.owned.name} ON {sql_of(condition)} " for condition in kind.joined)
    return {
        "table": kind.table.name,
        "vectors": kind.vectors.name,
        "columns": ", ".join(column.name for column in kind.vectors.primary_key),
        "exists": sql_of(and_(true(), *kind.exists)),
        # The longest texts have a MiB, and many are read together.
        "text": f"substr(coalesce(nullif({sql_of(kind.said)}, ''), {sql_of(aside)}, ''), 1, {LONGEST_READ})",
        "speaker": f"{sql_of(turn['role'])} AS role, {sql_of(turn['name'])} AS name, "
        "users.name AS user_name, users.first_name, users.last_name",
        "join": f"{owned}LEFT JOIN users ON users.key = {sql_of(turn['user'])}",
    }


def _texts(sql: str, row: type[R] = dict[str, Any]) -> dict[str, Statement[R]]:
    """A statement for each kind."""
    return {kind.name: Statement(text(sql.format(**_names_of(kind))), row) for kind in SEARCH_KINDS.values()}


_progress = _texts(
    "SELECT (SELECT coalesce(max(number), 0) FROM {table}) AS newest, "
    "(SELECT coalesce(max(number), 0) FROM {vectors}) AS through, "
    "(SELECT count(*) FROM {vectors} WHERE vectors IS NULL) AS edited, "
    "(SELECT model FROM vector_models WHERE name = '{vectors}') AS model",
    ProgressRow,
)
_waiting = _texts(
    "SELECT {table}.number, {table}.updated_at, {table}.version, "
    "CASE WHEN {exists} THEN {text} END AS text, {speaker} FROM "
    "(SELECT number FROM (SELECT number FROM {vectors} WHERE vectors IS NULL ORDER BY number LIMIT :limit) UNION ALL "
    "SELECT number FROM (SELECT number FROM {table} WHERE number > :through ORDER BY number LIMIT :limit)) AS waiting "
    "CROSS JOIN {table} ON {table}.number = waiting.number {join} ORDER BY {table}.number",
    WaitingText,
)
_put = _texts(
    "INSERT INTO {vectors} (number, {columns}, vectors) SELECT number, {columns}, :vectors FROM {table} "
    "WHERE number = :number AND updated_at = :updated_at AND version = :version "
    "ON CONFLICT (number) DO UPDATE SET vectors = excluded.vectors"
)
_fill = _texts(
    "INSERT INTO {vectors} (number, {columns}, vectors) SELECT number, {columns}, NULL FROM {table} "
    "WHERE number > (SELECT coalesce(max(number), 0) FROM {vectors} WHERE number <= :through) AND number <= :end "
    "ON CONFLICT DO NOTHING"
)
_mark = _texts(
    "INSERT INTO vector_models (name, model) VALUES ('{vectors}', :model) "
    "ON CONFLICT (name) DO UPDATE SET model = excluded.model"
)
_drop = _texts("DELETE FROM {vectors}")
_read = _texts(
    "SELECT wanted.key AS position, {vectors}.vectors FROM json_each(:numbers) AS wanted "
    "CROSS JOIN {vectors} ON {vectors}.number = wanted.value "
    "WHERE {vectors}.number <= :through AND {vectors}.vectors IS NOT NULL "
    "AND EXISTS (SELECT 1 FROM vector_models WHERE name = '{vectors}' AND model = :model)",
    KeptVectors,
)


async def vector_progress(read: Reader, kind: SearchKind, model: str) -> VectorProgress:
    row = (await read.fetch(_progress[kind.name], {}))[0]
    waiting = row["newest"] - row["through"] + row["edited"] if row["model"] == model else row["newest"]
    return VectorProgress(row["through"], waiting, row["model"])


async def find_waiting(database: Store, kind: SearchKind) -> None:
    """Does nothing: a text waits as soon as it has its number."""


async def texts_without_vectors(read: Reader, kind: SearchKind, through: int, limit: int) -> list[WaitingText]:
    return await read.fetch(_waiting[kind.name], {"through": through, "limit": limit}, slowly=True)


async def claim_vectors(write: Transaction, kind: SearchKind, model: str) -> None:
    if (await vector_progress(write, kind, model)).kept != model:
        await write.execute(_drop[kind.name], {}, slowly=True)
        await write.execute(_mark[kind.name], {"model": model})


async def put_vectors(
    write: Transaction, kind: SearchKind, model: str, through: int, rows: Sequence[WaitingText], made: Sequence[bytes]
) -> bool:
    if (await vector_progress(write, kind, model)).kept != model:
        return False
    for row, vectors in zip(rows, made, strict=True):
        given = {
            "number": row["number"],
            "updated_at": row["updated_at"],
            "version": row["version"],
            "vectors": vectors,
        }
        await write.execute(_put[kind.name], given)
    await write.execute(_fill[kind.name], {"through": through, "end": rows[-1]["number"]})
    return True


async def read_vectors(
    read: Reader, kind: SearchKind, model: str, numbers: Sequence[int], through: int
) -> list[bytes | None]:
    bound = {"numbers": f"[{','.join(map(str, numbers))}]", "model": model, "through": through}
    found: list[bytes | None] = [None] * len(numbers)
    for row in await read.fetch(_read[kind.name], bound, slowly=True):
        found[row["position"]] = row["vectors"]
    return found
