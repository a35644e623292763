"""API keys and the tokens that the server signs: who comes in as whom, who does not, and from when on.

Credentials are asked as the endpoint asks them, with the header's value, on a database that the application, or another
process, writes to. Tokens of an identity provider are in `test_identity.py`.
"""

import base64
from functools import partial
from pathlib import Path
from time import time
from typing import Any

import pytest
from structlog.testing import capture_logs

import recallql.auth.credentials
import recallql.auth.user_tokens
from recallql.auth.credentials import HEADER_BYTES, REFUSED, Unauthenticated
from recallql.commands.archive import export_file
from recallql.seldom import Seldom
from recallql.settings import Settings
from resolvers.credentials import (
    create_api_key,
    list_api_keys,
    revoke_api_key,
)
from resolvers.errors import Refused
from tests.desk import Desk, ours, part, signed

# API keys


def test_a_key_speaks_for_the_application_in_its_project(desk: Desk) -> None:
    key, other = desk.key(), desk.key("other")
    for _ in range(2):
        viewer = desk.viewer(key)
        assert (viewer.role, viewer.project, viewer.user_id, viewer.user_key) == ("SERVICE", "default", None, None)
        assert desk.viewer(other).project == "other"
    assert desk.viewer(key).credential != desk.viewer(other).credential
    assert key not in repr(desk.viewer(key))


def test_a_key_has_256_random_bits_and_is_kept_nowhere(desk: Desk) -> None:
    keys = {desk.key() for _ in range(20)}
    assert len(keys) == 20
    assert all(key.startswith("rql_") and len(base64.urlsafe_b64decode(key[4:] + "=")) == 32 for key in keys)
    for key in keys:
        assert desk.viewer(key)
    kept = repr(desk.place.tables())
    assert [key for key in keys if key[4:] in kept] == []


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER   ", "  Bearer "])
def test_the_scheme_is_taken_in_any_case_and_spaces_do_no_harm(desk: Desk, scheme: str) -> None:
    key = desk.key()
    assert desk.ask(f"{scheme}{key} ").role == "SERVICE"


def test_a_key_that_is_not_quite_right_is_refused(desk: Desk) -> None:
    key = desk.key()
    desk.viewer(key)
    for wrong in (key[:-1], key + "A", key.swapcase(), key[4:], "rql_", "rql_" + key, key + " " + key, "", "\x00", "ä"):
        assert desk.refused(wrong) == REFUSED, wrong
    for index in range(4, len(key)):
        other = "A" if key[index] != "A" else "B"
        assert desk.refused(key[:index] + other + key[index + 1 :]) == REFUSED


def test_the_hash_of_a_key_is_no_key(desk: Desk) -> None:
    desk.key()
    ((hash,),) = desk.place.query("SELECT hash FROM api_keys")
    for wrong in (hash.hex(), f"rql_{hash.hex()}", f"rql_{part(hash)}", hash.decode("latin-1")):
        assert desk.refused(wrong) == REFUSED


def test_a_revoked_key_is_refused_from_its_next_use_on_and_nobody_learns_that_there_was_one(desk: Desk) -> None:
    kept, revoked = desk.key(), desk.key()
    elsewhere = Desk(desk.place)
    fresh, used = elsewhere.another(), elsewhere.credentials
    assert desk.viewer(kept) == elsewhere.viewer(kept, used)
    id = elsewhere.viewer(revoked, used).credential.removeprefix("API key ")
    desk.run(revoke_api_key(desk.context(), id))
    for credentials in (used, fresh):
        assert elsewhere.refused(revoked, credentials) == elsewhere.refused("rql_" + "x" * 43, credentials) == REFUSED
        assert elsewhere.viewer(kept, credentials).role == "SERVICE"
    elsewhere.close()


def test_revoking_twice_keeps_the_first_time_and_an_unknown_id_is_said(desk: Desk) -> None:
    desk.key()
    ((id,),) = desk.place.query("SELECT id FROM api_keys")
    first = desk.run(revoke_api_key(desk.context(), id))["revoked_at"]
    assert desk.run(revoke_api_key(desk.context(), id))["revoked_at"] == first
    with pytest.raises(Refused, match="no key with the id nobody"):
        desk.run(revoke_api_key(desk.context(), "nobody"))
    assert [row["revoked_at"] for row in desk.run(list_api_keys(desk.context()))] == [first]


@pytest.mark.parametrize("name", ["", "x" * 201, "two\nlines", "\x1b[31m", "\u202e"])
def test_a_name_of_a_key_that_would_spoil_a_list_of_keys_is_refused(desk: Desk, name: str) -> None:
    with pytest.raises(Refused):
        desk.run(create_api_key(desk.context(), {"name": name, "project": "default"}))
    assert desk.place.query("SELECT * FROM api_keys") == []


