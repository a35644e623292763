"""Users: the people who talk to the application."""

from collections.abc import Sequence
from time import monotonic
from typing import Any, TypedDict, cast

from models.erasure import end_user, erase_user, erasure_of
from models.keys import new_nonce, user_key
from models.moving import move_everything
from models.rows import DocumentRow, ErasureRow, MemoryRow, SessionRow, UserRow
from models.sort_texts import ascending, descending
from models.store import Transaction
from models.users import (
    USER_ALONE,
    USER_FINDERS,
    USERS,
    USERS_TRIED,
    user_by_id,
    user_table,
    user_to_end,
    users_by_key,
)
from resolvers.connections import Columns, Page, Paging, connect, part_of
from resolvers.documents import DocumentOwner
from resolvers.errors import BadInput, refuse
from resolvers.filters import FilterBuilder, Given
from resolvers.finding import connect_found
from resolvers.ids import global_id
from resolvers.inputs import Values, check, key_rule, text
from resolvers.nouns import (
    CREATED_AT,
    FORM_MEMORIES,
    KEY,
    METADATA,
    PROJECT,
    UPDATED_AT,
    VERSION,
    Attribute,
    Derived,
    Internal,
)
from resolvers.operation_context import OperationContext
from resolvers.participants import Participant
from resolvers.references import follow


def _folded(email: str | None) -> str | None:
    return None if email is None else email.casefold()


def display_name(name: str | None, first_name: str | None, last_name: str | None) -> str | None:
    """The name as given, else "first last", else None."""
    if name is not None:
        return name
    return " ".join(part for part in (first_name, last_name) if part) or None


def _keys(project: str, columns: dict[str, Any]) -> dict[str, Any]:
    """The columns of a new user's key; an import gives the nonce."""
    nonce = columns["nonce"]
    return {"key": user_key(project, columns["user_id"]), "nonce": new_nonce() if nonce is None else nonce}


NAMES = ("name", "first_name", "last_name")

USER = Participant(
    "User",
    KEY,
    PROJECT,
    Attribute("user_id", key_rule, fixed=True),
    Attribute("email", text),
    Derived("email_folded", _folded, of=("email",)),
    Attribute("first_name", text),
    Attribute("last_name", text),
    Attribute("name", text),
    Attribute("about", text, default=""),
    METADATA,
    CREATED_AT,
    UPDATED_AT,
    VERSION,
    Internal("nonce", type="integer"),
    Derived("name_ascending", lambda *names: ascending(display_name(*names)), of=NAMES),
    Derived("name_descending", lambda *names: descending(display_name(*names)), of=NAMES),
    Derived("email_ascending", ascending, of=("email",)),
    Derived("email_descending", descending, of=("email",)),
    FORM_MEMORIES,
    table=user_table,
    by_id=user_by_id,
    to_end=user_to_end,
    keys=_keys,
    as_owner=lambda row: DocumentOwner(user=row),
)


async def user(context: OperationContext, user_id: str) -> UserRow | None:
    return await user_by_id(context.read, context.scope, user_id)


async def users_of(
    context: OperationContext, rows: Sequence[SessionRow | MemoryRow | DocumentRow]
) -> list[UserRow | None]:
    """The user of each session, memory or document."""
    return await follow(context, users_by_key, [row["user_key"] for row in rows])


async def list_users(
    context: OperationContext,
    parents: Sequence[object],
    paging: Paging,
    filter: Given,
    order: Given,
    columns: Columns = None,
) -> list[Page | BadInput]:
    builder = FilterBuilder(filter).words("text").metadata().lists("user_ids").ranges("created_at", "updated_at")
    if builder.asked.get("emails") is not None:
        builder.asked["emails"] = [email.casefold() for email in builder.asked["emails"]]
    built = builder.lists("emails").build()
    part = part_of(order, built, columns)
    if context.scope.user is None:
        return await connect_found(context, USERS, USERS_TRIED, USER_FINDERS, paging, **part)
    return await connect(context, USER_ALONE, paging, [context.scope.user], **part)


find_user = USER.find
find_user_to_end = USER.find_to_end
create_user = USER.create
update_user = USER.update
upsert_user = USER.upsert


async def rename_user(context: OperationContext, values: Values) -> UserRow:
    """Gives a user another userId, along with everything of theirs; tokens of the old one are refused from now on."""
    check(values, {**USER.rules, "new_user_id": key_rule})
    new_id = values["new_user_id"]

    async def operation(write: Transaction) -> UserRow:
        row = await find_user_to_end(write, context, values["user_id"])
        if row["user_id"] == new_id:
            return row
        if await user_by_id(write, context.scope, new_id) is not None:
            message = "A user with this userId exists; choose another one, or use mergeUsers to make one user of both."
            raise refuse("ALREADY_EXISTS", message, "newUserId")
        now = context.clock.now()
        keys = {"key": user_key(context.scope.project, new_id), "user_id": new_id, "nonce": new_nonce()}
        changes = {**keys, "updated_at": now, "version": row["version"] + 1}
        renamed = await user_table.insert(write, cast(UserRow, {**dict(row), **changes}))
        await move_everything(write, context.scope, row, renamed)
        await end_user(write, row, now)
        return renamed

    return await context.write(operation)


async def find_viewer(write: Transaction, context: OperationContext) -> UserRow:
    """The user of the request's token."""
    row = (await users_by_key(write, context.scope, [context.scope.user or b""]))[0]
    if row is None:
        raise refuse("NOT_FOUND", "The user whom the token speaks for does not exist; the application creates users.")
    return row


class Receipt(ErasureRow):
    """The receipt of a user's erasure."""

    user_id: str


class Erased(TypedDict):
    deleted_user_id: str
    receipt: Receipt


async def delete_user(context: OperationContext, values: Values) -> Erased:
    """Erases a user; returns the id and the receipt. Idempotent: erasing a user again returns the same receipt.

    It waits for the bytes to leave the files, up to half of the time that the request has left: a reader of the
    database may delay that, and several erasures in one request have to end before its deadline.
    """
    check(values, USER.rules)
    user_id = values["user_id"]
    key = user_key(context.scope.project, user_id)

    async def operation(write: Transaction) -> ErasureRow:
        if await user_to_end(write, context.scope, user_id) is None:
            erased = await erasure_of(write, key)
            if erased is not None:
                return erased
        row = await find_user_to_end(write, context, user_id)
        return await erase_user(write, context.scope, row, context.clock.now())

    erasure = await context.write(operation)
    return {
        "deleted_user_id": global_id("User", key, erasure["nonce"] or 0),
        "receipt": await receipt_of(context, user_id, erasure),
    }


async def receipt_of(context: OperationContext, user_id: str, erasure: ErasureRow) -> Receipt:
    """The receipt of an erasure, after its bytes have left the files, unless that takes too long."""
    if erasure["removal"] is not None:
        await context.database.clearing.wait_for(erasure["removal"], (context.allowance.deadline - monotonic()) / 2)
        erasure = await _as_it_is_by_now(context, erasure)
    return {**erasure, "user_id": user_id}


async def _as_it_is_by_now(context: OperationContext, erasure: ErasureRow) -> ErasureRow:
    """The same erasure with its `files_cleared_at`; unchanged if the key was erased again meanwhile."""
    newer = await erasure_of(context.read, erasure["key"])
    return newer if newer is not None and newer["generation"] == erasure["generation"] else erasure
