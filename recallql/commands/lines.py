"""Reads the lines of an import: JSON objects, checked against the types of the schema.

A line may write its times and enum values as other systems do; see `read_time`.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from graphql import (
    GRAPHQL_MAX_INT,
    GRAPHQL_MIN_INT,
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLError,
    GraphQLFloat,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLScalarType,
    GraphQLString,
    Undefined,
    is_required_input_field,
)
from pydantic.alias_generators import to_snake

from breadth import plain
from breadth.core import InputType, coerce_input_value, get_nullable_type, input_type, validate_input_value
from breadth.execution import core_schema
from breadth.wording import as_json, of_value, value_at
from recallql.http.requests import BadRequest, read_json
from resolvers.archive.entries import BadLine
from resolvers.archive.kinds import KINDS, Line
from resolvers.inputs import camel
from resolvers.times import parse_time
from schema.root import schema

LARGEST_LINE = 128 * 1024 * 1024
"""The most bytes of a line: enough for a user with 100 documents."""

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


def _named_as_in_python(type: Any) -> Any:
    """An input type whose objects, also nested ones, have their fields by snake_case name."""
    if (item := getattr(type, "of_type", None)) is not None:
        return type.__class__(_named_as_in_python(item))
    if isinstance(type, GraphQLInputObjectType):
        return _object(type.name, {name: _named_as_in_python(field.type) for name, field in type.fields.items()})
    return type


def line_types() -> dict[str, GraphQLInputObjectType]:
    """The types of lines: the schema's create inputs, with the fields that exports add."""
    types: Any = core_schema(schema).type_map
    source = {"sessionId": GraphQLString, "sequence": GraphQLInt, "documentKey": GraphQLString, "position": GraphQLInt}
    tombstone = {"sequence": GraphQLNonNull(GraphQLInt), "messageIdHash": GraphQLString}
    joined: dict[str, Any] = {
        "project": GraphQLString,
        "id": GraphQLString,
        "sessionId": GraphQLNonNull(GraphQLString),
        "formMemories": GraphQLBoolean,
        "withheldMemories": GraphQLList(GraphQLNonNull(GraphQLString)),
        "method": types["MemoryMethod"],
        "sources": GraphQLList(GraphQLNonNull(_object("source", source))),
        "deletedMessages": GraphQLList(GraphQLNonNull(_object("deletedMessage", tombstone))),
    }

    of_type = {"time": types["DateTime"], "integer": GraphQLInt, "number": GraphQLFloat}

    def fields_of(kind: str) -> dict[str, Any]:
        inputs = types[CREATE_INPUTS[kind]].fields
        fields = {name: _named_as_in_python(field.type) for name, field in inputs.items()}
        for column_name, column in KINDS[kind].noun.exported.items():
            if (name := camel(column_name)) not in fields and column.type != "json":
                fields[name] = joined[name] if name in joined else of_type.get(column.type, GraphQLString)
        for name in map(camel, KINDS[kind].joined):
            if name not in fields or name == "sources":
                fields[name] = joined[name]
        return fields

    return {kind: _object(kind, fields_of(kind)) for kind in CREATE_INPUTS}


# Also PostgreSQL's form, whose offset may be hours alone, and that of its log and of BigQuery.
_time = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d(?:\.\d+)?) ?(?:(UTC|[Zz])|([+-]\d\d)(?::?(\d\d))?)", re.ASCII
)
_epoch = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECONDS_FROM = 10**11
"""Numbers from here on are milliseconds since 1970: as seconds they would be in the year 5138."""
MILLISECONDS_TO = 10**14


def read_time(value: Any) -> Any:
    """Converts PostgreSQL's times, and seconds or milliseconds since 1970, to RFC 3339; returns other values as is."""
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


class _Unusual(ValueError):
    """A value that only the schema's types can judge."""


def _read_text(value: Any) -> Any:
    if type(value) is not str:
        raise _Unusual
    return value


