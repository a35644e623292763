"""Threads for slow work, shared fairly between the waiting credentials."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from models.allowance import Allowance

T = TypeVar("T")


class Turns:
    """A number of slots that credentials take in turns. Used from one event loop.

    A free slot goes to the credential with the fewest slots, and among equals to the least recently served one. No
    credential ever has all of them, so that another can begin at once.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._most = max(1, count - 1)
        self._working: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}

    async def take(self, credential: Hashable) -> None:
        """Waits until a slot is free for this credential, and takes it."""
        if self.take_free(credential):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(credential, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(credential)
            raise

    def take_free(self, credential: Hashable) -> bool:
        """Takes a slot if one is free for this credential."""
        if not self._free or self._working.get(credential, 0) >= self._most:
            return False
        self._enter(credential)
        return True

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
        """Gives a slot to the next in turn; False when nobody who waits may have one."""
        self._forget_cancelled()
        may = [credential for credential in self._waiting if self._working.get(credential, 0) < self._most]
        if not may:
            return False
        credential = min(may, key=lambda one: self._working.get(one, 0))
        # The credential moves to the end of the queue.
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
        """Calls a function in a thread and returns its result. It does not start once the request has ended.

        Cancelling the call ends the request (`Allowance.end`). The thread stays taken until the function has returned.
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
        """Waits for the functions that still run."""
        self._pool.shutdown()

    def _give_back_after(self, job: "Future[Any]", credential: Hashable) -> None:
        loop = asyncio.get_running_loop()

        def give_back(_: "Future[Any]") -> None:
            # The loop may be closed when the last of them ends.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._turns.give_back, credential)

        job.add_done_callback(give_back)


def _unless_over(allowance: Allowance, function: Callable[..., T], *arguments: Any) -> T:
    allowance.check()
    return function(*arguments)
