"""Somebody who follows the documentation of PostgreSQL: with a server of their own, and its tools."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.clusters import Cluster
from tests.documentation import Block
from tests.places import Place
from tests.postgres import account
from tests.reader import SHELL, Reader
from tests.servers import free_port

CAREFUL = ("synchronous_commit=on", "full_page_writes=on")
"""As by default: a page shows that acknowledged writes are on a replica, and `pg_rewind` needs whole pages."""


class PostgresReader(Reader):
    """A reader whose server listens on port 5432 of a page; others, which the page starts, on 5433 and 5434.

    A block `sh postgres` runs in the server's folder and as its account, a block `sql` in the database `recallql`.
    """

    def __init__(self, folder: Path, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, place, monkeypatch)
        self.cluster = Cluster.create("--data-checksums")
        self.cluster.configure(*CAREFUL)
        self.cluster.run("pg_ctl", "reload", "-D", str(self.cluster.data))
        self.ports = {"5432": str(self.cluster.port), "5433": str(free_port()), "5434": str(free_port())}
        self.environment |= {
            "PGHOST": "127.0.0.1",
            "PGPORT": self.ports["5432"],
            "PGUSER": "postgres",
            "PGDATA": str(self.cluster.data),
            "PATH": os.pathsep.join([str(self.cluster.binaries), self.environment["PATH"]]),
        }

    def here(self, text: str) -> str:
        return re.sub(r"\b543[234]\b", lambda port: self.ports[port[0]], super().here(text))

    def process_of(self, block: Block, text: str) -> dict[str, Any]:
        options = super().process_of(block, text)
        if block.info == "sql":
            # What it finds differs from one time to the next.
            command = ("psql", "-qXd", "recallql", "-v", "ON_ERROR_STOP=1", "-o", os.devnull)
            return options | {"args": command, "input": text}
        if block.info == "sh postgres":
            return options | {"args": [*SHELL, text], "cwd": self.cluster.folder, **account()}
        return options

    def close(self) -> None:
        super().close()
        for status in self.cluster.folder.glob("*/postmaster.pid"):
            self.cluster.run("pg_ctl", "stop", "-D", str(status.parent), "-m", "immediate")
        shutil.rmtree(self.cluster.folder)
