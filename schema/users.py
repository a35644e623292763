"""The GraphQL types of users."""

from typing import TYPE_CHECKING, Annotated

import strawberry

from breadth import batch_field, computed_field
from resolvers.documents import documents_of_users
from resolvers.memories import memories_of_users, summaries_of_users
from resolvers.merging import merge_users
from resolvers.sessions import sessions_of_users
from resolvers.users import create_user, delete_user, display_name, rename_user, update_user, upsert_user
from schema.connections import Connection, connection_field
from schema.contexts import Context, context_of_user
from schema.documents import Document, DocumentFilter, DocumentInput, DocumentOrder
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
FORM_MEMORIES = (
    "True forms memories of what the user says, false forms none, unless the session, the batch or the message says "
    "otherwise. Null leaves it to the server's setting."
)


@strawberry.type(description="A person who talks to the application.")
class User(Node):
    id: strawberry.ID = id_field("User")
    user_id: str = required("The application's own key.")
    email: str | None = required("The e-mail address; several users may have the same.")
    first_name: str | None = required("The first name.")
    last_name: str | None = required("The last name.")
    name: str | None = computed_field(
        display_name, description='As given, else "first last", else null.', needs=("name", "first_name", "last_name")
    )
    about: str = required('Information about the user; "" when nothing was given.')
    metadata: JSON = required("The application's own data.")
    created_at: DateTime = required("The time of the user's creation.")
    updated_at: DateTime = required("The last change of the user's own attributes.")
    version: int = required("Starts at 1; every update that changes something adds one.")
    sessions: Connection[LazySession] = connection_field(
        sessions_of_users,
        description="The user's sessions, newest first by default.",
        needs=("key", "nonce"),
        filter=SessionFilter,
        order=SessionOrder,
    )
    memories: Connection[LazyMemory] = connection_field(
        memories_of_users,
        description="Memories about the user, newest first by default.",
        filter=MemoryFilter,
        order=MemoryOrder,
        needs=("key", "nonce"),
    )
    documents: Connection[Document] = connection_field(
        documents_of_users,
        description="The user's documents, newest first by default.",
        filter=DocumentFilter,
        order=DocumentOrder,
        needs=("key", "nonce"),
    )
    form_memories: bool | None = required(FORM_MEMORIES)
    summary: LazyMemory | None = batch_field(
        summaries_of_users,
        description="The standing summary of this user, apart from any session.",
        needs=("key",),
    )
    context: Context | None = context_of_user()


@strawberry.input(description="A filter for users; all conditions must hold.")
class UserFilter:
    text: str | None = optional(
        "Users in whose userId, names or e-mail address each word of this text begins a word, whatever the case and "
        "accents. Words are runs of letters and digits, compared by their first 64 characters; of a user the first 200 "
        "words count, those of the names first. Up to 1,000 characters and 16 words; a blank text filters nothing."
    )
    metadata: JSON | None = optional(
        "Users whose metadata contains this object, as PostgreSQL's @> does; up to 64 KiB and 4,000 values."
    )
    user_ids: list[str] | None = optional("Users with one of these keys; at most 100.")
    emails: list[str] | None = optional("Users with one of these addresses, whatever the case; at most 100.")
    created_at: DateTimeRange | None = optional("The time of their creation.")
    updated_at: DateTimeRange | None = optional("The time of their last change.")


@strawberry.enum(description="The orders of users; ties by userId.")
class UserOrderField(Enum):
    CREATED_AT = strawberry.enum_value("CREATED_AT", description="The time of their creation.")
    UPDATED_AT = strawberry.enum_value("UPDATED_AT", description="The time of their last change.")
    USER_ID = strawberry.enum_value("USER_ID", description="Their key, by code points.")
    NAME = strawberry.enum_value(
        "NAME", description="The name that is shown, by the code points of its first 100 characters; nulls last."
    )
    EMAIL = strawberry.enum_value(
        "EMAIL", description="The e-mail address, by the code points of its first 100 characters; nulls last."
    )


@strawberry.input(description="An order of users.")
class UserOrder:
    field: UserOrderField = required("The field to order by.")
    direction: OrderDirection = required("The direction.")


@strawberry.input(description="A new user.")
class CreateUserInput:
    user_id: str | None = optional("The application's own key, 1 to 512 characters; one is made when left out.")
    email: str | None = optional("The e-mail address.")
    first_name: str | None = optional("The first name.")
    last_name: str | None = optional("The last name.")
    name: str | None = optional("The full name.")
    about: str | None = optional("Information about the user, up to 64 KiB.")
    form_memories: bool | None = optional(FORM_MEMORIES)
    metadata: JSON | None = optional("The application's own data.")
    documents: list[DocumentInput] | None = optional("Documents to create with the user; at most 100.")
    created_at: DateTime | None = optional("The time of the user's creation; now when left out.")


