"""PostgreSQL servers of the tests' own, which a test may stop, cut off and ruin: on loopback, each in a folder."""

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest

from models.store import database_at
from tests.servers import START_SECONDS, free_port

FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=16MB", "max_connections=60")
"""Nothing of a test has to survive a power cut."""

_numbers = count(1)


def folder_of_binaries() -> Path | None:
    """The programs of the newest PostgreSQL that the machine has."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), default=None)


def _user() -> dict[str, Any]:
    """PostgreSQL does not run as root."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}


class Cluster:
    """One server."""

    def __init__(self, folder: Path) -> None:
        binaries = folder_of_binaries()
        if binaries is None:
            pytest.skip("PostgreSQL is not installed on this machine.")
        self.binaries = binaries
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        for parent in reversed(folder.parents):
            # pytest's folders are its user's alone.
            with suppress(PermissionError):
                if str(parent).count("/") > 1:
                    parent.chmod(parent.stat().st_mode | 0o011)
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")

    @classmethod
    def create(cls, folder: Path, *options: str, settings: tuple[str, ...] = ()) -> "Cluster":
        """A new server, which anybody on loopback may use, and which runs."""
        cluster = cls(folder)
        chosen = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", *options)
        cluster.run("initdb", f"--pgdata={cluster.data}", *chosen)
        cluster.configure(*FAST, f"unix_socket_directories='{folder}'", "listen_addresses='127.0.0.1'", *settings)
        cluster.start()
        return cluster

    def run(self, program: str, *arguments: str) -> str:
        command = [self.binaries / program, *arguments]
        ran = subprocess.run(
            command, cwd=self.folder, **_user(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
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
