"""Breadth-first execution of Strawberry schemas; knows nothing of users or sessions.

A GraphQL operation asks for levels: a user, the user's sessions, their messages. Executed field by field and object by
object, most of the time goes into the walking. Here each operation is compiled once into a plan of levels; a level's
resolvers are called once each, with all parents, and its answers are written in one loop.

    fields.py      how fields are declared: plain, computed, batch
    plan.py        plans: what an operation selects, compiled from its document
    arguments.py   the arguments of a field
    writer.py      the function that writes a level
    running.py     one execution: levels, errors, nulls
    context.py     what execution asks of an operation's context
    documents.py   documents, read once and kept with their operations and plans
    execution.py   from a request to an answer; what goes to graphql-core
    errors.py      errors as they stand in an answer
    limits.py      limits on a document
    measures.py    the measures of a document, its fragments spread out
    cost.py        the cost of an operation, by the sizes of pages
    wording.py     errors about a value, in the words of JSON
    batching.py    the same batch resolvers under graphql-core
    cache.py       a bounded cache

README.md has an example.
"""

from breadth.context import Context, PlainContext
from breadth.execution import Answer, Executor, MutationRefused, Request
from breadth.fields import BatchResolver, PageSize, batch_field, computed_field, plain
from breadth.limits import Limits

__all__ = [
    "Answer",
    "BatchResolver",
    "Context",
    "Executor",
    "Limits",
    "MutationRefused",
    "PageSize",
    "PlainContext",
    "Request",
    "batch_field",
    "computed_field",
    "plain",
]
