"""The lines of a file that is being imported, in the order in which they are carried out.

What a line refers to may stand behind it in the file. So an import first notes where each line stands, in a temporary
file on disk, and then reads the lines in an order that does not depend on the file's: memory stays bounded, and a
second run continues where an interrupted one ended.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol


class LinePosition(NamedTuple):
    """The place of a line in the order: `rank` is its kind's, `step` says which of a session's lines come first.

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
        """Notes lines: the place of each, its number, where it starts in the file and its size in bytes."""
        ...

    def in_order(self) -> Iterator[tuple[int, int, int]]:
        """The number, start and size of each line."""
        ...

    def line_like(self, place: LinePosition, number: int) -> int | None:
        """The number of the first other line with the same place in its session, or the same own key."""
        ...


def new_staging() -> Staging:
    """A staging of SQLite's, which is there on every machine, whatever database the lines go to."""
    from models.sqlite.staging import SqliteStaging

    return SqliteStaging()
