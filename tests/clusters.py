"""PostgreSQL servers of the tests' own, which a test may stop, cut off and ruin: on loopback, each in a folder."""

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from urllib.parse import quote

import asyncpg

from models.store import database_at
from tests.postgres import NoPostgres, account, lacking, programs
from tests.servers import START_SECONDS, free_port

FAST = ("fsync=off", "full_page_writes=off", "shared_buffers=16MB", "max_connections=60")
"""Nothing of a test has to survive a power cut."""

_numbers = count(1)


def own_folder() -> Path:
    """A folder for a server: its user may not read those of pytest."""
    folder = Path(mkdtemp(prefix="recallql-postgres-"))
    if options := account():
        os.chown(folder, options["user"], options["group"])
    return folder


class Cluster:
    """One server, in a new folder or with the data of an earlier one."""

    def __init__(self, folder: Path | None = None) -> None:
        try:
            self.binaries = programs()
        except NoPostgres as reason:
            lacking(str(reason))
        self.folder = folder or own_folder()
        self.data = self.folder / "data"
        self.port = free_port()

    @classmethod
    def create(cls, *options: str) -> "Cluster":
        """A new server, which anybody on loopback may use, and which runs."""
        cluster = cls()
        chosen = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", *options)
        cluster.run("initdb", f"--pgdata={cluster.data}", *chosen)
        cluster.configure(*FAST, f"unix_socket_directories='{cluster.folder}'", "listen_addresses='127.0.0.1'")
        cluster.start()
        return cluster

    def replica(self) -> "Cluster":
        """A streaming replica, which runs."""
        replica = Cluster()
        source = f"--dbname=postgresql://postgres@127.0.0.1:{self.port}"
        replica.run(
            "pg_basebackup", source, "-D", str(replica.data), "--checkpoint=fast", "--no-sync", "--write-recovery-conf"
        )
        replica.configure(f"unix_socket_directories='{replica.folder}'", "wal_receiver_status_interval=1s")
        replica.start()
        return replica

    def run(self, program: str, *arguments: str) -> str:
        command = [self.binaries / program, *arguments]
        ran = subprocess.run(
            command, cwd=self.folder, **account(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert ran.returncode == 0, ran.stdout
        return ran.stdout

    def configure(self, *settings: str) -> None:
        with (self.data / "postgresql.conf").open("a") as file:
            file.write("\n".join((f"port={self.port}", *settings, "")))

    def start(self) -> None:
        # Its own log: the server would keep a pipe of the tests open.
        self.run("pg_ctl", "start", "--wait", "-D", str(self.data), "-l", str(self.folder / "server.log"))

    def stop(self, mode: str = "fast") -> None:
        self.run("pg_ctl", "stop", "--wait", "-D", str(self.data), "-m", mode)

    def close(self) -> None:
        with suppress(AssertionError):
            self.stop("immediate")
        shutil.rmtree(self.folder)

    @property
    def pid(self) -> int:
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def url(self, database: str = "postgres", *, user: str = "postgres", password: str = "", **options: str) -> str:
        secret = f":{quote(password, safe='')}" if password else ""
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items())
        return f"postgresql://{user}{secret}@127.0.0.1:{self.port}/{database}" + (f"?{query}" if query else "")

    async def ask(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """The rows of a statement, by a connection of the test's own."""
        connection = await asyncpg.connect(self.url(database))
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        return asyncio.run(self.ask(statement, database))

    @contextmanager
    def locked(self, table: str, database: str) -> Generator[None]:
        """A block in which nobody else can read or write a table."""
        with asyncio.Runner() as runner:
            connection = runner.run(asyncpg.connect(self.url(database)))
            runner.run(connection.execute(f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
            yield
            runner.run(connection.close())

    def database(self) -> str:
        """The name of a fresh database with all tables."""
        if not self.sql("SELECT 1 FROM pg_database WHERE datname = 'template'"):
            self.sql("CREATE DATABASE template")
            database_at(self.url("template")).migrate()
        name = f"fresh_{next(_numbers)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE template")
        return name


def play(scene: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Runs a scene with a time limit."""
    return asyncio.run(asyncio.wait_for(scene(), 60))


async def until(condition: Callable[[], Awaitable[Any]], otherwise: str = "it did not come true") -> None:
    """Waits until the condition is true."""
    deadline = time.monotonic() + START_SECONDS
    while not await condition():
        assert time.monotonic() < deadline, otherwise
        await asyncio.sleep(0.02)


class Remote:
    """A database of a cluster, for the servers of `tests.servers`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.option = ("--database-url", url)


class Pooler:
    """PgBouncer in transaction mode before a server."""

    def __init__(self, cluster: Cluster, *, server_connections: int = 3) -> None:
        program = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
        if program is None:
            lacking("PgBouncer is not installed on this machine.")
        self.port = free_port()
        folder = self._folder = own_folder()
        settings = folder / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host=127.0.0.1 port={cluster.port} user=postgres\n"
            f"[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port={self.port}\nunix_socket_dir=\n"
            "auth_type=any\npool_mode=transaction\nmax_client_conn=200\n"
            f"default_pool_size={server_connections}\nlogfile={folder / 'pgbouncer.log'}\n"
        )
        # pgbouncer refuses to run as root.
        self._process = subprocess.Popen(
            [program, str(settings)], **account(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                break
            assert self._process.poll() is None, (folder / "pgbouncer.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._folder)
