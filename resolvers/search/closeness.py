"""Closeness: the similarity of a text's vectors to a question's. Only imported with a model, since it needs numpy.

Late interaction (MaxSim): each vector of the question looks for the vector of the text that is nearest to it. How near
that is means little by itself, for common words have something near in every text; so it is judged by how much nearer
it is than usual, in standard deviations over all the texts, and a word counts by how rare it is. A long text has
something near by chance, which is taken off.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy import float32
from numpy.typing import NDArray

from models.stemming import term_of
from resolvers.embeddings import WHOLE, Near, QuestionVectors
from resolvers.search.ranking import Usual

TOGETHER = 512
"""Vectors that are unpacked at once: more leave the processor's cache."""

PRECISION = 1024
"""The parts that a number of the question's vectors is cut into."""

POOLED_FROM, POOLED_BY, ROUNDS = 14, 4, 4
"""The number of vectors of a text that are kept as they are (of the others one in four), and of k-means rounds."""

LEAST = 30
"""Texts that the usual closeness is made of, at least; where there are fewer the model's own is counted in."""

USUAL, SPREAD, LEAST_SPREAD = 0.2, 0.1, 0.001
"""The assumed usual closeness, if there are no texts to measure it with."""


OF_WORDS = 0.25
"""The weight of the `WHOLE` beside the words of a question: a share of theirs together."""

LONGER = 0.3
"""Standard deviations that a text of twice the length is nearer by chance."""


def pooled(vectors: NDArray[float32], most: int) -> NDArray[float32]:
    """Pools vectors into at most `most` unit vectors: means of those that are near one another.

    The words of a text are similar, so that little is lost; by measurement it is even a gain (`benchmarks/README.md`).
    """
    wanted = min(most, POOLED_FROM + max(0, len(vectors) - POOLED_FROM) // POOLED_BY)
    if len(vectors) <= wanted:
        return vectors
    means = vectors[np.linspace(0, len(vectors) - 1, wanted).astype(int)]
    for _ in range(ROUNDS):
        nearest = np.argmax(vectors @ means.T, axis=1)
        sums = np.zeros_like(means)
        np.add.at(sums, nearest, vectors)
        # A centre without members stays unchanged, as does one whose members cancel out.
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        means = np.where(lengths > 0, sums / np.maximum(lengths, float32(1e-6)), means)
    return means


def packed(vectors: NDArray[float32]) -> bytes:
    """Vectors as they are kept: the sign of each number, a bit for it; in whole bytes for each vector."""
    return np.packbits(vectors > 0, axis=1).tobytes()


def closeness(question: QuestionVectors, kept: Sequence[bytes | None]) -> Near:
    """The closeness of each text's `packed` vectors to the question's."""
    # Whole numbers add up to the same in any order, and a page must not differ from the one before by a rounding.
    asked = np.rint(question.vectors * PRECISION)
    width = -(-asked.shape[1] // 8)
    if asked.shape[1] % 8:
        asked = np.pad(asked, ((0, 0), (0, -asked.shape[1] % 8)))
    # Of another width is what was damaged, or made by a model that has changed under its name.
    single = question.words == [WHOLE]
    counts = [
        0 if not vectors or len(vectors) % width or (single and len(vectors) != width) else len(vectors) // width
        for vectors in kept
    ]
    raw = np.frombuffer(b"".join(v for v, n in zip(kept, counts, strict=True) if n and v), np.uint8).reshape(-1, width)
    every = np.empty((len(raw), len(asked)), float32)
    turned = np.ascontiguousarray(asked.T)
    for start in range(0, len(raw), TOGETHER):
        some = np.unpackbits(raw[start : start + TOGETHER], axis=1).astype(float32)
        np.matmul(some, turned, out=every[start : start + TOGETHER])
    # A bit says 0 or 1, and stands for -1 or 1.
    every *= 2
    every -= turned.sum(0)
    every /= float32(PRECISION * np.sqrt(question.vectors.shape[1]))
    found = np.full((len(kept), len(asked)), np.nan, float32)
    lengths = np.array(counts, np.float64)
    has = lengths > 0
    if len(every):
        ends = np.cumsum(counts)[has]
        found[has] = np.maximum.reduceat(every, np.concatenate(([0], ends[:-1])), axis=0)
    return Near(found, np.log2(lengths, out=np.full(len(kept), np.nan), where=has))


def usual(near: Sequence[Near]) -> tuple[list[float], list[float], float]:
    """For each vector of the question the mean of its closeness to all texts, and the standard deviation; and the mean
    length."""
    every = np.concatenate([one.cosines for one in near])
    lengths = np.concatenate([one.lengths for one in near])
    lengths = lengths[~np.isnan(lengths)]
    every = every[~np.isnan(every[:, 0])].astype(np.float64)
    missing = max(0, LEAST - len(every))
    count = len(every) + missing
    means = (every.sum(0) + missing * USUAL) / count
    squares = ((every - means) ** 2).sum(0) + missing * (SPREAD**2 + (USUAL - means) ** 2)
    deviations = np.maximum(np.sqrt(squares / count), LEAST_SPREAD)
    length = round(float(lengths.mean()), 4) if len(lengths) else 0.0
    return [round(mean, 4) for mean in means.tolist()], [round(d, 4) for d in deviations.tolist()], length


def weigh(words: Sequence[str], weights: Mapping[str, float]) -> list[float]:
    """The weight of each vector of a question, given how rare the terms are: equal ones if none of them is known."""
    each = [0.0 if word == WHOLE else weights.get(term_of(word), 0.0) for word in words]
    if not any(each):
        each = [float(word != WHOLE) for word in words]
    whole = OF_WORDS * sum(each) or 1.0
    return [whole if word == WHOLE else weight for word, weight in zip(words, each, strict=True)]


def unusual(near: Near, weights: Sequence[float], by: Usual) -> list[float]:
    """For each text by how much it is nearer than usual, in standard deviations; 0 for a text without vectors.

    `weights` says how much each vector of the question counts.
    """
    weight = np.array(weights)
    scores = ((near.cosines - np.array(by.means)) / np.array(by.deviations) * (weight / weight.sum())).sum(1)
    return np.nan_to_num(scores - LONGER * (near.lengths - by.length)).tolist()
