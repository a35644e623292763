"""GraphQL over HTTP: one endpoint, JSON in and out, the playground for browsers."""

from typing import Any, NamedTuple

from graphql import OperationType
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from breadth import Executor, Request
from breadth.cache import Cache
from models.database import Database
from recallql.credentials import Credentials, Unauthenticated
from recallql.errors import describe
from recallql.heads import GRAPHQL, JSON, Head, plain_headers, read_head
from recallql.playground import playground_page
from recallql.requests import BODY_BYTES, BadRequest, TooDeep, read_json, request_of, write_json
from resolvers.context import Context
from resolvers.times import Clock
from resolvers.viewers import Viewer

HEADS = 1024
"""Heads of requests that are remembered, at most."""

CONTENT_TYPES = {JSON: b"application/json", GRAPHQL: b"application/graphql-response+json; charset=utf-8"}


class Reply(NamedTuple):
    """An answer in HTTP; `headers` are those beside the content's type and length."""

    status: int
    content_type: bytes
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Endpoint:
    """The `/graphql` endpoint of one process, from bytes to bytes; as an ASGI application, and for `Protocol`."""

    def __init__(self, database: Database, executor: Executor, clock: Clock, credentials: Credentials) -> None:
        self._database = database
        self._executor = executor
        self._clock = clock
        self._credentials = credentials
        self._heads: Cache[bytes, Head] = Cache(HEADS)

    def head(self, raw: bytes) -> Head | None:
        """What the bytes of a plain head say, which are read once; None for a head that is not plain."""
        head = self._heads.get(raw)
        if head is None and (headers := plain_headers(raw)) is not None:
            head = read_head(headers, post=True)
            if head.length > BODY_BYTES:
                return None
            self._heads.put(raw, head)
        return head

    async def answer(self, head: Head, body: bytes) -> Reply:
        """The reply to a POST. It does not wait for anything unless it writes, or reads what takes long."""
        try:
            viewer = await self._viewer(head)
            return await self._answer(viewer, request_of(read_json(body)), head.media)
        except BadRequest as problem:
            return _refusal(problem, head.media)
        except Unauthenticated as problem:
            return _unauthenticated(problem, head.media)

    async def _viewer(self, head: Head) -> Viewer:
        """Whom a request speaks for, if it may come in and its head has nothing wrong with it."""
        viewer = self._credentials.viewer(head.authorization)
        if not isinstance(viewer, Viewer):
            viewer = await viewer
        self._check(head)
        return viewer

    def _check(self, head: Head) -> None:
        if not head.local and not self._credentials.needed:
            # A page of another site must not reach this machine's server under a name of its own.
            message = "Without a key only loopback names are served; use http://127.0.0.1 or http://localhost."
            raise BadRequest(message, status=403, code="FORBIDDEN")
        if head.problem is not None:
            raise head.problem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        headers = dict(scope["headers"])
        head = read_head(headers, post=method == "POST")
        try:
            if method == "POST":
                await self._viewer(head)  # before anything is read
                await _send(send, await self.answer(head, await _body(receive)))
                return
            query = QueryParams(scope["query_string"])
            if method == "GET" and "query" not in query and b"text/html" in headers.get(b"accept", b""):
                self._check(head)
                await playground_page()(scope, receive, send)
            else:
                await _send(send, await self._read(head, method, query), empty=method == "HEAD")
        except BadRequest as problem:
            await _send(send, _refusal(problem, head.media))
        except Unauthenticated as problem:
            await _send(send, _unauthenticated(problem, head.media))
        except ClientDisconnect:
            return

    async def _read(self, head: Head, method: str, query: QueryParams) -> Reply:
        """The reply to a request of another method than POST: GET and HEAD read."""
        viewer = await self._viewer(head)
        if method not in ("GET", "HEAD"):
            message = f"{method} is no method of this endpoint; use POST."
            return _not_allowed(message, head.media, allow=b"GET, HEAD, POST")
        request = _from_url(query)
        if self._executor.operation_type(request) is OperationType.MUTATION:
            return _not_allowed("A mutation needs POST.", head.media, allow=b"POST")
        return await self._answer(viewer, request, head.media)

    async def _answer(self, viewer: Viewer, request: Request, media: str) -> Reply:
        """The reply to a request that could be read."""
        try:
            answer = await self._executor.execute(request, Context(self._database, self._clock, viewer.scope))
            # With the older media type every well-formed request is answered by 200, whatever the answer says.
            status = 200 if answer.executed or media == JSON else 400
            return Reply(status, CONTENT_TYPES[media], write_json(answer.body))
        except (RecursionError, TooDeep):
            body = _error("QUERY_TOO_COMPLEX", "The document is nested too deeply to be run.")
            return Reply(400 if media == GRAPHQL else 200, CONTENT_TYPES[media], body)
        except Exception as error:  # the edge of the process: logged, and nothing of it shown
            return Reply(500, CONTENT_TYPES[media], _error(*describe(error)))


def _error(code: str, message: str) -> bytes:
    return write_json({"errors": [{"message": message, "extensions": {"code": code}}]})


def _refusal(problem: BadRequest, media: str) -> Reply:
    return Reply(problem.status, CONTENT_TYPES[media], _error(problem.code, problem.message))


def _unauthenticated(problem: Unauthenticated, media: str) -> Reply:
    body = _error("UNAUTHENTICATED", str(problem))
    return Reply(401, CONTENT_TYPES[media], body, ((b"www-authenticate", b"Bearer"),))


def _not_allowed(message: str, media: str, *, allow: bytes) -> Reply:
    return Reply(405, CONTENT_TYPES[media], _error("BAD_USER_INPUT", message), ((b"allow", allow),))


async def _send(send: Send, reply: Reply, *, empty: bool = False) -> None:
    headers = [
        (b"content-type", reply.content_type),
        (b"content-length", b"%d" % len(reply.body)),
        *reply.headers,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if empty else reply.body})


async def _body(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > BODY_BYTES:
            problem = f"The body has more than {BODY_BYTES} bytes; send less at once."
            raise BadRequest(problem, status=413, code="PAYLOAD_TOO_LARGE")
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _from_url(query: QueryParams) -> Request:
    given: dict[str, Any] = {"query": query.get("query"), "operationName": query.get("operationName")}
    for name in ("variables", "extensions"):
        if text := query.get(name):
            given[name] = read_json(text.encode("utf-8", "surrogatepass"))
    return request_of(given)
