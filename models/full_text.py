"""Full text: the interface of a database's index of words, which finds the texts with a word within a scope.

The index lags behind on purpose: indexing a text on its own costs several times the insert, in a batch a fraction of
it. A search scans the texts of its scope that wait to be indexed, its tail.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from sqlalchemy import ColumnElement, FromClause, Subquery

if TYPE_CHECKING:
    from models.scope import Scope
    from models.search_kinds import SearchKind
    from models.store import Reader, Store

COUNTED = 100_000
"""Limit on counting the rows with a word; beyond it the word's weight hardly changes."""

RARE = 2**40
"""The worth of a row with a rare word of the question is above this, that of any other row below (see `Term`)."""


class Progress(NamedTuple):
    """The newest number of a table's rows, and the approximate number of rows that wait."""

    newest: int
    waiting: int


class Part(Protocol):
    """The part of an index that a search reads: a project or some of its lanes, as far as they were indexed when the
    part was made."""

    @property
    def look_ups(self) -> int:
        """The number of index reads for one word."""
        ...

    @property
    def values(self) -> Mapping[str, Any]:
        """The parameters of the database's statements for this part."""
        ...


class Term(NamedTuple):
    """A word of a question and its worth in a row. Rows with a rare word are worth more than all others."""

    word: str
    worth: int
    rare: bool

    @property
    def base(self) -> int:
        return RARE if self.rare else 0


class Bound(NamedTuple):
    """A position in the order of candidates: by worth, then newest first."""

    worth: int
    number: int


HIGHEST, COMMON, LOWEST = Bound(2 * RARE, 0), Bound(RARE, 0), Bound(0, 0)
"""Before all candidates, between those with a rare word and the others, and after all."""


@dataclass(frozen=True)
class Look:
    """A query of a part of the index for terms.

    `tail` has the rows with a term that are not indexed yet: their number, worth, and the base of their terms (see
    `Term`).
    """

    terms: Sequence[Term]
    part: Part
    tail: Sequence[tuple[int, int, int]] = ()


class FullText(Protocol):
    """A database's index of words; each function takes the kind of texts. The module `word_search` of the database's
    folder implements it."""

    async def index_progress(self, read: "Reader", kind: "SearchKind") -> Progress: ...

    async def bring_up_to_date(self, database: "Store", kind: "SearchKind", *, late: int) -> None:
        """Indexes what waits, step by step, until no more than `late` rows wait."""
        ...

    async def count_of_project(self, read: "Reader", kind: "SearchKind", project: str) -> int:
        """The approximate number of indexed texts of a project."""
        ...

    async def part_to_read(
        self, read: "Reader", scope: "Scope", kind: "SearchKind", lanes: Sequence[int] | None
    ) -> Part:
        """The part with a project's texts, or those of some of its lanes, as far as they are indexed now."""
        ...

    async def count_words(
        self, read: "Reader", kind: "SearchKind", part: Any, words: Sequence[str], *, most: int
    ) -> list[int]:
        """For each word the number of texts in the part with any of its forms, up to a limit."""
        ...

    def hits(self, kind: "SearchKind", part: Any) -> Subquery:
        """The rows that a `Look` at a part finds between two bounds, best first: their `number` and `worth`."""
        ...

    def values_of(self, look: Look) -> Mapping[str, Any]:
        """The parameters of `hits`, without those of its bounds (see `models.candidates`)."""
        ...

    def in_order(self, hit: Subquery) -> Sequence[ColumnElement[Any]]:
        """The columns that a statement sorts by to keep the order of `hits`; none where a join keeps it."""
        ...

    def waits(self, rows: FromClause) -> ColumnElement[bool]:
        """The condition for rows that were not indexed yet when a part was made, with the part's parameters."""
        ...
