"""Maps an `Authorization` header to a viewer.

The proof of a credential is cached. What can change is looked up at every use, in the database that all processes
share: a revoked key, or the token of an erased user, is refused at once.
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
"""Credentials whose proof is cached; refused ones are not."""
LOOK_EVERY = 1.0
"""Seconds between two checks for the first key; until the next one, requests without a credential are accepted."""

NEEDED = "A credential is needed: send the header `Authorization: Bearer` with an API key or a user token."
REFUSED = "Invalid credential. Send `Authorization: Bearer` with a valid API key or user token."
EXPIRED = "The token has expired; get another."

APPLICATION = Viewer(Scope())
SINGLE_KEY = Viewer(Scope(), credential="RECALLQL_API_KEY")


class Unauthenticated(Exception):
    """The credential is missing or invalid: HTTP 401, UNAUTHENTICATED, `WWW-Authenticate: Bearer`."""


class Expired(Unauthenticated):
    """The credential was valid; the client gets another and tries again."""


@dataclass(frozen=True, slots=True)
class KeyProof:
    """The proof of a valid API key."""

    read: Reader
    viewer: Viewer
    hash: bytes

    async def holds(self, _: float) -> bool:
        """Tells whether the key is still valid: not revoked."""
        return await is_good(self.read, self.hash)


class Proof(Protocol):
    """The proof of a valid credential; `holds` looks up whether it still is."""

    @property
    def viewer(self) -> Viewer: ...

    async def holds(self, now: float, /) -> bool: ...


class Credentials:
    """Maps an `Authorization` header to a viewer. Used from one event loop."""

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
        """Tells whether a credential is needed: from the first key on, for good, even when all keys are revoked."""
        if not self._needed and monotonic() >= self._next_look:
            await self._look()
        return self._needed

    async def _look(self) -> None:
        self._next_look = monotonic() + LOOK_EVERY
        self._needed = await any_api_key(self._read)

    async def viewer(self, authorization: str | None) -> Viewer:
        """Returns the viewer of a request with this header; raises `Unauthenticated` when it is refused.

        A long connection asks again for each item it is sent. A header with a scheme other than Bearer counts as none.
        """
        credential = _bearer(authorization)
        if credential is None:
            # Inlined from `are_needed`: every request comes here, and a coroutine costs time.
            if not self._needed and monotonic() >= self._next_look:
                await self._look()
            if self._needed:
                raise Unauthenticated(NEEDED)
            return APPLICATION
        # Only the hash is compared, looked up and cached, so that the timing reveals nothing of the secret.
        digest = sha256(credential.encode("utf-8", "surrogatepass")).digest()
        if self._single is not None and compare_digest(digest, self._single):
            return SINGLE_KEY
        proof = self._proofs.get(digest)
        if proof is not None and await proof.holds(self._now()):
            return proof.viewer
        # A proof that no longer holds is made anew, which raises the reason.
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
        """Logs the reason, and returns the error for the client, which says less."""
        passed_over = self._logged.passed_over(problem.reason)
        if passed_over is not None:
            log.warning("a token was refused", reason=problem.reason, not_logged=passed_over, **problem.shown)
        return Expired(EXPIRED) if problem.expired else Unauthenticated(REFUSED)

    async def close(self) -> None:
        if self._provider is not None:
            await self._provider.close()

    def _remember(self, digest: bytes, proof: Proof) -> Viewer:
        self._proofs.put(digest, proof)
        return proof.viewer

    async def _key(self, digest: bytes) -> KeyProof:
        row = await api_key_by_hash(self._read, digest)
        if row is None or not compare_digest(row["hash"], digest):
            raise self._refusal(BadToken("the API key is unknown or revoked"))
        return KeyProof(self._read, Viewer(Scope(row["project"]), credential=f"API key {row['id']}"), digest)

    async def _prove(self, token: str, digest: bytes, algorithm: str, kid: str) -> Viewer:
        try:
            # The algorithm tells who issued the token: the server and the provider have no algorithm in common.
            if algorithm == ALGORITHM:
                return self._remember(digest, await self._own.prove(token, kid, self._now()))
            if self._provider is not None:
                return self._remember(digest, await self._provider.prove(token, kid, algorithm, self._now()))
            raise BadToken("it is not from this server, and no identity provider is configured", algorithm=algorithm)
        except BadToken as problem:
            raise self._refusal(problem) from problem


def _bearer(authorization: str | None) -> str | None:
    if not authorization:
        return None
    if len(authorization) > HEADER_BYTES:
        raise Unauthenticated(f"The header `Authorization` has more than {HEADER_BYTES} bytes; a credential has fewer.")
    scheme, _, credential = authorization.strip().partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else None


def has_keys(settings: Settings) -> bool:
    """Tells whether a valid credential exists, so that addresses other than loopback may be served."""
    if settings.api_key or settings.jwks_url:
        return True
    return _count(settings)[1] > 0


def needs_credential(settings: Settings) -> bool:
    """Predicts `Credentials.are_needed` for the start-up line, for a server that may start."""
    return bool(settings.api_key or settings.jwks_url) or _count(settings)[0] > 0


def _count(settings: Settings) -> tuple[int, int]:
    database = database_at(settings.database_url)
    if not database.exists():
        return 0, 0
    database.prepare()
    with database.snapshot() as snapshot:
        return count_api_keys(snapshot)
