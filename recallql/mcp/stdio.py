"""`recallql mcp`: the MCP server over standard input and output, for a client that starts it.

It opens the database itself, as `recallql serve` does (both may have it open), or speaks to a running server.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self

import httpx
import orjson
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCError, JSONRPCResponse

from models.errors import DataError
from models.keys import user_key
from models.scope import Scope
from models.store import database_at
from recallql.mcp.faults import Execute, Fault, write
from recallql.mcp.server import mcp_server
from recallql.settings import Settings
from resolvers.viewers import Viewer

PIECE = 64 * 1024
"""Bytes that are read of standard input at once."""

GRACE = 30.0
"""Seconds that requests in flight have to finish when the input has ended."""

SOMETHING_ELSE = "What answers at the address of the RecallQL server is no RecallQL server."

UPSERT_USER = """
mutation ($input: UpsertUserInput!) { payload: upsertUser(input: $input) { userErrors { code message path } } }
"""


class CannotConnect(DataError):
    """The MCP server can't start; the message is for the person who set it up."""


def serve_database(settings: Settings, *, user: str | None, project: str) -> None:
    """Serves a database as one user, who is created if need be, or as the application."""
    database_at(settings.database_url).prepare()
    asyncio.run(_serve(_in_process(settings, user, project)))


def serve_remote(url: str, token: str | None) -> None:
    """Serves what a running server lets this credential do."""
    asyncio.run(_serve(_remote(url, token)))


@asynccontextmanager
async def _in_process(settings: Settings, user: str | None, project: str) -> AsyncGenerator[Execute]:
    """The application without a socket."""
    # It takes long to import, and a client of a server does without it.
    from recallql.app import create_app
    from recallql.mcp.callers import caller

    app = create_app(settings)
    async with app.router.lifespan_context(app):
        endpoint = app.endpoint

        def executing(viewer: Viewer) -> Execute:
            async def execute(document: str, variables: Mapping[str, Any]) -> Mapping[str, Any]:
                with endpoint.admissions.count(viewer) as admission:
                    return await caller(endpoint.operations, viewer, admission)(document, variables)

            return execute

        application = executing(Viewer(Scope(project), credential="recallql mcp"))
        if user is None:
            yield application
            return
        try:
            await write(application, UPSERT_USER, userId=user)
        except Fault as fault:
            raise CannotConnect(f"cannot act as the user {user!r}: {fault.message}") from fault
        yield executing(Viewer(Scope(project, user_key(project, user)), user, "recallql mcp"))


@asynccontextmanager
async def _remote(url: str, token: str | None) -> AsyncGenerator[Execute]:
    """A client of a server's `/graphql`, whose address may be given with that path, with `/mcp` or without."""
    base = url.rstrip("/").removesuffix("/graphql").removesuffix("/mcp")
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(headers=headers, timeout=60) as client:

        async def execute(document: str, variables: Mapping[str, Any]) -> Mapping[str, Any]:
            try:
                response = await client.post(f"{base}/graphql", json={"query": document, "variables": variables})
                answer: Any = response.json()
            except httpx.TransportError as error:
                return _unavailable(f"The RecallQL server does not answer ({type(error).__name__}).")
            except ValueError:
                return _unavailable(SOMETHING_ELSE)
            return answer if _is_answer(answer) else _unavailable(SOMETHING_ELSE)

        yield execute


def _is_answer(answer: Any) -> bool:
    return isinstance(answer, dict) and ("data" in answer or "errors" in answer)


def _unavailable(message: str) -> dict[str, Any]:
    return {"errors": [{"message": message, "extensions": {"code": "UNAVAILABLE"}}]}


async def _serve(opening: AbstractAsyncContextManager[Execute]) -> None:
    """Serves until the input ends, or until SIGINT or SIGTERM; then requests in flight are answered first."""
    lines = Lines(asyncio.get_running_loop())

    def end(*_: object) -> None:
        lines.end()

    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, end)
    async with opening as execute:
        server = mcp_server(lambda _: execute)
        lines.start()
        given: Any = lines
        async with stdio_server(stdin=given) as (incoming, outgoing):
            await server.run(incoming, Answers(outgoing, lines), server.create_initialization_options())


class Lines:
    """The lines of standard input, until it ends and all requests in them are answered.

    A thread reads them: it may wait for ever, and the process ends nevertheless.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: asyncio.Queue[str | None] = asyncio.Queue()
        self._asked: set[str | int] = set()
        self._answered = asyncio.Event()

    def start(self) -> None:
        """Starts to read."""
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    def end(self) -> None:
        """Ends the lines as the end of the input does; may be called in any thread and in handlers of signals."""
        self._put(None)

    def answered(self, id: str | int | None) -> None:
        """Takes note that the answer to a request is written, or that none will be."""
        if id is not None:
            self._asked.discard(id)
        self._answered.set()

    def _put(self, line: str | None) -> None:
        # The loop may have ended before the input.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._waiting.put_nowait, line)

    def _read(self) -> None:
        # Past the buffer of `sys.stdin`, whose lock a waiting thread would hold when the interpreter ends.
        source, begun = sys.stdin.fileno(), bytearray()
        while piece := os.read(source, PIECE):
            *whole, rest = piece.split(b"\n")
            for line in whole:
                self._put((begun + line).decode(errors="replace"))
                begun.clear()
            begun += rest
        if begun:
            self._put(begun.decode(errors="replace"))
        self.end()

    def _note(self, line: str) -> None:
        """Takes note of a request, or of one that its client gives up."""
        try:
            message: Any = orjson.loads(line)
            if message["method"] == "notifications/cancelled":
                self.answered(message["params"]["requestId"])
            elif isinstance(message["id"], str | int):
                self._asked.add(message["id"])
        except (ValueError, LookupError, TypeError):
            pass  # A notification, or what the SDK refuses.

    async def __aiter__(self) -> AsyncIterator[str]:
        while (line := await self._waiting.get()) is not None:
            self._note(line)
            yield line
        # The SDK gives up what is in flight when its input ends.
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                while self._asked:
                    self._answered.clear()
                    await self._answered.wait()


class Answers:
    """The stream of messages to standard output; tells `lines` of each answer."""

    def __init__(self, inner: Any, lines: Lines) -> None:
        self._inner = inner
        self._lines = lines

    async def send(self, item: SessionMessage, /) -> None:
        await self._inner.send(item)
        if isinstance(item.message, JSONRPCResponse | JSONRPCError):
            self._lines.answered(item.message.id)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.aclose()
