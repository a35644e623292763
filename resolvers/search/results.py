"""Results: all that answers a question, best first, a page at a time.

A page goes through the windows of candidates, best first, until it has enough results.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from models.errors import Unavailable
from models.keyset import Fetched, cut
from resolvers.embeddings import Encoder, QuestionVectors
from resolvers.operation_context import OperationContext
from resolvers.search.candidates import Found, Source
from resolvers.search.gathering import INLINE
from resolvers.search.positions import Position, Result, Stage, read_cursor
from resolvers.search.questions import Asked
from resolvers.search.ranking import Gathered, Statistics, Turn, Usual, rank

LATE = 100
"""Most texts of a kind listed in a cursor because they waited for new vectors when its page was scored."""


class Results:
    """The results of a search from the windows of a stage on, after a position in them, or from the first."""

    def __init__(
        self,
        context: OperationContext,
        asked: Asked,
        sources: Sequence[Source],
        stage: Stage,
        statistics: Statistics,
        vectors: QuestionVectors | None,
        after: Position | None,
    ) -> None:
        self._context = context
        self._asked = asked
        self._sources = sources
        self._stage: Stage = stage
        self._statistics = statistics
        self._vectors = vectors
        self._after = after
        self._is_new = after is None
        self._least = (asked.filter or {}).get("min_score") or 0.0

    @classmethod
    async def first(cls, context: OperationContext, asked: Asked, sources: Sequence[Source]) -> "Results":
        """All results."""
        vectors = await _question_vectors(context.encoder, asked, None)
        stage = Stage(tuple([await source.open() for source in sources]))
        frequencies = [sum(each) for each in zip(*(source.frequencies for source in sources), strict=True)]
        statistics = Statistics(sum(source.count for source in sources), frequencies, ())
        return cls(context, asked, sources, stage, statistics, vectors, None)

    @classmethod
    async def after(cls, context: OperationContext, asked: Asked, sources: Sequence[Source], cursor: str) -> "Results":
        """The results after a cursor, ranked like the earlier ones."""
        last = read_cursor(asked, cursor)
        vectors = await _question_vectors(context.encoder, asked, last.statistics)
        return cls(context, asked, sources, last.stage, last.statistics, vectors, last.position)

    async def page(self, limit: int) -> Fetched[Result]:
        """The next results up to a limit, and True if there are more."""
        results: list[Result] = []
        while len(results) <= limit:
            ranked = await self._ranked()
            stage, statistics = self._stage, self._statistics
            rest = [position for position in ranked if self._after is None or position > self._after]
            passing = [position for position in rest if stage.score(position) >= self._least]
            results += [Result(statistics, stage, position) for position in passing[: limit + 1 - len(results)]]
            ceiling = min([1.0 if stage.ceiling is None else stage.ceiling, *(-position.worse for position in ranked)])
            following = stage.following(len(self._asked.question.terms), ceiling)
            if following is None or ceiling < self._least:
                break
            self._stage, self._is_new, self._after = following, True, None
        return cut(results, limit)

    async def _ranked(self) -> list[Position]:
        """Ranks the windows where the search stands, best first; afterwards their bounds are known."""
        stage = self._stage
        weights = self._statistics.weights()
        found = [
            await source.read(window, weights, is_first=stage.ceiling is None)
            for source, window in zip(self._sources, stage.windows, strict=True)
        ]
        self._stage = Stage(tuple(one.window for one in found), stage.ceiling)
        if not self._statistics.lengths:
            self._statistics = replace(self._statistics, lengths=[_mean_length(one) for one in found])
        ranked = await self._rank(found)
        positions = [
            Position(-score, number, *turn.location)
            for number, (one, scores) in enumerate(zip(found, ranked, strict=True))
            for score, turn in _passing(one, scores)
        ]
        return sorted(positions)

    async def _rank(self, found: Sequence[Found]) -> list[list[tuple[float, Turn]]]:
        question, close, worth = self._asked.question, None, 0.0
        kinds = [Gathered([row.turn for row in one.rows], one.occurrences) for one in found]
        if (encoder := self._context.encoder) is not None and self._vectors is not None:
            self._statistics, close = await self._closeness(encoder, found, self._vectors)
            worth = encoder.worth
        if close is None and sum(len(one.rows) for one in found) <= INLINE:
            ranked, self._statistics = rank(kinds, question, self._statistics)
        else:
            ranked, self._statistics = await self._context.in_thread(
                rank, kinds, question, self._statistics, close, worth
            )
        return ranked

    async def _closeness(
        self, encoder: Encoder, found: Sequence[Found], vectors: QuestionVectors
    ) -> tuple[Statistics, list[list[float]] | None]:
        """Measures how near each turn comes to the question, against the usual: of these turns, or of the first page.

        None when no turn has vectors yet.
        """
        # Imported only with a model: otherwise numpy may not be installed.
        from resolvers.search.closeness import unusual, usual, weigh

        statistics, read, model = self._statistics, self._context.read, encoder.name
        before = statistics.usual
        searched = [source.kind for source in self._sources]
        # A text that gets its vectors between two pages keeps its score without them.
        if before is None:
            through = [(await read.vectors.vector_progress(read, of, model)).through for of in searched]
        else:
            through = before.through
        numbers = [[row.number for row in one.rows] for one in found]
        kept = [
            await read.vectors.read_vectors(read, of, model, own, last)
            for of, own, last in zip(searched, numbers, through, strict=True)
        ]
        if before is None and not any(any(one) for one in kept):
            return statistics, None
        if before is None or self._is_new:
            # Edited ones, mostly.
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
        shown = [some[:LATE] for some in late]

        def judge() -> tuple[Usual, list[list[float]]]:
            near = [encoder.closeness(vectors, one) for one in kept]
            by = before._replace(late=shown) if before else Usual(model, through, shown, *usual(near))
            return by, [unusual(one, weigh(vectors.words, weights), by) for one in near]

        by, close = await self._context.in_thread(judge)
        return replace(statistics, usual=by), close


def _mean_length(found: Found) -> float:
    return sum(row.turn.length for row in found.rows) / max(1, len(found.rows))


def _passing(found: Found, scores: Sequence[tuple[float, Turn]]) -> Iterator[tuple[float, Turn]]:
    """The turns that may be results."""
    passing = {row.turn.location for row in found.rows if row.passes}
    return (scored for scored in scores if scored[1].location in passing)


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
            "The model that scored the earlier pages is unavailable; try again, or start again without `after`."
        )
    return vectors
