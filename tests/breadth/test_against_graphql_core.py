"""Breadth-first execution answers as graphql-core does: generated documents on a schema with everything."""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from graphql import (
    GraphQLObjectType,
    get_named_type,
    is_leaf_type,
)

import tests.breadth.everything as synthetic
from breadth import Executor
from tests.breadth.generated import Case, Outcome, cases, compare, compare_generated, describe, outcome

# graphql-core leaves coroutines behind where an error has made their answers needless.
_lab = synthetic.schema._schema.type_map["Lab"]
assert isinstance(_lab, GraphQLObjectType)
LAB = _lab.fields

pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def ask(runner: asyncio.Runner) -> Callable[[Case], tuple[Outcome, Outcome]]:
    """Both answers to a request on the schema with everything."""
    core = Executor(synthetic.schema, describe, reference=True)
    breadth = Executor(synthetic.schema, describe, written=synthetic.WRITTEN)

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


SYNTHETIC_HINTS: dict[str, Sequence[Any]] = {
    "size": [2, 1, 3, 0],
    "pause": [0, 1, 2, 3],
    "which": list(range(40)),
    "start": list(range(40)),
}


def test_generated_queries_are_answered_as_graphql_core_does(ask: Any) -> None:
    compare_generated(cases(synthetic.schema._schema, "query", SYNTHETIC_HINTS), ask)


def test_generated_mutations_are_carried_out_once_and_in_order(ask: Any) -> None:
    compare_generated(cases(synthetic.schema._schema, "mutation", SYNTHETIC_HINTS), ask)


@pytest.mark.parametrize(
    "selection",
    [
        "cards { number title suit colour stamp }",
        "cards { id a: number __typename b: number c: title blob suit d: id e: stamp }",
        "cards { __typename title blobSet ratio quoted trouble number } size",
        "covers { label note card { id title trouble } } cards { title id }",
        "covers { card { suit colour } again: card { title lab { number } } } cards { number blob }",
        "... { cards { ...on Card { title } ...Rest } } more: cards { lab { number } stamp }",
    ],
)
def test_records_with_values_as_json_are_written_as_others_are(same: Any, selection: str) -> None:
    for start in range(0, 100, 3):
        decks = f"deck(size: 4, start: {start}) {{ {selection} }} small: deck(size: 0) {{ {selection} }}"
        same(f"{{ {decks} }} {'fragment Rest on Card { number id }' if 'Rest' in selection else ''}")


@pytest.mark.parametrize("fault", [one.name for one in synthetic.Fault])
def test_every_shape_with_every_fault_becomes_the_same_nulls(same: Any, fault: str) -> None:
    for number, (name, definition) in enumerate(LAB.items()):
        if "fault" not in definition.args:
            continue
        selection = "" if is_leaf_type(get_named_type(definition.type)) else "{ __typename }"
        answer = same(
            f"{{ being {{ friends(first: 3) {{ id lab {{ {name}(fault: {fault}, pause: {number % 2}) {selection} "
            f"number }} }} name }} other: lab {{ {name}(fault: {fault}) {selection} }} }}"
        )
        assert "data" in answer


def test_every_leaf_type_writes_or_refuses_every_value_alike(same: Any) -> None:
    odd = [name for name in LAB if name.startswith("odd")]
    nullable = [name for name in odd if not name.endswith("Set")]
    for which in range(len(synthetic.ODD)):
        selected = " ".join(f"{name}(which: {which})" for name in nullable)
        same(f"{{ lab {{ {selected} }} being {{ friends {{ lab {{ {selected} }} }} }} }}")
        for name in odd:
            if name.endswith("Set"):
                same(f"{{ lab {{ {name}(which: {which}) }} being {{ lab {{ {name}(which: {which}) }} }} }}")
    for name in (name for name in LAB if name.startswith("computed")):
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
    started = time.process_time()
    answer = same(f"{{ being {{ ...F0 ...F0 }} }} {fragments} fragment F20 on Being {{ id friends {{ id }} }}")
    assert list(answer["data"]["being"]) == ["id", "friends", "name"]
    assert time.process_time() - started < 2


def test_fragments_that_double_over_fields_are_answered_fast(same: Any) -> None:
    fragments = " ".join(
        f"fragment F{i} on Being {{ twin {{ ...F{i + 1} }} twin {{ ...F{i + 1} id }} }}" for i in range(20)
    )
    started = time.process_time()
    same(f"{{ being {{ ...F0 }} }} {fragments} fragment F20 on Being {{ id }}")
    assert time.process_time() - started < 5


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
