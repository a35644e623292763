"""A line of an import with its number, and the identity of a message without an id of its own."""

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
"""The default project of lines without one."""


class BadLine(Exception):
    """A line that can't be imported; nothing of it was stored."""

    def __init__(self, number: int, message: str) -> None:
        # A value of the line that is quoted may have control characters; the message stays one line on a terminal.
        super().__init__("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message))
        self.number = number

    @classmethod
    def of(cls, number: int, refusal: Refused) -> "BadLine":
        # The rules for lines and those for messages may find the same fault.
        return cls(number, "; ".join(dict.fromkeys(_words(fault) for fault in refusal.faults)))


class Collision(BadLine):
    """A line that conflicts with an existing object or with an earlier line."""


def _words(fault: Fault) -> str:
    return f"{'.'.join(fault.path)}: {fault.message}" if fault.path else fault.message


@dataclass(frozen=True, slots=True)
class Entry:
    """A line to add."""

    number: int
    line: Line


@dataclass(frozen=True, slots=True)
class ObjectEntry(Entry):
    """A line of any type but a message, prepared before the transaction.

    `key` is that of a document or memory without a client id: from the export, or derived from the line itself.
    """

    columns: dict[str, Any]
    documents: list[dict[str, Any]]
    key: bytes | None


@dataclass(frozen=True, slots=True)
class MessageEntry(Entry):
    """The line of a message, and its draft.

    `alike` counts the equal messages of a session up to this one, if they are identified by their content and time.
    `activity` is the `lastActivityAt` of the session's own line.
    """

    draft: Draft
    alike: int = 0
    activity: str | None = None


def object_entry(number: int, line: Line, project: str) -> ObjectEntry:
    return ObjectEntry(number, line, KINDS[line["type"]].noun.new(line), documents_in(line), _key_of(line, project))


def _key_of(line: Line, project: str) -> bytes | None:
    """The key of a document or memory: without a client id or an exported key it is derived from the line itself."""
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
    """The key of an exported object; it differs by project, since one database may have the object in several."""
    return key if source_project(line) == project else key_of(noun, project, key)


def source_project(line: Line) -> str:
    """The project that a line was exported from."""
    return line.get("project", SOURCE_PROJECT)


def position_of(line: Line, project: str) -> LinePosition:
    """A line's place in the order of an import."""
    kind, session = line["type"], ""
    step, sequence, moment, own = 0, 0, line.get("created_at"), None
    if kind in ("session", "message"):
        session = line["session_id"]
    if kind == "message":
        sequence, own = line.get("sequence", 0), line.get("message_id")
        step = 1 if sequence else 2
    elif kind == "memory":
        # The memories that it supersedes come before it.
        step = int("supersedes" in line)
    else:
        moment = None
    return LinePosition(project, KINDS[kind].rank, session, step, sequence, moment, own)


def draft_of_line(count_tokens: Callable[[str], int], line: Line) -> Draft:
    """Prepares the message of a line; an export also has its sequence and the digest of its first version."""
    draft = draft_of(count_tokens, line)
    columns = draft.columns
    if "sequence" in line and "digest" in line:
        columns = {**columns, "digest": hex_of(line, "digest")}
    return draft._replace(columns=columns, digest=sent_digest(line))


def sent_digest(line: Line) -> bytes:
    """The digest of a line's message, for comparisons with `resolvers.drafts.first_sent`."""
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
    """Assigns an id to each message of a file, from its content and time, or from its position.

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
        """The line of a message with an id; if the id was assigned, also the number of equal messages up to it."""
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
    """True for a message that only its position in the session identifies."""
    return line["type"] == "message" and not line.keys() & {"message_id", "sequence", "created_at"}


def runs_of(entries: list[Entry], most: int) -> Iterator[list[Entry]]:
    """Entries that are added together: messages of one session with the same kind of place, or a single one."""
    run: list[Entry] = []
    before: Any = None
    for entry in entries:
        line = entry.line
        alike: Any = None
        if line["type"] == "message":
            alike = (line.get("project"), line["session_id"], "sequence" in line)
        if run and (alike is None or alike != before or len(run) == most):
            yield run
            run = []
        run.append(entry)
        before = alike
    if run:
        yield run
