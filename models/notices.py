"""Notices: what commits changed, as far as those who watch need to know it.

A notice names a session, a message or a memory, and who could see it before and after. It holds nothing else of a row:
those who watch read the row, within the scope of their viewer.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson


class Seen(NamedTuple):
    """The project and the user of a row, who can see it. A message has neither: those who see its session see it."""

    project: str
    user: bytes | None


class Notice(NamedTuple):
    """A row that was inserted, updated or deleted.

    `key` is the row's, for a message that of its session. `generation` is a session's nonce, or a message's generation.
    `sequence` is a message's, or the last one of a session. A row that nobody could see is None.
    """

    table: str
    key: bytes
    generation: int
    sequence: int
    before: Seen | None
    after: Seen | None

    @property
    def object(self) -> tuple[str, bytes, int, int]:
        """The object that it is about."""
        return self.table, self.key, self.generation, self.sequence if self.table == "messages" else 0


Listener = Callable[[Sequence[Notice]], None]
"""A function that is called with the notices of commits, once these are durable."""

MISSED = Notice("", b"", 0, 0, None, None)
"""Tells that notices may have been lost: everything may have changed."""


def notices_of(table: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[Notice]:
    """The notices of a row with its values before and after a change; none for a table that nobody watches.

    A message that was added has none: its session has one, with the new last sequence.
    """
    row: Any = before if after is None else after
    match table:
        case "sessions":
            seen, seen_after = _seen(before), _seen(after)
            key, last = row["key"], row["last_sequence"]
            if before is not None and after is not None and before["nonce"] != after["nonce"]:
                # Another session under the same key.
                earlier = Notice(table, key, before["nonce"], before["last_sequence"], seen, None)
                return [earlier, Notice(table, key, after["nonce"], last, None, seen_after)]
            return [Notice(table, key, row["nonce"], last, seen, seen_after)]
        case "memories":
            return [Notice(table, row["key"], 0, 0, _seen(before), _seen(after))]
        case "messages" if before is not None:
            there = Seen("", None)
            place = row["session_key"], row["generation"], row["sequence"]
            return [Notice(table, *place, there, None if after is None else there)]
        case _:
            return []


def _seen(row: Mapping[str, Any] | None) -> Seen | None:
    return None if row is None or row["deleted_at"] is not None else Seen(row["project"], row["user_key"])


def combined(notices: Iterable[Notice]) -> list[Notice]:
    """One notice for each object: from the first state before to the last one after."""
    by_object: dict[tuple[Any, ...], Notice] = {}
    for notice in notices:
        earlier = by_object.get(notice.object)
        by_object[notice.object] = notice if earlier is None else notice._replace(before=earlier.before)
    return [notice for notice in by_object.values() if notice.before or notice.after or notice == MISSED]


def encode(notices: Iterable[Notice]) -> str:
    """Notices as JSON, for other processes."""
    return orjson.dumps([[*notice[:4], *map(_plain, notice[4:])] for notice in notices], default=bytes.hex).decode()


def decode(text: str) -> list[Notice]:
    return [
        Notice(table, bytes.fromhex(key), generation, sequence, _read(before), _read(after))
        for table, key, generation, sequence, before, after in orjson.loads(text)
    ]


def _plain(seen: Any) -> list[Any] | None:
    return None if seen is None else [*seen]


def _read(seen: list[Any] | None) -> Seen | None:
    return None if seen is None else Seen(seen[0], None if seen[1] is None else bytes.fromhex(seen[1]))
