"""The process: how it starts, what it refuses to start with, what it logs, how it stops, how it treats its file."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
import structlog
from alembic.script import ScriptDirectory
from pydantic import ValidationError
from structlog.testing import capture_logs

import models.sqlite.database
import models.sqlite.migrate
import recallql.app
from models.errors import DatabaseProblem
from models.sqlite.backups import backups_of
from models.sqlite.database import connect
from models.sqlite.migrate import MIGRATIONS, migrate
from recallql import __version__
from recallql.commands.cli import main
from recallql.logs import configure_logs
from recallql.settings import Settings
from tests.commands import environment, ready_status, start, started
from tests.documents import ADD_MESSAGES, DELETE_SESSION
from tests.places import SqlitePlace
from tests.servers import START_SECONDS, Serve, Server, Start, free_port, wait_until


def test_without_options_it_serves_loopback_on_a_file_in_the_folder(tmp_path: Path) -> None:
    with started("--port", "0", cwd=tmp_path) as (process, line):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/graphql", line["url"])
        assert not line["url"].endswith((":0/graphql", ":8000/graphql"))
        assert ready_status(process, line["url"]) == 200
        assert (tmp_path / "recallql.db").is_file()
        assert line["database"] == "sqlite:///recallql.db"
        assert line["workers"] == 1
        assert line["version"] == __version__
        assert line["level"] == "info"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", line["timestamp"])
        assert "without a key" in line["event"]
        assert "this machine only" in line["event"]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=START_SECONDS) == 0


def test_an_option_goes_before_a_variable_and_a_variable_before_the_default(tmp_path: Path) -> None:
    variables = {"RECALLQL_DATABASE_URL": "sqlite:///by-variable.db", "RECALLQL_PORT": "0"}
    with started("--database-url", "sqlite:///by-option.db", cwd=tmp_path, **variables) as (process, line):
        assert line["database"] == "sqlite:///by-option.db"
        assert ready_status(process, line["url"]) == 200
    assert {path.name for path in tmp_path.glob("*.db")} == {"by-option.db"}


def test_every_setting_is_an_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {
        "host": "localhost",
        "port": 81,
        "database_url": "postgresql://x/y",
        "database_connections": 4,
        "read_database_url": "postgresql://replica/y",
        "direct_database_url": "postgresql://x:6432/y",
        "synchronous": "normal",
        "workers": 3,
        "purge_after_days": 0.5,
        "log_level": "debug",
        "log_format": "console",
        "shutdown_timeout": 7,
        "introspection": False,
        "playground": False,
        "cors_origins": "https://app.example.org,http://localhost:3000",
        "token_counter": "builtins:len",
        "api_key": "0123456789abcdef",
        "jwks_url": "https://id.example/jwks",
        "jwks_issuer": "https://id.example",
        "jwks_audience": "recall",
        "jwks_user_claim": "user",
        "jwks_project": "web",
        "chat_base_url": "http://models.example/v1",
        "chat_api_key": "sk-1",
        "chat_model": "small",
        "chat_timeout": 20.5,
        "chat_attempts": 3,
        "chat_in_flight": 2,
        "chat_json": False,
        "chat_instructions": "Rate facts.",
        "form_memories": False,
        "jwks_permissions": "read",
        "embeddings": "endpoint",
        "model_dir": "/x/models",
        "embeddings_base_url": "https://models.example/v1",
        "embeddings_api_key": "sk-0123",
        "embeddings_model": "embed-small",
        "embeddings_dimensions": 256,
        "request_timeout": 5.5,
        "plan_cache_bytes": 2_000_000,
        "slow_readers": 3,
        "user_in_flight": 3,
        "user_per_minute": 4,
        "service_in_flight": 5,
        "service_per_minute": 6,
        "head_timeout": 1.5,
        "body_timeout": 2.5,
        "answer_timeout": 3.5,
        "init_timeout": 4.5,
        "keep_alive": 5.5,
        "socket_operations": 7,
        "user_subscribers": 8,
        "service_subscribers": 9,
        "max_connections": 10,
        "max_receiving_bytes": 2**24,
        "max_unsent_bytes": 2**21,
        "max_answer_bytes": 2**20,
        "root_path": "/memory",
        "public_url": "https://memory.example.org",
        "compression_level": 2,
        "max_query_characters": 8,
        "max_query_tokens": 9,
        "max_query_depth": 10,
        "max_query_aliases": 11,
        "max_query_directives": 12,
        "max_query_fields": 13,
        "max_query_cost": 14,
    }
    assert wanted.keys() == Settings.model_fields.keys(), "a new setting belongs into this test"
    for name, value in wanted.items():
        monkeypatch.setenv(f"RECALLQL_{name.upper()}", str(value))
    assert Settings().model_dump() == wanted
    assert Settings(port=82).port == 82


def test_the_defaults_are_as_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"RECALLQL_{name.upper()}", raising=False)
    settings = Settings()
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8000, 1)
    assert settings.database_url == "sqlite:///recallql.db"
    assert settings.purge_after.days == 30
    assert all(field.description for field in Settings.model_fields.values())


def test_settings_are_frozen_and_unknown_ones_refused() -> None:
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.port = 1
    with pytest.raises(ValidationError):
        Settings(colour="red")  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "65536"),
        ("port", "-1"),
        ("port", "http"),
        ("workers", "0"),
        ("workers", "many"),
        ("purge_after_days", "-1"),
        ("purge_after_days", "nan"),
        ("log_level", "loud"),
        ("log_format", "xml"),
        ("shutdown_timeout", "0"),
    ],
)
def test_a_wrong_value_of_a_setting_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"RECALLQL_{name.upper()}", value)
    with pytest.raises(ValidationError, match=name):
        Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("api_key", "hunter2"),
        ("chat_api_key", "hunter2\n"),
        ("embeddings_api_key", "hunter2 é"),
        ("chat_base_url", "https://ada:hunter2@models.example/v1"),
        ("embeddings_base_url", "https://ada:hunter2@models.example/v1"),
        ("embeddings_base_url", "https://ada:hunter2@models.example:99999/v1"),
        ("chat_base_url", "https://ada:hunter2/@models.example/v1"),
        ("chat_base_url", "https://ada:hunter2@models.example\u2100/v1"),
        ("jwks_url", "http://ada:hunter2@keys.example/jwks"),
    ],
)
def test_a_secret_in_a_wrong_setting_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], root_logger: None, name: str, value: str
) -> None:
    monkeypatch.setenv(f"RECALLQL_{name.upper()}", value)
    monkeypatch.setattr(sys, "argv", ["recallql", "migrate"])
    with pytest.raises(SystemExit) as end:
        main()
    said = capfd.readouterr().err
    assert (end.value.code, name in said, "hunter2" in said) == (2, True, False), said


@pytest.mark.parametrize(
    ("arguments", "variables", "named"),
    [
        (["--port", "99999"], {}, ["port", "99999"]),
        (["--port", "http"], {}, ["--port"]),
        ([], {"RECALLQL_WORKERS": "zero"}, ["workers", "zero"]),
        (["--colour", "red"], {}, ["colour"]),
    ],
)
def test_a_wrong_option_is_named_and_ends_with_2(
    tmp_path: Path, arguments: list[str], variables: dict[str, str], named: list[str]
) -> None:
    ended = start("serve", *arguments, cwd=tmp_path, **variables)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert all(word in ended.stderr for word in named), ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_command_loads_what_it_needs(tmp_path: Path) -> None:
    code = "import sys, recallql.commands.cli; print({'sqlalchemy', 'strawberry', 'uvicorn'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "set()\n", "")


def test_a_port_in_use_is_said_in_a_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = start("serve", "--port", str(port), cwd=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.startswith("recallql: ")
    assert ended.stderr.count("\n") == 1
    assert str(port) in ended.stderr
    assert "--port" in ended.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org", ""])
def test_an_address_that_is_not_loopback_is_refused_without_a_key(
    tmp_path: Path, refusal: Callable[..., str], host: str
) -> None:
    said = refusal("serve", "--host", host, "--port", str(free_port()), "--database-url", f"sqlite:///{tmp_path}/x.db")
    assert "loopback" in said
    assert "127.0.0.1" in said


@pytest.mark.parametrize("host", ["localhost", "::1"])
def test_every_loopback_address_is_served(tmp_path: Path, host: str) -> None:
    if host == "::1":
        with socket.socket(socket.AF_INET6) as probe:
            try:
                probe.bind(("::1", 0))
            except OSError:
                pytest.skip("this machine has no IPv6")
    with started("--host", host, "--port", "0", cwd=tmp_path) as (process, line):
        assert ready_status(process, line["url"]) == 200


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("oracle://me:secret@there/db", "postgresql://"),
        ("mysql://there/db", "sqlite:///"),
        ("recallql.db", "sqlite:///"),
        ("sqlite://", "sqlite:///"),
        ("sqlite:///", "file"),
        ("sqlite:///:memory:", "file"),
        ("sqlite:///x.db?mode=ro", "file"),
        ("", "sqlite:///"),
    ],
)
def test_a_database_url_of_another_kind_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refusal: Callable[..., str], url: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (["serve", "--port", "0"], ["migrate"], ["export"]):
        said = refusal(*command, "--database-url", url)
        assert words in said
        assert "secret" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path, refusal: Callable[..., str]) -> None:
    said = refusal("serve", "--port", "0", "--database-url", f"sqlite:///{tmp_path}/nowhere/x.db")
    assert f"{tmp_path}/nowhere" in said
    assert "does not exist" in said


@pytest.mark.sqlite
@pytest.mark.parametrize("place", ["/proc/recallql.db", "a folder"])
def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, refusal: Callable[..., str], place: str) -> None:
    path = Path(place)
    if place == "a folder":
        path = tmp_path / "folder.db"
        path.mkdir()
    said = refusal("serve", "--port", "0", *SqlitePlace(path).option)
    assert str(path) in said


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, refusal: Callable[..., str]) -> None:
    path = tmp_path / "notes.txt"
    text = "These are my notes. " * 500
    path.write_text(text)
    said = refusal("serve", "--port", "0", *SqlitePlace(path).option)
    assert str(path) in said
    assert "not a SQLite database" in said
    assert path.read_text() == text


@pytest.mark.sqlite
@pytest.mark.parametrize("page", ["sqlite_master", "alembic_version", "sqlite_autoindex_documents_1"])
def test_a_damaged_database_is_said_in_a_line(
    migrated_file: Path, tmp_path: Path, refusal: Callable[..., str], page: str
) -> None:
    path = tmp_path / "damaged.db"
    with contextlib.closing(sqlite3.connect(migrated_file)) as connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        found = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (page,)).fetchone()
    content = bytearray(migrated_file.read_bytes())
    start, end = (size, len(content)) if found is None else (size * (found[0] - 1), size * found[0])
    content[start:end] = b"\xa5" * (end - start)
    # A damage in one table's pages is found when that is read.
    for command in [["export"]] if "documents" in page else [["serve", "--port", "0"], ["migrate"], ["export"]]:
        path.write_bytes(content)
        assert str(path) in refusal(*command, *SqlitePlace(path).option)


def test_another_applications_database_is_refused_and_left_alone(tmp_path: Path, refusal: Callable[..., str]) -> None:
    path = tmp_path / "shop.db"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)")
        connection.execute("INSERT INTO users VALUES (1, 'Ada')")
    before = path.read_bytes()
    said = refusal("serve", "--port", "0", *SqlitePlace(path).option)
    assert str(path) in said
    assert "another application" in said
    assert path.read_bytes() == before, "the file was changed (its journal mode is kept in it)"
    assert backups_of(path) == []


@pytest.mark.sqlite
def test_a_newer_schema_is_refused(migrated_file: Path, tmp_path: Path, refusal: Callable[..., str]) -> None:
    path = tmp_path / "newer.db"
    shutil.copyfile(migrated_file, path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    said = refusal("serve", "--port", "0", *SqlitePlace(path).option)
    assert "newer" in said
    assert "9999" in said
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]


@pytest.mark.sqlite
def test_a_database_that_another_process_has_locked_is_said_in_a_line(
    migrated_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "locked.db"
    shutil.copyfile(migrated_file, path)
    monkeypatch.setattr(models.sqlite.migrate, "connect", lambda path: connect(path, timeout=0.1))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holding:
        holding.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseProblem, match="locked"):
            migrate(path)


def test_logs_are_a_json_object_a_line_and_hold_nothing_that_was_said(serve: Serve) -> None:
    running = serve("--workers", "1", env={"RECALLQL_LOG_LEVEL": "debug"})
    running.accepted(ADD_MESSAGES, sessionId="s", messages=[{"role": "USER", "content": "a secret word"}])
    running.execute('{ user(userId: "a secret word") { nonsense } }')
    assert "secret word" not in running.output()
    running.process.terminate()
    assert running.wait() == 0
    lines = [json.loads(line) for line in running.output().splitlines()]
    assert lines
    for line in lines:
        assert {"event", "level", "timestamp", "logger"} <= line.keys(), line
    assert any(line.get("url") == running.url for line in lines)


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_logged_error_shows_no_variables(
    form: Literal["json", "console"], capsys: pytest.CaptureFixture[str], root_logger: None
) -> None:
    configure_logs(Settings(log_format=form))
    said = " ".join(["a", "secret", "word"])
    try:
        int(len(said) * "x")
    except ValueError:
        structlog.get_logger("recallql.test").exception("something went wrong")
    logged = capsys.readouterr().err
    assert "Traceback" in logged
    assert "ValueError" in logged
    assert "secret word" not in logged


def test_logs_for_reading_are_no_json(serve: Serve) -> None:
    running = serve(env={"RECALLQL_LOG_FORMAT": "console"})
    assert running.url in running.output()
    assert not running.output().startswith("{")


def test_health_and_ready_answer(server: Server) -> None:
    health = server.client.get(f"{server.base}/health")
    assert (health.status_code, health.json()) == (200, {"status": "ok", "version": __version__})
    ready = server.client.get(f"{server.base}/ready")
    said = ready.json()
    assert (ready.status_code, said["status"], said["version"]) == (200, "ready", __version__)
    assert said["models"] == {"embeddings": {"source": "off"}}
    assert said["erasures"] == {"waiting": 0, "since": None}


@pytest.mark.sqlite
def test_it_is_not_ready_while_the_lock_for_writing_cannot_be_had(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models.sqlite.database, "LOCK_PATIENCE", 0.1)
    with contextlib.closing(sqlite3.connect(server.path, isolation_level=None)) as holding:
        holding.execute("BEGIN IMMEDIATE")
        ready = server.client.get(f"{server.base}/ready")
        assert ready.status_code == 503
        assert ready.json()["status"] == "unavailable"
        assert ready.json()["reason"]
        assert server.client.get(f"{server.base}/health").status_code == 200
        refused = server.errors(ADD_MESSAGES, input={"sessionId": "s", "messages": [{"role": "USER", "content": "x"}]})
        assert refused[0]["extensions"]["code"] == "UNAVAILABLE"
        assert server.graphql("{ viewer { role } users { totalCount } }")["users"]["totalCount"] == 0
        holding.execute("ROLLBACK")
    assert server.client.get(f"{server.base}/ready").status_code == 200
    server.accepted(ADD_MESSAGES, sessionId="s", messages=[{"role": "USER", "content": "x"}])


def test_a_stopped_server_ends_well_and_keeps_what_it_answered(serve: Serve) -> None:
    running = serve()
    running.accepted(ADD_MESSAGES, sessionId="s", messages=[{"role": "USER", "content": "kept"}])
    running.process.terminate()
    assert running.wait() == 0
    assert "Traceback" not in running.output()
    if isinstance(running.place, SqlitePlace):
        assert not Path(f"{running.path}-wal").exists(), "the log was not moved into the file"
    assert running.place.query("SELECT content FROM messages") == [("kept",)]


def test_a_request_in_flight_is_finished_before_the_server_stops(serve: Serve) -> None:
    running = serve()
    # The signal comes while the write waits.
    with contextlib.ExitStack() as holding:
        holding.enter_context(running.place.blocking_writes())
        body = {
            "query": ADD_MESSAGES,
            "variables": {"input": {"sessionId": "s", "messages": [{"role": "USER", "content": "in flight"}]}},
        }
        text = json.dumps(body).encode()
        with socket.create_connection(("127.0.0.1", running.port), timeout=20) as speaking:
            head = "POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length:"
            speaking.sendall(f"{head} {len(text)}\r\n\r\n".encode() + text)
            time.sleep(0.3)
            running.process.terminate()
            time.sleep(0.3)
            assert running.process.poll() is None, "it did not wait"
            holding.close()
            answer = b""
            while piece := speaking.recv(4096):
                answer += piece
    assert answer.startswith(b"HTTP/1.1 200"), answer
    assert b'"sequence":1' in answer
    assert running.wait() == 0


@pytest.mark.sqlite
def test_two_workers_serve_and_stop(serve: Serve, tmp_path: Path) -> None:
    # On a file that is not there yet: the workers must not both make its tables.
    running = serve("--workers", "2", place=SqlitePlace(tmp_path / "shared.db"))
    for n in range(1, 9):
        with httpx.Client(trust_env=False) as client:
            variables = {"input": {"sessionId": "s", "messages": [{"role": "USER", "content": "x"}]}}
            answer = client.post(running.url, json={"query": ADD_MESSAGES, "variables": variables}).json()
        assert [message["sequence"] for message in answer["data"]["addMessages"]["messages"]] == [n]
    children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text().split()
    served = [child for child in children if "resource_tracker" not in Path(f"/proc/{child}/cmdline").read_text()]
    assert len(served) == 2
    running.process.terminate()
    assert running.wait() == 0
    assert "Traceback" not in running.output()
    assert not any(Path(f"/proc/{child}").exists() for child in served)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil", "10.0.0.1"]
)
def test_a_host_header_that_is_no_loopback_name_is_refused(server: Server, host: str) -> None:
    answer = server.post({"query": "{ viewer { role } }"}, {"host": host})
    assert answer.status_code == 403
    assert answer.json()["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert "data" not in answer.json()
    page = server.client.get(server.url, headers={"host": host, "accept": "text/html"})
    assert page.status_code == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:9", "[::1]", "[::1]:80"])
def test_every_loopback_name_is_taken_as_host_header(server: Server, host: str) -> None:
    assert server.post({"query": "{ viewer { role } }"}, {"host": host}).status_code == 200


HEAD = ScriptDirectory(str(MIGRATIONS)).get_current_head()


def second_revision(folder: Path, body: str) -> Path:
    """The shipped migrations and one more, with this as its upgrade."""
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "9000_more.py").write_text(
        f'"""More."""\n\nfrom alembic import op\n\nrevision = "9000"\ndown_revision = "{HEAD}"\n\n\n'
        f"def upgrade() -> None:\n    {body}\n"
    )
    return folder


def revision_of(path: Path) -> str:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]


def filled_file(migrated_file: Path, path: Path) -> Path:
    shutil.copyfile(migrated_file, path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO erasures (key, erased_at) VALUES (?, '2025-01-01T00:00:00')", (b"k" * 16,))
    return path


@pytest.mark.sqlite
def test_an_older_file_is_backed_up_and_then_migrated(migrated_file: Path, tmp_path: Path) -> None:
    path = filled_file(migrated_file, tmp_path / "old.db")
    newer = second_revision(tmp_path / "newer", 'op.execute("CREATE TABLE more (x INTEGER)")')
    migrate(path, newer)
    assert revision_of(path) == "9000"
    (backup,) = backups_of(path)
    assert revision_of(backup) == HEAD
    for file in (path, backup):
        with contextlib.closing(sqlite3.connect(file)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("SELECT count(*) FROM erasures").fetchone() == (1,)
    # Once it is up to date nothing more is copied.
    stamp = backup.stat().st_mtime_ns
    migrate(path, newer)
    assert backups_of(path) == [backup]
    assert backup.stat().st_mtime_ns == stamp
    with pytest.raises(DatabaseProblem, match="newer"):
        migrate(path)


@pytest.mark.sqlite
def test_a_backup_holds_what_still_stood_in_the_log(migrated_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    shutil.copyfile(migrated_file, path)
    with contextlib.closing(connect(path)) as beside:
        beside.execute("PRAGMA wal_autocheckpoint = 0")
        beside.execute("INSERT INTO erasures (key, erased_at) VALUES (?, 'now')", (b"k" * 16,))
        migrate(path, second_revision(tmp_path / "newer", 'op.execute("CREATE TABLE more (x INTEGER)")'))
    (backup,) = backups_of(path)
    with contextlib.closing(sqlite3.connect(backup)) as connection:
        assert connection.execute("SELECT count(*) FROM erasures").fetchone() == (1,)


def everything(connection: sqlite3.Connection) -> list[Any]:
    """The schema and the rows of every ordinary table."""
    schema = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0").fetchall()
    return schema + [connection.execute(f'SELECT * FROM "{name}"').fetchall() for (name,) in names]


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "body",
    [
        'op.execute("CREATE TABLE more (x)"); op.execute("DROP TABLE erasures"); op.execute("SELECT nonsense")',
        'op.execute("DELETE FROM erasures"); raise RuntimeError("no")',
    ],
)
def test_a_migration_that_fails_leaves_the_file_as_it_was(migrated_file: Path, tmp_path: Path, body: str) -> None:
    path = filled_file(migrated_file, tmp_path / "old.db")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        before = everything(connection)
    with pytest.raises(Exception, match=r"no|nonsense"):
        migrate(path, second_revision(tmp_path / "newer", body))
    assert revision_of(path) == HEAD
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert everything(connection) == before
    migrate(path)


def test_a_fresh_file_has_no_backup(tmp_path: Path) -> None:
    migrate(tmp_path / "fresh.db")
    assert backups_of(tmp_path / "fresh.db") == []
    assert revision_of(tmp_path / "fresh.db") == HEAD


def test_an_empty_file_is_taken_as_a_fresh_one(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    migrate(path)
    assert revision_of(path) == HEAD


def test_the_command_migrates(tmp_path: Path) -> None:
    ended = start("migrate", cwd=tmp_path, RECALLQL_DATABASE_URL="sqlite:///mine.db")
    assert ended.returncode == 0, ended.stderr
    assert revision_of(tmp_path / "mine.db") == HEAD


@pytest.mark.sqlite
def test_two_processes_that_start_together_on_a_fresh_file_both_come_up(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "together.db"
    both = [serve(place=SqlitePlace(path), ready=False) for _ in range(2)]
    for running in both:
        running.wait_until_ready()
    for n, running in enumerate(both, 1):
        added = running.accepted(ADD_MESSAGES, sessionId="s", messages=[{"role": "USER", "content": "x"}])
        assert [message["sequence"] for message in added["messages"]] == [n]


@pytest.mark.sqlite
def test_backups_older_than_the_purge_are_removed(
    start: Start, migrated_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recallql.app, "PURGE_AFTER", 0.0)
    path = tmp_path / "mine.db"
    shutil.copyfile(migrated_file, path)
    old, young = tmp_path / "mine.db.backup-0000", tmp_path / "mine.db.backup-0001"
    other = tmp_path / "other.db.backup-0000"
    for backup in (old, young, other):
        backup.write_bytes(b"")
    for backup in (old, other):
        old_time = time.time() - 3 * 86400
        os.utime(backup, (old_time, old_time))
    start(SqlitePlace(path), purge_after_days=2)
    wait_until(lambda: not old.exists(), "the old backup is still there")
    assert young.exists()
    assert other.exists()


@pytest.mark.sqlite
def test_the_backups_of_a_file_with_brackets_in_its_name_are_found(migrated_file: Path, tmp_path: Path) -> None:
    path = filled_file(migrated_file, tmp_path / "re[call]*.db")
    migrate(path, second_revision(tmp_path / "newer", 'op.execute("CREATE TABLE more (x INTEGER)")'))
    assert [backup.name for backup in backups_of(path)] == [f"re[call]*.db.backup-{HEAD}"]


def test_what_is_deleted_is_purged_in_the_background(
    start: Start, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recallql.app, "PURGE_AFTER", 0.0)
    for session in ("gone", "stays"):
        server.accepted(ADD_MESSAGES, sessionId=session, messages=[{"role": "USER", "content": session}])
    server.accepted(DELETE_SESSION, sessionId="gone")
    contents = [row for row in server.tables()["messages"] if "gone" in row]
    assert len(contents) == 1, "deleting is soft"
    with capture_logs() as logged:
        start(server.place, purge_after_days=0)
        wait_until(lambda: len(server.tables()["sessions"]) == 1, "the session was not purged")
        wait_until(lambda: any(line["event"] == "purged" for line in logged), "the purge is not in the log")
    assert not [row for row in server.tables()["messages"] if "gone" in row]
    assert [row for row in server.tables()["messages"] if "stays" in row]


def test_what_was_deleted_lately_is_not_purged(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recallql.app, "PURGE_AFTER", 0.0)
    server.accepted(ADD_MESSAGES, sessionId="gone", messages=[{"role": "USER", "content": "x"}])
    server.accepted(DELETE_SESSION, sessionId="gone")
    again = Server(server.place)
    try:
        # A write, as the purge is one; they are carried out in their order.
        assert again.client.get(f"{again.base}/ready").status_code == 200
        deleted = again.graphql("{ sessions(filter: {deleted: true}) { totalCount } }")["sessions"]["totalCount"]
    finally:
        again.close()
    assert deleted == 1


def test_the_purge_command_counts_what_it_removed(server: Server, tmp_path: Path) -> None:
    server.accepted(ADD_MESSAGES, sessionId="gone", messages=[{"role": "USER", "content": "x"}] * 3)
    server.accepted(DELETE_SESSION, sessionId="gone")
    wrong = start("purge", "--deleted-before", "yesterday", *server.place.option, cwd=tmp_path)
    assert wrong.returncode == 2
    assert "RFC 3339" in wrong.stderr
    ended = start("purge", "--deleted-before", "2099-01-01T00:00:00Z", *server.place.option, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "3 messages" in ended.stdout
    assert server.tables()["messages"] == []


def pragmas(connection: sqlite3.Connection) -> dict[str, Any]:
    names = ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "query_only")
    return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}


@pytest.mark.sqlite
def test_every_connection_is_durable_and_reads_do_not_write(server: Server) -> None:
    database = server.app.state.database
    writing = pragmas(database._writing)
    assert writing == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1, "query_only": 0}
    for connection in (database.reading, *database.slow_reads.connections):
        reading = pragmas(connection.sqlite)
        assert reading["query_only"] == 1
        assert (reading["journal_mode"], reading["synchronous"], reading["foreign_keys"]) == ("wal", 2, 1)


def test_the_database_is_whole_after_a_day_of_work(server: Server) -> None:
    mutation = """mutation ($user: CreateUserInput!, $say: AddMessagesInput!, $memory: CreateMemoryInput!) {
        createUser(input: $user) { userErrors { code } } addMessages(input: $say) { userErrors { code } }
        createMemory(input: $memory) { userErrors { code } } }"""
    for n in range(20):
        server.graphql(
            mutation,
            user={"userId": f"u{n}", "documents": [{"title": "t", "content": "c"}]},
            say={"sessionId": f"s{n}", "userId": f"u{n}", "messages": [{"role": "USER", "content": "x" * 5000}] * 10},
            memory={"sessionId": f"s{n}", "kind": "FACT", "content": "c"},
        )
    for n in range(0, 20, 3):
        server.graphql(f'mutation {{ deleteUser(input: {{userId: "u{n}"}}) {{ userErrors {{ code }} }} }}')
    for n in range(1, 20, 3):
        server.graphql(f'mutation {{ deleteSession(input: {{sessionId: "s{n}"}}) {{ userErrors {{ code }} }} }}')
    server.graphql('mutation { purgeDeleted(input: {deletedBefore: "2099-01-01T00:00:00Z"}) { sessions } }')
    server.place.check()
    assert server.place.query("SELECT count(*) FROM users") == [(13,)]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
def test_another_loopback_address_is_served_under_its_own_name(tmp_path: Path) -> None:
    with started("--host", "127.0.0.2", "--port", "0", cwd=tmp_path) as (process, line):
        assert line["url"].startswith("http://127.0.0.2:")
        assert ready_status(process, line["url"]) == 200
        answer = httpx.post(line["url"], json={"query": "{ viewer { role } }"}, trust_env=False)
        assert answer.request.headers["host"].startswith("127.0.0.2:")
        assert (answer.status_code, answer.json()) == (200, {"data": {"viewer": {"role": "SERVICE"}}})
        headers = {"host": "evil.example"}
        assert httpx.get(line["url"], params={"query": "{ x }"}, headers=headers, trust_env=False).status_code == 403


def test_the_purge_command_makes_no_database(tmp_path: Path, refusal: Callable[..., str]) -> None:
    path = tmp_path / "missing.db"
    assert str(path) in refusal("purge", *SqlitePlace(path).option)
    assert "does not exist" in refusal("purge", "--deleted-before", "2024-01-01T00:00:00Z", *SqlitePlace(path).option)
    assert list(tmp_path.iterdir()) == []
