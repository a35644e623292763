"""The bytes that a connection receives: a statement that returns too many is broken off while they come."""

from asyncio import CancelledError, Future, Protocol
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any

from models.allowance import Heavy


class Receiving(Protocol):
    """Stands between a connection and the driver's protocol, which gets all that is received."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self.size = 0
        """Bytes received since a statement began that is run by `up_to`."""
        self._most = 0
        self._result: Future[Any] | None = None
        """The driver's future for the result of this statement; None if there is none, or if it was broken off."""

    def data_received(self, data: bytes) -> None:
        self.size += len(data)
        if self._result is not None and self.size > self._most:
            # The driver then cancels the statement on the server, and passes over what still comes of it.
            self._result.cancel()
            self._result = None
        self._protocol.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    @coroutine
    def up_to(self, most: int, running: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Awaits a statement. Raises `Heavy` when it returns more bytes."""
        self.size, self._most = 0, most
        resume: Any = running.send
        value: Any = None
        try:
            while True:
                self._result = resume(value)
                try:
                    resume, value = running.send, (yield self._result)
                except BaseException as error:  # a cancellation too: the statement must see it
                    resume, value = running.throw, error
        except StopIteration as done:
            return done.value
        except CancelledError:
            if self._result is None:
                raise Heavy from None
            raise
        finally:
            self._result = None
            # An error that was thrown references this frame: together they would stay, with the frames of the callers.
            resume = value = None
