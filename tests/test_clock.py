"""The clock of the machine goes wrong: forward, back, by a little and by years."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from test_credentials import Desk, ours, signed

from recallql.credentials import EXPIRED, REFUSED
from resolvers.credentials import issue_user_token
from resolvers.times import LEEWAY, Clock

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


@pytest.fixture
def desk(migrated_file: Path, tmp_path: Path) -> Iterator[Desk]:
    path = tmp_path / "recallql.db"
    path.write_bytes(migrated_file.read_bytes())
    made = Desk(path)
    yield made
    made.close()


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
    assert clock.now() == wall.time.isoformat() + ".000000" * (wall.time.microsecond == 0)


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
            return desk.viewer(token) is None
        except Exception:
            return True

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
