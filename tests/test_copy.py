"""`recallql copy`: everything of a database into an empty one, compared with it, and continued when interrupted."""

import contextlib
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Boolean, Column, Double, Integer, LargeBinary, Table

from models.columns import Json, Time
from models.copying import TABLES, Tally, copied_tables
from models.sqlite.database import connect
from models.store import database_at
from tests.archives import Line, Outcome, fill, run, said
from tests.commands import environment
from tests.places import SqlitePlace
from tests.postgres_places import PostgresPlace
from tests.servers import Serve, Server, wait_until

Blank = Callable[[], PostgresPlace]

pytestmark = pytest.mark.sqlite

SEARCH = (
    '{ search(query: "edited", scope: [MESSAGES], filter: {roles: [USER]}) { nodes { ... on Message { content } } } }'
)


def copied(source: str, target: str) -> Outcome:
    return run("copy", "--from", source, "--to", target)


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def value_of(column: Column[Any], number: int) -> Any:
    """A value of a column, for a row that no test needs to understand."""
    if column.type is Time:
        return "2025-01-02T03:04:05.000600"
    if column.type is Json:
        return '{"b": 1.0, "a": [1e3, "\\u0041"]}'
    if isinstance(column.type, LargeBinary):
        return bytes([number]) * (column.type.length or 40)
    if isinstance(column.type, Boolean | Integer):
        return 1
    return -0.0 if isinstance(column.type, Double) else f"Ω {number}"


def add_rows(connection: sqlite3.Connection, table: Table) -> None:
    """Two rows in a table, that belong to the first message, memory or document if it has rows that belong to one."""
    for number in (1, 2):
        row = {column.name: value_of(column, number) for column in table.columns}
        for reference in table.foreign_key_constraints:
            of = reference.referred_table
            columns = ", ".join(each.column.name for each in reference.elements)
            found = connection.execute(f"SELECT {columns} FROM {of.name} LIMIT 1 OFFSET {number}").fetchone()
            row |= dict(zip((each.parent.name for each in reference.elements), found, strict=True))
        marks = ", ".join(f":{name}" for name in row)
        names = ", ".join(row)
        if "vectors" in row:
            of = next(iter(table.foreign_keys)).column.table
            names, marks = f"number, {names}", f"(SELECT number FROM {of.name} LIMIT 1 OFFSET {number}), {marks}"
        connection.execute(f"INSERT OR IGNORE INTO {table.name} ({names}) VALUES ({marks})", row)


