"""Running a request: a document is planned once, its operation run breadth-first, its errors given codes.

Introspection and fields of a kind that breadth-first execution does not know are run by graphql-core, with the whole of
their document; which of the two it is, is known before anything runs.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from sys import getsizeof
from types import MappingProxyType
from typing import Any, NamedTuple

from graphql import (
    ASTValidationRule,
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    Node,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    OperationType,
    OverlappingFieldsCanBeMergedRule,
    ValidationContext,
    ValueNode,
    ValuesOfCorrectTypeRule,
    execute,
    specified_rules,
    validate,
)
from graphql.validation.validate import ValidationAbortedError

from breadth.arguments import Signature, Variables
from breadth.cache import Cache
from breadth.cost import MOST, Cost
from breadth.limits import Limits, TooComplex, parse_within
from breadth.measures import Measurer
from breadth.plan import Compiler, Coverage, Known, Selection, coverage_of, flag_names
from breadth.running import Run, aside
from breadth.wording import LocatedValues, reworded

PlanKey = tuple[str | bool | None, ...]
"""The name of an operation, and the values of the variables that its plan depends on."""

Describe = Callable[[Exception], tuple[str, str]]
"""For an exception of a resolver the code and the message that a client may see."""

CHAINED_MUTATIONS = 500
"""Mutations of one document that graphql-core can run, at most: it chains them, and a long chain breaks midway."""

LARGEST_CACHED = 64 * 1024
"""Characters of a document whose plan is kept, at most."""

PLAN_BYTES = 64 * 1024 * 1024
"""Bytes that the plans of documents take in memory at most, unless told otherwise."""

TOKEN_BYTES, FIELD_BYTES, ENTRY_BYTES = 310, 1_700, 12_000
"""What a token of a document and a field of a plan take in memory, about, and each document and plan besides: measured
with documents of many kinds, of which the largest count."""

LARGEST_AT_ONCE = 1024
"""Characters of a document that is read in the event loop, at most: that takes a few milliseconds."""

LARGEST_COMPARED = 100_000
"""Limit on comparing the fields of a document with each other, in graphql-core's units: about 0.3 s."""

LARGE = 20_000
"""Cost of an operation up to which its answer is written in one go: that takes a few milliseconds."""

WITH_SCHEMA = 5_000
"""Cost of an operation, at most, whose document asks for the schema and for data: graphql-core runs it in one go."""

UNLIMITED = Limits(errors=MOST)

_PASSED_OVER = r"(?:[\s,\ufeff]|#[^\n\r]*)*"
# Also an argument whose value is a name, but not the type of a variable.
_alias = re.compile(rf"(?<![\w$])[_A-Za-z]\w*{_PASSED_OVER}:{_PASSED_OVER}[_A-Za-z]")


class Request(NamedTuple):
    """A GraphQL request, as it came.

    With `sha256` (the hash of a document, in hexadecimal digits) the document is kept under it, and `query` may be left
    out the next time: Apollo's automatic persisted queries. With `cost` the answer tells the operation's.
    """

    query: str | None
    variables: Mapping[str, Any] = MappingProxyType({})
    operation_name: str | None = None
    sha256: str | None = None
    cost: bool = False


class Answer(NamedTuple):
    """`body` is the answer's JSON object; `executed` is false when the request was at fault and nothing ran.

    With `repeats` the same text may stand in it many times, under the aliases of its document.
    """

    body: dict[str, Any]
    executed: bool
    repeats: bool = True


class MutationRefused(Exception):
    """The operation is a mutation, and none may be run."""


class _OverlappingFields(OverlappingFieldsCanBeMergedRule):
    """Ends earlier than graphql-core's, which compares for seconds."""

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        self.rule_context.remaining_complexity_budget = LARGEST_COMPARED


_OURS: dict[type[ASTValidationRule], type[ASTValidationRule]] = {
    OverlappingFieldsCanBeMergedRule: _OverlappingFields,
    ValuesOfCorrectTypeRule: LocatedValues,
}
_RULES = tuple(_OURS.get(rule, rule) for rule in specified_rules)


