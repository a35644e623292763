"""Running a request: its operation is prepared once and run breadth-first; its errors get codes.

A document with introspection, or with a field of a kind that breadth-first execution does not support, is run by
graphql-core as a whole; this is decided before anything runs.
"""

from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from sys import getsizeof
from types import MappingProxyType
from typing import Any, NamedTuple

import strawberry
from graphql import ASTValidationRule, ExecutionResult, GraphQLError, GraphQLSchema

from breadth.arguments import Variables
from breadth.cache import WeighedCache
from breadth.context import Context
from breadth.core import execute
from breadth.cost import MOST
from breadth.documents import LARGEST_CACHED, Document, Documents, Operation
from breadth.errors import Formatted, Refused, coded, formatted
from breadth.limits import Limits
from breadth.running import Run

Describe = Callable[[Exception], tuple[str, str]]
"""Maps an exception of a resolver to the code and the message that a client may see."""

CHAINED_MUTATIONS = 500
"""Most mutations in a document that graphql-core runs: it chains them, and a long chain fails midway."""

PLAN_BYTES = 64 * 1024 * 1024
"""Default limit on the bytes that cached documents and their plans take in memory."""

LARGE = 20_000
"""Up to this cost an answer is written without yielding: that takes a few milliseconds."""

WITH_SCHEMA = 5_000
"""Highest cost of an operation that mixes introspection and data: graphql-core runs it without yielding."""

UNLIMITED = Limits(errors=MOST)


class Request(NamedTuple):
    """A GraphQL request as it was received.

    With `sha256` (the document's hash in hexadecimal digits) the document is cached under it, and the next request may
    omit `query`: Apollo's automatic persisted queries. With `cost` the answer includes the operation's cost.
    """

    query: str | None
    variables: Mapping[str, Any] = MappingProxyType({})
    operation_name: str | None = None
    sha256: str | None = None
    cost: bool = False


class Answer(NamedTuple):
    """`body` is the answer's JSON object; `executed` is false when the request was invalid and nothing ran.

    With `repeats` the same text may occur in it many times, under the aliases of its document.
    """

    body: dict[str, Any]
    executed: bool
    repeats: bool = True


class MutationRefused(Exception):
    """The operation is a mutation, and this request may not run one."""


