"""Flow control of a connection: pauses of reading, unread bytes, and clients that are too slow."""

import sys
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl

from recallql.http.requests import BadRequest

try:
    import fcntl
    import termios
except ImportError:  # not Unix
    fcntl = termios = None

LEAST_PROGRESS = 16 * 1024
"""Bytes of an answer that a client has to read within each timeout, until all of it is sent."""

WINDOW_SHARE = 0.25
"""The part of the read timeout after which progress counts: before, the client's system may just be buffering."""


class Flow(FlowControl):
    """uvicorn's flow control. `resume` processes data that was read already before it reads more."""

    def __init__(self, transport: Any, resume: Callable[[], None]) -> None:
        super().__init__(transport)
        self._resume = resume

    def resume_reading(self) -> None:
        if self.read_paused:
            self.read_paused = False
            self._resume()


def unread_bytes(transport: Any) -> int:
    """Returns how many bytes the client has not read yet, those in the system's buffer included."""
    waiting = transport.get_write_buffer_size()
    if termios is not None and fcntl is not None:
        queued = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        waiting += int.from_bytes(queued, sys.byteorder)
    return waiting


class Progress:
    """Measures if a client reads while writing to it is paused: `LEAST_PROGRESS` within each timeout."""

    def __init__(self, transport: Any, timeout: float) -> None:
        self._transport = transport
        self._timeout = timeout
        self._unread: int | None = None
        """Bytes that the client had not read at the last look; None while its system may just be buffering."""

    def begin(self) -> float:
        """Begins with a pause; returns the seconds until the first look."""
        self._unread = None
        return self._timeout * WINDOW_SHARE

    def look(self) -> float | None:
        """Returns the seconds until the next look; None if the client has read too little since the last one."""
        unread = unread_bytes(self._transport)
        if self._unread is None:
            wait = self._timeout * (1 - WINDOW_SHARE)
        elif unread > self._unread - LEAST_PROGRESS:
            return None
        else:
            wait = self._timeout
        self._unread = unread
        return wait


def too_slow(part: str, seconds: float) -> BadRequest:
    """Returns the refusal for a client that has not sent a part of its request in time."""
    message = f"The {part} of the request did not arrive within {seconds:g} seconds."
    return BadRequest(message, status=408, code="TIMEOUT")
