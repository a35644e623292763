"""The application's own identity provider: its tokens, and the public keys it publishes for them (JWKS, RFC 7517)."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from time import monotonic
from typing import Any
from urllib.error import HTTPError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

import jwt
import structlog

from models.erasure import last_erasure
from models.keys import user_key
from models.rows import ErasureRow
from models.scope import Scope
from models.store import Reader
from models.values import JsonValue
from recallql.auth.claims import BadToken, read_claims, scoped_permissions, text_claim
from recallql.settings import Settings
from resolvers.times import LEEWAY, epoch_seconds
from resolvers.viewers import Viewer

log = structlog.get_logger("recallql.identity")

JWKS_BYTES = 1024 * 1024
TIMEOUT = 5.0
"""Seconds within which the provider has to answer."""
LIFETIME = 600.0
"""Seconds after which the keys are fetched anew; until a fetch succeeds the old ones stay valid."""
PAUSE = 10.0
"""The least number of seconds between two fetches, however many tokens name unknown keys."""

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_ALGORITHMS = {
    ("RSA", None): _RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
"""The algorithms that a key may verify, by its type and curve. Shared secrets verify nothing: they are published."""
ALGORITHMS = frozenset(name for names in _ALGORITHMS.values() for name in names)
LEAST_RSA_BITS = 2048

Keys = Mapping[tuple[str, str], Any]
"""Public keys by their id and the algorithm."""


class KeysProblem(Exception):
    """The provider's keys can't be fetched."""


class IdentityProvider:
    """One provider. Its keys are fetched when they are first asked for; used from one event loop."""

    def __init__(self, read: Reader, settings: Settings) -> None:
        self.read = read
        self.url = settings.jwks_url
        self.issuer = settings.jwks_issuer
        self.audience = settings.jwks_audience
        self.user_claim = settings.jwks_user_claim
        self.project = settings.jwks_project
        self.permissions = settings.provided_permissions
        self._keys: Keys = {}
        self._published: bytes | None = None
        self._old_at = 0.0
        self._next_fetch = 0.0
        self._fetching: asyncio.Task[None] | None = None

    def key(self, kid: str, algorithm: str) -> Any | None:
        """The key under this id for this algorithm, if it is known; the same object for as long as it is published."""
        if monotonic() >= self._old_at:
            self._fetch_soon()
        return self._keys.get((kid, algorithm))

    def lacks(self, kid: str, algorithm: str) -> bool:
        """Tells whether the provider might have published this key since the last fetch."""
        return algorithm in ALGORITHMS and self.key(kid, algorithm) is None

    async def prove(self, token: str, kid: str, algorithm: str, now: float) -> "ForeignProof":
        """Returns the proof of a token of the provider; raises `BadToken` when it is invalid or its key unknown."""
        key = self._keys.get((kid, algorithm))
        if key is None:
            raise BadToken("the identity provider has no such key for this algorithm", kid=kid, algorithm=algorithm)
        claims = read_claims(token, key, algorithm, issuer=self.issuer, audience=self.audience, now=now, late=LEEWAY)
        user_id = text_claim(claims, self.user_claim)
        user = user_key(self.project, user_id)
        if not _issued_since(await last_erasure(self.read, user), claims["iat"]):
            raise BadToken("its user was erased since")
        permissions = scoped_permissions(claims, self.permissions)
        viewer = Viewer(Scope(self.project, user), user_id, "identity provider's token", permissions)
        return ForeignProof(self, viewer, user, claims["iat"], claims["exp"], kid, algorithm, key)

    async def refetch(self) -> None:
        """Fetches the keys, or waits for the fetch that is under way; does nothing just after the last fetch."""
        self._fetch_soon()
        if self._fetching is not None:
            await asyncio.shield(self._fetching)

    async def close(self) -> None:
        if (fetching := self._fetching) is not None:
            fetching.cancel()
            await asyncio.wait([fetching])

    def _fetch_soon(self) -> None:
        if self._fetching is None and monotonic() >= self._next_fetch:
            self._next_fetch = monotonic() + PAUSE
            self._fetching = asyncio.create_task(self._fetch(), name="fetch the identity provider's keys")

    async def _fetch(self) -> None:
        try:
            published = await asyncio.to_thread(_download, self.url)
            if published != self._published:
                self._keys = await asyncio.to_thread(_keys_of, published)
                self._published = published
                log.info(
                    "the identity provider's keys were fetched", url=self.url, keys=len({k for k, _ in self._keys})
                )
            self._old_at = monotonic() + LIFETIME
        except KeysProblem as problem:
            log.error(
                "the identity provider's keys can't be fetched; tokens signed with unknown keys are refused",
                url=self.url,
                reason=str(problem),
            )
        except Exception:  # the edge of a task that possibly nobody awaits
            log.exception("the identity provider's keys can't be fetched", url=self.url)
        finally:
            self._fetching = None


@dataclass(frozen=True, slots=True)
class ForeignProof:
    """The proof of a valid token of the provider, and the key that it is signed with."""

    provider: IdentityProvider
    viewer: Viewer
    user: bytes
    issued: float
    expires: float
    kid: str
    algorithm: str
    key: Any

    async def holds(self, now: float) -> bool:
        """Tells whether the token is still valid: not expired, its key published, its user not erased."""
        return (
            self.expires > now - LEEWAY
            and self.provider.key(self.kid, self.algorithm) is self.key
            and _issued_since(await last_erasure(self.provider.read, self.user), self.issued)
        )


def _issued_since(erasure: ErasureRow | None, issued: float) -> bool:
    """Tells whether a token was issued after the last erasure of its user, clock skew included."""
    return erasure is None or issued > epoch_seconds(erasure["erased_at"]) + LEEWAY


def _opener() -> OpenerDirector:
    """Opens HTTP addresses, through the environment's proxy if it names one; no redirects, no files."""
    opener = OpenerDirector()
    for handler in (ProxyHandler(), HTTPHandler(), HTTPSHandler(), HTTPDefaultErrorHandler(), HTTPErrorProcessor()):
        opener.add_handler(handler)
    return opener


