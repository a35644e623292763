"""Connections that are lost while something is written: nothing acknowledged is lost, and nothing is half done."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import asyncpg
import pytest

from models.errors import ConstraintViolated, Unavailable
from models.leases import take_lease
from models.postgres.attempts import TAKEN_TIMES
from models.store import Store, Transaction, opened
from resolvers.operation_context import OperationContext
from resolvers.times import Clock
from resolvers.users import USER
from tests.postgres_places import PostgresPlace
from tests.racing.races import END, count

T = TypeVar("T")

SLEEPS = """DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'
  AND datname = current_database() AND application_name = 'recallql') LOOP
    PERFORM pg_stat_clear_snapshot(); END LOOP; END $$"""
OPEN = """SELECT 1 FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"""


def run(place: PostgresPlace, work: Callable[[Store], Awaitable[T]]) -> T:
    """Runs `work` with a store."""

    async def go() -> T:
        async with opened(place.database) as store:
            return await work(store)

    return asyncio.run(go())


async def end_connections(place: PostgresPlace) -> None:
    await asyncio.to_thread(place.query, END)


async def add(write: Transaction, store: Store, user_id: str) -> None:
    context = OperationContext(store, Clock())
    await USER.insert(write, context, USER.new({"user_id": user_id}))


def test_a_transaction_whose_connection_is_lost_runs_again(postgres_place: PostgresPlace) -> None:
    async def work(store: Store) -> int:
        calls = 0

        async def operation(write: Transaction) -> int:
            nonlocal calls
            calls += 1
            await add(write, store, "u")
            if calls == 1:
                await end_connections(postgres_place)
            await add(write, store, "v")
            return calls

        return await store.write(operation)

    assert run(postgres_place, work) == 2
    assert postgres_place.query("SELECT user_id FROM users ORDER BY user_id") == [("u",), ("v",)]


def test_a_database_that_goes_away_again_and_again_makes_a_write_fail(postgres_place: PostgresPlace) -> None:
    async def work(store: Store) -> None:
        async def operation(write: Transaction) -> None:
            await add(write, store, "u")
            await end_connections(postgres_place)
            await add(write, store, "v")

        with pytest.raises(Unavailable):
            await store.write(operation)

        async def after(write: Transaction) -> None:
            await add(write, store, "w")

        await store.write(after)

    run(postgres_place, work)
    assert postgres_place.query("SELECT user_id FROM users") == [("w",)]


@pytest.fixture
def slow_commits(postgres_place: PostgresPlace) -> Iterator[None]:
    """Commits that insert a user take long."""
    wait = "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(10); RETURN NULL; END'"
    trigger = """CREATE CONSTRAINT TRIGGER waits AFTER INSERT ON users DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION wait()"""
    postgres_place.query(wait)
    postgres_place.query(trigger)
    yield
    postgres_place.query("DROP FUNCTION wait() CASCADE")


@pytest.mark.usefixtures("slow_commits")
def test_a_write_whose_connection_is_lost_during_the_commit_is_not_repeated(postgres_place: PostgresPlace) -> None:
    async def work(store: Store) -> int:
        calls = 0

        async def operation(write: Transaction) -> None:
            nonlocal calls
            calls += 1
            await add(write, store, "u")

        writing = asyncio.create_task(store.write(operation))
        await asyncio.to_thread(postgres_place.query, SLEEPS)
        await end_connections(postgres_place)
        with pytest.raises(Unavailable, match="may have been kept, or not"):
            await writing
        return calls

    assert run(postgres_place, work) == 1


def test_a_write_is_finished_although_its_caller_leaves(postgres_place: PostgresPlace) -> None:
    async def work(store: Store) -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def operation(write: Transaction) -> None:
            begun.set()
            await go_on.wait()
            await add(write, store, "u")

        writing = asyncio.create_task(store.write(operation))
        await begun.wait()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        go_on.set()
        # The store finishes what was begun before it closes.

    run(postgres_place, work)
    assert count(postgres_place, "users") == 1


@pytest.mark.parametrize("error", [ValueError("no"), asyncio.CancelledError()], ids=["failed", "cancelled"])
def test_no_connection_comes_back_within_a_transaction(postgres_place: PostgresPlace, error: BaseException) -> None:
    async def work(store: Store) -> Any:
        async def operation(write: Transaction) -> None:
            await add(write, store, "u")
            raise error

        for _ in range(10):
            with pytest.raises(type(error)):
                await store.write(operation)
        return await asyncio.to_thread(postgres_place.query, OPEN)

    assert run(postgres_place, work) == []
    assert count(postgres_place, "users") == 0


def test_a_database_that_takes_no_writes_is_not_ready(postgres_place: PostgresPlace) -> None:
    async def work(store: Store) -> None:
        await store.check()
        await asyncio.to_thread(postgres_place.query, alter.format("SET default_transaction_read_only = on"))
        await end_connections(postgres_place)
        with pytest.raises(Unavailable):
            await store.check()

    alter = f"ALTER DATABASE {postgres_place.name} {{}}"
    try:
        run(postgres_place, work)
    finally:
        postgres_place.query(alter.format("RESET default_transaction_read_only"))


def test_a_key_that_stays_taken_is_reported_after_a_few_attempts(postgres_place: PostgresPlace) -> None:
    async def work(store: Store) -> int:
        calls = 0

        async def operation(write: Transaction) -> None:
            nonlocal calls
            calls += 1
            await add(write, store, "u")
            await add(write, store, "u")

        with pytest.raises(ConstraintViolated):
            await store.write(operation)
        return calls

    assert run(postgres_place, work) == TAKEN_TIMES


def test_an_error_that_an_operation_ignores_is_no_acknowledged_write(postgres_place: PostgresPlace) -> None:
    async def work(store: Store) -> None:
        async def operation(write: Transaction) -> None:
            await add(write, store, "u")
            with contextlib.suppress(asyncpg.UniqueViolationError):
                await add(write, store, "u")

        with pytest.raises(RuntimeError):
            await store.write(operation)

    run(postgres_place, work)
    assert count(postgres_place, "users") == 0


def test_after_a_deadlock_both_transactions_are_kept(postgres_place: PostgresPlace) -> None:
    async def work(store: Store) -> None:
        async def operation(write: Transaction, *names: str) -> None:
            for name in names:
                await take_lease(write, name=name, holder=bytes(16), now=0, length=1)
                await asyncio.sleep(0.05)

        await asyncio.gather(
            *(store.write(lambda write, names=names: operation(write, *names)) for names in ("ab", "ba"))
        )

    run(postgres_place, work)
    assert count(postgres_place, "leases") == 2
