"""Measures recall (`make recall`): asks questions about long conversations, and counts the answering turns found.

A data set is a folder with `conversations.ndjson`, an import file, and `questions.ndjson`, whose lines have `userId`,
`question`, `category` and `evidence`, the `messageId`s of the turns that answer it. Each configuration of the server
gets the conversations by `recallql import`, and the questions over HTTP.
"""

import argparse
import json
import math
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from benchmarks.process import ROOT, Server

SETS = [ROOT / "benchmarks" / "chats", *(ROOT.parent / "shared" / "data" / name for name in ("locomo", "beam"))]
ENDPOINT = {name: value for name, value in os.environ.items() if name.startswith("RECALLQL_EMBEDDINGS_")}
CONFIGURATIONS: dict[str, dict[str, str]] = {
    "words": {"RECALLQL_EMBEDDINGS": "off"},
    "static": {"RECALLQL_EMBEDDINGS": "static"},
    "local": {"RECALLQL_EMBEDDINGS": "local"},
    **({"endpoint": {"RECALLQL_EMBEDDINGS": "endpoint", **ENDPOINT}} if ENDPOINT else {}),
}
"""The configurations of the server, as environment variables."""

RANKS = (5, 10, 20)
BUDGETS = (1000, 2000, 4000)
QUERY = """query Recall($query: String!, $userId: String!, $first: Int!) {
  search(query: $query, userId: $userId, scope: [MESSAGES], first: $first) {
    nodes { ... on Message { messageId } } } }"""
CONTEXT = """query Context($query: String!, $userId: String!, $budget: Int!) {
  user(userId: $userId) { context(query: $query, maxTokens: $budget) { text recalled { messageId content } } } }"""

Question = dict[str, Any]


class Way(NamedTuple):
    """One way to answer questions: the ids of its first results; those that are whole in a context of a number of
    tokens; and the CPU seconds that it has taken so far."""

    find: Callable[[Question, int], list[str]]
    context: Callable[[Question, int], set[str]]
    cpu_seconds: Callable[[], float]


def scores_of(way: Way, question: Question) -> dict[str, float]:
    """The metrics of one question."""
    ids, evidence = way.find(question, RANKS[-1]), set(question["evidence"])
    figures = {f"recall@{k}": len(evidence & set(ids[:k])) / len(evidence) for k in RANKS}
    gain = sum(1 / math.log2(place + 2) for place, message_id in enumerate(ids[:10]) if message_id in evidence)
    figures["nDCG@10"] = gain / sum(1 / math.log2(place + 2) for place in range(min(10, len(evidence))))
    for budget in BUDGETS:
        inside = way.context(question, budget)
        figures[f"share@{budget // 1000}k"] = len(evidence & inside) / len(evidence)
        figures[f"coverage@{budget // 1000}k"] = float(evidence <= inside)
    return figures


