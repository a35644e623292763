"""Search: messages, memories and documents that answer a question, best first."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error, crc32
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from heapq import nsmallest
from itertools import chain
from math import isfinite
from typing import Any, NamedTuple, cast

import orjson

from models.documents import documents_by_key
from models.errors import Unavailable
from models.keys import session_key, user_key
from models.memories import memories_by_key
from models.messages import messages_by_place
from models.search import (
    COLLECTIONS,
    Collection,
    Within,
    bring_up_to_date,
    count_word,
    is_small,
    passing,
    progress,
    read_all,
    read_some,
    read_tail,
    rows_with_word,
)
from models.statements import Record
from models.users import users_by_key
from models.vectors import read_vectors, vector_progress
from resolvers.connections import Paging
from resolvers.context import Context
from resolvers.embeddings import Encoder, QuestionVectors
from resolvers.errors import BadInput
from resolvers.filters import FilterBuilder, Given
from resolvers.highlights import highlight
from resolvers.questions import Question, parse_question, term_of
from resolvers.ranking import Gathered, Statistics, Turn, Usual, gather, occurrences, rank, statistics_of
from resolvers.users import display_name

GATHERED = 10_000
"""Rows that the index names for the rarest words of a question, about; the commoner ones are left to scoring."""

LATE = 100
"""Texts of a kind, at most, that a cursor names because they waited for new vectors when its first page was scored."""

READ_TOGETHER = 16
"""Objects that are read together where they are read until there is enough."""

INLINE_HIGHLIGHTS = 32 * 1024
"""Characters of texts that are highlighted in the event loop, at most."""

INLINE, INLINE_LENGTH = 200, 200_000
"""Texts that are ranked at once, and their characters; more in a thread, so that others are answered meanwhile."""


@dataclass(frozen=True)
class Asked:
    """A search as it was asked; `scopes` in the order of the contract, without repetition."""

    query: str
    scopes: tuple[str, ...]
    user_id: str | None
    session_id: str | None
    filter: Given
    agent: bytes | None = None
    """An agent by key, whose documents are searched along with the user's."""

    @cached_property
    def question(self) -> Question:
        return parse_question(self.query)

    @cached_property
    def seed(self) -> int:
        """What a cursor of this search is checked with."""
        asked = [self.query, self.scopes, self.user_id, self.session_id, self.filter]
        identity = json.dumps(asked, sort_keys=True).encode("utf-8", "surrogatepass")
        return int.from_bytes(blake2b(identity, digest_size=4).digest(), "big")


class Place(NamedTuple):
    """Where a result stands: the better score first, then kind, key and sequence."""

    worse: float
    scope: int
    key: bytes
    position: int


class Edge(NamedTuple):
    """A result on a page."""

    asked: Asked
    statistics: Statistics
    place: Place
    node: Record

    @property
    def cursor(self) -> str:
        place, by = self.place, self.statistics
        scored_by: list[Any] = [by.count, by.frequencies, by.lengths, by.best]
        if by.usual is not None:
            scored_by += by.usual
        position = orjson.dumps([place.worse, place.scope, place.key.hex(), place.position, *scored_by])
        check = crc32(position, self.asked.seed).to_bytes(4, "big")
        return urlsafe_b64encode(check + position).rstrip(b"=").decode()

    @property
    def score(self) -> float:
        return -self.place.worse

    @property
    def text(self) -> str:
        node = self.node
        return f"{node['title']}\n{node['content']}" if COLLECTIONS["DOCUMENTS"].is_of(node) else node["content"]


async def highlights(context: Context, edges: Sequence[Edge]) -> list[str | None]:
    """The part of each result's text that answers best."""

    def work() -> list[str | None]:
        return [highlight(edge.text, edge.asked.question, context.allowance.check) for edge in edges]

    if sum(len(edge.node["content"]) for edge in edges) <= INLINE_HIGHLIGHTS:
        return work()
    return await context.aside(work)


@dataclass(frozen=True)
class SearchPage:
    """One page of results."""

    edges: list[Edge]
    has_next_page: bool
    has_previous_page: bool

    @property
    def nodes(self) -> list[Record]:
        return [edge.node for edge in self.edges]

    @property
    def start_cursor(self) -> str | None:
        return self.edges[0].cursor if self.edges else None

    @property
    def end_cursor(self) -> str | None:
        return self.edges[-1].cursor if self.edges else None


