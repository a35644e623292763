"""Reads of one snapshot of a database, without an event loop."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from models.postgres.connecting import Address, kind_of
from models.postgres.faults import is_postgres, problem_of
from models.postgres.forms import Form, form_of
from models.postgres.reading import fetched
from models.statements import Parameters, Statement
from models.store import R, Snapshot

T = TypeVar("T")


class Kept:
    """A connection and the loop that runs its calls one by one. Raises `DatabaseProblem` for the driver's errors."""

    def __init__(self, address: Address, runner: asyncio.Runner) -> None:
        self._address = address
        self._runner = runner
        self.connection: Any = None
        self.kind = "postgres"

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        try:
            return self._runner.run(call)
        except Exception as error:
            if is_postgres(error):
                raise problem_of(error, self._address.name, self._address.user) from error
            raise


@contextmanager
def kept(address: Address, connect: Callable[[], Coroutine[Any, Any, Any]]) -> Generator[Kept]:
    """A connection that is closed at the end of the block."""
    with asyncio.Runner() as runner:
        kept = Kept(address, runner)
        kept.connection = kept.run(connect())
        try:
            kept.kind = kept.run(kind_of(kept.connection))
            yield kept
        finally:
            kept.run(kept.connection.close())


async def _next(batches: AsyncGenerator[list[Any]]) -> list[Any]:
    return await anext(batches, list[Any]())


class PostgresSnapshot(Snapshot):
    """A snapshot, in a transaction of its own connection."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    def rows(self, statement: Statement[R], parameters: Parameters) -> Iterator[R]:
        form = form_of(statement, self._kept.kind)
        batches = fetched(self._kept.run(self._open(form, parameters)), self._kept.connection.receiving)
        while rows := self._kept.run(_next(batches)):
            yield from rows

    async def _open(self, form: Form, parameters: Parameters) -> Any:
        return await self._kept.connection.cursor(form.text, *form.bound(parameters), record_class=form.row)
