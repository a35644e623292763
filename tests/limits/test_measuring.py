"""Measuring documents: in proportion to their length, and beside a naive count."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    Undefined,
    get_named_type,
    is_composite_type,
    parse,
    value_from_ast_untyped,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from breadth import Executor, Limits, PlainContext, Request
from breadth.limits import TooComplex
from breadth.measures import Measurer
from recallql.errors import describe
from schema.connections import PAGE_SIZE
from schema.contexts import CONTEXT_SIZE
from schema.root import schema as published
from schema.search import SEARCH_SIZE
from tests.documents import VIEWER
from tests.limits.sized import (
    CONTEXT_LIST,
    CONTEXT_LOOKUP,
    DEFAULT,
    DOUBLING,
    LOOKUP,
    MUTATIONS,
    QUERIES,
    SCHEMA,
    SEARCH_LOOKUP,
    doubling,
    too_complex,
    work_of,
)
from tests.servers import Server

pytestmark = pytest.mark.once

# In proportion to the document


@pytest.mark.parametrize("spread", DOUBLING.values(), ids=DOUBLING.keys())
def test_measuring_doubling_fragments_takes_work_in_proportion_to_the_document(spread: str) -> None:
    few, many, most = (work_of(parse(doubling(spread, count))) for count in (10, 100, 1000))
    assert many < 11 * few
    assert most < 11 * many


def test_ten_thousand_doubling_fragments_are_measured() -> None:
    largest = 2**53 - 1
    (cost,) = Measurer(SCHEMA, Limits()).costs(parse(doubling(DOUBLING["aliases"], 10_000), no_location=True)).values()
    assert cost.of({}) == largest, "it is a number that JSON has"
    (cost,) = Measurer(SCHEMA, Limits()).costs(parse(doubling(DOUBLING["sizes"], 500))).values()
    assert cost.of({"n": 100}) == largest
    document = parse(doubling(DOUBLING["aliases"], 500))
    for name in ("depth", "aliases", "directives", "fields"):
        with pytest.raises(TooComplex, match=f"RECALLQL_MAX_QUERY_{name.upper()}"):
            Measurer(SCHEMA, Limits(**{name: 1000}, setting=DEFAULT.setting)).costs(document)


@pytest.mark.parametrize("count", [17, 25, 60, 300])
@pytest.mark.parametrize("spread", DOUBLING.values(), ids=DOUBLING.keys())
def test_doubling_fragments_are_refused_by_the_defaults(api: Server, spread: str, count: int) -> None:
    too_complex(api.execute(doubling(spread, count)))


def test_many_operations_and_many_page_sizes_take_work_in_proportion() -> None:
    one = "query Q{i} ($n: Int) {{ a: users(first: $n) {{ ...F }} b: users(first: $n) {{ ...F }} }}"
    two = """ fragment F on UserConnection {
        nodes { a: sessions(first: $n) { nodes { id } } b: sessions(last: $n) { nodes { id } } } }"""
    few, many = (work_of(parse("".join(one.format(i=i) for i in range(count)) + two)) for count in (100, 1000))
    assert many < 11 * few
    wide = "query ($n: Int) {{ {} }}"
    pages = [" ".join(f"a{i}: users(first: $n) {{ nodes {{ id }} }}" for i in range(count)) for count in (100, 1000)]
    few, many = (work_of(parse(wide.format(page))) for page in pages)
    assert many < 11 * few


MEGABYTE = 1024 * 1024
LARGE = {
    "a comment": "# " + "x" * MEGABYTE + "\n" + VIEWER,
    "many comments": "#\n" * (MEGABYTE // 2) + VIEWER,
    "a string": '{ user(userId: "' + "x" * MEGABYTE + '") { id } }',
    "a block string": '{ user(userId: """' + "\n" * MEGABYTE + '""") { id } }',
    "a name": "{ " + "x" * MEGABYTE + " }",
    "a number": "{ sessions(first: " + "1" * MEGABYTE + ") { totalCount } }",
    "fields": "{ viewer {" + " role" * (MEGABYTE // 5) + " } }",
    "braces": "{" * MEGABYTE,
    "8 MB of whitespace": " " * (8 * MEGABYTE - 100) + VIEWER,
    "8 MB of commas": "," * (8 * MEGABYTE - 100) + VIEWER,
    "8 MB of nothing": "\ufeff" * (8 * MEGABYTE // 7),
    "no GraphQL": "?" * MEGABYTE,
    # As many characters as a document may have.
    "tokens": "{ viewer {" + " a" * ((DEFAULT.characters - 20) // 2) + " } }",
    "punctuation": "!" * DEFAULT.characters,
    "parentheses": "{a" + "(" * (DEFAULT.characters - 2),
    "spreads": "{" + "...F" * (DEFAULT.characters // 4 - 1) + "}",
    "small comments": "#\n" * (DEFAULT.characters // 2),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_document_of_a_megabyte_is_refused_at_once(name: str) -> None:
    executor = Executor(published, describe, limits=DEFAULT)
    taken = []
    for number in range(3):
        request = Request(LARGE[name] + f"#{number}" if len(LARGE[name]) > DEFAULT.characters else LARGE[name])
        start = time.process_time()
        answer = asyncio.run(executor.execute(request, PlainContext()))
        taken.append(time.process_time() - start)
        wrong = {"GRAPHQL_PARSE_FAILED"} if name in ("punctuation", "parentheses") else {"QUERY_TOO_COMPLEX"}
        assert {error["extensions"]["code"] for error in answer.body["errors"]} == wrong
        assert len(executor._documents._kept) == 0, "what is as large is not kept"
    assert min(taken) < 0.2


def test_what_is_refused_is_refused_again_without_another_look() -> None:
    executor = Executor(published, describe, limits=DEFAULT)
    small = doubling(DOUBLING["aliases"], 60)
    asyncio.run(executor.execute(Request(small), PlainContext()))
    refused = executor._documents._refused.get((small, True))
    assert refused is not None
    assert refused.errors[0]["extensions"]["code"] == "QUERY_TOO_COMPLEX"
    asyncio.run(executor.execute(Request(small), PlainContext()))
    assert executor._documents._refused.get((small, True)) is refused


def test_the_naive_count_below_has_the_numbers_of_the_code() -> None:
    assert (PAGE_SIZE.lookup, SEARCH_SIZE.lookup) == (LOOKUP, SEARCH_LOOKUP)
    assert (CONTEXT_SIZE.lookup, CONTEXT_SIZE.default) == (CONTEXT_LOOKUP, CONTEXT_LIST)


# Beside a naive count

TYPES = ["Query", "User", "Session", "Message", "Memory", "UserConnection", "SessionConnection", "Node", "Missing"]
LISTS = ["edges", "nodes", "messages", "messageEdges", "userErrors", "path", "supersedes", "sources", "addMessages"]
DIRECTIVES = st.sampled_from(["", "", " @include(if: true)", " @skip(if: $d) @x"])
SIZES = st.sampled_from(["", "first: 3", "last: 0", "first: $a", "first: null, last: $b", "ids: [1, 2]", "ids: $c"])
ADDED = st.sampled_from(["input: $i", "input: {messages: $l}", "input: {messages: [1, 2]}", "input: {}"])


def type_named(name: str) -> Any:
    kind = SCHEMA.type_map.get(name)
    return kind if is_composite_type(kind) else None


def type_below(kind: Any, name: str) -> Any:
    field = SCHEMA.get_field(kind, name) if kind else None
    below = get_named_type(field.type) if field else None
    return below if is_composite_type(below) else None


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Documents of fields that mostly are where the schema has them, with fragments that never go in circles."""
    count = draw(st.integers(0, 3))

    def selection(kind: Any, depth: int, later: int) -> str:
        there = list(getattr(kind, "fields", ()))
        names = [*(name for name in there if type_below(kind, name) or name in LISTS)] * 4 + there + ["missing", "id"]
        parts = []
        for _ in range(draw(st.integers(1, 3))):
            directive = draw(DIRECTIVES)
            form = draw(st.integers(0, 9))
            if form < 2 and later < count:
                parts.append(f"...F{draw(st.integers(later, count - 1))}{directive}")
            elif form == 2 and depth:
                name = draw(st.sampled_from(["", *TYPES]))
                inner = selection(type_named(name) if name else kind, depth - 1, later)
                parts.append(f"... {name and f'on {name}'}{directive} {{ {inner} }}")
            else:
                name = draw(st.sampled_from(names))
                arguments = draw(ADDED if name == "addMessages" else SIZES)
                inner = selection(type_below(kind, name), depth - 1, later) if depth and form < 9 else ""
                alias = draw(st.sampled_from(["", "", "a: "]))
                parts.append(f"{alias}{name}{arguments and f'({arguments})'}{directive}{inner and f' {{ {inner} }}'}")
        return " ".join(parts)

    fragments = [
        f"fragment F{i} on {name} {{ {selection(type_named(name), 3, i + 1)} }}"
        for i, name in enumerate(draw(st.lists(st.sampled_from(TYPES), min_size=count, max_size=count)))
    ]
    operation = draw(st.sampled_from(["query", "query", "mutation"]))
    root = SCHEMA.query_type if operation == "query" else SCHEMA.mutation_type
    variables = "($a: Int, $b: Int, $c: [ID!], $d: Boolean, $i: AddMessagesInput!, $l: [MessageInput!]!)"
    return f"{operation} {variables} {{ {selection(root, 5, 0)} }} {' '.join(fragments)}"


