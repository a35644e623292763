"""The source of an import, as its translator reads it.

It notes the users and agents that are named, and counts what is left out for lack of an equivalent here.

A foreign file may have any value anywhere. A translator takes what it goes by with `object_in`, `objects_in` and
`text_in`, which name the place of another type; what it only passes on is checked with the line.
"""

import re
import sys
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any, cast
from uuid import NAMESPACE_URL, uuid5

import orjson

from models.values import is_list, is_object
from recallql.importing.reading import ForeignProblem, Item, json_values
from resolvers.inputs import KEY_CHARACTERS, TEXT_BYTES

Line = dict[str, Any]
"""A line of an import, by the names of its fields; fields without a value may be None."""

Object = Mapping[str, Any]

# What a naive time is: a date, or also a time of the day.
_naive = re.compile(r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?)?", re.ASCII)


@dataclass
class Source:
    """A source, and how it is to be translated.

    `where` is a path, `-` for standard input, or a URL. `user` is the owner of what names none.
    """

    where: str
    user: str | None = None
    all_branches: bool = False
    left: Counter[str] = field(default_factory=Counter[str])
    """The number of values that were left out for lack of an equivalent, by their names."""
    place: str = ""
    """The place of what was read last, for messages."""
    _people: dict[tuple[str, str, str | None], bool] = field(default_factory=dict[tuple[str, str, str | None], bool])

    @contextmanager
    def opened(self) -> Generator[BufferedReader]:
        if self.where == "-":
            yield cast(BufferedReader, sys.stdin.buffer)
            return
        with Path(self.where).open("rb") as file:
            yield file

    @property
    def stem(self) -> str:
        """The file's name without its ending."""
        if self.where == "-":
            raise ForeignProblem(
                "Standard input has no name to take for a session's id: give its messages one, or import a file."
            )
        return Path(self.where).stem

    def at(self, item: Item) -> Any:
        """The value of an item, whose place is noted."""
        self.place = item.place
        return item.value

    def wrong(self, reason: str) -> ForeignProblem:
        return ForeignProblem(f"{self.place}: {reason}" if self.place else reason)

    def owner(self, *ids: Any) -> str | None:
        """The user of `--user`, or else the first of these ids that is one; the user's line is yielded at the end."""
        id = self.user or next((id for id in ids if isinstance(id, str) and id), None)
        if id is not None:
            self.name("user", id)
        return id

    def name(self, kind: str, id: str, project: str | None = None) -> str:
        """Notes that a user or an agent is named, who needs a line."""
        self._people.setdefault((kind, id, project), False)
        return id

    def person(self, kind: str, id: str, project: str | None = None, **fields: Any) -> Line:
        """The line of a user or an agent with a record of their own."""
        self._people[kind, id, project] = True
        return _person(kind, id, project, fields)

    def missing_people(self) -> Iterator[Line]:
        """The lines of those who are named, but have no record."""
        for (kind, id, project), has_record in self._people.items():
            if not has_record:
                yield _person(kind, id, project, {})

    def leave(self, what: str, count: int = 1) -> None:
        """Counts what has no equivalent."""
        self.left[what] += count

    def leave_fields(self, kind: str, value: Object, known: frozenset[str]) -> None:
        """Counts the fields of an object that no translation knows, unless they are empty."""
        for name in value.keys() - known:
            if value[name]:
                self.left[f"{kind}.{name}"] += 1

    def expect(self, value: Object, *names: str) -> None:
        """Refuses an object that has none of these fields, and says which system writes such objects."""
        if not any(name in value for name in names):
            lacking = f"it has no field {' or '.join(map(repr, names))}" if names else "the file must be an object"
            raise self.wrong(f"{lacking}.{_likely(value)}")

    def listed(self) -> Iterator[tuple[Item, dict[str, Any]]]:
        """The items of a JSON file's lists, which must be objects; its other values are left out."""
        with self.opened() as file:
            for item in json_values(file):
                if item.number:
                    yield item, self.object_in(self.at(item))
                else:
                    self.leave_item(item)

    def leave_item(self, item: Item) -> None:
        """Counts an item of a list that is not imported; a list of another system's is refused."""
        if item.key in LISTS:
            raise ForeignProblem(f"It has a list {item.key!r}. This looks like --from {LISTS[item.key]}.")
        if item.value and not isinstance(item.value, int):
            self.leave(item.key)

    def object_in(self, value: Any, name: str = "") -> dict[str, Any]:
        """The value, which must be an object."""
        if not is_object(value):
            raise self.wrong(f"{name or 'this'} is {_shown(value)}; it must be an object.")
        return dict(value)

    def objects_in(self, value: Any, name: str) -> list[dict[str, Any]]:
        """The objects of a list; null is none. A page of an API has them in a field."""
        if is_object(value):
            value = next((value[key] for key in (name, "data", "items", "results") if key in value), value)
        if value is None:
            return []
        if not is_list(value):
            raise self.wrong(f"`{name}` is {_shown(value)}; it must be a list.")
        return [self.object_in(each, f"an item of `{name}`") for each in value]

    def text_in(self, value: Object, name: str) -> str:
        """A text that must be there."""
        found = value.get(name)
        if not isinstance(found, str) or not found:
            raise self.wrong(f"`{name}` is {_shown(found) if name in value else 'missing'}; it must be a text.")
        return found

    def message(self, session: str, role: str, *, parts: Any = None, metadata: Any = None, **fields: Any) -> Line:
        """The line of a message. Parts and metadata that are too large are left out, and counted."""
        if parts is not None and _is_large(parts):
            self.leave("message parts of more than 64 KiB")
            parts = None
            if fields.get("content") is None and fields.get("toolCalls") is None:
                fields["content"] = ""
        return {
            "type": "message",
            "sessionId": session,
            "role": role,
            "parts": parts,
            "metadata": self.fitting(metadata, "message"),
            **fields,
        }

    def fitting(self, metadata: Any, kind: str) -> Any:
        """Metadata, or what is short in it if it is too large to be kept; its other fields are counted."""
        if not metadata or not _is_large(metadata):
            return metadata or None
        for name in metadata:
            if _is_large(metadata[name], 1024):
                self.leave(f"{kind}.metadata.{name} (metadata of more than 64 KiB)")
        return {name: value for name, value in metadata.items() if not _is_large(value, 1024)}


