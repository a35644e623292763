"""The surface that applications had elsewhere: titles, choices, orders by name, look-ups by own ids."""

import re
from collections.abc import Iterable
from typing import Any
from unicodedata import category, normalize

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"

Key = sa.LargeBinary(16).with_variant(postgresql.UUID(as_uuid=True), "postgresql")
Words = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

LAST = "\U0010ffff"
SHOWN_NAME = (
    "coalesce(name, nullif(coalesce(first_name, '') || CASE WHEN first_name <> '' AND last_name <> '' THEN ' ' ELSE '' "
    "END || coalesce(last_name, ''), ''))"
)
_FILL = "UPDATE {table} SET {column} = coalesce(nullif(substr({value}, 1, 100), ''), '{null}')"
USER_ID = "(SELECT user_id FROM users WHERE users.key = sessions.user_key)"

_FOUND_BY = ("name", "first_name", "last_name", "email", "user_id")

_PLACE = (
    "(SELECT number FROM indexed_projects WHERE project = {row}.project) * 562949953421312 "
    "+ lane_of(coalesce({row}.user_key, {row}.session_key, {row}.agent_key)) * 2147483648"
)
# A memory of an agent is in the agent's lane.
_MEMORY_TRIGGERS = """
DROP TRIGGER memories_words_after_delete;

DROP TRIGGER memories_words_after_update;

CREATE TRIGGER memories_words_after_delete AFTER DELETE ON memories BEGIN
  INSERT INTO memories_words (memories_words, rowid, text)
  SELECT 'delete', {old_place} + old.number, indexed(old.content)
  WHERE old.number <= (SELECT through FROM indexed WHERE name = 'memories');
  UPDATE indexed_projects SET memories = memories - 1 WHERE project = old.project
  AND old.number <= (SELECT through FROM indexed WHERE name = 'memories');
  UPDATE indexed SET through = coalesce((SELECT max(number) FROM memories), 0)
  WHERE name = 'memories' AND through > coalesce((SELECT max(number) FROM memories), 0);
END;

CREATE TRIGGER memories_words_after_update AFTER UPDATE OF content, user_key, session_key, agent_key ON memories
WHEN old.number <= (SELECT through FROM indexed WHERE name = 'memories')
AND (old.content IS NOT new.content OR {old_place} IS NOT {new_place}) BEGIN
  INSERT INTO memories_words (memories_words, rowid, text)
  VALUES ('delete', {old_place} + old.number, indexed(old.content));
  INSERT INTO memories_words (rowid, text) VALUES ({new_place} + new.number, indexed(new.content));
END;
"""


def upgrade() -> None:
    op.add_column("erasures", sa.Column("merged_into", Key, nullable=True))
    _users()
    _sessions()
    _memories_of_agents()
    _ratings()
    _agents()
    _documents()
    _own_ids()
    _user_words()


def _users() -> None:
    op.add_column("users", sa.Column("form_memories", sa.Boolean(), nullable=True))
    _sort("users", "name", SHOWN_NAME, "user_id")
    _sort("users", "email", "email", "user_id")


def _sessions() -> None:
    op.add_column("sessions", sa.Column("title", Words, nullable=True))
    op.add_column("sessions", sa.Column("form_memories", sa.Boolean(), nullable=True))
    _sort("sessions", "user", USER_ID, "session_id")


def _memories_of_agents() -> None:
    op.add_column("memories", sa.Column("agent_key", Key, nullable=True))
    columns = ["agent_key", "created_at", "key"]
    op.create_index("ix_memories_agent_key_created_at_key", "memories", columns, **_present("agent_key"))
    if op.get_bind().dialect.name == "sqlite":
        places = {"old_place": _PLACE.format(row="old"), "new_place": _PLACE.format(row="new")}
        for statement in _MEMORY_TRIGGERS.strip().split("\n\n"):
            op.execute(statement.format(**places))


def _ratings() -> None:
    """Memories that were formed get the rating that they are formed with now, unless they were corrected by hand."""
    op.execute(
        "UPDATE memories SET rating = 0.5 WHERE rating IS NULL AND method <> 'DECLARED' AND corrected_at IS NULL"
    )


