"""API keys and the tokens that the server signs: who comes in as whom, who does not, and from when on.

Credentials are asked as the endpoint asks them, with the header's value, on a database that the application, or another
process, writes to. Tokens of an identity provider are in `test_identity.py`.
"""

import asyncio
import base64
import json
import sqlite3
import string
from collections.abc import Coroutine, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from time import time
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

import recallql.auth.credentials
import recallql.auth.user_tokens
from models.erasure import erase_user
from models.keys import user_key
from models.scope import Scope
from models.sqlite.database import SqliteStore
from models.store import Transaction
from models.users import user_by_id
from recallql.auth.credentials import EXPIRED, HEADER_BYTES, REFUSED, Credentials, Unauthenticated
from recallql.commands.archive import export_file
from recallql.seldom import Seldom
from recallql.settings import Settings
from resolvers.credentials import (
    LARGEST_LIFE,
    create_api_key,
    issue_user_token,
    list_api_keys,
    revoke_api_key,
    rotate_signing_key,
)
from resolvers.errors import Refused
from resolvers.operation_context import OperationContext
from resolvers.times import Clock
from resolvers.users import create_user, delete_user
from resolvers.viewers import Viewer
from tests.servers import Server

ISSUE = """mutation ($input: IssueUserTokenInput!) { issueUserToken(input: $input) {
    token expiresAt userErrors { code message path } } }"""
CREATE = (
    "mutation ($input: CreateUserInput!) { createUser(input: $input) { user { id } userErrors { code message path } } }"
)
DELETE = """mutation ($input: DeleteUserInput!) { deleteUser(input: $input) {
    deletedUserId userErrors { code message path } } }"""


class Desk:
    """Credentials on a database file, in a loop of their own; `now` is their clock, when it is set."""

    def __init__(self, path: Path, **given: Any) -> None:
        self.path = path
        self.now: float | None = None
        self.runner = asyncio.Runner()
        self.database = self.run(SqliteStore.open(path))
        self.clock = Clock()
        self.credentials = self.another(**given)

    def another(self, **given: Any) -> Credentials:
        """Credentials that remember nothing yet."""
        chosen = Settings(**{"database_url": f"sqlite:///{self.path}", **given})
        return Credentials(self.database, chosen, now=lambda: self.now or time())

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(coroutine)

    def context(self, project: str = "default") -> OperationContext:
        return OperationContext(self.database, self.clock, Scope(project))

    def viewer(self, credential: str | None, credentials: Credentials | None = None) -> Viewer:
        return self.ask(None if credential is None else f"Bearer {credential}", credentials)

    def ask(self, authorization: str | None, credentials: Credentials | None = None) -> Viewer:
        """Whom this header's value speaks for, as the endpoint finds out."""

        async def ask() -> Viewer:
            return await (credentials or self.credentials).viewer(authorization)

        return self.run(ask())

    def refused(self, credential: str | None, credentials: Credentials | None = None) -> str:
        """What a refused one is told."""
        with pytest.raises(Unauthenticated) as refusal:
            self.viewer(credential, credentials)
        return str(refusal.value)

    def key(self, project: str = "default") -> str:
        return self.run(create_api_key(self.context(), {"name": "test", "project": project}))[1]

    def user(self, user_id: str = "ada", project: str = "default") -> None:
        self.run(create_user(self.context(project), {"user_id": user_id}))

    def erase(self, user_id: str = "ada", project: str = "default") -> None:
        self.run(delete_user(self.context(project), {"user_id": user_id}))

    def token(self, user_id: str = "ada", project: str = "default", life: int | None = None) -> str:
        values = {"user_id": user_id, "expires_in_seconds": life}
        return self.run(issue_user_token(self.context(project), values))["token"]

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path, timeout=30)) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def secret(self) -> tuple[str, bytes]:
        """The key id and the secret that tokens are signed with."""
        return self.query("SELECT kid, secret FROM signing_keys WHERE retired_at IS NULL")[0]  # type: ignore[return-value]

    def close(self) -> None:
        self.run(self.credentials.close())
        self.run(self.database.close())
        self.runner.close()


