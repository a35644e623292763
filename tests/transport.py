"""Sends the requests of `httpx` to a server on this machine over connections of `tests.wire`.

The transport of httpx takes about as long for a request and its answer as the server does.
"""

import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import cast

import httpx

from tests.wire import Answer, Closed, Connection, chunked


class Wire(httpx.BaseTransport):
    """Connections to 127.0.0.1 that are kept, and used again for the same port; any thread may ask."""

    def __init__(self) -> None:
        self._idle: list[tuple[int, Connection]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        limits = request.extensions["timeout"]
        port = request.url.port or 80
        connection = self._connected(port, limits["connect"])
        try:
            connection.socket.settimeout(limits["read"])
            # The server may refuse a body before it has all of it; the answer tells.
            with suppress(ConnectionError):
                connection.send(_bytes_of(request))
            answer = connection.answer(request.method)
            while answer.status < 200:
                answer = connection.answer(request.method)
        except TimeoutError as error:
            connection.socket.close()
            raise httpx.ReadTimeout("timed out", request=request) from error
        except (Closed, OSError) as error:
            connection.socket.close()
            raise httpx.RemoteProtocolError(f"the server ended the connection: {error!r}", request=request) from error
        except BaseException:
            connection.socket.close()
            raise
        if _is_kept(answer):
            self._idle.append((port, connection))
        else:
            connection.socket.close()
        return httpx.Response(answer.status, headers=answer.headers, stream=httpx.ByteStream(answer.body))

    def _connected(self, port: int, seconds: float) -> Connection:
        while True:
            try:
                known, connection = self._idle.pop()
            except IndexError:
                break
            if known == port and _is_open(connection):
                return connection
            connection.socket.close()
        try:
            return Connection(port, patience=seconds)
        except TimeoutError as error:
            raise httpx.ConnectTimeout("timed out") from error
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error

    def close(self) -> None:
        while self._idle:
            self._idle.pop()[1].socket.close()


def _bytes_of(request: httpx.Request) -> bytes:
    lines = [b"%s %s HTTP/1.1" % (request.method.encode(), request.url.raw_path)]
    lines += [b"%s: %s" % header for header in request.headers.raw]
    body = chunked(cast(Iterable[bytes], request.stream)) if "transfer-encoding" in request.headers else request.read()
    return b"\r\n".join([*lines, b"", body])


def _is_kept(answer: Answer) -> bool:
    known = dict(answer.headers)
    has_end = "content-length" in known or known.get("transfer-encoding") == "chunked" or answer.status in (204, 304)
    return has_end and known.get("connection", "").lower() != "close"


def _is_open(connection: Connection) -> bool:
    """False if the server has closed an idle connection."""
    connection.socket.setblocking(False)
    try:
        connection.socket.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    # The end, or a byte that nobody has asked for.
    return False
