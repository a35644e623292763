"""A connection that speaks graphql-transport-ws: subscriptions, and any other operation."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from breadth import Answer
from models.allowance import Allowance
from recallql.auth.credentials import Expired, Unauthenticated
from recallql.http.admission import UNCOUNTED, Admission, credential_of
from recallql.http.budgets import Busy
from recallql.http.endpoint import Endpoint, refusal, send_reply
from recallql.http.heads import GRAPHQL, Head, read_head
from recallql.http.refusals import refused
from recallql.http.requests import INLINE_BODY, BadRequest, write_json
from recallql.http.throttle import TooMany
from recallql.live.conversation import Conversation
from recallql.live.long_connections import Stopping
from recallql.live.messages import (
    ACKNOWLEDGED,
    SUBPROTOCOL,
    ClientMessage,
    Close,
    Complete,
    Init,
    Ping,
    Subscribe,
    Violation,
    completed,
    failed,
    next_answer,
    pong,
    read_message,
)
from recallql.live.subscriptions import EventFailed, StartedSubscription
from recallql.settings import Settings
from resolvers.viewers import Viewer

OPEN_BYTES = 256 * 1024
"""The most bytes of the requests whose subscriptions are open on one connection."""


class Gone(Exception):
    """The connection has ended."""


class Sockets:
    """Serves the WebSockets of one process, as an ASGI application."""

    def __init__(self, endpoint: Endpoint, settings: Settings) -> None:
        self.endpoint = endpoint
        self.init_timeout = settings.init_timeout
        self.most_operations = settings.socket_operations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        head = read_head(scope["headers"], self.endpoint.sites, post=False)
        try:
            if (fault := head.fault or head.problem) is not None:
                raise fault
            await self.endpoint.check_sender(head)
        except Exception as error:
            await send_reply(_before_acceptance(send), refusal(error, head))
            return
        offered: list[str] = scope["subprotocols"]
        if SUBPROTOCOL in offered:
            await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
            await Socket(self, head, scope, receive, send).run()
            return
        # A browser shows the reason for a close, but not that for a refusal; and it takes no answer without a
        # subprotocol that it has offered.
        await send({"type": "websocket.accept", "subprotocol": offered[0] if offered else None})
        await send(
            {
                "type": "websocket.close",
                "code": Close.SUBPROTOCOL_NOT_ACCEPTABLE,
                "reason": f"Use the subprotocol {SUBPROTOCOL}, as npm's graphql-ws does.",
            }
        )


def _before_acceptance(send: Send) -> Send:
    """Sends an answer in HTTP in place of accepting a WebSocket."""

    async def sent(message: Message) -> None:
        await send({**message, "type": f"websocket.{message['type']}"})

    return sent


class Socket:
    """One connection."""

    def __init__(self, sockets: Sockets, head: Head, scope: Scope, receive: Receive, send: Send) -> None:
        self.endpoint = sockets.endpoint
        self.head = head
        """The head of the handshake; with the credential that `connection_init` has brought, if it has."""
        self.turn = asyncio.Lock()
        self._sockets = sockets
        self._scope = scope
        self._receive = receive
        self._send = send
        self._conversation: Conversation[Operation] = Conversation()

    async def run(self) -> None:
        """Serves the connection until it ends."""
        try:
            await self._converse()
        except Gone:
            pass
        except Exception as error:
            await self._close(error)
        finally:
            self.endpoint.long_connections.leave(self)
            for id in list(self._conversation.open):
                self._stop(id)

    def end(self, error: Exception) -> None:
        self.endpoint.long_connections.keep(asyncio.create_task(self._close(error)))

    async def say(self, text: str) -> None:
        """Sends a message; returns once it has left this process, and raises `Gone` if it can't."""
        try:
            await self._send({"type": "websocket.send", "text": text})
        except OSError as error:
            raise Gone from error

    async def finish(self, operation: "Operation", text: str) -> None:
        """Says the last message of an operation, whose id is then free again."""
        if self._conversation.open.get(operation.id) is operation:
            self._remove(operation.id)
            await self.say(text)

    @property
    def open_bytes(self) -> int:
        """The bytes of the requests whose subscriptions are open, or about to be."""
        return sum(operation.size for operation in self._conversation.open.values() if operation.is_subscription)

    async def _converse(self) -> None:
        try:
            async with asyncio.timeout(self._sockets.init_timeout):
                while not self._conversation.is_acknowledged:
                    if not await self._take_message():
                        return
        except TimeoutError:
            raise Violation(Close.INIT_TIMEOUT, "Connection initialisation timeout") from None
        while await self._take_message():
            pass

    async def _take_message(self) -> bool:
        """Acts on the next message; returns False once the connection has ended."""
        received = await self._receive()
        if received["type"] == "websocket.disconnect":
            return False
        text = received.get("text")
        if text is None:
            raise Violation(Close.INVALID, "A message is a text, not binary.")
        data = text.encode()
        message = await self._in_thread(read_message, data) if len(data) > INLINE_BODY else read_message(data)
        self._conversation.check(message)
        match message:
            case Init():
                await self._begin(message)
            case Ping():
                await self.say(pong(message.payload))
            case Subscribe():
                await self._subscribe(message, len(data))
            case Complete():
                self._stop(message.id)
            case _:
                pass
        return True

    async def _in_thread(self, read: Callable[[bytes], ClientMessage], data: bytes) -> ClientMessage:
        return await self.endpoint.operations.threads.run(Allowance(), read, data)

    async def _begin(self, message: Init) -> None:
        if message.authorization is not None:
            self.head = replace(self.head, authorization=message.authorization)
        viewer = await self.endpoint.viewer(self.head)
        self.endpoint.long_connections.enter(self, self.head.authorization, viewer)
        if "belongs_to" in self._scope:
            self._scope["belongs_to"](credential_of(viewer))
        self._conversation.is_acknowledged = True
        await self.say(ACKNOWLEDGED)

    async def _subscribe(self, message: Subscribe, size: int) -> None:
        most = self._sockets.most_operations
        if len(self._conversation.open) >= most:
            error = TooMany(f"{most} operations are open on this connection; at most that many may be.", 1)
            await self.say(failed(message.id, refused(error, GRAPHQL).body["errors"]))
            return
        operation = Operation(self, message, size)
        self._conversation.open[message.id] = operation
        self._scope["in_use"] = True
        operation.start()
        # What the client sends after a subscription comes after its beginning: a mutation's changes are events.
        await operation.begun.wait()

    def _stop(self, id: str) -> None:
        if id in self._conversation.open:
            self._remove(id).stop()

    def _remove(self, id: str) -> "Operation":
        operation = self._conversation.open.pop(id)
        self._scope["in_use"] = bool(self._conversation.open)
        return operation

    async def _close(self, error: Exception) -> None:
        code, reason = _end_of(error)
        with suppress(OSError):
            await self._send({"type": "websocket.close", "code": code, "reason": reason})


