"""Messages: the turns of a session, in the order in which they were stored."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from models.appending import append_at_once
from models.keys import message_id_hash, user_key
from models.messages import (
    MESSAGES_OF_SESSION,
    delete_messages,
    deleted_ids,
    message_table,
    messages_between,
    messages_by_message_id,
)
from models.rows import MemoryRow, MessageRow, SessionRow, UserRow
from models.scope import Scope
from models.sessions import owned_by, session_table, session_to_extend, sessions_by_key, summary_is_due
from models.store import Transaction
from models.values import json_of
from models.writing import LONG
from resolvers.connections import Columns, Edge, Listed, Page, Paging, connect_to, part_of
from resolvers.deletions import LARGEST_DELETION
from resolvers.drafts import MESSAGE, Draft, claims_of, drafts_of, first_sent
from resolvers.errors import BadInput, Fault, refuse
from resolvers.feeds import cursors_of
from resolvers.filters import FilterBuilder, Given
from resolvers.formation.forgetting import forget
from resolvers.formation.formation import (
    Claims,
    form_by_rules,
    formed_of,
    give_session,
    summarise,
)
from resolvers.formation.jobs import enqueue, enqueue_again
from resolvers.formation.rules import Claim
from resolvers.ids import message_id
from resolvers.inputs import (
    Values,
    check,
    check_version,
    created,
    faults_of,
    forbidden_field,
    integer_rule,
    key_rule,
)
from resolvers.json_values import same_json
from resolvers.nodes import find_node
from resolvers.operation_context import OperationContext
from resolvers.parts import texts_of
from resolvers.sessions import SESSION, find_session, refuse_other_owner, session_row
from resolvers.updates import given_of, revise
from resolvers.users import find_user, find_viewer

_BY_SEQUENCE = {"field": "SEQUENCE", "direction": "ASC"}
_SAID = ("content", "parts", "tool_calls")
LARGEST_BATCH = 100


async def messages_of_sessions(
    context: OperationContext,
    rows: Sequence[SessionRow],
    paging: Paging,
    filter: Given,
    order: Given = None,
    columns: Columns = None,
) -> list[Page | BadInput]:
    """By default in the order of their sequence."""
    builder = FilterBuilder(filter).lists("message_ids", "roles").names("names").metadata().ranges("created_at")
    part = part_of(order or _BY_SEQUENCE, builder.build(), columns)
    numbers = [row["deleted_through"] for row in rows]
    return await connect_to(context, MESSAGES_OF_SESSION, paging, rows, numbers=numbers, **part)


@dataclass(frozen=True)
class Added:
    """The result of a batch: its messages in the order of the input, the new ones with their claims, and the memories
    formed from them. `forms` is the decision for messages without a choice of their own."""

    session: SessionRow
    messages: list[MessageRow]
    new: Sequence[MessageRow]
    claims: Claims
    forms: bool
    memories: Sequence[MemoryRow] = ()

    @property
    def deduplicated(self) -> int:
        return len(self.messages) - len(self.new)

    @property
    def edges(self) -> list[Edge]:
        """The messages with their cursors in `Session.messages`."""
        return Listed(self.messages, cursors_of(self.session)).edges


def message_faults(scope: Scope, values: Values, path: tuple[str, ...]) -> list[Fault]:
    """The faults of one message of a batch. A user token may only add USER messages, and with the current time."""
    faults = faults_of(values, MESSAGE.rules, path=path)
    if scope.user is not None:
        if values.get("created_at") is not None:
            faults.append(forbidden_field("created_at", *path))
        if values["role"] != "USER":
            message = "With a user token only messages of role USER are added."
            faults.append(Fault("FORBIDDEN", message, (*path, "role")))
    if values.get("content") is None and values.get("tool_calls") is None and values.get("parts") is None:
        message = "A message without `toolCalls` or `parts` needs `content`."
        faults.append(Fault("INVALID", message, (*path, "content")))
    return faults


async def add_messages(context: OperationContext, values: Values) -> Added:
    """Appends a batch, all or nothing; creates an unknown session, restores a deleted one."""
    batch = [created(message) for message in values["messages"]]

    def look() -> list[Fault]:
        faulty = (message_faults(context.scope, message, ("messages", str(i))) for i, message in enumerate(batch))
        return [fault for faults in faulty for fault in faults]

    faults = await context.prepare(look)
    if not 1 <= len(batch) <= LARGEST_BATCH:
        code = "TOO_LARGE" if batch else "INVALID"
        faults = [Fault(code, f"A batch has 1 to {LARGEST_BATCH} messages; this one has {len(batch)}.", ("messages",))]
    check(values, {"session_id": key_rule, "user_id": key_rule}, more=faults)
    drafts = await drafts_of(context, batch, forms=values.get("form_memories"))

    async def operation(write: Transaction) -> Added:
        named = values.get("user_id")
        owner = None if named is None else await find_user(write, context, named)
        if context.scope.user is not None:
            owner = await find_viewer(write, context)
        session, choice = await session_to_extend(write, context.scope.whole_project, values["session_id"])
        if session is not None and not context.may_see(session):
            raise refuse("NOT_FOUND", "There is no session with this sessionId.", "sessionId")
        if session is None:
            columns = SESSION.new({"session_id": values["session_id"]})
            row = session_row(context, columns, context.clock.now(), owned_by(owner))
            session = await session_table.insert(write, row)
        forms = decided(context, values.get("form_memories"), choice, owner and owner["form_memories"])
        return await form(write, context, await append(write, context, session, drafts, owner, forms=forms))

    return await context.write(operation, at_once=lambda write: _append_at_once(write, context, values, drafts))


async def _append_at_once(
    write: Transaction, context: OperationContext, values: Values, drafts: Sequence[Draft]
) -> Added | None:
    """Appends a batch without reading its session first; None, and nothing is changed, if there may be more to do."""
    choice = values.get("form_memories")
    is_plain = all(draft.message_id is None and not draft.claims and draft.forms is choice for draft in drafts)
    scope = _scope_of(context, values.get("user_id"))
    if scope is None or not is_plain or (context.asks_model and choice is not False):
        return None
    appended = await append_at_once(
        write,
        scope,
        values["session_id"],
        [draft.columns for draft in drafts],
        # As many as a transaction takes: one for each message, and one for the session.
        [context.clock.now() for _ in (*drafts, None)],
        choice=choice,
        setting=context.forms_memories,
    )
    if appended is None:
        return None
    session, stored = appended
    return Added(session, stored, stored, {}, bool(stored[0]["forms_memories"]))


def _scope_of(context: OperationContext, named: str | None) -> Scope | None:
    """The scope of the user that an input names; None if it is another user than that of the token."""
    if named is None:
        return context.scope
    user = user_key(context.scope.project, named)
    return Scope(context.scope.project, user) if context.scope.user in (None, user) else None


def decided(context: OperationContext, *choices: bool | None) -> bool:
    """The first choice to form memories that was made: the batch's, the session's, the user's; else the setting."""
    for choice in choices:
        if choice is not None:
            return bool(choice)
    return context.forms_memories