class _Document:
    """A document that was parsed and validated, its operations, and their plans."""

    def __init__(
        self,
        schema: GraphQLSchema,
        document: DocumentNode | None,
        errors: tuple[dict[str, Any], ...] = (),
        costs: Mapping[str | None, Cost] = MappingProxyType({}),
        plan_bytes: int = PLAN_BYTES,
        known: Known | None = None,
    ) -> None:
        self._known = Known(set) if known is None else known
        self.errors = errors
        self.costs = costs
        self.operations: dict[str | None, OperationDefinitionNode] = {}
        self.coverage = Coverage(whole=False, data=False)
        self._schema = schema
        self._signatures: dict[str | None, Signature] = {}
        self.plans: Cache[PlanKey, Selection] = Cache(64, most=plan_bytes, weigh=_weight_of_plan)
        self.text = "" if document is None or document.loc is None else document.loc.source.body
        self.is_long = len(self.text) > LARGEST_AT_ONCE
        """Tells that its plans are compiled aside, since that would hold the event loop."""
        self.has_aliases = _alias.search(self.text) is not None
        self._own_weight = ENTRY_BYTES + sum(len(error["message"]) + 500 for error in errors)
        if document is None or errors:
            return
        self._own_weight += TOKEN_BYTES * _forget_tokens(document)
        self.document = document
        self.coverage = coverage_of(schema, document)
        self._flags = sorted(flag_names(document))
        for definition in document.definitions:
            if isinstance(definition, OperationDefinitionNode):
                self.operations[_name_of(definition)] = definition

    @property
    def weight(self) -> int:
        """Bytes that it takes in memory, with its plans, about."""
        return self._own_weight + self.plans.weight

    def operation(self, name: str | None) -> OperationDefinitionNode | str:
        """The operation to run, or what is wrong with the choice."""
        if name is not None:
            return self.operations.get(name) or f"The document holds no operation named {name!r}."
        if len(self.operations) == 1:
            return next(iter(self.operations.values()))
        if not self.operations:
            return "The document holds no operation."
        return "The document holds several operations; say which one to run with `operationName`."

    def signature(self, operation: OperationDefinitionNode) -> Signature:
        """The variables of one of its operations."""
        name = _name_of(operation)
        signature = self._signatures.get(name)
        if signature is None:
            signature = self._signatures[name] = Signature(self._schema, operation)
        return signature

    def key(self, operation: OperationDefinitionNode, variables: Variables) -> PlanKey:
        """The operation, and the values of the variables that @skip and @include go by."""
        return _name_of(operation), *map(variables.flag, self._flags)

    def compile(self, operation: OperationDefinitionNode, key: PlanKey) -> Selection | None:
        """Compiles the operation's plan; returns None when it is graphql-core's to run."""
        flags = dict(zip(self._flags, key[1:], strict=True))
        # A flag that this operation does not declare belongs to another one.
        declared = {definition.variable.name.value for definition in operation.variable_definitions or ()}
        if any(value is None and name in declared for name, value in flags.items()):
            return None
        given = {name: bool(value) for name, value in flags.items()}
        compiler = Compiler(self._schema, self.document, given, self._known)
        root: Any = self._schema.get_root_type(operation.operation)
        return Selection(compiler, root, [operation.selection_set])