def _download(url: str) -> bytes:
    """Downloads the key set; raises `KeysProblem` when it is not a 200, too large, too slow or a redirect."""
    deadline = monotonic() + TIMEOUT
    request = Request(url, headers={"accept": "application/json"})  # noqa: S310 (the settings admit HTTP only)
    try:
        with _opener().open(request, timeout=TIMEOUT) as response:
            body = b""
            while chunk := response.read1(64 * 1024):
                body += chunk
                if len(body) > JWKS_BYTES:
                    raise KeysProblem(f"the answer has more than {JWKS_BYTES} bytes")
                if monotonic() > deadline:
                    raise KeysProblem(f"the answer took longer than {TIMEOUT:g} seconds")
            return body
    except HTTPError as error:
        with error:
            to = error.headers.get("location")
        raise KeysProblem(f"it answered {error.code}" + (f"; set the final address: {to}" if to else "")) from error
    except (OSError, HTTPException, ValueError) as error:
        raise KeysProblem(str(error) or type(error).__name__) from error


def _keys_of(published: bytes) -> Keys:
    """The keys of a JWK set that can verify a signature; others are ignored, as the RFC says."""
    try:
        keys: JsonValue = json.loads(published)["keys"]
        if not isinstance(keys, list):
            raise TypeError("`keys` is not a list")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise KeysProblem(f"the answer is not a JWK set: {error}") from error
    found: dict[tuple[str, str], Any] = {}
    for jwk in keys:
        for kid, algorithm, key in _usable(jwk):
            found.setdefault((kid, algorithm), key)
    return found


def _usable(jwk: JsonValue) -> list[tuple[str, str, Any]]:
    """A JWK's key for each algorithm that it may be used with."""
    if not isinstance(jwk, dict) or not isinstance(kid := jwk.get("kid"), str):
        return []
    kind, curve = jwk.get("kty"), jwk.get("crv")
    if not isinstance(kind, str) or not isinstance(curve, str | None):
        return []
    names = [name for name in _ALGORITHMS.get((kind, curve), ()) if jwk.get("alg", name) == name]
    operations = jwk.get("key_ops", ["verify"])
    if not names or jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return []
    if "d" in jwk:
        log.warning("a key of the identity provider is published with its private part; it proves nothing", kid=kid)
        return []
    try:
        key = jwt.PyJWK(jwk, names[0]).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
        log.warning("a key of the identity provider can't be read", kid=kid, reason=str(error))
        return []
    if kind == "RSA" and key.key_size < LEAST_RSA_BITS:
        log.warning("a key of the identity provider is too short", kid=kid, bits=key.key_size)
        return []
    return [(kid, name, key) for name in names]
