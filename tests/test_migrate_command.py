"""`recallql migrate`: what it says and does, from every earlier version on SQLite and PostgreSQL."""

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.copying import TABLES, Tally
from models.keys import agent_key, lane_of, session_key, user_key
from models.postgres.connecting import Address
from models.postgres.migrate import LOCK, migrate
from models.revisions import MIGRATIONS
from models.store import database_at
from tests.archives import run, said
from tests.commands import environment
from tests.places import older_place
from tests.postgres_places import PostgresPlace
from tests.servers import wait_until

Blank = Callable[[], PostgresPlace]

pytestmark = pytest.mark.sqlite

REVISIONS = sorted(file.name[:4] for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))
COLUMNS = "SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns ORDER BY 1, 2"
THEN = "2025-01-02T03:04:05.000600"

USER, AGENT, SESSION, OWNERLESS = (
    user_key("default", "u"),
    agent_key("default", "a"),
    session_key("default", "s"),
    session_key("default", "nobody's"),
)
STAMPS: dict[str, Any] = {
    "project": "default",
    "created_at": THEN,
    "updated_at": THEN,
    "version": 1,
    "metadata": '{"a": [1, null]}',
}
PARTS = '[{"text": "said beside", "type": "text"}]'
CALLS = '[{"id": "c", "function": {"name": "f", "arguments": "{}"}}]'

# A row has those of the columns that its version knows; migrations fill the others.
ROWS: list[tuple[str, dict[str, Any]]] = [
    ("users", {"key": USER, "user_id": "u", "email": "Zoë@x.org", "email_folded": "zoë@x.org", "about": ""}),
    ("users", {"key": user_key("default", "v"), "user_id": "v", "name": "Ω" * 150, "last_name": "", "about": "b"}),
    ("agents", {"key": AGENT, "agent_id": "a", "name": "Guide", "about": ""}),
    ("sessions", {"key": SESSION, "session_id": "s", "user_key": USER, "agent_key": AGENT, "lane": lane_of(USER)}),
    ("sessions", {"key": OWNERLESS, "session_id": "nobody's", "lane": lane_of(OWNERLESS)}),
    ("session_deletions", {"session_key": SESSION, "deleted_at": THEN, "through_sequence": 0}),
    ("messages", {"session_key": SESSION, "sequence": 1, "role": "USER", "content": "I'm \\ Zoë", "message_id": "m"}),
    ("messages", {"session_key": SESSION, "sequence": 2, "role": "USER", "content": "", "parts": PARTS}),
    ("messages", {"session_key": OWNERLESS, "sequence": 1, "role": "ASSISTANT", "content": "", "tool_calls": CALLS}),
    ("deleted_messages", {"session_key": SESSION, "sequence": 3, "message_id_hash": b"h" * 16}),
    ("documents", {"key": b"d" * 16, "user_key": USER, "title": "Notes", "content": "c", "digest": b"d" * 16}),
    ("memories", {"key": b"m" * 16, "user_key": USER, "method": "RULE", "subject": "home", "corrected_at": THEN}),
    ("memories", {"key": b"n" * 16, "session_key": OWNERLESS, "method": "DECLARED", "rating": 0.25}),
    ("memory_sources", {"memory_key": b"m" * 16, "position": 0, "session_key": SESSION, "sequence": 1}),
    ("withheld_memories", {"session_key": SESSION, "sequence": 1, "fingerprint": b"f" * 16}),
    ("jobs", {"session_key": SESSION, "status": "FAILED", "edited": "[1, 2]", "due_at": THEN, "last_error": "none"}),
    ("erasures", {"key": b"e" * 16, "erased_at": THEN, "nonce": 5, "sessions": 1, "removal": b"r" * 16}),
    ("vector_models", {"name": "message_vectors", "model": "m"}),
    ("api_keys", {"id": "k", "name": "n", "hash": b"\0" * 32, "revoked_at": THEN}),
    ("signing_keys", {"kid": "k", "secret": b"\xff" * 32, "retired_at": THEN}),
]
DEFAULTS: dict[str, dict[str, Any]] = {
    "sessions": {"last_activity_at": THEN, "last_sequence": 3, "deleted_through": 0},
    "messages": {"generation": 1, "token_count": 2, "forms_memories": 1},
    "memories": {"kind": "FACT", "content": "lives in Rome", "digest": b"g" * 16, "fingerprint": b"f" * 16},
    "jobs": {"after_sequence": 0, "through_sequence": 3, "attempts": 1},
}


def literal(value: Any) -> str:
    return str(value) if isinstance(value, int | float) else "'{}'".format(value.replace("'", "''"))


def of_sqlite(value: bytes) -> str:
    return f"x'{value.hex()}'"


def of_postgres(value: bytes) -> str:
    """Those of 16 bytes are keys."""
    return f"'{value.hex()}'" if len(value) == 16 else f"'\\x{value.hex()}'"


