"""Messages keep the texts of their parts and calls and the offset of their time, and can be listed by time."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.parts import read_calls, read_parts, texts_beside

revision = "0006"
down_revision = "0005"

Words = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

TOGETHER = 500
"""Messages whose texts are read together."""

_PLACE = (
    "(SELECT indexed_projects.number * 562949953421312 + sessions.lane * 2147483648 FROM sessions CROSS JOIN "
    "indexed_projects ON indexed_projects.project = sessions.project WHERE sessions.key = {row}.session_key)"
)
_PROJECT = "(SELECT project FROM sessions WHERE key = {row}.session_key)"
_WORDS = "{row}.content || coalesce(char(10) || {row}.parts_text, '') || coalesce(char(10) || {row}.aside, '')"

_WITH_PARTS = (
    "SELECT session_key, sequence FROM messages WHERE parts IS NOT NULL OR tool_calls IS NOT NULL ORDER BY {order}"
)

_TRIGGERS = """
DROP TRIGGER messages_words_after_delete;

DROP TRIGGER messages_words_after_update;

DROP TRIGGER messages_vectors_after_update;

CREATE TRIGGER messages_words_after_delete AFTER DELETE ON messages BEGIN
  INSERT INTO messages_words (messages_words, rowid, text) SELECT 'delete', {old_place} + old.number, indexed({old})
  WHERE old.number <= (SELECT through FROM indexed WHERE name = 'messages');
  UPDATE indexed_projects SET messages = messages - 1 WHERE project = {old_project}
  AND old.number <= (SELECT through FROM indexed WHERE name = 'messages');
  UPDATE indexed SET through = coalesce((SELECT max(number) FROM messages), 0)
  WHERE name = 'messages' AND through > coalesce((SELECT max(number) FROM messages), 0);
END;

CREATE TRIGGER messages_words_after_update AFTER UPDATE OF content, parts_text, aside ON messages
WHEN old.number <= (SELECT through FROM indexed WHERE name = 'messages') AND {old} IS NOT {new} BEGIN
  INSERT INTO messages_words (messages_words, rowid, text) VALUES ('delete', {old_place} + old.number, indexed({old}));
  INSERT INTO messages_words (rowid, text) VALUES ({old_place} + new.number, indexed({new}));
END;

CREATE TRIGGER messages_vectors_after_update AFTER UPDATE OF content, parts_text, aside ON messages
WHEN {old} IS NOT {new} BEGIN
  UPDATE message_vectors SET vectors = NULL WHERE number = old.number;
END;
"""


def upgrade() -> None:
    for name, kind in (("utc_offset", Number), ("parts_text", Words), ("aside", Words)):
        op.add_column("messages", sa.Column(name, kind, nullable=True))
    op.create_index(
        "ix_messages_session_key_created_at_sequence", "messages", ["session_key", "created_at", "sequence"]
    )
    if op.get_bind().dialect.name == "sqlite":
        written = {
            "old": _WORDS.format(row="old"),
            "new": _WORDS.format(row="new"),
            "old_place": _PLACE.format(row="old"),
            "old_project": _PROJECT.format(row="old"),
        }
        for statement in _TRIGGERS.strip().split("\n\n"):
            op.execute(statement.format(**written))
    _fill()


def _fill() -> None:
    """Takes the texts out of the parts and calls that are there; the triggers put them into the index.

    The token counts of these messages stay as they were.
    """
    connection = op.get_bind()
    # In the order of the index, which then takes many at once.
    order = f"{_PLACE.format(row='messages')} + number" if connection.dialect.name == "sqlite" else "session_key"
    keys = connection.execute(sa.text(_WITH_PARTS.format(order=order))).all()
    update = sa.text(
        "UPDATE messages SET parts_text = :said, aside = :aside WHERE session_key = :session AND sequence = :sequence"
    )
    for texts in _batches(_texts(connection, keys)):
        connection.execute(update, texts)


def _texts(connection: sa.Connection, keys: Any) -> Iterator[dict[str, Any]]:
    read = sa.text(
        "SELECT content, parts, tool_calls FROM messages WHERE session_key = :session AND sequence = :sequence"
    )
    for session, sequence in keys:
        place = {"session": session, "sequence": sequence}
        content, parts, calls = connection.execute(read, place).one()
        said, aside = texts_beside(content, parts and read_parts(parts), calls and read_calls(calls))
        if said or aside:
            yield {**place, "said": said, "aside": aside}


def _batches(texts: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while batch := list(islice(texts, TOGETHER)):
        yield batch
