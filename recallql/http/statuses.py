"""The HTTP status of an answer, by *GraphQL over HTTP*, first edition (September 2026); docs/http.md has the table."""

from typing import Any

from recallql.http.heads import JSON
from recallql.http.requests import BadRequest

PARTIAL_SUCCESS = 294

STATUSES = {
    "GRAPHQL_PARSE_FAILED": 400,
    "GRAPHQL_VALIDATION_FAILED": 422,
    "OPERATION_RESOLUTION_FAILURE": 422,
    "BAD_USER_INPUT": 422,
    "QUERY_TOO_COMPLEX": 422,
    # Apollo's client for iOS sends the document only after a 2xx, and Apollo's own server answers so.
    "PERSISTED_QUERY_NOT_FOUND": 200,
    "TIMEOUT": 504,
    "UNAVAILABLE": 503,
    "INTERNAL_SERVER_ERROR": 500,
}
"""The statuses of requests that were not executed, by the code of the first error."""


def of_answer(body: dict[str, Any], media: str) -> int:
    """The status of the answer to a well-formed request.

    A client that accepts only `application/json` recognises a GraphQL answer by the status 200.
    """
    if "errors" not in body or media == JSON:
        return 200
    return PARTIAL_SUCCESS if "data" in body else STATUSES[body["errors"][0]["extensions"]["code"]]


def of_bad_request(error: BadRequest, media: str) -> int:
    """The status for a body that is not a GraphQL request; in the older media type, JSON of the wrong form is a 400."""
    return 400 if error.status == 422 and media == JSON else error.status
