"""The index of the leaves of metadata: it finds what a comparison finds, and holds what is there, whatever wrote it."""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import resolvers.finding
import resolvers.sessions
import resolvers.users
from models.keys import session_key, user_key
from models.leaves import LARGEST_LEAVES
from models.sessions import SESSIONS
from models.sqlite.dialect import LONG_JSON
from models.users import USERS
from tests.archives import EVERY_TYPE, Outcome, run, serving, write
from tests.documents import (
    CREATE_AGENT,
    CREATE_DOCUMENT,
    CREATE_SESSION,
    CREATE_USER,
    DELETE_DOCUMENT,
    DELETE_SESSION,
    DELETE_USER,
    PURGE_DELETED,
    UPDATE_DOCUMENT,
    UPDATE_SESSION,
    UPDATE_USER,
    mutation,
)
from tests.places import Place, SqlitePlace, older_place
from tests.servers import Api, Server

UPSERT_USER = mutation("upsertUser", "user { id }")
UPSERT_SESSION = mutation("upsertSession", "session { id }")
RENAME_USER = mutation("renameUser", "user { id }")
MERGE_USERS = mutation("mergeUsers", "user { id }")

ARGUMENTS = "first: $first, after: $after, last: $last, before: $before, orderBy: $order, filter: $filter"
NODES = "totalCount edges { cursor node { it: %s } } pageInfo { hasNextPage hasPreviousPage }"


def listing(noun: str, path: str) -> str:
    """A document for a list at a path, such as `user(userId: "u").sessions`."""
    fields = path.split(".")
    query = f"{fields[-1]}({ARGUMENTS}) {{ {NODES % (f'{noun.lower()}Id')} }}"
    for field in fields[-2::-1]:
        query = f"{field} {{ {query} }}"
    parameters = "$first: Int, $after: String, $last: Int, $before: String"
    return f"query ({parameters}, $order: {noun}Order, $filter: {noun}Filter) {{ {query} }}"


LISTS = {
    "users": listing("User", "users"),
    "sessions": listing("Session", "sessions"),
    "User.sessions": listing("Session", 'user(userId: "ada").sessions'),
    "Agent.sessions": listing("Session", 'agent(agentId: "guide").sessions'),
    "User.documents": listing("Document", 'user(userId: "ada").documents'),
    "Agent.documents": listing("Document", 'agent(agentId: "guide").documents'),
}


def page(api: Api, name: str, **variables: Any) -> dict[str, Any]:
    found = api.graphql(LISTS[name], **variables)
    while "edges" not in found:
        (found,) = found.values()
    return found


def found(api: Api, name: str, metadata: Any, **filter: Any) -> list[str]:
    """The ids of the objects in a list with this metadata, in alphabetical order."""
    one = page(api, name, first=100, filter={"metadata": metadata, **filter})
    assert one["totalCount"] == len(one["edges"])
    return sorted(edge["node"]["it"] for edge in one["edges"])


def keep(api: Api, name: str, id: str, metadata: Any) -> None:
    """A new object in a list."""
    kind = name.rpartition(".")[2]
    owner = {"User": {"userId": "ada"}, "Agent": {"agentId": "guide"}}.get(name.partition(".")[0], {})
    if kind == "users":
        api.accepted(CREATE_USER, userId=id, metadata=metadata)
    elif kind == "sessions":
        api.accepted(CREATE_SESSION, sessionId=id, metadata=metadata, **owner)
    else:
        api.accepted(CREATE_DOCUMENT, documentId=id, title="t", content="c", metadata=metadata, **owner)


@pytest.fixture
def owners(server: Server) -> Server:
    server.accepted(CREATE_USER, userId="ada")
    server.accepted(CREATE_AGENT, agentId="guide", name="Guide")
    return server


