"""Addresses of the API: with a slash behind it, from the root, and below the path of a proxy."""

import contextlib
import http.server
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import urllib.response
from collections.abc import Generator
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from pydantic import ValidationError

from recallql.app import path_below
from recallql.settings import Settings
from tests.commands import environment
from tests.places import Place
from tests.servers import START_SECONDS, Process, Serve, Server, free_port
from tests.wire import Connection, body, found, request

pytestmark = pytest.mark.once

KEY = "a-key-of-this-test-only"
BEARER = {"authorization": f"Bearer {KEY}"}
VIEWER = {"query": "{ viewer { role } }"}
ANSWER = {"data": {"viewer": {"role": "SERVICE"}}}
HTML = {"accept": "text/html,*/*;q=0.8"}


# Without a proxy


def test_a_slash_behind_makes_no_difference(server: Server) -> None:
    with httpx.Client(trust_env=False, follow_redirects=False) as client:
        for path in ("/graphql", "/graphql/"):
            for _ in range(2):
                assert client.post(server.base + path, json=VIEWER).json() == ANSWER
            assert client.get(server.base + path, params=VIEWER).json() == ANSWER
            assert client.put(server.base + path).status_code == 405
            mutation = {"query": 'mutation { upsertUser(input: {userId: "ada"}) { created } }'}
            assert client.post(server.base + path, json=mutation).status_code == 200
            page = client.get(server.base + path, headers=HTML)
            assert page.status_code == 200
            assert_loads(client, page)


def test_a_slash_behind_is_taken_on_the_short_way_too(process: Process) -> None:
    with Connection(process.port) as connection:
        for number in (1, 2, 3):
            assert found(connection.ask(request(body(number), target="/graphql/")), number)
            assert found(connection.ask(request(body(number))), number)
            assert connection.ask(request(body(number), target="/graphql//")).status == 404


def test_the_root_names_the_endpoint(server: Server) -> None:
    told = server.client.get(f"{server.base}/")
    assert told.status_code == 200
    assert told.json()["graphql"] == "/graphql"
    page = server.client.get(f"{server.base}/", headers=HTML)
    assert page.headers["content-type"].startswith("text/html")
    assert 'href="graphql"' in page.text
    for answer in (told, page):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "accept" in answer.headers["vary"]
    posted = server.client.post(f"{server.base}/", json=VIEWER)
    assert posted.status_code == 405
    assert "GET" in posted.headers["allow"]
    assert server.client.head(f"{server.base}/").status_code == 200


def assert_loads(client: httpx.Client, page: httpx.Response) -> None:
    """The files that a page names are found where a browser looks for them."""
    for file in re.findall(r'(?:src|href)="([^"]*playground/[^"]+)"', page.text):
        assert client.get(page.url.join(file)).status_code == 200, file


# Behind a proxy


class Proxy(http.server.BaseHTTPRequestHandler):
    """Serves another server below a path of its own."""

    target: ClassVar[str]
    prefix: ClassVar[str]
    strips: ClassVar[bool]
    protocol_version = "HTTP/1.0"

    def do_POST(self) -> None:
        path = self.path
        if not path.startswith(self.prefix):
            self.send_error(404)
            return
        if self.strips:
            path = path.removeprefix(self.prefix) or "/"
        length = int(self.headers.get("content-length", 0))
        passed = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        passed["X-Forwarded-For"] = "192.0.2.60"
        asked = urllib.request.Request(
            self.target + path, self.rfile.read(length) if length else None, passed, method=self.command
        )
        with contextlib.closing(_open(asked)) as answer:
            self.send_response(answer.status or 502)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.read())

    do_GET = do_POST
    do_OPTIONS = do_POST

    def log_message(self, format: str, *args: Any) -> None:
        pass


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> None:
        return None


def _open(asked: urllib.request.Request) -> urllib.response.addinfourl:
    try:
        return urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirect).open(asked, timeout=20)
    except urllib.error.HTTPError as error:
        return error


@contextlib.contextmanager
def proxy(target: str, prefix: str, *, strips: bool) -> Generator[str]:
    handler = type("Handler", (Proxy,), {"target": target, "prefix": prefix, "strips": strips})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}{prefix}"
        listening.shutdown()
        thread.join(10)


