"""The command as a program of a shell that starts at once: a copy of the template (`forks.py`) does what is asked."""

import json
import os
import shutil
import socket
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from tempfile import mkdtemp

from tests.forks import LONGEST_REQUEST, NUMBER, Fork

PROGRAM = """
import json, os, socket, sys
request = {{"arguments": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ)}}
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect({address!r})
    socket.send_fds(asked, [json.dumps(request).encode()], [0, 1, 2])
    sys.exit(int.from_bytes(asked.recv({number}), "big"))
"""


class ShellProgram:
    """A program that has the arguments, folder, environment, files and status of `python -m recallql`."""

    def __init__(self) -> None:
        # The name of a socket is short.
        self._folder = Path(mkdtemp(prefix="recallql-"))
        address, program = self._folder / "socket", self._folder / "program.py"
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(address))
        self._listening.listen()
        program.write_text(PROGRAM.format(address=str(address), number=NUMBER))
        # Without modules of the environment, which take most of the start of Python.
        self.command = f"{sys.executable} -IS {program}"
        threading.Thread(target=self._listen, name="shell-program", daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                asked, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=_carry_out, args=(asked,), daemon=True).start()

    def close(self) -> None:
        # To close it alone does not end the wait for another connection.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        shutil.rmtree(self._folder)


def _carry_out(asked: socket.socket) -> None:
    with asked, ExitStack() as opened:
        data, files, _, _ = socket.recv_fds(asked, LONGEST_REQUEST, 3)
        request = json.loads(data)
        stdin, stdout, stderr = (opened.enter_context(os.fdopen(each, "rb")) for each in files)
        process = Fork(
            request["arguments"],
            cwd=Path(request["cwd"]),
            env=request["env"],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )
        opened.close()
        status = process.wait()
        # As a shell says that a signal has ended it.
        asked.sendall((status if status >= 0 else 128 - status).to_bytes(NUMBER, "big"))
