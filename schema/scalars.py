"""The scalars: times and JSON."""

from typing import NewType

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

from breadth import json_text
from models.values import rfc3339
from resolvers.times import parse_time

DateTime = NewType("DateTime", str)
JSON = NewType("JSON", object)


def _parse_time(value: object) -> str:
    try:
        return parse_time(value)
    except ValueError as error:
        raise GraphQLError(str(error), extensions={"code": "BAD_USER_INPUT"}) from error


def _read_json(value: object) -> object:
    return value


WRITTEN = frozenset(("ID", "String", "Int", "DateTime"))
"""The scalars whose values a store may give as JSON, see `models.expressions.written`."""

SCALARS: dict[object, ScalarDefinition] = {
    DateTime: strawberry.scalar(
        name="DateTime",
        description="A time as RFC 3339 writes it. In: with an offset, up to microseconds. Out: in UTC, with Z.",
        specified_by_url="https://scalars.graphql.org/andimarek/date-time",
        serialize=rfc3339,
        parse_value=_parse_time,
    ),
    JSON: strawberry.scalar(
        name="JSON",
        description="Any JSON value, up to 64 KiB and 32 levels. Metadata is always a JSON object.",
        specified_by_url="https://datatracker.ietf.org/doc/html/rfc8259",
        serialize=json_text,
        parse_value=_read_json,
    ),
}
