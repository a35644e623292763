"""The tables, as SQLModel classes that run unchanged on SQLite, PostgreSQL and Citus.

Every primary and unique key contains the table's distribution key: the row's own key; the session's key for rows that
belong to a session; the memory's for its sources. Foreign keys follow it only. `sessions.user_key` has none, so that a
session can be attached to a user later and users can be on another node.

On SQLite times are RFC 3339 in UTC without the final `Z`: such texts sort as the times do, and need no conversion for
an answer.

All tables are in one file, though it is long, since a migration is read against all of them.
"""

# SQLModel declares `__tablename__` with a type that a string cannot be assigned to.
# pyright: reportAssignmentType=false

from typing import Any, cast

from sqlalchemy import Column, Double, ForeignKeyConstraint, Identity, Index, LargeBinary, Table, text
from sqlmodel import Field, SQLModel

from models.columns import Flag, Json, Key, Number, Time, Words
from models.sort_texts import LAST

SQLModel.metadata.naming_convention = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(referred_table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}


def key_column(*, primary: bool = False, nullable: bool = False) -> Any:
    return Field(sa_column=Column(Key, primary_key=primary, nullable=nullable))


def text_column(*, nullable: bool = True) -> Any:
    return Field(sa_column=Column(Words, nullable=nullable))


def time_column(*, nullable: bool = False) -> Any:
    return Field(sa_column=Column(Time, nullable=nullable))


def json_column(*, nullable: bool = False) -> Any:
    return Field(sa_column=Column(Json, nullable=nullable))


def integer_column(*, nullable: bool = False, primary: bool = False) -> Any:
    return Field(sa_column=Column(Number, nullable=nullable, primary_key=primary, autoincrement=False))


def flag_column() -> Any:
    return Field(sa_column=Column(Flag, nullable=True))


def sorted_column(null: str) -> Any:
    """See `models.sort_texts`; `null` stands for a missing text."""
    return Field(sa_column=Column(Words, nullable=False, server_default=null))


def nonce_column() -> Any:
    """See `models.keys.new_nonce`; 0 for rows created before nonces were introduced."""
    return Field(sa_column=Column(Number, nullable=False, server_default=text("0")))


def present(column: str) -> dict[str, Any]:
    """Makes an index partial, with only the rows that have a value: it takes no space for the others, and the planner
    does not use it to find them."""
    condition = text(f"{column} IS NOT NULL")
    return {"sqlite_where": condition, "postgresql_where": condition}


class User(SQLModel, table=True):
    """The columns that lists by name and by address go by are those of `models.sort_texts`. `form_memories` is the
    choice for the user's messages, null for none."""

    __tablename__ = "users"
    __table_args__ = (
        Index(None, "project", "user_id"),
        Index(None, "project", "created_at", "user_id"),
        Index(None, "project", "email_folded"),
        Index(None, "project", "name_ascending", "user_id"),
        Index(None, "project", "name_descending", "user_id"),
        Index(None, "project", "email_ascending", "user_id"),
        Index(None, "project", "email_descending", "user_id"),
    )
    key: bytes = key_column(primary=True)
    project: str = text_column(nullable=False)
    user_id: str = text_column(nullable=False)
    email: str | None = text_column()
    email_folded: str | None = text_column()
    first_name: str | None = text_column()
    last_name: str | None = text_column()
    name: str | None = text_column()
    about: str = text_column(nullable=False)
    metadata_: str = Field(sa_column=Column("metadata", Json, nullable=False))
    created_at: str = time_column()
    updated_at: str = time_column()
    version: int = integer_column()
    nonce: int = nonce_column()
    name_ascending: str = sorted_column(LAST)
    name_descending: str = sorted_column("")
    email_ascending: str = sorted_column(LAST)
    email_descending: str = sorted_column("")
    form_memories: bool | None = flag_column()


class UserWord(SQLModel, table=True):
    """A word of a user's id, names or e-mail address, by which the user is found (see `models.user_words`)."""

    __tablename__ = "user_words"
    __table_args__ = (
        ForeignKeyConstraint(["user_key"], ["users.key"], ondelete="CASCADE"),
        Index(None, "project", "word", "user_key"),
        # Both indexes have all columns: a table of its own would hold them a third time.
        {"sqlite_with_rowid": False},
    )
    user_key: bytes = key_column(primary=True)
    word: str = Field(sa_column=Column(Words, primary_key=True))
    project: str = text_column(nullable=False)


