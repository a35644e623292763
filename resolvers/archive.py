"""Importing and exporting: objects as lines.

A line has the fields of the contract's create inputs; exported ones add what a creation cannot say. Importing adds what
is missing and changes nothing that is there, so that a file can be imported twice.
"""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from sqlite3 import IntegrityError
from typing import Any, NamedTuple

import orjson

from models.agents import agent_by_id
from models.database import Transaction
from models.documents import documents_by_key
from models.keys import KEY_SIZE, key_of, session_key, user_key
from models.memories import memories_by_key
from models.messages import bury, messages_by_message_id, messages_by_place, was_deleted
from models.sessions import change_owner, session_by_id
from models.statements import AgentRow, DocumentRow, MemoryRow, MessageRow, Record, SessionRow, UserRow
from models.tables import agents, documents, memories, messages, sessions, users
from models.users import user_by_id
from models.writing import insert_row, update_row
from resolvers.agents import RULES as AGENT_RULES
from resolvers.agents import agent_row
from resolvers.context import Context
from resolvers.documents import DOCUMENT_RULES, OWNERS, document_faults, document_row, insert_document
from resolvers.documents import find_owner as find_document_owner
from resolvers.errors import Fault, Refused, refuse
from resolvers.ids import global_id, parse_id
from resolvers.inputs import Rule, camel, check, created, integer_rule, key_rule, refuse_all, text
from resolvers.memories import RULES as MEMORY_RULES
from resolvers.memories import find_owner as find_memory_owner
from resolvers.memories import find_superseded, memory_faults
from resolvers.memory_rows import insert_sources, memory_row, remove_memory, supersede
from resolvers.messages import RULES as MESSAGE_RULES
from resolvers.messages import append, first_sent, form, message_faults, message_row
from resolvers.sessions import RULES as SESSION_RULES
from resolvers.sessions import begin_session, references, session_row
from resolvers.times import with_offset
from resolvers.users import RULES as USER_RULES
from resolvers.users import user_row

Line = dict[str, Any]
"""An object by snake_case field name, `type` included; nulls are left out."""


