"""Parts of graphql-core with complete annotations: its own omit the item type of a list type."""

# These two rules are off in this module only: the package takes the parts from here.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeAlias, TypeGuard

from graphql import (
    ExecutionResult,
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLUnionType,
    TypeNode,
    ValueNode,
    pyutils,
)
from graphql import coerce_input_value as graphql_coerce_input_value
from graphql import execute as graphql_execute
from graphql import get_nullable_type as graphql_get_nullable_type
from graphql import subscribe as graphql_subscribe
from graphql import type_from_ast as graphql_type_from_ast
from graphql import validate_input_value as graphql_validate_input_value
from graphql.utilities.coerce_input_value import coerce_input_literal as graphql_coerce_input_literal
from graphql.utilities.validate_input_value import validate_input_literal as graphql_validate_input_literal
from strawberry import Info

JsonValue: TypeAlias = "str | int | float | bool | list[JsonValue] | dict[str, JsonValue] | None"
"""A value of a request's variables or of an answer whose type is not known yet."""

InputType = GraphQLScalarType | GraphQLEnumType | GraphQLInputObjectType | GraphQLList[Any] | GraphQLNonNull[Any]
OutputType = (
    GraphQLScalarType
    | GraphQLObjectType
    | GraphQLInterfaceType
    | GraphQLUnionType
    | GraphQLEnumType
    | GraphQLList[Any]
    | GraphQLNonNull[Any]
)

execute: Callable[..., ExecutionResult | Awaitable[ExecutionResult]] = graphql_execute
subscribe: Callable[..., ExecutionResult | AsyncIterator[ExecutionResult] | Awaitable[Any]] = graphql_subscribe
get_nullable_type: Callable[[Any], Any] = graphql_get_nullable_type
type_from_ast: Callable[[GraphQLSchema, TypeNode], Any] = graphql_type_from_ast
is_iterable: Callable[[Any], TypeGuard[Iterable[Any]]] = pyutils.is_iterable
coerce_input_value: Callable[[Any, InputType], Any] = graphql_coerce_input_value
coerce_input_literal: Callable[[ValueNode, InputType], Any] = graphql_coerce_input_literal
validate_input_literal: Callable[..., None] = graphql_validate_input_literal
validate_input_value: Callable[..., None] = graphql_validate_input_value


def is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def input_type(holder: GraphQLArgument | GraphQLInputField) -> InputType:
    """The type of an argument, or of an input object's field."""
    return holder.type


def output_type(field: GraphQLField) -> OutputType:
    return field.type


def parent_type_name(info: Info) -> str:
    """The name of a field's parent type."""
    return info._raw_info.parent_type.name  # pyright: ignore[reportPrivateUsage] - Strawberry has no public name for it
