"""What inputs share."""

from enum import Enum
from typing import Any

import strawberry
from strawberry import UNSET

from schema.scalars import DateTime


def optional(description: str) -> Any:
    """An input field that may be left out, which is not the same as null."""
    return strawberry.field(default=UNSET, description=description)


def required(description: str) -> Any:
    return strawberry.field(description=description)


@strawberry.input(description="A range of times: since <= t < until. Either end may be left out.")
class DateTimeRange:
    since: DateTime | None = optional("The first time in the range.")
    until: DateTime | None = optional("The first time after the range.")


@strawberry.enum(description="Which way a list is ordered.")
class OrderDirection(Enum):
    ASC = strawberry.enum_value("ASC", description="Smallest or oldest first.")
    DESC = strawberry.enum_value("DESC", description="Largest or newest first.")


@strawberry.enum(description="How an update treats metadata that is there.")
class MetadataMode(Enum):
    MERGE = strawberry.enum_value(
        "MERGE",
        description="Objects merge at every depth, lists and scalars are replaced, null removes a key (RFC 7396).",
    )
    REPLACE = strawberry.enum_value(
        "REPLACE", description="What is given takes the place of what was there, nulls and all."
    )


MODE = "How to treat the metadata that is there; MERGE when left out."
VERSION = "The version that this change was made for; CONFLICT when it is no longer the current one."