@pytest.fixture
def desk(migrated_file: Path, tmp_path: Path) -> Iterator[Desk]:
    path = tmp_path / "desk.db"
    path.write_bytes(migrated_file.read_bytes())
    opened = Desk(path)
    yield opened
    opened.close()


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header: Any, claims: Any, secret: bytes) -> str:
    """A token with any header and claims at all, signed by HMAC-SHA256."""
    text = f"{part(header)}.{part(claims)}"
    return f"{text}.{part(jwt.algorithms.HMACAlgorithm('sha256').sign(text.encode(), secret))}"  # type: ignore[arg-type]


def ours(desk: Desk, **changed: Any) -> dict[str, Any]:
    """Right claims, with some changed; None takes one away."""
    claims = {"iss": "recallql", "aud": "recallql", "sub": "ada", "project": "default", "iat": time() - 1}
    claims |= {"exp": time() + 600, **changed}
    return {name: value for name, value in claims.items() if value is not None}


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
    for file in desk.path.parent.glob("desk.db*"):
        content = file.read_bytes()
        assert [key for key in keys if key[4:].encode() in content] == []


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
    ((hash,),) = desk.query("SELECT hash FROM api_keys")
    for wrong in (hash.hex(), f"rql_{hash.hex()}", f"rql_{part(hash)}", hash.decode("latin-1")):
        assert desk.refused(wrong) == REFUSED


def test_a_revoked_key_is_refused_from_its_next_use_on_and_nobody_learns_that_there_was_one(desk: Desk) -> None:
    kept, revoked = desk.key(), desk.key()
    elsewhere = Desk(desk.path)
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
    ((id,),) = desk.query("SELECT id FROM api_keys")
    first = desk.run(revoke_api_key(desk.context(), id))["revoked_at"]
    assert desk.run(revoke_api_key(desk.context(), id))["revoked_at"] == first
    with pytest.raises(Refused, match="no key with the id nobody"):
        desk.run(revoke_api_key(desk.context(), "nobody"))
    assert [row["revoked_at"] for row in desk.run(list_api_keys(desk.context()))] == [first]


@pytest.mark.parametrize("name", ["", "x" * 201, "two\nlines", "\x1b[31m", "\u202e"])
def test_a_name_of_a_key_that_would_spoil_a_list_of_keys_is_refused(desk: Desk, name: str) -> None:
    with pytest.raises(Refused):
        desk.run(create_api_key(desk.context(), {"name": name, "project": "default"}))
    assert desk.query("SELECT * FROM api_keys") == []


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
    elsewhere = Desk(desk.path)
    elsewhere.key()
    assert "API key" in desk.refused(None)
    with pytest.raises(Unauthenticated):
        desk.ask("Basic dXNlcjpwYXNz")
    ((id,),) = desk.query("SELECT id FROM api_keys")
    elsewhere.run(revoke_api_key(elsewhere.context(), id))
    for credentials in (desk.credentials, desk.another(), elsewhere.another()):
        assert desk.refused(None, credentials)
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


# Issuing tokens


def test_a_token_speaks_for_its_user_alone(server: Server) -> None:
    server.accepted(CREATE, userId="ada")
    token = server.accepted(ISSUE, userId="ada")["token"]
    desk = Desk(server.path)
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
    server.accepted(CREATE, userId="ada")
    before = datetime.now(UTC)
    issued = server.accepted(ISSUE, userId="ada", **given)
    after = datetime.now(UTC) + timedelta(milliseconds=1)
    expires = datetime.fromisoformat(issued["expiresAt"])
    assert before <= expires - timedelta(seconds=life) <= after
    desk = Desk(server.path)
    desk.now = expires.timestamp() - 0.001
    assert desk.viewer(issued["token"]).user_id == "ada"
    for desk.now in (expires.timestamp(), expires.timestamp() + 1, expires.timestamp() + 1e9):
        assert desk.refused(issued["token"]) == desk.refused(issued["token"], desk.another()) == EXPIRED
    desk.close()


@pytest.mark.parametrize("life", [0, -1, 86_401, 2**31 - 1, -(2**31)])
def test_a_life_out_of_range_is_invalid(server: Server, life: int) -> None:
    server.accepted(CREATE, userId="ada")
    error = server.refused(ISSUE, userId="ada", expiresInSeconds=life)
    assert (error["code"], error["path"]) == ("INVALID", ["expiresInSeconds"])
    assert str(life) in error["message"]