async def form(write: Transaction, context: OperationContext, added: Added) -> Added:
    """Forms memories of the new messages that may form some; for those stored before they exist already."""
    session, count = added.session, len(added.new)
    new = [row for row in added.new if row["forms_memories"]]
    if context.asks_model and new:
        await enqueue(write, context, session, new)
    formed = await form_by_rules(write, context, session, new, added.claims)
    if count < len(added.messages) and (forming := [row for row in added.messages if row["forms_memories"]]):
        formed += await formed_of(write, context, forming)
    # Extractive summaries replace those of a model, if there is none. One falls due also with a message of which none
    # is to be formed, if others of the session form memories.
    is_read = not context.asks_model and count and (new or added.forms)
    if is_read and summary_is_due(session["last_sequence"] - count, session["last_sequence"]):
        summary = await summarise(write, context, session, added=count)
        formed += [summary] if summary is not None else []
    return replace(added, memories=list({memory["key"]: memory for memory in formed}.values())) if formed else added


async def append(
    write: Transaction,
    context: OperationContext,
    session: SessionRow,
    batch: Sequence[Draft],
    owner: UserRow | None = None,
    *,
    forms: bool,
    even_ended: bool = False,
) -> Added:
    """Appends messages to a session within a transaction; with `even_ended` also to an ended one.

    `forms` decides if memories are formed of messages that leave it open.
    """
    known = await _known(write, session, batch)
    is_over = session["ended_at"] is not None and not even_ended
    if is_over and (session["deleted_at"] is not None or any(draft.message_id not in known for draft in batch)):
        raise refuse("SESSION_ENDED", "The session has ended; reopen it with reopenSession first.", "sessionId")
    if owner is not None:
        refuse_other_owner(session, owner["key"])
    session = await _wake(write, context, session, owner)

    rows: list[MessageRow] = []
    inserted: list[MessageRow] = []
    new: list[MessageRow] = []
    claims: dict[int, Sequence[Claim]] = {}
    for index, draft in enumerate(batch):
        own = draft.message_id
        stored = None if own is None else known.get(own)
        if stored is None:
            stored = draft.row(session, session["last_sequence"] + len(new) + 1, context.clock.now(), forms=forms)
            new.append(stored)
            if draft.claims and stored["forms_memories"]:
                claims[stored["sequence"]] = draft.claims
            if own is not None:
                known[own] = stored
        elif not draft.repeats(stored):
            message = (
                "Another message of this session has this messageId; nothing of the batch was kept. Change it with "
                "updateMessage, or use another messageId."
            )
            raise refuse("CONFLICT", message, "messages", str(index), "messageId")
        rows.append(stored)
    if new:
        inserted = await message_table.insert_many(write, new)
        if len(new) == len(rows):
            rows = inserted
        else:
            kept = {row["sequence"]: row for row in inserted}
            rows = [kept.get(row["sequence"], row) for row in rows]
        counted = {"last_sequence": new[-1]["sequence"], "last_activity_at": context.clock.now()}
        session = await session_table.update(write, session, counted)
    return Added(session, rows, inserted, claims, forms)


