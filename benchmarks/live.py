"""Measures subscriptions: `python -m benchmarks.live`; see README.md.

`idle` has many subscribers to whom nothing happens, `delivery` the time from a commit to each subscriber, with queries
beside it, and `faults` counts what is lost or comes twice while clients disconnect and a server is killed.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Coroutine, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.process import CLIENT_CORE, ROOT, SERVER_CORE, START_SECONDS, cpu_seconds, free_port, resident, wakeups
from benchmarks.scale import print_heading
from tests.clusters import Cluster
from tests.postgres import NoPostgres, programs

IDLE, SESSIONS, SUBSCRIBERS, RATE = 1000, 20, 200, 200
LISTENERS = 400
"""Subscribers of the part `faults`."""

MEMORY, P99 = 100, 100.0
"""The goals: MiB for the idle subscribers, and milliseconds from commit to delivery."""

SUBSCRIBE = (
    "subscription ($session: String!, $after: String, $from: Int) "
    "{ messageAdded(sessionId: $session, after: $after, afterSequence: $from) { cursor node { sequence content } } }"
)
ADD = (
    "mutation ($session: String!, $messages: [MessageInput!]!) "
    "{ addMessages(input: {sessionId: $session, messages: $messages}) { userErrors { message } } }"
)
QUERY = "{ sessions(first: 5) { nodes { sessionId messages(last: 10) { nodes { sequence content } } } } }"


class Serving:
    """`recallql serve` on one core, on a database that others may use at the same time."""

    def __init__(self, url: str, folder: Path) -> None:
        self.port = free_port()
        self._url = url
        self._log = folder / f"{self.port}.log"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "recallql", "serve", "--port", str(self.port), "--database-url", self._url]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RECALLQL_")}
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=inherited | {"RECALLQL_EMBEDDINGS": "off"},
                stdout=log,
                stderr=log,
                preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}),
            )

    async def ready(self) -> None:
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"the server did not start:\n{self._log.read_text()[-2000:]}") from None
            await asyncio.sleep(0.05)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()


class Caller:
    """One persistent HTTP connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            self._writer.write(
                b"POST /graphql HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n%b" % (len(body), body)
            )
            head = await self._reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            answer = json.loads(await self._reader.readexactly(size))
        except (OSError, EOFError):
            self._writer.close()
            self._writer = None
            raise
        if "errors" in answer:
            raise SystemExit(f"refused: {answer['errors']}")
        return answer["data"]


