"""Users: created, changed, and read with what is theirs."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from tests.documents import ADD_MESSAGES
from tests.servers import Server
from tests.users import (
    CREATE,
    DELETE,
    UPDATE,
    UPSERT,
    create,
    find,
    get,
    instant,
    listed,
    update,
)


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
