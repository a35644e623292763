"""Starts the example: RecallQL, the back end and the page. `make example` from a bare clone."""

import asyncio
import os
import secrets
import signal
import socket
import sys
from pathlib import Path

import httpx
import uvicorn

from examples.chat.assistant import Assistant, Model, Script
from examples.chat.back_end import create_back_end
from examples.chat.build import build_page
from examples.chat.recall import Recall

REPOSITORY = Path(__file__).resolve().parent.parent.parent
HOST = "127.0.0.1"
STOP_SECONDS = 15

# What the models are is the user's to say. Other settings of the shell are meant for another server.
KEPT = ("RECALLQL_CHAT_", "RECALLQL_EMBEDDINGS", "RECALLQL_MODEL_DIR")


async def serve() -> str | None:
    """Runs both until one ends, or a signal comes; returns the fault, if it is one."""
    page = build_page()
    port = int(os.environ.get("EXAMPLE_PORT") or free_port())
    recall_port = int(os.environ.get("RECALLQL_PORT") or free_port())
    key = secrets.token_urlsafe(32)
    server = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "recallql",
        "serve",
        cwd=REPOSITORY,
        env=environment(port, recall_port, key),
        # Standard output has the one line with the page's URL.
        stdout=sys.stderr,
    )
    try:
        ended = asyncio.create_task(server.wait())
        if not await is_ready(f"http://{HOST}:{recall_port}/ready", ended):
            return "RecallQL has not started; it says why above."
        recall = Recall(f"http://{HOST}:{recall_port}/graphql", key)
        token_seconds = int(os.environ.get("EXAMPLE_TOKEN_SECONDS") or 600)
        app = create_back_end(recall, assistant(), page, token_seconds)
        back_end = uvicorn.Server(
            uvicorn.Config(app, host=HOST, port=port, log_level="warning", timeout_graceful_shutdown=1)
        )
        serving = asyncio.create_task(back_end.serve())
        while not back_end.started and not serving.done():
            await asyncio.sleep(0.02)
        if serving.done():
            return f"The back end has not started on port {port}."
        print(f"http://{HOST}:{port}", flush=True)
        await asyncio.wait([serving, ended], return_when=asyncio.FIRST_COMPLETED)
        fault = None if serving.done() else "RecallQL has ended, and so does the example."
        back_end.should_exit = True
        await serving
        return fault
    finally:
        await stop(server)


def environment(port: int, recall_port: int, key: str) -> dict[str, str]:
    """The variables of the server: it takes this page's origins, and an API key that is made for this run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RECALLQL_") or name.startswith(KEPT)}
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


async def is_ready(url: str, ended: "asyncio.Task[int]") -> bool:
    """Waits until the server is ready; false if it ends before."""
    async with httpx.AsyncClient(trust_env=False) as client:
        while not ended.done():
            try:
                if (await client.get(url)).status_code == 200:
                    return True
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)
    return False


async def stop(server: asyncio.subprocess.Process) -> None:
    if server.returncode is not None:
        return
    server.terminate()
    try:
        await asyncio.wait_for(server.wait(), STOP_SECONDS)
    except TimeoutError:
        server.kill()
        await server.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def main() -> None:
    # uvicorn raises the signal again once it has stopped; then the server has to be stopped, too.
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    try:
        fault = asyncio.run(serve())
    except KeyboardInterrupt:
        return
    if fault:
        raise SystemExit(fault)


if __name__ == "__main__":
    main()