class BadLine(Exception):
    """A line that can't be imported; nothing of its batch was kept."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


@dataclass
class Tally:
    """How many objects of each type were added, and how many were there."""

    added: Counter[str] = field(default_factory=Counter[str])
    known: Counter[str] = field(default_factory=Counter[str])


class Importer:
    """One import: `add` takes its lines batch by batch."""

    def __init__(self, context: Context) -> None:
        self.tally = Tally()
        self._context = context
        self._places: Counter[str] = Counter()
        self._born: set[str] = set()

    async def add(self, lines: Sequence[tuple[int, Line]]) -> None:
        """Imports numbered lines in one transaction; `BadLine` says which one is wrong, and then none was imported."""

        async def operation(write: Transaction) -> Tally:
            tally = Tally()
            for number, line in lines:
                kind = line["type"]
                try:
                    check(line, {**EXPORTED_RULES, **KINDS[kind].rules})
                    is_new = await KINDS[kind].add(write, self._context, self._identified(line), self._born)
                except Refused as refusal:
                    raise BadLine(number, "; ".join(_words(fault) for fault in refusal.faults)) from refusal
                except IntegrityError as error:
                    raise BadLine(number, "It contradicts what is there, or another line.") from error
                (tally.added if is_new else tally.known)[kind] += 1
            return tally

        done = await self._context.write(operation)
        self.tally.added += done.added
        self.tally.known += done.known

    def _identified(self, line: Line) -> Line:
        """A message without a key of its own gets one from its place in the session, so that it is not kept twice."""
        if line["type"] != "message" or "session_id" not in line:
            return line
        self._places[line["session_id"]] += 1
        if "message_id" in line or "sequence" in line:
            return line
        return {**line, "message_id": f"sequence-{self._places[line['session_id']]}"}


def _words(fault: Fault) -> str:
    return f"{'.'.join(fault.path)}: {fault.message}" if fault.path else fault.message


def _need(line: Line, name: str) -> str:
    if name not in line:
        raise refuse("INVALID", f"`{camel(name)}` is missing.", camel(name))
    return line[name]


def _kept(line: Line, *names: str) -> Line:
    """What an exported line adds to a creation."""
    return {name: line[name] for name in ("updated_at", "version", *names) if name in line}


Born = set[str]
"""The sessions that came into being by a message of this import, before their own line."""


def _hex(line: Line, name: str, *path: str) -> bytes:
    """A key as exports write it: 32 hexadecimal digits."""
    try:
        key = bytes.fromhex(line[name])
    except ValueError:
        key = b""
    if len(key) != KEY_SIZE:
        message = f"`{camel(name)}` has {2 * KEY_SIZE} hexadecimal digits, as an export writes it."
        raise refuse("INVALID", message, *path, camel(name))
    return key


def _with_nonce(line: Line, noun: str, key: bytes) -> Line:
    """A line with the nonce that its `id` holds; with none if it was exported before there were ids in lines."""
    if "id" not in line:
        return {**line, "nonce": 0} if "version" in line else line
    node = parse_id(line["id"])
    if node is None or (node.noun, node.key) != (noun, key):
        raise refuse("INVALID", f"`id` is not the global id of this {noun.lower()}, as an export writes it.", "id")
    return {**line, "nonce": node.nonce}


async def _add_user(write: Transaction, context: Context, line: Line, born: Born) -> bool:
    refuse_all(document_faults(line))
    if await user_by_id(write, context.scope, _need(line, "user_id")):
        return False
    line = _with_nonce(line, "User", user_key(context.scope.project, line["user_id"]))
    row = user_row(context, line, context.clock.now()) | _kept(line)
    await insert_row(write, users, UserRow, row)
    for document in line.get("documents", ()):
        await insert_document(write, context, created(document), user=row)
    return True


async def _add_agent(write: Transaction, context: Context, line: Line, born: Born) -> bool:
    refuse_all(document_faults(line))
    if await agent_by_id(write, context.scope, _need(line, "agent_id")):
        return False
    row = agent_row(context, line, context.clock.now()) | _kept(line)
    await insert_row(write, agents, AgentRow, row)
    for document in line.get("documents", ()):
        await insert_document(write, context, created(document), agent=row)
    return True


_OF_MESSAGES = ("key", "nonce", "last_sequence", "last_activity_at", "lane")
"""Columns of a session that stay when its line comes after some of its messages."""


async def _add_session(write: Transaction, context: Context, line: Line, born: Born) -> bool:
    there = await session_by_id(write, context.scope, _need(line, "session_id"))
    if there is None or there["deleted_at"] is not None:
        line = _with_nonce(line, "Session", session_key(context.scope.project, line["session_id"]))
        session = await begin_session(write, context, line, there)
    elif line["session_id"] in born:
        keys = await references(write, context, line)
        row = session_row(context, line, there["created_at"], user=keys.get("user_key"), agent=keys.get("agent_key"))
        own = {name: row[name] for name in row if name not in _OF_MESSAGES}
        session = await update_row(write, sessions, there, own)
        await change_owner(write, context.scope, session["key"], session["user_key"])
        born.discard(line["session_id"])
    else:
        return False
    stones = {stone["sequence"]: stone.get("message_id_hash") for stone in line.get("deleted_messages", ())}
    for sequence, hash in stones.items():
        if not 1 <= sequence <= LARGEST:
            raise refuse("INVALID", f"{sequence} is no sequence of a message.", "deletedMessages")
        if not await was_deleted(write, session["key"], sequence):
            own = None if hash is None else _hex({"message_id_hash": hash}, "message_id_hash", "deletedMessages")
            await bury(write, session["key"], sequence, own)
    last = max(session["last_sequence"], line.get("last_sequence", 0), *stones, 0)
    await update_row(write, sessions, session, {**_kept(line, "ended_at", "last_activity_at"), "last_sequence": last})
    return True


async def _add_message(write: Transaction, context: Context, line: Line, born: Born) -> bool:
    refuse_all(message_faults(context, line, ()))
    session = await session_by_id(write, context.scope, line["session_id"])
    if session is None:
        row = session_row(context, {"session_id": line["session_id"]}, context.clock.now(), user=None, agent=None)
        session = await insert_row(write, sessions, SessionRow, row)
        born.add(line["session_id"])
    if "sequence" not in line:
        forms = line.get("form_memories", True)
        added = await append(write, context, session, [line], even_ended=True, forms_memories=forms)
        # What was formed of an exported message has a line of its own.
        if forms and added.new:
            await form(write, context, added)
        return added.deduplicated == 0
    sequence = line["sequence"]
    # What was deleted since the export stays so.
    gone = session["deleted_at"] is not None or sequence <= session["deleted_through"]
    if gone or await was_deleted(write, session["key"], sequence):
        return False
    stored = (await messages_by_place(write, context.scope, [(session["key"], sequence)]))[0]
    forms = int(line.get("form_memories", True))
    row = message_row(context, session, line, forms_memories=forms) | _kept(line)
    row["digest"] = _hex(line, "digest") if "digest" in line else None
    if stored is not None:
        if first_sent(stored) == first_sent(row):
            return False
        raise refuse("CONFLICT", f"Another message of the session has the sequence {sequence}.", "sequence")
    if "message_id" in line and await messages_by_message_id(write, session, json.dumps([line["message_id"]])):
        raise refuse("CONFLICT", "Another message of the session bears this messageId.", "messageId")
    await insert_row(write, messages, MessageRow, row | {"sequence": sequence})
    await update_row(write, sessions, session, {"last_sequence": max(sequence, session["last_sequence"])})
    return True


async def _add_document(write: Transaction, context: Context, line: Line, born: Born) -> bool:
    if sum(name in line for name in OWNERS) != 1:
        raise refuse("INVALID", "A document has one owner: give one of `userId`, `userEmail` and `agentId`.")
    owner = await find_document_owner(write, context, line)
    row = document_row(context, line, context.clock.now(), **owner)
    row |= _kept(line) | {"key": _key_of(line, row)}
    if (await documents_by_key(write, context.scope, [row["key"]]))[0]:
        return False
    await insert_row(write, documents, DocumentRow, row)
    return True


async def _add_memory(write: Transaction, context: Context, line: Line, born: Born) -> bool:
    # An exported memory may end before it begins: one that was to begin later has been superseded.
    refuse_all(memory_faults(context, {**line, "valid_until": None} if "key" in line else line))
    owner = await find_memory_owner(write, context, line)
    row = memory_row(context, line, owner, context.clock.now())
    row |= _kept(line, "superseded_from") | {"key": _key_of(line, row)}
    if "superseded_by" in line:
        row["superseded_by"] = _hex(line, "superseded_by")
    stored = (await memories_by_key(write, context.scope, [row["key"]], deleted=True))[0]
    if stored is not None and stored["deleted_at"] is None:
        return False
    if stored is not None:
        await remove_memory(write, stored)
    named = [await _source(write, context, index, source) for index, source in enumerate(line.get("sources", ()))]
    # What an exported memory rested on may have been deleted since; what a new one names must be there.
    missing = next((index for index, source in enumerate(named) if source is None), None)
    if missing is not None and "key" not in line:
        message = "There is no such message or document; it has to stand before."
        raise refuse("NOT_FOUND", message, "sources", str(missing))
    sources = [source for source in named if source is not None]
    older = await find_superseded(write, context, owner, line)
    kept = await insert_row(write, memories, MemoryRow, row)
    await insert_sources(write, kept, sources)
    await supersede(write, context, kept, older)
    return True


def _key_of(line: Line, row: Line) -> bytes:
    """The key of a document or memory: without one of the client's or of an export, the line itself is its identity."""
    if "key" in line:
        return _hex(line, "key")
    if line.get("memory_id") or line.get("document_id"):
        return row["key"]
    return key_of(line["type"], json.dumps(line, sort_keys=True))


