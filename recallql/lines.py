"""Reads the lines of an import: JSON objects, checked against the types of the contract.

A line may write its times and enum values as other systems do; see `read_time`.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from graphql import (
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLError,
    GraphQLFloat,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLString,
    coerce_input_value,
    get_named_type,
    validate_input_value,
)
from pydantic.alias_generators import to_snake
from sqlalchemy import Column, Double, Integer

from breadth import plain
from breadth.wording import as_json, of_value, value_at
from recallql.http.requests import BadRequest, read_json
from resolvers.archive import JSON_COLUMNS, KINDS, Line
from resolvers.entries import BadLine
from resolvers.inputs import camel
from schema.root import schema

LARGEST_LINE = 128 * 1024 * 1024
"""Bytes of a line, at most: enough for a user with 100 documents."""

CREATE_INPUTS = {
    "user": "CreateUserInput",
    "agent": "CreateAgentInput",
    "session": "CreateSessionInput",
    "message": "MessageInput",
    "document": "CreateDocumentInput",
    "memory": "CreateMemoryInput",
}


def _object(name: str, fields: dict[str, Any]) -> GraphQLInputObjectType:
    return GraphQLInputObjectType(
        name, {field: GraphQLInputField(type, out_name=to_snake(field)) for field, type in fields.items()}
    )


def line_types() -> dict[str, GraphQLInputObjectType]:
    """The types of lines: the contract's create inputs with what exported lines add."""
    types: Any = schema._schema.type_map  # pyright: ignore[reportPrivateUsage]
    source = {"sessionId": GraphQLString, "sequence": GraphQLInt, "documentKey": GraphQLString, "position": GraphQLInt}
    stone = {"sequence": GraphQLNonNull(GraphQLInt), "messageIdHash": GraphQLString}
    joined: dict[str, Any] = {
        "project": GraphQLString,
        "id": GraphQLString,
        "sessionId": GraphQLNonNull(GraphQLString),
        "formMemories": GraphQLBoolean,
        "withheldMemories": GraphQLList(GraphQLNonNull(GraphQLString)),
        "method": types["MemoryMethod"],
        "sources": GraphQLList(GraphQLNonNull(_object("source", source))),
        "deletedMessages": GraphQLList(GraphQLNonNull(_object("deletedMessage", stone))),
    }

    def of_column(name: str, column: Column[Any]) -> Any:
        if name.endswith("At") or name in ("validFrom", "validUntil", "supersededFrom"):
            return types["DateTime"]
        if isinstance(column.type, Integer):
            return GraphQLInt
        return GraphQLFloat if isinstance(column.type, Double) else GraphQLString

    def fields_of(kind: str) -> dict[str, Any]:
        fields = {name: field.type for name, field in types[CREATE_INPUTS[kind]].fields.items()}
        for column_name, column in KINDS[kind].columns.items():
            if (name := camel(column_name)) not in fields and column_name not in JSON_COLUMNS:
                fields[name] = joined[name] if name in joined else of_column(name, column)
        for name in map(camel, KINDS[kind].joined):
            if name not in fields or name == "sources":
                fields[name] = joined[name]
        return fields

    return {kind: _object(kind, fields_of(kind)) for kind in CREATE_INPUTS}


# PostgreSQL's form, with an offset of hours alone, and the one of its log and of BigQuery.
_time = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d(?:\.\d+)?) ?(?:(UTC|[Zz])|([+-]\d\d)(?::?(\d\d))?)", re.ASCII
)
_epoch = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECONDS_FROM = 10**11
"""A number of a time from here on counts milliseconds: as seconds it would be in the year 5138."""
MILLISECONDS_TO = 10**14


def read_time(value: Any) -> Any:
    """An RFC 3339 time for one as PostgreSQL writes it or for the seconds or milliseconds since 1970; others as is."""
    if isinstance(value, str) and (found := _time.fullmatch(value)):
        date, time, utc, hours, minutes = found.groups()
        return f"{date}T{time}{'Z' if utc else hours + ':' + (minutes or '00')}"
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not -MILLISECONDS_FROM / 2 < value < MILLISECONDS_TO
    ):
        return value
    unit = 1 if value < MILLISECONDS_FROM else 1000
    moment = _epoch + timedelta(microseconds=round(Decimal(str(value)) * 1_000_000 / unit))
    return f"{moment.replace(tzinfo=None).isoformat()}Z"


def _upper(type: GraphQLEnumType) -> Callable[[Any], Any]:
    return lambda value: value.upper() if isinstance(value, str) and value.upper() in type.values else value


class LineReader:
    """Reads lines of a file into objects; `BadLine` says what is wrong with one."""

    def __init__(self) -> None:
        self._types = line_types()
        self._lenient: dict[str, dict[str, Callable[[Any], Any]]] = {}
        for kind, type in self._types.items():
            named = {name: get_named_type(field.type) for name, field in type.fields.items()}
            self._lenient[kind] = {name: _upper(of) for name, of in named.items() if isinstance(of, GraphQLEnumType)}
            self._lenient[kind] |= {name: read_time for name, of in named.items() if of.name == "DateTime"}

    def read(self, number: int, raw: bytes) -> Line:
        try:
            value = read_json(raw.removeprefix(b"\xef\xbb\xbf"))
        except BadRequest as error:
            raise BadLine(number, error.message.replace("The body", "The line")) from error
        if not isinstance(value, dict):
            raise BadLine(number, 'A line is a JSON object, as in {"type": "user", "userId": "ada"}.')
        kind = value.pop("type", None)
        kind_type = self._types.get(kind) if isinstance(kind, str) else None
        if kind_type is None:
            raise BadLine(number, f"`type` is {as_json(kind)}; it must be one of {', '.join(self._types)}.")
        for name, read in self._lenient[kind].items():
            if name in value:
                value[name] = read(value[name])
        problems: list[str] = []

        def note(error: GraphQLError, path: list[str | int]) -> None:
            problems.append(_placed(of_value(error.message, value_at(value, path)), path))

        validate_input_value(value, kind_type, note)
        if problems:
            raise BadLine(number, "; ".join(problems[:3]))
        coerced = coerce_input_value(value, kind_type)
        return {"type": kind, **{name: plain(item) for name, item in coerced.items() if item is not None}}


def _placed(message: str, path: list[str | int]) -> str:
    return f"{'.'.join(map(str, path))}: {message}" if path else message
