"""Erasure: every one returns its receipt, and the bytes leave the files as soon as no reader holds them up."""

import contextlib
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from models.keys import user_key
from models.search import bring_up_to_date
from models.search_kinds import MESSAGES
from models.sqlite.backups import backups_of
from models.sqlite.transaction import SqliteTransaction
from tests.documents import ADD_MESSAGES, CREATE_USER, DELETE_SESSION, ERRORS, PURGE_DELETED, mutation
from tests.places import Place, older_place
from tests.servers import REPOSITORY, Api, Serve, Server, wait_until

RECEIPT = "receipt { userId erasedAt filesClearedAt sessions messages memories documents }"
ERASE = mutation("deleteUser", f"deletedUserId {RECEIPT}")
UPSERT = mutation("upsertSession", "session { id }")


def create(api: Api, user_id: str, word: str, *, messages: int = 2) -> None:
    """A user with a word in a message, in the user's own fields, and in a document."""
    api.accepted(
        CREATE_USER, userId=user_id, email=f"{word}@example.org", documents=[{"title": "t", "content": f"of {word}"}]
    )
    said = [{"role": "USER", "content": f"I said {word} {number}"} for number in range(messages)]
    api.accepted(ADD_MESSAGES, sessionId=f"s-{user_id}", userId=user_id, messages=said, formMemories=False)


def erase(api: Api, user_id: str) -> dict[str, Any]:
    return api.accepted(ERASE, userId=user_id)["receipt"]


def erase_anyhow(api: Api, user_id: str) -> dict[str, Any]:
    """The receipt of an erasure whose bytes may still be in the files."""
    payload = api.graphql(ERASE, input={"userId": user_id})["deleteUser"]
    assert payload["userErrors"] == []
    return payload["receipt"]


def ready(api: Api) -> dict[str, Any]:
    response = api.client.get(f"{api.base}/ready")
    assert response.status_code == 200, response.text
    return response.json()["erasures"]


def in_files(place: Place, word: str) -> bool:
    # The index may keep the first letters that a word has in common with others.
    return word[4:].encode() in place.content().lower()


def rare() -> str:
    """A word that no index shortens: the letters that it ends with may look like an ending of English."""
    return f"rare{uuid.uuid4().hex}0"