SIGNS = {
    "chatgpt": ("mapping",),
    "zep": ("role_type",),
    "letta": ("block_ids", "core_memory"),
    "honcho": ("peer_id", "workspace_id"),
    "langgraph": ("namespace", "lc"),
    "mem0": ("memory",),
    "openai": ("thread_id", "object"),
    "julep": ("entries", "context_overflow"),
    "zep ": ("session_id", "thread_id"),
    "chats": ("messages", "role"),
}
"""Fields by which an object of each system is known, the surest first."""

LISTS = {
    "peers": "honcho",
    "workspaces": "honcho",
    "conclusions": "honcho",
    "docs": "julep",
    "tasks": "julep",
    "blocks": "letta",
    "results": "mem0",
    "threads": "zep",
}
"""Lists that only the files of one system have."""


def _likely(value: Object) -> str:
    if value.get("type") in ("user", "agent", "session", "message", "memory", "document"):
        return " This looks like a line of RecallQL's own format: leave --from out."
    system = next((system for system, names in SIGNS.items() if any(name in value for name in names)), None)
    if system is None:
        return f" It has {', '.join(map(repr, list(value)[:5])) or 'no fields'}: is this the right file, and --from?"
    return f" This looks like --from {system.strip()}."


def _person(kind: str, id: str, project: str | None, fields: dict[str, Any]) -> Line:
    if kind == "agent" and not (isinstance(name := fields.get("name"), str) and name.strip()):
        fields["name"] = id
    return {"type": kind, f"{kind}Id": id, "project": project, **fields}


def _is_large(value: Any, limit: int = TEXT_BYTES) -> bool:
    try:
        return len(orjson.dumps(value)) > limit
    except TypeError:
        return False  # it is checked with the line


def _shown(value: Any) -> str:
    match value:
        case None:
            return "null"
        case dict():
            return "an object"
        case list():
            return "a list"
        case str() if not value:
            return "empty"
        case _:
            return repr(value)[:60]


def moment(value: Any) -> Any:
    """A time as lines have it: one without an offset is in UTC; an empty one, or Go's zero, is none."""
    if not isinstance(value, str):
        return value
    if not value or value.startswith("0001-01-01"):
        return None
    if _naive.fullmatch(value):
        return f"{value if len(value) > 10 else value + 'T00:00:00'}Z"
    return value


def latest(times: Iterable[Any]) -> Any:
    """The latest of the times of a system, which writes them all in one way; None if there is none."""
    there = [time for time in times if time is not None]
    kinds = {isinstance(time, str) for time in there}
    return max(there) if len(kinds) == 1 else None


def fits(id: str) -> bool:
    """True if an id is short enough to be one here."""
    return 0 < len(id) <= KEY_CHARACTERS


def derived_id(*names: str) -> str:
    """An id that is always the same for the same names, where the other system has none that can be kept."""
    return str(uuid5(NAMESPACE_URL, "\n".join(names)))


def joined(texts: Sequence[str]) -> str | None:
    return "\n".join(text for text in texts if text) or None
