"""PostgreSQL goes away while the server runs: requests are answered, and the server goes on once it is back."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from tests.clusters import Cluster, Remote
from tests.servers import Process, faults, free_port, wait_until
from tests.users import CREATE, GET, create, find

Served = Callable[..., tuple[Process, str]]

pytestmark = pytest.mark.xdist_group("clusters")

OURS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'recallql' AND datname = '{}'"


@pytest.fixture
def fragile() -> Iterator[Cluster]:
    """A server that a test may stop."""
    running = Cluster.create()
    yield running
    running.close()


@pytest.fixture
def served(fragile: Cluster, tmp_path: Path) -> Iterator[Served]:
    """Starts the command on a fresh database of that server; returns it, and the database's name."""
    started: list[Process] = []

    def start(*arguments: str, **variables: str) -> tuple[Process, str]:
        name = fragile.database()
        place = cast(Any, Remote(fragile.url(name)))
        started.append(Process(place, free_port(), [*arguments], variables, tmp_path / "served.log"))
        started[-1].wait_until_ready()
        return started[-1], name

    yield start
    for process in started:
        process.close()


def codes(process: Process, query: str, **variables: Any) -> set[str]:
    return {error["extensions"]["code"] for error in process.execute(query, **variables).get("errors", [])}


def readiness(process: Process) -> tuple[int, str]:
    answer = process.client.get(f"{process.base}/ready")
    return answer.status_code, answer.json().get("reason", "")


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_requests_are_unavailable_while_the_database_is_stopped_and_go_on_after_it(
    fragile: Cluster, served: Served, mode: str
) -> None:
    process, _ = served(RECALLQL_EMBEDDINGS="off")
    create(cast(Any, process), userId="ada")
    fragile.stop(mode)
    began = time.monotonic()
    assert codes(process, GET, userId="ada") == {"UNAVAILABLE"}
    assert codes(process, CREATE, input={"userId": "bo"}) == {"UNAVAILABLE"}
    status, reason = readiness(process)
    assert (status, reason) == (503, "The database can't be reached at the moment; try again.")
    assert time.monotonic() - began < 20
    assert process.client.get(f"{process.base}/health").status_code == 200
    fragile.start()
    assert find(cast(Any, process), "ada") is not None
    create(cast(Any, process), userId="cy")
    assert readiness(process)[0] == 200
    assert faults(process.output()) == []


def test_ended_connections_cost_no_read_and_lose_no_write(fragile: Cluster, served: Served) -> None:
    process, name = served()
    create(cast(Any, process), userId="ada")
    end, acknowledged = time.monotonic() + 3, list[str]()

    def write(number: int) -> None:
        with httpx.Client(trust_env=False, timeout=30) as client:
            for turn in range(10_000):
                if time.monotonic() > end:
                    return
                user = f"user-{number}-{turn}"
                body = {"query": CREATE, "variables": {"input": {"userId": user}}}
                answer = client.post(process.url, json=body).json()
                if "errors" in answer:
                    assert answer["errors"][0]["extensions"]["code"] == "UNAVAILABLE", answer
                else:
                    assert answer["data"]["createUser"]["userErrors"] == [], answer
                    acknowledged.append(user)

    def read(number: int) -> None:
        with httpx.Client(trust_env=False, timeout=30) as client:
            while time.monotonic() < end:
                answer = client.post(process.url, json={"query": GET, "variables": {"userId": "ada"}}).json()
                assert answer["data"]["user"]["userId"] == "ada", (number, answer)

    with ThreadPoolExecutor(6) as threads:
        working = [threads.submit(work, number) for number in range(3) for work in (read, write)]
        while time.monotonic() < end:
            fragile.sql(f"SELECT pg_terminate_backend(pid) FROM ({OURS.format(name)}) AS ours")
            time.sleep(0.5)
        for work in working:
            work.result()
    assert len(acknowledged) > 10
    kept = {user for (user,) in fragile.sql("SELECT user_id FROM users", name)}
    assert kept >= set(acknowledged)
    assert faults(process.output()) == []


def test_a_database_that_hangs_holds_no_request_beyond_its_deadline(fragile: Cluster, served: Served) -> None:
    process, _ = served(RECALLQL_REQUEST_TIMEOUT="1", RECALLQL_DATABASE_CONNECTIONS="4")
    create(cast(Any, process), userId="ada")
    with hanging(fragile):
        began = time.monotonic()
        for _ in range(3):
            assert codes(process, GET, userId="ada") <= {"TIMEOUT", "UNAVAILABLE"}
        assert codes(process, CREATE, input={"userId": "bo"}) <= {"TIMEOUT", "UNAVAILABLE"}
        assert readiness(process) == (503, "The database has not answered for long.")
        assert time.monotonic() - began < 15
    wait_until(lambda: codes(process, GET, userId="ada") == set())
    wait_until(lambda: codes(process, CREATE, input={"userId": "cy"}) == set())
    wait_until(lambda: readiness(process)[0] == 200)
    assert faults(process.output()) == []


@contextlib.contextmanager
def hanging(cluster: Cluster) -> Generator[None]:
    """A block in which all processes of the server stand still, as if the network swallowed everything."""
    found = [int(path.name) for path in Path("/proc").glob("[0-9]*") if _parent(path) == cluster.pid]
    for pid in (cluster.pid, *found):
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in (*found, cluster.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _parent(path: Path) -> int:
    try:
        return int((path / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def test_workers_share_a_database(fragile: Cluster, served: Served) -> None:
    process, name = served("--workers", "2")

    def talk(number: int) -> None:
        # A connection each: the workers take turns in accepting them.
        with httpx.Client(trust_env=False, timeout=60) as client:
            for query, variables in (
                (CREATE, {"input": {"userId": f"user-{number}"}}),
                (GET, {"userId": f"user-{number}"}),
            ):
                answer = client.post(process.url, json={"query": query, "variables": variables}).json()
                assert "errors" not in answer, answer

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(talk, range(24)))
    assert fragile.sql("SELECT count(*) FROM users", name) == [(24,)]
    fragile.stop("immediate")
    wait_until(lambda: codes(process, GET, userId="user-1") == {"UNAVAILABLE"})
    fragile.start()
    for number in range(6):
        talk(100 + number)
    assert faults(process.output()) == []
