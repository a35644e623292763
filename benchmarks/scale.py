"""Measures properties outside the four workloads: `python -m benchmarks.scale`; see README.md.

These are the cost of a page in a small and a large file, memory over time, first answers, and durable mutations per
second.
"""

import argparse
import http.client
import json
import os
import platform
import random
import shlex
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.compare import IMPORT
from benchmarks.dataset import LONG, lines, long_session, write_lines
from benchmarks.process import CLIENT_CORE, ROOT, Server
from benchmarks.run import KIT, SERVE
from benchmarks.workloads import DOCUMENTS, bodies

CORES = os.sched_getaffinity(0)
FILES = ROOT / "build" / "scale"
SIZES = (LONG, 10 * LONG)
PAGE = 20
PAGES = 2000
"""Requests of one measurement of a page."""
REQUESTS, DISTINCT = 100_000, 5_000
STARTS, NEW_DOCUMENTS = 15, 300
WRITERS = 32
KIT_PEERS = "mercurius+jit,mercurius+jit-plain,yoga+jit,raw-sqlite-js"
NO_GRAPHQL = "raw-sqlite-js"
NEVER = 3600.0

MESSAGES = """query Messages($first: Int, $after: String, $last: Int, $before: String) {
    session(sessionId: "long") { messages(first: $first, after: $after, last: $last, before: $before) {
        edges { cursor node { id sequence role content createdAt } } pageInfo { hasNextPage endCursor }
    } }
}"""

Body = dict[str, Any]


def main() -> int:
    options = arguments()
    os.sched_setaffinity(0, {CLIENT_CORE})
    FILES.mkdir(parents=True, exist_ok=True)
    print_heading()
    with tempfile.TemporaryDirectory(prefix="recallql-scale-") as folder:
        for part in options.parts:
            PARTS[part](options, Path(folder))
            sys.stdout.flush()
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Pages of a long session, memory, first answers, durable mutations.")
    parser.add_argument("--recallql", default=SERVE, metavar="CMD", help="starts it, with {port} and {database_url}")
    parser.add_argument("--import", dest="importer", default=IMPORT, metavar="CMD", help="fills its databases")
    parser.add_argument("-p", "--parts", type=lambda text: text.split(","), default=list(PARTS), help=",".join(PARTS))
    parser.add_argument("-r", "--rounds", type=int, default=7, help="of pages, and of durable mutations")
    parser.add_argument("-d", "--seconds", type=float, default=3, help="of durable mutations for each server a round")
    parser.add_argument("--reuse", action="store_true", help="keep the databases that were filled last time")
    options = parser.parse_args()
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"{','.join(unknown)} is not known here; choose of {','.join(PARTS)}")
    return options


def print_heading() -> None:
    git = ["git", "describe", "--always", "--dirty", "--abbrev=7"]
    commit = subprocess.run(git, cwd=ROOT, check=False, capture_output=True, text=True).stdout.strip()
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, commit {commit or 'unknown'}, {platform.machine()}, {len(CORES)} cores, "
        f"load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}",
        flush=True,
    )


def filled(name: str, objects: Iterable[Body], options: argparse.Namespace) -> Path:
    """Creates a database file and imports these lines into it."""
    database, file = FILES / f"{name}.db", FILES / f"{name}.ndjson"
    if options.reuse and database.exists():
        return database
    for old in FILES.glob(f"{name}.*"):
        old.unlink()
    write_lines(file, objects)
    command = options.importer.format(database_url=f"sqlite:///{database}", file=file)
    subprocess.run(shlex.split(command), cwd=ROOT, check=True, stdout=sys.stderr)
    file.unlink()
    return database


def started(name: str, database: Path, options: argparse.Namespace, folder: Path) -> Server:
    return Server(name, options.recallql, database, folder, synchronous="FULL")


def written(requests: Iterable[Body], file: Path) -> Path:
    file.write_text("".join(json.dumps(request) + "\n" for request in requests))
    return file


def pages(options: argparse.Namespace, folder: Path) -> None:
    """The CPU time of a page of the long session, with nothing else in the file and with nine times as much."""
    servers = [
        started(f"{size}", filled(f"long-{size}", long_session(size), options), options, folder) for size in SIZES
    ]
    try:
        requests = [places(server) for server in servers]
        costs: dict[str, list[list[float]]] = {place: [] for place in requests[0]}
        for turn in range(options.rounds + 1):
            for place in costs:
                cost = [0.0] * len(servers)
                for each in range(len(servers)) if turn % 2 else reversed(range(len(servers))):
                    file = written(requests[each][place], folder / "pages")
                    cost[each] = cost_of(servers[each], file)
                if turn:  # the first one only warms up
                    costs[place].append(cost)
    finally:
        for server in servers:
            server.stop()
    small, large = (f"{size:,} messages" for size in SIZES)
    print(f"\n### A page of {PAGE}, of a session of {LONG:,} messages: CPU µs, median (least)\n")
    print(f"| Page | {small} in the file | {large} | Ratio (range) |\n|---|---|---|---|")
    for place, rounds in costs.items():
        here = " | ".join(f"{median(of):.0f} ({min(of):.0f})" for of in zip(*rounds, strict=True))
        ratios = [large / small for small, large in rounds]
        print(f"| {place} | {here} | {median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f}) |")


