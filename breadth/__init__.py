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
    limits.py      what a document may ask for at most
    measures.py    what a document asks for, its fragments spread out
    cost.py        what an operation costs, by the sizes of pages
    wording.py     what is wrong with a value, in the words of JSON
    batching.py    the same batch resolvers under graphql-core
    cache.py       a bounded cache
"""

from breadth.execution import Answer, Executor, MutationRefused, Request
from breadth.fields import BatchResolver, PageSize, batch_field, computed_field, plain
from breadth.limits import Limits

__all__ = [
    "Answer",
    "BatchResolver",
    "Executor",
    "Limits",
    "MutationRefused",
    "PageSize",
    "Request",
    "batch_field",
    "computed_field",
    "plain",
]
