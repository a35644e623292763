"""One WebSocket: the handshake that `recallql.http.framing` has read, and frames, as an ASGI server offers them.

- Reading pauses while the application has a message to work on, so that only one waits, with less than one read of
  the transport behind it. A message has a limit, and a large one counts for its credential while it arrives. Other
  connections have their turn between the frames of one.
- `send` returns once the system has taken the whole message: at most one waits in this process.
- A client that does not read is told so and cut off, and so is one that gives no sign of life.
- Nothing is compressed: that would take memory for each connection.
"""

import asyncio
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

import httptools
import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, Pong, TextMessage
from wsproto.utilities import LocalProtocolError, generate_accept_token

from recallql.http.admission import UNCOUNTED
from recallql.http.budgets import Busy, Share
from recallql.http.connections import Connections
from recallql.http.flow import Progress
from recallql.http.requests import BadRequest
from recallql.http.sites import lines
from recallql.http.throttle import TooMany
from recallql.live.messages import Close

log = structlog.get_logger("recallql.websocket")

MESSAGE_BYTES = 1024 * 1024
"""The largest message of a client."""

TURN = 32
"""Frames that are read in one go: a client may send thousands together, and others wait meanwhile."""

LONGEST_GOODBYE = 4 * 1024
"""Bytes that are searched for the client's answer to the end of the connection when they arrive."""

GOODBYE = 2.0
"""Seconds, about, that a client has to answer the end of the connection."""

VERSION = b"13"
_key = re.compile(rb"[A-Za-z0-9+/]{22}==")

TOO_SLOW = "Events were not read in time; connect again and resume after the last one."
STOPPING = "The server stops; connect again."
RESTARTING = "The server restarts; connect again."


class Disconnected(OSError):
    """The connection has ended; nothing can be sent."""


def fault_of_handshake(headers: Iterable[tuple[bytes, bytes]]) -> BadRequest | None:
    """The fault of a request for a WebSocket, if it has one."""
    values = dict(headers)
    key = values.get(b"sec-websocket-key", b"")
    if values.get(b"sec-websocket-version") == VERSION and _key.fullmatch(key):
        return None
    message = "This is not the handshake of a WebSocket: it needs `Sec-WebSocket-Version: 13` and `Sec-WebSocket-Key`."
    return BadRequest(message, status=426, headers=b"upgrade: websocket\r\nsec-websocket-version: 13\r\n")


