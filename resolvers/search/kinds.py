"""Kinds of results: what search does with the objects of each, beside what their statements need.

Statements go by the descriptions in `models/search_kinds.py`, which these refer to.
"""

from collections.abc import Callable
from dataclasses import dataclass

from models.search_kinds import DOCUMENTS, MEMORIES, MESSAGES, SearchKind
from models.statements import Record
from resolvers.parts import searched_text


@dataclass(frozen=True, eq=False)
class ResultKind:
    """A kind of result. `text` is all that an object was found by; `own_filter` is a filter, a list, that no other kind
    has: where it is given, kinds without one of their own are left out."""

    searched: SearchKind
    text: Callable[[Record], str]
    own_filter: str | None = None


RESULT_KINDS = {
    kind.searched.name: kind
    for kind in (
        ResultKind(MESSAGES, searched_text, own_filter="roles"),
        ResultKind(MEMORIES, lambda row: row["content"], own_filter="kinds"),
        ResultKind(DOCUMENTS, lambda row: f"{row['title']}\n{row['content']}"),
    )
}
"""The kinds by their names among the scopes of a search, in the order in which results of equal score stand."""
