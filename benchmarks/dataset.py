"""The data: 200 users, 10 sessions each, 50 messages of about 200 characters in each; identical in every run.

It also generates one long session, alone or among others.
"""

import json
import random
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

USERS, SESSIONS, MESSAGES = 200, 10, 50
LONG, OTHERS = 100_000, 1000
SEED = 1
FIRST_DAY = datetime(2025, 1, 1, tzinfo=UTC)
WORDS = """
    the assistant answered with a plan for your garden and asked whether we should meet again in Turin because
    there is no hurry “naïve” people often say that nothing can be remembered without an index or a good story
""".split()  # noqa: SIM905 (a list of quoted words is harder to read)

TABLES = """
CREATE TABLE users (
    id INTEGER PRIMARY KEY, user_id TEXT NOT NULL UNIQUE, email TEXT, name TEXT, about TEXT, created_at TEXT NOT NULL
);
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, session_id TEXT NOT NULL UNIQUE, user_id INTEGER NOT NULL REFERENCES users,
    situation TEXT, created_at TEXT NOT NULL, last_sequence INTEGER NOT NULL
);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY, session_id INTEGER NOT NULL REFERENCES sessions, sequence INTEGER NOT NULL,
    role TEXT NOT NULL, content TEXT NOT NULL, created_at TEXT NOT NULL, UNIQUE (session_id, sequence)
);
CREATE INDEX sessions_of_users ON sessions (user_id, id);
"""


def user_id(user: int) -> str:
    return f"user-{user:03}"


def session_id(user: int, session: int) -> str:
    return f"{user_id(user)}-session-{session:02}"


def lines() -> Iterator[dict[str, Any]]:
    """The lines of a file for `recallql import`, parents first and each kind by age."""
    chance = random.Random(SEED)
    yield from users_and_sessions(USERS, chance)
    for user, session in _sessions(USERS):
        for message in range(1, MESSAGES + 1):
            yield {
                "type": "message",
                "sessionId": session_id(user, session),
                "messageId": f"m{message}",
                "role": "USER" if message % 2 else "ASSISTANT",
                "content": " ".join(chance.choices(WORDS, k=38)),
                "createdAt": _time(user, session, message),
            }


def users_and_sessions(users: int, chance: random.Random) -> Iterator[dict[str, Any]]:
    """The lines of so many users, and of their sessions without messages."""
    for user in range(1, users + 1):
        yield {
            "type": "user",
            "userId": user_id(user),
            "email": f"{user_id(user)}@example.com",
            "name": f"Ünal {user}",
            "about": " ".join(chance.choices(WORDS, k=6)),
            "createdAt": _time(user),
        }
    for user, session in _sessions(users):
        yield {
            "type": "session",
            "sessionId": session_id(user, session),
            "userId": user_id(user),
            "situation": " ".join(chance.choices(WORDS, k=4)),
            "createdAt": _time(user, session),
        }


def _sessions(users: int) -> Iterator[tuple[int, int]]:
    return product(range(1, users + 1), range(1, SESSIONS + 1))


def _time(user: int, session: int = 0, message: int = 0) -> str:
    time = FIRST_DAY + timedelta(days=user % 365, hours=session, minutes=message)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def long_session(messages: int) -> Iterator[dict[str, Any]]:
    """The lines of a file with a number of messages, a multiple of LONG.

    LONG of them are in the session "long". The others are interleaved with these, distributed over OTHERS sessions.
    """
    chance = random.Random(SEED)
    share = messages // LONG
    others = OTHERS if share > 1 else 0
    yield {"type": "user", "userId": user_id(1)}
    for session in ("long", *(f"other-{other}" for other in range(others))):
        yield {"type": "session", "sessionId": session, "userId": user_id(1)}
    for message in range(messages):
        turn, place = divmod(message, share)
        yield {
            "type": "message",
            "sessionId": "long" if place == 0 else f"other-{(turn * (share - 1) + place) % others}",
            "role": "ASSISTANT" if turn % 2 else "USER",
            "content": " ".join(chance.choices(WORDS, k=38)),
        }


def write_lines(path: Path, objects: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in objects)


def write_peers(path: Path) -> None:
    """Writes the same rows to a SQLite file for the servers that RecallQL is compared with."""
    keys: dict[str, int] = {}
    rows: dict[str, list[tuple[Any, ...]]] = {"user": [], "session": [], "message": []}
    for line in lines():
        kind, time = line["type"], line["createdAt"]
        key = len(rows[kind]) + 1
        if kind == "user":
            keys[line["userId"]] = key
            row = (key, line["userId"], line["email"], line["name"], line["about"], time)
        elif kind == "session":
            keys[line["sessionId"]] = key
            row = (key, line["sessionId"], keys[line["userId"]], line["situation"], time, MESSAGES)
        else:
            sequence = int(line["messageId"].removeprefix("m"))
            row = (key, keys[line["sessionId"]], sequence, line["role"], line["content"], time)
        rows[kind].append(row)
    connection = sqlite3.connect(path)
    connection.executescript("PRAGMA journal_mode = WAL;" + TABLES)
    for kind, of_kind in rows.items():
        connection.executemany(f"INSERT INTO {kind}s VALUES (?, ?, ?, ?, ?, ?)", of_kind)
    connection.commit()
    connection.executescript("ANALYZE; PRAGMA wal_checkpoint(TRUNCATE);")
    connection.close()
