"""Signed tokens (JWT, RFC 7519): the claims of one whose signature, issuer, audience and times are right."""

from base64 import urlsafe_b64decode
from math import isfinite
from typing import Any

import jwt
import orjson

from resolvers.inputs import key_rule
from resolvers.times import LEEWAY

# Times are checked here, to the microsecond: PyJWT cuts fractions off and takes texts for numbers.
_OPTIONS: Any = {
    "require": ["iss", "aud", "exp", "iat"],
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_sub": False,
    "verify_jti": False,
}


class BadToken(Exception):
    """Why a token is refused; for the log. `expired` ones were right once, which their bearer may know."""

    def __init__(self, reason: str, *, expired: bool = False) -> None:
        super().__init__(reason)
        self.expired = expired


def read_header(token: str) -> tuple[str, str]:
    """The algorithm and the key that a token says it is signed with. Nothing of it is proven yet.

    PyJWT would look at all of the token for it, which is 40 times the work for one that is long and worthless.
    """
    segment = token.partition(".")[0]
    try:
        header = orjson.loads(urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except ValueError as error:
        raise BadToken(f"it is no token: {error}") from error
    if not isinstance(header, dict):
        raise BadToken("it is no token: its header is no object")
    # What is critical has to be understood (RFC 7515, 4.1.11), and nothing is.
    if "crit" in header or "b64" in header:
        raise BadToken("it has critical extensions")
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or not isinstance(kid, str):
        raise BadToken("it names no algorithm or no key")
    return algorithm, kid


def read_claims(
    token: str, key: Any, algorithm: str, *, issuer: str, audience: str, now: float, late: float = 0.0
) -> dict[str, Any]:
    """The claims of a token that this key has signed with this algorithm, and that is good now.

    It may be from a clock that is ahead by `LEEWAY`, and is still taken `late` seconds after it expired.
    """
    try:
        claims = jwt.decode(token, key, [algorithm], options=_OPTIONS, issuer=issuer, audience=audience)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise BadToken(f"it is not right: {error}") from error
    if _time(claims, "iat") > now + LEEWAY:
        raise BadToken("it was issued later than now; compare the clocks")
    if "nbf" in claims and _time(claims, "nbf") > now + LEEWAY:
        raise BadToken("it is not good yet")
    if _time(claims, "exp") <= now - late:
        raise BadToken("it has expired", expired=True)
    return claims


def _time(claims: dict[str, Any], name: str) -> float:
    value = claims[name]
    if type(value) is int or (type(value) is float and isfinite(value)):
        return value
    raise BadToken(f"its `{name}` is no number")


def text_claim(claims: dict[str, Any], name: str) -> str:
    """A claim that is a key of the application's: a text of 1 to 512 characters that can be kept."""
    value = claims.get(name)
    if not isinstance(value, str) or key_rule(value):
        raise BadToken(f"its `{name}` is no key of a user")
    return value
