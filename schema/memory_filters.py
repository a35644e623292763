"""Kinds, methods and filters of memories, which users and sessions need too."""

from enum import Enum

import strawberry

from schema.inputs import DateTimeRange, OrderDirection, optional, required
from schema.scalars import JSON, DateTime


@strawberry.enum(description="The kinds of memories.")
class MemoryKind(Enum):
    FACT = strawberry.enum_value("FACT", description="Something that is so.")
    PREFERENCE = strawberry.enum_value("PREFERENCE", description="Something that somebody prefers.")
    EVENT = strawberry.enum_value("EVENT", description="Something that happened, or will.")
    SUMMARY = strawberry.enum_value("SUMMARY", description="A summary of a session or of a user.")


@strawberry.enum(description="The ways in which memories are made.")
class MemoryMethod(Enum):
    DECLARED = strawberry.enum_value("DECLARED", description="The application said so.")
    RULE = strawberry.enum_value("RULE", description="A rule found it in a message.")
    EXTRACTIVE = strawberry.enum_value("EXTRACTIVE", description="Sentences chosen verbatim from messages.")
    MODEL = strawberry.enum_value("MODEL", description="A language model wrote it.")


@strawberry.input(description="A filter for memories; all conditions must hold.")
class MemoryFilter:
    memory_ids: list[str] | None = optional("Memories with one of these keys of the client's own; at most 100.")
    about: list[str] | None = optional(
        "Memories about one of these names, in any case; at most 100. They hold nothing of the user's own."
    )
    kinds: list[MemoryKind] | None = optional("Memories of one of these kinds; at most 100.")
    methods: list[MemoryMethod] | None = optional("Memories that came about in one of these ways; at most 100.")
    min_rating: float | None = optional("The least rating; memories without a rating are excluded.")
    as_of: DateTime | None = optional(
        "Memories that were true at this time; now when left out. An event counts from its creation on."
    )
    history: bool | None = optional("True lists all, whenever they were true, expired and superseded ones included.")
    metadata: JSON | None = optional(
        "Memories whose metadata contains this object, as PostgreSQL's @> does; up to 64 KiB and 4,000 values."
    )
    created_at: DateTimeRange | None = optional("The time of their creation.")


@strawberry.enum(description="The orders of memories; those without a value come last, in either direction.")
class MemoryOrderField(Enum):
    CREATED_AT = strawberry.enum_value("CREATED_AT", description="The time of their creation.")
    VALID_FROM = strawberry.enum_value("VALID_FROM", description="The start of their validity in the world.")
    RATING = strawberry.enum_value("RATING", description="Their quality or certainty.")


@strawberry.input(description="An order of memories.")
class MemoryOrder:
    field: MemoryOrderField = required("The field to order by.")
    direction: OrderDirection = required("The direction.")
