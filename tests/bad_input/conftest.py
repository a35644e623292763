"""The servers that are sent bad input."""

from collections.abc import Iterator

import pytest

from tests.bad_input.targets import Target
from tests.places import Fresh
from tests.servers import Server


@pytest.fixture(scope="module")
def target(shared: Fresh) -> Iterator[Target]:
    server = Server(shared())
    yield Target(server)
    assert server.client.get(f"{server.base}/health").status_code == 200
    assert server.graphql('{ user(userId: "here") { userId } }') == {"user": {"userId": "here"}}
    server.close()


@pytest.fixture(scope="module")
def lifted(shared: Fresh) -> Iterator[Target]:
    """A server whose limits on documents are so high that what they keep out comes in."""
    limits = dict.fromkeys(("characters", "tokens", "aliases", "directives", "fields", "cost"), 10**12) | {"depth": 200}
    server = Server(shared(), **{f"max_query_{name}": limit for name, limit in limits.items()})
    yield Target(server)
    assert server.graphql('{ user(userId: "here") { userId } }') == {"user": {"userId": "here"}}
    server.close()


@pytest.fixture(autouse=True)
def still_answering(target: Target) -> Iterator[None]:
    yield
    assert target.ask("{ viewer { role } }") == {"data": {"viewer": {"role": "SERVICE"}}}
