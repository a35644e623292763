"""Chats of any other origin, as JSON lines (or a list) in the form of OpenAI's chat messages.

A line is a chat, `{"messages": [{"role": "user", "content": "Hi"}, …], "id"?, "user"?, "title"?, "metadata"?,
"created_at"?}`, as for fine-tuning; or one message, `{"role": …, "content": …, "session_id"?, "user"?, "id"?,
"created_at"?}`. Messages that name no session are of one with the file's name; a chat without an id gets one of its
text, so that the same chat is the same session whenever it is imported.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from recallql.importing.openai import content_of
from recallql.importing.reading import json_lines
from recallql.importing.source import Line, Source, derived_id, latest, moment

_SESSION = ("session_id", "conversation_id", "thread_id", "chat_id")
_USER = ("user_id", "user")
_TIME = ("created_at", "createdAt", "timestamp", "time", "create_time")
_KNOWN_CHAT = frozenset(("id", "messages", "conversation", "title", "metadata", *_SESSION, *_USER, *_TIME))
_KNOWN_MESSAGE = frozenset(
    (
        *("id", "message_id", "role", "content", "name", "tool_calls", "tool_call_id", "function_call", "metadata"),
        *_SESSION,
        *_USER,
        *_TIME,
    )
)
_ROLES = {"human": "USER", "ai": "ASSISTANT", "bot": "ASSISTANT", "model": "ASSISTANT", "gpt": "ASSISTANT"}


def translate(source: Source) -> Iterator[Line]:
    sessions: dict[str, Line] = {}
    with source.opened() as file:
        for item in json_lines(file):
            value = source.object_in(source.at(item), "a chat")
            source.expect(value, "messages", "role")
            if "messages" in value:
                yield from _chat(source, value)
                continue
            id = str(_first(value, _SESSION) or source.stem)
            session = sessions.setdefault(id, {"type": "session", "sessionId": id})
            session["userId"] = session.get("userId") or source.owner(_first(value, _USER))
            session["lastActivityAt"] = latest((session.get("lastActivityAt"), moment(_first(value, _TIME))))
            yield message_line(source, id, value)
    # Their users and their last times are known now.
    yield from sessions.values()
    yield from source.missing_people()


def _chat(source: Source, chat: dict[str, Any]) -> Iterator[Line]:
    source.leave_fields("chat", chat, _KNOWN_CHAT)
    session = _first(chat, ("id", *_SESSION))
    if session is None:
        session = f"chat-{derived_id(orjson.dumps(chat, option=orjson.OPT_SORT_KEYS).decode())}"
    messages = source.objects_in(chat["messages"], "messages")
    yield {
        "type": "session",
        "sessionId": str(session),
        "userId": source.owner(_first(chat, _USER)),
        "title": chat.get("title"),
        "metadata": source.fitting(chat.get("metadata"), "chat"),
        "createdAt": moment(_first(chat, _TIME)),
        "lastActivityAt": latest(moment(_first(message, _TIME)) for message in messages),
    }
    for message in messages:
        yield message_line(source, str(session), message)


def message_line(source: Source, session: str, message: dict[str, Any]) -> Line:
    """The line of a message in the form of OpenAI's chat completions."""
    source.leave_fields("message", message, _KNOWN_MESSAGE)
    role = source.text_in(message, "role")
    content, parts = content_of(message.get("content"))
    calls, called = message.get("tool_calls"), message.get("function_call")
    if calls is None and called is not None:
        calls = [{"type": "function", "function": called}]
    if content is None and parts is None and calls is None:
        content = ""
    return source.message(
        session,
        _ROLES.get(role.lower(), role),
        messageId=_first(message, ("message_id", "id")),
        name=message.get("name"),
        content=content,
        parts=parts,
        toolCalls=calls,
        toolCallId=message.get("tool_call_id"),
        metadata=message.get("metadata"),
        createdAt=moment(_first(message, _TIME)),
    )


def _first(value: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((value[name] for name in names if value.get(name) is not None), None)
