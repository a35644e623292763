"""HTTP/1.1: uvicorn's protocol, and what it lacks.

- A head has a limit, and trailers are not taken for headers.
- A refusal (no HTTP, a head without an end) comes after the answers to the requests before it, as an error of GraphQL.
- An offer of another protocol (`Upgrade: h2c`) is ignored, and the request itself is answered. Only a WebSocket is
  accepted: `recallql.live.websocket` takes the connection over.
- A client that half-closes its connection still gets its answers.
- One request is read at a time: bytes that arrive before its answer is sent wait, and few of them are read. A body is
  read when the application asks for it.
- A client that sends too slowly is refused or cut off, and so is one that does not read its answer.
"""

from functools import partial
from typing import Any, Literal, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from recallql.http.budgets import Busy, Share
from recallql.http.connections import Connections
from recallql.http.endpoint import Endpoint, Reply, refusal
from recallql.http.flow import Flow, Progress, too_slow
from recallql.http.heads import URL_BYTES, URL_TOO_LONG, Head, read_head
from recallql.http.requests import BadRequest
from recallql.http.sites import Sites, lines
from recallql.http.throttle import TooMany
from recallql.live.events import ClientGone, EventStream
from recallql.live.long_connections import Stopping
from recallql.live.websocket import WebSocket, fault_of_handshake, websocket_scope
from recallql.settings import BODY_BYTES

HEAD_BYTES = 64 * 1024
MOST_HEADERS = 256

DISCARDED = 2 * BODY_BYTES
"""The most bytes of a refused body that are read and discarded, so that the client can read the refusal."""

DISCARD_PAUSE = 0.02
"""Seconds of pause between pieces of such a body: many of them would keep the event loop busy."""

UNCOUNTED = 16 * 1024
"""Unfinished heads, and waiting data, of up to so many bytes are not counted."""

LONGEST_PIECE = 64 * 1024
"""Bytes of a chunked body that are parsed at a time: a piece may consist of many chunks."""

REST_OF_REQUEST = 1.0
"""Seconds, about, within which the rest of a request may arrive when the server stops."""

UNREAD = read_head((), Sites(), post=False)
"""The head that answers assume when the request's head could not be read."""


