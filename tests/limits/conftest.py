"""A server with the default limits, and servers with others."""

from collections.abc import Iterator

import pytest

from tests.places import Fresh
from tests.servers import Server, Start


@pytest.fixture(scope="module")
def api(shared: Fresh) -> Iterator[Server]:
    """A server with the limits that it has by default."""
    server = Server(shared())
    yield server
    server.close()


@pytest.fixture
def limited(start: Start) -> Start:
    """Starts servers with limits of one's own: `limited(depth=3)`."""

    def begin(**limits: int) -> Server:
        return start(**{f"max_query_{name}": limit for name, limit in limits.items()})

    return begin
