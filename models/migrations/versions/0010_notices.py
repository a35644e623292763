"""Processes tell one another of their commits, for subscriptions."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"

Key = sa.LargeBinary(16).with_variant(postgresql.UUID(as_uuid=False), "postgresql")
Words = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "notices",
        sa.Column("number", Number, sa.Identity(), nullable=False),
        sa.Column("origin", Key, nullable=False),
        sa.Column("at", Number, nullable=False),
        sa.Column("body", Words, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_notices"),
    )
