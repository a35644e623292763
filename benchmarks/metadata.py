"""Measures filters by metadata, and what their index costs: `python -m benchmarks.metadata`; see README.md.

Fills a file with users, written by SQL. Each has a `db_uuid` of its own, a `team` with 20 users, an `age` that an 80th
of them has, and one of three plans.
"""

import argparse
import asyncio
import http.client
import json
import os
import random
import re
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.process import ROOT, Server
from models.containment import containment
from models.keys import user_key
from models.keyset import Slice, fetch_counts, fetch_pages
from models.scope import Scope
from models.sqlite.database import connect
from models.sqlite.forms import form_of
from models.sqlite.migrate import migrate
from models.statements import Statement
from models.users import USERS
from models.values import json_of

FILES = ROOT / "build" / "metadata"
SERVE = f"{sys.executable} -m recallql serve --port {{port}} --database-url {{database_url}}"
TEAM = 20
PLANS = ("free", "pro", "enterprise")

LIST = """query List($filter: UserFilter) {
  users(first: 20, filter: $filter) { nodes { userId name } pageInfo { hasNextPage } } }"""
COUNT = "query List($filter: UserFilter) { users(first: 20, filter: $filter) { totalCount nodes { userId } } }"

SCANNED = 20_200
"""Users of the file in which rows are compared one by one."""

