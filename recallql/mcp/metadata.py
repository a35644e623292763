"""The metadata of `/mcp` for OAuth clients (RFC 9728). It names the identity provider whose tokens are accepted."""

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from recallql.auth.claims import SCOPE
from recallql.http.hosts import is_loopback
from recallql.settings import Settings
from resolvers.grants import PERMISSIONS

WELL_KNOWN = "/.well-known/oauth-protected-resource"

_host = re.compile(r"(?P<name>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


class ResourceMetadata:
    """The metadata of the server at the address that clients have for it."""

    def __init__(self, settings: Settings) -> None:
        self._issuer = settings.jwks_issuer
        self._public = settings.public_url
        self._root = settings.root_path
        parts = urlsplit(settings.jwks_issuer)
        self.exists = bool(settings.jwks_url) and parts.scheme in ("https", "http") and bool(parts.netloc)
        """True if there is an identity provider, which clients can find by its issuer."""
        self.paths = sorted({WELL_KNOWN, f"{WELL_KNOWN}/mcp", f"{WELL_KNOWN}{self._root}/mcp"} if self.exists else ())

    def challenge(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """The header of an answer with the status 401, which leads to the metadata."""
        base = self.address(headers) if self.exists else None
        more = "" if base is None else f' resource_metadata="{base}{WELL_KNOWN}/mcp"'
        return f"www-authenticate: Bearer{more}\r\n".encode()

    def document(self, headers: Iterable[tuple[bytes, bytes]]) -> dict[str, Any] | None:
        """The metadata; None for a `Host` that is no host."""
        base = self.address(headers)
        if base is None:
            return None
        return {
            "resource": f"{base}/mcp",
            "resource_name": "RecallQL",
            "authorization_servers": [self._issuer],
            "scopes_supported": [SCOPE + permission.lower() for permission in PERMISSIONS],
            "bearer_methods_supported": ["header"],
        }

    def address(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """The server's address: the one that is set, else by the request's `Host`.

        The answer goes only to the client that named the host, and is not cached. A host that is none gets no answer:
        its text would come into a header.
        """
        if self._public:
            return self._public
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        parsed = _host.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if parsed is None:
            return None
        # Tokens travel over TLS, except within this machine. A proxy may have removed it.
        scheme = "http" if is_loopback(parsed["name"].lower()) else "https"
        return f"{scheme}://{hosts[0]}{self._root}"
