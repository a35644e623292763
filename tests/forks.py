"""Processes of the command that start at once: copies of one that has imported everything.

Starting Python and importing RecallQL takes more than a second of processor time, and the tests start some hundred
processes. A `Fork` has the interface of `subprocess.Popen`. It asks a process that waits with everything imported, the
template, for a copy of itself. The copy becomes `python -m recallql …` with its own arguments, folder, environment and
files, and ends as any Python does, but for freeing its memory. Tests of memory, of the package and of the
README start Python itself.
"""

import atexit
import contextlib
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import IO, Any, ClassVar, TextIO

from models.revisions import revisions
from resolvers.formation.rules import prepare

REPOSITORY = Path(__file__).resolve().parent.parent
LONGEST_REQUEST = 1024 * 1024
NUMBER = 4
"""The bytes of a pid or a status."""


def environment(**more: str) -> dict[str, str]:
    """The environment without the settings of the person who runs the tests."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RECALLQL_")}
    return inherited | {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"} | more


class Template:
    """The process that makes the copies; a run of the tests has one, and so has each worker of pytest-xdist."""

    running: ClassVar["Template | None"] = None

    def __init__(self) -> None:
        self.requests, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.forks", str(theirs.fileno())],
                cwd=REPOSITORY,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # An interrupt at the keyboard is for the tests, which then end what they have started.
                start_new_session=True,
            )

    @classmethod
    def get(cls) -> "Template":
        cls.running = cls.running or Template()
        return cls.running

    def close(self) -> None:
        self.requests.close()
        self._process.wait()
        Template.running = None


class Fork:
    """`python -m recallql` with these arguments, as a copy of the template. Its files are real ones, or pipes."""

    def __init__(
        self, arguments: list[str], *, cwd: Path, env: dict[str, str], stdin: IO[Any], stdout: IO[Any], stderr: IO[Any]
    ) -> None:
        self.returncode: int | None = None
        self._told, told = socket.socketpair()
        request = json.dumps({"arguments": arguments, "cwd": str(cwd), "env": env}).encode()
        with told:
            files = [stdin.fileno(), stdout.fileno(), stderr.fileno(), told.fileno()]
            socket.send_fds(Template.get().requests, [request], files)
        self.pid = self._next_number()

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(timeout=0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._told.settimeout(timeout)
            try:
                self.returncode = self._next_number()
            except (BlockingIOError, TimeoutError):
                raise subprocess.TimeoutExpired("recallql", timeout or 0) from None
            self._told.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _next_number(self) -> int:
        told = self._told.recv(NUMBER)
        assert told, "The template has ended; see the captured output."
        return int.from_bytes(told, "big", signed=True)


def _commands() -> list[str]:
    """The modules of the commands, each of which is imported by the command that needs it."""
    return [f"recallql.commands.{found.name}" for found in iter_modules([str(REPOSITORY / "recallql" / "commands")])]


def serve_copies(asked: socket.socket) -> None:
    """The template: a copy for each request, until the tests have ended. Returns in the copies only."""
    engines = ("models.sqlite.engine", "models.postgres.engine")
    for name in (
        "recallql.app",
        "recallql.serving",
        "recallql.mcp.stdio",
        "recallql.mcp.transport",
        *engines,
        *_commands(),
    ):
        import_module(name)
    prepare()
    revisions()
    gc.collect()
    gc.freeze()
    while True:
        request, files, _, _ = socket.recv_fds(asked, LONGEST_REQUEST, 4)
        # Those who have watched a copy to its end.
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not request:
            os._exit(0)
        if os.fork() == 0:
            asked.close()
            return _watch_copy(json.loads(request), files)
        for each in files:
            os.close(each)


def _watch_copy(request: dict[str, Any], files: list[int]) -> None:
    """Makes the copy, and tells its pid and its status; a process can be waited for by its parent only."""
    *standard, told = files
    pid = os.fork()
    if pid == 0:
        os.close(told)
        return _become(request, standard)
    for each in standard:
        os.close(each)
    os.write(told, pid.to_bytes(NUMBER, "big"))
    _, status = os.waitpid(pid, 0)
    # The tests may have ended before it.
    with contextlib.suppress(BrokenPipeError):
        os.write(told, os.waitstatus_to_exitcode(status).to_bytes(NUMBER, "big", signed=True))
    os._exit(0)


def _become(request: dict[str, Any], files: list[int]) -> None:
    """Makes this process the one that was asked for."""
    for number, each in enumerate(files):
        os.dup2(each, number)
        os.close(each)
    sys.stdin, sys.stdout, sys.stderr = _opened(0, sys.stdin), _opened(1, sys.stdout), _opened(2, sys.stderr)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.path[0] = request["cwd"]
    sys.argv = ["recallql", *request["arguments"]]
    status = 0
    try:
        runpy.run_module("recallql", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        status = end.code or 0
    _end(status)


def _end(status: int) -> None:
    """Ends as Python does, but for freeing its objects one by one, which takes longer than most commands."""
    # No public function waits for the threads as the end of a process does.
    vars(threading)["_shutdown"]()
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        # Python meets it again, and says so.
        return
    os._exit(status)


def _opened(number: int, before: TextIO) -> TextIO:
    mode = "r" if number == 0 else "w"
    return open(number, mode, encoding=before.encoding, errors=before.errors, buffering=1, closefd=False)


if __name__ == "__main__":
    serve_copies(socket.socket(fileno=int(sys.argv[1])))
