"""Questions: converts a sentence to search terms.

No character of it is an operator. English words are stemmed and the most common ones passed over; words of other
languages stand for themselves.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

from models.stemming import term_of
from models.words import UNSPACED, words
from resolvers.cursors import seed_of
from resolvers.filters import Given
from resolvers.search.english import ASKS_WHEN, FORMS, MONTHS, OF_SELF, STOP_WORDS, TO_OTHER

LARGEST_QUESTION = 64
"""Most different words that are searched: the first ones."""

MOST_PARTS = 8
"""Most parts of a name that is also looked for as others write it; what has more is no name."""

# In characters; no question is longer, and text pasted after it would only cost time.
_READ = 64 * 1024

_compound = re.compile(r"\w+(?:[-_./:,+#]\w+)*", re.ASCII)
_part = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_numbered = re.compile(r"\b([A-Za-z]+)\s+(\d+)\b", re.ASCII)

_single = re.compile(f"[{UNSPACED}]")
_asks_when = re.compile(ASKS_WHEN, re.IGNORECASE)


def beginning(term: str) -> str:
    """The common prefix of all words with this stem. Stemming turns y into i, adds an e, and writes bl for bil."""
    if term.endswith("bl") and len(term) > 2:
        return term[:-2]
    return term[:-1] if len(term) > 1 and term[-1] in "ei" and term.isascii() else term


@dataclass(frozen=True)
class Question:
    """`terms` with, for each, the words that it was asked by; and what else the sentence says.

    `also` are the terms that it was not asked by: other ways to write the same. `said` are all its words. `day` is a
    date that it names, of which the year and the day may be missing.
    """

    terms: dict[str, list[str]]
    said: frozenset[str]
    asks_when: bool
    role: str | None
    day: tuple[int | None, int, int | None] | None
    also: frozenset[str] = frozenset()


def parse_question(text: str) -> Question:
    """Parses a sentence; one without words has no terms."""
    text = text[:_READ]
    said = words(text)
    pairs = {character for word in said if len(word) == 2 and _single.match(word) for character in word}
    said = [word for word in said if word not in pairs]
    # A question with only stop words searches for these.
    wanted = [word for word in said if word not in STOP_WORDS] or said
    terms: dict[str, list[str]] = {}
    for word in dict.fromkeys(wanted):
        term = term_of(word)
        if term in terms or len(terms) < LARGEST_QUESTION:
            terms.setdefault(term, []).append(word)
    also: set[str] = set()
    others = [form for word in wanted for form in FORMS.get(word) or FORMS.get(term_of(word), ())]
    for word in dict.fromkeys([*others, *_written_otherwise(text)]):
        term = term_of(word)
        if term not in terms and len(terms) < LARGEST_QUESTION and word not in STOP_WORDS:
            terms[term] = [word]
            also.add(term)
    every = frozenset(said)
    role = None
    if every & TO_OTHER:
        role = "ASSISTANT"
    elif every & OF_SELF:
        role = "USER"
    return Question(terms, every, _asks_when.match(text) is not None, role, _day_of(text), frozenset(also))


def _written_otherwise(text: str) -> Iterator[str]:
    """The words of names and numbers in a sentence as others write them: `userName` as `user_name` or `username`,
    `iPhone 12` as `iphone12`, `1,000` as `1000`."""
    for compound in _compound.findall(text):
        parts = [part.lower() for part in _part.findall(compound)]
        # Of a name such as iPhone the rest is another word.
        if 1 < len(parts) <= MOST_PARTS and (len(parts[0]) > 1 or not compound.isalnum()):
            yield "".join(parts)
            yield from parts
    for word, number in _numbered.findall(text):
        if word.lower() not in STOP_WORDS:
            yield word.lower() + number


@dataclass(frozen=True)
class Asked:
    """A search as it was asked; `scopes` are names of kinds in the order of the contract, without repetition."""

    query: str
    scopes: tuple[str, ...]
    user_id: str | None
    session_id: str | None
    filter: Given
    agent_id: str | None = None
    beside: bytes | None = None
    """An agent by key, whose own objects are searched along with the user's."""

    @cached_property
    def question(self) -> Question:
        return parse_question(self.query)

    @cached_property
    def seed(self) -> int:
        """A number that the cursors of this search are checked with."""
        asked = [self.query, self.scopes, self.user_id, self.session_id, self.filter]
        # Cursors from before there were agents here stay valid.
        asked += [] if self.agent_id is None else [self.agent_id]
        return seed_of(json.dumps(asked, sort_keys=True).encode("utf-8", "surrogatepass"))


_month = f"(?P<month>{'|'.join(MONTHS)})"
# A short form alone may be a name (Jan), or another word (mar).
_short = rf"(?P<month>{'|'.join(MONTHS)}|(?:{'|'.join(name[:3] for name in MONTHS)}|sept)\b\.?)"
_ordinal = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?\b(?!\d)"
_dates = [
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"\b{_short}\s+{_ordinal}(?:,?\s+(?P<year>\d{{4}})\b)?",
        rf"\b{_ordinal}(?:\s+of)?[\s-]+{_short}(?!\w)(?:,?[\s-]+(?P<year>\d{{4}})\b)?",
        r"\b(?P<year>\d{4})-(?P<number>\d\d)(?:-(?P<day>\d\d))?\b",
        r"\b(?P<year>\d{4})(?P<mark>[/.])(?P<number>\d\d?)(?P=mark)(?P<day>\d\d?)\b",
        r"\b(?P<day>\d\d?)\.\s?(?P<number>\d\d?)\.\s?(?P<year>\d{4})\b",
        # Americans write the month first; a number above 12 is the day.
        r"\b(?P<number>0?[1-9]|1[0-2])/(?P<day>\d\d?)/(?P<year>\d{4})\b",
        r"\b(?P<day>1[3-9]|2\d|3[01])/(?P<number>\d\d?)/(?P<year>\d{4})\b",
        rf"\b{_month}\b(?:,?\s+(?:of\s+)?(?P<year>\d{{4}})\b)?",
        rf"\b{_short}\s+(?P<year>\d{{4}})\b",
    )
]
_NUMBERS = {name[:3]: number for number, name in enumerate(MONTHS, 1)}
_modal = re.compile(r"\bmay\b(?!\s+\d)", re.IGNORECASE)


def _day_of(text: str) -> tuple[int | None, int, int | None] | None:
    # "may" is seldom a month.
    text = _modal.sub(" ", text) if " in may" not in text.lower() else text
    for form in _dates:
        if found := form.search(text):
            parts = found.groupdict()
            name: Any = parts.get("month")
            month = int(parts["number"]) if name is None else _NUMBERS[name[:3].lower()]
            year, day = (int(parts[name]) if parts.get(name) else None for name in ("year", "day"))
            try:
                date(year or 2000, month, day or 1)
            except ValueError:
                return None
            return year, month, day
    return None


def nearness(day: tuple[int | None, int, int | None], said_at: str) -> float:
    """A score from 0 to 1 for how well a stored time fits a date in a question: people speak of things afterwards."""
    year, month, of_month = day
    said = date.fromisoformat(said_at[:10])
    if year is not None and said.year != year:
        return 0.0
    try:
        passed = (said - date(said.year, month, of_month or 1)).days
    except ValueError:
        return 0.0
    if of_month is None:
        return 1.0 if said.month == month else 0.5 if 0 < passed < 45 else 0.0
    if 0 <= passed <= 1:
        return 1.0
    return 0.7 if -1 <= passed <= 7 else 0.3 if -3 <= passed <= 31 else 0.0