async def search(
    context: Context,
    *,
    query: str,
    paging: Paging,
    scope: Sequence[str] | None = None,
    user_id: str | None = None,
    session_id: str | None = None,
    filter: Given = None,
    agent: bytes | None = None,
    most_characters: int | None = None,
) -> SearchPage:
    """A page of what answers the query, of all there is within the scope; a later page is scored as the first was.

    For the application itself the documents of an agent (its key) are searched along with the user's. With
    `most_characters` the page ends early once its texts have so many.
    """
    if not query.strip():
        raise BadInput("`query` is empty; say what to look for.")
    names = tuple(name for name in COLLECTIONS if scope is None or name in scope)
    asked = Asked(query, names, user_id, session_id, filter, agent if context.scope.user is None else None)
    filters = _filters(context, asked)
    after, statistics = _position(asked, paging.after) if paging.after is not None else (None, None)
    encoder = context.encoder
    vectors = await _question_vectors(encoder, asked, statistics)
    found = [
        await _gathered(context, COLLECTIONS[name], asked.question, filters.get(name), statistics) for name in names
    ]
    kinds = [one.gathered for one in found]
    if statistics is None:
        statistics = statistics_of(kinds)
    if encoder is not None and vectors is not None:
        statistics, close = await _closeness(context, encoder.name, found, vectors, asked, statistics)
        ranked, statistics = await context.aside(rank, kinds, asked.question, statistics, close)
    elif _are_few([turn for kind in kinds for turn in kind.turns]):
        ranked, statistics = rank(kinds, asked.question, statistics)
    else:
        ranked, statistics = await context.aside(rank, kinds, asked.question, statistics)
    places = [
        Place(-score, number, turn.place, turn.position)
        for number, (one, scores) in enumerate(zip(found, ranked, strict=True))
        for score, turn in scores
        if one.passing is None or (turn.place, turn.position) in one.passing
    ]
    least = (filter or {}).get("min_score")
    places = [
        place for place in places if (after is None or place > after) and (least is None or -place.worse >= least)
    ]
    chosen = nsmallest(paging.limit + 1, places)
    nodes = await _nodes_within(context, names, chosen[: paging.limit], most_characters)
    edges = [
        Edge(asked, statistics, place, node)
        for place, node in zip(chosen, nodes, strict=False)
        # What was deleted while it was being ranked is no result.
        if node is not None
    ]
    return SearchPage(edges, len(chosen) > paging.limit, paging.after is not None)


