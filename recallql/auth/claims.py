"""Signed tokens (JWT, RFC 7519): the claims of one whose signature, issuer, audience and times are right."""

from base64 import urlsafe_b64decode
from math import isfinite
from typing import Any

import jwt
import orjson

from models.values import JsonValue
from resolvers.grants import BY_DEFAULT, EVERYTHING, PERMISSIONS, Granted
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


SCOPE = "recallql:"
"""The beginning of the OAuth scopes that grant permissions, such as `recallql:read`."""

SHOWN = 100
"""Characters of a value that are logged."""
LARGE = 2**53


class BadToken(Exception):
    """A token is refused; the reason is for the log.

    `reason` is one of a few texts. `shown` has values that help the operator: none of them is secret, and some may be
    forged. The client is told that a token has `expired`, since it was valid once.
    """

    def __init__(self, reason: str, *, expired: bool = False, **shown: object) -> None:
        super().__init__(reason)
        self.reason = reason
        self.expired = expired
        self.shown = {
            name: value if type(value) is int and -LARGE < value < LARGE else short(value)
            for name, value in shown.items()
        }


def short(value: object) -> str:
    """A value of a token for the log: in ASCII, and shortened."""
    text = ascii(value)[1:-1] if isinstance(value, str) else ascii(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def read_header(token: str) -> tuple[str, str]:
    """The algorithm and the key id that a token's header names; nothing is verified yet.

    PyJWT would parse the whole token, which is 40 times the work for a long invalid one.
    """
    segment = token.partition(".")[0]
    try:
        header: JsonValue = orjson.loads(urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except ValueError as error:
        raise BadToken("it is not a token") from error
    if not isinstance(header, dict):
        raise BadToken("it is not a token")
    # Critical extensions must be understood (RFC 7515, 4.1.11), and none is supported.
    if "crit" in header or "b64" in header:
        raise BadToken("it has critical extensions")
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or not isinstance(kid, str):
        raise BadToken("its header lacks `alg` or `kid`")
    return algorithm, kid


def read_claims(
    token: str, key: Any, algorithm: str, *, issuer: str, audience: str, now: float, late: float = 0.0
) -> dict[str, Any]:
    """The claims of a token that is signed with this key and algorithm, and valid now.

    Its issuer's clock may be ahead by `LEEWAY`, and it is accepted until `late` seconds after it expired.
    """
    try:
        claims = jwt.decode(token, key, [algorithm], options=_OPTIONS, issuer=issuer, audience=audience)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise _explained(error, token, issuer=issuer, audience=audience) from error
    if (issued := _time(claims, "iat")) > now + LEEWAY:
        raise BadToken("it was issued (`iat`) later than now; compare the clocks", seconds_ahead=_apart(issued, now))
    if "nbf" in claims and _time(claims, "nbf") > now + LEEWAY:
        raise BadToken("it is not valid yet (`nbf`)")
    if (expiry := _time(claims, "exp")) <= now - late:
        raise BadToken("it has expired (`exp`)", expired=True, seconds_ago=-_apart(expiry, now))
    return claims


def _explained(error: Exception, token: str, *, issuer: str, audience: str) -> BadToken:
    match error:
        case jwt.InvalidSignatureError():
            return BadToken("its signature is wrong")
        case jwt.MissingRequiredClaimError():
            return BadToken(f"its claim `{error.claim}` is missing")
        case jwt.InvalidIssuerError():
            return BadToken("it has the wrong issuer (`iss`)", expected=issuer, found=_unchecked(token, "iss"))
        case jwt.InvalidAudienceError():
            return BadToken("it has the wrong audience (`aud`)", expected=audience, found=_unchecked(token, "aud"))
        case _:
            return BadToken("it is malformed")


def _unchecked(token: str, name: str) -> object:
    """A claim of a token whose signature is verified."""
    return jwt.decode(token, options={"verify_signature": False}).get(name)


def _apart(claimed: float, now: float) -> int:
    """Seconds from now to a claimed time, which may be any number."""
    return int(min(max(claimed, 0), LARGE) - now)


def _time(claims: dict[str, Any], name: str) -> float:
    value = claims[name]
    if type(value) is int or (type(value) is float and isfinite(value)):
        return value
    raise BadToken(f"its `{name}` is not a number")


def text_claim(claims: dict[str, Any], name: str) -> str:
    """A claim that holds a `userId`: a text of 1 to 512 characters that can be stored."""
    value = claims.get(name)
    if not isinstance(value, str) or key_rule(value):
        raise BadToken(f"its `{name}` is not a valid userId")
    return value


def own_permissions(claims: dict[str, Any]) -> Granted:
    """The permissions in a token of this server; an older one has no such claim. Unknown ones grant nothing."""
    if "permissions" not in claims:
        return BY_DEFAULT
    return EVERYTHING.intersection(_texts(claims["permissions"]))


def scoped_permissions(claims: dict[str, Any], otherwise: Granted) -> Granted:
    """The permissions in the OAuth scopes of a provider's token; `otherwise` if it has no scope of RecallQL.

    Scopes are in `scope` or `scp`, separated by spaces (RFC 8693) or in a list. `recallql:` with an unknown name is a
    scope of RecallQL that grants nothing.
    """
    named = {
        scope.removeprefix(SCOPE)
        for claim in ("scope", "scp")
        for scope in _texts(claims.get(claim))
        if scope.startswith(SCOPE)
    }
    return frozenset(name for name in PERMISSIONS if name.lower() in named) if named else otherwise


def _texts(claim: JsonValue) -> list[str]:
    if isinstance(claim, str):
        return claim.split(" ")
    return [item for item in claim if isinstance(item, str)] if isinstance(claim, list) else []