VARIABLES = st.fixed_dictionaries(
    {},
    optional={
        "a": st.none() | st.integers(-1, 110),
        "b": st.none() | st.integers(-1, 110),
        "c": st.none() | st.lists(st.just("x"), max_size=110),
        "i": st.fixed_dictionaries({}, optional={"messages": st.lists(st.just("x"), max_size=110)}),
        "l": st.lists(st.just("x"), max_size=110),
    },
)


class Naive:
    """Counts by walking every fragment again at every spread, with the size of the page handed down."""

    def __init__(self, document: DocumentNode, variables: dict[str, Any]) -> None:
        self.variables = variables
        self.fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
        (self.operation,) = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]

    def all(self) -> dict[str, int]:
        start = self.operation.selection_set
        root = SCHEMA.get_root_type(self.operation.operation)
        flat = [*self.flat(start, 1)]
        return {
            "depth": max(depth for _, depth in flat),
            "aliases": sum(node.alias is not None for node, _ in flat if isinstance(node, FieldNode)),
            "directives": sum(len(node.directives or ()) for node, _ in flat),
            "fields": sum(isinstance(node, FieldNode) for node, _ in flat),
            "cost": self.cost(start, root, 20),
        }

    def parts(self, selection_set: SelectionSetNode) -> Iterator[tuple[Any, bool]]:
        """The nodes of a selection set, and whether what they select counts: what is spread again does not."""
        spread: set[str] = set()
        for node in selection_set.selections:
            name = node.name.value if isinstance(node, FragmentSpreadNode) else None
            yield node, name not in spread
            spread |= {name} if name else set()

    def flat(self, selection_set: SelectionSetNode, depth: int) -> Iterator[tuple[Any, int]]:
        """All nodes with their depth; those that are no fields have that of the fields around them."""
        for node, counts in self.parts(selection_set):
            yield node, depth if isinstance(node, FieldNode) else depth - 1
            if isinstance(node, FragmentSpreadNode):
                if counts:
                    yield from self.flat(self.fragments[node.name.value].selection_set, depth)
            elif node.selection_set:
                yield from self.flat(node.selection_set, depth + isinstance(node, FieldNode))

    def cost(self, selection_set: SelectionSetNode, kind: Any, size: int) -> int:
        total = 0
        for node, counts in self.parts(selection_set):
            if isinstance(node, FragmentSpreadNode):
                fragment = self.fragments[node.name.value]
                if counts:
                    total += self.cost(fragment.selection_set, type_named(fragment.type_condition.name.value), size)
            elif isinstance(node, InlineFragmentNode):
                inner = type_named(node.type_condition.name.value) if node.type_condition else kind
                total += self.cost(node.selection_set, inner, size)
            else:
                field = SCHEMA.get_field(kind, node.name.value) if kind else None
                own = self.page_size(node, field)
                times, below = 1, 20 if own is None else own
                if field is not None and "[" in str(field.type):
                    times, below = (size if own is None else own), 20
                inner = type_below(kind, node.name.value)
                total += LOOKUP * (field is not None and "first" in field.args and "query" not in field.args)
                total += SEARCH_LOOKUP * (field is not None and {"first", "query"} <= field.args.keys())
                total += CONTEXT_LOOKUP * (field is not None and "maxTokens" in field.args)
                total += times * (1 + (self.cost(node.selection_set, inner, below) if node.selection_set else 0))
        return total

    def page_size(self, node: FieldNode, field: Any) -> int | None:
        """The number of items by the published schema: 20 for a connection by default, none for what goes by a list."""
        if field is None:
            return None
        if "maxTokens" in field.args:
            return CONTEXT_LIST
        given = {argument.name.value: self.value(argument.value) for argument in node.arguments or ()}
        if "first" in field.args:
            found = next((given[name] for name in ("first", "last") if given.get(name) is not None), 20)
        elif field is QUERIES["nodes"]:
            found = given.get("ids") or []
        elif field is MUTATIONS["addMessages"]:
            found = (given.get("input") or {}).get("messages") or []
        else:
            return None
        return max(0, min(found if isinstance(found, int) else len(found), 100))

    def value(self, node: Any) -> Any:
        found = value_from_ast_untyped(node, self.variables)
        return None if found is Undefined else found


