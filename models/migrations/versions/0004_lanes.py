"""The full-text index goes by project and owner, so that a search reads nothing of others."""

from time import monotonic
from typing import NamedTuple

import sqlalchemy as sa
import structlog
from alembic import op

revision = "0004"
down_revision = "0003"

log = structlog.get_logger("recallql.migrate")

TOGETHER, CHARACTERS = 20_000, 16_000_000
"""Rows that are put into an index together, and their characters, about."""

REPORTED = 100_000
"""Rows after which the log says how far it is."""

Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


class Table(NamedTuple):
    """`place` is the project's number times 2^49 and the owner's lane times 2^31, of the row called `{row}`."""

    name: str
    texts: tuple[str, ...]
    owners: tuple[str, ...]
    place: str
    project: str

    def words(self, row: str) -> str:
        return " || char(10) || ".join(f"{row}.{column}" for column in self.texts)


_OWN = (
    "(SELECT number FROM indexed_projects WHERE project = {{row}}.project) * 562949953421312 "
    "+ lane_of(coalesce({{row}}.user_key, {{row}}.{other})) * 2147483648"
)
TABLES = (
    Table(
        "messages",
        ("content",),
        (),
        "(SELECT indexed_projects.number * 562949953421312 + sessions.lane * 2147483648 FROM sessions CROSS JOIN "
        "indexed_projects ON indexed_projects.project = sessions.project WHERE sessions.key = {row}.session_key)",
        "(SELECT project FROM sessions WHERE key = {row}.session_key)",
    ),
    Table(
        "memories",
        ("content",),
        ("user_key", "session_key"),
        _OWN.format(other="session_key"),
        "{row}.project",
    ),
    Table(
        "documents",
        ("title", "content"),
        ("user_key", "agent_key"),
        _OWN.format(other="agent_key"),
        "{row}.project",
    ),
)

_INDEX = """
DROP TRIGGER {name}_words_after_delete;

DROP TRIGGER {name}_words_after_update;

DROP TABLE {name}_words;

UPDATE indexed SET through = 0 WHERE name = '{name}';

CREATE VIRTUAL TABLE {name}_words
USING fts5 (text, content = '', detail = none, columnsize = 0, tokenize = 'porter ascii');

CREATE TRIGGER {name}_words_after_delete AFTER DELETE ON {name} BEGIN
  INSERT INTO {name}_words ({name}_words, rowid, text) SELECT 'delete', {old_place} + old.number, indexed({old})
  WHERE old.number <= (SELECT through FROM indexed WHERE name = '{name}');
  UPDATE indexed_projects SET {name} = {name} - 1 WHERE project = {old_project}
  AND old.number <= (SELECT through FROM indexed WHERE name = '{name}');
  UPDATE indexed SET through = coalesce((SELECT max(number) FROM {name}), 0)
  WHERE name = '{name}' AND through > coalesce((SELECT max(number) FROM {name}), 0);
END;

CREATE TRIGGER {name}_words_after_update AFTER UPDATE OF {columns} ON {name}
WHEN old.number <= (SELECT through FROM indexed WHERE name = '{name}')
AND ({old} IS NOT {new} OR {old_place} IS NOT {new_place}) BEGIN
  INSERT INTO {name}_words ({name}_words, rowid, text) VALUES ('delete', {old_place} + old.number, indexed({old}));
  INSERT INTO {name}_words (rowid, text) VALUES ({new_place} + new.number, indexed({new}));
END;
"""

# A message's place is its session's, which must still be there when the message is taken out of the index.
_SESSION = """
CREATE TRIGGER sessions_words_before_delete BEFORE DELETE ON sessions BEGIN
  DELETE FROM messages WHERE session_key = old.key;
END;
"""

_END = """
SELECT max(number) FROM (SELECT number, sum(size) OVER (ORDER BY number) - size AS before FROM (
  SELECT number, length({words}) AS size FROM {name} WHERE number > :through ORDER BY number LIMIT :together
)) WHERE before < :characters
"""

_PROJECTS = """
INSERT INTO indexed_projects (project, number)
SELECT project, min(16383, (SELECT max(number) FROM indexed_projects) + row_number() OVER (ORDER BY project))
FROM (SELECT DISTINCT project FROM {source}) WHERE project NOT IN (SELECT project FROM indexed_projects)
"""

_PUT = """
INSERT INTO {name}_words (rowid, text) SELECT {place} + {name}.number, indexed({words}) FROM {name}
WHERE number > :through AND number <= :end ORDER BY 1
"""

_COUNT = """
UPDATE indexed_projects SET {name} = counted.count FROM (
  SELECT {project} AS project, count(*) AS count FROM {name} GROUP BY 1
) AS counted WHERE indexed_projects.project = counted.project
"""


def upgrade() -> None:
    op.add_column("sessions", sa.Column("lane", Number, nullable=False, server_default="0"))
    for table in ("memories", "documents"):
        op.create_index(f"ix_{table}_project_key", table, ["project", "key"])
    if op.get_bind().dialect.name != "sqlite":
        return
    op.execute("UPDATE sessions SET lane = lane_of(coalesce(user_key, key))")
    op.execute(
        "CREATE TABLE indexed_projects (project TEXT PRIMARY KEY NOT NULL, number INTEGER NOT NULL, "
        "messages INTEGER NOT NULL DEFAULT 0, memories INTEGER NOT NULL DEFAULT 0, "
        "documents INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID"
    )
    op.execute("INSERT INTO indexed_projects (project, number) VALUES ('default', 0)")
    for source in ("sessions", "memories", "documents"):
        op.execute(_PROJECTS.format(source=source))
    for table in TABLES:
        for statement in _INDEX.strip().split("\n\n"):
            op.execute(
                statement.format(
                    name=table.name,
                    columns=", ".join(table.texts + table.owners),
                    old=table.words("old"),
                    new=table.words("new"),
                    old_place=table.place.format(row="old"),
                    new_place=table.place.format(row="new"),
                    old_project=table.project.format(row="old"),
                )
            )
        _fill(table)
    op.execute(_SESSION.strip())


def _fill(table: Table) -> None:
    """Puts what is there into a new index, a batch at a time."""
    connection = op.get_bind()
    own = {"name": table.name, "words": table.words(table.name), "place": table.place.format(row=table.name)}
    started, through, reported = monotonic(), 0, 0
    while True:
        bound = {"through": through, "together": TOGETHER, "characters": CHARACTERS}
        end = connection.execute(sa.text(_END.format(**own)), bound).scalar()
        if end is None:
            break
        connection.execute(sa.text(_PUT.format(**own)), {"through": through, "end": end})
        through = end
        if through - reported >= REPORTED:
            reported = through
            log.info("indexing", table=table.name, through=through, seconds=round(monotonic() - started, 1))
    connection.execute(
        sa.text("UPDATE indexed SET through = :end WHERE name = :name"), {"end": through, "name": table.name}
    )
    connection.execute(sa.text(_COUNT.format(**own, project=table.project.format(row=table.name))))