class Framing(HttpToolsProtocol):
    """One connection. The application has the `endpoint` whose limits apply."""

    app: Any
    parser: httptools.HttpRequestParser
    """None once the connection is lost; nothing is called after that."""
    _connections: Connections
    _head_share: Share
    _held_share: Share
    _credential: Any = None
    """The credential of the last admitted request."""
    _reading: Literal["head", "body"] | None = None
    """The part of a request that the parser is in; None between two requests."""
    _head_bytes = 0
    _left: int | None = None
    """Bytes of the body that are still to come; None for a chunked body."""
    _discarded = 0
    _is_pausing = False
    """True while the rest of a refused body waits for `DISCARD_PAUSE` to pass."""
    _held = b""
    """Data that was read, and waits for the answer to the request before it."""
    _is_resuming = False
    _is_expecting = False
    """True while the connection has a deadline."""
    _progress: Progress
    _answering = False
    """True while an answer is under way that does not come from an ASGI application."""
    _running: RequestResponseCycle | None = None
    _over = False
    """True once the client has half-closed the connection."""
    _refusal: Reply | None = None
    """The refusal that ends the connection once the requests before it are answered."""
    _stream: EventStream | None = None
    """The stream of events that is the answer under way."""
    _websocket: WebSocket | None = None
    """The WebSocket that has taken the connection over."""
    _default: list[tuple[bytes, bytes]] | None = None
    _default_lines = b""

    def connection_made(self, transport: Any) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = Flow(transport, self._resume)
        # Writing pauses until all of an answer has been passed to the system.
        transport.set_write_buffer_limits(0)
        endpoint: Endpoint = self.app.endpoint
        self._connections = endpoint.connections
        self._progress = Progress(transport, self._connections.answer_timeout)
        self._head_share, self._held_share = Share(endpoint.admissions.receiving), Share(endpoint.admissions.receiving)
        if self._connections.is_stopping:
            transport.close()
        elif self._connections.opened(self):
            self._expect(self._connections.head_timeout)
        else:
            self._refuse(Busy("The server has too many connections; try again.", 1))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._stream is not None:
            self._stream.end(ClientGone())
        self._let_go()
        self._head_share.set(None, 0)
        self._connections.closed(self)

    def data_received(self, data: bytes) -> None:
        if self._held or self._answering or self.flow.read_paused or self.flow.write_paused:
            self._hold(data)
        elif rest := self._read(data):
            if self._websocket is not None:
                self._websocket.data_received(rest)
                return
            self._hold(rest)
            # Other connections need a turn.
            self._resume()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Returns True to keep the connection for answers that are under way."""
        if self._stream is not None:
            # Nobody would find out for long that the client has gone.
            self._stream.end(ClientGone())
            return False
        self._over = True
        self._drop_unfinished()
        return self._is_busy()

    def belongs_to(self, credential: Any) -> None:
        """Notes the credential of an admitted request."""
        if credential != self._credential and not self.transport.is_closing():
            self._credential = credential
            self._connections.belongs_to(self, credential)

    def overdue(self) -> None:
        """Ends the connection: the client has missed its deadline."""
        self._is_expecting = False
        if self.flow.write_paused:
            self._check_progress()
        elif self._reading == "head":
            self._refuse(too_slow("head", self._connections.head_timeout))
        elif self._reading == "body" and not self.cycle.response_complete:
            self._refuse(too_slow("body", self._connections.body_timeout))
        else:
            self.transport.close()

    def can_give_way(self) -> bool:
        return self._credential is None or not (self._is_busy() or self.flow.write_paused)

    def give_way(self) -> None:
        self.transport.abort()

    def shutdown(self) -> None:
        """Answers requests under way, then closes the connection; waits a moment for the rest of a partial request."""
        self._connections.is_stopping = True
        if self._stream is not None:
            self._stream.end(Stopping())
            return
        if self._is_unfinished():
            self._expect(REST_OF_REQUEST)
            return
        self._let_go()
        if self._is_busy() and self._running is not None:
            self._running.keep_alive = False
        else:
            self.transport.close()

    async def send_stream(self, reply: Reply, stream: EventStream, *, chunked: bool = True) -> None:
        """Sends a stream as the answer that is under way, and closes the connection at its end."""
        self._stream = stream
        if self.transport.is_closing():
            stream.end(ClientGone())
        elif self._connections.is_stopping:
            stream.end(Stopping())
        self._unset_keepalive_if_required()
        # A client that goes shows itself to the one who reads.
        self.flow.resume_reading()
        self._answering = True
        coding = b"transfer-encoding: chunked\r\n" if chunked else b""
        head = b"%b%b%b%bconnection: close\r\n\r\n" % (
            STATUS_LINE[reply.status],
            lines(self.server_state.default_headers),
            reply.headers,
            coding,
        )

        async def write(data: bytes) -> None:
            if not self.transport.is_closing():
                self.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
                await self.flow.drain()

        if not self.transport.is_closing():
            self.transport.write(head)
        await stream.run(write)
        self._stream = None
        if not self.transport.is_closing():
            self.transport.write(b"0\r\n\r\n" if chunked else b"")
            self.transport.close()
        if self._running is not None:
            # uvicorn expects no more of the application.
            self._running.disconnected = True

    def _is_unfinished(self) -> bool:
        """Tells whether a request has arrived in part."""
        return self._reading is not None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect(self._progress.begin())

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._reading == "body":
            self._expect(self._connections.body_timeout)
        else:
            self._arrived()
        self._resume()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._reading = "head"

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(self.headers) > MOST_HEADERS:
            self._head_bytes = HEAD_BYTES + 1
            raise ValueError

    def on_headers_complete(self) -> None:
        self._head_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if self._head_bytes > HEAD_BYTES or self.parser.get_method() == b"CONNECT":
            raise ValueError
        if self.parser.should_upgrade():
            return
        self._reading = "body"
        self._head_bytes = self._discarded = 0
        self._head_share.set(None, 0)
        self._left = next((int(value) for name, value in self.headers if name == b"content-length"), None)
        self._expect(self._connections.body_timeout)
        super().on_headers_complete()
        chunked = self.parser.get_http_version() == "1.1"
        more = {"belongs_to": self.belongs_to, "send_stream": partial(self.send_stream, chunked=chunked)}
        cast("dict[str, Any]", self.scope).update(more)
        # Header fields from here on are trailers.
        self.headers = []
        self.flow.pause_reading()

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        if self._left is not None:
            self._left -= len(body)
        if not self.cycle.response_complete:
            super().on_body(body)
            self.flow.pause_reading()
            return
        self._discarded += len(body)
        if self._discarded > DISCARDED:
            self.transport.close()
        elif not self._is_pausing and not self.transport.is_closing():
            self._is_pausing = True
            self.transport.pause_reading()
            self.loop.call_later(DISCARD_PAUSE, self._go_on_discarding)

    def _go_on_discarding(self) -> None:
        self._is_pausing = False
        self._resume()

    def on_message_complete(self) -> None:
        self._reading = None
        self._head_bytes = 0
        self._arrived()
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        last = not self.pipeline
        if self._running is not None:
            self._running.body = bytearray()
        super().on_response_complete()
        if last and self._refusal is not None:
            self._write(self._refusal, last=True)
        elif last and (self._over or self._connections.is_stopping):
            self.transport.close()

    def _should_upgrade(self) -> bool:
        return False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _is_busy(self) -> bool:
        """Tells whether an answer is under way."""
        running = self._running
        return running is not None and not running.response_complete and not running.disconnected

    def _read(self, data: bytes) -> bytes:
        """Parses up to the end of the head or body, if it has arrived; returns what follows."""
        if self._refusal is not None:
            return b""
        self._unset_keepalive_if_required()
        if self._reading is None and not self._is_expecting:
            self._expect(self._connections.head_timeout)
        end = self._end_of_piece(data)
        self._head_bytes += end
        readable = self._feed(data[:end])
        if self._head_bytes > HEAD_BYTES and len(self.url) > URL_BYTES:
            self._refuse(BadRequest(URL_TOO_LONG, status=414))
        elif self._head_bytes > HEAD_BYTES:
            message = f"The head of the request has more than {HEAD_BYTES} bytes or {MOST_HEADERS} headers; send less."
            self._refuse(BadRequest(message, status=431))
        elif not readable:
            self._refuse(BadRequest("This is not a valid HTTP request."))
        elif self._reading == "head" and self._head_bytes > UNCOUNTED:
            self._count(self._head_share, self._head_bytes)
        return data[end:]

    def _end_of_piece(self, data: bytes) -> int:
        """Returns how much of the data to parse, so that few requests are parsed at once."""
        if self._reading == "body" and self._left is not None:
            return min(self._left, len(data))
        # A chunked body ends like a head, with a blank line, but may contain many: short pieces are not worth it.
        least, most = (1024, LONGEST_PIECE) if self._reading == "body" else (0, len(data))
        end = data.find(b"\r\n\r\n", least, most)
        return min(most, len(data)) if end < 0 else end + 4

    def _feed(self, data: bytes) -> bool:
        """Parses the data; returns False when it is invalid."""
        try:
            while True:
                try:
                    self.parser.feed_data(data)
                    return True
                except httptools.HttpParserUpgrade as offer:
                    rest = data[offer.args[0] :]
                    if self._offers_websocket():
                        self._become_websocket(rest)
                        return True
                    data = self._without_offer() + rest
        except httptools.HttpParserError:
            return False

    def _offers_websocket(self) -> bool:
        return (
            self.parser.get_method() == b"GET"
            and self.parser.get_http_version() == "1.1"
            and self._get_upgrade() == b"websocket"
            and not self._is_busy()
        )

    def _become_websocket(self, start: bytes) -> None:
        """Hands the connection over, with the bytes that followed the handshake."""
        if fault := fault_of_handshake(self.headers):
            self._refuse(fault)
            return
        scope = websocket_scope(cast("dict[str, Any]", self.scope), self.url, self.headers)
        self._reading, self._head_bytes = None, 0
        self._head_share.set(None, 0)
        self._connections.closed(self)
        self.connections.discard(self)
        self._websocket = WebSocket(self.transport, scope, self.app, self.config, self.server_state, self._connections)
        self.transport.set_protocol(self._websocket)
        self._websocket.begin()
        if start:
            self._websocket.data_received(start)

    def _without_offer(self) -> bytes:
        """The head of a request that offers another protocol, without the offer."""
        head = [self.parser.get_method() + b" " + self.url + b" HTTP/1.1"]
        for name, value in self.headers:
            if name == b"connection":
                tokens = [token.strip() for token in value.split(b",")]
                value = b", ".join(token for token in tokens if token.lower() != b"upgrade")
            if name != b"upgrade":
                head.append(name + b": " + value)
        return b"\r\n".join([*head, b"", b""])

    def _hold(self, data: bytes) -> None:
        """Holds data that can't be parsed yet, and pauses reading from the connection."""
        self._held += data
        if len(self._held) > UNCOUNTED:
            self._count(self._held_share, len(self._held))
        self.transport.pause_reading()

    def _let_go(self) -> bytes:
        """Releases the held data, and returns it."""
        held, self._held = self._held, b""
        self._held_share.set(None, 0)
        return held

    def _count(self, share: Share, size: int) -> None:
        """Counts held bytes; ends the connection when there is no room for them."""
        try:
            share.set(self._credential, size)
        except TooMany as error:
            self._refuse(error)

    def _resume(self) -> None:
        """Resumes reading, unless an answer must be sent first."""
        if self._answering or self.flow.read_paused or self.flow.write_paused or self.transport.is_closing():
            return
        if self._is_pausing or self._websocket is not None:
            return
        if not self._held:
            self.transport.resume_reading()
        elif not self._is_resuming:
            self._is_resuming = True
            self.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        """Reads what was held."""
        self._is_resuming = False
        if self._held and not (self._answering or self.flow.read_paused or self.flow.write_paused):
            self.data_received(self._let_go())
            if not self._held:
                self._resume()

    def _expect(self, seconds: float) -> None:
        self._is_expecting = True
        self._connections.expect(self, seconds)

    def _arrived(self) -> None:
        self._is_expecting = False
        self._connections.arrived(self)

    def _check_progress(self) -> None:
        """Cuts the connection if its client does not read."""
        wait = self._progress.look()
        if wait is None:
            self.transport.abort()
        else:
            self._expect(wait)

    def _drop_unfinished(self) -> None:
        """Drops a request whose body will not come; those before it are answered."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is None or cycle.response_complete or not cycle.more_body:
            return
        if self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()
        else:
            cycle.disconnected = True
            cycle.message_event.set()

    def _refuse(self, error: Exception) -> None:
        """Ends the connection with a refusal, after the answers that are under way."""
        self._refusal = refusal(error, self._head_so_far())
        self._let_go()
        self._drop_unfinished()
        if not self._is_busy():
            self._write(self._refusal, last=True)

    def _head_so_far(self) -> Head:
        """Returns what is known of the head that is being read, so that a page can read the refusal."""
        if self._reading is None or self.app.endpoint is None:
            return UNREAD
        return read_head(self.scope["headers"], self.app.endpoint.sites, post=False)

    def _write(self, reply: Reply, *, last: bool) -> None:
        """Writes an answer that does not come from an ASGI application; the `last` one closes the connection."""
        if self.transport.is_closing():
            return
        status, headers, body = reply.status, reply.headers, reply.body
        if self._default is not self.server_state.default_headers:  # another list each second, with the date
            self._default = self.server_state.default_headers
            self._default_lines = lines(self._default)
        close = b"connection: close\r\n" if last else b""
        self.transport.write(
            b"%b%b%b%bcontent-length: %d\r\n\r\n%b"
            % (STATUS_LINE[status], self._default_lines, headers, close, len(body), body)
        )
        if last:
            self.transport.close()
