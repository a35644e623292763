"""Search: messages, memories and documents that answer a question, best first."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from models.documents import documents_by_key
from models.errors import TooLarge, Unavailable
from models.keys import session_key, user_key
from models.memories import memories_by_key
from models.messages import messages_by_place
from models.search import COLLECTIONS, Within
from models.statements import Record
from models.vectors import read_vectors, vector_progress
from resolvers.connections import Columns, Paging
from resolvers.embeddings import Encoder, QuestionVectors
from resolvers.errors import BadInput
from resolvers.filters import FilterBuilder, Given
from resolvers.operation_context import OperationContext
from resolvers.search.candidates import Found, Source
from resolvers.search.gathering import INLINE
from resolvers.search.questions import term_of
from resolvers.search.ranking import Gathered, Statistics, Turn, Usual, rank
from resolvers.search.results import Asked, Edge, Place, Position, SearchPage, highlights, read_cursor

LATE = 100
"""Texts of a kind, at most, that a cursor names because they waited for new vectors when its page was scored."""

READ_TOGETHER = 16
"""Objects that are read together where they are read until there is enough."""


async def search(
    context: OperationContext,
    *,
    query: str,
    paging: Paging,
    scope: Sequence[str] | None = None,
    user_id: str | None = None,
    session_id: str | None = None,
    filter: Given = None,
    agent: bytes | None = None,
    most_characters: int | None = None,
    columns: Columns = None,
) -> SearchPage:
    """A page of what answers the query, of all there is within the scope; a later page is scored as the first was.

    For the application itself the documents of an agent (its key) are searched along with the user's. With
    `most_characters` the page ends early once its texts have so many. `columns` is empty when nobody asks for the
    objects that are found.
    """
    if not query.strip():
        raise BadInput("`query` is empty; say what to look for.")
    names = tuple(name for name in COLLECTIONS if scope is None or name in scope)
    asked = Asked(query, names, user_id, session_id, filter, agent if context.scope.user is None else None)
    filters = _filters(context, asked)
    sources = [
        Source(
            context,
            COLLECTIONS[name],
            asked.question,
            filters.get(name, Within()),
            is_empty=name not in filters or not asked.question.terms,
        )
        for name in names
    ]
    searching = Search(context, asked, sources)
    after = None if paging.after is None else await searching.resume(paging.after)
    if after is None:
        await searching.begin()
    results = await searching.results(after, paging.limit + 1)
    page = results[: paging.limit]
    try:
        edges = await _edges(context, asked, page, most_characters)
    except TooLarge:
        if columns != ():
            raise
        edges = await _shown(context, asked, page)
    return SearchPage(edges, len(results) > paging.limit, paging.after is not None)


Result = tuple[Statistics, Position, Place]


async def _edges(
    context: OperationContext, asked: Asked, results: Sequence[Result], most: int | None = None
) -> list[Edge]:
    """The results with their objects; what was deleted while it was being ranked is no result."""
    nodes = await _nodes_within(context, asked.scopes, [place for _, _, place in results], most)
    return [Edge(asked, *result, node) for result, node in zip(results, nodes, strict=False) if node is not None]


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
        edges += [edge._replace(node={}, shown=text) for edge, text in zip(some, texts, strict=True)]
        start += size
    return edges


class Search:
    """A search on its way from the windows where it stands to as many results as are wanted."""

    def __init__(self, context: OperationContext, asked: Asked, sources: Sequence[Source]) -> None:
        self._context = context
        self._asked = asked
        self._sources = sources
        self._least = (asked.filter or {}).get("min_score") or 0.0

    _position: Position
    _statistics: Statistics
    _vectors: QuestionVectors | None

    async def begin(self) -> None:
        """Starts with the best windows."""
        self._vectors = await _question_vectors(self._context.encoder, self._asked, None)
        self._position = Position(tuple([await source.open() for source in self._sources]))
        frequencies = [sum(each) for each in zip(*(source.frequencies for source in self._sources), strict=True)]
        self._statistics = Statistics(sum(source.count for source in self._sources), frequencies, ())
        self._is_new = True

    async def resume(self, cursor: str) -> Place:
        """Goes back to the windows of a page before; where in them it ended."""
        after, self._position, self._statistics = read_cursor(self._asked, cursor)
        self._vectors = await _question_vectors(self._context.encoder, self._asked, self._statistics)
        self._is_new = False
        return after

    async def results(self, after: Place | None, wanted: int) -> list[tuple[Statistics, Position, Place]]:
        """The next results, at most so many, with the windows and statistics that each is ranked by."""
        results: list[tuple[Statistics, Position, Place]] = []
        while len(results) < wanted:
            places = await self._ranked()
            position, statistics = self._position, self._statistics
            rest = [place for place in places if after is None or place > after]
            passing = [place for place in rest if position.score(place) >= self._least]
            results += [(statistics, position, place) for place in passing[: wanted - len(results)]]
            ceiling = min([1.0 if position.ceiling is None else position.ceiling, *(-place.worse for place in places)])
            following = position.following(len(self._asked.question.terms), ceiling)
            if following is None or ceiling < self._least:
                break
            self._position, self._is_new, after = following, True, None
        return results

    async def _ranked(self) -> list[Place]:
        """Ranks the windows where the search stands, best first; afterwards their bounds are known."""
        position = self._position
        weights = self._statistics.weights()
        found = [
            await source.read(window, weights, is_first=position.ceiling is None)
            for source, window in zip(self._sources, position.windows, strict=True)
        ]
        self._position = Position(tuple(one.window for one in found), position.ceiling)
        if not self._statistics.lengths:
            self._statistics = replace(self._statistics, lengths=[_mean_length(one) for one in found])
        ranked = await self._rank(found)
        places = [
            Place(-score, number, turn.place, turn.position)
            for number, (one, scores) in enumerate(zip(found, ranked, strict=True))
            for score, turn in _passing(one, scores)
        ]
        return sorted(places)

    async def _rank(self, found: Sequence[Found]) -> list[list[tuple[float, Turn]]]:
        question, close = self._asked.question, None
        kinds = [Gathered([row.turn for row in one.rows], one.occurrences) for one in found]
        if (encoder := self._context.encoder) is not None and self._vectors is not None:
            self._statistics, close = await self._closeness(encoder.name, found, self._vectors)
        if close is None and sum(len(one.rows) for one in found) <= INLINE:
            ranked, self._statistics = rank(kinds, question, self._statistics)
        else:
            ranked, self._statistics = await self._context.aside(rank, kinds, question, self._statistics, close)
        return ranked

    async def _closeness(
        self, model: str, found: Sequence[Found], vectors: QuestionVectors
    ) -> tuple[Statistics, list[list[float]] | None]:
        """Measures how near each turn comes to the question, against the usual: of these turns, or of the first page.

        None when no turn has vectors yet.
        """
        # Not imported without a model: numpy may not be there.
        from resolvers.search.closeness import closeness, unusual, usual

        statistics, read = self._statistics, self._context.read
        before = statistics.usual
        collections = [source.collection for source in self._sources]
        # What gets its vectors between two pages keeps the score that it had without.
        through = before.through if before else [(await vector_progress(read, of)).through for of in collections]
        numbers = [[row.number for row in one.rows] for one in found]
        kept = [
            await read_vectors(read, of, model, own, last)
            for of, own, last in zip(collections, numbers, through, strict=True)
        ]
        if before is None and not any(any(one) for one in kept):
            return statistics, None
        if before is None or self._is_new:
            # Edited ones, by and large.
            late = [
                [number for number, one in zip(own, vectors, strict=True) if one is None and number <= last]
                for own, vectors, last in zip(numbers, kept, through, strict=True)
            ]
        else:
            late = before.late
            kept = [
                [None if number in missing else one for number, one in zip(own, vectors, strict=True)]
                for own, vectors, missing in zip(numbers, kept, map(set, late), strict=True)
            ]
        weights = dict(zip(self._asked.question.terms, statistics.weights(), strict=True))
        words = [weights.get(term_of(word), 0.0) for word in vectors.words]
        shown = [some[:LATE] for some in late]

        def judge() -> tuple[Usual, list[list[float]]]:
            near = [closeness(vectors, one) for one in kept]
            by = before._replace(late=shown) if before else Usual(model, through, shown, *usual(near))
            return by, [unusual(one, words, by) for one in near]

        by, close = await self._context.aside(judge)
        return replace(statistics, usual=by), close


def _mean_length(found: Found) -> float:
    return sum(row.turn.length for row in found.rows) / max(1, len(found.rows))


def _passing(found: Found, scores: Sequence[tuple[float, Turn]]) -> Iterator[tuple[float, Turn]]:
    """The turns that may be results."""
    passing = {row.turn[:2] for row in found.rows if row.passes}
    return (scored for scored in scores if scored[1][:2] in passing)


def _filters(context: OperationContext, asked: Asked) -> dict[str, Within]:
    """Returns where to search for each kind, and by which filters; without the kinds of which nothing can pass.

    Roles ask for messages, kinds for memories; both together for messages of these roles and memories of these kinds.
    A user searches its own, and finds nothing of another.
    """
    project, viewer = context.scope.project, context.scope.user
    user = viewer if asked.user_id is None else user_key(project, asked.user_id)
    if viewer is not None and user != viewer:
        return {}
    session = None if asked.session_id is None else session_key(project, asked.session_id)
    given = {name: value for name, value in (asked.filter or {}).items() if value is not None}
    found: dict[str, Within] = {}
    for name in asked.scopes:
        own = {"MESSAGES": "roles", "MEMORIES": "kinds"}.get(name)
        if own not in given and ("roles" in given or "kinds" in given):
            continue
        whose = Within(user, session)
        if name == "DOCUMENTS":
            if session is not None and asked.agent is None:
                continue
            # A session has no documents of its own.
            whose = Within(user, None, asked.agent)
        builder = FilterBuilder(given).metadata().ranges("created_at")
        if own is not None:
            builder.lists(own)
        built = builder.build()
        values = {**built.values, "as_of": context.clock.now()}
        found[name] = replace(whose, given=built.given, values=values)
    return found


async def _question_vectors(
    encoder: Encoder | None, asked: Asked, statistics: Statistics | None
) -> QuestionVectors | None:
    """The vectors of a question, if there is a model; a later page is scored with it if the first was."""
    before = statistics.usual if statistics is not None else None
    if (statistics is not None and before is None) or not asked.question.terms:
        return None
    vectors = None
    if encoder is not None and (before is None or before.model == encoder.name):
        vectors = await encoder.encode_question(asked.query)
    if before is not None and (vectors is None or len(vectors.words) != len(before.means)):
        raise Unavailable(
            "The model that the pages before were scored with can't be had now; try again, "
            "or start again without `after`."
        )
    return vectors


async def _nodes_within(
    context: OperationContext, names: Sequence[str], places: Sequence[Place], most: int | None
) -> list[Record | None]:
    """The objects of results, in order, until their texts have so many characters."""
    if most is None:
        return await _nodes(context, names, places)
    nodes: list[Record | None] = []
    size = 0
    while len(nodes) < len(places) and size < most:
        some = await _nodes(context, names, places[len(nodes) : len(nodes) + READ_TOGETHER])
        nodes += some
        size += sum(len(node["content"]) for node in some if node is not None)
    return nodes


async def _nodes(context: OperationContext, names: Sequence[str], places: Sequence[Place]) -> list[Record | None]:
    """The objects of results, in order; None for one that is gone."""
    found: dict[tuple[int, bytes, int], Record | None] = {}
    for number, name in enumerate(names):
        keys = [(place.key, place.position) for place in places if place.scope == number]
        if not keys:
            continue
        if name == "MESSAGES":
            rows = await messages_by_place(context.read, context.scope, keys)
        else:
            by_key = memories_by_key if name == "MEMORIES" else documents_by_key
            rows = await by_key(context.read, context.scope, [key for key, _ in keys])
        found |= {(number, *key): row for key, row in zip(keys, rows, strict=True)}
    return [found[place.scope, place.key, place.position] for place in places]
