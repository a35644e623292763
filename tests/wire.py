"""HTTP as bytes: requests as they go over the wire, and a connection whose answers are read one by one."""

import json
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

PATIENCE_SECONDS = 10.0
SEGMENT_SECONDS = 0.001
"""A pause after which what was sent has most likely been read by the server on its own."""


class Closed(Exception):
    """The server closed the connection before a whole answer; `args[0]` has what came of one."""


@dataclass(frozen=True)
class Answer:
    """One answer; the names of `headers` in lower case, without `date`."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a header that stands there once at most."""
        values = [value for known, value in self.headers if known == name]
        assert len(values) < 2, f"{name} stands there {len(values)} times: {values}"
        return values[0] if values else None

    def json(self) -> Any:
        return json.loads(self.body)

    def codes(self) -> list[str]:
        """`extensions.code` of every error; each must have one, and a message."""
        errors = self.json()["errors"]
        assert errors, self.body
        assert all(isinstance(error["message"], str) for error in errors), errors
        return [error["extensions"]["code"] for error in errors]


class Connection:
    """A connection that sends each piece on its own and reads exactly one answer at a time."""

    def __init__(self, port: int, *, patience: float = PATIENCE_SECONDS) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=patience)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *pieces: bytes) -> None:
        """Send the pieces, each in a segment of its own."""
        for number, piece in enumerate(pieces):
            if number:
                time.sleep(SEGMENT_SECONDS)
            self.socket.sendall(piece)

    def ask(self, *pieces: bytes, method: str = "POST") -> Answer:
        self.send(*pieces)
        return self.answer(method)

    def answer(self, method: str = "POST") -> Answer:
        """The next answer; `Closed` when none comes, `TimeoutError` when the server says nothing."""
        head, headers = self._head()
        status = int(head.split(b" ", 2)[1])
        if method == "HEAD" or status < 200 or status in (204, 304):
            body = b""
        elif (length := headers.get("content-length")) is not None:
            body = self._exactly(int(length))
        elif headers.get("transfer-encoding") == "chunked":
            body = b"".join(iter(self.chunk, b""))
        else:
            body = self.rest()
        return Answer(status, tuple(item for item in headers.items() if item[0] != "date"), body)

    def head(self) -> tuple[int, dict[str, str]]:
        """The status and the headers of an answer whose body is read piece by piece."""
        head, headers = self._head()
        status = int(head.split(b" ", 2)[1])
        return self.head() if status == 100 else (status, headers)

    def piece(self) -> bytes:
        """What comes next of a body without a length; nothing at its end."""
        if not self._received:
            self._receive()
        return self.rest_of_received()

    def finish(self) -> None:
        """Say that nothing more will be sent."""
        self.socket.shutdown(socket.SHUT_WR)

    def rest(self) -> bytes:
        """All that comes until the server closes the connection."""
        while self._receive():
            pass
        received, self._received = self._received, b""
        return received

    def rest_of_received(self) -> bytes:
        """What came behind the last answer."""
        received, self._received = self._received, b""
        return received

    def is_closed(self) -> bool:
        """Tells whether the server closes the connection, without a further byte."""
        return not self._received and not self._receive()

    def _head(self) -> tuple[bytes, dict[str, str]]:
        while b"\r\n\r\n" not in self._received:
            if not self._receive():
                raise Closed(self._received)
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        assert first.startswith(b"HTTP/1.1 "), head
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.decode("latin-1").partition(":")
            assert colon, head
            assert name.lower() not in headers, f"{name} stands there twice: {head!r}"
            headers[name.lower()] = value.strip()
        return first, headers

    def _exactly(self, length: int) -> bytes:
        while len(self._received) < length:
            if not self._receive():
                raise Closed(self._received)
        body, self._received = self._received[:length], self._received[length:]
        return body

    def chunk(self) -> bytes:
        """The next chunk of a body; nothing at its end."""
        while b"\r\n" not in self._received:
            if not self._receive():
                raise Closed(self._received)
        size, _, self._received = self._received.partition(b"\r\n")
        return self._exactly(int(size, 16) + 2)[:-2]

    def _receive(self) -> bool:
        try:
            piece = self.socket.recv(65536)
        except ConnectionError:
            piece = b""
        self._received += piece
        return bool(piece)


GRAPHQL = "application/graphql-response+json"
HEADERS = {"Host": "127.0.0.1", "Content-Type": "application/json"}


