"""PostgreSQL: texts of JSON as they were sent, full text, and references that may be checked at the end.

On both databases messages keep the folded names of their speakers.
"""

from unicodedata import normalize

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"

Key = sa.LargeBinary(16).with_variant(postgresql.UUID(as_uuid=False), "postgresql")
Words = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

TOGETHER = 1000
"""Messages whose names are folded together."""

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
    _names()
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


def _names() -> None:
    """Folds the names that are there, in the order of the primary key."""
    op.add_column("messages", sa.Column("name_folded", Words, nullable=True))
    messages = sa.table(
        "messages",
        *(sa.column("session_key", Key), sa.column("sequence", sa.BigInteger)),
        *(sa.column("name", Words), sa.column("name_folded", Words)),
    )
    place = (messages.c.session_key, messages.c.sequence)
    batch = sa.select(*place, messages.c.name).where(messages.c.name.is_not(None)).order_by(*place).limit(TOGETHER)
    fold = messages.update().values(name_folded=sa.bindparam("folded"))
    fold = fold.where(*(column == sa.bindparam(f"the_{column.name}", type_=column.type) for column in place))
    connection = op.get_bind()
    rows = connection.execute(batch).all()
    while rows:
        folded = [{"the_session_key": key, "the_sequence": n, "folded": _folded(name)} for key, n, name in rows]
        connection.execute(fold, folded)
        last = [sa.literal(value, column.type) for value, column in zip(rows[-1][:2], place, strict=True)]
        rows = connection.execute(batch.where(sa.tuple_(*place) > sa.tuple_(*last))).all()


def _folded(name: str) -> str:
    """What `models.keys.folded` does at this version."""
    plain = normalize("NFKC", normalize("NFKC", name).casefold())
    return " ".join(plain.translate(str.maketrans("._-", "   ")).split()) or plain
