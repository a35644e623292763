"""The servers that the tests speak to: the real application on a real socket, with a real database of its own.

`Server` runs the application in a thread of the test's process; `Process` is the command in a process of its own, which
a test may kill.
"""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, ClassVar

import httpx
import uvicorn

from recallql.app import Application, create_app
from recallql.http.endpoint import Endpoint
from recallql.http.protocol import Protocol
from recallql.settings import Settings
from tests import forks
from tests.kept_connections import KeptConnections
from tests.places import Place, Rows, SqlitePlace
from tests.transport import Wire

REPOSITORY = Path(__file__).resolve().parent.parent
START_SECONDS = 180.0
"""Seconds in which a process that is alive has to start: what counts is that it lives, since a machine may be busy."""


class Api:
    """One persistent HTTP client of a server, with what the tests say to it."""

    def __init__(self, port: int, place: Place) -> None:
        self.port = port
        self.base = f"http://127.0.0.1:{port}"
        self.url = f"{self.base}/graphql"
        self.place = place
        self.client = httpx.Client(timeout=60.0, trust_env=False, transport=Wire())

    def post(self, body: dict[str, Any] | list[Any] | bytes, headers: dict[str, str] | None = None) -> httpx.Response:
        """Send a body as it is (bytes), or as JSON in ASCII: a lone surrogate or NaN goes out as Python writes it."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post(
            self.url, content=content, headers={"content-type": "application/json"} | (headers or {})
        )

    def execute(self, query: str, **variables: Any) -> dict[str, Any]:
        """The whole answer: `data`, `errors`, or both."""
        response = self.post({"query": query, "variables": variables})
        try:
            answer = response.json()
        except ValueError:
            raise AssertionError(f"HTTP {response.status_code} is not JSON: {response.text[:500]!r}") from None
        assert isinstance(answer, dict), answer
        return answer

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an answer that must have no errors."""
        answer = self.execute(query, **variables)
        assert "errors" not in answer, json.dumps(answer["errors"], indent=2)[:3000]
        return answer["data"]

    def errors(self, query: str, **variables: Any) -> list[dict[str, Any]]:
        """The top-level errors of an answer that must have some."""
        answer = self.execute(query, **variables)
        assert answer.get("errors"), f"no errors in {json.dumps(answer)[:3000]}"
        return answer["errors"]

    def accepted(self, mutation: str, **fields: Any) -> dict[str, Any]:
        """The payload of a document with one mutation and one variable `$input`, which must be carried out."""
        (payload,) = self.graphql(mutation, input=fields).values()
        assert payload["userErrors"] == [], payload["userErrors"]
        assert None not in payload.values(), f"a field is null without a userError: {payload}"
        return payload

    def refused(self, mutation: str, **fields: Any) -> dict[str, Any]:
        """The first userError of a mutation that must be refused, having changed nothing in any table."""
        before = self._compared()
        (payload,) = self.graphql(mutation, input=fields).values()
        errors = payload["userErrors"]
        assert errors, f"no userErrors in {json.dumps(payload)[:3000]}"
        assert all(payload[name] in (None, []) for name in payload.keys() - {"userErrors"}), payload
        assert all(error["message"] and isinstance(error["path"], list) for error in errors), errors
        after = self._compared()
        changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
        assert not changed, f"{errors} came although it changed {changed}"
        return errors[0]

    def _compared(self) -> dict[str, Rows]:
        """The tables, but of receipts only their number: when files were cleared is written into them meanwhile."""
        found = self.tables()
        return found | {"erasures": [(len(found["erasures"]),)]}

    def tables(self) -> dict[str, Rows]:
        """The rows of every table that requests write to."""
        # What background tasks write is no change by a request.
        return {
            name: rows for name, rows in self.place.tables().items() if name not in ("leases", "notices", "removals")
        }

    @property
    def path(self) -> Path:
        """The database file, for tests of SQLite."""
        assert isinstance(self.place, SqlitePlace), "only a test that is marked `sqlite` may look at the file"
        return self.place.path

    def close(self) -> None:
        self.client.close()


