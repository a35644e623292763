"""What browsers are told with every answer, and whose pages may have them ask: this server's own, and named origins."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from recallql.requests import BadRequest

METHODS = b"GET, HEAD, POST"


def lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers as they stand in a head."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
"""What browsers are told with every answer that is no page."""

SECURITY_LINES = lines(SECURITY)

PREFLIGHT = lines(
    (
        (b"access-control-allow-methods", METHODS),
        (b"access-control-allow-headers", b"content-type, authorization"),
        (b"access-control-max-age", b"600"),
    )
)
"""What a page of a named origin may send that no form can."""


@dataclass(frozen=True, slots=True)
class Sites:
    """Which sites' pages may use the API."""

    origins: frozenset[str] = frozenset()
    """The named ones, as browsers write them: `https://app.example.org`."""

    def headers(self, origin: str | None) -> bytes:
        """The lines for an answer to a page of this origin, or to what is no page."""
        if not self.origins:
            return SECURITY_LINES
        if origin is None or origin not in self.origins:
            return SECURITY_LINES + b"vary: origin\r\n"
        return SECURITY_LINES + b"vary: origin\r\naccess-control-allow-origin: %b\r\n" % origin.encode()

    def is_preflight(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a browser asks what a page of a named origin may send."""
        origin = headers.get(b"origin", b"").decode("latin-1")
        return origin in self.origins and b"access-control-request-method" in headers

    def check(self, headers: Mapping[bytes, str]) -> None:
        """A page of another origin has its reader's browser send nothing here, unless its origin is named.

        Browsers say in `Sec-Fetch-Site` where a request comes from. Where they do not (plain HTTP that is no loopback
        address), `Origin` says it for all that can change anything.
        """
        origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
        if site in ("same-origin", "none") or (origin is not None and origin in self.origins):
            return
        if site is None and (origin is None or origin.partition("://")[2] == headers.get(b"host")):
            return
        message = "Pages of other origins are not served; RECALLQL_CORS_ORIGINS names those that are."
        raise BadRequest(message, status=403, code="FORBIDDEN")