class Agent(SQLModel, table=True):
    """`name_start` is the part of the name that lists by name go by (see `models.sort_texts`)."""

    __tablename__ = "agents"
    __table_args__ = (
        Index(None, "project", "created_at", "agent_id"),
        Index(None, "project", "updated_at", "agent_id"),
        Index(None, "project", "agent_id"),
        Index(None, "project", "name_start", "agent_id"),
    )
    key: bytes = key_column(primary=True)
    project: str = text_column(nullable=False)
    agent_id: str = text_column(nullable=False)
    name: str = text_column(nullable=False)
    about: str = text_column(nullable=False)
    instructions: str | None = text_column()
    model: str | None = text_column()
    metadata_: str = Field(sa_column=Column("metadata", Json, nullable=False))
    created_at: str = time_column()
    updated_at: str = time_column()
    version: int = integer_column()
    name_start: str = sorted_column("")


class Session(SQLModel, table=True):
    """`last_sequence` counts its messages; those up to `deleted_through` were deleted with the session.

    `lane` is that of its messages in the full-text index (see `models.full_text`). It changes only while the
    session has no messages. `user_ascending` and `user_descending` are the user's id as `models.sort_texts` has it.
    `form_memories` is the choice for its messages, null for that of its user.
    """

    __tablename__ = "sessions"
    __table_args__ = (
        Index(None, "project", "session_id"),
        Index(None, "project", "created_at", "session_id"),
        Index(None, "project", "last_activity_at", "session_id"),
        Index(None, "user_key", "created_at", "session_id"),
        Index(None, "agent_key", "created_at", "session_id", **present("agent_key")),
        Index(None, "project", "user_ascending", "session_id"),
        Index(None, "project", "user_descending", "session_id"),
    )
    key: bytes = key_column(primary=True)
    project: str = text_column(nullable=False)
    session_id: str = text_column(nullable=False)
    user_key: bytes | None = key_column(nullable=True)
    agent_key: bytes | None = key_column(nullable=True)
    situation: str | None = text_column()
    metadata_: str = Field(sa_column=Column("metadata", Json, nullable=False))
    token_budget: int | None = integer_column(nullable=True)
    context_overflow: str | None = text_column()
    created_at: str = time_column()
    updated_at: str = time_column()
    ended_at: str | None = time_column(nullable=True)
    deleted_at: str | None = time_column(nullable=True)
    last_activity_at: str = time_column()
    version: int = integer_column()
    last_sequence: int = integer_column()
    deleted_through: int = integer_column()
    nonce: int = nonce_column()
    lane: int = Field(sa_column=Column(Number, nullable=False, server_default="0"))
    title: str | None = text_column()
    user_ascending: str = sorted_column(LAST)
    user_descending: str = sorted_column("")
    form_memories: bool | None = flag_column()


class SessionDeletion(SQLModel, table=True):
    """The time of a session's deletion, and its last message then: the purge needs both, also after a restoration."""

    __tablename__ = "session_deletions"
    __table_args__ = (
        ForeignKeyConstraint(["session_key"], ["sessions.key"], ondelete="CASCADE"),
        Index(None, "deleted_at"),
    )
    session_key: bytes = key_column(primary=True)
    deleted_at: str = Field(sa_column=Column(Time, primary_key=True))
    through_sequence: int = integer_column()


class Message(SQLModel, table=True):
    """`generation` is made of the session's `nonce` and its `deleted_through` when the message was written.

    A client's own key is unique within a generation (see `models.messages.generation_of`).
    `forms_memories` is 0 for one from which no memories are formed. `digest` is of the message as first sent, for the
    comparison with a retry. `parts_text` and `aside` hold the texts in `parts` and `tool_calls` for search (see
    `models.parts`), `name_folded` the name for comparisons.
    `utc_offset` is the offset of the time as sent, in minutes. On SQLite searchable tables (messages, memories,
    documents) also have an integer primary key, `number`, which a full-text index needs (see the migration).
    """

    __tablename__ = "messages"
    __table_args__ = (
        # Most messages have no key of their own, and need no entry.
        Index(
            "uq_messages_session_key_generation_message_id",
            *("session_key", "generation", "message_id"),
            unique=True,
            **present("message_id"),
        ),
        ForeignKeyConstraint(["session_key"], ["sessions.key"], ondelete="CASCADE"),
        Index(None, "session_key", "created_at", "sequence"),
    )
    session_key: bytes = key_column(primary=True)
    sequence: int = integer_column(primary=True)
    generation: int = integer_column()
    message_id: str | None = text_column()
    role: str = text_column(nullable=False)
    name: str | None = text_column()
    content: str = text_column(nullable=False)
    parts: str | None = json_column(nullable=True)
    tool_calls: str | None = json_column(nullable=True)
    tool_call_id: str | None = text_column()
    parts_text: str | None = text_column()
    aside: str | None = text_column()
    metadata_: str = Field(sa_column=Column("metadata", Json, nullable=False))
    token_count: int = integer_column()
    forms_memories: int = integer_column()
    digest: bytes | None = key_column(nullable=True)
    created_at: str = time_column()
    utc_offset: int | None = integer_column(nullable=True)
    updated_at: str = time_column()
    version: int = integer_column()
    name_folded: str | None = text_column()


