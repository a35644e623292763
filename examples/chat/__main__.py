"""Starts the example: RecallQL, the back end and the page. `make example` from a bare clone."""

import asyncio
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import uvicorn

from examples.chat.assistant import Assistant, Model, Script
from examples.chat.back_end import create_back_end
from examples.chat.build import build_page
from examples.chat.recall import Recall, RecallError

REPOSITORY = Path(__file__).resolve().parent.parent.parent
HOST = "127.0.0.1"
STOP_SECONDS = 15

# What the models are is the user's to say. Other settings of the shell are meant for another server.
KEPT = ("RECALLQL_CHAT_", "RECALLQL_EMBEDDINGS", "RECALLQL_MODEL_DIR")


class BackEndServer(uvicorn.Server):
    """A server that leaves signals to this program, which has another process to stop, and prints where it is."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(f"http://{self.config.host}:{self.config.port}", flush=True)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


async def serve(page: Path) -> str:
    """Runs RecallQL and the back end until one of them ends, and returns the reason. A signal cancels it."""
    if task := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    port = int(os.environ.get("EXAMPLE_PORT") or free_port())
    recall_port = int(os.environ.get("RECALLQL_PORT") or free_port())
    key = secrets.token_urlsafe(32)
    async with (
        recallql(environment(port, recall_port, key)) as ended,
        aclosing(Recall(f"http://{HOST}:{recall_port}/graphql", key)) as recall,
    ):
        if not await is_ready(recall, ended):
            return "RecallQL has not started; it says why above."
        token_seconds = int(os.environ.get("EXAMPLE_TOKEN_SECONDS") or 600)
        app = create_back_end(recall, assistant(), page, token_seconds)
        server = BackEndServer(
            uvicorn.Config(app, host=HOST, port=port, log_level="warning", timeout_graceful_shutdown=1)
        )
        serving = asyncio.create_task(server.serve())
        try:
            await asyncio.wait([serving, ended], return_when=asyncio.FIRST_COMPLETED)
            return "RecallQL has ended." if ended.done() else "The back end has ended."
        finally:
            server.should_exit = True
            # Where its port is taken, uvicorn has exited.
            with suppress(SystemExit):
                await serving


@asynccontextmanager
async def recallql(variables: dict[str, str]) -> AsyncGenerator["asyncio.Task[int]"]:
    """The server in a process of its own, and the task that waits for its end."""
    command = [sys.executable, "-m", "recallql", "serve"]
    # Standard output is for the one line with the page's URL.
    process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, env=variables, stdout=sys.stderr)
    ended = asyncio.create_task(process.wait())
    try:
        yield ended
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        done, _ = await asyncio.wait([ended], timeout=STOP_SECONDS)
        if not done:
            process.kill()
            await ended


def environment(port: int, recall_port: int, key: str) -> dict[str, str]:
    """The variables of the server: it takes this page's origins, and an API key that is made for this run."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("RECALLQL_") or name.startswith(KEPT)
    }
    return kept | {
        "RECALLQL_HOST": HOST,
        "RECALLQL_PORT": str(recall_port),
        "RECALLQL_DATABASE_URL": os.environ.get("EXAMPLE_DATABASE_URL") or default_database(),
        "RECALLQL_API_KEY": key,
        "RECALLQL_CORS_ORIGINS": f"http://{HOST}:{port}, http://localhost:{port}",
        "RECALLQL_LOG_LEVEL": "warning",
    }


def default_database() -> str:
    file = REPOSITORY / "build" / "example.db"
    file.parent.mkdir(exist_ok=True)
    return f"sqlite:///{file}"


def assistant() -> Assistant:
    address = os.environ.get("RECALLQL_CHAT_BASE_URL")
    if not address:
        return Script()
    return Model(address, os.environ.get("RECALLQL_CHAT_API_KEY", ""), os.environ.get("RECALLQL_CHAT_MODEL", ""))


async def is_ready(recall: Recall, ended: "asyncio.Task[int]") -> bool:
    """Waits until the server takes this run's key, as no other server on its port would; false if it ends before."""
    while not ended.done():
        with suppress(RecallError):
            await recall("{ viewer { role } }")
            return True
        await asyncio.sleep(0.05)
    return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def main() -> None:
    page = build_page()
    try:
        raise SystemExit(asyncio.run(serve(page)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        pass


if __name__ == "__main__":
    main()
