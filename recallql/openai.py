"""A client of endpoints that speak OpenAI's protocol.

ModelError           there is no answer; the message names neither the machine nor the key nor what was sent
├── TryAgain         may succeed later: connection, time, 408, 409, 425, 429, 5xx; `after` seconds, if known
│   └── Malformed    an answer of another form: models and proxies make mistakes now and then
└── Rejected         will not succeed later: any other status (a wrong key, an unknown model, a redirect)
"""

import re
from asyncio import timeout
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import orjson

from models.values import JsonValue

ANSWER_BYTES = 32 * 1024 * 1024
"""The most bytes that are read of an answer."""
LONGEST_PAUSE = 3600.0
"""The most seconds that an endpoint's `Retry-After` is obeyed."""

_again = {408, 409, 425, 429}
_identifier = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class ModelError(Exception):
    """The root; see the module."""


class TryAgain(ModelError):
    def __init__(self, reason: str, *, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class Malformed(TryAgain):
    pass


class Rejected(ModelError):
    pass


class ModelEndpoint:
    """One endpoint, under its `base_url` (as `https://api.openai.com/v1`), used from one event loop; closed by `close`.

    `patience` is the timeout of a whole answer in seconds.
    """

    def __init__(
        self, base_url: str, key: str = "", *, patience: float = 60.0, answer_bytes: int = ANSWER_BYTES
    ) -> None:
        self._url = httpx.URL(base_url)
        self._key = key
        self._patience = patience
        self._largest = answer_bytes
        # No compression, so that the limit on bytes read bounds the answer itself.
        headers = {"accept": "application/json", "accept-encoding": "identity", "content-type": "application/json"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        self._client = httpx.AsyncClient(headers=headers, timeout=patience)

    async def close(self) -> None:
        await self._client.aclose()

    async def post(self, path: str, body: dict[str, Any], *, patience: float | None = None) -> dict[str, Any]:
        """The answer's JSON object; `path` is below the base, as `chat/completions`. Tries once. `patience` overrides
        the usual timeout."""
        patience = patience or self._patience
        url = self._url.copy_with(path=f"{self._url.path.rstrip('/')}/{path}")
        try:
            async with (
                timeout(patience),
                self._client.stream("POST", url, content=orjson.dumps(body)) as response,
            ):
                raw = await self._read(response)
        except TimeoutError as error:
            raise TryAgain(f"no answer within {patience:g} seconds") from error
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            raise TryAgain(f"the connection failed ({type(error).__name__})") from error
        if response.status_code != 200:
            raise self._refusal(response, raw)
        try:
            answer: JsonValue = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise Malformed("the answer is not JSON") from error
        if not isinstance(answer, dict):
            raise Malformed("the answer is not a JSON object")
        return answer

    async def _read(self, response: httpx.Response) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.aiter_raw():
            size += len(chunk)
            if size > self._largest:
                raise Malformed(f"the answer has more than {self._largest} bytes")
            chunks.append(chunk)
        return b"".join(chunks)

    def _refusal(self, response: httpx.Response, raw: bytes) -> ModelError:
        status = response.status_code
        reason = f"HTTP {status}{self._code(raw)}"
        if status in _again or status >= 500:
            return TryAgain(reason, after=_pause(response.headers.get("retry-after")))
        if response.is_redirect:
            return Rejected(f"{reason}, a redirect: give the address that it leads to")
        return Rejected(reason)

    def _code(self, raw: bytes) -> str:
        """The endpoint's own code for an error; not its message, which may repeat the key or what was sent."""
        with suppress(orjson.JSONDecodeError, KeyError, TypeError):
            error: JsonValue = orjson.loads(raw)["error"]
            code = error.get("code") or error.get("type") if isinstance(error, dict) else None
            if isinstance(code, str) and _identifier.fullmatch(code) and not (self._key and self._key in code):
                return f" ({code})"
        return ""


def _pause(header: str | None) -> float | None:
    """The seconds of a `Retry-After`, given as a number or a date; None for an invalid one."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(header).astimezone(UTC) - datetime.now(UTC)).total_seconds()
        except (ValueError, OverflowError):
            return None
    # NaN fails this comparison too.
    return min(seconds, LONGEST_PAUSE) if seconds > 0 else None
