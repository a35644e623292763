"""Memories that were corrected or deleted by hand are told from others, and do not come back."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"

Key = sa.LargeBinary(16).with_variant(postgresql.UUID(as_uuid=True), "postgresql")
Time = sa.Text().with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("memories", sa.Column("corrected_at", Time, nullable=True))
    place = ["session_key", "sequence"]
    op.create_table(
        "withheld_memories",
        sa.Column("session_key", Key, nullable=False),
        sa.Column("sequence", Number, nullable=False),
        sa.Column("fingerprint", Key, nullable=False),
        sa.PrimaryKeyConstraint(*place, "fingerprint", name="pk_withheld_memories"),
        sa.ForeignKeyConstraint(
            place,
            [f"messages.{name}" for name in place],
            name="fk_withheld_memories_messages",
            ondelete="CASCADE",
        ),
    )
