"""From the `Authorization` header to whom it speaks for.

What was proven once is remembered; what can change is looked up at every use, in the database that all processes share:
a key that was revoked, or a user who was erased, is refused from then on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from time import monotonic, time
from typing import Protocol

import structlog

from models.api_keys import any_api_key, api_key_by_hash, count_api_keys, is_good
from models.scope import Scope
from models.store import Reader, Store, database_at
from recallql.auth.claims import BadToken, read_header
from recallql.auth.identity import IdentityProvider
from recallql.auth.user_tokens import UserTokens
from recallql.cache import LruCache
from recallql.http.hosts import is_loopback
from recallql.seldom import Seldom
from recallql.settings import Settings
from resolvers.credentials import ALGORITHM, KEY_PREFIX
from resolvers.viewers import Viewer

log = structlog.get_logger("recallql.credentials")

HEADER_BYTES = 8 * 1024
REMEMBERED = 4096
"""Credentials whose proof is kept; what is refused is not among them."""
LOOK_EVERY = 1.0
"""Seconds between two looks whether the first key was made: so long it may take until a credential is needed."""

NEEDED = "A credential is needed: send the header `Authorization: Bearer` with an API key or a user token."
REFUSED = "The credential is not good. Send `Authorization: Bearer` with an API key or a user token that is."
EXPIRED = "The token has expired; get another."

APPLICATION = Viewer(Scope())
SINGLE_KEY = Viewer(Scope(), credential="RECALLQL_API_KEY")


class Unauthenticated(Exception):
    """There is no credential, or no good one: HTTP 401, UNAUTHENTICATED, `WWW-Authenticate: Bearer`."""


@dataclass(frozen=True, slots=True)
class KeyProof:
    """An API key that was found good."""

    read: Reader
    viewer: Viewer
    hash: bytes

    async def holds(self, _: float) -> bool:
        """Tells whether it is still valid: not revoked."""
        return await is_good(self.read, self.hash)


class Proof(Protocol):
    """What was proven of a credential; for how long it holds, `holds` looks up."""

    @property
    def viewer(self) -> Viewer: ...

    async def holds(self, now: float, /) -> bool: ...


class Credentials:
    """Who is whose. Used from one event loop."""

    def __init__(self, database: Store, settings: Settings, *, now: Callable[[], float] = time) -> None:
        self._read = database.reader
        self._now = now
        self._single = sha256(settings.api_key.encode()).digest() if settings.api_key else None
        self._own = UserTokens(database.reader)
        self._provider = IdentityProvider(database.reader, settings) if settings.jwks_url else None
        self._needed = bool(settings.api_key or settings.jwks_url) or not is_loopback(settings.host)
        self._next_look = 0.0
        self._proofs: LruCache[bytes, Proof] = LruCache(REMEMBERED)
        self._logged = Seldom()

    async def are_needed(self) -> bool:
        """Tells whether a credential is needed: from the first key on, for good. Revoking all of them opens nothing."""
        if not self._needed and monotonic() >= self._next_look:
            await self._look()
        return self._needed

    async def _look(self) -> None:
        self._next_look = monotonic() + LOOK_EVERY
        self._needed = await any_api_key(self._read)

    async def viewer(self, authorization: str | None) -> Viewer:
        """Returns whom a request with this header speaks for; `Unauthenticated` when it may not come in.

        A long connection asks again for each thing it is sent. A header of another scheme than Bearer counts as none.
        """
        credential = _bearer(authorization)
        if credential is None:
            # Asked at each request, so without another coroutine.
            if not self._needed and monotonic() >= self._next_look:
                await self._look()
            if self._needed:
                raise Unauthenticated(NEEDED)
            return APPLICATION
        # What is compared, looked up and kept is the hash: how long that takes says nothing of the secret.
        digest = sha256(credential.encode("utf-8", "surrogatepass")).digest()
        if self._single is not None and compare_digest(digest, self._single):
            return SINGLE_KEY
        proof = self._proofs.get(digest)
        if proof is not None and await proof.holds(self._now()):
            return proof.viewer
        # One that holds no longer is looked at anew, which finds out why.
        if credential.startswith(KEY_PREFIX):
            return self._remember(digest, await self._key(digest))
        try:
            algorithm, kid = read_header(credential)
        except BadToken as problem:
            raise self._refusal(problem) from problem
        if self._provider is not None and self._provider.lacks(kid, algorithm):
            # The token may be signed with a new key.
            await self._provider.refetch()
        return await self._prove(credential, digest, algorithm, kid)

    def _refusal(self, problem: BadToken) -> Unauthenticated:
        """Returns what the client is told, which is less than the log is."""
        passed_over = self._logged.passed_over(problem.reason)
        if passed_over is not None:
            log.warning("a token was refused", reason=problem.reason, not_logged=passed_over, **problem.shown)
        return Unauthenticated(EXPIRED if problem.expired else REFUSED)

    async def close(self) -> None:
        if self._provider is not None:
            await self._provider.close()

    def _remember(self, digest: bytes, proof: Proof) -> Viewer:
        self._proofs.put(digest, proof)
        return proof.viewer

    async def _key(self, digest: bytes) -> KeyProof:
        row = await api_key_by_hash(self._read, digest)
        if row is None or not compare_digest(row["hash"], digest):
            raise self._refusal(BadToken("it is no API key, or one that was revoked"))
        return KeyProof(self._read, Viewer(Scope(row["project"]), credential=f"API key {row['id']}"), digest)

    async def _prove(self, token: str, digest: bytes, algorithm: str, kid: str) -> Viewer:
        try:
            # The algorithm says whose token it is, and each side has keys of its own kind only.
            if algorithm == ALGORITHM:
                return self._remember(digest, await self._own.prove(token, kid, self._now()))
            if self._provider is not None:
                return self._remember(digest, await self._provider.prove(token, kid, algorithm, self._now()))
            raise BadToken("it is not this server's, and no identity provider is set", algorithm=algorithm)
        except BadToken as problem:
            raise self._refusal(problem) from problem


def _bearer(authorization: str | None) -> str | None:
    if not authorization:
        return None
    if len(authorization) > HEADER_BYTES:
        raise Unauthenticated(f"The header `Authorization` has more than {HEADER_BYTES} bytes; no credential has.")
    scheme, _, credential = authorization.strip().partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else None


def has_keys(settings: Settings) -> bool:
    """Tells whether a valid credential exists, so that other addresses than loopback may be served."""
    if settings.api_key or settings.jwks_url:
        return True
    return _count(settings)[1] > 0


def needs_credential(settings: Settings) -> bool:
    """Returns what `Credentials.are_needed` will be at the start, where it may start; for the start-up line."""
    return bool(settings.api_key or settings.jwks_url) or _count(settings)[0] > 0


def _count(settings: Settings) -> tuple[int, int]:
    database = database_at(settings.database_url)
    if not database.exists():
        return 0, 0
    database.migrate()
    with database.snapshot() as snapshot:
        return count_api_keys(snapshot)
