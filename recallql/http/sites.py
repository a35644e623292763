"""What browsers are told with every answer, and whose pages may have them ask: this server's own, and named origins."""

import re
from collections.abc import Iterable, Mapping

import structlog

from recallql.http.requests import BadRequest
from recallql.seldom import Seldom

log = structlog.get_logger("recallql.sites")

METHODS = b"GET, HEAD, POST"
USUAL_HEADERS = b"content-type, authorization"
EXPOSED = b"retry-after, www-authenticate, allow, accept-encoding"
"""Headers of answers that pages may read, apart from those that they always may."""

LONGEST_LIST = 4096
"""Bytes of a list of headers that is repeated in an answer, at most."""

LONGEST_SHOWN = 200
"""Characters of an origin that are logged or repeated in an answer, at most."""

_header_names = re.compile(rb"[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*[ \t]*")

Headers = tuple[tuple[bytes, bytes], ...]


def lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers as they stand in a head."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


SECURITY: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
"""What browsers are told with every answer that is no page."""


class Sites:
    """Knows which sites' pages may use the API: those of `origins`, as browsers write them."""

    def __init__(self, origins: frozenset[str] = frozenset()) -> None:
        self._origins = origins
        self._refused = Seldom()

    def headers(self, origin: str | None, *vary: bytes) -> Headers:
        """Returns what an answer says to a page of this origin, or to what is no page; `vary` names what it depends
        on."""
        names = (*vary, b"origin") if self._origins else vary
        told = ((b"vary", b", ".join(names)),) if names else ()
        if origin is None or origin not in self._origins:
            return told
        allowed = (b"access-control-allow-origin", origin.encode())
        return (*told, allowed, (b"access-control-expose-headers", EXPOSED))

    def preflight(self, headers: Mapping[bytes, bytes]) -> Headers:
        """Tells a browser what a page may send that no form can; `BadRequest` when its origin is not a named one."""
        origin = headers[b"origin"].decode("latin-1")
        if origin not in self._origins:
            raise self._refusal(origin)
        asked = headers.get(b"access-control-request-headers", b"")
        # A client may send any header: no header but `Authorization` gives anybody rights.
        may_be_repeated = len(asked) <= LONGEST_LIST and _header_names.fullmatch(asked)
        return (
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", asked if may_be_repeated else USUAL_HEADERS),
            (b"access-control-max-age", b"600"),
        )

    def check(self, headers: Mapping[bytes, str]) -> None:
        """A page of another origin has its reader's browser send nothing here, unless its origin is named.

        Browsers say in `Sec-Fetch-Site` where a request comes from. Where they do not (plain HTTP that is no loopback
        address), `Origin` says it for all that can change anything.
        """
        origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
        if site in ("same-origin", "none") or (origin is not None and origin in self._origins):
            return
        if site is None and (origin is None or origin.partition("://")[2] == headers.get(b"host")):
            return
        raise self._refusal(origin)

    def _refusal(self, origin: str | None) -> BadRequest:
        shown = (origin or "")[:LONGEST_SHOWN]
        if self._refused.is_due(shown):
            log.warning("refused a page of an origin that RECALLQL_CORS_ORIGINS does not name", origin=shown)
        page = f"The origin {shown!r} is" if shown else "Pages of other origins are"
        message = f"{page} not served; RECALLQL_CORS_ORIGINS names those that are."
        return BadRequest(message, status=403, code="FORBIDDEN")


def is_preflight(method: str, headers: Mapping[bytes, bytes]) -> bool:
    """Tells whether a browser asks what a page may send."""
    return method == "OPTIONS" and b"origin" in headers and b"access-control-request-method" in headers
