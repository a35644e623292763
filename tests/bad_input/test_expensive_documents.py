"""Documents that are short and ask for much: they are answered soon, or refused."""

import itertools
import time

import pytest

from tests.bad_input.targets import OPERATIONS, Target
from tests.documents import ERRORS

pytestmark = pytest.mark.once

fresh = itertools.count()


def seconds(target: Target, document: str) -> float:
    """The processor time of an answer that was not remembered, with what asks."""
    start = time.process_time()
    target.ask(f"{document}\n# {next(fresh)}")
    return time.process_time() - start


def is_answered_within(most: float, target: Target, document: str) -> bool:
    """Tells whether an answer takes so little processor time; what else the process does may spoil one of two tries."""
    return any(seconds(target, document) < most for _ in range(2))


def aliases(count: int) -> str:
    return "{ " + " ".join(f"a{i}: viewer {{ role }}" for i in range(count)) + " }"


def test_five_thousand_aliases_take_time_in_proportion(lifted: Target) -> None:
    assert lifted.ask(aliases(5000))["data"] == {f"a{i}": {"role": "SERVICE"} for i in range(5000)}
    few = seconds(lifted, aliases(500))
    assert is_answered_within(25 * few + 1.5, lifted, aliases(5000)), f"{few:.3f} s for 500"


EXPENSIVE = {
    "one field 5,000 times": "{ viewer { " + "role " * 5000 + "} }",
    "one object 3,000 times": "{ " + "viewer { role } " * 3000 + "}",
    "one inline fragment 3,000 times": "{ viewer { " + "... on Viewer { role } " * 3000 + "} }",
    "one fragment spread 3,000 times": "{ viewer { " + "...F " * 3000 + "} } fragment F on Viewer { role }",
    "5,000 unknown fields": "{ " + " ".join(f"user{i}" for i in range(5000)) + " }",
    "a field of a million characters": "{ " + "u" * 1_000_000 + " }",
    "a million commas": "{" + "," * 1_000_000 + "viewer { role } }",
    "a comment of a million characters": "# " + "x" * 1_000_000 + "\n{ viewer { role } }",
    "5,000 variables": "query (" + " ".join(f"$v{i}: Int" for i in range(5000)) + ") { viewer { role } }",
    "5,000 operations": " ".join(f"query Q{i} {{ viewer {{ role }} }}" for i in range(5000)),
    "5,000 fragments": "{ viewer { role } } " + " ".join(f"fragment F{i} on Viewer {{ role }}" for i in range(5000)),
    "a chain of 3,000 fragments": "{ viewer { ...F0 } } "
    + " ".join(f"fragment F{i} on Viewer {{ ...F{i + 1} }}" for i in range(3000))
    + " fragment F3000 on Viewer { role }",
    "5,000 directives": "{ viewer { role " + "@include(if: true) " * 5000 + "} }",
    "5,000 unknown directives": "{ viewer { role " + "@x " * 5000 + "} }",
    "5,000 arguments": "{ users(" + " ".join(f"a{i}: 1" for i in range(5000)) + ") { totalCount } }",
    "10,000 levels of unknown fields": "{ a " * 10_000 + "}" * 10_000,
    "10,000 levels of inline fragments": "{ " + "... { " * 10_000 + "viewer { role } " + "}" * 10_001,
    "100,000 open braces": "{" * 100_000,
    "100,000 open lists": "{ users(first: " + "[" * 100_000,
    "10,000 levels of a type": "query ($x: " + "[" * 10_000 + "Int" + "]" * 10_000 + ") { viewer { role } }",
    "a block string of a million lines": '{ user(userId: """' + "\n" * 1_000_000 + '""") { id } }',
}


@pytest.mark.parametrize("name", EXPENSIVE)
def test_an_expensive_document_is_answered_soon(target: Target, lifted: Target, name: str) -> None:
    assert is_answered_within(2, target, EXPENSIVE[name])
    # Without limits it takes seconds, and no longer with more of the same: the validation stops at its own limits.
    assert is_answered_within(15, lifted, EXPENSIVE[name])