def _filters(context: Context, asked: Asked) -> dict[str, Within]:
    """Where to search for each kind, and by which filters; without the kinds of which nothing can pass.

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


class Found(NamedTuple):
    """Turns of one kind, of which some answer, with their numbers; and the places of those that may be results (None:
    of all)."""

    gathered: Gathered
    numbers: list[int]
    passing: set[tuple[bytes, int]] | None


async def _gathered(
    context: Context,
    collection: Collection,
    question: Question,
    within: Within | None,
    statistics: Statistics | None,
) -> Found:
    if within is None or not question.terms:
        return Found(gather([], question), [], None)
    frequencies, count = None, 0
    if await is_small(context.read, collection, within):
        rows = await read_all(context.read, context.scope, collection, within)
    else:
        rows, frequencies, count = await _candidates(context, collection, within, question, statistics)
    turns = await _turns(context, rows)
    gathered = gather(turns, question) if _are_few(turns) else await context.aside(gather, turns, question)
    if frequencies is not None:
        gathered = Gathered(turns, gathered.found, frequencies, count)
    numbers = [row["number"] for row in rows] if context.encoder is not None else []
    if not within.given:
        return Found(gathered, numbers, None)
    return Found(gathered, numbers, {(row["place"], row["position"]) for row in rows if row["passes"]})


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


async def _closeness(
    context: Context,
    model: str,
    found: Sequence[Found],
    asked_for: QuestionVectors,
    asked: Asked,
    statistics: Statistics,
) -> tuple[Statistics, list[list[float]] | None]:
    """How near each turn comes to the question, by what is usual: among these, or when the first page was scored.

    None when no turn has vectors yet.
    """
    # Not imported without a model: numpy may not be there.
    from resolvers.closeness import closeness, unusual, usual

    before = statistics.usual
    collections = [COLLECTIONS[name] for name in asked.scopes]
    # What gets its vectors between two pages keeps the score that it had without.
    through = before.through if before else [(await vector_progress(context.read, of)).through for of in collections]
    kept = [
        await read_vectors(context.read, of, model, one.numbers, last)
        for of, one, last in zip(collections, found, through, strict=True)
    ]
    if before is None and not any(any(one) for one in kept):
        return statistics, None
    if before is None:
        # Edited ones, by and large.
        late = [
            [number for number, one in zip(of.numbers, vectors, strict=True) if one is None and number <= last]
            for of, vectors, last in zip(found, kept, through, strict=True)
        ]
    else:
        late = before.late
        kept = [
            [None if number in missing else one for number, one in zip(of.numbers, vectors, strict=True)]
            for of, vectors, missing in zip(found, kept, map(set, late), strict=True)
        ]
    weights = dict(zip(asked.question.terms, statistics.weights(), strict=True))
    words = [weights.get(term_of(word), 0.0) for word in asked_for.words]

    def judge() -> tuple[Usual, list[list[float]]]:
        near = [closeness(asked_for, one) for one in kept]
        by = before or Usual(model, through, [some[:LATE] for some in late], *usual(near))
        return by, [unusual(one, words, by) for one in near]

    by, close = await context.aside(judge)
    return replace(statistics, usual=by), close


def _are_few(turns: Sequence[Turn]) -> bool:
    return len(turns) <= INLINE and sum(len(turn.text) for turn in turns) <= INLINE_LENGTH


async def _turns(context: Context, rows: Sequence[Record]) -> list[Turn]:
    """Rows as they are ranked. A user's message without a name is the user's own."""
    owners = list({row["owner"] for row in rows if row["owner"] and row["role"] == "USER" and row["name"] is None})
    users = await users_by_key(context.read, context.scope, owners) if owners else []
    names = {
        key: display_name(user["name"], user["first_name"], user["last_name"])
        for key, user in zip(owners, users, strict=True)
        if user is not None
    }
    return [
        Turn(place, position, text, name or (names.get(owner) if role == "USER" else None), role, created_at)
        for _, place, position, role, name, owner, text, created_at, _ in cast(Iterable[Any], rows)
    ]


async def _candidates(
    context: Context, collection: Collection, within: Within, question: Question, statistics: Statistics | None
) -> tuple[list[Record], list[int], int]:
    """Rows that the index and what is not in it yet have for a question, in order; the frequencies of its terms; and
    how many rows there are."""
    read = context.read
    through, newest = await progress(read, collection)
    if newest - through > 2 * collection.late:
        # Where nothing can be written, the search takes longer.
        with suppress(Unavailable):
            await bring_up_to_date(context.database, collection)
        through, newest = await progress(read, collection)
    # The tail is read after `through`: what goes into the index meanwhile is seen twice, not missed.
    tail = await read_tail(read, collection, through)
    texts = [row["text"] for row in tail]
    late = await context.aside(occurrences, texts, question.terms) if texts else [{} for _ in question.terms]
    asked = [said[0] for said in question.terms.values()]
    counts = [await count_word(read, collection, word) for word in asked]
    frequencies = [count + len(rows) for count, rows in zip(counts, late, strict=True)]
    weights = (statistics or Statistics(newest, frequencies, [])).weights()
    worth: dict[int, float] = {}
    gathered = 0
    for _, index in sorted((count, index) for index, count in enumerate(counts)):
        if gathered and gathered + counts[index] > GATHERED:
            break
        for number in await rows_with_word(read, collection, asked[index], GATHERED):
            worth[number] = worth.get(number, 0.0) + weights[index]
        gathered += counts[index]
    for index, rows in enumerate(late):
        for row in rows:
            number = tail[row]["number"]
            worth[number] = worth.get(number, 0.0) + weights[index]
    ordered_by_worth = sorted(worth, key=lambda number: (-worth[number], -number))
    best = await _best(context, collection, within, ordered_by_worth)
    rows = await read_some(read, context.scope, collection, within, best)
    found = {row["number"]: row for row in rows}
    ordered = sorted(found.values(), key=lambda row: (row["place"], row["position"]))
    return ordered, frequencies, newest


async def _best(context: Context, collection: Collection, within: Within, numbers: Sequence[int]) -> list[int]:
    """The first so many of these numbers whose rows may be results."""
    best: list[int] = []
    # Of a whole project nearly all may; of a user in it perhaps one in a thousand.
    start, size = 0, 2 * collection.chosen
    while start < len(numbers) and len(best) < collection.chosen:
        some = numbers[start : start + size]
        may = await passing(context.read, context.scope, collection, within, some)
        best += [number for number in some if number in may]
        start, size = start + size, 4 * size
    return best[: collection.chosen]


async def _nodes_within(
    context: Context, names: Sequence[str], places: Sequence[Place], most: int | None
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


async def _nodes(context: Context, names: Sequence[str], places: Sequence[Place]) -> list[Record | None]:
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


def _position(asked: Asked, cursor: str) -> tuple[Place, Statistics]:
    """Where a cursor points, and what its page was scored by; `BadInput` when it is not one of this search's."""
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        whole = urlsafe_b64encode(raw).rstrip(b"=").decode() == cursor
        if whole and int.from_bytes(raw[:4], "big") == crc32(raw[4:], asked.seed):
            worse, scope, key, position, count, frequencies, lengths, best, *by = orjson.loads(raw[4:])
            usual = Usual(*by) if by else None
            numbers = [count, best, *frequencies, *lengths]
            fits = len(frequencies) == len(asked.question.terms) and len(lengths) == len(asked.scopes)
            if usual is not None:
                numbers += chain(usual.through, *usual.late)
                fits = fits and len(usual.through) == len(usual.late) == len(asked.scopes)
                fits = fits and len(usual.means) == len(usual.deviations)
                fits = fits and all(isfinite(number) for number in (*usual.means, *usual.deviations, usual.length))
            if fits and all(isfinite(number) and 0 <= number < 2**53 for number in numbers):
                place = Place(float(worse), int(scope), bytes.fromhex(key), int(position))
                return place, Statistics(count, frequencies, lengths, best, usual)
    except (UnicodeEncodeError, Error, ValueError, TypeError):
        pass
    raise BadInput(
        "The cursor in `after` does not belong to this search with this query, scope and filter; "
        "start again without `after`."
    )
