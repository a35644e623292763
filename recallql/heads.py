"""The head of a request to the endpoint: what it says of the body, of the answer, and of who may be asked at all."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from recallql.hosts import is_loopback
from recallql.requests import BODY_BYTES, BadRequest, too_large
from recallql.sites import Sites

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"

CONTENT_TYPES = {
    JSON: b"content-type: application/json\r\n",
    GRAPHQL: b"content-type: application/graphql-response+json; charset=utf-8\r\n",
}

LONGEST_PLAIN = 8 * 1024
"""Bytes of a head that is read from its bytes, at most."""

_plain_head = re.compile(rb"POST /graphql HTTP/1\.1\r\n(?:[A-Za-z0-9_-]+:[ \t]*[\x20-\x7e\x80-\xff]*\r\n)+\r\n")
_not_plain = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"te", b"trailer"))


@dataclass(frozen=True, slots=True)
class Head:
    """All that a head says, worked out once."""

    media: str
    """The media type of the answer."""
    headers: bytes
    """The lines that stand in the head of every answer to it."""
    length: int
    """Bytes of a POST's body; 0 when it comes in chunks."""
    authorization: str | None
    local: bool
    """Whether the host that it names is a loopback one."""
    problem: BadRequest | None
    """Why it is not answered, whoever asks."""


def read_head(headers: Iterable[tuple[bytes, bytes]], sites: Sites, *, post: bool) -> Head:
    """What the headers say, their names in lower case; for a POST also of its body."""
    pairs = [(name, value.decode("latin-1")) for name, value in headers]
    text = dict(pairs)
    hosts = [value for name, value in pairs if name == b"host"]
    length = int(text.get(b"content-length", "0")) if post else 0
    problem = None
    try:
        if len(hosts) != 1:
            raise BadRequest("A request has one `Host` header.")
        sites.check(text)
        if post:
            _check_content_type(text.get(b"content-type", ""))
        if length > BODY_BYTES:
            raise too_large()
    except BadRequest as found:
        problem = found
    media = _media_type(text.get(b"accept", JSON))
    return Head(
        media=media,
        headers=CONTENT_TYPES[media] + sites.headers(text.get(b"origin")),
        length=length,
        authorization=text.get(b"authorization"),
        local=all(map(_is_local, hosts)),
        problem=problem,
    )


def plain_headers(head: bytes) -> dict[bytes, bytes] | None:
    """The headers of the bytes of a plain POST to the endpoint, names in lower case; None for any other head.

    A plain one says once how long its body is, and asks nothing of the connection.
    """
    if len(head) > LONGEST_PLAIN or _plain_head.fullmatch(head) is None:
        return None
    headers: dict[bytes, bytes] = {}
    for line in head.split(b"\r\n")[1:-2]:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name in headers or name in _not_plain:
            return None
        headers[name] = value.strip(b" \t")
    if b"host" not in headers or re.fullmatch(rb"[0-9]{1,9}", headers.get(b"content-length", b"")) is None:
        return None
    return headers if headers.get(b"connection", b"keep-alive").lower() == b"keep-alive" else None


def _is_local(host: str) -> bool:
    name = host if host.endswith("]") else host.rsplit(":", 1)[0]
    return is_loopback(name.lower())


@lru_cache(maxsize=256)
def _media_type(accepted: str) -> str:
    """The media type of the answer: the one of the two that the client likes better; the older in doubt."""
    liking = {JSON: 0.0, GRAPHQL: 0.0}
    for item in accepted.lower().split(","):
        kind, _, parameters = item.partition(";")
        _, named, weight = parameters.partition("q=")
        if kind.strip() in liking:
            try:
                liking[kind.strip()] = float(weight) if named else 1.0
            except ValueError:
                continue
    return GRAPHQL if liking[GRAPHQL] and liking[GRAPHQL] >= liking[JSON] else JSON


def _check_content_type(content_type: str) -> None:
    kind, _, parameters = content_type.partition(";")
    if kind.strip().lower() != JSON:
        raise BadRequest(f"The content type must be {JSON}.", status=415)
    charset = parameters.lower().partition("charset=")[2].strip(' "')
    if charset not in ("", "utf-8", "utf8"):
        raise BadRequest("The body's charset must be UTF-8.", status=415)
