"""Another userId for a user: everything goes along, and nothing of theirs is left under the old one."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from models.keys import document_key, identity, memory_key, user_key
from models.sort_texts import ascending, descending
from recallql.auth.credentials import REFUSED
from tests.archives import Command, copied, fill, serving
from tests.desk import Desk
from tests.documents import (
    ADD_MESSAGES,
    CREATE_DOCUMENT,
    CREATE_MEMORY,
    CREATE_USER,
    DELETE_USER,
    ISSUE_USER_TOKEN,
    NODES,
    UPDATE_USER,
    mutation,
)
from tests.model_server import ModelServer
from tests.places import Fresh
from tests.searches import assert_index_is_exact, index_now, texts
from tests.servers import Server, Start, wait_until

RENAME = mutation("renameUser", "user { id userId version createdAt updatedAt }")
ERASE = mutation("deleteUser", "receipt { sessions messages memories documents filesClearedAt }")
OF_USER = """query ($userId: String!) { user(userId: $userId) { id version
  sessions(first: 100) { nodes { id sessionId version messages(first: 100) { nodes { id content } } } }
  memories(first: 100, filter: {history: true}) { nodes { id memoryId content version supersededBy { content }
    sources { nodes { __typename ... on Message { id } ... on Document { title } } } } }
  documents(first: 100) { nodes { id documentId title content version } } summary { content }
} }"""
MEMORY = mutation("createMemory", "memory { id content }")
DOCUMENT = mutation("createDocument", "document { id content }")


def rename(server: Server, user_id: str, new_user_id: str) -> dict[str, Any]:
    return server.accepted(RENAME, userId=user_id, newUserId=new_user_id)["user"]


def of_user(server: Server, user_id: str) -> Any:
    return server.graphql(OF_USER, userId=user_id)["user"]


def without_ids(value: Any) -> Any:
    """An answer without the global ids of users, memories and documents, which a rename may change."""
    if isinstance(value, dict):
        is_own = "sequence" in value or "sessionId" in value or value.get("__typename") == "Message"
        return {name: without_ids(item) for name, item in value.items() if name != "id" or is_own}
    return [without_ids(item) for item in value] if isinstance(value, list) else value


def keys_of(server: Server, user_id: str) -> tuple[bytes, bytes]:
    """A user's key and identity."""
    key = user_key("default", user_id)
    ((nonce,),) = server.place.query("SELECT nonce FROM users WHERE key = $1", key)
    return key, identity(key, nonce)


def changed(rows: list[tuple[Any, ...]], keys: dict[Any, Any]) -> list[tuple[Any, ...]]:
    return sorted((tuple(keys.get(value, value) for value in row) for row in rows), key=repr)


@pytest.fixture
def filled(server: Server) -> Server:
    """A database with a past, in which ada has everything that a user can have."""
    fill(server)
    server.accepted(
        ADD_MESSAGES, sessionId="told", userId="ada", messages=[{"role": "USER", "content": "I live in Turin."}]
    )
    (memory,) = server.graphql('{ session(sessionId: "told") { memories { nodes { id } } } }')["session"]["memories"][
        "nodes"
    ]
    server.accepted(mutation("deleteMemory", "deletedMemoryId"), **memory)
    server.accepted(ADD_MESSAGES, sessionId="told", messages=[{"role": "USER", "content": "I like old bridges."}])
    message, document = of_user(server, "ada")["sessions"]["nodes"][0]["messages"]["nodes"][0], "river"
    server.accepted(CREATE_DOCUMENT, userId="ada", documentId=document, title="Po", content="the longest one")
    source = next(each["id"] for each in of_user(server, "ada")["documents"]["nodes"] if each["documentId"] == document)
    server.accepted(
        CREATE_MEMORY, userId="ada", memoryId="own", kind="FACT", content="rows", sources=[source, message["id"]]
    )
    return server


