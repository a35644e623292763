"""Titles, choices to form memories, and orders by name, for applications that had them elsewhere."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"

Words = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

LAST = "\U0010ffff"
SHOWN_NAME = (
    "coalesce(name, nullif(coalesce(first_name, '') || CASE WHEN first_name <> '' AND last_name <> '' THEN ' ' ELSE '' "
    "END || coalesce(last_name, ''), ''))"
)
_FILL = "UPDATE {table} SET {column} = coalesce(substr({value}, 1, 100), '{null}')"
USER_ID = "(SELECT user_id FROM users WHERE users.key = sessions.user_key)"


def upgrade() -> None:
    _users()
    _sessions()


def _users() -> None:
    op.add_column("users", sa.Column("form_memories", sa.Boolean(), nullable=True))
    _sort("users", "name", SHOWN_NAME, "user_id")
    _sort("users", "email", "email", "user_id")


def _sessions() -> None:
    op.add_column("sessions", sa.Column("title", Words, nullable=True))
    op.add_column("sessions", sa.Column("form_memories", sa.Boolean(), nullable=True))
    _sort("sessions", "user", USER_ID, "session_id")


def _sort(table: str, name: str, value: str, tie: str) -> None:
    """Two columns to sort by, one for each direction, in which nulls come last."""
    for direction, null in (("ascending", LAST), ("descending", "")):
        column = f"{name}_{direction}"
        op.add_column(table, sa.Column(column, Words, nullable=False, server_default=null))
        op.execute(_FILL.format(table=table, column=column, value=value, null=null))
        op.create_index(f"ix_{table}_project_{column}_{tie}", table, ["project", column, tie])