class Executor:
    """Executes requests on a Strawberry schema. `describe` translates what resolvers raise.

    Caches at most `documents` documents with their plans, in at most `plan_bytes`. Refuses what exceeds `limits` before
    anything runs. Without `introspection` introspection queries are refused, and errors suggest no names of the schema.
    With `reference` everything runs on graphql-core: the oracle that breadth-first execution is compared with.
    """

    def __init__(
        self,
        schema: strawberry.Schema,
        describe: Describe,
        *,
        limits: Limits = UNLIMITED,
        documents: int = 1024,
        plan_bytes: int = PLAN_BYTES,
        introspection: bool = True,
        reference: bool = False,
    ) -> None:
        self.schema = core_schema(schema)
        self._limits = limits
        self._describe = describe
        self._introspection = introspection
        part = plan_bytes // 8
        self._documents = Documents(
            self.schema, limits, size=documents, plan_bytes=plan_bytes - part, introspection=introspection
        )
        self._persisted: WeighedCache[str, str] = WeighedCache(documents, most=part, weigh=_weight_of_text)
        self._reference = reference

    async def execute(
        self,
        request: Request,
        context: Context,
        *,
        suggestions: bool = True,
        mutations: bool = True,
        rule: type[ASTValidationRule] | None = None,
    ) -> Answer:
        """Answers a request. With `suggestions` errors may name parts of the schema that the client did not mention.

        Without `mutations` a mutation raises `MutationRefused` and does not run. An operation that breaks `rule`, a
        further rule for this client, does not run either; its answer has no data and the rule's errors.
        """
        suggestions = suggestions and self._introspection
        try:
            text = request.query or "" if request.sha256 is None else self._persisted_text(request)
            document = self._documents.kept(text)
            if document is None:
                document = await self._documents.read(text, context, suggestions=suggestions)
            operation = document.operation(request.operation_name)
            if operation.is_mutation and not mutations:
                raise MutationRefused
            if rule is not None and rule not in operation.passed:
                check = partial(document.check, operation, rule)
                broken = await context.in_thread(check) if document.is_long else check()
                if broken:
                    return Answer({"data": None, "errors": broken}, executed=True)
            if context.is_large:
                variables = await context.in_thread(Variables, operation.signature, request.variables)
            else:
                variables = Variables(operation.signature, request.variables)
            if variables.plain is None:
                await self._coerce(variables, request, context, suggestions=suggestions)
        except Refused as refused:
            return _refusal(refused)
        cost = operation.cost.of(variables.sizes)
        try:
            answer = await self._run(document, operation, request, variables, context, cost)
        except Refused as refused:
            answer = _refusal(refused)
        if request.cost:
            answer.body["extensions"] = {"cost": {"requested": cost, "limit": self._limits.cost}}
        return answer

    def _persisted_text(self, request: Request) -> str:
        """Looks up the text of a document by its hash."""
        query, named = request.query, request.sha256 or ""
        if query is None:
            query = self._persisted.get(named)
            if query is None:
                # Apollo's clients look for this exact message, and then send the document.
                raise Refused(coded("PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound"))
            return query
        if sha256(query.encode("utf-8", "surrogatepass")).hexdigest() != named.lower():
            raise Refused(coded("BAD_USER_INPUT", "`sha256Hash` is not the hash of `query`."))
        if len(query) <= LARGEST_CACHED:
            self._persisted.put(named, query)
        return query

    async def _coerce(self, variables: Variables, request: Request, context: Context, *, suggestions: bool) -> None:
        """Has graphql-core coerce the variables; raises `Refused` with its errors if they are invalid."""
        most = self._limits.errors
        coerce = partial(variables.coerce, errors=most, suggestions=suggestions)
        wrong = await context.in_thread(coerce) if context.is_large else coerce()
        if isinstance(wrong, list):
            raise Refused(*(formatted(error, "BAD_USER_INPUT", request.variables) for error in wrong[:most]))

    async def _run(
        self,
        document: Document,
        operation: Operation,
        request: Request,
        variables: Variables,
        context: Context,
        cost: int,
    ) -> Answer:
        if cost > self._limits.cost:
            raise Refused(coded("QUERY_TOO_COMPLEX", str(self._limits.exceeded("cost", cost))))
        if not document.coverage.whole or self._reference:
            return await self._run_graphql_core(document, operation, request, context, cost)
        key = document.key(operation, variables)
        plan = document.plans.get(key)
        if plan is None:
            compile = partial(document.compile, operation, key)
            plan = await context.in_thread(compile) if document.is_long else compile()
            if plan is None:
                return await self._run_graphql_core(document, operation, request, context, cost)
            document.plans.put(key, plan)
        compiler, compiled = plan.compiler, plan.compiler.fields
        run = Run(self.schema, context, variables, document.is_long, cost > LARGE, self._limits.errors)
        try:
            data = await (run.mutation(plan) if operation.is_mutation else run.query(plan))
        finally:
            if compiler.fields > compiled:
                # Running it has compiled more of the plan.
                document.plans.update(key)
                self._documents.update(document)
        return self._answer(data, run.errors, document)

    async def _run_graphql_core(
        self, document: Document, operation: Operation, request: Request, context: Context, cost: int
    ) -> Answer:
        coverage = document.coverage
        if not coverage.whole and coverage.data and cost > WITH_SCHEMA:
            message = f"A document that asks for the schema and for data may cost at most {WITH_SCHEMA:,}"
            raise Refused(coded("QUERY_TOO_COMPLEX", f"{message}; this costs {cost:,}. Send two documents."))
        if operation.is_mutation and len(operation.definition.selection_set.selections) > CHAINED_MUTATIONS:
            message = f"The document holds more than {CHAINED_MUTATIONS} mutations; send them in several requests."
            raise Refused(coded("QUERY_TOO_COMPLEX", message))
        run = partial(
            execute,
            self.schema,
            document.node,
            context_value=context,
            variable_values=dict(request.variables),
            operation_name=request.operation_name,
            # All errors with suggestions are found before anything runs.
            hide_suggestions=True,
        )
        # Introspection alone awaits nothing, so a thread can run all of it.
        result = run() if coverage.data else await context.in_thread(run)
        if not isinstance(result, ExecutionResult):
            result = await result
        return self._answer(result.data, result.errors, None)

    def _answer(self, data: Any, errors: list[GraphQLError] | None, document: Document | None) -> Answer:
        body: dict[str, Any] = {"data": data}
        if errors:
            body["errors"] = [self._described(error) for error in errors[: self._limits.errors]]
        return Answer(body, executed=True, repeats=document is None or document.has_aliases)

    def _described(self, error: GraphQLError) -> Formatted:
        original = error.original_error
        if original is None or isinstance(original, GraphQLError):
            return formatted(error, "BAD_USER_INPUT")
        code, message = self._describe(original)
        return {**error.formatted, "message": message, "extensions": {"code": code}}


def core_schema(schema: strawberry.Schema) -> GraphQLSchema:
    """The graphql-core schema that Strawberry builds."""
    return schema._schema  # pyright: ignore[reportPrivateUsage]


def _refusal(refused: Refused) -> Answer:
    return Answer({"errors": list(refused.errors)}, executed=False)


def _weight_of_text(key: str, text: str) -> int:
    return getsizeof(key) + getsizeof(text) + 200
