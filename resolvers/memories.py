"""Memories: facts, preferences, events and summaries, with their sources."""

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from models.agents import agent_by_id
from models.keys import folded, memory_key
from models.keyset import Listing
from models.locks import hold_memories
from models.memories import (
    MEMORIES_OF_AGENT,
    MEMORIES_OF_MESSAGE,
    MEMORIES_OF_SESSION,
    MEMORIES_OF_USER,
    memories_by_key,
    memory_table,
    remove_memories,
    standing_summaries,
    superseded_by,
    unlink_newer,
    withhold,
)
from models.rows import AgentRow, MemoryRow, MessageRow, SessionRow, UserRow
from models.scope import Scope
from models.store import Reader, Transaction
from resolvers.connections import Columns, Page, Paging, connect, connect_to, part_of
from resolvers.deletions import delete_found, deletion_of
from resolvers.errors import BadInput, Fault, refuse
from resolvers.filters import Filter, FilterBuilder, Given
from resolvers.ids import global_id
from resolvers.inputs import (
    Values,
    check,
    check_version,
    created,
    refuse_all,
)
from resolvers.memory_rows import MEMORY, Owner, insert_sources, memory_row, remove_memory, supersede
from resolvers.memory_sources import LARGEST_LIST, named_sources, source_faults
from resolvers.nodes import find_node
from resolvers.operation_context import OperationContext
from resolvers.references import follow
from resolvers.sessions import find_session
from resolvers.updates import Change, revise
from resolvers.users import find_user, find_viewer


def memory_filter(context: OperationContext, given: Given) -> Filter:
    """The default filter: memories that hold now, unless another time or the history is requested."""
    builder = FilterBuilder(given).lists("memory_ids", "kinds", "methods").names("about").values("min_rating")
    builder.metadata().ranges("created_at")
    if not builder.asked.get("history"):
        builder.add("as_of", builder.asked.get("as_of") or context.clock.now())
    return builder.build()


async def memories_of_users(
    context: OperationContext,
    users: Sequence[UserRow],
    paging: Paging,
    filter: Given,
    order: Given,
    columns: Columns = None,
) -> list[Page | BadInput]:
    part = part_of(order, memory_filter(context, filter), columns)
    return await connect_to(context, MEMORIES_OF_USER, paging, users, **part)


async def memories_of_sessions(
    context: OperationContext,
    sessions: Sequence[SessionRow],
    paging: Paging,
    filter: Given,
    order: Given,
    columns: Columns = None,
) -> list[Page | BadInput]:
    part = part_of(order, memory_filter(context, filter), columns)
    return await connect_to(context, MEMORIES_OF_SESSION, paging, sessions, **part)


async def memories_of_agents(
    context: OperationContext,
    agents: Sequence[AgentRow],
    paging: Paging,
    filter: Given,
    order: Given,
    columns: Columns = None,
) -> list[Page | BadInput]:
    context.only_service("read an agent's memories")
    part = part_of(order, memory_filter(context, filter), columns)
    return await connect(context, MEMORIES_OF_AGENT, paging, [row["key"] for row in agents], **part)


async def memories_of_messages(
    context: OperationContext, rows: Sequence[MessageRow], paging: Paging, columns: Columns = None
) -> list[Page | BadInput]:
    """Every memory with the message among its sources, also those that no longer hold."""
    keys = [row["session_key"] for row in rows]
    return await connect(
        context, MEMORIES_OF_MESSAGE, paging, keys, numbers=[row["sequence"] for row in rows], columns=columns
    )


async def _summaries(
    context: OperationContext, listing: Listing[Any], rows: Sequence[UserRow] | Sequence[SessionRow], *also: str
) -> list[MemoryRow | None]:
    filter = Filter(("kinds", "not_superseded", "own", *also), {"kinds": ["SUMMARY"]})
    pages = await connect(context, listing, Paging(limit=1), [row["key"] for row in rows], filter=filter)
    return [page.rows[0] if isinstance(page, Page) and page.rows else None for page in pages]


async def summaries_of_users(context: OperationContext, users: Sequence[UserRow]) -> list[MemoryRow | None]:
    """The newest summary of the user, apart from any session, that is not superseded."""
    return await _summaries(context, MEMORIES_OF_USER, users, "of_no_session")


async def summaries_of_sessions(context: OperationContext, sessions: Sequence[SessionRow]) -> list[MemoryRow | None]:
    return await _summaries(context, MEMORIES_OF_SESSION, sessions)


async def newer_of(context: OperationContext, rows: Sequence[MemoryRow]) -> list[MemoryRow | None]:
    """The memory that superseded each memory."""
    return await follow(context, memories_by_key, [row["superseded_by"] for row in rows])


