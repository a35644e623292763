"""Subscriptions whose connections to PostgreSQL are cut."""

from tests.live import ADD, ADDED, SESSIONS, Connect, add, events, follow
from tests.postgres_places import PostgresPlace
from tests.servers import Start, wait_until


def test_a_subscription_outlives_the_connections_to_the_database(
    postgres_place: PostgresPlace, start: Start, connect: Connect
) -> None:
    server, other = start(postgres_place), start(postgres_place)
    client = connect(server)
    client.subscribe("1", ADDED, session="s", start=0)
    follow(server, client, "2", SESSIONS)
    add(other, "s", "one")
    assert len(events(client, 2)) == 2
    postgres_place.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    # An append may notice the loss, and is then repeated under its own key.
    turn = {"role": "USER", "content": "two", "messageId": "two"}
    wait_until(lambda: "errors" not in other.execute(ADD, input={"sessionId": "s", "messages": [turn]}))
    assert {event.get("change") for event in events(client, 2)} == {None, "UPDATED"}
