"""A line of an import with its number, and what identifies a message that has no id of its own."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from models.keys import KEY_SIZE, key_of
from models.staging import LinePosition
from resolvers.archive.kinds import KINDS, Line
from resolvers.drafts import Draft, digest_of, draft_of
from resolvers.errors import Fault, Refused, refuse
from resolvers.inputs import camel
from resolvers.participants import documents_in

SOURCE_PROJECT = "default"
"""The project of lines that name none."""


class BadLine(Exception):
    """A line that can't be imported; nothing of it was kept."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number

    @classmethod
    def of(cls, number: int, refusal: Refused) -> "BadLine":
        # Rules for lines and those for messages may find the same.
        return cls(number, "; ".join(dict.fromkeys(_words(fault) for fault in refusal.faults)))


class Collision(BadLine):
    """A line that says something else than an object that is there, or than a line that came before."""


def _words(fault: Fault) -> str:
    return f"{'.'.join(fault.path)}: {fault.message}" if fault.path else fault.message


@dataclass(frozen=True, slots=True)
class Entry:
    """A line to add."""

    number: int
    line: Line


@dataclass(frozen=True, slots=True)
class ObjectEntry(Entry):
    """A line of anything but a message, and what is made of it before the transaction.

    `key` is that of a document or memory that the line itself identifies, or an export.
    """

    columns: dict[str, Any]
    documents: list[dict[str, Any]]
    key: bytes | None


@dataclass(frozen=True, slots=True)
class MessageEntry(Entry):
    """The line of a message, and the message made ready.

    `alike` counts the equal messages of a session up to this one, where they are identified by what they say and when.
    `activity` is what the session's own line gives as `lastActivityAt`.
    """

    draft: Draft
    alike: int = 0
    activity: str | None = None


def object_entry(number: int, line: Line, project: str) -> ObjectEntry:
    return ObjectEntry(number, line, KINDS[line["type"]].noun.new(line), documents_in(line), _key_of(line, project))


def _key_of(line: Line, project: str) -> bytes | None:
    """The key of a document or memory: without one of the client's or of an export, the line itself is its identity."""
    noun = line["type"]
    if noun not in ("document", "memory"):
        return None
    if "key" in line:
        return moved(line, project, noun, hex_of(line, "key"))
    if line.get("memory_id") or line.get("document_id"):
        return None
    said = {name: value for name, value in line.items() if name != "project"}
    return key_of(noun, project, json.dumps(said, sort_keys=True))


def moved(line: Line, project: str, noun: str, key: bytes) -> bytes:
    """The key of an exported object; another one in another project, since both may be in one database."""
    return key if source_project(line) == project else key_of(noun, project, key)


def source_project(line: Line) -> str:
    """The project that a line was exported from."""
    return line.get("project", SOURCE_PROJECT)


def position_of(line: Line, project: str) -> LinePosition:
    """Returns where a line stands in the order in which an import goes."""
    kind, session = line["type"], ""
    step, sequence, moment, own = 0, 0, line.get("created_at"), None
    if kind in ("session", "message"):
        session = line["session_id"]
    if kind == "message":
        sequence, own = line.get("sequence", 0), line.get("message_id")
        step = 1 if sequence else 2
    elif kind == "memory":
        # What it supersedes comes before.
        step = int("supersedes" in line)
    else:
        moment = None
    return LinePosition(project, KINDS[kind].rank, session, step, sequence, moment, own)


def draft_of_line(count_tokens: Callable[[str], int], line: Line) -> Draft:
    """Makes a message ready as a line has it; an export also gives its place and the digest of what was first sent."""
    draft = draft_of(count_tokens, line, forms_memories=line.get("form_memories", True))
    columns = draft.columns
    if "sequence" in line and "digest" in line:
        columns = {**columns, "digest": hex_of(line, "digest")}
    return draft._replace(columns=columns, digest=sent_digest(line))


def sent_digest(line: Line) -> bytes:
    """The digest of a message as a line sends it, for comparisons with `resolvers.drafts.first_sent`."""
    if "digest" in line:
        return hex_of(line, "digest")
    return digest_of({**line, "content": line.get("content", "")})


def hex_of(line: Line, name: str, *path: str) -> bytes:
    """A key as exports write it: 32 hexadecimal digits."""
    try:
        key = bytes.fromhex(line[name])
    except ValueError:
        key = b""
    if len(key) != KEY_SIZE:
        message = f"`{camel(name)}` has {2 * KEY_SIZE} hexadecimal digits, as an export writes it."
        raise refuse("INVALID", message, *path, camel(name))
    return key


@dataclass
class Identities:
    """Gives each message of a file an id of its own, from what it says and when, or from its position.

    It remembers one session at a time: lines come session by session.
    """

    count_tokens: Callable[[str], int]
    _session: tuple[str, str] = ("", "")
    _activity: str | None = None
    _position: int = 0
    _moment: str = ""
    _alike: Counter[str] = field(default_factory=Counter[str])

    def entry(self, number: int, line: Line, project: str) -> Entry:
        if line["type"] not in ("session", "message"):
            return object_entry(number, line, project)
        if self._session != (project, line["session_id"]):
            self._session, self._activity, self._position, self._moment = (project, line["session_id"]), None, 0, ""
        if line["type"] == "session":
            self._activity = self._activity or line.get("last_activity_at")
            return object_entry(number, line, project)
        line, alike = self._identified(line)
        return MessageEntry(number, line, draft_of_line(self.count_tokens, line), alike, self._activity)

    def _identified(self, line: Line) -> tuple[Line, int]:
        """The line of a message with an id, and how many equal ones there are up to it where it had to be given one."""
        if "message_id" in line or "sequence" in line:
            return line, 0
        if "created_at" not in line:
            self._position += 1
            return {**line, "message_id": f"sequence-{self._position}"}, 0
        if self._moment != line["created_at"]:
            self._moment = line["created_at"]
            self._alike.clear()
        id = f"said-{key_of('said', line['created_at'], sent_digest(line)).hex()}"
        self._alike[id] += 1
        count = self._alike[id]
        return {**line, "message_id": id if count == 1 else f"{id}-{count}"}, count


def is_by_position(line: Line) -> bool:
    """Tells whether a line is a message that only its position in the session identifies."""
    return line["type"] == "message" and not line.keys() & {"message_id", "sequence", "created_at"}


def runs_of(entries: list[Entry], most: int) -> Iterator[list[Entry]]:
    """Entries that are added together: messages of one session that are placed in the same way, or a single one."""
    run: list[Entry] = []
    before: Any = None
    for entry in entries:
        line = entry.line
        alike: Any = None
        if line["type"] == "message":
            alike = (line.get("project"), line["session_id"], "sequence" in line, line.get("form_memories", True))
        if run and (alike is None or alike != before or len(run) == most):
            yield run
            run = []
        run.append(entry)
        before = alike
    if run:
        yield run
