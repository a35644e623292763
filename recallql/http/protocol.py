"""The protocol of a connection, with a fast path for nearly all requests: plain POSTs to the endpoint.

A client repeats the head of its requests byte by byte. A parsed head is therefore cached under its bytes; the next time
only the body is new, and it is answered without an ASGI scope, a task or events, unless the answer has to wait. Only
the plainest heads take the fast path; all other requests take uvicorn's (see `framing`), as does a request whose
credential is refused before its body has arrived.
"""

from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import coroutine
from typing import Any

from recallql.http.admission import Admission
from recallql.http.endpoint import Endpoint, Reply, refusal
from recallql.http.flow import too_slow
from recallql.http.framing import UNCOUNTED, Framing
from recallql.http.heads import LONGEST_PLAIN, Head
from recallql.live.events import EventStream

HESITATION = 0.05
"""Seconds that a short request has to arrive before it is admitted, where that would wait for the database."""


class Protocol(Framing):
    """One connection. The application has the `endpoint` that plain requests go to."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head: Head | None = None
        """The head of the plain request whose body is still coming."""
        self._admission: Admission | None = None
        """The admission of that request, or of the one whose answer is being sent."""
        self._received = bytearray()
        """The body of that request, as far as it has arrived; another object for each request."""
        self._last = False
        """True if the connection closes after the answer that is under way."""
        self._answered = 0
        self._answered_before = 0
        """The number of answers when the keep-alive timer was set."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._head = None
        self._close_admission()
        super().connection_lost(exc)

    def eof_received(self) -> bool:
        if self._answering and self._stream is None:
            self._last = True
            return True
        return super().eof_received()

    def resume_writing(self) -> None:
        self._close_admission()
        super().resume_writing()

    def overdue(self) -> None:
        if self._head is None:
            super().overdue()
        else:
            head, admission = self._head, self._admission
            self._head = self._admission = None
            self._last = True
            self._reply(refusal(too_slow("body", self._connections.body_timeout), head, admission))

    def can_give_way(self) -> bool:
        return self._admission is None and super().can_give_way()

    def shutdown(self) -> None:
        self._last = True
        if self._answering and self._stream is None:
            self._let_go()
            self._connections.is_stopping = True
        else:
            super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        """Closes an idle connection after one to two times the keep-alive timeout.

        The fast path leaves the timer running, even one that was set after an answer of uvicorn's.
        """
        if self.transport.is_closing():
            return
        if (
            self._is_busy()
            or self._head is not None
            or self.flow.write_paused
            or self._answered > self._answered_before
        ):
            self._wait_for_another()
        else:
            self.transport.close()

    def _is_busy(self) -> bool:
        return self._answering or super()._is_busy()

    def _is_unfinished(self) -> bool:
        return self._head is not None or super()._is_unfinished()

    def _read(self, data: bytes) -> bytes:
        if self._head is not None:
            return self._read_body(self._head, data)
        if self._reading is None:
            rest = self._read_head(data)
            if rest is not None:
                return rest
        return super()._read(data)

    def _read_head(self, data: bytes) -> bytes | None:
        """Consumes a plain request at the start of the data, or the part that has arrived; returns what follows it.

        Returns None, and consumes nothing, when the data does not start with a plain head that is admitted.
        """
        end = data.find(b"\r\n\r\n", 0, LONGEST_PLAIN) + 4
        if end < 4 or self._refusal is not None or (self._running is not None and self._is_busy()):
            return None
        endpoint: Endpoint | None = self.app.endpoint
        head = None if endpoint is None else endpoint.head(data[:end])
        if endpoint is None or head is None:
            return None
        whole = end + head.length
        if len(data) < whole:
            return self._begin(endpoint, head, data[end:])
        if self._is_expecting:
            self._arrived()
        self._answer(endpoint, head, data[end:whole])
        return data[whole:]

    def _begin(self, endpoint: Endpoint, head: Head, start: bytes) -> bytes | None:
        """Consumes the start of a body, if the request is admitted, or so short that this can wait for the body."""
        admission = None
        if not endpoint.admits_late or head.length > UNCOUNTED:
            admission = endpoint.admit(head)
            if admission is None:
                return None
            self.belongs_to(admission.credential)
        self._head, self._admission, self._received = head, admission, bytearray(start)
        self._expect(self._connections.body_timeout)
        if admission is None:
            self.loop.call_later(HESITATION, self._admit_soon, endpoint, head, self._received)
        return b""

    def _still_receives(self, received: bytearray) -> bool:
        """False once the body of a request has arrived, or its client has gone."""
        return self._head is not None and self._received is received

    def _admit_soon(self, endpoint: Endpoint, head: Head, received: bytearray) -> None:
        if self._still_receives(received):
            self._do(self._admit_late(endpoint, head, received))

    async def _admit_late(self, endpoint: Endpoint, head: Head, received: bytearray) -> None:
        """Admits the request whose body is still coming, into `received`, or refuses it."""
        admission = refused = None
        try:
            admission = await endpoint.admit_late(head)
        except Exception as error:
            refused = error
        if not self._still_receives(received):
            # A request is also admitted when its body has arrived.
            if admission is not None:
                admission.close()
        elif admission is not None:
            self._admission = admission
            self.belongs_to(admission.credential)
        elif refused is not None:
            self._head, self._last = None, True
            self._reply(refusal(refused, head))

    def _read_body(self, head: Head, data: bytes) -> bytes:
        missing = head.length - len(self._received)
        self._received += data[:missing]
        if len(data) >= missing:
            body, admission = bytes(self._received), self._admission
            self._head, self._admission, self._received = None, None, bytearray()
            self._arrived()
            self._answer(self.app.endpoint, head, body, admission)
        return data[missing:]

    def _answer(self, endpoint: Endpoint, head: Head, body: bytes, admission: Admission | None = None) -> None:
        answering = endpoint.answer(head, body, admission)
        try:
            waits_for = answering.send(None)
        except StopIteration as done:
            reply: Reply = done.value
            if reply.stream is None:
                self._reply(reply)
            else:
                self._answering = True
                self._do(self._reply_with(reply, reply.stream))
        else:
            self._answering = True
            self._do(self._answer_later(endpoint.in_time(_resume(answering, waits_for), head)))

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _answer_later(self, answer: Awaitable[Reply]) -> None:
        reply = await answer
        if reply.stream is not None:
            await self._reply_with(reply, reply.stream)
            return
        self._answering = False
        self._reply(reply)
        if self._refusal is not None:
            self._write(self._refusal, last=True)
        self._resume()

    async def _reply_with(self, reply: Reply, stream: EventStream) -> None:
        self.server_state.total_requests += 1
        if reply.admission is not None:
            self.belongs_to(reply.admission.credential)
        await self.send_stream(reply, stream)

    def _reply(self, reply: Reply) -> None:
        self.server_state.total_requests += 1
        self._answered += 1
        self._write(reply, last=self._last)
        admission = reply.admission
        if admission is not None:
            if admission.credential != self._credential:
                self.belongs_to(admission.credential)
            if self.flow.write_paused:
                self._admission = admission
            else:
                admission.close()
        if self.timeout_keep_alive_task is None and not self.transport.is_closing():
            self._wait_for_another()

    def _close_admission(self) -> None:
        if self._admission is not None:
            self._admission.close()
            self._admission = None

    def _wait_for_another(self) -> None:
        self._answered_before = self._answered
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)


@coroutine
def _resume(started: Coroutine[Any, Any, Reply], waits_for: Any) -> Generator[Any, Any, Reply]:
    """Continues a coroutine that was started outside of a task and waits for a future."""
    resume: tuple[Callable[[Any], Any], Any]
    while True:
        try:
            value = yield waits_for
        except BaseException as error:  # a cancellation too: the coroutine must see it
            resume = started.throw, error
        else:
            resume = started.send, value
        try:
            waits_for = resume[0](resume[1])
        except StopIteration as done:
            return done.value
        finally:
            # An error references this frame: together they would stay, with the rows of the request.
            del resume
