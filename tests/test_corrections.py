"""Lists of memories in other orders, memories that are deleted by filter, and what was put right by hand."""

import itertools
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from models.keys import fingerprint, session_key, user_key
from recallql.commands.archive import export_file, import_file
from recallql.settings import Settings
from tests.documents import CREATE_USER, DELETE_MEMORY, DELETE_MESSAGE, DELETE_USER, UPDATE_MESSAGE, mutation
from tests.memories import CREATE, UPDATE
from tests.places import Fresh, older_place
from tests.servers import Api, Server

DELETE_MANY = mutation("deleteMemories", "deletedMemoryIds hasMore")
ADD = mutation("addMessages", "messages { id sequence } memories { id content }")
LIST = """query ($first: Int, $after: String, $last: Int, $before: String, $filter: MemoryFilter, $order: MemoryOrder) {
  user(userId: "ada") { memories(
    first: $first, after: $after, last: $last, before: $before, filter: $filter, orderBy: $order
  ) { nodes { id content } pageInfo { startCursor endCursor hasNextPage hasPreviousPage } totalCount } } }"""


@pytest.fixture
def ada(server: Server) -> Server:
    server.accepted(CREATE_USER, userId="ada")
    return server


def remember(api: Api, content: str, **fields: Any) -> str:
    owner = {} if "sessionId" in fields else {"userId": "ada"}
    return api.accepted(CREATE, **{**owner, "kind": "FACT", "content": content, **fields})["memory"]["id"]


def listed(api: Api, **arguments: Any) -> list[str]:
    page = api.graphql(LIST, **{"first": 100, **arguments})["user"]["memories"]
    return [node["content"] for node in page["nodes"]]


def say(api: Api, content: str, **fields: Any) -> tuple[str, list[str]]:
    message = {"role": "USER", "content": content, "createdAt": "2024-03-01T12:00:00Z"}
    done = api.accepted(ADD, **{"sessionId": "s", "userId": "ada", "messages": [message], **fields})
    return done["messages"][0]["id"], [memory["id"] for memory in done["memories"]]


# Orders


def some(api: Api) -> list[dict[str, Any]]:
    """Memories with equal and missing ratings and times, in the order of their creation."""
    kinds = list(itertools.product((0.5, None, 1, 0), ("2024-01-01T00:00:00Z", None, "2020-01-01T00:00:00.5+02:00")))
    rows: list[dict[str, Any]] = [
        {"content": f"{n}", "rating": rating, "validFrom": start, "createdAt": f"2019-01-01T00:00:{n:02}Z"}
        for n, (rating, start) in enumerate(kinds)
    ]
    for row in rows:
        row["id"] = remember(api, row["content"], **{k: v for k, v in row.items() if k not in ("content", "id")})
    return rows