def test_there_is_no_token_of_a_user_who_is_not_there(server: Server) -> None:
    server.accepted(CREATE, userId="eve")
    server.accepted(ISSUE, userId="eve")
    server.accepted(DELETE, userId="eve")
    for nobody in ("ada", "eve", "Eve"):
        error = server.refused(ISSUE, userId=nobody)
        assert (error["code"], error["path"]) == ("NOT_FOUND", ["userId"])
    for wrong in ("", "x" * 513, "\x00"):
        assert server.refused(ISSUE, userId=wrong)["code"] == "INVALID"


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


# Forged tokens


def test_a_token_with_any_character_changed_is_refused(desk: Desk) -> None:
    desk.user()
    token = desk.token()
    assert desk.viewer(token)
    alphabet = string.ascii_letters + string.digits + "-_.=+/ \x00é"
    for index, letter in enumerate(token):
        other = alphabet[(alphabet.index(letter) + 1 + index % 60) % len(alphabet)]
        assert desk.refused(token[:index] + other + token[index + 1 :]) == REFUSED, index
    for wrong in (
        token[:-1],
        token + "A",
        token + ".",
        "." + token,
        token.rsplit(".", 1)[0],
        token.rsplit(".", 1)[0] + ".",
    ):
        assert desk.refused(wrong) == REFUSED


def test_the_parts_of_two_tokens_make_no_third(desk: Desk) -> None:
    desk.user("ada")
    desk.user("eve")
    ada, eve = desk.token("ada").split("."), desk.token("eve").split(".")
    assert desk.refused(".".join([eve[0], ada[1], eve[2]])) == REFUSED
    assert desk.refused(".".join([ada[0], eve[1], ada[2]])) == REFUSED


@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "nOnE", "", "HS512", "HS384", "hs256", "RS256", "ES256", None, 1, [], {}]
)
def test_no_other_algorithm_is_taken_not_even_with_the_right_secret(desk: Desk, algorithm: Any) -> None:
    desk.user()
    desk.token()
    kid, secret = desk.secret()
    right = signed({"alg": "HS256", "kid": kid}, ours(desk), secret)
    assert desk.viewer(right).user_id == "ada"
    forged = signed({"alg": algorithm, "kid": kid}, ours(desk), secret)
    for token in (forged, forged.rsplit(".", 1)[0] + ".", forged.rsplit(".", 1)[0]):
        assert desk.refused(token) == REFUSED
    if algorithm in ("HS384", "HS512"):
        assert desk.refused(jwt.encode(ours(desk), secret, algorithm, headers={"kid": kid})) == REFUSED


@pytest.mark.parametrize(
    "kid",
    [
        "",
        "x",
        "../../../../dev/null",
        "' OR 1=1 --",
        "%",
        "*",
        "\x00",
        "é",
        "\ud800",
        "x" * 4000,
        None,
        1,
        [],
        {},
        True,
    ],
)
def test_a_key_id_that_was_made_up_finds_no_key(desk: Desk, kid: Any) -> None:
    desk.user()
    desk.token()
    for secret in (b"", b"\x00" * 32, desk.secret()[1]):
        assert desk.refused(signed({"alg": "HS256", "kid": kid}, ours(desk), secret)) == REFUSED
    assert desk.refused(signed({"alg": "HS256"}, ours(desk), desk.secret()[1])) == REFUSED


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"]},
        {"crit": []},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"b64": True},
        {"crit": None},
    ],
)
def test_a_header_with_critical_extensions_is_refused(desk: Desk, header: dict[str, Any]) -> None:
    desk.user()
    desk.token()
    kid, secret = desk.secret()
    assert desk.refused(signed({"alg": "HS256", "kid": kid, **header}, ours(desk), secret)) == REFUSED


def test_a_key_that_a_token_brings_along_proves_nothing(desk: Desk) -> None:
    desk.user()
    desk.token()
    kid, secret = b"mine", b"m" * 32
    own = {"kty": "oct", "k": part(secret), "kid": "mine", "alg": "HS256"}
    for name in (kid.decode(), desk.secret()[0]):
        header = {
            "alg": "HS256",
            "kid": name,
            "jwk": own,
            "jku": "https://evil.example/jwks",
            "x5u": "https://evil.example",
        }
        assert desk.refused(signed(header, ours(desk), secret)) == REFUSED


