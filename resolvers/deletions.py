"""Deletions by filter: a mutation removes a part of one owner's list, and is repeated until there is no more."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from models.expressions import Parents
from models.keyset import Listing, Slice, fetch_again, fetch_pages
from models.lengths import lengths_of
from models.rows import DocumentRow, MemoryRow
from models.scope import Scope
from models.store import Reader, Transaction
from resolvers.errors import BadInput, Fault, refuse
from resolvers.filters import Filter, Given
from resolvers.inputs import Values, check, integer_rule, key_rule
from resolvers.operation_context import OperationContext

LARGEST_DELETION = 1000
DELETED_CHARACTERS = 4_000_000
"""Characters of contents that are deleted together, which takes 50 to 150 ms."""

_MEASURED = 100
"""Objects whose lengths are read together."""

R = TypeVar("R", DocumentRow, MemoryRow)


class Deletion(NamedTuple):
    """The field that names the owner, and the part of its list to delete, the oldest objects first."""

    owner: str
    part: Slice


def deletion_of(
    values: Values, owners: tuple[str, ...], several: str, filtered: Callable[[Given], Filter], everything: Given = None
) -> Deletion:
    """Checks the input of a deletion; the refusal `several` is for more or less than one owner.

    `everything` is the filter for an input without one.
    """
    rules: dict[str, Any] = {**dict.fromkeys(owners, key_rule), "limit": integer_rule(1, LARGEST_DELETION)}
    named = [name for name in owners if values.get(name) is not None]
    check(values, rules, more=[Fault("INVALID", several)] if len(named) != 1 else [])
    given = values.get("filter")
    try:
        filter = filtered(everything if given is None else given)
    except BadInput as problem:
        raise refuse("INVALID", str(problem), "filter") from problem
    limit = values.get("limit") or LARGEST_DELETION
    part = Slice("created_at", given=filter.given, values=filter.values, columns=("key",), limit=limit)
    return Deletion(named[0], part)


async def delete_found(
    context: OperationContext,
    listing: Listing[R],
    part: Slice,
    owner: Callable[[Reader], Awaitable[tuple[str, bytes]]],
    remove: Callable[[Transaction, Sequence[R]], Awaitable[None]],
) -> tuple[list[bytes], bool]:
    """Removes the part of an owner's list; returns the keys of what was removed, and True if there is more.

    `owner` finds the owner's column and key. What is to be removed is found before the transaction, since a filter may
    have to go through the whole list, and looked at again in it.
    """
    _, key = await owner(context.read)
    (page,) = await fetch_pages(context.read, context.scope, listing, part, Parents([key]))

    async def operation(write: Transaction) -> tuple[list[bytes], bool]:
        still = await fetch_again(write, context.scope, listing, await owner(write), part, page.rows)
        gone = await _together(write, context.scope, listing.table.name, still)
        if gone:
            await remove(write, gone)
        return [row["key"] for row in gone], page.has_more or len(gone) < len(still)

    return await context.write(operation)


async def _together(read: Reader, scope: Scope, table: str, rows: Sequence[R]) -> Sequence[R]:
    """The first of these documents or memories, up to a length of them all: other writes wait while texts leave the
    index."""
    left = DELETED_CHARACTERS
    for start in range(0, len(rows), _MEASURED):
        some = [row["key"] for row in rows[start : start + _MEASURED]]
        for n, length in enumerate(await lengths_of(read, scope, table, some), start):
            left -= length
            if left < 0:
                return rows[: max(n, 1)]
    return rows
