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
    return LAST if text is None else start_of(text)


def descending(text: str | None) -> str:
    """The empty text sorts like null."""
    return "" if text is None else start_of(text)