WRONG_CLAIMS: dict[str, list[Any]] = {
    "iss": [None, "", "recallqL", "https://evil.example", ["recallql"], 1, True, {}],
    "aud": [None, "", "other", ["other"], [], {}, 1, ["recallql", 1], [["recallql"]]],
    "sub": [None, "", 1, 1.5, True, ["ada"], {"ada": 1}, "x" * 513, "a\x00", "\ud800"],
    "project": [None, "", 1, ["default"], {}, True, "x" * 513, "\x00"],
    "exp": [None, 0, -1, True, "9999999999", [9999999999], {}, float("inf"), float("nan"), -(10**400), 1.0],
    "iat": [None, 10**12, True, "1", [1], {}, float("nan"), float("-inf"), 10**400],
    "nbf": [10**12, True, "1", [], {}, float("inf"), 10**400, 9e9],
    "erased": ["2026-01-01T00:00:00", "", 0, False, [], {}, "null"],
}


@pytest.mark.parametrize("name", WRONG_CLAIMS)
def test_a_wrong_claim_is_refused_even_when_the_signature_is_right(desk: Desk, name: str) -> None:
    desk.user()
    desk.token()
    kid, secret = desk.secret()
    header = {"alg": "HS256", "kid": kid}
    assert desk.viewer(signed(header, ours(desk), secret)).user_id == "ada"
    for value in WRONG_CLAIMS[name]:
        for claims in (ours(desk, **{name: value}), {**ours(desk), name: value}):
            if claims.get("erased", "") is not None:
                assert desk.refused(signed(header, claims, secret)) in (REFUSED, EXPIRED), value


def test_a_life_that_never_ends_ends_with_the_signing_key(desk: Desk) -> None:
    desk.user()
    desk.token()
    kid, secret = desk.secret()
    token = signed({"alg": "HS256", "kid": kid}, ours(desk, exp=10**400), secret)
    assert desk.viewer(token).user_id == "ada"
    desk.run(rotate_signing_key(desk.context(), at_once=True))
    assert desk.refused(token) == REFUSED


@pytest.mark.parametrize("text", ['{"a":', "[]", "1", '"x"', "null", "[" * 5000, '{"a":' * 1000, "9" * 5000, "\xff"])
def test_parts_that_are_no_objects_are_refused(desk: Desk, text: str) -> None:
    desk.user()
    desk.token()
    kid, secret = desk.secret()
    raw = text.encode("latin-1")
    right = {"alg": "HS256", "kid": kid}
    for header, claims in ((raw, ours(desk)), (right, raw), (raw, raw)):
        token = signed(header, claims, secret)
        if len(token) < HEADER_BYTES - 7:
            assert desk.refused(token) == REFUSED


def test_of_a_claim_that_stands_twice_the_last_one_counts_for_everybody(desk: Desk) -> None:
    desk.user("ada")
    desk.user("eve")
    desk.token("ada")
    kid, secret = desk.secret()
    plain = json.dumps(ours(desk, sub="eve"))
    doubled = plain.replace('"sub": "eve"', '"sub": "ada", "sub": "eve"')
    assert doubled != plain
    header = f'{{"alg": "none", "kid": "x", "alg": "HS256", "kid": "{kid}"}}'
    viewer = desk.viewer(signed(header.encode(), doubled.encode(), secret))
    assert (viewer.user_id, viewer.user_key) == ("eve", user_key("default", "eve"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    header=st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "zip"]), json_values),
    claims=st.dictionaries(
        st.sampled_from(["iss", "aud", "sub", "project", "exp", "iat", "nbf", "erased"]), json_values
    ),
    own=st.booleans(),
    cut=st.integers(0, 60),
)
def test_whatever_a_forged_token_says_it_is_refused(
    desk: Desk, header: dict[str, Any], claims: dict[str, Any], own: bool, cut: int
) -> None:
    if not desk.query("SELECT 1 FROM users"):
        desk.user()
        desk.token()
    kid, secret = desk.secret()
    right = {"alg": "HS256", "kid": kid}
    # With the right header and secret, but claims that are not right; with any header, but not the secret.
    token = (
        signed(right, ours(desk) | claims | {"iss": "elsewhere"}, secret)
        if own
        else signed(right | header, ours(desk) | claims, b"guess" * 7)
    )
    assert desk.refused(token) == REFUSED
    assert desk.refused(token[cut:]) == REFUSED


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.text(max_size=200))
def test_any_other_text_is_refused(desk: Desk, text: str) -> None:
    desk.credentials._needed = True
    for header in (
        f"Bearer {text}",
        f"Bearer {text}.{text}.{text}",
        f"Bearer rql_{text}",
        f"Bearer {part(text.encode('utf-8', 'replace'))}.x.y",
    ):
        with pytest.raises(Unauthenticated):
            desk.ask(header)


