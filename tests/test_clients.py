"""The programs in docs/live.md: real clients that are cut off, and go on where they were."""

import json
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
from tests.documents import ADD_MESSAGES, CREATE_MEMORY, DELETE_MEMORY
from tests.programs import KEY, BackEnd, Program, Stage, programs_of
from tests.servers import Api, Serve, Start, wait_until

pytestmark = pytest.mark.once

FOLLOWERS = {
    "graphql-ws.js": "graphql-ws",
    "apollo.js": "apollo",
    "urql.js": "urql",
    "graphql-sse.js": "graphql-sse",
    "follow.py": None,
}
LISTS = {"memories.js": "graphql-ws"}
PROGRAMS = FOLLOWERS | LISTS
"""The programs of the page, with their environments of npm packages."""

TOKEN_SECONDS = 2


class Application(BackEnd):
    """A back end that adds messages all the time."""

    def __init__(self, server: Api) -> None:
        self.added = 0
        super().__init__(server, TOKEN_SECONDS)
        self._is_stopped = threading.Event()
        self._adding = threading.Thread(target=self._add)
        self._adding.start()

    def stop_adding(self) -> None:
        self._is_stopped.set()
        self._adding.join()

    def close(self) -> None:
        self.stop_adding()
        super().close()

    def _add(self) -> None:
        while not self._is_stopped.wait(0.02):
            text = f"message {self.added + 1}"
            message = {"messageId": text, "role": "USER", "content": text}
            try:
                self.accepted(ADD_MESSAGES, sessionId="chat-1", userId="ada", messages=[message])
            except httpx.TransportError:
                continue  # sent again, under the same messageId
            self.added += 1


class Running:
    """A program of the page beside the application that it follows."""

    def __init__(self, server: Api, folder: Path, name: str, held: ExitStack) -> None:
        self.application = held.enter_context(closing(Application(server)))
        stage = Stage(server, self.application, folder, held)
        if packages := PROGRAMS[name]:
            stage.install(packages)
        self.relay = stage.relay
        self.program = stage.run(name)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[[Api, str], Running]]:
    with ExitStack() as held:
        yield lambda server, name: Running(server, tmp_path / "client", name, held)


def assert_complete(program: Program, application: Application) -> None:
    """Ends the messages: the program has printed each of them once, in order."""
    application.stop_adding()
    program.wait_for(application.added)
    assert program.lines() == [f"{number} message {number}" for number in range(1, application.added + 1)]


@pytest.mark.parametrize("name", FOLLOWERS)
def test_a_client_that_is_cut_off_misses_no_message_and_gets_none_twice(
    name: str, serve: Serve, run: Callable[[Api, str], Running]
) -> None:
    served = serve(env={"RECALLQL_API_KEY": KEY})
    running = run(served, name)
    application, program = running.application, running.program
    # The first token expires.
    wait_until(lambda: program.lines() and application.tokens >= 2)
    program.wait_for(application.added + 2)

    served.process.kill()
    time.sleep(0.2)
    serve(place=served.place, port=served.port, env={"RECALLQL_API_KEY": KEY})
    program.wait_for(application.added + 2)

    # There is no token at first when it connects again.
    application.is_away = True
    running.relay.cut()
    wait_until(lambda: application.failures)
    application.is_away = False
    program.wait_for(application.added + 2)
    assert_complete(program, application)


@pytest.mark.parametrize("name", FOLLOWERS)
def test_a_client_goes_on_after_errors_that_pass(
    name: str, start: Start, run: Callable[[Api, str], Running], monkeypatch: pytest.MonkeyPatch
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
    running = run(start(api_key=KEY), name)
    running.program.wait_for(running.application.added + 5)
    assert_complete(running.program, running.application)
    assert next(events, None) is None


@pytest.mark.parametrize("name", LISTS)
def test_a_list_has_what_was_changed_while_its_client_was_away(
    name: str, start: Start, run: Callable[[Api, str], Running]
) -> None:
    def is_shown(*contents: str) -> bool:
        return program.lines()[-1:] == [json.dumps(contents, separators=(",", ":"))]

    def created(content: str) -> str:
        return application.accepted(CREATE_MEMORY, userId="ada", kind="FACT", content=content)["memory"]["id"]

    server = start(api_key=KEY)
    running = run(server, name)
    application, relay, program = running.application, running.relay, running.program
    application.stop_adding()
    first = created("first")
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
    assert sorted(PROGRAMS) == sorted(programs_of("live"))
