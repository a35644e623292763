"""Statements on the keys that sign user tokens. All processes share them through the database."""

from sqlalchemy import bindparam, delete, select, update

from models.sqlite.database import Reader, Transaction
from models.statements import Record, Row, Statement
from models.tables import erasures, signing_keys
from models.writing import insert_row

_in_use = signing_keys.c.retired_at.is_(None)
_current = Statement(
    select(signing_keys).where(_in_use).order_by(signing_keys.c.created_at.desc(), signing_keys.c.kid).limit(1)
)
_by_kid = Statement(select(signing_keys).where(signing_keys.c.kid == bindparam("kid")))
_standing = Statement(
    select(signing_keys.c.retired_at, erasures.c.erased_at, erasures.c.generation)
    .select_from(signing_keys.outerjoin(erasures, erasures.c.key == bindparam("user")))
    .where(signing_keys.c.kid == bindparam("kid"))
)
_retire = Statement(update(signing_keys).where(_in_use).values(retired_at=bindparam("now")))
_forget = Statement(delete(signing_keys).where(signing_keys.c.retired_at < bindparam("before")))
_forget_all = Statement(delete(signing_keys))


def current_signing_key(read: Reader) -> Record | None:
    """The key that signs now; None before the first was made."""
    return read.look_up(_current, {})


def signing_key_by_kid(read: Reader, kid: str) -> Record | None:
    return read.look_up(_by_kid, {"kid": kid})


def token_standing(read: Reader, *, kid: str, user: bytes) -> Record | None:
    """Returns what can change for a token while it lives: `retired_at` of its signing key, and its user's last erasure
    (`erased_at` and `generation`, null if there was none).

    None when the signing key is gone.
    """
    return read.look_up(_standing, {"kid": kid, "user": user})


async def insert_signing_key(write: Transaction, values: Record) -> Record:
    return await insert_row(write, signing_keys, Row, values)


async def retire_signing_keys(write: Transaction, now: str, *, forget_before: str) -> None:
    """No key of before signs any more; those retired before `forget_before` are gone."""
    await write.execute(_forget, {"before": forget_before})
    await write.execute(_retire, {"now": now})


async def forget_signing_keys(write: Transaction) -> None:
    """No token of before is good any more."""
    await write.execute(_forget_all, {})