@pytest.fixture(params=["rare", "common, 3 tried", "common, 100 tried"])
def rarity(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """By the index, or through the list in its order, of which some are tried first."""
    if request.param != "rare":
        count = int(request.param.split()[1])
        monkeypatch.setattr(resolvers.users, "USERS_TRIED", [(1, replace(USERS, tried=count))])
        monkeypatch.setattr(resolvers.sessions, "SESSIONS_TRIED", [(1, replace(SESSIONS, tried=count))])
        monkeypatch.setattr(resolvers.finding, "FEW", 0)
    return request.param


@pytest.mark.parametrize("name", LISTS)
def test_those_found_are_paged_through_in_every_order(owners: Server, name: str, rarity: str) -> None:
    for n in range(7):
        keep(owners, name, f"yes {n}", {"plan": "pro", "n": n, "tags": ["x", n % 2]})
        keep(owners, name, f"no {n}", {"plan": "free", "tags": [n % 2], "x": {"plan": "pro"}})
    fields = {"users": ("CREATED_AT", "USER_ID"), "sessions": ("CREATED_AT", "LAST_ACTIVITY_AT", "SESSION_ID")}
    for field in fields.get(name.rpartition(".")[2], ("CREATED_AT", "UPDATED_AT", "TITLE")):
        for direction in ("ASC", "DESC"):
            order = {"field": field, "direction": direction}
            every = [edge["node"]["it"] for edge in page(owners, name, first=100, order=order)["edges"]]
            expected = [id for id in every if id.startswith("yes")]
            assert sorted(expected) == [f"yes {n}" for n in range(7)]
            for metadata, wanted in (({"plan": "pro"}, expected), ({"tags": [1, "x"], "plan": "pro"}, None)):
                wanted = wanted or [id for id in expected if int(id[-1]) % 2]
                for first, after, back in (("first", "after", False), ("last", "before", True)):
                    seen: list[str] = []
                    cursor, more = None, True
                    while more:
                        arguments = {first: 2, after: cursor, "order": order, "filter": {"metadata": metadata}}
                        one = page(owners, name, **arguments)
                        assert one["totalCount"] == len(wanted)
                        edges = one["edges"][::-1] if back else one["edges"]
                        seen += [edge["node"]["it"] for edge in edges]
                        cursor = edges[-1]["cursor"]
                        more = one["pageInfo"]["hasPreviousPage" if back else "hasNextPage"]
                    assert seen == (wanted[::-1] if back else wanted), (order, metadata)


@pytest.mark.parametrize("name", LISTS)
def test_other_conditions_hold_together_with_metadata(owners: Server, name: str, rarity: str) -> None:
    kind = name.rpartition(".")[2]
    ids = f"{kind[:-1]}Ids"
    for id in "abc":
        keep(owners, name, id, {"plan": "pro", "id": id})
    assert found(owners, name, {"plan": "pro"}, **{ids: ["a", "c", "d"]}) == ["a", "c"]
    assert found(owners, name, {"plan": "pro", "id": "b"}, **{ids: ["a"]}) == []
    assert found(owners, name, {}) == (["a", "ada", "b", "c"] if name == "users" else ["a", "b", "c"])
    if kind != "documents":
        assert found(owners, name, {"plan": "pro"}, createdAt={"since": "2020-01-01T00:00:00Z"}) == ["a", "b", "c"]
        assert found(owners, name, {"plan": "pro"}, createdAt={"until": "2020-01-01T00:00:00Z"}) == []
    if kind == "users":
        assert found(owners, name, {"plan": "pro"}, text="b") == ["b"]
        assert found(owners, name, {"plan": "free"}, text="b") == []
    if kind == "sessions":
        owners.accepted(DELETE_SESSION, sessionId="a")
        assert found(owners, name, {"plan": "pro"}) == ["b", "c"]
        assert found(owners, name, {"plan": "pro"}, deleted=True) == ["a"]


@pytest.mark.parametrize("name", LISTS)
def test_long_metadata_is_found_by_all_that_is_in_it(owners: Server, name: str) -> None:
    many = {f"k{n}": n for n in range(LARGEST_LEAVES + 1)}
    wholes = {"at most": {f"k{n}": n for n in range(LARGEST_LEAVES)}, "more": many, "equal": {"l": ["v"] * 500 + ["w"]}}
    wholes |= {"list": {"l": list(range(3990))}, "long": {"t": "x" * LONG_JSON, "k1": 1, "l": ["w"]}}
    for id, whole in wholes.items():
        keep(owners, name, id, whole)
    assert found(owners, name, {"k1": 1}) == ["at most", "long", "more"]
    assert found(owners, name, {"k1": 1.0, "k200": 200}) == ["more"]
    assert found(owners, name, {"k1": "1"}) == []
    assert found(owners, name, {"l": ["w"]}) == ["equal", "long"]
    assert found(owners, name, {"l": [0, 3989]}) == ["list"]
    assert found(owners, name, {"t": "x" * LONG_JSON}) == ["long"]
    assert found(owners, name, {"t": "x" * LONG_JSON, "k1": 2}) == []
    assert found(owners, name, many) == ["more"]


def test_sessions_of_many_users_are_found_together(owners: Server) -> None:
    for n in range(6):
        owners.accepted(CREATE_USER, userId=f"u{n}")
        for k in range(3):
            owners.accepted(
                CREATE_SESSION, sessionId=f"s{n}-{k}", userId=f"u{n}", metadata={"k": k, "even": n % 2 == 0}
            )
    query = """{ users(first: 10, orderBy: {field: USER_ID, direction: ASC}) { nodes { userId
      sessions(first: 1, orderBy: {field: SESSION_ID, direction: ASC}, filter: {metadata: {even: true, k: 1}}) {
        totalCount nodes { sessionId } } } } }"""
    nodes = owners.graphql(query)["users"]["nodes"]
    lists = {node["userId"]: [each["sessionId"] for each in node["sessions"]["nodes"]] for node in nodes}
    assert lists == {"ada": []} | {f"u{n}": [f"s{n}-1"] * (n % 2 == 0) for n in range(6)}
    assert [node["sessions"]["totalCount"] for node in nodes] == [0, 1, 0, 1, 0, 1, 0]


def test_a_user_sees_only_its_own(owners: Server) -> None:
    issue = mutation("issueUserToken", "token")
    owners.accepted(CREATE_USER, userId="bob", metadata={"k": 1})
    owners.accepted(CREATE_SESSION, sessionId="of bob", userId="bob", agentId="guide", metadata={"k": 1})
    owners.accepted(CREATE_SESSION, sessionId="of ada", userId="ada", agentId="guide", metadata={"k": 1})
    with contextlib.closing(Api(owners.port, owners.place)) as ada:
        ada.client.headers["authorization"] = f"Bearer {owners.accepted(issue, userId='ada')['token']}"
        assert found(ada, "users", {"k": 1}) == []
        assert found(ada, "sessions", {"k": 1}) == ["of ada"]
    assert found(owners, "sessions", {"k": 1}) == found(owners, "Agent.sessions", {"k": 1}) == ["of ada", "of bob"]


# What is in the table


@pytest.fixture
def file(owners: Server) -> SqlitePlace:
    assert isinstance(owners.place, SqlitePlace)
    return owners.place


@pytest.mark.sqlite
def test_the_index_has_what_is_there_after_every_kind_of_write(owners: Server, file: SqlitePlace) -> None:
    ada = {"userId": "ada"}
    steps: list[tuple[str, dict[str, Any]]] = [
        (UPDATE_USER, ada | {"metadata": {"a": 1, "b": {"c": True}, "d": [None, "x"]}}),
        (UPDATE_USER, ada | {"metadata": {"a": 2, "b": None}}),
        (UPDATE_USER, ada | {"metadata": {"a": 2.0}, "metadataMode": "REPLACE"}),
        (UPSERT_USER, {"userId": "bob", "metadata": {"a": 2, "e": "e"}}),
        (UPSERT_USER, {"userId": "bob", "metadata": {f"k{n}": n for n in range(300)}}),
        (UPDATE_USER, {"userId": "bob", "metadata": {"a": 3}, "metadataMode": "REPLACE"}),
        (CREATE_SESSION, ada | {"sessionId": "s", "metadata": {"a": 1, "s": "s"}}),
        (UPDATE_SESSION, {"sessionId": "s", "title": "t", "metadata": {"s": None}}),
        (UPSERT_SESSION, ada | {"sessionId": "t", "metadata": {"t": "t"}}),
        (CREATE_DOCUMENT, ada | {"documentId": "d", "title": "t", "content": "c", "metadata": {"d": "d"}}),
        (CREATE_DOCUMENT, ada | {"documentId": "e", "title": "t", "content": "c", "metadata": {"e": 1}}),
        (RENAME_USER, ada | {"newUserId": "ida"}),
        (UPDATE_DOCUMENT, {"id": "E", "metadata": {"e": 2}}),
        (DELETE_DOCUMENT, {"id": "E"}),
        (DELETE_SESSION, {"sessionId": "s"}),
        (CREATE_SESSION, {"sessionId": "s", "metadata": {"again": 1}}),
        (DELETE_SESSION, {"sessionId": "t"}),
        (PURGE_DELETED, {"deletedBefore": "2100-01-01T00:00:00Z"}),
        (MERGE_USERS, {"fromUserId": "ida", "intoUserId": "bob"}),
        (DELETE_USER, {"userId": "bob"}),
    ]
    kept: list[int] = []
    for document, fields in steps:
        if fields.get("id") == "E":
            query = '{ user(userId: "ida") { documents(filter: {documentIds: ["e"]}) { nodes { id } } } }'
            fields["id"] = owners.graphql(query)["user"]["documents"]["nodes"][0]["id"]
        owners.accepted(document, **fields)
        file.check()
        kept.append(file.query("SELECT count(*) FROM metadata_leaves")[0][0])
    assert kept == [4, 3, 1, 3, 2, 2, 4, 3, 4, 5, 6, 6, 6, 5, 5, 5, 5, 4, 3, 1]
    assert found(owners, "sessions", {"again": 1}) == ["s"]


@pytest.mark.sqlite
def test_an_erased_user_leaves_no_leaf(owners: Server, file: SqlitePlace) -> None:
    one, other = "3a91c77e-05d2", "77aa0e12-9c4b"
    for user, uuid in (("bob", one), ("eve", other)):
        owners.accepted(CREATE_USER, userId=user, metadata={"db_uuid": uuid})
        owners.accepted(CREATE_SESSION, sessionId=f"s {user}", userId=user, metadata={"db_uuid": uuid})
        document = {"title": "t", "content": "c", "userId": user}
        owners.accepted(CREATE_DOCUMENT, **document, metadata={"db_uuid": uuid})
    (entries,) = [file.query("SELECT leaf, key FROM metadata_leaves WHERE key = $1", user_key("default", "bob"))]
    # As they are in the file: an integer of six bytes, then the key.
    ((leaf, key),) = entries
    stored = leaf.to_bytes(8 if leaf >= 2**47 else 6, "big") + key
    assert stored in file.content()
    owners.accepted(DELETE_USER, userId="bob")
    assert file.query("SELECT count(*) FROM metadata_leaves") == [(3,)]
    assert stored not in file.content()
    file.check()
    assert found(owners, "users", {"db_uuid": one}) == []
    assert found(owners, "users", {"db_uuid": other}) == ["eve"]


@pytest.mark.sqlite
def test_a_wrong_leaf_finds_nothing_that_is_not_so(owners: Server, file: SqlitePlace) -> None:
    """As if two leaves had one hash."""
    owners.accepted(CREATE_USER, userId="bob", metadata={"k": 1})
    owners.accepted(CREATE_USER, userId="eve", metadata={"k": 2})
    file.query("INSERT INTO metadata_leaves SELECT leaf, $1 FROM metadata_leaves", user_key("default", "ada"))
    file.query(
        "INSERT INTO metadata_leaves SELECT leaf, $1 FROM metadata_leaves WHERE key = $2",
        *(user_key("default", "eve"), user_key("default", "bob")),
    )
    assert found(owners, "users", {"k": 1}) == ["bob"]
    assert found(owners, "users", {"k": 2}) == ["eve"]


@pytest.mark.sqlite
def test_rows_of_another_project_are_not_found(owners: Server, file: SqlitePlace) -> None:
    for user in ("bob", "eve"):
        owners.accepted(CREATE_USER, userId=user, metadata={"k": 1})
    file.query("UPDATE users SET project = 'other' WHERE user_id = 'eve'")
    file.check()
    assert found(owners, "users", {"k": 1}) == ["bob"]


@pytest.mark.sqlite
def test_imported_rows_are_in_the_index(command: Callable[..., Outcome], place: Place, tmp_path: Path) -> None:
    file = write(tmp_path / "lines.ndjson", EVERY_TYPE)
    for _ in range(2):
        outcome = command("import", file, *place.option)
        assert outcome.status == 0, outcome.err
    place.check()
    with serving(place) as server:
        assert found(server, "users", {"a": {"b": [{"ü": "日本🎉"}]}, "plan": "pro"}) == ["ada"]


@pytest.mark.sqlite
def test_a_copy_and_a_backup_have_the_index(owners: Server, file: SqlitePlace, tmp_path: Path) -> None:
    owners.accepted(UPDATE_USER, userId="ada", metadata={"k": [1, 2]})
    owners.accepted(CREATE_SESSION, sessionId="s", metadata={"k": {"l": "m"}})
    copy, backup = (SqlitePlace(tmp_path / name) for name in ("copy.db", "backup.db"))
    for way in (("copy", "--from", file.url, "--to", copy.url), ("backup", backup.path, *file.option)):
        outcome = run(*way)
        assert outcome.status == 0, outcome.err
    leaves = file.query("SELECT * FROM metadata_leaves")
    assert len(leaves) == 3
    for place in (copy, backup):
        place.check()
        assert place.query("SELECT * FROM metadata_leaves") == leaves


@pytest.fixture
def migrated(tmp_path: Path) -> Iterator[Server]:
    """A file that version 0010 filled, with more users than are indexed together where that number is small."""
    place = older_place(tmp_path, "0010")
    stamps = {"project": "default", "created_at": "2025-01-01T00:00:00", "updated_at": "2025-01-01T00:00:00"}
    many = {"version": 1, "about": ""} | stamps
    metadata = ["{}", '{"n":1}', '{"n":1.0,"a":{"b":"c"}}', json.dumps({"l": list(range(300))}), '{"a":[[]]}']
    place.insert(
        "users",
        [
            many | {"key": user_key("default", f"u{n}"), "user_id": f"u{n}", "metadata": metadata[n % 5]}
            for n in range(50)
        ],
    )
    session = {"version": 1, "last_activity_at": stamps["created_at"], "last_sequence": 0, "deleted_through": 0}
    session |= stamps | {"key": session_key("default", "s"), "session_id": "s", "metadata": '{"s":true}'}
    place.insert("sessions", [session])
    document = {"key": b"d" * 16, "document_id": "d", "user_key": user_key("default", "u0"), "digest": b"d" * 16}
    document |= stamps | {"title": "t", "content": "c", "version": 1, "metadata": '{"d":null}'}
    place.insert("documents", [document])
    server = Server(place)
    yield server
    server.close()


@pytest.mark.sqlite
def test_what_an_older_version_wrote_is_found(migrated: Server) -> None:
    migrated.place.check()
    assert found(migrated, "users", {"n": 1}) == sorted(f"u{n}" for n in range(50) if n % 5 in (1, 2))
    assert found(migrated, "users", {"l": [299]}) == sorted(f"u{n}" for n in range(50) if n % 5 == 3)
    assert found(migrated, "sessions", {"s": True}) == ["s"]
    assert migrated.place.query("SELECT count(*) FROM metadata_leaves") == [(10 + 20 + 10 + 2,)]
    migrated.accepted(UPDATE_USER, userId="u1", metadata={"n": 2})
    migrated.accepted(DELETE_USER, userId="u0")
    migrated.place.check()
