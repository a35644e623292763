"""A client of RecallQL for the back end, as docs/chatbot.md has it."""

from typing import Any

import httpx


class RecallError(Exception):
    """RecallQL has refused a request, or can't be reached; the message says which."""


class Recall:
    """Sends operations with a credential: the back end's API key, or the token of the user who asks."""

    def __init__(self, endpoint: str, key: str) -> None:
        self.endpoint = endpoint
        self._key = key
        # The environment's proxies are for other machines than this one.
        self._client = httpx.AsyncClient(trust_env=False, timeout=30)

    async def __call__(self, query: str, credential: str | None = None, **variables: Any) -> dict[str, Any]:
        """The data of an answer; raises for `errors` and for `userErrors`."""
        try:
            response = await self._client.post(
                self.endpoint,
                json={"query": query, "variables": variables},
                headers={"authorization": f"Bearer {credential or self._key}"},
            )
            answer: dict[str, Any] = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise RecallError("RecallQL can't be reached.") from error
        data: dict[str, Any] = answer.get("data") or {}
        refused = [each for payload in data.values() if payload for each in payload.get("userErrors", [])]
        if errors := [*answer.get("errors", []), *refused]:
            raise RecallError("; ".join(error["message"] for error in errors))
        return data

    async def aclose(self) -> None:
        await self._client.aclose()
