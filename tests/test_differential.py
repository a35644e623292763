"""Breadth-first execution answers as graphql-core does: generated documents are run on both.

`DIFFERENTIAL_EXAMPLES=100000 pytest tests/test_differential.py` looks longer. Two schemas are asked: one with all that
the language has (`differential_schema`), and the real one over a real database.
"""

import asyncio
import json
import os
import re
import shutil
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import differential_schema as synthetic
import orjson
import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    SchemaMetaFieldDef,
    TypeMetaFieldDef,
    get_named_type,
    is_composite_type,
    is_leaf_type,
    parse,
    print_ast,
)
from graphql.utilities import do_types_overlap
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from breadth import Executor, Request
from breadth.running import Run
from models.database import Database
from models.migrate import migrate
from recallql.requests import write_json
from resolvers.context import Context
from resolvers.errors import BadInput
from resolvers.times import Clock
from schema.root import schema as real_schema

# graphql-core leaves coroutines behind where an error has made their answers needless.
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

EXAMPLES = int(os.environ.get("DIFFERENTIAL_EXAMPLES", "300"))
PATIENCE = 30.0
DEPTH = 6
FIELDS = 40

# --- Documents ---


class Name(str):
    """An enum's value, which stands in a document without quotes."""


class Reference(str):
    """A variable, where it is used."""


@dataclass(frozen=True)
class Case:
    """A request, and what may stand below the root of its answer."""

    query: str
    variables: dict[str, Any]
    operation_name: str | None

    def __repr__(self) -> str:
        try:
            shown = print_ast(parse(self.query))
        except GraphQLError:
            shown = self.query
        return (
            f"document:\n{shown}\nas sent: {self.query!r}\n"
            f"variables: {self.variables!r}\noperationName: {self.operation_name!r}"
        )


@dataclass
class Level:
    """What the response keys of one place in the answer mean, so that no two fields claim a key."""

    keys: dict[str, "Meaning"] = field(default_factory=dict[str, "Meaning"])


@dataclass
class Meaning:
    """A response key: the field and arguments it stands for under each parent type, and the shape of its values."""

    shape: str
    fields: dict[str, "Call"]
    level: Level


@dataclass(frozen=True)
class Call:
    field: str
    arguments: str
    variables: frozenset[str]


@dataclass
class Uses:
    """What a part of the document makes use of."""

    variables: set[str] = field(default_factory=set[str])
    fragments: set[str] = field(default_factory=set[str])


@dataclass
class Variable:
    name: str
    type: Any
    hint: Sequence[Any] | None
    default: str | None


@dataclass
class Fragment:
    name: str
    type: Any
    text: str
    level: Level
    uses: Uses


@cache
def up_to(size: int) -> st.SearchStrategy[int]:
    return st.integers(0, size - 1)


class Dice:
    def __init__(self, draw: Callable[[st.SearchStrategy[int]], int]) -> None:
        self._draw = draw

    def below(self, size: int) -> int:
        return self._draw(up_to(size)) if size > 1 else 0

    def chance(self, percent: int) -> bool:
        return self.below(100) >= 100 - percent

    def pick(self, options: Sequence[Any]) -> Any:
        return options[self.below(len(options))]


SCALARS: dict[str, list[Any]] = {
    "Int": [1, 0, 2, 3, 5, -1, 10],
    "Float": [0.5, 0, 1, -2.5],
    "String": ["a", "", "ada", 'é"\\\n😀', "x" * 40],
    "Boolean": [True, False],
    "ID": ["1", "no id", 7],
    "DateTime": ["2025-06-01T00:00:00Z", "2025-01-31T12:00:00.5+01:00", "2030-01-01T00:00:00Z"],
    "JSON": [{}, {"plan": "pro"}, {"a": {"b": [1, None]}}],
    "Stamp": ["2025-01-01", "now"],
    "Blob": [{"a": [1, {"b": None}]}, 1, "text", [1, 2], True],
}
"""Values that are fit; ids, keys and cursors come from the hints of a schema."""

UNFIT: list[Any] = ["text", 5, 1.5, None, [], [None], {}, {"nope": 1}, True, 2**31, "bad", 2**70]
CURSORS = ("after", "before", "last")
HEAVY = ("ordinary", "ordinaryAdd")
"""Fields that have a document run by graphql-core whole: now and then only."""


