"""Compression: of answers, of the playground's files, and of the bodies of requests."""

import gzip
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.documents import ADD_MESSAGES, VIEWER
from tests.places import Fresh
from tests.servers import Server
from tests.wire import Answer, Connection, graphql, request

pytestmark = pytest.mark.once

MEBIBYTE = 1024 * 1024
ANSWER = {"data": {"viewer": {"role": "SERVICE"}}}
LONG = '{ session(sessionId: "long") { messages(first: 100) { nodes { content } } } }'
Start = Callable[..., Server]


@pytest.fixture(scope="module")
def start(shared: Fresh) -> Iterator[Start]:
    started: list[Server] = []

    def begin(**settings: Any) -> Server:
        server = Server(shared(), **settings)
        started.append(server)
        messages = [{"role": "USER", "content": f"{number}. " + "a word and more " * 20} for number in range(50)]
        server.accepted(ADD_MESSAGES, sessionId="long", messages=messages)
        return server

    yield begin
    for server in started:
        server.close()


@pytest.fixture(scope="module")
def server(start: Start) -> Server:
    return start()


def read(answer: Answer) -> Any:
    """The JSON of an answer, which is decompressed if it says that it is compressed."""
    encoding = answer.header("content-encoding")
    assert encoding in (None, "gzip")
    return json.loads(gzip.decompress(answer.body) if encoding else answer.body)


def ask(server: Server, query: str, accept_encoding: str | None) -> Answer:
    headers = {} if accept_encoding is None else {"Accept-Encoding": accept_encoding}
    with Connection(server.port) as connection:
        answer = connection.ask(request(graphql(query), headers))
        # The head is remembered by then.
        again = connection.ask(request(graphql(query), headers))
        assert (again.status, again.headers, read(again)) == (answer.status, answer.headers, read(answer))
        return answer


# Answers

COMPRESSED = ["gzip", "GZIP", "x-gzip", "gzip, deflate, br, zstd", "br;q=1.0, gzip;q=0.8, *;q=0.1", "*", "gzip;q=0.001"]
PLAIN = [
    None,
    "",
    "identity",
    "br",
    "deflate",
    "gzip;q=0",
    "gzip;q=0.0, *",
    "*;q=0",
    "identity, gzip;q=0.5",
    "gzip;q=x",
    "xgzip",
]


@pytest.mark.parametrize("accepted", COMPRESSED)
def test_a_long_answer_is_compressed_for_who_accepts_gzip(server: Server, accepted: str) -> None:
    answer = ask(server, LONG, accepted)
    plain = ask(server, LONG, None)
    assert answer.header("content-encoding") == "gzip"
    assert read(answer) == read(plain)
    assert len(answer.body) < len(plain.body) / 5


@pytest.mark.parametrize("accepted", PLAIN)
def test_an_answer_is_not_compressed_for_anybody_else(server: Server, accepted: str | None) -> None:
    answer = ask(server, LONG, accepted)
    assert answer.header("content-encoding") is None
    assert len(json.loads(answer.body)["data"]["session"]["messages"]["nodes"]) == 50


def test_an_answer_of_a_kibibyte_is_compressed_only_for_who_takes_no_other(server: Server) -> None:
    assert ask(server, VIEWER, "gzip").header("content-encoding") is None
    for accepted in ("gzip, identity;q=0", "gzip, *;q=0"):
        answer = ask(server, VIEWER, accepted)
        assert answer.header("content-encoding") == "gzip"
        assert read(answer) == ANSWER


def test_every_answer_says_what_it_depends_on(server: Server) -> None:
    for query in (VIEWER, LONG, "{", "{ unknown }"):
        for accepted in (None, "gzip"):
            vary = ask(server, query, accepted).header("vary") or ""
            assert {"accept", "accept-encoding"} <= {name.strip() for name in vary.split(",")}


def test_answers_by_get_and_errors_are_compressed_too(server: Server) -> None:
    for query in (LONG, "{ " + " ".join(f"unknown{number}" for number in range(20)) + " }"):
        response = server.client.get(server.url, params={"query": query}, headers={"accept-encoding": "gzip"})
        assert response.headers["content-encoding"] == "gzip"
        assert response.json() == server.post({"query": query}, {"accept-encoding": "identity"}).json()


def test_a_large_answer_is_compressed_while_others_are_served(server: Server) -> None:
    wide = "{ " + " ".join(f"a{n}: {LONG[2:-2]}" for n in range(40)) + " }"
    answer = ask(server, wide, "gzip")
    assert len(gzip.decompress(answer.body)) > 500_000
    assert len(read(answer)["data"]) == 40


