"""Words of a text, as search knows them: small letters, no accents, no punctuation, in any script.

The full-text index is given texts in this form, and questions are taken apart the same way, so that a word means the
same on both sides. Scripts without spaces are cut into single characters and pairs; an emoji is a word of its own.
"""

import re
import unicodedata
from collections.abc import Iterator

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
"""Thai, Lao, Burmese, Khmer, Japanese, Chinese; and Korean, whose spaces are not between words."""

# Not the selectors and skin tones, which only change how the one before them looks.
_SYMBOLS = "\u2190-\u2bff\U0001f000-\U0001f3fa\U0001f400-\U0001faff"
_INDIC = "\u0900-\u0dff"

PIECE = 32 * 1024
"""Characters that are taken apart in one go, about."""

TOKEN = re.compile(f"[{UNSPACED}]+|[{_SYMBOLS}]|(?:[^\\W_{UNSPACED}]|[{_INDIC}\u0300-\u036f\u064b-\u0652\u0640])+")
"""A word, a run of characters without spaces, or a symbol, in a text as it was written."""

_unspaced = re.compile(f"[{UNSPACED}]")
_between_words = re.compile(r"[\s.,;:!?。！？、，]")
_marks = re.compile("[\u0300-\u036f\u064b-\u0652\u0670\u0640]+")
_other_typography = re.compile("[‘’‚“”„–—―…•·\u00a0]")
_to_spaces = "".join(chr(code).lower() if chr(code).isalnum() else " " for code in range(128))


def index_text(text: str) -> str:
    """Returns what the index is given of a text: the text itself while it is ASCII, whose words the index finds by
    itself."""
    if text.isascii():
        return text
    plain = _other_typography.sub(" ", text)
    return plain if plain.isascii() else " ".join(_split(plain))


def spaced(text: str) -> str:
    """The words of a text with single or more spaces between them."""
    text = index_text(text)
    return text.translate(_to_spaces) if text.isascii() else text


def words(text: str) -> list[str]:
    """The words of a text, in order."""
    return spaced(text).split()


def folded(text: str) -> str:
    """A text in small letters without accents: every word of it stands there as it is found."""
    # A capital of mathematics has no small letter of its own: it becomes a plain capital first.
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
    """The text in parts that end between two words: a call on all of a long text would stop every other thread."""
    start = 0
    while len(text) - start > 2 * PIECE:
        between = _between_words.search(text, start + PIECE, start + 2 * PIECE)
        end = start + 2 * PIECE if between is None else between.end()
        yield text[start:end]
        start = end
    yield text[start:]
