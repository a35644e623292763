"""The long connections of one process: how many a credential has, and their end with the credential."""

import asyncio
from collections import Counter
from collections.abc import Hashable
from typing import NamedTuple, Protocol

import structlog

from recallql.auth.credentials import Credentials, Unauthenticated
from recallql.http.admission import credential_of
from recallql.http.throttle import TooMany
from recallql.logs import log_failure
from recallql.settings import Settings
from resolvers.viewers import Viewer

log = structlog.get_logger("recallql.long_connections")

LOOK_EVERY = 0.8
"""Seconds between two looks at all that is open, so that everything ends within a second of its credential."""

AT_ONCE = 32
"""Credentials that are checked in one go, which takes a few milliseconds."""

LAST_REQUESTS = 5.0
"""Seconds that requests over WebSockets have to finish once the server has ended their connections."""


class Stopping(Exception):
    """The server stops; the client may connect again."""


class LongConnection(Protocol):
    """A long connection, as far as `LongConnections` needs to know it."""

    def end(self, error: Exception) -> None:
        """Ends it: its credential is refused (`Unauthenticated`), or the server stops (`Stopping`)."""
        ...


class _Place(NamedTuple):
    authorization: str | None
    credential: Hashable


class LongConnections:
    """Knows all long connections, and asks for their credentials again every second. Used from one event loop.

    One task looks at all of them, for as long as there are any. What has the same credential costs one look-up.
    """

    def __init__(self, credentials: Credentials, settings: Settings) -> None:
        self._credentials = credentials
        self._most_of_user = settings.user_subscribers
        self._most_of_service = settings.service_subscribers
        self._places: dict[LongConnection, _Place] = {}
        self._open: dict[str | None, dict[LongConnection, None]] = {}
        self._counts: Counter[Hashable] = Counter()
        self._looking: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    def enter(self, connection: LongConnection, authorization: str | None, viewer: Viewer) -> None:
        """Counts a long connection, which `leave` has to follow; raises `TooMany` when its credential has too many."""
        credential = credential_of(viewer)
        most = self._most_of_service if viewer.is_service else self._most_of_user
        if self._is_stopping:
            raise Stopping
        if most and self._counts[credential] >= most:
            raise TooMany(f"This credential has {most} subscribers open; at most that many may be.", 1)
        self._counts[credential] += 1
        self._places[connection] = _Place(authorization, credential)
        self._open.setdefault(authorization, {})[connection] = None
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(), name="look at long connections")

    def leave(self, connection: LongConnection) -> None:
        """Ends the count; does nothing if it was not counted."""
        place = self._places.pop(connection, None)
        if place is None:
            return
        self._counts[place.credential] -= 1
        if not self._counts[place.credential]:
            del self._counts[place.credential]
        owned = self._open[place.authorization]
        del owned[connection]
        if not owned:
            del self._open[place.authorization]

    def keep(self, task: asyncio.Task[None]) -> None:
        """Keeps a task of a connection until it is done; `close` waits for it."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """Ends all of them, since the server stops."""
        self._is_stopping = True
        for connection in list(self._places):
            connection.end(Stopping())

    async def close(self) -> None:
        """Ends all of them, and waits until the last has let go of the database; a request may be finished first."""
        self.stop()
        if self._looking is not None:
            self._looking.cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=LAST_REQUESTS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _look(self) -> None:
        while self._places:
            await asyncio.sleep(LOOK_EVERY)
            try:
                await self._check()
            except Exception:
                log_failure(log, "the credentials of long connections could not be checked; they stay for now")
        self._looking = None

    async def _check(self) -> None:
        for number, authorization in enumerate(list(self._open), 1):
            try:
                await self._credentials.viewer(authorization)
            except Unauthenticated as error:
                for connection in list(self._open.get(authorization, ())):
                    connection.end(error)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
