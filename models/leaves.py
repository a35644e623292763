"""The leaves of metadata, its scalars with the keys that lead to them: users, sessions and documents are found by them.

PostgreSQL has an index for it, GIN, which `by_leaf` has it use. On SQLite a table has a row for each leaf of an object:
a hash of the project, the kind of object, the keys and the scalar, and the object's key. Triggers write it with a row
(see the migration), so that whatever writes a row keeps it. What it finds is always compared in full: two leaves may
have one hash.

Metadata with more leaves than `LARGEST_LEAVES` has a single row, the same for all of them in a project; they are
compared for every filter.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from itertools import islice
from json import loads
from typing import Any, TypedDict

import orjson
from sqlalchemy import ColumnElement, FromClause, Integer, bindparam, column, func, select
from sqlalchemy import table as named_table

from models.columns import Key, Number
from models.containment import NAME
from models.expressions import Unindexed, each_of, in_checked_project, is_in_project, parent_key
from models.finding import FEWEST, STEPS, Finder, Found
from models.keyset import Listing
from models.scope import Scope, of_viewer
from models.statements import Statement
from models.store import R, Reader
from models.values import is_list, is_object, json_of

LARGEST_LEAVES = 200
"""Leaves by which one object is found."""

LOOKED_UP = 16
"""Leaves of a filter among which the rarest is looked for."""

HASH_SIZE = 6

metadata_leaves = named_table("metadata_leaves", column("leaf", Number), column("key", Key))
"""SQLite's table; other databases have none."""


def leaves_of(table: str, project: str, metadata: str) -> list[int]:
    """The hashes of the leaves of an object's metadata, or the one of all with too many.

    SQLite keeps them: a change here takes a migration that fills the table anew.
    """
    leaves = list(islice(_leaves(loads(metadata), ()), LARGEST_LEAVES + 1))
    if len(leaves) > LARGEST_LEAVES:
        return [_many(table, project)]
    return sorted({_hash(table, project, leaf) for leaf in leaves})


@lru_cache(maxsize=2)
def stored_leaves(table: str, project: str, metadata: str) -> str:
    """The same as a JSON list, for SQLite. Its trigger asks twice for those before and after a change."""
    return json_of(leaves_of(table, project, metadata))


def _many(table: str, project: str) -> int:
    """The leaf of all objects of a project with too many of them."""
    return _hash(table, project, ())


def _leaves(value: Any, path: tuple[str | None, ...]) -> Iterator[tuple[str | None, ...]]:
    """Each scalar after the keys that lead to it; None stands for a place in a list, where the order does not count."""
    if is_object(value):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif is_list(value):
        for item in value:
            yield from _leaves(item, (*path, None))
    else:
        yield *path, _text(value)


def _text(scalar: Any) -> str:
    """A text that is the same for equal scalars."""
    if isinstance(scalar, str):
        return f"s{scalar}"
    is_whole = isinstance(scalar, float) and scalar.is_integer()
    return repr(int(scalar) if is_whole else scalar)


def _hash(table: str, project: str, leaf: tuple[str | None, ...]) -> int:
    return int.from_bytes(blake2b(orjson.dumps([table, project, *leaf]), digest_size=HASH_SIZE).digest())


# Finding objects


class Leaf(TypedDict):
    """A leaf, and the number of objects with it, up to a limit."""

    leaf: int
    count: int


_asked = each_of("leaves", Number).subquery("asked")
_some = (
    select(metadata_leaves.c.key)
    .where(metadata_leaves.c.leaf == _asked.c.value)
    .limit(bindparam("most", type_=Integer))
    .correlate(_asked)
    .subquery()
)
_counts = Statement(
    select(
        _asked.c.value.label("leaf"),
        select(func.count()).select_from(_some).correlate(_asked).scalar_subquery().label("count"),
    ),
    Leaf,
)


def _is_among(rows: FromClause) -> ColumnElement[bool]:
    """The condition that an object has the leaf, or too many of them."""
    leaves = (bindparam("leaf", type_=Number), bindparam("many_leaves", type_=Number))
    return rows.c.key.in_(select(metadata_leaves.c.key).where(metadata_leaves.c.leaf.in_(leaves)))


def by_leaf(listing: Listing[R], owner: str | None = None) -> Finder[R]:
    """Finds the objects of a list by a leaf of its metadata filter. The list is the project's, or that of each owner,
    whose key is in this column."""
    table = listing.table.name

    def always(rows: FromClause) -> ColumnElement[bool]:
        found = _is_among(rows) & in_checked_project(rows)
        if owner is None:
            return found
        return found & (Unindexed(rows.c[owner]) == parent_key) & of_viewer(rows.c.user_key)

    found = replace(listing, always=always, found=True)
    few = replace(found, quick=True)
    # PostgreSQL would go through the index of the project in the list's order.
    by_gin = replace(listing, always=is_in_project)

    async def counts(read: Reader, scope: Scope, metadata: str, most: int) -> list[Found[R]]:
        leaves = list(islice(_leaves(loads(metadata), ()), LOOKED_UP))
        if not read.has_leaves:
            # GIN does not count: it finds the rows after the first ones of the list were tried.
            return [Found(by_gin, most - (most > STEPS[0]), {})] if leaves and owner is None else []
        asked = {_hash(table, scope.project, leaf) for leaf in leaves}
        many = _many(table, scope.project)
        values = {"leaves": [*asked, many], "most": most}
        rows = await read.fetch(_counts, values, slowly=most > STEPS[0])
        counted = {row["leaf"]: row["count"] for row in rows}
        numbers = {leaf: counted[leaf] + counted[many] for leaf in asked}
        return [
            Found(few if number <= FEWEST else found, number, {"leaf": leaf, "many_leaves": many})
            for leaf, number in numbers.items()
        ]

    return Finder(NAME, counts)
