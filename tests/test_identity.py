"""Tokens of the application's own identity provider, whose keys come from a real HTTP server on loopback."""

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from structlog.testing import capture_logs

from models.keys import user_key
from recallql.auth import identity
from recallql.auth.credentials import EXPIRED, REFUSED, Credentials, Unauthenticated
from recallql.settings import Settings
from resolvers.grants import PERMISSIONS
from resolvers.merging import merge_users
from resolvers.users import rename_user
from resolvers.viewers import Viewer
from tests.desk import Desk, part, signed
from tests.identity_provider import (
    AUDIENCE,
    ISSUER,
    Provider,
    claims,
    jwk,
    private_key,
    send,
    token,
)
from tests.places import Place
from tests.servers import START_SECONDS

ALGORITHMS = {
    "RS256": "rsa",
    "RS512": "rsa",
    "PS256": "rsa",
    "ES256": "p256",
    "ES384": "p384",
    "ES512": "p521",
    "EdDSA": "ed25519",
}


@pytest.fixture
def provider() -> Iterator[Provider]:
    running = Provider()
    yield running
    running.close()


@pytest.fixture
def desk(place: Place, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    opened = Desk(place, jwks_url=provider.url, jwks_issuer=ISSUER, jwks_audience=AUDIENCE)
    yield opened
    opened.close()


def again(desk: Desk, provider: Provider, **more: Any) -> Credentials:
    """Credentials that have fetched nothing yet."""
    return desk.another(jwks_url=provider.url, jwks_issuer=ISSUER, jwks_audience=AUDIENCE, **more)


def foreign(header: dict[str, Any], payload: Any, name: str = "p256") -> str:
    """A token with any header and payload at all, signed with ES256."""
    text = f"{part(header)}.{part(payload)}"
    return f"{text}.{part(jwt.get_algorithm_by_name('ES256').sign(text.encode(), private_key(name)))}"


# Good ones


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_of_the_provider_speaks_for_its_user(desk: Desk, provider: Provider, algorithm: str) -> None:
    desk.user()
    good = token(ALGORITHMS[algorithm], algorithm)
    for _ in range(3):
        viewer = desk.viewer(good)
        assert (viewer.role, viewer.project, viewer.user_id) == ("USER", "default", "ada")
        assert viewer.user_key == user_key("default", "ada")
    assert provider.asked == ["/jwks.json"]


def test_the_claim_that_holds_the_user_and_the_project_are_settings(desk: Desk, provider: Provider) -> None:
    credentials = again(desk, provider, jwks_user_claim="https://app.example/user", jwks_project="web")
    viewer = desk.viewer(token(sub=12, **{"https://app.example/user": "eve"}), credentials)
    assert (viewer.user_id, viewer.project, viewer.user_key) == ("eve", "web", user_key("web", "eve"))
    assert desk.refused(token(), credentials) == REFUSED


def test_one_of_several_audiences_is_enough(desk: Desk) -> None:
    assert desk.viewer(token(aud=["other", AUDIENCE])).user_id == "ada"


def test_a_user_who_is_not_there_is_somebody_all_the_same(desk: Desk) -> None:
    assert desk.viewer(token(sub="nobody yet")).user_id == "nobody yet"
    assert desk.place.query("SELECT * FROM users") == []


def test_tokens_of_the_server_and_keys_are_good_beside_those_of_the_provider(desk: Desk, provider: Provider) -> None:
    desk.user("eve")
    own, key = desk.token("eve"), desk.key()
    assert desk.viewer(own).user_id == "eve"
    assert desk.viewer(key).role == "SERVICE"
    assert desk.refused(None)
    assert provider.asked == []


# Permissions

READ_WRITE = frozenset(("READ", "WRITE"))


@pytest.mark.parametrize(
    ("given", "granted"),
    [
        ({}, READ_WRITE),
        ({"scope": "openid email"}, READ_WRITE),
        ({"scope": "openid recallql:read"}, {"READ"}),
        ({"scope": "recallql:write recallql:manage recallql:write"}, {"WRITE", "MANAGE"}),
        ({"scope": ["openid", "recallql:read", "recallql:manage"]}, {"READ", "MANAGE"}),
        ({"scp": "recallql:manage"}, {"MANAGE"}),
        ({"scp": ["recallql:read"], "scope": "openid"}, {"READ"}),
        ({"scp": ["recallql:read"], "scope": "recallql:write"}, {"READ", "WRITE"}),
        ({"scope": "recallql:admin"}, set()),
        ({"scope": "recallql:READ"}, set()),
        ({"scope": "recallql:"}, set()),
        ({"scope": "recallql:reading recallql:write"}, {"WRITE"}),
        ({"scope": "xrecallql:manage recallql"}, READ_WRITE),
        ({"scope": "recallql:read\u00a0recallql:manage"}, set()),
        ({"scope": ["openid recallql:manage"]}, READ_WRITE),
        ({"scope": {"recallql:manage": True}}, READ_WRITE),
        ({"scope": 1, "scp": [1, None, ["recallql:manage"]]}, READ_WRITE),
        ({"permissions": ["MANAGE"]}, READ_WRITE),
    ],
)
def test_scopes_of_recallql_are_the_permissions_and_other_tokens_have_those_of_the_setting(
    desk: Desk, given: dict[str, Any], granted: set[str]
) -> None:
    assert desk.viewer(token(**given)).permissions == granted


@pytest.mark.parametrize(
    ("setting", "granted"),
    [("read", {"READ"}), (" Manage,READ ,", {"MANAGE", "READ"}), ("", set()), ("read,write,manage", set(PERMISSIONS))],
)
def test_the_setting_is_for_tokens_without_scopes_of_recallql(
    desk: Desk, provider: Provider, setting: str, granted: set[str]
) -> None:
    credentials = again(desk, provider, jwks_permissions=setting)
    assert desk.viewer(token(), credentials).permissions == granted
    assert desk.viewer(token(scope="recallql:write"), credentials).permissions == {"WRITE"}


@pytest.mark.parametrize("setting", ["reading", "read write", "recallql:read", "read,,admin"])
def test_a_setting_that_names_no_permission_is_refused(setting: str) -> None:
    with pytest.raises(ValidationError, match="give any of read, write and manage, comma-separated"):
        Settings(jwks_permissions=setting)


# Wrong ones

WRONG_CLAIMS: dict[str, list[Any]] = {
    "iss": [None, "", ISSUER[:-1], "recallql", [ISSUER], 1, {}],
    "aud": [None, "", "other", ["other"], [], {}, 1, [AUDIENCE, 1]],
    "sub": [None, "", 1, 1.5, True, ["ada"], {"ada": 1}, "x" * 513, "a\x00", "\ud800"],
    "exp": [None, 0, -1, True, "9999999999", [9999999999], {}, float("inf"), float("nan"), -(10**400)],
    "iat": [None, 10**12, True, "1", [1], {}, float("nan"), float("-inf"), 10**400],
    "nbf": [10**12, True, "1", [], {}, float("inf"), 10**400],
}


@pytest.mark.parametrize("name", WRONG_CLAIMS)
def test_a_wrong_claim_is_refused(desk: Desk, name: str) -> None:
    header = {"alg": "ES256", "kid": "p256"}
    assert desk.viewer(foreign(header, claims())).user_id == "ada"
    for value in WRONG_CLAIMS[name]:
        for payload in (claims(**{name: value}), {**claims(), name: value}):
            assert desk.refused(foreign(header, payload)) in (REFUSED, EXPIRED), value


def test_the_clocks_may_differ_by_the_leeway_and_no_more(desk: Desk) -> None:
    desk.now = now = 1_800_000_000.0
    leeway = identity.LEEWAY
    assert leeway <= 60
    for given_, good in [
        ({"exp": now - leeway + 1}, True),
        ({"exp": now - leeway}, False),
        ({"iat": now + leeway}, True),
        ({"iat": now + leeway + 1}, False),
        ({"nbf": now + leeway}, True),
        ({"nbf": now + leeway + 1}, False),
    ]:
        times: dict[str, Any] = {"iat": now - 1000, "exp": now + 1000, **given_}
        made = token(**times)
        if good:
            assert desk.viewer(made).user_id == "ada", given_
        else:
            assert desk.refused(made) in (REFUSED, EXPIRED), given_
    made = token(iat=now - 1000, exp=now)
    assert desk.viewer(made)
    desk.now = now + leeway
    assert desk.refused(made) == EXPIRED


def test_a_token_that_never_expires_is_taken_as_the_provider_meant_it(desk: Desk) -> None:
    for _ in range(2):
        assert desk.viewer(foreign({"alg": "ES256", "kid": "p256"}, claims(exp=10**400))).user_id == "ada"


def public_forms() -> list[bytes]:
    """Forms of the provider's public key that an attacker may use as the secret of an HMAC."""
    encodings = (serialization.Encoding.PEM, serialization.Encoding.DER)
    formats = (serialization.PublicFormat.SubjectPublicKeyInfo, serialization.PublicFormat.PKCS1)
    public = private_key("rsa").public_key()
    forms = [public.public_bytes(encoding, form) for encoding in encodings for form in formats]
    forms += [json.dumps(jwk("rsa")).encode(), jwk("rsa")["n"].encode()]
    return [*forms, *(form.strip() for form in forms)]


def test_a_public_key_is_no_secret(desk: Desk) -> None:
    desk.user("eve")
    desk.token("eve")
    assert desk.viewer(token())
    for kid in ("rsa", desk.secret()[0]):
        for algorithm in ("HS256", "HS512", "RS256"):
            for secret in public_forms():
                assert desk.refused(signed({"alg": algorithm, "kid": kid}, claims(), secret)) == REFUSED


def test_a_secret_that_the_provider_publishes_signs_nothing(desk: Desk, provider: Provider) -> None:
    secret = b"s" * 32
    provider.keys = [{"kty": "oct", "k": part(secret), "kid": "shared", "alg": "HS256"}, jwk("p256")]
    assert desk.viewer(token("p256", "ES256"))
    for algorithm in ("HS256", "RS256"):
        assert desk.refused(signed({"alg": algorithm, "kid": "shared"}, claims(), secret)) == REFUSED


@pytest.mark.parametrize("algorithm", ["none", "NONE", "", "HS256", "ES384", "RS256", "ES256K", "es256", None, 1, []])
def test_a_token_says_its_algorithm_and_the_key_decides(desk: Desk, algorithm: Any) -> None:
    header = {"alg": algorithm, "kid": "p256"}
    made = foreign(header, claims())
    for one in (made, made.rsplit(".", 1)[0] + ".", made.rsplit(".", 1)[0]):
        assert desk.refused(one) == REFUSED


@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
def test_a_key_is_good_for_the_algorithm_it_was_published_for_and_for_signatures_only(
    desk: Desk, provider: Provider
) -> None:
    provider.keys = [
        jwk("rsa-pinned", alg="RS256"),
        jwk("rsa-encrypts", use="enc"),
        jwk("rsa-wraps", key_ops=["wrapKey"]),
        jwk("rsa-named", use="sig", key_ops=["verify"]),
        jwk("short"),
        jwk("p256-open", private=True),
        jwk("p256-other", alg="ES384"),
        {**jwk("p256-crooked"), "y": jwk("p256")["y"]},
    ]
    assert desk.viewer(token("rsa-pinned"))
    assert desk.viewer(token("rsa-named", "PS256"))
    for name, algorithm in [
        ("rsa-pinned", "RS512"),
        ("rsa-pinned", "PS256"),
        ("rsa-encrypts", "RS256"),
        ("rsa-wraps", "RS256"),
        ("short", "RS256"),
        ("p256-open", "ES256"),
        ("p256-other", "ES256"),
        ("p256-crooked", "ES256"),
    ]:
        assert desk.refused(token(name, algorithm)) == REFUSED, (name, algorithm)


def test_a_key_of_the_same_id_and_another_kind_is_told_apart(desk: Desk, provider: Provider) -> None:
    provider.keys = [{**jwk("rsa"), "kid": "same"}, {**jwk("ed25519"), "kid": "same"}]
    assert desk.viewer(token("rsa", kid="same"))
    assert desk.viewer(token("ed25519", "EdDSA", kid="same"))
    assert desk.refused(token("rsa-stranger", kid="same")) == REFUSED


def test_a_key_that_a_token_brings_along_proves_nothing(desk: Desk) -> None:
    own = jwk("p256-evil")
    for kid in ("p256-evil", "p256"):
        header = {"alg": "ES256", "kid": kid, "jwk": own, "jku": "https://evil.example/jwks", "x5c": ["evil"]}
        assert desk.refused(foreign(header, claims(), "p256-evil")) == REFUSED
        assert desk.refused(foreign({**header, "crit": ["jwk"]}, claims(), "p256")) == REFUSED
    assert desk.refused(foreign({"alg": "ES256"}, claims())) == REFUSED


def test_a_token_with_any_character_changed_is_refused(desk: Desk) -> None:
    good = token("p256", "ES256")
    assert desk.viewer(good)
    for index, letter in enumerate(good):
        assert desk.refused(good[:index] + ("A" if letter != "A" else "B") + good[index + 1 :]) == REFUSED


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    header=st.dictionaries(
        st.sampled_from(["alg", "kid", "crit", "typ"]),
        st.sampled_from(["RS256", "ES256", "EdDSA", "none", "HS256", "rsa", "p256", "", 0, None]) | st.text(max_size=8),
    ),
    signature=st.binary(max_size=300),
)
def test_whatever_is_not_signed_by_the_provider_is_refused(
    desk: Desk, header: dict[str, Any], signature: bytes
) -> None:
    made = f"{part({'alg': 'ES256', 'kid': 'p256', **header})}.{part(claims())}.{part(signature)}"
    assert desk.refused(made) == REFUSED


