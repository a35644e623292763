"""A statement that returns too much is broken off, and nothing of it stays in memory."""

import asyncio
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from models.allowance import Heavy
from models.postgres.receiving import Receiving


class Driver(asyncio.Protocol):
    """The driver's protocol, which has no use for what it gets."""


class Rows:
    """Rows that a statement has read."""


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def broken_off() -> "weakref.ref[Rows]":
    """The rows of a statement that was broken off, since it returned ten bytes too many."""
    receiving = Receiving(Driver())
    loop = asyncio.get_running_loop()
    result: asyncio.Future[Any] = loop.create_future()

    async def statement(rows: Rows) -> Any:
        assert rows is not None
        return await result

    rows = Rows()
    held = weakref.ref(rows)
    running = statement(rows)
    del rows
    loop.call_soon(receiving.data_received, bytes(20))
    try:
        await receiving.up_to(10, running)
    except Heavy:
        return held
    raise AssertionError("the statement was not broken off")


@pytest.mark.usefixtures("no_collector")
def test_what_a_statement_had_read_is_freed_without_the_collector() -> None:
    assert asyncio.run(broken_off())() is None
