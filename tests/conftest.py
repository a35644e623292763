"""The fixtures that several files share; `servers.py` has what `server`, `serve` and `process` give."""

import asyncio
import contextlib
import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from models.search_kinds import SEARCH_KINDS
from recallql.commands.cli import main

# Before they are imported: a failed assertion in a module that tests share shows its values, as one in a test does.
pytest.register_assert_rewrite("tests")

from tests.archives import Outcome  # noqa: E402
from tests.citus_places import CitusPlaces  # noqa: E402
from tests.clusters import Cluster  # noqa: E402
from tests.desk import Desk  # noqa: E402
from tests.forks import Template  # noqa: E402
from tests.live import Connect  # noqa: E402
from tests.places import Fresh, Place, Places, SqlitePlace, SqlitePlaces  # noqa: E402
from tests.postgres import NoPostgres, PostgresServer, lacking, programs  # noqa: E402
from tests.postgres_places import PostgresPlace, PostgresPlaces  # noqa: E402
from tests.servers import Api, Host, Process, Serve, Server, Start, faults, free_port  # noqa: E402
from tests.sockets import Client  # noqa: E402
from tests.streaming import Ticker  # noqa: E402
from tests.wire import UPSERT, USERS, Connection, ask, found  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def stop_hosts() -> Iterator[None]:
    yield
    if Template.running is not None:
        Template.running.close()
    while Host.idle:
        Host.idle.pop().close()


DATABASES = ("sqlite", "postgres", "citus")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--database", choices=DATABASES, help="the only database on which the tests run")


