"""The real schema over a real database: breadth-first execution answers generated documents as graphql-core does."""

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import orjson
import pytest

from breadth import Executor, Request
from breadth.running import Run
from models.sqlite.database import SqliteStore
from models.sqlite.migrate import migrate
from models.values import Time
from recallql.http.requests import write_json
from resolvers.operation_context import OperationContext
from resolvers.times import Clock
from schema.root import schema as real_schema
from schema.scalars import WRITTEN
from tests.breadth.generated import Case, Outcome, cases, compare_generated, describe, outcome
from tests.documents import ERRORS

# graphql-core leaves coroutines behind where an error has made their answers needless.
pytestmark = [
    pytest.mark.sqlite,
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class FixedClock(Clock):
    """One time for all that is read, and in each mutation the same times again."""

    def __init__(self) -> None:
        super().__init__()
        self.mutations = 0
        self.ticks: int | None = None

    def now(self) -> Time:
        if self.ticks is None:
            return Time(f"2025-06-15T12:{self.mutations % 60:02}:00")
        self.ticks += 1
        return Time(f"2025-06-15T12:{self.mutations % 60:02}:00.{self.ticks:06}")


@dataclass
class FixedContext(OperationContext):
    """Moves the clock with each mutation, so that it tells the same times however much is read between."""

    async def write(self, operation: Any, *, at_once: Any = None) -> Any:
        clock = self.clock
        assert isinstance(clock, FixedClock)
        clock.mutations += 1

        def timed(work: Any) -> Any:
            async def run(transaction: Any) -> Any:
                clock.ticks = 0
                try:
                    return await work(transaction)
                finally:
                    clock.ticks = None

            return run

        return await super().write(timed(operation), at_once=at_once and timed(at_once))


class Names:
    """The keys that are made up for what comes without one: the same ones in each run."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> UUID:
        self.made += 1
        return UUID(int=self.made)

    def token(self, size: int) -> bytes:
        """In place of a signing key's secret."""
        return (self().bytes * size)[:size]

    def token_hex(self, size: int) -> str:
        return self.token(size).hex()


@pytest.fixture(scope="module")
def names() -> Iterator[Names]:
    made = Names()
    with pytest.MonkeyPatch.context() as patch:
        for module in (
            "models.keys",
            "models.removals",
            "resolvers.clones",
            "resolvers.participants",
            "resolvers.sessions",
        ):
            patch.setattr(f"{module}.uuid4", made)
        patch.setattr(
            "resolvers.credentials.secrets", SimpleNamespace(token_hex=made.token_hex, token_bytes=made.token)
        )
        patch.setattr(
            "models.sqlite.clearing.datetime", SimpleNamespace(now=lambda _: datetime(2030, 1, 1, tzinfo=UTC))
        )
        yield made


FILL: list[tuple[str, list[dict[str, Any]]]] = [
    (
        "createAgent",
        [
            {"agentId": "guide", "name": "Guide", "documents": [{"title": "Rules", "content": "Be kind."}]},
            {"agentId": "critic", "name": "Critic", "model": "m-1", "metadata": {"plan": "pro"}},
        ],
    ),
    (
        "createUser",
        [
            {"userId": "ada", "email": "ada@example.com", "firstName": "Ada", "metadata": {"plan": "pro"}},
            {
                "userId": "bob",
                "email": "ADA@example.com",
                "name": "Bob",
                "documents": [{"title": "CV", "content": "…"}],
            },
            {"userId": "cyd", "about": "quiet", "metadata": {"a": {"b": [1, None]}}},
            {"userId": "dot", "createdAt": "2024-02-29T00:00:00Z"},
        ],
    ),
    (
        "createSession",
        [
            {"sessionId": "chat", "userId": "ada", "agentId": "guide", "metadata": {"plan": "pro"}, "tokenBudget": 100},
            {"sessionId": "talk", "userId": "ada", "contextOverflow": "ADAPTIVE"},
            {"sessionId": "over", "userId": "bob", "agentId": "guide", "situation": "late"},
            {"sessionId": "gone", "userId": "bob"},
            {"sessionId": "loose", "agentId": "critic"},
        ],
    ),
    (
        "addMessages",
        [
            {
                "sessionId": "chat",
                "formMemories": False,
                "messages": [
                    {"role": "SYSTEM", "content": "Be kind."},
                    {"role": "USER", "content": "I like tea.", "messageId": "m1", "name": "Ada"},
                    {"role": "ASSISTANT", "toolCalls": [{"id": "t1"}], "metadata": {"plan": "pro"}},
                    {"role": "TOOL", "content": "42", "toolCallId": "t1", "tokenCount": 7},
                    {"role": "USER", "parts": [{"type": "image"}], "createdAt": "2025-06-01T00:00:00Z"},
                ],
            },
            {"sessionId": "loose", "messages": [{"role": "USER", "content": "Hello?", "messageId": "m1"}]},
            {"sessionId": "over", "messages": [{"role": "USER", "content": "Bye."}]},
        ],
    ),
    ("createDocument", [{"documentId": "d1", "userId": "ada", "title": "Letter", "content": "Dear …"}]),
    ("endSession", [{"sessionId": "over"}]),
    ("deleteSession", [{"sessionId": "gone"}]),
]


@dataclass(frozen=True)
class Filled:
    """A database file with a small data set, and the values that mean something in it."""

    path: Path
    hints: dict[str, Sequence[Any]]


async def fill(path: Path) -> dict[str, Sequence[Any]]:
    database = await SqliteStore.open(path)
    executor = Executor(real_schema, describe, reference=True)
    clock = FixedClock()

    async def ask(query: str, **variables: Any) -> Any:
        answer = await executor.execute(Request(query, variables), FixedContext(database, clock))
        body = orjson.loads(write_json(answer.body))
        assert "errors" not in body, body
        return body["data"]

    async def change(name: str, values: dict[str, Any], selection: str = "") -> Any:
        kind = f"{name[0].upper()}{name[1:]}Input!"
        data = await ask(f"mutation ($i: {kind}) {{ {name}(input: $i) {{ {selection} {ERRORS} }} }}", i=values)
        assert data[name]["userErrors"] == [], data
        return data[name]

    try:
        for name, inputs in FILL:
            for values in inputs:
                await change(name, values)
        said = await ask('{ session(sessionId: "chat") { messages { nodes { id } } } }')
        messages = [node["id"] for node in said["session"]["messages"]["nodes"]]
        memories: list[str] = []
        for values in (
            {"kind": "FACT", "content": "Likes tea.", "sessionId": "chat", "sources": messages[:2], "memoryId": "y1"},
            {"kind": "PREFERENCE", "content": "Green.", "userId": "ada", "rating": 0.75, "metadata": {"plan": "pro"}},
            {"kind": "SUMMARY", "content": "Tea.", "sessionId": "chat", "sources": messages[1:]},
            {"kind": "SUMMARY", "content": "Ada.", "userId": "ada"},
            {"kind": "EVENT", "content": "Party", "userId": "bob", "validUntil": "2025-01-01T00:00:00Z"},
        ):
            made = await change("createMemory", values, "memory { id }")
            memories.append(made["memory"]["id"])
        newer = {"kind": "FACT", "content": "Likes coffee.", "userId": "ada", "supersedes": memories[:1]}
        memories.append((await change("createMemory", newer, "memory { id }"))["memory"]["id"])
        data = await ask(
            """{ users { edges { cursor node { id documents { edges { cursor node { id } } }
              sessions { edges { cursor } } memories { edges { cursor } } } } }
            sessions { edges { cursor node { id } } } agents { edges { cursor node { id } } }
            session(sessionId: "chat") { messages { edges { cursor } } } }"""
        )
    finally:
        await database.close()
    users, sessions, agents = (data[name]["edges"] for name in ("users", "sessions", "agents"))
    documents = [edge for user in users for edge in user["node"]["documents"]["edges"]]
    ids = [edge["node"]["id"] for edge in (*users, *sessions, *agents, *documents)] + messages + memories
    lists = {
        "Query.users": users,
        "Query.sessions": sessions,
        "Query.agents": agents,
        "User.sessions": [edge for user in users for edge in user["node"]["sessions"]["edges"]],
        "User.memories": [edge for user in users for edge in user["node"]["memories"]["edges"]],
        "User.documents": documents,
        "Session.messages": data["session"]["messages"]["edges"],
    }
    broken = ["", "no id", f"{ids[0]}0", f"{messages[0]}99", "M", ids[0][:-1]]
    cursors = {
        f"{place}.{argument}": [edge["cursor"] for edge in edges] + ["no cursor"]
        for place, edges in lists.items()
        for argument in ("after", "before")
    }
    hints: dict[str, Sequence[Any]] = {
        "id": ids + broken,
        "ids": ids + broken,
        "after": [users[0]["cursor"], "no cursor", ""],
        "before": [users[1]["cursor"], "no cursor", ""],
        "first": [2, 1, 3, 0, 20, 100, 101, -1],
        "last": [2, 1, 0, 100, -1],
        "userId": ["ada", "bob", "cyd", "dot", "nobody", "", "new"],
        "userIds": ["ada", "bob", "nobody"],
        "userEmail": ["ada@example.com", "nobody@example.com"],
        "emails": ["ada@example.com", "Ada@Example.com"],
        "email": ["eve@example.com", "no address", "ada@example.com"],
        "sessionId": ["chat", "talk", "over", "gone", "loose", "none", "new"],
        "sessionIds": ["chat", "talk", "none"],
        "agentId": ["guide", "critic", "none", "new"],
        "agentIds": ["guide", "none"],
        "messageId": ["m1", "m2", "m3"],
        "memoryId": ["y1", "y2"],
        "documentId": ["d1", "d2"],
        "sources": [*messages, documents[0]["node"]["id"], *broken],
        "supersedes": [*memories, *broken],
        "expectedVersion": [1, 2, 9],
        "tokenBudget": [100, 0, -1],
        "tokenCount": [3, 0, -1],
        "limit": [1, 100, 0],
        "rating": [0.5, 1, 0, 2],
        "minRating": [0.5, 0],
        "fromSequence": [1, 2, 3],
        "toSequence": [2, 4, 100],
        "name": ["Ada", "", "Guide"],
        "metadata": [{}, {"plan": "pro"}, {"a": {"b": [1]}}, {"a": None}, "no object", [1]],
    }
    return cursors | hints


@pytest.fixture(scope="module")
def filled(runner: asyncio.Runner, names: Names, tmp_path_factory: pytest.TempPathFactory) -> Filled:
    path = tmp_path_factory.mktemp("differential") / "filled.db"
    migrate(path)
    names.made = 0
    hints = runner.run(fill(path))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return Filled(path, hints)


class Side:
    """One of the two: an executor and a copy of the database."""

    def __init__(self, runner: asyncio.Runner, names: Names, filled: Filled, *, reference: bool) -> None:
        self.path = filled.path.with_name("core.db" if reference else "breadth.db")
        shutil.copyfile(filled.path, self.path)
        self._names = names
        self._run = runner.run
        self._executor = Executor(real_schema, describe, reference=reference, written=WRITTEN)
        self._database = runner.run(SqliteStore.open(self.path))
        self._filled = sqlite3.connect(filled.path)
        self._own = sqlite3.connect(self.path)
        self._own.execute("PRAGMA synchronous = OFF")
        # What the clearing of the files writes depends on the time: notes, a lease, and merged blocks of the indexes.
        tables = self._own.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0 "
            "AND name NOT IN ('leases', 'notices', 'removals') AND name NOT LIKE '%\\_words\\_%' ESCAPE '\\'"
        )
        self._tables = [name for (name,) in tables]
        self._clean = self.version()

    def version(self) -> Any:
        return self._own.execute("PRAGMA data_version").fetchone()

    def tables(self) -> dict[str, list[Any]]:
        tables = {name: self._own.execute(f'SELECT * FROM "{name}"').fetchall() for name in self._tables}
        return tables | {"erasures": self._own.execute("SELECT key, erased_at, messages FROM erasures").fetchall()}

    def answer(self, case: Case, *, changes: bool) -> Outcome:
        self._names.made = 0
        context = FixedContext(self._database, FixedClock())
        # The tables are compared: that nothing was changed twice, or not at all.
        got = self._run(outcome(self._executor, case, context, lambda _: None))
        if not changes or self.version() == self._clean:
            return got
        effects = self.tables()
        self._filled.backup(self._own, progress=self._give_way)
        self._clean = self.version()
        return Outcome(got.executed, got.body, effects, got.by_graphql_core)

    def _give_way(self, status: int, *_: int) -> None:
        """Lets a background task of the store end its transaction, which would otherwise be waited for in vain."""
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            self._run(asyncio.sleep(0.01))

    def close(self) -> None:
        self._run(self._database.close())
        self._own.close()
        self._filled.close()


