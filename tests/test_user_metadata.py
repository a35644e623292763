"""Metadata and texts, as users have them and other objects too: merging, limits, and what no database stores."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.servers import Server
from tests.users import (
    CREATE,
    GET,
    LIST,
    NODE,
    UPDATE,
    UPSERT,
    create,
    get,
    nested,
    update,
)

RFC_7396 = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ({"a": "foo"}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
    ({"a": {"b": 1}}, {"a": [None, {"b": None}]}, {"a": [None, {"b": None}]}),
    (
        {"a": {"b": 1, "c": {"d": 2}}, "l": [1, 2]},
        {"a": {"c": {"e": 3}}},
        {"a": {"b": 1, "c": {"d": 2, "e": 3}}, "l": [1, 2]},
    ),
    ({"a": 1}, {"b": None}, {"a": 1}),
    ({"a": False, "b": 0}, {"a": 0, "b": False}, {"a": 0, "b": False}),
]


def test_metadata_is_merged_by_default(server: Server) -> None:
    create(server, userId="ada", metadata={"foo": "bar"})
    assert update(server, userId="ada", metadata={"qax": "baz"})["metadata"] == {"foo": "bar", "qax": "baz"}


def test_metadata_is_merged_as_rfc_7396_says(server: Server) -> None:
    for number, (before, patch, after) in enumerate(RFC_7396):
        key = str(number)
        assert create(server, userId=key, metadata=before)["metadata"] == before
        user = update(server, userId=key, metadata=patch, **({"metadataMode": "MERGE"} if number % 2 else {}))
        # Python takes False for 0; their text does not.
        assert repr(sorted(user["metadata"].items())) == repr(sorted(after.items())), (before, patch)
        assert get(server, key) == user


def test_a_creation_keeps_the_nulls_of_metadata(server: Server) -> None:
    metadata = {"a": None, "b": {"c": None, "d": [None]}}
    assert create(server, userId="ada", metadata=metadata)["metadata"] == metadata
    assert get(server, "ada")["metadata"] == metadata


def test_replaced_metadata_keeps_its_nulls_and_nothing_else(server: Server) -> None:
    create(server, userId="ada", metadata={"old": 1, "a": {"b": 1}})
    metadata = {"a": {"c": None}, "z": None}
    user = update(server, userId="ada", metadata=metadata, metadataMode="REPLACE")
    assert user["metadata"] == metadata
    assert update(server, userId="ada", metadata=None, metadataMode="REPLACE")["metadata"] == {}


def test_an_upsert_creates_by_merging_into_nothing(server: Server) -> None:
    payload = server.accepted(
        UPSERT, userId="ada", about="x", metadata={"a": 1, "b": None, "c": {"d": None, "e": [None]}}
    )
    assert payload["created"] is True
    assert payload["user"]["metadata"] == {"a": 1, "c": {"e": [None]}}
    assert (payload["user"]["about"], payload["user"]["version"]) == ("x", 1)
    replaced = server.accepted(UPSERT, userId="bob", metadata={"b": None}, metadataMode="REPLACE")
    assert replaced["created"] is True
    assert replaced["user"]["metadata"] == {"b": None}
    assert server.accepted(UPSERT, userId="eve", metadata=None)["user"]["metadata"] == {}


def test_an_upsert_of_a_user_that_exists_is_an_update(server: Server) -> None:
    before = create(server, userId="ada", email="a@example.org", firstName="A", about="x", metadata={"a": 1, "b": 2})
    payload = server.accepted(UPSERT, userId="ada", email=None, lastName="L", metadata={"b": None, "c": 3})
    user = payload["user"]
    assert payload["created"] is False
    changes = {"email": None, "lastName": "L", "name": "A L", "metadata": {"a": 1, "c": 3}, "version": 2}
    assert user == before | changes | {"updatedAt": user["updatedAt"]}
    again = server.accepted(UPSERT, userId="ada", about=None, metadata={"n": None}, metadataMode="REPLACE")
    assert (again["created"], again["user"]["about"], again["user"]["metadata"]) == (False, "", {"n": None})


def test_of_twenty_clients_upserting_one_user_exactly_one_creates(server: Server) -> None:
    def attempt(number: int) -> bool:
        return server.accepted(UPSERT, userId="ada", metadata={f"key-{number}": number})["created"]

    with ThreadPoolExecutor(20) as pool:
        created = list(pool.map(attempt, range(20)))
    assert sorted(created) == [False] * 19 + [True]
    assert get(server, "ada")["metadata"] == {f"key-{number}": number for number in range(20)}


def test_metadata_may_be_written_as_a_literal_in_the_document(server: Server) -> None:
    user = server.graphql(
        """mutation { createUser(input: {userId: "ada", metadata: {a: 1, b: [true, null, "x", 2.5], c: {d: "é"}}}) {
             user { metadata } userErrors { code } } }"""
    )["createUser"]["user"]
    assert user["metadata"] == {"a": 1, "b": [True, None, "x", 2.5], "c": {"d": "é"}}


def test_metadata_that_is_no_object_is_invalid(server: Server) -> None:
    create(server, userId="ada", metadata={"a": 1})
    for value in ([], [{"a": 1}], "text", "", 1, 0, 1.5, True, False):
        for document, fields in ((CREATE, {}), (UPDATE, {"userId": "ada"}), (UPSERT, {"userId": "bob"})):
            error = server.refused(document, metadata=value, **fields)
            assert (error["code"], error["path"]) == ("INVALID", ["metadata"]), value
    assert server.refused(UPDATE, userId="ada", metadata=[], metadataMode="REPLACE")["code"] == "INVALID"


def test_metadata_holds_64_kib_of_utf_8(server: Server) -> None:
    for text in ("x" * 65_500, "é" * 32_700, "😀" * 16_300):
        assert create(server, metadata={"a": text})["metadata"] == {"a": text}
    create(server, userId="ada")
    for text in ("x" * 65_536, "é" * 32_768, "😀" * 16_384):
        for document, fields in ((CREATE, {}), (UPDATE, {"userId": "ada"}), (UPSERT, {"userId": "bob"})):
            error = server.refused(document, metadata={"a": text}, **fields)
            assert (error["code"], error["path"]) == ("TOO_LARGE", ["metadata"])


def test_metadata_does_not_outgrow_its_limit_by_merging(server: Server) -> None:
    create(server, userId="ada", metadata={"a": "x" * 40_000})
    assert server.refused(UPDATE, userId="ada", metadata={"b": "x" * 40_000})["code"] == "TOO_LARGE"
    assert list(update(server, userId="ada", metadata={"a": None, "b": "x" * 40_000})["metadata"]) == ["b"]


def test_metadata_has_at_most_32_levels(server: Server) -> None:
    for metadata in (nested(32), {"a": [[[nested(28)]]]}):
        assert create(server, metadata=metadata)["metadata"] == metadata
    for metadata in (nested(33), {"a": [[[nested(29)]]]}, nested(200)):
        error = server.refused(CREATE, metadata=metadata)
        assert (error["code"], error["path"][:1]) == ("TOO_LARGE", ["metadata"])


def test_about_holds_64_kib_of_utf_8(server: Server) -> None:
    for text in ("x" * 65_536, "é" * 32_768):
        assert create(server, about=text)["about"] == text
    create(server, userId="ada")
    for text in ("x" * 65_537, "é" * 32_769):
        for document, fields in ((CREATE, {}), (UPDATE, {"userId": "ada"}), (UPSERT, {"userId": "bob"})):
            error = server.refused(document, about=text, **fields)
            assert (error["code"], error["path"]) == ("TOO_LARGE", ["about"])


@pytest.mark.parametrize("character", ["\0", "\ud800", "a\udfff"], ids=["nul", "high surrogate", "low surrogate"])
def test_what_no_database_stores_is_invalid_in_any_string(server: Server, character: str) -> None:
    create(server, userId="ada")
    text = f"before {character} after"
    for field in ("email", "firstName", "lastName", "name", "about"):
        for document, fields in ((CREATE, {}), (UPDATE, {"userId": "ada"}), (UPSERT, {"userId": "bob"})):
            error = server.refused(document, **{field: text}, **fields)
            assert (error["code"], error["path"]) == ("INVALID", [field])
    for metadata in ({"a": text}, {text: 1}, {"a": {"b": ["fine", {"c": text}]}}, {"a": [{text: 1}]}):
        for document, fields in ((CREATE, {}), (UPDATE, {"userId": "ada"}), (UPSERT, {"userId": "bob"})):
            error = server.refused(document, metadata=metadata, **fields)
            assert (error["code"], error["path"][:1]) == ("INVALID", ["metadata"])
    for document in (CREATE, UPSERT):
        error = server.refused(document, userId=text)
        assert (error["code"], error["path"]) == ("INVALID", ["userId"])


def test_a_lone_surrogate_in_the_bytes_of_a_request_is_invalid(server: Server) -> None:
    query = "mutation ($i: CreateUserInput!) { createUser(input: $i) { user { userId } userErrors { code path } } }"
    body = b'{"query": "' + query.encode() + b'",'
    answer = server.post(body + rb' "variables": {"i": {"userId": "ada", "about": "lone \ud800 surrogate"}}}').json()
    assert answer["data"]["createUser"] == {"user": None, "userErrors": [{"code": "INVALID", "path": ["about"]}]}
    answer = server.post(body + rb' "variables": {"i": {"userId": "ada", "about": "a pair \ud83d\ude00"}}}').json()
    assert answer["data"]["createUser"] == {"user": {"userId": "ada"}, "userErrors": []}
    assert get(server, "ada")["about"] == "a pair 😀"


@pytest.mark.parametrize("character", ["\0", "\ud800"], ids=["nul", "surrogate"])
def test_a_query_for_what_no_database_stores_is_no_fault_of_the_server(server: Server, character: str) -> None:
    create(server, userId="ada")
    for query, variables in (
        (GET, {"userId": f"a{character}"}),
        (LIST, {"filter": {"userIds": [f"a{character}"]}}),
        (LIST, {"filter": {"emails": [f"a{character}"]}}),
        (LIST, {"filter": {"metadata": {"a": character}}}),
        (LIST, {"filter": {"metadata": {character: "a"}}}),
        (NODE, {"id": f"a{character}"}),
    ):
        answer = server.execute(query, **variables)
        if "errors" in answer:
            assert [error["extensions"]["code"] for error in answer["errors"]] == ["BAD_USER_INPUT"]
        else:
            assert next(iter(answer["data"].values())) in (None, {"nodes": [], "totalCount": 0})


def test_every_other_character_comes_back_as_it_was(server: Server) -> None:
    text = "".join(map(chr, range(1, 0x250))) + "\u2028\u2029\ufeff\ufffd\uffff😀\U0010ffff"
    user = create(server, userId=text[:512], about=text, name=text, metadata={text: text})
    assert (user["about"], user["name"], user["metadata"], user["userId"]) == (text, text, {text: text}, text[:512])
    assert get(server, text[:512]) == user


def test_numbers_in_metadata_keep_their_value_and_type(server: Server) -> None:
    metadata = {
        "big": 2**53 + 1,
        "negative": -(2**63),
        "float": 0.1,
        "tiny": 1e-300,
        "zero": 0,
        "yes": True,
        "no": False,
    }
    create(server, userId="ada", metadata=metadata)
    found = get(server, "ada")["metadata"]
    assert found == metadata
    assert {key: type(value) for key, value in found.items()} == {key: type(value) for key, value in metadata.items()}
