"""Global ids are stable and are never used again, also when a key is."""

import contextlib
import io
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from models.keys import message_id_hash, session_key, user_key
from recallql.commands.archive import ArchiveProblem, export_file, import_file
from recallql.settings import Settings
from tests.documents import NODES, mutation
from tests.places import Fresh, Place, older_place
from tests.servers import Server

PAGE = """query ($after: String) { session(sessionId: "s") { LIST(first: 1, after: $after) { edges { cursor } } } }"""
KEPT = """{ users { nodes { id memories { nodes { id memoryId } } documents { nodes { id documentId } } } }
  sessions { nodes { id messages { nodes { id } } memories { nodes { id memoryId } } } } }"""
LATER = "2100-01-01T00:00:00Z"


def mutate(server: Any, name: str, selection: str, /, **fields: Any) -> dict[str, Any]:
    return server.accepted(mutation(name, selection), **fields)


def refusal(server: Any, name: str, selection: str, /, **fields: Any) -> str:
    return server.refused(mutation(name, selection), **fields)["code"]


def fill(server: Any) -> list[str]:
    """The user `ada`, her session `s` with two messages, and what is hers by an own key; the ids of all of it."""
    user = mutate(server, "createUser", "user { id }", userId="ada")["user"]["id"]
    told = [{"role": "USER", "content": "one", "messageId": "m1"}, {"role": "USER", "content": "two"}]
    added = mutate(server, "addMessages", "session { id } messages { id }", sessionId="s", userId="ada", messages=told)
    memory = {"memoryId": "y", "kind": "FACT", "content": "a fact"}
    made = [
        mutate(server, "createMemory", "memory { id }", sessionId="s", **memory)["memory"]["id"],
        mutate(server, "createMemory", "memory { id }", userId="ada", **memory)["memory"]["id"],
        mutate(server, "createDocument", "document { id }", userId="ada", documentId="d", title="t", content="c")[
            "document"
        ]["id"],
    ]
    return [user, added["session"]["id"], *(message["id"] for message in added["messages"]), *made]


def there(server: Any, ids: list[str]) -> list[bool]:
    found = server.graphql(NODES, ids=ids)["nodes"]
    assert all(node is None or node["id"] == id for node, id in zip(found, ids, strict=True))
    return [node is not None for node in found]


def delete_for_good(server: Any) -> None:
    mutate(server, "deleteSession", "deletedSessionId", sessionId="s", permanently=True)


def delete_and_purge(server: Any) -> None:
    mutate(server, "deleteSession", "deletedSessionId", sessionId="s")
    mutate(server, "purgeDeleted", "sessions", deletedBefore=LATER)


def delete(server: Any) -> None:
    mutate(server, "deleteSession", "deletedSessionId", sessionId="s")


def say(server: Any) -> tuple[str, list[str]]:
    told = [{"role": "USER", "content": "new"}, {"role": "USER", "content": "newer"}]
    added = mutate(server, "addMessages", "session { id } messages { id }", sessionId="s", messages=told)
    return added["session"]["id"], [message["id"] for message in added["messages"]]


def create(server: Any) -> str:
    return mutate(server, "createSession", "session { id }", sessionId="s")["session"]["id"]


def upsert(server: Any) -> str:
    return mutate(server, "upsertSession", "session { id }", sessionId="s")["session"]["id"]


@pytest.mark.parametrize(
    ("remove", "begin"),
    [
        (delete_for_good, create),
        (delete_for_good, None),
        (delete_and_purge, upsert),
        (delete_and_purge, None),
        (delete, create),
        (delete, upsert),
    ],
)
def test_a_new_session_under_a_used_key_has_other_ids(
    server: Server, remove: Callable[[Any], None], begin: Callable[[Any], str] | None
) -> None:
    user, session, first, second, memory, *of_user = fill(server)
    old = [session, first, second, memory]
    remove(server)
    if begin is not None:
        begin(server)
    new_session, new_messages = say(server)
    kept = mutate(server, "createMemory", "memory { id }", sessionId="s", memoryId="y", kind="FACT", content="a fact")
    new = [new_session, *new_messages, kept["memory"]["id"]]
    assert there(server, [*old, *new]) == [False] * 4 + [True] * 4
    assert not set(old) & set(new)
    assert there(server, [user, *of_user]) == [True] * 3
    # An old id does not reach the new object in mutations either.
    assert refusal(server, "updateMessage", "message { id }", id=first, content="changed") == "NOT_FOUND"
    assert refusal(server, "deleteMessage", "deletedMessageId", id=second) == "NOT_FOUND"
    assert refusal(server, "deleteMemory", "deletedMemoryId", id=memory) == "NOT_FOUND"
    named = {"userId": "ada", "kind": "FACT", "content": "x"}
    for field in ({"sources": [first]}, {"supersedes": [memory]}):
        assert refusal(server, "createMemory", "memory { id }", **named, **field) == "NOT_FOUND"
    assert there(server, new) == [True] * 4


