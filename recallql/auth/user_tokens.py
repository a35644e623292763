"""User tokens that this server has signed (`resolvers.credentials.issue_user_token`)."""

from dataclasses import dataclass
from datetime import timedelta

from models.erasure import last_erasure
from models.keys import user_key
from models.scope import Scope
from models.signing_keys import signing_key_by_kid, token_standing
from models.store import Reader
from recallql.auth.claims import BadToken, own_permissions, read_claims, text_claim
from resolvers.credentials import ALGORITHM, AUDIENCE, ISSUER, LARGEST_LIFE
from resolvers.times import ago
from resolvers.viewers import Viewer


@dataclass(frozen=True, slots=True)
class OwnProof:
    """The proof of a valid token. `generation` counts the erasures under the user's key before it was issued."""

    read: Reader
    viewer: Viewer
    user: bytes
    expires: float
    kid: str
    generation: int

    async def holds(self, now: float) -> bool:
        """Tells whether the token is still valid: not expired, its signing key not retired, its user not erased."""
        if self.expires <= now:
            return False
        standing = await token_standing(self.read, kid=self.kid, user=self.user)
        return (
            standing is not None
            and (standing["generation"] or 0) == self.generation
            and not _too_old(standing["retired_at"])
        )


class UserTokens:
    """Verifies user tokens."""

    def __init__(self, read: Reader) -> None:
        self._read = read

    async def prove(self, token: str, kid: str, now: float) -> OwnProof:
        """Returns the proof of a token; raises `BadToken` when it is invalid."""
        signing = await signing_key_by_kid(self._read, kid)
        if signing is None or _too_old(signing["retired_at"]):
            raise BadToken("its signing key is unknown or retired", kid=kid)
        claims = read_claims(token, signing["secret"], ALGORITHM, issuer=ISSUER, audience=AUDIENCE, now=now)
        project, user_id = text_claim(claims, "project"), text_claim(claims, "sub")
        user = user_key(project, user_id)
        generation, erased_at = await _erasures(self._read, user)
        # Older tokens have no `gen`; they name the last erasure by its time.
        is_current = claims["gen"] == generation if "gen" in claims else claims.get("erased") == erased_at
        if not is_current:
            raise BadToken("its user was erased since")
        viewer = Viewer(Scope(project, user), user_id, "user token", own_permissions(claims))
        return OwnProof(self._read, viewer, user, claims["exp"], kid, generation)


async def _erasures(read: Reader, user: bytes) -> tuple[int, str | None]:
    """Returns the number of erasures under this user's key, and the time of the last one."""
    erasure = await last_erasure(read, user)
    return (0, None) if erasure is None else (erasure["generation"], erasure["erased_at"])


def _too_old(retired_at: str | None) -> bool:
    """Tells whether a signing key was retired so long ago that all tokens signed with it are expired."""
    return retired_at is not None and retired_at < ago(timedelta(seconds=LARGEST_LIFE))
