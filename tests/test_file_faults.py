"""Faults of the database's file: moved, replaced, full, damaged, or not one of ours."""

import contextlib
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from models.errors import Unavailable
from tests.commands import environment
from tests.documents import ADD_MESSAGES, mutation
from tests.places import SqlitePlace
from tests.servers import REPOSITORY, START_SECONDS, Api, Serve, Server

pytestmark = pytest.mark.sqlite

CREATE = mutation("createUser", "user { userId }")
COUNT = "{ users { totalCount } }"


def not_ready(api: Api) -> str:
    """The reason that /ready gives for not being ready."""
    response = api.client.get(f"{api.base}/ready")
    assert response.status_code == 503, response.text
    said = response.json()
    assert said["status"] == "unavailable"
    assert str(api.path.parent) not in response.text
    assert "Traceback" not in response.text
    return said["reason"]


def unavailable(api: Api, user_id: str = "refused") -> str:
    """The message of a write that is refused with UNAVAILABLE."""
    (error,) = api.errors(CREATE, input={"userId": user_id})
    assert error["extensions"]["code"] == "UNAVAILABLE"
    assert str(api.path.parent) not in error["message"]
    return error["message"]


def is_ready(api: Api) -> bool:
    return api.client.get(f"{api.base}/ready").status_code == 200


@pytest.fixture
def running(server: Server) -> Server:
    """A server with one user in its file."""
    server.accepted(CREATE, userId="ada")
    return server


# Moved, removed, replaced


