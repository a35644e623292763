"""Filters and orders of sessions, which users and agents need too."""

from enum import Enum

import strawberry

from schema.inputs import DateTimeRange, OrderDirection, optional, required
from schema.scalars import JSON


@strawberry.input(description="Which sessions; all conditions must hold.")
class SessionFilter:
    metadata: JSON | None = optional(
        "Sessions whose metadata contains this object, as PostgreSQL's @> does; up to 64 KiB and 4,000 values."
    )
    session_ids: list[str] | None = optional("Sessions with one of these keys; at most 100.")
    user_ids: list[str] | None = optional("Sessions of one of these users; at most 100.")
    agent_ids: list[str] | None = optional("Sessions with one of these agents; at most 100.")
    ended: bool | None = optional("Whether they have ended.")
    deleted: bool | None = optional("True lists the deleted ones instead of the others.")
    has_user: bool | None = optional("Whether they belong to a user.")
    created_at: DateTimeRange | None = optional("When they were created.")
    last_activity_at: DateTimeRange | None = optional("When something last happened in them.")


@strawberry.enum(description="What sessions are ordered by; ties by sessionId.")
class SessionOrderField(Enum):
    CREATED_AT = strawberry.enum_value("CREATED_AT", description="When they were created.")
    UPDATED_AT = strawberry.enum_value("UPDATED_AT", description="When their own attributes last changed.")
    LAST_ACTIVITY_AT = strawberry.enum_value("LAST_ACTIVITY_AT", description="When something last happened in them.")
    SESSION_ID = strawberry.enum_value("SESSION_ID", description="Their key, by code points.")


@strawberry.input(description="An order of sessions.")
class SessionOrder:
    field: SessionOrderField = required("What to order by.")
    direction: OrderDirection = required("Which way.")
