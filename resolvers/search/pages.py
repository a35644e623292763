"""Pages of results: the objects that were found, in the order of their ranking, with the texts that answer best."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from models.errors import TooLarge
from models.rows import SearchedRow
from resolvers.connections import Columns
from resolvers.operation_context import OperationContext
from resolvers.search.highlights import highlight
from resolvers.search.kinds import RESULT_KINDS
from resolvers.search.positions import Position, Result, cursor_of
from resolvers.search.questions import Asked

INLINE_HIGHLIGHTS = 32 * 1024
"""Characters of texts that are highlighted in the event loop, at most."""

READ_TOGETHER = 16
"""Objects per batch when they are read until there are enough."""


class Edge(NamedTuple):
    """A result on a page."""

    asked: Asked
    result: Result
    node: SearchedRow | None
    """None if the object itself is not selected and was too long to keep in memory."""
    shown: str | None = None
    """The highlight of such an object."""

    @property
    def cursor(self) -> str:
        return cursor_of(self.asked, self.result)

    @property
    def score(self) -> float:
        return self.result.score

    @property
    def text(self) -> str:
        """All its searchable text."""
        return RESULT_KINDS[self.asked.scopes[self.result.position.kind]].text(self.node)


@dataclass(frozen=True)
class SearchPage:
    """One page of results."""

    edges: list[Edge]
    has_next_page: bool
    has_previous_page: bool

    @property
    def nodes(self) -> list[SearchedRow]:
        return [edge.node for edge in self.edges if edge.node is not None]

    @property
    def start_cursor(self) -> str | None:
        return self.edges[0].cursor if self.edges else None

    @property
    def end_cursor(self) -> str | None:
        return self.edges[-1].cursor if self.edges else None


async def edges_of(
    context: OperationContext, asked: Asked, results: Sequence[Result], *, most_characters: int | None, columns: Columns
) -> list[Edge]:
    """The results with their objects, up to a number of characters.

    Where nobody asks for the objects (`columns` is empty) and they are too long to be held together, their highlights.
    """
    try:
        return await _edges(context, asked, results, most_characters)
    except TooLarge:
        if columns != ():
            raise
        return await _shown(context, asked, results)


async def highlights(context: OperationContext, edges: Sequence[Edge]) -> list[str | None]:
    """The part of each result's text that answers best."""

    def work() -> list[str | None]:
        check = context.allowance.check
        return [highlight(edge.text, edge.asked.question, check) if edge.node else edge.shown for edge in edges]

    if sum(len(edge.text) for edge in edges if edge.node) <= INLINE_HIGHLIGHTS:
        return work()
    return await context.in_thread(work)


async def _edges(
    context: OperationContext, asked: Asked, results: Sequence[Result], most: int | None = None
) -> list[Edge]:
    """The results with their objects, without those deleted during ranking."""
    nodes = await _nodes_within(context, asked.scopes, [result.position for result in results], most)
    return [Edge(asked, result, node) for result, node in zip(results, nodes, strict=False) if node is not None]


async def _shown(context: OperationContext, asked: Asked, results: Sequence[Result]) -> list[Edge]:
    """The results with highlights but without their objects, whose texts are too long to be held together."""
    edges: list[Edge] = []
    start, size = 0, READ_TOGETHER
    while start < len(results):
        try:
            with context.allowance.passing():
                some = await _edges(context, asked, results[start : start + size])
                texts = await highlights(context, some)
        except TooLarge:
            if size == 1:
                raise
            size //= 4
            continue
        edges += [edge._replace(node=None, shown=text) for edge, text in zip(some, texts, strict=True)]
        start += size
    return edges


async def _nodes_within(
    context: OperationContext, names: Sequence[str], positions: Sequence[Position], most: int | None
) -> list[SearchedRow | None]:
    """The objects of results, in order, until their texts reach a number of characters."""
    if most is None:
        return await _nodes(context, names, positions)
    nodes: list[SearchedRow | None] = []
    size = 0
    while len(nodes) < len(positions) and size < most:
        some = await _nodes(context, names, positions[len(nodes) : len(nodes) + READ_TOGETHER])
        nodes += some
        size += sum(len(node["content"]) for node in some if node is not None)
    return nodes


async def _nodes(
    context: OperationContext, names: Sequence[str], positions: Sequence[Position]
) -> list[SearchedRow | None]:
    """The objects of results, in order; None for one that is gone."""
    found: dict[tuple[int, bytes, int], SearchedRow | None] = {}
    for number, name in enumerate(names):
        keys = [(position.key, position.sequence) for position in positions if position.kind == number]
        if keys:
            rows = await RESULT_KINDS[name].searched.fetch(context.read, context.scope, keys)
            found |= {(number, *key): row for key, row in zip(keys, rows, strict=True)}
    return [found[position.kind, position.key, position.sequence] for position in positions]
