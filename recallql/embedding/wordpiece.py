"""WordPiece: splits a text into the pieces of words that BERT's uncased models know.

Does what the `BertTokenizer` of Hugging Face's tokenizers does with `vocab.txt`. That package depends on fifteen
others, a client of a model hub among them.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache

UNKNOWN, BEGIN, END = "[UNK]", "[CLS]", "[SEP]"

LONGEST_WORD = 100
"""Characters; a longer word is unknown."""

_ideographs = (
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0002a6df\U0002a700-\U0002b73f\U0002b740-\U0002b81f\U0002b820-\U0002ceaf\U0002f800-\U0002fa1f"
)
_ideograph = re.compile(f"([{_ideographs}])")
_plain = re.compile(r"[a-z0-9]+|[!-/:-@\[-`{-~]")


class WordPiece:
    """Takes the pieces in the order of their ids; a piece that continues a word begins with ##."""

    def __init__(self, vocabulary: Iterable[str]) -> None:
        numbers = {piece: number for number, piece in enumerate(vocabulary)}
        self.begin, self.end, self.unknown = numbers[BEGIN], numbers[END], numbers[UNKNOWN]

        @lru_cache(maxsize=50_000)
        def pieces(word: str) -> tuple[int, ...]:
            found: list[int] = []
            start = 0
            while start < len(word) <= LONGEST_WORD:
                mark = "##" if start else ""
                end = len(word)
                while end > start and mark + word[start:end] not in numbers:
                    end -= 1
                if end == start:
                    return (numbers[UNKNOWN],)
                found.append(numbers[mark + word[start:end]])
                start = end
            return tuple(found) or (numbers[UNKNOWN],)

        self.pieces = pieces


def split(text: str) -> Iterator[str]:
    """The words and the punctuation marks of a text, in lower case without accents."""
    if text.isascii() and text.isprintable():
        yield from _plain.findall(text.lower())
        return
    text = "".join(" " if c.isspace() else c for c in text if c in "\t\n\r" or not _is_control(c))
    text = _ideograph.sub(r" \1 ", text)
    text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn").lower()
    for word in text.split():
        start = 0
        for place, character in enumerate(word):
            if _is_punctuation(character):
                if start < place:
                    yield word[start:place]
                yield character
                start = place + 1
        if start < len(word):
            yield word[start:]


def _is_control(character: str) -> bool:
    return character == "\ufffd" or unicodedata.category(character)[0] == "C"


def _is_punctuation(character: str) -> bool:
    if character.isascii():
        return character.isprintable() and not character.isalnum() and character != " "
    return unicodedata.category(character)[0] == "P"
