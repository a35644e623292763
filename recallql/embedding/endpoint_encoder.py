"""Vectors by an endpoint that speaks OpenAI's protocol: one for each text."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy import float32
from numpy.typing import NDArray

from recallql.cache import LruCache
from recallql.embedding.embeddings import ASKED_CHARACTERS, QUESTIONS, TOGETHER, Unencoded
from recallql.openai import Malformed, ModelEndpoint, ModelError, Rejected
from recallql.settings import Settings
from resolvers.embeddings import WHOLE, Near, QuestionVectors
from resolvers.search.closeness import closeness, packed

LONGEST = 8_000
"""The most characters of a text that are sent: about as many as most models accept."""

PATIENCE, QUESTION_PATIENCE = 60.0, 2.0
"""Seconds that an answer may take in the background, and during a search."""

REST = 10.0
"""Seconds for which searches do without an endpoint after it has failed one."""


class EndpointEncoder:
    """Calls `report` with the current problem, or with None once the endpoint works again."""

    def __init__(self, settings: Settings, report: Callable[[str | None], None]) -> None:
        self.worth, self.together, self.rest = 0.2, TOGETHER, 0.0
        self._model, self._dimensions = settings.embeddings_model, settings.embeddings_dimensions
        self.name = f"{self._model}/{self._dimensions}" if self._dimensions else self._model
        self._endpoint = ModelEndpoint(settings.embeddings_base_url, settings.embeddings_api_key)
        self._report = report
        self._resting_until = 0.0
        self._questions: LruCache[str, QuestionVectors] = LruCache(QUESTIONS)

    async def encode_question(self, text: str) -> QuestionVectors | None:
        known = self._questions.get(text)
        if known is None and time.monotonic() >= self._resting_until:
            try:
                # In a task of its own: a request may run outside of one, and timeouts need one.
                asking = asyncio.create_task(self._ask([text[:ASKED_CHARACTERS]], patience=QUESTION_PATIENCE))
                known = QuestionVectors([WHOLE], await asking)
            except ModelError as error:
                self._resting_until = time.monotonic() + REST
                self._report(self._told(error))
            else:
                self._questions.put(text, known)
                self._report(None)
        return known

    async def encode_texts(self, texts: Sequence[str], most: int) -> list[bytes]:
        try:
            return await self._encode(texts)
        except ModelError as error:
            raise Unencoded(self._told(error), after=getattr(error, "after", None)) from error

    def closeness(self, question: QuestionVectors, kept: Sequence[bytes | None]) -> Near:
        return closeness(question, kept)

    async def close(self) -> None:
        await self._endpoint.close()

    def _told(self, error: ModelError) -> str:
        """The problem for the log and for `/ready`."""
        return f"The endpoint of the embeddings: {error}."

    async def _encode(self, texts: Sequence[str]) -> list[bytes]:
        # Most endpoints refuse an empty text.
        given = [text[:LONGEST].strip() or "." for text in texts]
        try:
            vectors = await self._ask(given)
        except Rejected:
            # Tells a fault of these texts from a fault of the endpoint.
            await self._ask(["."])
            if len(given) == 1:
                return [b""]
            return [kept for text in given for kept in await self._encode([text])]
        return [packed(vectors[place : place + 1]) for place in range(len(given))]

    async def _ask(self, texts: list[str], *, patience: float = PATIENCE) -> NDArray[float32]:
        """The vectors of texts, in rows of length 1."""
        body: dict[str, Any] = {"model": self._model, "input": texts, "encoding_format": "float"}
        if self._dimensions:
            body["dimensions"] = self._dimensions
        answer = await self._endpoint.post("embeddings", body, patience=patience)
        try:
            rows = sorted(answer["data"], key=lambda row: row["index"])
            vectors = np.array([row["embedding"] for row in rows], float32)
            whole = [row["index"] for row in rows] == list(range(len(texts)))
        except (KeyError, TypeError, ValueError) as error:
            raise Malformed("the answer has no list of vectors of one length") from error
        if not whole or vectors.ndim != 2 or not vectors.shape[1] or not np.isfinite(vectors).all():
            raise Malformed("the answer has not one vector for each text")
        if self._dimensions and vectors.shape[1] != self._dimensions:
            raise Malformed(f"the vectors have {vectors.shape[1]} numbers, not {self._dimensions}")
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not lengths.all():
            raise Malformed("a vector is nothing but zeros")
        return vectors / lengths