class Host:
    """A uvicorn in a thread with its own event loop, on one port; which application it serves can be changed.

    It takes a fifth of a second to stop a uvicorn, and there are many tests: the applications come and go, it stays.
    """

    idle: ClassVar[list["Host"]] = []

    def __init__(self) -> None:
        # Named, so that asyncio sends small answers at once.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self.loop = asyncio.new_event_loop()
        KeptConnections.loops.add(self.loop)
        self.app: Application | None = None
        config = uvicorn.Config(
            self, interface="asgi3", lifespan="off", log_level="warning", http=Protocol, ws="none", proxy_headers=False
        )
        self.uvicorn = uvicorn.Server(config)
        self.thread = threading.Thread(target=self._run, args=(listener,), name=f"uvicorn-{self.port}", daemon=True)
        self.thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not self.uvicorn.started:
            if not self.thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("uvicorn did not start; see the captured log.")
            time.sleep(0.005)

    def _run(self, listener: socket.socket) -> None:
        self.loop.run_until_complete(self.uvicorn.serve(sockets=[listener]))

    @property
    def endpoint(self) -> Endpoint | None:
        return self.app and self.app.endpoint

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert self.app is not None, "a request came between two tests"
        await self.app(scope, receive, send)

    def wait_for(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Runs a coroutine in the server's loop, and returns its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout=60)

    def close(self) -> None:
        self.uvicorn.should_exit = True
        self.thread.join(timeout=20)
        assert not self.thread.is_alive(), "The server did not stop within 20 seconds."


class Server(Api):
    """The application on a database, in this process; its lifespan is that of one test."""

    def __init__(self, place: Place, **settings: Any) -> None:
        host = self.host = Host.idle.pop() if Host.idle else Host()
        super().__init__(host.port, place)
        # A model that somebody has installed on this machine must not change what other tests find.
        chosen: dict[str, Any] = {"database_url": place.url, "embeddings": "off"} | settings
        self.app = create_app(Settings(**chosen))
        self._lifespan = self.app.router.lifespan_context(self.app)
        host.wait_for(self._lifespan.__aenter__())
        host.app = self.app

    def close(self) -> None:
        """Ends the application, unless a test has ended it."""
        super().close()
        if self.host.app is not self.app:
            return
        self.host.app = None
        self.host.wait_for(self._lifespan.__aexit__(None, None, None))
        Host.idle.append(self.host)


class Process(Api):
    """The command `recallql serve` in a process of its own."""

    def __init__(self, place: Place, port: int, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        super().__init__(port, place)
        self.log = log
        command = ["serve", "--host", "127.0.0.1", "--port", str(port), *place.option, *arguments]
        variables = forks.environment(**{"RECALLQL_EMBEDDINGS": "off"} | environment)
        with log.open("ab") as output, Path(os.devnull).open() as nothing:
            self.process = forks.Fork(
                command, cwd=log.parent, env=variables, stdin=nothing, stdout=output, stderr=output
            )

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"The command ended with {self.process.returncode}:\n{self.output()}")
            with contextlib.suppress(httpx.TransportError):
                if self.client.get(f"{self.base}/ready", timeout=2.0).status_code == 200:
                    return
            time.sleep(0.02)
        raise RuntimeError(f"The command was not ready within {START_SECONDS:.0f} seconds:\n{self.output()}")

    def wait(self) -> int:
        """The status that the process ends with."""
        return self.process.wait(timeout=START_SECONDS)

    def output(self) -> str:
        """The standard output and error of the command so far."""
        return self.log.read_text(errors="replace")

    def close(self) -> None:
        super().close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(timeout=15)


Start = Callable[..., Server]
"""The fixture `start`: starts the application in this process."""

Serve = Callable[..., Process]
"""The fixture `serve`: starts the command, see `tests/conftest.py`."""


def wait_until(condition: Callable[[], Any], otherwise: str = "it did not come true") -> Any:
    """Waits until the condition is true, and returns its value; that may take as long as a start."""
    deadline = time.monotonic() + START_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)
    return found


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def faults(output: str) -> list[str]:
    """The lines of a log that tell of a fault."""
    return [line for line in output.splitlines() if "Traceback" in line]
