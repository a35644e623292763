"""No message speaks Python: what is wrong with a value is said in the words of JSON, and with its place."""

import io
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from graphql import (
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    build_schema,
    get_named_type,
    is_enum_type,
    is_input_object_type,
    is_leaf_type,
    is_list_type,
    is_object_type,
    is_required_argument,
    is_required_input_field,
)

from recallql.commands.archive import ArchiveProblem, import_file
from recallql.commands.lines import LineReader, line_types
from recallql.settings import Settings
from resolvers.archive.entries import BadLine
from tests.places import Fresh, Place
from tests.servers import REPOSITORY, Server

pytestmark = pytest.mark.once

SCHEMA = build_schema((REPOSITORY / "schema.graphql").read_text(encoding="utf-8"))
PYTHON = re.compile(
    r"\b(None|True|False|NoneType|Undefined|dict|tuple|bytes|str|int|bool|object at)\b|'(float|list)'|\bb'|<class"
)
VALUES: list[Any] = [None, True, -1, 1.5, 10**30, "None", [None, True], {"a": None, "z": [False]}]


@pytest.fixture(scope="module")
def server(shared: Fresh) -> Iterator[Server]:
    running = Server(shared())
    yield running
    running.close()


def literal(value: Any) -> str:
    """A value as GraphQL writes it."""
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {literal(item)}' for name, item in value.items())}}}"
    return json.dumps(value)


def plausible(kind: GraphQLInputType) -> Any:
    """A value that is right for a type."""
    if isinstance(kind, GraphQLNonNull):
        return plausible(kind.of_type)
    if isinstance(kind, GraphQLList):
        return []
    if is_enum_type(kind):
        return next(iter(kind.values))
    if is_input_object_type(kind):
        return required(kind)
    simple = {"Int": 1, "Float": 1.0, "Boolean": True, "DateTime": "2024-01-01T00:00:00Z", "JSON": {}}
    return simple.get(kind.name, "x")


def required(kind: GraphQLInputObjectType) -> dict[str, Any]:
    return {name: plausible(field.type) for name, field in kind.fields.items() if is_required_input_field(field)}


def variations(kind: GraphQLInputType, depth: int = 2) -> Iterator[list[Any]]:
    """Values of every kind for a type, and for each field within it."""
    yield VALUES
    inner = get_named_type(kind)
    if not is_input_object_type(inner) or not depth:
        return
    for name, field in inner.fields.items():
        for values in variations(field.type, depth - 1):
            objects = [required(inner) | {name: value} for value in values]
            yield [[each] for each in objects] if is_list_type(getattr(kind, "of_type", kind)) else objects


def selection(field: GraphQLField) -> str:
    kind = get_named_type(field.type)
    return "" if is_leaf_type(kind) else "{ userErrors { message } }" if "Payload" in kind.name else "{ __typename }"


def fields() -> Iterator[tuple[str, str, GraphQLField]]:
    """Every query and mutation, and every field with arguments of the objects that they give."""
    for operation, root in (("query", SCHEMA.query_type), ("mutation", SCHEMA.mutation_type)):
        assert root is not None
        for name, field in root.fields.items():
            yield f"{operation} {{declared}} {{{{ {{asked}} }}}}", name, field
    for parent, path in (("User", 'user(userId: "x")'), ("Session", 'session(sessionId: "x")')):
        kind = SCHEMA.type_map[parent]
        assert is_object_type(kind)
        for name, field in kind.fields.items():
            yield f"query {{declared}} {{{{ {path} {{{{ {{asked}} }}}} }}}}", name, field


def requests() -> Iterator[tuple[str, dict[str, Any]]]:
    """A request for every argument and input field, with values of every kind, as literals and as variables."""
    for form, name, field in fields():
        needed = {key: plausible(each.type) for key, each in field.args.items() if is_required_argument(each)}
        for key, argument in field.args.items():
            others = "".join(f", {other}: {literal(value)}" for other, value in needed.items() if other != key)
            for values in variations(argument.type):
                asked = [f"a{n}: {name}({key}: {literal(value)}{others})" for n, value in enumerate(values)]
                rest = selection(field)
                yield form.format(declared="", asked=" ".join(f"{each} {rest}" for each in asked)), {}
                declared = ", ".join(f"$v{n}: {argument.type}" for n in range(len(values)))
                asked = [f"a{n}: {name}({key}: $v{n}{others}) {rest}" for n in range(len(values))]
                given = {f"v{n}": value for n, value in enumerate(values)}
                yield form.format(declared=f"({declared})", asked=" ".join(asked)), given


