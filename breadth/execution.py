"""Running a request: parse and validate once a document, execute, and tell each error's kind by a code."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    ValueNode,
    execute,
    parse,
    validate,
)
from graphql.execution.values import get_variable_values
from graphql.validation.validate import ValidationAbortedError

MUTATIONS = 500
"""Mutations of one document, at most: graphql-core chains them, and a longer chain breaks in the middle."""

Describe = Callable[[Exception], tuple[str, str]]
"""For an exception of a resolver the code and the message that a client may see."""


@dataclass(frozen=True)
class Request:
    """A GraphQL request, as it came."""

    query: str
    variables: Mapping[str, Any] = field(default_factory=dict[str, Any])
    operation_name: str | None = None


@dataclass(frozen=True)
class Answer:
    """`body` is the answer's JSON object; `executed` is false when the request was at fault and nothing ran."""

    body: dict[str, Any]
    executed: bool


@dataclass(frozen=True)
class _Plan:
    """A document that was parsed and validated, with its operations by name."""

    document: DocumentNode
    operations: Mapping[str | None, OperationDefinitionNode]
    errors: tuple[dict[str, Any], ...] = ()


class Executor:
    """Executes requests on a schema. `describe` translates what resolvers raise."""

    def __init__(self, schema: GraphQLSchema, describe: Describe, *, plans: int = 1024) -> None:
        self.schema = schema
        self._describe = describe
        self._plans: OrderedDict[str, _Plan] = OrderedDict()
        self._most = plans

    def operation_type(self, request: Request) -> OperationType | None:
        """What kind of operation the request would run, or None when it would run none."""
        plan = self._plan(request.query)
        operation = None if plan.errors else self._operation(plan, request.operation_name)
        return operation.operation if isinstance(operation, OperationDefinitionNode) else None

    async def execute(self, request: Request, context: Any) -> Answer:
        plan = self._plan(request.query)
        if plan.errors:
            return Answer({"errors": list(plan.errors)}, executed=False)
        operation = self._operation(plan, request.operation_name)
        if isinstance(operation, str):
            return _refused("OPERATION_RESOLUTION_FAILURE", operation)
        if operation.operation is OperationType.MUTATION and len(operation.selection_set.selections) > MUTATIONS:
            message = f"The document holds more than {MUTATIONS} mutations; send them in several requests."
            return _refused("QUERY_TOO_COMPLEX", message)
        variables = get_variable_values(self.schema, operation.variable_definitions or (), dict(request.variables))
        if isinstance(variables, list):
            return Answer({"errors": [_formatted(error, "BAD_USER_INPUT") for error in variables]}, executed=False)
        result = execute(
            self.schema,
            plan.document,
            context_value=context,
            variable_values=dict(request.variables),
            operation_name=request.operation_name,
        )
        if not isinstance(result, ExecutionResult):
            result = await result
        body: dict[str, Any] = {"data": result.data}
        if result.errors:
            body["errors"] = [self._described(error) for error in result.errors]
        return Answer(body, executed=True)

    def _plan(self, query: str) -> _Plan:
        plan = self._plans.get(query)
        if plan is None:
            plan = self._plans[query] = self._compile(query)
            if len(self._plans) > self._most:
                self._plans.popitem(last=False)
        else:
            self._plans.move_to_end(query)
        return plan

    def _compile(self, query: str) -> _Plan:
        nothing = DocumentNode(definitions=())
        try:
            document = parse(query, allow_empty_selection_sets=False)
            errors = validate(self.schema, document)
        except GraphQLError as error:
            return _Plan(nothing, {}, (_formatted(error, "GRAPHQL_PARSE_FAILED"),))
        except RecursionError:
            message = "The document is nested too deeply to be read."
            return _Plan(nothing, {}, (_error("GRAPHQL_PARSE_FAILED", message),))
        if any(isinstance(error, ValidationAbortedError) for error in errors):
            return _Plan(
                document, {}, (_error("QUERY_TOO_COMPLEX", "The document repeats its fields too often to be checked."),)
            )
        if errors:
            return _Plan(document, {}, tuple(_formatted(error, _validation_code(error)) for error in errors))
        operations = {
            definition.name.value if definition.name else None: definition
            for definition in document.definitions
            if isinstance(definition, OperationDefinitionNode)
        }
        return _Plan(document, operations)

    def _operation(self, plan: _Plan, name: str | None) -> OperationDefinitionNode | str:
        """The operation to run, or what is wrong with the choice."""
        if name is None:
            if len(plan.operations) == 1:
                return next(iter(plan.operations.values()))
            if not plan.operations:
                return "The document holds no operation."
            return "The document holds several operations; say which one to run with `operationName`."
        return plan.operations.get(name) or f"The document holds no operation named {name!r}."

    def _described(self, error: GraphQLError) -> dict[str, Any]:
        original = error.original_error
        if original is None or isinstance(original, GraphQLError):
            return _formatted(error, "BAD_USER_INPUT")
        code, message = self._describe(original)
        formatted = dict(error.formatted)
        return {**formatted, "message": message, "extensions": {"code": code}}


def _formatted(error: GraphQLError, code: str) -> dict[str, Any]:
    formatted: dict[str, Any] = dict(error.formatted)
    return {**formatted, "extensions": {"code": code, **(formatted.get("extensions") or {})}}


def _error(code: str, message: str) -> dict[str, Any]:
    return {"message": message, "extensions": {"code": code}}


def _refused(code: str, message: str) -> Answer:
    return Answer({"errors": [_error(code, message)]}, executed=False)


def _validation_code(error: GraphQLError) -> str:
    """A value of the wrong type is the same mistake whether it stands in the document or in a variable."""
    nodes = error.nodes or []
    of_values = bool(nodes) and all(isinstance(node, ValueNode) for node in nodes)
    return "BAD_USER_INPUT" if of_values else "GRAPHQL_VALIDATION_FAILED"
