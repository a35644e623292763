"""Runs a server in its own process on one core, measures its cost, and loads it from another core. Linux only."""

import http.client
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SERVER_CORE, *_, CLIENT_CORE = 2 * sorted(os.sched_getaffinity(0))
START_SECONDS = 60


class Server:
    """A running server with its own copy of a database file, or with the database of a URL.

    `command` may name {port}, {database}, {database_url}.
    """

    def __init__(
        self, name: str, command: str, database: Path | str, folder: Path, *, synchronous: str = "FULL"
    ) -> None:
        self.name = name
        self.port = free_port()
        self._log = folder / f"{name}.log"
        url = database
        if isinstance(database, Path):
            database = shutil.copy(database, folder / f"{name}.db")
            url = f"sqlite:///{database}"
        argv = command.format(port=self.port, database=database, database_url=url)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                shlex.split(argv),
                cwd=ROOT,
                env={**os.environ, "DATABASE": str(database), "SYNCHRONOUS": synchronous},
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}),
            )
        self._wait()

    def _wait(self) -> None:
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > end:
                    self.stop()
                    raise SystemExit(f"{self.name} did not start:\n{self._log.read_text()[-2000:]}") from None
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)

    def ask(self, body: dict[str, Any]) -> Any:
        """The data of one answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"content-type": "application/json", "accept": "application/json"}
        connection.request("POST", "/graphql", json.dumps(body), headers)
        text = connection.getresponse().read()
        connection.close()
        answer = json.loads(text)
        if "errors" in answer:
            raise SystemExit(f"{self.name} refuses {body['operationName']}: {text[:1000]!r}")
        return answer["data"]

    def ready(self) -> Any:
        """The server's answer about itself."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", "/ready")
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    def load(self, bodies: Path, connections: int, seconds: float, *, most: int | None = None) -> dict[str, Any]:
        """The client's tally of one period of load, at most `most` requests, with the CPU time per answer."""
        before = self.cpu_seconds()
        client = [sys.executable, "-m", "benchmarks.client", str(self.port), bodies, str(connections), str(seconds)]
        done = subprocess.run(
            client if most is None else [*client, str(most)],
            cwd=ROOT,
            check=True,
            stdout=subprocess.PIPE,
            preexec_fn=lambda: os.sched_setaffinity(0, {CLIENT_CORE}),
        )
        tally = json.loads(done.stdout)
        return {**tally, "cpu_us": (self.cpu_seconds() - before) / tally["answers"] * 1e6}

    def cpu_seconds(self) -> float:
        """The CPU time that its processes have used so far."""
        return cpu_seconds(self._process.pid)

    def memory(self) -> float:
        """MiB that its processes hold (RSS)."""
        return sum(resident(pid) for pid in _tree(self._process.pid)) / 1024


def wakeups(pid: int) -> int:
    """The number of times that the main thread of a process has woken up."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("voluntary_ctxt_switches")).split()[1])


def cpu_seconds(process: int) -> float:
    """The CPU time that a process and its children have used so far."""
    return sum(time.clock_gettime(_cpu_clock(pid)) for pid in _tree(process))


def _tree(pid: int) -> list[int]:
    children = [
        int(child)
        for thread in Path(f"/proc/{pid}/task").iterdir()
        for child in (thread / "children").read_text().split()
    ]
    return [pid, *(each for child in children for each in _tree(child))]


def _cpu_clock(pid: int) -> int:
    """The id of a process's CPU clock on Linux. The times in /proc have a resolution of only 10 ms."""
    return ~pid << 3 | 2


def resident(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