async def _known(write: Transaction, session: SessionRow, batch: Sequence[Draft]) -> dict[str | None, MessageRow]:
    """The messages of the batch that exist already, by client key; raises CONFLICT for one deleted since."""
    ids = [draft.message_id for draft in batch if draft.message_id is not None]
    if not ids:
        return {}
    gone = await deleted_ids(write, session, [message_id_hash(id) for id in ids])
    for index, draft in enumerate(batch):
        if gone and draft.message_id is not None and message_id_hash(draft.message_id) in gone:
            text = "The message with this messageId was deleted; nothing of the batch was kept. Use another messageId."
            raise refuse("CONFLICT", text, "messages", str(index), "messageId")
    return await messages_by_message_id(write, session, ids)


async def _wake(
    write: Transaction, context: OperationContext, session: SessionRow, owner: UserRow | None
) -> SessionRow:
    """Restores a deleted session, and attaches an ownerless one to the user that the input names."""
    wanted: dict[str, Any] = {"deleted_at": None}
    if owner is not None:
        wanted |= owned_by(owner)
        if session["user_key"] is None:
            await give_session(write, context, session, owner["key"])
    return await revise(write, session_table, session, wanted, context.clock.now())


async def _find(write: Transaction, context: OperationContext, id: str) -> MessageRow:
    """The message that a mutation changes: with a user token, one of role USER."""
    row = await find_node(write, context.scope, id, "Message")
    if row is None:
        raise refuse("NOT_FOUND", "There is no message with this id.", "id")
    if context.scope.user is not None and row["role"] != "USER":
        raise refuse(
            "FORBIDDEN", f"A user token changes messages of role USER only; this one's is {row['role']}.", "id"
        )
    return row


class _Edit(NamedTuple):
    """An update of a message at a version: the part of the work that needs its texts."""

    version: int
    changes: dict[str, Any]
    claims: Sequence[Claim]


