"""Vectors of searchable texts: the interface of a database's backlog of texts without vectors, and of their storage.

All vectors of a table are of one model. Each database stores them in its own way: see `vectors.py` in its folder.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypedDict

from models.values import Time

if TYPE_CHECKING:
    from models.search_kinds import SearchKind
    from models.store import Reader, Store, Transaction

LONGEST_READ = 40_000
"""Characters of a text that are read for its vectors; no model reads more."""


class WaitingText(TypedDict):
    """A text without vectors, its speaker and its version; the text is None if it was deleted."""

    number: int
    updated_at: Time
    version: int
    text: str | None
    role: str | None
    name: str | None
    user_name: str | None
    first_name: str | None
    last_name: str | None


class VectorProgress(NamedTuple):
    """The progress of a kind's vectors towards those of a model.

    `kept` is the name of the model of those that are there, `waiting` the approximate number of texts without vectors
    of the other model. `through` is a mark of the vectors that are there now, by which they can be read later without
    those that have come since.
    """

    through: int
    waiting: int
    kept: str | None


class Vectors(Protocol):
    """A database's vectors; each function takes the kind of texts. The module `vectors` of the database's folder
    implements it."""

    async def vector_progress(self, read: "Reader", kind: "SearchKind", model: str) -> VectorProgress: ...

    async def find_waiting(self, database: "Store", kind: "SearchKind") -> None:
        """Lets some of the newest texts wait for vectors, where they don't do so from the beginning."""
        ...

    async def texts_without_vectors(
        self, read: "Reader", kind: "SearchKind", through: int, limit: int
    ) -> list[WaitingText]:
        """Waiting texts of all projects, in the order of their numbers, each cut to its first `LONGEST_READ`
        characters: about `limit` of them. The text of a deleted object that is not purged yet is None."""
        ...

    async def claim_vectors(self, write: "Transaction", kind: "SearchKind", model: str) -> None:
        """Sets the model of a kind's vectors; those of another model are removed."""
        ...

    async def put_vectors(
        self,
        write: "Transaction",
        kind: "SearchKind",
        model: str,
        through: int,
        rows: Sequence[WaitingText],
        made: Sequence[bytes],
    ) -> bool:
        """Stores the vectors of rows (see `texts_without_vectors`); a text that has changed since waits again.

        Returns False and stores nothing if the kind's model has changed meanwhile.
        """
        ...

    async def read_vectors(
        self, read: "Reader", kind: "SearchKind", model: str, numbers: Sequence[int], through: int
    ) -> list[bytes | None]:
        """The stored vectors of the texts with these numbers, if they are of this model and up to a mark (see
        `VectorProgress`); None for other texts."""
        ...
