"""The head of a request to the endpoint: the form of the body and of the answer, and who may ask."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from recallql.http.encodings import check_encoding, compress_from
from recallql.http.hosts import is_loopback
from recallql.http.preferences import Preference, preferences, read_parameters
from recallql.http.requests import BadRequest, too_large
from recallql.http.sites import SECURITY, Sites, lines
from recallql.settings import BODY_BYTES

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"
EVENTS = "text/event-stream"
MULTIPART = "multipart/mixed"
"""Apollo's form of a stream, which a client asks for with the parameter `subscriptionSpec=1.0`."""

CONTENT_TYPES = {
    JSON: b"content-type: application/json\r\n",
    GRAPHQL: b"content-type: application/graphql-response+json; charset=utf-8\r\n",
}

VARY = (b"accept", b"accept-encoding")
"""Request headers that answers depend on, apart from `Origin`."""

URL_BYTES = 16 * 1024
URL_TOO_LONG = f"The URL has more than {URL_BYTES} bytes; send the request by POST."

UTF_8 = ("utf-8", "utf8")

FORWARDING = frozenset(
    (b"forwarded", b"via", b"x-real-ip", b"x-client-ip", b"true-client-ip", b"cf-connecting-ip", b"fly-client-ip")
)
"""Headers that proxies add, apart from those that start with `x-forwarded-`."""

LONGEST_PLAIN = 8 * 1024
"""The most bytes of a plain head."""

_plain_head = re.compile(rb"POST /graphql/? HTTP/1\.1\r\n(?:[A-Za-z0-9_-]+:[ \t]*[\x20-\x7e\x80-\xff]*\r\n)+\r\n")
_second_credential = re.compile(r",\s*[A-Za-z][A-Za-z0-9-]*[ \t]+[^\s=]")
_not_plain = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"te", b"trailer"))


@dataclass(frozen=True, slots=True)
class Head:
    """A parsed head."""

    media: str
    """The media type of an answer in JSON."""
    takes_json: bool
    stream: str | None
    """The media type of a stream of events, if the client takes one."""
    last_event_id: str | None
    headers: bytes
    """The lines that the head of every answer to it has."""
    length: int
    """Bytes of a POST's body; 0 for a chunked one."""
    compressed: bool
    """True if the body of a POST is compressed."""
    compress_from: int
    """Answers of so many bytes or more are compressed."""
    authorization: str | None
    local: bool
    """True if `Host` is a loopback name or address."""
    forwarded: bool
    """True if a proxy has added its headers."""
    fault: BadRequest | None
    """The fault of its `Host` or `Authorization`, if any; it precedes the check of the credential."""
    problem: BadRequest | None
    """Another reason to refuse the request; it follows the check of the credential."""


def read_head(headers: Iterable[tuple[bytes, bytes]], sites: Sites, *, post: bool) -> Head:
    """Parses headers with names in lower case; for a POST also those of its body."""
    values: dict[bytes, list[str]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value.decode("latin-1"))
    text = {name: ", ".join(several) for name, several in values.items()}
    hosts, authorizations = values.get(b"host", []), values.get(b"authorization", [])
    length = int(values.get(b"content-length", ["0"])[-1]) if post else 0
    compressed, fault, problem, (media, stream) = False, None, None, _media_types(text.get(b"accept", ""))
    try:
        if len(hosts) != 1:
            raise BadRequest("A request has one `Host` header.")
        check_authorization(authorizations)
    except BadRequest as found:
        fault = found
    try:
        sites.check(text)
        if post:
            _check_content_type(text.get(b"content-type", ""))
            compressed = check_encoding(text.get(b"content-encoding", ""))
        if length > BODY_BYTES:
            raise too_large()
        if media is None and stream is None:
            raise BadRequest(f"The answer can be {GRAPHQL} or {JSON}; `Accept` admits neither.", status=406)
    except BadRequest as found:
        problem = found
    takes_json, media = media is not None, media or JSON
    return Head(
        media=media,
        takes_json=takes_json,
        stream=stream,
        last_event_id=text.get(b"last-event-id") or None,
        headers=CONTENT_TYPES[media] + lines(SECURITY + sites.headers(text.get(b"origin"), *VARY)),
        length=length,
        compressed=compressed,
        compress_from=compress_from(text.get(b"accept-encoding", "")),
        authorization=text.get(b"authorization"),
        local=all(map(_is_local, hosts)),
        forwarded=any(name in FORWARDING or name.startswith(b"x-forwarded-") for name in values),
        fault=fault,
        problem=problem,
    )


def plain_headers(head: bytes) -> dict[bytes, bytes] | None:
    """The headers of the bytes of a plain POST to the endpoint, names in lower case; None for any other head.

    A plain head has one `Content-Length` and no header that affects the connection.
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


class _MediaTypes(NamedTuple):
    """What a client takes."""

    json: str | None
    """The one of the two that it prefers; None when it takes neither."""
    stream: str | None


@lru_cache(maxsize=64)
def _media_types(accepted: str) -> _MediaTypes:
    """The media types of the answer, and of a stream of events.

    `*/*` leaves the choice to the server. A client that sends only that gets the older type, which all clients know,
    and no stream: it may wait for its end.
    """
    listed = list(preferences(accepted))
    if not listed:
        return _MediaTypes(JSON, None)
    ranges = [item for item in listed if item.parameters.get("charset", "utf-8") in UTF_8]
    json, graphql = _preferred(JSON, ranges), _preferred(GRAPHQL, ranges)
    if not json.weight and not graphql.weight:
        media = None
    else:
        prefers = graphql.weight > json.weight or (graphql.weight == json.weight and graphql.named)
        media = GRAPHQL if prefers else JSON
    return _MediaTypes(media, _stream_type(ranges))


def _stream_type(ranges: list[Preference]) -> str | None:
    wanted = [item for item in ranges if item.weight]
    if any(item.name == EVENTS for item in wanted):
        return EVENTS
    if any(item.name == MULTIPART and item.parameters.get("subscriptionspec") == "1.0" for item in wanted):
        return MULTIPART
    return None


class _Liking(NamedTuple):
    named: bool
    weight: float


def _preferred(media: str, ranges: list[Preference]) -> _Liking:
    """Returns the weight of a media type: that of the most specific range that includes it."""
    for name in (media, "application/*", "*/*", "*"):
        if weights := [item.weight for item in ranges if item.name == name]:
            return _Liking(name == media, max(weights))
    return _Liking(named=False, weight=0)


def _check_content_type(content_type: str) -> None:
    kind, parameters = read_parameters(content_type)
    if kind != JSON:
        raise BadRequest(f"The content type must be {JSON}.", status=415)
    if parameters.get("charset", "utf-8") not in UTF_8:
        raise BadRequest("The body's charset must be UTF-8.", status=415)


def check_authorization(values: list[str]) -> None:
    """Refuses two credentials, even if a proxy has joined their headers: they are ambiguous."""
    if len(values) > 1 or any(map(_second_credential.search, values)):
        raise BadRequest("A request has one `Authorization` header, with one credential.")
