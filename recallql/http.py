"""GraphQL over HTTP: one endpoint, JSON in and out, the playground for browsers."""

from typing import Any

from graphql import OperationType
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from breadth import Executor, Request
from models.database import Database
from recallql.errors import describe
from recallql.playground import playground_page
from recallql.requests import BODY_BYTES, BadRequest, read_json, request_of, write_json
from resolvers.context import Context
from resolvers.times import Clock

JSON = "application/json"
GRAPHQL = "application/graphql-response+json"
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Endpoint:
    """The `/graphql` endpoint of one process."""

    def __init__(self, database: Database, executor: Executor, clock: Clock) -> None:
        self._database = database
        self._executor = executor
        self._clock = clock

    async def __call__(self, http: HttpRequest) -> Response:
        media = _media_type(http)
        try:
            _check_host(http)
            if http.method == "GET" and "query" not in http.query_params and _wants_page(http):
                return playground_page()
            return await self._answer(http, media)
        except BadRequest as problem:
            error = {"message": problem.message, "extensions": {"code": problem.code}}
            return Response(write_json({"errors": [error]}), problem.status, media_type=media)

    async def _answer(self, http: HttpRequest, media: str) -> Response:
        if http.method == "POST":
            request = request_of(read_json(await _body(http)))
        elif http.method in ("GET", "HEAD"):
            request = _from_url(http)
        else:
            return _not_allowed(f"{http.method} is no method of this endpoint; use POST.", "GET, POST", media)
        try:
            if http.method != "POST" and self._executor.operation_type(request) is OperationType.MUTATION:
                return _not_allowed("A mutation needs POST.", "POST", media)
            context = Context(self._database, self._clock)
            answer = await self._executor.execute(request, context)
        except RecursionError:
            body = _error("QUERY_TOO_COMPLEX", "The document is nested too deeply to be run.")
            return Response(write_json(body), 400 if media == GRAPHQL else 200, media_type=media)
        except Exception as error:
            return Response(write_json(_error(*describe(error))), 500, media_type=media)
        # With the older media type every well-formed request is answered by 200, whatever the answer says.
        status = 200 if answer.executed or media == JSON else 400
        return Response(write_json(answer.body), status, media_type=media)


def _error(code: str, message: str) -> dict[str, Any]:
    return {"errors": [{"message": message, "extensions": {"code": code}}]}


def _not_allowed(message: str, allow: str, media: str) -> Response:
    return Response(write_json(_error("BAD_USER_INPUT", message)), 405, {"Allow": allow}, media_type=media)


def _check_host(http: HttpRequest) -> None:
    """Without a key only this machine is served: a page of another site must not reach it under a name of its own."""
    host = http.headers.get("host", "localhost")
    name = host if host.endswith("]") else host.rsplit(":", 1)[0]
    if name.lower() not in LOOPBACK_NAMES:
        raise BadRequest(
            "Without a key only loopback names are served; use http://127.0.0.1 or http://localhost.",
            status=403,
            code="FORBIDDEN",
        )


def _media_type(http: HttpRequest) -> str:
    """The media type of the answer: the one of the two that the client likes better; the older in doubt."""
    liking = {JSON: 0.0, GRAPHQL: 0.0}
    for item in http.headers.get("accept", JSON).lower().split(","):
        kind, _, parameters = item.partition(";")
        _, named, weight = parameters.partition("q=")
        if kind.strip() in liking:
            try:
                liking[kind.strip()] = float(weight) if named else 1.0
            except ValueError:
                continue
    return GRAPHQL if liking[GRAPHQL] and liking[GRAPHQL] >= liking[JSON] else JSON


def _wants_page(http: HttpRequest) -> bool:
    return "text/html" in http.headers.get("accept", "")


async def _body(http: HttpRequest) -> bytes:
    content_type = http.headers.get("content-type", "")
    kind, _, parameters = content_type.partition(";")
    if kind.strip().lower() != JSON:
        raise BadRequest(f"The content type must be {JSON}.", status=415)
    charset = parameters.lower().partition("charset=")[2].strip(' "')
    if charset not in ("", "utf-8", "utf8"):
        raise BadRequest("The body's charset must be UTF-8.", status=415)
    chunks: list[bytes] = []
    size = 0
    async for chunk in http.stream():
        size += len(chunk)
        if size > BODY_BYTES:
            message = f"The body has more than {BODY_BYTES} bytes; send less at once."
            raise BadRequest(message, status=413, code="PAYLOAD_TOO_LARGE")
        chunks.append(chunk)
    return b"".join(chunks)


def _from_url(http: HttpRequest) -> Request:
    given: dict[str, Any] = {
        "query": http.query_params.get("query"),
        "operationName": http.query_params.get("operationName"),
    }
    for name in ("variables", "extensions"):
        if text := http.query_params.get(name):
            given[name] = read_json(text.encode("utf-8", "surrogatepass"))
    return request_of(given)
