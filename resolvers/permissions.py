"""The permissions of mutations: which of them a user token may carry out, on what is the user's own."""

from collections.abc import Awaitable, Callable
from typing import Any

from resolvers.inputs import Values
from resolvers.memories import create_memory
from resolvers.messages import add_messages
from resolvers.operation_context import OperationContext
from resolvers.sessions import create_session

Mutation = Callable[[OperationContext, Values], Awaitable[Any]]

FOR_USERS: frozenset[Mutation] = frozenset((create_session, add_messages, create_memory))
"""Mutations that a user token may carry out. Each sees to it that what it names is the user's own."""


async def carry_out(mutation: Mutation, context: OperationContext, values: Values) -> Any:
    """Carries out a mutation, if the viewer may; the application itself may carry out all of them."""
    if mutation not in FOR_USERS:
        context.only_service("run this mutation")
    return await mutation(context, values)
