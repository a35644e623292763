"""A watch on a server's event loop: how long it was held, and how long it waited for the processor."""

import asyncio
import gc
import time
from collections.abc import Generator
from contextlib import contextmanager

from tests.servers import Server


class Watch:
    """The time for which the event loop was held: `held` is the longest time that its thread worked without a pause."""

    held = 0.0
    waited = 0.0


@contextmanager
def watched(server: Server) -> Generator[Watch]:
    watch, done = Watch(), asyncio.Event()

    async def tick() -> None:
        while not done.is_set():
            worked, began = time.thread_time(), time.perf_counter()
            await asyncio.sleep(0.002)
            watch.held = max(watch.held, time.thread_time() - worked)
            watch.waited = max(watch.waited, time.perf_counter() - began)

    # What other tests have left must not be gone through meanwhile: a server freezes what it has loaded as well. It
    # stays frozen, as `conftest.py` has left it, or each later collection would go through ten thousand tests.
    gc.collect()
    gc.freeze()
    ticking = asyncio.run_coroutine_threadsafe(tick(), server.host.loop)
    try:
        yield watch
    finally:
        server.host.loop.call_soon_threadsafe(done.set)
        ticking.result(timeout=10)
