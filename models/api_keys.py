"""Statements on API keys. They are the operator's and have no scope: a key itself determines the scope of a request."""

from typing import TypedDict

from sqlalchemy import bindparam, func, select, update

from models.rows import ApiKeyRow
from models.statements import Statement
from models.store import Reader, Snapshot, Transaction
from models.tables import api_keys
from models.writing import TypedTable

api_key_table = TypedTable(api_keys, ApiKeyRow)


class KeyCounts(TypedDict):
    made: int
    good: int


_good = (api_keys.c.hash == bindparam("hash"), api_keys.c.revoked_at.is_(None))
_by_hash = Statement(select(api_keys).where(*_good), ApiKeyRow)
_still_good = Statement(select(api_keys.c.hash).where(*_good))
_any = Statement(select(api_keys.c.id).limit(1), upkeep=True)
_all = Statement(select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id), ApiKeyRow)
_counts = Statement(
    select(func.count().label("made"), (func.count() - func.count(api_keys.c.revoked_at)).label("good")).select_from(
        api_keys
    ),
    KeyCounts,
)
_revoke = Statement(
    update(api_keys)
    .where(api_keys.c.id == bindparam("the_id"))
    .values(revoked_at=func.coalesce(api_keys.c.revoked_at, bindparam("now")))
    .returning(*api_keys.c),
    ApiKeyRow,
)


async def api_key_by_hash(read: Reader, hash: bytes) -> ApiKeyRow | None:
    """The key with this SHA-256; None if there is none or it was revoked."""
    return await read.look_up(_by_hash, {"hash": hash})


async def is_good(read: Reader, hash: bytes) -> bool:
    """True if there is a key with this SHA-256 that was not revoked."""
    return await read.look_up(_still_good, {"hash": hash}) is not None


async def any_api_key(read: Reader) -> bool:
    """True if a key was ever created, revoked ones included."""
    return await read.look_up(_any, {}) is not None


def count_api_keys(snapshot: Snapshot) -> tuple[int, int]:
    """Counts all keys and the valid ones in a migrated database, for callers without an event loop."""
    counts = next(snapshot.rows(_counts, {}))
    return counts["made"], counts["good"]


async def list_api_keys(read: Reader) -> list[ApiKeyRow]:
    return await read.fetch(_all, {})


async def insert_api_key(write: Transaction, values: ApiKeyRow) -> ApiKeyRow:
    return await api_key_table.insert(write, values)


async def revoke_api_key(write: Transaction, id: str, now: str) -> ApiKeyRow | None:
    """Revokes a key, which keeps the time when it was first revoked; None if there is no such key."""
    rows = await write.fetch(_revoke, {"the_id": id, "now": now})
    return rows[0] if rows else None
