"""Extractive summaries: sentences chosen verbatim, by which words a conversation goes on about.

A sentence counts by how much of the conversation's vocabulary it shares (the cosine of its words' TF-IDF with those of
all sentences together); of those much alike only one is taken. It needs no language: words are those of search.
"""

import re
from collections import Counter
from collections.abc import Iterable
from math import log, sqrt
from typing import NamedTuple

from models.words import words
from resolvers.english import STOP_WORDS

LINES = 8
"""Sentences of a summary, at most; half of them may be of the former one."""
_READ = 4000
_SENTENCES = 12
_SHORTEST, _LONGEST = 20, 300
_ALIKE = 0.6

_sentence = re.compile(r"[^.!?…。！？\n]+(?:[.](?=\w)[^.!?…。！？\n]*)*[.!?…。！？]*")
_code = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_unspaced_end = "。！？"


class Line(NamedTuple):
    """A sentence, and the sequence of the message that it is of."""

    sequence: int
    text: str
    former: bool = False


def sentences_of(sequence: int, content: str) -> list[Line]:
    """The sentences of a message that could stand by themselves: no questions, no code, neither short nor very long."""
    said = [found[0].strip() for found in _sentence.finditer(_code.sub("\n", content[:_READ]))]
    return [
        Line(sequence, text)
        for text in said[:_SENTENCES]
        if (_SHORTEST if text.isascii() else _SHORTEST // 2) <= len(text) <= _LONGEST and not text.endswith(("?", "？"))
    ]


def choose(lines: Iterable[Line]) -> list[Line]:
    """The lines of a summary in the order of the conversation, at most one of a message; [] for too little."""
    candidates = list(dict.fromkeys(lines))
    bags = [Counter(word for word in words(line.text) if word not in STOP_WORDS) for line in candidates]
    found_in = Counter(word for bag in bags for word in bag)
    rarity = {word: log((1 + len(bags)) / (1 + count)) + 1 for word, count in found_in.items()}
    vectors = [_normal({word: (1 + log(count)) * rarity[word] for word, count in bag.items()}) for bag in bags]
    centre: dict[str, float] = {}
    for vector in vectors:
        for word, weight in vector.items():
            centre[word] = centre.get(word, 0.0) + weight
    centre = _normal(centre)
    # The longer one of two that say as much is worth less; of equal ones the earlier goes first.
    worth = [_cosine(vector, centre) for vector in vectors]
    ranked = sorted(range(len(candidates)), key=lambda i: (-worth[i], candidates[i].sequence, i))
    chosen: list[int] = []
    for former in (True, False):
        most = LINES // 2 if former else LINES
        for i in ranked:
            if len(chosen) >= most:
                break
            line = candidates[i]
            if line.former == former and vectors[i] and _is_new(i, chosen, candidates, vectors):
                chosen.append(i)
    return sorted((candidates[i] for i in chosen), key=lambda line: line.sequence)


def _is_new(i: int, chosen: list[int], lines: list[Line], vectors: list[dict[str, float]]) -> bool:
    return all(
        lines[i].sequence != lines[other].sequence and _cosine(vectors[i], vectors[other]) < _ALIKE for other in chosen
    )


def _normal(vector: dict[str, float]) -> dict[str, float]:
    length = sqrt(sum(weight * weight for weight in vector.values()))
    return {word: weight / length for word, weight in vector.items()} if length else {}


def _cosine(one: dict[str, float], other: dict[str, float]) -> float:
    if len(one) > len(other):
        one, other = other, one
    return sum(weight * other[word] for word, weight in one.items() if word in other)
