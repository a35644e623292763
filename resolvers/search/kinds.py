"""Kinds of results: the descriptions of each for ranking and pages, beside those for statements.

Statements use the descriptions in `models/search_kinds.py`, which these refer to.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from models.rows import DocumentRow, MemoryRow
from models.search_kinds import DOCUMENTS, MEMORIES, MESSAGES, SearchKind
from resolvers.parts import searched_text


@dataclass(frozen=True, eq=False)
class ResultKind:
    """A kind of result. `text` is all that an object was found by; `own_filter` is a filter, a list, that no other kind
    has: where it is given, kinds without one of their own are left out."""

    searched: SearchKind
    text: Callable[[Any], str]
    own_filter: str | None = None


def _memory_text(row: MemoryRow) -> str:
    return row["content"]


def _document_text(row: DocumentRow) -> str:
    return f"{row['title']}\n{row['content']}"


RESULT_KINDS = {
    kind.searched.name: kind
    for kind in (
        ResultKind(MESSAGES, searched_text, own_filter="roles"),
        ResultKind(MEMORIES, _memory_text, own_filter="kinds"),
        ResultKind(DOCUMENTS, _document_text),
    )
}
"""The kinds by their names among the scopes of a search, in the order in which results of equal score stand."""
