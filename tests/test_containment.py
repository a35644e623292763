"""Containment of JSON in SQLite's SQL, and the leaves by which objects are found, against the function that compares
two values."""

import json
from collections.abc import Iterator
from contextlib import closing
from sqlite3 import Connection
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from models.containment import containment, contains
from models.leaves import leaves_of
from models.sqlite.containment import json_contains
from models.sqlite.database import connect
from models.sqlite.forms import form_of
from models.statements import Keyed, Statement
from models.tables import users
from models.values import json_of

pytestmark = pytest.mark.sqlite

FORMS = {name: form_of(Statement(select(users.c.key).where(of(users)), Keyed)) for name, of in contains().items()}

# Few, so that one is often in another; with all that a path, a pattern or JSON takes for something else.
KEYS = st.sampled_from(["a", "b", "k", "", "a.b", '"', "\\", "$", "[0]", "*", "a?[b]", "é", "\n", "\x7f", "x" * 70])
TEXTS = st.sampled_from(["", "a", "b", "aab", "*", "[1]", "1", "true", "null", '"', "\\", "é", "ß", "\n", "a" * 200])
NUMBERS = st.sampled_from(
    [
        *(
            0,
            1,
            -1,
            1.0,
            0.0,
            -0.0,
            1.5,
            0.1,
            100,
            1e2,
            1e16,
            10**16,
            10**16 + 1,
            2**53,
            2**53 + 1,
            2.0**53,
            1e-7,
            5e-324,
        ),
        *(2**63 - 1, 2**63, -(2**63), 2.0**63, 10**30, 1e30, 1e308, 1.7976931348623157e308, 0.30000000000000004),
    ]
)
SCALARS = (
    st.none() | st.booleans() | NUMBERS | TEXTS | st.text(st.characters(exclude_categories=["Cs"], min_codepoint=1))
)
VALUES = st.recursive(
    SCALARS, lambda of: st.lists(of, max_size=3) | st.dictionaries(KEYS, of, max_size=3), max_leaves=8
)
METADATA = st.dictionaries(KEYS, VALUES, max_size=4)


@st.composite
def parts(draw: st.DrawFn, whole: Any) -> Any:
    """Something that is in a value, as far as it was not changed."""
    if draw(st.integers(0, 9)) == 0:
        return draw(VALUES)
    if isinstance(whole, dict):
        return {key: draw(parts(item)) for key, item in whole.items() if draw(st.booleans())}
    if isinstance(whole, list):
        return [draw(parts(item)) for item in whole if draw(st.booleans())]
    # The same number in its other form.
    if isinstance(whole, int | float) and not isinstance(whole, bool) and abs(whole) < 1e300:
        return draw(st.sampled_from([whole, float(whole)] + [int(whole)] * (whole == int(whole))))
    return whole


@st.composite
def pairs(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    whole = draw(METADATA)
    if draw(st.booleans()):
        return whole, {key: draw(parts(item)) for key, item in whole.items() if draw(st.booleans())}
    return whole, draw(METADATA)


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    with closing(connect(tmp_path_factory.mktemp("containment") / "a.db")) as connection:
        yield connection


def found(sqlite: Connection, whole: Any, part: Any) -> bool:
    """The answer of SQL to a filter by a part, however the metadata is written."""
    name, values = containment(part)
    text = FORMS[name].text.replace("FROM users", "FROM (SELECT x'00' AS key, :whole AS metadata) AS users")
    texts = (json_of(whole), json.dumps(whole), json.dumps(whole, indent=1, ensure_ascii=False))
    answers = {bool(sqlite.execute(text, {**values, "whole": each}).fetchall()) for each in texts}
    (answer,) = answers
    return answer


@settings(max_examples=200, deadline=None)
@given(pair=pairs())
@example(pair=({"a": 10**30, "b": 1e16}, {"b": 10**16}))
@example(pair=({"a": 10**30, "b": 1e-7}, {"b": 1e-7}))
@example(pair=({"a": {"b": "c"}}, {"a": {"b": "c"}}))
@example(pair=({"a": [1]}, {"a": {}}))
def test_sql_and_leaves_agree_with_the_function(
    sqlite: Connection, pair: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    whole, part = pair
    expected = json_contains(json_of(whole), json_of(part))
    assert found(sqlite, whole, part) is expected
    if expected:
        assert set(leaves_of("users", "p", json_of(part))) <= set(leaves_of("users", "p", json_of(whole)))
