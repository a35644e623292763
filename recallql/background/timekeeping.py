"""Keeps the times in the database right when the machine's clock was ahead and has been corrected."""

import asyncio
from datetime import timedelta
from functools import partial

import structlog

from models.corrections import are_times_ahead, correct_times
from models.store import Store
from models.values import Time, rfc3339
from recallql.logs import log_failure
from resolvers.times import LEEWAY, Clock, later

log = structlog.get_logger("recallql.timekeeping")

LOOK_EVERY = 1.0
"""Seconds between two checks of the clock."""


class Timekeeper:
    """Corrects times each time that the clock has stepped back, the first time at the start."""

    def __init__(self, database: Store, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._seen: int | None = None

    async def look(self) -> None:
        now = self._clock.now()
        corrections = self._clock.corrections
        if corrections == self._seen:
            return
        try:
            await _correct(self._database, now)
            self._seen = corrections
        except Exception:
            log_failure(log, "times in the future could not be corrected; the server will try again")

    async def keep_looking(self) -> None:
        """Looks every second, until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self.look()


async def _correct(database: Store, now: Time) -> None:
    soon = later(now, timedelta(seconds=LEEWAY))
    if await are_times_ahead(database.reader, soon):
        await database.write(partial(correct_times, now=now, soon=soon))
        log.warning("the clock was ahead: jobs and deletions of that time were set to now", now=rfc3339(now))
