"""URLs of PostgreSQL databases, in libpq's form."""

import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from models.errors import DatabaseProblem

PATIENCE = 10.0
"""Seconds that a new connection may take, unless the URL has a `connect_timeout`."""

EXAMPLE = "postgresql://user@host:5432/database"

CHOICES = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "target_session_attrs": ("any", "primary", "standby", "prefer-standby", "read-write", "read-only"),
}

FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")

OF_LIBPQ_ALONE = frozenset(
    (
        *("channel_binding", "client_encoding", "connect_timeout", "fallback_application_name", "gssencmode"),
        *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "load_balance_hosts"),
        *("requirepeer", "sslcompression", "sslsni", "tcp_user_timeout"),
    )
)
"""Options that the driver does not know: it would take them for settings of the server."""

_host = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>.*))?")
_broken = re.compile(r"%(?![0-9A-Fa-f]{2})")


def _wrong(reason: str) -> DatabaseProblem:
    # It repeats nothing that may be a part of a password.
    return DatabaseProblem(f"The database URL is not valid: {reason}; give {EXAMPLE}.")


class Url:
    """The address that a URL names.

    `name` is what messages show of it, without user and password, and `dsn` what the driver takes.
    """

    def __init__(self, url: str) -> None:
        rest = url.partition("://")[2]
        authority, _, _ = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")
        if "@" in authority or "#" in rest or ("@" in rest and not authority):
            raise _wrong("write @ / ? # in its user or password as %40 %2F %3F %23")
        if _broken.search(rest):
            raise _wrong("a % in it begins no character; write it as %25")
        parts = urlsplit(f"postgresql://{rest}")
        hosts = parts.netloc.rpartition("@")[2]
        self.options = _options(parts.query)
        _check_ports(hosts, self.options)
        database = unquote(parts.path[1:]) or self.options.get("dbname") or self.options.get("database") or ""
        if not (database or os.environ.get("PGDATABASE") or self.options.keys() & {"service"}):
            raise _wrong("it names no database")
        user = unquote(authority.partition(":")[0]) or self.options.get("user") or os.environ.get("PGUSER")
        self.user: str | None = user
        self.name = f"postgresql://{hosts or self.options.get('host', '')}/{database}"
        self.patience = _seconds(self.options.get("connect_timeout"))
        kept = {name: value for name, value in self.options.items() if name not in OF_LIBPQ_ALONE}
        self.dsn = f"postgresql://{parts.netloc}{parts.path}" + (f"?{urlencode(kept)}" if kept else "")


def _options(query: str) -> dict[str, str]:
    try:
        options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True)) if query else {}
    except ValueError:
        raise _wrong("what follows ? is not of the form name=value&name=value") from None
    for name, choices in CHOICES.items():
        if name in options and options[name] not in choices:
            raise _wrong(f"its {name} is {options[name]!r}, which is none of {', '.join(choices)}")
    for name in FILES:
        if name in options and not os.access(options[name], os.R_OK):
            raise _wrong(f"its {name} is {options[name]!r}, which is no file that can be read")
    if options.get("channel_binding") == "require":
        raise _wrong("channel_binding=require is not supported; leave it out, and set sslmode=verify-full")
    return options


def _check_ports(hosts: str, options: dict[str, str]) -> None:
    for host in hosts.split(","):
        matched = _host.fullmatch(host)
        if matched is None or ":" in (matched["port"] or ""):
            raise _wrong("an IPv6 address stands in brackets, as in [::1]:5432")
        _check_port(matched["port"])
    for port in options.get("port", "").split(","):
        _check_port(port)


def _check_port(port: str | None) -> None:
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise _wrong(f"its port {port!r} is no number from 1 to 65535")


def _seconds(given: str | None) -> float:
    if given is None:
        return PATIENCE
    if not (given.isascii() and given.isdigit()):
        raise _wrong(f"its connect_timeout is {given!r}, which is no number of seconds")
    # libpq waits for ever at 0, which no request can.
    return float(given) or PATIENCE


def ignored_password_file() -> str | None:
    """The password file that is ignored, as by libpq, since others may read it."""
    path = Path(os.environ.get("PGPASSFILE") or Path.home() / ".pgpass")
    try:
        return str(path) if path.stat().st_mode & 0o077 else None
    except OSError:
        return None
