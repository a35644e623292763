"""Kinds of results: the descriptions of each for ranking and pages, beside those for statements.

Statements use the descriptions in `models/search_kinds.py`, which these refer to.
"""

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any

from models.rows import DocumentRow, MemoryRow
from models.search_kinds import DOCUMENTS, MEMORIES, MESSAGES, SearchKind
from resolvers.parts import searched_text


@dataclass(frozen=True, eq=False)
class ResultKind:
    """A kind of result. `text` is all that an object was found by; `own_lists` and `own_values` are filters that no
    other kind has: where one is given, kinds without one of their own are left out."""

    searched: SearchKind
    text: Callable[[Any], str]
    own_lists: tuple[str, ...] = ()
    own_values: tuple[str, ...] = ()

    def has_own(self, given: Container[str]) -> bool:
        """True if one of its own filters is given."""
        return any(name in given for name in (*self.own_lists, *self.own_values))


def _memory_text(row: MemoryRow) -> str:
    return row["content"]


def _document_text(row: DocumentRow) -> str:
    return f"{row['title']}\n{row['content']}"


RESULT_KINDS = {
    kind.searched.name: kind
    for kind in (
        ResultKind(MESSAGES, searched_text, own_lists=("roles",)),
        ResultKind(MEMORIES, _memory_text, own_lists=("kinds",), own_values=("min_rating",)),
        ResultKind(DOCUMENTS, _document_text),
    )
}
"""The kinds by their names among the scopes of a search, in the order in which results of equal score stand."""
