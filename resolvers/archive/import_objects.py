"""Importing users, agents, documents, sessions and memories: a line at a time; each says whether it is new."""

import json
from typing import Any

from models.agents import agent_by_id, agent_table
from models.documents import document_table, documents_by_key
from models.keys import key_of, session_key, user_key
from models.memories import memories_by_key, memory_table
from models.messages import bury, deleted_sequences, generation_of, messages_by_place, set_generation
from models.sessions import session_by_id, session_table
from models.statements import Record
from models.store import Transaction
from models.users import user_by_id, user_table, users_by_key
from resolvers.agents import agent_row
from resolvers.archive.entries import hex_of
from resolvers.archive.kinds import Line, as_exported
from resolvers.documents import document_row, insert_document
from resolvers.documents import find_owner as find_document_owner
from resolvers.errors import refuse
from resolvers.formation.formation import give_session
from resolvers.ids import parse_id
from resolvers.inputs import camel, created
from resolvers.memories import find_owner as find_memory_owner
from resolvers.memories import find_superseded
from resolvers.memory_rows import insert_sources, memory_row, remove_memory, supersede
from resolvers.operation_context import OperationContext
from resolvers.sessions import begin_session, references, session_row
from resolvers.users import user_row

SOURCE_PROJECT = "default"
"""The project of lines that name none."""


def _with_nonce(line: Line, noun: str, key: bytes) -> Line:
    """A line with the nonce that its `id` holds; with none if it was exported before there were ids in lines."""
    if "id" not in line:
        return {**line, "nonce": 0} if "version" in line else line
    node = parse_id(line["id"])
    if node is None or (node.noun, node.key) != (noun, key):
        raise refuse("INVALID", f"`id` is not the global id of this {noun.lower()}, as an export writes it.", "id")
    return {**line, "nonce": node.nonce}


def _source_project(line: Line) -> str:
    return line.get("project", SOURCE_PROJECT)


async def add_user(write: Transaction, context: OperationContext, line: Line) -> bool:
    if await user_by_id(write, context.scope, line["user_id"]):
        return False
    line = _with_nonce(line, "User", user_key(_source_project(line), line["user_id"]))
    row = user_row(context, line, context.clock.now()) | as_exported(line)
    await user_table.insert(write, row)
    for document in line.get("documents", ()):
        await insert_document(write, context, created(document), user=row)
    return True


async def add_agent(write: Transaction, context: OperationContext, line: Line) -> bool:
    if await agent_by_id(write, context.scope, line["agent_id"]):
        return False
    row = agent_row(context, line, context.clock.now()) | as_exported(line)
    await agent_table.insert(write, row)
    for document in line.get("documents", ()):
        await insert_document(write, context, created(document), agent=row)
    return True


_OF_MESSAGES = frozenset(("key", "last_sequence", "deleted_through", "lane"))
"""Columns of a session that stay when its line comes after some of its messages."""
_SERVER_TIMES = frozenset(("created_at", "updated_at", "last_activity_at", "nonce"))


async def add_session(write: Transaction, context: OperationContext, line: Line) -> bool:
    there = await session_by_id(write, context.scope, line["session_id"])
    line = _with_nonce(line, "Session", session_key(_source_project(line), line["session_id"]))
    if there is None or there["deleted_at"] is not None:
        session = await begin_session(write, context, line, there)
        session = await session_table.update(write, session, as_exported(line) | _last_sequence(session, line))
    elif _has_only_messages(context, there):
        session = await _complete(write, context, there, line)
        if session is there:
            return False
    else:
        await _refuse_other_owner(write, context, there, line)
        return False
    stones = {stone["sequence"]: stone for stone in line.get("deleted_messages", ())}
    gone = await deleted_sequences(write, session["key"], list(stones))
    for sequence in stones.keys() - gone:
        hash = None if stones[sequence].get("message_id_hash") is None else hex_of(stones[sequence], "message_id_hash")
        await bury(write, session["key"], sequence, hash)
    return True


def _last_sequence(session: Record, line: Line) -> dict[str, int]:
    stones = [stone["sequence"] for stone in line.get("deleted_messages", ())]
    return {"last_sequence": max(session["last_sequence"], line.get("last_sequence", 0), *stones, 0)}


def _has_only_messages(context: OperationContext, session: Record) -> bool:
    """Tells whether a session came into being by its messages, and nobody has given it anything since."""
    line = {"session_id": session["session_id"]}
    blank = session_row(context, line, session["created_at"], user=None, agent=None)
    return all(session[name] == blank[name] for name in blank.keys() - _OF_MESSAGES - _SERVER_TIMES)


