"""The schema: queries, mutations and subscriptions."""

import inspect
from collections.abc import Sequence
from enum import Enum
from functools import partial
from operator import getitem
from typing import Annotated, Any

import strawberry
from strawberry import ID
from strawberry.schema.config import StrawberryConfig

from breadth import PageSize, batch_field, computed_field
from models.rows import AgentRow, NounRow, SessionRow, UserRow
from resolvers.agents import agent as find_agent
from resolvers.agents import list_agents
from resolvers.ids import global_id
from resolvers.nodes import LARGEST_LIST
from resolvers.nodes import nodes as find_nodes
from resolvers.operation_context import OperationContext
from resolvers.purge import purge_deleted
from resolvers.sessions import list_sessions
from resolvers.sessions import session as find_session
from resolvers.users import list_users
from resolvers.users import user as find_user
from resolvers.viewers import viewer as find_viewer
from schema.agents import Agent, AgentFilter, AgentMutations, AgentOrder
from schema.connections import Connection, connection_field, parameter
from schema.credentials import CredentialMutations
from schema.documents import Document, DocumentMutations
from schema.inputs import required
from schema.memories import Memory, MemoryMutations
from schema.messages import Message, MessageMutations
from schema.mutations import UserError, errors_field, mutation
from schema.nodes import Node
from schema.permissions import UserPermission
from schema.scalars import SCALARS, DateTime
from schema.search import SearchConnection, search_field
from schema.session_filters import SessionFilter, SessionOrder
from schema.sessions import Session, SessionMutations
from schema.subscriptions import Subscription
from schema.users import User, UserFilter, UserMutations, UserOrder


@strawberry.enum(description="The kinds of viewers.")
class ViewerRole(Enum):
    SERVICE = strawberry.enum_value("SERVICE", description="The application itself.")
    USER = strawberry.enum_value("USER", description="One user.")


@strawberry.type(description="The viewer: whom the request's credential speaks for.")
class Viewer:
    id: ID = computed_field(partial(global_id, "Viewer"), description="An id that no other object has.", needs=("key",))
    role: ViewerRole = required("The application itself, or one user.")
    project: str = required("The project whose data is seen; projects share nothing.")
    user: User | None = required("The user, when it speaks for one.")
    permissions: list[UserPermission] = required("The permissions of a user token; the application has all of them.")


async def _node(context: OperationContext, parents: Sequence[object], id: str) -> list[NounRow | None]:
    return await find_nodes(context, [id]) * len(parents)


async def _nodes(context: OperationContext, parents: Sequence[object], ids: list[str]) -> list[list[NounRow | None]]:
    return [await find_nodes(context, ids)] * len(parents)


async def _user(context: OperationContext, parents: Sequence[object], user_id: str) -> list[UserRow | None]:
    return [await find_user(context, user_id)] * len(parents)


async def _session(context: OperationContext, parents: Sequence[object], session_id: str) -> list[SessionRow | None]:
    return [await find_session(context, session_id)] * len(parents)


async def _agent(context: OperationContext, parents: Sequence[object], agent_id: str) -> list[AgentRow | None]:
    return [await find_agent(context, agent_id)] * len(parents)


def _key(name: str, description: str, annotation: object = str) -> Any:
    described = Annotated[annotation, strawberry.argument(description=description)]
    return parameter(name, described, inspect.Parameter.empty)


@strawberry.type(description="The queries.")
class Query:
    viewer: Viewer = batch_field(find_viewer, description="The viewer: whom the request's credential speaks for.")
    node: Node | None = batch_field(
        _node,
        description="The object with this global id; null for an invalid or unknown id.",
        parameters=[_key("id", "A global id.", ID)],
    )
    nodes: list[Node | None] = batch_field(
        _nodes,
        description="The objects with these global ids, in their order; null for an invalid or unknown id.",
        parameters=[_key("ids", "Global ids, at most 100.", list[ID])],
        page_size=PageSize(("ids",), default=0, largest=LARGEST_LIST),
    )
    user: User | None = batch_field(
        _user, description="The user under this key.", parameters=[_key("user_id", "The application's own key.")]
    )
    users: Connection[User] = connection_field(
        list_users,
        description="All users, newest first by default.",
        filter=UserFilter,
        order=UserOrder,
    )
    session: Session | None = batch_field(
        _session,
        description="The session under this key.",
        parameters=[_key("session_id", "The application's own key.")],
    )
    sessions: Connection[Session] = connection_field(
        list_sessions,
        description="All sessions, newest first by default.",
        filter=SessionFilter,
        order=SessionOrder,
    )
    agent: Agent | None = batch_field(
        _agent, description="The agent under this key.", parameters=[_key("agent_id", "The application's own key.")]
    )
    agents: Connection[Agent] = connection_field(
        list_agents,
        description="All agents, newest first by default. For a user token those of the user's own sessions.",
        filter=AgentFilter,
        order=AgentOrder,
    )
    search: SearchConnection = search_field()


@strawberry.input(description="The range of deleted objects to purge.")
class PurgeDeletedInput:
    deleted_before: DateTime = required("Objects deleted before this time are removed for good.")


@strawberry.type(description="The result of purgeDeleted.")
class PurgeDeletedPayload:
    sessions: int | None = required("The number of sessions removed.")
    messages: int | None = required("The number of messages removed.")
    memories: int | None = required("The number of memories removed.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="The mutations. Each one commits by itself, and one with userErrors has changed nothing.")
class Mutation(
    UserMutations,
    SessionMutations,
    MessageMutations,
    MemoryMutations,
    DocumentMutations,
    AgentMutations,
    CredentialMutations,
):
    purge_deleted: PurgeDeletedPayload = mutation(
        purge_deleted,
        PurgeDeletedInput,
        dict[str, Any],
        description="Removes for good what was deleted before a time; the server also does so by itself.",
    )


schema = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    types=[Message, Memory, Document],
    config=StrawberryConfig(scalar_map=SCALARS, default_resolver=getitem),
)
"""The schema that clients see; it holds no connection and no setting, so one is enough."""
