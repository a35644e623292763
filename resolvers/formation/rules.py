"""The rule engine: finds the claims of a message's author about themselves, by the rules of each language.

Rules are few and conservative: they ignore conditional, negated, asked, quoted, reported, relayed and fictional
statements, and miss ten statements rather than find a wrong one. A claim is a clause in the speaker's own words, never
a paraphrase.
"""

import re
from collections.abc import Collection, Iterator
from itertools import islice
from typing import NamedTuple

from resolvers.formation.languages import LANGUAGES, Language, Rule

LONGEST_TEXT = 2000
"""Longest message, in characters, that is read: a longer one was pasted."""
LONGEST_CLAUSE = 200
CLAIMS_OF_MESSAGE = 20
STARTS_OF_SENTENCE = 8
"""Places in a sentence where a statement might begin, at most: nobody says more of themselves in one breath."""


class Claim(NamedTuple):
    """A speaker's claim about themselves. Of one `subject` only the newest claim holds; without one it never conflicts.

    One that `denies` an object ends only a claim of that object.
    """

    kind: str
    subject: str | None
    content: str
    object: str | None = None
    denies: bool = False

    def ends(self, older: "Claim | None") -> bool:
        """True if it supersedes an older claim on its subject."""
        return not self.denies or (older is not None and not older.denies and older.object == self.object)


