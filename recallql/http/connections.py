"""The connections of one process: how long a client may keep one waiting, and how many there may be."""

import asyncio
from collections.abc import Hashable
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
"""Connections that are open at least, however few files a process may have."""

LONGEST_STEP = 1.0
"""Seconds between two looks at the deadlines, at most."""

RESERVED = 128
"""File descriptors that are left for other things than connections."""


def descriptors() -> int:
    """Returns how many files the process may have open."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if resource else UNLIMITED
    return UNLIMITED if most < 0 else most


def ask_for_descriptors(wanted: int) -> None:
    """Has the system let the process, and those that it starts, open more files, as far as that is allowed."""
    if resource is not None and descriptors() < wanted:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if most < 0 else min(wanted, most), most))


class Connection(Protocol):
    """What is known here of a connection."""

    def overdue(self) -> None:
        """Ends what took too long, or asks for more time with `expect`."""
        ...

    def can_give_way(self) -> bool:
        """Returns whether it may be cut in favour of another: nothing that was admitted is under way."""
        ...

    def give_way(self) -> None:
        """Ends it at once."""
        ...


class Connections:
    """Keeps the deadlines of connections, and makes room for new ones. Used from one event loop.

    A deadline is kept only while something is expected of a client, and one timer looks after all of them: a request
    that comes and is answered in one piece sets none.
    """

    def __init__(self, settings: Settings) -> None:
        self.head_timeout = settings.head_timeout
        self.body_timeout = settings.body_timeout
        self.answer_timeout = settings.answer_timeout
        self._most = max(FEWEST, min(settings.max_connections, descriptors() - RESERVED))
        self._step = min(LONGEST_STEP, self.head_timeout / 4, self.body_timeout / 4, self.answer_timeout / 4)
        self._due: dict[Connection, float] = {}
        self._owners: dict[Connection, Hashable] = {}
        self._owned: dict[Hashable, dict[Connection, None]] = {}
        self._is_looking = False
        self.is_stopping = False
        """Tells whether the server stops, and takes no further requests."""

    def opened(self, connection: Connection) -> bool:
        """Counts a connection of nobody yet; returns False when there is no room for it."""
        fits = len(self._owners) < self._most or self._make_room()
        self._own(connection, None)
        return fits

    def belongs_to(self, connection: Connection, credential: Hashable) -> None:
        """Counts a connection for the credential that it has shown last."""
        self._disown(connection)
        self._own(connection, credential)

    def closed(self, connection: Connection) -> None:
        self._due.pop(connection, None)
        self._disown(connection)

    def expect(self, connection: Connection, seconds: float) -> None:
        """Has `overdue` called after this time, unless what is expected has arrived by then."""
        self._due[connection] = monotonic() + seconds
        if not self._is_looking:
            self._is_looking = True
            asyncio.get_running_loop().call_later(self._step, self._look)

    def arrived(self, connection: Connection) -> None:
        self._due.pop(connection, None)

    def _look(self) -> None:
        now = monotonic()
        for connection in [connection for connection, due in self._due.items() if due <= now]:
            self._due.pop(connection, None)
            connection.overdue()
        self._is_looking = bool(self._due)
        if self._is_looking:
            asyncio.get_running_loop().call_later(self._step, self._look)

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
