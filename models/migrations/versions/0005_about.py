"""Memories name the speaker whom they are about, where that is not the user."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"

Words = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    for column in ("about", "about_folded"):
        op.add_column("memories", sa.Column(column, Words, nullable=True))
    # One person's statements are compared with that person's alone.
    op.drop_index("ix_memories_fingerprint_user_key_session_key", "memories")
    op.drop_index("ix_memories_subject_user_key_session_key", "memories")
    owner = ["user_key", "about_folded", "session_key"]
    op.create_index("ix_memories_fingerprint_user_key_about_folded_session_key", "memories", ["fingerprint", *owner])
    present = sa.text("subject IS NOT NULL")
    op.create_index(
        "ix_memories_subject_user_key_about_folded_session_key",
        "memories",
        ["subject", *owner],
        sqlite_where=present,
        postgresql_where=present,
    )
