"""Moves everything of a user to another key: for another userId, or to merge two users.

Sessions and messages keep their keys. The keys of memories and documents with an own id are derived from their user
(see `models.keys`): these rows get the keys that their ids stand for with the other user. All other rows keep theirs.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypedDict

from sqlalchemy import ColumnElement, Table, bindparam, func, select, update

from models.columns import Key
from models.expressions import ListOf, ParentKey, Parents, in_checked_project, parent_key, parents
from models.keys import document_key, identity, memory_key
from models.rows import UserRow
from models.scope import Scope
from models.sessions import owned_by
from models.statements import Statement
from models.store import Reader, Transaction
from models.tables import document_vectors, documents, memories, memory_sources, memory_vectors, sessions
from models.values import Time
from models.watched import WATCHED, WATCHED_SESSION, Watched, WatchedSession


class RowKeys(NamedTuple):
    """The key of a row, and the one that takes its place."""

    key: bytes
    new_key: bytes


class OwnId(TypedDict):
    """A row's key, and the id that the application gave it."""

    key: bytes
    own_id: str


_user: ColumnElement[Any] = bindparam("user")
new_key = ParentKey(bindparam("new_keys", type_=ListOf(Key)), parents.c.key)
"""The key that takes the place of the `parent_key`."""


class Movable:
    """A kind of object that a user owns, with keys that change when it moves: its table, the column of own ids, the
    function that derives keys from them, and the columns with its keys: `parts` are rows that go with it, `links` those
    that only name it."""

    def __init__(
        self,
        table: Table,
        own_id: str,
        key_of: Callable[[bytes, str | None], bytes],
        *,
        parts: Sequence[ColumnElement[Any]],
        links: Sequence[ColumnElement[Any]],
    ) -> None:
        self.table, self.key_of = table, key_of
        self.own_id = table.c[own_id]
        owned = (table.c.user_key == _user, in_checked_project(table))
        clause = select(table.c.key, self.own_id.label("own_id")).where(*owned, self.own_id.is_not(None))
        self.own_ids = Statement(clause, OwnId)
        self.rekey = [_replace(column) for column in (table.c.key, *parts)]
        self.relink = [_replace(column) for column in links]
        self.owned = owned


def _replace(column: Any) -> Statement[Any]:
    return Statement(update(column.table).where(column == parent_key).values({column.name: new_key}))


MEMORIES = Movable(
    *(memories, "memory_id", memory_key),
    parts=[memory_sources.c.memory_key, memory_vectors.c.key],
    links=[memories.c.superseded_by],
)
DOCUMENTS = Movable(
    *(documents, "document_id", document_key),
    parts=[document_vectors.c.key],
    links=[memory_sources.c.document_key],
)
_leaving = Statement(select(*WATCHED).where(*MEMORIES.owned), Watched)
_move_memories = Statement(
    update(memories).where(*MEMORIES.owned).values(user_key=bindparam("other")).returning(*WATCHED), Watched
)
_move_documents = Statement(update(documents).where(*DOCUMENTS.owned).values(user_key=bindparam("other")))
_move_sessions = Statement(
    update(sessions)
    .where(sessions.c.user_key == _user, in_checked_project(sessions))
    .values(
        {
            **{name: bindparam(f"new_{name}") for name in owned_by(None)},
            "updated_at": func.coalesce(bindparam("now", type_=sessions.c.updated_at.type), sessions.c.updated_at),
            "version": sessions.c.version + bindparam("step"),
        }
    )
    .returning(*WATCHED_SESSION),
    WatchedSession,
)


def keys_in(rows: Sequence[RowKeys]) -> dict[str, Any]:
    """The parameters of a statement for these keys (see `new_key`)."""
    return {**Parents([row.key for row in rows]).values, "new_keys": [row.new_key for row in rows]}


async def derived_keys(read: Reader, scope: Scope, movable: Movable, user: UserRow, other: UserRow) -> list[RowKeys]:
    """The keys that are derived from a user, and what they are when the rows move to another user."""
    old, new = (identity(row["key"], row["nonce"]) for row in (user, other))
    rows = await read.fetch(movable.own_ids, {**scope.values, "user": user["key"]}, slowly=True)
    # A memory of a session has a key that is derived from the session.
    return [
        RowKeys(row["key"], movable.key_of(new, row["own_id"]))
        for row in rows
        if row["key"] == movable.key_of(old, row["own_id"])
    ]


async def rekey(write: Transaction, movable: Movable, rows: Sequence[RowKeys]) -> None:
    """Changes the keys of rows, wherever they stand."""
    if rows:
        async with write.deferred_references():
            for statement in (*movable.rekey, *movable.relink):
                await write.execute(statement, keys_in(rows), slowly=True)


async def move_rows(write: Transaction, scope: Scope, user: UserRow, other: UserRow, changed: Time | None) -> None:
    """Gives the rows of a user to another user, after their keys have changed.

    With a time the sessions have `changed`, as they do when an update gives them another user.
    """
    values = {**scope.values, "user": user["key"], "other": other["key"]}
    columns = {f"new_{name}": value for name, value in owned_by(other).items()}
    values |= {**columns, "now": changed, "step": int(changed is not None)}
    for row in await write.fetch(_move_sessions, values, slowly=True):
        write.changed(sessions.name, {**row, "user_key": user["key"]}, row)
    for row in await write.fetch(_move_memories, values, slowly=True):
        write.changed(memories.name, None, row)
    await write.execute(_move_documents, values, slowly=True)


async def note_leaving(write: Transaction, scope: Scope, user: UserRow) -> None:
    """Before a user's memories get other keys: those who watch the user's are told that these are gone."""
    for row in await write.fetch(_leaving, {**scope.values, "user": user["key"]}, slowly=True):
        write.changed(memories.name, row, None)


async def move_everything(write: Transaction, scope: Scope, user: UserRow, other: UserRow) -> None:
    """Gives everything of a user to another user, who has nothing yet: the same one with another userId."""
    await note_leaving(write, scope, user)
    for movable in (MEMORIES, DOCUMENTS):
        await rekey(write, movable, await derived_keys(write, scope, movable, user, other))
    await move_rows(write, scope, user, other, None)
