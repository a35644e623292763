"""Positions of search results, and their cursors.

Besides the position a cursor has the statistics by which the result's page was ranked, so that the next page is ranked
the same way despite writes in between.
"""

from collections.abc import Sequence
from itertools import chain
from math import isfinite
from typing import Any, NamedTuple

from models.full_text import Bound
from resolvers.cursors import decode, encode
from resolvers.errors import BadInput
from resolvers.search.candidates import Window
from resolvers.search.questions import Asked
from resolvers.search.ranking import Statistics, Usual


class Position(NamedTuple):
    """A result's position among those that it was ranked with: the better score first, then kind, key and sequence.

    `kind` is the index of the kind in the search; `key` and `sequence` locate the object.
    """

    worse: float
    kind: int
    key: bytes
    sequence: int


class Stage(NamedTuple):
    """The windows in which results are ranked, one for each kind (None if it is read whole, or is finished).

    `ceiling` is the maximum score in them, which the windows before determine; None in the first ones.
    """

    windows: tuple[Window | None, ...]
    ceiling: float | None = None

    def following(self, terms: int, ceiling: float) -> "Stage | None":
        """The next windows, given the question's number of terms; None when there are no more."""
        windows = tuple(None if window is None else window.following(terms) for window in self.windows)
        return Stage(windows, ceiling) if any(windows) else None

    def score(self, position: Position) -> float:
        return -position.worse if self.ceiling is None else min(-position.worse, self.ceiling)


class Result(NamedTuple):
    """A result: what it was ranked by, in which windows, and its position among the others."""

    statistics: Statistics
    stage: Stage
    position: Position

    @property
    def score(self) -> float:
        return self.stage.score(self.position)


def cursor_of(asked: Asked, result: Result) -> str:
    """The cursor of a result of this search."""
    by, stage = result.statistics, result.stage
    windows = [None if window is None else _written(window) for window in stage.windows]
    usual = () if by.usual is None else by.usual
    scored_by = (by.count, by.frequencies, by.lengths, by.best, *usual)
    return encode([*result.position, stage.ceiling, windows, *scored_by], asked.seed)


def read_cursor(asked: Asked, cursor: str) -> Result:
    """The result of a cursor; raises `BadInput` if the cursor belongs to another search."""
    try:
        return _read(asked, decode(cursor, asked.seed))
    except (ValueError, TypeError):
        raise BadInput(
            "The cursor in `after` does not belong to this search with this query, scope and filter; "
            "start again without `after`."
        ) from None


def _written(window: Window) -> list[Any]:
    """A window; its bounds are known once a result in it is."""
    return [window.rare, *window.first, *(window.last or window.first)]


def _window(written: Sequence[Any] | None, terms: int) -> Window | None:
    """Parses the window of a cursor; raises `ValueError` for an invalid one."""
    if written is None:
        return None
    rare, *bounds = written
    indices = [int(index) for index in rare]
    if not indices or indices != sorted(set(indices)) or not 0 <= indices[0] <= indices[-1] < terms:
        raise ValueError("no terms of this question")
    if not all(isinstance(bound, int) and 0 <= bound < 2**53 for bound in bounds):
        raise ValueError("no bounds of a window")
    worth, number, last_worth, last_number = bounds
    return Window(tuple(indices), Bound(worth, number), Bound(last_worth, last_number))


def _read(asked: Asked, values: list[Any]) -> Result:
    worse, kind, key, sequence, ceiling, windows, count, frequencies, lengths, best, *by = values
    terms, kinds = len(asked.question.terms), len(asked.scopes)
    usual = Usual(*by) if by else None
    numbers = [count, best, *frequencies, *lengths, 0 if ceiling is None else ceiling]
    fits = len(frequencies) == terms and len(lengths) == len(windows) == kinds
    if usual is not None:
        numbers += chain(usual.through, *usual.late)
        fits = fits and len(usual.through) == len(usual.late) == kinds
        fits = fits and len(usual.means) == len(usual.deviations)
        fits = fits and all(isfinite(number) for number in (*usual.means, *usual.deviations, usual.length))
    if not fits or not all(isfinite(number) and 0 <= number < 2**53 for number in numbers):
        raise ValueError("no position in this search")
    position = Position(float(worse), int(kind), bytes.fromhex(key), int(sequence))
    stage = Stage(tuple(_window(window, terms) for window in windows), ceiling)
    return Result(Statistics(count, frequencies, lengths, best, usual), stage, position)
