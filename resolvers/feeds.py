"""Feeds: the new messages of a session, read once for all its subscribers."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple
from weakref import WeakValueDictionary

from models.allowance import Allowance
from models.errors import TooLarge, Unavailable
from models.keys import identity
from models.messages import MESSAGES_OF_SESSION, messages_after
from models.rows import MessageRow, SessionRow
from models.scope import Scope
from models.sessions import session_by_key
from models.store import Store
from resolvers.connections import Edge, Listed
from resolvers.cursors import CursorForm, Cursors
from resolvers.filters import Filter

MOST_TOGETHER = 100
"""The most messages that are read together."""

PIECE_SIZE = 2 * 1024 * 1024
"""The most bytes of their texts. A single message may have more."""


class Stopped(Unavailable):
    """The server stops; the message is for the client."""

    def __init__(self) -> None:
        super().__init__("The server stops: subscribe again.")


class Place(NamedTuple):
    """A place in the messages of a session: after this sequence of the session with this nonce.

    The nonce is 0 while there is no session; the next one under its key begins at its first message.
    """

    nonce: int
    sequence: int


class Piece(NamedTuple):
    """Messages after a place, with their session; no session if there is none, or it is deleted."""

    session: SessionRow | None
    edges: Sequence[Edge]


class Feed:
    """The messages of one session, for all its subscribers: those at the same place share one read, and its edges."""

    def __init__(
        self,
        database: Store,
        scope: Scope,
        key: bytes,
        running: set[asyncio.Task[Piece]],
        turns: asyncio.Semaphore,
    ) -> None:
        self.scope = scope
        self.key = key
        self.version = 0
        """Grows with each change of the session that the process is told of."""
        self.owners = 0
        """Grows with each change of who may see it."""
        self.last_sequence = 0
        """That of the session when it was read last."""
        self._database = database
        self._running = running
        """The reads of all feeds that are under way."""
        self._turns = turns
        """Lets a few of them go on at the same time."""
        self._has_stopped = False
        self._woken = asyncio.Event()
        self._reads: WeakValueDictionary[tuple[int, Place], asyncio.Task[Piece]] = WeakValueDictionary()
        self._latest: asyncio.Task[Piece] | None = None

    def wake(self, *, owner_changed: bool) -> None:
        self.version += 1
        self.owners += owner_changed
        self._woken.set()
        # Those who wait have the old one.
        self._woken = asyncio.Event()

    def stop(self) -> None:
        """Ends the subscriptions."""
        self._has_stopped = True
        self.wake(owner_changed=True)

    async def changed(self, since: int) -> None:
        """Waits until the version is another one."""
        while self.version == since:
            await self._woken.wait()

    async def after(self, place: Place) -> Piece:
        """What comes after a place. Raises as reads do."""
        if self._has_stopped:
            raise Stopped
        # A read that began before the last notice may have missed what that tells of.
        shared = self.version, place
        read = self._reads.get(shared)
        if read is None or (read.done() and (read.cancelled() or read.exception() is not None)):
            read = self._reads[shared] = self._latest = asyncio.create_task(self._read(place), name="read a feed")
            self._running.add(read)
            read.add_done_callback(self._done)
        return read.result() if read.done() else await asyncio.shield(read)

    def _done(self, read: asyncio.Task[Piece]) -> None:
        self._running.discard(read)
        # Nobody may be left to whom an error could be told; asyncio must not log it as lost.
        if not read.cancelled():
            read.exception()

    async def _read(self, place: Place) -> Piece:
        async with self._turns:
            session = await session_by_key(self._database.reader, self.scope, self.key)
            self.last_sequence = 0 if session is None else session["last_sequence"]
            if session is None or session["deleted_at"] is not None:
                return Piece(None, ())
            first = max(place.sequence if session["nonce"] == place.nonce else 0, session["deleted_through"])
            rows = await self._rows(session, first) if session["last_sequence"] > first else []
            return Piece(session, Listed(rows, cursors_of(session)).edges)

    async def _rows(self, session: SessionRow, after: int) -> list[MessageRow]:
        limit = MOST_TOGETHER
        while True:
            read = self._database.read_within(Allowance(bytes=PIECE_SIZE)) if limit > 1 else self._database.reader
            try:
                return await messages_after(read, session, after, limit)
            except TooLarge:
                limit = max(limit // 4, 1)


def cursors_of(session: SessionRow) -> Cursors:
    """The cursors of a session's messages in their own order."""
    form = CursorForm(MESSAGES_OF_SESSION, "sequence", descending=False, filter=Filter())
    return Cursors(form, identity(session["key"], session["nonce"]))
