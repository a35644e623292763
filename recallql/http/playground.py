"""The GraphiQL page for browsers at /graphql, and its files below /playground.

The page is built from playground/ into `_playground/` by hatch_build.py. Nothing of it comes from another origin; the
policy below makes the browser enforce that.
"""

import asyncio
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from recallql.http.encodings import compress, compress_from

BUILT = Path(__file__).parents[1] / "_playground"

# Monaco and GraphiQL set styles from JavaScript and carry fonts and icons as data: addresses. Scripts are files only.
PAGE_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "connect-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "font-src 'self' data:",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
PAGE_HEADERS = {
    "content-security-policy": PAGE_POLICY,
    "cache-control": "no-cache",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "vary": "accept",
    "x-content-type-options": "nosniff",
}

NOT_BUILT = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>RecallQL playground</title>
<link rel="icon" href="data:,">
<style>body { margin: 3rem auto; max-width: 40rem; padding: 0 1rem; font: 1rem/1.6 system-ui, sans-serif }</style>
<h1>The playground is not built</h1>
<p>The API itself works: send POST requests to this address.</p>
<p>It is made from npm packages when RecallQL is installed, and they could not be downloaded then. Once the npm registry
can be reached, run <code>make playground</code> in the checkout, or reinstall RecallQL, and reload this page.</p>
</html>
"""


def playground_page(*, up: str = "") -> Response:
    """Returns the page that a browser gets at /graphql; `up` is the relative path from there to the root."""
    page = BUILT / "index.html"
    text = page.read_text(encoding="utf-8") if page.is_file() else NOT_BUILT
    return HTMLResponse(text.replace('="playground/', f'="{up}playground/'), headers=PAGE_HEADERS)


def playground_assets(level: int) -> Mount:
    """The files that the page loads, compressed at this level for browsers that accept it."""
    return Mount("/playground", app=HashedFiles(BUILT / "assets", level), name="playground")


class HashedFiles(StaticFiles):
    """Files whose names carry a hash of their content, so that a browser need never ask for one again."""

    def __init__(self, directory: Path, level: int) -> None:
        super().__init__(directory=directory, check_dir=False)
        self._level = level
        self._compressed: dict[Path, bytes] = {}
        """Files that are compressed in advance: together they have two megabytes."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if self._level and isinstance(response, FileResponse):
            response = await self._encoded(response, Headers(scope=scope).get("accept-encoding", ""))
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        response.headers["x-content-type-options"] = "nosniff"
        return response

    async def _encoded(self, response: FileResponse, accepted: str) -> Response:
        response.headers["vary"] = "accept-encoding"
        if int(response.headers["content-length"]) < compress_from(accepted):
            return response
        file = Path(response.path)
        if file not in self._compressed:
            self._compressed[file] = await asyncio.to_thread(lambda: compress(file.read_bytes(), self._level))
        headers = {"vary": "accept-encoding", "content-encoding": "gzip"}
        return Response(self._compressed[file], headers=headers, media_type=response.media_type)