async def _source(write: Transaction, context: Context, index: int, source: Line) -> dict[str, Any] | None:
    """The row of a source, or None when what it names is not there."""
    path = ("sources", str(index))
    position = index if source.get("position") is None else source["position"]
    if not 0 <= position <= LARGEST:
        raise refuse("INVALID", f"{position} is no position in a list.", *path, "position")
    if source.get("document_key") is not None:
        key = _hex(source, "document_key", *path)
        found = (await documents_by_key(write, context.scope, [key]))[0]
        row = {"session_key": None, "sequence": None, "document_key": key}
    else:
        place = (session_key(context.scope.project, source.get("session_id") or ""), source.get("sequence") or 0)
        found = (await messages_by_place(write, context.scope, [place]))[0]
        row = {"session_key": place[0], "sequence": place[1], "document_key": None}
    return None if found is None else {**row, "position": position}


LARGEST = 2**30
"""A number of a line, at most: it must have room to grow."""

EXPORTED_RULES: dict[str, Rule] = {
    "version": integer_rule(1, LARGEST),
    "last_sequence": integer_rule(0, LARGEST),
    "model": text,
    "subject": text,
}
"""Rules of what exported lines add."""


class Kind(NamedTuple):
    """What a type of line is checked by, and how it is added: whether it is new."""

    rules: Mapping[str, Rule]
    add: Callable[[Transaction, Context, Line, Born], Awaitable[bool]]


