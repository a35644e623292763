"""The protocol of a connection, with a short way for what it is asked nearly always: a plain POST to the endpoint.

A client repeats the head of its requests byte by byte. What a head says is therefore read once and remembered by its
bytes; the next time only the body is new, and it is answered without an ASGI scope, a task or events, unless the answer
has to wait for something. Only heads of the plainest form go this way; everything else is uvicorn's (see `framing`).
"""

from collections.abc import Awaitable, Coroutine
from types import coroutine
from typing import Any

from recallql.framing import Framing
from recallql.heads import LONGEST_PLAIN, Head
from recallql.http import Endpoint, Reply


class Protocol(Framing):
    """One connection. The application has the `endpoint` that plain requests go to."""

    app: Any

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head: Head | None = None
        """The head of the plain request whose body is still coming, or whose answer is."""
        self._received = bytearray()
        self._answering = False
        self._last = False
        """Whether the connection ends with the answer to it."""
        self._answered = 0
        self._answered_before = 0
        """How many answers there were when the wait for another request began."""

    def data_received(self, data: bytes) -> None:
        if self._answering:
            # The next request is ahead of the answer to this one; it waits, and so does what follows it.
            self._received += data
            self.transport.pause_reading()
        elif self._head is not None:
            self._received += data
            self._read_body(self._head)
        elif not (self._reading is None and self._read_head(data)):
            super().data_received(data)

    def eof_received(self) -> bool:
        if self._answering:
            self._last = True
            return True
        return super().eof_received()

    def _read_head(self, data: bytes) -> bool:
        """Whether the data starts with a plain head, and was taken. Requests in a row are uvicorn's."""
        end = data.find(b"\r\n\r\n", 0, LONGEST_PLAIN) + 4
        if end < 4 or self._is_busy() or self.flow.write_paused:
            return False
        endpoint: Endpoint | None = self.app.endpoint
        head = None if endpoint is None else endpoint.head(data[:end])
        if endpoint is None or head is None or len(data) > end + head.length:
            return False
        if len(data) == end + head.length:
            self._answer(endpoint, head, data[end:])
        else:
            self._head = head
            self._received += data[end:]
        return True

    def _read_body(self, head: Head) -> None:
        if len(self._received) < head.length:
            return
        body, rest = bytes(self._received[: head.length]), bytes(self._received[head.length :])
        self._head, self._received = None, bytearray()
        self._answer(self.app.endpoint, head, body)
        if rest:
            self.data_received(rest)

    def _answer(self, endpoint: Endpoint, head: Head, body: bytes) -> None:
        answering = endpoint.answer(head, body)
        try:
            waits_for = answering.send(None)
        except StopIteration as done:
            self._reply(done.value)
        else:
            self._answering = True
            answer = endpoint.in_time(_resume(answering, waits_for), head)
            task = self.loop.create_task(self._answer_later(answer))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _answer_later(self, answer: Awaitable[Reply]) -> None:
        self._reply(await answer)
        self._answering = False
        rest, self._received = bytes(self._received), bytearray()
        if not self.transport.is_closing():
            self.transport.resume_reading()
            if rest:
                self.data_received(rest)

    def _reply(self, reply: Reply) -> None:
        self.server_state.total_requests += 1
        self._answered += 1
        self._write(reply, last=self._last)
        if reply.admission is not None:
            reply.admission.close()
        if self.timeout_keep_alive_task is None and not self.transport.is_closing():
            self._wait_for_another()

    def _wait_for_another(self) -> None:
        self._answered_before = self._answered
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Closes the connection when nothing has come for the time that one is kept, or up to twice that.

        The short way leaves the clock running, also one that was set after an answer of uvicorn's.
        """
        if self.transport.is_closing():
            return
        if self._answering or self._head is not None or self._answered > self._answered_before:
            self._wait_for_another()
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """What is under way is answered, and the connection closed then."""
        if self._answering or self._head is not None:
            self._last = True
        else:
            super().shutdown()


@coroutine
def _resume(started: Coroutine[Any, Any, Reply], waits_for: Any) -> Any:
    """Goes on with a coroutine that was started outside of a task and waits for a future."""
    while True:
        try:
            value = yield waits_for
        except BaseException as error:  # also a cancellation, which is the coroutine's to see
            resume = started.throw, error
        else:
            resume = started.send, value
        try:
            waits_for = resume[0](resume[1])
        except StopIteration as done:
            return done.value
