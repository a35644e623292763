"""The model all-MiniLM-L6-v2, run by numpy: a vector for each word of a text, in its context.

A BERT of six layers. Its weights are not copied into memory but mapped from the file, and shared by all processes.
Takes about 9 ms of one core for a message of 35 tokens.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy import float32
from numpy.typing import NDArray

from recallql.embedding.wordpiece import WordPiece, split
from resolvers.search.english import STOP_WORDS

LAYERS, HEADS, WIDTH = 6, 12, 384

WINDOW = 254
"""Tokens of one window; with the markers of its start and end 256, the length that the model was trained on."""

LONGEST = 8
"""The most windows of a text that are encoded; the rest is found by its words alone."""

TOGETHER = 512
"""The most tokens of several texts that go through the layers together; more gain nothing."""

Floats = NDArray[float32]


class Meanings(NamedTuple):
    """The words of a text that matter, each with its vector of length 1, in rows. A word of several pieces has a row
    for each."""

    words: list[str]
    vectors: Floats


class Layer(NamedTuple):
    query: Floats
    query_bias: Floats
    key: Floats
    key_bias: Floats
    value: Floats
    value_bias: Floats
    attended: Floats
    attended_bias: Floats
    attended_scale: Floats
    attended_shift: Floats
    inner: Floats
    inner_bias: Floats
    outer: Floats
    outer_bias: Floats
    outer_scale: Floats
    outer_shift: Floats


_PARTS = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)


class MiniLM:
    """The model whose files are in a folder; these have been checked (`recallql.embedding.model_files`)."""

    def __init__(self, folder: Path) -> None:
        weights = mapped(folder / "model.safetensors")
        self._tokens = WordPiece((folder / "vocab.txt").read_text("utf-8").split("\n"))
        self._words = weights["embeddings.word_embeddings.weight"]
        self._places = (
            weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
        )
        self._scale = weights["embeddings.LayerNorm.weight"]
        self._shift = weights["embeddings.LayerNorm.bias"]
        self._layers = [
            Layer(*(weights[f"encoder.layer.{n}.{part}.{of}"] for part in _PARTS for of in ("weight", "bias")))
            for n in range(LAYERS)
        ]

    def encode(self, texts: Sequence[str]) -> list[Meanings]:
        """Returns the words that matter in each text: no stop words or punctuation, unless there is nothing else."""
        windows: list[tuple[int, list[int], list[str]]] = []
        for number, text in enumerate(texts):
            pieces: list[int] = []
            words: list[str] = []
            for word in split(text):
                of_word = self._tokens.pieces(word)
                pieces += of_word
                words += [word] * len(of_word)
                if len(pieces) >= LONGEST * WINDOW:
                    break
            windows += [
                (number, pieces[start : start + WINDOW], words[start : start + WINDOW])
                for start in range(0, min(len(pieces), LONGEST * WINDOW), WINDOW)
            ]
        found: dict[int, list[tuple[int, list[str], Floats]]] = {}
        # Texts of similar length go together; the order is restored below.
        order = sorted(range(len(windows)), key=lambda place: len(windows[place][1]))
        while order:
            batch = [order.pop()]
            size = len(windows[batch[0]][1])
            while order and size + len(windows[order[-1]][1]) <= TOGETHER:
                size += len(windows[order[-1]][1])
                batch.append(order.pop())
            through = self._run([[self._tokens.begin, *windows[place][1], self._tokens.end] for place in batch])
            for place, vectors in zip(batch, through, strict=True):
                number, _, words = windows[place]
                found.setdefault(number, []).append((place, words, vectors[1:-1]))
        return [_meanings(sorted(found.get(number, ()), key=lambda w: w[0])) for number in range(len(texts))]

    def _run(self, texts: Sequence[Sequence[int]]) -> list[Floats]:
        """The last layer's vectors for the tokens of each text. The texts go through the layers concatenated, and only
        attention keeps them apart, so that nothing is padded."""
        ends = np.cumsum([len(text) for text in texts]).tolist()
        bounds = list(zip([0, *ends[:-1]], ends, strict=True))
        x = self._words[np.concatenate([np.asarray(text) for text in texts])]
        x = x + np.concatenate([self._places[: len(text)] for text in texts])
        x = _normalised(x, self._scale, self._shift)
        for layer in self._layers:
            query = _linear(x, layer.query, layer.query_bias)
            query *= float32((WIDTH / HEADS) ** -0.5)
            key, value = _linear(x, layer.key, layer.key_bias), _linear(x, layer.value, layer.value_bias)
            attended = np.empty_like(x)
            for start, end in bounds:
                q, k, v = (part[start:end].reshape(end - start, HEADS, -1) for part in (query, key, value))
                shares = np.matmul(q.transpose(1, 0, 2), k.transpose(1, 2, 0))
                shares -= shares.max(-1, keepdims=True)
                np.exp(shares, out=shares)
                shares /= shares.sum(-1, keepdims=True)
                attended[start:end] = np.matmul(shares, v.transpose(1, 0, 2)).transpose(1, 0, 2).reshape(-1, WIDTH)
            y = _linear(attended, layer.attended, layer.attended_bias)
            y += x
            x = _normalised(y, layer.attended_scale, layer.attended_shift)
            y = _linear(_gelu(_linear(x, layer.inner, layer.inner_bias)), layer.outer, layer.outer_bias)
            y += x
            x = _normalised(y, layer.outer_scale, layer.outer_shift)
        return [x[start:end] for start, end in bounds]


def _meanings(windows: Sequence[tuple[int, list[str], Floats]]) -> Meanings:
    words = [word for _, said, _ in windows for word in said]
    if not words:
        return Meanings([], np.empty((0, WIDTH), float32))
    vectors = np.concatenate([vectors for _, _, vectors in windows])
    said = [place for place, word in enumerate(words) if any(c.isalnum() for c in word)]
    kept = [place for place in said if words[place] not in STOP_WORDS] or said
    vectors = vectors[kept]
    return Meanings([words[place] for place in kept], vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def mapped(path: Path) -> dict[str, Floats]:
    """The tensors of a safetensors file: eight bytes that say how long the header is, JSON, then the numbers."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError("no safetensors file")
        header: dict[str, Any] = json.loads(file.read(length))
    numbers = np.memmap(path, np.uint8, "r", offset=8 + length)
    found: dict[str, Floats] = {}
    for name, tensor in header.items():
        if tensor.get("dtype") == "F32":
            start, end = tensor["data_offsets"]
            # An ordinary array: every operation on it is faster than on a subclass.
            found[name] = np.asarray(numbers[start:end]).view(float32).reshape(tensor["shape"])
    return found


def _linear(x: Floats, weight: Floats, bias: Floats) -> Floats:
    y = x @ weight.T
    y += bias
    return y


def _normalised(x: Floats, scale: Floats, shift: Floats) -> Floats:
    """Each row with mean 0 and deviation 1, then scaled and shifted; changes `x`."""
    x -= x.mean(1, keepdims=True)
    x *= (1 / np.sqrt(np.einsum("ij,ij->i", x, x) / float32(WIDTH) + float32(1e-12)))[:, None]
    x *= scale
    x += shift
    return x


def _gelu(x: Floats) -> Floats:
    """The Gaussian error linear unit by the hyperbolic tangent, which numpy has; within .0005 of the exact one."""
    y = x * x
    y *= float32(0.044715 * 0.7978845608)
    y += float32(0.7978845608)
    y *= x
    np.tanh(y, out=y)
    y += 1
    y *= x
    y *= float32(0.5)
    return y
