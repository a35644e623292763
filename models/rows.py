"""The rows of each table, as TypedDicts: statements return them, and they are inserted.

`tests/test_rows.py` compares them with `models.tables`. A row from a driver is not a dict, but has its columns by name:
read them with `row["column"]`, and make a dict with `dict(row)` before you change one.
"""

from collections.abc import Mapping
from typing import Any, TypedDict

from models.values import Json, Time


class UserRow(TypedDict):
    key: bytes
    project: str
    user_id: str
    email: str | None
    email_folded: str | None
    first_name: str | None
    last_name: str | None
    name: str | None
    about: str
    metadata: Json
    created_at: Time
    updated_at: Time
    version: int
    nonce: int
    name_ascending: str
    name_descending: str
    email_ascending: str
    email_descending: str
    form_memories: bool | None


class UserWordRow(TypedDict):
    user_key: bytes
    word: str
    project: str


class AgentRow(TypedDict):
    key: bytes
    project: str
    agent_id: str
    name: str
    about: str
    instructions: str | None
    model: str | None
    metadata: Json
    created_at: Time
    updated_at: Time
    version: int
    name_start: str


class SessionRow(TypedDict):
    key: bytes
    project: str
    session_id: str
    user_key: bytes | None
    agent_key: bytes | None
    situation: str | None
    metadata: Json
    token_budget: int | None
    context_overflow: str | None
    created_at: Time
    updated_at: Time
    ended_at: Time | None
    deleted_at: Time | None
    last_activity_at: Time
    version: int
    last_sequence: int
    deleted_through: int
    nonce: int
    lane: int
    title: str | None
    user_ascending: str
    user_descending: str
    form_memories: bool | None


class SessionDeletionRow(TypedDict):
    session_key: bytes
    deleted_at: Time
    through_sequence: int


class MessageRow(TypedDict):
    session_key: bytes
    sequence: int
    generation: int
    message_id: str | None
    role: str
    name: str | None
    content: str
    parts: Json | None
    tool_calls: Json | None
    tool_call_id: str | None
    parts_text: str | None
    aside: str | None
    metadata: Json
    token_count: int
    forms_memories: int
    digest: bytes | None
    created_at: Time
    utc_offset: int | None
    updated_at: Time
    version: int
    name_folded: str | None


class DeletedMessageRow(TypedDict):
    session_key: bytes
    sequence: int
    message_id_hash: bytes | None


class MemoryRow(TypedDict):
    key: bytes
    project: str
    memory_id: str | None
    user_key: bytes | None
    session_key: bytes | None
    kind: str
    content: str
    method: str
    model: str | None
    subject: str | None
    rating: float | None
    valid_from: Time | None
    valid_until: Time | None
    expires_at: Time | None
    superseded_by: bytes | None
    superseded_from: Time | None
    metadata: Json
    digest: bytes
    fingerprint: bytes
    created_at: Time
    updated_at: Time
    deleted_at: Time | None
    version: int
    about: str | None
    about_folded: str | None
    corrected_at: Time | None
    agent_key: bytes | None


class WithheldMemoryRow(TypedDict):
    session_key: bytes
    sequence: int
    fingerprint: bytes


class MemorySourceRow(TypedDict):
    memory_key: bytes
    position: int
    session_key: bytes | None
    sequence: int | None
    document_key: bytes | None


class JobRow(TypedDict):
    session_key: bytes
    project: str
    status: str
    after_sequence: int
    through_sequence: int
    edited: Json
    attempts: int
    due_at: Time
    claim: bytes | None
    last_error: str | None
    created_at: Time
    updated_at: Time


class DocumentRow(TypedDict):
    key: bytes
    project: str
    document_id: str | None
    user_key: bytes | None
    agent_key: bytes | None
    title: str
    content: str
    metadata: Json
    digest: bytes
    created_at: Time
    updated_at: Time
    version: int
    title_start: str


class MessageVectorsRow(TypedDict):
    session_key: bytes
    sequence: int
    vectors: bytes | None


class MemoryVectorsRow(TypedDict):
    key: bytes
    vectors: bytes | None


class DocumentVectorsRow(TypedDict):
    key: bytes
    vectors: bytes | None


class VectorModelRow(TypedDict):
    name: str
    model: str


class LeaseRow(TypedDict):
    name: str
    holder: bytes
    until: int


class ErasureRow(TypedDict):
    key: bytes
    erased_at: Time
    nonce: int | None
    sessions: int | None
    messages: int | None
    memories: int | None
    documents: int | None
    removal: bytes | None
    files_cleared_at: Time | None
    generation: int
    merged_into: bytes | None


class RemovalRow(TypedDict):
    key: bytes
    removed_at: Time


class ApiKeyRow(TypedDict):
    id: str
    name: str
    project: str
    hash: bytes
    created_at: Time
    revoked_at: Time | None


class SigningKeyRow(TypedDict):
    kid: str
    secret: bytes
    created_at: Time
    retired_at: Time | None


class NoticeEntryRow(TypedDict):
    number: int
    origin: bytes
    at: int
    body: str


AnyRow = Mapping[str, Any]
"""A row of any table, for code that receives the names of the columns."""

SearchedRow = MessageRow | MemoryRow | DocumentRow
"""A row of a searchable kind."""

NounRow = UserRow | SessionRow | AgentRow | SearchedRow
"""A row of a noun: of an object with a global id."""
