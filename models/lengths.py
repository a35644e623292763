"""Lengths of contents, for work that has to be bounded by them."""

from collections.abc import Sequence
from typing import TypedDict

from sqlalchemy import func, select

from models.expressions import CrossJoin, Parents, is_in_project, parent_key, parents
from models.scope import Scope, of_viewer
from models.statements import Statement
from models.store import Reader
from models.tables import documents, memories


class Length(TypedDict):
    """The number of characters of a content."""

    length: int


_lengths = {
    table.name: Statement(
        select(func.length(table.c.content).label("length"))
        .select_from(CrossJoin(parents, table))
        .where(table.c.key == parent_key, is_in_project(table), of_viewer(table.c.user_key))
        .order_by(parents.c.key),
        Length,
    )
    for table in (documents, memories)
}


async def lengths_of(read: Reader, scope: Scope, table: str, keys: Sequence[bytes]) -> list[int]:
    """The number of characters of the content of each of these documents or memories."""
    of = Parents(list(keys))
    return [row["length"] for row in await read.fetch(_lengths[table], {**scope.values, **of.values}, slowly=True)]