# Erasure


def test_a_token_from_before_the_erasure_is_refused_and_one_from_well_after_it_is_not(desk: Desk) -> None:
    desk.user()
    old = token()
    assert desk.viewer(old)
    desk.erase()
    erased = time.time()
    for time_of_use in (erased, erased + 100):
        desk.now = time_of_use
        assert desk.refused(old) == REFUSED
        # The clocks may differ: what was issued within the leeway may be from before.
        assert desk.refused(token(iat=int(erased) + identity.LEEWAY - 1, exp=erased + 900)) == REFUSED
    later = token(iat=int(erased) + identity.LEEWAY + 2, exp=erased + 900)
    assert desk.viewer(later).user_id == "ada"
    desk.user()
    assert desk.refused(old) == REFUSED
    assert desk.viewer(later).user_id == "ada"
    assert desk.viewer(token(sub="eve")).user_id == "eve"


@pytest.mark.parametrize("way", ["a rename", "a merge"])
def test_a_token_from_before_a_rename_or_a_merge_opens_no_later_user(desk: Desk, way: str) -> None:
    desk.user()
    old = token()
    assert desk.viewer(old)
    if way == "a rename":
        desk.run(rename_user(desk.context(), {"user_id": "ada", "new_user_id": "eve"}))
    else:
        desk.user("eve")
        desk.run(merge_users(desk.context(), {"from_user_id": "ada", "into_user_id": "eve"}))
    moved = time.time()
    desk.user()
    assert desk.refused(old) == REFUSED
    later = token(iat=int(moved) + identity.LEEWAY + 2, exp=moved + 900)
    desk.now = moved + 100
    assert desk.viewer(later).user_id == "ada"
    assert desk.viewer(token(sub="eve")).user_id == "eve"


