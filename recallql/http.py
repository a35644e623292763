"""GraphQL over HTTP: one endpoint, JSON in and out, the playground for browsers."""

from functools import lru_cache
from typing import Any

from graphql import OperationType
from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from breadth import Executor, Request
from models.database import Database
from recallql.errors import describe
from recallql.hosts import is_loopback
from recallql.playground import playground_page
from recallql.requests import BODY_BYTES, BadRequest, TooDeep, read_json, request_of, write_json
from resolvers.context import Context
from resolvers.times import Clock

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"


class Endpoint:
    """The `/graphql` endpoint of one process, as an ASGI application: from bytes to bytes."""

    def __init__(self, database: Database, executor: Executor, clock: Clock) -> None:
        self._database = database
        self._executor = executor
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        media = _media_type(headers.get(b"accept", JSON))
        try:
            _check_host(headers.get(b"host", "localhost"))
            if scope["method"] == "POST":
                _check_content_type(headers.get(b"content-type", ""))
                request = request_of(read_json(await _body(receive)))
                status, body = await self._answer(request, media)
                await _send(send, status, body, media)
                return
            query = QueryParams(scope["query_string"])
            if scope["method"] == "GET" and "query" not in query and "text/html" in headers.get(b"accept", ""):
                await playground_page()(scope, receive, send)
            elif scope["method"] in ("GET", "HEAD"):
                request = _from_url(query)
                if self._executor.operation_type(request) is OperationType.MUTATION:
                    await _send(send, 405, _error("BAD_USER_INPUT", "A mutation needs POST."), media, allow="POST")
                    return
                status, body = await self._answer(request, media)
                await _send(send, status, body, media, empty=scope["method"] == "HEAD")
            else:
                message = f"{scope['method']} is no method of this endpoint; use POST."
                await _send(send, 405, _error("BAD_USER_INPUT", message), media, allow="GET, POST")
        except BadRequest as problem:
            await _send(send, problem.status, _error(problem.code, problem.message), media)
        except ClientDisconnect:
            return

    async def _answer(self, request: Request, media: str) -> tuple[int, bytes]:
        """The status and the body for a request that could be read."""
        try:
            answer = await self._executor.execute(request, Context(self._database, self._clock))
            # With the older media type every well-formed request is answered by 200, whatever the answer says.
            return 200 if answer.executed or media == JSON else 400, write_json(answer.body)
        except (RecursionError, TooDeep):
            message = "The document is nested too deeply to be run."
            return 400 if media == GRAPHQL else 200, _error("QUERY_TOO_COMPLEX", message)
        except Exception as error:  # the edge of the process: logged, and nothing of it shown
            return 500, _error(*describe(error))


def _error(code: str, message: str) -> bytes:
    return write_json({"errors": [{"message": message, "extensions": {"code": code}}]})


async def _send(
    send: Send, status: int, body: bytes, media: str, *, allow: str | None = None, empty: bool = False
) -> None:
    headers = [
        (
            b"content-type",
            b"application/json" if media == JSON else b"application/graphql-response+json; charset=utf-8",
        ),
        (b"content-length", b"%d" % len(body)),
    ]
    if allow is not None:
        headers.append((b"allow", allow.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if empty else body})


@lru_cache(maxsize=256)
def _check_host(host: str) -> None:
    """Without a key only this machine is served: a page of another site must not reach it under a name of its own."""
    name = host if host.endswith("]") else host.rsplit(":", 1)[0]
    if not is_loopback(name.lower()):
        raise BadRequest(
            "Without a key only loopback names are served; use http://127.0.0.1 or http://localhost.",
            status=403,
            code="FORBIDDEN",
        )


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


@lru_cache(maxsize=256)
def _check_content_type(content_type: str) -> None:
    kind, _, parameters = content_type.partition(";")
    if kind.strip().lower() != JSON:
        raise BadRequest(f"The content type must be {JSON}.", status=415)
    charset = parameters.lower().partition("charset=")[2].strip(' "')
    if charset not in ("", "utf-8", "utf8"):
        raise BadRequest("The body's charset must be UTF-8.", status=415)


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
