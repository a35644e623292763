"""Threads for work that takes long, shared fairly between the credentials that wait for one."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from models.allowance import Allowance

T = TypeVar("T")


class Turns:
    """A number of slots for which credentials take turns. Used from one event loop.

    A slot that is free goes to the credential that has the fewest, and among those to the one that was last served
    the longest time ago. One credential never has all of them: another can begin at once.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._most = max(1, count - 1)
        self._working: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}

    async def take(self, credential: Hashable) -> None:
        """Waits until a slot is free for this credential, and takes it."""
        if self._free and self._working.get(credential, 0) < self._most:
            self._enter(credential)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(credential, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(credential)
            raise

    def _enter(self, credential: Hashable) -> None:
        self._free -= 1
        self._working[credential] = self._working.get(credential, 0) + 1

    def give_back(self, credential: Hashable) -> None:
        self._free += 1
        self._working[credential] -= 1
        if not self._working[credential]:
            del self._working[credential]
        while self._free and self._serve():
            pass

    def _serve(self) -> bool:
        """Gives a slot to the one whose turn it is; False when nobody waits who may have one."""
        self._forget_cancelled()
        may = [credential for credential in self._waiting if self._working.get(credential, 0) < self._most]
        if not may:
            return False
        credential = min(may, key=lambda one: self._working.get(one, 0))
        # It goes to the end of those that wait.
        turns = self._waiting.pop(credential)
        turns.popleft().set_result(None)
        if turns:
            self._waiting[credential] = turns
        self._enter(credential)
        return True

    def _forget_cancelled(self) -> None:
        for credential, turns in list(self._waiting.items()):
            while turns and turns[0].done():
                turns.popleft()
            if not turns:
                del self._waiting[credential]


class Threads:
    """A number of threads that credentials share in turns. Used from one event loop."""

    def __init__(self, name: str, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=f"recallql-{name}")
        self._turns = Turns(count)

    async def run(self, allowance: Allowance, function: Callable[..., T], *arguments: Any) -> T:
        """Calls a function in a thread, and gives what it returns. It does not start once the request has ended.

        When nobody waits for it any more the request has ended (`Allowance.end`). The thread stays taken until the
        function has really returned.
        """
        credential = allowance.credential
        try:
            await self._turns.take(credential)
            job = self._pool.submit(_unless_over, allowance, function, *arguments)
            self._give_back_after(job, credential)
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            allowance.end()
            raise

    def close(self) -> None:
        """Waits for what still runs."""
        self._pool.shutdown()

    def _give_back_after(self, job: "Future[Any]", credential: Hashable) -> None:
        loop = asyncio.get_running_loop()

        def give_back(_: "Future[Any]") -> None:
            # The loop may be gone when the last of them ends.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._turns.give_back, credential)

        job.add_done_callback(give_back)


def _unless_over(allowance: Allowance, function: Callable[..., T], *arguments: Any) -> T:
    allowance.check()
    return function(*arguments)
