"""The PostgreSQL of the tests: one server for all, databases that keep nothing of a test, and others' left alone."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import tests.postgres
import tests.postgres_places
from models.postgres.connecting import Address
from tests.forks import environment
from tests.places import Place, Places
from tests.postgres import NoPostgres, PostgresServer, programs
from tests.postgres_places import PostgresPlaces
from tests.servers import REPOSITORY, wait_until

TIMES = {"created_at": "2025-01-01T00:00:00", "updated_at": "2025-01-01T00:00:00.500000"}
USER = TIMES | {"project": "default", "about": "", "metadata": '{"b": 1, "a": 1.0}', "version": 1}


def is_there(dsn: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", urlsplit(dsn).port or 0)) == 0


def ask(dsn: str, query: str) -> str:
    async def fetch() -> str:
        connection = await Address(dsn).connect()
        try:
            return await connection.fetchval(query)
        finally:
            await connection.close()

    return asyncio.run(fetch())


def add(place: Place, number: int = 1) -> None:
    place.insert("users", [USER | {"key": number.to_bytes(16), "user_id": f"u{number}"}])


def users(place: Place) -> list[str]:
    return [user for (user,) in place.query("SELECT user_id FROM users ORDER BY user_id")]


# The server


def test_processes_share_a_server_which_ends_with_the_last_of_them(postgres_programs: Path, tmp_path: Path) -> None:
    first, second = PostgresServer(tmp_path), PostgresServer(tmp_path)
    assert first.dsn == second.dsn
    folder = Path(ask(first.dsn, "SHOW data_directory")).parent
    first.release()
    assert ask(second.dsn, "SELECT 'served'") == "served"
    second.release()
    wait_until(lambda: not is_there(second.dsn), "the server goes on")
    wait_until(lambda: not folder.exists(), "its files are left")
    again = PostgresServer(tmp_path)
    assert ask(again.dsn, "SELECT 'served'") == "served"
    again.release()


HOLD = """import pathlib, sys
from tests.postgres import PostgresServer
server = PostgresServer(pathlib.Path(sys.argv[1]))
print(server.dsn, flush=True)
sys.stdin.read()
"""


def test_a_server_ends_when_its_tests_are_killed(postgres_programs: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path],
        cwd=REPOSITORY,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holding:
        assert holding.stdout is not None
        dsn = holding.stdout.readline().strip()
        folder = Path(ask(dsn, "SHOW data_directory")).parent
        holding.kill()
    wait_until(lambda: not is_there(dsn), "the server goes on")
    wait_until(lambda: not folder.exists(), "its files are left")


def test_without_programs_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tests.postgres, "_folders", lambda: [Path("/nowhere")])
    with pytest.raises(NoPostgres, match="install it"):
        programs()


# Databases


@pytest.fixture
def of_postgres(postgres_dsn: str) -> Iterator[PostgresPlaces]:
    made = PostgresPlaces(postgres_dsn)
    yield made
    made.close()


def test_rows_are_as_on_sqlite(place: Place) -> None:
    add(place)
    statement = "SELECT key, metadata, created_at, updated_at, email FROM users WHERE user_id = $1"
    expected = ((1).to_bytes(16), '{"b": 1, "a": 1.0}', "2025-01-01T00:00:00", "2025-01-01T00:00:00.500000", None)
    assert place.query(statement, "u1") == [expected]
    place.query("UPDATE users SET updated_at = $1", "2026-01-01T00:00:00")
    assert place.query("SELECT updated_at FROM users") == [("2026-01-01T00:00:00",)]
    assert [len(rows) for name, rows in place.tables().items() if name in ("users", "sessions")] == [0, 1]
    assert {"key", "user_id"} < place.columns("users")


def test_a_database_is_given_out_again_without_the_rows_of_a_test(
    of_postgres: PostgresPlaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = of_postgres.fresh(tmp_path)
    for small in (10**9, 0):
        monkeypatch.setattr(tests.postgres_places, "SMALL", small)
        add(first)
        first.close()
        again = of_postgres.fresh(tmp_path)
        assert again is first
        assert users(again) == []
    assert of_postgres.fresh(tmp_path) is not first


@pytest.mark.parametrize("change", ["ALTER TABLE users ADD x int", "DROP INDEX ix_users_project_user_id"])
def test_a_database_with_other_tables_is_not_given_out_again(
    of_postgres: PostgresPlaces, tmp_path: Path, change: str
) -> None:
    first = of_postgres.fresh(tmp_path)
    first.query(change)
    first.close()
    assert of_postgres.fresh(tmp_path).name != first.name
    names = ask(first.url.replace(first.name, "postgres"), "SELECT string_agg(datname, ' ') FROM pg_database")
    assert first.name not in names


def test_a_connection_that_a_test_leaves_is_told(
    of_postgres: PostgresPlaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tests.postgres_places, "PATIENCE", 0.1)
    place = of_postgres.fresh(tmp_path)
    left = of_postgres.loop.run(Address(place.url).connect())
    with pytest.raises(AssertionError, match="1 connections"):
        place.close()
    of_postgres.loop.run(left.close())


def test_a_copy_has_the_rows_and_a_life_of_its_own(places: Places, tmp_path: Path) -> None:
    with places.lent(tmp_path) as place:
        add(place)
        copy = places.copy(place, tmp_path)
        add(copy, 2)
        assert (users(place), users(copy)) == (["u1"], ["u1", "u2"])
        copy.close()


def test_writes_wait_and_reads_do_not_while_they_are_blocked(of_postgres: PostgresPlaces, tmp_path: Path) -> None:
    place = of_postgres.fresh(tmp_path)
    place.query("SET lock_timeout = '10ms'")
    with place.blocking_writes():
        assert users(place) == []
        with pytest.raises(Exception, match="lock timeout"):
            add(place)
    add(place)
    assert users(place) == ["u1"]


def test_databases_of_others_stay_and_so_do_their_connections(postgres_dsn: str, tmp_path: Path) -> None:
    others, ours = PostgresPlaces(postgres_dsn), PostgresPlaces(postgres_dsn)
    place = others.fresh(tmp_path)
    add(place)
    ours.fresh(tmp_path)
    ours.close()
    assert users(place) == ["u1"]
    others.close()
    left = ask(postgres_dsn, "SELECT string_agg(datname, ' ') FROM pg_database")
    assert place.name not in left
