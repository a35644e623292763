"""The fixtures that several files share; `servers.py` has what `server`, `serve` and `process` give."""

import asyncio
import logging
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from models.search_kinds import SEARCH_KINDS
from recallql.commands.cli import main

# Before they are imported: a failed assertion in a module that tests share shows its values, as one in a test does.
pytest.register_assert_rewrite("tests")

from tests.archives import Outcome  # noqa: E402
from tests.desk import Desk  # noqa: E402
from tests.forks import Template  # noqa: E402
from tests.servers import Host, Process, Serve, Server, Start, faults, free_port  # noqa: E402
from tests.wire import UPSERT, USERS, Connection, ask, found  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def stop_hosts() -> Iterator[None]:
    yield
    if Template.running is not None:
        Template.running.close()
    while Host.idle:
        Host.idle.pop().close()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database with all its tables, made once by starting the application on it."""
    path = tmp_path_factory.mktemp("template") / "recallql.db"
    Server(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


@pytest.fixture
def server(migrated_file: Path, tmp_path: Path) -> Iterator[Server]:
    """The application on a fresh database, in this process."""
    path = tmp_path / "recallql.db"
    shutil.copyfile(migrated_file, path)
    running = Server(path)
    yield running
    running.close()


@pytest.fixture
def start(migrated_file: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts the application in this process with these settings, on a fresh database or on `path`."""
    running: list[Server] = []

    def begin(path: Path | None = None, **settings: Any) -> Server:
        if path is None:
            path = tmp_path / f"started-{len(running)}.db"
            shutil.copyfile(migrated_file, path)
        running.append(Server(path, **settings))
        return running[-1]

    yield begin
    for server in running:
        server.close()


@pytest.fixture
def serve(migrated_file: Path, tmp_path: Path) -> Iterator[Serve]:
    """Start the command: `serve()` on a fresh database, `serve(path=…)` on one that is there, `port=`, further
    command-line arguments, and `env={…}`. It answers once `/ready` does, unless `ready=False`."""
    started: list[Process] = []

    def start(
        *arguments: str,
        path: Path | None = None,
        port: int | None = None,
        env: dict[str, str] | None = None,
        ready: bool = True,
    ) -> Process:
        number = len(started)
        if path is None:
            path = tmp_path / f"served-{number}.db"
            shutil.copyfile(migrated_file, path)
        running = Process(path, port or free_port(), list(arguments), env or {}, tmp_path / f"served-{number}.log")
        started.append(running)
        if ready:
            running.wait_until_ready()
        return running

    yield start
    for running in started:
        running.close()


@pytest.fixture(scope="session")
def process(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The command in a process of its own, with the users that `wire.ask` asks for, to be spoken to in bytes."""
    folder = tmp_path_factory.mktemp("process")
    path = folder / "recallql.db"
    shutil.copyfile(migrated_file, path)
    running = Process(path, free_port(), [], {}, folder / "recallql.log")
    running.wait_until_ready()
    for number in range(USERS):
        running.graphql(UPSERT, id=f"user-{number}")
    yield running
    running.close()


@pytest.fixture
def unharmed(process: Process) -> Iterator[None]:
    """After the test `process` answers others, has met no fault, and has not carried out what was smuggled in."""
    before = len(process.output())
    yield
    assert process.process.poll() is None, process.output()
    with Connection(process.port) as other:
        assert found(other.ask(ask(7)), 7)
    assert faults(process.output()[before:]) == []
    assert process.graphql('{ user(userId: "smuggled") { name } }') == {"user": None}


@pytest.fixture
def connection(process: Process) -> Iterator[Connection]:
    """A connection to `process`."""
    with Connection(process.port) as opened:
        yield opened


@pytest.fixture
def root_logger() -> Iterator[None]:
    """The logger of all loggers, which is afterwards as it was before."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers = handlers
    root.setLevel(level)


@pytest.fixture
def through_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """No scope is small enough to be read whole: everything is found through the index."""
    for each in SEARCH_KINDS.values():
        monkeypatch.setitem(vars(each), "scanned", 0)
        monkeypatch.setitem(vars(each), "scanned_of_one", 0)


@pytest.fixture
def desk(migrated_file: Path, tmp_path: Path) -> Iterator[Desk]:
    """Credentials on a database that nobody serves."""
    path = tmp_path / "desk.db"
    shutil.copyfile(migrated_file, path)
    opened = Desk(path)
    yield opened
    opened.close()


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root_logger: None
) -> Callable[..., Outcome]:
    """The command within this process, for the many short calls; an exception that it lets out fails the test."""

    def call(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["recallql", *map(str, arguments)])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = 0 if end.code is None else int(end.code)
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return call


@pytest.fixture
def refusal(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], root_logger: None
) -> Callable[..., str]:
    """Runs a command within this process (there are many), which must fail with status 1; the one line it says."""

    def call(*arguments: str) -> str:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["recallql", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        said = capfd.readouterr().err
        assert end.value.code == 1, said
        assert said.startswith("recallql: "), said
        assert said.count("\n") == 1, said
        return said

    return call


@pytest.fixture
def path(migrated_file: Path, tmp_path: Path) -> Path:
    """A fresh database file that nobody serves."""
    fresh = tmp_path / "fresh.db"
    shutil.copyfile(migrated_file, fresh)
    return fresh


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as running:
        # What graphql-core leaves behind under a null is nobody's error.
        running.get_loop().set_exception_handler(lambda *_: None)
        yield running
