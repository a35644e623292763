"""One answer for all subscribers who select the same of the same event."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

MOST = 256
"""The most answers that are kept. Subscribers are told of an event at about the same time."""

ROOM = 8 * 1024 * 1024
"""The most bytes of answers that are kept. A larger one is shared by those who ask while it is computed."""


class SharedAnswers:
    """The newest answers by what is selected, of which event. Used from one event loop."""

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[Hashable, int], tuple[Any, asyncio.Task[bytes]]] = OrderedDict()
        """With the events themselves, so that no other event gets the identity of one."""
        self._bytes = 0

    async def get(self, selected: Hashable, event: Any, answer: Callable[[], Awaitable[bytes]]) -> bytes:
        """Returns the answer to an event, which is computed once, also for those who ask meanwhile."""
        key = selected, id(event)
        known = self._answers.get(key)
        if known is None:
            # A task of its own: the first who asks may go away, and others wait, too.
            task = asyncio.create_task(_awaited(answer))
            self._answers[key] = event, task
            task.add_done_callback(lambda done: self._done(key, done))
        else:
            task = known[1]
            if task.done():
                return task.result()
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Ends what is being computed, for which nobody waits any more."""
        running = [task for _, task in self._answers.values() if not task.done()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _done(self, key: tuple[Hashable, int], task: asyncio.Task[bytes]) -> None:
        if task.cancelled() or task.exception() is not None:
            del self._answers[key]
            return
        self._bytes += len(task.result())
        while len(self._answers) > MOST or self._bytes > ROOM:
            if not self._drop_oldest():
                break

    def _drop_oldest(self) -> bool:
        """Drops the oldest answer that is computed; returns False if there is none."""
        for key, (_, task) in self._answers.items():
            if task.done():
                del self._answers[key]
                self._bytes -= len(task.result())
                return True
        return False


async def _awaited(answer: Callable[[], Awaitable[bytes]]) -> bytes:
    return await answer()