@strawberry.input(description="A change of a user: omitted fields are kept, null fields are cleared.")
class UpdateUserInput:
    user_id: str = required("The user's key.")
    email: str | None = optional("The e-mail address.")
    first_name: str | None = optional("The first name.")
    last_name: str | None = optional("The last name.")
    name: str | None = optional("The full name.")
    about: str | None = optional('Information about the user; null makes it "".')
    form_memories: bool | None = optional(FORM_MEMORIES)
    metadata: JSON | None = optional("Metadata to merge or to replace.")
    metadata_mode: MetadataMode | None = optional(MODE)
    expected_version: int | None = optional(VERSION)


@strawberry.input(description="A user to create, or to update if one with this key exists.")
class UpsertUserInput:
    user_id: str = required("The application's own key, 1 to 512 characters.")
    email: str | None = optional("The e-mail address.")
    first_name: str | None = optional("The first name.")
    last_name: str | None = optional("The last name.")
    name: str | None = optional("The full name.")
    about: str | None = optional("Information about the user, up to 64 KiB.")
    form_memories: bool | None = optional(FORM_MEMORIES)
    metadata: JSON | None = optional("Metadata to merge or to replace.")
    metadata_mode: MetadataMode | None = optional(MODE)


@strawberry.input(description="A user who gets another userId.")
class RenameUserInput:
    user_id: str = required("The user's key.")
    new_user_id: str = required("The new key, 1 to 512 characters; no user may have it.")


@strawberry.input(description="Two users to make one of.")
class MergeUsersInput:
    from_user_id: str = required("The key of the user whose data moves, and who is erased.")
    into_user_id: str = required("The key of the user who gets it.")


@strawberry.input(description="A user to erase.")
class DeleteUserInput:
    user_id: str = required("The user's key.")


@strawberry.type(description="The result of createUser.")
class CreateUserPayload:
    user: User | None = required("The new user.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="The result of updateUser.")
class UpdateUserPayload:
    user: User | None = required("The user after the update.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="The result of upsertUser.")
class UpsertUserPayload:
    user: User | None = required("The user as it is now.")
    created: bool | None = required("True if the user is new.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="The result of renameUser.")
class RenameUserPayload:
    user: User | None = required("The user under the new key.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(
    description="The receipt of an erasure, which is one transaction. Kept until a user with this userId is erased or "
    "renamed again."
)
class ErasureReceipt:
    user_id: str = required("The key of the user who was erased.")
    erased_at: DateTime = required("The time of the erasure.")
    files_cleared_at: DateTime | None = required(
        "The time when the last bytes left the database's files; null while a reader, such as an export, delays that. "
        "To check again, repeat the mutation."
    )
    sessions: int = required("The number of sessions removed, deleted ones included.")
    messages: int = required("The number of messages removed.")
    memories: int = required("The number of memories removed.")
    documents: int = required("The number of documents removed.")


@strawberry.type(description="The result of deleteUser.")
class DeleteUserPayload:
    deleted_user_id: strawberry.ID | None = required("The global id of the erased user.")
    receipt: ErasureReceipt | None = required("The receipt, which counts what was removed.")
    user_errors: list[UserError] = errors_field()


@strawberry.type(description="The result of mergeUsers.")
class MergeUsersPayload:
    user: User | None = required("The user who got everything.")
    receipt: ErasureReceipt | None = required(
        "The receipt of the erasure. It counts what was removed since the other user has it, too, not what moved."
    )
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
        description="Creates a user, or updates the one with this key.",
    )
    delete_user: DeleteUserPayload = mutation(
        delete_user,
        DeleteUserInput,
        dict[str, object],
        description="Erases a user and everything of theirs for good, in one transaction. For a user who is erased "
        "already, it returns the same receipt.",
    )
    rename_user: RenameUserPayload = mutation(
        rename_user,
        RenameUserInput,
        lambda user: {"user": user},
        description="Changes a user's key, and nothing else. Sessions and messages keep their global ids. The user "
        "gets a new one, and so do those of their memories and documents that have a `memoryId` or `documentId`. "
        "Tokens for the old key are refused for good, and the old key is free for another user. A key in use is "
        "ALREADY_EXISTS. It is one transaction, and other writes wait for it: the longer, the more memories and "
        "documents move.",
    )
    merge_users: MergeUsersPayload = mutation(
        merge_users,
        MergeUsersInput,
        dict[str, object],
        description="Moves the sessions, memories and documents of one user to another one, and erases the first. "
        "Idempotent: a repetition returns the same receipt until a user is created under the key of `from`. The "
        "attributes and metadata of `into` win; what it lacks comes from `from`. Memories that say the same, and "
        "documents with equal `documentId`, title, content and metadata, are kept once, with the sources of both. If "
        "one `memoryId` or `documentId` stands for different objects, both are kept, and only that of `into` keeps the "
        "id. Statements on one subject supersede each other by time, and the newer summary stands. It is one "
        "transaction, and other writes wait for it: the longer, the more memories and documents move.",
    )
