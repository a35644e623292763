"""Global ids: opaque to clients, derived from an object's identity, stable and never reused.

An id is the letter of its noun, the key in Base64, then the nonce (if there is one) and for messages the sequence in
decimal digits.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from functools import lru_cache
from typing import NamedTuple

from models.keys import KEY_SIZE
from models.messages import nonce_of
from models.rows import AnyRow

LETTERS = {"User": "U", "Session": "S", "Message": "M", "Memory": "Y", "Document": "D", "Agent": "A", "Viewer": "V"}
NOUNS = {letter: noun for noun, letter in LETTERS.items()}
WITH_NONCE = ("User", "Session")
_KEY = 22  # characters for 16 bytes
_NO_NUMBERS = re.compile("()()")
_NONCE, _SEQUENCE = r"([12]\d{9})?", r"([1-9]\d{0,9})"
_NUMBERS = {
    "Message": re.compile(_NONCE + _SEQUENCE, re.ASCII),
    **{noun: re.compile(_NONCE + "()", re.ASCII) for noun in WITH_NONCE},
}
"""The nonce and the sequence in an id. A nonce has ten digits, a sequence at most ten."""


class NodeId(NamedTuple):
    noun: str
    key: bytes
    nonce: int = 0
    sequence: int = 0

    def names(self, row: AnyRow) -> bool:
        """True if the row under this id's key is the object of the id, and not a later one."""
        if self.noun == "Message":
            return self.nonce == nonce_of(row["generation"])
        return self.noun not in WITH_NONCE or self.nonce == row["nonce"]


def global_id(noun: str, key: bytes, nonce: int = 0) -> str:
    text = LETTERS[noun] + urlsafe_b64encode(key)[:_KEY].decode()
    return f"{text}{nonce}" if nonce else text


def message_id(session_key: bytes, generation: int, sequence: int) -> str:
    """Contains the session and the sequence, never the user: a session can be attached to one later."""
    return f"{_messages_of(session_key, generation)}{sequence}"


@lru_cache(maxsize=4096)
def _messages_of(session_key: bytes, generation: int) -> str:
    return global_id("Message", session_key, nonce_of(generation))


def parse_id(text: str) -> NodeId | None:
    """Parses an id; None for one that this server did not issue."""
    noun, start, digits = NOUNS.get(text[:1]), text[: _KEY + 1], text[_KEY + 1 :]
    numbers = _NUMBERS.get(noun or "", _NO_NUMBERS).fullmatch(digits)
    if noun is None or noun == "Viewer" or numbers is None:
        return None
    try:
        key = urlsafe_b64decode(start[1:].encode("ascii") + b"==")
    except (UnicodeEncodeError, Error):
        return None
    if len(key) != KEY_SIZE or global_id(noun, key) != start:
        return None
    nonce, sequence = (int(number or 0) for number in numbers.groups())
    return NodeId(noun, key, nonce, sequence)
