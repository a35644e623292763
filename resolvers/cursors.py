"""Cursors: a position in a list or a search, as text that a client sends back to continue from there.

A cursor has the position and a checksum that is seeded with the identity of the list or search. The checksum detects a
cursor that was altered or that belongs to another list. It is not a security measure: the viewer's scope decides which
rows are visible.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import crc32
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

import orjson

from models.keyset import Listing
from models.rows import AnyRow
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


class Cursors:
    """The cursors of one list, in one order, with one filter."""

    def __init__(
        self, listing: Listing[Any], order: str, *, descending: bool, filter: Filter, parent: bytes | None
    ) -> None:
        self._columns = listing.order_columns(order, descending=descending)
        self._types = [listing.table.c[name].type.python_type for name in self._columns]
        self._nullable = [name in listing.ends for name in self._columns]
        identity = f"{listing.name}\0{order}\0{descending}\0{filter.identity}\0".encode("utf-8", "surrogatepass")
        self._numbers = self._types == [int]
        self._seed = seed_of(identity + (parent or b""), size=7 if self._numbers else 4)
        self.of: Callable[[AnyRow], str] = self._of_numbers() if self._numbers else self._of_values
        """The cursor of a row."""

    def _of_numbers(self) -> Callable[[AnyRow], str]:
        (column,), seed = self._columns, self._seed
        return lambda row: f"{row[column] * _PRIME + seed:x}"

    def _of_values(self, row: AnyRow) -> str:
        return encode([row[name] for name in self._columns], self._seed)

    def position(self, cursor: str, argument: str) -> tuple[Any, ...]:
        """The values of the order's columns at a cursor; raises `BadInput` if it belongs to another list."""
        try:
            return (self._number(cursor),) if self._numbers else self._typed(decode(cursor, self._seed))
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
        values = [
            bytes.fromhex(value) if kind is bytes else value for value, kind in zip(position, self._types, strict=True)
        ]
        for value, kind, nullable in zip(values, self._types, self._nullable, strict=True):
            if type(value) is not kind and not (value is None and nullable):
                raise ValueError
        return tuple(values)