def test_the_one_key_of_the_settings_is_taken_and_nothing_near_it(desk: Desk) -> None:
    single = "a-key-from-the-environment-0123456789"
    credentials = desk.another(api_key=single)
    viewer = desk.viewer(single, credentials)
    assert (viewer.role, viewer.project) == ("SERVICE", "default")
    assert single not in repr(viewer)
    for wrong in (single[:-1], single + "0", single.upper(), "", single[1:]):
        assert desk.refused(wrong, credentials) == REFUSED
    assert "Bearer" in desk.refused(None, credentials)
    assert desk.viewer(desk.key("other"), credentials).project == "other"


# Whether a credential is needed


def test_without_any_key_no_credential_is_the_application(desk: Desk) -> None:
    assert desk.run(desk.credentials.are_needed()) is False
    for header in (None, "", "  ", "Basic dXNlcjpwYXNz", "Token x"):
        assert (desk.ask(header).role, desk.ask(header).project) == ("SERVICE", "default")


def test_a_credential_that_is_shown_is_checked_also_where_none_is_needed(desk: Desk) -> None:
    assert desk.refused("rql_" + "x" * 43) == REFUSED
    assert desk.refused("something") == REFUSED
    desk.user()
    assert desk.viewer(desk.token()).role == "USER"


def test_from_the_first_key_on_a_credential_is_needed_also_after_all_were_revoked(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert recallql.auth.credentials.LOOK_EVERY <= 1
    monkeypatch.setattr(recallql.auth.credentials, "LOOK_EVERY", 0.0)
    assert desk.ask(None).role == "SERVICE"
    elsewhere = Desk(desk.place)
    elsewhere.key()
    assert "API key" in desk.refused(None)
    with pytest.raises(Unauthenticated):
        desk.ask("Basic dXNlcjpwYXNz")
    ((id,),) = desk.place.query("SELECT id FROM api_keys")
    elsewhere.run(revoke_api_key(elsewhere.context(), id))
    for asked, credentials in ((desk, desk.credentials), (desk, desk.another()), (elsewhere, elsewhere.another())):
        assert asked.refused(None, credentials)
    elsewhere.close()


def test_whether_the_first_key_was_made_is_not_looked_up_at_every_request(desk: Desk) -> None:
    asked = []
    read = desk.credentials._read
    look_up = read.look_up
    read.look_up = lambda *given: (asked.append(given), look_up(*given))[1]  # type: ignore[method-assign]
    for _ in range(1000):
        desk.ask(None)
    assert 1 <= len(asked) <= 3


@pytest.mark.parametrize(
    "given",
    [
        {"host": "0.0.0.0"},
        {"host": "192.0.2.1"},
        {"host": ""},
        {"api_key": "x" * 16},
        {"jwks_url": "https://id.example/jwks", "jwks_issuer": "https://id.example", "jwks_audience": "recall"},
    ],
)
def test_a_credential_is_needed_on_other_addresses_and_where_the_settings_name_one(
    desk: Desk, given: dict[str, str]
) -> None:
    credentials = desk.another(**given)
    assert desk.run(credentials.are_needed()) is True
    assert desk.refused(None, credentials)


def test_a_header_over_the_limit_is_refused_unread(desk: Desk) -> None:
    desk.user()
    key, token = desk.key(), desk.token()
    for credential in (key, token, "x"):
        header = f"Bearer {credential}"
        with pytest.raises(Unauthenticated, match=str(HEADER_BYTES)):
            desk.ask(header + " " * (HEADER_BYTES + 1 - len(header)))
    assert desk.ask(f"Bearer {key}".ljust(HEADER_BYTES)).role == "SERVICE"


def test_a_flood_of_wrong_credentials_drives_out_no_good_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.user()
    key, token = desk.key(), desk.token()
    for _ in range(2):
        desk.viewer(key)
        desk.viewer(token)
    kept = len(desk.credentials._proofs)
    for number in range(1000):
        desk.refused(f"rql_{number:043}")
        desk.refused(f"{token[:-20]}{number:020}")
    assert len(desk.credentials._proofs) == kept
    monkeypatch.setattr(recallql.auth.user_tokens, "read_claims", None)
    monkeypatch.setattr(recallql.auth.credentials, "api_key_by_hash", None)
    assert desk.viewer(token).role == "USER"
    assert desk.viewer(key).role == "SERVICE"


def test_what_is_remembered_is_bounded(desk: Desk) -> None:
    desk.user()
    for _ in range(30):
        desk.viewer(desk.token())
    assert 0 < len(desk.credentials._proofs) <= 30
    assert recallql.auth.credentials.REMEMBERED <= 10_000
    assert all(isinstance(name, bytes) and len(name) == 32 for name in desk.credentials._proofs._entries)


def test_an_export_holds_no_secret_and_an_import_brings_no_credential(desk: Desk, tmp_path: Path) -> None:
    desk.user()
    key, token = desk.key(), desk.token()
    kid, secret = desk.secret()
    ((hash,),) = desk.place.query("SELECT hash FROM api_keys")
    target = tmp_path / "export.ndjson"
    with target.open("wb") as file:
        assert export_file(file, Settings(database_url=desk.place.url)).total() == 1
    text = target.read_bytes()
    for value in (key.encode(), token.encode(), kid.encode(), secret, secret.hex().encode(), hash, hash.hex().encode()):
        assert value not in text


# What the log says of a refusal


def logged(desk: Desk, *credentials: str) -> list[dict[str, Any]]:
    """The lines of the log while these are refused, in a process that has logged nothing yet."""
    fresh = desk.another()
    with capture_logs() as logs:
        for credential in credentials:
            desk.refused(credential, fresh)
    return [dict(line) for line in logs]


def test_the_log_says_why_a_token_was_refused(desk: Desk) -> None:
    desk.user()
    desk.token()
    kid, secret = desk.secret()
    header = {"alg": "HS256", "kid": kid}
    now = time()
    expected = [
        ("nonsense", "not a token"),
        ("rql_unknown", "API key"),
        (signed(header, ours(desk), b"x" * 32), "signature"),
        (signed({"alg": "HS256", "kid": "other"}, ours(desk), secret), "unknown or retired"),
        (signed({"alg": "RS256", "kid": "other"}, ours(desk), secret), "no identity provider"),
        (signed(header, ours(desk, iss="https://a.example"), secret), "issuer"),
        (signed(header, ours(desk, aud="another"), secret), "audience"),
        (signed(header, ours(desk, exp=now - 60), secret), "expired"),
        (signed(header, ours(desk, iat=now + 60), secret), "compare the clocks"),
        (signed(header, ours(desk, nbf=now + 60), secret), "not valid yet"),
        (signed(header, ours(desk, exp=None), secret), "`exp` is missing"),
        (signed(header, ours(desk, gen=7), secret), "erased"),
        (signed(header, ours(desk, sub=""), secret), "`sub`"),
    ]
    for token, word in expected:
        (line,) = logged(desk, token)
        assert (line["event"], line["log_level"]) == ("a token was refused", "warning")
        assert word in line["reason"], line
        for part_of_token in token.split("."):
            assert part_of_token not in str(line)
    (line,) = logged(desk, signed(header, ours(desk, iss="https://a.example"), secret))
    assert (line["expected"], line["found"]) == ("recallql", "https://a.example")
    (line,) = logged(desk, signed(header, ours(desk, exp=now - 60), secret))
    assert 59 <= line["seconds_ago"] <= 120


def test_the_log_is_not_flooded_with_refusals(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.user()
    desk.token()
    kid, secret = desk.secret()
    header = {"alg": "HS256", "kid": kid}
    seconds = [0.0]
    monkeypatch.setattr("recallql.auth.credentials.Seldom", partial(Seldom, now=lambda: seconds[0]))
    fresh = desk.another()
    with capture_logs() as logs:
        for number in range(300):
            desk.refused(signed({"alg": "HS256", "kid": f"made up {number}"}, ours(desk), secret), fresh)
            desk.refused(signed(header, ours(desk, iss=f"https://{number}.example"), secret), fresh)
        assert [line["not_logged"] for line in logs] == [0, 0]
        seconds[0] = 61
        desk.refused(signed({"alg": "HS256", "kid": "again"}, ours(desk), secret), fresh)
    assert [line["not_logged"] for line in logs] == [0, 0, 299]


def test_what_a_token_makes_up_is_logged_in_ascii_and_cut(desk: Desk) -> None:
    desk.user()
    desk.token()
    kid, secret = desk.secret()
    made_up = ["\x1b[2J\nlevel=info", "ü" * 300, ["x" * 5000], {"a": 10**300}, 10**400]
    for value in made_up:
        token = signed({"alg": "HS256", "kid": kid}, ours(desk, iss=value), secret)
        (line,) = logged(desk, token)
        assert line["found"].isascii()
        assert "\x1b" not in line["found"]
        assert "\n" not in line["found"]
        assert len(line["found"]) <= 103
    for name, value in (("exp", -(10**400)), ("iat", 10**400)):
        (line,) = logged(desk, signed({"alg": "HS256", "kid": kid}, ours(desk, **{name: value}), secret))
        assert "`" + name + "`" in line["reason"]
