"""Documents with a given number of tokens, fields and the like, and what the schema and the limits are."""

import sys
from typing import Any

from graphql import DocumentNode

from breadth import Limits
from breadth.limits import TooComplex
from breadth.measures import Measurer
from recallql.settings import Settings
from schema.root import schema as published
from tests.documents import VIEWER

SCHEMA = published._schema
assert SCHEMA.query_type is not None
assert SCHEMA.mutation_type is not None
QUERIES, MUTATIONS = SCHEMA.query_type.fields, SCHEMA.mutation_type.fields
DEFAULT = Settings().limits


LOOKUP = 10
CONTEXT_LOOKUP, CONTEXT_LIST, SEARCH_LOOKUP = 8000, 50, 10_000
"""The cost of a page besides its fields."""


def too_complex(answer: dict[str, Any]) -> str:
    """The message of an answer that refuses a document as too complex."""
    assert "data" not in answer
    (error,) = answer["errors"]
    assert error["extensions"] == {"code": "QUERY_TOO_COMPLEX"}
    return error["message"]


def characters(count: int) -> str:
    return VIEWER + " " * (count - len(VIEWER))


def tokens(count: int) -> str:
    """`{`, `viewer`, `{`, `}`, `}`, and the rest."""
    return "{ viewer {" + " role" * (count - 5) + " } }"


def comments(count: int) -> str:
    return "# one\n" * count + VIEWER


def depth(count: int) -> str:
    """`user` and `userId`, and in between fields below fields in two fragments."""
    middle = "".join(
        f"fragment F{i} on User {{ sessions {{ nodes {{ ... on Session {{ user {{ ...F{i + 1} }} }} }} }} }}"
        for i in range((count - 2) // 3)
    )
    # What is left of a round of three: `sessions`, and `nodes`.
    last = ["userId", "sessions { totalCount }", "sessions { nodes { id } }"][(count - 2) % 3]
    return '{ user(userId: "x") { ...F0 } }' + middle + f"fragment F{(count - 2) // 3} on User {{ {last} }}"


def aliases(count: int) -> str:
    """Half of them in a fragment that is spread twice, the odd one outside."""
    inside = " ".join(f"a{i}: role" for i in range(count // 2))
    outside = "b: role" * (count % 2)
    return f"{{ viewer {{ ...F {outside} }} viewer {{ ...F }} }} fragment F on Viewer {{ role {inside} }}"


def directives(count: int) -> str:
    """On the operation's fields, on a fragment's spreads, and in the fragment, which is spread twice."""
    inside = "id @include(if: true) " * ((count - 3) // 2)
    outside = "id @skip(if: false) " * ((count - 3) % 2)
    return (
        "{ viewer { ...F @include(if: true) "
        + outside
        + "} viewer { ... @skip(if: false) { ...F @include(if: true) } } }"
        " fragment F on Viewer { role " + inside + "}"
    )


def fields(count: int) -> str:
    """Two of `viewer`, and in each the fragment with all but the odd one."""
    inside = "role " * ((count - 2) // 2)
    outside = "id " * ((count - 2) % 2)
    return f"{{ viewer {{ ...F {outside} }} viewer {{ ...F }} }} fragment F on Viewer {{ {inside} }}"


def cost(count: int) -> str:
    """`sessions` with its look-up, and `nodes` with their ids: two fields for each; the odd one outside."""
    more = count - 1 - LOOKUP
    return f"{{ sessions(first: {more // 2}) {{ nodes {{ id }} {'totalCount' * (more % 2)} }} }}"


def work_of(document: DocumentNode, limits: Limits = DEFAULT) -> int:
    """Counts the calls that it takes to measure a document."""
    measurer = Measurer(SCHEMA, limits)
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        measurer.costs(document)
    except TooComplex:
        pass
    finally:
        sys.setprofile(None)
    return calls


LEVEL = "{{ nodes {{ user {{ ...F{next} }} }} }}"


DOUBLING = {
    "spreads": "... {{ ...F{next} }} ... {{ ...F{next} }}",
    "inline fragments": "... on User {{ ...F{next} }} ... on User {{ ...F{next} }}",
    "aliases": f"a: sessions {LEVEL} b: sessions {LEVEL}",
    "directives": "... @include(if: true) {{ ...F{next} }} ... @skip(if: false) {{ ...F{next} }}",
    "sizes": f"a: sessions(first: $n) {LEVEL} b: sessions {LEVEL}",
}


def doubling(spread: str, count: int) -> str:
    fragments = [f"fragment F{i} on User {{ {spread.format(next=i + 1)} }}" for i in range(count)]
    last = f" fragment F{count} on User {{ a: userId @include(if: true) }}"
    return 'query ($n: Int) { user(userId: "u") { ...F0 } } ' + " ".join(fragments) + last
