"""Moves everything of a user to another key: for another userId, or to merge two users.

Sessions and messages keep their keys. The keys of memories and documents with an own id are derived from their user
(see `models.keys`): these rows get the keys that their ids stand for with the other user. All other rows keep theirs.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypedDict

from sqlalchemy import ColumnElement, Table, bindparam, select, update

from models.columns import Key
from models.expressions import ListOf, ParentKey, Parents, in_project, parent_key, parents
from models.keys import document_key, identity, memory_key
from models.rows import UserRow
from models.scope import Scope
from models.sessions import owned_by
from models.statements import Statement
from models.store import Reader, Transaction
from models.tables import document_vectors, documents, memories, memory_sources, memory_vectors, sessions


class DerivedRow(NamedTuple):
    """A row whose key is derived from its user: this key, its own id, and its key with the other user."""

    key: bytes
    own_id: str
    new_key: bytes


class OwnId(TypedDict):
    """A row's key, and the id that the application gave it."""

    key: bytes
    own_id: str


_user: ColumnElement[Any] = bindparam("user")
_new_key = ParentKey(bindparam("new_keys", type_=ListOf(Key)), parents.c.key)


class Kind:
    """What a user owns besides sessions: its table, the function that derives keys from own ids, and all columns with
    its keys."""

    def __init__(
        self,
        table: Table,
        own_id: str,
        key_of: Callable[[bytes, str | None], bytes],
        *named: tuple[Table, str],
    ) -> None:
        self.key_of = key_of
        owned = (table.c.user_key == _user, in_project(table))
        clause = select(table.c.key, table.c[own_id].label("own_id")).where(*owned, table.c[own_id].is_not(None))
        self.own_ids = Statement(clause, OwnId)
        self.rekey = [
            Statement(update(other).where(other.c[column] == parent_key).values({column: _new_key}))
            for other, column in ((table, "key"), *named)
        ]
        self.move = Statement(update(table).where(*owned).values(user_key=bindparam("other")))


MEMORIES = Kind(
    *(memories, "memory_id", memory_key),
    *((memories, "superseded_by"), (memory_sources, "memory_key"), (memory_vectors, "key")),
)
DOCUMENTS = Kind(
    *(documents, "document_id", document_key),
    *((memory_sources, "document_key"), (document_vectors, "key")),
)
_move_sessions = Statement(
    update(sessions)
    .where(sessions.c.user_key == _user, in_project(sessions))
    .values({name: bindparam(f"new_{name}") for name in owned_by(None)})
)


async def derived_rows(read: Reader, scope: Scope, kind: Kind, user: UserRow, other: UserRow) -> list[DerivedRow]:
    """The rows whose keys change when a user's rows move to another user."""
    old, new = (identity(row["key"], row["nonce"]) for row in (user, other))
    rows = await read.fetch(kind.own_ids, {**scope.values, "user": user["key"]}, slowly=True)
    # A memory of a session has a key that is derived from the session.
    return [
        DerivedRow(row["key"], row["own_id"], kind.key_of(new, row["own_id"]))
        for row in rows
        if row["key"] == kind.key_of(old, row["own_id"])
    ]


async def rekey(write: Transaction, kind: Kind, rows: Sequence[DerivedRow]) -> None:
    """Changes the keys of rows, wherever they stand."""
    if not rows:
        return
    keys = {**Parents([row.key for row in rows]).values, "new_keys": [row.new_key for row in rows]}
    async with write.deferred_references():
        for statement in kind.rekey:
            await write.execute(statement, keys, slowly=True)


async def move_rows(write: Transaction, scope: Scope, user: UserRow, other: UserRow) -> None:
    """Gives the rows of a user to another user, after their keys have changed."""
    values = {**scope.values, "user": user["key"], "other": other["key"]}
    await write.execute(_move_sessions, {**values, **{f"new_{name}": value for name, value in owned_by(other).items()}})
    for kind in (MEMORIES, DOCUMENTS):
        await write.execute(kind.move, values, slowly=True)


async def move_everything(write: Transaction, scope: Scope, user: UserRow, other: UserRow) -> None:
    """Gives everything of a user to another user, who has nothing yet."""
    for kind in (MEMORIES, DOCUMENTS):
        await rekey(write, kind, await derived_rows(write, scope, kind, user, other))
    await move_rows(write, scope, user, other)
