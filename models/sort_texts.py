"""Texts to sort by: a list is ordered by these columns where a text may be null or long.

Nulls come last in both directions, so each direction has a column of its own, in which another text stands for null.
Only the start of a long text counts: an index takes no more.
"""

SORTED_CHARACTERS = 100
"""Characters of a text that its place in an order depends on."""

LAST = "\U0010ffff"
"""Sorts after all names and addresses."""


def start_of(text: str) -> str:
    return text[:SORTED_CHARACTERS]


def ascending(text: str | None) -> str:
    """The empty text sorts like null, in both directions."""
    return start_of(text) if text else LAST


def descending(text: str | None) -> str:
    return start_of(text) if text else ""
