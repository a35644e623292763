"""Decodes the bytes of a request into a GraphQL request, and encodes answers."""

import json
import re
from asyncio import sleep
from typing import Any, NoReturn, TypeAlias

import orjson

from breadth import Request
from models.values import JsonValue
from recallql.settings import BODY_BYTES

INLINE_BODY = 64 * 1024
"""The most bytes of a body that is parsed in the event loop."""

LARGEST_JSON = 250_000
"""The most values in the JSON of a body: as objects they take up to 40 MB, and a moment to build."""

TURN = 10_000
"""Values of an answer that are measured in one go, which takes a few milliseconds."""

_BEFORE_VALUES = (b",", b"[", b"{")
_PIECE = 256 * 1024
# It never backtracks, and matches an unterminated string too, so it scans the text once.
_string = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)

# The fast reader turns integers beyond 64 bits into floats; the slow one keeps them.
_long_number = re.compile(rb"\d{20}|-\d{19}")
_AS_NINES = bytes.maketrans(b"012345678", b"9" * 9)
_NINES = b"9" * 19


class BadRequest(Exception):
    """A refused request; `headers` are lines for the head of the answer."""

    def __init__(self, message: str, *, status: int = 400, code: str = "BAD_USER_INPUT", headers: bytes = b"") -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.headers = headers


def too_large() -> BadRequest:
    """The refusal of a body over the limit."""
    message = f"The body has more than {BODY_BYTES} bytes; send less at once."
    return BadRequest(message, status=413, code="PAYLOAD_TOO_LARGE")


