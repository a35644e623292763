"""Merges two users: everything of `gone` moves to `kept`, and what both have is kept once."""

from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

from models.erasure import end_user
from models.memories import memories_by_key, standing_summaries
from models.merging import (
    AlikeRow,
    alike_memories,
    contested_memories,
    make_own,
    merge_own_ids,
    summarised_speakers,
    unite,
)
from models.moving import DOCUMENTS, MEMORIES, RowKeys, move_rows
from models.rows import ErasureRow, UserRow
from models.store import Transaction
from models.users import user_table
from resolvers.errors import Fault, refuse
from resolvers.formation.formation import settle
from resolvers.inputs import Values, check, key_rule
from resolvers.json_values import Unacceptable, filled_text
from resolvers.memory_rows import supersede
from resolvers.operation_context import OperationContext
from resolvers.speakers import own_names, user_name
from resolvers.updates import revise
from resolvers.users import USER, Receipt, find_user, receipt_of


class Merged(TypedDict):
    user: UserRow
    receipt: Receipt


async def merge_users(context: OperationContext, values: Values) -> Merged:
    """Merges a user into another one and erases it; returns the other one and the receipt."""
    gone_id, kept_id = values["from_user_id"], values["into_user_id"]
    same = Fault("INVALID", "A user can't be merged into itself; name two users.", ("intoUserId",))
    rules = {"from_user_id": key_rule, "into_user_id": key_rule}
    check(values, rules, more=[same] if gone_id == kept_id else [])

    async def operation(write: Transaction) -> tuple[UserRow, ErasureRow]:
        gone = await find_user(write, context, gone_id, "fromUserId")
        kept = await find_user(write, context, kept_id, "intoUserId")
        now = context.clock.now()
        kept = await revise(write, user_table, kept, _attributes(kept, gone), now)
        removed = {
            "documents": await merge_own_ids(write, context.scope, DOCUMENTS, gone, kept),
            "memories": await _merge_memories(write, context, gone, kept),
        }
        return kept, await end_user(write, gone, now, {"sessions": 0, "messages": 0, **removed})

    user, erasure = await context.write(operation)
    return {"user": user, "receipt": await receipt_of(context, gone_id, erasure)}


def _attributes(kept: UserRow, gone: UserRow) -> dict[str, Any]:
    """The columns of the merged user: `kept` gets what it lacks."""
    lacking = USER.lacking(kept, gone)
    if user_name(kept) is not None:
        # A name would replace the first and last name that are shown.
        lacking.pop("name", None)
    try:
        metadata = filled_text(kept["metadata"], gone["metadata"])
    except Unacceptable as problem:
        raise refuse(
            problem.code, f"The merged metadata can't be kept. {problem} Shorten it with updateUser."
        ) from problem
    return {**USER.change(lacking).of(kept), "metadata": metadata}


async def _merge_memories(write: Transaction, context: OperationContext, gone: UserRow, kept: UserRow) -> int:
    """Moves everything to `kept`, whose memories then are as if one user had said it all; returns the number of
    memories removed."""
    scope, now = context.scope, context.clock.now()
    removed = await merge_own_ids(write, scope, MEMORIES, gone, kept)
    await make_own(write, scope, gone, sorted(own_names(kept)))
    alike = _taken_over(await alike_memories(write, scope, gone, kept, now))
    await unite(write, MEMORIES, alike)
    contested = await contested_memories(write, scope, gone, kept)
    speakers = await summarised_speakers(write, scope, gone)
    await move_rows(write, scope, gone, kept, now)
    for key in contested:
        await context.rest()
        # Read anew: one that came before may have ended it.
        row = (await memories_by_key(write, scope, [key]))[0]
        if row is not None:
            await settle(write, context, row)
    for about in speakers:
        standing = await standing_summaries(write, scope, owner=("user", kept["key"]), about=about)
        newest = max(standing, key=lambda row: (row["created_at"], row["key"]))
        await supersede(write, context, newest, [row for row in standing if row["key"] != newest["key"]])
    return removed + len(alike)


def _taken_over(rows: Iterable[AlikeRow]) -> list[RowKeys]:
    """Which memories are removed, and those that take their place: of memories that say the same one stays.

    It is one with an own id, else a declared one, else one of `kept`. Others with an own id stay, too.
    """
    groups: dict[tuple[bytes, str | None], list[AlikeRow]] = {}
    for row in rows:
        groups.setdefault((row["fingerprint"], row["about_folded"]), []).append(row)
    taken_over: list[RowKeys] = []
    for group in groups.values():
        best = max(group, key=_standing)
        taken_over += [RowKeys(row["key"], best["key"]) for row in _removed(group, best)]
    return taken_over


def _standing(row: AlikeRow) -> tuple[bool, bool, int]:
    return row["memory_id"] is not None, row["method"] == "DECLARED", row["is_kept"]


def _removed(group: Sequence[AlikeRow], best: AlikeRow) -> Iterable[AlikeRow]:
    """What one user has twice was so before, and stays."""
    return (row for row in group if row["memory_id"] is None and row["is_kept"] != best["is_kept"])
