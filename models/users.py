"""Statements on users."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, FromClause, bindparam, select, true

from models.containment import contains
from models.expressions import in_project, is_in_project, parent_key
from models.finding import Finder, Found, tried
from models.keys import user_key
from models.keyset import Condition, Listing, between, fetch_by_key, in_list
from models.leaves import by_leaf
from models.rows import UserRow
from models.scope import Scope, of_viewer
from models.statements import ByKey, Statement
from models.store import Reader, Transaction
from models.tables import users
from models.user_words import FOUND_BY, add_words, count_beginnings, has_words, is_among, replace_words
from models.writing import TypedTable


class UserTable(TypedTable[UserRow]):
    """The table of users. It keeps the words by which they are found."""

    async def insert(self, write: Transaction, values: UserRow) -> UserRow:
        row = await super().insert(write, values)
        await add_words(write, row)
        return row

    async def update(self, write: Transaction, row: UserRow, changes: Mapping[str, Any]) -> UserRow:
        changed = await super().update(write, row, changes)
        if not changes.keys().isdisjoint(FOUND_BY):
            await replace_words(write, changed)
        return changed


user_table = UserTable(users, UserRow)

ORDERS = {
    "created_at": ("created_at", "user_id"),
    "updated_at": ("updated_at", "user_id"),
    "user_id": ("user_id",),
    "name": ("name_ascending", "user_id"),
    "email": ("email_ascending", "user_id"),
}
FALLING = {"name": ("name_descending", "user_id"), "email": ("email_descending", "user_id")}
FILTERS: dict[str, Condition] = {
    "words": has_words,
    **contains(),
    "user_ids": in_list("user_id", "user_ids"),
    "emails": in_list("email_folded", "emails"),
    **between("created_at"),
    **between("updated_at"),
}
SELECTIVE = ("user_ids", "emails")

USERS = Listing(
    name="users",
    table=users,
    row=UserRow,
    always=in_project,
    nested=False,
    orders=ORDERS,
    falling=FALLING,
    filters=FILTERS,
    selective=SELECTIVE,
)


def _any(rows: FromClause) -> ColumnElement[bool]:
    return true()


USERS_TRIED = tried(USERS)

USERS_BY_WORD = replace(USERS, always=is_among, filters={**FILTERS, "words": _any})
"""The same list for users that are found by the index of the project's words."""


async def _by_words(read: Reader, scope: Scope, words: Sequence[str], most: int) -> list[Found[UserRow]]:
    counted = await count_beginnings(read, scope, words, most)
    return [Found(USERS_BY_WORD, each["count"], {"word": each["word"]}) for each in counted]


USER_FINDERS = (Finder("words", _by_words), by_leaf(USERS))

USER_ALONE = Listing(
    name="the viewer alone",
    table=users,
    row=UserRow,
    always=lambda rows: (rows.c.key == parent_key) & is_in_project(rows),
    orders=ORDERS,
    falling=FALLING,
    filters=FILTERS,
    selective=SELECTIVE,
)

_by_key = ByKey(users, UserRow, where=(of_viewer(users.c.key),), strength="KEY SHARE")
_alone = ByKey(users, UserRow, where=(of_viewer(users.c.key),), strength="UPDATE")
_by_email = Statement(
    select(users).where(in_project(users), of_viewer(users.c.key), users.c.email_folded == bindparam("email")).limit(2),
    UserRow,
)


async def users_by_key(read: Reader, scope: Scope, keys: list[bytes]) -> list[UserRow | None]:
    found = await fetch_by_key(read, scope, _by_key, keys)
    if read.held is not None:
        read.held.users |= {row["key"]: row["form_memories"] for row in found if row is not None}
    return found


async def user_to_end(write: Transaction, scope: Scope, user_id: str) -> UserRow | None:
    """A user who is about to be erased, renamed or merged: nobody else adds anything of the user's meanwhile."""
    return (await fetch_by_key(write, scope, _alone, [user_key(scope.project, user_id)]))[0]


async def user_by_id(read: Reader, scope: Scope, user_id: str) -> UserRow | None:
    return (await users_by_key(read, scope, [user_key(scope.project, user_id)]))[0]


async def users_by_email(read: Reader, scope: Scope, email: str) -> list[UserRow]:
    """The first two users with this address, so that the caller can tell one from several."""
    return await read.fetch(_by_email, {**scope.values, "email": email.casefold()})
