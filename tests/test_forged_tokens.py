"""Tokens that the server did not sign, or that say what it would not: each is refused."""

import json
import string
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.keys import user_key
from recallql.auth.credentials import EXPIRED, HEADER_BYTES, REFUSED, Unauthenticated
from resolvers.credentials import (
    rotate_signing_key,
)
from tests.desk import Desk, ours, part, signed

pytestmark = pytest.mark.once


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
    if not desk.place.query("SELECT 1 FROM users"):
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
