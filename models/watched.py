"""Statements on many memories or sessions at once, of which those who watch are told (see `models.notices`)."""

from typing import Any, TypedDict

from sqlalchemy import ColumnElement

from models.statements import Parameters, Statement
from models.store import Transaction
from models.tables import memories, sessions
from models.values import Time


class Watched(TypedDict):
    """The columns of a memory from which its notice is made."""

    key: bytes
    project: str
    user_key: bytes | None
    deleted_at: Time | None


class WatchedSession(Watched):
    """The columns of a session from which its notice is made."""

    nonce: int
    last_sequence: int


WATCHED: tuple[ColumnElement[Any], ...] = tuple(memories.c[name] for name in Watched.__annotations__)
WATCHED_SESSION: tuple[ColumnElement[Any], ...] = tuple(sessions.c[name] for name in WatchedSession.__annotations__)
"""The columns that a statement on many memories, or on many sessions, returns."""


async def remove_watched(
    write: Transaction, removal: Statement[Watched], values: Parameters, *, slowly: bool = False
) -> None:
    """Removes memories with a statement that returns the columns `WATCHED`."""
    for row in await write.fetch(removal, values, slowly=slowly):
        write.changed(memories.name, row, None)