class Subscriber(asyncio.Protocol):
    """A client of graphql-transport-ws with one subscription; it calls a function with each message that comes."""

    def __init__(self, heard: Callable[[dict[str, Any]], None], variables: dict[str, Any]) -> None:
        self._heard = heard
        self._variables = variables
        self._data = bytearray()
        self._is_open = False
        self.ended = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        key = b64encode(os.urandom(16)).decode()
        transport.write(
            b"GET /graphql HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-protocol: graphql-transport-ws\r\n"
            b"sec-websocket-key: %b\r\n\r\n" % key.encode()
        )
        self.say({"type": "connection_init"})

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._is_open:
            end = self._data.find(b"\r\n\r\n")
            if end < 0:
                return
            self._is_open = self._data.startswith(b"HTTP/1.1 101")
            if not self._is_open:
                raise SystemExit(f"no WebSocket: {bytes(self._data[:300])!r}")
            del self._data[: end + 4]
        while (frame := self._frame()) is not None:
            kind, payload = frame
            if kind == 1:
                self._take(json.loads(payload))
            elif kind == 9:
                self._send(10, payload)

    def _frame(self) -> tuple[int, bytes] | None:
        data = self._data
        if len(data) < 2:
            return None
        size, start = data[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        if len(data) < start + size:
            return None
        frame = data[0] & 15, bytes(data[start : start + size])
        del data[: start + size]
        return frame

    def _take(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "connection_ack":
                payload = {"query": SUBSCRIBE, "variables": self._variables}
                self.say({"type": "subscribe", "id": "1", "payload": payload})
            case "next" if "errors" not in message["payload"]:
                self._heard(message["payload"]["data"]["messageAdded"])
            case "next" | "error":
                raise SystemExit(f"refused: {message['payload']}")
            case _:
                pass

    def say(self, message: dict[str, Any]) -> None:
        self._send(1, json.dumps(message).encode())

    def _send(self, kind: int, payload: bytes) -> None:
        size = len(payload)
        head = bytes([128 | kind, 128 | size]) if size < 126 else bytes([128 | kind, 254]) + size.to_bytes(2, "big")
        # Masked with zeros.
        self.transport.write(head + bytes(4) + payload)


async def subscribed(port: int, heard: Callable[[dict[str, Any]], None], **variables: Any) -> Subscriber:
    loop = asyncio.get_running_loop()
    _, subscriber = await loop.create_connection(lambda: Subscriber(heard, variables), "127.0.0.1", port)
    return subscriber


def said(number: int) -> dict[str, Any]:
    return {"role": "USER", "messageId": str(number), "content": f"{time.monotonic()!r} turn {number}"}


async def idle(options: argparse.Namespace, url: str, folder: Path) -> bool:
    """The memory and the CPU of subscribers to whom nothing happens."""
    server = Serving(url, folder)
    try:
        await server.ready()
        await Caller(server.port).ask(ADD, session="s0", messages=[said(1)])
        clients: list[Subscriber] = []
        spent: list[str] = []
        before = resident(server.process.pid)
        for count in (0, 1, IDLE):
            while len(clients) < count:
                clients.append(await subscribed(server.port, print, session=f"s{len(clients)}"))
            await asyncio.sleep(2)
            used, woken = cpu_seconds(server.process.pid), wakeups(server.process.pid)
            await asyncio.sleep(options.seconds)
            used = (cpu_seconds(server.process.pid) - used) / options.seconds
            woken = (wakeups(server.process.pid) - woken) / options.seconds
            spent.append(f"{used:.1%} of a core and woken {woken:.0f} times a second with {count}")
        held = (resident(server.process.pid) - before) / 1024
        print(
            f"idle subscribers: {', '.join(spent)}; {held:.0f} MiB more with {IDLE} than without "
            f"({before / 1024:.0f} MiB)"
        )
        for client in clients:
            client.transport.abort()
        return held < MEMORY
    finally:
        server.stop()


async def delivery(options: argparse.Namespace, url: str, folder: Path) -> bool:
    """The time from the answer to an addMessages until its message has come to each subscriber, and that of queries."""
    server = Serving(url, folder)
    delivered: list[tuple[str, float]] = []

    def heard(edge: dict[str, Any]) -> None:
        delivered.append((edge["node"]["content"], time.monotonic()))

    try:
        await server.ready()
        for number in range(SESSIONS):
            await Caller(server.port).ask(ADD, session=f"d{number}", messages=[said(0)])
        alone = await _queries(server.port, options.seconds)
        unheard, _ = await _add_beside_queries(server.port, options.seconds)
        for number in range(SUBSCRIBERS):
            await subscribed(server.port, heard, session=f"d{number % SESSIONS}")
        await asyncio.sleep(1)
        used = cpu_seconds(server.process.pid)
        beside, answered = await _add_beside_queries(server.port, options.seconds)
        await asyncio.sleep(1)
        spent = (cpu_seconds(server.process.pid) - used) / options.seconds
        expected = len(answered) * SUBSCRIBERS // SESSIONS
        waits = [max(0.0, at - answered[content]) * 1000 for content, at in delivered]
        calls = [(at - float(content.split()[0])) * 1000 for content, at in answered.items()]
        print(
            f"{SUBSCRIBERS} subscribers to {SESSIONS} sessions, {RATE} messages/s: {len(waits):,} of {expected:,} "
            f"deliveries; after the commit {_percentiles(waits)} (the commits: {_percentiles(calls)}); "
            f"{spent:.0%} of a core, queries included"
        )
        print(
            f"queries: alone {_percentiles(alone)}; beside the messages {_percentiles(unheard)}; beside them and their "
            f"subscribers {_percentiles(beside)}"
        )
        return len(waits) == expected and quantiles(waits, n=100)[98] < P99
    finally:
        server.stop()


async def _add_beside_queries(port: int, seconds: float) -> tuple[list[float], dict[str, float]]:
    """Adds messages to all sessions: the milliseconds of each query meanwhile, and when each message was answered."""
    answered: dict[str, float] = {}
    waiting = asyncio.create_task(_queries(port, seconds))
    await asyncio.gather(*(_add(Caller(port), f"d{n}", seconds, answered) for n in range(SESSIONS)))
    return await waiting, answered


async def _add(caller: Caller, session: str, seconds: float, answered: dict[str, float]) -> None:
    """Adds messages at this session's part of the rate; notes when each was answered."""
    every = SESSIONS / RATE
    start = time.monotonic() + random.random() * every
    for number in range(1, round(seconds / every) + 1):
        await asyncio.sleep(max(0.0, start + number * every - time.monotonic()))
        turn = said(number)
        turn["content"] += f" of {session}"
        turn["messageId"] = turn["content"]
        await caller.ask(ADD, session=session, messages=[turn])
        answered[turn["content"]] = time.monotonic()


async def _queries(port: int, seconds: float) -> list[float]:
    """The milliseconds of each of some queries, 50 a second."""
    caller, waits, end = Caller(port), list[float](), time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.monotonic()
        await caller.ask(QUERY)
        waits.append((time.monotonic() - start) * 1000)
        await asyncio.sleep(max(0.0, 0.02 - (time.monotonic() - start)))
    return waits


def _percentiles(milliseconds: list[float]) -> str:
    if len(milliseconds) < 2:
        return f"{len(milliseconds)} of them"
    cuts = quantiles(milliseconds, n=100)
    return f"p50 {cuts[49]:.1f} and p99 {cuts[98]:.1f} ms"


class Listener:
    """A subscriber that disconnects now and then, connects to any server, and resumes; it counts what it gets."""

    def __init__(self, servers: list[Serving], session: str, last: int) -> None:
        self._servers = servers
        self._session = session
        self._last = last
        self._cursor: str | None = None
        self.received = 0
        """The sequence of the last message."""
        self.twice = self.lost = self.reconnects = 0
        self.done = asyncio.Event()

    def _heard(self, edge: dict[str, Any]) -> None:
        sequence = edge["node"]["sequence"]
        if sequence <= self.received:
            self.twice += 1
            return
        self.lost += sequence - self.received - 1
        self.received, self._cursor = sequence, edge["cursor"]
        if sequence == self._last:
            self.done.set()

    async def listen(self) -> None:
        while not self.done.is_set():
            place: dict[str, Any] = {"from": 0} if self._cursor is None else {"after": self._cursor}
            try:
                subscriber = await subscribed(
                    random.choice(self._servers).port,
                    self._heard,
                    session=self._session,
                    **place,
                )
            except OSError:
                await asyncio.sleep(0.1)
                continue
            ending = [asyncio.create_task(event.wait()) for event in (subscriber.ended, self.done)]
            await asyncio.wait(ending, timeout=random.expovariate(1 / 8), return_when=asyncio.FIRST_COMPLETED)
            for task in ending:
                task.cancel()
            # What arrives from now on is not seen: the client has gone.
            subscriber.transport.abort()
            self.reconnects += 1


async def faults(options: argparse.Namespace, url: str, folder: Path) -> bool:
    """Counts messages that are lost and that come twice. Of two servers one is killed now and then."""
    servers = [Serving(url, folder)]
    await servers[0].ready()
    servers.append(Serving(url, folder))
    await servers[1].ready()
    each = -(-options.deliveries // LISTENERS)
    listeners = [Listener(servers, f"f{n % SESSIONS}", each) for n in range(LISTENERS)]
    listening: list[asyncio.Task[None]] = []
    try:
        listening += [asyncio.create_task(listener.listen()) for listener in listeners]
        killing = asyncio.create_task(_kill(servers[1], each * SESSIONS / RATE))
        await asyncio.gather(*(_add_surely(servers, f"f{n}", each) for n in range(SESSIONS)))
        kills = await killing
        async with asyncio.timeout(60):
            await asyncio.gather(*(listener.done.wait() for listener in listeners))
    except TimeoutError:
        missing = sum(each - listener.received for listener in listeners)
        print(f"{missing:,} deliveries did not come within a minute")
        return False
    finally:
        for task in listening:
            task.cancel()
        for server in servers:
            server.stop()
    lost, twice = (sum(getattr(listener, name) for listener in listeners) for name in ("lost", "twice"))
    print(
        f"{each * LISTENERS:,} deliveries to {LISTENERS} clients by two processes: {lost} lost, {twice} twice; "
        f"{sum(listener.reconnects for listener in listeners):,} disconnects, {kills} kills"
    )
    return not lost and not twice


async def _kill(server: Serving, seconds: float) -> int:
    """Kills a server now and then while messages are added, and starts it again."""
    end, kills = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        await asyncio.sleep(seconds / 4)
        server.kill()
        kills += 1
        server.start()
        await server.ready()
    return kills


async def _add_surely(servers: list[Serving], session: str, count: int) -> None:
    """Adds messages one by one to either server; again, under the same key, if there is no answer."""
    callers, every = [Caller(server.port) for server in servers], SESSIONS / RATE
    for number in range(1, count + 1):
        until, turn, message = time.monotonic() + every, said(number), number
        while True:
            with suppress(OSError, EOFError):
                await callers[message % 2].ask(ADD, session=session, messages=[turn])
                break
            message += 1
            await asyncio.sleep(0.02)
        await asyncio.sleep(max(0.0, until - time.monotonic()))


PARTS: dict[str, Callable[[argparse.Namespace, str, Path], Coroutine[Any, Any, bool]]] = {
    "idle": idle,
    "delivery": delivery,
    "faults": faults,
}


@contextmanager
def databases(name: str, folder: Path) -> Generator[Callable[[], str]]:
    """A function that makes a database of a kind, and returns its URL."""
    numbers = iter(range(1000))
    if name == "sqlite":
        yield lambda: f"sqlite:///{folder / f'live{next(numbers)}.db'}"
        return
    with ExitStack() as stack:
        cluster = Cluster.create()
        stack.callback(cluster.close)

        def url() -> str:
            own = f"live{next(numbers)}"
            cluster.sql(f"CREATE DATABASE {own}")
            subprocess.run(
                [sys.executable, "-m", "recallql", "migrate", "--database-url", cluster.url(own)],
                cwd=ROOT,
                check=True,
                stdout=subprocess.DEVNULL,
            )
            return cluster.url(own)

        yield url


def main() -> int:
    parser = argparse.ArgumentParser(description="Subscriptions over WebSocket.")
    parser.add_argument("-p", "--parts", type=lambda text: text.split(","), default=list(PARTS), help=",".join(PARTS))
    parser.add_argument("--databases", type=lambda text: text.split(","), default=["sqlite", "postgres"])
    parser.add_argument("-d", "--seconds", type=float, default=20.0)
    parser.add_argument("--deliveries", type=int, default=100_000)
    options = parser.parse_args()
    print_heading()
    os.sched_setaffinity(0, {CLIENT_CORE})
    good = True
    for name in options.databases:
        if name != "sqlite":
            try:
                programs()
            except NoPostgres as reason:
                raise SystemExit(str(reason)) from None
        print(f"\n{name}")
        with TemporaryDirectory(prefix="recallql-live-") as folder, databases(name, Path(folder)) as fresh:
            for part in options.parts:
                good &= asyncio.run(PARTS[part](options, fresh(), Path(folder)))
                sys.stdout.flush()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
