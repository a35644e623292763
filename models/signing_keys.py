"""Statements on the keys that sign user tokens. All processes share them through the database."""

from typing import TypedDict

from sqlalchemy import bindparam, delete, select, update

from models.rows import SigningKeyRow
from models.statements import Statement
from models.store import Reader, Transaction
from models.tables import erasures, signing_keys
from models.values import Time
from models.writing import TypedTable

signing_key_table = TypedTable(signing_keys, SigningKeyRow)


class TokenStanding(TypedDict):
    """A signing key's time of retirement, and a user's last erasure: null if there was none."""

    retired_at: Time | None
    erased_at: Time | None
    generation: int | None


_in_use = signing_keys.c.retired_at.is_(None)
_current = Statement(
    select(signing_keys).where(_in_use).order_by(signing_keys.c.created_at.desc(), signing_keys.c.kid).limit(1),
    SigningKeyRow,
)
_by_kid = Statement(select(signing_keys).where(signing_keys.c.kid == bindparam("kid")), SigningKeyRow)
_standing = Statement(
    select(signing_keys.c.retired_at, erasures.c.erased_at, erasures.c.generation)
    .select_from(signing_keys.outerjoin(erasures, erasures.c.key == bindparam("user")))
    .where(signing_keys.c.kid == bindparam("kid")),
    TokenStanding,
)
_retire = Statement(update(signing_keys).where(_in_use).values(retired_at=bindparam("now")))
_forget = Statement(delete(signing_keys).where(signing_keys.c.retired_at < bindparam("before")))
_forget_all = Statement(delete(signing_keys))


async def current_signing_key(read: Reader) -> SigningKeyRow | None:
    """The current signing key; None before the first was created."""
    return await read.look_up(_current, {})


async def signing_key_by_kid(read: Reader, kid: str) -> SigningKeyRow | None:
    if "\0" in kid:
        # A made-up one: PostgreSQL takes no such text.
        return None
    return await read.look_up(_by_kid, {"kid": kid})


async def token_standing(read: Reader, *, kid: str, user: bytes) -> TokenStanding | None:
    """The state that can invalidate an unexpired token; None when the signing key is gone."""
    return await read.look_up(_standing, {"kid": kid, "user": user})


async def insert_signing_key(write: Transaction, values: SigningKeyRow) -> SigningKeyRow:
    return await signing_key_table.insert(write, values)


async def retire_signing_keys(write: Transaction, now: str, *, forget_before: str) -> None:
    """Retires the current keys, and removes those retired before `forget_before`."""
    await write.execute(_forget, {"before": forget_before})
    await write.execute(_retire, {"now": now})


async def forget_signing_keys(write: Transaction) -> None:
    """Invalidates all tokens issued so far."""
    await write.execute(_forget_all, {})
