"""The messages of graphql-transport-ws (https://github.com/enisdenjo/graphql-ws, PROTOCOL.md), as text and as values.

Every message of a client that breaks the protocol is a `Violation`, which closes the connection.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, NamedTuple

from breadth import Request
from models.values import JsonValue
from recallql.http.heads import check_authorization
from recallql.http.requests import BadRequest, read_json, request_of, write_json

SUBPROTOCOL = "graphql-transport-ws"

LONGEST_ID = 128
"""The most characters of an operation's id: every message about the operation repeats it."""


class Close(IntEnum):
    """The codes with which the server closes a connection.

    npm's graphql-ws connects again after 1001, 1012 and 1013, and after 4403, for which it asks the application for
    parameters anew. The others it reports to the application.
    """

    GOING_AWAY = 1001
    MESSAGE_TOO_LARGE = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    INVALID = 4400
    UNAUTHORIZED = 4401
    FORBIDDEN = 4403
    SUBPROTOCOL_NOT_ACCEPTABLE = 4406
    INIT_TIMEOUT = 4408
    DUPLICATE = 4409
    TOO_MANY = 4429


class Violation(Exception):
    """Ends the connection with a code and a reason."""

    def __init__(self, code: Close, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Init(NamedTuple):
    authorization: str | None
    """The value of an `authorization` key of the payload."""


class Ping(NamedTuple):
    payload: JsonValue


class Pong(NamedTuple):
    pass


class Subscribe(NamedTuple):
    id: str
    request: Request


class Complete(NamedTuple):
    id: str


ClientMessage = Init | Ping | Pong | Subscribe | Complete


def read_message(text: bytes) -> ClientMessage:
    """The message in a text; raises `Violation` for any other text."""
    try:
        value = read_json(text)
    except (BadRequest, RecursionError) as error:
        raise _invalid(str(error).replace("The body", "The message")) from error
    if not isinstance(value, dict):
        raise _invalid("A message is a JSON object.")
    match value.get("type"):
        case "connection_init":
            return Init(_authorization(_payload(value)))
        case "ping":
            return Ping(_payload(value))
        case "pong":
            _payload(value)
            return Pong()
        case "subscribe":
            return Subscribe(_id(value), _request(value))
        case "complete":
            return Complete(_id(value))
        case str(other):
            raise _invalid(f"A client sends no messages of type {other[:32]!r}.")
        case _:
            raise _invalid("A message has a `type`, which is a string.")


def _payload(value: Mapping[str, JsonValue]) -> dict[str, JsonValue] | None:
    payload = value.get("payload")
    if payload is not None and not isinstance(payload, dict):
        raise _invalid("The `payload` of this message is an object, if there is one.")
    return payload


def _authorization(payload: dict[str, JsonValue] | None) -> str | None:
    """The credential in a payload, under `authorization` in any case."""
    found = [value for name, value in (payload or {}).items() if name.lower() == "authorization" and value is not None]
    if not found:
        return None
    if len(found) > 1 or not isinstance(found[0], str):
        raise _invalid("The payload has one `authorization`, which is a string.")
    try:
        check_authorization([found[0]])
    except BadRequest as error:
        raise _invalid("The `authorization` of the payload is one credential.") from error
    return found[0]


def _id(value: Mapping[str, JsonValue]) -> str:
    id = value.get("id")
    if not isinstance(id, str) or not 0 < len(id) <= LONGEST_ID:
        raise _invalid(f"The `id` of this message is a string of 1 to {LONGEST_ID} characters.")
    return id


def _request(value: Mapping[str, JsonValue]) -> Request:
    payload = value.get("payload")
    if not isinstance(payload, dict):
        raise _invalid("The `payload` of `subscribe` is an object with a `query`.")
    try:
        return request_of(payload)
    except BadRequest as error:
        raise _invalid(error.message) from error


def _invalid(reason: str) -> Violation:
    return Violation(Close.INVALID, reason)


ACKNOWLEDGED = '{"type":"connection_ack"}'


def pong(payload: JsonValue) -> str:
    return write_json({"type": "pong"} if payload is None else {"type": "pong", "payload": payload}).decode()


def next_answer(id: str, answer: bytes) -> str:
    """A message with an answer, whose bytes may be shared with others."""
    return f'{{"type":"next","id":{_quoted(id)},"payload":{answer.decode()}}}'


def failed(id: str, errors: Any) -> str:
    """The end of an operation that was refused, or whose events have failed."""
    return write_json({"type": "error", "id": id, "payload": errors}).decode()


def completed(id: str) -> str:
    return f'{{"type":"complete","id":{_quoted(id)}}}'


def _quoted(text: str) -> str:
    return write_json(text).decode()
