"""Breadth-first execution of Strawberry schemas; knows nothing of users or sessions.

A GraphQL operation asks for levels: a user, the user's sessions, their messages. Executed field by field and object by
object, it spends most of its time on walking the tree. Here each operation is compiled once into a plan of levels; each
resolver is called once per level, with all parents, and the answers of a level are written in one loop.

    fields.py      how fields are declared: plain, computed, batch, stream
    plan.py        plans: what an operation selects, compiled from its document
    arguments.py   the arguments of a field
    writer.py      the function that writes a level
    inlining.py    short functions as parts of that function
    running.py     one execution: levels, errors, nulls
    context.py     the interface of an operation's context
    documents.py   documents, parsed once and cached with their operations and plans
    requests.py    requests and their answers
    execution.py   from a request to an answer, or to a subscription's; falls back to graphql-core
    errors.py      the format of errors in an answer
    limits.py      limits on a document
    measures.py    the measures of a document with its fragments expanded
    cost.py        the cost of an operation, from its page sizes
    wording.py     messages about a value, which they show as JSON
    batching.py    runs the same batch resolvers under graphql-core
    cache.py       a bounded cache

README.md has an example.
"""

from breadth.context import Context, PlainContext
from breadth.execution import Executor, Subscription
from breadth.fields import (
    BatchResolver,
    Events,
    PageSize,
    Run,
    batch_field,
    computed_field,
    json_text,
    plain,
    stream_field,
)
from breadth.limits import Limits
from breadth.plan import batch_of
from breadth.requests import Answer, MutationRefused, Request, SubscriptionRefused

__all__ = [
    "Answer",
    "BatchResolver",
    "Context",
    "Events",
    "Executor",
    "Limits",
    "MutationRefused",
    "PageSize",
    "PlainContext",
    "Request",
    "Run",
    "Subscription",
    "SubscriptionRefused",
    "batch_field",
    "batch_of",
    "computed_field",
    "json_text",
    "plain",
    "stream_field",
]