def _agents() -> None:
    _start("agents", "name")
    op.create_index("ix_agents_project_agent_id", "agents", ["project", "agent_id"])
    op.create_index("ix_agents_project_updated_at_agent_id", "agents", ["project", "updated_at", "agent_id"])
    op.create_index("ix_agents_project_name_start_agent_id", "agents", ["project", "name_start", "agent_id"])


def _documents() -> None:
    _start("documents", "title")
    for owner in ("user_key", "agent_key"):
        for column in ("updated_at", "title_start"):
            # Most documents have no agent.
            present = _present(owner) if owner == "agent_key" else {}
            op.create_index(f"ix_documents_{owner}_{column}_key", "documents", [owner, column, "key"], **present)


def _own_ids() -> None:
    """Finds memories and documents by the application's own ids. Most have none."""
    for table, column, owners in (
        ("memories", "memory_id", ("user_key", "session_key", "agent_key")),
        ("documents", "document_id", ("user_key", "agent_key")),
    ):
        for owner in owners:
            op.create_index(f"ix_{table}_{owner}_{column}", table, [owner, column], **_present(column))


def _user_words() -> None:
    """The words that users are found by, filled in the order of the primary key before they get an index."""
    op.create_table(
        "user_words",
        sa.Column("user_key", Key, nullable=False),
        sa.Column("word", Words, nullable=False),
        sa.Column("project", Words, nullable=False),
        sa.PrimaryKeyConstraint("user_key", "word", name="pk_user_words"),
        sa.ForeignKeyConstraint(["user_key"], ["users.key"], name="fk_user_words_users", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )
    users = sa.table("users", *(sa.column(name) for name in ("key", "project", *_FOUND_BY)))
    words = sa.table("user_words", *(sa.column(name) for name in ("user_key", "word", "project")))
    batch = sa.select(users).order_by(users.c.key).limit(1000)
    connection = op.get_bind()
    rows = connection.execute(batch).all()
    while rows:
        found = [(row, sorted(_words(row[2:]))) for row in rows]
        added = [{"user_key": row.key, "word": word, "project": row.project} for row, own in found for word in own]
        if added:
            connection.execute(words.insert(), added)
        rows = connection.execute(batch.where(users.c.key > rows[-1].key)).all()
    op.create_index("ix_user_words_project_word_user_key", "user_words", ["project", "word", "user_key"])


def _words(texts: Iterable[str | None]) -> list[str]:
    """The first 200 words of texts, folded and cut to 64 characters: what `models.user_words` does at this version."""
    words: dict[str, None] = {}
    for text in filter(None, texts):
        plain = normalize("NFKD", normalize("NFKD", text).casefold())
        plain = normalize("NFC", re.sub("[\u0300-\u036f\u064b-\u0652\u0670\u0640]+", "", plain))
        spaced = "".join(char if category(char)[0] in "LMN" else " " for char in plain)
        words |= dict.fromkeys(word[:64] for word in spaced.split())
    return list(words)[:200]


def _present(column: str) -> dict[str, Any]:
    """Makes an index partial, with only the rows that have a value."""
    condition = sa.text(f"{column} IS NOT NULL")
    return {"sqlite_where": condition, "postgresql_where": condition}


def _start(table: str, name: str) -> None:
    """A column with the start of a required text, which an index takes."""
    op.add_column(table, sa.Column(f"{name}_start", Words, nullable=False, server_default=""))
    op.execute(_FILL.format(table=table, column=f"{name}_start", value=name, null=""))


def _sort(table: str, name: str, value: str, tie: str) -> None:
    """Two columns to sort by, one for each direction, in which nulls come last."""
    for direction, null in (("ascending", LAST), ("descending", "")):
        column = f"{name}_{direction}"
        op.add_column(table, sa.Column(column, Words, nullable=False, server_default=null))
        op.execute(_FILL.format(table=table, column=column, value=value, null=null))
        op.create_index(f"ix_{table}_project_{column}_{tie}", table, ["project", column, tie])
