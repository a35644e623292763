"""PostgreSQL: texts of JSON as they were sent, full text, and references that may be checked at the end."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

TEXTS = (
    *(("users", "metadata"), ("agents", "metadata"), ("sessions", "metadata"), ("memories", "metadata")),
    *(("documents", "metadata"), ("messages", "metadata"), ("messages", "parts"), ("messages", "tool_calls")),
    ("jobs", "edited"),
)
CONTAINED = ("users", "agents", "sessions", "memories", "documents")
SEARCHED = ("messages", "memories", "documents")
VECTORS = {"message_vectors": "session_key, sequence", "memory_vectors": "key", "document_vectors": "key"}

# These name keys that change when a user is renamed or two become one.
REKEYED = (
    ("memory_sources", "memories", ["memory_key"], ["key"]),
    ("memory_vectors", "memories", ["key"], ["key"]),
    ("document_vectors", "documents", ["key"], ["key"]),
)

# What `lane_of` gives, which 0004 calls on SQLite only: 18 bits of the owner's key.
LANES = (
    "UPDATE sessions SET lane = ('x' || substr(replace(coalesce(user_key, key)::text, '-', ''), 1, 8))"
    "::bit(32)::bigint % 262144 WHERE lane = 0"
)


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, column in TEXTS:
        # jsonb keeps neither the order of names nor the form of numbers.
        op.execute(f'ALTER TABLE {table} ALTER COLUMN {column} TYPE text COLLATE "C" USING {column}::text')
    op.execute(LANES)
    for table in CONTAINED:
        op.execute(f"CREATE INDEX ix_{table}_metadata ON {table} USING gin ((metadata::jsonb) jsonb_path_ops)")
    for table in SEARCHED:
        op.add_column(table, sa.Column("number", sa.BigInteger, sa.Identity(), nullable=False))
        op.execute(f"ALTER TABLE {table} ADD COLUMN terms bigint[]")
        op.create_index(f"ix_{table}_number", table, ["number"])
        # Without a list of pending entries, through which each search would go from end to end.
        op.execute(f"CREATE INDEX ix_{table}_terms ON {table} USING gin (terms) WITH (fastupdate = off)")
        op.execute(f"CREATE INDEX ix_{table}_waiting ON {table} (number) WHERE terms IS NULL")
    for table, columns in VECTORS.items():
        op.execute(f"ALTER TABLE {table} ADD COLUMN text_hash bigint, ADD COLUMN stored bigint NOT NULL DEFAULT 0")
        op.execute(f"CREATE INDEX ix_{table}_waiting ON {table} ({columns}) WHERE vectors IS NULL")
    op.execute("ALTER TABLE vector_models ADD COLUMN stored bigint NOT NULL DEFAULT 0")
    for table, of, columns, keys in REKEYED:
        op.drop_constraint(f"fk_{table}_{of}", table, type_="foreignkey")
        op.create_foreign_key(
            f"fk_{table}_{of}", table, of, columns, keys, ondelete="CASCADE", deferrable=True, initially="IMMEDIATE"
        )
