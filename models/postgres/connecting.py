"""Connections to PostgreSQL, with the types of the store: keys as bytes, times as in `models.values`."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import asyncpg

from models.errors import DatabaseProblem

driver: Any = asyncpg
"""The driver, which has no annotations."""

CONNECT_PATIENCE = 10.0
"""Seconds that a new connection may take."""

SETTINGS = {"timezone": "UTC", "application_name": "recallql"}

STATEMENTS_KEPT = 1000
"""Prepared statements that a connection keeps."""

SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")

# Above and below every time (see `Listing.ends`).
_ENDS = {"": "-infinity", "~": "infinity"}

Connect = Callable[[], Any]


def time_to_server(time: str) -> str:
    return _ENDS.get(time) or f"{time}+00"


def time_from_server(text: str) -> str:
    """The time of a row, with six digits of a second or none."""
    if len(text) == 29:
        return f"{text[:10]}T{text[11:26]}"
    moment = text[:10] + "T" + text[11:-3]
    return moment if len(moment) == 19 else moment.ljust(26, "0")


class Address:
    """Where a URL of libpq's form leads; `name` leaves out the password."""

    def __init__(self, url: str) -> None:
        self.dsn = f"postgresql://{url.partition('://')[2]}"
        try:
            parts = urlsplit(self.dsn)
            self.user = unquote(parts.username) if parts.username else None
            where = parts.netloc.rpartition("@")[2]
            self.options = dict(parse_qsl(parts.query))
        except ValueError as error:
            raise DatabaseProblem(
                f"The database URL is not valid: {error}; give postgresql://user@host/database."
            ) from error
        self.name = f"postgresql://{where}{parts.path}"

    async def connect_plainly(self, **settings: str) -> Any:
        """A connection with the driver's own types."""
        return await driver.connect(
            self.dsn,
            timeout=CONNECT_PATIENCE,
            server_settings=SETTINGS | settings,
            statement_cache_size=STATEMENTS_KEPT,
            max_cached_statement_lifetime=0,
        )

    async def connect(self, **settings: str) -> Any:
        """A connection with the types of the store."""
        connection = await self.connect_plainly(**settings)
        await set_types(connection)
        return connection


def number_from_server(text: str) -> int | float:
    """A sum of integers, which PostgreSQL gives as a decimal number."""
    return float(text) if "." in text else int(text)


async def set_types(connection: Any) -> None:
    await connection.set_type_codec("uuid", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary")
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", encoder=time_to_server, decoder=time_from_server, format="text"
    )
    await connection.set_type_codec(
        "numeric", schema="pg_catalog", encoder=str, decoder=number_from_server, format="text"
    )
