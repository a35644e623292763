"""Measures many concurrent callers, some of them hostile: `python -m benchmarks.crowd`; see README.md.

It measures the effect of one user's worst requests on another user's, the server's memory meanwhile, and concurrent
erasures.
"""

import argparse
import asyncio
import http.client
import json
import multiprocessing
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.process import ROOT, START_SECONDS, free_port, resident
from benchmarks.scale import print_heading
from benchmarks.worst import ALICE, LARGE, MALLORY, MIB, WORST, fill, request, requests_of

KEY = "crowd-0123456789abcdef"
PROBE = b'{"query": "{ viewer { role } }"}'
EVERY = 0.02
"""Seconds between two requests of the user who should not be affected."""
P99, WORST_ANSWER, MEMORY = 100.0, 500.0, 512.0
"""The goals: milliseconds, milliseconds, and MiB."""
ERASED, ERASERS, PATIENCE = 256, 32, 5.0


class Crowded:
    """A server as `recallql serve` starts it, with a key and default settings, on both cores."""

    def __init__(self, folder: Path, name: str, **settings: str) -> None:
        self.port, self.database = free_port(), folder / f"{name}.db"
        self._log = folder / f"{name}.log"
        command = [sys.executable, "-m", "recallql", "serve", "--port", str(self.port)]
        command += ["--database-url", f"sqlite:///{self.database}"]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RECALLQL_")}
        given = {"RECALLQL_API_KEY": KEY, "RECALLQL_EMBEDDINGS": "off", **settings}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, env=inherited | given, stdout=log, stderr=log)
        end = time.monotonic() + START_SECONDS
        while not self.ready():
            if self._process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"the server did not start:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.05)

    def ready(self) -> dict[str, Any]:
        with suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            connection.request("GET", "/ready")
            response = connection.getresponse()
            answer = json.loads(response.read())
            connection.close()
            return answer if response.status == 200 else {}
        return {}

    def ask(self, query: str, variables: dict[str, Any]) -> Any:
        """The data of an answer to the application."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
        connection.request("POST", "/graphql", json.dumps({"query": query, "variables": variables}), headers)
        answer = json.loads(connection.getresponse().read())
        connection.close()
        if "errors" in answer:
            raise SystemExit(f"refused: {answer['errors']}")
        return answer["data"]

    def token(self, user: str) -> str:
        query = "mutation ($id: String!) { issueUserToken(input: {userId: $id}) { token userErrors { message } } }"
        return self.ask(query, {"id": user})["issueUserToken"]["token"]

    def memory(self) -> float:
        """MiB that the process holds (RSS)."""
        return resident(self._process.pid) / 1024

    def peak(self) -> float:
        """Peak of the MiB that it held since `forget_peak`."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def forget_peak(self) -> None:
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()


@contextmanager
def running(folder: Path, name: str, **settings: str) -> Generator[Crowded]:
    server = Crowded(folder, name, **settings)
    try:
        yield server
    finally:
        server.stop()


def attack(name: str, port: int, token: str, connections: int, seconds: float, tally: Any) -> None:
    """Sends the worst requests of one kind, one open on each connection, and reports statuses and times."""
    os.nice(10)  # the load must not take the measurement's core
    statuses: Counter[str] = Counter()
    times: list[float] = []
    requests = requests_of(name, token)
    end = time.monotonic() + seconds

    async def talk() -> None:
        while time.monotonic() < end:
            with suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=MIB)
                try:
                    while time.monotonic() < end:
                        start = time.monotonic()
                        writer.write(next(requests))
                        statuses[await answer_of(reader)] += 1
                        times.append(time.monotonic() - start)
                finally:
                    writer.close()
            await asyncio.sleep(0.05)

    async def all_of_them() -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(talk() for _ in range(connections))), seconds + 40)

    asyncio.run(all_of_them())
    tally.put((dict(statuses), max(times, default=0.0)))


async def answer_of(reader: asyncio.StreamReader) -> str:
    """The status of an answer and the code of its error; discards the rest."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    left = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    body = await reader.read(min(left, 65536))
    left -= len(body)
    while left:
        some = await reader.read(min(left, 65536))
        if not some:
            raise ConnectionResetError
        left -= len(some)
    code = body.split(b'"code":"')[1].split(b'"')[0].decode() if b'"errors"' in body and b'"code":"' in body else ""
    return f"{head.split()[1].decode()} {code}".strip()


def probe(port: int, token: str, seconds: float) -> list[float]:
    """Milliseconds that each of another user's small requests takes, on one connection, one every `EVERY`."""
    sent = request(PROBE, token)
    connection = socket.create_connection(("127.0.0.1", port), timeout=90)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    times: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.monotonic()
        connection.sendall(sent)
        answer = connection.recv(65536)
        if b'"role":"USER"' not in answer:
            raise SystemExit(f"the other user got {answer[:500]!r}")
        times.append((time.monotonic() - start) * 1000)
        time.sleep(EVERY)
    connection.close()
    return sorted(times)


