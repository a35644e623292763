"""Narrowing: selects the words to search for if a text has too many, for example a pasted log.

These are the words of the sentences that ask, anywhere in the text, and the rarest words of the rest: those in the
fewest texts of the scope, by the index, but in at least one.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from models.allowance import Allowance
from models.candidates import read_tail
from models.search import count_words, extent, part_to_read
from models.search_kinds import SEARCH_KINDS, SearchKind, Within
from models.stemming import LONGEST_STEMMED, term_of
from models.words import words
from resolvers.contexts.asks import sentences_that_ask
from resolvers.operation_context import OperationContext
from resolvers.search.english import STOP_WORDS
from resolvers.search.questions import LARGEST_QUESTION

LONGEST = 1024 * 1024
"""Characters of a text that are read: its first and its last ones."""

ASKED = 48
"""Most of a search's words that come from sentences that ask."""

LOOKED_UP = 4096
"""Look-ups in the index, at most, to see how rare words are: a word takes `Part.look_ups`."""

COUNTED = 2000
"""Texts with a word that are counted, at most: it is not rare then."""

TAIL = 4_000_000
"""Characters of the texts that are not in the index yet which are looked through, at most."""


async def narrowed(context: OperationContext, text: str, within: Within) -> str:
    """The text itself if a search uses all of its words, else the part to search for in a scope."""
    if len(text) <= LARGEST_QUESTION:
        return text
    asked, rest = await context.in_thread(_parts, text[: LONGEST // 2] + text[LONGEST // 2 :][-LONGEST // 2 :])
    if not rest:
        return text if asked is None else asked
    counts = Counter[str]()
    beside = within.beside if context.scope.user is None else None
    within = replace(within, values={"as_of": context.clock.now()}, beside=beside)
    for kind in SEARCH_KINDS.values():
        own = kind.narrowed(within)
        if own is not None and own.whose:
            counts.update(await _counts(context, kind, own, rest))
    rare = sorted((term for term in rest if counts[term]), key=counts.__getitem__)
    free = LARGEST_QUESTION - len(words(asked or ""))
    return "\n".join(filter(None, [asked, " ".join(rest[term] for term in rare[: max(free, 0)])])) or text


def _parts(text: str) -> tuple[str | None, dict[str, str]]:
    """The question in a text (None without one), and its other terms with a word for each; for a text with few terms
    the text itself, and no other terms."""
    said = _terms(text)
    if len(said) <= LARGEST_QUESTION:
        return text, {}
    asked: list[str] = []
    terms: set[str] = set()
    for sentence in sentences_that_ask(text):
        more = terms.union(_terms(sentence))
        if len(more) <= ASKED:
            asked.append(sentence)
            terms = more
    return "\n".join(asked) or None, {term: word for term, word in said.items() if term not in terms}


def _terms(text: str) -> dict[str, str]:
    """The terms of a text with a word for each."""
    wanted = (word for word in words(text) if word not in STOP_WORDS and len(word) <= LONGEST_STEMMED)
    return {term_of(word): word for word in dict.fromkeys(wanted)}


async def _counts(context: OperationContext, kind: SearchKind, within: Within, terms: dict[str, str]) -> dict[str, int]:
    """The approximate number of texts of a scope with each term."""
    size = await extent(context.read, context.scope, kind, within)
    part = await part_to_read(context.read, context.scope, kind, size.lanes)
    some = _spread(list(terms), LOOKED_UP // part.look_ups)
    found = await count_words(context.read, kind, part, [terms[term] for term in some], most=COUNTED)
    tail = _Tail(set(terms), context.allowance)
    await read_tail(context.read, context.scope, kind, within, part, tail.receive)
    return tail.counts + Counter(dict(zip(some, found, strict=True)))


def _spread(terms: Sequence[str], most: int) -> Sequence[str]:
    """So many of the terms, from all of the text."""
    return terms if len(terms) <= most else [terms[index * len(terms) // most] for index in range(most)]


class _Tail:
    """Reads texts that are not indexed yet, in the reading thread, and counts those with each term."""

    def __init__(self, terms: set[str], allowance: Allowance) -> None:
        self._terms = terms
        self._allowance = allowance
        self._left = TAIL
        self.counts = Counter[str]()

    def receive(self, values: tuple[Any, ...]) -> None:
        self._allowance.check()
        text: str = values[1][: self._left]
        self._left -= len(text)
        self.counts.update(self._terms.intersection(map(term_of, set(words(text)))))
