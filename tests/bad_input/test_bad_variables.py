"""Variables of the wrong type, times that are none, and texts that no database keeps."""

import json
from typing import Any

import pytest

from tests.bad_input.targets import MEBIBYTE, MUTATIONS, OPERATIONS, Target
from tests.documents import ERRORS

# Variables

WRONG_VARIABLES = [
    ("user", 5),
    ("user", None),
    ("user", True),
    ("user", ["a"]),
    ("user", {"a": 1}),
    ("user", 1.5),
    ("node", 1.5),
    ("node", True),
    ("node", {}),
    ("nodes", [None]),
    ("nodes", [[]]),
    ("nodes", {"a": 1}),
    ("nodes", ["x"] * 101),
    ("first", "1"),
    ("first", 1.5),
    ("first", True),
    ("first", 2**31),
    ("first", 2**63),
    ("first", 10**400),
    ("first", -(10**30)),
    ("first", 1e300),
    ("first", [1, 2]),
    ("first", {}),
    ("after", 5),
    ("after", []),
    ("users", 5),
    ("users", "x"),
    ("users", [1]),
    ("users", {"unknown": 1}),
    ("users", {"": 1}),
    ("users", {"\0": 1}),
    ("users", {"userIds": 5}),
    ("users", {"userIds": [None]}),
    ("users", {"userIds": {"a": 1}}),
    ("users", {"createdAt": 5}),
    ("users", {"createdAt": {"since": 5}}),
    ("users", {"createdAt": {"since": True}}),
    ("users", {"createdAt": {"since": {}}}),
    ("order", {"field": "NAME", "direction": "ASC"}),
    ("order", {"field": "\ud800", "direction": "ASC"}),
    ("order", {"field": "SESSION_ID"}),
    ("order", {"field": None, "direction": "ASC"}),
    ("order", {"field": ["SESSION_ID"], "direction": "ASC"}),
    ("include", "true"),
    ("include", 1),
    ("include", None),
    ("createUser", None),
    ("createUser", []),
    ("createUser", "x"),
    ("createUser", {"userId": 5}),
    ("createUser", {"userId": ["x"]}),
    ("createUser", {"documents": [None]}),
    ("createUser", {"documents": [{"title": "t"}]}),
    ("createUser", {"documents": 5}),
    ("createUser", {"createdAt": 1704067200}),
    ("updateUser", {}),
    ("updateUser", {"userId": None}),
    ("updateUser", {"userId": "here", "expectedVersion": "1"}),
    ("updateUser", {"userId": "here", "expectedVersion": 2**31}),
    ("updateUser", {"userId": "here", "metadataMode": "merge"}),
    ("addMessages", {"sessionId": "here", "messages": None}),
    ("addMessages", {"sessionId": "here", "messages": [{"content": "no role"}]}),
    ("addMessages", {"sessionId": "here", "messages": [{"role": "user", "content": "x"}]}),
    ("addMessages", {"sessionId": "here", "messages": [{"role": "USER", "content": 5}]}),
    ("addMessages", {"sessionId": "here", "messages": [{"role": "USER", "content": "x", "tokenCount": 1.5}]}),
    ("createMemory", {"userId": "here", "kind": "FACT", "content": "x", "rating": "1"}),
    ("createMemory", {"userId": "here", "kind": "FACT", "content": "x", "rating": True}),
    ("createMemory", {"userId": "here", "kind": "FACT", "content": "x", "sources": [None]}),
    ("createMemory", {"userId": "here", "kind": "fact", "content": "x"}),
    ("createSession", {"contextOverflow": "DROP"}),
    ("createSession", {"tokenBudget": 10**20}),
    ("deleteMessages", {"sessionId": "here", "fromSequence": 2**31}),
]


@pytest.mark.parametrize(("operation", "value"), WRONG_VARIABLES, ids=lambda value: ascii(value)[:60])
def test_a_variable_of_the_wrong_type_is_bad_user_input(target: Target, operation: str, value: Any) -> None:
    document = OPERATIONS.get(operation) or MUTATIONS[operation]
    assert target.codes(document, {"x": value}) == {"BAD_USER_INPUT"}


def test_a_missing_variable_is_bad_user_input(target: Target) -> None:
    for operation in ("user", "node", "nodes", "include"):
        assert target.codes(OPERATIONS[operation], {}) == {"BAD_USER_INPUT"}
        assert target.codes(OPERATIONS[operation], {"y": 1, "": 2, "\0": 3}) == {"BAD_USER_INPUT"}


