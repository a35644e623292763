"""Live updates: wakes the subscriptions of one process when something that they watch has changed.

A notice says which row has changed, never how. A subscription then reads the row within its viewer's scope, so that a
notice that comes twice or late does no harm.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from weakref import WeakSet, WeakValueDictionary

import structlog

from models.errors import DataError, Unavailable
from models.keys import session_key
from models.notices import MISSED, Notice, Seen
from models.scope import Scope
from models.sessions import last_sequences
from models.store import Store
from resolvers.feeds import Feed, Piece, Stopped

log = structlog.get_logger("recallql.live")

RECOVER_EVERY = 15.0
"""Seconds between two looks for messages that nobody has told of: a process may be killed before it does."""

READS = 4
"""The most sessions that are read for their subscribers at the same time, so that they leave connections to queries."""

MOST_WAITING = 5_000
"""The most changes that wait for one subscriber."""

FEWEST_TOPICS = 64


class Topic(NamedTuple):
    """What is watched: the rows of a table that belong to somebody. The owner of sessions and memories is a user's key
    or a project, that of messages their session's key."""

    table: str
    owner: bytes | str


class Watch:
    """What has changed under one topic, and was not taken yet; a row that has changed often is there once."""

    def __init__(self, topic: Topic) -> None:
        # Messages belong to nobody but their session.
        self._owner = "" if topic.table == "messages" else topic.owner
        self._waiting: dict[tuple[str, bytes, int, int], Notice] = {}
        self.has_missed = self._has_stopped = False
        self._woken = asyncio.Event()

    def add(self, notice: Notice) -> None:
        earlier = self._waiting.pop(notice.object, None)
        self._waiting[notice.object] = notice if earlier is None else notice._replace(before=earlier.before)
        if notice is MISSED or len(self._waiting) > MOST_WAITING:
            self._waiting.clear()
            self.has_missed = True
        self._woken.set()

    def stop(self) -> None:
        """Ends the subscription."""
        self._has_stopped = True
        self._woken.set()

    async def take(self, most: int) -> list[Notice]:
        """Waits for changes, and takes the first ones; raises `Unavailable` if some were missed."""
        await self._woken.wait()
        if self._has_stopped:
            raise Stopped
        if self.has_missed:
            raise Unavailable("Changes were missed here: fetch the list again, and subscribe anew.")
        taken = list(self._waiting)[:most]
        changes = [self._waiting.pop(object) for object in taken]
        if not self._waiting:
            self._woken.clear()
        return changes

    def change_of(self, notice: Notice) -> str | None:
        """How the row has changed for those who see only what is under the topic; None if it was never there."""
        before, after = self._is_owner(notice.before), self._is_owner(notice.after)
        if after:
            return "UPDATED" if before else "CREATED"
        return "DELETED" if before else None

    def _is_owner(self, seen: Seen | None) -> bool:
        return seen is not None and self._owner in seen


class Live:
    """The subscriptions of one process. Used from one event loop."""

    def __init__(self, database: Store) -> None:
        self._database = database
        self._watches: dict[Topic, WeakSet[Watch]] = {}
        self._most_topics = FEWEST_TOPICS
        """With more, those that nobody watches any more are forgotten."""
        self._feeds: WeakValueDictionary[bytes, Feed] = WeakValueDictionary()
        self._reading: set[asyncio.Task[Piece]] = set()
        self._turns = asyncio.Semaphore(READS)
        self._beginning = asyncio.Lock()
        self._end: Callable[[], None] | None = None
        self._recovering: asyncio.Task[None] | None = None

    async def watch(self, topic: Topic) -> Watch:
        """Watches a topic for as long as the result is referenced."""
        await self._begin()
        watch = Watch(topic)
        self._watches.setdefault(topic, WeakSet()).add(watch)
        if len(self._watches) > self._most_topics:
            self._watches = {topic: watches for topic, watches in self._watches.items() if watches}
            self._most_topics = 2 * len(self._watches) + FEWEST_TOPICS
        return watch

    async def feed(self, project: str, session_id: str) -> Feed:
        """The feed of a session, which all its subscribers share."""
        await self._begin()
        key = session_key(project, session_id)
        feed = self._feeds.get(key)
        if feed is None:
            feed = self._feeds[key] = Feed(self._database, Scope(project), key, self._reading, self._turns)
        return feed

    @property
    def watching(self) -> int:
        """The number of watches, and of sessions with a feed."""
        return sum(map(len, self._watches.values())) + len(self._feeds)

    async def _begin(self) -> None:
        if self._end is None:
            async with self._beginning:
                if self._end is None:
                    self._end = await self._database.listen(self._tell)
                    self._recovering = asyncio.create_task(self._recover_on(), name="recover lost notices")

    def _tell(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            if notice == MISSED:
                self._tell_all()
            elif notice.table == "messages":
                self._tell_of(Topic("messages", notice.key), notice)
            else:
                if notice.table == "sessions" and (feed := self._feeds.get(notice.key)) is not None:
                    feed.wake(owner_changed=notice.before != notice.after)
                owners = {owner for seen in (notice.before, notice.after) if seen is not None for owner in seen}
                for owner in owners:
                    if owner is not None:
                        self._tell_of(Topic(notice.table, owner), notice)

    def _tell_of(self, topic: Topic, notice: Notice) -> None:
        watches = self._watches.get(topic)
        if watches is None:
            return
        for watch in tuple(watches):
            watch.add(notice)
        if not watches:
            del self._watches[topic]

    def _tell_all(self) -> None:
        for feed in tuple(self._feeds.values()):
            feed.wake(owner_changed=True)
        for watches in tuple(self._watches.values()):
            for watch in tuple(watches):
                watch.add(MISSED)

    async def _recover_on(self) -> None:
        while True:
            await asyncio.sleep(RECOVER_EVERY)
            by_project: dict[Scope, list[Feed]] = {}
            for feed in tuple(self._feeds.values()):
                by_project.setdefault(feed.scope, []).append(feed)
            for scope, feeds in by_project.items():
                try:
                    last = await last_sequences(self._database.reader, scope, [feed.key for feed in feeds])
                except DataError:
                    continue
                for feed in feeds:
                    if last.get(feed.key, 0) != feed.last_sequence:
                        feed.wake(owner_changed=True)

    async def close(self) -> None:
        if self._end is not None:
            self._end()
        for ended in (*self._feeds.values(), *(watch for watches in self._watches.values() for watch in watches)):
            ended.stop()
        ending: list[asyncio.Task[Any]] = [*self._reading]
        if self._recovering is not None:
            ending.append(self._recovering)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