def inserts(columns: dict[str, set[str]], binary: Callable[[bytes], str]) -> list[str]:
    """Inserts the rows into tables with these columns; `binary` is how the database writes bytes."""
    statements: list[str] = []
    for table, own in ROWS:
        row = {**STAMPS, **DEFAULTS.get(table, {}), **own}
        values = {
            name: binary(value) if isinstance(value, bytes) else literal(value)
            for name, value in row.items()
            if name in columns[table]
        }
        if values:
            statements.append(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(values.values())});")
    return statements


def made_by(place: PostgresPlace, migrations: Path) -> PostgresPlace:
    """The database, with the tables of an earlier version."""
    asyncio.run(migrate(Address(place.url), migrations))
    return place


def tallies(url: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with database_at(url).snapshot() as snapshot:
        for table in TABLES:
            tally = Tally()
            for row in table.of(snapshot):
                tally.add(row)
            found[table.table.name] = tally.of(table.table.name)
    return found


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_a_database_of_an_earlier_version_has_the_same_rows_on_both_databases(
    blank: Blank, tmp_path: Path, revision: str
) -> None:
    file = older_place(tmp_path, revision)
    place = made_by(blank(), tmp_path / "migrations")
    columns = {table.table.name: file.columns(table.table.name) for table in TABLES}
    with contextlib.closing(sqlite3.connect(file.path)) as connection:
        connection.executescript("".join(inserts(columns, of_sqlite)))
    for statement in inserts(columns, of_postgres):
        place.query(statement)
    for url in (file.url, place.url):
        outcome = run("migrate", "--database-url", url)
        assert outcome.status == 0, outcome
        lines = outcome.out.splitlines()
        assert [line[: len("applied 0000:")] for line in lines] == [
            f"applied {later}:" for later in REVISIONS if later > revision
        ]
    kept = tallies(place.url)
    assert kept == tallies(file.url)
    assert (kept["user_words"]["count"] > 0) == (revision < "0008")
    assert run("migrate", "--database-url", place.url).out.startswith("nothing to do")


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(blank: Blank, tmp_path: Path) -> None:
    file = older_place(tmp_path, "0006")
    place = made_by(blank(), tmp_path / "migrations")
    before = file.path.read_bytes()
    expected = [f"would apply {revision}:" for revision in REVISIONS if revision > "0006"]
    for url in (file.url, place.url):
        said_dry = run("migrate", "--dry-run", "--database-url", url).out.splitlines()
        assert [line[: len(expected[0])] for line in said_dry] == expected
        assert file.path.read_bytes() == before or url != file.url
        assert [line.replace("would apply", "applied") for line in said_dry] == run(
            "migrate", "--database-url", url
        ).out.splitlines()
        assert run("migrate", "--dry-run", "--database-url", url).out.startswith("nothing to do")
    new = tmp_path / "new.db"
    assert len(run("migrate", "--dry-run", "--database-url", f"sqlite:///{new}").out.splitlines()) == len(REVISIONS)
    assert not new.exists()
    empty = blank().url
    assert len(run("migrate", "--dry-run", "--database-url", empty).out.splitlines()) == len(REVISIONS)
    assert "no tables of RecallQL yet" in said(run("copy", "--from", empty, "--to", file.url))


def test_of_two_that_migrate_at_once_one_waits_and_finds_nothing_to_do(blank: Blank) -> None:
    place = blank()
    command = [sys.executable, "-m", "recallql", "migrate", "--database-url", place.url]
    with contextlib.ExitStack() as both:
        # Both wait until this one has given up the lock.
        with place.connected("a migration", f"SELECT pg_advisory_lock({LOCK})"):
            running = [
                both.enter_context(subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True))
                for _ in range(2)
            ]
            waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            wait_until(lambda: place.query(waiting) == [(2,)])
            assert place.tables() == {}
        outputs = sorted(process.communicate()[0] for process in running)
    assert [process.returncode for process in running] == [0, 0]
    assert [output.count("\n") for output in outputs] == [len(REVISIONS), 1]
    assert outputs[1].startswith("nothing to do")


@pytest.mark.parametrize(
    ("revision", "words"),
    [("0008", "older version of RecallQL (schema 0008); run `recallql migrate`"), ("9999", "install that version")],
)
def test_no_server_starts_on_another_versions_tables(blank: Blank, revision: str, words: str) -> None:
    place = blank()
    run("migrate", "--database-url", place.url)
    place.query("UPDATE alembic_version SET version_num = $1", revision)
    for command in (["serve", "--port", "0"], ["export"], ["key", "list"]):
        assert words in said(run(*command, "--database-url", place.url))
    assert place.query("SELECT version_num FROM alembic_version") == [(revision,)]


def test_a_migration_that_fails_leaves_everything_as_it_was(blank: Blank, tmp_path: Path) -> None:
    older_place(tmp_path, "0008")
    place = made_by(blank(), tmp_path / "migrations")
    place.query("CREATE TABLE ix_messages_waiting (a int)")
    before = place.query(COLUMNS)
    assert "already exists" in said(run("migrate", "--database-url", place.url))
    after = place.query(COLUMNS)
    assert after == before
    place.query("DROP TABLE ix_messages_waiting")
    assert run("migrate", "--database-url", place.url).status == 0
