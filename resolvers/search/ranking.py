"""Ranking: scores how well texts answer a question, independent of their storage.

BM25 over each turn together with its neighbours, in which a word counts less the further away it stands; a little for
every word of the question that the session has; and what the sentence says besides: who spoke, when, and that it asks
for a time. Where a model has said how near each text comes to the question (see `resolvers.search.closeness`), that
counts too, of a turn and its neighbours. The weights are round numbers on a plateau, the same for all data
(`benchmarks/README.md`).
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import log
from typing import NamedTuple

from models.stemming import LONGEST_STEMMED, term_of
from models.words import spaced
from resolvers.search.english import TIME_WORDS
from resolvers.search.questions import Question, beginning, nearness

SATURATION, LENGTH_SHARE = 1.2, 0.5
"""BM25's k1 and b."""

NEIGHBOURS = {-2: 0.25, -1: 0.5, 1: 0.4, 2: 0.2}
"""The weight of a word by its distance in turns, before or after."""

BRIEF = 300
"""Characters of a turn up to which the words of its neighbours count in full. A longer one says itself what it is
about: they count as much less as it is longer."""

ASIDE, MOST_ASIDE = 0.25, 0.5
"""The weight of a word in an aside (such as a tool call or result), and its maximum if repeated often; the maximum is
also the weight of a turn that has only an aside."""

SESSION, SPEAKER, ROLE, DATE = 0.2, 0.3, 0.15, 0.3
NAMES_TIME, IS_QUESTION = 1.2, 0.9

HALF_IDEAL = 0.5
"""The share of the ideal score by words that closeness is measured by where no text reaches it: the less the words say,
the more it counts."""

WIDER = 1.5
"""The weight of the rest of the sentence when closeness counts too, which spreads the scores."""

CLOSE_NEIGHBOURS = {-2: 0.1, -1: 0.3, 1: 0.2, 2: 0.1}
"""The weight of the closeness of a neighbouring text by its distance in turns."""

CLOSE_ENOUGH = 1.0
"""Standard deviations that make a text a result which shares no word with the question."""

LEAST_OF_WORDS = 0.1
"""The least share of a score by words that remains, however far the text is from the question."""


LONGEST_QUESTION = 120
"""Characters of a turn that may only ask something. A longer one that ends with a question says something, too."""


class Turn(NamedTuple):
    """The features of a text for ranking: its length in characters, its speaker and time, and flags for a text that
    says when something happened, asks a question, or is only an aside.

    Turns of the same `thread` are neighbours by their positions, which are 0 where there are no neighbours.
    """

    thread: bytes
    position: int
    length: int
    speaker: str | None
    role: str | None
    created_at: str
    says_when: bool = False
    is_question: bool = False
    is_aside: bool = False

    @property
    def location(self) -> tuple[bytes, int]:
        """Its thread and position: where its object is read."""
        return self[:2]


def turn_of(
    text: str,
    question: Question,
    thread: bytes,
    position: int,
    *,
    speaker: str | None = None,
    role: str | None = None,
    created_at: str = "0001-01-01",
) -> Turn:
    """Extracts the features of a text for ranking."""
    says_when = question.asks_when and not TIME_WORDS.isdisjoint(spaced(text).split())
    is_question = len(text) <= LONGEST_QUESTION and text.rstrip().endswith("?")
    return Turn(thread, position, len(text), speaker, role, created_at, says_when, is_question)


class Usual(NamedTuple):
    """The statistics of closeness: the model; the number up to which each kind's texts had vectors, and the exceptions;
    the mean and the deviation for each vector of the question; and the mean length of texts (see
    `resolvers.search.closeness`)."""

    model: str
    through: list[int]
    late: list[list[int]]
    means: list[float]
    deviations: list[float]
    length: float


