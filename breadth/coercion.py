"""Coercion of input, compiled once per type: from JSON to the plain values that Python functions expect.

Plain values are graphql-core's coerced ones, with Python names for the fields of input objects, and enums by value.
Only ordinary valid input is coerced here. Anything else raises `Unusual` and is left to graphql-core.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLScalarType,
    ListValueNode,
    Node,
    ObjectValueNode,
    Undefined,
    ValueNode,
    VariableNode,
)
from graphql.language import visit
from graphql.language.visitor import Visitor
from graphql.utilities.coerce_input_value import coerce_default_value
from strawberry.utils.str_converters import to_camel_case

from breadth.core import InputType, JsonValue, coerce_input_literal, input_type

STRAWBERRY = "strawberry-definition"

Convert = Callable[[Any], Any]

LEFT_OUT: Any = object()


class Unusual(Exception):
    """A value that only graphql-core can coerce or reject."""


def graphql_name(named: Any) -> str:
    """The GraphQL name of a Strawberry field or argument."""
    return named.graphql_name or to_camel_case(named.python_name)


def python_names(kind: GraphQLInputObjectType) -> dict[str, str]:
    """The Python names of an input object's fields."""
    return {graphql_name(field): field.python_name for field in kind.extensions[STRAWBERRY].fields}


def converted(kind: InputType, value: Any) -> Any:
    """The plain form of a value that graphql-core has coerced."""
    if value is None:
        return None
    if isinstance(kind, GraphQLNonNull):
        return converted(kind.of_type, value)
    if isinstance(kind, GraphQLList):
        return [converted(kind.of_type, each) for each in value]
    if isinstance(kind, GraphQLEnumType):
        return value.value if isinstance(value, Enum) else value
    if isinstance(kind, GraphQLInputObjectType):
        names = python_names(kind)
        return {names[name]: converted(input_type(kind.fields[name]), given) for name, given in value.items()}
    return value


_EXACT: dict[str, type] = {"String": str, "ID": str, "Boolean": bool}
"""Built-in scalars whose values of one Python type are coerced to themselves."""


def coercer(kind: InputType) -> Convert:
    """A function that coerces a client's value of this type to a plain one; it may raise `Unusual`."""
    # Each document creates its own wrapper types; only the named types within them live on.
    if isinstance(kind, GraphQLNonNull):
        return _present(coercer(kind.of_type))
    if isinstance(kind, GraphQLList):
        return _list(kind)
    return _named(kind)


@cache
def _named(kind: Any) -> Convert:
    if isinstance(kind, GraphQLInputObjectType):
        return _object(kind)
    if isinstance(kind, GraphQLEnumType):
        return _enum(kind)
    exact = _EXACT.get(kind.name)
    if exact is not None:
        return _of_type(exact)
    return _integer if kind.name == "Int" else _scalar(kind)


def _present(inner: Convert) -> Convert:
    def coerce(value: Any) -> Any:
        if value is None:
            raise Unusual
        return inner(value)

    return coerce


def _of_type(exact: type) -> Convert:
    def coerce(value: Any) -> Any:
        if type(value) is exact or value is None:
            return value
        raise Unusual

    return coerce


def _integer(value: Any) -> Any:
    if value is None or (type(value) is int and -(2**31) <= value < 2**31):
        return value
    raise Unusual


def _scalar(kind: GraphQLScalarType) -> Convert:
    def coerce(value: Any) -> Any:
        if value is None:
            return None
        try:
            coerced = kind.coerce_input_value(value)
        except Exception as error:
            raise Unusual from error
        if coerced is Undefined:
            raise Unusual
        return coerced

    return coerce


def _enum(kind: GraphQLEnumType) -> Convert:
    plain = {name: converted(kind, value.value) for name, value in kind.values.items()}

    def coerce(value: Any) -> Any:
        if value is None:
            return None
        if type(value) is not str or value not in plain:
            raise Unusual
        return plain[value]

    return coerce


def _list(kind: GraphQLList[Any]) -> Convert:
    item = coercer(kind.of_type)

    def coerce(value: JsonValue) -> Any:
        if type(value) is list:
            return [item(each) for each in value]
        if value is None:
            return None
        raise Unusual

    return coerce


def _object(kind: GraphQLInputObjectType) -> Convert:
    names = python_names(kind)
    spec: list[tuple[str, str, Convert, bool]] = []

    def coerce(value: JsonValue) -> Any:
        if value is None:
            return None
        if type(value) is not dict or kind.is_one_of:
            raise Unusual
        if not spec:  # filled in later, since a type may contain itself
            spec.extend(
                (name, names[name], coercer(input_type(field)), _may_be_left_out(field))
                for name, field in kind.fields.items()
            )
        plain: dict[str, Any] = {}
        found = 0
        for name, python_name, inner, optional in spec:
            given = value.get(name, LEFT_OUT)
            if given is not LEFT_OUT:
                plain[python_name] = inner(given)
                found += 1
            elif not optional:
                raise Unusual
        if found != len(value):
            raise Unusual
        return plain

    return coerce


def _may_be_left_out(field: Any) -> bool:
    """True if it may be omitted and then has no value: not required, and without a default."""
    return not isinstance(field.type, GraphQLNonNull) and coerce_default_value(field) is Undefined


Build = Callable[[Mapping[str, Any]], Any]
"""Computes a plain value from the plain variables of a request, or `LEFT_OUT`."""


def builder(kind: InputType, node: ValueNode, has_default: bool) -> Build:
    """Compiles a literal of this type, with the variables in it, to a function; may raise `Unusual`."""
    if isinstance(node, VariableNode):
        return _variable(node.name.value, has_default=has_default, nonnull=isinstance(kind, GraphQLNonNull))
    inner: InputType = kind.of_type if isinstance(kind, GraphQLNonNull) else kind
    if isinstance(node, ObjectValueNode) and isinstance(inner, GraphQLInputObjectType) and not inner.is_one_of:
        return _built_object(inner, node)
    if isinstance(node, ListValueNode) and isinstance(inner, GraphQLList):
        items = [builder(inner.of_type, item, has_default=True) for item in node.values]
        return lambda variables: [build(variables) for build in items]
    value = Undefined if has_variables(node) else coerce_input_literal(node, kind)
    if value is Undefined:
        raise Unusual
    plain = converted(kind, value)
    return lambda _: plain


def has_variables(node: Node) -> bool:
    """True if a node contains variables."""
    found: list[VariableNode] = []

    class Finder(Visitor):
        def enter_variable(self, variable: VariableNode, *_: Any) -> None:
            found.append(variable)

    visit(node, Finder())
    return bool(found)


def _variable(name: str, *, has_default: bool, nonnull: bool) -> Build:
    def build(variables: Mapping[str, Any]) -> Any:
        value = variables.get(name, LEFT_OUT)
        if (value is LEFT_OUT and has_default) or (value is None and nonnull):
            raise Unusual
        return value

    return build


def _built_object(kind: GraphQLInputObjectType, node: ObjectValueNode) -> Build:
    names = python_names(kind)
    given = {field.name.value: field.value for field in node.fields}
    spec: list[tuple[str, Build]] = []
    for name, field in kind.fields.items():
        if name in given:
            spec.append((names[name], builder(input_type(field), given[name], has_default=not _may_be_left_out(field))))
        elif not _may_be_left_out(field):
            raise Unusual

    def build(variables: Mapping[str, Any]) -> Any:
        plain: dict[str, Any] = {}
        for name, part in spec:
            value = part(variables)
            if value is not LEFT_OUT:
                plain[name] = value
        return plain

    return build
