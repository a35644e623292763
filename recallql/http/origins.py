"""Origins of web pages and apps, as settings name them and as browsers write them."""

import re
from urllib.parse import urlsplit

PORTS = {"http": 80, "https": 443}
NO_PAGES = ("ftp", "ws", "wss", "file", "data", "blob", "about", "javascript", "mailto")
"""Schemes that no page's origin can have; browsers send `null` for some of them."""

_host = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")


def read_origins(text: str) -> frozenset[str]:
    """The origins of a comma-separated list; raises `ValueError` for an invalid one."""
    return frozenset(read_origin(item) for item in map(str.strip, text.split(",")) if item)


def read_origin(text: str) -> str:
    """An origin as browsers write it: in lower case, without a default port; raises `ValueError` for an invalid one."""
    if text == "*":
        raise ValueError("`*` would let every page use the API; name the origins of the pages that may")
    if text.lower() == "null":
        raise ValueError(
            "`null` is what browsers send for sandboxed pages and files of anybody; serve the page from an origin "
            "that can be named"
        )
    try:
        if not text.isprintable() or " " in text:
            raise _no_origin(text)
        parts = urlsplit(text)
        host, port = _host_of(parts.netloc.rpartition("@")[2]), parts.port
    except ValueError:
        raise _no_origin(text) from None
    plain = not (parts.path or parts.query or parts.fragment or "@" in parts.netloc or text.endswith(("?", "#", ":")))
    if not plain or not _host.fullmatch(host) or parts.scheme in NO_PAGES or "://" not in text or port == 0:
        raise _no_origin(text)
    shown = "" if port in (None, PORTS.get(parts.scheme)) else f":{port}"
    return f"{parts.scheme}://{host}{shown}"


def _host_of(netloc: str) -> str:
    """The host in lower case, a name beyond ASCII in the form that browsers send."""
    host = re.sub(r":\d*$", "", netloc).lower()
    return host if host.isascii() else host.encode("idna").decode()


def _no_origin(text: str) -> ValueError:
    return ValueError(
        f"{text!r} is not an origin: a scheme, a host and optionally a port, without a path, as in "
        "https://app.example.org, http://localhost:3000 or tauri://localhost; separate several by commas"
    )
