"""The first tables."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

Key = sa.LargeBinary(16).with_variant(postgresql.UUID(as_uuid=True), "postgresql")
Time = sa.Text().with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
Words = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.Text().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    on_sqlite = op.get_bind().dialect.name == "sqlite"

    def primary_key(table: str, *columns: str) -> tuple[Any, ...]:
        """Of a table that is searched.

        A full-text index on SQLite refers to rows by an integer that stays the same when the file is vacuumed: only a
        declared INTEGER PRIMARY KEY does. Elsewhere a primary key has to hold the distribution key.
        """
        if on_sqlite:
            number = sa.Column("number", sa.Integer, primary_key=True)
            return number, sa.UniqueConstraint(*columns, name=f"pk_{table}")
        return (sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}"),)

    op.create_table(
        "agents",
        sa.Column("key", Key, nullable=False),
        sa.Column("project", Words, nullable=False),
        sa.Column("agent_id", Words, nullable=False),
        sa.Column("name", Words, nullable=False),
        sa.Column("about", Words, nullable=False),
        sa.Column("instructions", Words, nullable=True),
        sa.Column("model", Words, nullable=True),
        sa.Column("metadata", Json, nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("updated_at", Time, nullable=False),
        sa.Column("version", Number, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_agents"),
    )
    op.create_index("ix_agents_project_created_at_agent_id", "agents", ["project", "created_at", "agent_id"])
    op.create_table(
        "api_keys",
        sa.Column("id", Words, nullable=False),
        sa.Column("name", Words, nullable=False),
        sa.Column("project", Words, nullable=False),
        sa.Column("hash", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("revoked_at", Time, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )
    op.create_index("ix_api_keys_hash_revoked_at", "api_keys", ["hash", "revoked_at"])
    op.create_table(
        "documents",
        sa.Column("key", Key, nullable=False),
        sa.Column("project", Words, nullable=False),
        sa.Column("document_id", Words, nullable=True),
        sa.Column("user_key", Key, nullable=True),
        sa.Column("agent_key", Key, nullable=True),
        sa.Column("title", Words, nullable=False),
        sa.Column("content", Words, nullable=False),
        sa.Column("metadata", Json, nullable=False),
        sa.Column("digest", Key, nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("updated_at", Time, nullable=False),
        sa.Column("version", Number, nullable=False),
        *primary_key("documents", "key"),
    )
    op.create_index("ix_documents_agent_key_created_at_key", "documents", ["agent_key", "created_at", "key"])
    op.create_index("ix_documents_user_key_created_at_key", "documents", ["user_key", "created_at", "key"])
    op.create_table(
        "erasures",
        sa.Column("key", Key, nullable=False),
        sa.Column("erased_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_erasures"),
    )
    op.create_table(
        "memories",
        sa.Column("key", Key, nullable=False),
        sa.Column("project", Words, nullable=False),
        sa.Column("memory_id", Words, nullable=True),
        sa.Column("user_key", Key, nullable=True),
        sa.Column("session_key", Key, nullable=True),
        sa.Column("kind", Words, nullable=False),
        sa.Column("content", Words, nullable=False),
        sa.Column("method", Words, nullable=False),
        sa.Column("model", Words, nullable=True),
        sa.Column("subject", Words, nullable=True),
        sa.Column("rating", sa.Double(), nullable=True),
        sa.Column("valid_from", Time, nullable=True),
        sa.Column("valid_until", Time, nullable=True),
        sa.Column("expires_at", Time, nullable=True),
        sa.Column("superseded_by", Key, nullable=True),
        sa.Column("superseded_from", Time, nullable=True),
        sa.Column("metadata", Json, nullable=False),
        sa.Column("digest", Key, nullable=False),
        sa.Column("fingerprint", Key, nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("updated_at", Time, nullable=False),
        sa.Column("deleted_at", Time, nullable=True),
        sa.Column("version", Number, nullable=False),
        *primary_key("memories", "key"),
    )
    op.create_index(
        "ix_memories_deleted_at",
        "memories",
        ["deleted_at"],
        sqlite_where=sa.text("deleted_at IS NOT NULL"),
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
    )
    op.create_index(
        "ix_memories_fingerprint_user_key_session_key", "memories", ["fingerprint", "user_key", "session_key"]
    )
    op.create_index("ix_memories_session_key_created_at_key", "memories", ["session_key", "created_at", "key"])
    op.create_index(
        "ix_memories_subject_user_key_session_key",
        "memories",
        ["subject", "user_key", "session_key"],
        sqlite_where=sa.text("subject IS NOT NULL"),
        postgresql_where=sa.text("subject IS NOT NULL"),
    )
    op.create_index(
        "ix_memories_superseded_by",
        "memories",
        ["superseded_by"],
        sqlite_where=sa.text("superseded_by IS NOT NULL"),
        postgresql_where=sa.text("superseded_by IS NOT NULL"),
    )
    op.create_index("ix_memories_user_key_created_at_key", "memories", ["user_key", "created_at", "key"])
    op.create_table(
        "sessions",
        sa.Column("key", Key, nullable=False),
        sa.Column("project", Words, nullable=False),
        sa.Column("session_id", Words, nullable=False),
        sa.Column("user_key", Key, nullable=True),
        sa.Column("agent_key", Key, nullable=True),
        sa.Column("situation", Words, nullable=True),
        sa.Column("metadata", Json, nullable=False),
        sa.Column("token_budget", Number, nullable=True),
        sa.Column("context_overflow", Words, nullable=True),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("updated_at", Time, nullable=False),
        sa.Column("ended_at", Time, nullable=True),
        sa.Column("deleted_at", Time, nullable=True),
        sa.Column("last_activity_at", Time, nullable=False),
        sa.Column("version", Number, nullable=False),
        sa.Column("last_sequence", Number, nullable=False),
        sa.Column("deleted_through", Number, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_sessions"),
    )
    op.create_index(
        "ix_sessions_agent_key_created_at_session_id",
        "sessions",
        ["agent_key", "created_at", "session_id"],
        sqlite_where=sa.text("agent_key IS NOT NULL"),
        postgresql_where=sa.text("agent_key IS NOT NULL"),
    )
    op.create_index("ix_sessions_project_created_at_session_id", "sessions", ["project", "created_at", "session_id"])
    op.create_index(
        "ix_sessions_project_last_activity_at_session_id", "sessions", ["project", "last_activity_at", "session_id"]
    )
    op.create_index("ix_sessions_project_session_id", "sessions", ["project", "session_id"])
    op.create_index("ix_sessions_user_key_created_at_session_id", "sessions", ["user_key", "created_at", "session_id"])
    op.create_table(
        "signing_keys",
        sa.Column("kid", Words, nullable=False),
        sa.Column("secret", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("retired_at", Time, nullable=True),
        sa.PrimaryKeyConstraint("kid", name="pk_signing_keys"),
    )
    op.create_table(
        "users",
        sa.Column("key", Key, nullable=False),
        sa.Column("project", Words, nullable=False),
        sa.Column("user_id", Words, nullable=False),
        sa.Column("email", Words, nullable=True),
        sa.Column("email_folded", Words, nullable=True),
        sa.Column("first_name", Words, nullable=True),
        sa.Column("last_name", Words, nullable=True),
        sa.Column("name", Words, nullable=True),
        sa.Column("about", Words, nullable=False),
        sa.Column("metadata", Json, nullable=False),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("updated_at", Time, nullable=False),
        sa.Column("version", Number, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_users"),
    )
    op.create_index("ix_users_project_created_at_user_id", "users", ["project", "created_at", "user_id"])
    op.create_index("ix_users_project_email_folded", "users", ["project", "email_folded"])
    op.create_index("ix_users_project_user_id", "users", ["project", "user_id"])
    op.create_table(
        "deleted_messages",
        sa.Column("session_key", Key, nullable=False),
        sa.Column("sequence", Number, nullable=False),
        sa.Column("message_id_hash", Key, nullable=True),
        sa.PrimaryKeyConstraint("session_key", "sequence", name="pk_deleted_messages"),
        sa.ForeignKeyConstraint(
            ["session_key"], ["sessions.key"], name="fk_deleted_messages_sessions", ondelete="CASCADE"
        ),
    )
    op.create_index(
        "ix_deleted_messages_session_key_message_id_hash", "deleted_messages", ["session_key", "message_id_hash"]
    )
    op.create_table(
        "jobs",
        sa.Column("session_key", Key, nullable=False),
        sa.Column("project", Words, nullable=False),
        sa.Column("status", Words, nullable=False),
        sa.Column("after_sequence", Number, nullable=False),
        sa.Column("through_sequence", Number, nullable=False),
        sa.Column("edited", Json, nullable=False),
        sa.Column("attempts", Number, nullable=False),
        sa.Column("due_at", Time, nullable=False),
        sa.Column("claim", Key, nullable=True),
        sa.Column("last_error", Words, nullable=True),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("updated_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("session_key", name="pk_jobs"),
        sa.ForeignKeyConstraint(["session_key"], ["sessions.key"], name="fk_jobs_sessions", ondelete="CASCADE"),
    )
    op.create_index(
        "ix_jobs_due_at",
        "jobs",
        ["due_at"],
        sqlite_where=sa.text("status <> 'FAILED'"),
        postgresql_where=sa.text("status <> 'FAILED'"),
    )
    op.create_table(
        "memory_sources",
        sa.Column("memory_key", Key, nullable=False),
        sa.Column("position", Number, nullable=False),
        sa.Column("session_key", Key, nullable=True),
        sa.Column("sequence", Number, nullable=True),
        sa.Column("document_key", Key, nullable=True),
        sa.PrimaryKeyConstraint("memory_key", "position", name="pk_memory_sources"),
        sa.ForeignKeyConstraint(
            ["memory_key"], ["memories.key"], name="fk_memory_sources_memories", ondelete="CASCADE"
        ),
    )
    op.create_index(
        "ix_memory_sources_document_key",
        "memory_sources",
        ["document_key"],
        sqlite_where=sa.text("document_key IS NOT NULL"),
        postgresql_where=sa.text("document_key IS NOT NULL"),
    )
    op.create_index("ix_memory_sources_session_key_sequence", "memory_sources", ["session_key", "sequence"])
    op.create_table(
        "messages",
        sa.Column("session_key", Key, nullable=False),
        sa.Column("sequence", Number, nullable=False),
        sa.Column("generation", Number, nullable=False),
        sa.Column("message_id", Words, nullable=True),
        sa.Column("role", Words, nullable=False),
        sa.Column("name", Words, nullable=True),
        sa.Column("content", Words, nullable=False),
        sa.Column("parts", Json, nullable=True),
        sa.Column("tool_calls", Json, nullable=True),
        sa.Column("tool_call_id", Words, nullable=True),
        sa.Column("metadata", Json, nullable=False),
        sa.Column("token_count", Number, nullable=False),
        sa.Column("forms_memories", Number, nullable=False),
        sa.Column("digest", Key, nullable=True),
        sa.Column("created_at", Time, nullable=False),
        sa.Column("updated_at", Time, nullable=False),
        sa.Column("version", Number, nullable=False),
        *primary_key("messages", "session_key", "sequence"),
        sa.ForeignKeyConstraint(["session_key"], ["sessions.key"], name="fk_messages_sessions", ondelete="CASCADE"),
    )
    op.create_index(
        "uq_messages_session_key_generation_message_id",
        "messages",
        ["session_key", "generation", "message_id"],
        unique=True,
        sqlite_where=sa.text("message_id IS NOT NULL"),
        postgresql_where=sa.text("message_id IS NOT NULL"),
    )
    op.create_table(
        "session_deletions",
        sa.Column("session_key", Key, nullable=False),
        sa.Column("deleted_at", Time, nullable=False),
        sa.Column("through_sequence", Number, nullable=False),
        sa.PrimaryKeyConstraint("session_key", "deleted_at", name="pk_session_deletions"),
        sa.ForeignKeyConstraint(
            ["session_key"], ["sessions.key"], name="fk_session_deletions_sessions", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_session_deletions_deleted_at", "session_deletions", ["deleted_at"])
    op.create_table(
        "leases",
        sa.Column("name", Words, nullable=False),
        sa.Column("holder", Key, nullable=False),
        sa.Column("until", Number, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
    op.create_table(
        "vector_models",
        sa.Column("name", Words, nullable=False),
        sa.Column("model", Words, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_vector_models"),
    )
    for table, of, columns in _VECTORS:
        op.create_table(
            table,
            *(sa.Column(name, Number if name == "sequence" else Key, nullable=False) for name in columns),
            sa.Column("vectors", sa.LargeBinary(), nullable=True),
            *primary_key(table, *columns),
            sa.ForeignKeyConstraint(
                columns, [f"{of}.{name}" for name in columns], name=f"fk_{table}_{of}", ondelete="CASCADE"
            ),
        )
    if on_sqlite:
        _index_words()


_VECTORS = (
    ("message_vectors", "messages", ["session_key", "sequence"]),
    ("memory_vectors", "memories", ["key"]),
    ("document_vectors", "documents", ["key"]),
)

_INDEX = """
INSERT INTO indexed VALUES ('{table}', 0);

