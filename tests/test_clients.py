"""The programs in docs/live.md: real clients that are cut off, and go on where they were."""

import http.server
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.errors import Unavailable
from models.sessions import session_by_key
from recallql.live.subscriptions import EventFailed, StartedSubscription
from tests import npm
from tests.documentation import PAGES, blocks_of
from tests.documents import ADD_MESSAGES, CREATE_MEMORY, CREATE_USER, DELETE_MEMORY, ISSUE_USER_TOKEN
from tests.reader import ADDRESS, BACK_END, NODE
from tests.relay import Relay
from tests.servers import REPOSITORY, Api, Serve, Start, wait_until

pytestmark = pytest.mark.once

CLIENTS = REPOSITORY / "tests" / "clients"
FILES = {block.file: block.text for page in PAGES.values() for block in blocks_of(page) if block.file is not None}
PROGRAMS = [name for name, text in FILES.items() if not re.search(r"^export ", text, re.MULTILINE)]
"""The files that no other one imports."""

FOLLOWERS = [name for name in PROGRAMS if "messageAdded" in FILES[name]]
LISTS = [name for name in PROGRAMS if "memoryChanged" in FILES[name]]

KEY = "a-key-of-this-test-only"
TOKEN_SECONDS = 2


class Application:
    """The back end of a page: it adds messages all the time, and hands out tokens that soon expire."""

    def __init__(self, server: Api) -> None:
        self.added = 0
        self.tokens = 0
        self._url = server.url
        self._client = httpx.Client(trust_env=False, verify=False)
        self._is_stopped = threading.Event()
        application = self

        class Tokens(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                try:
                    issued = application.accepted(ISSUE_USER_TOKEN, userId="ada", expiresInSeconds=TOKEN_SECONDS)
                except httpx.TransportError:
                    self.send_error(502)
                    return
                application.tokens += 1
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(issued).encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tokens)
        self.port = self._http.server_port
        self.accepted(CREATE_USER, userId="ada")
        self._threads = [threading.Thread(target=self._http.serve_forever), threading.Thread(target=self._add)]
        for thread in self._threads:
            thread.start()

    def accepted(self, mutation: str, **fields: Any) -> dict[str, Any]:
        body = {"query": mutation, "variables": {"input": fields}}
        headers = {"authorization": f"Bearer {KEY}"}
        (payload,) = self._client.post(self._url, json=body, headers=headers).json()["data"].values()
        assert payload["userErrors"] == []
        return payload

    def stop_adding(self) -> None:
        self._is_stopped.set()
        self._threads[1].join()

    def close(self) -> None:
        self.stop_adding()
        self._http.shutdown()
        self._http.server_close()
        self._client.close()

    def _add(self) -> None:
        while not self._is_stopped.wait(0.02):
            text = f"message {self.added + 1}"
            message = {"messageId": text, "role": "USER", "content": text}
            try:
                self.accepted(ADD_MESSAGES, sessionId="chat-1", userId="ada", messages=[message])
            except httpx.TransportError:
                continue  # sent again, under the same messageId
            self.added += 1


class Program:
    """A program of the page, in a process of its own."""

    def __init__(self, name: str, folder: Path, port: int, back_end: int) -> None:
        for file, text in FILES.items():
            text = ADDRESS.sub(f"127.0.0.1:{port}", text).replace(f":{BACK_END}/", f":{back_end}/")
            (folder / file).write_text(text)
        (folder / "node_modules").symlink_to(CLIENTS / "node_modules")
        (folder / "package.json").write_text('{"type": "module"}')
        self._printed, self._errors = folder / "printed", folder / "errors"
        with self._printed.open("w") as printed, self._errors.open("w") as errors:
            command = [sys.executable if name.endswith(".py") else NODE, name]
            environment = os.environ | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
            self._process = subprocess.Popen(command, cwd=folder, env=environment, stdout=printed, stderr=errors)

    def lines(self) -> list[str]:
        """What it has printed so far."""
        assert self._process.poll() is None, f"The program has ended: {self._errors.read_text()}"
        return self._printed.read_text().splitlines()

    def wait_for(self, number: int) -> None:
        wait_until(lambda: len(self.lines()) >= number, f"only {self.lines()[-3:]}: {self._errors.read_text()}")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class Stage:
    """A server with an application, and a network to it that can break."""

    def __init__(self, server: Api, folder: Path, held: ExitStack) -> None:
        self.application = held.enter_context(closing(Application(server)))
        self.relay = held.enter_context(closing(Relay(server.port)))
        self._folder = folder
        self._held = held

    def run(self, name: str) -> Program:
        if name.endswith(".js"):
            npm.install(CLIENTS)
        self._folder.mkdir()
        return self._held.enter_context(closing(Program(name, self._folder, self.relay.port, self.application.port)))


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Callable[[Api], Stage]]:
    with ExitStack() as held:
        yield lambda server: Stage(server, tmp_path / "client", held)


