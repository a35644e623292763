"""Imports users, agents, documents, sessions and memories, a line at a time; functions return True for new objects."""

import json
from typing import Any

from models.agents import agent_by_id
from models.documents import document_table, documents_by_key
from models.keys import session_key, user_key
from models.memories import NEUTRAL, memories_by_key, memory_table
from models.messages import deleted_sequences, keep_tombstone, messages_by_sequence, set_generation
from models.rows import DocumentRow, MemoryRow, SessionRow
from models.sessions import owned_by, session_by_id, session_table
from models.store import Transaction
from models.users import user_by_id, users_by_key
from resolvers.agents import AGENT
from resolvers.archive.entries import ObjectEntry, hex_of, moved, source_project
from resolvers.archive.kinds import Line
from resolvers.documents import document_row
from resolvers.documents import find_owner as find_document_owner
from resolvers.errors import refuse
from resolvers.formation.formation import give_session
from resolvers.ids import parse_id
from resolvers.inputs import camel
from resolvers.memories import find_owner as find_memory_owner
from resolvers.memories import find_superseded
from resolvers.memory_rows import Source, insert_sources, memory_row, remove_memory, supersede
from resolvers.memory_sources import placed_sources
from resolvers.operation_context import OperationContext
from resolvers.sessions import SESSION, begin_session, references, session_row
from resolvers.users import USER


def _nonce_of(line: Line, noun: str, key: bytes) -> dict[str, int]:
    """The nonce in the `id` of a line; that of no nonce for exports from before lines had ids."""
    if "id" not in line:
        return {"nonce": 0} if "version" in line else {}
    node = parse_id(line["id"])
    if node is None or (node.noun, node.key) != (noun, key):
        raise refuse("INVALID", f"`id` is not the global id of this {noun.lower()}, as an export writes it.", "id")
    return {"nonce": node.nonce}


async def add_user(write: Transaction, context: OperationContext, entry: ObjectEntry) -> bool:
    line = entry.line
    if await user_by_id(write, context.scope, line["user_id"]):
        return False
    nonce = _nonce_of(line, "User", user_key(source_project(line), line["user_id"]))
    await USER.insert(write, context, entry.columns | nonce, entry.documents)
    return True


async def add_agent(write: Transaction, context: OperationContext, entry: ObjectEntry) -> bool:
    if await agent_by_id(write, context.scope, entry.line["agent_id"]):
        return False
    await AGENT.insert(write, context, entry.columns, entry.documents)
    return True


_OF_MESSAGES = frozenset(("key", "last_sequence", "deleted_through", "lane"))
"""Columns of a session that stay when its line comes after some of its messages."""
_SERVER_TIMES = frozenset(("created_at", "updated_at", "last_activity_at", "nonce"))


async def add_session(write: Transaction, context: OperationContext, entry: ObjectEntry) -> bool:
    line = entry.line
    there = await session_by_id(write, context.scope, line["session_id"])
    nonce = _nonce_of(line, "Session", session_key(source_project(line), line["session_id"]))
    columns = entry.columns | nonce
    if there is None or there["deleted_at"] is not None:
        session = await begin_session(write, context, line, columns, there)
        session = await session_table.update(write, session, {"last_sequence": _last_sequence(session, line)})
    elif _has_only_messages(context, there):
        session = await _complete(write, context, there, line, columns)
        if session is there:
            return False
    else:
        await _refuse_other_owner(write, context, there, line)
        return False
    tombstones = {tombstone["sequence"]: tombstone for tombstone in line.get("deleted_messages", ())}
    gone = await deleted_sequences(write, session, list(tombstones))
    for sequence in tombstones.keys() - gone:
        tombstone = tombstones[sequence]
        hash = None if tombstone.get("message_id_hash") is None else hex_of(tombstone, "message_id_hash")
        await keep_tombstone(write, session, sequence, hash)
    return True


def _last_sequence(session: SessionRow, line: Line) -> int:
    """The last sequence that a session has assigned, including those of messages deleted since."""
    deleted = [tombstone["sequence"] for tombstone in line.get("deleted_messages", ())]
    return max(session["last_sequence"], line.get("last_sequence", 0), *deleted, 0)


def _has_only_messages(context: OperationContext, session: SessionRow) -> bool:
    """True if a session was created by its messages, and has not been updated since."""
    columns = SESSION.new({"session_id": session["session_id"]})
    kept = dict(session)
    blank = dict(session_row(context, columns, session["created_at"], owned_by(None)))
    return all(kept[name] == blank[name] for name in blank.keys() - _OF_MESSAGES - _SERVER_TIMES)


