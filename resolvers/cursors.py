"""Cursors: a position in a list or a search, as text that a client sends back to continue from there.

A cursor has the position and a checksum that is seeded with the identity of the list or search. The checksum detects a
cursor that was altered or that belongs to another list. It is not a security measure: the viewer's scope decides which
rows are visible.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import crc32
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from operator import itemgetter
from typing import Any

import orjson

from models.keyset import Listing, Run, names_read
from resolvers.errors import BadInput
from resolvers.filters import Filter

# A list ordered by one number has many cursors, so each takes only one multiplication and one addition; any other
# number is not a cursor of this list. Changing one digit never yields another multiple of a prime.
_PRIME = 1_073_741_789
_LARGEST = 2**31


def seed_of(identity: bytes, *, size: int = 4) -> int:
    """A number of `size` bytes that seeds the checksums of a list or search with this identity."""
    return int.from_bytes(blake2b(identity, digest_size=size).digest(), "big")


def encode(position: Sequence[object], seed: int) -> str:
    """Encodes a position, a JSON value in which bytes are written in hexadecimal."""
    return _signed(orjson.dumps(position, default=bytes.hex), seed)


def decode(cursor: str, seed: int) -> Any:
    """Decodes a position; raises `ValueError` if `encode` did not produce the cursor with the same seed."""
    raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
    if _signed(raw[4:], seed) != cursor:
        raise ValueError("a cursor of another list")
    return orjson.loads(raw[4:])


def _signed(position: bytes, seed: int) -> str:
    check = crc32(position, seed).to_bytes(4, "big")
    return urlsafe_b64encode(check + position).rstrip(b"=").decode()


class CursorForm:
    """The form of the cursors of all lists with this order and filter.

    With `columns` it is for rows that start with these (see `models.keyset.Slice`); without, for rows with names.
    """

    def __init__(
        self,
        listing: Listing[Any],
        order: str,
        *,
        descending: bool,
        filter: Filter,
        columns: tuple[str | Run, ...] | None = None,
    ) -> None:
        self.places, self.types, self.nullable = _columns(listing, order, descending, columns)
        self.are_numbers = self.types == [int]
        identity = f"{listing.name}\0{order}\0{descending}\0{filter.identity}\0".encode("utf-8", "surrogatepass")
        self._identity = blake2b(identity, digest_size=7 if self.are_numbers else 4)

    def seed(self, parent: bytes) -> int:
        """The seed of the list of this parent."""
        identity = self._identity.copy()
        identity.update(parent)
        return int.from_bytes(identity.digest(), "big")


@lru_cache(maxsize=256)
def _columns(
    listing: Listing[Any], order: str, descending: bool, read: tuple[str | Run, ...] | None
) -> tuple[Sequence[Any], Sequence[type[Any]], Sequence[bool]]:
    """The columns of an order: their names or their places in rows, their types, and those that may be null."""
    columns = listing.order_columns(order, descending=descending)
    places = columns if read is None else [names_read(listing, columns, read).index(name) for name in columns]
    types: list[type[Any]] = [listing.table.c[name].type.python_type for name in columns]
    return places, types, [name in listing.ends for name in columns]


class Cursors:
    """The cursors of the list of one parent."""

    __slots__ = ("_form", "_seed")

    def __init__(self, form: CursorForm, parent: bytes | None) -> None:
        self._form = form
        self._seed = form.seed(parent or b"")

    def of(self, rows: Sequence[Any]) -> list[str]:
        """The cursors of rows."""
        places, seed = self._form.places, self._seed
        if self._form.are_numbers:
            return [f"{number * _PRIME + seed:x}" for number in map(itemgetter(*places), rows)]
        return [encode([row[place] for place in places], seed) for row in rows]

    def position(self, cursor: str, argument: str) -> tuple[Any, ...]:
        """The values of the order's columns at a cursor; raises `BadInput` if it belongs to another list."""
        try:
            return (self._number(cursor),) if self._form.are_numbers else self._typed(decode(cursor, self._seed))
        except (ValueError, TypeError):
            raise BadInput(
                f"The cursor in `{argument}` does not belong to this list with this filter and order; "
                f"start again without `{argument}`."
            ) from None

    def _number(self, cursor: str) -> int:
        number, rest = divmod(int(cursor, 16) - self._seed, _PRIME)
        if rest or not 0 <= number <= _LARGEST or f"{number * _PRIME + self._seed:x}" != cursor:
            raise ValueError
        return number

    def _typed(self, position: Any) -> tuple[Any, ...]:
        types = self._form.types
        values = [bytes.fromhex(value) if kind is bytes else value for value, kind in zip(position, types, strict=True)]
        for value, kind, nullable in zip(values, types, self._form.nullable, strict=True):
            if type(value) is not kind and not (value is None and nullable):
                raise ValueError
        return tuple(values)
