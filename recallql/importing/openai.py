"""OpenAI's threads (Assistants API) and conversations (Responses API), as their APIs return them.

The file is JSON lines, or a list: a thread each, with its `messages`, or a conversation with its `items`; both may be
pages of the API (`{"object": "list", "data": […]}`) and come in any order. Follows the objects `thread`,
`thread.message`, `conversation` and the items of version 1 of the API (openai-python 1.x and 2.x, `types/beta/threads`,
`types/conversations`).
"""

from collections.abc import Iterator
from typing import Any

from models.values import is_list, is_object
from recallql.importing.reading import json_lines
from recallql.importing.source import Line, Source, derived_id, joined, latest, moment

_THREAD = frozenset(
    ("id", "object", "created_at", "metadata", "messages", "items", "user", "user_id", "title", "assistant_id")
)
_MESSAGE = frozenset(
    (
        *("id", "object", "type", "role", "content", "created_at", "completed_at", "thread_id", "metadata", "name"),
        *("status", "assistant_id", "tool_calls", "tool_call_id"),
    )
)
_OUTPUTS = ("function_call_output", "custom_tool_call_output", "computer_call_output", "local_shell_call_output")


def translate(source: Source) -> Iterator[Line]:
    with source.opened() as file:
        for item in json_lines(file):
            yield from _thread(source, source.object_in(source.at(item), "a thread"))
    yield from source.missing_people()


def _thread(source: Source, thread: dict[str, Any]) -> Iterator[Line]:
    source.expect(thread, "messages", "items")
    session = source.text_in(thread, "id")
    metadata = source.object_in(thread.get("metadata") or {}, "`metadata`")
    messages = source.objects_in(thread.get("messages"), "messages")
    messages += source.objects_in(thread.get("items"), "items")
    agents = dict.fromkeys(filter(None, [thread.get("assistant_id"), *(each.get("assistant_id") for each in messages)]))
    agent = next(iter(agents), None)
    yield {
        "type": "session",
        "sessionId": session,
        "userId": source.owner(*(place.get(name) for place in (thread, metadata) for name in ("user_id", "user"))),
        "agentId": agent and source.name("agent", agent),
        "title": thread.get("title"),
        "metadata": source.fitting(metadata, "thread"),
        "createdAt": thread.get("created_at"),
        "lastActivityAt": latest(message.get("created_at") for message in messages),
    }
    source.leave_fields("thread", thread, _THREAD)
    for message in messages:
        other = message.get("assistant_id")
        if other is not None and other != agent:
            source.leave("message.assistant_id of another assistant than the session's")
        # The items of a conversation have no times of their own.
        yield _message(source, session, message, message.get("created_at") or thread.get("created_at"))


def _message(source: Source, session: str, message: dict[str, Any], time: Any) -> Line:
    kind = message.get("type") or "message"
    if kind != "message":
        return _item(source, session, kind, message, time)
    source.leave_fields("message", message, _MESSAGE)
    content, parts = content_of(message.get("content"))
    return source.message(
        session,
        source.text_in(message, "role"),
        messageId=message.get("id"),
        name=message.get("name"),
        content=content,
        parts=parts,
        toolCalls=message.get("tool_calls"),
        toolCallId=message.get("tool_call_id"),
        metadata=message.get("metadata"),
        createdAt=moment(time),
    )


def _item(source: Source, session: str, kind: str, item: dict[str, Any], time: Any) -> Line:
    """A call, an output or the reasoning among the items of a conversation: `docs/messages.md` has the roles."""
    is_output = kind in _OUTPUTS or kind.endswith("_output")
    return source.message(
        session,
        "TOOL" if is_output else "ASSISTANT",
        messageId=item.get("id") or derived_id(session, kind, str(item.get("call_id"))),
        toolCallId=item.get("call_id") if is_output else None,
        parts=[item],
        createdAt=moment(time),
    )


def content_of(content: Any) -> tuple[str | None, Any]:
    """The text of a message's content, and the content as parts if it has more than plain text."""
    if content is None or isinstance(content, str):
        return content, None
    if not is_list(content):
        return None, content
    texts = [text for part in content if (text := _text_of(part)) is not None]
    return joined(texts), None if len(texts) == len(content) and all(map(_is_plain, content)) else content


def _text_of(part: Any) -> str | None:
    """The text of a part that is said."""
    if is_object(part):
        if part.get("type") not in ("text", "input_text", "output_text", None):
            return None
        part = part.get("text")
        if is_object(part):
            part = part.get("value")
    return part if isinstance(part, str) else None


def _is_plain(part: Any) -> bool:
    """True for a part that is nothing but a text: it has no annotations, for example."""
    if not is_object(part):
        return True
    text = part.get("text")
    rest = [part[name] for name in part if name not in ("type", "text", "id")]
    return not any(rest) and not (is_object(text) and text.get("annotations"))