@dataclass(frozen=True)
class Statistics:
    """The statistics of all texts together that a ranking uses.

    Kept in cursors: with the same statistics a turn has the same score, whatever comes or goes elsewhere.
    `frequencies` says for each term of the question in how many of `count` texts it stands, `lengths` is the mean
    length of each kind's texts in characters, `best` the highest score by words; `usual` is None without a model.
    """

    count: int
    frequencies: Sequence[int]
    lengths: Sequence[float]
    best: float | None = None
    usual: Usual | None = None

    def weights(self) -> list[float]:
        """The inverse document frequency of each term."""
        return [log(1 + (max(self.count, n) - n + 0.5) / (n + 0.5)) for n in self.frequencies]


def occurrences(texts: Sequence[str], terms: Mapping[str, object]) -> list[dict[int, int]]:
    """For each term the texts that have it, and its number of occurrences in each.

    The texts are looked through as one long string for the beginnings of words, which is faster than taking all of them
    apart; only what begins right is stemmed.
    """
    whole = f" {' '.join(texts)} "
    plain = texts
    if whole.isascii():
        # Every character stays where it was.
        whole = spaced(whole)
    else:
        plain = [spaced(text) for text in texts]
        whole = f" {' '.join(plain)} "
    starts = list(accumulate((len(text) + 1 for text in plain), initial=0))
    found: list[dict[int, int]] = []
    for term in terms:
        counts: dict[int, int] = {}
        needle = f" {beginning(term)}"
        at = whole.find(needle)
        while at >= 0:
            end = whole.find(" ", at + len(needle))
            word = whole[at + 1 : end]
            if (term_of(word) if len(word) <= LONGEST_STEMMED else word) == term:
                index = bisect_right(starts, at) - 1
                counts[index] = counts.get(index, 0) + 1
            at = whole.find(needle, end)
        found.append(counts)
    return found


@dataclass(frozen=True)
class Gathered:
    """Turns of one kind in the order of thread and position, and where the terms of the question stand in them (see
    `occurrences`)."""

    turns: Sequence[Turn]
    found: Sequence[Mapping[int, float]]


def gather(turns: Sequence[Turn], texts: Sequence[str], question: Question) -> Gathered:
    """Turns and their texts."""
    return Gathered(turns, occurrences(texts, question.terms))


def statistics_of(kind: Gathered) -> Statistics:
    """The statistics of all gathered texts."""
    mean = sum(turn.length for turn in kind.turns) / max(1, len(kind.turns))
    return Statistics(len(kind.turns), [len(counts) for counts in kind.found], [mean])


def rank(
    kinds: Sequence[Gathered],
    question: Question,
    statistics: Statistics,
    close: Sequence[Sequence[float]] | None = None,
    worth: float = 0.0,
) -> tuple[list[list[tuple[float, Turn]]], Statistics]:
    """For each kind its turns that answer at all with their scores (0 to 1), and what they were scored by.

    `close` says for each kind's turns how near they come to the question, in standard deviations, and `worth` how much
    one of these counts (see `Encoder.worth`).
    """
    weights = statistics.weights()
    scores = [_by_words(kind, weights, mean) for kind, mean in zip(kinds, statistics.lengths, strict=True)]
    best = statistics.best
    if best is None:
        best = max((score for own in scores for score in own.values()), default=0.0)
    # What is written in one way can't be expected in all others. Where nothing is searched there are no weights.
    asked = (weight for term, weight in zip(question.terms, weights, strict=False) if term not in question.also)
    ideal = sum(asked) * (1 + SATURATION)
    besides = best
    if close is not None:
        scale = max(best, HALF_IDEAL * ideal)
        besides = WIDER * scale
        scores = [
            _with_closeness(kind.turns, own, _lessened(kind.turns, near), worth * scale)
            for kind, own, near in zip(kinds, scores, close, strict=True)
        ]
    ranked: list[list[tuple[float, Turn]]] = []
    for kind, own in zip(kinds, scores, strict=True):
        whole = [(kind.turns[index], score) for index, score in own.items()]
        evidence = [(turn, _besides(turn, question, score, besides)) for turn, score in whole]
        ranked.append([(round(score / (score + ideal), 6), turn) for turn, score in evidence])
    return ranked, replace(statistics, best=best)


