"""The schema that the server publishes, against the contract with clients (`contract.graphql`)."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLUnionType,
    Undefined,
    build_client_schema,
    build_schema,
    get_introspection_query,
    is_introspection_type,
    is_required_argument,
    is_required_input_field,
    is_specified_directive,
    is_specified_scalar_type,
    lexicographic_sort_schema,
    print_schema,
)

from tests.places import Fresh
from tests.servers import REPOSITORY, START_SECONDS, Server

CONTRACT = build_schema(Path(__file__).with_name("contract.graphql").read_text())
PROMISED = sorted(
    name for name, type_ in CONTRACT.type_map.items() if not is_introspection_type(type_) and name != "ID"
)


@pytest.fixture(scope="module")
def published(shared: Fresh) -> Iterator[GraphQLSchema]:
    """The schema as a client builds it from the server's answer to the introspection query."""
    running = Server(shared())
    query = get_introspection_query(
        specified_by_url=True, directive_is_repeatable=True, schema_description=True, input_value_deprecation=True
    )
    yield build_client_schema(running.graphql(query))  # type: ignore[arg-type]
    running.close()


def arguments_differ(where: str, promised: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    """The changes that a client would notice in arguments or input fields."""
    for name, argument in promised.items():
        if name not in found:
            yield f"{where}.{name} is missing"
            continue
        if str(found[name].type) != str(argument.type):
            yield f"{where}.{name} is {found[name].type}, not {argument.type}"
        if has_default(found[name]) != has_default(argument):
            yield f"{where}.{name} has another default than was promised"
    for name in found.keys() - promised.keys():
        if is_required_argument(found[name]) or is_required_input_field(found[name]):
            yield f"{where}.{name} was added and is required"


def has_default(value: GraphQLArgument | GraphQLInputField) -> bool:
    return value.default_value is not Undefined or getattr(value, "default", None) not in (None, Undefined)


COMPOSITE = (GraphQLObjectType, GraphQLInterfaceType)


def differences(promised: GraphQLNamedType, found: GraphQLNamedType) -> Iterator[str]:
    name = promised.name
    if isinstance(promised, GraphQLScalarType) and isinstance(found, GraphQLScalarType):
        if promised.specified_by_url != found.specified_by_url:
            yield f"{name} is specified by {found.specified_by_url}, not {promised.specified_by_url}"
    elif isinstance(promised, GraphQLEnumType) and isinstance(found, GraphQLEnumType):
        yield from (f"{name}.{value} is missing" for value in promised.values if value not in found.values)
    elif isinstance(promised, GraphQLUnionType) and isinstance(found, GraphQLUnionType):
        members = {member.name for member in found.types}
        yield from (f"{name} lacks {member.name}" for member in promised.types if member.name not in members)
    elif isinstance(promised, GraphQLInputObjectType) and isinstance(found, GraphQLInputObjectType):
        yield from arguments_differ(name, promised.fields, found.fields)
    elif isinstance(promised, COMPOSITE) and isinstance(found, COMPOSITE) and type(promised) is type(found):
        interfaces = {interface.name for interface in found.interfaces}
        yield from (f"{name} lacks {i.name}" for i in promised.interfaces if i.name not in interfaces)
        for field_name, field in promised.fields.items():
            if field_name not in found.fields:
                yield f"{name}.{field_name} is missing"
                continue
            other = found.fields[field_name]
            if str(other.type) != str(field.type):
                yield f"{name}.{field_name} is {other.type}, not {field.type}"
            yield from arguments_differ(f"{name}.{field_name}", field.args, other.args)
    else:
        yield f"{name} is a {type(found).__name__}, not a {type(promised).__name__}"


def descriptions(schema: GraphQLSchema) -> Iterator[tuple[str, str | None]]:
    """Everything in a schema that has a description, and which."""
    for name, type_ in schema.type_map.items():
        if is_introspection_type(type_) or is_specified_scalar_type(type_):
            continue
        yield name, type_.description
        if isinstance(type_, GraphQLEnumType):
            for value_name, value in type_.values.items():
                yield f"{name}.{value_name}", value.description
        for field_name, field in getattr(type_, "fields", {}).items():
            yield f"{name}.{field_name}", field.description
            for argument_name, argument in getattr(field, "args", {}).items():
                yield f"{name}.{field_name}({argument_name}:)", argument.description
    for directive in schema.directives:
        if not is_specified_directive(directive):
            yield f"@{directive.name}", directive.description
            for argument_name, argument in directive.args.items():
                yield f"@{directive.name}({argument_name}:)", argument.description


def printed_by_the_command() -> str:
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "recallql", "schema"]
    done = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONPATH": path}, timeout=START_SECONDS)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.mark.parametrize("name", PROMISED)
def test_the_published_schema_has_every_promised_type_as_it_was_promised(published: GraphQLSchema, name: str) -> None:
    found = published.type_map.get(name)
    assert found is not None, f"{name} is missing"
    assert list(differences(CONTRACT.type_map[name], found)) == []


def test_every_type_field_argument_enum_value_and_input_field_is_described(published: GraphQLSchema) -> None:
    described = list(descriptions(published))
    assert len(described) > 400
    assert [where for where, description in described if not (description or "").strip()] == []


def test_what_is_deprecated_says_what_to_use_instead(published: GraphQLSchema) -> None:
    for name, type_ in published.type_map.items():
        for field_name, field in getattr(type_, "fields", {}).items():
            reason = field.deprecation_reason
            assert reason is None or reason.strip() not in ("", "No longer supported"), f"{name}.{field_name}"


def test_the_committed_schema_is_what_the_command_prints() -> None:
    assert (REPOSITORY / "schema.graphql").read_text(encoding="utf-8") == printed_by_the_command()


def test_the_committed_schema_is_what_the_server_publishes(published: GraphQLSchema) -> None:
    committed = build_schema((REPOSITORY / "schema.graphql").read_text(encoding="utf-8"))
    assert print_schema(lexicographic_sort_schema(published)) == print_schema(lexicographic_sort_schema(committed))
