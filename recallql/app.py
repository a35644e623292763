"""The ASGI application: opens the database, serves the endpoint, and runs the background work."""

import asyncio
import gc
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Message, Receive, Scope, Send

from breadth import Executor
from models.errors import DataError
from models.store import Store, database_at
from recallql import __version__
from recallql.allocator import return_large_blocks
from recallql.auth.credentials import Credentials
from recallql.background.indexing import encoding_status, index_status, keep_encoded, keep_indexed, newest_texts
from recallql.background.timekeeping import Timekeeper
from recallql.embedding.embeddings import Embeddings
from recallql.errors import describe
from recallql.http.endpoint import Endpoint, send_reply
from recallql.http.playground import playground_assets
from recallql.http.sites import SECURITY, is_preflight
from recallql.live.socket import Sockets
from recallql.logs import configure_logs, log_failure
from recallql.mcp.endpoint import McpEndpoint
from recallql.mcp.metadata import ResourceMetadata
from recallql.settings import Settings
from resolvers.formation.rules import prepare
from resolvers.live import Live
from resolvers.operation_context import OperationContext
from resolvers.purge import purge_deleted
from resolvers.times import Clock, ago
from schema.root import schema
from schema.scalars import WRITTEN

log = structlog.get_logger("recallql.app")

ENDPOINT, MCP = ("/graphql", "/graphql/"), ("/mcp", "/mcp/")