CREATE VIRTUAL TABLE {table}_words
USING fts5 (text, content = '', detail = none, columnsize = 0, tokenize = 'porter ascii');

CREATE TRIGGER {table}_words_after_delete AFTER DELETE ON {table} BEGIN
  INSERT INTO {table}_words ({table}_words, rowid, text) SELECT 'delete', old.number, indexed({old})
  WHERE old.number <= (SELECT through FROM indexed WHERE name = '{table}');
  UPDATE indexed SET through = coalesce((SELECT max(number) FROM {table}), 0)
  WHERE name = '{table}' AND through > coalesce((SELECT max(number) FROM {table}), 0);
END;

CREATE TRIGGER {table}_words_after_update AFTER UPDATE OF {columns} ON {table}
WHEN old.number <= (SELECT through FROM indexed WHERE name = '{table}') AND {old} IS NOT {new} BEGIN
  INSERT INTO {table}_words ({table}_words, rowid, text) VALUES ('delete', old.number, indexed({old}));
  INSERT INTO {table}_words (rowid, text) VALUES (new.number, indexed({new}));
END;
"""

_WAITING = """
CREATE INDEX ix_{vectors}_waiting ON {vectors} (number) WHERE vectors IS NULL;

CREATE TRIGGER {table}_vectors_after_update AFTER UPDATE OF {columns} ON {table} WHEN {old} IS NOT {new} BEGIN
  UPDATE {vectors} SET vectors = NULL WHERE number = old.number;
END;
"""


def _index_words() -> None:
    """Full-text indexes on SQLite: each knows the rows up to a number, `through`; the newer ones are put in later.

    What is edited or deleted below that is followed by triggers, whichever statement does it. A number is given again
    once the highest ones are gone: then `through` goes back to what is there. Vectors of what is edited wait to be
    made anew.
    """
    op.execute("CREATE TABLE indexed (name TEXT PRIMARY KEY NOT NULL, through INTEGER NOT NULL) WITHOUT ROWID")
    for table, columns in (("messages", ["content"]), ("memories", ["content"]), ("documents", ["title", "content"])):
        old, new = (" || char(10) || ".join(f"{row}.{column}" for column in columns) for row in ("old", "new"))
        vectors = next(vectors for vectors, of, _ in _VECTORS if of == table)
        for statement in f"{_INDEX}{_WAITING}".strip().split("\n\n"):
            op.execute(statement.format(table=table, vectors=vectors, columns=", ".join(columns), old=old, new=new))
