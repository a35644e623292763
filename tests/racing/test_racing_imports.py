"""Imports of the same file at the same time, while clients write."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.archives import Line, Outcome, run, write
from tests.places import Place
from tests.racing.races import ADD, Servers, codes_of, count, nothing_is_left, said, send
from tests.servers import Api

SESSIONS, MESSAGES = 6, 8


def _lines() -> list[Line]:
    messages: list[Line] = [
        {
            "type": "message",
            "sessionId": f"s{session}",
            "messageId": str(n),
            "role": "USER",
            "content": "I live in Rome.",
        }
        for n in range(MESSAGES)
        for session in range(SESSIONS)
    ]
    sessions: list[Line] = [{"type": "session", "sessionId": f"s{n}", "userId": f"u{n % 2}"} for n in range(SESSIONS)]
    users: list[Line] = [
        {"type": "user", "userId": f"u{n}", "documents": [{"documentId": "d", "title": "t", "content": "c"}]}
        for n in range(2)
    ]
    return [
        *messages,
        *sessions,
        *users,
        {"type": "memory", "userId": "u0", "memoryId": "m", "kind": "FACT", "content": "c"},
    ]


@pytest.mark.parametrize("skips", [False, True], ids=["strict", "skipping"])
def test_two_imports_of_a_file_add_it_once(two_servers: Servers, place: Place, tmp_path: Path, skips: bool) -> None:
    file, ended = write(tmp_path / "in.ndjson", _lines()), threading.Event()
    left = threading.Semaphore(0)

    def imports(number: int) -> Callable[[Api], Outcome]:
        options = ["--skip-bad", str(tmp_path / f"bad-{number}")] if skips else []

        def begin(_: Api) -> Outcome:
            try:
                return run("import", file, *options, *place.option)
            finally:
                left.release()

        return begin

    def append(api: Api) -> None:
        turns = 0
        while not ended.is_set():
            assert codes_of(send(api, ADD, sessionId="s0", messages=said("hello"))) == []
            appended.append(turns)

    def watch(_: Api) -> None:
        for _import in range(2):
            left.acquire()
        ended.set()

    appended: list[int] = []
    operations: list[Callable[[Api], Any]] = [imports(0), imports(1), append, watch]
    first, second, *_ = two_servers.race(*operations)
    assert (first.status, second.status) == (0, 0), first.err + second.err
    assert count(place, "messages") == SESSIONS * MESSAGES + len(appended)
    assert count(place, "sessions") == SESSIONS
    assert count(place, "documents") == 2
    assert count(place, "memories", "method = 'DECLARED'") == 1
    assert count(place, "memories", "method = 'RULE'") == 2
    nothing_is_left(place)