def request(
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    *,
    method: str = "POST",
    target: str = "/graphql",
    version: str = "1.1",
) -> bytes:
    """A request with the usual headers, with `Content-Length` unless it comes in chunks; `headers` replace them."""
    given = headers or {}
    length = {"Content-Length": str(len(body))} if body or method == "POST" else {}
    named = HEADERS | ({} if "Transfer-Encoding" in given else length) | given
    lines = [f"{method} {target} HTTP/{version}", *(f"{name}: {value}" for name, value in named.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def graphql(query: str, **variables: Any) -> bytes:
    """The body of a GraphQL request."""
    return json.dumps({"query": query, "variables": variables}).encode()


def chunked(pieces: Iterable[bytes]) -> bytes:
    """A body in chunks, one for each piece, with the end."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece) + b"0\r\n\r\n"


QUERY = "query ($id: String!) { user(userId: $id) { name } }"
UPSERT = "mutation ($id: String!) { upsertUser(input: {userId: $id, name: $id}) { created } }"
USERS = 10


def body(number: int) -> bytes:
    """The body of the ordinary request for one of the users; all have one length."""
    return graphql(QUERY, id=f"user-{number}")


def ask(number: int, headers: dict[str, str] | None = None, **line: str) -> bytes:
    """The ordinary request for one of the users. Only the bodies differ."""
    return request(body(number), headers, **line)


def found(answer: Answer, number: int) -> bool:
    """Tells whether this is the answer to `ask(number)`."""
    return answer.status == 200 and answer.json() == {"data": {"user": {"name": f"user-{number}"}}}


def mutation(key: str) -> bytes:
    """A request that leaves a trace."""
    return request(graphql(UPSERT, id=key))


HEAD = ask(1).removesuffix(body(1))
"""The head of every ordinary request."""


class Kind:
    """One of the requests that a client may send, as bytes, with its method and the status it is answered with."""

    def __init__(self, data: bytes, *, status: int = 200, method: str = "POST") -> None:
        self.data = data
        self.status = status
        self.method = method
        self._alone: dict[int, Answer] = {}

    def ask(self, connection: Connection) -> Answer:
        connection.send(self.data)
        return self.read(connection)

    def read(self, connection: Connection) -> Answer:
        """The answer to it, without the word that it may go on."""
        answer = connection.answer(self.method)
        return answer if answer.status >= 200 else connection.answer(self.method)

    def alone(self, port: int) -> Answer:
        """The answer to it as a first request."""
        if port not in self._alone:
            with Connection(port) as connection:
                answer = self._alone[port] = self.ask(connection)
                assert answer.status == self.status, answer
        return self._alone[port]


BY_URL = "/graphql?query=%7Bviewer%7Brole%7D%7D"
KINDS = {
    "user 1": Kind(ask(1)),
    "user 2": Kind(ask(2)),
    "a body with spaces": Kind(request(body(3).ljust(len(body(3)) + 1))),
    "a body of another number of digits": Kind(request(body(3).ljust(1000))),
    "a large body": Kind(request(body(4).ljust(100_000))),
    "another media type": Kind(ask(5, {"Accept": GRAPHQL})),
    "a head with more": Kind(ask(5, {"X-More": "yes"})),
    "names in capitals": Kind(ask(6).replace(HEAD, HEAD.replace(b"Content-", b"CONTENT-"))),
    "to be continued": Kind(ask(6, {"Expect": "100-continue"})),
    "chunks": Kind(request(headers={"Transfer-Encoding": "chunked"}) + chunked([body(7)[:9], body(7)[9:]])),
    "by url": Kind(request(method="GET", target=BY_URL), method="GET"),
    "the head of it": Kind(request(method="HEAD", target=BY_URL), method="HEAD"),
    "a body nobody reads": Kind(request(b"hello", {"Content-Length": "5"}, method="GET", target=BY_URL), method="GET"),
    "health": Kind(request(method="GET", target="/health"), method="GET"),
    "nowhere": Kind(request(body(8), target="/graphqk"), status=404),
    "a body that is no json": Kind(request(b"{"), status=400),
    "no body": Kind(request(b""), status=400),
    "another content type": Kind(ask(8, {"Content-Type": "text/plain"}), status=415),
    "another host": Kind(ask(8, {"Host": "example.org"}), status=403),
    "another method": Kind(request(body(8), {"Content-Length": str(len(body(8)))}, method="PUT"), status=405),
}
