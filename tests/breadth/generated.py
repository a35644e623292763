"""Generated documents: queries and mutations of any schema, and the comparison of two executors' answers.

`DIFFERENTIAL_EXAMPLES=100000` looks longer.
"""

import asyncio
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import orjson
import pytest
from graphql import (
    GraphQLBoolean,
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

from breadth import Answer, Executor, Request
from recallql.http.requests import write_json

EXAMPLES = int(os.environ.get("DIFFERENTIAL_EXAMPLES", "200"))
PATIENCE = 30.0
DEPTH = 6
FIELDS = 40


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
            root = getattr(self.schema, f"{this}_type")
            level = Level()
            if this == "subscription":
                selection = f"{{ {self.field(root, DEPTH, level, uses)} }}"
            else:
                selection = self.selection(root, DEPTH, level, uses)
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
        boolean = GraphQLNonNull(GraphQLBoolean)
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


async def outcomes(executor: Executor, case: Case, context: Any, effects: Callable[[Any], Any]) -> list[Outcome]:
    """The outcome of each event of a subscription; the only one, if it does not start."""
    request = Request(case.query, case.variables, case.operation_name)
    started = await executor.subscribe(request, context)
    if isinstance(started, Answer):
        return [Outcome(started.executed, orjson.loads(write_json(started.body)), effects(context), False)]
    answers: list[Answer] = []
    try:
        async for event in started.events:
            answers += [await started.answer(event, context)]
    except Exception as error:
        answers.append(started.failure(error))
    finally:
        await started.events.aclose()
    return [Outcome(True, orjson.loads(write_json(answer.body)), effects(context), False) for answer in answers]


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


UNHURRIED = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
"""Documents are large, and many are drawn in vain."""


def compare_generated(strategy: st.SearchStrategy[Case], check: Callable[[Case], tuple[Outcome, Outcome]]) -> None:
    """Compares the answers to as many documents as asked for, and sees to it that they are worth comparing."""
    tally: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=UNHURRIED)
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


def describe(error: Exception) -> tuple[str, str]:
    return getattr(error, "code", type(error).__name__.upper()), str(error)