class AnswerTooLarge(Exception):
    """An answer over the limit on bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The answer has more than {limit} bytes; ask for less at once. A mutation in it was carried out."
        )


class TooDeep(Exception):
    """An answer that is nested too deeply for the JSON encoder."""


def read_json(body: bytes) -> JsonValue:
    """The value of a JSON text; raises `BadRequest` for invalid JSON, NaN or Infinity, and too many values.

    A long text is parsed in a thread: see `INLINE_BODY`.
    """
    check_values(body)
    try:
        if not _has_long_number(body):
            return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass  # The slow reader accepts lone surrogates (refused later, with their place), and has better messages.
    decoder = _decoder if len(body) <= INLINE_BODY else _decoder_in_python
    try:
        return decoder.decode(body.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadRequest("The body is not valid UTF-8.") from error
    except RecursionError as error:
        raise BadRequest("The body's JSON is nested too deeply.") from error
    except json.JSONDecodeError as error:
        raise BadRequest(f"The body is not valid JSON: {error}.") from error
    except ValueError as error:
        raise BadRequest("The body's JSON has a number with too many digits.") from error


def check_values(body: bytes) -> None:
    """Raises `BadRequest` for a long JSON text with too many values."""
    if len(body) > INLINE_BODY and _values(body) > LARGEST_JSON:
        message = f"The body's JSON has more than {LARGEST_JSON:,} values; send less at once."
        raise BadRequest(message, status=413, code="PAYLOAD_TOO_LARGE")


def _values(body: bytes) -> int:
    """An upper bound on the values of a JSON text; builds none, since small ones take 30 times their text."""
    count = sum(map(body.count, _BEFORE_VALUES))
    if count > LARGEST_JSON:
        # Commas and brackets within strings do not count.
        count, end = 0, 0
        for string in _string.finditer(body):
            count += sum(body.count(mark, end, string.start()) for mark in _BEFORE_VALUES)
            end = string.end()
        count += sum(body.count(mark, end) for mark in _BEFORE_VALUES)
    return count


def _has_long_number(body: bytes) -> bool:
    # A search for fixed bytes takes a tenth of the expression's time.
    if _NINES not in body.translate(_AS_NINES):
        return False
    if len(body) <= _PIECE:
        return _long_number.search(body) is not None
    # In overlapping pieces: no other thread runs during a search.
    return any(_long_number.search(body, start, start + _PIECE + 19) for start in range(0, len(body), _PIECE))


def _refuse_constant(name: str) -> NoReturn:
    raise BadRequest(f"The body is not valid JSON: {name} is not a JSON number.")


_untyped_json: Any = json
"""The pure Python functions of `json`, which typeshed leaves out."""


class _DecoderInPython(json.JSONDecoder):
    """Parses JSON in pure Python: the C code would let no other thread run until all of a long text is parsed."""

    def __init__(self) -> None:
        super().__init__(parse_constant=_refuse_constant)
        self.parse_string = _untyped_json.decoder.py_scanstring
        self.scan_once = _untyped_json.scanner.py_make_scanner(self)


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
_decoder_in_python = _DecoderInPython()


AnswerValue: TypeAlias = (
    "str | int | float | list[AnswerValue] | tuple[AnswerValue, ...] | dict[str, AnswerValue] | orjson.Fragment | None"
)
"""The values that an answer consists of."""


def ill_formed(message: str) -> BadRequest:
    """The refusal of a JSON value that is not a GraphQL request, with its fault."""
    return BadRequest(message, status=422)


def request_of(value: JsonValue) -> Request:
    """A GraphQL request from a JSON value: an object with `query`, `variables`, `operationName` and `extensions`."""
    if isinstance(value, list):
        raise ill_formed("Batching is not supported: send each GraphQL request in its own HTTP request.")
    if not isinstance(value, dict):
        raise ill_formed('The body must be a JSON object, as in {"query": "{ viewer { role } }"}.')
    query, variables, name = value.get("query"), value.get("variables"), value.get("operationName")
    extensions = value.get("extensions")
    if extensions is not None and not isinstance(extensions, dict):
        raise ill_formed("`extensions` must be a JSON object.")
    hash = None if extensions is None else _persisted_hash(extensions)
    if not (isinstance(query, str) or (query is None and hash is not None)):
        raise ill_formed("`query` is missing, or is not a string.")
    if variables is not None and not isinstance(variables, dict):
        raise ill_formed("`variables` must be a JSON object.")
    if name is not None and not isinstance(name, str):
        raise ill_formed("`operationName` must be a string.")
    wants_cost = extensions is not None and extensions.get("cost") is True
    return Request(query, variables or {}, name or None, hash, wants_cost)


def _persisted_hash(extensions: dict[str, JsonValue]) -> str | None:
    """The hash of an automatic persisted query, if the request names one."""
    persisted = extensions.get("persistedQuery")
    if persisted is None:
        return None
    if isinstance(persisted, dict) and persisted.get("version") == 1:
        hash = persisted.get("sha256Hash")
        if isinstance(hash, str):
            return hash
    raise ill_formed("`extensions.persistedQuery` must have `version` 1 and `sha256Hash`.")


async def least_size(value: AnswerValue, most: int) -> int:
    """A lower bound on the bytes of an answer, counted up to `most`. Other requests get a turn now and then."""
    size, looked_at = 0, 0
    waiting = [value]
    while waiting and size <= most:
        item = waiting.pop()
        looked_at += 1
        if looked_at % TURN == 0:
            await sleep(0)
        if isinstance(item, str):
            size += len(item)
        elif isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list | tuple):
            waiting.extend(item)
        elif isinstance(item, orjson.Fragment):
            # A fragment has no other way to tell its size.
            size += len(orjson.dumps(item))
    return size


def reserve(size: int) -> None:
    """Raises `MemoryError` unless so many bytes could be allocated, and allocates none.

    `orjson.dumps` aborts the process when an allocation fails.
    """
    bytearray(size)


def write_json(value: AnswerValue) -> bytes:
    """Encodes an answer. Lone surrogates, which messages may quote from a request, are replaced."""
    try:
        return orjson.dumps(value)
    except TypeError:
        try:
            return orjson.dumps(_characters(value))
        except TypeError as error:
            raise TooDeep from error


def _characters(value: AnswerValue) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_characters(key): _characters(item) for key, item in value.items()}
    if isinstance(value, list | tuple) and not isinstance(value, orjson.Fragment):
        return [_characters(item) for item in value]
    return value
