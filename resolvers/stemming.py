"""Snowball stemmers, with the annotations that `snowballstemmer` lacks."""

from typing import Any, Protocol

import snowballstemmer

_untyped: Any = snowballstemmer


class Stemmer(Protocol):
    """A stateful stemmer, which threads must not share."""

    def stemWord(self, word: str) -> str: ...

    def stemWords(self, words: list[str]) -> list[str]: ...


def stemmer(algorithm: str) -> Stemmer:
    """A stemmer of a language, by its name in English, or of `porter`."""
    return _untyped.stemmer(algorithm)