@pytest.fixture(scope="module")
def past(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a past, and with rows in all tables."""
    path = tmp_path_factory.mktemp("past") / "past.db"
    shutil.copyfile(migrated_file, path)
    server = Server(SqlitePlace(path))
    fill(server)
    server.close()
    with contextlib.closing(connect(path)) as connection, connection:
        for table in TABLES:
            add_rows(connection, table.table)
        connection.execute("UPDATE jobs SET updated_at = '2025-01-02T03:04:05.000000'")
        connection.execute("UPDATE message_vectors SET vectors = NULL WHERE number = 2")
    return path


@pytest.fixture
def source(past: Path, tmp_path: Path) -> Path:
    return Path(shutil.copyfile(past, tmp_path / "source.db"))


def exported(url: str) -> list[Line]:
    outcome = run("export", "--database-url", url)
    assert outcome.status == 0, outcome
    return [json.loads(line) for line in outcome.out.split("\n") if line]


def test_everything_goes_to_postgresql_and_back_and_stays_equal(blank: Blank, source: Path, tmp_path: Path) -> None:
    there, back = blank().url, tmp_path / "back.db"
    before = source.read_bytes()
    outcome = copied(url_of(source), there)
    assert outcome.status == 0, outcome
    assert source.read_bytes() == before
    lines = [line.split() for line in outcome.out.splitlines()]
    assert [name for name, *_ in lines] == [table.table.name for table in TABLES]
    assert all(int(count) > 0 for _, count, _ in lines), lines
    assert copied(there, url_of(back)).out == outcome.out
    assert exported(there) == exported(url_of(back)) == exported(url_of(source))


def test_a_copied_file_has_what_a_filled_one_has(blank: Blank, source: Path, tmp_path: Path) -> None:
    there, back = blank().url, tmp_path / "back.db"
    copied(url_of(source), there)
    copied(there, url_of(back))
    numbers = "SELECT session_key, sequence FROM messages ORDER BY number"
    vectors = "SELECT session_key, sequence, vectors FROM message_vectors WHERE vectors IS NOT NULL ORDER BY number"
    with contextlib.closing(sqlite3.connect(source)) as one, contextlib.closing(sqlite3.connect(back)) as other:
        for query in (numbers, vectors):
            assert one.execute(query).fetchall() == other.execute(query).fetchall()
        # Only the newest texts may have no row; the others that have no vectors wait with one.
        rows = "SELECT count(*) FROM message_vectors UNION ALL SELECT max(number) FROM message_vectors"
        ((kept,), (last,)) = other.execute(rows)
        assert kept == last
        assert (
            other.execute("SELECT key FROM removals").fetchall()
            == other.execute("SELECT removal FROM erasures WHERE removal IS NOT NULL").fetchall()
        )
        # A server without keys needs none.
        other.execute("DELETE FROM api_keys")
        other.commit()
    server = Server(SqlitePlace(back))
    try:
        contents = [node["content"] for node in server.graphql(SEARCH)["search"]["nodes"]]
        assert contents[0] == "three, edited"
    finally:
        server.close()


def test_new_rows_come_after_the_copied_ones_in_postgresql(blank: Blank, source: Path) -> None:
    place = blank()
    copied(url_of(source), place.url)
    last, following = (
        place.query(query)[0][0]
        for query in ("SELECT max(number) FROM messages", "SELECT nextval('messages_number_seq')")
    )
    assert following == last + 1


def test_a_filled_database_has_its_indexes_again(blank: Blank, source: Path) -> None:
    query = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
    filled, migrated = blank(), blank()
    migrated.database.migrate()
    assert copied(url_of(source), filled.url).status == 0
    assert filled.query(query) == migrated.query(query)
    assert filled.tables().keys() == migrated.tables().keys()


def many(source: Path, messages: int) -> None:
    """Adds a session with so many messages."""
    with contextlib.closing(sqlite3.connect(source)) as connection, connection:
        columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(messages)") if name != "number"]
        given = ", ".join(f":{name}" if name in ("sequence", "message_id") else name for name in columns)
        connection.executemany(
            f"INSERT INTO messages ({', '.join(columns)}) SELECT {given} FROM messages LIMIT 1",
            [{"sequence": 1000 + number, "message_id": f"m{number}"} for number in range(messages)],
        )


@pytest.mark.parametrize("kind", ["postgres", "sqlite"])
def test_a_copy_that_was_killed_goes_on_where_it_was(blank: Blank, source: Path, tmp_path: Path, kind: str) -> None:
    many(source, 60_000)
    place = blank()
    target, path = (place.url, None) if kind == "postgres" else (url_of(tmp_path / "to.db"), tmp_path / "to.db")

    def progress() -> int:
        query = "SELECT count FROM copied_tables WHERE name = 'messages'"
        with contextlib.suppress(sqlite3.Error, OSError, asyncpg.UndefinedTableError):
            if path is None:
                return (place.query(query) or [(0,)])[0][0]
            # The copy lets nobody open the file; a copy of it with its log may be read.
            for end in ("", "-wal"):
                shutil.copyfile(f"{path}{end}", tmp_path / f"look.db{end}")
            with contextlib.closing(sqlite3.connect(tmp_path / "look.db")) as connection:
                return (connection.execute(query).fetchone() or (0,))[0]
        return 0

    command = [sys.executable, "-m", "recallql", "copy", "--from", url_of(source), "--to", target]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE) as process:
        wait_until(progress, "the copy did not begin")
        process.kill()
    assert process.returncode == -signal.SIGKILL
    interrupted = progress()
    assert 0 < interrupted < 60_000
    refused = said(run("serve", "--port", "0", "--database-url", target))
    assert "unfinished copy" in refused
    assert "unfinished copy" in said(copied(target, url_of(tmp_path / "third.db")))
    outcome = copied(url_of(source), target)
    assert outcome.status == 0, outcome
    assert copied(url_of(source), url_of(tmp_path / "whole.db")).out == outcome.out


def interrupted(source: Path, target: Path) -> None:
    """Copies all, and leaves the copy as one that ended before the comparison."""
    assert copied(url_of(source), url_of(target)).status == 0
    with database_at(url_of(source)).snapshot() as snapshot, contextlib.closing(sqlite3.connect(target)) as connection:
        connection.execute(f"CREATE TABLE {copied_tables.name} (name TEXT PRIMARY KEY, count BIGINT, checksum TEXT)")
        for table in TABLES:
            tally = Tally()
            for row in table.of(snapshot):
                tally.add(row)
            connection.execute(
                f"INSERT INTO {copied_tables.name} VALUES (:name, :count, :checksum)", tally.of(table.table.name)
            )
        connection.commit()


def test_a_copy_is_not_continued_from_another_source(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.db"
    interrupted(source, target)
    with contextlib.closing(connect(source)) as connection:
        connection.execute("UPDATE messages SET content = 'changed' WHERE number = 3")
    before = target.read_bytes()
    assert "before it changed" in said(copied(url_of(source), url_of(target)))
    assert target.read_bytes() == before


def test_a_row_that_differs_is_found(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.db"
    interrupted(source, target)
    with contextlib.closing(sqlite3.connect(target)) as connection, connection:
        connection.execute("UPDATE memories SET rating = 0.125 WHERE number = 3")
    assert "in the table memories" in said(copied(url_of(source), url_of(target)))
    assert "unfinished copy" in said(run("serve", "--port", "0", "--database-url", url_of(target)))


def empty(migrated_file: Path, path: Path) -> Path:
    return Path(shutil.copyfile(migrated_file, path))


def test_only_an_empty_database_is_filled(blank: Blank, source: Path, past: Path, tmp_path: Path) -> None:
    there = blank().url
    assert copied(url_of(source), there).status == 0
    assert said(copied(url_of(source), there)) == (
        f"recallql: {database_at(there).name} is not empty; copy into an empty database.\n"
    )
    target = Path(shutil.copyfile(past, tmp_path / "target.db"))
    assert "is not empty" in said(copied(url_of(source), url_of(target)))
    assert target.read_bytes() == past.read_bytes()


def test_a_database_is_not_copied_into_itself(blank: Blank, source: Path, tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(source)
    assert "both the source and the target" in said(copied(url_of(source), url_of(tmp_path / "link.db")))
    place = blank()
    assert run("migrate", "--database-url", place.url).status == 0
    other = place.url.replace("127.0.0.1", "localhost")
    assert "both the source and the target" in said(copied(place.url, other))


@pytest.mark.parametrize(("revision", "words"), [("0008", "older version"), ("9999", "newer version")])
def test_tables_of_another_version_are_refused(
    blank: Blank, source: Path, migrated_file: Path, tmp_path: Path, revision: str, words: str
) -> None:
    changed, place = empty(migrated_file, tmp_path / "changed.db"), blank()
    run("migrate", "--database-url", place.url)
    change = f"UPDATE alembic_version SET version_num = '{revision}'"
    place.query(change)
    with contextlib.closing(sqlite3.connect(changed)) as connection, connection:
        connection.execute(change)
    before = changed.read_bytes()
    for url in (url_of(changed), place.url):
        for way in ((url, url_of(tmp_path / "new.db")), (url_of(source), url)):
            message = said(copied(*way))
            assert words in message
            assert f"schema {revision}" in message
    assert changed.read_bytes() == before
    assert not (tmp_path / "new.db").exists()


def test_a_database_in_use_is_not_filled(
    blank: Blank, source: Path, migrated_file: Path, tmp_path: Path, serve: Serve
) -> None:
    path = empty(migrated_file, tmp_path / "served.db")
    serve(place=SqlitePlace(path))
    assert "is in use" in said(copied(url_of(source), url_of(path)))
    place = blank()
    run("migrate", "--database-url", place.url)
    with place.connected("recallql", "SELECT 1"):
        assert "is in use" in said(copied(url_of(source), place.url))
    assert copied(url_of(source), place.url).status == 0


def test_a_database_that_is_served_is_copied_as_it_was_then(source: Path, tmp_path: Path) -> None:
    server = Server(SqlitePlace(source))
    try:
        assert copied(url_of(source), url_of(tmp_path / "copy.db")).status == 0
        assert "does not exist" in said(copied(url_of(tmp_path / "none.db"), url_of(tmp_path / "other.db")))
    finally:
        server.close()
    assert exported(url_of(tmp_path / "copy.db")) == exported(url_of(source))