class Executor:
    """Executes requests on the schema of a Strawberry schema. `describe` translates what resolvers raise.

    So many `documents` are kept with their plans, in no more than `plan_bytes`. What exceeds `limits` is refused before
    anything runs. Without `introspection` the schema may not be asked for, and no error suggests a name of it. With
    `reference` everything runs on graphql-core: the oracle that breadth-first execution is compared with.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        describe: Describe,
        *,
        limits: Limits = UNLIMITED,
        documents: int = 1024,
        plan_bytes: int = PLAN_BYTES,
        introspection: bool = True,
        reference: bool = False,
    ) -> None:
        self.schema = schema
        self._limits = limits
        self._measurer = Measurer(schema, limits)
        self._describe = describe
        self._introspection = introspection
        self._rules = _RULES if introspection else (*_RULES, NoSchemaIntrospectionCustomRule)
        # Most of it is for those that are run.
        part = self._part = plan_bytes // 8
        self._documents: Cache[str, _Document] = Cache(documents, most=plan_bytes - 2 * part, weigh=_weight_of_document)
        self._refused: Cache[tuple[str, bool], _Document] = Cache(documents, most=part, weigh=_weight_of_document)
        """Documents with errors, which are others with suggestions and without."""
        self._persisted: Cache[str, str] = Cache(documents, most=part, weigh=_weight_of_text)
        self._reading: dict[tuple[str, bool], asyncio.Future[_Document | None]] = {}
        """Documents that are being read, so that the same one is read once for all who ask for it meanwhile."""
        self._reference = reference
        self._known = Known(set)

    def _query(self, request: Request) -> str | Answer:
        """The text of the request's document, or what is wrong with how it is named."""
        query, named = request.query, request.sha256
        if named is None:
            return query or ""
        if query is None:
            # Apollo's clients go by this very message, and send the document then.
            return self._persisted.get(named) or _refused("PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound")
        if sha256(query.encode("utf-8", "surrogatepass")).hexdigest() != named.lower():
            return _refused("BAD_USER_INPUT", "`sha256Hash` is not the hash of `query`.")
        if len(query) <= LARGEST_CACHED:
            self._persisted.put(named, query)
        return query

    async def execute(
        self, request: Request, context: Any, *, suggestions: bool = True, mutations: bool = True
    ) -> Answer:
        """The answer; `suggestions` says whether errors may name what the schema has and the client has not said.

        Without `mutations` one is not run: `MutationRefused` is raised.
        """
        query = self._query(request)
        if isinstance(query, Answer):
            return query
        document = self._documents.get(query)
        if document is None:
            document = await self._document(query, context, suggestions=suggestions)
        if document.errors:
            return Answer({"errors": list(document.errors)}, executed=False)
        operation = document.operation(request.operation_name)
        if isinstance(operation, str):
            return _refused("OPERATION_RESOLUTION_FAILURE", operation)
        if operation.operation is OperationType.MUTATION and not mutations:
            raise MutationRefused
        if getattr(context, "is_large", False):
            variables = await aside(context, Variables, document.signature(operation), request.variables)
        else:
            variables = Variables(document.signature(operation), request.variables)
        if variables.plain is None:
            refused = await self._coerced(variables, request, context, suggestions=suggestions)
            if refused is not None:
                return refused
        cost = document.costs[_name_of(operation)].of(variables.sizes)
        if cost > self._limits.cost:
            answer = _refused("QUERY_TOO_COMPLEX", str(self._limits.exceeded("cost", cost)))
        else:
            answer = await self._run(document, operation, request, variables, context, cost)
        if request.cost:
            answer.body["extensions"] = {"cost": {"requested": cost, "limit": self._limits.cost}}
        return answer

    async def _coerced(
        self, variables: Variables, request: Request, context: Any, *, suggestions: bool
    ) -> Answer | None:
        """Has graphql-core coerce the variables; what it finds wrong with them."""
        most = self._limits.errors
        coerce = partial(variables.coerce, errors=most, suggestions=suggestions and self._introspection)
        wrong = await aside(context, coerce) if getattr(context, "is_large", False) else coerce()
        if not isinstance(wrong, list):
            return None
        formatted = [_formatted(error, "BAD_USER_INPUT", request.variables) for error in wrong[:most]]
        return Answer({"errors": formatted}, executed=False)

    async def _run(
        self,
        document: _Document,
        operation: OperationDefinitionNode,
        request: Request,
        variables: Variables,
        context: Any,
        cost: int,
    ) -> Answer:
        coverage = document.coverage
        if not coverage.whole and coverage.data and cost > WITH_SCHEMA:
            message = f"A document that asks for the schema and for data may cost at most {WITH_SCHEMA:,}"
            return _refused("QUERY_TOO_COMPLEX", f"{message}; this costs {cost:,}. Send two documents.")
        if not coverage.whole or self._reference:
            return await self._run_graphql_core(document, operation, request, context)
        key = document.key(operation, variables)
        plan = document.plans.get(key)
        if plan is None:
            compile = partial(document.compile, operation, key)
            plan = await aside(context, compile) if document.is_long else compile()
            if plan is None:
                return await self._run_graphql_core(document, operation, request, context)
            document.plans.put(key, plan)
        most, is_large = self._limits.errors, cost > LARGE
        run = Run(self.schema, context, variables, is_long=document.is_long, most_errors=most, is_large=is_large)
        is_mutation = operation.operation is OperationType.MUTATION
        compiler, compiled = plan.compiler, plan.compiler.fields
        try:
            data = await (run.mutation(plan) if is_mutation else run.query(plan))
        finally:
            if compiler.fields > compiled:
                # More of it was compiled.
                document.plans.update(key)
                self._documents.update(document.text)
        return self._answer(data, run.errors, repeats=document.has_aliases)

    async def _run_graphql_core(
        self, document: _Document, operation: OperationDefinitionNode, request: Request, context: Any
    ) -> Answer:
        fields = len(operation.selection_set.selections)
        if operation.operation is OperationType.MUTATION and fields > CHAINED_MUTATIONS:
            message = f"The document holds more than {CHAINED_MUTATIONS} mutations; send them in several requests."
            return _refused("QUERY_TOO_COMPLEX", message)
        run = partial(
            execute,
            self.schema,
            document.document,
            context_value=context,
            variable_values=dict(request.variables),
            operation_name=request.operation_name,
            # What can be suggested is found before anything runs.
            hide_suggestions=True,
        )
        # The schema is there already: all is done in one go.
        result = run() if document.coverage.data else await aside(context, run)
        if not isinstance(result, ExecutionResult):
            result = await result
        return self._answer(result.data, result.errors)

    def _answer(self, data: Any, errors: list[GraphQLError] | None, *, repeats: bool = True) -> Answer:
        body: dict[str, Any] = {"data": data}
        if errors:
            body["errors"] = [self._described(error) for error in errors[: self._limits.errors]]
        return Answer(body, executed=True, repeats=repeats)

    async def _document(self, query: str, context: Any, *, suggestions: bool) -> _Document:
        """The document of a text that is read for the first time: a long one aside, once for all who ask for it."""
        if (refused := self._refused.get((query, suggestions))) is not None:
            return refused
        if len(query) <= LARGEST_AT_ONCE:
            return self._keep(query, suggestions, self._read(query, suggestions))
        key = query, suggestions
        while (reading := self._reading.get(key)) is not None:
            # Nothing comes of it when the one who reads it has to stop.
            if (document := await asyncio.shield(reading)) is not None:
                return document
        self._reading[key] = reading = asyncio.get_running_loop().create_future()
        document = None
        try:
            document = self._keep(query, suggestions, await aside(context, self._read, query, suggestions))
            return document
        finally:
            del self._reading[key]
            reading.set_result(document)

    def _keep(self, query: str, suggestions: bool, document: _Document) -> _Document:
        if len(query) <= LARGEST_CACHED:
            if document.errors:
                self._refused.put((query, suggestions), document)
            else:
                self._documents.put(query, document)
        return document

    def _read(self, query: str, suggestions: bool) -> _Document:
        suggestions = suggestions and self._introspection
        try:
            document = parse_within(self._limits, query)
            costs = self._measurer.costs(document)
            most = self._limits.errors
            # One error more says that there were too many; an abort before that, that the check itself took too long.
            errors = validate(self.schema, document, self._rules, max_errors=most, hide_suggestions=not suggestions)
            errors = errors[:most]
            if any(isinstance(error, ValidationAbortedError) for error in errors):
                message = "The document repeats its fields, or nests its fragments, too much to be checked."
                return _Document(self.schema, None, (_error("QUERY_TOO_COMPLEX", message),))
            if errors:
                formatted = tuple(_formatted(error, _validation_code(error)) for error in errors)
                return _Document(self.schema, None, formatted)
            return _Document(self.schema, document, costs=costs, plan_bytes=2 * self._part, known=self._known)
        except TooComplex as error:
            return _Document(self.schema, None, (_error("QUERY_TOO_COMPLEX", str(error)),))
        except GraphQLError as error:
            return _Document(self.schema, None, (_formatted(error, "GRAPHQL_PARSE_FAILED"),))
        except RecursionError:
            message = "The document is nested too deeply to be read."
            return _Document(self.schema, None, (_error("GRAPHQL_PARSE_FAILED", message),))

    def _described(self, error: GraphQLError) -> dict[str, Any]:
        original = error.original_error
        if original is None or isinstance(original, GraphQLError):
            return _formatted(error, "BAD_USER_INPUT")
        code, message = self._describe(original)
        return {**error.formatted, "message": message, "extensions": {"code": code}}