def worst(options: argparse.Namespace, folder: Path) -> bool:
    """Times one user's smallest request while another user sends the worst ones."""
    good = True
    with running(folder, "worst") as server:
        fill(server.ask)
        print(f"\n### {options.connections} connections of one user, and another user's `{{ viewer {{ role }} }}`\n")
        print("| Requests | Answers | slowest, s | other user p50, ms | p99 | most | RSS most, MiB |")
        print("|---|---|---|---|---|---|---|")
        for name in options.attacks or WORST:
            server.forget_peak()
            tally: Any = multiprocessing.Queue()
            token, other = server.token(MALLORY), server.token(ALICE)
            attacker = multiprocessing.Process(
                target=attack, args=(name, server.port, token, options.connections, options.seconds, tally)
            )
            attacker.start()
            time.sleep(0.5)
            times = probe(server.port, other, options.seconds)
            statuses, slowest = tally.get()
            attacker.join()
            p99 = times[len(times) * 99 // 100]
            good &= p99 <= P99 and times[-1] <= WORST_ANSWER and server.peak() <= MEMORY
            shown = ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items()))
            print(
                f"| {name} | {shown or 'none'} | {slowest:.1f} | {times[len(times) // 2]:.1f} | {p99:.1f} | "
                f"{times[-1]:.0f} | {server.peak():.0f} |",
                flush=True,
            )
    return good


def memory(options: argparse.Namespace, folder: Path) -> bool:
    """Measures the memory of the process while clients try to fill it."""
    good = True
    print("\n### Memory: RSS of the process, MiB\n")
    print("| While | most | afterwards |\n|---|---|---|")
    with running(folder, "memory") as server:
        fill(server.ask)
        for name, act in MEMORY_ACTS.items():
            server.forget_peak()
            act(server)
            peak = server.peak()
            good &= peak <= MEMORY
            print(f"| {name} | {peak:.0f} | {server.memory():.0f} |", flush=True)
    return good


def distinct_documents(server: Crowded) -> None:
    post_all(server, (document(number) for number in range(350)))


def document(number: int) -> bytes:
    """A unique document of 20 KB."""
    fields = " ".join(f'u{number}x{each}: user(userId: "{each}") {{ id name email about }}' for each in range(400))
    return json.dumps({"query": f"{{ {fields} }}"}).encode()


def flags(server: Crowded) -> None:
    names = [f"flag{each}" for each in range(6)]
    declared = " ".join(f"${name}: Boolean!" for name in names)
    fields = " ".join(f"a_long_alias_{each}: userId @include(if: ${names[each % 6]})" for each in range(190))
    query = f"query ({declared}) {{ users(first: 1) {{ nodes {{ id {fields} }} }} }}"
    combinations = (dict(zip(names, each, strict=True)) for each in product((True, False), repeat=6))
    post_all(server, (json.dumps({"query": query, "variables": each}).encode() for each in combinations))


def post_all(server: Crowded, bodies: Iterator[bytes]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
    for body in bodies:
        connection.request("POST", "/graphql", body, headers)
        answer = connection.getresponse().read()
        if b'"errors"' in answer:
            raise SystemExit(f"refused: {answer[:300]!r}")
    connection.close()


def unfinished_bodies(server: Crowded) -> None:
    head = b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += b"Content-Length: 8388608\r\n\r\n"
    hold(server, [head] * 60, MIB * 8 - 1)


def unfinished_with_token(server: Crowded) -> None:
    token = server.token(MALLORY)
    head = request(b"", token).replace(b"Content-Length: 0", b"Content-Length: 8388608")
    hold(server, [head] * 60, MIB * 8 - 1)


def unread_answers(server: Crowded) -> None:
    token = server.token(MALLORY)
    query = "query ($s: String!) { session(sessionId: $s) { messages(first: 12) { nodes { content } } } }"
    body = json.dumps({"query": query, "variables": {"s": LARGE}}).encode()
    hold(server, [request(body, token)] * 60, 0)


def hold(server: Crowded, heads: list[bytes], more: int) -> None:
    """Opens a connection for each head, sends `more` bytes after it, and reads nothing for a while."""
    connections = []
    for head in heads:
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=1)
        connections.append(connection)
        with suppress(OSError):
            connection.sendall(head)
            if more:
                connection.sendall(b" " * more)
    time.sleep(3)
    for connection in connections:
        connection.close()
    time.sleep(0.5)