@contextmanager
def serving(data: Path, settings: dict[str, str]) -> Generator[Server]:
    """The server in a process of its own, with the conversations of a data set."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "recall.db"
        command = [sys.executable, "-m", "recallql", "import", str(data / "conversations.ndjson")]
        command += ["--database-url", f"sqlite:///{database}"]
        environment = {**os.environ, **settings, "PYTHONPATH": str(ROOT)}
        subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        serve = f"{sys.executable} -m recallql serve --port {{port}} --database-url {{database_url}}"
        os.environ.update(settings)
        server = Server("server", serve, database, Path(folder), synchronous="full")
        try:
            _encode(server, Path(folder) / "server.db")
            yield server
        finally:
            server.stop()
            for name in settings:
                del os.environ[name]


def by_recallql(data: Path, settings: dict[str, str]) -> Iterator[Way]:
    """The server, asked over HTTP."""
    with serving(data, settings) as server:

        def find(question: Question, first: int) -> list[str]:
            variables = {"query": question["question"], "userId": question["userId"], "first": first}
            answer = server.ask({"operationName": "Recall", "query": QUERY, "variables": variables})
            return [node["messageId"] for node in answer["search"]["nodes"]]

        def context(question: Question, budget: int) -> set[str]:
            variables = {"query": question["question"], "userId": question["userId"], "budget": budget}
            answer = server.ask({"operationName": "Context", "query": CONTEXT, "variables": variables})
            found = answer["user"]["context"]
            return {message["messageId"] for message in found["recalled"] if message["content"] in found["text"]}

        yield Way(find, context, server.cpu_seconds)


def _encode(server: Server, database: Path) -> None:
    """Waits until every message has its vectors, and reports their cost."""
    with closing(sqlite3.connect(database)) as connection:
        messages = connection.execute("SELECT count(*) FROM messages").fetchone()[0]
        before = _size(connection)
        start = server.cpu_seconds()
        while (model := server.ready()["models"]["embeddings"]).get("waiting", model["source"] != "off"):
            if model["status"] == "unavailable":
                raise SystemExit(f"there are no vectors: {model['reason']}")
            time.sleep(0.2)
        if model["source"] != "off":
            rate = messages / (server.cpu_seconds() - start)
            bytes_more = (_size(connection) - before) / messages
            print(f"{model['model']}: {rate:.0f} messages encoded per CPU second, {bytes_more:.0f} bytes a message")


def _size(connection: sqlite3.Connection) -> int:
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    pages, of = (connection.execute(f"PRAGMA page_{what}").fetchone()[0] for what in ("count", "size"))
    return pages * of


def by_fts5(data: Path) -> Iterator[Way]:
    """The baseline: SQLite's own full-text search and its bm25(), for any of the words, stemmed."""
    connection = sqlite3.connect(":memory:")
    connection.execute(
        "CREATE VIRTUAL TABLE turns USING fts5(user UNINDEXED, id UNINDEXED, size UNINDEXED, text, "
        "tokenize = 'porter unicode61')"
    )
    owner: dict[str, str] = {}
    for line in (data / "conversations.ndjson").open():
        row = json.loads(line)
        if row["type"] == "session":
            owner[row["sessionId"]] = row["userId"]
        elif row["type"] == "message":
            values = (owner[row["sessionId"]], row["messageId"], max(1, len(row["content"]) // 4), row["content"])
            connection.execute("INSERT INTO turns VALUES (?, ?, ?, ?)", values)

    def ranking(question: Question) -> list[tuple[str, int]]:
        asked = "".join(c if c.isalnum() else " " for c in question["question"]).split()
        match = " OR ".join(f'"{word}"' for word in asked)
        statement = "SELECT id, size FROM turns WHERE text MATCH ? AND user = ? ORDER BY bm25(turns)"
        return connection.execute(statement, (match, question["userId"])).fetchall()

    def context(question: Question, budget: int) -> set[str]:
        inside = set[str]()
        for message_id, size in ranking(question):
            if size <= budget:
                budget -= size
                inside.add(message_id)
        return inside

    yield Way(lambda question, first: [id for id, _ in ranking(question)[:first]], context, time.process_time)
    connection.close()


def judged(ways: Iterator[Way], questions: list[Question]) -> dict[str, Any]:
    """Means over all questions, for each conversation and category; CPU time is for the first ten results, and for a
    context of 2,000 tokens."""
    way = next(ways)
    every: list[dict[str, float]] = []
    groups: dict[str, list[float]] = defaultdict(list)
    for question in questions:
        figures = scores_of(way, question)
        every.append(figures)
        for group in (question["userId"], question["category"]):
            groups[group].append(figures["recall@10"])
    means = {name: mean(one[name] for one in every) for name in every[0]}
    start = way.cpu_seconds()
    for question in questions:
        way.find(question, 10)
    searched = way.cpu_seconds()
    for question in questions:
        way.context(question, 2000)
    spent = {"ms": searched - start, "context ms": way.cpu_seconds() - searched}
    next(ways, None)
    return {**means, **{name: seconds / len(questions) * 1000 for name, seconds in spent.items()}, "groups": groups}


def main(options: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="make recall", description=__doc__)
    parser.add_argument("data", nargs="*", type=Path, help="folders of data sets")
    for data in parser.parse_args(options).data or [folder for folder in SETS if folder.exists()]:
        questions = [json.loads(line) for line in (data / "questions.ndjson").open()]
        asked = [question for question in questions if question["category"] != "adversarial" and question["evidence"]]
        print(f"{data.name}: {len(asked)} questions; recall@10 also by conversation and category\n")
        ways = {name: by_recallql(data, settings) for name, settings in CONFIGURATIONS.items()}
        for name, way in {**ways, "SQLite's bm25()": by_fts5(data)}.items():
            found = judged(way, asked)
            groups: dict[str, list[float]] = found.pop("groups")
            print(f"{name}\n  " + "  ".join(f"{figure} {value:.3f}" for figure, value in found.items()))
            print("  " + "  ".join(f"{group} {mean(values):.3f}" for group, values in sorted(groups.items())) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
