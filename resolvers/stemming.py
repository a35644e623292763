"""Stemmers of Snowball, with annotations that `snowballstemmer` lacks."""

from typing import Any, Protocol

import snowballstemmer

_untyped: Any = snowballstemmer


class Stemmer(Protocol):
    """Keeps the word at hand in itself: threads don't share one."""

    def stemWord(self, word: str) -> str: ...

    def stemWords(self, words: list[str]) -> list[str]: ...


def stemmer(algorithm: str) -> Stemmer:
    """A stemmer of a language, by its name in English, or of `porter`."""
    return _untyped.stemmer(algorithm)