@pytest.fixture(scope="module")
def sides(runner: asyncio.Runner, names: Names, filled: Filled) -> Iterator[tuple[Side, Side]]:
    both = tuple(Side(runner, names, filled, reference=reference) for reference in (True, False))
    yield both  # pyright: ignore[reportReturnType]
    for side in both:
        side.close()


def answers(sides: tuple[Side, Side], case: Case, *, changes: bool) -> tuple[Outcome, Outcome]:
    core, breadth = sides
    return core.answer(case, changes=changes), breadth.answer(case, changes=changes)


def test_generated_reads_of_the_real_schema_are_answered_alike(filled: Filled, sides: tuple[Side, Side]) -> None:
    compare_generated(cases(real_schema._schema, "query", filled.hints), partial(answers, sides, changes=True))


def test_generated_changes_of_the_real_schema_leave_the_same_data(filled: Filled, sides: tuple[Side, Side]) -> None:
    compare_generated(cases(real_schema._schema, "mutation", filled.hints), partial(answers, sides, changes=True))


def test_ordinary_objects_are_written_in_one_loop_from_the_second_time_on(
    runner: asyncio.Runner, filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Care is for what is out of order; what it costs would go unnoticed otherwise."""
    with_care: list[str] = []
    careful = Run._select_with_care

    async def counted(run: Run, selection: Any, objects: Any, path: Any) -> list[Any]:
        with_care.append(selection.type.name)
        return await careful(run, selection, objects, path)

    monkeypatch.setattr(Run, "_select_with_care", counted)
    query = """{ viewer { role user { id } } users(first: 3) { totalCount pageInfo { endCursor } edges { cursor node {
        id name summary { id } sessions(first: 2) { nodes { sessionId agent { name } metadata messages { edges { node {
        id role createdAt memories { nodes { id sources { nodes { __typename } } } } } } } } } } } } }"""

    async def run() -> None:
        database = await SqliteStore.open(filled.path)
        executor = Executor(real_schema, describe, written=WRITTEN)
        for _ in range(2):
            with_care.clear()
            answer = await executor.execute(Request(query), OperationContext(database, Clock()))
            assert "errors" not in answer.body
        await database.close()

    runner.run(run())
    assert with_care == []