# Times

GOOD_TIMES = {
    "2024-02-29T23:59:59Z": "2024-02-29T23:59:59+00:00",
    "2024-01-01T00:00:00.123456Z": "2024-01-01T00:00:00.123456+00:00",
    "2024-01-01T00:00:00.5-12:30": "2024-01-01T12:30:00.500000+00:00",
    "2024-01-01T00:00:00+00:00": "2024-01-01T00:00:00+00:00",
    "2024-01-01T23:59:59+23:59": "2024-01-01T00:00:59+00:00",
    "0001-01-01T00:00:00Z": "0001-01-01T00:00:00+00:00",
    "9999-12-31T23:59:59.999999Z": "9999-12-31T23:59:59.999999+00:00",
}
BAD_TIMES = [
    "2024-01-01T00:00:00",
    "2024-01-01T00:00:00.000000",
    "2024-01-01",
    "2024",
    "00:00:00Z",
    "2024-02-30T00:00:00Z",
    "2023-02-29T00:00:00Z",
    "2024-13-01T00:00:00Z",
    "2024-00-01T00:00:00Z",
    "2024-01-00T00:00:00Z",
    "2024-01-01T24:00:01Z",
    "2024-01-01T25:00:00Z",
    "2024-01-01T00:60:00Z",
    "2024-01-01T00:00:61Z",
    "2024-01-01T00:00:00+25:00",
    "2024-01-01T00:00:00+0100",
    "2024-01-01T00:00:00+01",
    "2024-01-01T00:00:00 +01:00",
    "2024-01-01T00:00:00+01:00:30",
    "2024-01-01T00:00Z",
    "2024-01-01T00Z",
    "20240101T000000Z",
    "2024-W01-1T00:00:00Z",
    "2024-001T00:00:00Z",
    "24-01-01T00:00:00Z",
    "12024-01-01T00:00:00Z",
    "+2024-01-01T00:00:00Z",
    "-2024-01-01T00:00:00Z",
    "2024-1-1T00:00:00Z",
    "2024-01-01T00:00:00,5Z",
    "2024-01-01T00:00:00.Z",
    "2024-01-01T00:00:00ZZ",
    "2024-01-01T00:00:00Z\n",
    " 2024-01-01T00:00:00Z",
    "2024-01-01T00:00:00Z\0",
    "２０２４-01-01T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+00:01",
    "9999-12-31T23:59:59-00:01",
    "1704067200",
    "now",
    "",
    "\ud800",
    "x" * 100_000,
]


def test_times_are_taken_with_their_offset_and_given_back_in_utc(target: Target) -> None:
    query = "query ($since: DateTime) { users(filter: {createdAt: {since: $since}}) { totalCount } }"
    mutation = """mutation ($at: DateTime) {
      createMemory(input: {userId: "here", kind: EVENT, content: "x", validFrom: $at}) { memory { validFrom } }
    }"""
    for text, expected in GOOD_TIMES.items():
        assert target.ask(query, {"since": text})["data"]
        assert target.ask(query.replace("$since}", f'"{text}"}}').replace("($since: DateTime)", ""))["data"]
        given = target.ask(mutation, {"at": text})["data"]["createMemory"]["memory"]["validFrom"]
        assert given.endswith("Z")
        whole = expected if "." in expected else expected.replace("+", ".000000+")
        assert given in (expected.replace("+00:00", "Z"), whole.replace("+00:00", "Z"))


@pytest.mark.parametrize("text", BAD_TIMES, ids=lambda text: ascii(text)[:40])
def test_a_time_that_is_none_is_bad_user_input(target: Target, text: str) -> None:
    query = "query ($since: DateTime) { users(filter: {createdAt: {since: $since}}) { totalCount } }"
    assert target.codes(query, {"since": text}) == {"BAD_USER_INPUT"}
    assert target.codes(OPERATIONS["users"], {"x": {"createdAt": {"until": text}}}) == {"BAD_USER_INPUT"}
    assert target.codes(OPERATIONS["memories"], {"x": {"asOf": text}}) == {"BAD_USER_INPUT"}
    assert target.codes(MUTATIONS["createUser"], {"x": {"createdAt": text}}) == {"BAD_USER_INPUT"}
    assert target.codes(MUTATIONS["purgeDeleted"], {"x": {"deletedBefore": text}}) == {"BAD_USER_INPUT"}
    if text.isprintable():
        literal = json.dumps(text, ensure_ascii=False)
        codes = target.codes(f"{{ users(filter: {{createdAt: {{since: {literal}}}}}) {{ totalCount }} }}")
        assert codes <= {"BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED"}


