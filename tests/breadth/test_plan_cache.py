"""Documents and their plans are kept in bounded memory: a flood of new ones leaves what is in use."""

import asyncio
import gc
import tracemalloc
from hashlib import sha256
from typing import Any

import pytest

from breadth import Executor, PlainContext, Request
from breadth.cache import WeighedCache
from tests.breadth.everything import Context, schema
from tests.breadth.generated import describe

HOT = "{ __typename }"


@pytest.mark.parametrize("size", [2, 3, 5, 10, 64, 1024])
def test_a_key_used_twice_survives_a_flood(size: int) -> None:
    cache: WeighedCache[str, object] = WeighedCache(size)
    hot = object()
    cache.put("hot", hot)
    assert cache.get("hot") is hot
    for number in range(5000):
        cache.put(f"{number}", object())
        assert len(cache) <= size
    assert cache.get("hot") is hot


@pytest.mark.parametrize("size", [2, 3, 5, 10, 64, 1024])
def test_there_are_never_more_entries_than_its_size(size: int) -> None:
    cache: WeighedCache[int, str] = WeighedCache(size)
    for number in range(3 * size + 100):
        cache.put(number, f"{number}")
        assert len(cache) <= size
        # Each is used again, and a few of those before.
        for known in range(max(0, number - 3), number + 1):
            assert cache.get(known) in (f"{known}", None)
            assert len(cache) <= size
    assert len(cache) == size, "what it may hold is not used"


def test_what_is_used_is_kept_and_the_least_recently_used_goes_first() -> None:
    cache: WeighedCache[int, str] = WeighedCache(10)
    for number in range(8):
        cache.put(number, f"{number}")
        assert cache.get(number) == f"{number}"
    for number in range(1, 8):
        assert cache.get(number) == f"{number}"
    # One more that is used takes the place of the one not used for longest, which is on trial then.
    cache.put(8, "8")
    assert cache.get(8) == "8"
    for number in range(100, 200):
        cache.put(number, f"{number}")
    assert cache.get(0) is None
    assert [cache.get(number) for number in range(1, 9)] == [f"{number}" for number in range(1, 9)]


def test_an_unknown_key_is_none() -> None:
    cache: WeighedCache[str, str] = WeighedCache(10)
    assert cache.get("nothing") is None
    assert len(cache) == 0


def test_a_flood_of_documents_leaves_the_plan_of_one_in_use() -> None:
    size = 50
    executor = Executor(schema, describe, documents=size)

    async def ask(query: str) -> None:
        answer = await executor.execute(Request(query), PlainContext())
        assert answer.executed
        assert "errors" not in answer.body, answer.body

    def kept() -> tuple[object, object]:
        document = executor._documents.kept(HOT)
        assert document is not None
        (cached,) = {**document.plans._trial, **document.plans._kept}.values()
        return document, cached

    async def flood() -> None:
        await ask(HOT)
        await ask(HOT)
        hot = kept()
        for number in range(2000):
            await ask(f"{{ a{number}: __typename }}")
            assert len(executor._documents._kept) <= size
        await ask(HOT)
        found = kept()
        assert found[0] is hot[0]
        assert found[1] is hot[1]

    asyncio.run(flood())


def test_wrong_and_large_documents_do_not_fill_the_memory() -> None:
    size = 20
    executor = Executor(schema, describe, documents=size)

    def ask(query: str) -> None:
        asyncio.run(executor.execute(Request(query), PlainContext()))

    ask(HOT)
    hot = executor._documents.kept(HOT)
    assert hot is not None
    for number in range(500):
        for query in (f"{{ nonsense{number} }}", f"{{ {number}", f"query A{number} {HOT} query B {HOT}"):
            ask(query)
            assert len(executor._documents._kept) <= size
    held = len(executor._documents._kept)
    for number in range(3):
        query = f"# {number} {'x' * 70_000}\n{HOT}"
        ask(query)
        assert query not in {**executor._documents._kept._trial, **executor._documents._kept._kept}
    assert len(executor._documents._kept) == held
    assert executor._documents.kept(HOT) is hot


# What is kept is bounded in bytes

BYTES = 1024 * 1024


def large(number: int) -> str:
    return "{" + " ".join(f"a{i}x{number}: cat {{ number name title nick }}" for i in range(50)) + "}"


def caches_of(executor: Executor) -> list[WeighedCache[Any, Any]]:
    return [executor._documents._kept, executor._documents._refused, executor._persisted]


def taken_by(executor: Executor) -> int:
    """Bytes that the caches of an executor hold, as Python's allocator counts them: what is freed with them."""
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for cache in caches_of(executor):
        cache._trial.clear()
        cache._kept.clear()
    gc.collect()
    return before - tracemalloc.get_traced_memory()[0]


@pytest.mark.parametrize("flood", ["distinct", "refused", "persisted", "include"])
def test_what_is_kept_of_documents_is_bounded_in_bytes(flood: str) -> None:
    executor = Executor(schema, describe, plan_bytes=BYTES)

    async def ask(number: int) -> None:
        query, variables = large(number), {}
        if flood == "refused":
            query = query.replace("title", f"nothing{number}", 1)
        if flood == "include":
            flags = [f"f{i}" for i in range(4)]
            declared = ", ".join(f"${flag}: Boolean!" for flag in flags)
            fields = " ".join(f"a{i}: cat @include(if: ${flags[i % 4]}) {{ number name title }}" for i in range(40))
            query = f"query ({declared}) {{ __typename {fields} }}"
            variables = {flag: bool(number >> place & 1) for place, flag in enumerate(flags)}
        hash = sha256(query.encode()).hexdigest() if flood == "persisted" else None
        await executor.execute(Request(query, variables, sha256=hash), Context())

    async def play() -> None:
        tracemalloc.start()
        try:
            for number in range(10):
                await ask(number)
            weight = sum(cache.weight for cache in caches_of(executor))
            assert 0 < weight <= BYTES
            assert taken_by(executor) < 1.25 * BYTES
        finally:
            tracemalloc.stop()

    asyncio.run(play())
