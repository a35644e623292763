"""Measures `recall` through `/mcp` beside the query that it runs: `python -m benchmarks.mcp`; see README.md."""

import argparse
import http.client
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.process import Server
from models.sqlite.migrate import migrate
from recallql.mcp.documents import ADD_MESSAGES, RECALL

SERVE = f"{sys.executable} -m recallql serve --port {{port}} --database-url {{database_url}}"
CREATE = 'mutation { createUser(input: { userId: "ada" }) { userErrors { code } } }'
ARGUMENTS = {"query": "Where is the garden in Turin?", "user_id": "ada"}
HANDSHAKE, MODERN = "2025-11-25", "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "benchmark", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def main() -> None:
    parser = argparse.ArgumentParser(description="What `recall` through /mcp costs beside its query.")
    parser.add_argument("-r", "--rounds", type=int, default=5, help="rounds, in which the ways take turns")
    parser.add_argument("-n", "--requests", type=int, default=400, help="requests of a way in a round")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        migrate(Path(folder) / "empty.db")
        server = Server("recallql", SERVE, Path(folder) / "empty.db", Path(folder))
        try:
            fill(server)
            measure(server, chosen.rounds, chosen.requests)
        finally:
            server.stop()


def fill(server: Server) -> None:
    """Stores 20 sessions of 20 messages."""
    server.ask({"query": CREATE, "operationName": None})
    for session in range(20):
        messages = [
            {"role": "USER", "content": f"On day {session * 20 + n} I sat in a garden in Turin, and read chapter {n}."}
            for n in range(20)
        ]
        given = {"sessionId": f"session-{session}", "userId": "ada", "messages": messages}
        server.ask({"query": ADD_MESSAGES, "variables": {"input": given}, "operationName": None})


def ways() -> dict[str, tuple[str, bytes, dict[str, str]]]:
    """The ways to ask: path, body and headers of each."""
    variables = {"query": ARGUMENTS["query"], "userId": ARGUMENTS["user_id"], "sessionId": None, "first": 10}
    query = {"query": RECALL, "variables": variables}
    params = {"name": "recall", "arguments": ARGUMENTS}
    call: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    routed = {"mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": "recall"}
    return {
        "the query, at /graphql": ("/graphql", json.dumps(query).encode(), headers),
        f"recall, revision {HANDSHAKE}": (
            "/mcp",
            json.dumps(call | {"params": params}).encode(),
            headers | {"mcp-protocol-version": HANDSHAKE},
        ),
        f"recall, revision {MODERN}": (
            "/mcp",
            json.dumps(call | {"params": params | {"_meta": META}}).encode(),
            headers | routed,
        ),
    }


def measure(server: Server, rounds: int, requests: int) -> None:
    """Prints latency and CPU of each way; they take turns, so that a busy moment of the machine meets all."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    waits: dict[str, list[float]] = {name: [] for name in ways()}
    costs: dict[str, list[float]] = {name: [] for name in ways()}
    before = server.memory()
    for turn in range(rounds + 1):
        for name, (path, body, headers) in ways().items():
            started = server.cpu_seconds()
            for _ in range(requests):
                begun = time.perf_counter()
                connection.request("POST", path, body, headers)
                response = connection.getresponse()
                answer = response.read()
                # The first round warms up: it loads the SDK, and the plan of the document.
                if turn:
                    waits[name].append(time.perf_counter() - begun)
                if response.status != 200 or b"garden" not in answer or b'"isError":true' in answer:
                    raise SystemExit(f"{name}: {answer[:500]!r}")
            if turn:
                costs[name].append((server.cpu_seconds() - started) / requests)
    print(f"{'':28}{'p50, ms':>10}{'p99, ms':>10}{'CPU, ms':>10}")
    for name, took in waits.items():
        p99 = quantiles(took, n=100)[98]
        print(f"{name:28}{median(took) * 1e3:10.2f}{p99 * 1e3:10.2f}{median(costs[name]) * 1e3:10.2f}")
    print(f"memory: {before:.0f} MiB before the first request to /mcp, {server.memory():.0f} MiB after the last")


if __name__ == "__main__":
    main()
