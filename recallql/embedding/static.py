"""Static vectors: one for each piece of a word, whatever stands around it; search by them costs next to nothing.

They are those that all-MiniLM-L6-v2 begins with, cut to their 256 principal components. A text is kept as the numbers
of its pieces, which have their vectors in the model's file: about 40 bytes for a short message. A search compares each
word of the question with the nearest word of a text, and the sum of the question with the sum of the text.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy import float32
from numpy.typing import NDArray

from models.words import words
from recallql.cache import LruCache
from recallql.embedding.embeddings import ASKED_CHARACTERS, QUESTIONS, step_back
from recallql.embedding.minilm import mapped
from recallql.embedding.model_files import STATIC, VECTORS, VOCABULARY
from recallql.embedding.wordpiece import WordPiece
from resolvers.embeddings import WHOLE, Near, QuestionVectors
from resolvers.search.english import STOP_WORDS
from resolvers.search.questions import LARGEST_QUESTION

WIDTH = 256
"""The numbers of a vector."""

COMMON = 1e-3
"""A piece counts half in a sum where it is this frequent (as in SIF, "A simple but tough-to-beat baseline")."""

PIECES = 24
"""The pieces of a text that are kept in the place of one vector of the local model; the rarest if it has more."""

FINE, PRECISION, SUMMED = 1024, 100, 1 << 20
"""The parts that a number of the question, the length of a sum, and a summand are cut into: whole numbers add up to the
same in any order, and a page must not differ from the one before by a rounding."""

TOGETHER = 65_536
"""Pieces that are compared at once."""


def make_vectors(weights: Path, target: Path) -> None:
    """Makes the file of the vectors: for each piece a row of length 1, in bytes."""
    words = np.array(mapped(weights)["embeddings.word_embeddings.weight"])
    words -= words.mean(0)
    _, components = np.linalg.eigh(np.cov(words.T))
    vectors = words @ components[:, : -WIDTH - 1 : -1].astype(float32)
    vectors *= 127 / np.maximum(np.abs(vectors).max(1, keepdims=True), float32(1e-6))
    np.save(target, np.rint(vectors).astype(np.int8))


class StaticEncoder:
    """Encodes by the vectors in a folder; its files have been checked (`recallql.embedding.model_files`)."""

    name = f"{STATIC.name.lower()}/1"
    worth = 0.2
    together = 500
    # The encoder works a tenth of the time. It holds the interpreter's lock, and requests come first.
    rest = 9.0

    def __init__(self, folder: Path) -> None:
        self._tokens = WordPiece((folder / VOCABULARY).read_text("utf-8").split("\n"))
        # Mapped, and shared by all processes.
        self._vectors: NDArray[np.int8] = np.asarray(np.load(folder / VECTORS, mmap_mode="r"))
        size = len(self._vectors)
        lengths = [np.linalg.norm(self._vectors[start : start + 1024], axis=1) for start in range(0, size, 1024)]
        self._lengths = np.maximum(np.concatenate(lengths), 1).astype(float32)
        # The vocabulary begins with the most frequent pieces: the n-th of N has a frequency of about 1 / (n ln N).
        frequency = 1 / (np.arange(1, size + 1) * np.log(size))
        self._weights = (COMMON / (COMMON + frequency)).astype(float32)
        self._background = ThreadPoolExecutor(1, thread_name_prefix="recallql-encoder", initializer=step_back)
        self._questions: LruCache[str, QuestionVectors] = LruCache(QUESTIONS)

    async def encode_question(self, text: str) -> QuestionVectors | None:
        known = self._questions.get(text)
        if known is None:
            said = _words(text[:ASKED_CHARACTERS])
            pieces = [(word, piece) for word in said for piece in self._pieces_of(word)][: LARGEST_QUESTION - 1]
            if not pieces:
                return None
            numbers = np.array([piece for _, piece in pieces])
            vectors = np.concatenate([self._vectors[numbers].astype(float32), self._sum(numbers)[None]])
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), float32(1e-6))
            known = QuestionVectors([*(word for word, _ in pieces), WHOLE], vectors)
            self._questions.put(text, known)
        return known

    async def encode_texts(self, texts: Sequence[str], most: int) -> list[bytes]:
        def encode() -> list[bytes]:
            return [self._kept(text, most * PIECES) for text in texts]

        return await asyncio.get_running_loop().run_in_executor(self._background, encode)

    def closeness(self, question: QuestionVectors, kept: Sequence[bytes | None]) -> Near:
        found = np.full((len(kept), len(question.words)), np.nan, float32)
        counts = np.array([len(one) // 2 - 1 if one and not len(one) % 2 else 0 for one in kept])
        has = np.flatnonzero(counts > 0)
        asked = np.rint(question.vectors * FINE)
        start = 0
        while start < len(has):
            # As many texts as have so many pieces, but one at least.
            end = start + max(1, int(np.searchsorted(np.cumsum(counts[has[start:]]), TOGETHER, "right")))
            some: list[int] = has[start:end].tolist()
            found[some] = self._compared(asked, [kept[place] for place in some], counts[some])
            start = end
        lengths = np.log2(counts, out=np.full(len(kept), np.nan), where=counts > 0)
        return Near(found, lengths)

    async def close(self) -> None:
        self._background.shutdown(wait=False, cancel_futures=True)

    def _pieces_of(self, word: str) -> tuple[int, ...]:
        """The pieces of a word; none of one in a script that the model does not know."""
        pieces = self._tokens.pieces(word)
        return () if self._tokens.unknown in pieces else pieces

    def _sum(self, numbers: NDArray[np.int_]) -> NDArray[float32]:
        """The sum of the vectors of pieces, of length 1 and weighted by how rare they are."""
        return (self._weights[numbers] / self._lengths[numbers]) @ self._vectors[numbers].astype(float32)

    def _kept(self, text: str, most: int) -> bytes:
        """The stored form of a text: the length of its sum, then the numbers of its pieces, two bytes each."""
        pieces = {piece for word in set(_words(text)) for piece in self._pieces_of(word)}
        if not pieces:
            return b""
        numbers = np.array(sorted(pieces)[-most:])
        of_sum = self._sum(numbers)
        length = round(PRECISION * float(of_sum @ of_sum) ** 0.5)
        return np.array([min(max(1, length), 65_535), *numbers], "<u2").tobytes()

    def _compared(
        self, asked: NDArray[float32], kept: Sequence[bytes | None], counts: NDArray[np.int_]
    ) -> NDArray[float32]:
        """For each text and vector of the question the nearest piece's cosine; for the last, the cosine of the sums."""
        raw = np.frombuffer(b"".join(one for one in kept if one), "<u2")
        starts = np.concatenate(([0], np.cumsum(counts + 1)[:-1]))
        lengths = raw[starts] / PRECISION
        is_piece = np.ones(len(raw), bool)
        is_piece[starts] = False
        pieces = raw[is_piece]
        firsts = starts - np.arange(len(starts))
        # Each piece is compared once, however many texts have it. Of damaged numbers nothing is near.
        used = np.zeros(65_536, bool)
        used[pieces] = True
        used[len(self._vectors) :] = False
        numbers = np.flatnonzero(used)
        near = np.zeros((len(asked), len(numbers) + 1), float32)
        near[:, 1:] = asked @ self._vectors[numbers].astype(float32).T / (self._lengths[numbers] * FINE)
        place = np.zeros(65_536, np.intp)
        place[numbers] = np.arange(1, len(numbers) + 1)
        where = place[pieces]
        summands = np.zeros(len(numbers) + 1, np.int64)
        summands[1:] = np.rint(near[-1, 1:] * self._weights[numbers] * SUMMED)
        found = np.empty((len(kept), len(asked)), float32)
        for number, of_word in enumerate(near[:-1]):
            found[:, number] = np.maximum.reduceat(of_word[where], firsts)
        found[:, -1] = np.add.reduceat(summands[where], firsts) / (SUMMED * lengths)
        return found


def _words(text: str) -> list[str]:
    """The words of a text that matter, in order: no stop words, unless there is nothing else."""
    said = words(text)
    return [word for word in said if word not in STOP_WORDS] or said