INDEX = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>RecallQL</title>
<p>RecallQL serves its API, with a playground, at <a href="{link}">{link}</a>.</p>
</html>
"""

PURGE_AFTER, PURGE_EVERY = 60.0, 3600.0
"""Seconds from the start to the first purge, so that requests come first, and from one purge to the next."""


class Application(Starlette):
    """Starlette, with the GraphQL endpoint, which has to be fast, in front of its routing."""

    endpoint: Endpoint
    sockets: Sockets
    mcp: McpEndpoint
    problem: str | None = None
    """The application can't start; the message tells the operator why."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await super().__call__(scope, receive, self._saying_problems(send))
            return
        scope["path"] = path = path_below(scope.get("root_path", ""), scope["path"])
        if scope["type"] == "websocket":
            await (self.sockets if path in ENDPOINT else super().__call__)(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if path in ENDPOINT:
            await self.endpoint(scope, receive, send)
        elif is_preflight(scope["method"], headers):
            await send_reply(send, self.endpoint.preflight(headers))
        elif path in MCP:
            await self.mcp(scope, receive, send)
        else:
            scope["path"] = scope.get("root_path", "") + path
            await super().__call__(scope, receive, self._telling_browsers(headers, send))

    def _saying_problems(self, send: Send) -> Send:
        """Makes the server log one line, not a stack trace, when the application can't start."""

        async def said(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed" and self.problem is not None:
                message["message"] = self.problem
            await send(message)

        return said

    def _telling_browsers(self, headers: Mapping[bytes, bytes], send: Send) -> Send:
        """Adds the security headers to the answers of all routes other than the endpoint."""
        origin = headers[b"origin"].decode("latin-1") if b"origin" in headers else None

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = dict(message["headers"])
                vary = said.pop(b"vary", None)
                named = self.endpoint.sites.headers(origin, *([vary] if vary else []))
                message["headers"] = [*said.items(), *(new for new in SECURITY if new[0] not in said), *named]
            await send(message)

        return told


def path_below(root: str, path: str) -> str:
    """The path of a request below the proxy's root path, whether or not the proxy strips that path.

    Servers prepend it to every path, so an unstripped one appears twice.
    """
    for prefix in (root, root.rstrip("/")):
        below = path.removeprefix(prefix)
        if below[:1] in ("", "/"):
            path = below
    return path or "/"


def create_app(settings: Settings) -> Application:
    """The application for these settings. Its lifespan migrates and opens the database."""

    @asynccontextmanager
    async def lifespan(app: Application) -> AsyncGenerator[None]:
        try:
            named = database_at(settings.database_url)
            database = await named.open(
                prepares=True,
                durable=settings.synchronous == "full",
                slow_readers=settings.slow_readers,
                connections=settings.database_connections,
                replica_url=settings.read_database_url,
                direct_url=settings.direct_database_url,
            )
        except DataError as error:
            app.problem = str(error)
            raise
        clock = Clock()
        executor = Executor(
            schema,
            describe,
            limits=settings.limits,
            plan_bytes=settings.plan_cache_bytes,
            introspection=settings.introspection,
            written=WRITTEN if database.writes_json else (),
        )
        app.state.database = database
        credentials = Credentials(database, settings)
        app.state.embeddings = embeddings = Embeddings(settings)
        app.state.live = live = Live(database)
        app.endpoint = Endpoint(database, executor, clock, credentials, embeddings, live, settings)
        app.sockets = Sockets(app.endpoint, settings)
        app.mcp = McpEndpoint(app.endpoint, settings)
        embeddings.start()
        background: list[asyncio.Task[None]] = []
        app.state.forming = None
        try:
            # One after the other and before the first request: they share a connection to the database.
            timekeeper = Timekeeper(database, clock)
            await timekeeper.look()
            tasks = [
                keep_indexed(database, await newest_texts(database)),
                timekeeper.keep_looking(),
                keep_encoded(database, embeddings),
                database.keep_checked(),
                _purge_on(database, clock, settings),
                asyncio.to_thread(prepare),
            ]
            background += map(asyncio.create_task, tasks)
            if settings.chat_base_url:
                # Its HTTP client is installed on demand.
                from recallql.background.forming import Forming

                app.state.forming = forming = Forming(database, clock, settings)
                background.append(asyncio.create_task(forming.run()))
            yield
        except DataError as error:
            app.problem = str(error)
            raise
        finally:
            for task in background:
                task.cancel()
            # A task that has ended with an error must not keep the database open.
            for ended in await asyncio.gather(*background, return_exceptions=True):
                if isinstance(ended, Exception):
                    log.error("a background task has failed", exc_info=ended)
            await app.mcp.close()
            await app.endpoint.long_connections.close()
            await app.endpoint.subscriptions.shared.close()
            await live.close()
            await embeddings.close()
            await credentials.close()
            await database.close()

    routes: list[BaseRoute] = [Route("/", _index), Route("/health", _health), Route("/ready", _ready)]
    routes += [Route(path, _resource_metadata) for path in ResourceMetadata(settings).paths]
    if settings.playground:
        routes.append(playground_assets(settings.compression_level))
    return Application(routes=routes, lifespan=lifespan)


def from_environment() -> Application:
    """The application of a worker process: its settings come from the environment."""
    settings = Settings()
    configure_logs(settings)
    return_large_blocks()
    app = create_app(settings)
    # What is loaded by now stays; answers are many small objects without cycles, so frequent collections gain nothing.
    # A full collection stops the process for up to a second where many documents are kept.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 5, 40)
    # The event loop waits no longer than this for a thread that computes.
    sys.setswitchinterval(0.001)
    return app


async def _index(request: Request) -> Response:
    """Returns where the API is."""
    root = request.scope.get("root_path", "")
    if "text/html" in request.headers.get("accept", ""):
        # Behind a proxy that sends no root path only the browser knows the full address, so the link is relative.
        link = f"{root}/graphql" if root else "graphql"
        return HTMLResponse(INDEX.format(link=link), headers={"vary": "accept"})
    index = {"name": "RecallQL", "version": __version__, "graphql": f"{root}/graphql"}
    return JSONResponse(index, headers={"vary": "accept"})


async def _health(_: Request) -> Response:
    """Answers 200 as long as the process runs."""
    return JSONResponse({"status": "ok", "version": __version__})


async def _resource_metadata(request: Request) -> Response:
    """Tells OAuth clients where tokens for `/mcp` come from."""
    metadata = request.app.mcp.metadata.document(request.headers.raw)
    return JSONResponse(metadata) if metadata else JSONResponse({"error": "The header `Host` names no host."}, 400)


async def _ready(request: Request) -> Response:
    """Tells whether the database takes a durable write, and reports on the index, models and erasures."""
    state = request.app.state
    try:
        await state.database.check()
        index = await index_status(state.database)
        models = {"embeddings": await encoding_status(state.database, state.embeddings)}
        erasures = await state.database.clearing.status()
    except DataError as error:
        return JSONResponse({"status": "unavailable", "reason": str(error)}, 503)
    if state.forming is not None:
        models["chat"] = state.forming.status()
    ready = {"status": "ready", "version": __version__, "index": index, "models": models, "erasures": erasures}
    return JSONResponse(ready)


async def _purge_on(database: Store, clock: Clock, settings: Settings) -> None:
    """Purges what was soft-deleted long enough ago, and the backups that migrations left."""
    await asyncio.sleep(PURGE_AFTER)
    while True:
        try:
            counted = await purge_deleted(
                OperationContext(database, clock), {"deleted_before": ago(settings.purge_after)}
            )
            if any(counted.values()):
                log.info("purged", **counted)
            for name in await database.remove_backups(older_than=settings.purge_after.total_seconds()):
                log.info("removed a migration's backup", file=name)
        except Exception:
            log_failure(log, "the purge failed; it will be tried again")
        await asyncio.sleep(PURGE_EVERY)
