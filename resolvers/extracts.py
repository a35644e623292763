"""Extractive summaries: sentences chosen verbatim, by which words a conversation goes on about.

A sentence counts by how much of the conversation's vocabulary it shares (its words' TF-IDF times those of all sentences
together, by its length); of those much alike only one is taken. It needs no language: words are those of search.
"""

import re
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from math import log, sqrt
from typing import NamedTuple

from models.words import words
from resolvers.english import STOP_WORDS

FEWEST, LINES = 4, 8
"""Sentences of a summary, at most: of a short conversation the fewer, one more for every `PER_LINE` messages. Half of
them may be of the former one."""
PER_LINE = 10
_READ = 4000
_SENTENCES = 6
_SHORTEST, _LONGEST = 20, 300
_ALIKE = 0.6

_sentence = re.compile(r"[^.!?…。！？\n]+(?:[.](?=\w)[^.!?…。！？\n]*)*[.!?…。！？]*")
# Code, and what stands in brackets, as descriptions of images do.
_aside = re.compile(r"```.*?(?:```|\Z)|\[[^\[\]\n]*\]", re.DOTALL)


class Line(NamedTuple):
    """A sentence, and the sequence of the message that it is of."""

    sequence: int
    text: str
    former: bool = False


def sentences_of(sequence: int, content: str) -> list[Line]:
    """The sentences of a message that could stand by themselves: no questions, no code, neither short nor very long."""
    text = content[:_READ]
    if "`" in text or "[" in text:
        text = _aside.sub("\n", text)
    said = map(str.strip, _sentence.findall(text))
    return [
        Line(sequence, text)
        for text in islice(said, _SENTENCES)
        if (_SHORTEST if text.isascii() else _SHORTEST // 2) <= len(text) <= _LONGEST and not text.endswith(("?", "？"))
    ]


def choose(lines: Iterable[Line], messages: int) -> list[Line]:
    """The lines of a summary of so many messages, in their order, at most one of a message; [] for too little."""
    wanted = min(LINES, max(FEWEST, messages // PER_LINE))
    candidates = list(dict.fromkeys(lines))
    bags = [frozenset(words(line.text)) - STOP_WORDS for line in candidates]
    found_in = Counter[str]()
    for bag in bags:
        found_in.update(bag)
    # Each word's weight in all sentences together: how many have it, times how rare that makes it in one, squared.
    weight = {word: count * (log((1 + len(bags)) / (1 + count)) + 1) ** 2 for word, count in found_in.items()}
    worth = [sum(map(weight.__getitem__, bag)) / sqrt(len(bag)) if bag else 0.0 for bag in bags]
    ranked = sorted(range(len(candidates)), key=lambda i: (-worth[i], candidates[i].sequence, i))
    chosen: list[int] = []
    taken: set[int] = set()
    for former, most in ((True, wanted // 2), (False, wanted)):
        for i in ranked:
            if len(chosen) >= most:
                break
            line, bag = candidates[i], bags[i]
            if line.former == former and bag and line.sequence not in taken and not _repeats(bag, chosen, bags):
                chosen.append(i)
                taken.add(line.sequence)
    return sorted((candidates[i] for i in chosen), key=lambda line: line.sequence)


def _repeats(bag: frozenset[str], chosen: list[int], bags: list[frozenset[str]]) -> bool:
    """Whether a sentence shares most of its words with one that is chosen (the cosine of both)."""
    return any(len(bag & bags[other]) > _ALIKE * sqrt(len(bag) * len(bags[other])) for other in chosen)
