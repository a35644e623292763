"""`recallql backup` and `recallql restore`: a whole copy beside a server that writes, and its way back."""

import contextlib
import os
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from models.errors import Unavailable
from models.sqlite.database import connect
from models.sqlite.file_health import FileHealth
from tests.archives import Command, add_documents, run, said
from tests.commands import environment
from tests.documents import ADD_MESSAGES, CREATE_USER
from tests.places import Place, SqlitePlace
from tests.servers import START_SECONDS, Api, Serve, Server, wait_until

pytestmark = pytest.mark.sqlite

USERS = "{ users { nodes { userId } } }"

Make = Callable[[Path, Path], None]
"""Makes a file of a kind; it is given an empty database with all tables."""


def users_of(path: Path) -> set[str]:
    """The users in a file, which must be whole and have no log."""
    assert logs_of(path) == []
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {user for (user,) in connection.execute("SELECT user_id FROM users")}


def logs_of(path: Path) -> list[Path]:
    return [log for end in ("-wal", "-shm", "-journal") if (log := path.with_name(f"{path.name}{end}")).exists()]


def with_user(path: Path, user_id: str) -> Path:
    """Adds a user to a file that nobody serves."""
    server = Server(SqlitePlace(path))
    server.accepted(CREATE_USER, userId=user_id)
    server.close()
    return path


def former(path: Path) -> Path:
    """The file that a restore put aside."""
    (found,) = [file for file in path.parent.glob(f"{path.name}.replaced-*") if file not in logs_of(file)]
    return found


