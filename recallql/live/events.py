"""Streams of events over HTTP: GraphQL over Server-Sent Events, in distinct connections, and Apollo's multipart form.

https://github.com/enisdenjo/graphql-sse, PROTOCOL.md, and https://www.apollographql.com/docs/graphos/routing/operations/subscriptions/multipart-protocol
"""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, NamedTuple

from recallql.http.heads import EVENTS, JSON, MULTIPART
from recallql.http.refusals import refused
from recallql.http.requests import write_json
from recallql.live.long_connections import LongConnections, Stopping
from recallql.live.subscriptions import EventFailed, StartedSubscription
from resolvers.subscriptions import position_of


class Form(NamedTuple):
    """The form of a stream, in bytes."""

    content_type: bytes
    start: bytes
    alive: bytes
    """A sign of life."""
    next: Callable[[bytes, str | None], bytes]
    """An answer, with the cursor that `Last-Event-ID` may name."""
    end: bytes

    def once(self, answer: bytes) -> bytes:
        """A stream with one answer."""
        return self.start + self.next(answer, None) + self.end


def _event(answer: bytes, position: str | None) -> bytes:
    id = b"" if position is None else b"id: %b\n" % position.encode()
    return b"event: next\n%bdata: %b\n\n" % (id, answer)


def _part(answer: bytes, _: str | None) -> bytes:
    return _PART % (b'{"payload":%b}' % answer)


_PART = b"\r\ncontent-type: application/json\r\n\r\n%b\r\n--graphql"
"""A part with the delimiter after it: only that tells a client that the part is whole."""

FORMS = {
    EVENTS: Form(b"text/event-stream; charset=utf-8", b":\n\n", b":\n\n", _event, b"event: complete\ndata:\n\n"),
    MULTIPART: Form(
        b'multipart/mixed; boundary="graphql"; subscriptionSpec="1.0"',
        b"\r\n--graphql",
        _PART % b"{}",
        _part,
        b"--\r\n",
    ),
}


class ClientGone(Exception):
    """The client has closed the connection."""


class EventStream:
    """A subscription whose answers are one answer in HTTP."""

    def __init__(
        self, started: StartedSubscription, form: Form, long_connections: LongConnections, *, keep_alive: float
    ) -> None:
        self.turn = asyncio.Lock()
        self._started = started
        self._form = form
        self._long_connections = long_connections
        self._keep_alive = keep_alive
        self._write: Callable[[bytes], Awaitable[None]] | None = None
        self._is_writing = False
        self._written_at = monotonic()
        self._following: asyncio.Task[None] | None = None
        self._ended_by: Exception | None = None

    async def run(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Writes all events with `write`, which returns once the client has room for more."""
        self._write = write
        following = self._following = asyncio.create_task(self._follow())
        try:
            await self._stay_alive(following)
        except ClientGone as gone:
            self._ended_by = gone
        finally:
            self._long_connections.leave(self)
            following.cancel()
        # It may have been cancelled before it began.
        await self._started.close()
        error = self._ended_by
        if error is None and not following.cancelled():
            error = following.exception()
        if not isinstance(error, ClientGone | Stopping):
            await self._send(self._last(error))

    async def close(self) -> None:
        """Ends a stream that does not run."""
        self._long_connections.leave(self)
        await self._started.close()

    def end(self, error: Exception) -> None:
        if self._ended_by is None:
            self._ended_by = error
            if self._following is not None:
                self._following.cancel()

    async def next(self, answer: bytes, event: Any) -> None:
        await self._send(self._form.next(answer, position_of(event)))

    async def _stay_alive(self, following: asyncio.Task[None]) -> None:
        """Gives signs of life while nothing happens, until the events have ended."""
        wait = self._keep_alive
        while not (await asyncio.wait([following], timeout=wait))[0]:
            wait = self._written_at + self._keep_alive - monotonic()
            if wait <= 0:
                wait = self._keep_alive
                # What the client has not read yet will be a sign of life.
                if not self._is_writing:
                    await self._send(self._form.alive)

    async def _follow(self) -> None:
        await self._send(self._form.start)
        if self._ended_by is None:
            await self._started.follow(self)

    async def _send(self, data: bytes) -> None:
        if self._write is not None:
            self._is_writing = True
            try:
                await self._write(data)
            finally:
                self._is_writing = False
                self._written_at = monotonic()

    def _last(self, error: BaseException | None) -> bytes:
        """The end, after the error with which the events have ended, if any."""
        match error:
            case None:
                return self._form.end
            case EventFailed():
                body: dict[str, Any] = {"errors": error.errors}
            case Exception():
                body = refused(error, JSON).body
            case _:
                return b""
        return self._form.next(write_json(body), None) + self._form.end
