"""Reads: each takes a connection for itself, in the turn of its credential."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from sys import maxsize
from typing import TYPE_CHECKING, Any

from models.allowance import LIGHT, Allowance, Heavy
from models.errors import Exhausted, TookTooLong, TooLarge
from models.full_text import FullText
from models.heavy import HeavySlot
from models.postgres import vectors, word_search
from models.postgres.faults import explained, is_gone
from models.postgres.forms import Form, form_of
from models.postgres.pool import Connections
from models.postgres.receiving import Receiving
from models.postgres.replica import Replica
from models.statements import Parameters, Statement
from models.store import R, Reader, Receive
from models.vectors import Vectors

if TYPE_CHECKING:
    from models.postgres.database import PostgresStore

STREAMED_FIRST, STREAMED_TOGETHER, STREAMED_BYTES = 4, 500, 2 * 1024 * 1024
"""The first rows of a stream, and the most rows, and about as many bytes of them, that are in memory together."""

COUNTED_TOGETHER = 32
"""Rows with long texts that are read before their bytes are counted."""

SMALL = 128 * 1024
"""Up to this number of bytes, what the server has sent is counted, and not the texts of each row."""

TOO_LONG = "This took too long; ask for less at once."

Read = Callable[[Any, Form, Sequence[Any], Allowance], Awaitable[list[Any]]]
"""A way to read all rows of a statement."""


class PostgresReader(Reader):
    """The reads of one request. When it is cancelled, as at its deadline, its statement ends on the server, too."""

    full_text: FullText = word_search
    vectors: Vectors = vectors

    def __init__(self, store: "PostgresStore", allowance: Allowance, replica: Replica | None = None) -> None:
        self._store = store
        self._replica = replica if replica is not None and replica.is_close else None
        """The replica, until a read of the request has failed there: then the primary does this one and the others."""
        self._connections: Connections = store.reads if self._replica is None else self._replica.reads
        self.allowance = allowance
        self._slot: HeavySlot | None = None

    async def look_up(self, statement: Statement[R], parameters: Parameters) -> R | None:
        rows = await self.fetch(statement, parameters)
        return rows[0] if rows else None

    async def fetch(self, statement: Statement[R], parameters: Parameters, *, slowly: bool = False) -> list[R]:
        form: Form = statement.forms.get(self._store.kind) or form_of(statement, self._store.kind)
        allowance = self.allowance
        if self._store.listener is not None:
            self._store.observe(form)
        if allowance.is_over:
            raise TookTooLong(TOO_LONG)
        read = _read_bounded if form.wide and allowance.most_bytes < maxsize else _read
        values = form.bound(parameters)
        try:
            async with self._connections.connection(allowance) as connection:
                rows = await read(connection, form, values, allowance)
        except Exception as error:
            rows = await self._read_again(read, form, values, error)
        await allowance.rest()
        return rows

    async def _read_again(self, read: Read, form: Form, values: Sequence[Any], error: Exception) -> list[Any]:
        """Repeats a read that has failed, as long as it may succeed then."""
        repeated = False
        try:
            while True:
                if isinstance(error, Heavy):
                    await self._take_slot()
                    read = _read_counted
                elif self._replica is not None and not isinstance(explained(error), TookTooLong | TooLarge | Exhausted):
                    self._replica.is_close &= not is_gone(error)
                    self._replica, self._connections = None, self._store.reads
                elif is_gone(error) and not repeated:
                    # The server may have been restarted since the connection was last used.
                    self._connections.forget_idle()
                    repeated = True
                else:
                    raise explained(error) from error
                try:
                    async with self._connections.connection(self.allowance) as connection:
                        return await read(connection, form, values, self.allowance)
                except Exception as another:
                    error = another
        finally:
            # An error references this frame: together they would stay, with the rows of the request.
            del error

    async def _take_slot(self) -> None:
        if self._slot is None:
            self._slot = HeavySlot(self._store.heavy, self.allowance)
        await self._slot.take()

    async def stream(self, statement: Statement[Any], parameters: Parameters, receive: Receive) -> None:
        form = form_of(statement, self._store.kind)
        self._store.observe(form)
        try:
            async with self._connections.connection(self.allowance) as connection, _snapshot(connection):
                cursor = await connection.cursor(form.text, *form.bound(parameters))
                async for rows in fetched(cursor, connection.receiving):
                    await self._store.threads.run(self.allowance, _give, rows, receive)
        except Exception as error:
            raise explained(error) from error


def _snapshot(connection: Any) -> Any:
    return connection.transaction(readonly=True)


async def fetched(cursor: Any, receiving: Receiving) -> AsyncGenerator[list[Any]]:
    """The rows of a stream, as many at a time as have room in memory if they are as long as those before."""
    together = STREAMED_FIRST
    while True:
        receiving.size = 0
        rows = await cursor.fetch(together)
        if not rows:
            return
        fit = STREAMED_BYTES * len(rows) // max(1, receiving.size)
        together = max(1, min(4 * together, fit, STREAMED_TOGETHER))
        yield rows


def _give(rows: list[Any], receive: Receive) -> None:
    for row in rows:
        receive(tuple(row))


async def _read(connection: Any, form: Form, values: Sequence[Any], _: Allowance) -> list[Any]:
    return await connection.fetch(form.text, *values, record_class=form.row)


async def _read_bounded(connection: Any, form: Form, values: Sequence[Any], allowance: Allowance) -> list[Any]:
    """Reads rows with long texts; raises `Heavy` when there are too many bytes of them to be read at once."""
    fetching = connection.fetch(form.text, *values, record_class=form.row)
    if form.single and allowance.uncounted:
        allowance.uncounted -= 1
        return await fetching
    receiving = connection.receiving
    rows: list[Any] = await receiving.up_to(LIGHT, fetching)
    size = receiving.size if receiving.size <= SMALL else _bytes_of(rows, form)
    try:
        allowance.has_bytes(size)
    except Exception:
        # The error references this frame, and would keep the rows in memory for as long as it lives.
        rows = []
        raise
    allowance.bytes_left -= size
    return rows


async def _read_counted(connection: Any, form: Form, values: Sequence[Any], allowance: Allowance) -> list[Any]:
    """Reads rows with long texts a few at a time, up to the bytes that the request may still read."""
    rows: list[Any] = []
    some: list[Any] = []
    size = 0
    try:
        async with _snapshot(connection):
            cursor = await connection.cursor(form.text, *values, record_class=form.row)
            while some := await cursor.fetch(COUNTED_TOGETHER):
                size += _bytes_of(some, form)
                allowance.has_bytes(size)
                rows += some
    except Exception:
        rows, some = [], []
        raise
    allowance.bytes_left -= size
    return rows


def _bytes_of(rows: list[Any], form: Form) -> int:
    """The bytes of the long texts of rows."""
    size = 0
    for text in form.wide:
        texts: Iterable[str | None] = map(text, rows)
        size += sum(map(len, filter(None, texts)))
    return size
