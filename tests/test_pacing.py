"""Deliveries give way to others in the same event loop."""

import asyncio

from recallql.live.pacing import AT_ONCE, Pacing


def test_a_few_deliveries_go_on_in_each_turn_of_the_loop_in_their_order() -> None:
    async def deliver() -> None:
        pacing, done = Pacing(), list[int]()

        async def one(number: int) -> None:
            await pacing.turn()
            done.append(number)

        deliveries = [asyncio.create_task(one(number)) for number in range(20)]
        deliveries[5].cancel()
        so_far, most = 0, 0
        while not all(delivery.done() for delivery in deliveries):
            await asyncio.sleep(0)
            most, so_far = max(most, len(done) - so_far), len(done)
        assert most == AT_ONCE
        assert done == [number for number in range(20) if number != 5]
        # And at once when nobody else is there.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        lone = pacing.turn()
        try:
            lone.send(None)
        except StopIteration:
            return
        raise AssertionError("a lone delivery had to wait")

    asyncio.run(deliver())


def test_one_that_gave_up_while_it_waited_takes_nobody_s_turn() -> None:
    async def deliver() -> None:
        pacing = Pacing()
        for _ in range(AT_ONCE):
            await pacing.turn()
        waiting = [asyncio.create_task(pacing.turn()) for _ in range(AT_ONCE + 1)]
        await asyncio.sleep(0)
        for gone in waiting[:AT_ONCE]:
            gone.cancel()
        async with asyncio.timeout(5):
            await waiting[-1]

    asyncio.run(deliver())