def test_every_row_is_kept_under_the_new_id_and_nothing_else_changes(filled: Server) -> None:
    index_now(filled)
    old_key, old = keys_of(filled, "ada")
    before = filled.tables()
    rename(filled, "ada", "ada@example.org")
    new_key, new = keys_of(filled, "ada@example.org")
    after = filled.tables()
    keys: dict[Any, Any] = {old_key: new_key}
    keys |= {memory_key(old, id_): memory_key(new, id_) for id_ in ("home", "own")}
    keys |= {document_key(old, id_): document_key(new, id_) for id_ in ("d", "river")}
    names = {ascending("ada"): ascending("ada@example.org"), descending("ada"): descending("ada@example.org")}
    # The index has its own test below, and the words of a user are those of the new id.
    for name in sorted(name for name in before if "_words" not in name and name not in ("users", "erasures")):
        expected = changed(before[name], keys | (names if name == "sessions" else {}))
        assert changed(after[name], {}) == expected, name
    assert old_key not in [value for name, rows in after.items() for row in rows for value in row if name != "erasures"]


def test_the_new_id_leads_to_what_the_old_one_led_to(filled: Server) -> None:
    before = of_user(filled, "ada")
    shown = filled.graphql('{ user(userId: "ada") { createdAt updatedAt email name about metadata } }')["user"]
    renamed = rename(filled, "ada", "Ada 2")
    after = of_user(filled, "Ada 2")
    assert of_user(filled, "ada") is None
    assert without_ids(after) | {"version": 0} == without_ids(before) | {"version": 0}
    assert (renamed["userId"], renamed["version"]) == ("Ada 2", before["version"] + 1)
    assert renamed["createdAt"] == shown["createdAt"]
    assert renamed["updatedAt"] > shown["updatedAt"]
    again = filled.graphql('{ user(userId: "Ada 2") { email name about metadata } }')["user"]
    assert again.items() <= shown.items()


def test_sessions_and_messages_keep_their_ids_and_what_has_an_own_id_gets_a_new_one(filled: Server) -> None:
    before = of_user(filled, "ada")
    rename(filled, "ada", "bea")
    after = of_user(filled, "bea")
    assert before["id"] != after["id"]
    assert filled.graphql(NODES, ids=[before["id"], after["id"]])["nodes"] == [
        None,
        {"__typename": "User", "id": after["id"]},
    ]
    for kind, own in (("memories", "memoryId"), ("documents", "documentId")):
        pairs = list(zip(before[kind]["nodes"], after[kind]["nodes"], strict=True))
        assert len(pairs) > 2
        for one, other in pairs:
            assert (one["id"] == other["id"]) is (one[own] is None)
        assert any(one[own] for one, _ in pairs)
    stored = filled.accepted(MEMORY, userId="bea", memoryId="own", kind="FACT", content="rows")["memory"]
    assert stored["id"] in [memory["id"] for memory in after["memories"]["nodes"]]
    kept = filled.accepted(DOCUMENT, userId="bea", documentId="river", title="Po", content="the longest one")[
        "document"
    ]
    assert kept["id"] in [document["id"] for document in after["documents"]["nodes"]]
    error = filled.refused(MEMORY, userId="bea", memoryId="home", kind="FACT", content="lives in Nice")
    assert error["code"] == "CONFLICT"


