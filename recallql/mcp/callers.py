"""Executes documents within the process, as the endpoint executes those of requests."""

from collections.abc import Mapping
from typing import Any

import orjson

from breadth import Request
from recallql.http.admission import Admission
from recallql.http.heads import JSON
from recallql.http.operations import Operations
from recallql.http.refusals import refused
from recallql.http.requests import INLINE_BODY
from recallql.mcp.faults import Execute
from resolvers.viewers import Viewer

ANSWER_BYTES = 4 * 1024 * 1024
"""The most bytes of an answer that a tool makes its result of: the SDK goes through a result in the event loop."""


def caller(operations: Operations, viewer: Viewer, admission: Admission, size: int = 0) -> Execute:
    """Executes documents for this viewer, on account of a request of so many bytes."""

    too_large = f"The answer has more than {ANSWER_BYTES} bytes; ask for less at once, with a lower `limit` or `last`."

    async def execute(document: str, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        context = operations.context(viewer, admission, size)
        try:
            running = operations.run(Request(document, variables), context, admission)
            _, body = await operations.in_time(running)
        except Exception as error:
            return refused(error, JSON).body
        if len(body) > ANSWER_BYTES:
            return {"errors": [{"message": too_large, "extensions": {"code": "PAYLOAD_TOO_LARGE"}}]}
        return orjson.loads(body) if len(body) <= INLINE_BODY else await context.in_thread(orjson.loads, body)

    return execute