# Texts that no database keeps

TEXTS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("createUser", {"userId": "@"}, ["userId"]),
    ("createUser", {"email": "@"}, ["email"]),
    ("createUser", {"firstName": "@"}, ["firstName"]),
    ("createUser", {"lastName": "@"}, ["lastName"]),
    ("createUser", {"name": "@"}, ["name"]),
    ("createUser", {"about": "@"}, ["about"]),
    ("createUser", {"metadata": {"a": "@"}}, ["metadata"]),
    ("createUser", {"metadata": {"@": 1}}, ["metadata"]),
    ("createUser", {"metadata": {"a": [{"b": ["@"]}]}}, ["metadata"]),
    ("createUser", {"metadata": {"a": {"@": {}}}}, ["metadata"]),
    ("createUser", {"documents": [{"title": "@", "content": "c"}]}, ["documents", "0", "title"]),
    ("createUser", {"documents": [{"title": "t", "content": "@"}]}, ["documents", "0", "content"]),
    (
        "createUser",
        {"documents": [{"title": "t", "content": "c", "metadata": {"a": "@"}}]},
        ["documents", "0", "metadata"],
    ),
    ("updateUser", {"userId": "here", "about": "@"}, ["about"]),
    ("updateUser", {"userId": "here", "metadata": {"@": None}}, ["metadata"]),
    ("updateUser", {"userId": "here", "metadata": {"a": "@"}, "metadataMode": "REPLACE"}, ["metadata"]),
    ("upsertUser", {"userId": "here", "name": "@"}, ["name"]),
    ("upsertUser", {"userId": "@"}, ["userId"]),
    ("createSession", {"sessionId": "@"}, ["sessionId"]),
    ("createSession", {"situation": "@"}, ["situation"]),
    ("updateSession", {"sessionId": "here", "situation": "@"}, ["situation"]),
    ("upsertSession", {"sessionId": "here", "metadata": {"a": "@"}}, ["metadata"]),
    ("addMessages", {"sessionId": "@", "messages": [{"role": "USER", "content": "c"}]}, ["sessionId"]),
    (
        "addMessages",
        {"sessionId": "here", "messages": [{"role": "USER", "content": "@"}]},
        ["messages", "0", "content"],
    ),
    (
        "addMessages",
        {
            "sessionId": "here",
            "messages": [{"role": "USER", "content": "c"}, {"role": "USER", "content": "c", "name": "@"}],
        },
        ["messages", "1", "name"],
    ),
    (
        "addMessages",
        {"sessionId": "here", "messages": [{"role": "USER", "content": "c", "messageId": "@"}]},
        ["messages", "0", "messageId"],
    ),
    (
        "addMessages",
        {"sessionId": "here", "messages": [{"role": "USER", "content": "c", "parts": [{"@": 1}]}]},
        ["messages", "0", "parts"],
    ),
    (
        "addMessages",
        {"sessionId": "here", "messages": [{"role": "USER", "content": "c", "toolCalls": ["@"]}]},
        ["messages", "0", "toolCalls"],
    ),
    (
        "addMessages",
        {"sessionId": "here", "messages": [{"role": "TOOL", "content": "c", "toolCallId": "@"}]},
        ["messages", "0", "toolCallId"],
    ),
    (
        "addMessages",
        {"sessionId": "here", "messages": [{"role": "USER", "content": "c", "metadata": {"a": "@"}}]},
        ["messages", "0", "metadata"],
    ),
    ("createMemory", {"userId": "here", "kind": "FACT", "content": "@"}, ["content"]),
    ("createMemory", {"userId": "here", "kind": "FACT", "content": "c", "memoryId": "@"}, ["memoryId"]),
    ("createMemory", {"userId": "here", "kind": "FACT", "content": "c", "metadata": {"@": 1}}, ["metadata"]),
    ("createDocument", {"userId": "here", "title": "@", "content": "c"}, ["title"]),
    ("createDocument", {"userId": "here", "title": "t", "content": "@"}, ["content"]),
    ("createDocument", {"userId": "here", "title": "t", "content": "c", "documentId": "@"}, ["documentId"]),
    ("createAgent", {"name": "@"}, ["name"]),
    ("createAgent", {"agentId": "@", "name": "n"}, ["agentId"]),
    ("createAgent", {"name": "n", "instructions": "@"}, ["instructions"]),
    ("createAgent", {"name": "n", "model": "@"}, ["model"]),
    ("upsertAgent", {"agentId": "here", "name": "n", "about": "@"}, ["about"]),
]


