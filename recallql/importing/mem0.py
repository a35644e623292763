"""mem0's memories: the JSON of `get_all` and of its exports, and the SQLite file of the open-source library.

The JSON is `{"results": […]}` (or `memories`, or a list) with the fields of `MemoryItem` and of the service's answers
(mem0ai 0.1 to 1.x, API v1 and v2). The SQLite file is the library's `history.db` (`mem0/memory/storage.py`): its table
`history` has every version of each memory, of which the last is imported, but neither users nor metadata, which are in
the library's vector store; newer ones have a table `messages` with the last messages of each scope.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Any
from urllib.parse import parse_qsl

from models.foreign import ForeignTables, sqlite_tables
from recallql.importing.reading import json_values
from recallql.importing.source import Line, Object, Source, moment

_KNOWN = frozenset(
    (
        *("id", "memory", "text", "metadata", "created_at", "updated_at", "user_id", "agent_id", "run_id"),
        *("categories", "app_id", "actor_id", "role", "expiration_date"),
    )
)
_IN_METADATA = ("categories", "app_id", "actor_id", "role", "agent_id", "run_id")
"""Fields that are kept in the metadata of a memory, since it has none for them."""

_HISTORY = ("memory_id", "new_memory", "event", "created_at", "updated_at", "is_deleted")


def translate(source: Source) -> Iterator[Line]:
    with source.opened() as file:
        if file.peek(16).startswith(b"SQLite format 3\0"):
            yield from _history(source)
        else:
            sessions: dict[str, tuple[str | None, str | None]] = {}
            for item in json_values(file):
                if item.key in ("", "results", "memories"):
                    yield from _memory(source, source.object_in(source.at(item), "a memory"), sessions)
                elif item.key not in ("count", "next", "previous"):
                    source.leave_item(item)
            for run, (user, agent) in sessions.items():
                yield {"type": "session", "sessionId": run, "userId": user, "agentId": agent}
    yield from source.missing_people()


def _memory(
    source: Source, memory: dict[str, Any], sessions: dict[str, tuple[str | None, str | None]]
) -> Iterator[Line]:
    source.expect(memory, "memory", "text")
    source.leave_fields("memory", memory, _KNOWN)
    user, agent, run = source.owner(memory.get("user_id")), memory.get("agent_id"), memory.get("run_id")
    if agent is not None:
        source.name("agent", agent)
    if run is not None:
        first = sessions.setdefault(run, (user, agent))
        if first[0] != user:
            # A session has one user, and its memories are the user's.
            run = None
            if user is None:
                user = first[0]
    owner: Line
    if run is not None:
        owner = {"sessionId": run}
    elif user is not None:
        owner = {"userId": user}
    elif agent is not None:
        owner = {"agentId": agent}
    else:
        raise source.wrong("the memory has no user_id, agent_id or run_id; name its owner with --user.")
    yield {
        "type": "memory",
        **owner,
        "memoryId": memory.get("id"),
        "kind": "FACT",
        "content": source.text_in(memory, "memory" if "memory" in memory else "text"),
        "metadata": source.fitting(_metadata(source, memory, owner), "memory"),
        "expiresAt": moment(memory.get("expiration_date")),
        "createdAt": moment(memory.get("created_at")),
        "updatedAt": moment(memory.get("updated_at") or memory.get("created_at")),
    }


def _metadata(source: Source, memory: dict[str, Any], owner: Line) -> dict[str, Any]:
    """The metadata of a memory, with those of its fields that have no place of their own."""
    metadata = source.object_in(memory.get("metadata") or {}, "`metadata`")
    placed = {"agent_id": "agentId", "run_id": "sessionId"}
    beside = {name: memory[name] for name in _IN_METADATA if memory.get(name) and placed.get(name, "") not in owner}
    return {**beside, **metadata}


def _history(source: Source) -> Iterator[Line]:
    with sqlite_tables(source.where) as tables:
        missing = [name for name in _HISTORY if name not in tables.columns("history")]
        if missing:
            raise source.wrong(
                f"the file's table `history` has no column {', '.join(missing)}: is it mem0's history.db?"
            )
        if source.user is None:
            raise source.wrong("history.db names no users: name the owner of its memories with --user.")
        rows = tables.rows("history", order_by=("memory_id", "rowid"))
        for memory_id, versions in groupby(rows, lambda row: row["memory_id"]):
            source.place = f"memory {memory_id}"
            yield from _last_version(source, memory_id, list(versions))
        if tables.columns("messages"):
            yield from _messages(source, tables)


def _last_version(source: Source, memory_id: str, versions: list[Object]) -> Iterator[Line]:
    last = versions[-1]
    if len(versions) > 1:
        source.leave("earlier versions of memories", len(versions) - 1)
    if last["event"] == "DELETE" or last["is_deleted"]:
        source.leave("deleted memories")
        return
    said = {name: last[name] for name in ("actor_id", "role") if last.get(name)}
    begun = versions[0]["created_at"] or last["created_at"] or last["updated_at"]
    yield {
        "type": "memory",
        "userId": source.owner(),
        "memoryId": memory_id,
        "kind": "FACT",
        "content": source.text_in(last, "new_memory"),
        "metadata": said or None,
        "createdAt": moment(begun),
        "updatedAt": moment(last["updated_at"] or last["created_at"] or begun),
    }


def _messages(source: Source, tables: ForeignTables) -> Iterator[Line]:
    """The messages of scopes such as `run_id=42&user_id=zoe`. Their memories are imported too, so they form none."""
    sessions: dict[str, Line] = {}
    for row in tables.rows("messages", order_by=("session_scope", "rowid")):
        source.place = f"message {row['id']}"
        scope = source.text_in(row, "session_scope")
        if scope not in sessions:
            named = dict(parse_qsl(scope))
            agent = named.get("agent_id")
            sessions[scope] = {
                "type": "session",
                "sessionId": named.get("run_id") or scope,
                "userId": source.owner(),
                "agentId": agent and source.name("agent", agent),
            }
            yield sessions[scope]
        yield source.message(
            sessions[scope]["sessionId"],
            source.text_in(row, "role"),
            messageId=row["id"],
            name=row.get("name"),
            content=row["content"],
            createdAt=moment(row["created_at"]),
            formMemories=False,
        )
