"""The command `recallql` in a process of its own, that ends by itself or serves."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx

from tests.servers import REPOSITORY, START_SECONDS


def url_of(path: Path) -> tuple[str, str]:
    """The option that names a database file."""
    return "--database-url", f"sqlite:///{path}"


def environment(**more: str) -> dict[str, str]:
    """The environment without the settings of the person who runs the tests."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RECALLQL_")}
    return inherited | {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"} | more


def start(
    *arguments: str | Path, cwd: Path | None = None, stdin: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """`recallql` with these arguments, which must end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "recallql", *map(str, arguments)],
        cwd=cwd,
        env=environment(**variables),
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        timeout=START_SECONDS,
    )


@contextlib.contextmanager
def started(*arguments: str, cwd: Path, **variables: str) -> Generator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """`recallql serve` with these arguments only, and its start-up line."""
    with subprocess.Popen(
        [sys.executable, "-m", "recallql", "serve", *arguments],
        cwd=cwd,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            assert line.startswith("{"), line + process.stderr.read()
            yield process, json.loads(line)
        finally:
            process.terminate()
            process.wait(timeout=START_SECONDS)


def ready_status(process: subprocess.Popen[str], url: str) -> int:
    """The status of /ready, once the socket of the process answers."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return httpx.get(url.replace("/graphql", "/ready"), trust_env=False).status_code
        except httpx.TransportError:
            assert process.poll() is None, f"The command ended with {process.returncode}."
            assert time.monotonic() < deadline
            time.sleep(0.02)
