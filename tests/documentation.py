"""Reads the documentation, for the tests that run it and compare it with the code.

What must differ at each run (ids, times, cursors) is compared by its form. The same value shown twice has to be the
same value twice, and where a later block uses a shown one, the real one is sent.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphql import build_schema

from tests.servers import REPOSITORY

README = REPOSITORY / "README.md"
PLAYGROUND = REPOSITORY / "playground.md"
CONTRIBUTING = REPOSITORY / "CONTRIBUTING.md"
SECURITY = REPOSITORY / "SECURITY.md"
PAGES = {page.stem: page for page in sorted((REPOSITORY / "docs").glob("*.md"))}
SCHEMA = build_schema((REPOSITORY / "schema.graphql").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Block:
    """A fenced block: its info string, its text, and the line of the file that it starts at."""

    info: str
    text: str
    place: str

    @property
    def file(self) -> str | None:
        """The name of the file that the block shows, such as `chat.js` of "js chat.js"."""
        _, _, name = self.info.partition(" ")
        return name if "." in name else None


def blocks_of(path: Path) -> list[Block]:
    found: list[Block] = []
    lines = path.read_text(encoding="utf-8").splitlines()
    start: int | None = None
    for number, line in enumerate(lines):
        if not line.lstrip().startswith(("```", "~~~")):
            continue
        if start is None:
            start = number
        else:
            assert line == "```", f"{path.name}:{number + 1} closes the block of line {start + 1} in another way"
            text = "\n".join(lines[start + 1 : number])
            found.append(Block(lines[start].removeprefix("```"), text, f"{path.name}:{start + 1}"))
            start = None
    assert start is None, f"{path.name}:{start} opens a block that is never closed"
    return found


def rows_of(path: Path, *header: str) -> list[list[str]]:
    """The rows of the table with this header; without header's own and the ruler's."""
    lines = path.read_text(encoding="utf-8").splitlines()
    start = lines.index(f"| {' | '.join(header)} |")
    rows: list[list[str]] = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def names_in(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z"
ID = r"[USMYDAV][A-Za-z0-9_-]{22}\d*"
CURSOR = r"[A-Za-z0-9_-]{8,}"
KEY = r"[0-9a-f]{32}"
FORMS = [
    (re.compile(r"(\w+At|validFrom|validUntil|supersededFrom)"), re.compile(TIME)),
    (re.compile(r"(id|ids|nodeId|deleted\w+Ids?)"), re.compile(ID)),
    (re.compile(r"(cursor|startCursor|endCursor)"), re.compile(CURSOR)),
    (re.compile(r"token"), re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")),
    (re.compile(r"(key|supersededBy|digest|documentKey)"), re.compile(KEY)),
]


@dataclass
class Shown:
    """The real values of this run by those that the documentation shows, and the text that it sent.

    `clears_files` tells if the database is one of which the documentation shows when its files were cleared.
    """

    real: dict[str, str] = field(default_factory=dict)
    sent: str = ""
    clears_files: bool = True

    def replaced(self, text: str) -> str:
        """A request with the real values in the place of shown ones; from now on its own values are exact."""
        for shown, real in self.real.items():
            text = text.replace(json.dumps(shown), json.dumps(real))
        self.sent += text
        return text

    def compare(self, shown: Any, real: Any, place: str, name: str = "") -> None:
        if name == "filesClearedAt" and not self.clears_files:
            shown = None
        if isinstance(shown, dict):
            assert isinstance(real, dict), f"{place}: {real!r} is no object"
            assert list(real) == list(shown), f"{place}: other fields"
            for key, value in shown.items():
                self.compare(value, real[key], f"{place}.{key}", key)
        elif isinstance(shown, list):
            assert isinstance(real, list), f"{place}: {real!r} is no list"
            assert len(real) == len(shown), f"{place}: {len(real)} items, not {len(shown)}: {real!r}"
            for index, (one, other) in enumerate(zip(shown, real, strict=True)):
                self.compare(one, other, f"{place}[{index}]", name)
        elif self.varies(name, shown) and isinstance(real, str):
            assert self.varies(name, real), f"{place}: {real!r} has another form than {shown!r}"
            assert self.real.setdefault(shown, real) == real, f"{place}: {shown!r} was shown for {self.real[shown]!r}"
        else:
            assert (type(real), real) == (type(shown), shown), f"{place}: {real!r}, not {shown!r}"

    def varies(self, name: str, value: Any) -> bool:
        if not isinstance(value, str) or (json.dumps(value) in self.sent and value not in self.real.values()):
            return False
        return any(names.fullmatch(name) and form.fullmatch(value) for names, form in FORMS)


def values_of(text: str) -> list[Any]:
    """The JSON values of a text, one after the other."""
    decoder, values, position = json.JSONDecoder(), [], 0
    while text[position:].strip():
        position += len(text[position:]) - len(text[position:].lstrip())
        value, position = decoder.raw_decode(text, position)
        values.append(value)
    return values
