"""A server that speaks OpenAI's protocol on loopback, and can be told to fail, to wait and to answer nonsense."""

import hashlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]


@dataclass
class Asked:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: Json


@dataclass
class Reply:
    """A prepared answer: any bytes, after a pause in seconds; None closes the connection."""

    status: int = 200
    body: bytes | None = b"{}"
    headers: dict[str, str] = field(default_factory=dict[str, str])
    pause: float = 0.0


def embedding_of(text: str, dimensions: int) -> list[float]:
    """Words side by side make texts alike: each word of a text adds 1 in its own place."""
    vector = [0.0] * dimensions
    for word in text.lower().split():
        vector[int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest()) % dimensions] += 1.0
    return vector


class ModelServer:
    """`chat` gives the text that the model says to a request's body; `next` has the replies that go out before that.

    With `hold` cleared, requests wait until it is set again. `asked` has every request in the order of coming.
    """

    def __init__(self, chat: Callable[[Json], str] = lambda body: "{}", *, dimensions: int = 64) -> None:
        self.chat = chat
        self.dimensions = dimensions
        self.next: deque[Reply] = deque()
        self.always: Reply | None = None
        self.hold = threading.Event()
        self.hold.set()
        self.asked: list[Asked] = []
        self._came = threading.Condition()
        served = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                asked = Asked(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                with served._came:
                    served.asked.append(asked)
                    reply = served.next.popleft() if served.next else served.always
                    served._came.notify_all()
                served.hold.wait(30)
                self._send(reply or served._answer(asked))

            def _send(self, reply: Reply) -> None:
                if reply.pause:
                    time.sleep(reply.pause)
                if reply.body is None:
                    self.close_connection = True
                    return
                try:
                    self.send_response(reply.status)
                    for name, value in ({"content-length": str(len(reply.body))} | reply.headers).items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(reply.body)
                except OSError:
                    self.close_connection = True  # who asked has gone

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def _answer(self, asked: Asked) -> Reply:
        body = asked.body
        if asked.path == "/v1/chat/completions":
            message = {"role": "assistant", "content": self.chat(body)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            answer: Json = {"object": "chat.completion", "model": body["model"], "choices": [choice]}
        elif asked.path == "/v1/embeddings":
            texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
            dimensions = body.get("dimensions", self.dimensions)
            data = [
                {"object": "embedding", "index": index, "embedding": embedding_of(text, dimensions)}
                for index, text in enumerate(texts)
            ]
            answer = {"object": "list", "model": body["model"], "data": data}
        else:
            return Reply(404, json.dumps({"error": {"message": "no such path", "code": "not_found"}}).encode())
        return Reply(body=json.dumps(answer).encode())

    def wait_for(self, count: int, seconds: float = 120.0) -> list[Asked]:
        """The requests, once there have been so many."""
        with self._came:
            came = self._came.wait_for(lambda: len(self.asked) >= count, seconds)
        assert came, f"{len(self.asked)} of {count} requests came within {seconds:g} seconds"
        return self.asked

    def close(self) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)
