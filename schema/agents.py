"""The GraphQL types of agents."""

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import strawberry

from breadth import batch_field
from resolvers.agents import create_agent, delete_agent, instructions_of, update_agent, upsert_agent
from resolvers.documents import documents_of_agents
from resolvers.memories import memories_of_agents
from resolvers.sessions import sessions_of_agents
from schema.connections import Connection, connection_field
from schema.documents import Document, DocumentFilter, DocumentInput, DocumentOrder
from schema.inputs import MODE, VERSION, DateTimeRange, MetadataMode, OrderDirection, optional, required
from schema.memories import Memory
from schema.memory_filters import MemoryFilter, MemoryOrder
from schema.mutations import UserError, errors_field, mutation
from schema.nodes import Node, id_field
from schema.scalars import JSON, DateTime
from schema.session_filters import SessionFilter, SessionOrder

if TYPE_CHECKING:
    from schema.sessions import Session


@strawberry.type(description="An assistant that talks to users. Belongs to the project.")
class Agent(Node):
    id: strawberry.ID = id_field("Agent")
    agent_id: str = required("The application's own key.")
    name: str = required("Its name.")
    about: str = required('Its purpose; "" when none was given.')
    instructions: str | None = batch_field(
        instructions_of, description="Its instructions, for the prompt; not for user tokens.", needs=("instructions",)
    )
    model: str | None = required("The model it runs on.")
    metadata: JSON = required("The application's own data.")
    created_at: DateTime = required("The time of its creation.")
    updated_at: DateTime = required("The time of its last change.")
    version: int = required("Starts at 1; every update that changes something adds one.")
    sessions: Connection[Annotated["Session", strawberry.lazy("schema.sessions")]] = connection_field(
        sessions_of_agents,
        description="The sessions held with it, newest first by default.",
        filter=SessionFilter,
        order=SessionOrder,
    )
    documents: Connection[Document] = connection_field(
        documents_of_agents,
        description="Its documents, newest first by default; not for user tokens.",
        filter=DocumentFilter,
        order=DocumentOrder,
    )
    memories: Connection[Memory] = connection_field(
        memories_of_agents,
        description="The memories declared for it, newest first by default; not for user tokens.",
        filter=MemoryFilter,
        order=MemoryOrder,
    )


@strawberry.input(description="A filter for agents; all conditions must hold.")
class AgentFilter:
    agent_ids: list[str] | None = optional("Agents with one of these keys; at most 100.")
    metadata: JSON | None = optional(
        "Agents whose metadata contains this object, as PostgreSQL's @> does; up to 64 KiB and 4,000 values."
    )
    created_at: DateTimeRange | None = optional("The time of their creation.")


@strawberry.enum(description="The orders of agents; ties by agentId.")
class AgentOrderField(Enum):
    CREATED_AT = strawberry.enum_value("CREATED_AT", description="The time of their creation.")
    UPDATED_AT = strawberry.enum_value("UPDATED_AT", description="The time of their last change.")
    AGENT_ID = strawberry.enum_value("AGENT_ID", description="Their key, by code points.")
    NAME = strawberry.enum_value("NAME", description="The name, by the code points of its first 100 characters.")


@strawberry.input(description="An order of agents.")
class AgentOrder:
    field: AgentOrderField = required("The field to order by.")
    direction: OrderDirection = required("The direction.")


@strawberry.input(description="A new agent.")
class CreateAgentInput:
    agent_id: str | None = optional("The application's own key, 1 to 512 characters; one is made when left out.")
    name: str = required("Its name.")
    about: str | None = optional("Its purpose, up to 64 KiB.")
    instructions: str | None = optional("Its instructions, up to 64 KiB.")
    model: str | None = optional("The model it runs on.")
    metadata: JSON | None = optional("The application's own data.")
    documents: list[DocumentInput] | None = optional("Documents to create with it; at most 100.")


@strawberry.input(description="A change of an agent: omitted fields are kept, null fields are cleared.")
class UpdateAgentInput:
    agent_id: str = required("The agent's key.")
    name: str | None = optional("Its name; not null.")
    about: str | None = optional('Its purpose; null makes it "".')
    instructions: str | None = optional("Its instructions.")
    model: str | None = optional("The model it runs on.")
    metadata: JSON | None = optional("Metadata to merge or to replace.")
    metadata_mode: MetadataMode | None = optional(MODE)
    expected_version: int | None = optional(VERSION)


@strawberry.input(description="An agent to create, or to update if one with this key exists.")
class UpsertAgentInput:
    agent_id: str = required("The application's own key, 1 to 512 characters.")
    name: str = required("Its name.")
    about: str | None = optional("Its purpose, up to 64 KiB.")
    instructions: str | None = optional("Its instructions, up to 64 KiB.")
    model: str | None = optional("The model it runs on.")
    metadata: JSON | None = optional("Metadata to merge or to replace.")
    metadata_mode: MetadataMode | None = optional(MODE)


@strawberry.input(description="An agent to delete.")
class DeleteAgentInput:
    agent_id: str = required("The agent's key.")


@strawberry.type(description="The result of createAgent.")
class CreateAgentPayload:
    agent: Agent | None = required("The new agent.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="The result of updateAgent.")
class UpdateAgentPayload:
    agent: Agent | None = required("The agent after the update.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="The result of upsertAgent.")
class UpsertAgentPayload:
    agent: Agent | None = required("The agent as it is now.")
    created: bool | None = required("True if the agent is new.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="The result of deleteAgent.")
class DeleteAgentPayload:
    deleted_agent_id: strawberry.ID | None = required("The global id of the deleted object.")
    user_errors: list[UserError] = errors_field()


@strawberry.type
class AgentMutations:
    create_agent: CreateAgentPayload = mutation(
        create_agent, CreateAgentInput, lambda agent: {"agent": agent}, description="Creates an agent."
    )
    update_agent: UpdateAgentPayload = mutation(
        update_agent, UpdateAgentInput, lambda agent: {"agent": agent}, description="Changes an agent."
    )
    upsert_agent: UpsertAgentPayload = mutation(
        upsert_agent,
        UpsertAgentInput,
        lambda result: {"agent": result[0], "created": result[1]},
        description="Creates an agent, or updates the one with this key.",
    )
    delete_agent: DeleteAgentPayload = mutation(
        delete_agent,
        DeleteAgentInput,
        lambda id: {"deleted_agent_id": id},
        description="Deletes an agent with its documents and memories for good; its sessions stay, without an agent.",
    )
