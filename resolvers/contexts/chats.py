"""Chats: a context as the list of messages that models with OpenAI's form of chats are sent."""

import re
from collections.abc import Sequence
from typing import Any

import orjson

from models.parts import beside, read_parts
from models.rows import MessageRow
from models.values import Json, json_of

_LONGEST_NAME = 64
_NOT_IN_NAMES = re.compile(r"[\s<|\\/>]")
"""OpenAI refuses longer names, and names with these characters."""


def chat_of(text: str, messages: Sequence[MessageRow]) -> Json:
    """The text as the system message, if there is any, and the messages; tool calls and parts as they were stored."""
    chat: list[dict[str, Any]] = [{"role": "system", "content": text}] if text else []
    chat += [_message(row) for row in messages]
    return Json(orjson.dumps(chat).decode())


def _message(row: MessageRow) -> dict[str, Any]:
    calls, parts = _given(row["tool_calls"]), _given(row["parts"])
    # A model that only calls tools has said nothing.
    content = None if calls is not None and not row["content"] and parts is None else _content(row["content"], parts)
    message = {"role": row["role"].lower(), "content": content}
    if row["name"]:
        message["name"] = _NOT_IN_NAMES.sub("_", row["name"])[:_LONGEST_NAME]
    if calls is not None:
        # The form before there were several calls in a message.
        message["function_call" if calls.startswith("{") else "tool_calls"] = orjson.Fragment(calls)
    if row["tool_call_id"] is not None:
        message["tool_call_id"] = row["tool_call_id"]
    return message


def _given(stored: Json | None) -> Json | None:
    """A list of tool calls or parts; None for an empty one, which OpenAI refuses."""
    return None if stored in ("[]", "{}") else stored


def _content(content: str, parts: Json | None) -> Any:
    """The content, or the parts, with the content as the first of them if they don't say it themselves."""
    if parts is None:
        return content
    texts = read_parts(parts).said if content else []
    if not content or len(beside(content, texts)) < len(texts):
        return orjson.Fragment(parts)
    said = json_of({"type": "text", "text": content})
    rest = parts[1:] if parts.startswith("[") else f"{parts}]"
    return orjson.Fragment(f"[{said},{rest}")
