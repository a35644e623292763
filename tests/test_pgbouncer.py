"""A database behind PgBouncer in transaction mode, where each transaction may be on another connection."""

from collections.abc import Iterator

import pytest

from tests.clusters import Cluster, Pooler

pytestmark = pytest.mark.xdist_group("clusters")


@pytest.fixture(scope="module")
def pooler(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pooler]:
    running = Pooler(cluster, tmp_path_factory.mktemp("pooler") / "run")
    yield running
    running.close()
