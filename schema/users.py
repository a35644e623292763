"""Users, as clients see them."""

from typing import TYPE_CHECKING, Annotated

import strawberry

from breadth import batch_field, computed_field
from resolvers.documents import documents_of_users
from resolvers.memories import memories_of_users, summaries_of_users
from resolvers.sessions import sessions_of_users
from resolvers.users import create_user, delete_user, display_name, update_user, upsert_user
from schema.connections import Connection, connection_field
from schema.contexts import Context, context_of_user
from schema.documents import Document, DocumentFilter, DocumentInput
from schema.inputs import MODE, VERSION, DateTimeRange, MetadataMode, OrderDirection, optional, required
from schema.mutations import UserError, errors_field, mutation
from schema.nodes import Node, id_field
from schema.scalars import JSON, DateTime

if TYPE_CHECKING:
    from schema.memories import Memory
    from schema.sessions import Session

from enum import Enum

from schema.memory_filters import MemoryFilter, MemoryOrder
from schema.session_filters import SessionFilter, SessionOrder

LazySession = Annotated["Session", strawberry.lazy("schema.sessions")]
LazyMemory = Annotated["Memory", strawberry.lazy("schema.memories")]


@strawberry.type(description="Somebody who talks to the application.")
class User(Node):
    id: strawberry.ID = id_field("User")
    user_id: str = required("The application's own key.")
    email: str | None = required("The e-mail address; several users may bear the same.")
    first_name: str | None = required("The first name.")
    last_name: str | None = required("The last name.")
    name: str | None = computed_field(
        display_name, description='As given, else "first last", else null.', needs=("name", "first_name", "last_name")
    )
    about: str = required('What the application knows of the user; "" when nothing was given.')
    metadata: JSON = required("The application's own data.")
    created_at: DateTime = required("When the user was created.")
    updated_at: DateTime = required("When the user's own attributes last changed.")
    version: int = required("1 at first, one more at every update that changes something.")
    sessions: Connection[LazySession] = connection_field(
        sessions_of_users,
        description="The user's sessions, newest first unless ordered otherwise.",
        needs=("key", "nonce"),
        filter=SessionFilter,
        order=SessionOrder,
    )
    memories: Connection[LazyMemory] = connection_field(
        memories_of_users,
        description="What is known about the user, newest first unless ordered otherwise.",
        filter=MemoryFilter,
        order=MemoryOrder,
        needs=("key", "nonce"),
    )
    documents: Connection[Document] = connection_field(
        documents_of_users,
        description="The user's documents, newest first.",
        filter=DocumentFilter,
        needs=("key", "nonce"),
    )
    summary: LazyMemory | None = batch_field(
        summaries_of_users,
        description="The standing summary of this user, apart from any session.",
        needs=("key",),
    )
    context: Context | None = context_of_user()


@strawberry.input(description="Which users; all conditions must hold.")
class UserFilter:
    metadata: JSON | None = optional(
        "Users whose metadata contains this object, as PostgreSQL's @> does; up to 64 KiB and 4,000 values."
    )
    user_ids: list[str] | None = optional("Users with one of these keys; at most 100.")
    emails: list[str] | None = optional("Users with one of these addresses, whatever the case; at most 100.")
    created_at: DateTimeRange | None = optional("When they were created.")
    updated_at: DateTimeRange | None = optional("When they last changed.")


@strawberry.enum(description="What users are ordered by; ties by userId.")
class UserOrderField(Enum):
    CREATED_AT = strawberry.enum_value("CREATED_AT", description="When they were created.")
    UPDATED_AT = strawberry.enum_value("UPDATED_AT", description="When they last changed.")
    USER_ID = strawberry.enum_value("USER_ID", description="Their key, by code points.")


@strawberry.input(description="An order of users.")
class UserOrder:
    field: UserOrderField = required("What to order by.")
    direction: OrderDirection = required("Which way.")


