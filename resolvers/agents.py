"""Agents: they talk to the users."""

from collections.abc import Sequence

from models.agents import (
    AGENTS,
    AGENTS_OF_USER,
    agent_by_id,
    agent_table,
    agent_to_end,
    agents_by_key,
    release_sessions,
)
from models.documents import delete_documents_of_agent
from models.keys import agent_key
from models.memories import delete_memories_of_agent
from models.rows import AgentRow, DocumentRow, MemoryRow, SessionRow
from models.sort_texts import start_of
from models.sources import Sources, forget_sources
from models.store import Transaction
from resolvers.connections import Columns, Page, Paging, connect_visible, part_of
from resolvers.documents import DocumentOwner
from resolvers.errors import BadInput
from resolvers.filters import FilterBuilder, Given
from resolvers.ids import global_id
from resolvers.inputs import TEXT_BYTES, Values, key_rule, required_text, text
from resolvers.nouns import KEY, METADATA, PROJECT, UPDATED_AT, VERSION, Attribute, Derived, Internal
from resolvers.operation_context import OperationContext
from resolvers.participants import Participant
from resolvers.references import follow

AGENT = Participant(
    "Agent",
    KEY,
    PROJECT,
    Attribute("agent_id", key_rule, fixed=True),
    Attribute("name", required_text(TEXT_BYTES), required=True),
    Attribute("about", text, default=""),
    Attribute("instructions", text),
    Attribute("model", text),
    METADATA,
    Internal("created_at", type="time", exported=True),
    UPDATED_AT,
    VERSION,
    Derived("name_start", start_of, of=("name",)),
    table=agent_table,
    by_id=agent_by_id,
    to_end=agent_to_end,
    keys=lambda project, columns: {"key": agent_key(project, columns["agent_id"])},
    as_owner=lambda row: DocumentOwner(agent=row),
)
find_agent = AGENT.find
create_agent = AGENT.create
update_agent = AGENT.update
upsert_agent = AGENT.upsert


async def agent(context: OperationContext, agent_id: str) -> AgentRow | None:
    return await agent_by_id(context.read, context.scope, agent_id)


async def agents_of(
    context: OperationContext, rows: Sequence[SessionRow | DocumentRow | MemoryRow]
) -> list[AgentRow | None]:
    """The agent of each session, document or memory."""
    return await follow(context, agents_by_key, [row["agent_key"] for row in rows])


async def list_agents(
    context: OperationContext,
    parents: Sequence[object],
    paging: Paging,
    filter: Given,
    order: Given,
    columns: Columns = None,
) -> list[Page | BadInput]:
    """All agents of the project; for a user those of its own sessions."""
    built = FilterBuilder(filter).lists("agent_ids").metadata().ranges("created_at").build()
    return await connect_visible(context, AGENTS, AGENTS_OF_USER, paging, **part_of(order, built, columns))


async def instructions_of(context: OperationContext, rows: Sequence[AgentRow]) -> list[str | None]:
    context.only_service("read an agent's instructions")
    return [row["instructions"] for row in rows]


async def delete_agent(context: OperationContext, values: Values) -> str:
    """Deletes an agent with its documents and memories, and returns its id; its sessions stay, without an agent."""

    async def operation(write: Transaction) -> str:
        row = await AGENT.find_to_end(write, context, values["agent_id"])
        await release_sessions(write, context.scope, row["key"], context.clock.now())
        await forget_sources(write, Sources.of_agent(row))
        await delete_documents_of_agent(write, context.scope, row["key"])
        await delete_memories_of_agent(write, context.scope, row["key"])
        await agent_table.delete(write, row)
        return global_id("Agent", row["key"])

    return await context.write(operation)
