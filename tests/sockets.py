"""A client of WebSockets that a test sees each message of, and that can send what no library would."""

import json
import os
import socket
from base64 import b64encode
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from wsproto.connection import Connection as Frames
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, Pong, TextMessage

from tests.wire import Answer
from tests.wire import Connection as Wire

PROTOCOL = "graphql-transport-ws"


class Ended(Exception):
    """The server has ended the connection, with this code and reason; 1006 if without a word."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


def handshake(
    headers: dict[str, str] | None = None, *, protocol: str | None = PROTOCOL, path: str = "/graphql"
) -> bytes:
    """The request for a WebSocket; `headers` replace the usual ones."""
    usual = {
        "Host": "127.0.0.1",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": b64encode(os.urandom(16)).decode(),
    }
    if protocol is not None:
        usual["Sec-WebSocket-Protocol"] = protocol
    lines = [f"{name}: {value}" for name, value in (usual | (headers or {})).items()]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode("latin-1")


class Client:
    """One connection, as far as its handshake was accepted; `answer` has the answer to that."""

    def __init__(
        self,
        port: int,
        headers: dict[str, str] | None = None,
        *,
        protocol: str | None = PROTOCOL,
        path: str = "/graphql",
        wire: Wire | None = None,
        early: bytes = b"",
    ) -> None:
        self.wire = wire or Wire(port)
        request = handshake(headers, protocol=protocol, path=path)
        self.answer: Answer = self.wire.ask(request + early, method="GET")
        self.frames = Frames(ConnectionType.CLIENT, trailing_data=self.wire.rest_of_received())
        self.pings = 0
        self.pongs: list[bytes] = []
        self._events: Iterator[Any] = self.frames.events()
        self._text = ""

    def __enter__(self) -> "Client":
        assert self.answer.status == 101, self.answer
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wire.socket.close()

    @property
    def socket(self) -> socket.socket:
        return self.wire.socket

    @staticmethod
    def frames_of(message: dict[str, Any]) -> bytes:
        """The bytes of a message."""
        return Frames(ConnectionType.CLIENT).send(Message(data=json.dumps(message)))

    def begin(self, authorization: str | None = None) -> "Client":
        """Has the connection acknowledged."""
        payload = {} if authorization is None else {"payload": {"Authorization": f"Bearer {authorization}"}}
        self.say(type="connection_init", **payload)
        assert self.heard() == {"type": "connection_ack"}
        return self

    def tried(self, authorization: str) -> "Client":
        """Asks for the acknowledgement, and does not await it."""
        self.say(type="connection_init", payload={"authorization": f"Bearer {authorization}"})
        return self

    def say(self, **message: Any) -> None:
        self.send(Message(data=json.dumps(message)))

    def subscribe(self, id: str, query: str, **variables: Any) -> None:
        self.say(type="subscribe", id=id, payload={"query": query, "variables": variables})

    def ask(self, query: str, **variables: Any) -> Any:
        """The answer to an operation that has one."""
        self.subscribe("asked", query, **variables)
        answer = self.heard()
        if answer["type"] == "next":
            assert self.heard() == {"type": "complete", "id": "asked"}
        assert answer["id"] == "asked"
        return answer["payload"]

    def heard(self) -> Any:
        """The next message of the server; `Ended` if it ends the connection, `TimeoutError` if it says nothing."""
        while (message := self._next_message()) is None:
            self._receive()
        return message

    def hear_pings(self, number: int) -> None:
        """Answers so many pings, while the server says nothing else."""
        while self.pings < number:
            assert self._next_message() is None
            self._receive()

    def _next_message(self) -> Any:
        for event in self._events:
            match event:
                case TextMessage():
                    self._text += event.data
                    if event.message_finished:
                        text, self._text = self._text, ""
                        return json.loads(text)
                case BytesMessage():
                    raise AssertionError(f"The server sent bytes: {event.data!r}")
                case Ping():
                    self.pings += 1
                    self.send(event.response())
                case Pong():
                    self.pongs.append(bytes(event.payload))
                case CloseConnection():
                    if self.frames.state is ConnectionState.REMOTE_CLOSING:
                        self.send(event.response())
                    # Then it is for the server to close.
                    assert self.wire.rest() == b""
                    raise Ended(event.code, event.reason or "")
                case other:
                    raise AssertionError(f"what is {other}?")
        return None

    def _receive(self) -> None:
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            raise Ended(1006, "")
        self.frames.receive_data(data)
        self._events = self.frames.events()

    def end(self) -> Ended:
        """How the server ends the connection, whatever it says before."""
        try:
            while True:
                self.heard()
        except Ended as end:
            return end

    def send(self, event: Any) -> None:
        self.socket.sendall(self.frames.send(event))