MEMORY_ACTS: dict[str, Callable[[Crowded], None]] = {
    "350 distinct documents of 20 KB": distinct_documents,
    "64 combinations of `@include` in one document": flags,
    "60 unfinished bodies of 8 MiB, no credential": unfinished_bodies,
    "60 unfinished bodies of 8 MiB, one user": unfinished_with_token,
    "60 answers of 12 MiB that one user does not read": unread_answers,
}

DELETE = """mutation ($id: String!) { deleteUser(input: {userId: $id}) {
    receipt { userId erasedAt filesClearedAt messages } userErrors { code message } } }"""


def erasures(options: argparse.Namespace, folder: Path) -> bool:
    """Measures erasures by many clients, without and with a reader that pins the write-ahead log."""
    good = True
    print(f"\n### {ERASED} erasures by {ERASERS} clients\n")
    print("| | receipts | cleared at once | slowest, s | a write meanwhile, most, ms | bytes gone after, s |")
    print("|---|---|---|---|---|---|")
    for reader in (False, True):
        name = "erasures" + "-held" * reader
        with running(folder, name, RECALLQL_REQUEST_TIMEOUT="5") as server:
            prepare_erasures(server)
            held = sqlite3.connect(server.database, isolation_level=None) if reader else None
            if held is not None:
                held.execute("BEGIN")
                held.execute("SELECT count(*) FROM users").fetchone()
            good &= erase(server, "a reader holds the log" if reader else "no reader", held)
    return good


def prepare_erasures(server: Crowded) -> None:
    for number in range(ERASED):
        user = f"erased-{number}"
        server.ask(
            f'mutation {{ createUser(input: {{userId: "{user}", name: "Secretname{number}x"}}) {{ user {{ id }} }} }}',
            {},
        )
        said = [{"role": "USER", "content": f"secretword{number}x is what {user} said"}] * 20
        query = "mutation ($input: AddMessagesInput!) { addMessages(input: $input) { deduplicated } }"
        server.ask(query, {"input": {"sessionId": f"of-{user}", "userId": user, "messages": said}})


def erase(server: Crowded, name: str, held: sqlite3.Connection | None) -> bool:
    def one(number: int) -> tuple[Any, float]:
        start = time.monotonic()
        receipt = server.ask(DELETE, {"id": f"erased-{number}"})["deleteUser"]["receipt"]
        return receipt, time.monotonic() - start

    def write(number: int) -> float:
        start = time.monotonic()
        server.ask(f'mutation {{ createUser(input: {{userId: "new-{number}"}}) {{ user {{ id }} }} }}', {})
        return (time.monotonic() - start) * 1000

    with ThreadPoolExecutor(ERASERS) as erasers, ThreadPoolExecutor(1) as writer:
        answers = erasers.map(one, range(ERASED))
        writes = [writer.submit(write, number).result() for number in range(20)]
        found = list(answers)
    receipts = [receipt for receipt, _ in found if receipt is not None]
    if held is not None:
        held.close()
    start = time.monotonic()
    while left(server.database) and time.monotonic() < start + 60:
        time.sleep(0.1)
    gone = time.monotonic() - start
    cleared = sum(receipt.get("filesClearedAt") is not None for receipt in receipts)
    slowest = max(took for _, took in found)
    print(f"| {name} | {len(receipts)} | {cleared} | {slowest:.1f} | {max(writes):.0f} | {gone:.1f} |", flush=True)
    return len(receipts) == ERASED and gone <= PATIENCE


def left(database: Path) -> bool:
    """True if a name or a word of an erased user is in the database file or its log."""
    files = [database, database.with_name(f"{database.name}-wal")]
    return any(b"ecretname" in (text := file.read_bytes()) or b"ecretword" in text for file in files if file.exists())


PARTS = {"worst": worst, "memory": memory, "erasures": erasures}


def main() -> int:
    parser = argparse.ArgumentParser(description="What callers do to one another.")
    parser.add_argument("-p", "--parts", type=lambda text: text.split(","), default=list(PARTS), help=",".join(PARTS))
    parser.add_argument(
        "-c", "--connections", type=int, default=32, help="of the one user who sends the worst requests"
    )
    parser.add_argument("-d", "--seconds", type=float, default=8, help="of each kind of request")
    parser.add_argument("-a", "--attacks", action="append", help="only these of the worst requests")
    options = parser.parse_args()
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"{','.join(unknown)} is not known here; choose of {','.join(PARTS)}")
    print_heading()
    with tempfile.TemporaryDirectory(prefix="recallql-crowd-") as folder:
        good = [PARTS[part](options, Path(folder)) for part in options.parts]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