@pytest.mark.parametrize("count", [17, 25, 60])
@pytest.mark.parametrize(
    "spread",
    [
        "...F{next} ...F{next}",
        "... on User {{ ...F{next} }} ... on User {{ ...F{next} }}",
        "a: sessions {{ nodes {{ user {{ ...F{next} }} }} }} b: sessions {{ nodes {{ user {{ ...F{next} }} }} }}",
        "sessions {{ nodes {{ user {{ ...F{next} }} }} }} sessions {{ nodes {{ user {{ ...F{next} }} }} }}",
        "...F{next} @include(if: true) ...F{next} @skip(if: false)",
    ],
    ids=["spreads", "inline fragments", "aliases", "merged fields", "directives"],
)
def test_doubling_fragments_do_not_take_doubling_time(target: Target, lifted: Target, count: int, spread: str) -> None:
    fragments = [f"fragment F{i} on User {{ {spread.format(next=i + 1)} }}" for i in range(count)]
    document = '{ user(userId: "nobody") { ...F0 } } ' + " ".join(fragments) + f" fragment F{count} on User {{ id }}"
    for server in (target, lifted):
        assert is_answered_within(3, server, document)
        assert server.ask(document).get("data") in ({"user": None}, None)


def test_doubling_fragments_that_merge_are_answered(target: Target) -> None:
    count = 17
    fragments = [f"fragment F{i} on User {{ ...F{i + 1} ...F{i + 1} }}" for i in range(count)]
    document = '{ user(userId: "here") { ...F0 } } ' + " ".join(fragments) + f" fragment F{count} on User {{ userId }}"
    assert target.ask(document) == {"data": {"user": {"userId": "here"}}}


@pytest.mark.parametrize("depth", [3, 10, 50, 300, 2000])
def test_a_deep_query_is_answered_or_called_too_complex(lifted: Target, depth: int) -> None:
    level = "sessions(first: 1) { nodes { user { "
    document = '{ user(userId: "here") { ' + level * depth + "userId" + " } } }" * depth + " } }"
    start = time.process_time()
    answer = lifted.ask(document)
    assert time.process_time() - start < 5
    if "errors" in answer:
        assert depth > 50
        assert {e["extensions"]["code"] for e in answer["errors"]} == {"QUERY_TOO_COMPLEX"}
        return
    user = answer["data"]["user"]
    for _ in range(depth):
        user = user["sessions"]["nodes"][0]["user"]
    assert user == {"userId": "here"}


@pytest.mark.parametrize("count", [300, 950, 3000])
def test_many_mutations_in_one_document_are_all_carried_out_or_none(target: Target, count: int) -> None:
    mark = f"mark_{next(fresh)}"
    one = f"createUser(input: {{metadata: {{{mark}: 1}}}}) {{ user {{ id }} {ERRORS} }}"
    answer = target.ask("mutation { " + " ".join(f"a{i}: {one}" for i in range(count)) + " }")
    found = target.ask(OPERATIONS["users"], {"x": {"metadata": {mark: 1}}})["data"]["users"]
    if "errors" in answer:
        assert {error["extensions"]["code"] for error in answer["errors"]} == {"QUERY_TOO_COMPLEX"}
        assert found["totalCount"] == 0
    else:
        assert len({payload["user"]["id"] for payload in answer["data"].values()}) == found["totalCount"] == count


def test_introspection_that_doubles_is_answered_soon(lifted: Target) -> None:
    level = "fields { type { ofType { "
    document = "{ __schema { types { " + level * 12 + "name" + " } } }" * 12 + " } } }"
    start = time.process_time()
    lifted.ask(document)
    assert time.process_time() - start < 5


@pytest.mark.parametrize("depth", range(60, 67))
def test_an_answer_deeper_than_json_is_written_is_called_too_complex(lifted: Target, depth: int) -> None:
    level = "sessions(first: 1) { nodes { user { "
    document = '{ user(userId: "here") { ' + level * depth + "userId" + " } } }" * depth + " } }"
    answer = lifted.ask(document)
    if depth >= 63:
        assert {error["extensions"]["code"] for error in answer["errors"]} == {"QUERY_TOO_COMPLEX"}
        return
    user = answer["data"]["user"]
    for _ in range(depth):
        user = user["sessions"]["nodes"][0]["user"]
    assert user == {"userId": "here"}


@pytest.mark.parametrize("count", [950, 2000])
def test_many_mutations_in_one_document_are_all_carried_out_once(lifted: Target, count: int) -> None:
    total = "{ users(first: 0) { totalCount } }"
    before = lifted.ask(total)["data"]["users"]["totalCount"]
    one = f"createUser(input: {{}}) {{ user {{ id }} {ERRORS} }}"
    answer = lifted.ask("mutation { " + " ".join(f"a{i}: {one}" for i in range(count)) + " }")
    assert "errors" not in answer, answer["errors"]
    assert list(answer["data"]) == [f"a{i}" for i in range(count)]
    assert all(payload["userErrors"] == [] for payload in answer["data"].values())
    assert len({payload["user"]["id"] for payload in answer["data"].values()}) == count
    assert lifted.ask(total)["data"]["users"]["totalCount"] == before + count