def _weight_of_plan(_key: Any, plan: Selection) -> int:
    return ENTRY_BYTES + FIELD_BYTES * plan.compiler.fields


def _weight_of_document(key: str | tuple[str, bool], document: _Document) -> int:
    return getsizeof(key if isinstance(key, str) else key[0]) + document.weight


def _weight_of_text(key: str, text: str) -> int:
    return getsizeof(key) + getsizeof(text) + 200


def _forget_tokens(document: DocumentNode) -> int:
    """Lets go of the tokens of a validated document, which take half of its memory; how many there were.

    Where its nodes stand in the text is kept, for errors.
    """
    count = 0
    token: Any = document.loc and document.loc.start_token
    while token is not None:
        count, token = count + 1, token.next
    nodes: list[Any] = [document]
    while nodes:
        node = nodes.pop()
        if node.loc is not None:
            node.loc.start_token = node.loc.end_token = None
        for name in node.keys:
            value = getattr(node, name, None)
            if isinstance(value, Node):
                nodes.append(value)
            elif isinstance(value, tuple | list):
                nodes += value
    return count


def _name_of(operation: OperationDefinitionNode) -> str | None:
    return operation.name.value if operation.name else None


def _formatted(error: GraphQLError, code: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    formatted: dict[str, Any] = {**error.formatted, "message": reworded(error.message, given)}
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
