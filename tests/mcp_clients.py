"""Clients of the MCP server: the official SDK's, and requests byte by byte."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult

from tests.servers import Api

T = TypeVar("T")

MODERN, HANDSHAKE = "2026-07-28", "2025-11-25"
"""The newest protocol revision, and the newest of those that begin with `initialize`, which most clients speak."""

ACCEPTED = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


@asynccontextmanager
async def client_of(api: Api, token: str | None = None, *, mode: str = "auto"):
    """The SDK's client; it checks each structured result against the schema of its tool."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with (
        httpx2.AsyncClient(headers=headers, trust_env=False, timeout=60) as http,
        Client(streamable_http_client(f"{api.base}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


def converse(
    api: Api, conversation: Callable[[Client], Awaitable[T]], token: str | None = None, *, mode: str = "auto"
) -> T:
    """Returns the result of a conversation with the server."""

    async def hold() -> T | MCPError:
        async with client_of(api, token, mode=mode) as client:
            try:
                return await conversation(client)
            except MCPError as error:
                # The client would wrap it in groups.
                return error

    result = asyncio.run(hold())
    if isinstance(result, MCPError):
        raise result
    return result


def call(api: Api, tool: str, *, token: str | None = None, mode: str = "auto", **arguments: Any) -> CallToolResult:
    """The result of one call."""
    return converse(api, lambda client: client.call_tool(tool, arguments), token, mode=mode)


def told(result: CallToolResult) -> str:
    """The text of a result."""
    (content,) = result.content
    assert content.type == "text"
    return content.text


def found(api: Api, tool: str, *, token: str | None = None, mode: str = "auto", **arguments: Any) -> dict[str, Any]:
    """The structured result of a call that must succeed; its text must not be empty."""
    result = call(api, tool, token=token, mode=mode, **arguments)
    assert not result.is_error, told(result)
    assert told(result)
    assert isinstance(result.structured_content, dict)
    return result.structured_content


def fault(api: Api, tool: str, *, token: str | None = None, **arguments: Any) -> str:
    """What a call says that must fail; it must have changed nothing in any table."""
    before = api.tables()
    result = call(api, tool, token=token, **arguments)
    assert result.is_error, result
    assert result.structured_content is None
    assert api.tables() == before
    return told(result)


def post(api: Api, message: Any, headers: dict[str, str] | None = None) -> httpx.Response:
    """The answer to a message as it is (bytes), or as JSON."""
    content = message if isinstance(message, bytes) else httpx.Request("POST", api.base, json=message).content
    return api.client.post(f"{api.base}/mcp", content=content, headers=ACCEPTED | (headers or {}))


def message_of(tool: str, **arguments: Any) -> dict[str, Any]:
    """The message that calls a tool, as clients of the older revisions send it."""
    params = {"name": tool, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