def test_no_message_about_a_value_speaks_python_and_each_gives_its_place(server: Server) -> None:
    messages: set[str] = set()
    for query, variables in requests():
        answer = server.post({"query": query, "variables": variables}).json()
        for error in answer.get("errors", []):
            messages.add(error["message"])
            assert error.get("locations") or error.get("path"), (query, error)
    assert len(messages) > 1000
    # What was sent may be repeated: the text "None" in quotes.
    spoken = [message for message in messages if PYTHON.search(re.sub("[\"']None[\"']", "", message))]
    assert spoken == []


SHOWN = {
    "query ($v: Int) { users(first: $v) { totalCount } }": [
        (True, "true"),
        ([None], "[null]"),
        ({"a": [False, None]}, '{"a": [false, null]}'),
        ("True", '"True"'),
        ("x" * 1000, '"' + "x" * 200 + "…"),
        (list(range(1000)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …]"),
        ([[[[[1]]]]], "[[[…]]]"),
    ],
    "query ($v: SessionOrder) { sessions(orderBy: $v) { totalCount } }": [
        ({"field": None, "direction": "ASC"}, "not to be null"),
        ({"None": True}, '{"None": true}'),
    ],
}


def test_a_wrong_variable_is_shown_as_json_and_in_part_if_it_is_long(server: Server) -> None:
    for query, values in SHOWN.items():
        for value, shown in values:
            (error, *_) = server.post({"query": query, "variables": {"v": value}}).json()["errors"]
            assert shown in error["message"]
            assert len(error["message"]) < 500


@pytest.mark.parametrize(
    ("query", "line", "column"),
    [
        ("{ users(\n first: true) { totalCount } }", 2, 9),
        ("{ sessions(filter: { deleted:\n  [[]] }) { totalCount } }", 2, 3),
        ("{ sessions(filter: { userIds: [1,\n  true] }) { totalCount } }", 1, 32),
        ('mutation { createUser(input: { metadata: {}, createdAt:\n "yesterday" }) { userErrors { code } } }', 2, 2),
        ('mutation { createUser(input: {\n usrId: "x" }) { userErrors { code } } }', 2, 2),
        ("{ sessions(orderBy: { field: null, direction: ASC }) { totalCount } }", 1, 30),
    ],
)
def test_a_wrong_literal_gives_its_line_and_column(server: Server, query: str, line: int, column: int) -> None:
    errors = server.execute(query)["errors"]
    assert errors[0]["locations"] == [{"line": line, "column": column}]


# Imports

BASE: dict[str, dict[str, Any]] = {
    "user": {"userId": "ada"},
    "agent": {"agentId": "a", "name": "A"},
    "session": {"sessionId": "s"},
    "message": {"sessionId": "s", "role": "USER", "content": "x"},
    "document": {"userId": "ada", "title": "t", "content": "c"},
    "memory": {"userId": "ada", "kind": "FACT", "content": "x"},
}


def lines() -> Iterator[bytes]:
    yield from (b"{", b"5", b"null", b"true", b"[]", b'"x"', b"\xff", b"{}", b"NaN", b"[" * 5000)
    for kind in (None, True, 5, ["user"], {"a": None}, "x"):
        yield json.dumps({"type": kind}).encode()
    for kind, fields_of_kind in line_types().items():
        for name, field in fields_of_kind.fields.items():
            for values in variations(field.type, 1):
                for value in values:
                    yield json.dumps({"type": kind, **BASE[kind], name: value}).encode()
        for name in BASE[kind]:
            yield json.dumps({"type": kind, **{key: BASE[kind][key] for key in BASE[kind].keys() - {name}}}).encode()
        yield json.dumps({"type": kind, **BASE[kind], "unknown": None}).encode()


def problem_of(line: bytes, reader: LineReader, settings: Settings) -> str:
    """The fault that an import reports for a line; empty when it is imported."""
    try:
        if reader.read(1, line)["type"] != "session":
            return ""
        import_file(io.BytesIO(line), settings, size=None)
    except (BadLine, ArchiveProblem) as problem:
        return str(problem)
    return ""


def test_no_message_about_a_line_of_an_import_speaks_python(place: Place) -> None:
    settings = Settings(database_url=place.url)
    reader = LineReader()
    messages = {problem_of(line, reader, settings) for line in lines()}
    assert len(messages) > 300
    spoken = [message for message in messages if PYTHON.search(re.sub("[\"']None[\"']", "", message))]
    assert spoken == []
