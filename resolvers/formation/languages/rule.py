"""The format of the rules: the contents of a language's file, and the patterns derived from it.

In a file a space stands for any white space, a line break for nothing, and `<word>` for an entry of `[words]`, or of
`places.toml`. All else is a regular expression.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from models.stemming import stemmer

Found = re.Match[str]

TOGETHER = 12
"""Rules that are tried together before each by itself."""

CAPITAL = r"[^\W\d_a-zß-öø-ÿ][\w'’&-]*"
"""A word that begins with a capital, or with a letter that ASCII lacks: names and places do."""


class Opening(NamedTuple):
    """The beginning of a statement: one of these words, and what follows it up to a rule's trigger."""

    words: tuple[str, ...]
    rest: str

    @property
    def forms(self) -> tuple[str, ...]:
        """The words as they may be written: also with a capital."""
        return tuple(dict.fromkeys(form for word in self.words for form in (word, word[0].upper() + word[1:])))

    def before(self, triggers: str) -> str:
        """The pattern of this opening and a trigger."""
        return rf"(?<!\w)(?:{'|'.join(self.forms)}){self.rest}(?:{triggers})"


@dataclass(frozen=True)
class Rule:
    """An opening, one of the triggers and a pattern, one behind the other, are a statement.

    The prefilter is made of openings and triggers alone. Of one `subject` only the newest statement holds; where there
    may be several, a rule has none, or its subject names one of the pattern's groups, as `{object}`. A rule that
    `denies` ends only an older statement of the same object. `matches` and `passes` are examples of texts: in the
    former the rule finds a statement, in the latter no rule does.
    """

    name: str
    kind: str
    opening: Opening
    triggers: str
    pattern: str
    matches: tuple[str, ...]
    passes: tuple[str, ...] = ()
    subject: str | None = None
    denies: bool = False

    @cached_property
    def statement(self) -> re.Pattern[str]:
        """Up to the group `begun` it is as the prefilter has it."""
        return re.compile(f"(?P<begun>{self.opening.before(self.triggers)}){self.pattern}")


@dataclass(frozen=True)
class Language:
    """The rules of a language, and the words that take from a statement what it seems to say.

    `name` is that of its stemmer. A statement begins a sentence, after some of the `leads`, or follows a comma or one
    of the `joints`. Before it there may be nothing `unreal`, `negative` or `reported`; in it may be what is `reported`.
    After it nothing may take it back. A question with a statement before it is a `request`. A `task` anywhere says that
    the message is a text to be worked on, a part to be played or an example. What follows a first line that asks for
    `work` on a text is that text. `greetings` begin letters, and `partings` end them. After a colon only what an
    `introduction` announces is the user's own. `same` gives words another form in subjects, which `articles` are left
    out of.
    """

    name: str
    rules: tuple[Rule, ...]
    leads: str
    joints: str
    unreal: str
    negative: str
    reported: str
    taken_back: str
    request: str
    task: str
    work: str
    greetings: str
    partings: str
    introduction: str
    articles: frozenset[str]
    same: Mapping[str, str] = field(default_factory=dict[str, str])

    @cached_property
    def prefilter(self) -> "Prefilter":
        return Prefilter({form: re.compile(begun) for form, begun in _begun(self.rules).items()})

    @cached_property
    def groups(self) -> list[tuple[re.Pattern[str], tuple[Rule, ...]]]:
        """The rules, some together with a pattern of how their statements begin: most places fit few of them."""
        groups = [self.rules[at : at + TOGETHER] for at in range(0, len(self.rules), TOGETHER)]
        return [(re.compile("|".join(_begun(rules).values())), rules) for rules in groups]

    @cached_property
    def starts(self) -> re.Pattern[str]:
        """Finds where in a sentence, in small letters, a statement may begin."""
        initials = "".join(dict.fromkeys(form[0].lower() for rule in self.rules for form in rule.opening.forms))
        return _words(
            rf"(?:^\s*(?:(?:{self.leads})\b[,!]?\s+){{0,3}}|[,;:(–—]\s*|\s-\s|\b(?:{self.joints})\s+)(?=[{initials}])"
        )

    @cached_property
    def around(self) -> "Around":
        return Around(
            unreal=_words(rf"\b(?:{self.unreal})\b"),
            negative=_words(rf"\b(?:{self.negative})\b"),
            reported=_words(rf"\b(?:{self.reported})\b"),
            taken_back=_words(self.taken_back),
            request=_words(self.request),
            task=_words(self.task),
            work=_words(rf"(?:{self.work})[^\n]*\n"),
            letter=_words(rf"\n[ \t]*(?:{self.greetings})\b"),
            parting=_words(rf"^[ \t]*(?:{self.partings})\b[^\n]{{0,20}}$"),
            introduction=_words(rf"(?:{self.introduction})\s*$"),
        )

    def plain(self, words: str) -> str:
        """The common form of a word's inflections: without articles, endings and capitals."""
        kept = [word for word in re.findall(r"[\w'’-]+", words.casefold()) if word not in self.articles]
        return " ".join(stemmer(self.name).stemWords(kept or [words.casefold()]))

    def subject_of(self, rule: Rule, found: Found) -> str | None:
        """The subject of a statement that a rule has found."""
        if rule.subject is None or "{" not in rule.subject:
            return rule.subject
        groups = {name: words or "" for name, words in found.groupdict().items()}
        forms = {
            name: " ".join(self.same.get(word, word) for word in w.casefold().split()) for name, w in groups.items()
        }
        forms["object"] = self.plain(groups.get("object", ""))
        return rule.subject.format(**forms).strip()


