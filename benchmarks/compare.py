"""Compares RecallQL with other Python servers over HTTP: `python -m benchmarks.compare`; see README.md.

Answers are compared first. Then each server is loaded once a round, in rotating order.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.dataset import lines as all_lines
from benchmarks.dataset import write_lines, write_peers
from benchmarks.process import ROOT, Server
from benchmarks.run import SERVE
from benchmarks.workloads import CONNECTIONS, all_cursors, bodies, content

FILES = ROOT / "build" / "bench"
IMPORT = ".venv/bin/recallql import --database-url {database_url} {file}"
UVICORN = "-m uvicorn --port {port} --loop uvloop --http httptools --log-level warning --no-access-log"
PEERS = {
    "floor": "sqlite3, dicts and orjson by hand, no GraphQL",
    "loaders": "Strawberry with DataLoaders, one SQL a level",
    "naive": "Strawberry as documented, a query for each parent",
}
CHECKED = 5
"""Requests of each workload whose answers are compared."""

Tallies = dict[str, list[dict[str, Any]]]


def main() -> int:
    options = arguments()
    peers_file, recallql_file = databases(options)
    synchronous = "FULL" if options.durable else "NORMAL"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="recallql-bench-")))
        python = shlex.quote(sys.executable)
        commands = {name: f"{python} {UVICORN} benchmarks.servers.{name}:app" for name in options.targets}
        servers: list[Server] = []
        for name, command in {"recallql": options.recallql, **commands}.items():
            database = recallql_file if name == "recallql" else peers_file
            servers.append(Server(name, command, database, folder, synchronous=synchronous))
            stack.callback(servers[-1].stop)
        cursors = {server.name: all_cursors(server.ask) for server in servers}
        differing = [
            workload
            for workload in options.workloads
            if not agree(servers, workload, [bodies(workload, cursors[server.name]) for server in servers])
        ]
        same = not differing
        print("The answers agree." if same else "The answers differ: the figures below do not count.", flush=True)
        if options.check:
            return 0 if same else 1
        for workload in options.workloads:
            tallies = measure(servers, workload, cursors, folder, options)
            same = same and not any(tally["faults"] for rounds in tallies.values() for tally in rounds)
            print_table(workload, tallies)
    return 0 if same else 1


def arguments() -> argparse.Namespace:
    def names(text: str) -> list[str]:
        return text.split(",")

    parser = argparse.ArgumentParser(description="RecallQL beside other ways to write such a server in Python.")
    parser.add_argument("--recallql", default=SERVE, metavar="CMD", help="starts it, with {port} and {database_url}")
    parser.add_argument("--import", dest="importer", default=IMPORT, metavar="CMD", help="fills its database")
    parser.add_argument("-t", "--targets", type=names, default=list(PEERS), help=f"of {','.join(PEERS)}")
    parser.add_argument("-w", "--workloads", type=names, default=list(CONNECTIONS), help=f"of {','.join(CONNECTIONS)}")
    parser.add_argument("-r", "--rounds", type=int, default=5)
    parser.add_argument("-d", "--seconds", type=float, default=3, help="of load for each server in each round")
    parser.add_argument("--durable", action="store_true", help="the others write with synchronous = FULL")
    parser.add_argument("--check", action="store_true", help="only compare the answers")
    parser.add_argument("--reuse", action="store_true", help="keep the databases that were filled last time")
    options = parser.parse_args()
    for given, known in ((options.targets, PEERS), (options.workloads, CONNECTIONS)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"{','.join(unknown)} is not known here; choose of {','.join(known)}")
    return options


def databases(options: argparse.Namespace) -> tuple[Path, Path]:
    """Creates the peers' file and RecallQL's, with the same data."""
    peers, recallql, lines = FILES / "peers.db", FILES / "recallql.db", FILES / "data.ndjson"
    if options.reuse and peers.exists() and recallql.exists():
        return peers, recallql
    FILES.mkdir(parents=True, exist_ok=True)
    for old in FILES.iterdir():
        old.unlink()
    write_peers(peers)
    write_lines(lines, all_lines())
    command = options.importer.format(database_url=f"sqlite:///{recallql}", file=lines)
    subprocess.run(shlex.split(command), cwd=ROOT, check=True, stdout=sys.stderr)
    return peers, recallql


def agree(servers: list[Server], workload: str, requests: list[list[dict[str, Any]]]) -> bool:
    """True if all servers give the same answers to their first requests; prints both answers where one differs."""
    same = True
    for number in range(CHECKED):
        first, *others = [
            (server.name, content(server.ask(of_server[number]), times=workload != "W4"))
            for server, of_server in zip(servers, requests, strict=True)
        ]
        for name, said in others:
            if said != first[1]:
                same = False
                print(f"{workload}: {first[0]} says {str(first[1])[:800]}\nbut {name} says {str(said)[:800]}")
    return same


def measure(
    servers: list[Server],
    workload: str,
    cursors: dict[str, list[str]],
    folder: Path,
    options: argparse.Namespace,
) -> Tallies:
    files: dict[str, Path] = {}
    tallies: Tallies = {}
    for server in servers:
        files[server.name] = folder / f"{server.name}.{workload}"
        requests = bodies(workload, cursors[server.name])
        files[server.name].write_text("".join(json.dumps(request) + "\n" for request in requests))
        tallies[server.name] = []
        server.load(files[server.name], CONNECTIONS[workload], min(2.0, options.seconds))
    for turn in range(options.rounds):
        first = turn % len(servers)
        for server in servers[first:] + servers[:first]:
            tally = server.load(files[server.name], CONNECTIONS[workload], options.seconds)
            tallies[server.name].append(tally)
            print(f"{workload} {turn + 1} {server.name}: {tally['cpu_us']:.0f} µs", file=sys.stderr, flush=True)
            if tally["faults"]:
                print(f"{server.name} answered {tally['faults']} with a fault, as in {tally['fault']}", flush=True)
    return tallies


def print_table(workload: str, tallies: Tallies) -> None:
    """Medians over the rounds; a ratio is the median of the ratios within each round."""
    own = [tally["cpu_us"] for tally in tallies["recallql"]]
    print(
        f"\n### {workload}\n"
        "\n| Server | CPU µs an answer (least) | Answers/s | p50 ms | p99 ms | RecallQL / it (range) |"
    )
    print("|---|---|---|---|---|---|")
    for name, rounds in sorted(tallies.items(), key=lambda item: median(tally["cpu_us"] for tally in item[1])):
        cpu = [tally["cpu_us"] for tally in rounds]
        speed, p50, p99 = (median(tally[key] for tally in rounds) for key in ("per_second", "p50_ms", "p99_ms"))
        ratios = [mine / its for mine, its in zip(own, cpu, strict=True) if its]
        shown = f"{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})" if name != "recallql" and ratios else ""
        what = f"{name}: {PEERS[name]}" if name in PEERS else "**recallql**"
        print(f"| {what} | {median(cpu):.0f} ({min(cpu):.0f}) | {speed:.0f} | {p50:.2f} | {p99:.2f} | {shown} |")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
