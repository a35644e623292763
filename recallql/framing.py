"""HTTP/1.1: uvicorn's protocol, with what it leaves open.

- A head has a limit, and what stands behind a body is no header.
- A refusal (no HTTP, a head without an end) comes after the answers to the requests before it, as an error of GraphQL.
- An offer of another protocol (`Upgrade: h2c`) is passed over, so that the request itself is answered.
- A client that says no more is answered what it has asked.
"""

from typing import Any, Literal, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from recallql.heads import URL_BYTES, URL_TOO_LONG, read_head
from recallql.http import Reply, refusal
from recallql.requests import BadRequest
from recallql.sites import Sites, lines

HEAD_BYTES = 64 * 1024

UNREAD = read_head((), Sites(), post=False)
"""What answers go by when a head could not be read."""


class Framing(HttpToolsProtocol):
    """One connection."""

    parser: httptools.HttpRequestParser
    """None once the connection is lost, when nothing is called any more."""
    _reading: Literal["head", "body"] | None = None
    """What of a request the next byte belongs to, as far as the parser has come; None between two requests."""
    _head_bytes = 0
    _running: RequestResponseCycle | None = None
    _over = False
    """Whether the client has said that it will say no more."""
    _refusal: Reply | None = None
    """What ends the connection once all that came before is answered."""
    _default: list[tuple[bytes, bytes]] | None = None
    _default_lines = b""

    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        self._unset_keepalive_if_required()
        self._head_bytes += len(data)
        readable = self._feed(data)
        if self._reading == "head" and self._head_bytes > HEAD_BYTES:
            if len(self.url) > URL_BYTES:
                self._refuse(414, URL_TOO_LONG)
            else:
                self._refuse(431, f"The head of the request has more than {HEAD_BYTES} bytes; send less.")
        elif not readable:
            self._refuse(400, "What was sent is no HTTP request that can be read.")

    def eof_received(self) -> bool:  # type: ignore[override]
        """Returns whether the connection is kept for answers."""
        self._over = True
        self._drop_unfinished()
        return self._is_busy()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._reading = "head"
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        self._head_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if self._head_bytes > HEAD_BYTES or self.parser.get_method() == b"CONNECT":
            raise ValueError
        if self.parser.should_upgrade():
            return
        self._reading = "body"
        super().on_headers_complete()
        # Whatever comes now is a trailer.
        self.headers = []

    def on_message_complete(self) -> None:
        self._reading = None
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        last = not self.pipeline
        super().on_response_complete()
        if last and self._refusal is not None:
            self._write(self._refusal, last=True)
        elif last and self._over:
            self.transport.close()

    def _should_upgrade(self) -> bool:
        return False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _is_busy(self) -> bool:
        """Whether an answer is under way."""
        running = self._running
        return running is not None and not running.response_complete and not running.disconnected

    def _feed(self, data: bytes) -> bool:
        """Has the parser read the data; False when it cannot."""
        try:
            while True:
                try:
                    self.parser.feed_data(data)
                    return True
                except httptools.HttpParserUpgrade as offer:
                    data = self._without_offer() + data[offer.args[0] :]
        except httptools.HttpParserError:
            return False

    def _without_offer(self) -> bytes:
        """The head of the request that offers another protocol, without the offer."""
        head = [self.parser.get_method() + b" " + self.url + b" HTTP/1.1"]
        for name, value in self.headers:
            if name == b"connection":
                tokens = [token.strip() for token in value.split(b",")]
                value = b", ".join(token for token in tokens if token.lower() != b"upgrade")
            if name != b"upgrade":
                head.append(name + b": " + value)
        return b"\r\n".join([*head, b"", b""])

    def _drop_unfinished(self) -> None:
        """A request whose body will not come is not answered; those before it are."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is None or cycle.response_complete or not cycle.more_body:
            return
        if self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()
        else:
            cycle.disconnected = True
            cycle.message_event.set()

    def _refuse(self, status: int, message: str) -> None:
        self._refusal = refusal(BadRequest(message, status=status), UNREAD)
        self._drop_unfinished()
        if not self._is_busy():
            self._write(self._refusal, last=True)

    def _write(self, reply: Reply, *, last: bool) -> None:
        """Writes an answer that is not an ASGI application's; the `last` one closes the connection."""
        if self.transport.is_closing():
            return
        status, headers, body, _ = reply
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
