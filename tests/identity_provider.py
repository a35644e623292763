"""An identity provider of the tests: an HTTP server on loopback that publishes keys, and tokens signed with them."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ISSUER, AUDIENCE = "https://id.example/", "recall"


@cache
def private_key(name: str) -> Any:
    """A private key by name; it takes long to find one for RSA, so each is made once."""
    match name.partition("-")[0]:
        case "rsa":
            return rsa.generate_private_key(65537, 2048)
        case "short":
            return rsa.generate_private_key(65537, 1024)
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case curve:
            curves = {"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1}
            return ec.generate_private_key(curves[curve]())


def algorithm_of(name: str) -> Any:
    family = {"r": "RS256", "s": "RS256", "e": "EdDSA", "p": "ES256"}[name[0]]
    return jwt.get_algorithm_by_name(family)


def jwk(name: str, *, private: bool = False, **more: Any) -> dict[str, Any]:
    """A key as a provider publishes it, under its name as `kid`."""
    key = private_key(name)
    made = algorithm_of(name).to_jwk(key if private else key.public_key(), as_dict=True)
    made.pop("key_ops", None)
    return {**made, "kid": name, **more}


class Provider:
    """An HTTP server that publishes keys, and can be told to fail in every way."""

    def __init__(self) -> None:
        self.keys: list[Any] = [jwk(name) for name in ("rsa", "p256", "p384", "p521", "ed25519")]
        self.asked: list[str] = []
        self.answer: Callable[[BaseHTTPRequestHandler], object] = self.publish
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked.append(self.path)
                with suppress(OSError):
                    provider.answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/jwks.json"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def publish(self, request: BaseHTTPRequestHandler) -> None:
        send(request, json.dumps({"keys": self.keys}).encode())

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def send(
    request: BaseHTTPRequestHandler, body: bytes, status: int = 200, length: int | None = None, **more: str
) -> None:
    """Answers a request; `length` is what the answer says of itself, right unless given."""
    request.send_response(status)
    sent = str(len(body) if length is None else length)
    for name, value in {"content-length": sent, "connection": "close", **more}.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    right = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "iat": now - 1, "exp": now + 600, **changed}
    return {name: value for name, value in right.items() if value is not None}


def token(name: str = "rsa", algorithm: str = "RS256", *, kid: str | None = None, **changed: Any) -> str:
    return jwt.encode(claims(**changed), private_key(name), algorithm, headers={"kid": kid or name})
