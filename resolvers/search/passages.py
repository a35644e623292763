"""Passages: the part of a long text that answers a question."""

import re

from resolvers.search.questions import Question, parse_question
from resolvers.search.ranking import gather, rank, statistics_of, turn_of

_CHUNK = 400
"""Characters of a chunk, about; a paragraph that is longer is cut where sentences end."""

LEAST_PASSAGE = 80
"""Characters of a passage, at least."""

VERY_LONG = 64 * 1024
"""Characters around a sentence that are looked through where a text is cut."""

_GAP, _NEXT = "\n…\n", "\n"

_paragraph = re.compile(r"\n\s*\n")
_sentence = re.compile(r"(?<=[.!?\n])(?=\s)|(?<=\n)|(?<=[。！？])")


def passage(text: str, question: Question, longest: int) -> str:
    """The text itself if it is short enough, else the parts of it that answer best, in order.

    Nothing where so few characters say nothing.
    """
    if len(text) <= longest:
        return text
    if longest < LEAST_PASSAGE:
        return ""
    chunks = _chunks(text, min(_CHUNK, longest - len(_GAP) * 2))
    turns = [turn_of(chunk, question, b"", index) for index, chunk in enumerate(chunks, 1)]
    gathered = gather(turns, chunks, question)
    (ranked,), _ = rank([gathered], question, statistics_of(gathered))
    best = [turn.position - 1 for _, turn in sorted(ranked, key=lambda scored: (-scored[0], scored[1].position))]
    chosen: set[int] = set()
    left = longest - len(_GAP)
    # Without a match the passage is the text's beginning.
    for index in best or range(len(chunks)):
        if len(chunks[index]) + len(_GAP) <= left:
            left -= len(chunks[index]) + len(_GAP)
            chosen.add(index)
        elif chosen:
            break
    found = ""
    for index in sorted(chosen):
        found += f"{_GAP if index and index - 1 not in chosen else _NEXT}{chunks[index]}"
    return found.strip("\n") if len(chunks) - 1 in chosen else found.strip("\n") + _GAP.rstrip("\n")


def cut(text: str, sentence: str, longest: int) -> str:
    """An excerpt of a text around one of its sentences, up to a number of characters, with marks for omissions."""
    if len(text) > VERY_LONG:
        start = max(0, min(text.find(sentence) - VERY_LONG // 2, len(text) - VERY_LONG))
        text = text[start : start + VERY_LONG]
    return passage(text, parse_question(sentence), longest) or f"{sentence[: longest - 1].strip()}…"


def _chunks(text: str, size: int) -> list[str]:
    chunks: list[str] = []
    for paragraph in _paragraph.split(text):
        last = ""
        for sentence in _sentence.split(paragraph):
            for start in range(0, len(sentence), size):
                part = sentence[start : start + size]
                if last and len(last) + len(part) >= size:
                    chunks.append(last.strip())
                    last = part
                else:
                    last += part
        if last.strip():
            chunks.append(last.strip())
    return chunks