def test_the_log_says_why_a_token_of_the_provider_was_refused(desk: Desk, provider: Provider) -> None:
    now = time.time()
    expected: list[tuple[str, str, dict[str, Any]]] = [
        (token(kid="unknown"), "no such key", {"kid": "unknown", "algorithm": "RS256"}),
        (token("rsa", "PS512", kid="p256"), "no such key", {"kid": "p256", "algorithm": "PS512"}),
        (token(iss="https://b.example"), "issuer", {"expected": ISSUER, "found": "https://b.example"}),
        (token(aud=["x", "y"]), "audience", {"expected": AUDIENCE, "found": "['x', 'y']"}),
        (token(exp=now - 100), "expired", {}),
        (token(iat=now + 100), "compare the clocks", {}),
        (foreign({"alg": "ES256", "kid": "p256"}, claims(), "p384"), "signature", {}),
        (token(sub=None), "`sub`", {}),
    ]
    for credential, word, shown in expected:
        fresh = again(desk, provider)
        with capture_logs() as logs:
            desk.refused(credential, fresh)
            desk.refused(credential, fresh)
        desk.run(fresh.close())
        (line,) = [line for line in logs if line["event"] == "a token was refused"]
        assert line["log_level"] == "warning"
        assert word in line["reason"], line
        assert line.items() >= shown.items(), line
        assert credential.split(".")[2] not in str(line)