def test_a_memory_of_a_session_keeps_its_id_though_it_has_one_of_its_own(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada")
    server.accepted(ADD_MESSAGES, sessionId="s", userId="ada", messages=[{"role": "USER", "content": "Hello."}])
    own = {"sessionId": "s", "memoryId": "m", "kind": "FACT", "content": "rows"}
    memory = server.accepted(MEMORY, **own)["memory"]
    rename(server, "ada", "bea")
    assert server.accepted(MEMORY, **own)["memory"] == memory


def test_a_renamed_user_goes_on_as_before(filled: Server) -> None:
    rename(filled, "ada", "bea")
    filled.accepted(ADD_MESSAGES, sessionId="told", userId="bea", messages=[{"role": "USER", "content": "Me again."}])
    said = filled.graphql('{ session(sessionId: "told") { user { userId } messages(last: 1) { nodes { content } } } }')
    assert said["session"] == {"user": {"userId": "bea"}, "messages": {"nodes": [{"content": "Me again."}]}}
    # The application had deleted the memory of this statement, and forms no other one from it.
    first = filled.graphql('{ session(sessionId: "told") { messages(first: 1) { nodes { id } } } }')["session"]
    edit = mutation("updateMessage", "message { memories { nodes { content } } }")
    edited = filled.accepted(edit, id=first["messages"]["nodes"][0]["id"], content="I live in Turin!")
    assert edited["message"]["memories"]["nodes"] == [{"content": "rows"}]
    ordered = "{ sessions(orderBy: {field: USER_ID, direction: ASC}) { nodes { user { userId } } } }"
    owners = [node["user"] and node["user"]["userId"] for node in filled.graphql(ordered)["sessions"]["nodes"]]
    assert [owner for owner in owners if owner] == ["bea"] * owners.count("bea") + ["bob"] * owners.count("bob")
    rename(filled, "bea", "ada")
    assert of_user(filled, "ada")["memories"]["nodes"]


# Search


@pytest.mark.parametrize("indexed", [True, False])
def test_search_finds_what_was_moved_under_the_new_id_and_nothing_under_the_old(
    filled: Server, indexed: bool, request: pytest.FixtureRequest
) -> None:
    if indexed:
        request.getfixturevalue("through_index")
        index_now(filled)
    rename(filled, "ada", "bea")
    assert_index_is_exact(filled.place)
    filled.accepted(CREATE_USER, userId="ada")
    for word, expected in (("Turin", ["I live in Turin."]), ("longest", ["Po"]), ("rows", ["rows"])):
        assert texts(filled, word, userId="bea") == texts(filled, word) == expected
        assert texts(filled, word, userId="ada") == []
    index_now(filled)
    assert_index_is_exact(filled.place)
    filled.accepted(DELETE_USER, userId="bea")
    assert_index_is_exact(filled.place)
    assert texts(filled, "Turin") == []


def test_a_renamed_user_is_found_by_the_words_of_the_new_id_only(server: Server) -> None:
    server.accepted(CREATE_USER, userId="old.login", name="Ada Lovelace")
    rename(server, "old.login", "new.login")
    find = "query ($text: String!) { users(filter: {text: $text}) { nodes { userId } } }"
    for text, found in (("old", []), ("new", ["new.login"]), ("ada love", ["new.login"])):
        nodes = server.graphql(find, text=text)["users"]["nodes"]
        assert [node["userId"] for node in nodes] == found, text


@pytest.fixture
def endpoint() -> Iterator[ModelServer]:
    server = ModelServer()
    yield server
    server.close()


def test_vectors_go_along_and_are_not_made_again(start: Start, endpoint: ModelServer) -> None:
    server = start(embeddings="endpoint", embeddings_base_url=endpoint.url, embeddings_model="test")
    fill(server)
    server.accepted(CREATE_DOCUMENT, userId="ada", documentId="river", title="Po", content="the longest one")

    def is_made() -> bool:
        said = server.client.get(f"{server.base}/ready").json()["models"]["embeddings"]
        return said["status"] == "ready" and said["waiting"] == 0

    def made() -> list[Any]:
        tables = server.tables()
        return [sorted(row[-1] for row in tables[f"{name}_vectors"]) for name in ("message", "memory", "document")]

    wait_until(is_made)
    before, asked = made(), len(endpoint.asked)
    assert all(before)
    rename(server, "ada", "bea")
    assert made() == before
    found = server.graphql(
        '{ search(query: "longest one", userId: "bea", scope: [DOCUMENTS]) { nodes { ... on Document { title } } } }'
    )
    assert found["search"]["nodes"][0] == {"title": "Po"}
    server.accepted(CREATE_MEMORY, userId="bea", kind="FACT", content="something new")
    wait_until(lambda: len(server.tables()["memory_vectors"]) == len(server.tables()["memories"]) and is_made())
    sent = [text for each in endpoint.asked[asked:] for text in each.body["input"]]
    assert sorted(sent) == ["longest one", "something new"]


# Tokens


def test_tokens_of_the_old_id_are_refused_for_good_and_open_no_later_user(server: Server) -> None:
    desk = Desk(server.place)
    server.accepted(CREATE_USER, userId="ada")
    old = server.accepted(ISSUE_USER_TOKEN, userId="ada", expiresInSeconds=86_400)["token"]
    assert desk.viewer(old).user_id == "ada"
    rename(server, "ada", "bea")
    new = server.accepted(ISSUE_USER_TOKEN, userId="bea")["token"]
    server.accepted(CREATE_USER, userId="ada")
    later = server.accepted(ISSUE_USER_TOKEN, userId="ada")["token"]
    for credentials in (desk.credentials, desk.another()):
        assert desk.refused(old, credentials) == REFUSED
        assert (desk.viewer(new, credentials).user_id, desk.viewer(later, credentials).user_id) == ("bea", "ada")
    # There and back again: a token of the first time stays refused.
    server.accepted(DELETE_USER, userId="ada")
    rename(server, "bea", "ada")
    for token in (old, new, later):
        assert desk.refused(token) == REFUSED
    assert desk.viewer(server.accepted(ISSUE_USER_TOKEN, userId="ada")["token"]).user_id == "ada"
    desk.close()


def test_tokens_of_an_erased_user_do_not_open_one_who_gets_the_key(server: Server) -> None:
    desk = Desk(server.place)
    server.accepted(CREATE_USER, userId="ada")
    old = server.accepted(ISSUE_USER_TOKEN, userId="ada", expiresInSeconds=86_400)["token"]
    server.accepted(DELETE_USER, userId="ada")
    server.accepted(CREATE_USER, userId="bea")
    rename(server, "bea", "ada")
    assert desk.refused(old) == REFUSED
    assert desk.viewer(server.accepted(ISSUE_USER_TOKEN, userId="ada")["token"]).user_id == "ada"
    desk.close()


# The old key


def test_the_old_key_is_free_and_has_nothing(filled: Server) -> None:
    rename(filled, "ada", "bea")
    assert filled.refused(DELETE_USER, userId="ada")["code"] == "NOT_FOUND"
    first = {"role": "USER", "content": "I live in Turin."}
    for fields in ({"sessionId": "new"}, {"sessionId": "told"}):
        error = filled.refused(ADD_MESSAGES, **fields, userId="ada", messages=[first])
        assert (error["code"], error["path"]) == ("NOT_FOUND", ["userId"])
    filled.accepted(CREATE_USER, userId="ada")
    fresh = of_user(filled, "ada")
    assert [fresh[name]["nodes"] for name in ("sessions", "memories", "documents")] == [[], [], []]
    assert filled.refused(ADD_MESSAGES, sessionId="told", userId="ada", messages=[first])["code"] == "CONFLICT"
    stored = filled.accepted(MEMORY, userId="ada", memoryId="own", kind="FACT", content="another")["memory"]
    assert stored["content"] == "another"
    assert filled.accepted(ERASE, userId="ada")["receipt"]["memories"] == 1
    assert of_user(filled, "bea")["memories"]["nodes"]


def test_a_receipt_ends_with_a_later_user_who_is_renamed(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada")
    server.accepted(ERASE, userId="ada")
    server.accepted(CREATE_USER, userId="ada")
    rename(server, "ada", "bea")
    assert server.refused(DELETE_USER, userId="ada")["code"] == "NOT_FOUND"


@pytest.mark.sqlite
def test_an_erasure_after_a_rename_leaves_nothing_of_either_id(filled: Server) -> None:
    filled.accepted(UPDATE_USER, userId="ada", about="rareabout")
    index_now(filled)
    rename(filled, "ada", "rareoldname")
    rename(filled, "rareoldname", "rarenewname")
    wait_until(lambda: b"rareoldname" not in filled.place.content(), "the old id is still in the files")
    owned = of_user(filled, "rarenewname")
    receipt = filled.accepted(ERASE, userId="rarenewname")["receipt"]
    assert receipt["documents"] == len(owned["documents"]["nodes"])
    assert receipt["memories"] >= len(owned["memories"]["nodes"])
    assert receipt["filesClearedAt"] is not None
    left = filled.place.content().lower()
    for word in (b"turin", b"longest", b"rareabout", b"rarenewname", b"rareoldname", b"old bridges"):
        assert word not in left, word
    assert of_user(filled, "bob") is not None


# Refusals


@pytest.mark.parametrize(
    ("fields", "code", "path"),
    [
        ({"userId": "nobody", "newUserId": "bea"}, "NOT_FOUND", "userId"),
        ({"userId": "erased", "newUserId": "bea"}, "NOT_FOUND", "userId"),
        ({"userId": "nobody", "newUserId": "nobody"}, "NOT_FOUND", "userId"),
        ({"userId": "ada", "newUserId": "bob"}, "ALREADY_EXISTS", "newUserId"),
        ({"userId": "ada", "newUserId": ""}, "INVALID", "newUserId"),
        ({"userId": "ada", "newUserId": "x" * 513}, "INVALID", "newUserId"),
        ({"userId": "ada", "newUserId": "\0"}, "INVALID", "newUserId"),
        ({"userId": "", "newUserId": "bea"}, "INVALID", "userId"),
    ],
)
def test_a_rename_that_cannot_be_is_refused(server: Server, fields: dict[str, str], code: str, path: str) -> None:
    for user_id in ("ada", "bob", "erased"):
        server.accepted(CREATE_USER, userId=user_id)
    server.accepted(DELETE_USER, userId="erased")
    error = server.refused(RENAME, **fields)
    assert (error["code"], error["path"]) == (code, [path])


def test_the_same_id_changes_nothing(filled: Server) -> None:
    before = filled.tables()
    assert rename(filled, "ada", "ada")["version"] == of_user(filled, "ada")["version"]
    assert filled.tables() == before


def test_cursors_of_a_users_lists_end_with_the_old_id_and_those_of_users_do_not(filled: Server) -> None:
    page = "sessions(first: 1, after: $after) { nodes { sessionId } pageInfo { endCursor } }"
    of_ada = f'query ($after: String) {{ user(userId: "ada") {{ {page} }} }}'
    cursor = filled.graphql(of_ada)["user"]["sessions"]["pageInfo"]["endCursor"]
    whole = filled.graphql(f"query ($after: String) {{ {page} }}")["sessions"]
    rename(filled, "ada", "bea")
    (error,) = filled.errors(of_ada.replace("ada", "bea"), after=cursor)
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    filled.graphql(f"query ($after: String) {{ {page} }}", after=whole["pageInfo"]["endCursor"])


# Concurrency


def test_nothing_is_left_under_the_old_id_while_clients_write(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada")
    writing = threading.Event()

    def client(number: int) -> str:
        for turn in range(2_000):
            if turn % 3:
                fields: dict[str, Any] = {"sessionId": f"s{number % 4}-{turn // 10}", "userId": "ada"}
                said = {"role": "USER", "content": f"I live in Turin {number} {turn}."}
                payload = server.graphql(ADD_MESSAGES, input={**fields, "messages": [said]})["addMessages"]
            else:
                fields = {"userId": "ada", "memoryId": f"m{number}-{turn}", "kind": "FACT", "content": f"fact {turn}"}
                payload = server.graphql(MEMORY, input=fields)["createMemory"]
            if payload["userErrors"]:
                return payload["userErrors"][0]["code"]
            writing.set()
        return "never refused"

    with ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(client, number) for number in range(8)]
        assert writing.wait(20)
        wait_until(
            lambda: (
                len(
                    server.graphql('{ user(userId: "ada") { sessions(first: 20) { nodes { id } } } }')["user"][
                        "sessions"
                    ]["nodes"]
                )
                > 4
            )
        )
        rename(server, "ada", "bea")
        assert {future.result() for future in clients} == {"NOT_FOUND"}
    key = user_key("default", "ada")
    tables = server.tables()
    assert [name for name, rows in tables.items() if any(key in row for row in rows)] == ["erasures"]
    owned = of_user(server, "bea")
    assert owned["memories"]["nodes"]
    index_now(server)
    assert_index_is_exact(server.place)
    server.place.check()


# Export and import


def test_an_export_after_a_rename_gives_the_same_data_elsewhere(
    filled: Server, command: Command, tmp_path: Path, fresh: Fresh
) -> None:
    rename(filled, "ada", "bea")
    copy = copied(command, filled.place, tmp_path, fresh)
    with serving(copy) as other:
        assert of_user(other, "bea") == of_user(filled, "bea")
        assert of_user(other, "ada") is None
