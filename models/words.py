"""Splits texts into words for search: lower case, without accents and punctuation, in any script.

The full-text index gets texts in this form, and questions are split the same way, so that their words match. Scripts
without spaces are split into single characters and pairs; an emoji is a word of its own.
"""

import re
import unicodedata
from collections.abc import Iterator

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
"""Thai, Lao, Burmese, Khmer, Japanese, Chinese; and Korean, whose spaces are not between words."""

# Not the selectors and skin tones, which only modify the emoji before them.
_SYMBOLS = "\u2190-\u2bff\U0001f000-\U0001f3fa\U0001f400-\U0001faff"
_INDIC = "\u0900-\u0dff"

PIECE = 32 * 1024
"""Approximate characters that are split at once."""

TOKEN = re.compile(f"[{UNSPACED}]+|[{_SYMBOLS}]|(?:[^\\W_{UNSPACED}]|[{_INDIC}\u0300-\u036f\u064b-\u0652\u0640])+")
"""A word, a run of characters without spaces, or a symbol, in an unmodified text."""

_unspaced = re.compile(f"[{UNSPACED}]")
_between_words = re.compile(r"[\s.,;:!?。！？、，]")
_marks = re.compile("[\u0300-\u036f\u064b-\u0652\u0670\u0640]+")
_other_typography = re.compile("[‘’‚“”„–—―…•·\u00a0]")
_to_spaces = "".join(chr(code).lower() if chr(code).isalnum() else " " for code in range(128))


def index_text(text: str) -> str:
    """The form of a text for the index: an ASCII text itself, which the index tokenizes on its own."""
    if text.isascii():
        return text
    plain = _other_typography.sub(" ", text)
    return plain if plain.isascii() else " ".join(_split(plain))


def spaced(text: str) -> str:
    """The words of a text, separated by one or more spaces."""
    text = index_text(text)
    return text.translate(_to_spaces) if text.isascii() else text


def words(text: str) -> list[str]:
    """The words of a text, in order."""
    return spaced(text).split()


def folded(text: str) -> str:
    """A text in lower case without accents: every word of it has the form by which it is found."""
    # A mathematical capital has no lower case: it is normalized to a plain capital first.
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return unicodedata.normalize("NFC", _marks.sub("", plain))


def _split(text: str) -> list[str]:
    found: list[str] = []
    for piece in _pieces(text):
        for match in TOKEN.finditer(folded(piece)):
            token = match[0]
            if _unspaced.match(token):
                found += token
                found += [token[i : i + 2] for i in range(len(token) - 1)]
            else:
                found.append(token)
    return found


def _pieces(text: str) -> Iterator[str]:
    """Splits a text between words: one call on all of a long text would block every other thread."""
    start = 0
    while len(text) - start > 2 * PIECE:
        between = _between_words.search(text, start + PIECE, start + 2 * PIECE)
        end = start + 2 * PIECE if between is None else between.end()
        yield text[start:end]
        start = end
    yield text[start:]