class DeletedMessage(SQLModel, table=True):
    """A tombstone: all that remains of a message that was deleted by itself."""

    __tablename__ = "deleted_messages"
    __table_args__ = (
        ForeignKeyConstraint(["session_key"], ["sessions.key"], ondelete="CASCADE"),
        Index(None, "session_key", "message_id_hash"),
    )
    session_key: bytes = key_column(primary=True)
    sequence: int = integer_column(primary=True)
    message_id_hash: bytes | None = key_column(nullable=True)


class Memory(SQLModel, table=True):
    """`superseded_from` is the time from which the newer memory holds; it stays when the newer one is deleted.

    Of one `subject` (the user's home, say) only the newest memory that rules formed holds. `fingerprint` is of the
    content, and equal for texts that differ only in case, spaces and final punctuation. `about` is the name of somebody
    other than the user who said it, `about_folded` that name for comparisons. `corrected_at` is the time when the
    application last changed a formed one. A memory belongs to a user, to a session (with its user, if it has one), or
    to an agent alone.
    """

    __tablename__ = "memories"
    __table_args__ = (
        Index(None, "user_key", "created_at", "key"),
        Index(None, "session_key", "created_at", "key"),
        Index(None, "agent_key", "created_at", "key", **present("agent_key")),
        # Most memories have no key of their own.
        Index(None, "user_key", "memory_id", **present("memory_id")),
        Index(None, "session_key", "memory_id", **present("memory_id")),
        Index(None, "agent_key", "memory_id", **present("memory_id")),
        Index(None, "superseded_by", **present("superseded_by")),
        Index(None, "fingerprint", "user_key", "about_folded", "session_key"),
        Index(
            "ix_memories_subject_user_key_about_folded_session_key",
            *("subject", "user_key", "about_folded", "session_key"),
            **present("subject"),
        ),
        # Only of the few deleted rows: the planner would use an index of all rows to find those that are not deleted.
        Index(
            "ix_memories_deleted_at",
            "deleted_at",
            **present("deleted_at"),
        ),
        Index(None, "project", "key"),
    )
    key: bytes = key_column(primary=True)
    project: str = text_column(nullable=False)
    memory_id: str | None = text_column()
    user_key: bytes | None = key_column(nullable=True)
    session_key: bytes | None = key_column(nullable=True)
    kind: str = text_column(nullable=False)
    content: str = text_column(nullable=False)
    method: str = text_column(nullable=False)
    model: str | None = text_column()
    subject: str | None = text_column()
    rating: float | None = Field(sa_column=Column(Double, nullable=True))
    valid_from: str | None = time_column(nullable=True)
    valid_until: str | None = time_column(nullable=True)
    expires_at: str | None = time_column(nullable=True)
    superseded_by: bytes | None = key_column(nullable=True)
    superseded_from: str | None = time_column(nullable=True)
    metadata_: str = Field(sa_column=Column("metadata", Json, nullable=False))
    digest: bytes = Field(sa_column=Column(Key, nullable=False))
    fingerprint: bytes = Field(sa_column=Column(Key, nullable=False))
    created_at: str = time_column()
    updated_at: str = time_column()
    deleted_at: str | None = time_column(nullable=True)
    version: int = integer_column()
    about: str | None = text_column()
    about_folded: str | None = text_column()
    corrected_at: str | None = time_column(nullable=True)
    agent_key: bytes | None = key_column(nullable=True)


class WithheldMemory(SQLModel, table=True):
    """A memory that is not formed from a message again: the application corrected or deleted one with this content."""

    __tablename__ = "withheld_memories"
    __table_args__ = (
        ForeignKeyConstraint(
            ["session_key", "sequence"], ["messages.session_key", "messages.sequence"], ondelete="CASCADE"
        ),
    )
    session_key: bytes = key_column(primary=True)
    sequence: int = integer_column(primary=True)
    fingerprint: bytes = key_column(primary=True)


