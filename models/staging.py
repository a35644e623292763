"""The lines of a file that is being imported, in the order in which they are imported.

A line may refer to a later one in the file. So an import first records the position of each line in a temporary file on
disk, and then reads the lines in an order that does not depend on the file's: memory stays bounded, and a second run
continues where an interrupted one ended.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol


class LinePosition(NamedTuple):
    """A line's place in the order: `rank` is its kind's, `step` orders the lines of a session.

    `own` is the client's own key of a message.
    """

    project: str
    rank: int
    session: str = ""
    step: int = 0
    sequence: int = 0
    moment: str | None = None
    own: str | None = None


class Staging(Protocol):
    """The places of a file's lines."""

    def close(self) -> None: ...

    def add(self, lines: Iterable[tuple[LinePosition, int, int, int]]) -> None:
        """Records lines: the place of each, its number, its offset in the file and its size in bytes."""
        ...

    def in_order(self) -> Iterator[tuple[int, int, int]]:
        """The number, offset and size of each line."""
        ...

    def line_like(self, place: LinePosition, number: int) -> int | None:
        """The number of the first other line with the same place in its session, or the same own key."""
        ...


def new_staging() -> Staging:
    """A staging in SQLite, which is available on every machine, whatever database is imported into."""
    from models.sqlite.staging import SqliteStaging

    return SqliteStaging()
