"""Users and sessions have a random part, and erasures of a key are counted."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    # 0 is no nonce: the global ids of what is there stay as they are.
    for table in ("users", "sessions"):
        op.add_column(table, sa.Column("nonce", Number, nullable=False, server_default=sa.text("0")))
    op.add_column("erasures", sa.Column("generation", Number, nullable=False, server_default=sa.text("1")))
