"""Every column of every noun goes through creation, update, upsert, export and import, as its description says."""

import io
import json
from typing import Any

import pytest
from sqlalchemy import Table

from models import tables
from recallql.commands.archive import export_file, import_file
from recallql.settings import Settings
from resolvers.archive.kinds import KINDS
from resolvers.inputs import camel
from resolvers.nouns import Attribute, Derived, Internal, Noun
from tests.places import Fresh, Place
from tests.servers import Server

NOUNS = {kind.noun.name: kind.noun for kind in KINDS.values()}
TABLES: dict[str, Table] = {
    "User": tables.users,
    "Agent": tables.agents,
    "Document": tables.documents,
    "Session": tables.sessions,
    "Message": tables.messages,
    "Memory": tables.memories,
}
TYPES = {
    "key": tables.Key,
    "time": tables.Time,
    "text": tables.Words,
    "integer": tables.Number,
    "json": tables.Json,
    "flag": tables.Flag,
}

THEN = "2024-05-06T07:08:09Z"

# What each attribute is given in a creation and, unless it is fixed, in an update.
VALUES: dict[str, dict[str, tuple[Any, ...]]] = {
    "User": {
        "user_id": ("ada",),
        "email": ("Ada@x.org", "Byron@x.org"),
        "first_name": ("Ada", "Augusta"),
        "last_name": ("Lovelace", "King"),
        "name": ("A. L.", "A. K."),
        "about": ("a countess", "an analyst"),
        "form_memories": (False, True),
        "metadata": ({"n": 1}, {"m": 2}),
        "created_at": (THEN,),
    },
    "Agent": {
        "agent_id": ("tutor",),
        "name": ("Tutor", "Teacher"),
        "about": ("for sums", "for proofs"),
        "instructions": ("Be brief.", "Be kind."),
        "model": ("small", "large"),
        "metadata": ({"n": 1}, {"m": 2}),
    },
    "Session": {
        "session_id": ("s",),
        "title": ("Sums", "Proofs"),
        "situation": ("on a ship", "ashore"),
        "form_memories": (False, True),
        "metadata": ({"n": 1}, {"m": 2}),
        "token_budget": (900, 800),
        "context_overflow": ("TRUNCATE", "ADAPTIVE"),
        "created_at": (THEN,),
        "last_activity_at": (THEN,),
    },
    "Document": {
        "document_id": ("d",),
        "title": ("Notes", "Letters"),
        "content": ("on engines", "on poetry"),
        "metadata": ({"n": 1}, {"m": 2}),
        "created_at": (THEN,),
    },
    "Memory": {
        "memory_id": ("y",),
        "kind": ("FACT", "EVENT"),
        "content": ("Likes tea.", "Drank tea."),
        "rating": (0.5, 0.75),
        "valid_from": ("2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"),
        "valid_until": ("2034-01-01T00:00:00Z", "2034-01-02T00:00:00Z"),
        "expires_at": ("2035-01-01T00:00:00Z", "2035-01-02T00:00:00Z"),
        "metadata": ({"n": 1}, {"m": 2}),
        "created_at": (THEN,),
        "about": ("Charles",),
    },
    "Message": {
        "message_id": ("m",),
        "role": ("USER",),
        "name": ("Ada",),
        "content": ("Hello.", "Good-bye."),
        "parts": ([{"type": "text", "text": "You!"}], [{"type": "text", "text": "All!"}]),
        "tool_calls": ([{"id": "c1", "name": "f"}], [{"id": "c2", "name": "g"}]),
        "tool_call_id": ("c0",),
        "metadata": ({"n": 1}, {"m": 2}),
        "token_count": (5, 6),
        "created_at": ("2024-05-06T07:08:09+02:00",),
    },
}

# What the server comes to keep of its own, as it would be after a while.
INTERNAL: dict[str, dict[str, Any]] = {
    "User": {"updated_at": "2025-01-01T00:00:00", "version": 7},
    "Agent": {"created_at": "2024-01-01T00:00:00", "updated_at": "2025-01-01T00:00:00", "version": 7},
    "Session": {"updated_at": "2025-01-01T00:00:00", "ended_at": "2025-01-01T00:00:00", "version": 7}
    | {"last_sequence": 9},
    "Document": {"key": b"d" * 16, "updated_at": "2025-01-01T00:00:00", "version": 7},
    "Memory": {"key": b"y" * 16, "updated_at": "2025-01-01T00:00:00", "version": 7, "method": "RULE", "model": "m"}
    | {"subject": "tea", "superseded_by": b"n" * 16, "superseded_from": "2025-01-01T00:00:00"}
    | {"corrected_at": "2025-01-01T00:00:00"},
    "Message": {"sequence": 4, "updated_at": "2025-01-01T00:00:00", "version": 7, "digest": b"m" * 16},
}
OWNERS = {
    "Session": {"user_id": "ada", "agent_id": "tutor"},
    "Document": {"user_id": "ada"},
    "Memory": {"session_id": "s"},
}
UPSERTED = ("User", "Agent", "Session")


@pytest.mark.parametrize("name", NOUNS)
def test_every_column_of_a_table_is_described_in_its_order_and_type(name: str) -> None:
    noun, table = NOUNS[name], TABLES[name]
    assert list(noun.columns) == [column.name for column in table.columns]
    types = {column.name: column.type for column in table.columns}
    for column in noun.columns.values():
        assert column.type == "number" or str(types[column.name]) == str(TYPES[column.type]), column


