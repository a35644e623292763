"""Requests to a server whose PostgreSQL is busy: whose turn it is, what is refused, and what ends at the deadline."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any, cast

import httpx
import pytest

import models.postgres.pool
from models.allowance import Allowance
from models.postgres.pool import Connections
from resolvers.credentials import create_api_key
from resolvers.operation_context import OperationContext
from resolvers.times import Clock
from tests.clusters import Cluster, Remote
from tests.servers import Server, wait_until
from tests.users import CREATE, GET, create, find
from tests.wire import Connection, graphql, request

pytestmark = pytest.mark.xdist_group("clusters")

KEY = "0123456789abcdef-a-key-of-the-test"
WAITING = """SELECT pid FROM pg_stat_activity
WHERE application_name = 'recallql' AND datname = '{}' AND wait_event_type = 'Lock'"""

Begin = Callable[..., Server]


@pytest.fixture
def name(cluster: Cluster) -> str:
    return cluster.database()


@pytest.fixture
def begin(cluster: Cluster, name: str) -> Iterator[Begin]:
    """Starts the application on the database with these settings."""
    running: list[Server] = []

    def start(**settings: Any) -> Server:
        running.append(Server(cast(Any, Remote(cluster.url(name))), **settings))
        return running[-1]

    yield start
    for server in running:
        server.close()


def ask(server: Server, query: str, variables: dict[str, Any], accept: str = "application/json") -> httpx.Response:
    with httpx.Client(timeout=60, trust_env=False) as client:
        return client.post(server.url, json={"query": query, "variables": variables}, headers={"accept": accept})


@contextmanager
def taken(server: Server, share: Connections) -> Generator[None]:
    """A block in which somebody else has the only connection."""

    async def take() -> Any:
        return await share.take(Allowance())

    async def give_back() -> None:
        share.give_back(connection, Allowance(), None)

    connection = server.host.wait_for(take())
    yield
    server.host.wait_for(give_back())


async def new_key(server: Server) -> str:
    context = OperationContext(server.app.state.database, Clock())
    return (await create_api_key(context, {"name": "test", "project": "default"}))[1]


@pytest.mark.parametrize("accept", ["application/json", "application/graphql-response+json"])
def test_a_request_that_gets_no_connection_is_a_503_that_says_when_to_try_again(
    begin: Begin, monkeypatch: pytest.MonkeyPatch, accept: str
) -> None:
    monkeypatch.setattr(models.postgres.pool, "PATIENCE", 0.3)
    server = begin(database_connections=2)
    create(server, userId="ada")
    database = server.app.state.database
    for share, query, variables in (
        (database.reads, GET, {"userId": "ada"}),
        (database.writes, CREATE, {"input": {"userId": "bo"}}),
    ):
        with taken(server, share):
            answer = ask(server, query, variables, accept)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        (error,) = answer.json()["errors"]
        assert error["extensions"] == {"code": "UNAVAILABLE"}
        assert error["message"] == "All 1 connections to the database are busy; try again in a moment."
    assert find(server, "ada") is not None
    assert find(server, "bo") is None


def test_a_statement_ends_on_the_server_at_the_deadline_of_its_request(
    cluster: Cluster, name: str, begin: Begin
) -> None:
    server = begin(request_timeout=0.5)
    create(server, userId="ada")
    with cluster.locked("users", name):
        answer = ask(server, GET, {"userId": "ada"}, "application/graphql-response+json")
        assert answer.status_code == 504
        assert answer.json()["errors"][0]["extensions"] == {"code": "TIMEOUT"}
        wait_until(lambda: not cluster.sql(WAITING.format(name)))
    assert find(server, "ada") is not None


def test_a_write_waits_for_a_lock_no_longer_than_its_request(cluster: Cluster, name: str, begin: Begin) -> None:
    server = begin(request_timeout=0.5)
    with cluster.locked("users", name):
        assert ask(server, CREATE, {"input": {"userId": "ada"}}).json()["errors"][0]["extensions"]["code"] == "TIMEOUT"
        wait_until(lambda: not cluster.sql(WAITING.format(name)))
    assert find(server, "ada") is None


@pytest.mark.parametrize("size", [100, 100_000])
def test_a_request_that_comes_in_parts_costs_no_connection(
    cluster: Cluster, name: str, begin: Begin, size: int
) -> None:
    """The server looks at a head before the body has come, and may drop what it has begun then."""
    made = begin()
    key = made.host.wait_for(new_key(made))
    ours = f"SELECT pid FROM pg_stat_activity WHERE application_name = 'recallql' AND datname = '{name}'"
    headers = {"Authorization": f"Bearer {key}"}
    whole = request(graphql("{ viewer { role } }") + b" " * size, headers)
    head = whole.index(b"\r\n\r\n") + 4
    with Connection(made.port) as connection:
        assert connection.ask(whole).status == 200
        before = cluster.sql(ours)
        for _ in range(5):
            connection.socket.sendall(whole[:head])
            time.sleep(0.05)
            assert connection.ask(whole[head:]).status == 200
    assert set(before) <= set(cluster.sql(ours))
