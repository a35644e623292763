"""Turns on the event loop: long requests go on one at a time, and what comes in is answered between them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from models.allowance import Allowance
from models.loop_turns import SHARE, LoopTurns
from recallql.settings import BODY_BYTES
from tests.documents import mutation
from tests.loop_watch import watched
from tests.servers import Serve, Server
from tests.wire import Connection, request

ADD = mutation("addMessages", "deduplicated")


def run(scene: Callable[[LoopTurns], Awaitable[None]]) -> None:
    async def play() -> None:
        await asyncio.wait_for(scene(LoopTurns()), 20)

    asyncio.run(play())


def hold() -> None:
    end = time.monotonic() + 1.5 * SHARE
    while time.monotonic() < end:
        pass


async def work(turns: LoopTurns, credential: str, order: list[str]) -> None:
    allowance = Allowance(credential=credential, turns=turns)
    for _ in range(3):
        hold()
        order.append(credential)
        await allowance.rest()


def test_one_long_request_goes_on_in_each_round_of_the_loop() -> None:
    async def scene(turns: LoopTurns) -> None:
        order: list[str] = []
        working = [asyncio.create_task(work(turns, "many", order)) for _ in range(10)]
        # The first round starts them all; from then on one works in each.
        await asyncio.sleep(0)
        while not all(task.done() for task in working):
            before = len(order)
            await asyncio.sleep(0)
            assert len(order) <= before + 1
        assert len(order) == 30

    run(scene)


def test_credentials_take_turns_however_many_requests_they_have() -> None:
    async def scene(turns: LoopTurns) -> None:
        order: list[str] = []
        await asyncio.gather(*(work(turns, name, order) for name in ["many"] * 10 + ["one"]))
        later = order[11:]
        assert later.index("one") <= 2, order

    run(scene)


def test_a_request_that_has_just_come_waits_once_the_round_has_been_held_for_long() -> None:
    async def scene(turns: LoopTurns) -> None:
        fresh, rounds = Allowance(credential="fresh", turns=turns), list[str]()
        began = time.monotonic()
        hold()
        fresh.rested = time.monotonic()
        asyncio.get_running_loop().call_soon(rounds.append, "another")
        await fresh.rest()
        assert rounds == []
        turns.count(began)
        await fresh.rest()
        assert rounds == ["another"]

    run(scene)


def test_a_request_that_is_gone_takes_no_turn() -> None:
    async def scene(turns: LoopTurns) -> None:
        waiting = [asyncio.create_task(turns.take("a")) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        waiting[1].cancel()
        await asyncio.sleep(0)
        await asyncio.wait_for(waiting[2], 1)
        # Nothing is left over: the next one gets its turn as well.
        await asyncio.wait_for(turns.take("a"), 1)

    run(scene)


CREATE = "mutation ($input: CreateUserInput!) { createUser(input: $input) { userErrors { message } } }"
PAGES = """{ users(first: 1) { nodes { sessions(first: 60) { nodes {
    messages(first: 60) { edges { cursor node { id sequence role content createdAt metadata } } } } } } } }"""


def test_many_large_answers_leave_the_loop_to_others(server: Server) -> None:
    server.accepted(CREATE, userId="u")
    said = [{"role": "USER", "content": f"turn {turn}"} for turn in range(60)]
    for session in range(60):
        server.accepted(ADD, sessionId=f"s{session}", userId="u", messages=said, formMemories=False)
    with watched(server) as watch, ThreadPoolExecutor(12) as pool:
        # Each is a new document, so that none finds its plan.
        answers = list(pool.map(lambda number: server.graphql(PAGES + " " * number), range(12)))
    for answer in answers:
        sessions = answer["users"]["nodes"][0]["sessions"]["nodes"]
        assert [len(session["messages"]["edges"]) for session in sessions] == [60] * 60
    # All twelve in one round took several times as long.
    assert watch.held < 0.15


def test_the_rest_of_a_refused_body_is_read_and_the_connection_goes_on(serve: Serve) -> None:
    guarded = serve(env={"RECALLQL_API_KEY": "k" * 20})
    body = b" " * (BODY_BYTES // 2)
    wrong = request(body, {"Authorization": "Bearer wrong"})
    with Connection(guarded.port) as connection:
        for _ in range(2):
            assert connection.ask(wrong).status == 401
        assert (
            connection.ask(request(b'{"query": "{ __typename }"}', {"Authorization": f"Bearer {'k' * 20}"})).status
            == 200
        )