def assert_complete(program: Program, application: Application) -> None:
    """Ends the messages: the program has printed each of them once, in order."""
    application.stop_adding()
    program.wait_for(application.added)
    assert program.lines() == [f"{number} message {number}" for number in range(1, application.added + 1)]


@pytest.mark.parametrize("name", FOLLOWERS)
def test_a_client_that_is_cut_off_misses_no_message_and_gets_none_twice(
    name: str, serve: Serve, stage: Callable[[Api], Stage]
) -> None:
    served = serve(env={"RECALLQL_API_KEY": KEY})
    staged = stage(served)
    application, program = staged.application, staged.run(name)
    # The first token expires.
    wait_until(lambda: program.lines() and application.tokens >= 2)
    program.wait_for(application.added + 2)

    served.process.kill()
    time.sleep(0.2)
    serve(place=served.place, port=served.port, env={"RECALLQL_API_KEY": KEY})
    program.wait_for(application.added + 2)

    staged.relay.cut()
    program.wait_for(application.added + 2)
    assert_complete(program, application)


@pytest.mark.parametrize("name", FOLLOWERS)
def test_a_client_goes_on_after_errors_that_pass(
    name: str, start: Start, stage: Callable[[Api], Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = StartedSubscription._answer
    begins, events = iter([True, False]), iter([False, False, True])

    async def session(*arguments: Any) -> Any:
        if next(begins, False):
            raise Unavailable("The database is away.")
        return await session_by_key(*arguments)

    async def answered(self: StartedSubscription, event: Any) -> bytes:
        if next(events, False):
            raise EventFailed([{"message": "It took too long.", "extensions": {"code": "TIMEOUT"}}])
        return await answer(self, event)

    monkeypatch.setattr("resolvers.subscriptions.session_by_key", session)
    monkeypatch.setattr(StartedSubscription, "_answer", answered)
    staged = stage(start(api_key=KEY))
    program = staged.run(name)
    program.wait_for(staged.application.added + 5)
    assert_complete(program, staged.application)
    assert next(events, None) is None


@pytest.mark.parametrize("name", LISTS)
def test_a_list_has_what_was_changed_while_its_client_was_away(
    name: str, start: Start, stage: Callable[[Api], Stage]
) -> None:
    def is_shown(*contents: str) -> bool:
        return program.lines()[-1:] == [json.dumps(contents, separators=(",", ":"))]

    def created(content: str) -> str:
        return application.accepted(CREATE_MEMORY, userId="ada", kind="FACT", content=content)["memory"]["id"]

    server = start(api_key=KEY)
    staged = stage(server)
    application, relay = staged.application, staged.relay
    application.stop_adding()
    first = created("first")
    program = staged.run(name)
    wait_until(lambda: is_shown("first"))

    relay.is_broken = True
    relay.cut()
    created("second")
    application.accepted(DELETE_MEMORY, id=first)
    relay.is_broken = False
    wait_until(lambda: is_shown("second"))

    async def miss() -> None:
        """Has the server miss changes, which ends the subscriptions."""
        assert server.host.endpoint is not None
        server.host.endpoint.operations._live._tell_all()

    server.host.wait_for(miss())
    third = created("third")
    wait_until(lambda: is_shown("second", "third"))
    application.accepted(DELETE_MEMORY, id=third)
    wait_until(lambda: is_shown("second"))


def test_each_program_of_the_page_is_run() -> None:
    assert sorted(FOLLOWERS + LISTS) == sorted(PROGRAMS)
    assert len(PROGRAMS) == 6