# The provider's keys


def test_keys_are_fetched_once_for_many_who_come_at_the_same_time(desk: Desk, provider: Provider) -> None:
    def slowly(request: BaseHTTPRequestHandler) -> None:
        time.sleep(0.2)
        provider.publish(request)

    provider.answer = slowly

    async def together() -> list[Viewer]:
        asked = [desk.credentials.viewer(f"Bearer {token(sub=str(n))}") for n in range(20)]
        return list(await asyncio.gather(*asked))

    assert [viewer.user_id for viewer in desk.run(together())] == [str(n) for n in range(20)]
    assert len(provider.asked) == 1


def test_who_goes_away_while_keys_are_fetched_leaves_the_others_theirs(desk: Desk, provider: Provider) -> None:
    def slowly(request: BaseHTTPRequestHandler) -> None:
        time.sleep(0.3)
        provider.publish(request)

    provider.answer = slowly

    async def one_leaves() -> Viewer:
        leaving, staying = (
            asyncio.ensure_future(desk.credentials.viewer(f"Bearer {token(sub=name)}")) for name in ("eve", "ada")
        )
        await asyncio.sleep(0.1)
        leaving.cancel()
        return await staying

    assert desk.run(one_leaves()).user_id == "ada"
    assert len(provider.asked) == 1