async def _complete(
    write: Transaction, context: OperationContext, session: SessionRow, line: Line, columns: dict[str, Any]
) -> SessionRow:
    """Applies its line to a session that has only messages; returns the session itself if nothing changes."""
    kept = {name: session[name] for name in ("nonce", "last_activity_at", "updated_at") if columns[name] is None}
    given = {**columns, **kept}
    row = session_row(context, given, session["created_at"], await references(write, context, line))
    row["last_sequence"] = _last_sequence(session, line)
    wanted: dict[str, Any] = {**row}
    names = wanted.keys() - _OF_MESSAGES | {"last_sequence"}
    changes = {name: wanted[name] for name in names if wanted[name] != session[name]}
    # The line may be all that it ever got; then the sequence continues from there.
    if not changes.keys() - {"last_activity_at", "updated_at", "last_sequence"}:
        return session
    if "user_key" in changes:
        await give_session(write, context, session, row["user_key"])
    completed = await session_table.update(write, session, changes)
    if "nonce" in changes:
        await set_generation(write, session, completed)
    return completed


async def _refuse_other_owner(write: Transaction, context: OperationContext, session: SessionRow, line: Line) -> None:
    """An import never takes a session from its owner."""
    owner = session["user_key"]
    if owner is None or line.get("user_id") is None or owner == user_key(context.scope.project, line["user_id"]):
        return
    user = (await users_by_key(write, context.scope, [owner]))[0]
    named = json.dumps(user["user_id"] if user is not None else "", ensure_ascii=False)
    raise refuse("CONFLICT", f"The session {json.dumps(line['session_id'])} belongs to the user {named}.", "userId")


async def add_document(write: Transaction, context: OperationContext, entry: ObjectEntry) -> bool:
    owner = await find_document_owner(write, context, entry.line)
    row = document_row(context, entry.columns, user=owner.user, agent=owner.agent)
    _take_keys(entry, row)
    stored = (await documents_by_key(write, context.scope, [row["key"]]))[0]
    if stored is not None:
        return _is_known(entry.line, row, stored, "document_id")
    await document_table.insert(write, row)
    return True


def _take_keys(entry: ObjectEntry, row: DocumentRow | MemoryRow) -> None:
    """Sets a row's key and digest to those of its line."""
    if entry.key is not None:
        row["key"] = entry.key
    if "digest" in entry.line:
        row["digest"] = hex_of(entry.line, "digest")


async def add_memory(write: Transaction, context: OperationContext, entry: ObjectEntry, *, is_partial: bool) -> bool:
    """Adds a memory; with `is_partial` lines of the file were skipped, which may be its sources."""
    line = entry.line
    owner = await find_memory_owner(write, context, line)
    row = memory_row(context, entry.columns, owner, context.clock.now())
    # An export of a version that did not rate what it formed; one that was corrected may have lost its rating by that.
    if row["rating"] is None and row["method"] != "DECLARED" and row["corrected_at"] is None:
        row["rating"] = NEUTRAL
    _take_keys(entry, row)
    if "superseded_by" in line:
        row["superseded_by"] = moved(line, context.scope.project, "memory", hex_of(line, "superseded_by"))
    stored = (await memories_by_key(write, context.scope, [row["key"]], deleted=True))[0]
    if stored is not None and stored["deleted_at"] is None:
        return _is_known(line, row, stored, "memory_id")
    if stored is not None:
        await remove_memory(write, stored)
    named = [await _source(write, context, line, index) for index in range(len(line.get("sources", ())))]
    # An exported memory's sources may have been deleted since; those of a new one must exist.
    if None in named and ("key" not in line or is_partial):
        raise refuse("NOT_FOUND", "There is no such message or document.", "sources", str(named.index(None)))
    sources = [source for source in named if source is not None]
    following = max((source.position or 0 for source in sources), default=-1) + 1
    placed = await placed_sources(write, context, owner, line)
    sources += [source._replace(position=following + index) for index, source in enumerate(placed)]
    older = await find_superseded(write, context, owner, line)
    kept = await memory_table.insert(write, row)
    await insert_sources(write, kept, sources)
    await supersede(write, context, kept, older)
    return True


def _is_known(line: Line, row: DocumentRow | MemoryRow, stored: DocumentRow | MemoryRow, own: str) -> bool:
    """Returns False: it exists. An exported object may have changed since; another one with the same id is refused."""
    if "key" not in line and own in line and stored["digest"] != row["digest"]:
        said = json.dumps(stored["content"][:60], ensure_ascii=False)
        raise refuse("CONFLICT", f"Another {line['type']} with this {camel(own)} is there: {said}.", camel(own))
    return False


async def _source(write: Transaction, context: OperationContext, line: Line, index: int) -> Source | None:
    """A memory's source, or None if it does not exist."""
    source = line["sources"][index]
    position = index if source.get("position") is None else source["position"]
    if source.get("document_key") is not None:
        key = moved(line, context.scope.project, "document", hex_of(source, "document_key"))
        found = (await documents_by_key(write, context.scope, [key]))[0]
        named = Source(document_key=key, position=position)
    else:
        place = (session_key(context.scope.project, source.get("session_id") or ""), source.get("sequence") or 0)
        found = (await messages_by_sequence(write, context.scope, [place]))[0]
        named = Source(*place, position=position)
    return None if found is None else named


ADD = {
    "user": add_user,
    "agent": add_agent,
    "document": add_document,
    "session": add_session,
}
