"""Candidates: selects the texts of a scope that are ranked for a question, all of them or a window at a time.

Where a scope has few texts, all are ranked together. Else the index names those that hold a word of the question, and
they are ranked in windows: first the best by the rarity of their words, then the next best, and at last those that hold
none but very common words. A window lies between two bounds (see `models.full_text.Bound`) that cursors keep,
so that what is written between two pages neither hides a text nor brings it back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from models.candidates import around, candidates, near_better, read_tail
from models.full_text import COMMON, HIGHEST, LOWEST, RARE, Bound, Look, Term
from models.search import Extent, count_words, extent, part_to_read, read_all, read_some
from models.search_kinds import SearchKind, Within
from models.users import users_by_key
from resolvers.operation_context import OperationContext
from resolvers.search.gathering import Gathering, Row, Tail, outgrown
from resolvers.search.questions import Question
from resolvers.speakers import user_name

GATHERED = 10_000
"""Approximate number of texts with the rarest words of a question that form the first windows."""

RECALLED = 10_000
"""Most candidates of a window in a cursor; it had far fewer before other texts were written."""

PRECISION = 1_000_000
"""The factor that makes the weight of a word an integer: the sum of integers is the same in any order."""


@dataclass(frozen=True)
class Window:
    """The candidates that are ranked together: from a bound (excluded) to another (included), or to one that is known
    once they are read. `rare` are the indices of the question's terms that rank before the others."""

    rare: tuple[int, ...]
    first: Bound = HIGHEST
    last: Bound | None = None

    @property
    def is_common(self) -> bool:
        """True if its candidates hold no rare term."""
        return self.first.worth <= RARE

    def following(self, terms: int) -> "Window | None":
        """The next window, given the question's number of terms; None after the last."""
        if self.last is None or self.last == LOWEST or (self.last == COMMON and len(self.rare) == terms):
            return None
        return Window(self.rare, self.last)


@dataclass(frozen=True)
class Found:
    """Texts to be ranked together, in the order of threads and positions, and where each term of the question stands in
    them
    (see `resolvers.search.ranking.occurrences`)."""

    rows: Sequence[Row] = ()
    occurrences: Sequence[Mapping[int, float]] = ()
    window: Window | None = None


@dataclass
class Source:
    """The search of one kind of object in one request; nothing can be found if it `is_empty`.

    `frequencies` says in how many of its `count` texts each term of the question stands, once it is open.
    """

    context: OperationContext
    kind: SearchKind
    question: Question
    within: Within
    is_empty: bool
    frequencies: list[int] = field(init=False)
    count: int = 0
    _whole: Found | None = None
    _opened: tuple[Look, Tail] | None = None

    def __post_init__(self) -> None:
        self.frequencies = [0] * len(self.question.terms)

    async def open(self) -> Window | None:
        """Determines the size of the scope; returns the first window, or None if all texts are ranked together."""
        if self.is_empty:
            return None
        size = await self._extent()
        if size.is_small:
            whole = await self._read_whole()
            self.frequencies, self.count = [len(counts) for counts in whole.occurrences], len(whole.rows)
            return None
        look, tail = await self._open_index(size)
        words = [term.word for term in look.terms]
        counts = await count_words(self.context.read, self.kind, look.part, words)
        self.frequencies = [count + len(numbers) for count, numbers in zip(counts, tail.found, strict=True)]
        self.count = size.count if self.within.whose else size.count + tail.count
        return Window(_rarest(self.frequencies))

    async def read(self, window: Window | None, weights: Sequence[float], *, is_first: bool) -> Found:
        """The texts of a window; without a window all texts on the first call, then none."""
        if self.is_empty or (window is None and not is_first):
            return Found(occurrences=[{} for _ in self.question.terms])
        if window is None:
            return await self._read_whole()
        look, tail = self._opened or await self._open_index(await self._extent())
        return await self._read_window(window, _weighed(look, tail, window, weights))

    async def _extent(self) -> Extent:
        return await extent(self.context.read, self.context.scope, self.kind, self.within)

    async def _open_index(self, size: Extent) -> tuple[Look, Tail]:
        context = self.context
        # Texts that are indexed from now on are still read with the rest of the tail.
        part = await part_to_read(context.read, context.scope, self.kind, size.lanes)
        tail = Tail(self.question, self.context.allowance)
        await read_tail(context.read, context.scope, self.kind, self.within, part, tail.receive)
        await self.context.in_thread(tail.finish)
        terms = [Term(said[0], 0, rare=False) for said in self.question.terms.values()]
        self._opened = Look(terms, part), tail
        return self._opened

    async def _read_window(self, window: Window, look: Look) -> Found:
        read, scope, kind = self.context.read, self.context.scope, self.kind
        end = LOWEST if window.is_common else COMMON
        limit = kind.chosen if window.last is None else RECALLED + 1
        chosen = await candidates(read, scope, kind, self.within, look, window.first, window.last or end, limit)
        if window.last is None:
            window = replace(window, last=chosen[-1] if len(chosen) == limit else end)
        if len(chosen) > RECALLED:
            raise outgrown()
        numbers = await around(read, scope, kind, self.within, [bound.number for bound in chosen])
        found_before = set[int]()
        if window.first != HIGHEST:
            found_before = await near_better(read, scope, kind, self.within, look, window.first, numbers)
        gathering = Gathering(self.question, self.context.allowance)
        await read_some(read, scope, kind, self.within, numbers, gathering.receive)
        found = await self._finish(gathering)
        rows = [row._replace(passes=False) if row.number in found_before else row for row in found.rows]
        return Found(rows, found.occurrences, window)

    async def _read_whole(self) -> Found:
        if self._whole is None:
            gathering = Gathering(self.question, self.context.allowance)
            await read_all(self.context.read, self.context.scope, self.kind, self.within, gathering.receive)
            self._whole = await self._finish(gathering)
        return self._whole

    async def _finish(self, gathering: Gathering) -> Found:
        keys = gathering.users
        users = await users_by_key(self.context.read, self.context.scope, keys) if keys else []
        names = {key: user_name(user) for key, user in zip(keys, users, strict=True) if user is not None}
        if gathering.is_small:
            return Found(*gathering.finish(names))
        return Found(*await self.context.in_thread(gathering.finish, names))


def _weighed(look: Look, tail: Tail, window: Window, weights: Sequence[float]) -> Look:
    """The query for a window: for the rare terms only, until all texts with one are found."""
    terms: list[Term] = []
    late: dict[int, tuple[int, int]] = {}
    for index, (term, weight) in enumerate(zip(look.terms, weights, strict=True)):
        weighed = Term(term.word, max(1, round(weight * PRECISION)), index in window.rare)
        if not (weighed.rare or window.is_common):
            continue
        terms.append(weighed)
        for number in tail.found[index]:
            worth, base = late.get(number, (0, 0))
            late[number] = (worth + weighed.worth, max(base, weighed.base))
    return replace(look, terms=terms, tail=[(number, *worth) for number, worth in late.items()])


def _rarest(frequencies: Sequence[int]) -> tuple[int, ...]:
    """The indices of the rarest terms, as many as are gathered, but at least one."""
    rare: list[int] = []
    gathered = 0
    for count, index in sorted((count, index) for index, count in enumerate(frequencies)):
        if rare and gathered + count > GATHERED:
            break
        rare.append(index)
        gathered += count
    return tuple(sorted(rare))