def test_a_user_who_is_created_again_after_an_erasure_has_other_ids_and_so_has_all_that_is_theirs(
    server: Server,
) -> None:
    old = fill(server)
    gone = mutate(server, "deleteUser", "deletedUserId", userId="ada")["deletedUserId"]
    assert gone == old[0]
    assert there(server, old) == [False] * 7
    new = fill(server)
    assert not set(old) & set(new)
    assert there(server, [*old, *new]) == [False] * 7 + [True] * 7
    mutate(server, "deleteUser", "deletedUserId", userId="ada")
    newest = fill(server)
    assert there(server, [*old, *new, *newest]) == [False] * 14 + [True] * 7


def test_a_session_that_comes_back_by_new_messages_keeps_its_id(server: Server) -> None:
    _, session, first, second, memory, *_ = fill(server)
    delete(server)
    back, new_messages = say(server)
    assert back == session
    assert there(server, [session, first, second, memory, *new_messages]) == [True, False, False, False, True, True]
    # Also with a client's own key, which is free again.
    again = [{"role": "USER", "content": "one again", "messageId": "m1"}]
    for deduplicated in (0, 1):
        added = mutate(server, "addMessages", "deduplicated", sessionId="s", messages=again)
        assert added["deduplicated"] == deduplicated
    delete(server)
    assert say(server)[0] == session


def test_ids_that_mutations_return_are_those_that_queries_give(server: Server) -> None:
    _, session, first, second, *_ = fill(server)
    assert mutate(server, "deleteMessage", "deletedMessageId", id=first)["deletedMessageId"] == first
    gone = mutate(server, "deleteMessages", "deletedMessageIds", sessionId="s")["deletedMessageIds"]
    assert gone == [second]
    removed = mutate(server, "deleteInactiveSessions", "deletedSessionIds", inactiveSince=LATER)["deletedSessionIds"]
    assert removed == [session]


@pytest.mark.parametrize("remove", [delete_for_good, delete_and_purge])
@pytest.mark.parametrize("name", ["messages", "memories"])
def test_a_cursor_of_the_old_session_is_no_position_in_the_new_one(
    server: Server, remove: Callable[[Any], None], name: str
) -> None:
    fill(server)
    page = PAGE.replace("LIST", name)
    (edge,) = server.graphql(page)["session"][name]["edges"]
    remove(server)
    say(server)
    (error,) = server.errors(page, after=edge["cursor"])
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


def test_an_id_with_anything_changed_is_null(server: Server) -> None:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for id in fill(server)[:3]:
        made_up = [id + "0", id + "=", id + "A", id + "٣", id.swapcase()]
        made_up += [id[:length] for length in range(len(id))]
        made_up += [f"{id[:at]}{letters[(letters.index(id[at]) + 1) % 64]}{id[at + 1 :]}" for at in range(len(id) - 1)]
        assert server.graphql(NODES, ids=made_up)["nodes"] == [None] * len(made_up)


def exported(server: Server) -> list[dict[str, Any]]:
    file = io.BytesIO()
    export_file(file, settings(server.place))
    return [json.loads(line) for line in file.getvalue().splitlines()]


def settings(place: Place) -> Settings:
    return Settings(database_url=place.url)  # pyright: ignore[reportCallIssue]


def put(lines: list[dict[str, Any]], place: Place) -> Place:
    """Imports lines into a database."""
    import_file(io.BytesIO(b"".join(json.dumps(line).encode() + b"\n" for line in lines)), settings(place), size=None)
    return place


def test_an_import_keeps_the_ids(server: Server, fresh: Fresh) -> None:
    fill(server)
    mutate(server, "deleteSession", "deletedSessionId", sessionId="s")
    say(server)
    with contextlib.closing(Server(put(exported(server), fresh()))) as copy:
        assert copy.graphql(KEPT) == server.graphql(KEPT)


