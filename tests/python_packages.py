"""Folders with a requirements.txt: the tests install its packages in an environment there when they first need them."""

import fcntl
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

LONGEST_SECONDS = 300


def install(folder: Path) -> Path:
    """Returns the folder of the environment's programs; where it can't be made, the test is skipped."""
    wanted = (folder / "requirements.txt").read_text()
    environment = folder / ".venv"
    programs, stamp = environment / "bin", environment / "installed"
    # Tests of several processes may come here at once.
    with (folder / "requirements.txt").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.is_file() and stamp.read_text() == wanted:
            return programs
        venv.create(environment, clear=True, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", programs / "python", "install", "--quiet"]
        try:
            subprocess.run(
                [*pip, "--requirement", "requirements.txt"],
                cwd=folder,
                check=True,
                capture_output=True,
                timeout=LONGEST_SECONDS,
            )
        except (OSError, subprocess.SubprocessError) as error:
            if os.environ.get("REQUIRE_AUDITS"):
                raise
            pytest.skip(f"The packages of {folder.name} could not be installed: {error}")
        stamp.write_text(wanted)
        return programs