class Operation:
    """An operation on a connection, from its request to its last answer."""

    def __init__(self, socket: Socket, message: Subscribe, size: int) -> None:
        self.id = message.id
        self.size = size
        self.is_subscription = False
        self.begun = asyncio.Event()
        """Set once a subscription has started, or the operation turned out to be none."""
        self.turn = socket.turn
        self._socket = socket
        self._request = message.request
        self._is_wanted = True
        self._is_following = False
        """True once it is a subscription that has started; then it has been answered as a request."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())
        self._socket.endpoint.long_connections.keep(self._task)

    def stop(self) -> None:
        """Ends a subscription. Any other operation is carried out, as one by POST whose client has gone."""
        self._is_wanted = False
        if self._is_following and self._task is not None:
            self._task.cancel()

    async def next(self, answer: bytes, event: Any) -> None:
        if self._is_wanted:
            await self._socket.say(next_answer(self.id, answer))

    async def _run(self) -> None:
        socket = self._socket
        try:
            try:
                started = await self._answer()
            finally:
                self.begun.set()
            if started is not None:
                self._is_following = True
                await started.follow(self)
            await socket.finish(self, completed(self.id))
        except Gone:
            pass
        except Unauthenticated as error:
            socket.end(error)
        except Exception as error:
            with suppress(Gone):
                await self._fail(error)

    async def _answer(self) -> StartedSubscription | None:
        """Answers a query or a mutation, or starts a subscription."""
        endpoint, operations = self._socket.endpoint, self._socket.endpoint.operations
        viewer = await endpoint.viewer(self._socket.head)
        with endpoint.admissions.admit(viewer) as admission:
            if self.size > UNCOUNTED:
                admission.receive(self.size)
            context = operations.context(viewer, admission, self.size)
            if await operations.in_time(operations.is_subscription(self._request, context)):
                return await self._begin(viewer, admission)
            self.begun.set()
            await self._tell(*await operations.in_time(operations.run(self._request, context, admission)))
        return None

    async def _begin(self, viewer: Viewer, admission: Admission) -> StartedSubscription | None:
        endpoint = self._socket.endpoint
        if self._socket.open_bytes + self.size > OPEN_BYTES:
            raise BadRequest(
                f"The subscriptions on this connection have more than {OPEN_BYTES} bytes of requests; open another.",
                code="RATE_LIMITED",
            )
        self.is_subscription = True
        started = await endpoint.operations.in_time(endpoint.subscriptions.start(self._request, viewer, admission))
        if isinstance(started, Answer):
            await self._tell(started, write_json(started.body))
            return None
        if not self._is_wanted:
            await started.close()
            return None
        return started

    async def _tell(self, answer: Answer, body: bytes) -> None:
        if answer.executed:
            await self.next(body, None)
        else:
            await self._socket.finish(self, failed(self.id, answer.body["errors"]))

    async def _fail(self, error: Exception) -> None:
        body: dict[str, Any] = (
            {"errors": error.errors} if isinstance(error, EventFailed) else refused(error, GRAPHQL).body
        )
        if "data" in body:
            await self.next(write_json(body), None)
            await self._socket.finish(self, completed(self.id))
        else:
            await self._socket.finish(self, failed(self.id, body["errors"]))


def _end_of(error: Exception) -> tuple[int, str]:
    """The code and the reason with which an error ends a connection."""
    match error:
        case Violation():
            return error.code, error.reason
        case Expired():
            return Close.FORBIDDEN, str(error)
        case Unauthenticated():
            return Close.UNAUTHORIZED, str(error)
        case BadRequest():
            return Close.FORBIDDEN, error.message
        case Busy():
            return Close.TRY_AGAIN_LATER, str(error)
        case TooMany():
            return Close.TOO_MANY, str(error)
        case Stopping():
            return Close.GOING_AWAY, "The server stops; connect again."
        case _:
            return Close.INTERNAL_ERROR, refused(error, GRAPHQL).body["errors"][0]["message"]
