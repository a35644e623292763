"""Users: created, changed, found and listed; metadata, keys and limits, which other objects share."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from tests.documents import ADD_MESSAGES, NODES, mutation
from tests.servers import Api, Serve, Server

USER = "id userId email firstName lastName name about metadata createdAt updatedAt version"
CREATE = mutation("createUser", f"user {{ {USER} }}")
UPDATE = mutation("updateUser", f"user {{ {USER} }}")
UPSERT = mutation("upsertUser", f"user {{ {USER} }} created")
DELETE = mutation("deleteUser", "deletedUserId receipt { userId }")
GET = f"query ($userId: String!) {{ user(userId: $userId) {{ {USER} }} }}"
LIST = """query ($filter: UserFilter, $orderBy: UserOrder) {
  users(first: 100, filter: $filter, orderBy: $orderBy) { nodes { userId } totalCount }
}"""
NODE = "query ($id: ID!) { node(id: $id) { __typename id } }"

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

# What a metadata contains and what it does not, as PostgreSQL's @> has it.
CONTAINMENT = [
    ({"db_uuid": "1234", "x": 1}, {"db_uuid": "1234"}, True),
    ({"db_uuid": "1234"}, {"db_uuid": 1234}, False),
    ({"db_uuid": "1234"}, {"db_uuid": "12"}, False),
    ({"db_uuid": "1234"}, {"DB_UUID": "1234"}, False),
    ({"a": 1, "b": 2}, {"a": 1, "b": 2}, True),
    ({"a": 1, "b": 2}, {"a": 1, "b": 3}, False),
    ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, True),
    ({"a": {"b": 1, "c": 2}}, {"b": 1}, False),
    ({"a": {"b": {"c": {"d": "deep"}}}}, {"a": {"b": {"c": {"d": "deep"}}}}, True),
    ({"a": {"b": 1}}, {"a": {}}, True),
    ({"a": {"b": 1}}, {"a": []}, False),
    ({"a": 1}, {"a": {}}, False),
    ({"a": 1}, {}, True),
    ({}, {}, True),
    ({}, {"a": None}, False),
    ({"a": None}, {"a": None}, True),
    ({"a": None}, {"a": False}, False),
    ({"a": 0}, {"a": None}, False),
    ({"a": True}, {"a": 1}, False),
    ({"a": 1}, {"a": True}, False),
    ({"a": False}, {"a": 0}, False),
    ({"a": True}, {"a": True}, True),
    ({"a": True}, {"a": "true"}, False),
    ({"a": 1}, {"a": 1.0}, True),
    ({"a": 1.5}, {"a": 1.5}, True),
    ({"a": 9007199254740993}, {"a": 9007199254740993}, True),
    ({"a": 9007199254740993}, {"a": 9007199254740992}, False),
    ({"tags": ["a", "b"]}, {"tags": ["b"]}, True),
    ({"tags": ["a", "b"]}, {"tags": ["b", "a"]}, True),
    ({"tags": ["a", "b"]}, {"tags": ["a", "a"]}, True),
    ({"tags": ["a", "b"]}, {"tags": ["a", "c"]}, False),
    ({"tags": ["a", "b"]}, {"tags": []}, True),
    ({"tags": ["a", "b"]}, {"tags": "a"}, False),
    ({"tags": "a"}, {"tags": ["a"]}, False),
    ({"tags": [1, 2]}, {"tags": [True]}, False),
    ({"tags": [True]}, {"tags": [1]}, False),
    ({"l": [{"a": 1, "b": 2}]}, {"l": [{"a": 1}]}, True),
    ({"l": [{"a": 1}, {"b": 2}]}, {"l": [{"a": 1, "b": 2}]}, False),
    ({"l": [[1, 2], [3]]}, {"l": [[1]]}, True),
    ({"l": [[1, 2], [3]]}, {"l": [[1, 3]]}, False),
    ({"a.b": 1}, {"a.b": 1}, True),
    ({"a": {"b": 1}}, {"a.b": 1}, False),
    ({'quo"te': 1}, {'quo"te': 1}, True),
    ({"": 1}, {"": 1}, True),
    ({"$": {"a": 1}}, {"$": {"a": 1}}, True),
    ({"a[0]": 1}, {"a[0]": 1}, True),
    ({"it's": "100%_\\"}, {"it's": "100%_\\"}, True),
    ({"ключ": "значение 😀"}, {"ключ": "значение 😀"}, True),
]


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def create(server: Api, **fields: Any) -> dict[str, Any]:
    return server.accepted(CREATE, **fields)["user"]


def update(server: Api, **fields: Any) -> dict[str, Any]:
    return server.accepted(UPDATE, **fields)["user"]


def find(server: Api, user_id: str) -> dict[str, Any] | None:
    return server.graphql(GET, userId=user_id)["user"]


def get(server: Api, user_id: str) -> dict[str, Any]:
    """A user that must be there."""
    user = find(server, user_id)
    assert user is not None, f"there is no user {user_id!r}"
    return user


def listed(server: Server, order: str | None = None, **filters: Any) -> list[str]:
    """The userIds of a list, in its order, whose totalCount must agree; `order` is "FIELD DIRECTION"."""
    order_by = dict(zip(("field", "direction"), order.split(), strict=True)) if order else None
    users = server.graphql(LIST, filter=filters or None, orderBy=order_by)["users"]
    assert users["totalCount"] == len(users["nodes"])
    return [user["userId"] for user in users["nodes"]]


def nested(levels: int) -> dict[str, Any]:
    """Objects in one another, the outermost being level 1."""
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def test_a_user_is_created_with_what_the_application_gives(server: Server) -> None:
    given = {
        "userId": "ada",
        "email": "Ada@example.org",
        "firstName": "Ada",
        "lastName": "Lovelace",
        "name": "Countess",
        "about": "Writes notes.",
        "metadata": {"plan": "pro", "n": [1, 2.5, True, None, {"x": "é😀"}]},
    }
    user = create(server, **given)
    assert {field: user[field] for field in given} == given
    assert user["version"] == 1
    assert user["createdAt"].endswith("Z")
    assert user["updatedAt"].endswith("Z")
    assert get(server, "ada") == user


def test_a_user_without_a_key_gets_one(server: Server) -> None:
    users = [create(server, firstName="A"), create(server, firstName="A"), create(server, userId=None)]
    keys = {user["userId"] for user in users}
    assert len(keys) == 3
    assert all(1 <= len(key) <= 512 for key in keys)
    assert all(get(server, user["userId"]) == user for user in users)


def test_a_user_is_created_only_once(server: Server) -> None:
    first = create(server, userId="ada", about="first")
    error = server.refused(CREATE, userId="ada", about="second")
    assert (error["code"], error["path"]) == ("ALREADY_EXISTS", ["userId"])
    assert get(server, "ada") == first


def test_of_twenty_clients_creating_one_user_exactly_one_succeeds(server: Server) -> None:
    def attempt(number: int) -> dict[str, Any]:
        return server.graphql(CREATE, input={"userId": "ada", "about": str(number)})["createUser"]

    with ThreadPoolExecutor(20) as pool:
        payloads = list(pool.map(attempt, range(20)))
    (winner,) = [payload["user"] for payload in payloads if payload["user"]]
    codes = [error["code"] for payload in payloads for error in payload["userErrors"]]
    assert codes == ["ALREADY_EXISTS"] * 19
    assert get(server, "ada") == winner


def test_null_in_a_creation_means_left_out(server: Server) -> None:
    nulls = dict.fromkeys(
        ["email", "firstName", "lastName", "name", "about", "metadata", "documents", "createdAt"], None
    )
    user = create(server, userId="ada", **nulls)
    assert (user["email"], user["firstName"], user["lastName"], user["name"]) == (None, None, None, None)
    assert (user["about"], user["metadata"], user["version"]) == ("", {}, 1)


def test_a_user_that_is_given_nothing_has_an_empty_about_and_metadata(server: Server) -> None:
    user = create(server, userId="ada")
    assert (user["about"], user["metadata"], user["email"], user["name"]) == ("", {}, None, None)


def test_the_name_falls_back_to_first_and_last_name(server: Server) -> None:
    assert create(server, userId="1", firstName="Ada", lastName="Lovelace")["name"] == "Ada Lovelace"
    assert create(server, userId="2", firstName="Ada", lastName="Lovelace", name="Countess")["name"] == "Countess"
    assert create(server, userId="3", firstName="Ada")["name"] == "Ada"
    assert create(server, userId="4", lastName="Lovelace")["name"] == "Lovelace"
    assert create(server, userId="5")["name"] is None
    assert update(server, userId="2", name=None)["name"] == "Ada Lovelace"
    assert update(server, userId="2", firstName="Augusta")["name"] == "Augusta Lovelace"


def test_the_creation_time_may_be_given_by_the_application(server: Server) -> None:
    given = "2020-01-02T03:04:05.123456+02:00"
    user = create(server, userId="ada", createdAt=given)
    assert instant(user["createdAt"]) == instant(given)
    assert user["createdAt"].endswith("Z")
    assert get(server, "ada")["createdAt"] == user["createdAt"]


def test_server_times_are_now_and_one_per_object(server: Server) -> None:
    first = create(server, userId="1")
    second = create(server, userId="2")
    assert first["createdAt"] == first["updatedAt"]
    assert instant(first["createdAt"]) < instant(second["createdAt"])
    assert abs((datetime.now().astimezone() - instant(second["createdAt"])).total_seconds()) < 60


def test_a_creation_with_documents_writes_all_or_nothing(server: Server) -> None:
    documents = [{"title": "One", "content": "first"}, {"title": "Two", "content": "second", "metadata": {"n": 2}}]
    create(server, userId="ada", documents=documents)
    query = 'query { user(userId: "ada") { documents(first: 10) { nodes { title content metadata } totalCount } } }'
    found = server.graphql(query)["user"]["documents"]
    assert found["totalCount"] == 2
    assert sorted((node["title"], node["content"]) for node in found["nodes"]) == [("One", "first"), ("Two", "second")]

    broken = [{"title": "Good", "content": "good"}, {"title": "Bad", "content": "nul \0 inside"}]
    error = server.refused(CREATE, userId="bob", documents=broken)
    assert (error["code"], error["path"]) == ("INVALID", ["documents", "1", "content"])
    assert find(server, "bob") is None


def test_keys_are_byte_exact(server: Server) -> None:
    keys = ["Ada", "ada", "ada ", " ada", "\u00e9", "e\u0301", "a/b?c#d", "😀", "%00", "null", "0"]
    users = {key: create(server, userId=key, about=key) for key in keys}
    assert all(get(server, key) == users[key] for key in keys)
    assert len({user["id"] for user in users.values()}) == len(keys)
    assert listed(server, userIds=["ada", "e\u0301"], order="USER_ID ASC") == ["ada", "e\u0301"]
    assert find(server, "ADA") is None


def test_keys_have_1_to_512_characters(server: Server) -> None:
    for key in ["x", "x" * 512, "é" * 512, "😀" * 512]:
        create(server, userId=key)
        assert get(server, key)["userId"] == key
    error = server.refused(CREATE, userId="")
    assert (error["code"], error["path"]) == ("INVALID", ["userId"])
    for document in (CREATE, UPSERT):
        error = server.refused(document, userId="x" * 513)
        assert error["code"] in ("INVALID", "TOO_LARGE")
        assert error["path"] == ["userId"]
    assert server.refused(UPSERT, userId="")["code"] == "INVALID"


def test_a_key_that_cannot_exist_is_simply_not_found(server: Server) -> None:
    assert find(server, "") is None
    assert find(server, "x" * 513) is None
    assert find(server, "x" * 100_000) is None
    assert listed(server, userIds=["", "x" * 513]) == []


def test_an_unknown_user_is_null_and_cannot_be_changed_or_deleted(server: Server) -> None:
    assert find(server, "nobody") is None
    for document in (UPDATE, DELETE):
        error = server.refused(document, userId="nobody")
        assert (error["code"], error["path"]) == ("NOT_FOUND", ["userId"])


def test_an_update_keeps_what_is_left_out(server: Server) -> None:
    before = create(
        server, userId="ada", email="a@example.org", firstName="A", lastName="L", name="N", about="x", metadata={"a": 1}
    )
    after = update(server, userId="ada", about="y")
    assert after == before | {"about": "y", "version": 2, "updatedAt": after["updatedAt"]}
    assert instant(after["updatedAt"]) > instant(before["updatedAt"])
    assert get(server, "ada") == after


def test_an_update_clears_what_is_null(server: Server) -> None:
    create(
        server, userId="ada", email="a@example.org", firstName="A", lastName="L", name="N", about="x", metadata={"a": 1}
    )
    user = update(server, userId="ada", email=None, firstName=None, lastName=None, name=None, about=None, metadata=None)
    assert (user["email"], user["firstName"], user["lastName"], user["name"]) == (None, None, None, None)
    assert (user["about"], user["metadata"], user["version"]) == ("", {}, 2)
    assert get(server, "ada") == user
    assert listed(server, emails=["a@example.org"]) == []


def test_the_version_moves_only_when_something_changes(server: Server) -> None:
    fields: dict[str, Any] = {"email": "a@example.org", "firstName": "A", "about": "x", "metadata": {"a": {"b": 1}}}
    before = create(server, userId="ada", **fields)
    assert update(server, userId="ada") == before
    assert update(server, userId="ada", **fields) == before
    assert update(server, userId="ada", lastName=None, name=None) == before
    assert update(server, userId="ada", metadata={}) == before
    assert update(server, userId="ada", metadata={"a": {"c": None}, "z": None}) == before
    assert update(server, userId="ada", metadata={"a": {"b": 1}}, metadataMode="REPLACE") == before
    assert server.accepted(UPSERT, userId="ada", **fields) == {"user": before, "created": False, "userErrors": []}
    assert get(server, "ada") == before
    for number in range(2, 5):
        assert update(server, userId="ada", about=str(number))["version"] == number


def test_a_change_of_type_in_metadata_is_a_change(server: Server) -> None:
    create(server, userId="ada", metadata={"a": 1})
    user = update(server, userId="ada", metadata={"a": True})
    assert user["metadata"]["a"] is True
    assert user["version"] == 2


def test_an_update_of_another_version_is_a_conflict(server: Server) -> None:
    create(server, userId="ada", about="1")
    assert update(server, userId="ada", about="2", expectedVersion=1)["version"] == 2
    for version in (1, 3, 0):
        error = server.refused(UPDATE, userId="ada", about="3", expectedVersion=version)
        assert error["code"] == "CONFLICT"
    assert get(server, "ada")["about"] == "2"
    assert update(server, userId="ada", about="3", expectedVersion=2)["version"] == 3


def test_of_ten_clients_expecting_one_version_exactly_one_succeeds(server: Server) -> None:
    create(server, userId="ada")

    def attempt(number: int) -> dict[str, Any]:
        fields = {"userId": "ada", "about": f"client {number}", "expectedVersion": 1}
        return server.graphql(UPDATE, input=fields)["updateUser"]

    with ThreadPoolExecutor(10) as pool:
        payloads = list(pool.map(attempt, range(10)))
    (winner,) = [payload["user"] for payload in payloads if payload["user"]]
    assert [error["code"] for payload in payloads for error in payload["userErrors"]] == ["CONFLICT"] * 9
    assert get(server, "ada") == winner
    assert winner["version"] == 2


def test_no_merge_of_twenty_concurrent_ones_is_lost(server: Server) -> None:
    create(server, userId="ada", metadata={"start": True})

    def merge(number: int) -> None:
        update(server, userId="ada", metadata={"n": {f"key-{number}": number}})

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(merge, range(20)))
    user = get(server, "ada")
    assert user["metadata"] == {"start": True, "n": {f"key-{number}": number for number in range(20)}}
    assert user["version"] == 21


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


def test_emails_are_found_exactly_but_casefolded(server: Server) -> None:
    create(server, userId="1", email="Ada@Example.org")
    create(server, userId="2", email="ada@example.org")
    create(server, userId="3", email="ada@example.or")
    create(server, userId="4", email="straße@example.org")
    create(server, userId="5")
    assert get(server, "1")["email"] == "Ada@Example.org"
    for email in ("ada@example.org", "ADA@EXAMPLE.ORG", "Ada@Example.org"):
        assert listed(server, emails=[email], order="USER_ID ASC") == ["1", "2"]
    assert listed(server, emails=["STRASSE@example.org"]) == ["4"]
    assert listed(server, emails=["ada@example"]) == []
    assert listed(server, emails=["%@example.org"]) == []
    assert listed(
        server, emails=["nobody@example.org", "ADA@example.or", "straße@EXAMPLE.org"], order="USER_ID ASC"
    ) == [
        "3",
        "4",
    ]


def test_an_email_that_changes_is_found_under_the_new_one_only(server: Server) -> None:
    create(server, userId="ada", email="old@example.org")
    update(server, userId="ada", email="NEW@example.org")
    assert listed(server, emails=["old@example.org"]) == []
    assert listed(server, emails=["new@example.org"]) == ["ada"]


def test_users_are_found_by_what_their_metadata_contains(server: Server) -> None:
    for number, (metadata, filter_, contained) in enumerate(CONTAINMENT):
        create(server, userId=str(number), metadata=metadata)
        found = listed(server, metadata=filter_, userIds=[str(number)])
        assert found == ([str(number)] if contained else []), (metadata, filter_)
    assert len(listed(server, metadata={})) == len(CONTAINMENT)


def test_metadata_is_found_as_it_is_now(server: Server) -> None:
    create(server, userId="ada", metadata={"plan": "free", "keep": 1})
    update(server, userId="ada", metadata={"plan": "pro"})
    assert listed(server, metadata={"plan": "free"}) == []
    assert listed(server, metadata={"plan": "pro", "keep": 1}) == ["ada"]


def test_a_metadata_filter_that_is_no_object_is_bad_user_input(server: Server) -> None:
    for value in ([], "text", 1, True):
        (error,) = server.errors(LIST, filter={"metadata": value})
        assert error["extensions"]["code"] == "BAD_USER_INPUT"


def test_users_are_filtered_by_key(server: Server) -> None:
    for key in "abc":
        create(server, userId=key)
    assert listed(server, userIds=["c", "a", "nobody", "a"], order="USER_ID ASC") == ["a", "c"]
    assert listed(server, userIds=["nobody"]) == []


def test_filters_apply_together(server: Server) -> None:
    create(server, userId="1", email="a@example.org", metadata={"plan": "pro"})
    create(server, userId="2", email="a@example.org", metadata={"plan": "free"})
    create(server, userId="3", email="b@example.org", metadata={"plan": "pro"})
    assert listed(server, emails=["A@example.org"], metadata={"plan": "pro"}) == ["1"]
    assert listed(server, emails=["A@example.org"], userIds=["2", "3"]) == ["2"]


def test_a_time_range_includes_its_start_and_not_its_end(server: Server) -> None:
    for day in range(1, 5):
        create(server, userId=str(day), createdAt=f"2020-01-0{day}T00:00:00Z")
    ascending = "CREATED_AT ASC"

    def within(**range_: str) -> list[str]:
        return listed(server, order=ascending, createdAt=range_)

    assert within(since="2020-01-02T00:00:00Z", until="2020-01-04T00:00:00Z") == ["2", "3"]
    assert within(since="2020-01-03T00:00:00Z") == ["3", "4"]
    assert within(until="2020-01-03T00:00:00Z") == ["1", "2"]
    assert within() == ["1", "2", "3", "4"]
    assert within(since="2020-01-02T02:00:00+02:00", until="2020-01-02T00:00:00.000001Z") == ["2"]
    assert within(since="2020-01-02T00:00:00.000001Z", until="2020-01-03T00:00:00Z") == []
    assert within(since="2020-01-03T00:00:00Z", until="2020-01-03T00:00:00Z") == []


def test_users_are_found_by_when_they_were_changed(server: Server) -> None:
    for key in "abc":
        create(server, userId=key, createdAt="2020-01-01T00:00:00Z")
    since = update(server, userId="a", about="changed")["updatedAt"]
    assert listed(server, updatedAt={"since": since}) == ["a"]
    assert "a" not in listed(server, updatedAt={"until": since})


def test_users_are_listed_newest_first_unless_ordered_otherwise(server: Server) -> None:
    for key, day in (("b", 2), ("c", 1), ("a", 3)):
        create(server, userId=key, createdAt=f"2020-01-0{day}T00:00:00Z")
    update(server, userId="c", about="changed")
    update(server, userId="a", about="changed")
    assert listed(server) == ["a", "b", "c"]
    assert listed(server, order="CREATED_AT DESC") == ["a", "b", "c"]
    assert listed(server, order="CREATED_AT ASC") == ["c", "b", "a"]
    assert listed(server, order="USER_ID ASC") == ["a", "b", "c"]
    assert listed(server, order="USER_ID DESC") == ["c", "b", "a"]
    assert listed(server, order="UPDATED_AT DESC") == ["a", "c", "b"]
    assert listed(server, order="UPDATED_AT ASC") == ["b", "c", "a"]


def test_keys_are_sorted_by_code_point(server: Server) -> None:
    keys = ["10", "9", "A", "Z", "a", "a b", "aa", "b", "é", "ю", "\uff5e", "😀"]
    for key in reversed(keys):
        create(server, userId=key)
    assert keys == sorted(keys)
    assert listed(server, order="USER_ID ASC") == keys
    assert listed(server, order="USER_ID DESC") == keys[::-1]


def test_users_created_at_one_time_have_a_fixed_order(server: Server) -> None:
    for key in "bdac":
        create(server, userId=key, createdAt="2020-01-01T00:00:00Z")
    newest_first = listed(server)
    assert newest_first in (["a", "b", "c", "d"], ["d", "c", "b", "a"])
    assert (
        listed(server, order="CREATED_AT ASC") == newest_first[::-1]
        or listed(server, order="CREATED_AT ASC") == newest_first
    )


def test_global_ids_lead_back_to_their_objects(server: Server) -> None:
    user = create(server, userId="ada")
    added = server.accepted(ADD_MESSAGES, sessionId="s", userId="ada", messages=[{"role": "USER", "content": "hello"}])
    expected = {
        user["id"]: "User",
        added["session"]["id"]: "Session",
        added["messages"][0]["id"]: "Message",
    }
    assert len(expected) == 3
    for id_, typename in expected.items():
        assert server.graphql(NODE, id=id_)["node"] == {"__typename": typename, "id": id_}
    ids = [*expected, *reversed(expected), "none of ours"]
    nodes = server.graphql(NODES, ids=ids)["nodes"]
    assert nodes[-1] is None
    assert [(node["id"], node["__typename"]) for node in nodes[:-1]] == [(id_, expected[id_]) for id_ in ids[:-1]]


def test_a_node_answers_as_its_own_type(server: Server) -> None:
    user = create(server, userId="ada", metadata={"a": 1}, about="x")
    node = server.graphql(f"query ($id: ID!) {{ node(id: $id) {{ ... on User {{ {USER} }} }} }}", id=user["id"])["node"]
    assert node == user


def test_the_same_key_of_a_user_and_a_session_gives_two_ids(server: Server) -> None:
    user = create(server, userId="same")
    session = server.accepted(ADD_MESSAGES, sessionId="same", messages=[{"role": "USER", "content": "hello"}])[
        "session"
    ]
    assert user["id"] != session["id"]


def test_an_id_that_is_none_of_ours_is_null(server: Server) -> None:
    user = create(server, userId="ada")
    alien = [
        "",
        "1",
        "0",
        "ada",
        "VXNlcjox",
        "VXNlcjphZGE=",
        "====",
        "-1",
        "é😀",
        "%00",
        "../../etc/passwd",
        "x" * 10_000,
    ]
    for id_ in alien:
        assert server.graphql(NODE, id=id_)["node"] is None, id_
    assert server.graphql(NODES, ids=[user["id"], *alien])["nodes"] == [
        {"__typename": "User", "id": user["id"]},
        *[None] * len(alien),
    ]
    assert server.graphql("{ node(id: 1) { id } }")["node"] is None


def test_at_most_100_nodes_are_given_at_once(server: Server) -> None:
    id_ = create(server, userId="ada")["id"]
    assert server.graphql(NODES, ids=[])["nodes"] == []
    assert len([node for node in server.graphql(NODES, ids=[id_] * 100)["nodes"] if node]) == 100
    (error,) = server.errors(NODES, ids=[id_] * 101)
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


def test_global_ids_are_the_same_after_a_restart(serve: Serve) -> None:
    first = serve()
    user = create(first, userId="ada", about="stays")
    added = first.accepted(ADD_MESSAGES, sessionId="s", userId="ada", messages=[{"role": "USER", "content": "hello"}])
    ids = [user["id"], added["session"]["id"], added["messages"][0]["id"]]
    before = first.graphql(NODES, ids=ids)["nodes"]
    assert all(before)
    first.process.terminate()
    first.wait()
    second = serve(path=first.path)
    assert second.graphql(NODES, ids=ids)["nodes"] == before
    assert get(second, "ada") == user


def test_the_mutations_of_one_document_commit_one_by_one(server: Server) -> None:
    data = server.graphql(
        """mutation {
             a: createUser(input: {userId: "ada", about: "1"}) { user { version } userErrors { code } }
             b: updateUser(input: {userId: "ada", about: "2"}) { user { version about } userErrors { code } }
             c: createUser(input: {userId: "ada", about: "3"}) { user { version } userErrors { code } }
             d: updateUser(input: {userId: "nobody"}) { user { version } userErrors { code } }
             e: upsertUser(input: {userId: "ada", about: "4"}) { user { version about } created userErrors { code } }
             f: createUser(input: {userId: "bob"}) { user { version } userErrors { code } }
           }"""
    )
    assert list(data) == ["a", "b", "c", "d", "e", "f"]
    assert data["a"] == {"user": {"version": 1}, "userErrors": []}
    assert data["b"] == {"user": {"version": 2, "about": "2"}, "userErrors": []}
    assert data["c"] == {"user": None, "userErrors": [{"code": "ALREADY_EXISTS"}]}
    assert data["d"] == {"user": None, "userErrors": [{"code": "NOT_FOUND"}]}
    assert data["e"] == {"user": {"version": 3, "about": "4"}, "created": False, "userErrors": []}
    assert data["f"] == {"user": {"version": 1}, "userErrors": []}
    assert get(server, "ada")["about"] == "4"
    assert get(server, "bob") is not None


def test_a_user_is_read_with_its_sessions_and_their_messages_in_one_request(server: Server) -> None:
    for number in (1, 2):
        create(server, userId=f"u{number}")
        for letter in "ab":
            messages = [{"role": "USER", "content": f"{number}{letter}{turn}"} for turn in range(3)]
            server.accepted(ADD_MESSAGES, sessionId=f"s{number}{letter}", userId=f"u{number}", messages=messages)
    query = """{ users(orderBy: {field: USER_ID, direction: ASC}) { nodes { userId
                 sessions(orderBy: {field: SESSION_ID, direction: ASC}) { totalCount nodes { sessionId
                   messages(last: 2) { totalCount nodes { content sequence } } } } } } }"""
    users = server.graphql(query)["users"]["nodes"]
    assert users == [
        {
            "userId": f"u{number}",
            "sessions": {
                "totalCount": 2,
                "nodes": [
                    {
                        "sessionId": f"s{number}{letter}",
                        "messages": {
                            "totalCount": 3,
                            "nodes": [{"content": f"{number}{letter}{turn}", "sequence": turn + 1} for turn in (1, 2)],
                        },
                    }
                    for letter in "ab"
                ],
            },
        }
        for number in (1, 2)
    ]