def test_an_unknown_key_has_the_keys_fetched_again_but_not_without_end(
    desk: Desk, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "PAUSE", 0.0)
    assert desk.viewer(token())
    provider.keys.append(jwk("p256-new"))
    assert desk.viewer(token("p256-new", "ES256")).user_id == "ada"
    assert len(provider.asked) == 2
    monkeypatch.setattr(identity, "PAUSE", 60.0)
    desk.refused(token(kid="unknown"))
    for number in range(200):
        assert desk.refused(token("ed25519", "EdDSA", kid=f"unknown-{number}")) == REFUSED
    assert len(provider.asked) == 3
    # Only what might be the provider's makes anybody ask.
    credentials = again(desk, provider)
    for algorithm in ("none", "HS256", "HS384", "XX"):
        desk.refused(foreign({"alg": algorithm, "kid": "x"}, claims()), credentials)
    desk.refused("nonsense", credentials)
    assert len(provider.asked) == 3


def test_while_the_provider_is_down_known_keys_go_on_and_the_log_says_what_is_wrong(
    desk: Desk, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "PAUSE", 0.0)
    monkeypatch.setattr(identity, "LIFETIME", 0.0)
    assert desk.viewer(token())
    provider.answer = lambda request: send(request, b"sorry", 503)
    with capture_logs() as logs:
        assert desk.refused(token("p256-new", "ES256")) == REFUSED
        for number in range(3):
            assert desk.viewer(token(sub=str(number))).user_id == str(number)
    error = next(line for line in logs if line["log_level"] == "error")
    assert "keys can't be fetched" in error["event"]
    assert error["url"] == provider.url
    assert "503" in error["reason"]
    provider.keys.append(jwk("p256-new"))
    provider.answer = provider.publish
    deadline = time.monotonic() + START_SECONDS
    while True:
        # A fetch that began while it was down may be under way.
        with suppress(Unauthenticated):
            assert desk.viewer(token("p256-new", "ES256")).user_id == "ada"
            break
        assert time.monotonic() < deadline


