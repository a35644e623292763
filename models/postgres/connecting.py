"""Connections to PostgreSQL, with the types of the store: keys as bytes, times as in `models.values`."""

import socket
import warnings
from collections.abc import Generator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

import asyncpg
import structlog

from models.errors import DatabaseProblem
from models.postgres.receiving import Receiving
from models.postgres.urls import Url

log = structlog.get_logger("recallql.database")

# What it says so, `faults` puts into its one line.
warnings.filterwarnings("ignore", "password file", module="asyncpg")

driver: Any = asyncpg
"""The driver, which has no annotations."""

SETTINGS = {"timezone": "UTC", "datestyle": "ISO", "application_name": "recallql"}
"""The settings that a connection asks for when it begins. PgBouncer knows them, and restores them for each client."""

PLAN_ONCE = """
SELECT set_config('plan_cache_mode', 'force_generic_plan', false)
WHERE NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')
"""
"""Has the server plan a prepared statement once, and not anew for the values of each execution: for a page of messages
that took as long as reading it. Citus finds the shard of a row by the values."""

STATEMENTS_KEPT = 1000
"""Prepared statements that a connection keeps."""

OLDEST = 14
"""The oldest version of PostgreSQL that is supported."""

SILENCE = 15
"""Seconds without a sign of the server's machine after which a connection counts as lost."""

# Above and below every time (see `Listing.ends`).
_ENDS = {"": "-infinity", "~": "infinity"}


class Connection(driver.Connection):
    """A connection that knows how much it has received, since when it is idle, and notices when the network is cut."""

    __slots__ = ("idle_since", "receiving")

    def __init__(self, protocol: Any, transport: Any, *rest: Any) -> None:
        driver.Connection.__init__(self, protocol, transport, *rest)
        self.idle_since = monotonic()
        self.receiving = Receiving(protocol)
        transport.set_protocol(self.receiving)
        _watch(transport.get_extra_info("socket"))


def _watch(connected: socket.socket) -> None:
    """Has the system look whether the other machine is there, while the connection is idle and while it sends."""
    if connected.family == socket.AF_UNIX:
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", SILENCE // 3),
        ("TCP_KEEPINTVL", SILENCE // 3),
        ("TCP_KEEPCNT", 2),
        ("TCP_USER_TIMEOUT", SILENCE * 1000),
    ):
        # No system has them all.
        with suppress(AttributeError, OSError):
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class Address(Url):
    """A database's URL, and how to connect to it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.is_pooled = False
        """True once it turned out that a pooler such as PgBouncer stands in between: another transaction may be on
        another connection to the server, which has prepared nothing and keeps no settings of the session."""

    async def connect(self, **settings: str) -> Any:
        """A connection with the types of the store."""
        connection = await self.connect_plainly(**settings)
        with closed_on_failure(connection):
            await set_types(connection)
            # The order of a `CrossJoin` is the one that is fast; by statistics the planner would choose another, above
            # all for a table that was just filled and has none. PgBouncer would refuse this among `SETTINGS`.
            await connection.execute("SET join_collapse_limit = 1")
        return connection

    async def connect_plainly(self, **settings: str) -> Any:
        """A connection with the driver's own types."""
        connection = await self._open(settings)
        with closed_on_failure(connection):
            if self.is_pooled or not await _is_pooled(connection):
                if not self.is_pooled:
                    await connection.execute(PLAN_ONCE)
                return connection
            await connection.close()
        self.is_pooled = True
        log.info("a pooler keeps the connections", database=self.name)
        return await self._open(settings)

    async def _open(self, settings: dict[str, str]) -> Any:
        defaults = {name: value for name, value in SETTINGS.items() if name not in self.options}
        connection = await driver.connect(
            self.dsn,
            timeout=self.patience,
            server_settings=defaults | settings,
            connection_class=Connection,
            statement_cache_size=0 if self.is_pooled else STATEMENTS_KEPT,
            max_cached_statement_lifetime=0,
        )
        problem = _problem(connection)
        if problem is not None:
            await connection.close()
            raise DatabaseProblem(f"{self.name} {problem}")
        return connection


@contextmanager
def closed_on_failure(connection: Any) -> Generator[None]:
    """Closes the connection if the block raises or is cancelled."""
    try:
        yield
    except BaseException:
        connection.terminate()
        raise


def _problem(connection: Any) -> str | None:
    """The reason why a database can't be used at all, if there is one."""
    version = connection.get_server_version()
    if version.major < OLDEST:
        return f"is PostgreSQL {version.major}; RecallQL needs PostgreSQL {OLDEST} or newer."
    encoding = connection.get_settings().server_encoding
    if encoding != "UTF8":
        return (
            f"has the encoding {encoding}, which lacks most of Unicode; create a database for RecallQL with "
            "`createdb --encoding UTF8 --template template0`."
        )
    return None


_CITUS = "SELECT to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL"
_DISTRIBUTED = "SELECT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = to_regclass('sessions'))"


async def kind_of(connection: Any) -> str:
    """The kind of a database: "citus" once its tables are distributed (see `models.distribution`), else "postgres"."""
    is_citus = await connection.fetchval(_CITUS) and await connection.fetchval(_DISTRIBUTED)
    return "citus" if is_citus else "postgres"


async def _is_pooled(connection: Any) -> bool:
    """True if the server's process is another one than that which the connection was told of."""
    # By the simple protocol, which prepares nothing.
    told = connection.get_server_pid()
    return await connection.execute(f"SELECT 1 WHERE pg_backend_pid() = {told}") != "SELECT 1"


def time_to_server(time: str) -> str:
    return _ENDS.get(time) or f"{time}+00"


def time_from_server(text: str) -> str:
    """The time of a row, with six digits of a second or none."""
    moment = text.replace(" ", "T", 1)[:-3]
    return moment if len(moment) in (19, 26) else moment.ljust(26, "0")


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
