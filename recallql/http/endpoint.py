"""GraphQL over HTTP: one endpoint, JSON in and out, the playground for browsers."""

from asyncio import create_task, sleep
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from breadth import Answer, Executor, MutationRefused, Request, SubscriptionRefused
from models.store import Store
from recallql.auth.credentials import Credentials, Unauthenticated
from recallql.cache import LruCache
from recallql.embedding.embeddings import Embeddings
from recallql.http import statuses
from recallql.http.admission import UNCOUNTED, Admission, Admissions
from recallql.http.connections import Connections
from recallql.http.encodings import ENCODING, PIECE, compress, decompress
from recallql.http.heads import CONTENT_TYPES, EVENTS, URL_BYTES, URL_TOO_LONG, Head, plain_headers, read_head
from recallql.http.operations import Operations
from recallql.http.playground import playground_page
from recallql.http.refusals import RETRY_SOON, refused
from recallql.http.requests import BadRequest, read_json, request_of, too_large, write_json
from recallql.http.sites import METHODS, Sites, is_preflight, lines
from recallql.http.throttle import TooMany
from recallql.live.events import FORMS, ClientGone, EventStream, Form
from recallql.live.long_connections import LongConnections
from recallql.live.subscriptions import Subscriptions
from recallql.settings import BODY_BYTES, Settings
from resolvers.live import Live
from resolvers.operation_context import OperationContext
from resolvers.times import Clock
from resolvers.viewers import Viewer

HEADS = 1024
"""The most heads of requests that are cached. Each has up to 8 KiB, and its parsed form as much: 16 MiB in all."""


class Reply(NamedTuple):
    """An HTTP answer; `headers` are the lines of its head, without `Content-Length`.

    The sender closes `admission` once the last byte is sent.
    """

    status: int
    headers: bytes
    body: bytes
    admission: Admission | None = None
    stream: EventStream | None = None
    """A stream of events, which is sent in place of `body`."""


