"""Threads for long work: shared fairly between credentials, and ended with the request."""

import asyncio
import time
from collections.abc import Callable
from threading import Event
from typing import Any

import pytest
from sqlalchemy import literal_column, select, text

from models.allowance import Allowance
from models.errors import TookTooLong
from models.heavy import HEAVY
from models.rows import UserRow
from models.sqlite.database import SqliteStore
from models.sqlite.reading import SqliteReader
from models.statements import Statement
from models.threads import Threads
from tests.servers import Server


def run(scene: Callable[[Threads], Any], count: int = 2) -> None:
    async def play() -> None:
        threads = Threads("test", count)
        try:
            await asyncio.wait_for(scene(threads), 20)
        finally:
            await asyncio.to_thread(threads.close)

    asyncio.run(play())


def test_one_credential_never_has_the_last_thread() -> None:
    async def scene(threads: Threads) -> None:
        gate = Event()
        held = [asyncio.create_task(threads.run(Allowance(credential="many"), gate.wait)) for _ in range(20)]
        await asyncio.sleep(0)
        assert await threads.run(Allowance(credential="one"), lambda: "at once") == "at once"
        gate.set()
        assert await asyncio.gather(*held) == [True] * 20

    run(scene)


def test_credentials_that_wait_take_turns() -> None:
    async def scene(threads: Threads) -> None:
        gate, order = Event(), list[str]()
        blocking = [asyncio.create_task(threads.run(Allowance(credential=name), gate.wait)) for name in ("x", "y")]
        await asyncio.sleep(0)
        waiting = [
            asyncio.create_task(threads.run(Allowance(credential=name), order.append, name))
            for name in ["many"] * 10 + ["one"] + ["another"]
        ]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*blocking, *waiting)
        assert max(order.index("one"), order.index("another")) <= 3, order

    run(scene)


def test_what_waits_does_not_start_once_its_request_has_ended() -> None:
    async def scene(threads: Threads) -> None:
        gate, started = Event(), list[int]()
        blocking = asyncio.create_task(threads.run(Allowance(credential="a"), gate.wait))
        await asyncio.sleep(0)
        late = Allowance(0.01, credential="a")
        waiting = asyncio.create_task(threads.run(late, started.append, 1))
        gone = asyncio.create_task(threads.run(Allowance(credential="a"), started.append, 2))
        await asyncio.sleep(0.02)
        gone.cancel()
        gate.set()
        await blocking
        with pytest.raises(TookTooLong):
            await waiting
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert started == []
        await threads.run(Allowance(credential="a"), started.append, 3)
        assert started == [3]

    run(scene)


def test_a_function_that_nobody_waits_for_any_more_ends_and_gives_its_thread_back() -> None:
    def work(allowance: Allowance, ended: Event) -> None:
        try:
            while True:
                allowance.check()
                time.sleep(0.001)
        finally:
            ended.set()

    async def scene(threads: Threads) -> None:
        allowance, ended = Allowance(credential="a"), Event()
        task = asyncio.create_task(threads.run(allowance, work, allowance, ended))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(ended.wait, 5)
        assert await threads.run(Allowance(credential="a"), lambda: 1) == 1

    run(scene, count=1)


LONG = Statement(
    select(literal_column("printf('%.*c', 3000000, 'x')").label("content")).select_from(text("(VALUES (1), (2))")),
    UserRow,
)
"""A statement that gives more bytes than any number of requests may hold at the same time."""


async def take_all(database: SqliteStore) -> None:
    for credential in range(HEAVY):
        await asyncio.wait_for(database.heavy.take(credential), 5)


def give_all_back(database: SqliteStore) -> None:
    for credential in range(HEAVY):
        database.heavy.give_back(credential)


@pytest.mark.sqlite
def test_reads_side_by_side_take_one_place_for_their_request(server: Server) -> None:
    async def read() -> None:
        database = server.app.state.database
        allowance = Allowance(30, 10**9, "one")
        reader = SqliteReader(database, allowance)
        await asyncio.gather(*(reader.fetch(LONG, {}, slowly=True) for _ in range(2)))
        allowance.close()
        await take_all(database)
        give_all_back(database)

    server.host.wait_for(read())


@pytest.mark.sqlite
def test_a_read_whose_request_has_ended_keeps_no_place(server: Server) -> None:
    async def read() -> None:
        database = server.app.state.database
        await take_all(database)
        reading = asyncio.create_task(SqliteReader(database, Allowance(0.5, 10**9, "one")).fetch(LONG, {}, slowly=True))
        await asyncio.sleep(0.7)
        give_all_back(database)
        with pytest.raises(TookTooLong):
            await reading
        await take_all(database)
        give_all_back(database)

    server.host.wait_for(read())


@pytest.mark.sqlite
def test_what_has_no_limit_of_bytes_takes_no_place_of_a_request(server: Server) -> None:
    async def read() -> None:
        database = server.app.state.database
        await take_all(database)
        for _ in range(3):
            rows = await asyncio.wait_for(SqliteReader(database, Allowance()).fetch(LONG, {}, slowly=True), 10)
            assert len(rows) == 2
        give_all_back(database)

    server.host.wait_for(read())
