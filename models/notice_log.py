"""The table `notices`, in which a process tells the others of its commits.

An entry has the notices of one or more commits. Entries are read in the order of their numbers. Where transactions run
at the same time, an entry may become visible after one with a higher number: a number that is skipped is read later.
"""

from time import monotonic, time
from typing import Any, TypedDict
from uuid import uuid4

from sqlalchemy import bindparam, case, delete, func, insert, or_, select

from models.columns import Key, Number
from models.expressions import each_of
from models.notices import MISSED, Notice, combined, decode
from models.statements import Statement
from models.store import Reader
from models.tables import notices

KEPT = 300.0
"""Seconds that entries are kept."""

PRUNE_EVERY = 60.0
"""Seconds from one removal of old entries to the next."""

SKIPPED_FOR = 15.0
"""Seconds in which an entry with a skipped number may still become visible."""

MOST_SKIPPED = 1000
"""The most numbers that are taken for skipped: a server that crashed skips some, too."""

ENTRIES = 500
"""Entries that are read together."""


class Entry(TypedDict):
    number: int
    body: str | None


class Newest(TypedDict):
    number: int | None


_given = {name: bindparam(name, type_=notices.c[name].type) for name in ("origin", "at", "body")}
_insert = insert(notices).values(_given)
add_entry = Statement(_insert, upkeep=True)
prune_entries = Statement(delete(notices).where(notices.c.at < bindparam("before", type_=Number)), upkeep=True)
_newest = Statement(select(func.max(notices.c.number).label("number")), Newest, upkeep=True)
_entries = Statement(
    select(
        notices.c.number,
        # The process knows its own.
        case((notices.c.origin != bindparam("origin", type_=Key), notices.c.body), else_=None).label("body"),
    )
    .where(or_(notices.c.number > bindparam("newest", type_=Number), notices.c.number.in_(each_of("skipped", Number))))
    .order_by(notices.c.number)
    .limit(ENTRIES),
    Entry,
    upkeep=True,
)


class NoticeLog:
    """The log as one process writes and reads it."""

    def __init__(self) -> None:
        self._origin = uuid4().bytes
        self._newest = 0
        self._skipped: dict[int, float] = {}
        self._looked_at = 0.0
        self._next_prune = 0.0

    def entry(self, body: str) -> dict[str, Any]:
        """The values of an entry by this process; see `add_entry`."""
        return {"origin": self._origin, "at": round(time() * 1000), "body": body}

    def prune(self) -> dict[str, Any] | None:
        """The values of `prune_entries`, if it is time to run it."""
        if monotonic() < self._next_prune:
            return None
        self._next_prune = monotonic() + PRUNE_EVERY
        return {"before": round((time() - KEPT) * 1000)}

    async def begin(self, read: Reader) -> None:
        """Passes over the entries that are there."""
        (newest,) = await read.fetch(_newest, {})
        self._newest, self._looked_at = newest["number"] or 0, monotonic()
        self._skipped.clear()

    def looked(self) -> None:
        """Says that there is nothing to read now."""
        self._looked_at = monotonic()

    async def read(self, read: Reader) -> list[Notice]:
        """The notices of other processes since the last call; only `MISSED` if some may be lost."""
        now = monotonic()
        if now > self._looked_at + KEPT / 2:
            await self.begin(read)
            return [MISSED]
        self._skipped = {number: until for number, until in self._skipped.items() if until > now}
        found: list[Notice] = []
        while True:
            values = {"origin": self._origin, "newest": self._newest, "skipped": list(self._skipped)}
            entries = await read.fetch(_entries, values)
            for entry in entries:
                self._note(entry["number"], now)
                if entry["body"] is not None:
                    found += decode(entry["body"])
            if len(entries) < ENTRIES:
                self._looked_at = now
                return combined(found)

    def _note(self, number: int, now: float) -> None:
        self._skipped.pop(number, None)
        if number > self._newest:
            for skipped in range(max(self._newest + 1, number - MOST_SKIPPED), number):
                self._skipped[skipped] = now + SKIPPED_FOR
            self._newest = number