def cost_of(server: Server, requests: Path) -> float:
    tally = server.load(requests, 4, NEVER, most=PAGES)
    if tally["faults"]:
        raise SystemExit(f"{server.name} answered {tally['faults']} pages with a fault, as in {tally['fault']}")
    return tally["cpu_us"]


def places(server: Server) -> dict[str, list[Body]]:
    """Requests for pages at either end, in the middle and all over; the messages of each were verified."""
    cursors: list[str] = []
    while len(cursors) < LONG:
        page = messages(server, {"first": 100, "after": cursors[-1] if cursors else None})
        cursors += [edge["cursor"] for edge in page["edges"]]
    chance = random.Random(1)

    def after(read: int) -> dict[str, Any]:
        return {"first": PAGE, **({"after": cursors[read - 1]} if read else {})}

    def before(first: int) -> dict[str, Any]:
        return {"last": PAGE, **({"before": cursors[first - 1]} if first <= LONG else {})}

    middle, anywhere = LONG // 2, [chance.randrange(LONG - PAGE) for _ in range(500)]
    # Each with the first sequence of its page.
    found = {
        "first, forwards": [(after(0), 1)],
        "middle, forwards": [(after(middle), middle + 1)],
        "last, forwards": [(after(LONG - PAGE), LONG - PAGE + 1)],
        "first, backwards": [(before(PAGE + 1), 1)],
        "middle, backwards": [(before(middle + PAGE + 1), middle + 1)],
        "last, backwards (`last: 20`)": [(before(LONG + 1), LONG - PAGE + 1)],
        "anywhere, forwards": [(after(read), read + 1) for read in anywhere],
    }
    for wanted, start in (request for of_place in found.values() for request in of_place):
        sequences = [edge["node"]["sequence"] for edge in messages(server, wanted)["edges"]]
        if sequences != list(range(start, start + PAGE)):
            raise SystemExit(f"{server.name} gave the messages {sequences} for the page that starts at {start}")
    return {place: [message_page(wanted) for wanted, _ in of_place] for place, of_place in found.items()}


def message_page(variables: dict[str, Any]) -> Body:
    return {"query": MESSAGES, "operationName": "Messages", "variables": variables}


def messages(server: Server, variables: dict[str, Any]) -> Any:
    return server.ask(message_page(variables))["session"]["messages"]


def memory(options: argparse.Namespace, folder: Path) -> None:
    """The memory of the process over many requests: one user, a user's tree, an append, in turn; then new documents."""
    server = started("memory", filled("standard", lines(), options), options, folder)
    mixed = [
        request for three in zip(*(bodies(each, []) for each in ("W1", "W2", "W4")), strict=True) for request in three
    ]
    file = written(mixed, folder / "mixed")
    try:
        print(
            f"\n### Memory: RSS after so many requests (W1, W2 and W4 in turn, {REQUESTS:,} of them; then documents)\n"
        )
        print("| Requests | MiB |\n|---|---|")
        print(f"| at start | {server.memory():.1f} |")
        sent = 0
        held: dict[int, float] = {}
        for until in (1_000, *range(10_000, REQUESTS + 1, 10_000)):
            tally = server.load(file, 16, NEVER, most=until - sent)
            if tally["faults"]:
                raise SystemExit(f"{tally['faults']} requests were answered with a fault, as in {tally['fault']}")
            sent, held[until] = until, server.memory()
            print(f"| {until:,} | {held[until]:.1f} |", flush=True)
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        for number in range(1, DISTINCT + 1):
            answer(connection, new_document(number))
            if number % 1000 == 0:
                print(f"| and {number:,} distinct documents | {server.memory():.1f} |", flush=True)
    finally:
        server.stop()
    print(f"\nGrowth from 10,000 to {REQUESTS:,} requests: {held[REQUESTS] - held[10_000]:+.1f} MiB.")


