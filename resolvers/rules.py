"""Rules that find what users say of themselves, in English: where they live, what they do, what they prefer.

They are few and shy: of what is conditional, negated, asked, quoted, reported, pasted or made up nothing is taken, and
better ten statements are missed than one is wrong. What is taken is a clause in the user's own words, from its `I` or
`my` on; nothing is put into other words.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from resolvers.rule_patterns import MAY_HOLD, RULES

LONGEST_TEXT = 2000
"""Characters of a message that is looked at, at most: what is longer was pasted."""
LONGEST_CLAUSE = 200
CLAIMS_OF_MESSAGE = 20
STARTS_OF_SENTENCE = 8
"""Places in a sentence where a statement might begin, at most: nobody says more of themselves in one breath."""


class Claim(NamedTuple):
    """What a user says of themselves. Of one `subject` only the newest claim holds; None goes beside any other."""

    kind: str
    subject: str | None
    content: str


_hidden = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|^[ \t]*(?:>|(?:\d+|[a-zA-Z])[.)]\s|[*•-]\s)[^\n]*|^(?: {4}|\t)[^\n]*|"
    r"\[[^\[\]\n]*\]|\"[^\"\n]*(?:\"|$)|“[^”\n]*(?:”|$)|"
    r"«[^»\n]*(?:»|$)|(?<!\w)['‘][^\n]+?['’](?!\w)|https?://\S+",
    re.DOTALL | re.MULTILINE,
)
_task = re.compile(
    r"\b(?:translate|rewrite|rephrase|paraphrase|proofread|grammar|essay|cover\s+letter|poem|lyrics|role-?\s?play|pretend|"
    r"imagine|act\s+as|persona|fictional|hypothetical(?:ly)?|scenario|(?:write|draft|compose)\s+(?:me\s+)?(?:an?|the|my|some)|"
    r"summari[sz]e|correct\s+(?:this|the|my)|just\s+kidding|let['’]s\s+play|j/?k|example\s+sentence)\b|"
    r"^\s*(?:dear|to\s+whom|you(?:\s+are|['’]re)\s+(?:now\s+)?(?:an?|the|my))\b|"
    r"^\s*(?:sincerely|(?:best|kind|warm)?\s*regards|yours\s+\w+)\b",
    re.IGNORECASE | re.MULTILINE,
)
_sentence = re.compile(
    r"[^.!?…\n]+(?:(?:\.(?=\w)|(?:(?<=\bSt)|(?<=\bMt)|(?<=\bFt)|(?<=\bDr)|(?<=\bMr)|(?<=\bMs)|(?<=\bMrs))\.)[^.!?…\n]*)*"
    r"[.!?…]*"
)
_colon = re.compile(r":(?=\s|$)")
_start = re.compile(
    r"(?:^\s*(?:(?:hi|hello|hey|well|oh|yes|yeah|yep|sure|thanks|ok|okay|actually|btw|fyi|also|so|and|but)\b[,!]?\s+){0,3}"
    r"|[,;(–—]\s*|\s-\s|\b(?:and|but|so|because|also|please)\s+)(?=(?:I\b|Im\b|my\s|call\s+me\s))",
    re.IGNORECASE,
)
_unreal = re.compile(
    r"\b(?:if|unless|wish|would|could|should|might|suppose|supposing|whether|were|was\s+to|until|till|maybe|perhaps|"
    r"hopefully|someday|one\s+day|in\s+my\s+(?:dreams?|mind|head|imagination))\b",
    re.IGNORECASE,
)
# What comes after a clause and takes it back, at once or in the end.
_taken_back = re.compile(
    r"[\s,(–—-]*(?:if|unless|until|till|or|would|could|might|maybe|perhaps|hopefully|not|except|but\s+not|in\s+theory|"
    r"(?:\w+\s+){0,2}(?:said|says|claimed|claims|joked|wrote|replied))\b|"
    r".*\b(?:any\s?more|no\s+longer|used\s+to|lol|kidding|joking|sarcasm|but\s+(?:\w+\s+){0,2}(?:moved|left|quit))\b",
    re.IGNORECASE,
)
# A statement before a request, as in "I live in Rome, can you tell me …?"
_request = re.compile(
    r"\s*(?:[,;–—-]|and\b|so\b|but\b).*\b(?:(?:can|could|would|will|do)\s+you|you\s+(?:can|could|know|have))\s+\w+\s+\w",
    re.IGNORECASE,
)
_negative = re.compile(
    r"\b(?:not|never|no\s+longer|nor|neither|hardly|barely|almost|nearly|used\s+to)\b|n['’]t\b", re.IGNORECASE
)
_reported = re.compile(
    r"\b(?:say|says|said|saying|tell|tells|told|telling|ask|asks|asked|claim\w*|think|thinks|thinking|thought|believe[sd]?|"
    r"heard|hear|hears|assume[sd]?|guess|guessing|dream|dreams|dreamed|dreamt|dreaming|hope|hoping|want|wants|wanted|"
    r"he|she|they|when|while|before|after|once|back\s+then|at\s+the\s+time|ago|originally|previously|formerly|why|how|"
    r"what|where|who|whose|which|that|than|like|as|(?:game|story|book|movie|film|song|novel|dream|version|timeline)|"
    r"(?:19|20)\d\d)\b",
    re.IGNORECASE,
)


def claims_in(text: str) -> list[Claim]:
    """What the user who wrote this says of themselves, in the order of the text."""
    if len(text) > LONGEST_TEXT or MAY_HOLD.search(text) is None:
        return []
    # Sentences are found where quotations are blank; the words are then taken from the text as it is.
    blank = _hidden.sub(lambda hidden: re.sub(r"[^\n]", "_", hidden[0]), text)
    if colon := _colon.search(blank):
        blank = blank[: colon.start()]
    found = (claim for sentence in _sentence.finditer(blank) for claim in _claims_of(sentence, text))
    claims = list(dict.fromkeys(islice(found, CLAIMS_OF_MESSAGE)))
    return [] if claims and _task.search(text) else claims


def _claims_of(sentence: re.Match[str], text: str) -> Iterator[Claim]:
    said = sentence[0]
    if MAY_HOLD.search(said) is None:
        return
    starts = list(islice(_start.finditer(said), STARTS_OF_SENTENCE + 1))
    if len(starts) > STARTS_OF_SENTENCE:
        return
    before = None
    past = 0
    for start in starts:
        begin = start.end()
        if begin < past:
            continue
        for kind, subject, pattern in RULES:
            if found := pattern.match(text, sentence.start() + begin, sentence.end()):
                clause = found[0].strip(" \t,-–—")
                past = found.end() - sentence.start()
                if len(clause) > LONGEST_CLAUSE or not _is_meant(said, past):
                    break
                # Found once: what stands before one statement stands before the next ones too.
                before = before or (min(_first(_unreal, said), _first(_negative, said)), _first(_reported, said))
                if past < before[0] and begin < before[1]:
                    yield Claim(kind, subject(found) if callable(subject) else subject, clause)
                break


def _first(pattern: re.Pattern[str], sentence: str) -> int:
    """Where the first match ends; behind the sentence if there is none."""
    found = pattern.search(sentence)
    return len(sentence) + 1 if found is None else found.end()


def _is_meant(sentence: str, end: int) -> bool:
    """Whether what comes after a clause of a sentence neither makes a question of it nor takes it back."""
    if sentence.endswith("?") and _request.match(sentence, end) is None:
        return False
    return _taken_back.match(sentence, end) is None
