"""LangGraph's stores and threads, and LangChain's message histories, as JSON or JSON lines.

- Items of a store, as `Item.dict()` and the API's `store/items/search` write them: `{"namespace": ["memories", "zoe"],
  "key": …, "value": {…}, "created_at": …, "updated_at": …}` (langgraph-checkpoint 2.x to 4.x, langgraph-sdk). An item
  is a memory of the user in its namespace: the first name that is none of the words in `_WORDS`.
- Threads of the API: `{"thread_id": …, "values": {"messages": […]}, "metadata": {…}}` (langgraph-sdk).
- Histories: `{"session_id": …, "messages": […]}`, a list of messages, or rows of `SQLChatMessageHistory`,
  `{"session_id": …, "message": "…"}`. Messages are those of `messages_to_dict`, `dumpd` or `model_dump` (langchain-core
  0.1 to 1.x). They have no times.
"""

import json
from collections.abc import Iterator
from typing import Any

import orjson

from models.values import is_list, is_object
from recallql.importing.openai import content_of
from recallql.importing.reading import Item, json_lines, json_values
from recallql.importing.source import Line, Object, Source, derived_id, fits, moment

_TYPES = {
    "human": "USER",
    "ai": "ASSISTANT",
    "system": "SYSTEM",
    "tool": "TOOL",
    "function": "FUNCTION",
    "user": "USER",
    "assistant": "ASSISTANT",
    "developer": "DEVELOPER",
}
_MESSAGE = frozenset(
    (
        *("id", "type", "role", "content", "name", "tool_calls", "tool_call_id", "status", "example"),
        *("additional_kwargs", "response_metadata", "invalid_tool_calls", "lc", "created_at"),
    )
)
_ITEM = frozenset(("namespace", "key", "value", "created_at", "updated_at", "score"))
_WORDS = frozenset(
    (
        *("memories", "memory", "user", "users", "profile", "profiles", "facts", "fact", "semantic", "episodic"),
        *("preferences", "store", "data", "langmem", "default", "long_term", "short_term", "context"),
    )
)
_TEXTS = ("content", "memory", "text", "data", "fact")
_THREAD = frozenset(
    ("thread_id", "session_id", "id", "messages", "values", "metadata", "created_at", "updated_at", "status", "user_id")
)


def translate(source: Source) -> Iterator[Line]:
    sessions: set[str] = set()
    for item in _items(source):
        value = source.object_in(source.at(item))
        if "namespace" in value and "key" in value:
            yield _memory(source, value)
        elif is_list(value.get("messages")) or is_object(value.get("values")):
            yield from _thread(source, value)
        elif "message" in value and "session_id" in value:
            message = value["message"]
            session = str(value["session_id"])
            yield from _begun(source, session, sessions)
            yield _message(source, session, json.loads(message) if isinstance(message, str) else message, value)
        else:
            source.expect(value, "namespace", "messages", "values", "type", "lc")
            yield from _begun(source, source.stem, sessions)
            yield _message(source, source.stem, value, value)
    yield from source.missing_people()


def _items(source: Source) -> Iterator[Item]:
    """The values of JSON lines, of a list, or of the lists of an object such as `{"items": […]}`."""
    with source.opened() as file:
        if _holds_lists(file.peek(4096)):
            for item in json_values(file):
                if item.number:
                    yield item
                elif item.value:
                    source.leave(item.key)
        else:
            yield from json_lines(file)


def _holds_lists(beginning: bytes) -> bool:
    """True for an object whose first field is a list, which is not that of a message, a thread or an item."""
    name, colon, rest = beginning.lstrip(b"{ \t\r\n").partition(b":")
    return (
        beginning.lstrip()[:1] == b"{"
        and bool(colon)
        and rest.lstrip()[:1] == b"["
        and name.strip() in (b'"items"', b'"threads"', b'"histories"')
    )


def _begun(source: Source, session: str, sessions: set[str]) -> Iterator[Line]:
    if session not in sessions:
        sessions.add(session)
        yield {"type": "session", "sessionId": session, "userId": source.owner()}


