"""Running a request: its operation is prepared once and run breadth-first; its errors get codes.

A document with introspection, or with a field of a kind that breadth-first execution does not support, is run by
graphql-core as a whole; this is decided before anything runs.
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from inspect import isawaitable
from sys import getsizeof
from typing import Any, NamedTuple

import strawberry
from graphql import ASTValidationRule, ExecutionResult, GraphQLError, GraphQLSchema
from graphql.error import located_error

from breadth.arguments import Variables
from breadth.cache import WeighedCache
from breadth.context import Context
from breadth.core import execute, subscribe
from breadth.cost import MOST
from breadth.documents import LARGEST_CACHED, Document, Documents, Operation
from breadth.errors import Broken, Formatted, Refused, coded, formatted
from breadth.fields import Events
from breadth.limits import Limits
from breadth.plan import Selection
from breadth.requests import Answer, MutationRefused, Request, SubscriptionRefused
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


class _Prepared(NamedTuple):
    """An operation that may be run, with its variables."""

    document: Document
    operation: Operation
    variables: Variables
    cost: int


@dataclass(frozen=True)
class Subscription:
    """A subscription that has started. The one who started it closes its `events`."""

    events: Events
    """The values of its field, as the resolver gives them; graphql-core's results if that runs it."""
    answer: Callable[[Any, Context], Awaitable[Answer]]
    """`await answer(event, context)`: the answer for an event; each needs a context of its own."""
    failure: Callable[[Exception], Answer]
    """The last answer when the events have ended with an error."""


