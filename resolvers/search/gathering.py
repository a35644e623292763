"""Gathering: extracts the features for ranking from the texts of a search; the texts themselves are freed soon."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from models.allowance import Allowance
from models.words import TOKEN
from resolvers.errors import BadInput
from resolvers.parts import TOOLS
from resolvers.search.questions import Question
from resolvers.search.ranking import ASIDE, MOST_ASIDE, Turn, occurrences, turn_of
from resolvers.speakers import is_users_own

INLINE, INLINE_LENGTH = 200, 50_000
"""Texts, and their characters, that are processed in the event loop; more are processed in a thread."""

TOGETHER = 1_000_000
"""Approximate characters of texts that are scanned together, and in memory at once; or one longer text."""


MOST = 50_000
"""Most texts that are ranked together: the features of each take about a kilobyte."""


def outgrown() -> BadInput:
    """The error for a cursor of a page whose texts have become too many to be ranked together."""
    return BadInput("Too much was written since the page that `after` belongs to; start again without `after`.")


class Row(NamedTuple):
    """A text that was read: its number in its table, the user whose name its speaker bears (None for a speaker with
    another name), whether it may be a result, and how it is ranked."""

    number: int
    user: bytes | None
    passes: bool
    turn: Turn


class Gathering:
    """Receives rows of `models.search` in any order, in the reading thread."""

    def __init__(self, question: Question, allowance: Allowance) -> None:
        self._question = question
        self._allowance = allowance
        self._texts: list[str] = []
        self._asides: list[tuple[int, str]] = []
        self._size = 0
        self._rows: list[Row] = []
        self._found: list[dict[int, float]] = [{} for _ in question.terms]

    def receive(self, values: tuple[Any, ...]) -> None:
        self._allowance.check()
        if len(self._rows) == MOST:
            raise outgrown()
        number, thread, position, role, name, user, text, aside, created_at, passes = values
        is_own = is_users_own(role, name)
        speaker = None if is_own else name or None
        turn = turn_of(text, self._question, thread, position, speaker=speaker, role=role, created_at=created_at)
        if role in TOOLS:
            text, aside = "", f"{text}\n{aside}" if aside else text
        if aside:
            turn = turn._replace(length=len(text) + len(aside), is_aside=not text)
            self._asides.append((len(self._rows), aside))
            self._size += len(aside)
        user = user if is_own else None
        # A turn without a word of its own (no text, `{}` of a tool) would be found by its neighbours alone.
        says_something = TOKEN.search(text) is not None or (aside is not None and TOKEN.search(aside) is not None)
        self._rows.append(Row(number, user, bool(passes) and says_something, turn))
        self._texts.append(text)
        self._size += len(text)
        if self._size >= TOGETHER:
            self._look_through()

    def _look_through(self) -> None:
        first = len(self._rows) - len(self._texts)
        for counts, more in zip(self._found, occurrences(self._texts, self._question.terms), strict=True):
            counts.update((first + index, count) for index, count in more.items())
        if self._asides:
            asides = occurrences([text for _, text in self._asides], self._question.terms)
            for counts, more in zip(self._found, asides, strict=True):
                for index, count in more.items():
                    row = self._asides[index][0]
                    counts[row] = counts.get(row, 0) + min(ASIDE * count, MOST_ASIDE)
        self._texts, self._asides, self._size = [], [], 0

    @property
    def is_small(self) -> bool:
        """True if the rest is so little work that it needs no thread."""
        return len(self._rows) <= INLINE and self._size <= INLINE_LENGTH

    @property
    def users(self) -> list[bytes]:
        """Those whose names are to be known."""
        return list({row.user for row in self._rows if row.user is not None})

    def finish(self, names: Mapping[bytes, str | None]) -> tuple[list[Row], list[dict[int, float]]]:
        """The rows in the order of threads and positions, and the terms' occurrences in them (see `occurrences`)."""
        self._look_through()
        order = sorted(range(len(self._rows)), key=lambda index: self._rows[index].turn.location)
        ranks = {index: rank for rank, index in enumerate(order)}
        rows = [_spoken(self._rows[index], names) for index in order]
        # Sorted, so that floating-point sums over them are identical on every page.
        found = [dict(sorted((ranks[index], count) for index, count in counts.items())) for counts in self._found]
        return rows, found


def _spoken(row: Row, names: Mapping[bytes, str | None]) -> Row:
    if row.user is None or (name := names.get(row.user)) is None:
        return row
    return row._replace(turn=row.turn._replace(speaker=name))


class Tail:
    """Receives numbers and texts of rows that are not indexed yet, and records their terms."""

    def __init__(self, question: Question, allowance: Allowance) -> None:
        self._question = question
        self._allowance = allowance
        self._numbers: list[int] = []
        self._texts: list[str] = []
        self._size = 0
        self.count = 0
        self.found: list[list[int]] = [[] for _ in question.terms]
        """For each term the numbers of the rows with it."""

    def receive(self, values: tuple[Any, ...]) -> None:
        self._allowance.check()
        number, text = values
        self._numbers.append(number)
        self._texts.append(text)
        self._size += len(text)
        self.count += 1
        if self._size >= TOGETHER:
            self.finish()

    def finish(self) -> None:
        """Scans the last ones."""
        for numbers, counts in zip(self.found, occurrences(self._texts, self._question.terms), strict=True):
            numbers += [self._numbers[index] for index in counts]
        self._numbers, self._texts, self._size = [], [], 0
