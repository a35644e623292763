"""Measures search in scopes of many sizes within a large file: `python -m benchmarks.scoped_search`; see README.md.

Fills a file with three million messages: those of a user with a million, of one with 100,000, of one with 10,000, and
of 1,890 others with 1,000 each. A word like `tenk` stands in 10,000 messages of each scope that has as many, and in as
large a share of what others wrote.
"""

import argparse
import http.client
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import accumulate
from pathlib import Path
from sqlite3 import Connection
from statistics import quantiles
from typing import Any, NamedTuple

from benchmarks.process import ROOT
from models.keys import lane_of, session_key, user_key
from models.search import bring_up_to_date
from models.search_kinds import MESSAGES
from models.sqlite.database import SqliteStore, connect
from models.sqlite.migrate import migrate

FILE = ROOT / "build" / "scoped_search.db"
SCOPES = {"million": 1_000_000, "hundred-thousand": 100_000, "ten-thousand": 10_000}
PROJECT = "project"
OTHERS, EACH, A_SESSION = 1_890, 1_000, 200
RARITY = {"tenk": 10_000, "onek": 1_000, "hundred": 100, "ten": 10}
"""Words, and the number of messages with each per million."""

WORDS = [f"word{number}" for number in range(5_000)]
"""The commonest is in half of all messages, the others by Zipf's law in fewer."""

LATE, EARLY = "2025-06-01T00:00:00Z", "2025-02-01T00:00:00Z"
FILTERS: dict[str, dict[str, Any]] = {
    "": {},
    "createdAt": {"createdAt": {"since": EARLY, "until": LATE}},
    "roles": {"roles": ["ASSISTANT"]},
    "metadata": {"metadata": {"topic": "seldom"}},
}
QUERY = """query Search($query: String!, $userId: String, $filter: SearchFilter, $after: String) {
  search(query: $query, userId: $userId, scope: [MESSAGES], filter: $filter, first: 20, after: $after) {
    edges { score node { ... on Message { id content } } } pageInfo { endCursor } } }"""


class Case(NamedTuple):
    scope: str
    words: tuple[str, ...]
    filter: str


def main() -> int:
    parser = argparse.ArgumentParser(description="Search in scopes of many sizes beside others'.")
    parser.add_argument("-n", "--requests", type=int, default=100, help="of each case")
    parser.add_argument("-s", "--scopes", type=lambda text: text.split(","), default=[*SCOPES, PROJECT], help="which")
    parser.add_argument("--reuse", action="store_true", help="keep the file that was filled last time")
    options = parser.parse_args()
    if not (options.reuse and FILE.exists()):
        fill(FILE)
    print_results(options.scopes, options.requests)
    return 0