class Endpoint:
    """The `/graphql` endpoint of one process, from bytes to bytes; as an ASGI application, and for `Protocol`."""

    def __init__(
        self,
        database: Store,
        executor: Executor,
        clock: Clock,
        credentials: Credentials,
        embeddings: Embeddings,
        live: Live,
        settings: Settings,
    ) -> None:
        self.admits_late = database.waits_for_reads
        """True if the credential of a request can't be checked at once, when its head has arrived."""
        self.operations = Operations(database, executor, clock, embeddings, live, settings)
        self._credentials = credentials
        self.sites = Sites(settings.origins)
        self.admissions = Admissions(settings)
        self.connections = Connections(settings)
        self.long_connections = LongConnections(credentials, settings)
        self.subscriptions = Subscriptions(self.operations, self.admissions)
        self._playground = settings.playground
        self._level = settings.compression_level
        self._heads: LruCache[bytes, Head] = LruCache(HEADS)

    def head(self, raw: bytes) -> Head | None:
        """Parses a plain head, or returns the cached result; None for a head that is not plain, or is refused."""
        head = self._heads.get(raw)
        if head is None and (headers := plain_headers(raw)) is not None:
            head = read_head(headers.items(), self.sites, post=True)
            if head.fault is not None or head.problem is not None:
                return None
            self._heads.put(raw, head)
        return head

    def admit(self, head: Head) -> Admission | None:
        """As `admit_late`; None if that would wait, or if it is refused."""
        if self.admits_late:
            return None
        finding = self.viewer(head)
        try:
            finding.send(None)
        except StopIteration as found:
            with suppress(TooMany):
                return self._admitted(found.value, head.length)
        except (BadRequest, Unauthenticated):
            pass
        else:
            finding.close()
        return None

    async def admit_late(self, head: Head) -> Admission:
        """Admits a plain request whose body is still to come; raises if it is refused."""
        return self._admitted(await self.viewer(head), head.length)

    def _admitted(self, viewer: Viewer, length: int) -> Admission:
        """Admits a request and the bytes that its head announces."""
        admission = self.admissions.admit(viewer)
        try:
            if length:
                admission.receive(length)
        except TooMany:
            admission.close()
            raise
        return admission

    async def answer(self, head: Head, body: bytes, admission: Admission | None = None) -> Reply:
        """The reply to a POST. It waits for nothing unless it writes, or reads for long.

        The credential is checked again even if the request was admitted: it may have been revoked since.
        """
        try:
            viewer = await self.viewer(head)
            if admission is None:
                admission = self.admissions.admit(viewer)
                if len(body) > UNCOUNTED:
                    admission.receive(len(body))
            if head.compressed:
                body = await decompressed(body, admission)
            context = self.operations.context(viewer, admission, len(body))
            value = await context.in_thread(read_json, body) if context.is_large else read_json(body)
            return await self._execute(viewer, context, request_of(value), head, admission)
        except Exception as error:
            return refusal(error, head, admission)
        except BaseException:
            if admission is not None:
                admission.close()
            raise

    async def in_time(self, answering: Awaitable[Reply], head: Head) -> Reply:
        """Awaits the reply; returns a TIMEOUT when it takes too long."""
        try:
            return await self.operations.in_time(answering)
        except TimeoutError as error:
            return refusal(error, head)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, headers = scope["method"], dict(scope["headers"])
        query = QueryParams(scope["query_string"])
        asks_page = method in ("GET", "HEAD") and "query" not in query and b"text/html" in headers.get(b"accept", b"")
        head = read_head(scope["headers"], self.sites, post=method == "POST")
        try:
            if len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"]) > URL_BYTES:
                raise BadRequest(URL_TOO_LONG, status=414)
            if is_preflight(method, headers):
                reply = self.preflight(headers)
            elif asks_page and self._playground:
                reply = await self._page(head, headers.get(b"origin"), up="../" if scope["path"].endswith("/") else "")
            elif method == "POST":
                await self._post(head, scope, receive, send)
                return
            else:
                await self._get(head, scope, query, receive, send)
                return
        except ClientDisconnect:
            return
        except Exception as error:
            reply = refusal(error, head)
        await send_reply(send, reply)

    def preflight(self, headers: Mapping[bytes, bytes]) -> Reply:
        """The reply to a CORS preflight, for this and any other address of the server."""
        head = read_head(headers.items(), self.sites, post=False)
        try:
            return Reply(204, head.headers + lines(self.sites.preflight(headers)), b"")
        except BadRequest as error:
            return refusal(error, head)

    async def _page(self, head: Head, origin: bytes | None, *, up: str) -> Reply:
        await self.check_sender(head)
        page = playground_page(up=up)
        headers = [header for header in page.raw_headers if header[0] not in (b"content-length", b"vary")]
        told = self.sites.headers(None if origin is None else origin.decode("latin-1"), b"accept")
        return Reply(200, lines((*headers, *told)), bytes(page.body))

    async def _post(self, head: Head, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a POST. The credential is checked before the body is read."""
        with await self.admit_late(head) as admission:
            introduce(scope, admission)
            body = await read_body(receive, admission, head.length)
            await deliver(scope, receive, send, await self.in_time(self.answer(head, body, admission), head))

    async def viewer(self, head: Head) -> Viewer:
        """Returns the viewer of a request; raises if the head has a fault or the credential is refused."""
        if head.fault is not None:
            raise head.fault
        viewer = await self._credentials.viewer(head.authorization)
        if head.problem is not None:
            raise head.problem
        await self.check_sender(head)
        return viewer

    async def check_sender(self, head: Head) -> None:
        """Refuses, while there is no key, requests through a proxy or under a name that is not a loopback one."""
        if (head.local and not head.forwarded) or await self._credentials.are_needed():
            return
        if head.forwarded:
            message = (
                "This server is behind a proxy and has no key, so anybody who reaches the proxy could read and "
                "change everything. Make a key with `recallql key create` or set RECALLQL_API_KEY."
            )
        else:
            # DNS rebinding: a page of another site must not reach this machine's server under its own host name.
            message = "Without a key only loopback names are served; use http://127.0.0.1 or http://localhost."
        raise BadRequest(message, status=403, code="FORBIDDEN")

    async def _get(self, head: Head, scope: Scope, query: QueryParams, receive: Receive, send: Send) -> None:
        """Answers a request with a method other than POST: GET and HEAD run queries."""
        viewer, method = await self.viewer(head), scope["method"]
        if method not in ("GET", "HEAD"):
            raise _not_allowed(f"{method} is not allowed here; use POST.", METHODS)
        request = _from_url(query)
        with self._admitted(viewer, 0) as admission:
            introduce(scope, admission)
            context = self.operations.context(viewer, admission)
            answering = self._execute(viewer, context, request, head, admission, mutations=False)
            await deliver(scope, receive, send, await self.in_time(answering, head))

    async def _execute(
        self,
        viewer: Viewer,
        context: OperationContext,
        request: Request,
        head: Head,
        admission: Admission,
        *,
        mutations: bool = True,
    ) -> Reply:
        """The reply to a parsed request."""
        try:
            answer, body = await self.operations.run(request, context, admission, mutations=mutations)
        except MutationRefused:
            raise _not_allowed("A mutation needs POST.", b"POST") from None
        except SubscriptionRefused:
            return await self._stream(viewer, request, head, admission)
        if not head.takes_json:
            return _events(head, body, admission)
        headers = head.headers
        errors: list[Any] = answer.body.get("errors", [])
        if any(error["extensions"]["code"] == "UNAVAILABLE" for error in errors):
            headers += RETRY_SOON
        if len(body) >= head.compress_from and self._level:
            body, headers = await self._compressed(body, context), headers + ENCODING
            admission.answer(len(body))
        return Reply(statuses.of_answer(answer.body, head.media), headers, body, admission)

    async def _stream(self, viewer: Viewer, request: Request, head: Head, admission: Admission) -> Reply:
        """The reply to a subscription, which is answered as a request once it has started."""
        if head.stream is None:
            message = "A subscription is answered by a stream of events: send `Accept: text/event-stream`, or use a "
            raise BadRequest(f"{message}WebSocket with the subprotocol graphql-transport-ws.", status=406)
        started = await self.subscriptions.start(request, viewer, admission, resume_after=head.last_event_id)
        if isinstance(started, Answer):
            body = write_json(started.body)
            if not head.takes_json:
                return _events(head, body, admission)
            return Reply(statuses.of_answer(started.body, head.media), head.headers, body, admission)
        form = FORMS[head.stream]
        stream = EventStream(started, form, self.long_connections, keep_alive=self.connections.keep_alive)
        try:
            self.long_connections.enter(stream, head.authorization, viewer)
        except Exception:
            await started.close()
            raise
        admission.close()
        return Reply(200, _stream_headers(head, form), b"", admission, stream)

    async def _compressed(self, body: bytes, context: OperationContext) -> bytes:
        if len(body) <= PIECE:
            return compress(body, self._level)
        return await context.in_thread(compress, body, self._level, context.allowance.check)


def refusal(error: Exception, head: Head, admission: Admission | None = None) -> Reply:
    """The reply to a failure."""
    status, body, headers = refused(error, head.media)
    return Reply(status, head.headers + headers, write_json(body), admission)


def _events(head: Head, body: bytes, admission: Admission) -> Reply:
    """The reply to a client that takes nothing but a stream: one event."""
    form = FORMS[head.stream or EVENTS]
    return Reply(200, _stream_headers(head, form), form.once(body), admission)


def _stream_headers(head: Head, form: Form) -> bytes:
    typed = lines([(b"content-type", form.content_type), (b"x-accel-buffering", b"no")])
    return head.headers.replace(CONTENT_TYPES[head.media], typed)


def _not_allowed(message: str, allowed: bytes) -> BadRequest:
    return BadRequest(message, status=405, headers=b"allow: %b\r\n" % allowed)


def introduce(scope: Scope, admission: Admission) -> None:
    """Tells the connection the credential of its request, if the connection is a `Protocol`."""
    if (belongs_to := scope.get("belongs_to")) is not None:
        belongs_to(admission.credential)


async def deliver(scope: Scope, receive: Receive, send: Send, reply: Reply) -> None:
    """Sends an answer or a stream. A connection that is a `Protocol` knows best how to send a stream."""
    stream = reply.stream
    if stream is None:
        await send_reply(send, reply)
    elif scope["method"] == "HEAD":
        await stream.close()
        await send_reply(send, reply)
    elif "send_stream" in scope:
        await scope["send_stream"](reply, stream)
    else:
        await _send_stream(stream, receive, send, reply)


async def _send_stream(stream: EventStream, receive: Receive, send: Send, reply: Reply) -> None:
    async def listen() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        stream.end(ClientGone())

    async def write(data: bytes) -> None:
        await send({"type": "http.response.body", "body": data, "more_body": True})

    headers = [tuple(line.split(b": ", 1)) for line in reply.headers.splitlines()]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    listening = create_task(listen())
    try:
        await stream.run(write)
    finally:
        listening.cancel()
    await send({"type": "http.response.body", "body": b""})


async def send_reply(send: Send, reply: Reply) -> None:
    """Sends an answer; returns once the server has passed on all of it. While a client does not read, an ASGI server
    delays the next part."""
    headers = [tuple(line.split(b": ", 1)) for line in reply.headers.splitlines()]
    if reply.status != 204:
        headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def read_body(receive: Receive, admission: Admission, length: int) -> bytes:
    """The body of a request. Bytes beyond the announced length, such as chunks, are counted as they arrive."""
    # One buffer: a list of small chunks would take several times their bytes.
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if len(body) > BODY_BYTES:
            raise too_large()
        if len(body) > length:
            admission.receive(len(body) - length)
            length = len(body)
        if not message.get("more_body", False):
            return bytes(body)


async def decompressed(body: bytes, admission: Admission) -> bytes:
    """The decompressed body. Its slices are counted as they come, and other requests run between them."""
    slices: list[bytes] = []
    for piece in decompress(body):
        if slices:
            admission.receive(len(piece))
            await sleep(0)
        slices.append(piece)
    return b"".join(slices)


def _from_url(query: QueryParams) -> Request:
    given: dict[str, Any] = {"query": query.get("query"), "operationName": query.get("operationName")}
    for name in ("variables", "extensions"):
        if text := query.get(name):
            try:
                given[name] = read_json(text.encode("utf-8", "surrogatepass"))
            except BadRequest as error:
                error.message = error.message.replace("The body", f"The parameter `{name}`")
                raise
    return request_of(given)