@pytest.mark.parametrize("name", NOUNS)
def test_every_attribute_has_values_to_go_through_this_test(name: str) -> None:
    columns = NOUNS[name].columns.values()
    attributes = {column.name: column for column in columns if isinstance(column, Attribute)}
    assert VALUES[name].keys() == attributes.keys()
    assert {name for name, values in VALUES[name].items() if len(values) == 1} == {
        name for name, column in attributes.items() if column.fixed
    }
    exported = {column.name for column in columns if isinstance(column, Internal) and column.exported}
    assert INTERNAL[name].keys() == exported


def given(name: str, which: int) -> dict[str, Any]:
    """The attributes that an input gives: all, or those of an update."""
    return {attribute: values[which] for attribute, values in VALUES[name].items() if len(values) > which}


def mutate(server: Server, verb: str, name: str, fields: dict[str, Any]) -> str:
    """Carries out a mutation on one object; its id."""
    written = {camel(field): value for field, value in fields.items()}
    if (verb, name) == ("create", "Message"):
        said = {"sessionId": "s", "messages": [written], "formMemories": False}
        query = "mutation ($input: AddMessagesInput!) { done: addMessages(input: $input) { messages { id } %s } }"
        return server.accepted(query % "userErrors { message }", **said)["messages"][0]["id"]
    field, type = f"{verb}{name}", f"{verb.capitalize()}{name}Input"
    query = "mutation ($input: %s!) { %s(input: $input) { %s { id } userErrors { message } } }"
    return server.accepted(query % (type, field, name.lower()), **written)[name.lower()]["id"]


def row_of(place: Place, name: str) -> dict[str, Any]:
    """The one row of a noun's table."""
    columns = NOUNS[name].columns
    (row,) = place.query(f"SELECT {', '.join(columns)} FROM {TABLES[name].name}")
    return dict(zip(columns, row, strict=True))


def assert_kept(noun: Noun, row: dict[str, Any], values: dict[str, Any]) -> None:
    for attribute, value in values.items():
        kept = json.loads(row[attribute]) if noun.columns[attribute].type == "json" else row[attribute]
        if noun.columns[attribute].type == "time":
            value = value.removesuffix("Z").replace("07:08:09+02:00", "05:08:09")
        assert kept == value, f"{noun.name}.{attribute}"
    for column in noun.columns.values():
        if isinstance(column, Derived) and not column.kept:
            assert row[column.name] == column.by(*[row[source] for source in column.of]), f"{noun.name}.{column.name}"


def create_all(server: Server) -> dict[str, str]:
    """Creates one object of each noun; their ids."""
    ids: dict[str, str] = {}
    for name, noun in NOUNS.items():
        ids[name] = mutate(server, "create", name, given(name, 0) | OWNERS.get(name, {}))
        assert_kept(noun, row_of(server.place, name), given(name, 0))
    return ids


def test_every_attribute_is_created_updated_and_upserted(server: Server) -> None:
    ids = create_all(server)
    for name, noun in NOUNS.items():
        own = f"{name.lower()}_id" if name in UPSERTED else "id"
        named = {own: ids[name] if own == "id" else VALUES[name][own][0], "metadata_mode": "REPLACE"}
        mutate(server, "update", name, given(name, 1) | named)
        assert_kept(noun, row_of(server.place, name), given(name, 1))
        if name in UPSERTED:
            again = {attribute: given(name, 0)[attribute] for attribute in given(name, 1)}
            mutate(server, "upsert", name, again | named)
            assert_kept(noun, row_of(server.place, name), again)


@pytest.mark.parametrize("name", UPSERTED)
def test_an_upsert_creates_with_every_attribute(server: Server, name: str) -> None:
    values = given(name, 1) | {f"{name.lower()}_id": "new"}
    mutate(server, "upsert", name, values)
    assert_kept(NOUNS[name], row_of(server.place, name), values)


def test_null_gives_an_attribute_its_default_again(server: Server) -> None:
    ids = create_all(server)
    for name, noun in NOUNS.items():
        columns = [noun.columns[attribute] for attribute in given(name, 1)]
        cleared = [c for c in columns if isinstance(c, Attribute) and not c.required and c.name != "token_count"]
        own = f"{name.lower()}_id" if name in UPSERTED else "id"
        named = {own: ids[name] if own == "id" else VALUES[name][own][0]}
        mutate(server, "update", name, {column.name: None for column in cleared} | named)
        row = row_of(server.place, name)
        assert {c.name: row[c.name] for c in cleared} == {c.name: c.default for c in cleared}, name


def test_every_column_comes_back_from_an_export(server: Server, fresh: Fresh) -> None:
    create_all(server)
    for name, values in INTERNAL.items():
        changes = ", ".join(f"{column} = ${n}" for n, column in enumerate(values, 1))
        server.place.query(f"UPDATE {TABLES[name].name} SET {changes}", *values.values())
    lines = io.BytesIO()
    export_file(lines, Settings(database_url=server.place.url))
    lines.seek(0)
    copy = fresh()
    import_file(lines, Settings(database_url=copy.url), size=None)
    for name in NOUNS:
        assert row_of(copy, name) == row_of(server.place, name), name
