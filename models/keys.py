"""Keys of rows: 16 bytes derived from the application's own key, so that uniqueness needs no look-up."""

from hashlib import blake2b
from unicodedata import normalize
from uuid import uuid4

KEY_SIZE = 16
NONCE_BITS = 31
FIRST_NONCE, LAST_NONCE = 10**9, 2**NONCE_BITS - 1
"""The lowest nonce: all have ten digits, so that an id can be split after them."""


def new_nonce() -> int:
    """A random number that distinguishes a new user or session from earlier ones under the same key."""
    return FIRST_NONCE + uuid4().int % (LAST_NONCE + 1 - FIRST_NONCE)


def identity(key: bytes, nonce: int) -> bytes:
    """The identity of an object, which differs from those of earlier objects under its key.

    It is the key alone for an object that was created before objects had nonces (0).
    """
    return key + nonce.to_bytes(4, "big") if nonce else key


LANE_BITS = 18
"""Bits of a lane (see `lane_of`)."""


def key_of(kind: str, *parts: str | bytes) -> bytes:
    """Derives the key of an object from its kind and parts (project, then owner and the client's own key).

    Each part is prefixed with its length, so that ("ab", "c") and ("a", "bc") are different objects.
    """
    digest = blake2b(digest_size=KEY_SIZE, person=kind.encode())
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(4, "big"))
        digest.update(raw)
    return digest.digest()


def user_key(project: str, user_id: str) -> bytes:
    return key_of("user", project, user_id)


def session_key(project: str, session_id: str) -> bytes:
    return key_of("session", project, session_id)


def agent_key(project: str, agent_id: str) -> bytes:
    return key_of("agent", project, agent_id)


def memory_key(owner: bytes, memory_id: str | None) -> bytes:
    """`owner` is the identity of the session or else of the user; without a client id the key is random."""
    return uuid4().bytes if memory_id is None else key_of("memory", owner, memory_id)


def document_key(owner: bytes, document_id: str | None) -> bytes:
    """`owner` is the identity of the user, or the key of the agent; without a client id the key is random."""
    return uuid4().bytes if document_id is None else key_of("document", owner, document_id)


def lane_of(owner: bytes | None) -> int:
    """The lane of the full-text index that holds an owner's texts together; a few owners may share one."""
    return 0 if owner is None else int.from_bytes(owner[:4], "big") % 2**LANE_BITS


def message_id_hash(message_id: str) -> bytes:
    """The hash that remains of a deleted message's own key: enough to refuse its retry, not enough to read it."""
    return key_of("message-id", message_id)


_JOINTS = str.maketrans("._-", "   ")


def folded(name: str) -> str:
    """A name folded for comparisons, which ignore case and the separator of its parts: spaces, `.`, `_` or `-`.

    Some models' APIs allow no spaces in a name.
    """
    plain = normalize("NFKC", normalize("NFKC", name).casefold())
    return " ".join(plain.translate(_JOINTS).split()) or plain


def folded_name(name: str | None) -> str | None:
    """The column of a name for comparisons."""
    return None if name is None else folded(name)


def fingerprint(text: str) -> bytes:
    """A hash that is equal for texts that differ only in case, spaces and final punctuation."""
    return key_of("fingerprint", " ".join(text.casefold().split()).rstrip(" .!?…。！？"))
