"""The tokens of users: issued, good until they end, gone with their user, and signed with keys that change."""

import asyncio
from datetime import UTC, datetime, timedelta
from time import time
from typing import Any

import jwt
import pytest

from models.erasure import erase_user
from models.keys import user_key
from models.store import Transaction
from models.users import user_by_id
from models.values import Time, datetime_of, time_of
from recallql.auth.credentials import EXPIRED, REFUSED
from resolvers.credentials import (
    LARGEST_LIFE,
    issue_user_token,
    rotate_signing_key,
)
from resolvers.errors import Refused
from resolvers.operation_context import OperationContext
from resolvers.times import Clock
from resolvers.users import create_user, delete_user
from tests.desk import Desk, ours, signed
from tests.documents import CREATE_USER, DELETE_USER, ISSUE_USER_TOKEN
from tests.servers import Server

# Issuing tokens


def test_a_token_speaks_for_its_user_alone(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada")
    token = server.accepted(ISSUE_USER_TOKEN, userId="ada")["token"]
    desk = Desk(server.place)
    for _ in range(2):
        viewer = desk.viewer(token)
        assert (viewer.role, viewer.project, viewer.user_id) == ("USER", "default", "ada")
        assert viewer.user_key == user_key("default", "ada")
    desk.close()


@pytest.mark.parametrize(
    ("given", "life"),
    [({}, 900), ({"expiresInSeconds": None}, 900)] + [({"expiresInSeconds": life}, life) for life in (1, 3600, 86_400)],
)
def test_a_token_lives_as_long_as_was_asked_for(server: Server, given: dict[str, Any], life: int) -> None:
    server.accepted(CREATE_USER, userId="ada")
    before = datetime.now(UTC)
    issued = server.accepted(ISSUE_USER_TOKEN, userId="ada", **given)
    after = datetime.now(UTC) + timedelta(milliseconds=1)
    expires = datetime.fromisoformat(issued["expiresAt"])
    assert before <= expires - timedelta(seconds=life) <= after
    desk = Desk(server.place)
    desk.now = expires.timestamp() - 0.001
    assert desk.viewer(issued["token"]).user_id == "ada"
    for desk.now in (expires.timestamp(), expires.timestamp() + 1, expires.timestamp() + 1e9):
        assert desk.refused(issued["token"]) == desk.refused(issued["token"], desk.another()) == EXPIRED
    desk.close()


@pytest.mark.parametrize("life", [0, -1, 86_401, 2**31 - 1, -(2**31)])
def test_a_life_out_of_range_is_invalid(server: Server, life: int) -> None:
    server.accepted(CREATE_USER, userId="ada")
    error = server.refused(ISSUE_USER_TOKEN, userId="ada", expiresInSeconds=life)
    assert (error["code"], error["path"]) == ("INVALID", ["expiresInSeconds"])
    assert str(life) in error["message"]


def test_there_is_no_token_of_a_user_who_is_not_there(server: Server) -> None:
    server.accepted(CREATE_USER, userId="eve")
    server.accepted(ISSUE_USER_TOKEN, userId="eve")
    server.accepted(DELETE_USER, userId="eve")
    for nobody in ("ada", "eve", "Eve"):
        error = server.refused(ISSUE_USER_TOKEN, userId=nobody)
        assert (error["code"], error["path"]) == ("NOT_FOUND", ["userId"])
    for wrong in ("", "x" * 513, "\x00"):
        assert server.refused(ISSUE_USER_TOKEN, userId=wrong)["code"] == "INVALID"


def test_a_token_opens_its_own_project_only(desk: Desk) -> None:
    desk.user("ada", "b")
    with pytest.raises(Refused, match="no user"):
        desk.token("ada", "a")
    viewer = desk.viewer(desk.token("ada", "b"))
    assert (viewer.project, viewer.user_key) == ("b", user_key("b", "ada"))


@pytest.mark.parametrize("letter", ["x", "ä", "語", "\U0001f331", '"', "\\"])
def test_the_longest_key_of_a_user_fits_into_a_token(desk: Desk, letter: str) -> None:
    desk.user(letter * 512, letter * 512)
    assert desk.viewer(desk.token(letter * 512, letter * 512)).user_id == letter * 512


@pytest.mark.parametrize(
    ("claim", "granted"),
    [
        ({}, {"READ", "WRITE"}),
        ({"permissions": ["MANAGE"]}, {"MANAGE"}),
        ({"permissions": ["READ", "FLY", 1, None]}, {"READ"}),
        ({"permissions": []}, set()),
        ({"permissions": {"MANAGE": 1}}, set()),
        ({"permissions": 1}, set()),
        ({"scope": "recallql:manage"}, {"READ", "WRITE"}),
    ],
)
def test_a_token_has_the_permissions_of_its_claim_and_an_older_one_reads_and_writes(
    desk: Desk, claim: dict[str, Any], granted: set[str]
) -> None:
    desk.user()
    desk.token()
    kid, secret = desk.secret()
    token = signed({"alg": "HS256", "kid": kid}, ours(desk, gen=0, **claim), secret)
    for _ in range(2):
        assert desk.viewer(token).permissions == granted


# Erasure


def test_a_token_of_an_erased_user_is_refused_and_opens_no_later_user_under_the_same_key(server: Server) -> None:
    desk = Desk(server.place)
    server.accepted(CREATE_USER, userId="ada")
    old = server.accepted(ISSUE_USER_TOKEN, userId="ada", expiresInSeconds=86_400)["token"]
    unused = server.accepted(ISSUE_USER_TOKEN, userId="ada", expiresInSeconds=86_400)["token"]
    assert desk.viewer(old).user_id == "ada"
    server.accepted(DELETE_USER, userId="ada")
    assert desk.refused(old) == desk.refused(unused) == REFUSED
    server.accepted(CREATE_USER, userId="ada")
    between = server.accepted(ISSUE_USER_TOKEN, userId="ada", expiresInSeconds=86_400)["token"]
    for credentials in (desk.credentials, desk.another()):
        assert desk.refused(old, credentials) == desk.refused(unused, credentials) == REFUSED
        assert desk.viewer(between, credentials).user_id == "ada"
    server.accepted(DELETE_USER, userId="ada")
    server.accepted(CREATE_USER, userId="ada")
    for token in (old, unused, between):
        assert desk.refused(token) == REFUSED
    assert desk.viewer(server.accepted(ISSUE_USER_TOKEN, userId="ada")["token"]).user_id == "ada"
    desk.close()


def test_a_token_issued_while_its_user_is_being_erased_is_good_for_nothing(desk: Desk) -> None:
    desk.user()
    desk.token()

    async def operation(write: Transaction) -> str:
        context = desk.context()
        row = await user_by_id(write, context.scope, "ada")
        assert row is not None
        await erase_user(write, context.scope, row, desk.clock.now())
        # Nobody else sees the erasure before it is committed.
        return (await issue_user_token(context, {"user_id": "ada"}))["token"]

    token = desk.run(desk.database.write(operation))
    assert desk.refused(token) == REFUSED
    desk.user()
    assert desk.refused(token) == REFUSED
    assert desk.viewer(desk.token()).user_id == "ada"


def test_a_token_whose_user_is_erased_just_after_being_found_is_good_for_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.user()

    async def found_and_erased(*given: Any) -> Any:
        row = await user_by_id(*given)
        await delete_user(desk.context(), {"user_id": "ada"})
        return row

    with monkeypatch.context() as patched:
        patched.setattr("resolvers.credentials.user_by_id", found_and_erased)
        token = desk.token()
    assert desk.refused(token) == REFUSED
    desk.user()
    assert desk.refused(token) == REFUSED


def test_a_clock_that_is_set_back_revives_no_token(desk: Desk) -> None:
    desk.user()
    token = desk.token(life=86_400)

    class Behind(Clock):
        def now(self) -> Time:
            return time_of(datetime_of(super().now()) - timedelta(hours=1))

    context = OperationContext(desk.database, Behind())
    desk.run(delete_user(context, {"user_id": "ada"}))
    desk.run(create_user(context, {"user_id": "ada"}))
    assert desk.refused(token) == REFUSED


def test_erasing_a_user_leaves_the_tokens_of_others_alone(desk: Desk) -> None:
    desk.user("ada")
    desk.user("eve")
    desk.user("ada", "other")
    tokens = [desk.token("eve"), desk.token("ada", "other")]
    desk.erase("ada")
    assert [desk.viewer(token).user_id for token in tokens] == ["eve", "ada"]


# Signing keys


def test_after_a_rotation_older_tokens_stay_good_and_newer_ones_have_another_key(desk: Desk) -> None:
    desk.user()
    old = desk.token(life=LARGEST_LIFE)
    assert desk.viewer(old)
    kid = desk.run(rotate_signing_key(desk.context(), at_once=False))
    new = desk.token()
    assert jwt.get_unverified_header(new)["kid"] == kid != jwt.get_unverified_header(old)["kid"]
    for credentials in (desk.credentials, desk.another()):
        assert desk.viewer(old, credentials) == desk.viewer(new, credentials)


def test_a_rotation_at_once_ends_every_token_of_before_in_every_process(desk: Desk) -> None:
    desk.user()
    elsewhere = Desk(desk.place)
    old = desk.token(life=LARGEST_LIFE)
    assert elsewhere.viewer(old)
    desk.run(rotate_signing_key(desk.context(), at_once=True))
    assert desk.refused(old) == elsewhere.refused(old) == REFUSED
    assert elsewhere.viewer(elsewhere.token()).user_id == "ada"
    elsewhere.close()


def test_a_retired_key_is_good_for_the_longest_life_of_a_token_and_then_forgotten(desk: Desk) -> None:
    desk.user()
    desk.token()
    kid, secret = desk.secret()
    forged = signed({"alg": "HS256", "kid": kid}, ours(desk, exp=time() + 10**6), secret)
    desk.run(rotate_signing_key(desk.context(), at_once=False))
    for hours, good in ((23.9, True), (24.1, False)):
        then = (datetime.now(UTC) - timedelta(hours=hours)).replace(tzinfo=None).isoformat()
        desk.place.query("UPDATE signing_keys SET retired_at = $1 WHERE kid = $2", then, kid)
        for credentials in (desk.credentials, desk.another()):
            if good:
                assert desk.viewer(forged, credentials).user_id == "ada"
            else:
                assert desk.refused(forged, credentials) == REFUSED
    desk.run(rotate_signing_key(desk.context(), at_once=False))
    assert kid not in [row[0] for row in desk.place.query("SELECT kid FROM signing_keys")]
    assert len(desk.place.query("SELECT kid FROM signing_keys WHERE retired_at IS NULL")) == 1


def test_processes_that_make_the_first_signing_key_at_once_share_one(desk: Desk) -> None:
    desk.user()

    async def both() -> list[str]:
        other = await desk.place.database.open()
        contexts = [desk.context(), OperationContext(other, Clock()), desk.context()]
        issued = await asyncio.gather(*(issue_user_token(context, {"user_id": "ada"}) for context in contexts))
        await other.close()
        return [one["token"] for one in issued]

    tokens = desk.run(both())
    assert len(desk.place.query("SELECT * FROM signing_keys")) == 1
    assert all(desk.viewer(token).user_id == "ada" for token in tokens)
