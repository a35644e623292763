"""Limits on what a document may ask for, and the reading of its text within them."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from graphql import DocumentNode, GraphQLSyntaxError, parse

from breadth.cost import MOST


@dataclass(frozen=True)
class Limits:
    """The most that a document may have of each. Fragments count wherever they are spread.

    `cost` limits the operation that is run, see `breadth.cost`. `errors` is how many an answer names.
    """

    characters: int = MOST
    tokens: int = MOST
    """Comments are counted apart, up to the same number."""
    depth: int = MOST
    """Fields below fields."""
    aliases: int = MOST
    directives: int = MOST
    fields: int = MOST
    cost: int = MOST
    errors: int = 20
    setting: Callable[[str], str] = str
    """What the one who raises a limit knows it by."""

    def exceeded(self, name: str, found: int, *, more: bool = False, what: str | None = None) -> "TooComplex":
        """Returns what is said of a limit that is exceeded: by `found`, or by `more` than that."""
        number = f"more than {found:,}" if more or found >= MOST else f"{found:,}"
        said = _SAID[name].format(number, what or name)
        advice = f"Ask for less at once, or raise {self.setting(name)} on the server."
        return TooComplex(f"{said}; the limit is {getattr(self, name):,}. {advice}")


_SAID = {
    "depth": "The document is {} levels deep",
    "fields": "The document selects {} fields",
    "cost": "The operation's cost is {}",
} | dict.fromkeys(("characters", "tokens", "aliases", "directives"), "The document has {} {}")


class TooComplex(Exception):
    """Which limit a document exceeds, by how much, and what raises it; in words for the client."""


_ABORTED = re.compile(r"more than \d+ (tokens|comments)\. Parsing aborted\.$")
_NESTED = "nested too deeply. Parsing aborted."


def parse_within(limits: Limits, query: str) -> DocumentNode:
    """The document of a text. Raises `TooComplex`, or what graphql-core finds wrong with it."""
    if len(query) > limits.characters:
        raise limits.exceeded("characters", len(query))
    try:
        return parse(
            query, allow_empty_selection_sets=False, max_lexical_tokens=limits.tokens, max_comments=limits.tokens
        )
    except GraphQLSyntaxError as error:
        if aborted := _ABORTED.search(error.message):
            raise limits.exceeded("tokens", limits.tokens, more=True, what=aborted[1]) from None
        if error.message.endswith(_NESTED):
            # Braces, brackets and types beyond what is read at all, whatever the limit.
            raise TooComplex("The document is nested too deeply to be read. Send one that is nested less.") from None
        raise
