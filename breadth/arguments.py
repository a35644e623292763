"""Variables of a request and arguments of a field, as the plain values that Python functions expect."""

from collections.abc import Mapping
from typing import Any

from graphql import (
    FieldNode,
    GraphQLError,
    GraphQLField,
    GraphQLNonNull,
    GraphQLSchema,
    OperationDefinitionNode,
    Undefined,
    get_argument_values,
)
from graphql.execution.values import VariableValues, get_variable_values
from graphql.utilities.coerce_input_value import coerce_default_value

from breadth.coercion import LEFT_OUT, Build, Convert, Unusual, builder, coercer, converted, has_variables
from breadth.core import input_type, type_from_ast


class Signature:
    """The variables that an operation declares."""

    def __init__(self, schema: GraphQLSchema, operation: OperationDefinitionNode) -> None:
        self._schema = schema
        self._definitions = operation.variable_definitions or ()
        self._spec: list[tuple[str, Convert, bool]] = []
        for definition in self._definitions:
            kind = type_from_ast(schema, definition.type)
            coerce = coercer(kind)
            optional = not isinstance(kind, GraphQLNonNull) and definition.default_value is None
            self._spec.append((definition.variable.name.value, coerce, optional))

    def plain(self, given: Mapping[str, Any]) -> dict[str, Any] | None:
        """Coerces the given values to plain ones; returns None if any of them is not valid."""
        values: dict[str, Any] = {}
        try:
            for name, coerce, optional in self._spec:
                value = given.get(name, LEFT_OUT)
                if value is not LEFT_OUT:
                    values[name] = coerce(value)
                elif not optional:
                    return None
        except (Unusual, RecursionError):
            return None
        return values

    def coerce(
        self, given: Mapping[str, Any], *, errors: int | None, suggestions: bool
    ) -> VariableValues | list[GraphQLError]:
        """Has graphql-core coerce the given values; returns the coerced values or errors, see `Variables.coerce`."""
        return get_variable_values(self._schema, self._definitions, dict(given), errors, not suggestions)


class Variables:
    """The variables of one request."""

    __slots__ = ("_coerced", "_given", "_signature", "plain")

    def __init__(self, signature: Signature, given: Mapping[str, Any]) -> None:
        self._signature = signature
        self._given = given
        self._coerced: VariableValues | list[GraphQLError] | None = None
        self.plain = signature.plain(given)
        """Their plain values; None if graphql-core has to coerce them."""

    def coerce(self, *, errors: int | None = None, suggestions: bool = False) -> "VariableValues | list[GraphQLError]":
        """Has graphql-core coerce them; returns the coerced values, or at most one error more than `errors`."""
        if self._coerced is None:
            self._coerced = self._signature.coerce(self._given, errors=errors, suggestions=suggestions)
        return self._coerced

    @property
    def sizes(self) -> Mapping[str, Any]:
        """Their values by GraphQL name, for computing page sizes."""
        return self._given if self.plain is not None else self.coerced.coerced

    @property
    def coerced(self) -> VariableValues:
        """The coerced variables of a request whose variables are valid."""
        values = self.coerce()
        assert not isinstance(values, list)  # noqa: S101 - the executor has checked
        return values

    def flag(self, name: str) -> Any:
        """The value of a variable that @skip or @include uses."""
        return (self.coerced.coerced if self.plain is None else self.plain).get(name)


class Arguments:
    """The arguments of one field of a document."""

    def __init__(self, definition: GraphQLField, node: FieldNode, names: Mapping[str, str]) -> None:
        """`names` gives each argument's Python name."""
        self._definition = definition
        self._node = node
        self._names = names
        self._constant = None if any(map(has_variables, node.arguments or ())) else self._coerce(None)
        self._builds = None if self._constant is not None else self._compile()

    def values(self, variables: Variables) -> dict[str, Any]:
        """Their plain values by Python name; omitted arguments are omitted. Raises an error for an invalid value."""
        if self._constant is not None:
            return self._constant
        if self._builds is not None and variables.plain is not None:
            try:
                values = {name: build(variables.plain) for name, build in self._builds}
                return {name: value for name, value in values.items() if value is not LEFT_OUT}
            except Unusual:
                pass
        return self._coerce(variables.coerced)

    def _compile(self) -> list[tuple[str, Build]] | None:
        given = {argument.name.value: argument.value for argument in self._node.arguments or ()}
        builds: list[tuple[str, Build]] = []
        try:
            for name, argument in self._definition.args.items():
                default = coerce_default_value(argument)
                if name in given:
                    build = builder(input_type(argument), given[name], has_default=default is not Undefined)
                    builds.append((self._names[name], build))
                elif default is not Undefined:
                    plain = converted(input_type(argument), default)
                    builds.append((self._names[name], lambda _, plain=plain: plain))
        except Unusual:
            return None
        return builds

    def _coerce(self, variables: VariableValues | None) -> dict[str, Any]:
        if not self._definition.args:
            return {}
        given = get_argument_values(self._definition, self._node, variables)
        return {
            self._names[name]: converted(input_type(argument), given[name])
            for name, argument in self._definition.args.items()
            if name in given
        }
