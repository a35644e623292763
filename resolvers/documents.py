"""Documents: texts that belong to a user or to an agent."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from models.agents import agent_by_id
from models.documents import (
    DOCUMENT_FINDERS_OF_AGENT,
    DOCUMENT_FINDERS_OF_USER,
    DOCUMENTS_OF_AGENT,
    DOCUMENTS_OF_USER,
    document_table,
    documents_by_key,
    remove_documents,
)
from models.keys import document_key, identity
from models.locks import hold_memories
from models.rows import AgentRow, DocumentRow, UserRow
from models.sort_texts import start_of
from models.sources import Sources, forget_sources
from models.store import Reader, Transaction
from models.users import user_by_id, users_by_email
from models.values import json_of
from resolvers.connections import Columns, Page, Paging, connect, connect_to, part_of
from resolvers.deletions import delete_found, deletion_of
from resolvers.errors import BadInput, Fault, refuse
from resolvers.filters import Filter, FilterBuilder, Given
from resolvers.finding import narrowed
from resolvers.ids import global_id
from resolvers.inputs import (
    CONTENT_BYTES,
    DOCUMENTS_AT_ONCE,
    TEXT_BYTES,
    Values,
    check,
    check_version,
    created,
    faults_of,
    key_rule,
    required_text,
    text,
)
from resolvers.nodes import find_node
from resolvers.nouns import (
    CREATED_AT,
    METADATA,
    PROJECT,
    UPDATED_AT,
    VERSION,
    Attribute,
    Derived,
    Internal,
    Noun,
    stamped,
)
from resolvers.operation_context import OperationContext
from resolvers.updates import revise


def _digest(title: str, content: str) -> bytes:
    """The digest of the fields that a retry must repeat."""
    return blake2b(json_of([title, content]).encode(), digest_size=16).digest()


DOCUMENT = Noun(
    "Document",
    Internal("key", type="key", exported=True),
    PROJECT,
    Attribute("document_id", key_rule, fixed=True),
    Internal("user_key", type="key"),
    Internal("agent_key", type="key"),
    Attribute("title", required_text(TEXT_BYTES), required=True),
    Attribute("content", required_text(CONTENT_BYTES), required=True),
    METADATA,
    Derived("digest", _digest, of=("title", "content"), type="key", kept=True, exported=True),
    CREATED_AT,
    UPDATED_AT,
    VERSION,
    Derived("title_start", start_of, of=("title",)),
    references={"user_id": key_rule, "user_email": text, "agent_id": key_rule},
)
OWNERS = ("user_id", "user_email", "agent_id")


@dataclass(frozen=True)
class DocumentOwner:
    """The user or the agent that a document belongs to."""

    user: UserRow | None = None
    agent: AgentRow | None = None


def document_filter(given: Given) -> Filter:
    return FilterBuilder(given).lists("document_ids").metadata().build()


async def documents_of_users(
    context: OperationContext,
    users: Sequence[UserRow],
    paging: Paging,
    filter: Given,
    order: Given,
    columns: Columns = None,
) -> list[Page | BadInput]:
    part = part_of(order, document_filter(filter), columns)
    listing, part = await narrowed(context, DOCUMENTS_OF_USER, DOCUMENT_FINDERS_OF_USER, len(users), part)
    return await connect_to(context, listing, paging, users, **part)


async def documents_of_agents(
    context: OperationContext,
    agents: Sequence[AgentRow],
    paging: Paging,
    filter: Given,
    order: Given,
    columns: Columns = None,
) -> list[Page | BadInput]:
    context.only_service("read an agent's documents")
    part = part_of(order, document_filter(filter), columns)
    listing, part = await narrowed(context, DOCUMENTS_OF_AGENT, DOCUMENT_FINDERS_OF_AGENT, len(agents), part)
    return await connect(context, listing, paging, [row["key"] for row in agents], **part)


def document_row(
    context: OperationContext, columns: dict[str, Any], *, user: UserRow | None = None, agent: AgentRow | None = None
) -> DocumentRow:
    """Builds the row of a new document of a user or an agent."""
    owner = identity(user["key"], user["nonce"]) if user else agent["key"] if agent else b""
    return stamped(
        DocumentRow,
        columns,
        context.clock.now(),
        project=context.scope.project,
        key=document_key(owner, columns["document_id"]),
        user_key=user["key"] if user else None,
        agent_key=agent["key"] if agent else None,
    )


async def insert_document(
    write: Transaction, context: OperationContext, columns: dict[str, Any], owner: DocumentOwner, *path: str
) -> DocumentRow:
    """Stores a document of a `user` or an `agent`; for a retry returns the one that the first attempt stored.

    `path` is the document's place in the input.
    """
    row = document_row(context, columns, user=owner.user, agent=owner.agent)
    stored = (await documents_by_key(write, context.scope, [row["key"]]))[0]
    if stored is None:
        return await document_table.insert(write, row)
    if stored["digest"] != row["digest"]:
        message = "Another document bears this documentId; use updateDocument, or another id."
        raise refuse("CONFLICT", message, *path, "documentId")
    return stored


def document_faults(values: Values) -> list[Fault]:
    """Faults of the documents in the input of a new user or agent."""
    documents = values.get("documents", ())
    if len(documents) > DOCUMENTS_AT_ONCE:
        message = f"{len(documents)} documents are too many at once; send at most {DOCUMENTS_AT_ONCE}."
        return [Fault("TOO_LARGE", message, ("documents",))]
    return [
        fault
        for index, document in enumerate(documents)
        for fault in faults_of(document, DOCUMENT.rules, path=("documents", str(index)))
    ]


async def find_owner(read: Reader, context: OperationContext, values: Values) -> DocumentOwner:
    """The single owner that the input of a new document names."""
    if "agent_id" in values:
        agent = await agent_by_id(read, context.scope, values["agent_id"])
        if agent is None:
            raise refuse("NOT_FOUND", "There is no agent with this agentId.", "agentId")
        return DocumentOwner(agent=agent)
    if "user_id" in values:
        found = await user_by_id(read, context.scope, values["user_id"])
        if found is None:
            raise refuse("NOT_FOUND", "There is no user with this userId.", "userId")
        return DocumentOwner(user=found)
    bearers = await users_by_email(read, context.scope, values["user_email"])
    if not bearers:
        raise refuse("NOT_FOUND", "No user bears this e-mail address.", "userEmail")
    if len(bearers) > 1:
        raise refuse("CONFLICT", "Several users bear this e-mail address; name one with `userId`.", "userEmail")
    # By the key, which keeps the user from being erased meanwhile.
    return await find_owner(read, context, {"user_id": bearers[0]["user_id"]})


async def create_document(context: OperationContext, given: Values) -> DocumentRow:
    values = created(given)
    owners = [name for name in OWNERS if name in values]
    several = Fault("INVALID", "A document has one owner: give one of `userId`, `userEmail` and `agentId`.")
    check(values, DOCUMENT.rules, more=[several] if len(owners) != 1 else [])
    columns = DOCUMENT.new(values)

    async def operation(write: Transaction) -> DocumentRow:
        return await insert_document(write, context, columns, await find_owner(write, context, values))

    return await context.write(operation)


async def _find(write: Transaction, context: OperationContext, id: str) -> DocumentRow:
    row = await find_node(write, context.scope, id, "Document")
    if row is None:
        raise refuse("NOT_FOUND", "There is no document with this id.", "id")
    return row


async def update_document(context: OperationContext, values: Values) -> DocumentRow:
    check(values, DOCUMENT.rules, required=DOCUMENT.required)
    change = DOCUMENT.change(values)

    async def operation(write: Transaction) -> DocumentRow:
        row = await _find(write, context, values["id"])
        check_version(row, values)
        wanted = change.of(row)
        if wanted.get("content", row["content"]) != row["content"]:
            await forget_sources(write, Sources.of_documents([row]), formed_only=True)
        return await revise(write, document_table, row, wanted, context.clock.now())

    return await context.write(operation)


async def delete_document(context: OperationContext, values: Values) -> str:
    """Deletes a document and returns its id."""

    async def operation(write: Transaction) -> str:
        row = await _find(write, context, values["id"])
        await forget_sources(write, Sources.of_documents([row]))
        await document_table.delete(write, row)
        return global_id("Document", row["key"])

    return await context.write(operation)


async def delete_documents(context: OperationContext, values: Values) -> tuple[list[str], bool]:
    """Deletes documents of a user or an agent; returns their ids, and True if there are more."""
    several = "These are the documents of one user or one agent: give `userId` or `agentId`."
    owner, part = deletion_of(values, ("user_id", "agent_id"), several, document_filter)

    async def find(read: Reader) -> tuple[str, bytes]:
        found = await find_owner(read, context, {owner: values[owner]})
        user, agent = found.user and found.user["key"], found.agent and found.agent["key"]
        await hold_memories(read, context.scope, user=user, agent=agent)
        return (
            ("user_key", found.user["key"]) if found.user else ("agent_key", found.agent["key"] if found.agent else b"")
        )

    async def remove(write: Transaction, rows: Sequence[DocumentRow]) -> None:
        await forget_sources(write, Sources.of_documents(rows))
        await remove_documents(write, context.scope, rows)

    listing = DOCUMENTS_OF_USER if owner == "user_id" else DOCUMENTS_OF_AGENT
    gone, has_more = await delete_found(context, listing, part, find, remove)
    return [global_id("Document", key) for key in gone], has_more
