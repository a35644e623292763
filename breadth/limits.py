"""Limits on documents, and the parser that enforces them."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from graphql import DocumentNode, GraphQLSyntaxError, parse

from breadth.cost import MOST


@dataclass(frozen=True)
class Limits:
    """The limits of a document. Fragments count each time they are spread.

    `cost` limits the operation that is run, see `breadth.cost`. `errors` limits the errors in an answer.
    """

    characters: int = MOST
    tokens: int = MOST
    """Comments are counted separately, up to the same number."""
    depth: int = MOST
    """The nesting depth of fields."""
    aliases: int = MOST
    directives: int = MOST
    fields: int = MOST
    cost: int = MOST
    errors: int = 20
    setting: Callable[[str], str] = str
    """Maps the name of a limit to the name of the setting that raises it."""

    def exceeded(self, name: str, found: int, *, more: bool = False, what: str | None = None) -> "TooComplex":
        """The message about an exceeded limit: the document has `found`, or `more` than that."""
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
    """The limit that a document exceeds, by how much, and how to raise it; the message is for the client."""


_ABORTED = re.compile(r"more than \d+ (tokens|comments)\. Parsing aborted\.$")
_NESTED = "nested too deeply. Parsing aborted."


def parse_within(limits: Limits, query: str) -> DocumentNode:
    """Parses a text. Raises `TooComplex`, or graphql-core's syntax error."""
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
            # A cap on the nesting of braces, brackets and types, whatever the limit.
            raise TooComplex("The document is nested too deeply to be read. Send one that is nested less.") from None
        raise