def databases(config: pytest.Config) -> Sequence[str]:
    """Those on which a test runs that needs one: on Citus only where there is a cluster."""
    if chosen := config.getoption("--database"):
        return (str(chosen),)
    return DATABASES if os.environ.get("TEST_CITUS_DSN") else DATABASES[:2]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test that needs a database on each."""
    if "places" in metafunc.fixturenames:
        metafunc.parametrize("places", databases(metafunc.config), indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out, on other databases than SQLite, tests marked `sqlite`, and those marked `once` if they run on it."""
    chosen = databases(config)
    marks = ["sqlite"] if len(chosen) == 1 else ["sqlite", "once"]

    def is_left_out(item: pytest.Item) -> bool:
        parameters: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
        on = parameters.get("places", chosen[0])
        return on != "sqlite" and any(item.get_closest_marker(mark) for mark in marks)

    left_out = [item for item in items if is_left_out(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_xdist_auto_num_workers() -> int:
    """Two processes for each core (`-n auto`): a third of the time a test waits for something else."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 2 * cores


def pytest_configure() -> None:
    """Has the garbage collector look less often, as `recallql.app.from_environment` does."""
    gc.set_threshold(20_000, 10, 40)


def pytest_collection_finish() -> None:
    """Spares the garbage collector ten thousand tests and all modules."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def places(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    """Where a fixture of a module or of the session gets its databases."""
    if request.param != "sqlite":
        yield request.getfixturevalue(f"{request.param}_places")
        return
    made = SqlitePlaces(tmp_path_factory.mktemp("template"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def postgres_places(postgres_dsn: str) -> Iterator[PostgresPlaces]:
    """Where databases of PostgreSQL come from, also for tests that need one beside a file."""
    made = PostgresPlaces(postgres_dsn)
    yield made
    made.close()


@pytest.fixture(scope="session")
def citus_places() -> Iterator[CitusPlaces]:
    """Makes databases on a Citus cluster."""
    dsn = os.environ.get("TEST_CITUS_DSN") or lacking("TEST_CITUS_DSN names no cluster.")
    made = CitusPlaces(dsn)
    yield made
    made.close()


@pytest.fixture
def blank(postgres_places: PostgresPlaces) -> Iterator[Callable[[], PostgresPlace]]:
    """Makes databases of PostgreSQL without tables."""
    with contextlib.ExitStack() as lent:
        yield lambda: lent.enter_context(contextlib.closing(postgres_places.blank()))


@pytest.fixture(scope="session")
def postgres_programs() -> Path:
    """The programs of PostgreSQL. Without them a test is skipped, or fails where REQUIRE_POSTGRES is set."""
    try:
        return programs()
    except NoPostgres as reason:
        lacking(str(reason))


@pytest.fixture(scope="session")
def postgres_dsn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a PostgreSQL server on which tests may create databases."""
    if named := os.environ.get("TEST_POSTGRES_DSN"):
        yield named
        return
    request.getfixturevalue("postgres_programs")
    own = tmp_path_factory.getbasetemp()
    # The workers of pytest-xdist have folders in one that they share.
    server = PostgresServer(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own)
    yield server.dsn
    server.release()


@pytest.fixture
def own_postgres(postgres_programs: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a server of this test alone, which may stop it or end its processes."""
    server = PostgresServer(tmp_path)
    yield server.dsn
    server.release()


@pytest.fixture(scope="session")
def migrated_file(places: Places) -> Path:
    """An empty database file with all its tables, to be copied, for tests of SQLite."""
    assert isinstance(places, SqlitePlaces)
    return places.template.path


@pytest.fixture(scope="module")
def shared(places: Places, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fresh]:
    """Makes databases that the tests of a module share."""
    with contextlib.ExitStack() as lent:
        yield lambda: lent.enter_context(places.lent(tmp_path_factory.mktemp("shared")))


@pytest.fixture
def fresh(places: Places, tmp_path: Path) -> Iterator[Fresh]:
    """Makes fresh databases, for the time of a test."""
    with contextlib.ExitStack() as lent:
        yield lambda: lent.enter_context(places.lent(tmp_path))


@pytest.fixture
def place(fresh: Fresh) -> Place:
    """A fresh database that nobody serves."""
    return fresh()


@pytest.fixture
def path(place: Place) -> Path:
    """A fresh database file that nobody serves, for tests of SQLite."""
    assert isinstance(place, SqlitePlace)
    return place.path


@pytest.fixture
def server(place: Place) -> Iterator[Server]:
    """The application on a fresh database, in this process."""
    running = Server(place)
    yield running
    running.close()


@pytest.fixture
def start(fresh: Fresh) -> Iterator[Start]:
    """Starts the application in this process with these settings, on a fresh database or on `place`."""
    running: list[Server] = []

    def begin(place: Place | None = None, **settings: Any) -> Server:
        running.append(Server(place or fresh(), **settings))
        return running[-1]

    yield begin
    for server in running:
        server.close()


@pytest.fixture
def serve(fresh: Fresh, tmp_path: Path) -> Iterator[Serve]:
    """Start the command: `serve()` on a fresh database, `serve(place=…)` on one that is there, `port=`, further
    command-line arguments, and `env={…}`. It answers once `/ready` does, unless `ready=False`."""
    started: list[Process] = []

    def start(
        *arguments: str,
        place: Place | None = None,
        port: int | None = None,
        env: dict[str, str] | None = None,
        ready: bool = True,
    ) -> Process:
        log = tmp_path / f"served-{len(started)}.log"
        running = Process(place or fresh(), port or free_port(), list(arguments), env or {}, log)
        started.append(running)
        if ready:
            running.wait_until_ready()
        return running

    yield start
    for running in started:
        running.close()


@pytest.fixture(scope="session")
def process(places: Places, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The command in a process of its own, with the users that `wire.ask` asks for, to be spoken to in bytes."""
    folder = tmp_path_factory.mktemp("process")
    with places.lent(folder) as place:
        running = Process(place, free_port(), [], {}, folder / "recallql.log")
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
def desk(place: Place) -> Iterator[Desk]:
    """Credentials on a database that nobody serves."""
    opened = Desk(place)
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


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as running:
        # What graphql-core leaves behind under a null is nobody's error.
        running.get_loop().set_exception_handler(lambda *_: None)
        yield running


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A server of PostgreSQL for the tests of connections; a test leaves it as it was."""
    running = Cluster.create()
    yield running
    running.close()


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Opens WebSockets to servers."""
    with contextlib.ExitStack() as stack:

        def connect(server: Api, token: str | None = None) -> Client:
            return stack.enter_context(Client(server.port)).begin(token)

        yield connect


@pytest.fixture
def ticker(monkeypatch: pytest.MonkeyPatch) -> Ticker:
    """Has the servers of this test serve the ticker's schema."""
    made = Ticker()
    monkeypatch.setattr("recallql.app.schema", made.schema())
    return made