def closed(request: BaseHTTPRequestHandler) -> None:
    request.connection.shutdown(socket.SHUT_RDWR)


def dripping(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    for _ in range(400):
        request.wfile.write(b" ")
        request.wfile.flush()
        time.sleep(0.05)


GOOD = json.dumps({"keys": [jwk("rsa")]}).encode()
FAILURES: dict[str, Callable[[BaseHTTPRequestHandler], object]] = {
    "an error": lambda request: send(request, GOOD, 500),
    "not found": lambda request: send(request, GOOD, 404),
    "nothing": lambda request: send(request, b"", 204),
    "a redirect": lambda request: send(request, GOOD, 302, location="/elsewhere.json"),
    "a redirect to a file": lambda request: send(request, GOOD, 301, location="file:///etc/passwd"),
    "a redirect to another scheme": lambda request: send(request, GOOD, 307, location="data:application/json,{}"),
    "too much": lambda request: send(request, b" " * (identity.JWKS_BYTES + 1) + GOOD),
    "too much without a length": lambda request: (
        send(request, b"", length=99_999_999_999),
        [request.wfile.write(b" " * 65536) for _ in range(64)],
    ),
    "too slowly": lambda request: time.sleep(20),
    "by drips": dripping,
    "a closed connection": closed,
    "half": lambda request: send(request, GOOD[:100]),
    "less than announced": lambda request: send(request, GOOD[:100], length=9999),
    "a page": lambda request: send(request, b"<!doctype html><title>Sign in</title>"),
    "a list": lambda request: send(request, b"[]"),
    "a number": lambda request: send(request, b"1"),
    "null": lambda request: send(request, b"null"),
    "no keys": lambda request: send(request, b"{}"),
    "keys that are no list": lambda request: send(request, b'{"keys": {"kid": "rsa"}}'),
    "bytes that are no text": lambda request: send(request, b"\xff\xfe\x00"),
    "deep": lambda request: send(request, b"[" * 500_000),
    "no HTTP": lambda request: request.wfile.write(b"hello\r\n\r\n"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_provider_that_answers_otherwise_opens_nothing_and_is_asked_again_later(
    desk: Desk, provider: Provider, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    monkeypatch.setattr(identity, "TIMEOUT", 0.3)
    monkeypatch.setattr(identity, "PAUSE", 0.0)
    provider.answer = FAILURES[failure]
    start = time.monotonic()
    with capture_logs() as logs:
        assert desk.refused(token()) == REFUSED
    assert time.monotonic() - start < 10
    assert [line["log_level"] for line in logs if line["log_level"] == "error"] == ["error"], logs
    assert all(line.get("reason") for line in logs if line["log_level"] == "error")
    assert provider.asked == ["/jwks.json"]
    provider.answer = provider.publish
    assert desk.viewer(token()).user_id == "ada"


def test_keys_that_make_no_sense_are_passed_over(desk: Desk, provider: Provider) -> None:
    odd: list[Any] = [None, 1, "x", [], {}, {"kid": "a"}, {"kid": 1, "kty": "RSA"}, {"kid": "b", "kty": ["RSA"]}]
    odd += [{"kid": "c", "kty": "RSA"}, {"kid": "d", "kty": "RSA", "n": "!", "e": "AQAB"}, {"kid": "e", "kty": "EC"}]
    odd += [{"kid": "f", "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, {"kid": "g", "kty": "EC", "crv": {}}]
    odd += [{"kid": "h", "kty": "OKP", "crv": "Ed25519", "x": "AA"}, {"kid": "i", "kty": "OKP", "crv": "X25519"}]
    odd += [{**jwk("rsa"), "kid": "j", "n": 5}, {**jwk("p256"), "kid": "k", "x": None}, {**jwk("rsa"), "use": []}]
    odd += [{**jwk("rsa"), "kid": "l", "key_ops": "verify"}, {**jwk("rsa"), "kid": "m", "alg": ["RS256"]}]
    odd += [{**jwk("rsa"), "kid": "n", "e": "AA"}, {**jwk("rsa"), "kid": "o", "e": "AQ", "n": "AQ" * 500}]
    provider.keys = [*odd, jwk("rsa")]
    assert desk.viewer(token()).user_id == "ada"
    for kid in "abcdefghijklmno":
        assert desk.refused(token(kid=kid)) == REFUSED, kid


def test_a_provider_that_hangs_holds_up_nobody_else(
    desk: Desk, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "TIMEOUT", 1.5)
    key = desk.key()
    provider.answer = lambda request: time.sleep(20)

    async def meanwhile() -> tuple[int, float]:
        task = asyncio.ensure_future(desk.credentials.viewer(f"Bearer {token()}"))
        await asyncio.sleep(0)
        assert not task.done()
        served, longest = 0, 0.0
        while not task.done():
            start = time.monotonic()
            assert (await desk.credentials.viewer(f"Bearer {key}")).role == "SERVICE"
            await asyncio.sleep(0)
            longest = max(longest, time.monotonic() - start)
            served += 1
        assert isinstance(task.exception(), Unauthenticated)
        return served, longest

    served, longest = desk.run(meanwhile())
    assert served > 1000
    assert longest < 1


def test_a_key_that_is_withdrawn_is_refused_once_the_keys_are_fetched_anew(
    desk: Desk, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, other = token(), token("p256", "ES256")
    assert identity.LIFETIME <= 3600
    monkeypatch.setattr(identity, "LIFETIME", 0.0)
    monkeypatch.setattr(identity, "PAUSE", 0.0)
    assert desk.viewer(old)
    assert desk.viewer(other)
    provider.keys = [jwk("p256")]

    async def until_refused() -> None:
        while True:
            await desk.credentials.viewer(f"Bearer {old}")
            await asyncio.sleep(0.01)

    with pytest.raises(Unauthenticated):
        desk.run(asyncio.wait_for(until_refused(), 10))
    assert desk.viewer(other).user_id == "ada"


def test_fetching_the_keys_ends_with_the_server(desk: Desk, provider: Provider) -> None:
    provider.answer = lambda request: time.sleep(2)

    async def stop() -> None:
        waiting = asyncio.ensure_future(desk.credentials.viewer(f"Bearer {token()}"))
        await asyncio.sleep(0.1)
        await asyncio.wait_for(desk.credentials.close(), 1.5)
        with pytest.raises(asyncio.CancelledError):
            await waiting

    desk.run(stop())


# Settings


@pytest.mark.parametrize(
    ("given_", "word"),
    [
        ({"jwks_url": "http://id.example/jwks"}, "https"),
        ({"jwks_url": "file:///etc/passwd"}, "https"),
        ({"jwks_url": "ftp://127.0.0.1/jwks"}, "https"),
        ({"jwks_url": "id.example/jwks"}, "https"),
        ({"jwks_url": "http://127.0.0.1.evil.example/jwks"}, "https"),
        ({"jwks_url": "http://127.0.0.1@evil.example/jwks"}, "https"),
        ({"jwks_audience": ""}, "jwks_audience"),
        ({"jwks_issuer": ""}, "jwks_issuer"),
        ({"jwks_user_claim": ""}, "jwks_user_claim"),
        ({"jwks_project": ""}, "jwks_project"),
    ],
)
def test_settings_that_would_let_others_in_are_refused(given_: dict[str, str], word: str) -> None:
    right: dict[str, Any] = {"jwks_url": "https://id.example/jwks", "jwks_issuer": ISSUER, "jwks_audience": AUDIENCE}
    assert Settings(**right).jwks_url == right["jwks_url"]
    local: dict[str, Any] = {**right, "jwks_url": "http://localhost:9/jwks"}
    assert Settings(**local)
    wrong: dict[str, Any] = {**right, **given_}
    with pytest.raises(ValidationError, match=word):
        Settings(**wrong)


def test_without_the_package_that_verifies_the_settings_say_which_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recallql.settings.find_spec", lambda name: None)
    with pytest.raises(ValidationError, match=r"recallql\[jwks\]"):
        Settings(jwks_url="https://id.example/jwks", jwks_issuer=ISSUER, jwks_audience=AUDIENCE)
    assert Settings().jwks_url == ""
