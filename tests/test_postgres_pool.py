"""The connections of a process to PostgreSQL: their number, whose turn it is, and statements that are broken off."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import pytest
from sqlalchemy import literal_column, select, text

import models.postgres.pool
from models.allowance import LIGHT, Allowance
from models.errors import Exhausted, TooLarge
from models.heavy import HEAVY
from models.postgres.connecting import Address
from models.postgres.database import PostgresStore
from models.rows import UserRow
from models.statements import Statement
from tests.clusters import Cluster, play, until

pytestmark = pytest.mark.xdist_group("clusters")

MEBIBYTE = 1024 * 1024

PIDS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'recallql' AND backend_type = 'client backend'"
SLEEPING = f"{PIDS} AND state = 'active' AND query LIKE '%pg_sleep%' AND query NOT LIKE '%pg_stat_activity%'"


@asynccontextmanager
async def opened(cluster: Cluster, connections: int = 4) -> AsyncGenerator[PostgresStore]:
    store = await PostgresStore.open(Address(cluster.url()), durable=True, connections=connections)
    try:
        yield store
    finally:
        await store.close()


sleep = Statement(select(literal_column("pg_sleep(60)::text").label("slept")))
nap = Statement(select(literal_column("pg_sleep(0.5)::text").label("slept")))
one = Statement(select(literal_column("1").label("one")))
pid = Statement(select(literal_column("pg_backend_pid()").label("pid")))


async def own_pid(store: PostgresStore) -> int:
    """The server's process for the connection that a read gets."""
    (row,) = await store.reader.fetch(pid, {})
    (number,) = cast("tuple[int]", tuple(row))
    return number


def texts(rows: int, size: int) -> Statement[UserRow]:
    """Rows of users whose texts have this many bytes."""
    series = text(f"generate_series(1, {rows})")
    return Statement(select(literal_column(f"repeat('x', {size})").label("about")).select_from(series), UserRow)


def test_a_credential_leaves_a_connection_to_others(cluster: Cluster) -> None:
    async def scene() -> None:
        async with opened(cluster, connections=6) as store:
            many = [
                asyncio.create_task(store.read_within(Allowance(60, credential="many")).fetch(sleep, {}))
                for _ in range(8)
            ]
            await asyncio.sleep(0.2)
            other = store.read_within(Allowance(60, credential="other"))
            assert [tuple(row) for row in await asyncio.wait_for(other.fetch(one, {}), 5)] == [(1,)]
            for task in many:
                task.cancel()
            await asyncio.wait(many)

    play(scene)


def test_who_gets_no_connection_is_told_so_in_time(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.postgres.pool, "PATIENCE", 1.0)

    async def scene() -> None:
        async with opened(cluster, connections=2) as store:
            allowance = Allowance(60)
            sleeping = asyncio.create_task(store.reader.fetch(sleep, {}))
            await asyncio.sleep(0.1)
            with pytest.raises(Exhausted, match="All 1 connections to the database are busy"):
                await store.read_within(allowance).fetch(one, {})
            began = time.monotonic()
            with pytest.raises(Exhausted):
                await store.read_within(allowance).fetch(one, {})
            assert time.monotonic() - began < 0.8, "a request waits once"
            sleeping.cancel()
            await asyncio.wait([sleeping])
            assert await store.reader.fetch(one, {})

    play(scene)


def test_a_cancelled_read_ends_on_the_server_and_its_connection_is_used_again(cluster: Cluster) -> None:
    async def scene() -> None:
        async with opened(cluster, connections=2) as store:
            before = await own_pid(store)
            sleeping = asyncio.create_task(store.reader.fetch(sleep, {}))
            await until(lambda: cluster.ask(SLEEPING))
            sleeping.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sleeping
            assert await own_pid(store) == before
            assert not await cluster.ask(SLEEPING)

    play(scene)


def test_a_connection_that_does_not_come_to_rest_is_replaced(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.postgres.pool, "MENDING", 0.3)

    async def scene() -> None:
        async with opened(cluster, connections=2) as store:
            before = await own_pid(store)
            sleeping = asyncio.create_task(store.reader.fetch(sleep, {}))
            await until(lambda: cluster.ask(SLEEPING))
            os.kill(before, signal.SIGSTOP)
            try:
                sleeping.cancel()
                assert await own_pid(store) != before
            finally:
                os.kill(before, signal.SIGCONT)

    play(scene)


def test_a_read_on_a_connection_that_was_ended_is_repeated_on_another(cluster: Cluster) -> None:
    async def scene() -> None:
        async with opened(cluster, connections=2) as store:
            assert await store.reader.fetch(one, {})
            sleeping = asyncio.create_task(store.reader.fetch(nap, {}))
            await until(lambda: cluster.ask(SLEEPING))
            await cluster.ask(f"SELECT pg_terminate_backend(pid) FROM ({PIDS}) AS ours")
            assert await sleeping
            assert await store.reader.fetch(one, {})

    play(scene)


def test_unused_connections_are_closed(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.postgres.pool, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(models.postgres.pool, "UNUSED", 0.2)

    async def scene() -> None:
        async with opened(cluster, connections=12) as store:
            await asyncio.gather(*(store.read_within(Allowance(60, credential=n)).fetch(nap, {}) for n in range(6)))
            assert len(await cluster.ask(PIDS)) == 6

            async def one_is_left() -> bool:
                return len(await cluster.ask(PIDS)) == 1

            await until(one_is_left)

    play(scene)


def test_rows_are_counted_while_they_come(cluster: Cluster) -> None:
    async def scene() -> None:
        async with opened(cluster) as store:
            allowance = Allowance(60, 16 * MEBIBYTE, "one")
            # As much as the server's memory could not hold: it must be broken off.
            with pytest.raises(TooLarge):
                await store.read_within(allowance).fetch(texts(1_000_000, 100_000), {})
            allowance.close()
            assert await store.read_within(Allowance(60, 16 * MEBIBYTE)).fetch(texts(3, 1000), {})

    play(scene)


def test_what_is_small_is_counted_too(cluster: Cluster) -> None:
    async def scene() -> None:
        async with opened(cluster) as store:
            allowance = Allowance(60, 100_000)
            read = store.read_within(allowance)
            for _ in range(9):
                await read.fetch(texts(10, 1000), {})
            with pytest.raises(TooLarge):
                await read.fetch(texts(10, 1000), {})

    play(scene)


def test_large_reads_wait_for_a_slot_without_holding_a_connection(cluster: Cluster) -> None:
    async def scene() -> None:
        async with opened(cluster, connections=4) as store:
            for other in range(HEAVY):
                await store.heavy.take(other)
            allowance = Allowance(60, 64 * MEBIBYTE, "one")
            large = asyncio.create_task(store.read_within(allowance).fetch(texts(8, MEBIBYTE), {}))
            await asyncio.sleep(0.3)
            assert not large.done()
            assert await asyncio.wait_for(store.reader.fetch(texts(3, 1000), {}), 5)
            store.heavy.give_back(0)
            assert len(await large) == 8
            assert allowance.bytes_left == 56 * MEBIBYTE
            assert allowance.slot is not None
            allowance.close()

    play(scene)


def test_rows_without_long_texts_may_be_many(cluster: Cluster) -> None:
    async def scene() -> None:
        async with opened(cluster) as store:
            allowance = Allowance(60, 2 * LIGHT)
            rows = await store.read_within(allowance).fetch(texts(500_000, 1), {})
            assert len(rows) == 500_000
            assert allowance.most_bytes - allowance.bytes_left == 500_000
            allowance.close()

    play(scene)
