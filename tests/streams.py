"""Streams of events over HTTP, read as they come."""

import json
from typing import Any

from tests.wire import Connection, graphql, request

SSE = {"Accept": "text/event-stream"}


class Stream:
    """A subscription by POST whose answer is a stream; `status` and `headers` are those of its head."""

    def __init__(
        self,
        port: int,
        query: str,
        headers: dict[str, str] | None = None,
        *,
        line: dict[str, str] | None = None,
        body: bytes | None = None,
        connection: Connection | None = None,
        **variables: Any,
    ) -> None:
        self.connection = connection or Connection(port)
        sent = graphql(query, **variables) if body is None else body
        self.connection.send(request(sent, SSE | (headers or {}), **(line or {})))
        self.status, self.headers = self.connection.head()
        self._text = b""

    def __enter__(self) -> "Stream":
        assert self.status == 200, (self.status, self.connection.rest())
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.socket.close()

    def event(self) -> tuple[str, str | None, Any]:
        """The next event: its name, its id, its data. Comments are passed over."""
        while True:
            block = self.block()
            if not block.startswith(":"):
                break
        fields = dict(line.split(": " if ": " in line else ":", 1) for line in block.split("\n"))
        return fields["event"], fields.get("id"), json.loads(fields["data"]) if fields["data"] else None

    def block(self) -> str:
        """The next event or comment as text, without the blank line."""
        while b"\n\n" not in self._text:
            piece = self._piece()
            assert piece, f"the stream has ended after {self._text!r}"
            self._text += piece
        block, _, self._text = self._text.partition(b"\n\n")
        return block.decode()

    def rest(self) -> bytes:
        """All that comes until the stream ends, as it should."""
        while piece := self._piece():
            self._text += piece
        assert self.connection.is_closed()
        return self._text

    def _piece(self) -> bytes:
        return self.connection.chunk() if "transfer-encoding" in self.headers else self.connection.piece()
