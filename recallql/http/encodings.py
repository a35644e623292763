"""Content encodings: gzip for answers; gzip and deflate for the bodies of requests."""

import sys
import zlib
from collections.abc import Callable, Iterator

from recallql.http.preferences import preferences
from recallql.http.requests import BadRequest, too_large
from recallql.settings import BODY_BYTES

WORTH_COMPRESSING = 1024 + 1
"""Answers of so many bytes or more are compressed."""

PIECE = 128 * 1024
"""Bytes that are compressed at a time, which takes about a millisecond."""

INPUT_SLICE = 64 * 1024
SLICE = 256 * 1024
"""Bytes that are decompressed at a time, and the most bytes that result."""

ENCODING = b"content-encoding: gzip\r\n"
TAKEN = "gzip, deflate"

_GZIP = 16 + zlib.MAX_WBITS
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


def compress_from(accepted: str) -> int:
    """The least size in bytes of an answer that is compressed for a client with this `Accept-Encoding`."""
    weights = {item.name: item.weight for item in preferences(accepted)}
    others = weights.get("*", 0.0)
    gzip = max(weights.get("gzip", others), weights.get("x-gzip", 0.0))
    if not gzip:
        return sys.maxsize
    plain = weights.get("identity", others if "*" in weights else gzip)
    if not plain:
        return 0
    return WORTH_COMPRESSING if gzip >= plain else sys.maxsize


def compress(body: bytes, level: int, check: Callable[[], None] | None = None) -> bytes:
    """The body in gzip. Other threads run meanwhile; `check` is called now and then, and may cancel it by raising."""
    if len(body) <= PIECE:
        return zlib.compress(body, level, _GZIP)
    packer = zlib.compressobj(level, wbits=_GZIP)
    packed: list[bytes] = []
    for start in range(0, len(body), PIECE):
        if check is not None:
            check()
        packed.append(packer.compress(body[start : start + PIECE]))
    return b"".join([*packed, packer.flush()])


def check_encoding(encoding: str) -> bool:
    """Tells whether a body with this `Content-Encoding` is compressed; raises `BadRequest` for an unsupported one."""
    name = encoding.strip().lower()
    if name in ("gzip", "x-gzip", "deflate"):
        return True
    if name in ("", "identity"):
        return False
    headers = f"accept-encoding: {TAKEN}\r\n".encode()
    raise BadRequest(f"`Content-Encoding` can be {TAKEN} or left out.", status=415, headers=headers)


def decompress(body: bytes) -> Iterator[bytes]:
    """The decompressed slices of a body; raises `BadRequest` when it is damaged or too large.

    Each takes a millisecond at most, whatever the body contains.
    """
    size = 0
    try:
        for piece in _inflated(body):
            size += len(piece)
            if size > BODY_BYTES:
                raise too_large()
            yield piece
    except zlib.error:
        message = f"The body cannot be decompressed; send it whole, as {TAKEN} or not compressed."
        raise BadRequest(message) from None


def _inflated(body: bytes) -> Iterator[bytes]:
    reader = zlib.decompressobj(_GZIP_OR_ZLIB if _has_head(body) else -zlib.MAX_WBITS)
    for start in range(0, len(body), INPUT_SLICE):
        rest = body[start : start + INPUT_SLICE]
        while rest and not reader.eof:
            yield reader.decompress(rest, SLICE)
            rest = reader.unconsumed_tail
    yield reader.flush()
    if not reader.eof or reader.unused_data:
        raise zlib.error("truncated, or followed by other data")


def _has_head(data: bytes) -> bool:
    """Tells whether the data has a gzip or zlib header; some clients send `deflate` without one."""
    return data[:2] == b"\x1f\x8b" or (data[:1] == b"\x78" and int.from_bytes(data[:2], "big") % 31 == 0)