def _read_integer(value: Any) -> Any:
    if type(value) is not int or not GRAPHQL_MIN_INT <= value <= GRAPHQL_MAX_INT:
        raise _Unusual
    return value


def _reads(type: InputType) -> Callable[[Any], Any]:
    """Reads a value of a field of a line; raises `ValueError` for one that is wrong, or unusual."""
    named = get_nullable_type(type)
    if isinstance(named, GraphQLEnumType):
        names = named.values

        def read_name(value: Any) -> Any:
            if (name := _read_text(value).upper()) not in names:
                raise _Unusual
            return name

        return read_name
    scalars: dict[str, Callable[[Any], Any]] = {
        "String": _read_text,
        "Int": _read_integer,
        "JSON": lambda value: value,
        "DateTime": lambda value: parse_time(read_time(value)),
    }
    if isinstance(named, GraphQLScalarType) and named.name in scalars:
        return scalars[named.name]

    def read_any(value: Any) -> Any:
        if (coerced := coerce_input_value(value, type)) is Undefined:
            raise _Unusual
        return plain(coerced)

    return read_any


class LineReader:
    """Reads lines of a file into objects; `BadLine` says what is wrong with one.

    Most lines are read by one function per field; unusual ones go through the schema's types, which take longer.
    """

    def __init__(self) -> None:
        self._types = line_types()
        self._fields: dict[str, dict[str, tuple[str, Callable[[Any], Any]]]] = {}
        self._required: dict[str, set[str]] = {}
        for kind, type in self._types.items():
            self._fields[kind] = {
                name: (field.out_name or name, _reads(input_type(field))) for name, field in type.fields.items()
            }
            self._required[kind] = {name for name, field in type.fields.items() if is_required_input_field(field)}

    def read(self, number: int, raw: bytes) -> Line:
        try:
            value = read_json(raw.removeprefix(b"\xef\xbb\xbf"))
        except BadRequest as error:
            raise BadLine(number, error.message.replace("The body", "The line")) from error
        if not isinstance(value, dict):
            raise BadLine(number, 'A line is a JSON object, as in {"type": "user", "userId": "ada"}.')
        kind = value.pop("type", None)
        if not isinstance(kind, str) or kind not in self._types:
            raise BadLine(number, f"`type` is {as_json(kind)}; it must be one of {', '.join(self._types)}.")
        fields = self._fields[kind]
        line: Line = {"type": kind}
        try:
            for name, item in value.items():
                if item is not None:
                    out_name, read = fields[name]
                    line[out_name] = read(item)
        except (ValueError, KeyError):
            return self._read_by_type(number, kind, value)
        if not self._required[kind] <= {name for name, item in value.items() if item is not None}:
            return self._read_by_type(number, kind, value)
        return line

    def _read_by_type(self, number: int, kind: str, value: dict[str, Any]) -> Line:
        """Reads an unusual line; raises `BadLine` with its fault."""
        for name, field in self._types[kind].fields.items():
            named = get_nullable_type(input_type(field))
            item = value.get(name)
            if isinstance(named, GraphQLEnumType) and isinstance(item, str) and item.upper() in named.values:
                value[name] = item.upper()
            elif isinstance(named, GraphQLScalarType) and named.name == "DateTime":
                value[name] = read_time(item)
        problems: list[str] = []

        def note(error: GraphQLError, path: list[str | int]) -> None:
            problems.append(_placed(of_value(error.message, value_at(value, path)), path))

        validate_input_value(value, self._types[kind], note)
        if problems:
            raise BadLine(number, "; ".join(problems[:3]))
        coerced = coerce_input_value(value, self._types[kind])
        return {"type": kind, **{name: plain(item) for name, item in coerced.items() if item is not None}}


def _placed(message: str, path: list[str | int]) -> str:
    return f"{'.'.join(map(str, path))}: {message}" if path else message
