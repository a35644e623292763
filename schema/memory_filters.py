"""Kinds, methods and filters of memories, which users and sessions need too."""

from enum import Enum

import strawberry

from schema.inputs import DateTimeRange, OrderDirection, optional, required
from schema.scalars import JSON, DateTime


@strawberry.enum(description="What a memory is.")
class MemoryKind(Enum):
    FACT = strawberry.enum_value("FACT", description="Something that is so.")
    PREFERENCE = strawberry.enum_value("PREFERENCE", description="Something that somebody prefers.")
    EVENT = strawberry.enum_value("EVENT", description="Something that happened, or will.")
    SUMMARY = strawberry.enum_value("SUMMARY", description="A summary of a session or of a user.")


@strawberry.enum(description="How a memory came about.")
class MemoryMethod(Enum):
    DECLARED = strawberry.enum_value("DECLARED", description="The application said so.")
    RULE = strawberry.enum_value("RULE", description="A rule found it in a message.")
    EXTRACTIVE = strawberry.enum_value("EXTRACTIVE", description="Sentences chosen verbatim from messages.")
    MODEL = strawberry.enum_value("MODEL", description="A language model wrote it.")


@strawberry.input(description="Which memories; all conditions must hold.")
class MemoryFilter:
    about: list[str] | None = optional(
        "Memories about one of these names, in any case; at most 100. They hold nothing of the user's own."
    )
    kinds: list[MemoryKind] | None = optional("Memories of one of these kinds; at most 100.")
    methods: list[MemoryMethod] | None = optional("Memories that came about in one of these ways; at most 100.")
    min_rating: float | None = optional("Memories rated at least so; those without a rating do not pass.")
    as_of: DateTime | None = optional("What was true then; now when left out. An event is from its creation on.")
    history: bool | None = optional("True lists all, whenever they were true, expired and superseded ones included.")
    metadata: JSON | None = optional(
        "Memories whose metadata contains this object, as PostgreSQL's @> does; up to 64 KiB and 4,000 values."
    )
    created_at: DateTimeRange | None = optional("When they were created.")


@strawberry.enum(description="What memories are ordered by; those without a value come last, whichever way.")
class MemoryOrderField(Enum):
    CREATED_AT = strawberry.enum_value("CREATED_AT", description="When they were created.")
    VALID_FROM = strawberry.enum_value("VALID_FROM", description="Since when they are true in the world.")
    RATING = strawberry.enum_value("RATING", description="How good or sure they are.")


@strawberry.input(description="An order of memories.")
class MemoryOrder:
    field: MemoryOrderField = required("What to order by.")
    direction: OrderDirection = required("Which way.")
