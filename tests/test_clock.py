"""The clock of the machine goes wrong: forward, back, by a little and by years."""

import asyncio
import time
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

import pytest

from models.keys import session_key, user_key
from models.leases import take_lease
from recallql.auth.credentials import EXPIRED, REFUSED
from recallql.background.timekeeping import Timekeeper
from resolvers.credentials import issue_user_token
from resolvers.times import LEEWAY, Clock
from tests.desk import Desk, ours, signed
from tests.servers import START_SECONDS

SECOND = 1_000_000_000


class Wall:
    """A wall clock that is set by hand."""

    def __init__(self, *, year: int = 2026) -> None:
        self.time = datetime(year, 6, 1)

    def __call__(self) -> int:
        return int((self.time - datetime(1970, 1, 1)) / timedelta(microseconds=1)) * 1000

    def move(self, **span: float) -> None:
        self.time += timedelta(**span)

    @property
    def seconds(self) -> float:
        return self() / SECOND


def test_times_go_up_while_the_clock_stands_or_steps_back_a_little() -> None:
    wall = Wall()
    clock = Clock(wall)
    times = [clock.now()]
    for step in (0.0, 0.0, -0.001, -1, -3, 0.5, 0.0):
        wall.move(seconds=step)
        times.append(clock.now())
    assert times == sorted(set(times))
    assert clock.corrections == 0
    wall.move(seconds=10)
    assert clock.now() == wall.time.isoformat()


@pytest.mark.parametrize("jump", [{"days": 365}, {"hours": 1}, {"minutes": 1}, {"seconds": 6}])
def test_once_a_forward_jump_is_corrected_new_times_are_right(jump: dict[str, float]) -> None:
    wall = Wall()
    clock = Clock(wall)
    wall.move(**jump)
    clock.now()
    wall.move(**{name: -value for name, value in jump.items()})
    for _ in range(3):
        wall.move(milliseconds=1)
        assert clock.now().startswith(wall.time.isoformat())
    assert clock.corrections == 1


@pytest.mark.parametrize("back", [0.5, 4.9, 60, 3600, 86_400 * 365])
def test_a_token_issued_after_the_clock_stepped_back_is_good(desk: Desk, back: float) -> None:
    wall = Wall()
    desk.clock = Clock(wall)
    desk.user()
    desk.token()
    wall.move(seconds=-back)
    desk.now = wall.seconds
    token = desk.token()
    assert desk.viewer(token).user_id == "ada"
    # Also in a process that sees it for the first time.
    assert desk.viewer(token, desk.another()).user_id == "ada"


def test_own_tokens_are_taken_ten_seconds_early_and_not_a_moment_late(desk: Desk) -> None:
    desk.user()
    desk.token()
    kid, secret = desk.secret()
    desk.now = now = 1_800_000_000.0
    for claims, refusal in [
        ({"iat": now + LEEWAY}, None),
        ({"iat": now + LEEWAY + 0.1}, REFUSED),
        ({"nbf": now + LEEWAY}, None),
        ({"nbf": now + LEEWAY + 0.1}, REFUSED),
        ({"exp": now + 0.1}, None),
        ({"exp": now}, EXPIRED),
        ({"exp": now - 0.1}, EXPIRED),
    ]:
        token = signed({"alg": "HS256", "kid": kid}, ours(desk, **{"iat": now, "exp": now + 900, **claims}), secret)
        if refusal is None:
            assert desk.viewer(token).user_id == "ada", claims
        else:
            assert desk.refused(token) == refusal, claims
    # What was proven is not taken longer.
    token = signed({"alg": "HS256", "kid": kid}, ours(desk, iat=now, exp=now + 900), secret)
    assert desk.viewer(token)
    desk.now = now + 900
    assert desk.refused(token) == EXPIRED


@pytest.mark.parametrize("back", [0.0, 1.0, 3600.0, 86_400.0 * 365])
def test_an_erasure_ends_tokens_whatever_the_clock_says(desk: Desk, back: float) -> None:
    wall = Wall()
    desk.clock = Clock(wall)
    desk.user()
    tokens: list[str] = []
    for _ in range(3):
        desk.now = wall.seconds
        tokens.append(desk.token())
        assert desk.viewer(tokens[-1]).user_id == "ada"
        wall.move(seconds=-back)
        desk.erase()
        desk.user()
        for token in tokens:
            assert desk.refused(token) == desk.refused(token, desk.another()) == REFUSED
    token = desk.token()
    desk.now = wall.seconds
    assert desk.viewer(token).user_id == "ada"


