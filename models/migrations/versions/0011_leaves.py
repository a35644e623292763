"""On SQLite users, sessions and documents are found by the leaves of their metadata."""

from time import monotonic

import sqlalchemy as sa
import structlog
from alembic import op

revision = "0011"
down_revision = "0010"

log = structlog.get_logger("recallql.migrate")

TABLES = ("users", "sessions", "documents")

TOGETHER = 50_000
"""Rows whose leaves are sorted together. After as many the log says how far it is."""

# Without a rowid: the primary key is all of a row. The application computes the leaves, as it does the words of the
# full-text index. Another program that writes to these tables gets an error: its SQLite lacks the function.
_LEAVES = """
CREATE TABLE metadata_leaves (leaf INTEGER NOT NULL, key BLOB NOT NULL, PRIMARY KEY (leaf, key)) WITHOUT ROWID
"""

_TRIGGERS = """
CREATE TRIGGER {name}_leaves_after_insert AFTER INSERT ON {name} WHEN new.metadata <> '{{}}' BEGIN
  INSERT INTO metadata_leaves (leaf, key) SELECT value, new.key FROM ({new});
END;

CREATE TRIGGER {name}_leaves_after_delete AFTER DELETE ON {name} WHEN old.metadata <> '{{}}' BEGIN
  DELETE FROM metadata_leaves WHERE key = old.key AND leaf IN ({old});
END;

CREATE TRIGGER {name}_leaves_after_update AFTER UPDATE OF metadata ON {name}
WHEN old.metadata IS NOT new.metadata AND old.key IS new.key AND old.project IS new.project BEGIN
  DELETE FROM metadata_leaves WHERE key = old.key AND leaf IN ({old} EXCEPT {new});
  INSERT INTO metadata_leaves (leaf, key) SELECT value, new.key FROM ({new} EXCEPT {old});
END;

CREATE TRIGGER {name}_leaves_after_move AFTER UPDATE OF key, project ON {name}
WHEN old.key IS NOT new.key OR old.project IS NOT new.project BEGIN
  DELETE FROM metadata_leaves WHERE key = old.key AND leaf IN ({old});
  INSERT INTO metadata_leaves (leaf, key) SELECT value, new.key FROM ({new});
END;
"""

_OF = "SELECT value FROM json_each(leaves_of('{name}', {row}.project, {row}.metadata))"

_END = "SELECT max(key) FROM (SELECT key FROM {name} WHERE key > :after ORDER BY key LIMIT :together)"
_FILL = """
INSERT INTO metadata_leaves (leaf, key)
SELECT leaves.value, {name}.key FROM {name} CROSS JOIN json_each(leaves_of('{name}', project, metadata)) AS leaves
WHERE {name}.key > :after AND {name}.key <= :end AND metadata <> '{{}}' ORDER BY 1, 2
"""


def upgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        return
    op.execute(_LEAVES.strip())
    for name in TABLES:
        _fill(name)
        old, new = (_OF.format(name=name, row=row) for row in ("old", "new"))
        for statement in _TRIGGERS.strip().split("\n\n"):
            op.execute(statement.format(name=name, old=old, new=new))


def _fill(name: str) -> None:
    """Puts the leaves of what is there into the index, a batch at a time."""
    connection = op.get_bind()
    started, after, count = monotonic(), b"", 0
    end = sa.text(_END.format(name=name))
    while (last := connection.execute(end, {"after": after, "together": TOGETHER}).scalar()) is not None:
        count += connection.execute(sa.text(_FILL.format(name=name)), {"after": after, "end": last}).rowcount
        if after:
            log.info("indexing metadata", table=name, leaves=count, seconds=round(monotonic() - started, 1))
        after = last
