"""Jobs that several processes claim at the same time."""

import asyncio
from contextlib import AsyncExitStack

from models.store import opened
from resolvers.formation.jobs import claim
from resolvers.operation_context import OperationContext
from resolvers.times import Clock
from tests.places import Place
from tests.racing.races import ADD, count, said, send
from tests.servers import Start

PROCESSES, JOBS = 5, 12


def test_each_job_goes_to_one_process(place: Place, start: Start) -> None:
    server = start(place)
    for number in range(JOBS):
        send(server, ADD, sessionId=str(number), messages=said("hello"))
    server.close()
    sessions = place.query("SELECT key, created_at FROM sessions")
    job = {"project": "default", "status": "PENDING", "after_sequence": 0, "through_sequence": 1, "edited": "[]"}
    job |= {"attempts": 0}
    place.insert(
        "jobs",
        [job | {"session_key": key, "due_at": at, "created_at": at, "updated_at": at} for key, at in sessions],
    )

    async def claim_all(context: OperationContext) -> list[bytes]:
        claimed: list[bytes] = []
        for _ in range(JOBS):
            found = await claim(context, lease=600, attempts=3)
            if found is not None:
                claimed.append(found["session_key"])
        return claimed

    async def race() -> list[list[bytes]]:
        async with AsyncExitStack() as stack:
            stores = [await stack.enter_async_context(opened(place.database)) for _ in range(PROCESSES)]
            return await asyncio.gather(*(claim_all(OperationContext(store, Clock())) for store in stores))

    claimed = [key for keys in asyncio.run(race()) for key in keys]
    assert sorted(claimed) == sorted(key for key, _ in sessions)
    assert count(place, "jobs", "status = 'RUNNING' AND attempts = 1") == JOBS
