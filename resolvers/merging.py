"""Merges two users: everything of `gone` moves to `kept`, and what both have is kept once."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, TypedDict

from models.erasure import end_user, erasure_of
from models.formation import AROUND
from models.keys import user_key
from models.merging import (
    OnSubject,
    StandingSummary,
    end_memories,
    make_own,
    memories_on_subjects,
    merge_own_ids,
    summaries_of_user,
    unite_documents,
    unite_memories,
)
from models.moving import DOCUMENTS, MEMORIES, RowKeys, move_rows, note_leaving
from models.rows import ErasureRow, UserRow
from models.store import Transaction
from models.users import user_table, user_to_end
from resolvers.errors import Fault, refuse
from resolvers.formation.rules import ends
from resolvers.inputs import Values, check, key_rule
from resolvers.json_values import Unacceptable, filled_text
from resolvers.operation_context import OperationContext
from resolvers.speakers import own_names, user_name
from resolvers.updates import revise
from resolvers.users import USER, Receipt, find_user_to_end, receipt_of


class Merged(TypedDict):
    user: UserRow
    receipt: Receipt


async def merge_users(context: OperationContext, values: Values) -> Merged:
    """Merges a user into another one and erases it; returns the other one and the receipt. Idempotent: merging the same
    users again returns the same receipt."""
    gone_id, kept_id = values["from_user_id"], values["into_user_id"]
    same = Fault("INVALID", "A user can't be merged into itself; name two users.", ("intoUserId",))
    rules = {"from_user_id": key_rule, "into_user_id": key_rule}
    check(values, rules, more=[same] if gone_id == kept_id else [])

    async def operation(write: Transaction) -> tuple[UserRow, ErasureRow]:
        kept = await user_to_end(write, context.scope, kept_id)
        if kept is not None and await user_to_end(write, context.scope, gone_id) is None:
            erased = await erasure_of(write, user_key(context.scope.project, gone_id))
            if erased is not None and erased["merged_into"] == kept["key"]:
                return kept, erased
        gone = await find_user_to_end(write, context, gone_id, "fromUserId")
        return await _merge(write, context, gone, await find_user_to_end(write, context, kept_id, "intoUserId"))

    user, erasure = await context.write(operation)
    return {"user": user, "receipt": await receipt_of(context, gone_id, erasure)}


async def _merge(
    write: Transaction, context: OperationContext, gone: UserRow, kept: UserRow
) -> tuple[UserRow, ErasureRow]:
    scope, now = context.scope, context.clock.now()
    await note_leaving(write, scope, gone)
    kept = await revise(write, user_table, kept, _attributes(kept, gone), now)
    removed = {"sessions": 0, "messages": 0, "documents": await unite_documents(write, scope, gone, kept)}
    await merge_own_ids(write, scope, DOCUMENTS, gone, kept)
    removed["memories"] = await _merge_memories(write, context, gone, kept)
    await move_rows(write, scope, gone, kept, now)
    return kept, await end_user(write, gone, now, removed, merged_into=kept["key"])


def _attributes(kept: UserRow, gone: UserRow) -> dict[str, Any]:
    """The columns of the merged user: `kept` gets what it lacks."""
    lacking = USER.lacking(kept, gone)
    if user_name(kept) is not None:
        # A name would replace the first and last name that are shown.
        lacking.pop("name", None)
    try:
        metadata = filled_text(kept["metadata"], gone["metadata"])
    except Unacceptable as problem:
        message = (
            f"The metadata of both users together can't be kept. {problem} Shorten that of either with updateUser."
        )
        raise refuse(problem.code, message) from problem
    return {**USER.change(lacking).of(kept), "metadata": metadata}


async def _merge_memories(write: Transaction, context: OperationContext, gone: UserRow, kept: UserRow) -> int:
    """Makes the memories of both as if one user had said it all; returns the number of those removed."""
    scope = context.scope
    await merge_own_ids(write, scope, MEMORIES, gone, kept)
    await make_own(write, scope, gone, sorted(own_names(kept)))
    stated = await memories_on_subjects(write, scope, gone, kept)
    summaries = await summaries_of_user(write, scope, gone)
    if summaries:
        about = {row["about_folded"] for row in summaries}
        summaries += [row for row in await summaries_of_user(write, scope, kept) if row["about_folded"] in about]
    ended = [*await _ended_by_statements(write, stated), *_ended_by_summaries(summaries)]
    await end_memories(write, ended, context.clock.now())
    # Only now: of statements that say the same, one may have ended in between.
    return await unite_memories(write, scope, gone, kept)


async def _ended_by_statements(write: Transaction, stated: Iterable[OnSubject]) -> list[RowKeys]:
    """The memories that later ones on their subject end, each with the one that does. Those that say the same don't end
    each other."""
    ended: list[RowKeys] = []
    for _, on_subject in groupby(stated, lambda row: (row["subject"], row["about_folded"])):
        # The next memory of each text, nearest first.
        later: list[OnSubject] = []
        for row in reversed(list(on_subject)):
            await write.allowance.rest()
            others = [newer for newer in later if newer["fingerprint"] != row["fingerprint"]]
            newer = next((newer for newer in others if _may_end(newer, row) and _ends(newer, row)), None)
            if newer is not None:
                ended.append(RowKeys(row["key"], newer["key"]))
            later = [row, *others][:AROUND]
    return ended


def _may_end(newer: OnSubject, row: OnSubject) -> bool:
    return row["superseded_from"] is None or newer["since"] < row["superseded_from"]


def _ends(newer: OnSubject, row: OnSubject) -> bool:
    return ends(newer["content"], row["content"], row["subject"])


def _ended_by_summaries(summaries: Sequence[StandingSummary]) -> list[RowKeys]:
    """The standing summaries that are not the newest about their person, each with that one."""
    in_order = sorted(summaries, key=lambda row: (row["created_at"], row["key"]))
    newest = {row["about_folded"]: row["key"] for row in in_order}
    return [
        RowKeys(row["key"], newest[row["about_folded"]])
        for row in in_order
        if row["key"] != newest[row["about_folded"]]
    ]