@pytest.mark.parametrize("direction", ["ASC", "DESC"])
@pytest.mark.parametrize(
    ("field", "name"), [("CREATED_AT", "createdAt"), ("VALID_FROM", "validFrom"), ("RATING", "rating")]
)
def test_memories_are_listed_by_creation_time_or_rating_and_those_without_come_last(
    ada: Server, field: str, name: str, direction: str
) -> None:
    rows = some(ada)
    order = {"field": field, "direction": direction}
    found = [rows[int(content)] for content in listed(ada, order=order)]
    values = [row[name] for row in found]
    present = [value for value in values if value is not None]
    assert values == present + [None] * (len(rows) - len(present))
    assert present == sorted(present, reverse=direction == "DESC")
    # Forwards and backwards, page by page.
    forwards: list[str] = []
    after = None
    while True:
        page = ada.graphql(LIST, first=2, after=after, order=order)["user"]["memories"]
        forwards += [node["id"] for node in page["nodes"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert forwards == [row["id"] for row in found]
    backwards: list[str] = []
    before = None
    while True:
        page = ada.graphql(LIST, last=5, before=before, order=order)["user"]["memories"]
        backwards = [node["id"] for node in page["nodes"]] + backwards
        before = page["pageInfo"]["startCursor"]
        if not page["pageInfo"]["hasPreviousPage"]:
            break
    assert backwards == forwards
    other = {"field": field, "direction": "ASC" if direction == "DESC" else "DESC"}
    assert ada.errors(LIST, first=2, after=before, order=other)[0]["extensions"]["code"] == "BAD_USER_INPUT"


def test_memories_of_a_session_are_ordered_too(ada: Server) -> None:
    say(ada, "Hello.")
    for n, rating in enumerate((None, 0.1, 0.9)):
        remember(ada, f"{n}", sessionId="s", rating=rating)
    query = (
        """{ session(sessionId: "s") { memories(orderBy: {field: RATING, direction: DESC}) { nodes { content } } } }"""
    )
    nodes = ada.graphql(query)["session"]["memories"]["nodes"]
    assert [node["content"] for node in nodes] == ["2", "1", "0"]


def test_memories_are_filtered_by_their_creation(ada: Server) -> None:
    some(ada)
    since = {"since": "2019-01-01T00:00:03Z", "until": "2019-01-01T00:00:05Z"}
    assert listed(ada, filter={"createdAt": since}) == ["4", "3"]
    assert listed(ada, filter={"createdAt": {"until": "2019-01-01T01:00:01+01:00"}}) == ["0"]
    page = ada.graphql(LIST, first=1, filter={"createdAt": since})["user"]["memories"]
    assert (page["totalCount"], page["pageInfo"]["hasNextPage"]) == (2, True)


# deleteMemories


def test_memories_of_a_user_are_deleted_by_filter(ada: Server) -> None:
    remember(ada, "a fact")
    liked = remember(ada, "likes tea", kind="PREFERENCE", metadata={"x": 1})
    over = remember(ada, "liked milk", kind="PREFERENCE", validUntil="2020-01-01T00:00:00Z")
    say(ada, "Hello.")
    told = remember(ada, "likes it here", kind="PREFERENCE", sessionId="s")
    done = ada.accepted(DELETE_MANY, userId="ada", filter={"kinds": ["PREFERENCE"]})
    assert (done["deletedMemoryIds"], done["hasMore"]) == ([liked, told], False)
    assert listed(ada, filter={"history": True}) == ["liked milk", "a fact"]
    assert ada.accepted(DELETE_MANY, userId="ada", filter={"metadata": {"x": 1}})["deletedMemoryIds"] == []
    assert ada.accepted(DELETE_MANY, userId="ada", filter={"kinds": ["PREFERENCE"], "history": True})[
        "deletedMemoryIds"
    ] == [over]


def test_without_a_filter_all_memories_of_the_owner_are_deleted_so_many_at_once(ada: Server) -> None:
    ids = [remember(ada, f"{n}", validUntil="2020-01-01T00:00:00Z" if n % 2 else None) for n in range(5)]
    say(ada, "Hello.")
    session = [remember(ada, f"s{n}", sessionId="s") for n in range(2)]
    ada.accepted(CREATE_USER, userId="bo")
    ada.accepted(CREATE, userId="bo", kind="FACT", content="stays")
    done = ada.accepted(DELETE_MANY, sessionId="s")
    assert (done["deletedMemoryIds"], done["hasMore"]) == (session, False)
    assert listed(ada, filter={}) == ["4", "2", "0"]
    done = ada.accepted(DELETE_MANY, userId="ada", limit=3)
    assert (done["deletedMemoryIds"], done["hasMore"]) == (ids[:3], True)
    done = ada.accepted(DELETE_MANY, userId="ada", filter=None, limit=2)
    assert (done["deletedMemoryIds"], done["hasMore"]) == (ids[3:], False)
    assert len(ada.tables()["memories"]) == 1


def test_a_thousand_memories_are_deleted_at_once_and_with_all_that_hangs_on_them(ada: Server) -> None:
    message, _ = say(ada, "Hello.")
    older = remember(ada, "older")
    remember(ada, "newer", supersedes=[older], sources=[message])
    names = sorted(ada.place.columns("memories") - {"number"})
    (newer,) = ada.place.query(f"SELECT {', '.join(names)} FROM memories WHERE content = 'newer'")
    row = dict(zip(names, newer, strict=True))
    ada.place.insert("memories", [row | {"key": n.to_bytes(16)} for n in range(1, 1101)])
    for left in (True, False):
        done = ada.accepted(DELETE_MANY, userId="ada", filter={"history": True})
        assert done["hasMore"] is left
    tables = ada.tables()
    assert tables["memories"] == tables["memory_sources"] == []


def test_a_wrong_deletion_changes_nothing(ada: Server) -> None:
    remember(ada, "stays")
    say(ada, "Hello.")
    before = ada.tables()
    wrong: list[tuple[dict[str, Any], str, list[str]]] = [
        ({}, "INVALID", []),
        ({"userId": "ada", "sessionId": "s"}, "INVALID", []),
        ({"userId": "nobody"}, "NOT_FOUND", ["userId"]),
        ({"sessionId": "nowhere"}, "NOT_FOUND", ["sessionId"]),
        ({"userId": "ada", "limit": 0}, "INVALID", ["limit"]),
        ({"userId": "ada", "limit": 1001}, "INVALID", ["limit"]),
        ({"userId": "ada", "filter": {"metadata": [1]}}, "INVALID", ["filter"]),
    ]
    for fields, code, path in wrong:
        refusal = ada.refused(DELETE_MANY, **fields)
        assert (refusal["code"], refusal["path"]) == (code, path), fields
    assert ada.tables() == before


# By hand


@pytest.mark.parametrize("way", ["deleteMemory", "deleteMemories"])
def test_a_deleted_memory_does_not_come_back_when_its_message_is_edited(ada: Server, way: str) -> None:
    message, (memory,) = say(ada, "I live in Turin.")
    if way == "deleteMemory":
        ada.accepted(DELETE_MEMORY, id=memory)
    else:
        ada.accepted(DELETE_MANY, userId="ada")
    for content in ("I live in Turin. It rains.", "i live in turin", "I live in Turin."):
        ada.accepted(UPDATE_MESSAGE, id=message, content=content)
        assert listed(ada, filter={"history": True}) == []
    # Something else is formed, and so is the same said anew.
    ada.accepted(UPDATE_MESSAGE, id=message, content="I live in Rome.")
    assert listed(ada) == ["I live in Rome"]
    ada.accepted(UPDATE_MESSAGE, id=message, content="I live in Turin.")
    assert listed(ada) == []
    say(ada, "I live in Turin.")
    assert listed(ada) == ["I live in Turin"]


@pytest.mark.parametrize(
    "change", [{"content": "Lives near Turin"}, {"validUntil": "2024-03-02T00:00:00Z"}, {"rating": 0.2}]
)
def test_a_corrected_memory_stays_as_it_is_when_its_message_is_edited(ada: Server, change: dict[str, Any]) -> None:
    message, (memory,) = say(ada, "I live in Turin.")
    ada.accepted(UPDATE, id=memory, **change)
    query = """{ user(userId: "ada") { memories(filter: {history: true}) { nodes { id content rating validUntil version
        sources { nodes { ... on Message { id } } } } } } }"""
    before = ada.graphql(query)
    assert before["user"]["memories"]["nodes"][0]["version"] == 2
    for content in ("I live in Turin. It rains.", "I live in Turin."):
        ada.accepted(UPDATE_MESSAGE, id=message, content=content)
        assert ada.graphql(query) == before
    ada.accepted(DELETE_MESSAGE, id=message)
    assert listed(ada, filter={"history": True}) == []


def test_an_update_that_changes_nothing_is_no_correction(ada: Server) -> None:
    message, (memory,) = say(ada, "I live in Turin.")
    ada.accepted(UPDATE, id=memory, content="I live in Turin")
    ada.accepted(UPDATE_MESSAGE, id=message, content="I live in Rome.")
    assert listed(ada, filter={"history": True}) == ["I live in Rome"]


def test_what_was_put_right_stays_so_after_an_import(ada: Server, fresh: Fresh, tmp_path: Path) -> None:
    message, (memory,) = say(ada, "I live in Turin.")
    ada.accepted(DELETE_MEMORY, id=memory)
    other, (corrected,) = say(ada, "I'm vegan.")
    ada.accepted(UPDATE, id=corrected, content="Vegan, mostly")
    first, again = tmp_path / "1.ndjson", tmp_path / "2.ndjson"
    copied = fresh()
    copy = Settings(database_url=copied.url)  # pyright: ignore[reportCallIssue]
    with first.open("wb") as file:
        export_file(file, Settings(database_url=ada.place.url))  # pyright: ignore[reportCallIssue]
    with first.open("rb") as file:
        import_file(file, copy, size=None)
    with again.open("wb") as file:
        export_file(file, copy)
    assert again.read_bytes() == first.read_bytes()
    with closing(Server(copied)) as server:
        server.accepted(UPDATE_MESSAGE, id=message, content="I live in Turin. It rains.")
        server.accepted(UPDATE_MESSAGE, id=other, content="I'm vegan. Really.")
        assert listed(server, filter={"history": True}) == ["Vegan, mostly"]


def test_nothing_remains_of_a_deleted_memory_when_its_message_goes(ada: Server) -> None:
    for end in ("message", "user"):
        message, (memory,) = say(ada, "I live in Turin.", sessionId=end)
        ada.accepted(DELETE_MEMORY, id=memory)
        assert len(ada.tables()["withheld_memories"]) == 1
        if end == "message":
            ada.accepted(DELETE_MESSAGE, id=message)
        else:
            ada.accepted(DELETE_USER, userId="ada")
        assert ada.tables()["withheld_memories"] == []


# Events


def test_an_event_is_current_from_its_creation_on(ada: Server) -> None:
    dentist = {"kind": "EVENT", "validFrom": "2990-05-03T09:00:00Z", "createdAt": "2024-01-01T00:00:00Z"}
    event = remember(ada, "Dentist appointment", **dentist)
    remember(ada, "Will live in Rome", validFrom="2990-05-03T09:00:00Z")
    assert listed(ada) == ["Dentist appointment"]
    assert listed(ada, filter={"asOf": "2024-01-02T00:00:00Z"}) == ["Dentist appointment"]
    assert listed(ada, filter={"asOf": "2023-12-31T00:00:00Z"}) == []
    search = '{ search(query: "dentist", scope: [MEMORIES]) { nodes { ... on Memory { content } } } }'
    assert ada.graphql(search)["search"]["nodes"] == [{"content": "Dentist appointment"}]
    context = ada.graphql('{ user(userId: "ada") { context(query: "When do I see the dentist?") { text } } }')
    assert "Dentist appointment" in context["user"]["context"]["text"]
    # Moved: the new one is current at once, in the old one's place.
    moved = remember(ada, "Dentist on the 10th", kind="EVENT", validFrom="2990-05-10T09:00:00Z", supersedes=[event])
    assert listed(ada) == ["Dentist on the 10th"]
    ada.accepted(UPDATE, id=moved, expiresAt="2024-01-01T00:00:00Z")
    assert listed(ada) == []
    past = remember(ada, "Met Bo", kind="EVENT", validFrom="2001-01-01T00:00:00Z")
    assert listed(ada, filter={"asOf": "2002-01-01T00:00:00Z"}) == ["Met Bo"]
    assert past


@pytest.mark.sqlite
def test_a_file_of_the_version_before_is_brought_up_to_date_with_its_memories(tmp_path: Path) -> None:
    place = older_place(tmp_path, "0006")
    user, session, now = user_key("default", "ada"), session_key("default", "s"), "2025-01-01T00:00:00"
    common = {"project": "default", "metadata": "{}", "created_at": now, "updated_at": now, "version": 1}
    told = {"content": "I live in Turin", "user_key": user, "session_key": session, "sequence": 1}
    rows: dict[str, dict[str, Any]] = {
        "users": {"key": user, "user_id": "ada", "about": ""},
        "sessions": {"key": session, "session_id": "s", "last_activity_at": now, "last_sequence": 1}
        | {"deleted_through": 0, "user_key": user},
        "messages": {**told, "generation": 0, "role": "USER", "token_count": 1, "forms_memories": 1},
        "memories": {**told, "key": bytes(16), "kind": "FACT", "method": "RULE", "digest": bytes(16)}
        | {"subject": "home", "fingerprint": fingerprint("I live in Turin"), "valid_from": now},
        "memory_sources": {"memory_key": bytes(16), "position": 0, "session_key": session, "sequence": 1},
    }
    for table, row in rows.items():
        columns = place.columns(table)
        place.insert(table, [{name: value for name, value in {**common, **row}.items() if name in columns}])
    with closing(Server(place)) as server:
        query = '{ user(userId: "ada") { memories { nodes { id sources { nodes { ... on Message { id } } } } } } }'
        (memory,) = server.graphql(query)["user"]["memories"]["nodes"]
        server.accepted(DELETE_MEMORY, id=memory["id"])
        server.accepted(UPDATE_MESSAGE, id=memory["sources"]["nodes"][0]["id"], content="I live in Turin. Still.")
        assert listed(server) == []
