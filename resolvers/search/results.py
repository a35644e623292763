"""Results of a search: their places, pages and cursors."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from math import isfinite
from typing import Any, NamedTuple

from models.search import COLLECTIONS
from models.sqlite.word_index import Bound
from models.statements import Record
from resolvers.cursors import decode, encode, seed_of
from resolvers.errors import BadInput
from resolvers.filters import Given
from resolvers.operation_context import OperationContext
from resolvers.parts import searched_text
from resolvers.search.candidates import Window
from resolvers.search.highlights import highlight
from resolvers.search.questions import Question, parse_question
from resolvers.search.ranking import Statistics, Usual

INLINE_HIGHLIGHTS = 32 * 1024
"""Characters of texts that are highlighted in the event loop, at most."""


@dataclass(frozen=True)
class Asked:
    """A search as it was asked; `scopes` in the order of the contract, without repetition."""

    query: str
    scopes: tuple[str, ...]
    user_id: str | None
    session_id: str | None
    filter: Given
    agent: bytes | None = None
    """An agent by key, whose documents are searched along with the user's."""

    @cached_property
    def question(self) -> Question:
        return parse_question(self.query)

    @cached_property
    def seed(self) -> int:
        """A number that the cursors of this search are checked with."""
        asked = [self.query, self.scopes, self.user_id, self.session_id, self.filter]
        return seed_of(json.dumps(asked, sort_keys=True).encode("utf-8", "surrogatepass"))


class Place(NamedTuple):
    """Where a result stands among those that it was ranked with: the better score first, then kind, key and
    sequence."""

    worse: float
    scope: int
    key: bytes
    position: int


class Position(NamedTuple):
    """The windows that a result was ranked in, one for each kind (None where it is read whole, or is done with), and
    the score that none of them can have more than, because of the windows before; None in the first ones."""

    windows: tuple[Window | None, ...]
    ceiling: float | None = None

    def following(self, terms: int, ceiling: float) -> "Position | None":
        """The next windows, for a question of so many terms; None when there are no more."""
        windows = tuple(None if window is None else window.following(terms) for window in self.windows)
        return Position(windows, ceiling) if any(windows) else None

    def score(self, place: Place) -> float:
        return -place.worse if self.ceiling is None else min(-place.worse, self.ceiling)


class Edge(NamedTuple):
    """A result on a page."""

    asked: Asked
    statistics: Statistics
    position: Position
    place: Place
    node: Record
    """Empty where nobody asks for the object itself, and it was too long to be held."""
    shown: str | None = None
    """The highlight of such a one."""

    @property
    def cursor(self) -> str:
        place, by = self.place, self.statistics
        windows = [None if window is None else _written(window) for window in self.position.windows]
        scored_by: list[Any] = [by.count, by.frequencies, by.lengths, by.best]
        if by.usual is not None:
            scored_by += by.usual
        return encode([*place, self.position.ceiling, windows, *scored_by], self.asked.seed)

    @property
    def score(self) -> float:
        return self.position.score(self.place)

    @property
    def text(self) -> str:
        """Tells what it was found by."""
        node = self.node
        if COLLECTIONS["MESSAGES"].is_of(node):
            return searched_text(node)
        return f"{node['title']}\n{node['content']}" if COLLECTIONS["DOCUMENTS"].is_of(node) else node["content"]


async def highlights(context: OperationContext, edges: Sequence[Edge]) -> list[str | None]:
    """The part of each result's text that answers best."""

    def work() -> list[str | None]:
        check = context.allowance.check
        return [highlight(edge.text, edge.asked.question, check) if edge.node else edge.shown for edge in edges]

    if sum(len(edge.text) for edge in edges if edge.node) <= INLINE_HIGHLIGHTS:
        return work()
    return await context.aside(work)


@dataclass(frozen=True)
class SearchPage:
    """One page of results."""

    edges: list[Edge]
    has_next_page: bool
    has_previous_page: bool

    @property
    def nodes(self) -> list[Record]:
        return [edge.node for edge in self.edges]

    @property
    def start_cursor(self) -> str | None:
        return self.edges[0].cursor if self.edges else None

    @property
    def end_cursor(self) -> str | None:
        return self.edges[-1].cursor if self.edges else None


def _written(window: Window) -> list[Any]:
    """A window, whose bounds are known once a result in it is."""
    return [window.rare, *window.first, *(window.last or window.first)]


def _window(written: Sequence[Any] | None, terms: int) -> Window | None:
    """A window that was in a cursor; `ValueError` when it can't have been."""
    if written is None:
        return None
    rare, *bounds = written
    places = [int(place) for place in rare]
    if not places or places != sorted(set(places)) or not 0 <= places[0] <= places[-1] < terms:
        raise ValueError("no terms of this question")
    if not all(isinstance(bound, int) and 0 <= bound < 2**53 for bound in bounds):
        raise ValueError("no bounds of a window")
    worth, number, last_worth, last_number = bounds
    return Window(tuple(places), Bound(worth, number), Bound(last_worth, last_number))


def read_cursor(asked: Asked, cursor: str) -> tuple[Place, Position, Statistics]:
    """Returns where a cursor points, and what its page was scored by; `BadInput` when it is not one of this
    search's."""
    try:
        return _read_position(asked, decode(cursor, asked.seed))
    except (ValueError, TypeError):
        raise BadInput(
            "The cursor in `after` does not belong to this search with this query, scope and filter; "
            "start again without `after`."
        ) from None


def _read_position(asked: Asked, position: list[Any]) -> tuple[Place, Position, Statistics]:
    worse, scope, key, sequence, ceiling, windows, count, frequencies, lengths, best, *by = position
    terms, scopes = len(asked.question.terms), len(asked.scopes)
    usual = Usual(*by) if by else None
    numbers = [count, best, *frequencies, *lengths, 0 if ceiling is None else ceiling]
    fits = len(frequencies) == terms and len(lengths) == len(windows) == scopes
    if usual is not None:
        numbers += chain(usual.through, *usual.late)
        fits = fits and len(usual.through) == len(usual.late) == scopes
        fits = fits and len(usual.means) == len(usual.deviations)
        fits = fits and all(isfinite(number) for number in (*usual.means, *usual.deviations, usual.length))
    if not fits or not all(isfinite(number) and 0 <= number < 2**53 for number in numbers):
        raise ValueError("no position in this search")
    place = Place(float(worse), int(scope), bytes.fromhex(key), int(sequence))
    at = Position(tuple(_window(window, terms) for window in windows), ceiling)
    return place, at, Statistics(count, frequencies, lengths, best, usual)