READ = """import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM users").fetchone()
print("reading", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def reader_of(place: Place) -> Generator[None]:
    """Another process that holds a snapshot of the database."""
    command = [sys.executable, "-c", READ, place.url.removeprefix("sqlite:///")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.stdin.close()


@contextlib.contextmanager
def export_of(place: Place) -> Generator[None]:
    """`recallql export`, held up since nobody reads what it writes."""
    command = [sys.executable, "-m", "recallql", "export", *place.option]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.kill()
        process.stdout.close()


@pytest.fixture
def hasty(place: Place) -> Iterator[Server]:
    """A server whose requests may take two seconds."""
    running = Server(place, request_timeout=2)
    yield running
    running.close()


# Receipts


@pytest.mark.sqlite
def test_a_receipt_says_when_the_bytes_had_left_the_files(server: Server) -> None:
    word = rare()
    create(server, "ada", word)
    receipt = erase(server, "ada")
    assert not in_files(server.place, word)
    assert receipt["filesClearedAt"] >= receipt["erasedAt"]
    assert ready(server) == {"waiting": 0, "since": None}


def test_a_repeated_erasure_returns_the_same_receipt_until_the_user_is_created_again(server: Server) -> None:
    create(server, "ada", rare(), messages=3)
    first = server.accepted(ERASE, userId="ada")
    assert [first["receipt"][name] for name in ("sessions", "messages", "memories", "documents")] == [1, 3, 0, 1]
    assert server.accepted(ERASE, userId="ada") == server.accepted(ERASE, userId="ada") == first
    create(server, "ada", rare())
    second = server.accepted(ERASE, userId="ada")
    assert second["receipt"]["messages"] == 2
    assert second["receipt"]["erasedAt"] > first["receipt"]["erasedAt"]
    assert server.accepted(ERASE, userId="ada") == second


def test_a_key_that_was_never_a_users_has_no_receipt(server: Server) -> None:
    create(server, "ada", rare())
    erase(server, "ada")
    error = server.refused(ERASE, userId="bob")
    assert (error["code"], error["path"]) == ("NOT_FOUND", ["userId"])


def test_a_receipt_survives_a_restart(place: Place) -> None:
    running = Server(place)
    create(running, "ada", rare())
    first = running.accepted(ERASE, userId="ada")
    running.close()
    running = Server(place)
    try:
        assert running.accepted(ERASE, userId="ada") == first
    finally:
        running.close()


def test_of_many_clients_that_erase_one_user_each_gets_the_same_receipt(server: Server) -> None:
    create(server, "ada", rare())
    with ThreadPoolExecutor(16) as pool:
        payloads = list(pool.map(lambda _: server.accepted(ERASE, userId="ada"), range(16)))
    assert payloads == [payloads[0]] * 16
    assert payloads[0]["receipt"]["messages"] == 2


@pytest.mark.sqlite
def test_each_of_256_erasures_by_32_clients_returns_its_receipt(server: Server) -> None:
    word = rare()
    for start in range(0, 256, 64):
        fields = " ".join(
            f"""u{n}: createUser(input: {{userId: "u{n}", email: "{word}{n}@example.org"}}) {{ {ERRORS} }}
            m{n}: addMessages(input: {{sessionId: "s{n}", userId: "u{n}", formMemories: false,
              messages: [{{role: USER, content: "{word}{n}"}}]}}) {{ {ERRORS} }}"""
            for n in range(start, start + 64)
        )
        server.graphql(f"mutation {{ {fields} }}")
    with ThreadPoolExecutor(32) as pool:
        receipts = list(pool.map(lambda n: erase(server, f"u{n}"), range(256)))
    assert [receipt["userId"] for receipt in receipts] == [f"u{n}" for n in range(256)]
    assert {receipt["messages"] for receipt in receipts} == {1}
    assert all(receipt["filesClearedAt"] for receipt in receipts)
    assert not in_files(server.place, word)
    assert len({receipt["filesClearedAt"] for receipt in receipts}) < 256, "no clearing was shared"


@pytest.mark.sqlite
def test_an_erasure_by_an_older_version_has_no_receipt_and_its_words_leave_the_index(tmp_path: Path) -> None:
    place, word = older_place(tmp_path, "0001"), rare()
    # A connection that clears nothing of what it deletes.
    with contextlib.closing(sqlite3.connect(place.path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO erasures VALUES (?, '2025-01-01T00:00:00')", (user_key("default", "ada"),))
        connection.execute("INSERT INTO messages_words (rowid, text) VALUES (1, ?)", (word,))
        connection.execute("INSERT INTO messages_words (messages_words, rowid, text) VALUES ('delete', 1, ?)", (word,))
    assert in_files(place, word)
    running = Server(place)
    try:
        assert running.refused(ERASE, userId="ada")["code"] == "NOT_FOUND"
        wait_until(lambda: ready(running)["waiting"] == 0, "the older version's removals were not cleared")
        for backup in backups_of(place.path):
            backup.unlink()
        assert not in_files(place, word)
        create(running, "ada", word)
        assert erase(running, "ada")["messages"] == 2
    finally:
        running.close()


# A reader that holds the log


@pytest.mark.sqlite
@pytest.mark.parametrize("reader", [reader_of, export_of])
def test_a_receipt_comes_in_time_while_a_reader_holds_the_log(hasty: Server, reader: Callable[..., Any]) -> None:
    word = rare()
    create(hasty, "ada", word)
    create(hasty, "bob", word)
    if reader is export_of:
        # More than the pipe holds.
        text = "x" * 60_000
        hasty.accepted(
            ADD_MESSAGES, sessionId="long", messages=[{"role": "USER", "content": text}] * 10, formMemories=False
        )
    took, stop = list[float](), threading.Event()

    def write() -> None:
        while not stop.is_set():
            started = time.monotonic()
            hasty.accepted(
                ADD_MESSAGES, sessionId="other", messages=[{"role": "USER", "content": "x"}], formMemories=False
            )
            took.append(time.monotonic() - started)
            time.sleep(0.005)

    with ThreadPoolExecutor(1) as pool, reader(hasty.place):
        writing = pool.submit(write)
        try:
            started = time.monotonic()
            receipt = erase_anyhow(hasty, "ada")
            assert time.monotonic() - started < 2
            assert (receipt["messages"], receipt["filesClearedAt"]) == (2, None)
            assert erase_anyhow(hasty, "ada") == receipt
            said = ready(hasty)
            assert (said["waiting"], said["since"]) == (1, receipt["erasedAt"])
            assert "log" in said["reason"]
            assert erase_anyhow(hasty, "bob")["filesClearedAt"] is None
            assert ready(hasty)["waiting"] == 2
            assert in_files(hasty.place, word), "the reader holds nothing up"
        finally:
            stop.set()
            writing.result()
    # All others, on a machine that may be busy with other tests.
    assert sorted(took)[-3] < 0.5
    wait_until(lambda: not in_files(hasty.place, word), "the bytes are still there")
    wait_until(lambda: ready(hasty) == {"waiting": 0, "since": None}, "it still says that bytes wait")
    again = erase_anyhow(hasty, "ada")
    assert again["filesClearedAt"] is not None
    assert again | {"filesClearedAt": None} == receipt


@pytest.mark.sqlite
def test_several_erasures_in_one_request_come_in_time_while_the_log_is_held(hasty: Server) -> None:
    users = [f"u{number}" for number in range(5)]
    for user_id in users:
        create(hasty, user_id, rare())
    fields = " ".join(f'{user}: deleteUser(input: {{userId: "{user}"}}) {{ {RECEIPT} {ERRORS} }}' for user in users)
    with reader_of(hasty.place):
        answered = hasty.graphql(f"mutation {{ {fields} }}")
    assert [answered[user]["receipt"]["messages"] for user in users] == [2] * 5


@pytest.mark.sqlite
def test_what_a_killed_server_left_is_cleared_after_the_restart(serve: Serve) -> None:
    running = serve(env={"RECALLQL_REQUEST_TIMEOUT": "2"})
    word = rare()
    create(running, "ada", word)
    with reader_of(running.place):
        receipt = erase_anyhow(running, "ada")
        assert receipt["filesClearedAt"] is None
        running.process.send_signal(signal.SIGKILL)
        running.wait()
        running = serve(place=running.place, env={"RECALLQL_REQUEST_TIMEOUT": "2"})
        assert ready(running)["waiting"] == 1
        assert in_files(running.place, word), "the reader holds nothing up"
        wait_until(lambda: '"deleted bytes stay' in running.output(), "the log does not tell of it")
    wait_until(lambda: not in_files(running.place, word), "the bytes are still there")
    wait_until(lambda: ready(running)["waiting"] == 0, "it still says that bytes wait")
    again = erase_anyhow(running, "ada")
    assert again | {"filesClearedAt": None} == receipt
    assert again["filesClearedAt"] > receipt["erasedAt"]


@pytest.mark.sqlite
def test_readers_that_never_pause_hold_up_no_erasure(serve: Serve) -> None:
    running = serve()
    word = rare()
    create(running, "ada", word)
    stop = threading.Event()

    def read() -> None:
        with contextlib.closing(sqlite3.connect(running.path, isolation_level=None)) as connection:
            while not stop.is_set():
                connection.execute("BEGIN")
                connection.execute("SELECT count(*) FROM users").fetchone()
                time.sleep(0.03)
                connection.execute("COMMIT")

    def write() -> None:
        while not stop.is_set():
            running.accepted(
                ADD_MESSAGES, sessionId="other", messages=[{"role": "USER", "content": "x"}], formMemories=False
            )

    with ThreadPoolExecutor(5) as pool:
        others = [pool.submit(read) for _ in range(4)] + [pool.submit(write)]
        try:
            assert erase(running, "ada")["filesClearedAt"] is not None
            assert not in_files(running.place, word)
        finally:
            stop.set()
        for other in others:
            other.result()


@pytest.mark.sqlite
def test_several_processes_on_one_file_share_the_clearing(server: Server) -> None:
    other = Server(server.place)
    words = [rare() for _ in range(24)]
    for number, word in enumerate(words):
        create(server, f"u{number}", word)
    try:
        with ThreadPoolExecutor(8) as pool:
            receipts = list(pool.map(lambda number: erase((server, other)[number % 2], f"u{number}"), range(24)))
    finally:
        other.close()
    assert all(receipt["filesClearedAt"] for receipt in receipts)
    assert not any(in_files(server.place, word) for word in words)


# Other ways of removing for good


def remove_permanently(api: Api) -> None:
    api.accepted(DELETE_SESSION, sessionId="gone", permanently=True)


def purge(api: Api) -> None:
    api.accepted(DELETE_SESSION, sessionId="gone")
    assert api.accepted(PURGE_DELETED, deletedBefore="2099-01-01T00:00:00Z")["sessions"] == 1


def begin_anew(api: Api) -> None:
    api.accepted(DELETE_SESSION, sessionId="gone")
    api.accepted(UPSERT, sessionId="gone")


@pytest.mark.sqlite
@pytest.mark.parametrize("remove", [remove_permanently, purge, begin_anew])
def test_what_is_removed_for_good_leaves_the_files(server: Server, remove: Callable[[Api], None]) -> None:
    word = rare()
    for session in ("gone", "stays"):
        content = word if session == "gone" else "rareword"
        for _ in range(3):
            said = [{"role": "USER", "content": content}]
            server.accepted(ADD_MESSAGES, sessionId=session, messages=said, formMemories=False)
    with reader_of(server.place):
        remove(server)
        assert ready(server)["waiting"] == 1
        assert in_files(server.place, word), "the reader holds nothing up"
    wait_until(lambda: not in_files(server.place, word), "the bytes are still there")
    wait_until(lambda: ready(server)["waiting"] == 0, "it still says that bytes wait")
    assert in_files(server.place, "rareword")


@pytest.mark.sqlite
def test_an_erasure_counts_what_a_user_has_off_the_event_loop(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    create(server, "ada", "word")
    threads: dict[str, str] = {}
    read = SqliteTransaction._rows

    def rows(self: SqliteTransaction, statement: Any, values: Any) -> list[Any]:
        if "count(*)" in statement.text and "removals" not in statement.text:
            threads[statement.text] = threading.current_thread().name
        return read(self, statement, values)

    monkeypatch.setattr(SqliteTransaction, "_rows", rows)
    erase(server, "ada")
    assert len(threads) > 10
    assert all(name.startswith("recallql-writer") for name in threads.values()), threads


def test_a_purge_of_a_long_session_lets_others_write(server: Server) -> None:
    said = [{"role": "USER", "content": "x"}] * 100
    fields = " ".join(f"a{n}: addMessages(input: $input) {{ {ERRORS} }}" for n in range(50))
    add = f"mutation ($input: AddMessagesInput!) {{ {fields} }}"
    server.graphql(add, input={"sessionId": "gone", "messages": said, "formMemories": False})
    server.accepted(DELETE_SESSION, sessionId="gone")
    seen: list[str] = []
    server.app.state.database.listener = seen.append
    payload = server.accepted(PURGE_DELETED, deletedBefore="2099-01-01T00:00:00Z")
    server.app.state.database.listener = None
    assert payload["sessions"] == 1
    assert server.tables()["messages"] == []
    assert sum(statement.startswith("DELETE FROM messages") for statement in seen) == 3


# A large index


@pytest.mark.sqlite
def test_an_erased_word_leaves_a_large_index_in_steps_that_let_others_write(server: Server) -> None:
    word = rare()
    create(server, "ada", word)
    create(server, "bob", "rareneighbour")
    numbers = range(30)
    for start in range(0, 6_000, 500):
        for owner in ("ada", "bob"):
            own = word if owner == "ada" else "rareneighbour"
            said = [
                {
                    "role": "USER",
                    "content": f"{own} " + " ".join(f"w{(start + n) * 31 + place * 7919}" for place in numbers),
                }
                for n in range(100)
            ]
            server.accepted(ADD_MESSAGES, sessionId=f"s-{owner}", userId=owner, messages=said, formMemories=False)
    server.host.wait_for(bring_up_to_date(server.app.state.database, MESSAGES, late=0))
    assert erase(server, "ada")["messages"] == 1202
    assert not in_files(server.place, word)
    assert in_files(server.place, "rareneighbour")
    found = server.graphql('{ search(query: "rareneighbour", first: 5) { edges { node { __typename } } } }')
    assert len(found["search"]["edges"]) == 5