class MemorySource(SQLModel, table=True):
    """A source of a memory: a message (session and sequence) or a document."""

    __tablename__ = "memory_sources"
    __table_args__ = (
        ForeignKeyConstraint(["memory_key"], ["memories.key"], ondelete="CASCADE"),
        Index(None, "session_key", "sequence"),
        Index(None, "document_key", **present("document_key")),
    )
    memory_key: bytes = key_column(primary=True)
    position: int = integer_column(primary=True)
    session_key: bytes | None = key_column(nullable=True)
    sequence: int | None = integer_column(nullable=True)
    document_key: bytes | None = key_column(nullable=True)


class Job(SQLModel, table=True):
    """The messages of a session that a model has to read: above `after_sequence` up to `through_sequence`.

    `edited` is a JSON list of sequences of older messages to be read again: they changed since, or a memory formed from
    them was removed because another of its sources changed or was deleted. A session has one job at most. It is
    PENDING until it is due, RUNNING (leased to the process with `claim` until it is due again) or FAILED; a finished
    job is removed. `attempts` counts those since the last progress or request; `last_error` is that of the last one.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        ForeignKeyConstraint(["session_key"], ["sessions.key"], ondelete="CASCADE"),
        Index(
            "ix_jobs_due_at",
            "due_at",
            sqlite_where=text("status <> 'FAILED'"),
            postgresql_where=text("status <> 'FAILED'"),
        ),
    )
    session_key: bytes = key_column(primary=True)
    project: str = text_column(nullable=False)
    status: str = text_column(nullable=False)
    after_sequence: int = integer_column()
    through_sequence: int = integer_column()
    edited: str = json_column()
    attempts: int = integer_column()
    due_at: str = time_column()
    claim: bytes | None = key_column(nullable=True)
    last_error: str | None = text_column()
    created_at: str = time_column()
    updated_at: str = time_column()


class Document(SQLModel, table=True):
    """`title_start` is the part of the title that lists by title go by (see `models.sort_texts`)."""

    __tablename__ = "documents"
    __table_args__ = (
        Index(None, "user_key", "created_at", "key"),
        Index(None, "user_key", "updated_at", "key"),
        Index(None, "user_key", "title_start", "key"),
        Index(None, "user_key", "document_id", **present("document_id")),
        Index(None, "agent_key", "created_at", "key"),
        Index(None, "agent_key", "updated_at", "key", **present("agent_key")),
        Index(None, "agent_key", "title_start", "key", **present("agent_key")),
        Index(None, "agent_key", "document_id", **present("document_id")),
        Index(None, "project", "key"),
    )
    key: bytes = key_column(primary=True)
    project: str = text_column(nullable=False)
    document_id: str | None = text_column()
    user_key: bytes | None = key_column(nullable=True)
    agent_key: bytes | None = key_column(nullable=True)
    title: str = text_column(nullable=False)
    content: str = text_column(nullable=False)
    metadata_: str = Field(sa_column=Column("metadata", Json, nullable=False))
    digest: bytes = Field(sa_column=Column(Key, nullable=False))
    created_at: str = time_column()
    updated_at: str = time_column()
    version: int = integer_column()
    title_start: str = sorted_column("")


class MessageVectors(SQLModel, table=True):
    """The vectors of a message's meaning, by a model, for search; null while they wait to be computed.

    On SQLite a row has the `number` of its message, and is removed with it.
    """

    __tablename__ = "message_vectors"
    __table_args__ = (
        ForeignKeyConstraint(
            ["session_key", "sequence"], ["messages.session_key", "messages.sequence"], ondelete="CASCADE"
        ),
    )
    session_key: bytes = key_column(primary=True)
    sequence: int = integer_column(primary=True)
    vectors: bytes | None = Field(sa_column=Column(LargeBinary, nullable=True))


class MemoryVectors(SQLModel, table=True):
    __tablename__ = "memory_vectors"
    __table_args__ = (ForeignKeyConstraint(["key"], ["memories.key"], ondelete="CASCADE"),)
    key: bytes = key_column(primary=True)
    vectors: bytes | None = Field(sa_column=Column(LargeBinary, nullable=True))


class DocumentVectors(SQLModel, table=True):
    __tablename__ = "document_vectors"
    __table_args__ = (ForeignKeyConstraint(["key"], ["documents.key"], ondelete="CASCADE"),)
    key: bytes = key_column(primary=True)
    vectors: bytes | None = Field(sa_column=Column(LargeBinary, nullable=True))


class VectorModel(SQLModel, table=True):
    """The model of all vectors of a table, which never holds those of two models."""

    __tablename__ = "vector_models"
    name: str = Field(sa_column=Column(Words, primary_key=True))
    model: str = text_column(nullable=False)


class Lease(SQLModel, table=True):
    """The process that does a background task which only one may do at a time, and its deadline (Unix time, ms)."""

    __tablename__ = "leases"
    name: str = Field(sa_column=Column(Words, primary_key=True))
    holder: bytes = Field(sa_column=Column(Key, nullable=False))
    until: int = integer_column()


class Erasure(SQLModel, table=True):
    """The remains of an erased user: its key, which is a hash, and the receipt.

    `removal` is the key of the entry in `removals` until the user's bytes have left the files, at `files_cleared_at`.
    The counts are null for erasures by versions that kept no receipts. `nonce` was the user's. `generation` counts the
    erasures of this key; user tokens contain it, so that those issued before stay invalid. `merged_into` is the key of
    the user who got everything, null if it was erased.
    """

    __tablename__ = "erasures"
    __table_args__ = (Index("ix_erasures_removal", "removal", **present("removal")),)
    key: bytes = key_column(primary=True)
    erased_at: str = time_column()
    nonce: int | None = integer_column(nullable=True)
    sessions: int | None = integer_column(nullable=True)
    messages: int | None = integer_column(nullable=True)
    memories: int | None = integer_column(nullable=True)
    documents: int | None = integer_column(nullable=True)
    removal: bytes | None = key_column(nullable=True)
    files_cleared_at: str | None = time_column(nullable=True)
    generation: int = Field(sa_column=Column(Number, nullable=False, server_default=text("1")))
    merged_into: bytes | None = key_column(nullable=True)


class Removal(SQLModel, table=True):
    """A removal whose bytes may still be in the files: see `models.sqlite.clearing`."""

    __tablename__ = "removals"
    key: bytes = key_column(primary=True)
    removed_at: str = time_column()


class ApiKey(SQLModel, table=True):
    """The hash of an API key, never the key. A revoked one stays: once a key was created, requests need one."""

    __tablename__ = "api_keys"
    __table_args__ = (Index(None, "hash", "revoked_at"),)
    id: str = Field(sa_column=Column(Words, primary_key=True))
    name: str = text_column(nullable=False)
    project: str = text_column(nullable=False)
    hash: bytes = Field(sa_column=Column(LargeBinary(32), nullable=False))
    created_at: str = time_column()
    revoked_at: str | None = time_column(nullable=True)


class SigningKey(SQLModel, table=True):
    """A key that signs user tokens; a retired one signs no more, but still verifies those it signed."""

    __tablename__ = "signing_keys"
    kid: str = Field(sa_column=Column(Words, primary_key=True))
    secret: bytes = Field(sa_column=Column(LargeBinary(32), nullable=False))
    created_at: str = time_column()
    retired_at: str | None = time_column(nullable=True)


class NoticeEntry(SQLModel, table=True):
    """Notices of one process for the others (see `models.notice_log`): `body` is their JSON, `at` the time (Unix time,
    ms), and `origin` the process.

    The newest entry is never removed, so that no number is given twice.
    """

    __tablename__ = "notices"
    number: int = Field(sa_column=Column(Number, Identity(), primary_key=True, autoincrement=True))
    origin: bytes = key_column()
    at: int = integer_column()
    body: str = text_column(nullable=False)


def table(model: type[SQLModel]) -> Table:
    """The table of a class, which SQLModel hides from type checkers."""
    return cast(Table, vars(model)["__table__"])


users, user_words, agents = table(User), table(UserWord), table(Agent)
sessions, messages = table(Session), table(Message)
session_deletions, deleted_messages = table(SessionDeletion), table(DeletedMessage)
memories, memory_sources, documents, erasures = table(Memory), table(MemorySource), table(Document), table(Erasure)
withheld_memories = table(WithheldMemory)
message_vectors, memory_vectors = table(MessageVectors), table(MemoryVectors)
document_vectors, vector_models, leases = table(DocumentVectors), table(VectorModel), table(Lease)
api_keys, signing_keys, jobs, removals = table(ApiKey), table(SigningKey), table(Job), table(Removal)
notices = table(NoticeEntry)
