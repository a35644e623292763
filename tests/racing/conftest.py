"""Two servers on one database, as on two machines."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import Place
from tests.postgres_places import PostgresPlace, PostgresPlaces
from tests.racing.races import Servers
from tests.servers import Start


@pytest.fixture
def two_servers(place: Place, start: Start) -> Servers:
    return Servers([start(place) for _ in range(2)])


@pytest.fixture
def servers(place: Place, two_servers: Servers) -> Iterator[Servers]:
    """The servers of a race whose transactions never wait for each other in a circle."""
    before = deadlocks(place)
    yield two_servers
    for server in two_servers.running:
        server.close()
    assert deadlocks(place) == before


def deadlocks(place: Place) -> int:
    if not isinstance(place, PostgresPlace):
        return 0
    return place.query("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")[0][0]


@pytest.fixture(scope="module")
def postgres(postgres_dsn: str) -> Iterator[PostgresPlaces]:
    made = PostgresPlaces(postgres_dsn)
    yield made
    made.close()


@pytest.fixture
def postgres_place(postgres: PostgresPlaces, tmp_path: Path) -> Iterator[PostgresPlace]:
    """A fresh PostgreSQL database, on whatever database the other tests run."""
    with postgres.lent(tmp_path) as place:
        assert isinstance(place, PostgresPlace)
        yield place
