"""The GraphQL types of documents."""

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import strawberry

from breadth import batch_field
from resolvers.agents import agents_of
from resolvers.documents import create_document, delete_document, delete_documents, update_document
from resolvers.users import users_of
from schema.inputs import MODE, VERSION, MetadataMode, OrderDirection, optional, required
from schema.mutations import UserError, errors_field, mutation
from schema.nodes import Node, id_field
from schema.scalars import JSON, DateTime

if TYPE_CHECKING:
    from schema.agents import Agent
    from schema.users import User


@strawberry.type(description="A text that belongs to a user or to an agent.")
class Document(Node):
    id: strawberry.ID = id_field("Document")
    document_id: str | None = required("The client's own key, unique with its owner.")
    title: str = required("Its name.")
    content: str = required("Its text.")
    metadata: JSON = required("The application's own data.")
    user: Annotated["User", strawberry.lazy("schema.users")] | None = batch_field(
        users_of, description="The user it belongs to, if it is a user's.", needs=("user_key",)
    )
    agent: Annotated["Agent", strawberry.lazy("schema.agents")] | None = batch_field(
        agents_of, description="The agent it belongs to, if it is an agent's.", needs=("agent_key",)
    )
    created_at: DateTime = required("The time of its creation.")
    updated_at: DateTime = required("The time of its last change.")
    version: int = required("Starts at 1; every update that changes something adds one.")


@strawberry.input(description="A filter for documents.")
class DocumentFilter:
    document_ids: list[str] | None = optional("Documents with one of these keys of the client's own; at most 100.")
    metadata: JSON | None = optional(
        "Documents whose metadata contains this object, as PostgreSQL's @> does; up to 64 KiB and 4,000 values."
    )


@strawberry.enum(description="The orders of documents; ties by id.")
class DocumentOrderField(Enum):
    CREATED_AT = strawberry.enum_value("CREATED_AT", description="The time of their creation.")
    UPDATED_AT = strawberry.enum_value("UPDATED_AT", description="The time of their last change.")
    TITLE = strawberry.enum_value("TITLE", description="The title, by the code points of its first 100 characters.")


@strawberry.input(description="An order of documents.")
class DocumentOrder:
    field: DocumentOrderField = required("The field to order by.")
    direction: OrderDirection = required("The direction.")


@strawberry.input(description="A document that is created together with its owner.")
class DocumentInput:
    document_id: str | None = optional("The client's own key, 1 to 512 characters, unique with its owner.")
    title: str = required("Its title, up to 64 KiB.")
    content: str = required("Its text, up to 1 MiB.")
    metadata: JSON | None = optional("The application's own data.")


@strawberry.input(description="A new document. It has exactly one owner.")
class CreateDocumentInput:
    document_id: str | None = optional("The client's own key, unique with its owner; makes retries idempotent.")
    user_id: str | None = optional("The user it belongs to.")
    user_email: str | None = optional("The address of the one user it belongs to.")
    agent_id: str | None = optional("The agent it belongs to.")
    title: str = required("Its title, up to 64 KiB.")
    content: str = required("Its text, up to 1 MiB.")
    metadata: JSON | None = optional("The application's own data.")
    created_at: DateTime | None = optional("The time of its creation; now when left out.")


@strawberry.input(description="A change of a document: omitted fields are kept, null fields are cleared.")
class UpdateDocumentInput:
    id: strawberry.ID = required("The document's global id.")
    title: str | None = optional("Its name; not null.")
    content: str | None = optional("Its text; not null.")
    metadata: JSON | None = optional("Metadata to merge or to replace.")
    metadata_mode: MetadataMode | None = optional(MODE)
    expected_version: int | None = optional(VERSION)


@strawberry.input(description="A document to delete.")
class DeleteDocumentInput:
    id: strawberry.ID = required("The document's global id.")


@strawberry.input(description="Documents to delete: those of one user or of one agent.")
class DeleteDocumentsInput:
    user_id: str | None = optional("The user whose documents to delete.")
    agent_id: str | None = optional("The agent whose documents to delete.")
    filter: DocumentFilter | None = optional("The documents to delete, as in a list; all of them when left out.")
    limit: int | None = optional(
        "The most objects to delete, 1 to 1,000; 1,000 when left out. A call deletes up to 4,000,000 characters of "
        "documents, but at least one document."
    )


@strawberry.type(description="The result of createDocument.")
class CreateDocumentPayload:
    document: Document | None = required("The new document, or the stored one when this was a retry.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="The result of updateDocument.")
class UpdateDocumentPayload:
    document: Document | None = required("The document after the update.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="The result of deleteDocument.")
class DeleteDocumentPayload:
    deleted_document_id: strawberry.ID | None = required("The global id of the deleted object.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="The result of deleteDocuments.")
class DeleteDocumentsPayload:
    deleted_document_ids: list[strawberry.ID] = required("The global ids of the deleted objects, the oldest first.")
    has_more: bool | None = required("True if there are more to delete.")
    user_errors: list[UserError] = errors_field()


@strawberry.type
class DocumentMutations:
    create_document: CreateDocumentPayload = mutation(
        create_document,
        CreateDocumentInput,
        lambda document: {"document": document},
        description="Creates a document of a user or of an agent.",
    )
    update_document: UpdateDocumentPayload = mutation(
        update_document,
        UpdateDocumentInput,
        lambda document: {"document": document},
        description="Changes a document.",
    )
    delete_document: DeleteDocumentPayload = mutation(
        delete_document,
        DeleteDocumentInput,
        lambda id: {"deleted_document_id": id},
        description="Deletes a document for good.",
    )
    delete_documents: DeleteDocumentsPayload = mutation(
        delete_documents,
        DeleteDocumentsInput,
        lambda result: {"deleted_document_ids": result[0], "has_more": result[1]},
        description="Deletes documents of a user or an agent for good, by filter.",
        lists=("deleted_document_ids",),
    )
