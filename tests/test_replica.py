"""A replica of the PostgreSQL database: queries may read it while it follows closely, and nothing else does."""

from collections.abc import Iterator
from typing import Any, cast

import httpx
import pytest

import models.postgres.replica
from models.errors import DatabaseProblem
from tests.clusters import Cluster, Remote
from tests.servers import Server, wait_until
from tests.users import create, find

pytestmark = pytest.mark.xdist_group("clusters")

KEY = "0123456789abcdef-a-key-of-the-test"


@pytest.fixture(scope="module")
def replica(cluster: Cluster) -> Iterator[Cluster]:
    running = cluster.replica()
    yield running
    running.close()


@pytest.fixture
def name(cluster: Cluster, replica: Cluster) -> str:
    """The name of a fresh database that the replica has, too."""
    made = cluster.database()
    wait_until(lambda: replica.sql(f"SELECT 1 FROM pg_database WHERE datname = '{made}'"))
    return made


@pytest.fixture
def server(cluster: Cluster, replica: Cluster, name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(models.postgres.replica, "LOOK_EVERY", 0.05)
    running = Server(cast(Any, Remote(cluster.url(name))), read_database_url=replica.url(name))
    wait_until(lambda: running.app.state.database.replica.is_close)
    yield running
    replica.sql("SELECT pg_wal_replay_resume()")
    running.close()


def pause(replica: Cluster) -> None:
    """Has the replica stay as it is."""
    replica.sql("SELECT pg_wal_replay_pause()")
    wait_until(lambda: replica.sql("SELECT pg_get_wal_replay_pause_state()") == [("paused",)])


def test_queries_are_read_from_the_replica_and_mutations_with_their_payloads_are_not(
    server: Server, replica: Cluster
) -> None:
    create(server, userId="before")
    wait_until(lambda: find(server, "before"))
    pause(replica)
    payload = server.graphql(
        """mutation {
          createUser(input: {userId: "after"}) { user { id } userErrors { message } }
          createSession(input: {sessionId: "s", userId: "after"}) {
            session { user { userId sessions(first: 1) { nodes { sessionId } } } }
          }
        }"""
    )
    assert payload["createUser"]["userErrors"] == []
    user = payload["createSession"]["session"]["user"]
    assert user == {"userId": "after", "sessions": {"nodes": [{"sessionId": "s"}]}}
    assert find(server, "before") is not None
    assert find(server, "after") is None
    replica.sql("SELECT pg_wal_replay_resume()")
    wait_until(lambda: find(server, "after"))


def test_a_replica_that_lags_far_behind_is_not_read(
    server: Server, replica: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models.postgres.replica, "LONGEST_LAG", 0.5)
    pause(replica)
    create(server, userId="new")
    wait_until(lambda: find(server, "new"))
    assert not server.app.state.database.replica.is_close
    replica.sql("SELECT pg_wal_replay_resume()")
    wait_until(lambda: server.app.state.database.replica.is_close)


def test_a_replica_that_goes_away_is_missed_by_nobody(server: Server, replica: Cluster) -> None:
    create(server, userId="ada")
    wait_until(lambda: find(server, "ada"))
    replica.stop("immediate")
    try:
        # The first of them finds the connection broken, the others find none.
        for _ in range(3):
            assert find(server, "ada") is not None
    finally:
        replica.start()
    wait_until(lambda: server.app.state.database.replica.is_close)
    assert find(server, "ada") is not None


def test_a_credential_is_never_looked_up_on_the_replica(
    cluster: Cluster, replica: Cluster, name: str, server: Server
) -> None:
    create(server, userId="ada")
    issued = server.graphql('mutation { issueUserToken(input: {userId: "ada"}) { token } }')["issueUserToken"]["token"]
    headers = {"Authorization": f"Bearer {issued}", "Content-Type": "application/json"}
    wait_until(lambda: find(server, "ada"))

    def status() -> int:
        return httpx.post(
            server.url, json={"query": "{ viewer { role } }"}, headers=headers, trust_env=False
        ).status_code

    assert status() == 200
    pause(replica)
    server.graphql('mutation { deleteUser(input: {userId: "ada"}) { deletedUserId } }')
    assert status() == 401


def test_another_database_is_refused_as_a_replica(cluster: Cluster, replica: Cluster, name: str) -> None:
    with pytest.raises(DatabaseProblem, match="is another database, and no replica"):
        Server(cast(Any, Remote(cluster.url(name))), read_database_url=replica.url("postgres"))


def test_a_primary_is_not_read_as_a_replica(cluster: Cluster, name: str) -> None:
    running = Server(cast(Any, Remote(cluster.url(name))), read_database_url=cluster.url(name))
    assert not running.app.state.database.replica.is_close
    create(running, userId="ada")
    assert find(running, "ada") is not None
    running.close()


def test_a_replica_may_be_away_at_the_start(cluster: Cluster, replica: Cluster, name: str) -> None:
    replica.stop()
    try:
        running = Server(cast(Any, Remote(cluster.url(name))), read_database_url=replica.url(name))
        create(running, userId="ada")
        assert find(running, "ada") is not None
    finally:
        replica.start()
    wait_until(lambda: running.app.state.database.replica.is_close)
    running.close()
