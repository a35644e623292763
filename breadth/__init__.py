"""Breadth-first execution of Strawberry schemas; knows nothing of users or sessions.

A GraphQL operation asks for levels: a user, the user's sessions, their messages. Executed field by field and object by
object, most of the time goes into the walking. Here each operation is compiled once into a plan of levels; a level's
resolvers are called once each, with all parents, and its answers are written in one loop.

    fields.py      how fields are declared: plain, computed, batch
    plan.py        what an operation selects, compiled from its document
    arguments.py   the arguments of a field
    writer.py      the function that writes a level
    running.py     one execution: levels, errors, nulls
    execution.py   from a request to an answer; what goes to graphql-core
    batching.py    the same batch resolvers under graphql-core
    cache.py       a bounded cache
"""

from breadth.execution import Answer, Executor, Request
from breadth.fields import BatchResolver, batch_field, computed_field, plain

__all__ = ["Answer", "BatchResolver", "Executor", "Request", "batch_field", "computed_field", "plain"]