class Author:
    """Writes a random document for a schema. `hints` gives fit values by "Type.field", "argument" or "input field"."""

    def __init__(self, schema: GraphQLSchema, dice: Dice, hints: Mapping[str, Sequence[Any]]) -> None:
        self.schema = schema
        self.dice = dice
        self.hints = hints
        self.variables: list[Variable] = []
        self.fragments: list[Fragment] = []
        self.fields = FIELDS
        self.heavy = dice.chance(4)

    def case(self, kind: str) -> Case:
        dice = self.dice
        count = 1 if dice.chance(85) else 2 + dice.below(2)
        operations: list[tuple[str, Uses]] = []
        names: list[str | None] = []
        for number in range(count):
            this = kind if number == 0 or dice.chance(50) else dice.pick(["query", "mutation"])
            uses = Uses()
            root = self.schema.query_type if this == "query" else self.schema.mutation_type
            selection = self.selection(root, DEPTH, Level(), uses)
            name = None if count == 1 and dice.chance(50) else f"Operation{number}"
            operations.append((f"{this} {name or ''}{self.declarations(uses)} {selection}", uses))
            names.append(name)
        reached: set[str] = set()
        for _, uses in operations:
            reached |= uses.fragments
        parts = [text for text, _ in operations] + [part.text for part in self.fragments if part.name in reached]
        chosen = dice.below(count)
        query = self.spoiled(" ".join(parts)) if dice.chance(3) else " ".join(parts)
        name = names[chosen]
        if dice.chance(2):
            name = dice.pick([None, "Nobody"])
        elif count == 1 and dice.chance(50):
            name = None
        return Case(query, self.values_of(operations[chosen][1]), name)

    def spoiled(self, query: str) -> str:
        tokens = query.split(" ")
        place = self.dice.below(len(tokens))
        instead = self.dice.pick(["", "nope", "}", "{", "$", "...Nope", "__typename(a: 1)", "@skip", "é"])
        return " ".join([*tokens[:place], instead, *tokens[place + self.dice.below(2) :]])

    # Variables

    def declarations(self, uses: Uses) -> str:
        declared = [one for one in self.variables if one.name in uses.variables]
        texts = [f"${one.name}: {one.type}" + (f" = {one.default}" if one.default else "") for one in declared]
        return f"({', '.join(texts)})" if texts else ""

    def values_of(self, uses: Uses) -> dict[str, Any]:
        dice = self.dice
        values: dict[str, Any] = {"unknown": 1} if dice.chance(3) else {}
        for variable in self.variables:
            if variable.name not in uses.variables:
                continue
            optional = variable.default is not None or not isinstance(variable.type, GraphQLNonNull)
            if dice.chance(25 if optional else 1):
                continue
            unfit = dice.chance(2)
            values[variable.name] = dice.pick(UNFIT) if unfit else self.value(variable.type, variable.hint, None)
        return values

    def variable(self, kind: Any, hint: Any, uses: Uses, *, defaulted: bool = False) -> Reference:
        dice = self.dice
        fit = [one for one in self.variables if self.may_stand(one, kind, defaulted)]
        if fit and dice.chance(40):
            variable = dice.pick(fit)
        else:
            own, default = kind, None
            if not isinstance(kind, GraphQLNonNull):
                own = GraphQLNonNull(kind) if dice.chance(20) else kind
            elif dice.chance(25):
                own = kind.of_type
                if not defaulted or dice.chance(50):
                    default = literal(self.given(own, hint, None))
            if default is None and dice.chance(25):
                default = literal(self.value(own, hint, None))
            variable = Variable(f"v{len(self.variables)}", own, hint, default)
            self.variables.append(variable)
        uses.variables.add(variable.name)
        return Reference(variable.name)

    def may_stand(self, variable: Variable, kind: Any, defaulted: bool) -> bool:
        own = variable.type
        if isinstance(kind, GraphQLNonNull) and not isinstance(own, GraphQLNonNull):
            if not defaulted and variable.default in (None, "null"):
                return False
            kind = kind.of_type
        return fits_type(own, kind)

    # Values

    def value(self, kind: Any, hint: Sequence[Any] | None, uses: Uses | None, *, defaulted: bool = False) -> Any:
        """A fit value; with `uses`, variables may stand in it."""
        if uses is not None and self.dice.chance(18):
            return self.variable(kind, hint, uses, defaulted=defaulted)
        if isinstance(kind, GraphQLNonNull):
            return self.given(kind.of_type, hint, uses)
        return None if self.dice.chance(10) else self.given(kind, hint, uses)

    def given(self, kind: Any, hint: Sequence[Any] | None, uses: Uses | None) -> Any:
        dice = self.dice
        if isinstance(kind, GraphQLNonNull):
            return self.given(kind.of_type, hint, uses)
        if isinstance(kind, GraphQLList):
            if dice.chance(10):  # A single value is a list of one.
                return self.given(kind.of_type, hint, None)
            return [self.value(kind.of_type, hint, uses) for _ in range(dice.below(4))]
        if isinstance(kind, GraphQLEnumType):
            name = kind.name
            names = [Name(one) for one in kind.values]
            # Faults are rare, or most of what a document asks for would be null.
            return Name("NONE") if name == "Fault" and dice.chance(55) else dice.pick(names)
        if isinstance(kind, GraphQLInputObjectType):
            return self.input_object(kind, uses)
        return dice.pick(hint or SCALARS[kind.name])

    def input_object(self, kind: GraphQLInputObjectType, uses: Uses | None) -> dict[str, Any]:
        given: dict[str, Any] = {}
        for name, part in kind.fields.items():
            required = isinstance(part.type, GraphQLNonNull)
            defaulted = part.default_value is not None and repr(part.default_value) != "Undefined"
            if (required and not defaulted) or self.dice.chance(25):
                hint = self.hints.get(f"{kind.name}.{name}") or self.hints.get(name)
                given[name] = self.value(part.type, hint, uses, defaulted=defaulted)
        return given

    def arguments(self, parent: str, name: str, definition: Any) -> Call:
        uses = Uses()
        texts: list[str] = []
        for argument, part in definition.args.items():
            required = isinstance(part.type, GraphQLNonNull)
            defaulted = part.default_value is not None and repr(part.default_value) != "Undefined"
            # A cursor is good for one list only: more of them, and most lists would be refused.
            if (required and not defaulted) or self.dice.chance(5 if argument in CURSORS else 25):
                hint = self.hints.get(f"{parent}.{name}.{argument}") or self.hints.get(argument)
                value = self.value(part.type, hint, uses, defaulted=defaulted)
                texts.append(f"{argument}: {literal(value)}")
        return Call(name, f"({', '.join(texts)})" if texts else "", frozenset(uses.variables))

    def directives(self, uses: Uses) -> str:
        if not self.dice.chance(10):
            return ""
        names = self.dice.pick([["include"], ["skip"], ["skip", "include"], ["include", "skip"]])
        boolean = GraphQLNonNull(self.schema.type_map["Boolean"])
        texts: list[str] = []
        for name in names:
            # Rather not skipped.
            hint = [True, True, False] if name == "include" else [False, False, True]
            fixed = self.dice.chance(50)
            value = self.dice.pick(hint) if fixed else self.variable(boolean, hint, uses)
            texts.append(f" @{name}(if: {literal(value)})")
        return "".join(texts)

    # Selections

    def selection(self, parent: Any, depth: int, level: Level, uses: Uses) -> str:
        dice = self.dice
        texts: list[str] = []
        for _ in range(1 + dice.below(5 if depth > 2 else 3)):
            way = dice.below(20)
            text = None
            if way >= 18:
                text = self.spread(parent, depth, level, uses)
            elif way >= 15:
                text = self.inline_fragment(parent, depth, level, uses)
            elif way >= 13:
                text = self.again(parent, depth, level, uses)
            elif way == 12:
                text = self.typename(parent, level, uses)
            if text is None and getattr(parent, "fields", None):
                text = self.field(parent, depth, level, uses)
            if text is None:
                text = self.inline_fragment(parent, depth, level, uses) if depth > 1 else None
            if text is not None:
                texts.append(text)
        if not texts:
            texts.append(self.typename(parent, level, uses, alias="typename") or "... on Nope { nope }")
        return f"{{ {' '.join(texts)} }}"

    def field(self, parent: Any, depth: int, level: Level, uses: Uses) -> str | None:
        self.fields -= 1
        fields = parent.fields
        leaves = [name for name, one in fields.items() if is_leaf_type(get_named_type(one.type))]
        objects = [name for name in fields if name not in leaves]
        if self.heavy is False:
            leaves = [name for name in leaves if name not in HEAVY]
            objects = [name for name in objects if name not in HEAVY]
        if objects and depth > 1 and self.fields > 0 and (not leaves or self.dice.chance(45 if depth < DEPTH else 90)):
            name = self.dice.pick(objects)
        elif leaves:
            name = self.dice.pick(leaves)
        else:
            return None
        definition = fields[name]
        if self.heavy and parent is self.schema.query_type and self.dice.chance(20):
            name, definition = self.dice.pick([("__schema", SchemaMetaFieldDef), ("__type", TypeMetaFieldDef)])
        call = self.arguments(parent.name, name, definition)
        return self.written(parent, call, definition, self.key(name, level), depth, level, uses)

    def key(self, name: str, level: Level) -> str:
        if self.dice.chance(70):
            return name
        return self.dice.pick([f"a{len(level.keys)}", "same", name.upper(), "other"])

    def again(self, parent: Any, depth: int, level: Level, uses: Uses) -> str | None:
        """A field that is there already, under the same key."""
        fields = getattr(parent, "fields", {})
        known = [
            (key, call)
            for key, meaning in level.keys.items()
            for call in meaning.fields.values()
            if call.field in fields
        ]
        if not known:
            return None
        key, call = self.dice.pick(known)
        return self.written(parent, call, fields[call.field], key, depth, level, uses)

    def written(
        self, parent: Any, call: Call, definition: Any, key: str, depth: int, level: Level, uses: Uses
    ) -> str | None:
        meaning = Meaning(shape_of(definition.type), {parent.name: call}, Level())
        addition = Level({key: meaning})
        if not self.compatible(level, addition):
            key = f"k{len(level.keys)}"
            if key in level.keys:
                return None
            addition = Level({key: meaning})
        kind = get_named_type(definition.type)
        composite = is_composite_type(kind)
        if composite and depth <= 1:
            return None
        merge(level, addition)
        uses.variables |= call.variables
        text = call.field if key == call.field else f"{key}: {call.field}"
        text += call.arguments + self.directives(uses)
        if composite:
            text += " " + self.selection(kind, depth - 1, level.keys[key].level, uses)
        return text

    def typename(self, parent: Any, level: Level, uses: Uses, alias: str = "__typename") -> str | None:
        key = alias if self.dice.chance(80) else "same"
        addition = Level({key: Meaning("String!", {parent.name: Call("__typename", "", frozenset())}, Level())})
        if not self.compatible(level, addition):
            return None
        merge(level, addition)
        return ("__typename" if key == "__typename" else f"{key}: __typename") + self.directives(uses)

    def conditions(self, parent: Any) -> list[Any]:
        """The types that can be a condition under a parent type."""
        return conditions(self.schema, parent.name)

    def inline_fragment(self, parent: Any, depth: int, level: Level, uses: Uses) -> str | None:
        if self.fields <= 0:
            return None
        if getattr(parent, "fields", None) and self.dice.chance(15):
            return f"...{self.directives(uses)} {self.selection(parent, depth, level, uses)}"
        kind = self.dice.pick(self.conditions(parent))
        directives = self.directives(uses)
        self.fields -= 1
        return f"... on {kind.name}{directives} {self.selection(kind, max(depth - 1, 1), level, uses)}"

    def spread(self, parent: Any, depth: int, level: Level, uses: Uses) -> str | None:
        possible = self.conditions(parent)
        fit = [one for one in self.fragments if one.type in possible and self.compatible(level, one.level)]
        if fit and self.dice.chance(60):
            fragment = self.dice.pick(fit)
        elif depth > 1 and self.fields > 0:
            kind, own, used = self.dice.pick(possible), Level(), Uses()
            selection = self.selection(kind, min(depth - 1, 3), own, used)
            name = f"F{len(self.fragments)}"
            fragment = Fragment(name, kind, f"fragment {name} on {kind.name} {selection}", own, used)
            self.fragments.append(fragment)
            if not self.compatible(level, own):
                return None
        else:
            return None
        merge(level, fragment.level)
        uses.variables |= fragment.uses.variables
        uses.fragments |= {fragment.name, *fragment.uses.fragments}
        return f"...{fragment.name}{self.directives(uses)}"

    def compatible(self, level: Level, addition: Level) -> bool:
        for key, new in addition.keys.items():
            old = level.keys.get(key)
            if old is None:
                continue
            if old.shape != new.shape or not self.compatible(old.level, new.level):
                return False
            for name, call in old.fields.items():
                for other, other_call in new.fields.items():
                    apart = name != other and all(
                        isinstance(self.schema.type_map[one], GraphQLObjectType) for one in (name, other)
                    )
                    if not apart and (call.field, call.arguments) != (other_call.field, other_call.arguments):
                        return False
        return True


