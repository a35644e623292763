"""Measures `recallql import`: messages per second of processor time, of our own format and of each system's.

    python -m benchmarks.importing [--messages 50000] [--into DATABASE_URL] [SYSTEM …]

Each file has sessions of 50 messages with 30 words each, alternately of a user and an assistant, and is imported into a
new SQLite file, or into the database that is named. The figures are those of the whole command, its start included.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.process import ROOT

LENGTH = 50
"""Messages of a session."""
WORDS = [
    *("garden", "river", "city", "train", "coffee", "morning", "evening", "meeting", "project", "paint", "music"),
    *("travel", "winter", "summer", "fish", "bread", "family", "doctor", "school", "budget", "report", "answer"),
]

Message = tuple[str, str, str, int]
"""An id, a role, a text and a time in seconds."""


def sessions(count: int) -> Iterator[tuple[int, list[Message]]]:
    chance = random.Random(1)
    for n in range(count // LENGTH):
        yield (
            n,
            [
                (
                    f"m{n}-{k}",
                    ("user", "assistant")[k % 2],
                    " ".join(chance.choices(WORDS, k=30)),
                    1_700_000_000 + n * 1000 + k,
                )
                for k in range(LENGTH)
            ],
        )


def iso(time: int) -> str:
    return datetime.fromtimestamp(time, UTC).isoformat()


def lines(count: int) -> Iterator[Any]:
    for n, messages in sessions(count):
        if n % 10 == 0:
            yield {"type": "user", "userId": f"u{n // 10}"}
        yield {"type": "session", "sessionId": f"s{n}", "userId": f"u{n // 10}"}
        for id, role, text, time in messages:
            yield {
                "type": "message",
                "sessionId": f"s{n}",
                "messageId": id,
                "role": role,
                "content": text,
                "createdAt": time,
            }


def openai(count: int) -> Iterator[Any]:
    for n, messages in sessions(count):
        said = [
            {
                "id": id,
                "object": "thread.message",
                "created_at": time,
                "thread_id": f"s{n}",
                "role": role,
                "content": [{"type": "text", "text": {"value": text, "annotations": []}}],
                "assistant_id": None,
                "run_id": None,
                "attachments": [],
                "metadata": {},
            }
            for id, role, text, time in messages
        ]
        yield {"id": f"s{n}", "object": "thread", "created_at": messages[0][3], "user": f"u{n // 10}", "messages": said}


def chats(count: int) -> Iterator[Any]:
    for n, messages in sessions(count):
        said = [{"id": id, "role": role, "content": text, "created_at": iso(time)} for id, role, text, time in messages]
        yield {"id": f"s{n}", "user": f"u{n // 10}", "messages": said}


def langgraph(count: int) -> Iterator[Any]:
    for n, messages in sessions(count):
        said = [
            {"type": kind, "data": {"id": id, "type": kind, "content": text, "additional_kwargs": {}}}
            for id, role, text, _ in messages
            for kind in (("human" if role == "user" else "ai"),)
        ]
        yield {"session_id": f"s{n}", "user_id": f"u{n // 10}", "messages": said}


def chatgpt(count: int) -> list[Any]:
    found: list[Any] = []
    for n, messages in sessions(count):
        nodes = {
            id: {
                "id": id,
                "parent": messages[k - 1][0] if k else None,
                "children": [],
                "message": {
                    "id": id,
                    "author": {"role": role, "name": None, "metadata": {}},
                    "create_time": time,
                    "update_time": None,
                    "content": {"content_type": "text", "parts": [text]},
                    "status": "finished_successfully",
                    "end_turn": True,
                    "weight": 1.0,
                    "metadata": {"model_slug": "gpt-4o"},
                    "recipient": "all",
                },
            }
            for k, (id, role, text, time) in enumerate(messages)
        }
        found.append({"id": f"s{n}", "title": "x", "mapping": nodes, "current_node": messages[-1][0]})
    return found


def zep(count: int) -> dict[str, Any]:
    found: list[Any] = []
    for n, messages in sessions(count):
        said = [
            {"uuid": id, "role": "x", "role_type": role, "content": text, "token_count": 30, "created_at": iso(time)}
            for id, role, text, time in messages
        ]
        found.append({"session_id": f"s{n}", "user_id": f"u{n // 10}", "messages": said})
    return {"sessions": found}


def julep(count: int) -> dict[str, Any]:
    found: list[Any] = []
    for n, messages in sessions(count):
        said = [
            {"id": id, "role": role, "content": text, "source": "api_request", "timestamp": time, "token_count": 30}
            for id, role, text, time in messages
        ]
        found.append({"id": f"s{n}", "user": f"u{n // 10}", "entries": said})
    return {"sessions": found}


def honcho(count: int) -> dict[str, Any]:
    found = [
        {
            "id": id,
            "peer_id": f"u{n // 10}" if role == "user" else "assistant",
            "session_id": f"s{n}",
            "workspace_id": "default",
            "content": text,
            "metadata": {},
            "created_at": iso(time),
            "token_count": 30,
        }
        for n, messages in sessions(count)
        for id, role, text, time in messages
    ]
    return {"messages": found}


def letta(count: int) -> dict[str, Any]:
    found: list[Any] = []
    for n, messages in sessions(count):
        said = [
            {"id": id, "role": role, "content": [{"type": "text", "text": text}], "created_at": iso(time)}
            for id, role, text, time in messages
        ]
        found.append({"id": f"a{n}", "name": f"a{n}", "system": "x", "block_ids": [], "messages": said})
    return {"agents": found}


def mem0(count: int) -> dict[str, Any]:
    """Memories in place of messages."""
    return {
        "results": [
            {"id": id, "memory": text, "hash": "x", "user_id": f"u{n}", "created_at": iso(time), "updated_at": None}
            for n, messages in sessions(count)
            for id, _, text, time in messages
        ]
    }


FILES: dict[str, Callable[[int], Any]] = {
    "recallql": lines,
    **{made.__name__: made for made in (openai, chatgpt, chats, mem0, zep, julep, langgraph, honcho, letta)},
}


def write(file: Path, value: Any) -> None:
    with file.open("w") as written:
        if isinstance(value, dict | list):
            json.dump(value, written)
        else:
            written.writelines(json.dumps(each) + "\n" for each in value)


def measure(system: str, count: int, database: str | None, folder: Path) -> None:
    file = folder / f"{system}.json"
    write(file, FILES[system](count))
    url = database or f"sqlite:///{folder / system}.db"
    command = [sys.executable, "-m", "recallql", "import", str(file), "--database-url", url]
    if system != "recallql":
        command += ["--from", system]
    before = os.times()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    taken = after.children_user + after.children_system - before.children_user - before.children_system
    print(f"{system:<10}{count:>9,}{taken:>8.2f} s{count / taken:>9,.0f} a second")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("systems", nargs="*", metavar="SYSTEM", help=", ".join(FILES))
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--into", metavar="DATABASE_URL")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for system in options.systems or FILES:
            measure(system, options.messages, options.into, Path(folder))


if __name__ == "__main__":
    main()
