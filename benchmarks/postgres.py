"""Measures a nested page on PostgreSQL: `python -m benchmarks.postgres`; see README.md.

`page` has RecallQL beside a server that was written by hand for this page, and `size` a database with many messages
beside one with few.
"""

import argparse
import asyncio
import random
import shlex
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg

from benchmarks.compare import IMPORT, UVICORN, Tallies, agree
from benchmarks.dataset import MESSAGES, SEED, SESSIONS, WORDS, user_id, users_and_sessions, write_lines
from benchmarks.process import ROOT, Server, cpu_seconds
from benchmarks.run import SERVE
from benchmarks.scale import NEVER, Body, print_heading, written
from benchmarks.workloads import body
from models.keys import NONCE_BITS
from models.store import database_at
from tests.clusters import Cluster
from tests.postgres import NoPostgres, programs

CONNECTIONS = (1, 8)
REQUESTS = 1000
"""Requests of one measurement, for users at random."""
FIGURES = ("p50_ms", "cpu_us", "database_us", "together_us")

Asked = tuple[Server, list[Body]]
"""A server, and the requests that it gets."""

# Those that docs/postgresql.md recommends.
SETTINGS = (
    "shared_buffers=4GB",
    "effective_cache_size=12GB",
    "work_mem=16MB",
    "maintenance_work_mem=512MB",
    "random_page_cost=1.1",
    "max_wal_size=4GB",
    # The tables are vacuumed when they are filled, and change no more.
    "autovacuum=off",
)

# Two messages of each session, as an append brings them, between those of all others. Each text is a piece of $2, at a
# place that differs from message to message. No text waits to be indexed.
APPEND = f"""
INSERT INTO messages (
    session_key, sequence, generation, role, content, metadata, token_count, forms_memories,
    created_at, updated_at, version, terms
)
SELECT key, sequence, nonce << {NONCE_BITS}, CASE sequence % 2 WHEN 1 THEN 'USER' ELSE 'ASSISTANT' END,
    substr($2, 1 + abs(hashtext(session_id) % 3000) + sequence * 40, 200), '{{}}', 48, 1, time, time, 1, '{{}}'
FROM sessions, LATERAL (
    SELECT sequence, created_at + sequence * interval '1 minute' FROM generate_series($1, $1 + 1) sequence OFFSET 0
) _ (sequence, time)
"""

COUNT = f"UPDATE sessions SET last_sequence = {MESSAGES}, last_activity_at = created_at + interval '{MESSAGES} minutes'"


def main() -> int:
    options = arguments()
    print_heading()
    try:
        programs()
    except NoPostgres as reason:
        raise SystemExit(str(reason)) from None
    with running(options) as cluster, TemporaryDirectory(prefix="recallql-pages-") as folder:
        print(cluster.sql("SELECT version()")[0][0].partition(",")[0])
        for part in options.parts:
            PARTS[part](options, cluster, Path(folder))
            sys.stdout.flush()
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The page of W2 on PostgreSQL.")
    parser.add_argument("--recallql", default=SERVE, metavar="CMD", help="starts it, with {port} and {database_url}")
    parser.add_argument("--import", dest="importer", default=IMPORT, metavar="CMD", help="fills its databases")
    parser.add_argument("-p", "--parts", type=lambda text: text.split(","), default=list(PARTS), help=",".join(PARTS))
    parser.add_argument("-r", "--rounds", type=int, default=7)
    parser.add_argument("--messages", type=int, nargs=2, default=(100_000, 10_000_000), help="multiples of 500")
    parser.add_argument("--keep", action="store_true", help="keep the folder of PostgreSQL and say where it is")
    parser.add_argument("--reuse", type=Path, metavar="FOLDER", help="one that was kept; it is kept again")
    options = parser.parse_args()
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"{','.join(unknown)} is not known here; choose of {','.join(PARTS)}")
    return options


@contextmanager
def running(options: argparse.Namespace) -> Generator[Cluster]:
    """A PostgreSQL server of its own, with its data in a folder for temporary files."""
    if options.reuse:
        cluster = Cluster(options.reuse)
        cluster.configure()
    else:
        cluster = Cluster.create()
        cluster.stop()
        cluster.configure(*SETTINGS)
    try:
        cluster.start()
        yield cluster
    finally:
        if options.keep or options.reuse:
            cluster.stop()
            print(f"Kept: {cluster.folder}", file=sys.stderr)
        else:
            cluster.close()


