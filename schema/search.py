"""Search, as clients see it."""

import inspect
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from operator import attrgetter
from typing import Annotated, Any, Union

import strawberry

from breadth import batch_field, computed_field
from resolvers.connections import paging
from resolvers.operation_context import OperationContext
from resolvers.search.pages import SearchPage, highlights
from resolvers.search.search import search
from schema.connections import PAGE_SIZE, After, First, PageInfo, itself, parameter
from schema.documents import Document
from schema.inputs import DateTimeRange, optional
from schema.memories import Memory
from schema.memory_filters import MemoryKind
from schema.messages import Message, Role
from schema.scalars import JSON

SEARCH_SIZE = replace(PAGE_SIZE, lookup=10_000)

KINDS: dict[str, tuple[type, str]] = {
    "MESSAGES": (Message, "Messages."),
    "MEMORIES": (Memory, "Memories that hold now."),
    "DOCUMENTS": (Document, "Documents of users and agents, with their titles."),
}
"""The type of each kind's objects, and how its scope is described."""

SearchResult = Annotated[
    Union[tuple(type for type, _ in KINDS.values())],  # noqa: UP007 - made from the table
    strawberry.union("SearchResult", description="An object that search finds. More types may follow."),
]
_scopes: Any = Enum(
    "SearchScope", {name: strawberry.enum_value(name, description=what) for name, (_, what) in KINDS.items()}
)
SearchScope = strawberry.enum(_scopes, description="The kinds of objects to search.")


@strawberry.input(description="A filter for results; all conditions must hold.")
class SearchFilter:
    roles: list[Role] | None = optional(
        "Messages of one of these roles; at most 100. Without `kinds` only messages are found."
    )
    kinds: list[MemoryKind] | None = optional(
        "Memories of one of these kinds; at most 100. Without `roles` only memories are found."
    )
    session_ids: list[str] | None = optional(
        "Messages and memories of one of these sessions; at most 100. Documents have no session and are not found."
    )
    min_rating: float | None = optional(
        "Memories with at least this rating, so none without a rating. Without `roles` only memories are found."
    )
    created_at: DateTimeRange | None = optional("The time when they were said or created.")
    metadata: JSON | None = optional(
        "Results whose metadata contains this object, as PostgreSQL's @> does; up to 64 KiB and 4,000 values."
    )
    min_score: float | None = optional("Results with at least this score.")


@strawberry.type(description="A result and its place.")
class SearchEdge:
    cursor: str = computed_field(
        attrgetter("cursor"), description="The result's position, for `after`: opaque, valid for this search only."
    )
    # A type checker knows no union that is made of a table.
    node: SearchResult = computed_field(  # pyright: ignore[reportInvalidTypeForm]
        attrgetter("node"), description="The result."
    )
    score: float = computed_field(
        attrgetter("score"),
        description="The relevance, from 0 to 1; for comparison within one search, not a probability.",
    )
    highlight: str | None = batch_field(
        highlights,
        description="The part of its text that answers best, about 300 characters of HTML: escaped, the question's "
        "words in `<mark>`. Null when it was found by what was said around it.",
    )


@strawberry.type(description="One page of results, best first.")
class SearchConnection:
    edges: list[SearchEdge] = computed_field(attrgetter("edges"), description="The results with their scores.")
    nodes: list[SearchResult] = computed_field(  # pyright: ignore[reportInvalidTypeForm]
        attrgetter("nodes"), description="The results alone."
    )
    page_info: PageInfo = computed_field(itself, description="The position of the page.")


async def _search(context: OperationContext, parents: Sequence[object], **asked: Any) -> list[SearchPage]:
    return [await search(context, **asked)] * len(parents)


def _arguments(*, first: int | None = None, after: str | None = None, **asked: Any) -> dict[str, Any]:
    return {"paging": paging(first, after), **asked}


_AGENT = (
    "The agent whose documents, memories and sessions (with their messages and memories) to search. With `userId` or "
    "`sessionId`: what belongs to both. With a user token: the messages and memories of the user's sessions with it."
)


def search_field() -> Any:
    """The field `search`; an argument's type stands with what it is for."""
    arguments = [
        ("scope", list[SearchScope], "The kinds of objects to search; messages, memories and documents when left out."),
        ("user_id", str, "The user whose sessions, memories and documents to search."),
        ("session_id", str, "The session whose messages and memories to search."),
        ("agent_id", str, _AGENT),
        ("filter", SearchFilter, "The results to return; all of them when left out."),
    ]
    query = Annotated[
        str,
        strawberry.argument(
            description="A question or a few words, as a person writes them: no character is an operator. Not empty. "
            "Of a long one the first 64 different words are looked for."
        ),
    ]
    optional_ones = [
        parameter(name, Annotated[kind | None, strawberry.argument(description=description)])
        for name, kind, description in arguments
    ]
    return batch_field(
        _search,
        description="Objects that answer a question, best first, 20 per page by default. Those that are deleted, "
        "superseded, expired or no longer true are not found.",
        parameters=[
            parameter("query", query, inspect.Parameter.empty),
            *optional_ones,
            parameter("first", First),
            parameter("after", After),
        ],
        arguments=_arguments,
        records_at=(("edges", "node"), ("nodes",)),
        page_size=SEARCH_SIZE,
    )
