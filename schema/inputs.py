"""Types and functions that inputs share."""

from enum import Enum
from typing import Any

import strawberry
from strawberry import UNSET

from schema.scalars import DateTime


def optional(description: str) -> Any:
    """An input field that may be omitted, which differs from null."""
    return strawberry.field(default=UNSET, description=description)


def required(description: str) -> Any:
    return strawberry.field(description=description)


@strawberry.input(description="A range of times: since <= t < until. Either end may be left out.")
class DateTimeRange:
    since: DateTime | None = optional("The first time in the range.")
    until: DateTime | None = optional("The first time after the range.")


@strawberry.enum(description="The direction of an order.")
class OrderDirection(Enum):
    ASC = strawberry.enum_value("ASC", description="Smallest or oldest first.")
    DESC = strawberry.enum_value("DESC", description="Largest or newest first.")


@strawberry.enum(description="The ways in which an update treats existing metadata.")
class MetadataMode(Enum):
    MERGE = strawberry.enum_value(
        "MERGE",
        description="Objects merge at every depth, lists and scalars are replaced, null removes a key (RFC 7396).",
    )
    REPLACE = strawberry.enum_value(
        "REPLACE", description="The given object replaces the existing one, nulls included."
    )


MODE = "The treatment of existing metadata; MERGE when left out."
VERSION = "The version that the change is based on; CONFLICT if it is not the current one."
