"""Stemming: the terms of the full-text index, and Snowball stemmers with the annotations that their package lacks."""

from functools import lru_cache
from threading import local
from typing import Any, Protocol

import snowballstemmer

_untyped: Any = snowballstemmer

LONGEST_STEMMED = 64
"""Most characters of a word that is stemmed, as in SQLite's full-text index."""

_stemmers = local()


class Stemmer(Protocol):
    """A stateful stemmer, which threads must not share."""

    def stemWord(self, word: str) -> str: ...

    def stemWords(self, words: list[str]) -> list[str]: ...


def stemmer(algorithm: str) -> Stemmer:
    """A stemmer of a language, by its name in English, or of `porter`."""
    return _untyped.stemmer(algorithm)


@lru_cache(maxsize=100_000)
def term_of(word: str) -> str:
    """The Porter stem of a word, as in SQLite's full-text index."""
    if not 3 <= len(word) <= LONGEST_STEMMED or not word.isascii():
        return word
    # Searches run in several threads.
    if not hasattr(_stemmers, "porter"):
        _stemmers.porter = stemmer("porter")
    return _stemmers.porter.stemWord(word)