def test_tokens_hold_how_often_their_user_was_erased(desk: Desk) -> None:
    desk.user()
    desk.token()
    kid, secret = desk.secret()

    def refused(**claims: object) -> bool:
        token = signed({"alg": "HS256", "kid": kid}, ours(desk, **claims), secret)
        try:
            desk.viewer(token)
        except Exception:
            return True
        return False

    wrong = [1, -1, "0", [], 0.5, 2**70]
    assert not refused(gen=0)
    assert all(refused(gen=value) for value in wrong)
    for erasures in (1, 2):
        desk.erase()
        desk.user()
        assert not refused(gen=erasures)
        assert refused(gen=erasures - 1)
        assert refused(gen=erasures + 1)


def test_a_token_of_an_older_version_is_good_until_its_user_is_erased(desk: Desk) -> None:
    """It has no `gen`; `erased` is the time of the last erasure when it was issued."""
    desk.user()
    desk.token()
    kid, secret = desk.secret()
    header = {"alg": "HS256", "kid": kid}
    token = signed(header, {name: value for name, value in ours(desk).items() if name != "gen"}, secret)
    assert desk.viewer(token).user_id == "ada"
    desk.erase()
    desk.user()
    assert desk.refused(token) == desk.refused(token, desk.another()) == REFUSED
    new = desk.run(issue_user_token(desk.context(), {"user_id": "ada", "expires_in_seconds": None}))
    assert desk.viewer(new["token"]).user_id == "ada"


FAR = "2027-06-01T00:00:00"
NEAR = "2026-06-01T00:00:05"


def written_ahead(desk: Desk) -> None:
    """Rows of a server whose clock was a year ahead, and two correct times."""
    session, far = session_key("default", "s"), [FAR, f"{FAR}.500000"]
    times = {"project": "default", "created_at": FAR, "updated_at": FAR}
    own = {"key": session, "session_id": "s", "metadata": "{}", "deleted_at": far[1], "last_activity_at": FAR}
    desk.place.insert("sessions", [times | own | {"version": 1, "last_sequence": 4, "deleted_through": 4}])
    for deleted_at, through in (("2026-01-01T00:00:00", 1), (far[0], 2), (far[1], 4)):
        desk.place.query("INSERT INTO session_deletions VALUES ($1, $2, $3)", session, deleted_at, through)
    for user, erased_at in (("ada", FAR), ("eve", NEAR)):
        desk.place.query("INSERT INTO erasures (key, erased_at) VALUES ($1, $2)", user_key("default", user), erased_at)
    job = {"session_key": session, "status": "PENDING", "after_sequence": 0, "through_sequence": 4, "edited": "[]"}
    desk.place.insert("jobs", [times | job | {"attempts": 1, "due_at": "2027-06-01T01:00:00"}])


def test_times_of_a_clock_that_was_ahead_are_corrected(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recallql.background.timekeeping.LOOK_EVERY", 0.01)
    wall = Wall(year=2027)
    clock = Clock(wall)
    before = desk.place.query("SELECT * FROM session_deletions")
    now = "2026-06-01T00:00:00"

    async def until(statement: str, expected: object) -> None:
        deadline = time.monotonic() + START_SECONDS
        while desk.place.query(statement) != expected:
            assert time.monotonic() < deadline, desk.place.query(statement)
            await asyncio.sleep(0.01)

    async def run() -> None:
        keeping = asyncio.create_task(Timekeeper(desk.database, clock).keep_looking())
        try:
            await asyncio.sleep(0.1)
            written_ahead(desk)
            # Nothing is ahead of the clock yet.
            await asyncio.sleep(0.1)
            assert desk.place.query("SELECT due_at FROM jobs") == [("2027-06-01T01:00:00",)]
            wall.move(days=-365)
            await until("SELECT due_at, updated_at FROM jobs", [(now,) * 2])
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping

    desk.run(run())
    assert before == []
    assert desk.place.query("SELECT erased_at FROM erasures ORDER BY 1") == [(now,), (NEAR,)]
    assert desk.place.query("SELECT deleted_at FROM sessions") == [(now,)]
    deletions = [("2026-01-01T00:00:00", 1), (now, 4)]
    assert desk.place.query("SELECT deleted_at, through_sequence FROM session_deletions ORDER BY 1") == deletions


@pytest.mark.parametrize(("back", "taken"), [(0, False), (5_000, False), (86_400_000 * 365, True)])
def test_a_lease_that_was_taken_by_a_clock_ahead_does_not_last_for_ever(desk: Desk, back: int, taken: bool) -> None:
    take = partial(take_lease, name="vectors", length=30_000)
    now = 1_800_000_000_000
    assert desk.run(desk.database.write(partial(take, holder=b"a" * 16, now=now)))
    assert desk.run(desk.database.write(partial(take, holder=b"b" * 16, now=now - back))) is taken
    assert desk.run(desk.database.write(partial(take, holder=b"a" * 16, now=now - back))) is not taken
