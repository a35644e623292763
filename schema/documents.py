"""Documents, as clients see them."""

from typing import TYPE_CHECKING, Annotated

import strawberry

from breadth import batch_field
from resolvers.agents import agents_of
from resolvers.documents import create_document, delete_document, update_document
from resolvers.users import users_of
from schema.inputs import MODE, VERSION, MetadataMode, optional, required
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
    title: str = required("What it is called.")
    content: str = required("Its text.")
    metadata: JSON = required("The application's own data.")
    user: Annotated["User", strawberry.lazy("schema.users")] | None = batch_field(
        users_of, description="The user it belongs to, if it is a user's.", needs=("user_key",)
    )
    agent: Annotated["Agent", strawberry.lazy("schema.agents")] | None = batch_field(
        agents_of, description="The agent it belongs to, if it is an agent's.", needs=("agent_key",)
    )
    created_at: DateTime = required("When it was created.")
    updated_at: DateTime = required("When it last changed.")
    version: int = required("1 at first, one more at every update that changes something.")


@strawberry.input(description="Which documents.")
class DocumentFilter:
    metadata: JSON | None = optional(
        "Documents whose metadata contains this object, as PostgreSQL's @> does; up to 64 KiB and 4,000 values."
    )


@strawberry.input(description="A document that is created together with its owner.")
class DocumentInput:
    title: str = required("What it is called, up to 64 KiB.")
    content: str = required("Its text, up to 1 MiB.")
    metadata: JSON | None = optional("The application's own data.")


@strawberry.input(description="A new document. It has one owner, exactly.")
class CreateDocumentInput:
    document_id: str | None = optional("The client's own key, unique with its owner; makes a retry safe.")
    user_id: str | None = optional("The user it belongs to.")
    user_email: str | None = optional("The address of the one user it belongs to.")
    agent_id: str | None = optional("The agent it belongs to.")
    title: str = required("What it is called, up to 64 KiB.")
    content: str = required("Its text, up to 1 MiB.")
    metadata: JSON | None = optional("The application's own data.")
    created_at: DateTime | None = optional("When it came into being; now when left out.")


@strawberry.input(description="A change of a document: what is left out is kept, what is null is cleared.")
class UpdateDocumentInput:
    id: strawberry.ID = required("Which document.")
    title: str | None = optional("What it is called; not null.")
    content: str | None = optional("Its text; not null.")
    metadata: JSON | None = optional("Metadata to merge or to replace.")
    metadata_mode: MetadataMode | None = optional(MODE)
    expected_version: int | None = optional(VERSION)


@strawberry.input(description="A document to delete.")
class DeleteDocumentInput:
    id: strawberry.ID = required("Which document.")


@strawberry.type(description="What became of createDocument.")
class CreateDocumentPayload:
    document: Document | None = required("The new document, or the stored one when this was a retry.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="What became of updateDocument.")
class UpdateDocumentPayload:
    document: Document | None = required("The document after the update.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="What became of deleteDocument.")
class DeleteDocumentPayload:
    deleted_document_id: strawberry.ID | None = required("The global id of what is gone.")
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
