"""Julep's objects as the API v1 returned them (`typespec/` of julep-ai/julep, SDK 1.x and 2.x).

A file is one JSON object with the lists `users`, `agents`, `docs` and `sessions`; a session has its `entries`, or its
`history` with these. Docs are in the list of their owner (`"docs": […]` in a user or agent), or name it by `owner`,
`user_id` or `agent_id`. Entries may also be in a list `entries` of their own, with their `session_id`.
"""

from collections.abc import Iterator
from typing import Any

import orjson

from models.values import is_list, is_object
from recallql.importing.openai import content_of
from recallql.importing.source import Line, Object, Source, latest, moment

_OWN = ("id", "metadata", "created_at", "updated_at", "docs")
_USER = frozenset((*_OWN, "name", "about"))
_AGENT = frozenset((*_OWN, "name", "about", "model", "instructions"))
_SESSION = frozenset(
    (
        *(*_OWN, "user", "users", "agent", "agents", "situation", "summary", "token_budget", "context_overflow"),
        *("entries", "history", "kind", "render_templates", "user_id", "agent_id"),
    )
)
_ENTRY = frozenset(
    (
        *("id", "session_id", "role", "name", "content", "timestamp", "created_at", "token_count", "tokenizer"),
        *("source", "tool_calls", "tool_call_id", "metadata"),
    )
)
_DOC = frozenset(
    (
        *(*_OWN, "title", "content", "owner", "user_id", "agent_id", "modality", "language"),
        *("embedding_model", "embedding_dimensions", "embeddings"),
    )
)
_ROLES = {
    **{name: name.upper() for name in ("user", "assistant", "system", "tool", "function", "developer")},
    "agent": "ASSISTANT",
    "function_call": "ASSISTANT",
    "function_response": "FUNCTION",
}


def translate(source: Source) -> Iterator[Line]:
    for item, value in source.listed():
        match item.key:
            case "users":
                yield from _user(source, value)
            case "agents":
                yield from _agent(source, value)
            case "docs":
                yield _document(source, value, _owner(source, value))
            case "sessions":
                yield from _session(source, value)
            case "entries":
                yield _entry(source, source.text_in(value, "session_id"), value)
            case "":
                source.expect(value)
            case "tasks":
                source.leave("tasks")
            case _:
                source.leave_item(item)
    yield from source.missing_people()


def _times(value: Object) -> Line:
    return {
        "createdAt": moment(value.get("created_at")),
        "updatedAt": moment(value.get("updated_at") or value.get("created_at")),
    }


def _user(source: Source, user: dict[str, Any]) -> Iterator[Line]:
    source.leave_fields("user", user, _USER)
    id = source.text_in(user, "id")
    yield source.person(
        "user",
        id,
        name=user.get("name") or None,
        about=user.get("about"),
        metadata=source.fitting(user.get("metadata"), "user"),
        **_times(user),
    )
    for doc in source.objects_in(user.get("docs"), "docs"):
        yield _document(source, doc, {"userId": id})


def _agent(source: Source, agent: dict[str, Any]) -> Iterator[Line]:
    source.leave_fields("agent", agent, _AGENT)
    id, instructions = source.text_in(agent, "id"), agent.get("instructions")
    yield source.person(
        "agent",
        id,
        name=agent.get("name"),
        about=agent.get("about"),
        model=agent.get("model") or None,
        instructions="\n".join(instructions) if is_list(instructions) else instructions,
        metadata=source.fitting(agent.get("metadata"), "agent"),
        **_times(agent),
    )
    for doc in source.objects_in(agent.get("docs"), "docs"):
        yield _document(source, doc, {"agentId": id})


def _owner(source: Source, doc: dict[str, Any]) -> Line:
    owner = doc.get("owner")
    if is_object(owner):
        doc = {f"{owner.get('role')}_id": owner.get("id")}
    for kind in ("user", "agent"):
        if doc.get(f"{kind}_id"):
            return {f"{kind}Id": source.name(kind, source.text_in(doc, f"{kind}_id"))}
    raise source.wrong("the doc names no owner: give its `owner`, `user_id` or `agent_id`.")