def test_compression_can_be_switched_off(start: Start) -> None:
    off = start(compression_level=0)
    assert ask(off, LONG, "gzip").header("content-encoding") is None
    best = start(compression_level=9)
    assert len(ask(best, LONG, "gzip").body) <= len(ask(start(), LONG, "gzip").body)


def test_files_of_the_playground_are_compressed(server: Server, start: Start) -> None:
    page = server.client.get(server.url, headers={"accept": "text/html"}).text
    files = re.findall(r'(?:src|href)="(playground/[^"]+)"', page)
    if not files:
        pytest.skip("The playground is not built.")
    off = start(compression_level=0)
    for file in files:
        plain = server.client.get(f"{server.base}/{file}", headers={"accept-encoding": "identity"})
        for _ in range(2):
            packed = server.client.get(f"{server.base}/{file}", headers={"accept-encoding": "gzip"})
            assert packed.content == plain.content
            assert packed.headers["content-type"] == plain.headers["content-type"]
            assert packed.headers["vary"] == plain.headers["vary"] == "accept-encoding"
            assert packed.headers.get("content-encoding") == ("gzip" if len(plain.content) > 1024 else None)
            assert "immutable" in packed.headers["cache-control"]
        for refused in ("gzip;q=0", "br"):
            answer = server.client.get(f"{server.base}/{file}", headers={"accept-encoding": refused})
            assert "content-encoding" not in answer.headers
        answer = off.client.get(f"{off.base}/{file}", headers={"accept-encoding": "gzip"})
        assert "content-encoding" not in answer.headers


# Bodies


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


BODIES: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZIP": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": raw_deflate,
    "identity": bytes,
    "": bytes,
}


def post(server: Server, body: bytes, encoding: str, accept: str = "application/json") -> httpx.Response:
    return server.post(body, {"content-encoding": encoding, "accept": accept})


@pytest.mark.parametrize("encoding", BODIES)
def test_a_compressed_body_is_read(server: Server, encoding: str) -> None:
    body = BODIES[encoding](graphql(VIEWER))
    assert post(server, body, encoding).json() == ANSWER
    with Connection(server.port) as connection:
        for _ in range(2):
            assert connection.ask(request(body, {"Content-Encoding": encoding})).json() == ANSWER
        chunks = {"Content-Encoding": encoding, "Transfer-Encoding": "chunked"}
        assert connection.ask(request(headers=chunks) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)).json() == ANSWER


def test_a_body_of_eight_mebibytes_is_read_however_small_it_came(server: Server) -> None:
    body = graphql(VIEWER)
    random = os.urandom(2 * MEBIBYTE).hex().encode()
    for whole in (body + b" " * (8 * MEBIBYTE - len(body)), b'{"x":"%b",%b' % (random, body[1:])):
        assert post(server, zlib.compress(whole, 1), "deflate").json() == ANSWER


@pytest.mark.parametrize("size", [8 * MEBIBYTE + 1, 100 * MEBIBYTE])
def test_a_body_that_grows_beyond_the_limit_is_refused(server: Server, size: int) -> None:
    packer = zlib.compressobj(1, wbits=31)
    body = b"".join(packer.compress(b" " * min(MEBIBYTE, size - at)) for at in range(0, size, MEBIBYTE))
    response = post(server, body + packer.flush(), "gzip")
    assert response.status_code == 413
    assert response.json()["errors"][0]["extensions"]["code"] == "PAYLOAD_TOO_LARGE"


def test_a_body_that_cannot_be_decompressed_is_a_400(server: Server) -> None:
    whole = gzip.compress(graphql(VIEWER))
    broken = {
        "nothing": b"",
        "no gzip": graphql(VIEWER),
        "its beginning": whole[:-9],
        "a wrong sum": whole[:-8] + b"\0\0\0\0" + whole[-4:],
        "more behind it": whole + b"x",
        "two of them": whole + whole,
        "noise": os.urandom(1000),
        "a head only": whole[:10],
        "blocks of nothing": zlib.compress(b"", wbits=-15)[:-2] + b"\0\0\0\xff\xff" * 100_000,
    }
    for name, body in broken.items():
        for accept in ("application/json", "application/graphql-response+json"):
            response = post(server, body, "gzip", accept)
            assert response.status_code == 400, name
            assert response.json()["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
    assert post(server, whole, "gzip").json() == ANSWER


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "gzip, identity", "gzip;q=1", "x"])
def test_another_encoding_is_a_415_that_names_those_that_are_taken(server: Server, encoding: str) -> None:
    response = post(server, gzip.compress(graphql(VIEWER)), encoding)
    assert response.status_code == 415
    assert response.headers["accept-encoding"] == "gzip, deflate"
    assert "gzip" in response.json()["errors"][0]["message"]
