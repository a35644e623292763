"""Filters and orders of lists: converts a client's arguments to those of a listing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models.containment import containment
from models.keys import folded
from models.user_words import words_of
from models.values import JsonValue
from resolvers.errors import BadInput
from resolvers.inputs import camel
from resolvers.json_values import Unacceptable, checked_text, count_values, unstorable

LARGEST_LIST = 100

LARGEST_FILTER = 4_000
"""Most values in a metadata filter."""

TEXT_CHARACTERS, LARGEST_TEXT = 1_000, 16
"""Most characters and words of a text that people are looked for by."""

Given = Mapping[str, Any] | None
"""A filter as the client gave it, by snake_case name; nulls are omitted."""


@dataclass(frozen=True)
class Filter:
    """Names of a listing's filters with their values, and the identity of this filter in cursors."""

    given: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    identity: str = ""


class FilterBuilder:
    """Collects the filters of one list."""

    def __init__(self, given: Given) -> None:
        self.asked: dict[str, Any] = {name: value for name, value in (given or {}).items() if value is not None}
        self._values: dict[str, Any] = {}
        self._names: list[str] = []

    def add(self, name: str, value: Any = None) -> None:
        self._names.append(name)
        if value is not None:
            self._values[name] = value

    def metadata(self) -> "FilterBuilder":
        """Containment of a JSON object."""
        value: JsonValue = self.asked.get("metadata")
        if value is not None:
            if not isinstance(value, dict):
                raise BadInput('`filter.metadata` must be a JSON object, as in {"plan": "pro"}.')
            try:
                checked_text(value)
            except Unacceptable as problem:
                raise BadInput(f"`filter.metadata`: {problem}") from problem
            if (count := count_values(value)) > LARGEST_FILTER:
                raise BadInput(f"`filter.metadata` holds {count} values; at most {LARGEST_FILTER} are looked for.")
            # All metadata contains an empty object.
            if value:
                name, values = containment(value)
                self.add(name)
                self._values |= values
        return self

    def lists(self, *names: str) -> "FilterBuilder":
        for name in names:
            if (value := self.asked.get(name)) is not None:
                if len(value) > LARGEST_LIST:
                    raise BadInput(
                        f"`filter.{camel(name)}` has {len(value)} items; at most {LARGEST_LIST} are allowed."
                    )
                # An id that cannot be stored matches nothing, but SQLite would truncate it to one that may match.
                self.add(name, [item for item in value if not unstorable(item)])
        return self

    def values(self, *names: str) -> "FilterBuilder":
        for name in names:
            if (value := self.asked.get(name)) is not None:
                self.add(name, value)
        return self

    def names(self, *names: str) -> "FilterBuilder":
        """Lists of people's names, which are compared in their folded form."""
        for name in names:
            if (value := self.asked.get(name)) is not None:
                self.asked[name] = [folded(item) for item in value]
        return self.lists(*names)

    def words(self, name: str) -> "FilterBuilder":
        """Beginnings of words. A blank text filters nothing; nothing begins with signs alone."""
        text = self.asked.get(name) or ""
        if len(text) > TEXT_CHARACTERS:
            raise BadInput(f"`filter.{camel(name)}` has {len(text)} characters; at most {TEXT_CHARACTERS} are allowed.")
        # A word that begins another one is found with it.
        # No word begins with a sign.
        asked = words_of([text]) or ["@"] * bool(text.strip())
        words = [word for word in asked if not any(each != word and each.startswith(word) for each in asked)]
        if len(words) > LARGEST_TEXT:
            raise BadInput(f"`filter.{camel(name)}` has {len(words)} words; at most {LARGEST_TEXT} are looked for.")
        if words:
            self.add("words", words)
        return self

    def ranges(self, *names: str) -> "FilterBuilder":
        for name in names:
            bounds: dict[str, Any] = self.asked.get(name) or {}
            for end, bound in bounds.items():
                if bound is not None:
                    self.add(f"{name}_{end}", bound)
        return self

    def flag(self, name: str, *, yes: str, no: str) -> "FilterBuilder":
        if (value := self.asked.get(name)) is not None:
            self.add(yes if value else no)
        return self

    def build(self) -> Filter:
        identity = json.dumps(self.asked, sort_keys=True) if self.asked else ""
        return Filter(tuple(self._names), self._values, identity)


def order_of(given: Given, default: str = "created_at") -> tuple[str, bool]:
    """The order's name and direction (True: descending); newest first by default."""
    if not given:
        return default, True
    return str(given["field"]).lower(), given["direction"] == "DESC"
