"""Extractive summaries: sentences chosen verbatim, by how likely later questions ask about them.

People ask later about what somebody did and when: a sentence counts by the words for the speaker, for times, names and
numbers in it and by its length, and less by what it says of the other one. What a machine says counts less than what
people say. Of sentences much alike only one is taken. The weights are round numbers on a plateau
(`benchmarks/README.md`).
"""

import re
from collections.abc import Iterable
from datetime import date
from itertools import islice
from math import log, sqrt
from typing import NamedTuple

from models.words import words
from resolvers.formation.dates import TIME_WORDS, dated
from resolvers.search.english import STOP_WORDS

FEWEST, LINES = 4, 8
"""Sentences of a summary, at most: of a short conversation the fewer, one more for every `PER_LINE` messages. Half of
them may be of the former one."""
PER_LINE = 10
_READ = 4000
_SENTENCES = 6
_SHORTEST, _LONGEST = 20, 300
_ALIKE = 0.6

_SELF = """
i my me mine we our us ich mein meine meinen mir mich wir unser uns je j mon ma mes moi nous notre nos
yo mi mis nosotros
io mio mia miei mie noi nostro eu meu minha nós nosso ik mijn mij wij ons я мой моя мои мне меня мы наш moje mój mam
jag min mitt vi vår jeg mit ben benim biz 我 我们 我們 私 僕 俺 나 저 우리
"""
_OTHER = """
you your yours du dein deine dir dich ihr euch tu ton ta tes vous votre vos tú tus usted você
ты вы твой ваш 你 您 あなた
"""
_of_self, _of_other = frozenset(words(_SELF)), frozenset(words(_OTHER))
OF_SELF, OF_OTHER, TIME, NAME, NUMBER, LENGTH, MACHINE = 0.5, -1.0, 1.0, 0.5, 0.5, 0.5, -2.0
"""The weights of a sentence's features: each word for the speaker, for the other one, and for a time; each name, a
number, its length (the logarithm of its words), and a machine as speaker."""

_sentence = re.compile(r"[^.!?…。！？\n]+(?:[.](?=\w)[^.!?…。！？\n]*)*[.!?…。！？]*")
# Code, and text in brackets, such as descriptions of images.
_aside = re.compile(r"```.*?(?:```|\Z)|\[[^\[\]\n]*\]", re.DOTALL)
_name = re.compile(r"(?<=[^\W\d_A-Z,] )[^\W\d_a-z][^\W\d_]+")
_digit = re.compile(r"\d")


class Line(NamedTuple):
    """A sentence of a message, or a `former` line of a summary as it stands there.

    `is_machine` says that no person said it. `speaker` and `day` are who said it and when, where that is to be told.
    """

    sequence: int
    said: str
    speaker: str | None = None
    day: date | None = None
    is_machine: bool = False
    former: bool = False

    @property
    def text(self) -> str:
        """The line with its speaker, and the dates of words such as "yesterday"."""
        dates = dated(self.said, self.day) if self.day is not None else []
        speaker = f"{self.speaker}: " if self.speaker else ""
        return f"{speaker}{self.said} ({'; '.join(dates)})" if dates else f"{speaker}{self.said}"


def sentences_of(sequence: int, content: str) -> list[Line]:
    """The self-contained sentences of a message: no questions, no code, neither short nor very long."""
    text = content[:_READ]
    if "`" in text or "[" in text:
        text = _aside.sub("\n", text)
    return [
        Line(sequence, said)
        for said in islice(map(str.strip, _sentence.findall(text)), _SENTENCES)
        if (_SHORTEST if said.isascii() else _SHORTEST // 2) <= len(said) <= _LONGEST and not said.endswith(("?", "？"))
    ]


def choose(lines: Iterable[Line], messages: int) -> list[Line]:
    """The lines of a summary, in order, at most one per message; [] if there is too little."""
    wanted = min(LINES, max(FEWEST, messages // PER_LINE))
    candidates = list(dict.fromkeys(lines))
    said = [frozenset(words(line.said)) for line in candidates]
    worth = [_worth(line, own) for line, own in zip(candidates, said, strict=True)]
    bags = [own - STOP_WORDS for own in said]
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


def _worth(line: Line, said: frozenset[str]) -> float:
    """A score for how likely a later question asks about a sentence; only the order of scores matters."""
    return (
        OF_SELF * min(3, len(_of_self & said))
        + OF_OTHER * min(2, len(_of_other & said))
        + TIME * min(2, len(TIME_WORDS & said))
        + NAME * min(2, len(_name.findall(line.said)))
        + NUMBER * (_digit.search(line.said) is not None)
        + LENGTH * min(3.5, log(1 + len(said)))
        + MACHINE * line.is_machine
    )


def _repeats(bag: frozenset[str], chosen: list[int], bags: list[frozenset[str]]) -> bool:
    """True if a sentence shares most of its words with a chosen one (by their cosine)."""
    return any(len(bag & bags[other]) > _ALIKE * sqrt(len(bag) * len(bags[other])) for other in chosen)


_beginning = re.compile(r"[^\W\d_][^:\n]{0,99}: ")
_dates = re.compile(r" \([^()\n]*: \d{4}[^()\n]*\)$")


def sentence_in(line: str) -> str:
    """The sentence in a line of a summary, without its speaker and dates."""
    return _dates.sub("", _beginning.sub("", line, count=1))