async def older_of(context: OperationContext, rows: Sequence[MemoryRow]) -> list[list[MemoryRow]]:
    """The memories that each memory superseded."""
    return await superseded_by(context.read, context.scope, [row["key"] for row in rows])


async def create_memory(context: OperationContext, given: Values) -> MemoryRow:
    values = created(given)
    check(values, MEMORY.rules, more=memory_faults(context.scope, values))
    columns = MEMORY.new(values)

    async def operation(write: Transaction) -> MemoryRow:
        owner = await find_owner(write, context, values)
        row = memory_row(context, columns, owner, context.clock.now())
        stored = (await memories_by_key(write, context.scope, [row["key"]], deleted=True))[0]
        if stored is not None and stored["deleted_at"] is None:
            if stored["digest"] == row["digest"]:
                return stored
            raise refuse(
                "CONFLICT",
                "Another memory has this memoryId; change it with upsertMemory, or use another memoryId.",
                "memoryId",
            )
        sources = await named_sources(write, context, owner, values)
        older = await find_superseded(write, context, owner, values)
        kept = await _declare(write, context, owner, row, stored, older)
        await insert_sources(write, kept, sources)
        return kept

    return await context.write(operation)


async def _declare(
    write: Transaction,
    context: OperationContext,
    owner: Owner,
    row: MemoryRow,
    remains: MemoryRow | None,
    older: Sequence[MemoryRow] = (),
) -> MemoryRow:
    """Stores a new memory, in the place of a deleted one under its key, which supersedes older ones."""
    if remains is not None:
        await remove_memory(write, remains)
    ended = list(older)
    if row["kind"] == "SUMMARY":
        about = row["about_folded"]
        ended += await standing_summaries(write, context.scope, owner=owner.narrowest, about=about)
    if row["memory_id"] is not None:
        # The id may name an earlier memory under this key; this is another one.
        await unlink_newer(write, row)
    kept = await memory_table.insert(write, row)
    await supersede(write, context, kept, ended)
    return kept


async def find_owner(write: Transaction, context: OperationContext, values: Values) -> Owner:
    """The owner that a new memory names; a session implies its user. Nobody else changes its memories meanwhile."""
    owner = await _named_owner(write, context, values)
    await hold_memories(write, context.scope, user=owner.user, agent=owner.agent)
    return owner


async def _named_owner(write: Transaction, context: OperationContext, values: Values) -> Owner:
    if "agent_id" in values:
        agent = await agent_by_id(write, context.scope, values["agent_id"])
        if agent is None:
            raise refuse("NOT_FOUND", "There is no agent with this agentId.", "agentId")
        return Owner.of_agent(agent)
    named = values.get("user_id")
    user = None if named is None else await find_user(write, context, named)
    if context.scope.user is not None:
        user = await find_viewer(write, context)
    if "session_id" not in values and user is not None:
        return Owner.of_user(user)
    session = await find_session(write, context, values["session_id"])
    if user is not None and session["user_key"] != user["key"]:
        raise refuse(
            "INVALID", "The session is not this user's; leave `userId` out, or name the session's user.", "userId"
        )
    return Owner.of_session(session)


def memory_faults(scope: Scope, values: Values) -> list[Fault]:
    """The faults of a new memory as a whole."""
    faults = _validity_faults(values) + owner_faults(scope, values) + source_faults(values)
    if (count := len(values.get("supersedes", ()))) > LARGEST_LIST:
        message = f"`supersedes` has {count} items; at most {LARGEST_LIST} are allowed."
        faults.append(Fault("TOO_LARGE", message, ("supersedes",)))
    return faults


def owner_faults(scope: Scope, values: Values) -> list[Fault]:
    """The faults of the owner that a memory names. One that is declared with a user token is about that user."""
    if scope.user is not None:
        return []
    of_user = [name for name in ("user_id", "session_id") if values.get(name) is not None]
    of_agent = values.get("agent_id") is not None
    if of_agent and of_user:
        message = "A memory of an agent has no other owner: leave `agentId` out, or `userId` and `sessionId`."
        return [Fault("INVALID", message, ("agentId",))]
    if not of_agent and not of_user:
        return [Fault("INVALID", "A memory needs an owner: give `userId` or `sessionId`, or `agentId`.")]
    return []


def _validity_faults(values: Values) -> list[Fault]:
    first, last = values.get("valid_from"), values.get("valid_until")
    if first is not None and last is not None and last < first:
        return [Fault("INVALID", "`validUntil` is before `validFrom`.", ("validUntil",))]
    return []


