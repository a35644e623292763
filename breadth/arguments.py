"""Arguments of a field: coerced by graphql-core, then renamed to what its Python function expects."""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from graphql import (
    FieldNode,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    VariableNode,
    get_argument_values,
)
from graphql.execution.values import VariableValues
from graphql.language import visit
from graphql.language.visitor import Visitor
from strawberry.utils.str_converters import to_camel_case

STRAWBERRY = "strawberry-definition"

Convert = Callable[[Any], Any]


def graphql_name(named: Any) -> str:
    """The name in GraphQL of a Strawberry field or argument."""
    return named.graphql_name or to_camel_case(named.python_name)


class Arguments:
    """The arguments of one field of a document."""

    def __init__(self, definition: GraphQLField, node: FieldNode, names: Mapping[str, str]) -> None:
        """`names` gives each argument's Python name."""
        self._definition = definition
        self._node = node
        self._spec = [(name, names[name], _converter(argument.type)) for name, argument in definition.args.items()]
        self._constant = None if _has_variables(node) else self._coerce(None)

    def values(self, variables: VariableValues) -> dict[str, Any]:
        """Their plain values by Python name, those left out left out. Raises what is wrong with them."""
        return self._coerce(variables) if self._constant is None else self._constant

    def _coerce(self, variables: VariableValues | None) -> dict[str, Any]:
        if not self._spec:
            return {}
        given = get_argument_values(self._definition, self._node, variables)
        return {
            python_name: given[name] if convert is None or given[name] is None else convert(given[name])
            for name, python_name, convert in self._spec
            if name in given
        }


def _has_variables(node: FieldNode) -> bool:
    found: list[VariableNode] = []

    class Finder(Visitor):
        def enter_variable(self, variable: VariableNode, *_: Any) -> None:
            found.append(variable)

    for argument in node.arguments or ():
        visit(argument, Finder())
    return bool(found)


def _converter(kind: Any) -> Convert | None:
    """How coerced values of a type become plain ones, or None when they are."""
    if isinstance(kind, GraphQLNonNull):
        return _converter(kind.of_type)
    if isinstance(kind, GraphQLList):
        item = _converter(kind.of_type)
        return item and (lambda value: [None if each is None else item(each) for each in value])
    if isinstance(kind, GraphQLEnumType):
        return lambda value: value.value if isinstance(value, Enum) else value
    if isinstance(kind, GraphQLInputObjectType):
        return _object_converter(kind)
    return None


def _object_converter(kind: GraphQLInputObjectType) -> Convert:
    definition = kind.extensions[STRAWBERRY]
    python_names = {graphql_name(field): field.python_name for field in definition.fields}
    spec: dict[str, tuple[str, Convert | None]] = {}

    def convert(value: Mapping[str, Any]) -> dict[str, Any]:
        if not spec:  # filled late, since a type may hold itself
            spec.update({name: (python_names[name], _converter(field.type)) for name, field in kind.fields.items()})
        plain: dict[str, Any] = {}
        for name, given in value.items():
            python_name, inner = spec[name]
            plain[python_name] = given if inner is None or given is None else inner(given)
        return plain

    return convert
