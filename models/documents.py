"""Statements on documents."""

from sqlalchemy import bindparam, delete

from models.keyset import Listing, contains, fetch_by_key
from models.scope import Scope, of_viewer
from models.sqlite.database import Reader, Transaction
from models.statements import ByKey, DocumentRow, Record, Statement, in_project, parent_key
from models.tables import documents

ORDERS = {"created_at": ("created_at", "key")}
FILTERS = {"metadata": contains()}

DOCUMENTS_OF_USER = Listing(
    name="documents of a user",
    table=documents,
    row=DocumentRow,
    always=lambda rows: (rows.c.user_key == parent_key) & in_project(rows) & of_viewer(rows.c.user_key),
    orders=ORDERS,
    filters=FILTERS,
)
DOCUMENTS_OF_AGENT = Listing(
    name="documents of an agent",
    table=documents,
    row=DocumentRow,
    always=lambda rows: (rows.c.agent_key == parent_key) & in_project(rows) & of_viewer(rows.c.user_key),
    orders=ORDERS,
    filters=FILTERS,
)

_by_key = ByKey(documents, DocumentRow, where=(of_viewer(documents.c.user_key),))
_delete_of_agent = Statement(
    delete(documents).where(documents.c.agent_key == bindparam("agent"), in_project(documents))
)


async def documents_by_key(read: Reader, scope: Scope, keys: list[bytes]) -> list[Record | None]:
    return await fetch_by_key(read, scope, _by_key, keys)


async def delete_documents_of_agent(write: Transaction, scope: Scope, agent: bytes) -> None:
    await write.execute(_delete_of_agent, {**scope.values, "agent": agent}, slowly=True)