def _edit_of(context: OperationContext, row: MessageRow, values: Values) -> _Edit:
    kept: dict[str, Any] = {name: row[name] for name in _SAID} | given_of(values, "content")
    for name in ("parts", "tool_calls"):
        if name in values:
            text = None if values[name] is None else json_of(values[name])
            there = row[name]
            if text is None or there is None or not same_json(text, there):
                kept[name] = text
    is_edited = any(kept[name] != row[name] for name in _SAID)
    texts = texts_of(kept["content"], kept["parts"], kept["tool_calls"])
    changes: dict[str, Any] = {}
    if is_edited:
        changes = {**kept, "parts_text": texts.said, "aside": texts.aside, "digest": first_sent(row)}
    if values.get("token_count") is None and (is_edited or "token_count" in values):
        changes["token_count"] = texts.tokens(context.count_tokens)
    forms = is_edited and row["forms_memories"]
    return _Edit(row["version"], changes, claims_of(row["role"], row["name"], texts.own) if forms else ())


async def _prepared_edit(context: OperationContext, values: Values) -> _Edit:
    """Prepares an edit before the transaction: the message may be long, however small the request."""
    row = await find_node(context.read, context.scope, values["id"], "Message")
    if row is None:
        return _Edit(0, {}, ())
    if len(row["content"]) > LONG:
        return await context.in_thread(_edit_of, context, row, values)
    return await context.prepare(_edit_of, context, row, values)


async def update_message(context: OperationContext, values: Values) -> MessageRow:
    """Edits a message; removes the memories derived from its former text."""
    check(values, MESSAGE.rules, required=MESSAGE.required)
    takes_texts = bool(given_of(values, *_SAID)) or values.get("token_count", 0) is None
    row = None
    while row is None:
        row = await _update(context, values, await _prepared_edit(context, values) if takes_texts else None)
    return row


async def _update(context: OperationContext, values: Values, edit: _Edit | None) -> MessageRow | None:
    """Stores an update; returns None if the message has changed since the edit was prepared."""
    change = MESSAGE.change(values)

    async def operation(write: Transaction) -> MessageRow | None:
        row = await _find(write, context, values["id"])
        check_version(row, values)
        if edit is not None and edit.version != row["version"]:
            return None
        wanted = change.of(row) if edit is None else {**change.of(row), **edit.changes}
        if edit is None or "content" not in edit.changes:
            return await revise(write, message_table, row, wanted, context.clock.now())
        await forget(write, context, [row], edited=True)
        row = await revise(write, message_table, row, wanted, context.clock.now())
        session = (await sessions_by_key(write, context.scope, [row["session_key"]]))[0]
        if row["forms_memories"] and session is not None:
            await form_by_rules(write, context, session, [row], {row["sequence"]: edit.claims})
            if context.asks_model:
                await enqueue_again(write, context, session, {row["sequence"]})
        return row

    return await context.write(operation)


async def delete_message(context: OperationContext, values: Values) -> str:
    """Deletes a message and returns its id; its sequence is never reused."""

    async def operation(write: Transaction) -> str:
        row = await _find(write, context, values["id"])
        await forget(write, context, [row])
        await delete_messages(write, [row])
        return message_id(row["session_key"], row["generation"], row["sequence"])

    return await context.write(operation)


async def delete_range(context: OperationContext, values: Values) -> tuple[list[str], bool]:
    """Deletes messages of a range; returns their ids, and True if the range has more."""
    check(values, {"session_id": key_rule, "from_sequence": integer_rule(1), "to_sequence": integer_rule(1)})
    first, last = values.get("from_sequence"), values.get("to_sequence")
    if first is not None and last is not None and first > last:
        raise refuse("INVALID", f"The range ends at {last} before it starts at {first}.", "toSequence")

    async def operation(write: Transaction) -> tuple[list[str], bool]:
        session = await find_session(write, context, values["session_id"])
        to = session["last_sequence"] if last is None else last
        gone, has_more = await messages_between(write, session, first or 1, to, LARGEST_DELETION)
        if gone:
            await forget(write, context, gone)
            await delete_messages(write, gone)
        return [message_id(row["session_key"], row["generation"], row["sequence"]) for row in gone], has_more

    return await context.write(operation)
