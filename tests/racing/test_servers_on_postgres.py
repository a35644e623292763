"""Servers on PostgreSQL, whatever database the other tests run on."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.documents import mutation
from tests.postgres_places import PostgresPlace
from tests.racing.races import ADD, END, Servers, count, said, send
from tests.servers import Api, Server


@pytest.fixture
def servers(postgres_place: PostgresPlace) -> Iterator[Servers]:
    running = [Server(postgres_place) for _ in range(2)]
    yield Servers(running)
    for server in running:
        server.close()


def test_nothing_acknowledged_is_lost_while_connections_are_ended(
    servers: Servers, postgres_place: PostgresPlace
) -> None:
    ended = threading.Event()

    def write(number: int) -> Callable[[Api], tuple[set[str], set[str]]]:
        def run(api: Api) -> tuple[set[str], set[str]]:
            kept: set[str] = set()
            open: set[str] = set()
            turn = 0
            while not ended.is_set():
                turn += 1
                ids = [f"{number}-{turn}-{part}" for part in range(3)]
                messages = [{"messageId": id, "role": "USER", "content": "c"} for id in ids]
                answer = api.execute(ADD, input={"sessionId": "s", "messages": messages})
                if "errors" in answer:
                    assert [error["extensions"]["code"] for error in answer["errors"]] == ["UNAVAILABLE"]
                    open.update(ids)
                else:
                    kept.update(ids)
            return kept, open

        return run

    def end(_: Api) -> tuple[set[str], set[str]]:
        try:
            for _turn in range(40):
                time.sleep(0.03)
                postgres_place.query(END)
        finally:
            ended.set()
        return set(), set()

    results = servers.race(*map(write, range(6)), end)
    kept = set[str]().union(*(kept for kept, _ in results))
    open = set[str]().union(*(open for _, open in results))
    stored = {id for (id,) in postgres_place.query("SELECT message_id FROM messages")}
    assert kept
    assert kept <= stored <= kept | open
    assert all({f"{id.rpartition('-')[0]}-{part}" for part in range(3)} <= stored for id in stored), "half a batch"
    assert postgres_place.query("SELECT last_sequence, max(sequence), count(*) FROM sessions, messages GROUP BY 1") == [
        (len(stored),) * 3
    ]
    # Without further ado.
    assert servers.first.accepted(ADD, sessionId="s", messages=[{"role": "USER", "content": "c"}])


def test_on_postgresql_no_records_of_removals_are_left(servers: Servers, postgres_place: PostgresPlace) -> None:
    server = servers.first
    send(server, mutation("createUser", "user { id }"), userId="u")
    send(server, ADD, sessionId="s", userId="u", messages=said("hello"))
    send(server, ADD, sessionId="t", messages=said("hello"))
    send(server, mutation("deleteSession", "deletedSessionId"), sessionId="t", permanently=True)
    receipt = send(server, mutation("deleteUser", "receipt { messages filesClearedAt }"), userId="u")["receipt"]
    assert receipt == {"messages": 1, "filesClearedAt": None}
    assert count(postgres_place, "removals") == 0
    assert postgres_place.query("SELECT removal FROM erasures") == [(None,)]
