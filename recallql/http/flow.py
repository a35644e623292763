"""The flow of bytes on a connection: when more is read, what a client has not taken yet, and what is too slow."""

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
"""Bytes that a client has to take of an answer within the time for reading one, until all of it was sent."""

WINDOW_SHARE = 0.25
"""The part of the time for reading an answer after which progress counts: at first the client's system takes bytes."""


class Flow(FlowControl):
    """uvicorn's control of the flow. `resume` goes on with what was read already before more is read."""

    def __init__(self, transport: Any, resume: Callable[[], None]) -> None:
        super().__init__(transport)
        self._resume = resume

    def resume_reading(self) -> None:
        if self.read_paused:
            self.read_paused = False
            self._resume()


def unread_bytes(transport: Any) -> int:
    """Returns how many bytes the client has not taken yet, those among them that the system is to send."""
    waiting = transport.get_write_buffer_size()
    if termios is not None and fcntl is not None:
        queued = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        waiting += int.from_bytes(queued, sys.byteorder)
    return waiting


def too_slow(part: str, seconds: float) -> BadRequest:
    """Returns why a client is refused that has not sent a part of its request in time."""
    message = f"The {part} of the request did not arrive within {seconds:g} seconds."
    return BadRequest(message, status=408, code="TIMEOUT")
