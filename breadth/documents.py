"""Documents: parsed, measured and validated once, and cached with their operations and plans."""

import asyncio
import re
from collections.abc import Collection, Mapping
from functools import cached_property
from sys import getsizeof
from typing import Any

from graphql import (
    ASTValidationRule,
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    Node,
    OperationDefinitionNode,
    OperationType,
    separate_operations,
    validate,
)
from graphql.validation.validate import ValidationAbortedError

from breadth.arguments import Signature, Variables
from breadth.cache import WeighedCache
from breadth.context import Context
from breadth.cost import Cost
from breadth.errors import Formatted, Refused, coded, formatted, validation_code
from breadth.limits import Limits, TooComplex, parse_within
from breadth.measures import Measurer
from breadth.plan import Compiler, Known, Selection, coverage_of, flag_names
from breadth.rules import NO_INTROSPECTION, RULES

PlanKey = tuple[str | bool | None, ...]
"""The name of an operation, and the values of the variables that its plan depends on."""

LARGEST_CACHED = 64 * 1024
"""Longest document, in characters, whose plan is cached."""

TOKEN_BYTES, FIELD_BYTES, ENTRY_BYTES = 310, 1_700, 12_000
"""Approximate bytes in memory of a token of a document and of a field of a plan, and the fixed overhead of each
document and plan: the largest values measured with documents of many kinds."""

LARGEST_AT_ONCE = 1024
"""Longest document, in characters, that is parsed in the event loop: that takes a few milliseconds."""

_PASSED_OVER = r"(?:[\s,\ufeff]|#[^\n\r]*)*"
# Also matches an argument whose value is a name, but not the type of a variable.
_alias = re.compile(rf"(?<![\w$])[_A-Za-z]\w*{_PASSED_OVER}:{_PASSED_OVER}[_A-Za-z]")


class Operation:
    """One operation of a document, prepared to be run with any variables."""

    def __init__(self, schema: GraphQLSchema, definition: OperationDefinitionNode, cost: Cost) -> None:
        self._schema = schema
        self.definition = definition
        self.name = name_of(definition)
        self.is_mutation = definition.operation is OperationType.MUTATION
        self.is_subscription = definition.operation is OperationType.SUBSCRIPTION
        self.cost = cost
        self.passed: set[type[ASTValidationRule]] = set()
        """Further rules that it obeys."""

    @cached_property
    def signature(self) -> Signature:
        """The variables that it declares."""
        return Signature(self._schema, self.definition)


class Document:
    """A valid document with its operations. Its plans take no more than `plan_bytes`."""

    def __init__(
        self,
        schema: GraphQLSchema,
        text: str,
        node: DocumentNode,
        costs: Mapping[str | None, Cost],
        *,
        plan_bytes: int,
        known: Known,
        written: Collection[str],
    ) -> None:
        self.text = text
        self.node = node
        self._schema = schema
        self._known = known
        self._written = written
        self.is_long = len(text) > LARGEST_AT_ONCE
        """True when its plans are compiled in a thread, since compiling would block the event loop."""
        self.has_aliases = _alias.search(text) is not None
        self.coverage = coverage_of(schema, node)
        self._flags = sorted(flag_names(node))
        self.plans: WeighedCache[PlanKey, Selection] = WeighedCache(64, most=plan_bytes, weigh=_weight_of_plan)
        self._own_weight = ENTRY_BYTES + TOKEN_BYTES * _forget_tokens(node)
        self._operations: dict[str | None, Operation] = {}
        for definition in node.definitions:
            if isinstance(definition, OperationDefinitionNode):
                name = name_of(definition)
                self._operations[name] = Operation(schema, definition, costs[name])
        self._only = next(iter(self._operations.values())) if len(self._operations) == 1 else None

    @property
    def weight(self) -> int:
        """Approximate bytes that it takes in memory, with its plans."""
        return self._own_weight + self.plans.weight

    def operation(self, name: str | None) -> Operation:
        """The operation to run; raises `Refused` if the name selects none."""
        operation = self._only if name is None else self._operations.get(name)
        if operation is not None:
            return operation
        if name is not None:
            message = f"The document holds no operation named {name!r}."
        elif not self._operations:
            message = "The document holds no operation."
        else:
            message = "The document holds several operations; say which one to run with `operationName`."
        raise Refused(coded("OPERATION_RESOLUTION_FAILURE", message))

    def check(self, operation: Operation, rule: type[ASTValidationRule]) -> list[dict[str, Any]]:
        """Checks an operation and its fragments with a further rule; returns the errors."""
        alone = separate_operations(self.node)[operation.name or ""]
        errors = [formatted(error, validation_code(error)) for error in validate(self._schema, alone, [rule])]
        if not errors:
            operation.passed.add(rule)
        return errors

    def key(self, operation: Operation, variables: Variables) -> PlanKey:
        """The key of an operation's plan: its name, and the values of the variables that @skip and @include use."""
        return operation.name, *map(variables.flag, self._flags)

    def compile(self, operation: Operation, key: PlanKey) -> Selection | None:
        """Compiles an operation's plan; returns None when graphql-core has to run the operation."""
        flags = dict(zip(self._flags, key[1:], strict=True))
        definition = operation.definition
        # A flag that this operation does not declare belongs to another one.
        declared = {each.variable.name.value for each in definition.variable_definitions or ()}
        if any(value is None and name in declared for name, value in flags.items()):
            return None
        given = {name: bool(value) for name, value in flags.items()}
        compiler = Compiler(self._schema, self.node, given, self._known, self._written)
        root: Any = self._schema.get_root_type(definition.operation)
        return Selection(compiler, root, [definition.selection_set])


