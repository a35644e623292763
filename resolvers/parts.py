"""Reads the content, parts and tool calls of a message: texts, the ids of calls, and tokens.

The text of `parts` is the message's text if `content` is empty, and follows it otherwise. Asides (reasoning, tool
calls, tool results, attached texts) are kept separate: they count tokens, and search gives them less weight.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from models.parts import Inside, beside, has_calls_of, read_calls, read_parts, texts_beside
from models.rows import MessageRow

TOOLS = ("TOOL", "FUNCTION")
"""Roles whose messages are tool results."""


class Texts(NamedTuple):
    """The texts of a message.

    `own` is the user's own words, without anything that an application or a tool added. `said` and `aside` are the
    columns `parts_text` and `aside`. In a prompt it takes the tokens of `counted` and `media`.
    """

    own: str
    said: str | None
    aside: str | None
    counted: tuple[str, ...]
    media: int

    def tokens(self, count: Callable[[str], int]) -> int:
        return self.media + sum(map(count, self.counted))


def texts_of(content: str, parts: str | None, calls: str | None) -> Texts:
    """Reads a message once for all uses of its texts, from its content and stored JSON texts."""
    if parts is None and calls is None:
        return Texts(content, None, None, (content,), 0)
    inside = Inside() if parts is None else read_parts(parts)
    called = None if calls is None else read_calls(calls)
    said, aside = texts_beside(content, inside, called)
    own = _joined(content, *beside(content, inside.own))
    return Texts(own, said, aside, tuple(_counted(content, inside, called, calls)), inside.media)


def _counted(content: str, parts: Inside, called: Inside | None, calls: str | None) -> Iterator[str]:
    """The texts of a message whose tokens count, with tool calls as they were sent."""
    yield content
    if calls is not None:
        yield calls
    yield from (*beside(content, parts.said), *parts.aside)
    yield from () if has_calls_of(called, parts) else parts.sent


def said_in(row: MessageRow) -> str:
    """The text of a message: of its speaker, or of a tool's result."""
    return _joined(row["content"], row["parts_text"])


def searched_text(row: MessageRow) -> str:
    """All searchable text of a message; its highlight is a part of this."""
    return _joined(row["content"], row["parts_text"], row["aside"])


def call_ids(row: MessageRow) -> list[str]:
    """The ids of a message's tool calls that other messages answer, in order."""
    answered = {id for inside in _inside(row) for id in inside.answers}
    return [id for inside in _inside(row) for id in inside.calls if id not in answered]


def answered_ids(row: MessageRow) -> list[str]:
    """The ids of the tool calls of other messages that a message answers, in order."""
    called = {id for inside in _inside(row) for id in inside.calls}
    own = [] if row["tool_call_id"] is None else [row["tool_call_id"]]
    return own + [id for inside in _inside(row) for id in inside.answers if id not in called]


def _inside(row: MessageRow) -> list[Inside]:
    readers: dict[str, Any] = {"tool_calls": read_calls, "parts": read_parts}
    return [read(row[name]) for name, read in readers.items() if row[name] is not None]


def _joined(*texts: str | None) -> str:
    return "\n".join(text for text in texts if text)