_hidden = re.compile(
    r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|<[a-z/!][^<>\n]*>|`[^`\n]*`|"
    r"^[ \t]*(?:>|\||(?:\d+|[a-zA-Z])[.)]\s|[*•–-]\s)[^\n]*|^(?: {4}|\t)[^\n]*|\[[^\[\]\n]*\]|"
    r"“[^”]*(?:”|\Z)|„[^“”\"]*(?:[“”\"]|\Z)|«[^»]*(?:»|\Z)|(?<!\w)['‘][^\n]+?['’](?!\w)|https?://\S+",
    re.DOTALL | re.MULTILINE,
)
_quoted = re.compile(r"\"[^\"]*\"")
_quoted_line = re.compile(r"\"[^\"\n]*(?:\"|$)", re.MULTILINE)
# The beginning of a text by somebody else: its heading, or its author.
_relayed = re.compile(
    r"^[ \t]*(?:[-=*]{2,}[^\n]{0,80}(?:forward|original|message|nachricht|mensaje|transf)|[-=*]{3,}[ \t]*$|"
    r"begin forwarded message|(?:from|sent|subject|von|gesendet|betreff|de|enviado|asunto|envoy[ée]|objet)[ \t]*:|"
    r"(?:on|am|el|le)\b[^\n]{4,120}(?:wrote|schrieb|escribi[óo]|a écrit)\b|"
    r"[^\n]{1,60}\b(?:wrote|writes|says|schrieb|schreibt|escribi[óo]|escribe|a écrit|écrit)[ \t]*[:,]?[ \t]*$)",
    re.MULTILINE,
)
_verses = re.compile(r"\s/\s.*\s/\s|[♪♫]", re.DOTALL)
_sentence = re.compile(
    r"[^.!?…\n]+(?:(?:\.(?=\w)|(?:(?<=\bSt)|(?<=\bMt)|(?<=\bFt)|(?<=\bDr)|(?<=\bMr)|(?<=\bMs)|(?<=\bMrs))\.|(?<=\d)\."
    r"(?=\s(?:Jan|Jän|Feb|Mär|Apr|Mai|Jun|Jul|Aug|Sep|Okt|Nov|Dez)))[^.!?…\n]*)*"
    r"[.!?…]*"
)
_colon = re.compile(r":(?=\s|$)")


def prepare() -> None:
    """Compiles the patterns, which takes a fifth of a second, before the first statement needs them."""
    for language in LANGUAGES:
        _ = (
            language.prefilter,
            language.starts,
            language.around,
            language.groups,
            [rule.statement for rule in language.rules],
        )


def claims_in(text: str) -> list[Claim]:
    """The author's claims about themselves, in the order of the text."""
    if len(text) > LONGEST_TEXT:
        return []
    words = _words_of(text)
    spoken = [language for language in LANGUAGES if language.prefilter.search(text, words)]
    if not spoken:
        return []
    own = _own_words(text)
    found = [claim for language in spoken for claim in _claims_by(language, own, text)]
    if not found or _is_worked_on(text):
        return []
    claims = dict.fromkeys(claim for _, claim in sorted(found, key=lambda at: at[0]))
    return list(islice((claim for claim in claims if _holds(claim, claims)), CLAIMS_OF_MESSAGE))


def _holds(claim: Claim, claims: Collection[Claim]) -> bool:
    """True if a claim holds beside a message's others: claims that exclude each other are a list, and none of them
    holds; a positive claim makes a denial on its subject redundant."""
    rivals = [other for other in claims if other.subject == claim.subject and claim.subject is not None]
    if claim.denies:
        return all(other.denies for other in rivals)
    if any(other.denies and other.object == claim.object for other in rivals):
        return False
    return len({other.object or other.content for other in rivals if not other.denies}) <= 1


def ends(newer: str, older: str, subject: str) -> bool:
    """True if a memory with this content supersedes an older one on the same subject."""
    claim = _claim_on(subject, newer)
    return claim is None or not claim.denies or claim.ends(_claim_on(subject, older))


def _claim_on(subject: str, content: str) -> Claim | None:
    return next((claim for claim in claims_in(content) if claim.subject == subject), None)


def _words_of(text: str) -> list[str]:
    return text.replace("’", " ").replace("'", " ").split()


def _own_words(text: str) -> str:
    """The text with quoted, relayed and listed parts blanked out, all positions unchanged."""
    quotes = _quoted if text.count('"') % 2 == 0 else _quoted_line
    blank = _hidden.sub(_blank, quotes.sub(_blank, text))
    small = _small(blank)
    for pattern in (_relayed, *(language.around.letter for language in LANGUAGES)):
        if found := pattern.search(small):
            small = small[: found.start()]
    begin = len(small) - len(small.lstrip())
    if any(language.around.work.match(small, begin) for language in LANGUAGES):
        small = small[: small.index("\n", begin)]
    blank = blank[: len(small)]
    for colon in _colon.finditer(blank):
        before = small[max(0, colon.start() - 40) : colon.start()]
        if not any(language.around.introduction.search(before) for language in LANGUAGES):
            return blank[: colon.start()]
    return blank


def _small(text: str) -> str:
    """The text in small letters, each in its place: a few capitals of other scripts become two letters."""
    small = text.lower()
    return small if len(small) == len(text) else "".join(letter.lower()[:1] for letter in text)


def _blank(hidden: re.Match[str]) -> str:
    return re.sub(r"[^\n]", "_", hidden[0])


def _is_worked_on(text: str) -> bool:
    """True if the whole is a text to be worked on, a letter, a role to be played or verses."""
    small = _small(text)
    return _verses.search(text) is not None or any(
        language.around.task.search(small) or language.around.parting.search(small) for language in LANGUAGES
    )


def _claims_by(language: Language, own: str, text: str) -> Iterator[tuple[int, Claim]]:
    """The claims by the rules of a language, with their places. What quotes something is taken from the text itself."""
    for sentence in _sentence.finditer(own):
        if language.prefilter.search(sentence[0], _words_of(sentence[0])):
            yield from _claims_of(language, sentence, text)


def _claims_of(language: Language, sentence: re.Match[str], text: str) -> Iterator[tuple[int, Claim]]:
    said, small, offset = sentence[0], _small(sentence[0]), sentence.start()
    places = (start.end() for start in language.starts.finditer(small))
    begun = (place for place in places if language.prefilter.match(said, place))
    starts = list(islice(begun, STARTS_OF_SENTENCE + 1))
    if len(starts) > STARTS_OF_SENTENCE:
        return
    past = since = 0
    for start in starts:
        stated = None if start < past else _statement_at(language, text, offset + start, sentence.end())
        if stated is None:
            continue
        rule, found = stated
        past = found.end() - offset
        clause = found[0].strip(" \t,-–—")
        if len(clause) <= LONGEST_CLAUSE and _is_meant(
            language, small, start, found.end("begun") - offset, past, since
        ):
            since = past
            yield offset + start, _claim(language, rule, found, clause)


def _statement_at(language: Language, text: str, start: int, end: int) -> tuple[Rule, re.Match[str]] | None:
    """The first rule that finds a statement there."""
    for begun, rules in language.groups:
        if begun.match(text, start, end) is None:
            continue
        for rule in rules:
            if found := rule.statement.match(text, start, end):
                return rule, found
    return None


def _claim(language: Language, rule: Rule, found: re.Match[str], clause: str) -> Claim:
    of = language.plain(found["object"]) if "object" in found.re.groupindex else None
    return Claim(rule.kind, language.subject_of(rule, found), clause, of, rule.denies)


def _is_meant(language: Language, sentence: str, start: int, begun: int, end: int, since: int) -> bool:
    """True if nothing before or in a clause makes it unreal, negative or somebody else's, and nothing after it makes
    it a question or takes it back.

    Up to `begun` it is as its rule has it. Up to `since` there is another statement, and what that denies is its own.
    """
    around = language.around
    if sentence.endswith("?") and around.request.match(sentence, end) is None:
        return False
    return not (
        around.taken_back.match(sentence, end)
        or around.reported.search(sentence, 0, start)
        or around.negative.search(sentence, since, start)
        or around.negative.search(sentence, begun, end)
        or around.unreal.search(sentence, 0, end)
    )
