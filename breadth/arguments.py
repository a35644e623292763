"""Arguments of a field: coerced by graphql-core, then renamed to what its Python function expects."""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

from graphql import (
    FieldNode,
    GraphQLEnumType,
    GraphQLError,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    NamedTypeNode,
    NonNullTypeNode,
    OperationDefinitionNode,
    Undefined,
    VariableDefinitionNode,
    VariableNode,
    get_argument_values,
    get_named_type,
    get_nullable_type,
    is_scalar_type,
)
from graphql.execution.values import VariableValues, get_variable_values
from graphql.language import visit
from graphql.language.visitor import Visitor
from strawberry.utils.str_converters import to_camel_case

STRAWBERRY = "strawberry-definition"

Convert = Callable[[Any], Any]


def graphql_name(named: Any) -> str:
    """The name in GraphQL of a Strawberry field or argument."""
    return named.graphql_name or to_camel_case(named.python_name)


_EXACT: dict[str, type] = {"String": str, "ID": str, "Int": int, "Boolean": bool}
"""Built-in scalars whose ordinary values are coerced to themselves, and the Python type of these."""


class Variables:
    """The variables of one request. What is ordinary is taken as it came; the rest is graphql-core's to coerce."""

    __slots__ = ("_definitions", "_given", "_schema", "_values", "quick")

    def __init__(self, schema: GraphQLSchema, operation: OperationDefinitionNode, given: Mapping[str, Any]) -> None:
        self._schema = schema
        self._definitions = operation.variable_definitions or ()
        self._given = given
        self._values: VariableValues | list[GraphQLError] | None = None
        self.quick = _quick(self._definitions, given)
        """The coerced values, where each is an ordinary one of a built-in scalar; else None."""

    def coerce(self, *, errors: int | None = None) -> "VariableValues | list[GraphQLError]":
        """What graphql-core makes of them, or what it finds wrong with them: so many errors and one more, at most."""
        if self._values is None:
            self._values = get_variable_values(self._schema, self._definitions, dict(self._given), errors)
        return self._values

    @property
    def values(self) -> VariableValues:
        """The coerced variables of a request that has nothing wrong with them."""
        values = self.coerce()
        assert not isinstance(values, list)  # noqa: S101 - the executor has looked
        return values

    @property
    def coerced(self) -> Mapping[str, Any]:
        return self.values.coerced if self.quick is None else self.quick


def _quick(definitions: Sequence[VariableDefinitionNode], given: Mapping[str, Any]) -> dict[str, Any] | None:
    coerced: dict[str, Any] = {}
    for definition in definitions:
        name = definition.variable.name.value
        kind = definition.type.type if isinstance(definition.type, NonNullTypeNode) else definition.type
        value = given.get(name)
        if value is None:
            # Left out or null: only where nothing depends on which.
            if definition.default_value is not None or kind is not definition.type:
                return None
            if name in given:
                coerced[name] = None
        elif isinstance(kind, NamedTypeNode) and type(value) is _EXACT.get(kind.name.value):
            if type(value) is int and not -(2**31) <= value < 2**31:
                return None
            coerced[name] = value
        else:
            return None
    return coerced


class Arguments:
    """The arguments of one field of a document."""

    def __init__(self, definition: GraphQLField, node: FieldNode, names: Mapping[str, str]) -> None:
        """`names` gives each argument's Python name."""
        self._definition = definition
        self._node = node
        self._spec = [(name, names[name], _converter(argument.type)) for name, argument in definition.args.items()]
        self._constant = None if _has_variables(node) else self._coerce(None)
        self._direct = None if self._constant is not None else self._variables_alone()

    def values(self, variables: Variables) -> dict[str, Any]:
        """Their plain values by Python name, those left out left out. Raises what is wrong with them."""
        if self._constant is not None:
            return self._constant
        if self._direct is not None and variables.quick is not None:
            given = variables.quick
            values = {python_name: given[name] for name, python_name in self._direct if given.get(name) is not None}
            if len(values) == len(self._direct):
                return values
        return self._coerce(variables.values)

    def _variables_alone(self) -> list[tuple[str, str]] | None:
        """The variables that the arguments are, with the arguments' Python names; None where it is not as simple."""
        direct: list[tuple[str, str]] = []
        given = {argument.name.value: argument.value for argument in self._node.arguments or ()}
        for name, python_name, convert in self._spec:
            node = given.get(name)
            argument = self._definition.args[name]
            if node is None and argument.default_value is Undefined and argument.default is None:
                continue
            kind = get_named_type(argument.type)
            scalar = is_scalar_type(kind) and kind.name in _EXACT and convert is None
            if (
                not isinstance(node, VariableNode)
                or not scalar
                or isinstance(get_nullable_type(argument.type), GraphQLList)
            ):
                return None
            direct.append((node.name.value, python_name))
        return direct

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
