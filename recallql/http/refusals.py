"""Failures as clients see them."""

from typing import Any, NamedTuple

from models.errors import Exhausted
from recallql.auth.credentials import Unauthenticated
from recallql.errors import describe
from recallql.http import statuses
from recallql.http.budgets import Busy
from recallql.http.heads import JSON
from recallql.http.requests import AnswerTooLarge, BadRequest, TooDeep
from recallql.http.throttle import TooMany

RETRY_SOON = b"retry-after: 1\r\n"
"""The header of an answer with the error `UNAVAILABLE`, unless it is known when to try again."""


class Refusal(NamedTuple):
    """A failure as clients see it; `headers` are lines that it adds to the head of an answer."""

    status: int
    body: dict[str, Any]
    headers: bytes = b""


def refused(error: Exception, media: str) -> Refusal:
    """Describes a failure. This is the edge of the process: unexpected exceptions are logged and not shown."""
    headers = b""
    body: dict[str, Any] = {}
    match error:
        case BadRequest():
            status, code, message = statuses.of_bad_request(error, media), error.code, error.message
            headers = error.headers
        case Unauthenticated():
            status, code, message = 401, "UNAUTHENTICATED", str(error)
            headers = b"www-authenticate: Bearer\r\n"
        case Busy():
            status, code, message = 503, "UNAVAILABLE", str(error)
            headers = b"retry-after: %d\r\n" % error.retry_after
        case Exhausted():
            status, code, message = 503, "UNAVAILABLE", str(error)
            headers = RETRY_SOON
        case TooMany():
            status, code, message = 429, "RATE_LIMITED", str(error)
            headers = b"retry-after: %d\r\n" % error.retry_after
        case TimeoutError():
            status, code = statuses.STATUSES["TIMEOUT"], "TIMEOUT"
            message = "The request took too long and was cancelled; its changes may have been made nevertheless."
        case RecursionError() | TooDeep():
            status = 200 if media == JSON else statuses.STATUSES["QUERY_TOO_COMPLEX"]
            code, message = "QUERY_TOO_COMPLEX", "The document is nested too deeply to be run."
        case AnswerTooLarge():
            status = 200 if media == JSON else statuses.PARTIAL_SUCCESS
            code, message = "PAYLOAD_TOO_LARGE", str(error)
            body["data"] = None
        case _:
            code, message = describe(error)
            status = statuses.STATUSES.get(code, 500)
            headers = RETRY_SOON if code == "UNAVAILABLE" else b""
    body["errors"] = [{"message": message, "extensions": {"code": code}}]
    return Refusal(status, body, headers)
