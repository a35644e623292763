"""Input is coerced by functions made once per type: as graphql-core does, or it is left to graphql-core."""

from functools import cache
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    Undefined,
    is_input_type,
    is_introspection_type,
)
from graphql.utilities import coerce_input_value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tests.breadth.everything as synthetic
from breadth.coercion import Unusual, coercer, converted
from schema.root import schema as real_schema


def input_types(schema: GraphQLSchema) -> list[GraphQLInputType]:
    named: list[Any] = [kind for kind in schema.type_map.values() if is_input_type(kind)]
    return [shape for kind in named if not is_introspection_type(kind) for shape in shapes(kind)]


def shapes(kind: Any) -> list[GraphQLInputType]:
    return [kind, GraphQLNonNull(kind), GraphQLList(kind), GraphQLNonNull(GraphQLList(GraphQLNonNull(kind)))]


TYPES = input_types(real_schema._schema) + input_types(synthetic.schema._schema)

ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=3),
    st.sampled_from(["2025-01-31T12:00:00Z", "USER", "now", 2**31, -(2**31) - 1]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


# Made once for a type: to make one takes longer than to draw from it.
@cache
def values_of(kind: Any, depth: int = 3) -> st.SearchStrategy[Any]:
    """Mostly what the type asks for, sometimes something else."""
    return st.one_of(fitting(kind, depth), fitting(kind, depth), fitting(kind, depth), ODD)


@cache
def fitting(kind: Any, depth: int) -> st.SearchStrategy[Any]:
    if isinstance(kind, GraphQLNonNull):
        return fitting(kind.of_type, depth)
    if isinstance(kind, GraphQLList):
        return st.lists(values_of(kind.of_type, depth), max_size=3)
    if isinstance(kind, GraphQLEnumType):
        return st.sampled_from(sorted(kind.values))
    if isinstance(kind, GraphQLInputObjectType):
        if not depth:
            return st.just({})
        parts = {name: fitting(field.type, depth - 1) for name, field in kind.fields.items()}
        needed = {name: part for name, part in parts.items() if isinstance(kind.fields[name].type, GraphQLNonNull)}
        others = {name: part for name, part in parts.items() if name not in needed}
        return st.one_of(
            st.fixed_dictionaries(needed, optional=others),
            st.fixed_dictionaries({}, optional={**parts, "unknown": st.just(1)}),
        )
    by_name: dict[str, st.SearchStrategy[Any]] = {
        "Int": st.integers(-(2**31), 2**31 - 1),
        "Float": st.floats(allow_nan=False, allow_infinity=False),
        "Boolean": st.booleans(),
        "DateTime": st.just("2025-01-31T12:00:00+01:00"),
    }
    return by_name.get(kind.name, st.text(max_size=5))


@given(data=st.data())
@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_a_value_is_coerced_as_graphql_core_does_or_left_to_it(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(TYPES))
    value = data.draw(values_of(kind))
    coerced = coerce_input_value(value, kind)
    try:
        plain = coercer(kind)(value)
    except Unusual:
        return
    assert coerced is not Undefined, f"{value!r} was taken for {kind}"
    assert plain == converted(kind, coerced)
    assert repr(plain) == repr(converted(kind, coerced)), "1 and True are equal"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (
            "AddMessagesInput",
            {"sessionId": "s", "messages": [{"role": "USER", "content": "Hello"}], "formMemories": False},
        ),
        ("CreateUserInput", {"userId": "u", "metadata": {"a": [1, None]}, "documents": None}),
        ("SessionFilter", {"createdAt": {"since": "2025-01-31T12:00:00Z"}, "deleted": True, "sessionIds": ["a"]}),
        ("CreateMemoryInput", {"userId": "u", "kind": "FACT", "content": "c", "rating": 0.5}),
    ],
)
def test_ordinary_values_need_no_judgement(name: str, value: Any) -> None:
    kind: Any = real_schema._schema.type_map[name]
    assert coercer(kind)(value) == converted(kind, coerce_input_value(value, kind))
