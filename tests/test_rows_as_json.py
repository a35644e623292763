"""Rows whose values the database gives as JSON: in lists of objects, of which only plain values are selected."""

from typing import Any

import pytest
from graphql import GraphQLEnumType, GraphQLNonNull, get_named_type, is_leaf_type
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from breadth.coercion import STRAWBERRY
from models import columns, tables
from schema.root import schema
from schema.scalars import WRITTEN
from tests.servers import Server

NOUNS = {
    "User": tables.users,
    "Session": tables.sessions,
    "Message": tables.messages,
    "Memory": tables.memories,
    "Document": tables.documents,
    "Agent": tables.agents,
}
KINDS = {"DateTime": columns.Time, "Int": columns.Number}


def plain_fields(noun: str) -> dict[str, Any]:
    """The fields of a noun whose values are columns of its rows, by the names of these."""
    kind: Any = schema._schema.type_map[noun]
    fields = {field.extensions[STRAWBERRY].python_name: field for field in kind.fields.values()}
    return {
        name: field.type
        for name, field in fields.items()
        if is_leaf_type(get_named_type(field.type)) and field.extensions[STRAWBERRY].base_resolver is None
    }


@pytest.mark.once
@pytest.mark.parametrize("noun", NOUNS)
def test_a_field_that_is_read_as_json_has_a_column_of_its_type(noun: str) -> None:
    fields = plain_fields(noun)
    assert fields
    for name, kind in fields.items():
        leaf = get_named_type(kind)
        column = NOUNS[noun].columns[name]
        if leaf.name in WRITTEN or isinstance(leaf, GraphQLEnumType):
            assert column.type is KINDS.get(leaf.name, columns.Words), f"{noun}.{name}"
            assert not (isinstance(kind, GraphQLNonNull) and column.nullable), f"{noun}.{name}"


TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1, max_size=20)


ADD = """mutation ($messages: [MessageInput!]!) {
  addMessages(input: {sessionId: "texts", messages: $messages, formMemories: false}) {
    messages { role content name tokenCount createdAt utcOffset } userErrors { code message }
  }
}"""
LAST = """query ($last: Int!) {
  session(sessionId: "texts") { messages(last: $last) { nodes { role content name tokenCount createdAt utcOffset } } }
}"""


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS, st.integers(0, 2**31 - 1), st.sampled_from(["2024-02-29T23:59:59Z", "1970-01-01T00:00:00.000001Z", None]))
def test_every_text_comes_back_as_it_was(server: Server, texts: list[str], count: int, time: str | None) -> None:
    messages = [
        {"role": "USER", "content": text, "name": text[:100].strip() or None, "tokenCount": count, "createdAt": time}
        for text in texts
    ]
    added = server.graphql(ADD, messages=messages)["addMessages"]
    assert added["userErrors"] == []
    last = server.graphql(LAST, last=len(texts))["session"]["messages"]["nodes"]
    assert last == added["messages"]
    assert [message["content"] for message in last] == texts


def test_the_same_values_are_selected_under_several_names(server: Server) -> None:
    server.graphql(ADD, messages=[{"role": "USER", "content": "a"}, {"role": "TOOL", "content": "b"}])
    messages = server.graphql(
        """{ session(sessionId: "texts") { messages {
          nodes { content role } edges { cursor node { text: content who: role } } ...Again
        } } } fragment Again on MessageConnection { more: nodes { role content } edges { node { text: content } } }"""
    )["session"]["messages"]
    assert messages["nodes"] == [{"content": "a", "role": "USER"}, {"content": "b", "role": "TOOL"}]
    assert [edge["node"] for edge in messages["edges"]] == [{"text": "a", "who": "USER"}, {"text": "b", "who": "TOOL"}]
    assert [(node["role"], node["content"]) for node in messages["more"]] == [("USER", "a"), ("TOOL", "b")]


def test_a_value_may_have_many_aliases(server: Server) -> None:
    server.graphql(ADD, messages=[{"role": "USER", "content": "a"}])
    wanted = {f"a{n}": "a" for n in range(15)} | {"role": "USER"}
    aliases = " ".join(f"{alias}: content" for alias in wanted if alias != "role")
    nodes = server.graphql(f'{{ session(sessionId: "texts") {{ messages {{ nodes {{ {aliases} role }} }} }} }}')
    assert nodes["session"]["messages"]["nodes"] == [wanted]
