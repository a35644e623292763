"""The client of model endpoints, against a server that speaks their protocol."""

import asyncio
import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from recallql.openai import LONGEST_PAUSE, Malformed, ModelEndpoint, ModelError, Rejected, TryAgain
from tests.model_server import ModelServer, Reply

KEY = "sk-0123456789abcdef"


@pytest.fixture
def model() -> Iterator[ModelServer]:
    running = ModelServer()
    yield running
    running.close()


def post(model: ModelServer, path: str = "chat/completions", *, base: str = "", **options: Any) -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        endpoint = ModelEndpoint(base or model.url, KEY, **options)
        try:
            return await endpoint.post(path, {"model": "small", "messages": [], "input": ["a word", "another"]})
        finally:
            await endpoint.close()

    return asyncio.run(run())


def test_the_answer_is_the_json_object_and_the_key_goes_along(model: ModelServer) -> None:
    model.chat = lambda body: "hello"
    assert post(model)["choices"][0]["message"]["content"] == "hello"
    assert len(post(model, "embeddings")["data"]) == 2
    asked = model.asked[0]
    assert (asked.path, asked.headers["authorization"]) == ("/v1/chat/completions", f"Bearer {KEY}")


def test_a_base_keeps_its_query_and_may_end_with_a_slash(model: ModelServer) -> None:
    with pytest.raises(Rejected):
        post(model, base=f"{model.url}/?api-version=1")
    assert model.asked[0].path == "/v1/chat/completions?api-version=1"


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_what_may_go_better_is_told_from(model: ModelServer, status: int) -> None:
    model.next.append(Reply(status))
    with pytest.raises(TryAgain, match=f"HTTP {status}"):
        post(model)


@pytest.mark.parametrize("status", [201, 301, 307, 400, 401, 402, 403, 404, 413, 422])
def test_what_will_not_go_better(model: ModelServer, status: int) -> None:
    model.next.append(Reply(status, headers={"location": f"{model.url}/chat/completions"}))
    with pytest.raises(Rejected, match=f"HTTP {status}"):
        post(model)
    assert len(model.asked) == 1


def test_a_pause_is_taken_from_retry_after(model: ModelServer) -> None:
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    said = ["7", "0.5", in_a_minute, "100000000", "-1", "soon", "nan", "", "Fri, 99 Foo 2026"]
    for value in said:
        model.next.append(Reply(429, headers={"retry-after": value}))
    pauses = []
    for _ in said:
        with pytest.raises(TryAgain) as caught:
            post(model)
        pauses.append(caught.value.after)
    assert pauses[:2] == [7.0, 0.5]
    assert 50 < pauses[2] <= 60
    assert pauses[3:] == [LONGEST_PAUSE, None, None, None, None, None]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{", b"<html>", b"\xff\xfe", b"[" * 100_000, gzip.compress(b"{}", mtime=0)]
)
def test_an_answer_that_is_no_json_object_is_malformed(model: ModelServer, body: bytes) -> None:
    model.next.append(Reply(body=body, headers={"content-encoding": "gzip"} if body[:1] == b"\x1f" else {}))
    with pytest.raises(Malformed):
        post(model)


def test_an_answer_is_read_up_to_a_limit(model: ModelServer) -> None:
    model.next.append(Reply(body=b" " * 70_000))
    with pytest.raises(Malformed, match="more than 65536 bytes"):
        post(model, answer_bytes=65_536)


def test_a_slow_or_broken_endpoint_is_given_up(model: ModelServer) -> None:
    model.next += [Reply(pause=0.5), Reply(body=None)]
    with pytest.raises(TryAgain, match=r"within 0\.1 seconds"):
        post(model, patience=0.1)
    with pytest.raises(TryAgain, match="connection"):
        post(model)
    with pytest.raises(TryAgain, match="connection") as caught:
        post(model, base="http://127.0.0.1:1/v1")
    assert "127.0.0.1" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"},
        {"message": "my name is Ada", "type": "invalid_api_key"},
        {"message": "no", "code": KEY},
        {"message": "no", "code": "my name is Ada"},
        f"Incorrect API key: {KEY}",
    ],
)
def test_an_error_tells_the_endpoints_code_and_nothing_of_what_was_sent(model: ModelServer, error: Any) -> None:
    model.next.append(Reply(401, json.dumps({"error": error}).encode()))
    with pytest.raises(ModelError) as caught:
        post(model)
    assert str(caught.value) in ("HTTP 401 (invalid_api_key)", "HTTP 401")