class Executor:
    """Executes requests on a Strawberry schema. `describe` translates what resolvers raise.

    Caches at most `documents` documents with their plans, in at most `plan_bytes`. Refuses what exceeds `limits` before
    anything runs. Without `introspection` introspection queries are refused, and errors suggest no names of the schema.
    With `reference` everything runs on graphql-core: the oracle that breadth-first execution is compared with.

    `written` names the scalars whose values the records of batch fields may have as JSON already: of these, and of
    enums, neighbouring fields become a `Run`.
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
        written: Collection[str] = (),
    ) -> None:
        self.schema = core_schema(schema)
        self._limits = limits
        self._describe = describe
        self._introspection = introspection
        part = plan_bytes // 8
        self._documents = Documents(
            self.schema,
            limits,
            size=documents,
            plan_bytes=plan_bytes - part,
            introspection=introspection,
            written=written,
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
        try:
            document, operation = await self._read(request, context, suggestions=suggestions)
            if operation.is_mutation and not mutations:
                raise MutationRefused
            if operation.is_subscription:
                raise SubscriptionRefused
            prepared = await self._prepare(document, operation, request, context, suggestions=suggestions, rule=rule)
        except Refused as refused:
            return _refusal(refused)
        return await self._execute(prepared, request, context)

    async def _execute(self, prepared: _Prepared, request: Request, context: Context) -> Answer:
        try:
            answer = await self._run(prepared, request, context)
        except Refused as refused:
            answer = _refusal(refused)
        if request.cost:
            answer.body["extensions"] = {"cost": {"requested": prepared.cost, "limit": self._limits.cost}}
        return answer

    async def is_subscription(self, request: Request, context: Context, *, suggestions: bool = True) -> bool:
        """True if a request is one for `subscribe`; False also for one that is refused."""
        try:
            _, operation = await self._read(request, context, suggestions=suggestions)
        except Refused:
            return False
        return operation.is_subscription

    async def subscribe(
        self,
        request: Request,
        context: Context,
        *,
        suggestions: bool = True,
        rule: type[ASTValidationRule] | None = None,
    ) -> Subscription | Answer:
        """Starts a subscription; the answer has the errors if it can't start. Any other operation is run.

        For `suggestions` and `rule` see `execute`.
        """
        try:
            document, operation = await self._read(request, context, suggestions=suggestions)
            prepared = await self._prepare(document, operation, request, context, suggestions=suggestions, rule=rule)
            if not operation.is_subscription:
                return await self._execute(prepared, request, context)
            return await self._start(prepared, request, context)
        except Refused as refused:
            return _refusal(refused)

    async def _start(self, prepared: _Prepared, request: Request, context: Context) -> Subscription | Answer:
        self._check_cost(prepared)
        plan = await self._plan(prepared, context)
        if plan is None:
            return await self._start_graphql_core(prepared, request, context)
        (field,) = plan.fields
        stream: Any = field.stream
        try:
            events = await stream.resolve(context, **stream.arguments(**field.arguments.values(prepared.variables)))
        except Exception as error:
            return self._answer(None, [located_error(error, field.nodes, [field.key])], None)

        async def answer(event: Any, context: Context) -> Answer:
            return await self._run_plan(prepared, plan, context, lambda run: run.event(plan, event))

        return Subscription(events, answer, self._failure)

    async def _start_graphql_core(
        self, prepared: _Prepared, request: Request, context: Context
    ) -> Subscription | Answer:
        events: Any = subscribe(
            self.schema,
            prepared.document.node,
            context_value=context,
            variable_values=dict(request.variables),
            operation_name=request.operation_name,
            hide_suggestions=True,
        )
        if isawaitable(events):
            events = await events
        if isinstance(events, ExecutionResult):
            return self._answer(events.data, events.errors, None)

        async def answer(event: ExecutionResult, _: Context) -> Answer:
            return self._answer(event.data, event.errors, None)

        return Subscription(events, answer, self._failure)

    def _failure(self, error: Exception) -> Answer:
        return self._answer(None, [located_error(error)], None)

    async def _read(self, request: Request, context: Context, *, suggestions: bool) -> tuple[Document, Operation]:
        """The document of a request, and the operation in it that is to be run; raises `Refused`."""
        text = request.query or "" if request.sha256 is None else self._persisted_text(request)
        document = self._documents.kept(text)
        if document is None:
            document = await self._documents.read(text, context, suggestions=suggestions)
        return document, document.operation(request.operation_name)

    async def _prepare(
        self,
        document: Document,
        operation: Operation,
        request: Request,
        context: Context,
        *,
        suggestions: bool,
        rule: type[ASTValidationRule] | None,
    ) -> _Prepared:
        """Checks a further rule and the variables; raises `Refused`."""
        if rule is not None and rule not in operation.passed:
            check = partial(document.check, operation, rule)
            broken = await context.in_thread(check) if document.is_long else check()
            if broken:
                raise Broken(*broken)
        if context.is_large:
            variables = await context.in_thread(Variables, operation.signature, request.variables)
        else:
            variables = Variables(operation.signature, request.variables)
        if variables.plain is None:
            await self._coerce(variables, request, context, suggestions=suggestions and self._introspection)
        return _Prepared(document, operation, variables, operation.cost.of(variables.sizes))

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

    def _check_cost(self, prepared: _Prepared) -> None:
        if prepared.cost > self._limits.cost:
            raise Refused(coded("QUERY_TOO_COMPLEX", str(self._limits.exceeded("cost", prepared.cost))))

    async def _run(self, prepared: _Prepared, request: Request, context: Context) -> Answer:
        self._check_cost(prepared)
        plan = await self._plan(prepared, context)
        if plan is None:
            return await self._run_graphql_core(prepared, request, context)
        is_mutation = prepared.operation.is_mutation
        return await self._run_plan(
            prepared, plan, context, lambda run: run.mutation(plan) if is_mutation else run.query(plan)
        )

    async def _run_plan(
        self, prepared: _Prepared, plan: Selection, context: Context, go: Callable[[Run], Awaitable[Any]]
    ) -> Answer:
        """The answer with the data that `go` has a run of the plan give."""
        document, operation, variables, cost = prepared
        compiled = plan.compiler.fields
        run = Run(self.schema, context, variables, document.is_long, cost > LARGE, self._limits.errors)
        try:
            data = await go(run)
        finally:
            if plan.compiler.fields > compiled:
                # Running it has compiled more of the plan.
                document.plans.update(document.key(operation, variables))
                self._documents.update(document)
        return self._answer(data, run.errors, document)

    async def _plan(self, prepared: _Prepared, context: Context) -> Selection | None:
        """The plan of an operation, compiled on first use; None when graphql-core has to run it."""
        document, operation, variables, _ = prepared
        if not document.coverage.whole or self._reference:
            return None
        key = document.key(operation, variables)
        plan = document.plans.get(key)
        if plan is None:
            compile = partial(document.compile, operation, key)
            plan = await context.in_thread(compile) if document.is_long else compile()
            if plan is not None:
                document.plans.put(key, plan)
        return plan

    async def _run_graphql_core(self, prepared: _Prepared, request: Request, context: Context) -> Answer:
        document, operation, _, cost = prepared
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
    errors = list(refused.errors)
    if isinstance(refused, Broken):
        return Answer({"data": None, "errors": errors}, executed=True)
    return Answer({"errors": errors}, executed=False)


def _weight_of_text(key: str, text: str) -> int:
    return getsizeof(key) + getsizeof(text) + 200
