"""The permissions of mutations: those that a user token permits, on the user's own data."""

from collections.abc import Awaitable, Callable
from typing import Any

from resolvers.inputs import Values
from resolvers.memories import create_memory
from resolvers.messages import add_messages
from resolvers.operation_context import OperationContext
from resolvers.sessions import create_session

Mutation = Callable[[OperationContext, Values], Awaitable[Any]]

FOR_USERS: frozenset[Mutation] = frozenset((create_session, add_messages, create_memory))
"""Mutations that a user token permits. Each ensures that it only touches the user's own objects."""


async def carry_out(mutation: Mutation, context: OperationContext, values: Values) -> Any:
    """Runs a mutation if the viewer has the permission; the application itself has all of them."""
    if mutation not in FOR_USERS:
        context.only_service("run this mutation")
    return await mutation(context, values)