def merge(level: Level, addition: Level) -> None:
    for key, new in addition.keys.items():
        old = level.keys.setdefault(key, Meaning(new.shape, {}, Level()))
        old.fields |= new.fields
        merge(old.level, new.level)


def shape_of(kind: Any) -> str:
    """A type by what it must have in common with another under the same key: its lists and leaves."""
    named = get_named_type(kind)
    return str(kind).replace(named.name, "*") if is_composite_type(named) else str(kind)


def fits_type(own: Any, wanted: Any) -> bool:
    if isinstance(wanted, GraphQLNonNull):
        return isinstance(own, GraphQLNonNull) and fits_type(own.of_type, wanted.of_type)
    if isinstance(own, GraphQLNonNull):
        return fits_type(own.of_type, wanted)
    if isinstance(wanted, GraphQLList):
        return isinstance(own, GraphQLList) and fits_type(own.of_type, wanted.of_type)
    return own is wanted


@cache
def conditions(schema: GraphQLSchema, name: str) -> list[Any]:
    parent: Any = schema.type_map[name]
    return [
        kind
        for kind in schema.type_map.values()
        if is_composite_type(kind) and (kind is parent or do_types_overlap(schema, kind, parent))  # pyright: ignore
    ]


def literal(value: Any) -> str:
    if isinstance(value, Reference):
        return f"${value}"
    if isinstance(value, Name):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {literal(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(literal(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def cases(schema: GraphQLSchema, kind: str, hints: Mapping[str, Sequence[Any]]) -> st.SearchStrategy[Case]:
    @st.composite
    def drawn(draw: Any) -> Case:
        return Author(schema, Dice(draw), hints).case(kind)

    return drawn()


# --- Answers ---


class Watched(dict[Any, Any]):
    """An operation's batches under graphql-core; breadth-first execution has no use for them."""

    used = False

    def __setitem__(self, key: Any, value: Any) -> None:
        self.used = True
        super().__setitem__(key, value)


@dataclass(frozen=True)
class Outcome:
    """An answer as its client reads it, and what else is there to compare."""

    executed: bool
    body: dict[str, Any]
    effects: Any
    by_graphql_core: bool


async def outcome(executor: Executor, case: Case, context: Any, effects: Callable[[Any], Any]) -> Outcome:
    context.batches = Watched()
    request = Request(case.query, case.variables, case.operation_name)
    answer = await asyncio.wait_for(executor.execute(request, context), PATIENCE)
    return Outcome(answer.executed, orjson.loads(write_json(answer.body)), effects(context), context.batches.used)


MISFIT = re.compile(
    r"Expected Iterable, but did not find one|did not give a list|Abstract type '\w+' (was|must)|Runtime Object type '"
    r"|Expected value of type '\w+' but got|is of none of its types"
)
"""What a resolver gave is not of its field's type: graphql-core calls that a fault of the client, and it is none."""


def described(error: dict[str, Any]) -> tuple[Any, ...]:
    # How many of a level's parents come in one batch is nothing that a client may rely on.
    message = re.sub(r"gave \d+ results for \d+ parents", "gave so many results for so many parents", error["message"])
    code = error.get("extensions", {}).get("code")
    if MISFIT.search(message):
        code = message = "MISFIT"
    locations = tuple(sorted((place["line"], place["column"]) for place in error.get("locations", ())))
    return (tuple(error.get("path", ())), code, message, locations)


def nulls(body: dict[str, Any]) -> tuple[set[tuple[Any, ...]], set[tuple[Any, ...]]]:
    """The errors that stand where they came from, and the places that became null because of errors below.

    Which of several errors below a null is told is not laid down.
    """
    exact: set[tuple[Any, ...]] = set()
    from_below: set[tuple[Any, ...]] = set()
    for error in body.get("errors", ()):
        path, place = error.get("path", ()), body.get("data")
        for depth, key in enumerate(path):
            if place is None:
                from_below.add(tuple(path[:depth]))
                break
            try:
                place = place[key]
            except (KeyError, IndexError, TypeError):
                raise AssertionError(f"the error's path leads nowhere in the data: {error}") from None
        else:
            assert place is None or not path, f"an error where a value is: {error}, {place}"
            exact.add(described(error))
    return exact, from_below


def compare(case: Case, wanted: Outcome, got: Outcome) -> None:
    """Fails, telling everything, when two answers are not the same."""
    differences: list[str] = []
    if wanted.executed != got.executed:
        differences.append("whether it was executed")
    if wanted.body.keys() != got.body.keys():
        differences.append("the answer's keys")
    if orjson.dumps(wanted.body.get("data")) != orjson.dumps(got.body.get("data")):
        differences.append("data")
    elif not wanted.executed:
        if wanted.body.get("errors") != got.body.get("errors"):
            differences.append("the errors of a request that was refused")
    else:
        try:
            if nulls(wanted.body) != nulls(got.body):
                differences.append("errors")
        except AssertionError as problem:
            differences.append(str(problem))
    if wanted.effects != got.effects:
        differences.append(f"effects: {wanted.effects!r} by graphql-core, {got.effects!r} breadth-first")
    if differences:
        shown = [orjson.dumps(one.body, option=orjson.OPT_INDENT_2).decode() for one in (wanted, got)]
        pytest.fail(
            f"different: {'; '.join(differences)}\n{case!r}\nby graphql-core: {shown[0]}\nbreadth-first: {shown[1]}",
            pytrace=False,
        )


def compare_generated(strategy: st.SearchStrategy[Case], check: Callable[[Case], tuple[Outcome, Outcome]]) -> None:
    """Compares the answers to as many documents as asked for, and sees to it that they are worth comparing."""
    tally: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def compare_one(case: Case) -> None:
        wanted, got = check(case)
        tally["all"] += 1
        tally["refused"] += not wanted.executed
        invalid = any("path" not in error and "data" not in wanted.body for error in wanted.body.get("errors", ()))
        tally["invalid"] += invalid and not any("Variable" in error["message"] for error in wanted.body["errors"])
        tally["by graphql-core"] += got.by_graphql_core
        compare(case, wanted, got)

    compare_one()
    assert tally["invalid"] < tally["all"] * 0.2, tally
    assert tally["refused"] < tally["all"] * 0.4, tally
    assert tally["by graphql-core"] < tally["all"] * 0.2, tally


# --- The schema with everything ---


def describe(error: Exception) -> tuple[str, str]:
    code = error.code if isinstance(error, BadInput) else type(error).__name__.upper()
    return code, str(error)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as running:
        # What graphql-core leaves behind under a null is nobody's error.
        running.get_loop().set_exception_handler(lambda *_: None)
        yield running


@pytest.fixture(scope="module")
def ask(runner: asyncio.Runner) -> Callable[[Case], tuple[Outcome, Outcome]]:
    """Both answers to a request on the schema with everything."""
    core, breadth = [Executor(synthetic.schema._schema, describe, reference=reference) for reference in (True, False)]

    def effects(context: synthetic.Context) -> Any:
        return context.number, context.log

    def both(case: Case) -> tuple[Outcome, Outcome]:
        return (
            runner.run(outcome(core, case, synthetic.Context(), effects)),
            runner.run(outcome(breadth, case, synthetic.Context(), effects)),
        )

    return both


@pytest.fixture
def same(ask: Callable[[Case], tuple[Outcome, Outcome]]) -> Callable[..., dict[str, Any]]:
    """The answer to a document on the schema with everything, once both have given it."""

    def check(query: str, *, name: str | None = None, **variables: Any) -> dict[str, Any]:
        case = Case(query, variables, name)
        wanted, got = ask(case)
        compare(case, wanted, got)
        return got.body

    return check


SYNTHETIC_HINTS: dict[str, Sequence[Any]] = {"size": [2, 1, 3, 0], "pause": [0, 1, 2, 3], "which": list(range(40))}


def test_generated_queries_are_answered_as_graphql_core_does(ask: Any) -> None:
    compare_generated(cases(synthetic.schema._schema, "query", SYNTHETIC_HINTS), ask)


def test_generated_mutations_are_carried_out_once_and_in_order(ask: Any) -> None:
    compare_generated(cases(synthetic.schema._schema, "mutation", SYNTHETIC_HINTS), ask)


@pytest.mark.parametrize("fault", [one.name for one in synthetic.Fault])
def test_every_shape_with_every_fault_becomes_the_same_nulls(same: Any, fault: str) -> None:
    for number, (name, definition) in enumerate(synthetic.schema._schema.type_map["Lab"].fields.items()):
        if "fault" not in definition.args:
            continue
        selection = "" if is_leaf_type(get_named_type(definition.type)) else "{ __typename }"
        answer = same(
            f"{{ being {{ friends(first: 3) {{ id lab {{ {name}(fault: {fault}, pause: {number % 2}) {selection} "
            f"number }} }} name }} other: lab {{ {name}(fault: {fault}) {selection} }} }}"
        )
        assert "data" in answer


def test_every_leaf_type_writes_or_refuses_every_value_alike(same: Any) -> None:
    fields = synthetic.schema._schema.type_map["Lab"].fields
    odd = [name for name in fields if name.startswith("odd")]
    nullable = [name for name in odd if not name.endswith("Set")]
    for which in range(len(synthetic.ODD)):
        selected = " ".join(f"{name}(which: {which})" for name in nullable)
        same(f"{{ lab {{ {selected} }} being {{ friends {{ lab {{ {selected} }} }} }} }}")
        for name in odd:
            if name.endswith("Set"):
                same(f"{{ lab {{ {name}(which: {which}) }} being {{ lab {{ {name}(which: {which}) }} }} }}")
    for name in (name for name in fields if name.startswith("computed")):
        same(f"{{ lab {{ {'lab { ' * 12} {name} {f'{name} }}' * 12} number }} }}")


def test_plain_fields_that_are_missing_null_or_broken_fail_alike(same: Any) -> None:
    for number in range(1, 13):
        same(
            f"{{ lab {{ {'lab { ' * number} beingOne {{ id name colour trouble sometimes place {{ x y row broken }} "
            f"places {{ x row inner {{ y inner {{ x broken }} }} }} twin {{ title size: number }} "
            f"pets {{ title trouble ... on Cat {{ size }} }} }} {'} ' * number} }} }}"
        )


def test_twenty_fragments_that_each_spread_the_next_twice_are_answered_fast(same: Any) -> None:
    fragments = " ".join(f"fragment F{i} on Being {{ ...F{i + 1} ...F{i + 1} name }}" for i in range(20))
    started = time.perf_counter()
    answer = same(f"{{ being {{ ...F0 ...F0 }} }} {fragments} fragment F20 on Being {{ id friends {{ id }} }}")
    assert list(answer["data"]["being"]) == ["id", "friends", "name"]
    assert time.perf_counter() - started < 2


def test_fragments_that_double_over_fields_are_answered_fast(same: Any) -> None:
    fragments = " ".join(
        f"fragment F{i} on Being {{ twin {{ ...F{i + 1} }} twin {{ ...F{i + 1} id }} }}" for i in range(20)
    )
    started = time.perf_counter()
    same(f"{{ being {{ ...F0 }} }} {fragments} fragment F20 on Being {{ id }}")
    assert time.perf_counter() - started < 5


def test_deep_nesting_is_answered(same: Any) -> None:
    for depth in (10, 60):
        same(f"{{ lab {'{ lab ' * depth} {{ number odd: oddIntSet }} {'}' * depth} }}")
        same(f"{{ being {'{ dear ' * depth} {{ number dear(fault: ERROR) {{ id }} }} {'}' * depth} }}")


def test_a_document_of_more_levels_than_the_stack_holds_is_refused_or_answered_alike(same: Any) -> None:
    depth = sys.getrecursionlimit()
    same(f"{{ lab {'{ lab ' * depth} {{ number }} {'}' * depth} }}")


def test_one_key_means_other_fields_under_other_types(same: Any) -> None:
    for fault in ("NONE", "ITEM_ERROR", "ITEM_NULL"):
        same(
            f"""query {{ things(size: 3, fault: {fault}) {{ ...A ...B __typename ... on Rock {{ same: number }} }}
              beings(size: 3) {{ ...C ... on Pet {{ same: number }} ... on Person {{ same: number }} }} }}
            fragment A on Thing {{ ... on Being {{ friend {{ id same: title }} }} ... on Cat {{ same: number size }} }}
            fragment B on Thing {{ ... on Pet {{ friend {{ number ...C }} nick }}
              ... on Dog {{ same: size(fault: ITEM_ERROR) size(fault: NULL) }}
              ... on Person {{ size same: sometimes friend {{ __typename }} }} }}
            fragment C on Being {{ ... on Cat {{ prey {{ id }} }} ... on Dog {{ pets: prey {{ number }} }} number }}"""
        )


def test_fields_are_skipped_and_included_everywhere(same: Any) -> None:
    query = """query ($yes: Boolean!, $no: Boolean = false) {
      being @include(if: $yes) { id @skip(if: $no) name @skip(if: $yes) @include(if: $yes)
        friends @skip(if: $no) @include(if: $yes) { id @include(if: $no) ...F @include(if: $yes) ...F @skip(if: $yes)
          ... @skip(if: $no) { number } ... on Cat @include(if: $no) { size } ... on Pet @skip(if: true) { nick } } }
      being { colour @skip(if: $no) } being @skip(if: true) { title }
      lab @include(if: false) { number } other: lab @skip(if: $no) { number @include(if: $no) }
    } fragment F on Being { title @include(if: $yes) name @skip(if: $no) }"""
    for yes in (True, False):
        for no in (True, False, None):
            same(query, yes=yes, no=no)
        same(query, yes=yes)
    same(query)
    same("query ($if: Boolean! = true) { lab @skip(if: $if) { number } }")
    same(
        "mutation ($if: Boolean!) { add @skip(if: $if) { value } multiply(by: 2) @include(if: $if) { now } }",
        **{"if": 1 > 0},
    )


def test_a_flag_of_another_operation_does_not_matter(same: Any) -> None:
    query = """query A($a: Boolean!) { ...F @include(if: $a) __typename }
      query B($b: Boolean!) { ...F @skip(if: $b) lab { number @include(if: $b) } } fragment F on Query { cat { id } }"""
    for flag in (True, False):
        same(query, name="A", a=flag)
        same(query, name="B", b=flag)
        same(query, name="A", b=flag)
    same(query)
    same(query, name="C")


def test_arguments_arrive_as_they_do_by_graphql_core(same: Any) -> None:
    same("{ echo(required: true) }")
    same("query ($n: Int) { echo(required: true, number: $n, defaulted: 4) }")
    same("query ($n: Int) { echo(required: true, number: $n) }", n=None)
    same("query ($n: Int) { echo(required: true, defaulted: $n) }", n=None)
    same("query ($n: Int) { being { friends { lab { placeOne { echo(required: true, defaulted: $n) } } } } }", n=None)
    same("query ($n: Int) { echo(required: true, defaulted: $n) }")
    same("query ($b: Boolean = true) { being { ... on Person { echo(required: $b) } } }", b=None)
    same("query ($b: Boolean = true) { being { ... on Person { echo(required: $b) } } }")
    same("query ($s: Stamp) { echo(required: true, stamp: $s) cat { echo(required: true, stamp: $s) } }", s="bad one")
    same('{ echo(required: true, from: "here", matrix: 5, colours: [RED, null], blob: {a: [1, $x]}) }')
    same(
        """query ($l: Leaf = {number: 1}, $n: Int!, $nest: Nest, $x: Int, $c: Colour = RED) {
          a: echo(required: true, leaf: $l, nests: [{leaves: [$l, {number: $n, colour: null}], givenName: "x"}, {}])
          b: echo(required: true, nest: {nest: {nest: $nest, text: null}, leaf: {number: $n, colour: $c},
            numbers: [[$n, null, $x]]}, matrix: [[1, $n]], blob: {a: [1, $n, {b: $x, c: null}]})
        }""",
        n=7,
        l=None,
        nest={"leaves": [{"number": 2}], "stamp": "s"},
    )


def test_mutations_run_once_each_and_stop_where_nulls_reach_the_top(same: Any) -> None:
    same("mutation { a: add(amount: 2) { value now } b: multiply(by: 5) { value now log } c: add { now log } count }")
    same(
        "mutation { add { value } multiply(by: 3) { now } add { now log } ...F } fragment F on Mutation { add { log } }"
    )
    for fault in ("NONE", "RAISE", "ERROR", "NULL", "SHORT"):
        same(f"mutation {{ add {{ now }} fail(fault: {fault}) {{ now }} multiply(by: 7) {{ now log }} }}")
        same(f"mutation {{ add {{ now }} failSet(fault: {fault}) {{ now }} multiply(by: 7) {{ now log }} }}")
    same("mutation { addMaybe { nothingSet } a: add { nothingSet } b: add { value } }")
    same("mutation { add { dear(fault: ERROR) { id } } b: add { value } }")
    same("mutation { ordinaryAdd { now } a: add { now } b: ordinaryAdd(amount: 5) { nothingSet } c: add { value } }")
    same("mutation ($n: Int) { a: add { now } b: add(amount: $n) { now } c: add { now } }", n=None)
    same("mutation ($n: Int) { a: add { now } b: addMaybe(amount: $n) { now } c: add { now } }", n=None)


# --- The real schema ---


class FixedClock(Clock):
    """One time for all that is read, and in each mutation the same times again."""

    def __init__(self) -> None:
        super().__init__()
        self.mutations = 0
        self.ticks: int | None = None

    def now(self) -> str:
        if self.ticks is None:
            return f"2025-06-15T12:{self.mutations % 60:02}:00"
        self.ticks += 1
        return f"2025-06-15T12:{self.mutations % 60:02}:00.{self.ticks:06}"


@dataclass
class FixedContext(Context):
    """Moves the clock with each mutation, so that it tells the same times however much is read between."""

    async def write(self, operation: Any) -> Any:
        clock = self.clock
        assert isinstance(clock, FixedClock)
        clock.mutations += 1

        async def timed(transaction: Any) -> Any:
            clock.ticks = 0
            try:
                return await operation(transaction)
            finally:
                clock.ticks = None

        return await super().write(timed)


class Names:
    """The keys that are made up for what comes without one: the same ones in each run."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> UUID:
        self.made += 1
        return UUID(int=self.made)

    def token(self, size: int) -> bytes:
        """In place of a signing key's secret."""
        return (self().bytes * size)[:size]

    def token_hex(self, size: int) -> str:
        return self.token(size).hex()


@pytest.fixture(scope="module")
def names() -> Iterator[Names]:
    made = Names()
    with pytest.MonkeyPatch.context() as patch:
        for module in ("models.keys", "resolvers.users", "resolvers.sessions", "resolvers.agents"):
            patch.setattr(f"{module}.uuid4", made)
        patch.setattr(
            "resolvers.credentials.secrets", SimpleNamespace(token_hex=made.token_hex, token_bytes=made.token)
        )
        yield made


ERRORS = "userErrors { code message path }"
FILL: list[tuple[str, list[dict[str, Any]]]] = [
    (
        "createAgent",
        [
            {"agentId": "guide", "name": "Guide", "documents": [{"title": "Rules", "content": "Be kind."}]},
            {"agentId": "critic", "name": "Critic", "model": "m-1", "metadata": {"plan": "pro"}},
        ],
    ),
    (
        "createUser",
        [
            {"userId": "ada", "email": "ada@example.com", "firstName": "Ada", "metadata": {"plan": "pro"}},
            {
                "userId": "bob",
                "email": "ADA@example.com",
                "name": "Bob",
                "documents": [{"title": "CV", "content": "…"}],
            },
            {"userId": "cyd", "about": "quiet", "metadata": {"a": {"b": [1, None]}}},
            {"userId": "dot", "createdAt": "2024-02-29T00:00:00Z"},
        ],
    ),
    (
        "createSession",
        [
            {"sessionId": "chat", "userId": "ada", "agentId": "guide", "metadata": {"plan": "pro"}, "tokenBudget": 100},
            {"sessionId": "talk", "userId": "ada", "contextOverflow": "ADAPTIVE"},
            {"sessionId": "over", "userId": "bob", "agentId": "guide", "situation": "late"},
            {"sessionId": "gone", "userId": "bob"},
            {"sessionId": "loose", "agentId": "critic"},
        ],
    ),
    (
        "addMessages",
        [
            {
                "sessionId": "chat",
                "formMemories": False,
                "messages": [
                    {"role": "SYSTEM", "content": "Be kind."},
                    {"role": "USER", "content": "I like tea.", "messageId": "m1", "name": "Ada"},
                    {"role": "ASSISTANT", "toolCalls": [{"id": "t1"}], "metadata": {"plan": "pro"}},
                    {"role": "TOOL", "content": "42", "toolCallId": "t1", "tokenCount": 7},
                    {"role": "USER", "parts": [{"type": "image"}], "createdAt": "2025-06-01T00:00:00Z"},
                ],
            },
            {"sessionId": "loose", "messages": [{"role": "USER", "content": "Hello?", "messageId": "m1"}]},
            {"sessionId": "over", "messages": [{"role": "USER", "content": "Bye."}]},
        ],
    ),
    ("createDocument", [{"documentId": "d1", "userId": "ada", "title": "Letter", "content": "Dear …"}]),
    ("endSession", [{"sessionId": "over"}]),
    ("deleteSession", [{"sessionId": "gone"}]),
]


@dataclass(frozen=True)
class Filled:
    """A database file with a small data set, and the values that mean something in it."""

    path: Path
    hints: dict[str, Sequence[Any]]


async def fill(path: Path) -> dict[str, Sequence[Any]]:
    database = await Database.open(path)
    executor = Executor(real_schema._schema, describe, reference=True)
    clock = FixedClock()

    async def ask(query: str, **variables: Any) -> Any:
        answer = await executor.execute(Request(query, variables), FixedContext(database, clock))
        body = orjson.loads(write_json(answer.body))
        assert "errors" not in body, body
        return body["data"]

    async def change(name: str, values: dict[str, Any], selection: str = "") -> Any:
        kind = f"{name[0].upper()}{name[1:]}Input!"
        data = await ask(f"mutation ($i: {kind}) {{ {name}(input: $i) {{ {selection} {ERRORS} }} }}", i=values)
        assert data[name]["userErrors"] == [], data
        return data[name]

    try:
        for name, inputs in FILL:
            for values in inputs:
                await change(name, values)
        said = await ask('{ session(sessionId: "chat") { messages { nodes { id } } } }')
        messages = [node["id"] for node in said["session"]["messages"]["nodes"]]
        memories: list[str] = []
        for values in (
            {"kind": "FACT", "content": "Likes tea.", "sessionId": "chat", "sources": messages[:2], "memoryId": "y1"},
            {"kind": "PREFERENCE", "content": "Green.", "userId": "ada", "rating": 0.75, "metadata": {"plan": "pro"}},
            {"kind": "SUMMARY", "content": "Tea.", "sessionId": "chat", "sources": messages[1:]},
            {"kind": "SUMMARY", "content": "Ada.", "userId": "ada"},
            {"kind": "EVENT", "content": "Party", "userId": "bob", "validUntil": "2025-01-01T00:00:00Z"},
        ):
            made = await change("createMemory", values, "memory { id }")
            memories.append(made["memory"]["id"])
        newer = {"kind": "FACT", "content": "Likes coffee.", "userId": "ada", "supersedes": memories[:1]}
        memories.append((await change("createMemory", newer, "memory { id }"))["memory"]["id"])
        data = await ask(
            """{ users { edges { cursor node { id documents { edges { cursor node { id } } }
              sessions { edges { cursor } } memories { edges { cursor } } } } }
            sessions { edges { cursor node { id } } } agents { edges { cursor node { id } } }
            session(sessionId: "chat") { messages { edges { cursor } } } }"""
        )
    finally:
        await database.close()
    users, sessions, agents = (data[name]["edges"] for name in ("users", "sessions", "agents"))
    documents = [edge for user in users for edge in user["node"]["documents"]["edges"]]
    ids = [edge["node"]["id"] for edge in (*users, *sessions, *agents, *documents)] + messages + memories
    lists = {
        "Query.users": users,
        "Query.sessions": sessions,
        "Query.agents": agents,
        "User.sessions": [edge for user in users for edge in user["node"]["sessions"]["edges"]],
        "User.memories": [edge for user in users for edge in user["node"]["memories"]["edges"]],
        "User.documents": documents,
        "Session.messages": data["session"]["messages"]["edges"],
    }
    broken = ["", "no id", f"{ids[0]}0", f"{messages[0]}99", "M", ids[0][:-1]]
    cursors = {
        f"{place}.{argument}": [edge["cursor"] for edge in edges] + ["no cursor"]
        for place, edges in lists.items()
        for argument in ("after", "before")
    }
    return cursors | {
        "id": ids + broken,
        "ids": ids + broken,
        "after": [users[0]["cursor"], "no cursor", ""],
        "before": [users[1]["cursor"], "no cursor", ""],
        "first": [2, 1, 3, 0, 20, 100, 101, -1],
        "last": [2, 1, 0, 100, -1],
        "userId": ["ada", "bob", "cyd", "dot", "nobody", "", "new"],
        "userIds": ["ada", "bob", "nobody"],
        "userEmail": ["ada@example.com", "nobody@example.com"],
        "emails": ["ada@example.com", "Ada@Example.com"],
        "email": ["eve@example.com", "no address", "ada@example.com"],
        "sessionId": ["chat", "talk", "over", "gone", "loose", "none", "new"],
        "sessionIds": ["chat", "talk", "none"],
        "agentId": ["guide", "critic", "none", "new"],
        "agentIds": ["guide", "none"],
        "messageId": ["m1", "m2", "m3"],
        "memoryId": ["y1", "y2"],
        "documentId": ["d1", "d2"],
        "sources": [*messages, documents[0]["node"]["id"], *broken],
        "supersedes": [*memories, *broken],
        "expectedVersion": [1, 2, 9],
        "tokenBudget": [100, 0, -1],
        "tokenCount": [3, 0, -1],
        "limit": [1, 100, 0],
        "rating": [0.5, 1, 0, 2],
        "minRating": [0.5, 0],
        "fromSequence": [1, 2, 3],
        "toSequence": [2, 4, 100],
        "name": ["Ada", "", "Guide"],
        "metadata": [{}, {"plan": "pro"}, {"a": {"b": [1]}}, {"a": None}, "no object", [1]],
    }


@pytest.fixture(scope="module")
def filled(runner: asyncio.Runner, names: Names, tmp_path_factory: pytest.TempPathFactory) -> Filled:
    path = tmp_path_factory.mktemp("differential") / "filled.db"
    migrate(path)
    names.made = 0
    hints = runner.run(fill(path))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return Filled(path, hints)


class Side:
    """One of the two: an executor and a copy of the database."""

    def __init__(self, runner: asyncio.Runner, names: Names, filled: Filled, *, reference: bool) -> None:
        self.path = filled.path.with_name("core.db" if reference else "breadth.db")
        shutil.copyfile(filled.path, self.path)
        self._names = names
        self._run = runner.run
        self._executor = Executor(real_schema._schema, describe, reference=reference)
        self._database = runner.run(Database.open(self.path))
        self._filled = sqlite3.connect(filled.path)
        self._own = sqlite3.connect(self.path)
        self._own.execute("PRAGMA synchronous = OFF")
        # What the clearing of the files writes depends on the time: notes, a lease, and merged blocks of the indexes.
        tables = self._own.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0 "
            "AND name NOT IN ('leases', 'removals') AND name NOT LIKE '%\\_words\\_%' ESCAPE '\\'"
        )
        self._tables = [name for (name,) in tables]
        self._clean = self.version()

    def version(self) -> Any:
        return self._own.execute("PRAGMA data_version").fetchone()

    def tables(self) -> dict[str, list[Any]]:
        tables = {name: self._own.execute(f'SELECT * FROM "{name}"').fetchall() for name in self._tables}
        return tables | {"erasures": self._own.execute("SELECT key, erased_at, messages FROM erasures").fetchall()}

    def answer(self, case: Case, *, changes: bool) -> Outcome:
        self._names.made = 0
        context = FixedContext(self._database, FixedClock())
        # The tables are compared: that nothing was changed twice, or not at all.
        got = self._run(outcome(self._executor, case, context, lambda _: None))
        if not changes or self.version() == self._clean:
            return got
        effects = self.tables()
        self._filled.backup(self._own)
        self._clean = self.version()
        return Outcome(got.executed, got.body, effects, got.by_graphql_core)

    def close(self) -> None:
        self._run(self._database.close())
        self._own.close()
        self._filled.close()


@pytest.fixture(scope="module")
def sides(runner: asyncio.Runner, names: Names, filled: Filled) -> Iterator[tuple[Side, Side]]:
    both = tuple(Side(runner, names, filled, reference=reference) for reference in (True, False))
    yield both  # pyright: ignore[reportReturnType]
    for side in both:
        side.close()


def answers(sides: tuple[Side, Side], case: Case, *, changes: bool) -> tuple[Outcome, Outcome]:
    core, breadth = sides
    return core.answer(case, changes=changes), breadth.answer(case, changes=changes)


def test_generated_reads_of_the_real_schema_are_answered_alike(filled: Filled, sides: tuple[Side, Side]) -> None:
    compare_generated(cases(real_schema._schema, "query", filled.hints), partial(answers, sides, changes=True))


def test_generated_changes_of_the_real_schema_leave_the_same_data(filled: Filled, sides: tuple[Side, Side]) -> None:
    compare_generated(cases(real_schema._schema, "mutation", filled.hints), partial(answers, sides, changes=True))


def test_ordinary_objects_are_written_in_one_loop_from_the_second_time_on(
    runner: asyncio.Runner, filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Care is for what is out of order; what it costs would go unnoticed otherwise."""
    with_care: list[str] = []
    careful = Run._select_with_care

    async def counted(run: Run, selection: Any, objects: Any, path: Any) -> list[Any]:
        with_care.append(selection.type.name)
        return await careful(run, selection, objects, path)

    monkeypatch.setattr(Run, "_select_with_care", counted)
    query = """{ viewer { role user { id } } users(first: 3) { totalCount pageInfo { endCursor } edges { cursor node {
        id name summary { id } sessions(first: 2) { nodes { sessionId agent { name } metadata messages { edges { node {
        id role createdAt memories { nodes { id sources { nodes { __typename } } } } } } } } } } } } }"""

    async def run() -> None:
        database = await Database.open(filled.path)
        executor = Executor(real_schema._schema, describe)
        for _ in range(2):
            with_care.clear()
            answer = await executor.execute(Request(query), Context(database, Clock()))
            assert "errors" not in answer.body
        await database.close()

    runner.run(run())
    assert with_care == []
