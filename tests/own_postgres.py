"""A PostgreSQL of the tests' own, on a free port of this machine."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Generator
from glob import glob
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from tests.servers import free_port

_numbers = count()


class Postgres:
    def __init__(self, programs: Path, port: int) -> None:
        self._programs = programs
        self.port = port

    def sql(self, statement: str, database: str = "postgres") -> str:
        """The rows of a statement, one on a line."""
        address = f"postgresql://postgres@127.0.0.1:{self.port}/{database}"
        command = [self._programs / "psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-c", statement, address]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.rstrip("\n")

    def database(self) -> str:
        """The name of a new database."""
        name = f"test_{next(_numbers)}"
        self.sql(f"CREATE DATABASE {name}")
        return name

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    @contextlib.contextmanager
    def used(self, database: str, *, application: str) -> Generator[None]:
        """A block in which an application has a connection."""
        command = [self._programs / "psql", "-qAtX", f"{self.url(database)}?application_name={application}"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("SELECT 1;\n")
            process.stdin.flush()
            assert process.stdout.readline() == "1\n"
            yield
            process.stdin.close()


@contextlib.contextmanager
def started() -> Generator[Postgres]:
    programs = Path(sorted(glob("/usr/lib/postgresql/*/bin"))[-1])  # noqa: PTH207
    # Its user may not read the folders of pytest.
    folder = Path(mkdtemp(prefix="recallql-postgres-"))
    user: dict[str, Any] = {"user": "postgres"} if os.geteuid() == 0 else {}
    if user:
        shutil.chown(folder, "postgres")
    port, data = free_port(), folder / "data"

    def run(*command: str | Path) -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **user)

    run(programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    run(programs / "pg_ctl", "-D", data, "-o", options, "-l", folder / "log", "-w", "start")
    try:
        yield Postgres(programs, port)
    finally:
        run(programs / "pg_ctl", "-D", data, "-m", "fast", "-w", "stop")
        shutil.rmtree(folder)
