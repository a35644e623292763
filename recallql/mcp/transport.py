"""Streamable HTTP by the SDK: stateless, so that any process may answer, and with answers in JSON.

It is loaded with the first request to `/mcp`.
"""

import asyncio
from typing import Any, NamedTuple

from mcp.server.context import ServerRequestContext
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.types import Message, Receive, Scope

from recallql.mcp.faults import Execute
from recallql.mcp.server import mcp_server
from recallql.settings import BODY_BYTES

EXECUTE = "recallql.execute"
"""The key of the caller's `Execute` in the scope of a request."""


class Answered(NamedTuple):
    """The answer of the SDK to a request."""

    status: int
    content_type: bytes | None
    body: bytes


class Transport:
    """The SDK's server, from the body of a request to that of its answer."""

    def __init__(self) -> None:
        self._manager = StreamableHTTPSessionManager(
            mcp_server(_execute_of), json_response=True, stateless=True, max_request_body_size=BODY_BYTES
        )
        self._ready = asyncio.Event()
        self._running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async with self._manager.run():
            self._ready.set()
            await asyncio.Event().wait()

    async def answer(self, scope: Scope, receive: Receive, body: bytes, execute: Execute) -> Answered:
        """The answer to a POST with this body."""
        await self._ready.wait()
        unread, parts = [body], bytearray()
        started: Message = {}

        async def give() -> Message:
            if unread:
                return {"type": "http.request", "body": unread.pop(), "more_body": False}
            return await receive()

        async def take(message: Message) -> None:
            if message["type"] == "http.response.start":
                started.update(message)
            else:
                parts.extend(message.get("body", b""))

        await self._manager.handle_request({**scope, EXECUTE: execute}, give, take)
        return Answered(started["status"], dict(started["headers"]).get(b"content-type"), bytes(parts))

    async def close(self) -> None:
        """Ends it; nothing is answered any more."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)


def _execute_of(context: ServerRequestContext[Any, Any]) -> Execute:
    request: Any = context.request
    return request.scope[EXECUTE]
