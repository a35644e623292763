"""The connections of one process: deadlines of their clients, and a limit on their number."""

import asyncio
from collections.abc import Hashable
from math import inf
from sys import maxsize
from time import monotonic
from typing import Protocol

from recallql.settings import Settings

try:
    import resource
except ImportError:  # not Unix
    resource = None

UNLIMITED = maxsize

FEWEST = 1
"""The least number of connections, however few files a process may open."""

LONGEST_STEP = 1.0
"""The most seconds by which a deadline is noticed late, since one look serves all that pass meanwhile."""

RESERVED = 128
"""File descriptors that are reserved for other uses than connections."""


def descriptors() -> int:
    """Returns how many files the process may have open."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if resource else UNLIMITED
    return UNLIMITED if most < 0 else most


def ask_for_descriptors(wanted: int) -> None:
    """Raises the limit on open files of this process and its children, as far as the system allows."""
    if resource is not None and descriptors() < wanted:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if most < 0 else min(wanted, most), most))


class Connection(Protocol):
    """A connection, as far as `Connections` needs to know it."""

    def overdue(self) -> None:
        """Ends the connection, whose deadline has passed, or extends the deadline with `expect`."""
        ...

    def can_give_way(self) -> bool:
        """Tells whether it may be cut in favour of another: no admitted request is under way."""
        ...

    def give_way(self) -> None:
        """Ends it at once."""
        ...


class Connections:
    """Keeps the deadlines of connections, and makes room for new ones. Used from one event loop.

    A connection has a deadline only while something is expected of its client, and one timer checks all deadlines. A
    request that arrives and is answered in one piece sets none.
    """

    def __init__(self, settings: Settings) -> None:
        self.head_timeout = settings.head_timeout
        self.body_timeout = settings.body_timeout
        self.answer_timeout = settings.answer_timeout
        self.keep_alive = settings.keep_alive
        self._most = max(FEWEST, min(settings.max_connections, descriptors() - RESERVED))
        shortest = min(self.head_timeout, self.body_timeout, self.answer_timeout, self.keep_alive)
        self._step = min(LONGEST_STEP, shortest / 4)
        self._due: dict[Connection, float] = {}
        self._owners: dict[Connection, Hashable] = {}
        self._owned: dict[Hashable, dict[Connection, None]] = {}
        self._look_at = inf
        """When the deadlines are checked next."""
        self._timer: asyncio.TimerHandle | None = None
        self.is_stopping = False
        """True while the server stops and accepts no further requests."""

    def opened(self, connection: Connection) -> bool:
        """Counts a connection that has no credential yet; returns False when there is no room for it."""
        fits = len(self._owners) < self._most or self._make_room()
        self._own(connection, None)
        return fits

    def belongs_to(self, connection: Connection, credential: Hashable) -> None:
        """Counts a connection for the credential that it sent last."""
        self._disown(connection)
        self._own(connection, credential)

    def closed(self, connection: Connection) -> None:
        self._due.pop(connection, None)
        self._disown(connection)

    def expect(self, connection: Connection, seconds: float) -> None:
        """Sets the deadline: `overdue` is called unless `arrived` is called within this time."""
        now = monotonic()
        self._due[connection] = now + seconds
        if now + max(seconds, self._step) < self._look_at:
            self._look_after(max(seconds, self._step), now)

    def arrived(self, connection: Connection) -> None:
        self._due.pop(connection, None)

    def _look(self) -> None:
        now = monotonic()
        self._look_at = inf
        for connection in [connection for connection, due in self._due.items() if due <= now]:
            self._due.pop(connection, None)
            connection.overdue()
        if self._due:
            self._look_after(max(min(self._due.values()) - now, self._step), now)

    def _look_after(self, seconds: float, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._look_at = now + seconds
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _make_room(self) -> bool:
        """Cuts the oldest connection of the credential that has the most; those without a credential count together."""
        for owned in sorted(self._owned.values(), key=len, reverse=True):
            for connection in owned:
                if connection.can_give_way():
                    self.closed(connection)
                    connection.give_way()
                    return True
        return False

    def _own(self, connection: Connection, credential: Hashable) -> None:
        self._owners[connection] = credential
        self._owned.setdefault(credential, {})[connection] = None

    def _disown(self, connection: Connection) -> None:
        if connection in self._owners:
            credential = self._owners.pop(connection)
            owned = self._owned[credential]
            del owned[connection]
            if not owned:
                del self._owned[credential]
