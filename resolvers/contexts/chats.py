"""Chats: a context as the list of messages that models with OpenAI's form of chats are sent."""

import re
from collections.abc import Sequence
from typing import Any

import orjson

from models.parts import beside, read_parts
from models.rows import MessageRow
from models.values import Json, json_of
from resolvers.parts import call_ids

_LONGEST_NAME = 64
_NOT_IN_NAMES = re.compile(r"[\s<|\\/>]")
"""OpenAI refuses longer names, and names with these characters."""


def chat_of(text: str, messages: Sequence[MessageRow]) -> Json:
    """The text as the system message, if there is any, and the messages; tool calls and parts as they were stored."""
    chat: list[dict[str, Any]] = [{"role": "system", "content": text}] if text else []
    chat += [_message(row) for row in _answered_at_once(messages)]
    return Json(orjson.dumps(chat).decode())


def _answered_at_once(messages: Sequence[MessageRow]) -> Sequence[MessageRow]:
    """The messages with the results of tools right after their calls, where OpenAI wants them: somebody may have spoken
    in between."""
    results = {row["tool_call_id"]: row for row in messages if row["role"] == "TOOL" and row["tool_call_id"]}
    if not results:
        return messages
    ordered: dict[int, MessageRow] = {}
    for row in messages:
        answers = [results[id] for id in call_ids(row) if id in results] if row["role"] == "ASSISTANT" else []
        for message in (row, *answers):
            ordered.setdefault(message["sequence"], message)
    return list(ordered.values())


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
    # A single block counts as a list of one.
    blocks = parts if parts.startswith("[") else f"[{parts}]"
    if not content or len(beside(content, texts)) < len(texts):
        return orjson.Fragment(blocks)
    return orjson.Fragment(f"[{json_of({'type': 'text', 'text': content})},{blocks[1:]}")
