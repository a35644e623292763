"""Zep: its PostgreSQL database, what its REST API v2 returns, and the threads of Zep Cloud.

The tables are those of the Community Edition 1.0 (`legacy/src/store/migrations`) and of 0.x (`pkg/store/postgres`),
named by a `postgresql://` URL. Soft-deleted rows are left out; so are facts of 1.0, which Graphiti keeps elsewhere.

A file is one JSON object with lists of what the API returns: `users`, `sessions` (or `threads`), each perhaps with its
own `messages`, `facts` and `summary`, and also `messages`, `facts` and `summaries` that name their session or user. The
objects are those of zep-python 2.x (CE) and zep-cloud 2.x to 4.x. Messages of a file form no memories, since the facts
come along.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from models.foreign import ForeignTables, postgres_tables
from recallql.importing.reading import Item
from recallql.importing.source import Line, Object, Source, latest, moment

_TYPES = {name: name.upper() for name in ("system", "assistant", "user", "function", "tool")}
_ROLES = {**_TYPES, "human": "USER", "ai": "ASSISTANT"}
_ROW = ("id", "uuid", "created_at", "updated_at", "deleted_at", "project_uuid", "metadata")
_USER = frozenset((*_ROW, "user_id", "email", "first_name", "last_name", "facts", "summary", "session_count"))
_SESSION = frozenset(
    (
        *(*_ROW, "session_id", "thread_id", "user_id", "user_uuid", "ended_at"),
        *("messages", "facts", "relevant_facts", "summary"),
    )
)
_MESSAGE = frozenset(
    (*_ROW, "session_id", "thread_id", "role", "role_type", "name", "content", "token_count", "processed")
)
_FACT = frozenset(
    (
        *(*_ROW, "session_id", "thread_id", "user_id", "fact", "content", "rating"),
        *("valid_at", "invalid_at", "expired_at", "name", "attributes"),
    )
)


def translate(source: Source) -> Iterator[Line]:
    if source.where.partition("://")[0] in ("postgres", "postgresql"):
        with postgres_tables(source.where) as tables:
            yield from _database(source, tables)
    else:
        for item, value in source.listed():
            yield from _listed(source, item, value)
    yield from source.missing_people()


def _listed(source: Source, item: Item, value: dict[str, Any]) -> Iterator[Line]:
    match item.key:
        case "users":
            yield from _user(source, value)
        case "sessions" | "threads" | "":
            source.expect(value, "session_id", "thread_id")
            yield from _session(source, value)
        case "messages":
            yield _message(source, _session_of(source, value), value, forms=False)
        case "facts" | "relevant_facts" | "edges":
            yield _memory(source, value, "FACT", _owner(source, value))
        case "summaries":
            yield _memory(source, value, "SUMMARY", _owner(source, value))
        case _:
            source.leave_item(item)


def _session_of(source: Source, value: Object) -> str:
    return source.text_in(value, "session_id" if "session_id" in value else "thread_id")


def _owner(source: Source, value: Object) -> Line:
    if value.get("session_id") or value.get("thread_id"):
        return {"sessionId": _session_of(source, value)}
    return {"userId": source.name("user", source.text_in(value, "user_id"))}


def _user(source: Source, user: dict[str, Any]) -> Iterator[Line]:
    id = source.text_in(user, "user_id")
    source.leave_fields("user", user, _USER)
    yield source.person(
        "user",
        id,
        email=user.get("email") or None,
        firstName=user.get("first_name") or None,
        lastName=user.get("last_name") or None,
        metadata=source.fitting(user.get("metadata"), "user"),
        createdAt=moment(user.get("created_at")),
        updatedAt=moment(user.get("updated_at") or user.get("created_at")),
    )
    yield from _memories(source, user, {"userId": id})


def _session(source: Source, session: dict[str, Any], user: str | None = None) -> Iterator[Line]:
    id = _session_of(source, session)
    source.leave_fields("session", session, _SESSION)
    messages = source.objects_in(session.get("messages"), "messages")
    yield {
        "type": "session",
        "sessionId": id,
        "userId": source.owner(user or session.get("user_id")),
        "metadata": source.fitting(session.get("metadata"), "session"),
        "createdAt": moment(session.get("created_at")),
        "updatedAt": moment(session.get("updated_at") or session.get("created_at")),
        "endedAt": moment(session.get("ended_at")),
        "lastActivityAt": latest(moment(message.get("created_at")) for message in messages),
    }
    for message in messages:
        yield _message(source, id, message, forms=False)
    yield from _memories(source, session, {"sessionId": id})


def _message(source: Source, session: str, message: Object, *, forms: bool | None) -> Line:
    source.leave_fields("message", message, _MESSAGE)
    role, name = _speaker(source, message)
    return source.message(
        session,
        role,
        name=name,
        messageId=message.get("uuid"),
        content=message.get("content"),
        metadata=message.get("metadata"),
        tokenCount=message.get("token_count") or None,
        createdAt=moment(message.get("created_at")),
        updatedAt=moment(message.get("updated_at")) or moment(message.get("created_at")),
        formMemories=forms,
    )


def _speaker(source: Source, message: Object) -> tuple[str, str | None]:
    """Our role and name: `docs/messages.md` says what Zep's `role` and `role_type` are."""
    role, kind = message.get("role") or "", message.get("role_type") or ""
    if kind in _TYPES:
        return _TYPES[kind], message.get("name") or role or None
    if kind == "norole" and role.lower() not in _ROLES:
        return "USER", role or None
    if role.lower() in _ROLES:
        return _ROLES[role.lower()], message.get("name")
    if not kind and "role_type" not in message and role:
        # Version 0.x has a role alone, which may be a name.
        return "USER", role
    raise source.wrong(
        f"a message has the role_type {kind!r} and the role {role!r}; known are norole, {', '.join(_TYPES)}."
    )