@contextlib.contextmanager
def stock_uvicorn(place: Place, folder: Path, *arguments: str) -> Generator[str]:
    """The application under uvicorn's own command."""
    port = free_port()
    settings = {"DATABASE_URL": place.url, "API_KEY": KEY, "EMBEDDINGS": "off"}
    application = ["recallql.app:from_environment", "--factory", "--port", str(port), "--no-access-log"]
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", *application, *arguments],
        cwd=folder,
        env=environment(**{f"RECALLQL_{name}": value for name, value in settings.items()}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        base = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + START_SECONDS
        with httpx.Client(trust_env=False) as client:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if client.get(f"{base}/health").status_code == 200:
                        break
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield base
    finally:
        process.terminate()
        process.wait(20)


def assert_served(base: str) -> None:
    """Everything is found below an address, in the way that browsers and clients look for it."""
    with httpx.Client(trust_env=False, follow_redirects=False) as client:
        for path in ("/graphql", "/graphql/"):
            answer = client.post(base + path, json=VIEWER, headers=BEARER)
            assert (answer.status_code, answer.json()) == (200, ANSWER)
            assert client.post(base + path, json=VIEWER).status_code == 401
            assert client.get(base + path, params=VIEWER, headers=BEARER).json() == ANSWER
            page = client.get(base + path, headers=HTML)
            assert page.status_code == 200
            assert "<html" in page.text
            assert_loads(client, page)
        for path in ("/health", "/ready"):
            assert client.get(base + path).status_code == 200
        assert client.get(f"{base}/nowhere").status_code == 404
        root = client.get(f"{base}/", headers=HTML)
        (link,) = re.findall(r'href="([^"]+)"', root.text)
        assert client.post(root.url.join(link), json=VIEWER, headers=BEARER).json() == ANSWER


def test_a_proxy_that_strips_its_path_needs_no_setting(serve: Serve) -> None:
    server = serve(env={"RECALLQL_API_KEY": KEY})
    with proxy(server.base, "/apps/memory", strips=True) as base:
        assert_served(base)


def test_with_a_root_path_a_proxy_may_strip_its_path_or_not(serve: Serve) -> None:
    server = serve(env={"RECALLQL_API_KEY": KEY, "RECALLQL_ROOT_PATH": "/apps/memory"})
    assert_served(server.base)
    for strips in (True, False):
        with proxy(server.base, "/apps/memory", strips=strips) as base:
            assert_served(base)
            assert httpx.get(f"{base}/", trust_env=False).json()["graphql"] == "/apps/memory/graphql"


def test_stock_uvicorn_with_a_root_path_serves_behind_both_kinds_of_proxies(place: Place, tmp_path: Path) -> None:
    with stock_uvicorn(place, tmp_path, "--root-path", "/x") as server:
        assert_served(server)
        for strips in (True, False):
            with proxy(server, "/x", strips=strips) as base:
                assert_served(base)


def test_a_root_path_may_look_like_one_of_the_servers_own(serve: Serve) -> None:
    server = serve(env={"RECALLQL_API_KEY": KEY, "RECALLQL_ROOT_PATH": "/graphql"})
    with proxy(server.base, "/graphql", strips=False) as base:
        assert_served(base)


PATHS = [
    ("", "/graphql", "/graphql"),
    ("", "//graphql", "//graphql"),
    ("/x", "/x/graphql", "/graphql"),
    ("/x", "/x/x/graphql", "/graphql"),
    ("/x", "/x/x/x/graphql", "/x/graphql"),
    ("/x", "/graphql", "/graphql"),
    ("/x", "/xy/graphql", "/xy/graphql"),
    ("/x", "/x", "/"),
    ("/x", "/x/", "/"),
    ("/x", "/x/x", "/"),
    ("/x/", "/x//graphql", "/graphql"),
    ("/x/", "/x//x/graphql", "/graphql"),
    ("/x/y", "/x/y/x/y/health", "/health"),
]


@pytest.mark.parametrize(("root", "path", "below"), PATHS)
def test_the_path_below_that_of_a_proxy_is_found(root: str, path: str, below: str) -> None:
    assert path_below(root, path) == below


@pytest.mark.parametrize("path", ["x", "/", "/x/", "/x//y", "//x", "/x?y", "/x y", "https://example.org/x", "/x\n"])
def test_a_root_path_of_another_form_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="root_path"):
        Settings(root_path=path)
