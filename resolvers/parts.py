"""Reads the content, parts and tool calls of a message: texts, the ids of calls, and tokens.

A text of `parts` is the message's text if `content` is empty, and follows it otherwise. What nobody says (thoughts,
calls of tools, what tools answered, attached texts) is kept apart: it counts tokens, and search gives it less weight.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from models.parts import Inside, beside, has_calls_of, read_calls, read_parts, texts_beside
from models.statements import Record
from resolvers.operation_context import OperationContext

TOOLS = ("TOOL", "FUNCTION")
"""Roles whose messages are answers of tools."""


class Sent(NamedTuple):
    """What a message holds: its content, and its parts and tool calls as JSON texts, as they are kept."""

    content: str
    parts: str | None = None
    calls: str | None = None


def said_in(row: Record) -> str:
    """The text of a message: what its speaker says, or what a tool answered."""
    return _joined(row["content"], row["parts_text"])


def own_text(context: OperationContext, row: Record) -> str:
    """Returns what a user says in its own words, and nothing that an application or a tool put beside it; "" of
    others."""
    if row["role"] != "USER":
        return ""
    return row["content"] if row["parts"] is None else own_words(context, Sent(row["content"], row["parts"]))


def own_words(context: OperationContext, sent: Sent) -> str:
    """The content and the plain texts of the parts of a user's message."""
    if sent.parts is None:
        return sent.content
    return _joined(sent.content, *beside(sent.content, context.of(read_parts, sent.parts).own))


def searched_text(row: Record) -> str:
    """All that a message is found by, which its highlight is a part of."""
    return _joined(row["content"], row["parts_text"], row["aside"])


def call_ids(row: Record) -> list[str]:
    """The ids of the tool calls of a message that other messages answer, in order."""
    answered = {id for inside in _inside(row) for id in inside.answers}
    return [id for inside in _inside(row) for id in inside.calls if id not in answered]


def answered_ids(row: Record) -> list[str]:
    """The ids of the tool calls of other messages that a message answers, in order."""
    called = {id for inside in _inside(row) for id in inside.calls}
    own = [] if row["tool_call_id"] is None else [row["tool_call_id"]]
    return own + [id for inside in _inside(row) for id in inside.answers if id not in called]


def kept_texts(context: OperationContext, sent: Sent) -> dict[str, str | None]:
    """The columns of a message with the texts of its parts and calls."""
    if sent.parts is None and sent.calls is None:
        return {"parts_text": None, "aside": None}
    parts = None if sent.parts is None else context.of(read_parts, sent.parts)
    calls = None if sent.calls is None else context.of(read_calls, sent.calls)
    said, aside = texts_beside(sent.content, parts, calls)
    return {"parts_text": said, "aside": aside}


def tokens_of(context: OperationContext, sent: Sent) -> int:
    """Returns what a message takes in a prompt."""
    if sent.parts is None and sent.calls is None:
        return context.of(context.count_tokens, sent.content)
    media = 0 if sent.parts is None else context.of(read_parts, sent.parts).media
    return media + sum(context.of(context.count_tokens, text) for text in counted(context, sent))


def counted(context: OperationContext, sent: Sent) -> Iterator[str]:
    """The texts of a message whose tokens count: calls of tools stand as they were sent."""
    yield sent.content
    if sent.calls is not None:
        yield sent.calls
    if sent.parts is not None:
        inside = context.of(read_parts, sent.parts)
        yield from (*beside(sent.content, inside.said), *inside.aside)
        calls = None if sent.calls is None else context.of(read_calls, sent.calls)
        yield from () if has_calls_of(calls, inside) else inside.sent


def _inside(row: Record) -> list[Inside]:
    readers: dict[str, Any] = {"tool_calls": read_calls, "parts": read_parts}
    return [read(row[name]) for name, read in readers.items() if row[name] is not None]


def _joined(*texts: str | None) -> str:
    return "\n".join(text for text in texts if text)