WRITES = {
    "createUser": "mutation W($input: CreateUserInput!) { r: createUser(input: $input) { userErrors { code } } }",
    "updateUser": "mutation W($input: UpdateUserInput!) { r: updateUser(input: $input) { userErrors { code } } }",
    "createSession": (
        "mutation W($input: CreateSessionInput!) { r: createSession(input: $input) { userErrors { code } } }"
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Filters by metadata, and what their index costs.")
    parser.add_argument("-s", "--size", type=int, default=1_000_000, help="users of the large file")
    parser.add_argument("-n", "--requests", type=int, default=200, help="of each list")
    parser.add_argument("-w", "--writes", type=int, default=2_000, help="of each mutation and round")
    parser.add_argument("-r", "--rounds", type=int, default=7, help="of writes, and of scans")
    parser.add_argument("--reuse", action="store_true", help="keep the large file that was filled last time")
    options = parser.parse_args()
    os.environ["RECALLQL_EMBEDDINGS"] = "off"
    path = FILES / f"{options.size}.db"
    if not (options.reuse and path.exists()):
        fill(path, options.size)
    print_size(path, options.size)
    print_lists(path, options.size, options.requests)
    print_scans(options.rounds)
    print_writes(options.writes, options.rounds)
    return 0


def metadata_of(number: int, size: int) -> dict[str, Any]:
    plan = PLANS[number % len(PLANS)]
    return {"db_uuid": uuid_of(number), "team": f"team-{number % -(-size // TEAM)}", "age": number % 80, "plan": plan}


def uuid_of(number: int) -> str:
    return f"{random.Random(number).getrandbits(128):032x}"


def fill(path: Path, size: int) -> None:
    """Fills a new file, and reports how long the users took."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.glob(f"{path.name}*"):
        old.unlink()
    migrate(path)
    started = time.process_time()
    with closing(connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -262144")
        for start in range(0, size, 50_000):
            rows = [user_row(number, size) for number in range(start, min(start + 50_000, size))]
            names = ", ".join(rows[0])
            marks = ", ".join(f":{name}" for name in rows[0])
            connection.execute("BEGIN")
            connection.executemany(f"INSERT INTO users ({names}) VALUES ({marks})", rows)
            connection.execute("COMMIT")
    print(f"{size:,} users written with {time.process_time() - started:.0f} s of CPU")


def user_row(number: int, size: int) -> dict[str, Any]:
    day, rest = divmod(number, 86_400)
    at = f"2025-{1 + day // 28:02}-{1 + day % 28:02}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return {
        "key": user_key("default", f"user-{number}"),
        "project": "default",
        "user_id": f"user-{number}",
        "name": f"Ada {number}",
        "about": "",
        "metadata": json_of(metadata_of(number, size)),
        "created_at": at,
        "updated_at": at,
        "version": 1,
    }


def print_size(path: Path, size: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        pages = "SELECT sum(pgsize) FROM dbstat WHERE name = ?"
        (index,) = connection.execute(pages, ("metadata_leaves",)).fetchone()
        (table,) = connection.execute(pages, ("users",)).fetchone()
        (leaves,) = connection.execute("SELECT count(*) FROM metadata_leaves").fetchone()
    print(f"{index / leaves:.0f} bytes for a leaf, {index / size:.0f} for a user, whose row takes {table / size:.0f}\n")


def cases(size: int) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    """The filters: a name, the document, and the objects to look for."""
    some = [metadata_of(number, size) for number in random.Random(1).sample(range(size), 50)]
    yield "db_uuid, one user", LIST, [{"db_uuid": each["db_uuid"]} for each in some]
    yield "db_uuid and plan", LIST, [{"plan": each["plan"], "db_uuid": each["db_uuid"]} for each in some]
    yield "team, 20 users", LIST, [{"team": each["team"]} for each in some]
    yield "team, with totalCount", COUNT, [{"team": each["team"]} for each in some]
    yield "nobody", LIST, [{"db_uuid": uuid_of(-1 - number)} for number in range(50)]
    yield "age, an 80th of all", LIST, [{"age": each["age"]} for each in some]
    yield "plan, a third of all", LIST, [{"plan": each["plan"]} for each in some]
    yield "age and plan", LIST, [{"age": each["age"], "plan": each["plan"]} for each in some]
    yield "no scalar, nobody", LIST, [{"profile": {}}]


def print_lists(path: Path, size: int, requests: int) -> None:
    print("| Users by | p50, ms | p99, ms | CPU, ms |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="metadata-", dir=FILES) as folder:
        server = Server("lists", SERVE, f"sqlite:///{path}", Path(folder))
        try:
            # Its background tasks have begun.
            time.sleep(3)
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
            for name, document, filters in cases(size):
                count = requests if len(filters) > 1 else 5
                times, before = list[float](), 0.0
                for number in range(-10, count):
                    if number == 0:
                        times, before = [], server.cpu_seconds()
                    times.append(asked(connection, document, filters[number % len(filters)]))
                cuts = quantiles(times, n=100)
                cpu = 1000 * (server.cpu_seconds() - before) / count
                print(f"| {name} | {cuts[49]:.2f} | {cuts[98]:.1f} | {cpu:.2f} |", flush=True)
        finally:
            server.stop()
    print()


def asked(connection: http.client.HTTPConnection, document: str, metadata: dict[str, Any]) -> float:
    """The duration of a request in milliseconds."""
    body = json.dumps({"query": document, "variables": {"filter": {"metadata": metadata}}})
    started = time.perf_counter()
    connection.request("POST", "/graphql", body, {"content-type": "application/json"})
    answer = connection.getresponse().read()
    took = 1000 * (time.perf_counter() - started)
    if b'"errors"' in answer:
        raise SystemExit(f"{metadata} is refused: {answer[:500]!r}")
    return took


SCANS: dict[str, dict[str, Any]] = {
    "one scalar, nobody has it": {"city": "Oslo"},
    "one scalar, every user has the key": {"db_uuid": "0" * 32},
    "one number, every user has the key": {"age": 999},
    "two scalars, a third has one": {"plan": "pro", "age": 999},
    "one scalar, a third has it": {"plan": "pro"},
    "nested": {"profile": {"city": "Oslo"}},
    "a list": {"tags": ["a"]},
}


def print_scans(rounds: int) -> None:
    """The CPU time of statements that compare every row, beside those that read the metadata of the same rows."""
    path = FILES / "scanned.db"
    fill(path, SCANNED)
    scans = {name: statements_of(part) for name, part in SCANS.items()}
    compared = re.compile(r"CASE WHEN .* END = 1", re.DOTALL)

    def instead(condition: str) -> list[tuple[str, Any]]:
        return [(compared.sub(condition, text), values) for text, values in scans["a list"]]

    scans = {
        "a plain scan": instead("users.metadata = :metadata"),
        **scans,
        "the function alone": instead("json_contains(users.metadata, :metadata)"),
    }
    costs: dict[str, list[list[float]]] = {name: [] for name in scans}
    with closing(connect(path)) as connection:
        for _ in range(rounds + 1):
            for name, both in scans.items():
                costs[name].append([cost_of(connection, *each) for each in both])
    page, count = (median(one[which] for one in costs["a plain scan"][1:]) for which in (0, 1))
    print(f"| {SCANNED:,} users | a page, ms | ratio | their number, ms | ratio |")
    print("|---|---|---|---|---|")
    for name, all_costs in costs.items():
        own, number = (median(one[which] for one in all_costs[1:]) for which in (0, 1))
        print(f"| {name} | {own:.2f} | {own / page:.2f} | {number:.2f} | {number / count:.2f} |", flush=True)
    print()


def cost_of(connection: sqlite3.Connection, text: str, values: dict[str, Any]) -> float:
    """The CPU time of a statement in milliseconds."""
    started = time.process_time()
    for _ in range(5):
        connection.execute(text, values).fetchall()
    return 200 * (time.process_time() - started)


class Recorder:
    """A reader of an empty database, which keeps the statements."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []

    async def fetch(self, statement: Statement[Any], values: Mapping[str, Any], *, slowly: bool = False) -> list[Any]:
        form = form_of(statement)
        self.seen.append((form.text, form.bound(values)))
        return []


def statements_of(part: dict[str, Any]) -> list[tuple[str, Any]]:
    """The statements for the first page of all users with this metadata, and for their number, without the index."""
    name, values = containment(part)
    recorder: Any = Recorder()
    slice = Slice("created_at", descending=True, given=(name,), values=values, columns=("user_id", "name"))
    asyncio.run(fetch_pages(recorder, Scope(), USERS, slice))
    asyncio.run(fetch_counts(recorder, Scope(), USERS, slice))
    return recorder.seen


def print_writes(writes: int, rounds: int) -> None:
    """The CPU time of mutations with the index, and in a file without its triggers."""
    with tempfile.TemporaryDirectory(prefix="metadata-", dir=FILES) as name:
        folder = Path(name)
        without = FILES / "without.db"
        shutil.copyfile(FILES / "scanned.db", without)
        with closing(connect(without)) as connection:
            found = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE '%\\_leaves\\_%' ESCAPE '\\'"
            for (trigger,) in connection.execute(found).fetchall():
                connection.execute(f"DROP TRIGGER {trigger}")
        files = {"with": FILES / "scanned.db", "without": without}
        servers = {name: Server(name, SERVE, file, folder) for name, file in files.items()}
        try:
            costs = written(servers, folder, writes, rounds)
        finally:
            for server in servers.values():
                server.stop()
    print("| Mutation, four leaves | with the index, µs | without | ratio |")
    print("|---|---|---|---|")
    for mutation in WRITES:
        ratio = median(a / b for a, b in zip(costs["with", mutation], costs["without", mutation], strict=True))
        numbers = " | ".join(f"{median(costs[name, mutation]):.0f}" for name in files)
        print(f"| {mutation} | {numbers} | {ratio:.2f} |", flush=True)


def written(servers: dict[str, Server], folder: Path, writes: int, rounds: int) -> dict[tuple[str, str], list[float]]:
    costs: dict[tuple[str, str], list[float]] = {(name, mutation): [] for name in servers for mutation in WRITES}
    for turn in range(rounds):
        for mutation, document in WRITES.items():
            bodies = folder / f"{mutation}.ndjson"
            bodies.write_text("".join(body(mutation, document, turn * writes + n) for n in range(writes)))
            for name in list(servers) if turn % 2 else list(servers)[::-1]:
                tally = servers[name].load(bodies, 16, 600, most=writes)
                if tally["faults"]:
                    raise SystemExit(f"{name} refuses {mutation}: {tally}")
                costs[name, mutation].append(tally["cpu_us"])
    return costs


def body(mutation: str, document: str, number: int) -> str:
    """A line with a request. An update changes one of four leaves."""
    given: dict[str, Any] = {"metadata": metadata_of(10_000_000 + number, SCANNED)}
    if mutation == "createUser":
        given |= {"userId": f"new-{number}", "name": "Ada"}
    elif mutation == "updateUser":
        given = {"userId": f"user-{number % SCANNED}", "metadata": {"age": number}}
    else:
        given |= {"sessionId": f"session-{number}", "userId": f"user-{number % SCANNED}"}
    return json.dumps({"query": document, "variables": {"input": given}}) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