class Documents:
    """The documents of one schema, parsed within limits; a bounded number is cached, in at most `plan_bytes`.

    Without `introspection` introspection queries are refused, and errors suggest no names of the schema.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        limits: Limits,
        *,
        size: int,
        plan_bytes: int,
        introspection: bool,
        written: Collection[str],
    ) -> None:
        self._schema = schema
        self._written = written
        self._limits = limits
        self._measurer = Measurer(schema, limits)
        self._introspection = introspection
        self._rules = RULES if introspection else (*RULES, NO_INTROSPECTION)
        # Most of the memory is for documents that are run.
        part = plan_bytes // 8
        self._plan_bytes = 2 * part
        self._known = Known(set)
        self._kept: WeighedCache[str, Document] = WeighedCache(size, most=plan_bytes - part, weigh=_weight_of_document)
        self._refused: WeighedCache[tuple[str, bool], Refused] = WeighedCache(size, most=part, weigh=_weight_of_refused)
        """The errors of refused documents; their messages differ with and without suggestions."""
        self._reading: dict[tuple[str, bool], asyncio.Future[Document | Refused | None]] = {}
        """Documents that are being parsed, so that concurrent requests for the same one share the work."""

    def kept(self, text: str) -> Document | None:
        """The cached valid document of a text, if there is one."""
        return self._kept.get(text)

    def update(self, document: Document) -> None:
        """Weighs a document again after plans were added."""
        self._kept.update(document.text)

    async def read(self, text: str, context: Context, *, suggestions: bool) -> Document:
        """Parses a text that is not cached, a long one in a thread; raises `Refused` if it is not valid."""
        key = text, suggestions
        found = self._refused.get(key)
        if found is None and len(text) <= LARGEST_AT_ONCE:
            found = self._keep(key, self._read(text, suggestions))
        while found is None and (reading := self._reading.get(key)) is not None:
            # The result is None if the request that parses it was cancelled.
            found = await asyncio.shield(reading)
        if found is None:
            found = await self._read_aside(key, context)
        if isinstance(found, Refused):
            raise Refused(*found.errors)
        return found

    async def _read_aside(self, key: tuple[str, bool], context: Context) -> Document | Refused:
        self._reading[key] = reading = asyncio.get_running_loop().create_future()
        found = None
        try:
            found = self._keep(key, await context.in_thread(self._read, *key))
            return found
        finally:
            del self._reading[key]
            reading.set_result(found)

    def _keep(self, key: tuple[str, bool], found: Document | Refused) -> Document | Refused:
        if len(key[0]) <= LARGEST_CACHED:
            if isinstance(found, Refused):
                self._refused.put(key, found)
            else:
                self._kept.put(key[0], found)
        return found

    def _read(self, text: str, suggestions: bool) -> Document | Refused:
        try:
            node = parse_within(self._limits, text)
            costs = self._measurer.costs(node)
            if errors := self._faults(node, suggestions=suggestions and self._introspection):
                return Refused(*errors)
            return Document(
                self._schema,
                text,
                node,
                costs,
                plan_bytes=self._plan_bytes,
                known=self._known,
                written=self._written,
            )
        except TooComplex as error:
            return Refused(coded("QUERY_TOO_COMPLEX", str(error)))
        except GraphQLError as error:
            return Refused(formatted(error, "GRAPHQL_PARSE_FAILED"))
        except RecursionError:
            return Refused(coded("GRAPHQL_PARSE_FAILED", "The document is nested too deeply to be read."))

    def _faults(self, node: DocumentNode, *, suggestions: bool) -> list[Formatted]:
        """The validation errors of a parsed document, up to the number that an answer may list."""
        most = self._limits.errors
        # One error more means that there were too many; an abort before that, that the check itself took too long.
        errors = validate(self._schema, node, self._rules, max_errors=most, hide_suggestions=not suggestions)[:most]
        if any(isinstance(error, ValidationAbortedError) for error in errors):
            message = "The document repeats its fields, or nests its fragments, too much to be checked."
            return [coded("QUERY_TOO_COMPLEX", message)]
        return [formatted(error, validation_code(error)) for error in errors]


def name_of(operation: OperationDefinitionNode) -> str | None:
    return operation.name.value if operation.name else None


def _weight_of_plan(_key: Any, plan: Selection) -> int:
    return ENTRY_BYTES + FIELD_BYTES * plan.compiler.fields


def _weight_of_document(text: str, document: Document) -> int:
    return getsizeof(text) + document.weight


def _weight_of_refused(key: tuple[str, bool], refused: Refused) -> int:
    return getsizeof(key[0]) + ENTRY_BYTES + sum(len(error["message"]) + 500 for error in refused.errors)


def _forget_tokens(document: DocumentNode) -> int:
    """Frees the tokens of a validated document, which take half of its memory; returns their number.

    The positions of its nodes in the text are kept, for errors.
    """
    count = 0
    token: Any = document.loc and document.loc.start_token
    while token is not None:
        count, following = count + 1, token.next
        # Reference cycles would only be freed by a full garbage collection.
        token.prev = token.next = None
        token = following
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