def _memories(source: Source, value: dict[str, Any], owner: Line) -> Iterator[Line]:
    """The facts and the summary of a user or a session."""
    facts: Any = [*(value.get("facts") or []), *(value.get("relevant_facts") or [])]
    for fact in facts:
        yield _memory(source, {"fact": fact} if isinstance(fact, str) else source.object_in(fact), "FACT", owner)
    summary = value.get("summary")
    if summary:
        yield _memory(source, {"content": summary} if isinstance(summary, str) else summary, "SUMMARY", owner)


def _memory(source: Source, memory: Mapping[str, Any], kind: str, owner: Line) -> Line:
    source.leave_fields(kind.lower(), memory, _FACT)
    valid, ended = moment(memory.get("valid_at")), moment(memory.get("invalid_at")) or moment(memory.get("expired_at"))
    metadata = {name: memory[name] for name in ("name", "attributes") if memory.get(name)}
    return {
        "type": "memory",
        **owner,
        "memoryId": memory.get("uuid"),
        "kind": kind,
        "content": source.text_in(memory, "fact" if "fact" in memory else "content"),
        "rating": memory.get("rating"),
        "validFrom": valid,
        "validUntil": ended,
        "metadata": source.fitting(metadata | (memory.get("metadata") or {}), "fact"),
        "createdAt": moment(memory.get("created_at")),
    }


@dataclass
class _Names:
    """The names of the tables in a version of Zep, and their rows."""

    sessions: str
    messages: str
    users: dict[str, str] = field(default_factory=dict[str, str])
    """The user_id of each uuid, by which sessions of 0.x name their users."""
    deleted: set[str] = field(default_factory=set[str])
    """The users and sessions that were deleted, as "user:id" and "session:id"."""


def _database(source: Source, tables: ForeignTables) -> Iterator[Line]:
    source.place = "the database"
    names = next(
        (names for names in (_Names("sessions", "messages"), _Names("session", "message"))
         if "session_id" in tables.columns(names.sessions) and "content" in tables.columns(names.messages)),
        None,
    )  # fmt: skip
    if names is None:
        raise source.wrong("it has neither Zep's tables `sessions` and `messages` nor `session` and `message`.")
    if "user_id" in tables.columns("users"):
        for row in tables.rows("users", order_by=("created_at", "uuid")):
            names.users[row["uuid"]] = row["user_id"]
            if row["deleted_at"] is not None:
                names.deleted.add(f"user:{row['user_id']}")
                source.leave("deleted users")
            else:
                yield from _user(source, dict(row))
    for row in tables.rows(names.sessions, order_by=("created_at", "uuid")):
        user = row.get("user_id") or names.users.get(row.get("user_uuid") or "")
        if row["deleted_at"] is not None or f"user:{user}" in names.deleted:
            names.deleted.add(f"session:{row['session_id']}")
            source.leave("deleted sessions")
        else:
            yield from _session(source, dict(row), user)
    for row in tables.rows(names.messages, order_by=("id",)):
        if row["deleted_at"] is not None or f"session:{row['session_id']}" in names.deleted:
            source.leave("deleted messages")
        else:
            source.place = f"message {row['uuid']}"
            yield _message(source, row["session_id"], row, forms=None)
    if "content" in tables.columns("summary"):
        for row in tables.rows("summary", order_by=("created_at", "uuid")):
            if row["deleted_at"] is not None or f"session:{row['session_id']}" in names.deleted:
                source.leave("deleted summaries")
            elif row["content"]:
                yield _memory(source, row, "SUMMARY", {"sessionId": row["session_id"]})
