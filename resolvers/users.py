"""Users: who talks to the application."""

from collections.abc import Sequence
from time import monotonic
from typing import Any
from uuid import uuid4

from models.erasure import erase_user, erasure_of
from models.keys import new_nonce, user_key
from models.rows import UserRow
from models.statements import Record
from models.store import Transaction
from models.users import USER_ALONE, USERS, user_by_id, user_table, users_by_key
from resolvers.connections import Columns, Page, Paging, connect_visible
from resolvers.documents import document_faults, insert_document
from resolvers.errors import BadInput, refuse
from resolvers.filters import FilterBuilder, Given, order_of
from resolvers.ids import global_id
from resolvers.inputs import (
    Rule,
    Values,
    check,
    check_version,
    created,
    key_rule,
    metadata_rule,
    text,
)
from resolvers.json_values import json_text
from resolvers.operation_context import OperationContext
from resolvers.references import follow
from resolvers.updates import given_of, revise, wanted_metadata

RULES: dict[str, Rule] = {
    "user_id": key_rule,
    "email": text,
    "first_name": text,
    "last_name": text,
    "name": text,
    "about": text,
    "metadata": metadata_rule,
}


async def user(context: OperationContext, user_id: str) -> Record | None:
    return await user_by_id(context.read, context.scope, user_id)


async def users_of(context: OperationContext, rows: Sequence[Record]) -> list[UserRow | None]:
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
    builder = FilterBuilder(filter).metadata().lists("user_ids").ranges("created_at", "updated_at")
    if builder.asked.get("emails") is not None:
        builder.asked["emails"] = [email.casefold() for email in builder.asked["emails"]]
    name, descending = order_of(order)
    built = builder.lists("emails").build()
    return await connect_visible(
        context, USERS, USER_ALONE, paging, order=name, descending=descending, filter=built, columns=columns
    )


def display_name(name: str | None, first_name: str | None, last_name: str | None) -> str | None:
    """The name as given, else "first last", else nothing."""
    if name is not None:
        return name
    return " ".join(part for part in (first_name, last_name) if part) or None


def user_row(context: OperationContext, values: Values, now: str) -> dict[str, Any]:
    """Every column of a new user."""
    return {
        "key": user_key(context.scope.project, values["user_id"]),
        "project": context.scope.project,
        "user_id": values["user_id"],
        **own_columns(values),
        "name": values.get("name"),
        "first_name": values.get("first_name"),
        "last_name": values.get("last_name"),
        "about": values.get("about", ""),
        "metadata": json_text(values.get("metadata", {})),
        "created_at": values.get("created_at", now),
        "updated_at": now,
        "version": 1,
        "nonce": values["nonce"] if "nonce" in values else new_nonce(),
    }


def own_columns(values: Values) -> dict[str, str | None]:
    email = values.get("email")
    return {"email": email, "email_folded": None if email is None else email.casefold()}


async def find_user(write: Transaction, context: OperationContext, user_id: str) -> Record:
    """The user a mutation names, who must exist."""
    row = await user_by_id(write, context.scope, user_id)
    if row is None:
        raise refuse("NOT_FOUND", "There is no user with this userId.", "userId")
    return row


async def find_viewer(write: Transaction, context: OperationContext) -> Record:
    """The user whom the request speaks for."""
    row = (await users_by_key(write, context.scope, [context.scope.user or b""]))[0]
    if row is None:
        raise refuse("NOT_FOUND", "The user whom the token speaks for does not exist; the application creates users.")
    return row


async def create_user(context: OperationContext, given: Values) -> Record:
    values = created(given)
    check(values, RULES, more=document_faults(values))
    values.setdefault("user_id", str(uuid4()))

    async def operation(write: Transaction) -> Record:
        if await user_by_id(write, context.scope, values["user_id"]):
            raise refuse("ALREADY_EXISTS", "A user with this userId exists; use updateUser or upsertUser.", "userId")
        row = await user_table.insert(write, user_row(context, values, context.clock.now()))
        for document in values.get("documents", ()):
            await insert_document(write, context, created(document), user=row)
        return row

    return await context.write(operation)


def _wanted(row: Record, values: Values) -> dict[str, Any]:
    wanted = given_of(values, "first_name", "last_name", "name", "about")
    if "email" in values:
        wanted |= own_columns(values)
    if wanted.get("about", "") is None:
        wanted["about"] = ""
    return wanted | wanted_metadata(row["metadata"], values)


async def update_user(context: OperationContext, values: Values) -> Record:
    check(values, RULES)

    async def operation(write: Transaction) -> Record:
        row = await find_user(write, context, values["user_id"])
        check_version(row, values)
        return await revise(write, user_table, row, _wanted(row, values), context.clock.now())

    return await context.write(operation)


async def upsert_user(context: OperationContext, values: Values) -> tuple[Record, bool]:
    """The user, and whether it is new."""
    check(values, RULES)

    async def operation(write: Transaction) -> tuple[Record, bool]:
        row = await user_by_id(write, context.scope, values["user_id"])
        if row is not None:
            return await revise(write, user_table, row, _wanted(row, values), context.clock.now()), False
        return await user_table.insert(write, new), True

    new = user_row(context, {**created(values), "metadata": {}}, context.clock.now()) | wanted_metadata(None, values)
    return await context.write(operation)


async def delete_user(context: OperationContext, values: Values) -> dict[str, Any]:
    """Erases a user; the id that is gone and the receipt. A user who is erased already has the same receipt.

    It waits for the bytes to leave the files, but not for longer than half of the time that the request has left: a
    reader of the database may hold them up, and several erasures in one request have to end in time.
    """
    check(values, RULES)
    user_id = values["user_id"]
    key = user_key(context.scope.project, user_id)

    async def operation(write: Transaction) -> Record:
        if await user_by_id(write, context.scope, user_id) is None:
            erased = await erasure_of(write, key)
            if erased is not None:
                return erased
        row = await find_user(write, context, user_id)
        return await erase_user(write, context.scope, row, context.clock.now())

    erasure = await context.write(operation)
    if erasure["removal"] is not None:
        await context.database.clearing.wait_for(erasure["removal"], (context.allowance.deadline - monotonic()) / 2)
        erasure = await _as_it_is_by_now(context, erasure)
    return {
        "deleted_user_id": global_id("User", key, erasure["nonce"] or 0),
        "receipt": {**erasure, "user_id": user_id},
    }


async def _as_it_is_by_now(context: OperationContext, erasure: Record) -> Record:
    """The same erasure with its `files_cleared_at`; as it was, if the key was erased once more meanwhile."""
    newer = await erasure_of(context.read, erasure["key"])
    return newer if newer is not None and newer["generation"] == erasure["generation"] else erasure