KINDS = {
    "user": Kind(USER_RULES, _add_user),
    "agent": Kind(AGENT_RULES, _add_agent),
    "session": Kind(SESSION_RULES, _add_session),
    "message": Kind({**MESSAGE_RULES, "session_id": key_rule, "sequence": integer_rule(1, LARGEST)}, _add_message),
    "document": Kind({**DOCUMENT_RULES, "user_id": key_rule, "user_email": text, "agent_id": key_rule}, _add_document),
    "memory": Kind(MEMORY_RULES, _add_memory),
}

_FIELDS = {
    "User": "id user_id email first_name last_name name about metadata created_at updated_at version",
    "Agent": "agent_id name about instructions model metadata created_at updated_at version",
    "Session": "id session_id user_id agent_id situation metadata token_budget context_overflow created_at updated_at "
    "ended_at last_activity_at last_sequence deleted_messages version",
    "Message": "session_id sequence message_id role name content parts tool_calls tool_call_id metadata token_count "
    "form_memories created_at updated_at version digest",
    "Document": "key document_id user_id agent_id title content metadata created_at updated_at version",
    "Memory": "key memory_id user_id session_id kind content method model subject rating valid_from valid_until "
    "expires_at superseded_by superseded_from about sources metadata created_at updated_at version",
}
_WRITTEN = {noun: [(name, camel(name)) for name in fields.split()] for noun, fields in _FIELDS.items()}
_JSON = {"metadata", "parts", "tool_calls", "sources", "deleted_messages"}


def line_of(row: Record) -> bytes:
    """A row as a line of an export, without what is null."""
    noun = type(row).noun  # pyright: ignore[reportAttributeAccessIssue]
    line: dict[str, Any] = {"type": noun.lower()}
    for name, written in _WRITTEN[noun]:
        value = global_id(noun, row["key"], row["nonce"]) if name == "id" else row[name]
        # True is what is meant without it.
        if value is None or (name == "form_memories" and value):
            continue
        if name == "form_memories":
            value = False
        elif name in _JSON:
            value = orjson.Fragment(value)
        elif name == "created_at" and noun == "Message":
            value = with_offset(value, row["utc_offset"])
        elif name.endswith("_at") or name in ("valid_from", "valid_until", "superseded_from"):
            value = f"{value}Z"
        elif isinstance(value, bytes):
            value = value.hex()
        line[written] = value
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
