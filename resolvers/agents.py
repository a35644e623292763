"""Agents: who talks to the users."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from models.agents import AGENTS, AGENTS_OF_USER, agent_by_id, agent_table, agents_by_key, release_sessions
from models.documents import delete_documents_of_agent
from models.keys import agent_key
from models.memories import forget_sources
from models.rows import AgentRow
from models.statements import Record
from models.store import Transaction
from resolvers.connections import Columns, Page, Paging, connect_visible
from resolvers.documents import document_faults, insert_document
from resolvers.errors import BadInput, refuse
from resolvers.ids import global_id
from resolvers.inputs import (
    TEXT_BYTES,
    Rule,
    Values,
    check,
    check_version,
    created,
    key_rule,
    metadata_rule,
    required_text,
    text,
)
from resolvers.json_values import json_text
from resolvers.operation_context import OperationContext
from resolvers.references import follow
from resolvers.updates import given_of, revise, wanted_metadata

RULES: dict[str, Rule] = {
    "agent_id": key_rule,
    "name": required_text(TEXT_BYTES),
    "about": text,
    "instructions": text,
    "model": text,
    "metadata": metadata_rule,
}


async def agent(context: OperationContext, agent_id: str) -> Record | None:
    return await agent_by_id(context.read, context.scope, agent_id)


async def agents_of(context: OperationContext, rows: Sequence[Record]) -> list[AgentRow | None]:
    """The agent of each session or document."""
    return await follow(context, agents_by_key, [row["agent_key"] for row in rows])


async def list_agents(
    context: OperationContext, parents: Sequence[object], paging: Paging, columns: Columns = None
) -> list[Page | BadInput]:
    """All of the project; for a user those of the own sessions."""
    return await connect_visible(context, AGENTS, AGENTS_OF_USER, paging, columns=columns)


async def instructions_of(context: OperationContext, rows: Sequence[Record]) -> list[str | None]:
    context.only_service("read an agent's instructions")
    return [row["instructions"] for row in rows]


def agent_row(context: OperationContext, values: Values, now: str) -> dict[str, Any]:
    """Every column of a new agent."""
    return {
        "key": agent_key(context.scope.project, values["agent_id"]),
        "project": context.scope.project,
        "agent_id": values["agent_id"],
        "name": values["name"],
        "about": values.get("about", ""),
        "instructions": values.get("instructions"),
        "model": values.get("model"),
        "metadata": json_text(values.get("metadata", {})),
        "created_at": values.get("created_at", now),
        "updated_at": now,
        "version": 1,
    }


async def find_agent(write: Transaction, context: OperationContext, agent_id: str) -> Record:
    """The agent a mutation names, who must exist."""
    row = await agent_by_id(write, context.scope, agent_id)
    if row is None:
        raise refuse("NOT_FOUND", "There is no agent with this agentId.", "agentId")
    return row


async def create_agent(context: OperationContext, given: Values) -> Record:
    values = created(given)
    check(values, RULES, more=document_faults(values))
    values.setdefault("agent_id", str(uuid4()))

    async def operation(write: Transaction) -> Record:
        if await agent_by_id(write, context.scope, values["agent_id"]):
            raise refuse(
                "ALREADY_EXISTS", "An agent with this agentId exists; use updateAgent or upsertAgent.", "agentId"
            )
        row = await agent_table.insert(write, agent_row(context, values, context.clock.now()))
        for document in values.get("documents", ()):
            await insert_document(write, context, created(document), agent=row)
        return row

    return await context.write(operation)


def _wanted(row: Record, values: Values) -> dict[str, Any]:
    wanted = given_of(values, "name", "about", "instructions", "model")
    if wanted.get("about", "") is None:
        wanted["about"] = ""
    return wanted | wanted_metadata(row["metadata"], values)


async def update_agent(context: OperationContext, values: Values) -> Record:
    check(values, RULES, required=("name",))

    async def operation(write: Transaction) -> Record:
        row = await find_agent(write, context, values["agent_id"])
        check_version(row, values)
        return await revise(write, agent_table, row, _wanted(row, values), context.clock.now())

    return await context.write(operation)


async def upsert_agent(context: OperationContext, values: Values) -> tuple[Record, bool]:
    """The agent, and whether it is new."""
    check(values, RULES, required=("name",))

    async def operation(write: Transaction) -> tuple[Record, bool]:
        row = await agent_by_id(write, context.scope, values["agent_id"])
        if row is not None:
            return await revise(write, agent_table, row, _wanted(row, values), context.clock.now()), False
        return await agent_table.insert(write, new), True

    new = agent_row(context, {**created(values), "metadata": {}}, context.clock.now()) | wanted_metadata(None, values)
    return await context.write(operation)


async def delete_agent(context: OperationContext, values: Values) -> str:
    """The id of what is gone. Its documents go too; its sessions stay, without an agent."""

    async def operation(write: Transaction) -> str:
        row = await find_agent(write, context, values["agent_id"])
        await forget_sources(write, "documents of agent", {"agent": row["key"]})
        await delete_documents_of_agent(write, context.scope, row["key"])
        await release_sessions(write, context.scope, row["key"], context.clock.now())
        await agent_table.delete(write, row)
        return global_id("Agent", row["key"])

    return await context.write(operation)
