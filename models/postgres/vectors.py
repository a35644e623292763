"""Vectors of searchable texts on PostgreSQL: the backlog of texts without vectors, storing and reading vectors.

While vectors of a model are kept, every indexed text has a row, which waits while its `vectors` are null: it is put
there by the transaction that indexes the text (see `models.postgres.word_index`), and again when the text has changed
since, which its `text_hash` tells. What waits to be indexed is not found by its old vectors.

`vector_models.stored` counts the transactions that store vectors of a table, one after the other; `stored` in a row is
the count at its own. So a later page of a search can go without the vectors that have come since the first.
"""

from collections.abc import Sequence
from functools import partial
from typing import TypedDict

from sqlalchemy import and_, null, true

from models.postgres.word_index import index_some, names_of, pause_indexing, sql_of, texts
from models.search_kinds import SearchKind
from models.store import Reader, Store, Transaction
from models.vectors import LONGEST_READ, VectorProgress, WaitingText


class KeptVectors(TypedDict):
    position: int
    vectors: bytes


class ProgressRow(TypedDict):
    stored: int
    waiting: int
    model: str | None


class Stored(TypedDict):
    """The number of a transaction that stores vectors."""

    stored: int


def _names_of(kind: SearchKind) -> dict[str, str]:
    turn, aside, vectors = kind.turn, null() if kind.aside is None else kind.aside, kind.vectors
    same = (f"{kind.table.name}.{column.name} = {vectors.name}.{column.name}" for column in vectors.primary_key)
    return {
        **names_of(kind),
        "same": " AND ".join(same),
        "exists": sql_of(and_(true(), *kind.exists)),
        # The longest texts have a MiB, and many are read together.
        "text": f"substr(coalesce(nullif({sql_of(kind.said)}, ''), {sql_of(aside)}, ''), 1, {LONGEST_READ})",
        "speaker": f"{sql_of(turn['role'])} AS role, {sql_of(turn['name'])} AS name, "
        "users.name AS user_name, users.first_name, users.last_name",
        "user": f"LEFT JOIN users ON users.key = CAST({sql_of(turn['user'])} AS uuid)",
        "waiting": ", ".join(f"{vectors.name}.{column.name}" for column in vectors.primary_key),
    }


_texts = partial(texts, names_of=_names_of)


_progress = _texts(
    "SELECT coalesce(stored, 0) AS stored, model, CASE WHEN model = :model "
    "THEN (SELECT count(*) FROM (SELECT 1 FROM {vectors} WHERE vectors IS NULL LIMIT {many}) AS few) "
    "+ (SELECT count(*) FROM (SELECT 1 FROM {table} WHERE terms IS NULL LIMIT {many}) AS few) "
    "ELSE (SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT {many}) AS few) END AS waiting "
    "FROM (SELECT 1) AS one LEFT JOIN vector_models ON name = '{vectors}'",
    ProgressRow,
)
# A text that waits to be indexed gets its vectors afterwards.
_waiting = _texts(
    "SELECT {table}.number, {table}.updated_at, {table}.version, "
    "CASE WHEN {exists} THEN {text} END AS text, {speaker} FROM "
    "(SELECT * FROM {vectors} WHERE vectors IS NULL ORDER BY {waiting} LIMIT :limit) AS {vectors} "
    "JOIN {table} ON {same} {joined} {user} ORDER BY {table}.number",
    WaitingText,
)
_count = _texts(
    "UPDATE vector_models SET stored = stored + 1 WHERE name = '{vectors}' AND model = :model RETURNING stored", Stored
)
_PUT = """
WITH text AS MATERIALIZED (
  SELECT {table}.*, given.made FROM unnest(
    CAST(:numbers AS bigint[]), CAST(:times AS timestamptz[]), CAST(:versions AS bigint[]), CAST(:made AS bytea[])
  ) AS given (number, updated_at, version, made) JOIN {table} ON {table}.number = given.number
  AND {table}.updated_at = given.updated_at AND {table}.version = given.version
  [lock]
)
UPDATE {vectors} SET vectors = {table}.made, text_hash = {hash}, stored = :stored FROM text AS {table} WHERE {same}
"""
_put = _texts(
    # Locked, so that nobody changes the text and puts its row back among those that wait, which this would end.
    _PUT.replace("[lock]", "FOR SHARE OF {table}"),
    # There the row itself tells if that was done: it has the hash of the new text.
    on_citus=_PUT.replace("[lock]", "") + "AND coalesce({vectors}.text_hash, {hash}) = {hash}",
)
_mark = _texts(
    "INSERT INTO vector_models (name, model) VALUES ('{vectors}', :model) "
    "ON CONFLICT (name) DO UPDATE SET model = excluded.model"
)
_drop = _texts("DELETE FROM {vectors}")
_queue = _texts("INSERT INTO {vectors} ({keys}) SELECT {keys} FROM {table} WHERE terms IS NOT NULL")
_read = _texts(
    "SELECT wanted.position - 1 AS position, {vectors}.vectors "
    "FROM unnest(CAST(:numbers AS bigint[])) WITH ORDINALITY AS wanted (number, position) "
    "JOIN {table} ON {table}.number = wanted.number AND {table}.terms IS NOT NULL JOIN {vectors} ON {same} "
    "WHERE {vectors}.stored <= :through AND {vectors}.vectors IS NOT NULL "
    "AND EXISTS (SELECT 1 FROM vector_models WHERE name = '{vectors}' AND model = :model)",
    KeptVectors,
)


async def vector_progress(read: Reader, kind: SearchKind, model: str) -> VectorProgress:
    row = (await read.fetch(_progress[kind.name], {"model": model}))[0]
    return VectorProgress(row["stored"], row["waiting"], row["model"])


async def find_waiting(database: Store, kind: SearchKind) -> None:
    await index_some(database, kind)


async def texts_without_vectors(read: Reader, kind: SearchKind, through: int, limit: int) -> list[WaitingText]:
    return await read.fetch(_waiting[kind.name], {"limit": limit}, slowly=True)


async def claim_vectors(write: Transaction, kind: SearchKind, model: str) -> None:
    # What is indexed before this is seen here; what is indexed later sees the model.
    await pause_indexing(write, kind)
    if (await vector_progress(write, kind, model)).kept != model:
        for statement in (_drop, _mark, _queue):
            await write.execute(statement[kind.name], {"model": model}, slowly=True)


async def put_vectors(
    write: Transaction, kind: SearchKind, model: str, through: int, rows: Sequence[WaitingText], made: Sequence[bytes]
) -> bool:
    # From here on to the end of the transaction no other one stores vectors of this kind.
    counted = await write.fetch(_count[kind.name], {"model": model})
    if not counted:
        return False
    given = {
        "numbers": [row["number"] for row in rows],
        "times": [row["updated_at"] for row in rows],
        "versions": [row["version"] for row in rows],
        "made": list(made),
        "stored": counted[0]["stored"],
    }
    await write.execute(_put[kind.name], given)
    return True


async def read_vectors(
    read: Reader, kind: SearchKind, model: str, numbers: Sequence[int], through: int
) -> list[bytes | None]:
    found: list[bytes | None] = [None] * len(numbers)
    bound = {"numbers": list(numbers), "model": model, "through": through}
    for row in await read.fetch(_read[kind.name], bound, slowly=True):
        found[row["position"]] = row["vectors"]
    return found
