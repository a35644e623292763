"""A database behind PgBouncer in transaction mode, where each transaction may be on another connection."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from models.postgres.connecting import Address
from models.store import database_at
from tests.clusters import Cluster, Pooler, Remote, play
from tests.live import ADDED, SESSIONS, Connect, add, events, follow
from tests.servers import Server, wait_until

pytestmark = pytest.mark.xdist_group("clusters")

ADD = """mutation ($session: String!, $user: String!) {
  upsertUser(input: {userId: $user, name: $user}) { userErrors { message } }
  addMessages(input: {
    sessionId: $session, userId: $user, messages: [{role: USER, content: "one"}, {role: USER, content: "two"}]
  }) { messages { sequence } userErrors { message } }
}"""
READ = """query ($user: String!) {
  user(userId: $user) {
    userId name
    sessions(first: 5) { nodes { sessionId messages(first: 5) { totalCount nodes { content sequence createdAt } } } }
  }
  users(first: 3) { totalCount nodes { userId } }
}"""


@pytest.fixture(scope="module")
def pooler(cluster: Cluster) -> Iterator[Pooler]:
    running = Pooler(cluster)
    yield running
    running.close()


@pytest.fixture
def server(cluster: Cluster, pooler: Pooler) -> Iterator[Server]:
    running = Server(cast(Any, Remote(pooler.url(cluster.database()))), synchronous="normal")
    yield running
    running.close()


def test_many_at_once_share_few_connections(server: Server) -> None:
    assert server.app.state.database.address.is_pooled

    def talk(number: int) -> None:
        user, session = f"user-{number}", f"session-{number}"
        for turn in range(1, 5):
            done = server.graphql(ADD, user=user, session=session)
            assert done["addMessages"]["messages"] == [{"sequence": 2 * turn - 1}, {"sequence": 2 * turn}], done
            found = server.graphql(READ, user=user)["user"]
            assert found["name"] == user
            (of_session,) = found["sessions"]["nodes"]
            assert of_session["messages"]["totalCount"] == 2 * turn
            assert of_session["messages"]["nodes"][0]["createdAt"].endswith("Z")

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(talk, range(16)))
    assert server.graphql("{ users(first: 0) { totalCount } }") == {"users": {"totalCount": 16}}


def test_a_request_that_is_given_up_leaves_its_connection_to_others(
    cluster: Cluster, pooler: Pooler, server: Server
) -> None:
    name = server.place.url.rpartition("/")[2]
    server.graphql(ADD, user="ada", session="s")
    waiting = f"SELECT pid FROM pg_stat_activity WHERE datname = '{name}' AND wait_event_type = 'Lock'"
    hasty = Server(cast(Any, server.place), request_timeout=0.5)
    with cluster.locked("users", name):
        (error,) = hasty.errors(READ, user="ada")
        assert error["extensions"]["code"] == "TIMEOUT"
        wait_until(lambda: not cluster.sql(waiting))
    assert hasty.graphql(READ, user="ada")["user"]["userId"] == "ada"
    hasty.close()


def test_a_database_is_migrated_through_the_pooler_too(cluster: Cluster, pooler: Pooler) -> None:
    cluster.sql("CREATE DATABASE pooled")
    database_at(pooler.url("pooled")).migrate()
    database_at(pooler.url("pooled")).prepare()
    assert cluster.sql("SELECT count(*) FROM users", "pooled") == [(0,)]


def test_a_direct_connection_is_not_taken_for_that_of_a_pooler(cluster: Cluster) -> None:
    async def scene() -> None:
        address = Address(cluster.url())
        connection = await address.connect()
        await connection.close()
        assert not address.is_pooled

    play(scene)


@pytest.mark.parametrize("is_direct", [False, True])
def test_commits_are_told_through_the_pooler_and_beside_it(
    is_direct: bool, cluster: Cluster, pooler: Pooler, connect: Connect
) -> None:
    name = cluster.database()
    direct = {"direct_database_url": cluster.url(name)} if is_direct else {}
    running = [Server(cast(Any, Remote(pooler.url(name))), **direct) for _ in range(2)]
    try:
        client = connect(running[0])
        client.subscribe("1", ADDED, session="s", start=0)
        follow(running[0], client, "2", SESSIONS)
        for text in ("one", "two"):
            add(running[1], "s", text)
            found = events(client, 2)
            assert {event.get("change") is None for event in found} == {True, False}
    finally:
        for server in running:
            server.close()