@pytest.fixture(scope="module")
def made(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database, and a backup of it from before its second user."""
    folder = tmp_path_factory.mktemp("backups")
    shutil.copyfile(migrated_file, folder / "recallql.db")
    with_user(folder / "recallql.db", "before")
    assert run("backup", "backup.db", *SqlitePlace(folder / "recallql.db").option, cwd=folder).status == 0
    with_user(folder / "recallql.db", "after")
    return folder


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    """A database with the users `before` and `after`."""
    return Path(shutil.copyfile(made / "recallql.db", tmp_path / "recallql.db"))


@pytest.fixture
def backup(made: Path, tmp_path: Path) -> Path:
    """A backup of a database that had the user `before`."""
    return Path(shutil.copyfile(made / "backup.db", tmp_path / "backup.db"))


# Backup


class Writers:
    """Clients that append pairs of messages until they are stopped; counts the acknowledged pairs of each session."""

    def __init__(self, server: Api, clients: int = 4) -> None:
        self.server = server
        self.acknowledged = [0] * clients
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self.write, args=(number,)) for number in range(clients)]
        for thread in self.threads:
            thread.start()

    def write(self, number: int) -> None:
        with httpx.Client(timeout=30, trust_env=False) as client:
            while not self.stopped.is_set():
                pair = [{"role": "USER", "content": f"{self.acknowledged[number]} {side}"} for side in "ab"]
                variables = {"input": {"sessionId": f"s{number}", "messages": pair, "formMemories": False}}
                answer = client.post(self.server.url, json={"query": ADD_MESSAGES, "variables": variables}).json()
                assert answer["data"]["addMessages"]["userErrors"] == []
                self.acknowledged[number] += 1

    def stop(self) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join(timeout=START_SECONDS)


def test_a_backup_beside_a_server_that_writes_has_all_that_was_acknowledged_before_it(
    serve: Serve, place: Place, tmp_path: Path
) -> None:
    # Some eight steps of copying, with writes between them.
    add_documents(place, 30)
    server = serve("--workers", "2", place=place)
    writers = Writers(server)
    try:
        for number in range(2):
            wait_until(lambda least=20 * (number + 1): min(writers.acknowledged) > least)
            before, file = list(writers.acknowledged), tmp_path / f"backup-{number}.db"
            made = run("backup", file, *server.place.option, cwd=tmp_path)
            after = list(writers.acknowledged)
            assert made == (0, f"backed up {server.path} to {file}\n", "")
            assert sum(after) > sum(before), "nobody wrote meanwhile"
            assert users_of(file) == set()
            with contextlib.closing(sqlite3.connect(file)) as connection:
                for client, least in enumerate(before):
                    rows = connection.execute(
                        "SELECT m.sequence, m.content FROM messages m JOIN sessions s ON s.key = m.session_key "
                        "WHERE s.session_id = ? ORDER BY m.sequence",
                        (f"s{client}",),
                    ).fetchall()
                    pairs = len(rows) // 2
                    assert rows == [(n + 1, f"{n // 2} {'ab'[n % 2]}") for n in range(2 * pairs)]
                    # An answer may be on its way to a client that has not counted it.
                    assert least <= pairs <= after[client] + 1
    finally:
        writers.stop()
    assert sorted(tmp_path.glob("*.part*")) == []


def test_a_backup_is_one_file_that_a_server_can_serve(backup: Path, path: Path, serve: Serve) -> None:
    assert users_of(backup) == {"before"}
    assert backup.read_bytes()[18:20] == b"\1\1", "it is in WAL mode: whoever reads it makes logs"
    assert serve(place=SqlitePlace(backup)).graphql(USERS)["users"]["nodes"] == [{"userId": "before"}]


def test_a_backup_has_what_is_only_in_the_log_of_a_killed_server(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    server.accepted(CREATE_USER, userId="ada")
    server.process.send_signal(signal.SIGKILL)
    server.wait()
    assert run("backup", "copy.db", *server.place.option, cwd=tmp_path).status == 0
    assert users_of(tmp_path / "copy.db") == {"ada"}


def test_a_backup_replaces_no_file_unless_it_is_told_to(backup: Path, path: Path, command: Command) -> None:
    before = backup.read_bytes()
    assert "exists" in said(command("backup", backup, *SqlitePlace(path).option))
    assert backup.read_bytes() == before
    assert command("backup", backup, "--overwrite", *SqlitePlace(path).option).status == 0
    assert users_of(backup) == {"before", "after"}


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
@pytest.mark.parametrize("name", ["recallql.db", "folder", "used.db", "no-folder/copy.db", "/dev/null"])
def test_a_backup_is_not_written_over_anything_but_a_copy(
    path: Path, tmp_path: Path, command: Command, overwrite: list[str], name: str
) -> None:
    (tmp_path / "folder").mkdir()
    with contextlib.closing(connect(tmp_path / "used.db")) as used:
        used.execute("CREATE TABLE t (x)")
        before = sorted(tmp_path.rglob("*"))
        assert name in said(command("backup", tmp_path / name, *overwrite, *SqlitePlace(path).option))
        assert sorted(tmp_path.rglob("*")) == before


def make_nothing(_: Path, __: Path) -> None:
    pass


def make_text(path: Path, _: Path) -> None:
    path.write_text("These are my notes. " * 500)


def make_empty(path: Path, _: Path) -> None:
    path.touch()


def make_folder(path: Path, _: Path) -> None:
    path.mkdir()


def make_shop(path: Path, _: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)")
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('0001')")


def make_cut(path: Path, migrated: Path) -> None:
    path.write_bytes(migrated.read_bytes()[: 4096 * 20])


def make_cut_within_a_page(path: Path, migrated: Path) -> None:
    path.write_bytes(migrated.read_bytes()[:-100])


def make_damaged(path: Path, migrated: Path) -> None:
    with contextlib.closing(sqlite3.connect(migrated)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'documents'").fetchone()
    content = migrated.read_bytes()
    path.write_bytes(content[: (page - 1) * 4096] + b"\xa5" * 4096 + content[page * 4096 :])


FAULTY = [make_nothing, make_text, make_empty, make_folder, make_shop, make_cut, make_damaged]


@pytest.mark.parametrize("make", FAULTY)
def test_no_backup_is_made_of_what_is_no_database_or_is_damaged(
    make: Make, migrated_file: Path, tmp_path: Path, command: Command
) -> None:
    path = tmp_path / "faulty.db"
    make(path, migrated_file)
    before = sorted(tmp_path.iterdir())
    assert str(path) in said(command("backup", tmp_path / "copy.db", *SqlitePlace(path).option))
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path, command: Command) -> None:
    path = tmp_path / "elsewhere" / "recallql.db"
    assert f"{path} does not exist" in said(command("backup", tmp_path / "copy.db", *SqlitePlace(path).option))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("action", ["backup", "restore"])
def test_a_postgresql_database_has_tools_of_its_own(backup: Path, command: Command, action: str) -> None:
    told = said(command(action, backup, "--database-url", "postgresql://me:secret@127.0.0.1:1/db"))
    assert "pg_dump" in told
    assert "pg_restore" in told


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_copies_are_for_those_only_who_may_read_the_database(
    path: Path, tmp_path: Path, command: Command, mode: int
) -> None:
    path.chmod(mode)
    files = tmp_path / "wide.db", tmp_path / "narrow.db"
    for file, umask in zip(files, (0, 0o077), strict=True):
        before = os.umask(umask)
        try:
            assert command("backup", file, *SqlitePlace(path).option).status == 0
        finally:
            os.umask(before)
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [mode, 0o600]
    assert command("restore", files[1], *SqlitePlace(path).option).status == 0
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert command("restore", files[1], *SqlitePlace(tmp_path / "new.db").option).status == 0
    assert stat.S_IMODE((tmp_path / "new.db").stat().st_mode) == 0o600


def test_a_full_disk_leaves_nothing_of_a_backup_or_a_restore(backup: Path, path: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the end of the disk."""
    before = sorted(tmp_path.iterdir())
    for arguments, named in (("backup", "copy.db"), "copy.db"), (("restore", backup), path.name):
        done = subprocess.run(
            [sys.executable, "-m", "recallql", *arguments, *SqlitePlace(path).option],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            encoding="utf-8",
            timeout=START_SECONDS,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        )
        assert done.returncode == 1, done.stderr
        assert named in done.stderr
        assert "the disk is full" in done.stderr
        assert sorted(tmp_path.iterdir()) == before
    assert users_of(path) == {"before", "after"}


# Restore


def test_a_restored_file_is_as_at_the_time_of_the_backup_and_the_former_one_is_kept(
    backup: Path, path: Path, command: Command, serve: Serve
) -> None:
    restored = command("restore", backup, *SqlitePlace(path).option)
    assert restored == (0, f"restored {path} from {backup}; the former database is now {former(path)}\n", "")
    assert users_of(path) == users_of(backup) == {"before"}
    assert users_of(former(path)) == {"before", "after"}
    server = serve(place=SqlitePlace(path))
    server.accepted(CREATE_USER, userId="later")
    assert {node["userId"] for node in server.graphql(USERS)["users"]["nodes"]} == {"before", "later"}
    assert users_of(backup) == {"before"}


def test_a_backup_is_restored_where_nothing_is(backup: Path, tmp_path: Path, command: Command) -> None:
    restored = command("restore", backup, *SqlitePlace(tmp_path / "new.db").option)
    assert restored == (0, f"restored {tmp_path / 'new.db'} from {backup}\n", "")
    assert users_of(tmp_path / "new.db") == {"before"}


def test_a_restore_writes_the_log_of_a_killed_server_into_the_former_file(
    serve: Serve, backup: Path, tmp_path: Path
) -> None:
    server = serve()
    server.accepted(CREATE_USER, userId="logged")
    server.process.send_signal(signal.SIGKILL)
    server.wait()
    assert server.path.with_name(f"{server.path.name}-wal").stat().st_size > 0
    assert run("restore", backup, *server.place.option, cwd=tmp_path).status == 0
    assert users_of(server.path) == {"before"}
    assert users_of(former(server.path)) == {"logged"}


def test_logs_without_their_database_are_put_aside(serve: Serve, backup: Path, tmp_path: Path) -> None:
    server = serve()
    server.accepted(CREATE_USER, userId="logged")
    server.process.send_signal(signal.SIGKILL)
    server.wait()
    server.path.unlink()
    logs = {log.name.removeprefix(server.path.name): log.stat().st_size for log in logs_of(server.path)}
    assert run("restore", backup, *server.place.option, cwd=tmp_path).status == 0
    assert users_of(server.path) == {"before"}
    aside = server.path.parent.glob(f"{server.path.name}.replaced-*")
    assert {f"-{log.name.rpartition('-')[2]}": log.stat().st_size for log in aside} == logs


def damage_head(path: Path) -> None:
    """Overwrites the start of a file, in another process: see `tests.places.SqlitePlace.content`."""
    subprocess.run(
        ["dd", f"of={path}", "bs=100", "count=1", "conv=notrunc", "status=none"], input=b"\xa5" * 100, check=True
    )


def test_nothing_is_restored_while_idle_servers_have_the_file_open(
    serve: Serve, backup: Path, path: Path, command: Command
) -> None:
    server = serve("--workers", "2", place=SqlitePlace(path))
    files = sorted(path.parent.iterdir())
    assert "in use" in said(command("restore", backup, *SqlitePlace(path).option))
    server.accepted(CREATE_USER, userId="later")
    damage_head(path)
    assert "in use" in said(command("restore", backup, *SqlitePlace(path).option))
    assert sorted(path.parent.iterdir()) == files
    server.process.terminate()
    assert server.wait() == 0
    assert command("restore", backup, *SqlitePlace(path).option).status == 0
    assert users_of(path) == {"before"}


def test_nothing_is_restored_while_another_process_reads_the_file(backup: Path, path: Path, command: Command) -> None:
    with contextlib.closing(sqlite3.connect(path)) as reader:
        reader.execute("SELECT count(*) FROM users").fetchone()
        assert "in use" in said(command("restore", backup, *SqlitePlace(path).option))
    assert users_of(path) == {"before", "after"}


@pytest.mark.parametrize("make", [*FAULTY, make_cut_within_a_page])
def test_what_is_no_backup_is_not_restored(
    make: Make, path: Path, migrated_file: Path, tmp_path: Path, command: Command
) -> None:
    file = tmp_path / "faulty.db"
    make(file, migrated_file)
    files = sorted(tmp_path.iterdir())
    assert str(file) in said(command("restore", file, *SqlitePlace(path).option))
    assert sorted(tmp_path.iterdir()) == files
    assert users_of(path) == {"before", "after"}


def test_a_backup_of_a_newer_version_is_not_restored(backup: Path, path: Path, command: Command) -> None:
    with contextlib.closing(sqlite3.connect(backup)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9000'")
    assert "newer version" in said(command("restore", backup, *SqlitePlace(path).option))
    assert users_of(path) == {"before", "after"}


def test_a_database_in_use_is_no_backup(backup: Path, path: Path, command: Command) -> None:
    assert "itself" in said(command("restore", path, *SqlitePlace(path).option))
    with contextlib.closing(connect(backup)) as used:
        used.execute("SELECT count(*) FROM users").fetchone()
        assert "in use" in said(command("restore", backup, *SqlitePlace(path).option))


def test_a_file_of_another_application_is_not_replaced(backup: Path, tmp_path: Path, command: Command) -> None:
    path = tmp_path / "shop.db"
    make_shop(path, path)
    content = path.read_bytes()
    assert "another application" in said(command("restore", backup, *SqlitePlace(path).option))
    assert path.read_bytes() == content


@pytest.mark.parametrize("make", [make_text, make_empty, make_cut, make_damaged])
def test_a_damaged_file_is_replaced_and_kept(
    make: Make, backup: Path, migrated_file: Path, tmp_path: Path, command: Command
) -> None:
    path = tmp_path / "damaged.db"
    make(path, migrated_file)
    content = path.read_bytes()
    assert command("restore", backup, *SqlitePlace(path).option).status == 0
    assert users_of(path) == {"before"}
    # What can still be read is no longer in WAL mode.
    assert former(path).read_bytes()[100:] == content[100:]


def test_a_file_behind_a_link_is_replaced_and_the_link_stays(
    backup: Path, path: Path, tmp_path: Path, command: Command
) -> None:
    link = tmp_path / "links" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    assert command("restore", backup, *SqlitePlace(link).option).status == 0
    assert link.is_symlink()
    assert users_of(path) == {"before"}
    assert users_of(former(path)) == {"before", "after"}


# Restores in copies of a folder; in the n-th it is killed before its n-th change of a name, or sync. The last one ends.
KILLED = """
import os, shutil, signal, sys
import models.sqlite.engine, recallql.commands.backups
from recallql.commands.cli import main

def counted(function):
    def step(*arguments, **options):
        steps.append(function)
        if len(steps) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return step

for number in range(1, 100):
    shutil.copytree("template", str(number))
    child = os.fork()
    if not child:
        os.chdir(str(number))
        steps = []
        for name in ("fsync", "link", "rename", "replace", "unlink", "chmod", "open"):
            setattr(os, name, counted(getattr(os, name)))
        sys.argv = ["recallql", "restore", "backup.db"]
        main()
    if os.waitpid(child, 0)[1] == 0:
        break
"""


@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_restore_that_is_killed_leaves_the_former_database_or_the_restored_one(
    made: Path, tmp_path: Path, is_damaged: bool
) -> None:
    shutil.copytree(made, tmp_path / "template")
    if is_damaged:
        make_text(tmp_path / "template" / "recallql.db", made)
    before = (tmp_path / "template" / "recallql.db").read_bytes()
    subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, env=environment(), timeout=START_SECONDS, check=True)
    outcomes: list[bool] = []
    for number in range(1, len(list(tmp_path.iterdir()))):
        path = tmp_path / str(number) / "recallql.db"
        # Its log was written into it, so that it is not in WAL mode.
        outcomes.append(path.read_bytes()[100:] == before[100:])
        assert outcomes[-1] or users_of(path) == {"before"}
        assert outcomes[-1] or former(path).read_bytes()[100:] == before[100:]
        assert logs_of(path) == []
    # Once it is restored, it stays so.
    assert outcomes == sorted(outcomes, reverse=True)
    assert outcomes.count(True) > 5
    assert outcomes.count(False) > 1


def test_a_restore_after_one_that_was_killed_keeps_the_former_file_once(
    backup: Path, path: Path, command: Command
) -> None:
    path.with_name(f"{path.name}.replaced-20250101T000000.000000Z").hardlink_to(path)
    assert command("restore", backup, *SqlitePlace(path).option).status == 0
    assert users_of(former(path)) == {"before", "after"}


# A server that starts meanwhile


def test_a_server_that_starts_during_a_restore_serves_the_restored_file(
    backup: Path, path: Path, serve: Serve, tmp_path: Path
) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as restoring:
        restoring.execute("PRAGMA journal_mode = DELETE")
        restoring.execute("BEGIN EXCLUSIVE")
        server = serve(place=SqlitePlace(path), ready=False)
        time.sleep(2.0)
        assert server.process.poll() is None, server.output()
        aside = tmp_path / "aside.db"
        aside.hardlink_to(path)
        shutil.copyfile(backup, tmp_path / "part")
        (tmp_path / "part").replace(path)
    server.wait_until_ready()
    server.accepted(CREATE_USER, userId="later")
    assert {node["userId"] for node in server.graphql(USERS)["users"]["nodes"]} == {"before", "later"}
    assert users_of(aside) == {"before", "after"}


def test_a_store_does_not_open_a_file_that_was_replaced_while_it_opened_it(backup: Path, path: Path) -> None:
    health = FileHealth(path)
    with contextlib.closing(connect(path)) as connection:
        backup.replace(path)
        with pytest.raises(Unavailable, match="replaced"):
            health.watch(connection)
    health.close()