def put(where: Any, text: str) -> Any:
    """A copy of an input with a text in the place of @."""
    if isinstance(where, dict):
        return {put(key, text): put(value, text) for key, value in where.items()}
    if isinstance(where, list):
        return [put(value, text) for value in where]
    return text if where == "@" else where


@pytest.mark.parametrize("text", ["a\0b", "\0", "\ud800", "a\udfffb", "\udc00\ud800"], ids=ascii)
@pytest.mark.parametrize(
    ("mutation", "fields", "path"), TEXTS, ids=lambda value: str(value) if isinstance(value, str) else ""
)
def test_a_text_that_no_database_keeps_is_invalid(
    target: Target, mutation: str, fields: dict[str, Any], path: list[str], text: str
) -> None:
    (error, *_) = target.user_errors(mutation, **put(fields, text))
    assert error[0] == "INVALID"
    assert error[1][: len(path)] == path


@pytest.mark.parametrize(
    "text", ["a\0b", "\0", "\ud800", "", "x" * 513, "x" * MEBIBYTE], ids=lambda text: ascii(text)[:12]
)
def test_a_key_that_cannot_be_is_not_found(target: Target, text: str) -> None:
    for operation in ("user", "session", "agent", "node"):
        answer = target.ask(OPERATIONS[operation], {"x": text})
        if "errors" in answer:
            assert "\ud800" in text or "\0" in text, answer
            assert {error["extensions"]["code"] for error in answer["errors"]} == {"BAD_USER_INPUT"}
        else:
            assert answer == {"data": {operation: None}}
    answer = target.ask(OPERATIONS["nodes"], {"x": [text, target.user]})
    assert "errors" in answer or answer == {"data": {"nodes": [None, {"id": target.user}]}}
    for field in ("userIds", "emails"):
        answer = target.ask(OPERATIONS["users"], {"x": {field: [text]}})
        assert "errors" in answer or answer["data"]["users"] == {"totalCount": 0, "nodes": []}
    for metadata in ({"a": text}, {text: 1}, {"a": [{text: [text]}]}):
        for operation in ("users", "sessions", "messages", "memories", "documents"):
            target.ask(OPERATIONS[operation], {"x": {"metadata": metadata}})
    for mutation, key in (
        ("deleteUser", "userId"),
        ("endSession", "sessionId"),
        ("deleteAgent", "agentId"),
        ("deleteMemory", "id"),
    ):
        assert {code for code, _ in target.user_errors(mutation, **{key: text})} <= {
            "NOT_FOUND",
            "INVALID",
            "TOO_LARGE",
        }


def test_a_text_in_a_document_may_be_anything_that_graphql_can_write(target: Target) -> None:
    document = 'mutation { createUser(input: {name: "a\\u0000b"}) { user { id } userErrors { code message path } } }'
    errors = target.ask(document)["data"]["createUser"]["userErrors"]
    assert [(error["code"], error["path"]) for error in errors] == [("INVALID", ["name"])]
    for raw in ("a\0b", "\ud800", "\x07", "\x7f"):
        target.ask(f'mutation {{ createUser(input: {{name: "{raw}"}}) {{ user {{ name }} {ERRORS} }} }}')
    for text in ("\\uD83E\\uDD86", "\\u{1F986}", "🦆"):
        document = f'mutation {{ createUser(input: {{name: "{text}"}}) {{ user {{ name }} }} }}'
        assert target.ask(document) == {"data": {"createUser": {"user": {"name": "🦆"}}}}


def test_every_other_character_is_kept(target: Target) -> None:
    text = "".join(
        map(chr, [*range(1, 0x20), 0x7F, 0x85, 0xA0, 0x2028, 0x2029, 0xFEFF, 0xFFFD, 0xFFFE, 0xFFFF, 0x10FFFF])
    )
    mutation = """mutation ($x: CreateUserInput!) {
      createUser(input: $x) { user { userId name about metadata } userErrors { code message path } }
    }"""
    given = {"userId": text, "name": text, "about": text, "metadata": {text: [text]}}
    answer = target.ask(mutation, {"x": given})
    assert answer["data"]["createUser"] == {"user": given, "userErrors": []}
    assert target.ask(OPERATIONS["user"], {"x": text}) == {"data": {"user": {"userId": text}}}