def first(options: argparse.Namespace, folder: Path) -> None:
    """Measures the first request after a start, and documents that are new to the server; W2 each time."""
    database = filled("standard", lines(), options)
    known = bodies("W2", [])
    firsts = []
    for _ in range(STARTS):
        server = started("first", database, options, folder)
        try:
            while not is_ready(server):
                time.sleep(0.01)
            firsts.append(timed(server, [known[0]]))
        finally:
            server.stop()
    server = started("warm", database, options, folder)
    try:
        timed(server, known)
        again = timed(server, known[:NEW_DOCUMENTS])
        new = timed(server, [new_document(number) for number in range(NEW_DOCUMENTS)])
    finally:
        server.stop()
    print("\n### First answers, W2: medians (least)\n")
    print("| What | Times | ms | CPU ms of the server | Goal, ms |\n|---|---|---|---|---|")
    for what, times, goal in (
        ("The first request after `/ready`", [each for of_start in firsts for each in of_start], "50"),
        ("A new document, warm server", new, "10"),
        ("A known document, warm server", again, ""),
    ):
        shown = " | ".join(f"{median(of):.1f} ({min(of):.1f})" for of in zip(*times, strict=True))
        print(f"| {what} | {len(times)} | {shown} | {goal} |")


def new_document(number: int) -> Body:
    """W2 with another name in it: a different document for the server, with the same work."""
    request = bodies("W2", [])[number % 500]
    return {**request, "query": DOCUMENTS["W2"].replace("user(", f"user{number}: user(")}


def is_ready(server: Server) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", "/ready")
    response = connection.getresponse()
    connection.close()
    return response.status == 200


def timed(server: Server, requests: list[Body]) -> list[tuple[float, float]]:
    """For each request the ms until its answer arrives, and the server's CPU ms for it."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.connect()
    times = []
    for request in requests:
        used, start = server.cpu_seconds(), time.perf_counter()
        answer(connection, request)
        end = time.perf_counter()
        times.append(((end - start) * 1000, (server.cpu_seconds() - used) * 1000))
    connection.close()
    return times


def answer(connection: http.client.HTTPConnection, request: Body) -> None:
    """Sends a request and returns its answer, which must have data and no errors."""
    connection.request("POST", "/graphql", json.dumps(request), {"content-type": "application/json"})
    said = connection.getresponse().read()
    if not said.startswith(b'{"data":{"user') or b'"errors":' in said:
        raise SystemExit(f"no answer: {said[:500]!r}")


def durable(options: argparse.Namespace, folder: Path) -> None:
    """Mutations per second with 32 connections, each durable when it is acknowledged."""
    speeds = beside_peers(options, folder) if KIT.exists() else {"recallql": alone(options, folder)}
    print(f"\n### Durable `addMessages` with 2 messages, {WRITERS} connections: medians (most)\n")
    print(f"A flush of this disk alone takes {flush(folder):.2f} ms.\n")
    print("| Server | Mutations/s | RecallQL / it (range) |\n|---|---|---|")
    own = speeds["recallql"]
    for name, of_server in sorted(speeds.items(), key=lambda item: -median(item[1])):
        ratios = [mine / its for mine, its in zip(own, of_server, strict=True)]
        shown = f"{median(ratios):.1f} ({min(ratios):.1f}–{max(ratios):.1f})" if name != "recallql" else ""
        what = f"{name} (no GraphQL)" if name == NO_GRAPHQL else name
        print(f"| {what} | {median(of_server):,.0f} ({max(of_server):,.0f}) | {shown} |")


def beside_peers(options: argparse.Namespace, folder: Path) -> dict[str, list[float]]:
    """Measures with the kit's own program, which has fewer connections by default."""
    program = f"import bench, sys; bench.CONNS['W4'] = {WRITERS}; sys.exit(bench.main())"
    figures = folder / "durable.json"
    further = f"-t {KIT_PEERS} -w W4 --durable -r {options.rounds} -d {options.seconds} -o {figures}"
    subprocess.run(
        [sys.executable, "-B", "-c", program, "--recallql", options.recallql, *further.split()],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(KIT.parent)},
        check=True,
        stdout=sys.stderr,
        preexec_fn=lambda: os.sched_setaffinity(0, CORES),
    )
    speeds: dict[str, list[float]] = {}
    for measured in json.loads(figures.read_text()):
        speeds.setdefault(measured["target"], []).append(measured["rps"])
    return speeds


def alone(options: argparse.Namespace, folder: Path) -> list[float]:
    server = started("durable", filled("standard", lines(), options), options, folder)
    file = written(bodies("W4", []), folder / "appends")
    try:
        server.load(file, WRITERS, 1)
        return [server.load(file, WRITERS, options.seconds)["per_second"] for _ in range(options.rounds)]
    finally:
        server.stop()


def flush(folder: Path) -> float:
    """The ms for a write and flush of 4 KiB."""
    took = []
    with (folder / "flushed").open("wb", buffering=0) as file:
        for _ in range(200):
            file.write(bytes(4096))
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - start) * 1000)
    return median(took)


PARTS = {"pages": pages, "memory": memory, "first": first, "durable": durable}


if __name__ == "__main__":
    sys.exit(main())
