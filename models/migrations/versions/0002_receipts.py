"""Erasures keep their receipts, and what was removed is noted until its bytes have left the files."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

Key = sa.LargeBinary(16).with_variant(postgresql.UUID(as_uuid=True), "postgresql")
Time = sa.Text().with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    # Null for erasures of older versions, which kept no receipts. The nonce is a part of the user's global id.
    for column in ("nonce", "sessions", "messages", "memories", "documents"):
        op.add_column("erasures", sa.Column(column, Number, nullable=True))
    op.add_column("erasures", sa.Column("removal", Key, nullable=True))
    op.add_column("erasures", sa.Column("files_cleared_at", Time, nullable=True))
    present = sa.text("removal IS NOT NULL")
    op.create_index("ix_erasures_removal", "erasures", ["removal"], sqlite_where=present, postgresql_where=present)
    op.create_table(
        "removals",
        sa.Column("key", Key, nullable=False),
        sa.Column("removed_at", Time, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_removals"),
    )
    if op.get_bind().dialect.name == "sqlite":
        # Older versions left the words of what they purged in the full-text index.
        op.execute(
            "INSERT INTO removals SELECT randomblob(16), strftime('%Y-%m-%dT%H:%M:%f', 'now') "
            "WHERE EXISTS (SELECT 1 FROM indexed WHERE through > 0) OR EXISTS (SELECT 1 FROM erasures)"
        )