async def find_superseded(
    write: Transaction, context: OperationContext, owner: Owner, values: Values
) -> list[MemoryRow]:
    """The memories that a new one supersedes: of the same owner and about the same person."""
    about = values.get("about")
    older: list[MemoryRow] = []
    for index, id in enumerate(values.get("supersedes", ())):
        path = ("supersedes", str(index))
        row = await find_node(write, context.scope, id, "Memory")
        if row is None:
            raise refuse("NOT_FOUND", "There is no memory with this id.", *path)
        if not owner.has(row) or row["about_folded"] != (None if about is None else folded(about)):
            raise refuse("INVALID", "The memory is about somebody else.", *path)
        older.append(row)
    return older


async def _find(write: Transaction, context: OperationContext, id: str) -> MemoryRow:
    row = await find_node(write, context.scope, id, "Memory")
    if row is None:
        raise refuse("NOT_FOUND", "There is no memory with this id.", "id")
    return row


async def update_memory(context: OperationContext, values: Values) -> MemoryRow:
    check(values, MEMORY.rules, required=MEMORY.required)
    change = MEMORY.change(values)

    async def operation(write: Transaction) -> MemoryRow:
        row = await _find(write, context, values["id"])
        check_version(row, values)
        return await _revise(write, context, row, change)

    return await context.write(operation)


async def _revise(write: Transaction, context: OperationContext, row: MemoryRow, change: Change) -> MemoryRow:
    if change.columns.keys() & {"valid_from", "valid_until"}:
        refuse_all(_validity_faults({**dict(row), **change.columns}))
    now = context.clock.now()
    revised = await revise(write, memory_table, row, change.of(row), now)
    if row["method"] == "DECLARED" or revised is row:
        return revised
    # Its former content is not formed again, and formation does not change it any more.
    await withhold(write, [row], row["fingerprint"])
    return await memory_table.update(write, revised, {"corrected_at": now})


async def upsert_memory(context: OperationContext, values: Values) -> tuple[MemoryRow, bool]:
    """Returns the memory, and True if it is new. An existing one keeps its sources."""
    given = created(values)
    check(values, MEMORY.rules, required=MEMORY.required, more=memory_faults(context.scope, given))
    lacking = [name for name in MEMORY.required if name not in given]
    columns, change = ({}, MEMORY.change(values)) if lacking else MEMORY.new_or_change(values)

    async def operation(write: Transaction) -> tuple[MemoryRow, bool]:
        owner = await find_owner(write, context, given)
        key = memory_key(owner.identity, given["memory_id"])
        stored = (await memories_by_key(write, context.scope, [key], deleted=True))[0]
        if stored is not None and stored["deleted_at"] is None:
            _refuse_other_person(stored, values)
            return await _revise(write, context, stored, change), False
        message = "There is no memory with this memoryId yet: give its `{}` to create it."
        refuse_all(Fault("INVALID", message.format(name), (name,)) for name in lacking)
        row = memory_row(context, columns, owner, context.clock.now())
        return await _declare(write, context, owner, row, stored), True

    return await context.write(operation)


def _refuse_other_person(row: MemoryRow, values: Values) -> None:
    """A memory stays about the same person."""
    about = values.get("about")
    if "about" in values and row["about_folded"] != (None if about is None else folded(about)):
        person = "its owner" if row["about"] is None else json.dumps(row["about"], ensure_ascii=False)
        raise refuse("CONFLICT", f"The memory with this memoryId is about {person}; use another memoryId.", "about")


async def delete_memory(context: OperationContext, values: Values) -> str:
    """Deletes a memory and returns its id. The memories that it superseded stay superseded."""

    async def operation(write: Transaction) -> str:
        row = await _find(write, context, values["id"])
        await withhold(write, [row])
        await remove_memory(write, row)
        return global_id("Memory", row["key"])

    return await context.write(operation)


async def delete_memories(context: OperationContext, values: Values) -> tuple[list[str], bool]:
    """Deletes memories of a user or session; returns their ids, and True if there are more.

    Without a filter it deletes all of them, including past ones.
    """
    several = "These are the memories of one user or one session: give `userId` or `sessionId`."
    filtered = partial(memory_filter, context)
    owner, part = deletion_of(values, ("user_id", "session_id"), several, filtered, everything={"history": True})

    of_user = owner == "user_id"

    async def find(read: Reader) -> tuple[str, bytes]:
        if of_user:
            user = (await find_user(read, context, values[owner]))["key"]
            await hold_memories(read, context.scope, user=user)
            return "user_key", user
        session = await find_session(read, context, values[owner])
        await hold_memories(read, context.scope, user=session["user_key"])
        return "session_key", session["key"]

    async def remove(write: Transaction, rows: Sequence[MemoryRow]) -> None:
        await withhold(write, rows)
        await remove_memories(write, rows)

    listing = MEMORIES_OF_USER if of_user else MEMORIES_OF_SESSION
    gone, has_more = await delete_found(context, listing, part, find, remove)
    return [global_id("Memory", key) for key in gone], has_more