def _begun(rules: Iterable[Rule]) -> dict[str, str]:
    """For each word that opens statements the pattern of what rules may begin with it."""
    begun: dict[str, dict[str, list[str]]] = {}
    for rule in rules:
        # Groups have names for subjects, and a name may be there but once.
        triggers = re.sub(r"\(\?P<\w+>", "(?:", rule.triggers)
        for form in rule.opening.forms:
            begun.setdefault(form, {}).setdefault(rule.opening.rest, []).append(triggers)
    return {form: form + _any_of(after) for form, after in begun.items()}


def _any_of(after: Mapping[str, list[str]]) -> str:
    return "(?:" + "|".join(f"{rest}(?:{'|'.join(triggers)})" for rest, triggers in after.items()) + ")"


class Prefilter:
    """A fast prefilter for positions where no rule can match: each word that opens statements, with its followers."""

    def __init__(self, begun: Mapping[str, re.Pattern[str]]) -> None:
        self._begun = begun
        self._words = frozenset(begun)

    def search(self, text: str, words: Iterable[str]) -> bool:
        """True if a rule might match somewhere in a text with these words."""
        opening = self._words.intersection(words)
        return bool(opening) and any(self._begun[word].search(text) is not None for word in opening)

    def match(self, text: str, place: int) -> bool:
        """True if a rule might match at a position."""
        return any(pattern.match(text, place) is not None for pattern in self._begun.values())


class Around(NamedTuple):
    """The words of a language that decide whether the surroundings of a statement allow it, for texts in lower case.

    Such patterns take a third of the time of those that ignore case.
    """

    unreal: re.Pattern[str]
    negative: re.Pattern[str]
    reported: re.Pattern[str]
    taken_back: re.Pattern[str]
    request: re.Pattern[str]
    task: re.Pattern[str]
    work: re.Pattern[str]
    letter: re.Pattern[str]
    parting: re.Pattern[str]
    introduction: re.Pattern[str]


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.lower(), re.MULTILINE)


def load(name: str) -> Language:
    """The language of a file beside this one."""
    given = _read(name)
    words = {"capital": CAPITAL}
    for word, pattern in {**_read("places"), **given.pop("words")}.items():
        words[word] = _expanded(pattern, words)
    openings = {
        key: Opening(tuple(opening["words"].split()), _expanded(opening["rest"], words))
        for key, opening in given.pop("openings").items()
    }
    rules = tuple(_rule(rule, words, openings) for rule in given.pop("rule"))
    same, articles = given.pop("same", {}), frozenset(given.pop("articles").split())
    around = {key: _expanded(pattern, words) for key, pattern in given.items()}
    return Language(rules=rules, same=same, articles=articles, **around)


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name(f"{name}.toml").read_text(encoding="utf-8"))


def _rule(given: dict[str, Any], words: Mapping[str, str], openings: Mapping[str, Opening]) -> Rule:
    made: dict[str, Any] = {key: _expanded(given[key], words) for key in ("triggers", "pattern")}
    made |= {key: tuple(given.get(key, ())) for key in ("matches", "passes")}
    made["opening"] = openings[given["opening"]]
    return Rule(**{**given, **made})


def _expanded(pattern: str, words: Mapping[str, str]) -> str:
    plain = pattern.replace("\n", "").replace(" ", r"\s+")
    return re.sub(r"(?<!\?P)<([a-z_]+)>", lambda named: words[named[1]], plain)