@strawberry.input(description="A new user.")
class CreateUserInput:
    user_id: str | None = optional("The application's own key, 1 to 512 characters; one is made when left out.")
    email: str | None = optional("The e-mail address.")
    first_name: str | None = optional("The first name.")
    last_name: str | None = optional("The last name.")
    name: str | None = optional("The full name.")
    about: str | None = optional("What the application knows of the user, up to 64 KiB.")
    metadata: JSON | None = optional("The application's own data.")
    documents: list[DocumentInput] | None = optional("Documents to create with the user; at most 100.")
    created_at: DateTime | None = optional("When the user came into being; now when left out.")


@strawberry.input(description="A change of a user: what is left out is kept, what is null is cleared.")
class UpdateUserInput:
    user_id: str = required("Which user.")
    email: str | None = optional("The e-mail address.")
    first_name: str | None = optional("The first name.")
    last_name: str | None = optional("The last name.")
    name: str | None = optional("The full name.")
    about: str | None = optional('What the application knows of the user; null makes it "".')
    metadata: JSON | None = optional("Metadata to merge or to replace.")
    metadata_mode: MetadataMode | None = optional(MODE)
    expected_version: int | None = optional(VERSION)


@strawberry.input(description="A user to create, or to update when there is one under the key.")
class UpsertUserInput:
    user_id: str = required("The application's own key, 1 to 512 characters.")
    email: str | None = optional("The e-mail address.")
    first_name: str | None = optional("The first name.")
    last_name: str | None = optional("The last name.")
    name: str | None = optional("The full name.")
    about: str | None = optional("What the application knows of the user, up to 64 KiB.")
    metadata: JSON | None = optional("Metadata to merge or to replace.")
    metadata_mode: MetadataMode | None = optional(MODE)


@strawberry.input(description="A user to erase.")
class DeleteUserInput:
    user_id: str = required("Which user.")


@strawberry.type(description="What became of createUser.")
class CreateUserPayload:
    user: User | None = required("The new user.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="What became of updateUser.")
class UpdateUserPayload:
    user: User | None = required("The user after the update.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="What became of upsertUser.")
class UpsertUserPayload:
    user: User | None = required("The user as it is now.")
    created: bool | None = required("Whether the user is new.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(
    description="What an erasure removed; all of it in one transaction. Kept until the user is erased again."
)
class ErasureReceipt:
    user_id: str = required("The key of the user who was erased.")
    erased_at: DateTime = required("When.")
    files_cleared_at: DateTime | None = required(
        "When the last bytes left the database's files; null while a reader, such as an export, holds them up. Delete "
        "the user again to ask."
    )
    sessions: int = required("How many sessions went, deleted ones included.")
    messages: int = required("How many messages went.")
    memories: int = required("How many memories went.")
    documents: int = required("How many documents went.")


@strawberry.type(description="What became of deleteUser.")
class DeleteUserPayload:
    deleted_user_id: strawberry.ID | None = required("The global id of the user who is gone.")
    receipt: ErasureReceipt | None = required("What was removed.")
    user_errors: list[UserError] = errors_field()


@strawberry.type
class UserMutations:
    create_user: CreateUserPayload = mutation(
        create_user, CreateUserInput, lambda user: {"user": user}, description="Creates a user."
    )
    update_user: UpdateUserPayload = mutation(
        update_user, UpdateUserInput, lambda user: {"user": user}, description="Changes a user."
    )
    upsert_user: UpsertUserPayload = mutation(
        upsert_user,
        UpsertUserInput,
        lambda result: {"user": result[0], "created": result[1]},
        description="Creates a user, or updates the one under the key.",
    )
    delete_user: DeleteUserPayload = mutation(
        delete_user,
        DeleteUserInput,
        dict[str, object],
        description="Erases a user and everything of theirs for good, in one transaction. For a user who is erased "
        "already, it returns the same receipt.",
    )
