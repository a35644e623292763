"""Filters and orders of sessions, which users and agents need too."""

from enum import Enum

import strawberry

from schema.inputs import DateTimeRange, OrderDirection, optional, required
from schema.scalars import JSON


@strawberry.input(description="A filter for sessions; all conditions must hold.")
class SessionFilter:
    metadata: JSON | None = optional(
        "Sessions whose metadata contains this object, as PostgreSQL's @> does; up to 64 KiB and 4,000 values."
    )
    session_ids: list[str] | None = optional("Sessions with one of these keys; at most 100.")
    user_ids: list[str] | None = optional("Sessions of one of these users; at most 100.")
    agent_ids: list[str] | None = optional("Sessions with one of these agents; at most 100.")
    ended: bool | None = optional("True lists ended sessions, false the others.")
    deleted: bool | None = optional("True lists the deleted ones instead of the others.")
    has_user: bool | None = optional("True lists sessions that have a user, false those that have none.")
    created_at: DateTimeRange | None = optional("The time of their creation.")
    last_activity_at: DateTimeRange | None = optional("The time of the last activity in them.")


@strawberry.enum(description="The orders of sessions; ties by sessionId.")
class SessionOrderField(Enum):
    CREATED_AT = strawberry.enum_value("CREATED_AT", description="The time of their creation.")
    UPDATED_AT = strawberry.enum_value("UPDATED_AT", description="The last change of their own attributes.")
    LAST_ACTIVITY_AT = strawberry.enum_value("LAST_ACTIVITY_AT", description="The time of the last activity in them.")
    SESSION_ID = strawberry.enum_value("SESSION_ID", description="Their key, by code points.")
    USER_ID = strawberry.enum_value(
        "USER_ID", description="Their user's key, by the code points of its first 100 characters; nulls last."
    )


@strawberry.input(description="An order of sessions.")
class SessionOrder:
    field: SessionOrderField = required("The field to order by.")
    direction: OrderDirection = required("The direction.")
