"""Tells those who listen what was committed, by this process and by others."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import structlog

from models.errors import DataError
from models.notice_log import NoticeLog
from models.notices import Listener, Notice
from models.store import Store

log = structlog.get_logger("recallql.database")


class Telling(ABC):
    """The listeners of a store. From the first one on, `_follow` reads what other processes note in the log."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners: list[Listener] = []
        self._following: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()
        self.log = NoticeLog()

    async def listen(self, listener: Listener) -> Callable[[], None]:
        """See `Store.listen`; raises `Unavailable` if the database can't be read."""
        self._listeners.append(listener)
        try:
            if self._following is None or self._following.done():
                await self._begin()
                self._following = asyncio.create_task(self._follow(), name="follow other processes")
        except BaseException:
            self._listeners.remove(listener)
            raise
        return lambda: self._listeners.remove(listener)

    def tell(self, notices: Sequence[Notice]) -> None:
        if not notices:
            return
        for listener in tuple(self._listeners):
            try:
                listener(notices)
            except Exception:
                # A commit is acknowledged even if a listener raises.
                log.exception("a listener to commits failed")

    async def _begin(self) -> None:
        """Passes over what was noted before."""
        await self.log.begin(self._store.reader)

    async def _read(self) -> bool:
        """Tells what others have noted since the last time; False if that was nothing."""
        try:
            found = await self.log.read(self._store.reader)
        except DataError:
            # Nothing is lost while the database is away: it is read later.
            return False
        except Exception:
            log.exception("what other processes have committed can't be read; it will be tried again")
            return False
        self.tell(found)
        return bool(found)

    @abstractmethod
    async def _follow(self) -> None:
        """Calls `_read` whenever another process may have noted something, until it is cancelled."""

    async def close(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