def test_lines_that_were_exported_without_ids_keep_the_ids_of_the_first_version(server: Server, fresh: Fresh) -> None:
    fill(server)
    lines = [{name: line[name] for name in line if name != "id"} for line in exported(server)]
    with contextlib.closing(Server(put(lines, fresh()))) as copy:
        (session,) = copy.graphql(KEPT)["sessions"]["nodes"]
        assert session["id"] == "S" + text_of(session_key("default", "s"))


def test_a_line_with_the_id_of_something_else_is_refused(server: Server, fresh: Fresh) -> None:
    new = fresh()
    user, session, message, *_ = fill(server)
    for id in (user, message, "", "S", session[:-1], session + "1", session[:-10] + "9" * 10):
        with pytest.raises(ArchiveProblem, match="`id`"):
            put([{"type": "session", "sessionId": "s", "id": id}], new)
    with pytest.raises(ArchiveProblem, match="`id`"):
        put([{"type": "session", "sessionId": "other", "id": session}], new)
    put([{"type": "session", "sessionId": "s", "id": session}], new)


def text_of(key: bytes) -> str:
    """The form of ids of the first version."""
    return urlsafe_b64encode(key)[:22].decode()


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Server]:
    """The application on a file of the first version: a user, and a session with messages."""
    place = older_place(tmp_path, "0001")
    user, session, now = user_key("default", "ada"), session_key("default", "s"), "2025-01-01T00:00:00"
    common = {"project": "default", "metadata": "{}", "created_at": now, "updated_at": now, "version": 1}
    message = {"session_key": session, "generation": 0, "role": "USER", "token_count": 1, "forms_memories": 1}
    rows: list[tuple[str, dict[str, Any]]] = [
        ("users", {"key": user, "user_id": "ada", "about": "", **common}),
        (
            "sessions",
            {"key": session, "session_id": "s", "user_key": user, "last_activity_at": now, "last_sequence": 2}
            | {"deleted_through": 0, **common},
        ),
        ("messages", {**message, "sequence": 1, "message_id": "m1", "content": "one", **common}),
        ("messages", {**message, "sequence": 2, "content": "two", **common}),
        ("erasures", {"key": user_key("default", "eve"), "erased_at": now}),
        ("deleted_messages", {"session_key": session, "sequence": 3, "message_id_hash": message_id_hash("m3")}),
    ]
    for table, row in rows:
        columns = place.columns(table)
        place.insert(table, [{name: value for name, value in row.items() if name in columns}])
    server = Server(place)
    yield server
    server.close()


@pytest.mark.sqlite
def test_ids_of_before_the_upgrade_stay_good_until_their_objects_go(old: Server) -> None:
    key, user = text_of(session_key("default", "s")), text_of(user_key("default", "ada"))
    ids = [f"U{user}", f"S{key}", f"M{key}1", f"M{key}2"]
    assert there(old, ids) == [True] * 4
    changed = mutate(old, "updateMessage", "message { id content }", id=ids[2], content="changed")["message"]
    assert changed == {"id": ids[2], "content": "changed"}
    # A retry is found, and new messages of an old session are named as the old ones are.
    told = [{"role": "USER", "content": "one", "messageId": "m1"}, {"role": "USER", "content": "new"}]
    added = mutate(old, "addMessages", "deduplicated messages { id }", sessionId="s", messages=told)
    assert added["deduplicated"] == 1
    assert [message["id"] for message in added["messages"]] == [f"M{key}1", f"M{key}3"]
    delete(old)
    assert say(old)[0] == f"S{key}"
    delete_for_good(old)
    session, messages = say(old)
    assert there(old, [*ids, session, *messages]) == [True, False, False, False, True, True, True]
    mutate(old, "deleteUser", "deletedUserId", userId="ada")
    new = mutate(old, "createUser", "user { id }", userId="ada")["user"]["id"]
    assert there(old, [ids[0], new]) == [False, True]


@pytest.mark.sqlite
def test_keys_of_clients_are_found_again_after_the_upgrade(old: Server) -> None:
    """The memory and the document under a client's own key are still the ones that a retry means."""
    memory = {"memoryId": "y", "kind": "FACT", "content": "a fact"}
    for owner in ({"sessionId": "s"}, {"userId": "ada"}):
        ids = {mutate(old, "createMemory", "memory { id }", **memory, **owner)["memory"]["id"] for _ in range(2)}
        assert len(ids) == 1