async def _complete(write: Transaction, context: OperationContext, session: Record, line: Line) -> Record:
    """Gives a session that has only messages what its line says; the session itself where that is nothing."""
    keys = await references(write, context, line)
    row = session_row(context, line, session["created_at"], user=keys.get("user_key"), agent=keys.get("agent_key"))
    row |= {"nonce": line.get("nonce", session["nonce"]), "last_activity_at": session["last_activity_at"]}
    row |= {"updated_at": session["updated_at"]} | as_exported(line) | _last_sequence(session, line)
    changes = {name: row[name] for name in row.keys() - _OF_MESSAGES | {"last_sequence"} if row[name] != session[name]}
    # Its line may have been all that it was given: then the session goes on from there.
    if not changes.keys() - {"last_activity_at", "updated_at", "last_sequence"}:
        return session
    if "user_key" in changes:
        await give_session(write, context, session, row["user_key"])
    completed = await session_table.update(write, session, changes)
    if "nonce" in changes:
        await set_generation(write, completed["key"], generation_of(session), generation_of(completed))
    return completed


async def _refuse_other_owner(write: Transaction, context: OperationContext, session: Record, line: Line) -> None:
    """An import never takes a session from its owner."""
    owner = session["user_key"]
    if owner is None or line.get("user_id") is None or owner == user_key(context.scope.project, line["user_id"]):
        return
    user = (await users_by_key(write, context.scope, [owner]))[0]
    named = json.dumps(user["user_id"] if user is not None else "", ensure_ascii=False)
    raise refuse("CONFLICT", f"The session {json.dumps(line['session_id'])} belongs to the user {named}.", "userId")


async def add_document(write: Transaction, context: OperationContext, line: Line) -> bool:
    owner = await find_document_owner(write, context, line)
    row = document_row(context, line, context.clock.now(), **owner)
    row |= as_exported(line) | {"key": _key_of(context, line, row)}
    if "digest" in line:
        row["digest"] = hex_of(line, "digest")
    stored = (await documents_by_key(write, context.scope, [row["key"]]))[0]
    if stored is not None:
        return _is_known(line, row, stored, "document_id")
    await document_table.insert(write, row)
    return True


async def add_memory(write: Transaction, context: OperationContext, line: Line, *, is_partial: bool) -> bool:
    """Adds a memory; `is_partial` says that lines of the file were left out, which may be its sources."""
    owner = await find_memory_owner(write, context, line)
    row = memory_row(context, line, owner, context.clock.now())
    row |= as_exported(line) | {"key": _key_of(context, line, row)}
    if "digest" in line:
        row["digest"] = hex_of(line, "digest")
    if "superseded_by" in line:
        row["superseded_by"] = _moved(context, line, "memory", hex_of(line, "superseded_by"))
    stored = (await memories_by_key(write, context.scope, [row["key"]], deleted=True))[0]
    if stored is not None and stored["deleted_at"] is None:
        return _is_known(line, row, stored, "memory_id")
    if stored is not None:
        await remove_memory(write, stored)
    named = [await _source(write, context, line, index) for index in range(len(line.get("sources", ())))]
    # What an exported memory rested on may have been deleted since; what a new one names must be there.
    if None in named and ("key" not in line or is_partial):
        raise refuse("NOT_FOUND", "There is no such message or document.", "sources", str(named.index(None)))
    older = await find_superseded(write, context, owner, line)
    kept = await memory_table.insert(write, row)
    await insert_sources(write, kept, [source for source in named if source is not None])
    await supersede(write, context, kept, older)
    return True


def _is_known(line: Line, row: Line, stored: Record, own: str) -> bool:
    """False: it is there. An exported object may have changed since; another one under the same id is refused."""
    if "key" not in line and own in line and stored["digest"] != row["digest"]:
        said = json.dumps(stored["content"][:60], ensure_ascii=False)
        raise refuse("CONFLICT", f"Another {line['type']} with this {camel(own)} is there: {said}.", camel(own))
    return False


def _moved(context: OperationContext, line: Line, noun: str, key: bytes) -> bytes:
    """The key of an exported object; another one in another project, since both may be in one database."""
    if _source_project(line) == context.scope.project:
        return key
    return key_of(noun, context.scope.project, key)


def _key_of(context: OperationContext, line: Line, row: Line) -> bytes:
    """The key of a document or memory: without one of the client's or of an export, the line itself is its identity."""
    noun = line["type"]
    if "key" in line:
        return _moved(context, line, noun, hex_of(line, "key"))
    if line.get("memory_id") or line.get("document_id"):
        return row["key"]
    said = {name: value for name, value in line.items() if name != "project"}
    return key_of(noun, context.scope.project, json.dumps(said, sort_keys=True))


async def _source(write: Transaction, context: OperationContext, line: Line, index: int) -> dict[str, Any] | None:
    """The row of a memory's source, or None when what it names is not there."""
    source = line["sources"][index]
    position = index if source.get("position") is None else source["position"]
    if source.get("document_key") is not None:
        key = _moved(context, line, "document", hex_of(source, "document_key"))
        found = (await documents_by_key(write, context.scope, [key]))[0]
        row = {"session_key": None, "sequence": None, "document_key": key}
    else:
        place = (session_key(context.scope.project, source.get("session_id") or ""), source.get("sequence") or 0)
        found = (await messages_by_place(write, context.scope, [place]))[0]
        row = {"session_key": place[0], "sequence": place[1], "document_key": None}
    return None if found is None else {**row, "position": position}


ADD = {
    "user": add_user,
    "agent": add_agent,
    "document": add_document,
    "session": add_session,
}