def _thread(source: Source, thread: dict[str, Any]) -> Iterator[Line]:
    source.leave_fields("thread", thread, _THREAD)
    metadata = source.object_in(thread.get("metadata") or {}, "`metadata`")
    session = next((thread[name] for name in ("thread_id", "session_id", "id") if thread.get(name)), None)
    session = source.stem if session is None else str(session)
    values = source.object_in(thread.get("values") or {}, "`values`")
    source.leave_fields("thread.values", values, frozenset(("messages",)))
    yield {
        "type": "session",
        "sessionId": session,
        "userId": source.owner(thread.get("user_id"), metadata.get("user_id"), metadata.get("owner")),
        "metadata": source.fitting(metadata, "thread"),
        "createdAt": moment(thread.get("created_at")),
        "updatedAt": moment(thread.get("updated_at")),
        "lastActivityAt": moment(thread.get("updated_at")),
    }
    messages = thread.get("messages") if thread.get("messages") is not None else values.get("messages")
    for message in source.objects_in(messages, "messages"):
        yield _message(source, session, message, {"created_at": thread.get("created_at")})


def _message(source: Source, session: str, given: Any, beside: Object) -> Line:
    """A message; `beside` it may be the time of its row or thread."""
    message = source.object_in(given, "a message")
    kind = message.get("type") or message.get("role")
    if kind == "constructor":
        # As `dumpd` writes it: the class is the last of its path.
        message = source.object_in(message.get("kwargs"), "`kwargs`")
        kind = message.get("type")
    elif "data" in message:
        message = source.object_in(message["data"], "`data`")
        kind = message.get("type") or kind
    source.leave_fields("message", message, _MESSAGE)
    role, name = _speaker(source, str(kind), message)
    content, parts = content_of(message.get("content"))
    extra = source.object_in(message.get("additional_kwargs") or {}, "`additional_kwargs`")
    calls = message.get("tool_calls") or extra.get("tool_calls")
    if not calls and extra.get("function_call"):
        calls = [{"type": "function", "function": extra["function_call"]}]
    if message.get("invalid_tool_calls"):
        source.leave("message.invalid_tool_calls")
    beside_calls = {key: extra[key] for key in extra if key not in ("tool_calls", "function_call")}
    metadata = {"additional_kwargs": beside_calls, "response_metadata": message.get("response_metadata")}
    return source.message(
        session,
        role,
        messageId=message.get("id"),
        name=name,
        content="" if content is None and parts is None and not calls else content,
        parts=parts,
        toolCalls=calls or None,
        toolCallId=message.get("tool_call_id"),
        metadata={key: value for key, value in metadata.items() if value} or None,
        createdAt=moment(message.get("created_at") or beside.get("created_at")),
    )


def _speaker(source: Source, kind: str, message: Object) -> tuple[str, Any]:
    kind = kind.removesuffix("MessageChunk").removesuffix("Message").lower()
    name = message.get("name")
    if kind in _TYPES:
        return _TYPES[kind], name
    if kind == "chat":
        role = str(message.get("role"))
        return (_TYPES[role.lower()], name) if role.lower() in _TYPES else ("USER", role)
    raise source.wrong(f"a message has the type {kind!r}; known are chat, {', '.join(_TYPES)}.")


def _memory(source: Source, item: dict[str, Any]) -> Line:
    source.leave_fields("item", item, _ITEM)
    namespace, key = item["namespace"], source.text_in(item, "key")
    names = [str(name) for name in namespace] if is_list(namespace) else str(namespace).split(".")
    user = source.owner(*(name for name in names if name.lower() not in _WORDS))
    if user is None:
        raise source.wrong(f"the namespace {names} names no user; name the owner with --user.")
    value = item.get("value")
    text, rest = _text_of(value)
    id = "/".join((*names, key))
    return {
        "type": "memory",
        "userId": user,
        "memoryId": id if fits(id) else derived_id(*names, key),
        "kind": "FACT",
        "content": text if text is not None else orjson.dumps(value).decode(),
        "metadata": source.fitting({**rest, "namespace": names, "key": key}, "item"),
        "createdAt": moment(item.get("created_at")),
        "updatedAt": moment(item.get("updated_at") or item.get("created_at")),
    }


def _text_of(value: Any) -> tuple[str | None, dict[str, Any]]:
    """The text of a memory, or None if no known field has one, and the other fields of its value."""
    if is_object(value):
        for name in _TEXTS:
            rest = {key: value[key] for key in value if key != name}
            if isinstance(text := value.get(name), str) and text.strip():
                return text, rest
            # As langmem writes it: `{"kind": "Memory", "content": {"content": …}}`.
            if is_object(value.get(name)):
                inner, beside = _text_of(value[name])
                if inner is not None:
                    return inner, {**beside, **rest}
    return None, {}