# Erasure


def test_a_token_of_an_erased_user_is_refused_and_opens_no_later_user_under_the_same_key(server: Server) -> None:
    desk = Desk(server.path)
    server.accepted(CREATE, userId="ada")
    old = server.accepted(ISSUE, userId="ada", expiresInSeconds=86_400)["token"]
    unused = server.accepted(ISSUE, userId="ada", expiresInSeconds=86_400)["token"]
    assert desk.viewer(old).user_id == "ada"
    server.accepted(DELETE, userId="ada")
    assert desk.refused(old) == desk.refused(unused) == REFUSED
    server.accepted(CREATE, userId="ada")
    between = server.accepted(ISSUE, userId="ada", expiresInSeconds=86_400)["token"]
    for credentials in (desk.credentials, desk.another()):
        assert desk.refused(old, credentials) == desk.refused(unused, credentials) == REFUSED
        assert desk.viewer(between, credentials).user_id == "ada"
    server.accepted(DELETE, userId="ada")
    server.accepted(CREATE, userId="ada")
    for token in (old, unused, between):
        assert desk.refused(token) == REFUSED
    assert desk.viewer(server.accepted(ISSUE, userId="ada")["token"]).user_id == "ada"
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
        def now(self) -> str:
            return (datetime.fromisoformat(super().now()) - timedelta(hours=1)).isoformat()

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
    elsewhere = Desk(desk.path)
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
        desk.query("UPDATE signing_keys SET retired_at = ? WHERE kid = ?", then, kid)
        for credentials in (desk.credentials, desk.another()):
            if good:
                assert desk.viewer(forged, credentials).user_id == "ada"
            else:
                assert desk.refused(forged, credentials) == REFUSED
    desk.run(rotate_signing_key(desk.context(), at_once=False))
    assert kid not in [row[0] for row in desk.query("SELECT kid FROM signing_keys")]
    assert len(desk.query("SELECT kid FROM signing_keys WHERE retired_at IS NULL")) == 1


def test_processes_that_make_the_first_signing_key_at_once_share_one(desk: Desk) -> None:
    desk.user()

    async def both() -> list[str]:
        other = await SqliteStore.open(desk.path)
        contexts = [desk.context(), OperationContext(other, Clock()), desk.context()]
        issued = await asyncio.gather(*(issue_user_token(context, {"user_id": "ada"}) for context in contexts))
        await other.close()
        return [one["token"] for one in issued]

    tokens = desk.run(both())
    assert len(desk.query("SELECT * FROM signing_keys")) == 1
    assert all(desk.viewer(token).user_id == "ada" for token in tokens)


def test_an_export_holds_no_secret_and_an_import_brings_no_credential(desk: Desk, tmp_path: Path) -> None:
    desk.user()
    key, token = desk.key(), desk.token()
    kid, secret = desk.secret()
    ((hash,),) = desk.query("SELECT hash FROM api_keys")
    target = tmp_path / "export.ndjson"
    with target.open("wb") as file:
        assert export_file(file, Settings(database_url=f"sqlite:///{desk.path}")).total() == 1
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
        ("nonsense", "no token"),
        ("rql_unknown", "API key"),
        (signed(header, ours(desk), b"x" * 32), "signature"),
        (signed({"alg": "HS256", "kid": "other"}, ours(desk), secret), "unknown or retired"),
        (signed({"alg": "RS256", "kid": "other"}, ours(desk), secret), "no identity provider"),
        (signed(header, ours(desk, iss="https://a.example"), secret), "issuer"),
        (signed(header, ours(desk, aud="another"), secret), "audience"),
        (signed(header, ours(desk, exp=now - 60), secret), "expired"),
        (signed(header, ours(desk, iat=now + 60), secret), "compare the clocks"),
        (signed(header, ours(desk, nbf=now + 60), secret), "not good yet"),
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
