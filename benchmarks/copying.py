"""Measures `recallql copy` to PostgreSQL and back: `python -m benchmarks.copying FOLDER URL`; see README.md."""

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.dataset import FIRST_DAY, MESSAGES, SEED, SESSIONS, WORDS, user_id
from models.keys import session_key, user_key
from models.sqlite.database import connect
from models.store import database_at
from models.values import time_of

PROJECT = "default"
VECTOR = 384 // 8


def main() -> int:
    parser = argparse.ArgumentParser(description="A file with so many messages, copied to PostgreSQL and back.")
    parser.add_argument("folder", type=Path, help="for the files; a file that is there is not filled again")
    parser.add_argument("url", help="an empty PostgreSQL database")
    parser.add_argument("--messages", type=int, default=1_000_000, help="a multiple of 500")
    options = parser.parse_args()
    source, back = options.folder / "source.db", options.folder / "back.db"
    if not source.exists():
        fill(source, options.messages)
    back.unlink(missing_ok=True)
    sums = [copied(f"sqlite:///{source}", options.url), copied(options.url, f"sqlite:///{back}")]
    print(f"source {source.stat().st_size / 1e6:.0f} MB, copied back {back.stat().st_size / 1e6:.0f} MB")
    print("the checksums of all tables are the same" if sums[0] == sums[1] else "THE CHECKSUMS DIFFER")
    return 0 if sums[0] == sums[1] else 1


def copied(source: str, target: str) -> str:
    """Copies, and prints the time of it; the counts and checksums that the command prints."""
    began = time.monotonic()
    command = [sys.executable, "-m", "recallql", "copy", "--from", source, "--to", target]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit("The copy failed.")
    cpu = used.ru_utime + used.ru_stime
    print(
        f"{target.partition(':')[0]}: {time.monotonic() - began:.0f} s, of which the command's CPU {cpu:.0f} s, at "
        f"most {used.ru_maxrss / 1024:.0f} MB",
        flush=True,
    )
    return said


def fill(path: Path, count: int) -> None:
    """A file with messages of about 200 characters, 50 in a session and 10 sessions of a user, in order of time."""
    database_at(f"sqlite:///{path}").migrate()
    users = count // (SESSIONS * MESSAGES)
    with closing(connect(path)) as connection:
        connection.execute("BEGIN")
        for table, rows in (
            ("users", of_users(users)),
            ("sessions", of_sessions(users)),
            ("messages", of_messages(users)),
            ("message_vectors", of_vectors(users)),
        ):
            first = next(rows)
            statement = f"INSERT INTO {table} ({', '.join(first)}) VALUES ({', '.join(f':{name}' for name in first)})"
            connection.execute(statement, first)
            connection.executemany(statement, rows)
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def stamps(minute: int) -> dict[str, Any]:
    then = time_of(FIRST_DAY + timedelta(minutes=minute, microseconds=minute))
    return {"created_at": then, "updated_at": then, "version": 1, "metadata": "{}"}


def of_users(users: int) -> Iterator[dict[str, Any]]:
    for user in range(users):
        own = {"key": user_key(PROJECT, user_id(user)), "project": PROJECT, "user_id": user_id(user), "about": ""}
        yield own | stamps(user)


def key_of(user: int, session: int) -> bytes:
    return session_key(PROJECT, f"{user_id(user)}-{session}")


def of_sessions(users: int) -> Iterator[dict[str, Any]]:
    for session in range(SESSIONS):
        for user in range(users):
            yield stamps(user) | {
                "key": key_of(user, session),
                "project": PROJECT,
                "session_id": f"{user_id(user)}-{session}",
                "user_key": user_key(PROJECT, user_id(user)),
                "last_activity_at": stamps(user)["created_at"],
                "last_sequence": MESSAGES,
                "deleted_through": 0,
            }


def of_messages(users: int) -> Iterator[dict[str, Any]]:
    chance = random.Random(SEED)
    for session in range(SESSIONS):
        for sequence in range(1, MESSAGES + 1):
            for user in range(users):
                yield stamps(session * MESSAGES + sequence) | {
                    "session_key": key_of(user, session),
                    "sequence": sequence,
                    "generation": 1,
                    "role": "USER" if sequence % 2 else "ASSISTANT",
                    "content": " ".join(chance.choices(WORDS, k=38)),
                    "token_count": 48,
                    "forms_memories": 1,
                }


def of_vectors(users: int) -> Iterator[dict[str, Any]]:
    """Those of all messages, as the local model makes them."""
    chance = random.Random(SEED)
    for number, message in enumerate(of_places(users), 1):
        yield message | {"number": number, "vectors": chance.randbytes(VECTOR)}


def of_places(users: int) -> Iterator[dict[str, Any]]:
    for session in range(SESSIONS):
        for sequence in range(1, MESSAGES + 1):
            for user in range(users):
                yield {"session_key": key_of(user, session), "sequence": sequence}


if __name__ == "__main__":
    sys.exit(main())
