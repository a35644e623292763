"""Maps exceptions to the codes and messages that clients see."""

from uuid import uuid4

import structlog

from models.errors import TookTooLong, TooLarge, Unavailable
from resolvers.errors import BadInput, Forbidden

log = structlog.get_logger("recallql.errors")


def describe(error: Exception) -> tuple[str, str]:
    """The code and message for an exception of a resolver; an unexpected one is logged under an id for the client."""
    if isinstance(error, BadInput | Forbidden):
        return error.code, str(error)
    if isinstance(error, TookTooLong):
        return "TIMEOUT", str(error)
    if isinstance(error, TooLarge):
        return "PAYLOAD_TOO_LARGE", str(error)
    if isinstance(error, Unavailable):
        return "UNAVAILABLE", str(error)
    if isinstance(error, MemoryError):
        log.error("out of memory")
        return "UNAVAILABLE", "The server has no memory left for this; ask for less at once, or try again later."
    id = str(uuid4())
    log.error("unexpected error", id=id, exc_info=error)
    return "INTERNAL_SERVER_ERROR", f"Something went wrong on the server. Its log has the cause under the id {id}."