def websocket_scope(scope: dict[str, Any], url: bytes, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    """The scope of a WebSocket, from that of the request that asked for it."""
    parsed = httptools.parse_url(url)
    path, root = parsed.path.decode("ascii"), scope["root_path"]
    offered = b",".join(value for name, value in headers if name == b"sec-websocket-protocol").decode("latin-1")
    return scope | {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "scheme": "wss" if scope["scheme"] == "https" else "ws",
        "path": root + unquote(path),
        "raw_path": root.encode("ascii") + parsed.path,
        "query_string": parsed.query or b"",
        "headers": headers,
        "subprotocols": [name.strip() for name in offered.split(",") if name.strip()],
        "extensions": {"websocket.http.response": {}},
    }


class WebSocket(asyncio.Protocol):
    """One connection. Its scope has more than ASGI asks for: `belongs_to`, which the application calls with the
    credential, and `in_use`, which it sets while an operation is open."""

    def __init__(
        self,
        transport: Any,
        scope: dict[str, Any],
        app: Any,
        config: Config,
        server_state: ServerState,
        connections: Connections,
    ) -> None:
        self._transport = transport
        self._scope: dict[str, Any] = scope | {"belongs_to": self._belongs_to, "in_use": False}
        self._app = app
        self._config = config
        self._server_state = server_state
        self._connections = connections
        self._frames: Connection | None = None
        """None until the handshake is accepted."""
        self._flow = FlowControl(transport)
        self._progress = Progress(transport, connections.answer_timeout)
        self._sending = asyncio.Lock()
        self._early = b""
        self._received = asyncio.Event()
        self._is_announced = self._is_waiting = self._is_responding = False
        self._message = bytearray()
        self._share = Share(app.endpoint.admissions.receiving)
        self._credential: Any = None
        self._pong: bytes | None = None
        """The ping that is to be answered once the client reads."""
        self._frames_read = 0
        """Frames that were read since others had a turn."""
        self._heard = True
        """True if anything has arrived since the last ping."""
        self._end: tuple[int, str] | None = None
        """The code and reason with which the connection has ended."""
        self._is_broken = False
        """True if no further frames are read."""
        self._is_lost = False

    def begin(self) -> None:
        """Starts the application. There is room for the connection: it was counted before."""
        self._server_state.connections.add(self)  # pyright: ignore[reportArgumentType]
        self._connections.opened(self)
        self._connections.expect(self, self._connections.head_timeout)
        task = asyncio.get_running_loop().create_task(self._run())
        self._server_state.tasks.add(task)
        task.add_done_callback(self._server_state.tasks.discard)

    # The transport

    def data_received(self, data: bytes) -> None:
        self._heard = True
        if self._end is not None:
            self._await_goodbye(data)
            return
        if self._frames is None:
            self._early += data
        else:
            self._frames.receive_data(data)
        if self._is_waiting:
            self._received.set()
        else:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        self._flow.pause_writing()
        if self._end is None:
            self._connections.expect(self, self._progress.begin())

    def resume_writing(self) -> None:
        self._flow.resume_writing()
        if self._end is None:
            self._connections.expect(self, self._connections.keep_alive)
            self._answer_ping()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self._finish(1006, "")
        self._connections.closed(self)
        self._share.set(None, 0)
        self._server_state.connections.discard(self)  # pyright: ignore[reportArgumentType]

    # What the process wants of it

    def overdue(self) -> None:
        if self._end is not None or self._frames is None:
            self._transport.abort()
        elif self._flow.write_paused:
            wait = self._progress.look()
            if wait is None:
                self._close(Close.TRY_AGAIN_LATER, TOO_SLOW)
            else:
                self._connections.expect(self, wait)
        elif self._heard:
            self._heard = False
            self._write(Ping())
            self._connections.expect(self, self._connections.keep_alive)
        else:
            self._transport.abort()

    def can_give_way(self) -> bool:
        return self._credential is None or not self._scope["in_use"]

    def give_way(self) -> None:
        self._transport.abort()

    def shutdown(self) -> None:
        self._connections.is_stopping = True
        restarting = getattr(self._config, "restarting", None)
        if self._frames is None:
            self._transport.close()
        elif restarting is not None and restarting.is_set():
            self._close(Close.SERVICE_RESTART, RESTARTING)
        else:
            self._close(Close.GOING_AWAY, STOPPING)

    def _belongs_to(self, credential: Any) -> None:
        if not self._is_lost:
            self._credential = credential
            self._connections.belongs_to(self, credential)

    # The application

    async def _run(self) -> None:
        code, reason = 1000, ""
        try:
            await self._app(self._scope, self._receive, self._send)
        except Disconnected:
            pass
        except Exception:
            log.exception("a WebSocket has failed")
            code, reason = Close.INTERNAL_ERROR, "Something went wrong on the server; its log has the cause."
        if self._frames is not None:
            self._close(code, reason)
        elif not self._is_responding:
            self._respond(500, [], b"")

    async def _receive(self) -> dict[str, Any]:
        if not self._is_announced:
            self._is_announced = True
            return {"type": "websocket.connect"}
        while True:
            if self._frames_read >= TURN:
                self._frames_read = 0
                await asyncio.sleep(0)
            if (message := self._next_message()) is not None:
                return {"type": "websocket.receive"} | message
            if self._end is not None:
                code, reason = self._end
                return {"type": "websocket.disconnect", "code": code, "reason": reason}
            if self._frames_read >= TURN:
                continue
            self._received.clear()
            self._is_waiting = True
            self._read_on()
            try:
                await self._received.wait()
            finally:
                self._is_waiting = False

    async def _send(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "websocket.accept":
                self._accept(message.get("subprotocol"), message.get("headers", ()))
            case "websocket.send":
                async with self._sending:
                    await self._drain()
                    self._write(Message(data=message["text"]))
                    await self._drain()
            case "websocket.close" if self._frames is None:
                self._respond(403, [], b"")
            case "websocket.close":
                self._close(message.get("code", 1000), message.get("reason") or "")
            case "websocket.http.response.start":
                self._is_responding = True
                self._start_response(message["status"], message["headers"])
            case "websocket.http.response.body":
                self._transport.write(message["body"])
                if not message.get("more_body", False):
                    self._transport.close()
            case other:
                raise ValueError(f"{other} is no message of ASGI to a WebSocket")

    def _accept(self, subprotocol: str | None, headers: Iterable[tuple[bytes, bytes]]) -> None:
        key = dict(self._scope["headers"])[b"sec-websocket-key"]
        # Python's gql knows this name in no other case.
        named = [(b"Sec-WebSocket-Protocol", subprotocol.encode())] if subprotocol else []
        accepted = [
            (b"upgrade", b"websocket"),
            (b"connection", b"Upgrade"),
            (b"sec-websocket-accept", generate_accept_token(key)),
            *named,
            *headers,
        ]
        self._transport.write(b"HTTP/1.1 101 Switching Protocols\r\n%b\r\n" % self._lines(accepted))
        self._frames = Connection(ConnectionType.SERVER, trailing_data=self._early)
        self._early = b""
        self._connections.expect(self, self._connections.keep_alive)

    def _respond(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Refuses the handshake."""
        self._is_responding = True
        self._start_response(status, [*headers, (b"content-length", b"%d" % len(body))])
        self._transport.write(body)
        self._transport.close()

    def _start_response(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._transport.write(STATUS_LINE[status] + self._lines([*headers, (b"connection", b"close")]) + b"\r\n")

    def _lines(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        return lines([*self._server_state.default_headers, *headers])

    async def _drain(self) -> None:
        await self._flow.drain()
        if self._end is not None:
            raise Disconnected

    # Frames

    def _next_message(self) -> dict[str, Any] | None:
        """The next message that has arrived in whole, within a turn. Frames without one are dealt with on the way."""
        if self._frames is None or self._end is not None:
            return None
        for event in self._frames.events():
            self._frames_read += 1
            match event:
                case TextMessage() if event.message_finished and not self._message and len(event.data) <= UNCOUNTED:
                    return {"text": event.data}
                case TextMessage() | BytesMessage():
                    if self._add(event) and event.message_finished:
                        return self._whole_message(is_text=isinstance(event, TextMessage))
                case Ping():
                    self._pong = bytes(event.payload)
                    self._answer_ping()
                case CloseConnection():
                    self._closed_by_client(event)
                case _:
                    pass
            if self._end is not None or self._frames_read >= TURN:
                break
        return None

    def _add(self, event: TextMessage | BytesMessage) -> bool:
        """Adds a part of a message; returns False if there is no room for it, which ends the connection."""
        self._message += event.data.encode() if isinstance(event, TextMessage) else event.data
        size = len(self._message)
        try:
            if size > UNCOUNTED:
                self._share.set(self._credential, min(size, MESSAGE_BYTES))
        except Busy as busy:
            self._close(Close.TRY_AGAIN_LATER, str(busy))
        except TooMany as error:
            self._close(Close.TOO_MANY, str(error))
        if size > MESSAGE_BYTES:
            self._close(Close.MESSAGE_TOO_LARGE, f"A message has at most {MESSAGE_BYTES} bytes; send less at once.")
        return self._end is None

    def _whole_message(self, *, is_text: bool) -> dict[str, Any]:
        message, self._message = self._message, bytearray()
        self._share.set(None, 0)
        return {"text": message.decode()} if is_text else {"bytes": bytes(message)}

    def _answer_ping(self) -> None:
        """Answers the last ping, unless the client does not read: then one answer waits, however many pings come."""
        if self._pong is not None and not self._flow.write_paused:
            pong, self._pong = self._pong, None
            self._write(Pong(payload=pong))

    def _closed_by_client(self, event: CloseConnection) -> None:
        frames = self._frames
        if frames is not None and frames.state is ConnectionState.REMOTE_CLOSING:
            self._transport.write(bytes(frames.send(event.response())))
            self._finish(event.code, event.reason or "")
            self._transport.close()
        else:
            # wsproto reports so, too, that the frames break the rules; it reads no further ones.
            self._close(event.code, event.reason or "")
            self._is_broken = True

    def _write(self, event: Any) -> None:
        if self._frames is not None and self._end is None:
            self._transport.write(bytes(self._frames.send(event)))

    def _close(self, code: int, reason: str) -> None:
        """Ends the connection, and gives the client a moment to read why."""
        if self._end is None and self._frames is not None:
            self._write(CloseConnection(code=code, reason=reason))
            self._finish(code, reason)
            self._read_on()
            self._connections.expect(self, GOODBYE)

    def _finish(self, code: int, reason: str) -> None:
        """Tells the application that the connection has ended."""
        if self._end is None:
            self._end = code, reason
            self._message = bytearray()
            self._received.set()
            # Those who wait for the client to read see that it has ended.
            self._flow.resume_writing()

    def _await_goodbye(self, data: bytes) -> None:
        """Passes over what still arrives, up to the client's answer to the end of the connection."""
        if len(data) > LONGEST_GOODBYE:
            self._is_broken = True
        if self._frames is None or self._is_broken:
            return
        try:
            self._frames.receive_data(data)
            is_over = any(isinstance(event, CloseConnection) for event in self._frames.events())
        except LocalProtocolError:
            is_over = True
        if is_over:
            self._transport.close()

    def _read_on(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()