def _document(source: Source, doc: dict[str, Any], owner: Line) -> Line:
    source.leave_fields("doc", doc, _DOC)
    content = doc.get("content")
    return {
        "type": "document",
        **owner,
        "documentId": doc.get("id"),
        "title": doc.get("title") or "Untitled",
        "content": "\n\n".join(content) if is_list(content) else content,
        "metadata": source.fitting(doc.get("metadata"), "doc"),
        **_times(doc),
    }


def _session(source: Source, session: dict[str, Any]) -> Iterator[Line]:
    id = source.text_in(session, "id")
    source.leave_fields("session", session, _SESSION)
    users = [each for each in (session.get("user"), session.get("user_id"), *(session.get("users") or ())) if each]
    agents = [each for each in (session.get("agent"), session.get("agent_id"), *(session.get("agents") or ())) if each]
    for kind, named in (("users", users), ("agents", agents)):
        if len(named) > 1:
            source.leave(f"session.{kind} after the first", len(named) - 1)
    history = session.get("history")
    entries = source.objects_in(session.get("entries"), "entries")
    if history is not None:
        entries += source.objects_in(history, "entries")
        if is_object(history) and history.get("relations"):
            source.leave("session.history.relations", len(history["relations"]))
    overflow, budget = session.get("context_overflow"), session.get("token_budget")
    yield {
        "type": "session",
        "sessionId": id,
        "userId": source.owner(*users),
        "agentId": source.name("agent", agents[0]) if agents else None,
        "situation": session.get("situation"),
        "tokenBudget": budget or None,
        # Without a choice Julep refuses what exceeds the budget.
        "contextOverflow": overflow.upper() if overflow else ("ERROR" if budget else None),
        "metadata": source.fitting(session.get("metadata"), "session"),
        **_times(session),
        "lastActivityAt": latest(map(_time, entries)) or moment(session.get("updated_at")),
    }
    for entry in entries:
        yield _entry(source, id, entry)
    if session.get("summary"):
        yield {"type": "memory", "sessionId": id, "kind": "SUMMARY", "content": session["summary"]}


def _time(entry: Object) -> Any:
    """When an entry happened, rather than when it was stored."""
    return moment(entry.get("timestamp")) or moment(entry.get("created_at"))


def _entry(source: Source, session: str, entry: dict[str, Any]) -> Line:
    source.leave_fields("entry", entry, _ENTRY)
    role = _ROLES.get(source.text_in(entry, "role"))
    if role is None:
        raise source.wrong(f"an entry has the role {entry['role']!r}; known are {', '.join(_ROLES)}.")
    content = entry.get("content")
    if entry.get("source") == "summarizer" and isinstance(content, str):
        summary = {"type": "memory", "sessionId": session, "kind": "SUMMARY", "memoryId": entry.get("id")}
        return {**summary, "content": content, "createdAt": _time(entry)}
    blocks: list[Any] = content if is_list(content) else [content]
    calls = [*(entry.get("tool_calls") or ()), *filter(_is_call, blocks)]
    rest = [block for block in blocks if not _is_call(block)]
    text, parts = content_of(rest if is_list(content) else rest[0] if rest else None)
    answered = entry.get("tool_call_id")
    if role in ("TOOL", "FUNCTION"):
        answer: Any = next((block for block in blocks if is_object(block) and "output" in block), None)
        if answer is not None:
            # A tool's answer, `{"id": …, "output": …}`: the id is that of the call.
            answered, output = answered or answer.get("id"), answer["output"]
            text, parts = output if isinstance(output, str) else orjson.dumps(output).decode(), None
    return source.message(
        session,
        role,
        messageId=entry.get("id"),
        name=entry.get("name") or None,
        content=text if text is not None or parts or calls else "",
        parts=parts or None,
        toolCalls=calls or None,
        toolCallId=answered,
        metadata=entry.get("metadata"),
        tokenCount=entry.get("token_count") or None,
        createdAt=_time(entry),
    )


def _is_call(block: Any) -> bool:
    """True for a tool call among the contents of an entry."""
    return is_object(block) and (is_object(block.get("function")) or block.get("type") == "function")
