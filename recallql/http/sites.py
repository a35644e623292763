"""Headers for browsers, and the origins whose pages may send requests: this server's own, and configured ones."""

import re
from collections.abc import Iterable, Mapping

import structlog

from recallql.http.requests import BadRequest
from recallql.seldom import Seldom

log = structlog.get_logger("recallql.sites")

METHODS = b"GET, HEAD, POST"
USUAL_HEADERS = b"content-type, authorization"
EXPOSED = b"retry-after, www-authenticate, allow, accept-encoding"
"""Response headers that pages may read, beyond those that they always may."""

LONGEST_LIST = 4096
"""The most bytes of a list of headers that an answer repeats."""

LONGEST_SHOWN = 200
"""The most characters of an origin that are logged or repeated in an answer."""

_header_names = re.compile(rb"[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*[ \t]*")

Headers = tuple[tuple[bytes, bytes], ...]


def lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers as the bytes of a head."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


SECURITY: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
"""The security headers of every answer that is not a page."""


class Sites:
    """Decides which pages may use the API: this server's own, and those of `origins`, written as browsers do."""

    def __init__(self, origins: frozenset[str] = frozenset()) -> None:
        self._origins = origins
        self._refused = Seldom()

    def headers(self, origin: str | None, *vary: bytes) -> Headers:
        """Returns the headers of an answer to a page of this origin, or to a client that is not a page (None).

        `vary` lists the request headers that the answer depends on.
        """
        names = (*vary, b"origin") if self._origins else vary
        told = ((b"vary", b", ".join(names)),) if names else ()
        if origin is None or origin not in self._origins:
            return told
        allowed = (b"access-control-allow-origin", origin.encode())
        return (*told, allowed, (b"access-control-expose-headers", EXPOSED))

    def preflight(self, headers: Mapping[bytes, bytes]) -> Headers:
        """Returns the headers of the answer to a CORS preflight; raises `BadRequest` for another origin."""
        origin = headers[b"origin"].decode("latin-1")
        if origin not in self._origins:
            raise self._refusal(origin)
        asked = headers.get(b"access-control-request-headers", b"")
        # All headers are allowed: no header but `Authorization` grants rights.
        may_be_repeated = len(asked) <= LONGEST_LIST and _header_names.fullmatch(asked)
        return (
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", asked if may_be_repeated else USUAL_HEADERS),
            (b"access-control-max-age", b"600"),
        )

    def check(self, headers: Mapping[bytes, str]) -> None:
        """Refuses requests of pages of other origins (CSRF), unless the origin is allowed.

        Browsers send `Sec-Fetch-Site`. Where they do not (plain HTTP to an address other than loopback), they send
        `Origin` with all requests that can change anything.
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
            log.warning("refused a page of an origin that RECALLQL_CORS_ORIGINS does not list", origin=shown)
        page = f"The origin {shown!r} is" if shown else "Pages of other origins are"
        message = f"{page} not allowed; RECALLQL_CORS_ORIGINS lists those that are."
        return BadRequest(message, status=403, code="FORBIDDEN")


def is_preflight(method: str, headers: Mapping[bytes, bytes]) -> bool:
    """Tells whether a request is a CORS preflight."""
    return method == "OPTIONS" and b"origin" in headers and b"access-control-request-method" in headers