def _lessened(turns: Sequence[Turn], close: Sequence[float]) -> list[float]:
    """The closeness of turns, reduced for those that are only asides."""
    return [MOST_ASIDE * near if turn.is_aside else near for turn, near in zip(turns, close, strict=True)]


def _with_closeness(
    turns: Sequence[Turn], by_words: Mapping[int, float], close: Sequence[float], worth: float
) -> dict[int, float]:
    """Scores by words, and by the closeness of the turn and its neighbours."""
    spread = list(close)
    places = [turn.location for turn in turns]
    for index, (thread, position) in enumerate(places):
        for other in range(index + 1, min(index + 1 + max(CLOSE_NEIGHBOURS), len(places))):
            other_thread, other_position = places[other]
            distance = other_position - position
            if distance not in CLOSE_NEIGHBOURS or other_thread != thread:
                break
            spread[index] += CLOSE_NEIGHBOURS[distance] * close[other]
            spread[other] += CLOSE_NEIGHBOURS[-distance] * close[index]
    scores = {index: max(score + worth * spread[index], LEAST_OF_WORDS * score) for index, score in by_words.items()}
    for index, near in enumerate(spread):
        if near > 0 and max(near, close[index]) >= CLOSE_ENOUGH and index not in scores:
            scores[index] = worth * near
    return scores


def _by_words(kind: Gathered, weights: Sequence[float], mean: float) -> dict[int, float]:
    """The score of each turn with a word of the question in it or near it."""
    turns = kind.turns
    near: dict[int, tuple[list[tuple[int, float]], float]] = {}
    scores: dict[int, float] = {}
    threads: dict[bytes, float] = {}
    if turns and turns[0].position:
        mean *= 1 + sum(NEIGHBOURS.values())
    for counts, weight in zip(kind.found, weights, strict=True):
        spread: dict[int, float] = {}
        for index, count in counts.items():
            if index not in near:
                near[index] = _neighbours(turns, index)
            for other, share in near[index][0]:
                spread[other] = spread.get(other, 0.0) + share * count
        for index, count in spread.items():
            if index not in near:
                near[index] = _neighbours(turns, index)
            normal = SATURATION * (1 - LENGTH_SHARE + LENGTH_SHARE * near[index][1] / (mean or 1.0))
            scores[index] = scores.get(index, 0.0) + weight * count * (1 + SATURATION) / (count + normal)
        for thread in {turns[index].thread for index in counts}:
            threads[thread] = threads.get(thread, 0.0) + weight
    return {
        index: (score + SESSION * threads[turns[index].thread]) * (MOST_ASIDE if turns[index].is_aside else 1)
        for index, score in scores.items()
    }


def _neighbours(turns: Sequence[Turn], index: int) -> tuple[list[tuple[int, float]], float]:
    """The turns that a word of this one counts for, and how much; and the length of what counts for this one."""
    thread, position, own = turns[index][:3]
    found = [(index, 1.0)]
    length = float(own)
    for step in (-1, 1):
        other = index + step
        while 0 <= other < len(turns):
            other_thread, other_position, size = turns[other][:3]
            distance = position - other_position
            if distance not in NEIGHBOURS or other_thread != thread:
                break
            weight = NEIGHBOURS[distance]
            found.append((other, weight * BRIEF / size if size > BRIEF else weight))
            length += NEIGHBOURS[-distance] * size
            other += step
    return found, length


def _besides(turn: Turn, question: Question, score: float, best: float) -> float:
    """A score with what the sentence says besides its words."""
    if turn.speaker and not question.said.isdisjoint(turn.speaker.lower().split()):
        score += SPEAKER * best
    if question.role is not None and turn.role == question.role:
        score += ROLE * best
    if question.day is not None:
        score += DATE * best * nearness(question.day, turn.created_at)
    if turn.says_when:
        score *= NAMES_TIME
    if turn.is_question:
        score *= IS_QUESTION
    return score
