"""The command `recallql` in a process of its own, that ends by itself or serves."""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Generator
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import httpx

from tests.forks import Fork, environment
from tests.servers import START_SECONDS


def start(
    *arguments: str | Path, cwd: Path | None = None, stdin: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """`recallql` with these arguments, which must end by itself."""
    given, giving = os.pipe()
    with TemporaryFile("w+", encoding="utf-8") as out, TemporaryFile("w+", encoding="utf-8") as err:
        with os.fdopen(given) as read:
            command = list(map(str, arguments))
            running = Fork(
                command, cwd=cwd or Path.cwd(), env=environment(**variables), stdin=read, stdout=out, stderr=err
            )
        try:
            # It may end before it has read everything.
            with contextlib.suppress(BrokenPipeError), os.fdopen(giving, "w", encoding="utf-8") as written:
                written.write(stdin)
            running.wait(START_SECONDS)
        finally:
            running.kill()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, running.wait(), out.read(), err.read())


def begin(*arguments: str | Path, stdout: IO[Any], stderr: IO[Any], **variables: str) -> Fork:
    """`recallql` with these arguments and files, and an empty standard input, in a process that goes on."""
    with Path(os.devnull).open() as nothing:
        return Fork(
            [*map(str, arguments)],
            cwd=Path.cwd(),
            env=environment(**variables),
            stdin=nothing,
            stdout=stdout,
            stderr=stderr,
        )


@contextlib.contextmanager
def started(*arguments: str, cwd: Path, **variables: str) -> Generator[tuple[Fork, dict[str, Any]]]:
    """`recallql serve` with these arguments only, and its start-up line."""
    told, telling = os.pipe()
    with os.fdopen(told) as err:
        with os.fdopen(telling, "w") as written, Path(os.devnull).open("r+") as nothing:
            env = environment(**variables)
            process = Fork(["serve", *arguments], cwd=cwd, env=env, stdin=nothing, stdout=nothing, stderr=written)
        try:
            line = err.readline()
            assert line.startswith("{"), line + err.read()
            yield process, json.loads(line)
        finally:
            process.terminate()
            process.wait(timeout=START_SECONDS)


def ready_status(process: Fork, url: str) -> int:
    """The status of /ready, once the socket of the process answers."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return httpx.get(url.replace("/graphql", "/ready"), trust_env=False).status_code
        except httpx.TransportError:
            assert process.poll() is None, f"The command ended with {process.returncode}."
            assert time.monotonic() < deadline
            time.sleep(0.02)