def move(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def remove(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    """As restoring a backup over a running server does."""
    copy = path.with_name("copy")
    shutil.copyfile(path, copy)
    copy.replace(path)


def remove_log(path: Path) -> None:
    path.with_name(f"{path.name}-wal").unlink()


def replace_log(path: Path) -> None:
    replace(path.with_name(f"{path.name}-wal"))


def remove_all(path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


@pytest.mark.parametrize("change", [move, remove, replace, remove_log, replace_log, remove_all])
def test_nothing_is_written_once_the_file_is_another(
    running: Server, change: Callable[[Path], None], capfd: pytest.CaptureFixture[str]
) -> None:
    change(running.path)
    assert "restart the server" in unavailable(running)
    reason = not_ready(running)
    assert "moved, removed or replaced" in reason
    assert "restart the server" in reason
    assert running.graphql(COUNT)["users"]["totalCount"] == 1, "a refused write is there"
    assert running.client.get(f"{running.base}/health").status_code == 200
    assert "Traceback" not in "".join(capfd.readouterr())


def test_no_background_task_makes_a_file_in_the_place_of_one_that_was_moved(running: Server) -> None:
    move(running.path)
    database = running.app.state.database
    for work in (database.move_log, database.health._check_whole):
        with pytest.raises(Unavailable, match="moved"):
            work()
    assert not running.path.exists()


def test_a_server_does_not_go_on_with_another_file_in_the_place(running: Server, migrated_file: Path) -> None:
    remove_all(running.path)
    unavailable(running)
    shutil.copyfile(migrated_file, running.path)
    time.sleep(0.1)
    unavailable(running)
    not_ready(running)
    with contextlib.closing(sqlite3.connect(running.path)) as connection:
        assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)


def test_a_server_goes_on_once_the_same_file_is_back(running: Server) -> None:
    elsewhere = running.path.with_name("elsewhere")
    running.path.rename(elsewhere)
    unavailable(running)
    elsewhere.rename(running.path)
    running.accepted(CREATE, userId="bob")
    assert is_ready(running)
    assert running.graphql(COUNT)["users"]["totalCount"] == 2


def test_a_link_to_the_file_may_not_lead_elsewhere(migrated_file: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        shutil.copyfile(migrated_file, tmp_path / name / "recallql.db")
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "first" / "recallql.db")
    running = Server(SqlitePlace(link))
    try:
        running.accepted(CREATE, userId="ada")
        assert is_ready(running)
        link.unlink()
        link.symlink_to(tmp_path / "second" / "recallql.db")
        unavailable(running)
        not_ready(running)
    finally:
        running.close()


def test_what_was_acknowledged_before_the_file_was_moved_is_in_it(serve: Serve) -> None:
    running = serve()
    running.accepted(CREATE, userId="ada")
    moved = running.path.with_name("elsewhere.db")
    for suffix in ("", "-wal", "-shm"):
        running.path.with_name(f"{running.path.name}{suffix}").rename(f"{moved}{suffix}")
    unavailable(running)
    running.process.send_signal(signal.SIGKILL)
    running.wait()
    assert serve(place=SqlitePlace(moved)).graphql("{ users { nodes { userId } } }")["users"]["nodes"] == [
        {"userId": "ada"}
    ]


# A full disk


def fill(api: Api) -> int:
    """Writes until a write is refused; how many were not."""
    for number in range(200):
        answer = api.execute(
            ADD_MESSAGES,
            input={"sessionId": "s", "formMemories": False, "messages": [{"role": "USER", "content": "x" * 50_000}]},
        )
        if "errors" in answer:
            assert answer["errors"][0]["extensions"]["code"] == "UNAVAILABLE"
            return number
        assert answer["data"]["addMessages"]["userErrors"] == []
    raise AssertionError("no write was refused")


def test_it_is_not_ready_while_the_file_may_not_grow(server: Server) -> None:
    server.accepted(CREATE, userId="ada")

    async def limit(pages: int) -> None:
        server.app.state.database._writing.execute(f"PRAGMA max_page_count = {pages}")

    with contextlib.closing(sqlite3.connect(server.path)) as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
    server.host.wait_for(limit(pages + 20))
    written = fill(server)
    assert "full" in not_ready(server)
    assert server.graphql(COUNT)["users"]["totalCount"] == 1
    server.host.wait_for(limit(1_000_000))
    assert is_ready(server)
    server.accepted(CREATE, userId="bob")
    found = server.graphql('{ session(sessionId: "s") { messages { totalCount } } }')
    assert (found["session"] or {"messages": {"totalCount": 0}})["messages"]["totalCount"] == written


def test_it_is_not_ready_while_the_disk_refuses_writes_and_loses_nothing(serve: Serve) -> None:
    """A limit on the size of files stands for the end of the disk."""
    running = serve()
    running.accepted(CREATE, userId="ada")
    size = running.path.stat().st_size
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (size + 200_000, resource.RLIM_INFINITY))
    written = fill(running)
    not_ready(running)
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert is_ready(running)
    running.accepted(CREATE, userId="bob")
    running.process.send_signal(signal.SIGKILL)
    running.wait()
    again = serve(place=running.place)
    assert again.graphql(COUNT)["users"]["totalCount"] == 2
    found = again.graphql('{ session(sessionId: "s") { messages { totalCount } } }')
    assert (found["session"] or {"messages": {"totalCount": 0}})["messages"]["totalCount"] == written


# Damage


def damage(path: Path, *, table: str | None = None, page: int | None = None) -> None:
    """Overwrites a page of the file itself: the root of a table, or the one with this number."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        if table is not None:
            (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    assert page is not None
    subprocess.run(
        ["dd", f"of={path}", f"bs={size}", f"seek={page - 1}", "count=1", "conv=notrunc", "status=none"],
        input=b"\xa5" * size,
        check=True,
    )


@pytest.mark.parametrize("table", ["messages", "users", "messages_words_data", "indexed", "ix_users_project_user_id"])
def test_a_damaged_page_makes_it_not_ready(running: Server, table: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert is_ready(running)
    damage(running.path, table=table)
    reason = not_ready(running)
    assert "damaged" in reason
    assert "backup" in reason
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_damaged_page_in_the_middle_of_a_table_makes_it_not_ready(running: Server) -> None:
    said = [{"role": "USER", "content": "x" * 3000}] * 60
    running.accepted(ADD_MESSAGES, sessionId="s", messages=said, formMemories=False)
    with contextlib.closing(sqlite3.connect(running.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
    damage(running.path, page=pages - 20)
    assert "damaged" in not_ready(running)


def test_a_statement_that_meets_damage_is_unavailable_and_makes_it_not_ready(server: Server) -> None:
    server.accepted(CREATE, userId="ada")

    async def meet() -> None:
        health = server.app.state.database.health
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorname = "SQLITE_CORRUPT"
        assert "damaged" in str(health.explain(error))

    assert is_ready(server)
    server.host.wait_for(meet())
    assert "damaged" in not_ready(server)
    assert "damaged" in not_ready(server), "it forgot"


@pytest.mark.parametrize(
    ("table", "column", "query"),
    [
        ("messages", "content", '{ session(sessionId: "s") { messages { nodes { content } } } }'),
        ("messages", "metadata", '{ session(sessionId: "s") { messages { nodes { metadata } } } }'),
        ("sessions", "situation", '{ session(sessionId: "s") { situation } }'),
        ("users", "about", '{ user(userId: "ada") { about } }'),
        ("users", "metadata", "{ users { nodes { metadata } } }"),
        ("messages", "content", '{ search(query: "word") { edges { highlight } } }'),
        ("messages", "content", '{ session(sessionId: "s") { context(query: "word") { text } } }'),
    ],
)
def test_a_text_that_is_no_text_is_a_fault_of_the_server(
    server: Server, table: str, column: str, query: str, capfd: pytest.CaptureFixture[str]
) -> None:
    server.accepted(CREATE, userId="ada", about="x", metadata={"a": 1})
    said = [{"role": "USER", "content": "word"}]
    server.accepted(ADD_MESSAGES, sessionId="s", userId="ada", messages=said, formMemories=False)
    with contextlib.closing(sqlite3.connect(server.path)) as connection, connection:
        connection.create_function("indexed", 1, lambda text: "", deterministic=True)
        connection.execute("DROP TRIGGER IF EXISTS messages_words_after_update")
        connection.execute("DROP TRIGGER IF EXISTS messages_vectors_after_update")
        connection.execute("DROP TRIGGER IF EXISTS users_leaves_after_update")
        connection.execute(f"UPDATE {table} SET {column} = CAST(x'7365637265742d776f7264ff' AS TEXT)")
    answer = server.execute(query)
    codes = {error["extensions"]["code"] for error in answer.get("errors", ())}
    assert codes, answer
    assert codes <= {"UNAVAILABLE", "INTERNAL_SERVER_ERROR"}
    assert "secret-word" not in str(answer)
    assert "secret-word" not in "".join(capfd.readouterr())


# At the start


COMMANDS = [
    ["serve", "--port", "0"],
    ["serve", "--port", "0", "--workers", "2"],
    ["export"],
    ["import", os.devnull],
    ["key", "create", "--name", "x"],
    ["key", "list"],
    ["token", "--user", "ada"],
    ["purge"],
    ["migrate"],
    ["jobs"],
    ["backup", "backup.db"],
]


def make_notes(path: Path, _: Path) -> None:
    path.write_text("These are my notes. " * 500)


def make_folder(path: Path, _: Path) -> None:
    path.mkdir()


def make_shop(path: Path, _: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)")


def make_damaged(path: Path, migrated: Path) -> None:
    shutil.copyfile(migrated, path)
    damage(path, table="api_keys")


def make_damaged_within(path: Path, migrated: Path) -> None:
    shutil.copyfile(migrated, path)
    damage(path, table="sqlite_autoindex_documents_1")


def make_cut(path: Path, migrated: Path) -> None:
    path.write_bytes(migrated.read_bytes()[: 4096 * 20])


@pytest.mark.parametrize("make", [make_notes, make_folder, make_shop, make_damaged, make_damaged_within, make_cut])
def test_a_file_that_cannot_be_used_is_said_in_a_line_by_every_command(
    make: Callable[[Path, Path], None],
    migrated_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    root_logger: None,
) -> None:
    from recallql.commands.cli import main

    path = tmp_path / "faulty.db"
    make(path, migrated_file)
    monkeypatch.chdir(tmp_path)
    for command in COMMANDS:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["recallql", *command, *SqlitePlace(path).option])
        with pytest.raises(SystemExit) as end:
            main()
        said = capfd.readouterr().err
        assert end.value.code == 1, (command, said)
        assert said.startswith("recallql: "), (command, said)
        assert said.count("\n") == 1, (command, said)
        assert str(path) in said


def test_an_application_server_says_in_a_line_why_it_cannot_start(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    make_notes(path, path)
    ended = subprocess.run(
        [sys.executable, "-m", "uvicorn", "--factory", "recallql.app:from_environment", "--port", "0"],
        cwd=REPOSITORY,
        env=environment(RECALLQL_DATABASE_URL=SqlitePlace(path).url),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
    )
    assert ended.returncode != 0
    assert "not a SQLite database" in ended.stderr
    assert "Traceback" not in ended.stderr
