"""The endpoint `/mcp`: admits a request as `/graphql` does, then has the SDK answer it."""

import asyncio
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from recallql.auth.credentials import Unauthenticated
from recallql.http.endpoint import Endpoint, Reply, decompressed, introduce, read_body, send_reply
from recallql.http.heads import GRAPHQL, Head, read_head
from recallql.http.refusals import refused
from recallql.http.requests import INLINE_BODY, BadRequest, check_values, write_json
from recallql.http.sites import SECURITY, lines
from recallql.mcp.callers import caller
from recallql.mcp.metadata import ResourceMetadata
from recallql.settings import Settings

if TYPE_CHECKING:
    from recallql.mcp.transport import Transport

NEEDS = "The MCP server needs another package: pip install 'recallql[mcp]'"

INVALID_REQUEST, INTERNAL_ERROR = -32600, -32603
"""JSON-RPC's codes for a refused request and for a failure of the server; the API's own code is in `data`."""


class McpEndpoint:
    """The `/mcp` endpoint of one process, as an ASGI application."""

    def __init__(self, endpoint: Endpoint, settings: Settings) -> None:
        self.metadata = ResourceMetadata(settings)
        self._endpoint = endpoint
        self._loading: asyncio.Task[Transport] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = read_head(scope["headers"], self._endpoint.sites, post=scope["method"] == "POST")
        try:
            if scope["method"] == "POST":
                await self._post(head, scope, receive, send)
                return
            await self._endpoint.viewer(head)
            message = "There is no stream and no session here: each request is a POST with its answer."
            raise BadRequest(message, status=405, headers=b"allow: POST\r\n")
        except ClientDisconnect:
            return
        except Exception as error:
            await send_reply(send, self._refusal(error, scope))

    async def _post(self, head: Head, scope: Scope, receive: Receive, send: Send) -> None:
        with await self._endpoint.admit_late(head) as admission:
            introduce(scope, admission)
            body = await read_body(receive, admission, head.length)
            if head.compressed:
                body = await decompressed(body, admission)
            # The credential may have been revoked while the body came.
            viewer = await self._endpoint.viewer(head)
            operations = self._endpoint.operations
            if len(body) > INLINE_BODY:
                await operations.context(viewer, admission, len(body)).in_thread(check_values, body)
            transport = await self._loaded()
            execute = caller(operations, viewer, admission, len(body))
            status, content_type, answer = await transport.answer(scope, receive, body, execute)
            admission.answer(len(answer))
            typed = () if content_type is None else ((b"content-type", content_type),)
            await send_reply(send, Reply(status, self._headers(scope) + lines(typed), answer))

    def _headers(self, scope: Scope) -> bytes:
        origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
        return lines(SECURITY + self._endpoint.sites.headers(origins[0] if origins else None))

    def _refusal(self, error: Exception, scope: Scope) -> Reply:
        status, told, headers = refused(error, GRAPHQL)
        if isinstance(error, Unauthenticated):
            headers = self.metadata.challenge(scope["headers"])
        fault = told["errors"][0]
        code = INVALID_REQUEST if status < 500 else INTERNAL_ERROR
        shown = {"code": code, "message": fault["message"], "data": fault["extensions"]}
        typed = lines([(b"content-type", b"application/json")])
        body = write_json({"jsonrpc": "2.0", "id": None, "error": shown})
        return Reply(status, self._headers(scope) + typed + headers, body)

    async def _loaded(self) -> "Transport":
        """The SDK's server, which the first request loads, in a thread: that takes half a second."""
        if self._loading is None:
            if find_spec("mcp") is None:
                raise BadRequest(NEEDS, status=501, code="NOT_FOUND")
            self._loading = asyncio.create_task(self._load())
        return await asyncio.shield(self._loading)

    async def _load(self) -> "Transport":
        await asyncio.to_thread(import_module, "recallql.mcp.transport")
        from recallql.mcp.transport import Transport

        return Transport()

    async def close(self) -> None:
        """Ends the SDK's server, if it was loaded."""
        if self._loading is not None:
            with suppress(Exception):
                await (await self._loading).close()
