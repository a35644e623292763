"""Statements on documents."""

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, select

from models.containment import contains
from models.expressions import Parents, in_checked_project, is_in_project, parent_key, parents
from models.keyset import Listing, fetch_by_key, in_list
from models.leaves import by_leaf
from models.locks import hold_memories
from models.rows import DocumentRow
from models.scope import Scope, of_viewer
from models.statements import ByKey, Statement
from models.store import Reader, Transaction
from models.tables import documents
from models.writing import TypedTable

document_table = TypedTable(documents, DocumentRow)

ORDERS = {
    "created_at": ("created_at", "key"),
    "updated_at": ("updated_at", "key"),
    "title": ("title_start", "key"),
}
FILTERS = {"document_ids": in_list("document_id", "document_ids"), **contains()}
SELECTIVE = ("document_ids",)

DOCUMENTS_OF_USER = Listing(
    name="documents of a user",
    table=documents,
    row=DocumentRow,
    always=lambda rows: (rows.c.user_key == parent_key) & in_checked_project(rows) & of_viewer(rows.c.user_key),
    orders=ORDERS,
    filters=FILTERS,
    selective=SELECTIVE,
)
DOCUMENTS_OF_AGENT = Listing(
    name="documents of an agent",
    table=documents,
    row=DocumentRow,
    always=lambda rows: (rows.c.agent_key == parent_key) & in_checked_project(rows) & of_viewer(rows.c.user_key),
    orders=ORDERS,
    filters=FILTERS,
    selective=SELECTIVE,
)

DOCUMENT_FINDERS_OF_USER = (by_leaf(DOCUMENTS_OF_USER, "user_key"),)
DOCUMENT_FINDERS_OF_AGENT = (by_leaf(DOCUMENTS_OF_AGENT, "agent_key"),)

_by_key = ByKey(documents, DocumentRow, where=(of_viewer(documents.c.user_key),))
_delete_of_agent = Statement(
    delete(documents).where(documents.c.agent_key == bindparam("agent"), in_checked_project(documents))
)


_delete = Statement(
    delete(documents).where(
        documents.c.key.in_(select(parent_key).select_from(parents)),
        is_in_project(documents),
        of_viewer(documents.c.user_key),
    )
)


async def documents_by_key(read: Reader, scope: Scope, keys: list[bytes]) -> list[DocumentRow | None]:
    found = await fetch_by_key(read, scope, _by_key, keys)
    if read.held is not None:
        for row in found:
            if row is not None:
                await hold_memories(read, scope, user=row["user_key"], agent=row["agent_key"])
    return found


async def remove_documents(write: Transaction, scope: Scope, rows: Sequence[DocumentRow]) -> None:
    keys = Parents([row["key"] for row in rows])
    await write.execute(_delete, {**scope.values, **keys.values}, slowly=True)


async def delete_documents_of_agent(write: Transaction, scope: Scope, agent: bytes) -> None:
    await write.execute(_delete_of_agent, {**scope.values, "agent": agent}, slowly=True)