def fill(path: Path) -> None:
    """Fills a new file, and reports its progress."""
    path.parent.mkdir(exist_ok=True)
    for old in path.parent.glob(f"{path.name}*"):
        old.unlink()
    migrate(path)
    started = time.monotonic()
    with closing(connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        write(connection)
    print(f"messages written in {time.monotonic() - started:.0f} s")
    started = time.monotonic()
    index(path)
    print(f"and indexed in {time.monotonic() - started:.0f} s\n")


def index(path: Path) -> None:
    import asyncio

    async def run() -> None:
        database = await SqliteStore.open(path, durable=False)
        await bring_up_to_date(database, MESSAGES, late=0)
        await database.close()

    asyncio.run(run())


def write(connection: Connection) -> None:
    """Writes the sessions of all users interleaved, as they would arrive."""
    dice = random.Random(1)
    sizes = {**SCOPES, **{f"other-{number}": EACH for number in range(OTHERS)}}
    sessions = [(user, number, size) for user, size in sizes.items() for number in range(-(-size // A_SESSION))]
    dice.shuffle(sessions)
    for user in sizes:
        insert(connection, "users", [user_row(user)])
    cumulated = list(accumulate(1 / (number + 1) for number in range(len(WORDS))))
    for start in range(0, len(sessions), 50):
        connection.execute("BEGIN")
        for user, number, size in sessions[start : start + 50]:
            row = session_row(user, number, min(A_SESSION, size))
            insert(connection, "sessions", [row])
            messages = message_rows(row["key"], row["last_sequence"], dice, cumulated)
            insert(connection, "messages", list(messages))
        connection.execute("COMMIT")


def insert(connection: Connection, table: str, rows: list[dict[str, Any]]) -> None:
    names = list(rows[0])
    marks = ", ".join(f":{name}" for name in names)
    connection.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", rows)


def at(minute: int) -> str:
    days, rest = divmod(minute, 1440)
    return f"2025-{1 + days // 28 % 12:02}-{1 + days % 28:02}T{rest // 60:02}:{rest % 60:02}:00.000000"


_KEPT = {"project": "default", "metadata": "{}", "created_at": at(0), "updated_at": at(0), "version": 1}


def user_row(user: str) -> dict[str, Any]:
    return _KEPT | {"key": user_key("default", user), "user_id": user, "about": ""}


def session_row(user: str, number: int, size: int) -> dict[str, Any]:
    owner = user_key("default", user)
    session = f"{user}-{number}"
    own = {"key": session_key("default", session), "session_id": session, "user_key": owner, "lane": lane_of(owner)}
    return _KEPT | own | {"last_activity_at": at(0), "last_sequence": size, "deleted_through": 0}


def message_rows(key: bytes, size: int, dice: random.Random, cumulated: list[float]) -> Iterator[dict[str, Any]]:
    fixed = {"session_key": key, "generation": 0, "token_count": 20, "forms_memories": 0, "version": 1}
    start = dice.randrange(300 * 1440)
    for sequence in range(1, size + 1):
        said = dice.choices(WORDS, cum_weights=cumulated, k=12)
        said += [word for word, count in RARITY.items() if dice.random() < count / 1_000_000]
        when = at(start + sequence)
        yield fixed | {
            "sequence": sequence,
            "role": "USER" if sequence % 2 else "ASSISTANT",
            "content": " ".join(said),
            "metadata": '{"topic": "seldom"}' if dice.random() < 0.01 else '{"topic": "usual"}',
            "created_at": when,
            "updated_at": when,
        }


def cases(scopes: list[str]) -> Iterator[Case]:
    for scope in scopes:
        for words in (("tenk",), ("onek",), ("ten",), ("tenk", "onek", "word400")):
            for filter in FILTERS:
                yield Case(scope, words, filter)
        # After the few with the rare word come those with only a very common one.
        yield Case(scope, ("ten", "word0"), "")


def print_results(scopes: list[str], requests: int) -> None:
    print("| Scope | Words | Filter | Results | p50, ms | p99, ms | CPU, ms |")
    print("|---|---|---|---|---|---|---|")
    for case, found, times, cpu in measured(scopes, requests):
        cuts = quantiles(times, n=100)
        numbers = f"{found} | {cuts[49]:.0f} | {cuts[98]:.0f} | {cpu:.0f}"
        print(f"| {case.scope} | {' '.join(case.words)} | {case.filter} | {numbers} |", flush=True)


def measured(scopes: list[str], requests: int) -> Iterator[tuple[Case, int, list[float], float]]:
    """For each case the number of results on its first page, the duration of each request, and the CPU time of one (all
    threads of the server), in milliseconds."""
    port = 18_431
    command = [sys.executable, "-m", "recallql", "serve", "--port", str(port), "--database-url", f"sqlite:///{FILE}"]
    environment = {**os.environ, "RECALLQL_EMBEDDINGS": "off"}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        connection = wait_for(port)
        for case in cases(scopes):
            ask(connection, case)
            times: list[float] = []
            found, before = 0, cpu_of(process.pid)
            for _ in range(requests):
                started = time.perf_counter()
                found = ask(connection, case)
                times.append(1000 * (time.perf_counter() - started))
            yield case, found, times, 1000 * (cpu_of(process.pid) - before) / requests
    finally:
        process.terminate()
        process.wait()


def cpu_of(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_for(port: int) -> http.client.HTTPConnection:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request("GET", "/health")
            connection.getresponse().read()
        except OSError:
            time.sleep(0.1)
        else:
            return connection
    raise SystemExit("the server did not start")


def ask(connection: http.client.HTTPConnection, case: Case) -> int:
    variables = {
        "query": " ".join(case.words),
        "userId": None if case.scope == PROJECT else case.scope,
        "filter": FILTERS[case.filter] or None,
    }
    body = json.dumps({"query": QUERY, "variables": variables})
    connection.request("POST", "/graphql", body, {"content-type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    if "errors" in answer:
        raise SystemExit(f"{case} is refused: {answer['errors']}")
    return len(answer["data"]["search"]["edges"])


if __name__ == "__main__":
    raise SystemExit(main())
