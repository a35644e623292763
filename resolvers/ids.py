"""Global ids: opaque to clients, derived from the row's key, the same for ever."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from functools import lru_cache
from typing import NamedTuple

LETTERS = {"User": "U", "Session": "S", "Message": "M", "Memory": "Y", "Document": "D", "Agent": "A", "Viewer": "V"}
NOUNS = {letter: noun for noun, letter in LETTERS.items()}
_KEY = 22  # characters that 16 bytes take
_LAST = 2**63 - 1


class NodeId(NamedTuple):
    noun: str
    key: bytes
    sequence: int = 0


def global_id(noun: str, key: bytes) -> str:
    return LETTERS[noun] + urlsafe_b64encode(key)[:_KEY].decode()


def message_id(session_key: bytes, sequence: int) -> str:
    """Names the session and the place in it, never the user: a session can be attached to one later."""
    return f"{_messages_of(session_key)}{sequence}"


@lru_cache(maxsize=4096)
def _messages_of(session_key: bytes) -> str:
    return global_id("Message", session_key)


def parse_id(text: str) -> NodeId | None:
    """What an id names, or None for one that is none of ours."""
    noun = NOUNS.get(text[:1])
    digits = text[_KEY + 1 :]
    try:
        key = urlsafe_b64decode(text[1 : _KEY + 1].encode("ascii") + b"==")
    except (UnicodeEncodeError, Error):
        return None
    if noun is None or noun == "Viewer" or len(key) != 16:
        return None
    if noun != "Message":
        return NodeId(noun, key) if global_id(noun, key) == text else None
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20) or int(digits) > _LAST:
        return None
    sequence = int(digits)
    return NodeId(noun, key, sequence) if message_id(key, sequence) == text else None
