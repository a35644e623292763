"""Highlights: the part of a text that answers a question best, as HTML with its words marked."""

from collections import Counter
from collections.abc import Callable, Iterator
from html import escape

from models.stemming import term_of
from models.words import TOKEN, folded, spaced, words
from resolvers.search.questions import Question, beginning

LONGEST = 300
"""Approximate characters of a highlight; a shorter text is shown whole."""

_BLOCK = 32 * 1024
_LONG_WORD = 256

Hit = tuple[int, int, list[str]]
"""The start and end of a marked word, and the question's terms that it matches."""


def highlight(text: str, question: Question, check: Callable[[], None] = lambda: None) -> str | None:
    """HTML with no tag but `mark`; None if the text has no word of the question.

    A long text is looked through block by block, and `check` called before each: it may raise, which ends it.
    """
    prefixes = tuple(beginning(term) for term in question.terms)
    hits: list[Hit] = []
    for start, end in _blocks(text):
        check()
        if _may_hold(text[start:end], question, prefixes) and (hits := _hits(text, question, start, end)):
            break
    if not hits:
        return None
    first, last = (0, len(text)) if len(text) <= LONGEST else _window(text, hits)
    pieces = ["…" if first else ""]
    at = first
    for start, end, _ in hits:
        if start >= at and end <= last:
            pieces += [escape(text[at:start]), "<mark>", escape(text[start:end]), "</mark>"]
            at = end
    pieces += [escape(text[at:last]), "…" if last < len(text) else ""]
    return "".join(pieces)


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """The bounds of a text's blocks: between words, if there are spaces."""
    start = 0
    while start < len(text):
        end = start + _BLOCK
        space = text.find(" ", end, end + _LONG_WORD)
        end = space if space >= 0 else end
        yield start, end
        start = end


def _may_hold(block: str, question: Question, prefixes: tuple[str, ...]) -> bool:
    """True if a block may have a word of the question; avoids tokenizing the block if possible."""
    if not block.isascii() and not any(map(folded(block).__contains__, prefixes)):
        return False
    different = set(spaced(block).split())
    return any(term_of(word) in question.terms for word in different if word.startswith(prefixes))


def _hits(text: str, question: Question, start: int, end: int) -> list[Hit]:
    found: list[Hit] = []
    known: dict[str, list[str]] = {}
    for token in TOKEN.finditer(text, start, end):
        said = token.group()
        terms = known.get(said)
        if terms is None:
            terms = known[said] = [term for word in words(said) if (term := term_of(word)) in question.terms]
        if terms:
            found += _within(token.start(), said, terms)
    return found


def _within(start: int, token: str, terms: list[str]) -> list[Hit]:
    """The positions of terms in a token: a run of characters without spaces has several words."""
    offsets: set[int] = set()
    for term in terms:
        at = token.find(term)
        # If the term is not spelled out, as in most words, it is the whole token.
        if at < 0 or token.isascii():
            return [(start, start + len(token), terms)]
        while at >= 0:
            offsets.update(range(at, at + len(term)))
            at = token.find(term, at + 1)
    hits: list[Hit] = []
    for offset in sorted(offsets):
        if hits and hits[-1][1] == start + offset:
            hits[-1] = (hits[-1][0], start + offset + 1, terms)
        else:
            hits.append((start + offset, start + offset + 1, terms))
    return hits


def _window(text: str, hits: list[Hit]) -> tuple[int, int]:
    """The stretch of about `LONGEST` characters with the most different terms, the first of several such."""
    inside: Counter[str] = Counter()
    best, chosen, left = 0, 0, 0
    for start, end, terms in hits:
        inside.update(terms)
        while hits[left][0] < end - LONGEST and hits[left][0] < start:
            inside.subtract(hits[left][2])
            left += 1
        if (different := sum(count > 0 for count in inside.values())) > best:
            best, chosen = different, left
    first = max(0, hits[chosen][0] - LONGEST // 6)
    first = text.rfind(" ", max(0, first - 20), first) + 1 or first
    last = min(len(text), first + LONGEST)
    space = text.find(" ", last, last + 20)
    return first, space if space >= 0 else last