@settings(max_examples=300, deadline=None)
@given(document=documents(), variables=VARIABLES)
def test_the_walk_counts_as_a_naive_one_does(document: str, variables: dict[str, Any]) -> None:
    parsed = parse(document)
    wanted = Naive(parsed, variables).all()
    assert Measurer(SCHEMA, Limits()).costs(parsed)[None].of(variables) == wanted.pop("cost")
    # The fragments that are not used are measured too, so a limit may be exceeded by these.
    for name, count in wanted.items():
        used = reachable(parsed)
        if count:
            with pytest.raises(TooComplex):
                Measurer(SCHEMA, replace(Limits(), **{name: count - 1})).costs(used)
        Measurer(SCHEMA, replace(Limits(), **{name: count})).costs(used)


def reachable(document: DocumentNode) -> DocumentNode:
    """A document without the fragments that its operation does not come to."""
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    kept: dict[str, Any] = {}
    waiting: list[Any] = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]
    operations = tuple(waiting)
    while waiting:
        for node in waiting.pop().selection_set.selections:
            if isinstance(node, FragmentSpreadNode) and node.name.value not in kept:
                kept[node.name.value] = fragments[node.name.value]
                waiting.append(fragments[node.name.value])
            elif getattr(node, "selection_set", None):
                waiting.append(node)
    return DocumentNode(definitions=(*operations, *kept.values()))
