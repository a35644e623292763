"""Statements on API keys. They are the operator's: no scope, for a key says itself whose data it opens."""

from contextlib import closing
from pathlib import Path

from sqlalchemy import bindparam, func, select, update

from models.sqlite.database import Reader, Transaction, connect
from models.statements import Record, Row, Statement
from models.tables import api_keys
from models.writing import insert_row

_good = (api_keys.c.hash == bindparam("hash"), api_keys.c.revoked_at.is_(None))
_by_hash = Statement(select(api_keys).where(*_good))
_still_good = Statement(select(api_keys.c.hash).where(*_good))
_any = Statement(select(api_keys.c.id).limit(1))
_all = Statement(select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id))
_counts = Statement(
    select(func.count().label("made"), (func.count() - func.count(api_keys.c.revoked_at)).label("good")).select_from(
        api_keys
    )
)
_revoke = Statement(
    update(api_keys)
    .where(api_keys.c.id == bindparam("the_id"))
    .values(revoked_at=func.coalesce(api_keys.c.revoked_at, bindparam("now")))
    .returning(*api_keys.c)
)


def api_key_by_hash(read: Reader, hash: bytes) -> Record | None:
    """The key with this SHA-256, if there is one that was not revoked."""
    return read.look_up(_by_hash, {"hash": hash})


def is_good(read: Reader, hash: bytes) -> bool:
    """Tells whether the key with this SHA-256 is there, and was not revoked."""
    return read.look_up(_still_good, {"hash": hash}) is not None


def any_api_key(read: Reader) -> bool:
    """Tells whether a key was ever made, revoked ones included."""
    return read.look_up(_any, {}) is not None


def count_api_keys(path: Path) -> tuple[int, int]:
    """Counts the keys made in a migrated file, and the good ones among them; for callers without an event loop."""
    with closing(connect(path)) as connection:
        return connection.execute(_counts.text, _counts.defaults).fetchone()


async def list_api_keys(read: Reader) -> list[Record]:
    return await read.fetch(_all, {})


async def insert_api_key(write: Transaction, values: Record) -> Record:
    return await insert_row(write, api_keys, Row, values)


async def revoke_api_key(write: Transaction, id: str, now: str) -> Record | None:
    """The key, which keeps the time when it was first revoked; None when there is none."""
    rows = await write.fetch(_revoke, {"the_id": id, "now": now})
    return rows[0] if rows else None