def filled(cluster: Cluster, messages: int, options: argparse.Namespace, folder: Path) -> str:
    """The URL of a database with so many messages, all but their search terms and vectors as the server writes them."""
    name = name_of(messages)
    url = cluster.url(name)
    if cluster.sql(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
        return url
    cluster.sql(f"CREATE DATABASE {name}")
    file = folder / f"{name}.ndjson"
    write_lines(file, users_and_sessions(users_of(messages), random.Random(SEED)))
    command = options.importer.format(database_url=url, file=file)
    subprocess.run(shlex.split(command), cwd=ROOT, check=True, stdout=sys.stderr)
    with database_at(url).filling() as filling:
        filling.begin()
        asyncio.run(execute(url, *((APPEND, sequence, text()) for sequence in range(1, MESSAGES, 2)), (COUNT,)))
        filling.complete()
    asyncio.run(execute(url, ("VACUUM ANALYZE",), ("CHECKPOINT",)))
    return url


def name_of(messages: int) -> str:
    return f"messages_{messages}"


def disk(cluster: Cluster, messages: int) -> str:
    return cluster.sql(f"SELECT pg_size_pretty(pg_database_size('{name_of(messages)}'))")[0][0]


def users_of(messages: int) -> int:
    return messages // (SESSIONS * MESSAGES)


def text() -> str:
    return " ".join(random.Random(SEED).choices(WORDS, k=1000))


async def execute(url: str, *statements: tuple[Any, ...]) -> None:
    # As a replica does: keys are not looked up in other tables.
    connection = await asyncpg.connect(url, server_settings={"session_replication_role": "replica"})
    for statement, *values in statements:
        await connection.execute(statement, *values)
    await connection.close()


def page(options: argparse.Namespace, cluster: Cluster, folder: Path) -> None:
    """RecallQL beside the server written by hand, on the smaller database."""
    messages = min(options.messages)
    url = filled(cluster, messages, options, folder)
    by_hand = f"{shlex.quote(sys.executable)} {UVICORN} benchmarks.servers.handwritten:app"
    requests = requests_for(messages)
    with ExitStack() as stack:
        servers = [
            started(stack, name, command, url, folder)
            for name, command in (("handwritten", by_hand), ("recallql", options.recallql))
        ]
        if not agree(servers, "W2", [requests, requests]):
            raise SystemExit("The answers differ.")
        title = f"W2 beside a server written by hand, {messages:,} messages"
        compare(title, [(server, requests) for server in servers], cluster, options)


def size(options: argparse.Namespace, cluster: Cluster, folder: Path) -> None:
    """RecallQL on the smaller and on the larger database."""
    urls = {messages: filled(cluster, messages, options, folder) for messages in sorted(options.messages)}
    with ExitStack() as stack:
        pair: list[Asked] = []
        for messages, url in urls.items():
            name = f"{messages:,} messages, {disk(cluster, messages)}"
            pair.append((started(stack, name, options.recallql, url, folder), requests_for(messages)))
        compare("W2 by the size of the database", pair, cluster, options)


def started(stack: ExitStack, name: str, command: str, url: str, folder: Path) -> Server:
    server = Server(name, command, url, folder)
    stack.callback(server.stop)
    return server


def compare(title: str, pair: list[Asked], cluster: Cluster, options: argparse.Namespace) -> None:
    """Measures two servers by turns, and prints a table."""
    for server, requests in pair:
        refuse_short(server, requests)
    print(f"\n### {title}\n")
    print("| Open at once | | p50 ms | CPU µs: server | PostgreSQL | together |\n|---|---|---|---|---|---|")
    for connections in CONNECTIONS:
        print_rows(connections, measured(pair, connections, cluster, options))


def requests_for(messages: int) -> list[Body]:
    chance = random.Random(SEED)
    return [body("W2", {"id": user_id(chance.randint(1, users_of(messages)))}) for _ in range(REQUESTS)]


def refuse_short(server: Server, requests: list[Body]) -> None:
    """Ends the program if an answer lacks messages."""
    for request in requests[:100]:
        sessions = server.ask(request)["user"]["sessions"]["edges"]
        found = [len(session["node"]["messages"]["edges"]) for session in sessions]
        if found != [20] * SESSIONS:
            raise SystemExit(f"{server.name} answers with {found} messages to {request['variables']}")


def measured(pair: list[Asked], connections: int, cluster: Cluster, options: argparse.Namespace) -> Tallies:
    tallies: Tallies = {server.name: [] for server, _ in pair}
    with TemporaryDirectory() as folder:
        for turn in range(options.rounds + 1):
            for server, requests in pair if turn % 2 else reversed(pair):
                tally = tally_of(server, written(requests, Path(folder) / "requests"), connections, cluster)
                if turn:  # the first one only warms up
                    tallies[server.name].append(tally)
    return tallies


def tally_of(server: Server, requests: Path, connections: int, cluster: Cluster) -> dict[str, Any]:
    """The client's tally, with the CPU of PostgreSQL."""
    before = cpu_seconds(cluster.pid)
    tally = server.load(requests, connections, NEVER, most=REQUESTS)
    if tally["faults"]:
        raise SystemExit(f"{server.name} answered {tally['faults']} pages with a fault, as in {tally['fault']}")
    database = (cpu_seconds(cluster.pid) - before) / tally["answers"] * 1e6
    return {**tally, "database_us": database, "together_us": database + tally["cpu_us"]}


def print_rows(connections: int, tallies: Tallies) -> None:
    """The two servers, and the ratio of the second to the first: the median of the rounds, with its range."""

    def row(*cells: str) -> None:
        print(f"| {' | '.join(cells)} |", flush=True)

    for name, rounds in tallies.items():
        p50, *cpu = (median(tally[key] for tally in rounds) for key in FIGURES)
        row(str(connections), name, f"{p50:.2f}", *(f"{each:,.0f}" for each in cpu))
    first, second = tallies.values()
    row(
        str(connections),
        "**ratio** (range)",
        *(ratio([each[key] for each in first], [each[key] for each in second]) for key in FIGURES),
    )


def ratio(first: list[float], second: list[float]) -> str:
    ratios = [its / base for base, its in zip(first, second, strict=True)]
    return f"**{median(ratios):.2f}** ({min(ratios):.2f}–{max(ratios):.2f})"


PARTS = {"page": page, "size": size}


if __name__ == "__main__":
    sys.exit(main())
