"""GraphQL over HTTP: one endpoint, JSON in and out, the playground for browsers."""

from typing import Any

from graphql import OperationType
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from breadth import Executor, Request
from breadth.cache import Cache
from models.database import Database
from recallql.errors import describe
from recallql.heads import GRAPHQL, JSON, Head, plain_headers, read_head
from recallql.playground import playground_page
from recallql.requests import BODY_BYTES, BadRequest, TooDeep, read_json, request_of, write_json
from resolvers.context import Context
from resolvers.times import Clock

HEADS = 1024
"""Heads of requests that are remembered, at most."""

CONTENT_TYPES = {JSON: b"application/json", GRAPHQL: b"application/graphql-response+json; charset=utf-8"}

Reply = tuple[int, bytes, bytes]
"""Status, content type and body."""


class Endpoint:
    """The `/graphql` endpoint of one process, from bytes to bytes; as an ASGI application, and for `Protocol`."""

    def __init__(self, database: Database, executor: Executor, clock: Clock) -> None:
        self._database = database
        self._executor = executor
        self._clock = clock
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
            if head.problem is not None:
                raise head.problem
            return await self._answer(request_of(read_json(body)), head.media)
        except BadRequest as problem:
            return _refusal(problem, head.media)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        headers = dict(scope["headers"])
        head = read_head(headers, post=method == "POST")
        try:
            if head.problem is not None:
                raise head.problem
            if method == "POST":
                await _send(send, await self.answer(head, await _body(receive)))
                return
            query = QueryParams(scope["query_string"])
            if method == "GET" and "query" not in query and b"text/html" in headers.get(b"accept", b""):
                await playground_page()(scope, receive, send)
            elif method in ("GET", "HEAD"):
                request = _from_url(query)
                if self._executor.operation_type(request) is OperationType.MUTATION:
                    await _send(send, _not_allowed("A mutation needs POST.", head.media), allow="POST")
                    return
                await _send(send, await self._answer(request, head.media), empty=method == "HEAD")
            else:
                message = f"{method} is no method of this endpoint; use POST."
                await _send(send, _not_allowed(message, head.media), allow="GET, POST")
        except BadRequest as problem:
            await _send(send, _refusal(problem, head.media))
        except ClientDisconnect:
            return

    async def _answer(self, request: Request, media: str) -> Reply:
        """The reply to a request that could be read."""
        try:
            answer = await self._executor.execute(request, Context(self._database, self._clock))
            # With the older media type every well-formed request is answered by 200, whatever the answer says.
            status = 200 if answer.executed or media == JSON else 400
            return status, CONTENT_TYPES[media], write_json(answer.body)
        except (RecursionError, TooDeep):
            body = _error("QUERY_TOO_COMPLEX", "The document is nested too deeply to be run.")
            return 400 if media == GRAPHQL else 200, CONTENT_TYPES[media], body
        except Exception as error:  # the edge of the process: logged, and nothing of it shown
            return 500, CONTENT_TYPES[media], _error(*describe(error))


def _error(code: str, message: str) -> bytes:
    return write_json({"errors": [{"message": message, "extensions": {"code": code}}]})


def _refusal(problem: BadRequest, media: str) -> Reply:
    return problem.status, CONTENT_TYPES[media], _error(problem.code, problem.message)


def _not_allowed(message: str, media: str) -> Reply:
    return 405, CONTENT_TYPES[media], _error("BAD_USER_INPUT", message)


async def _send(send: Send, reply: Reply, *, allow: str | None = None, empty: bool = False) -> None:
    status, content_type, body = reply
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    if allow is not None:
        headers.append((b"allow", allow.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if empty else body})


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
