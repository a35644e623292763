"""Reading everything, for an export: one snapshot, row by row."""

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Select, func, literal, select

from models.database import connect
from models.errors import DatabaseProblem
from models.memories import is_there
from models.scope import Scope
from models.statements import (
    AgentRow,
    DocumentRow,
    MemoryRow,
    MessageRow,
    Record,
    Row,
    SessionRow,
    Statement,
    UserRow,
    in_project,
)
from models.tables import agents, deleted_messages, documents, memories, memory_sources, messages, sessions, users

_live = sessions.c.deleted_at.is_(None)
_sources = memory_sources.alias("s")
_source = func.json_object(
    literal("position"),
    _sources.c.position,
    literal("sessionId"),
    sessions.c.session_id,
    literal("sequence"),
    _sources.c.sequence,
    literal("documentKey"),
    func.nullif(func.lower(func.hex(_sources.c.document_key)), ""),
)
_named_sources = (
    select(func.json_group_array(func.json(_source)))
    .select_from(_sources.outerjoin(sessions, sessions.c.key == _sources.c.session_key))
    .where(_sources.c.memory_key == memories.c.key, is_there(_sources))
    .correlate(memories)
    .scalar_subquery()
)

_stone = func.json_object(
    literal("sequence"),
    deleted_messages.c.sequence,
    literal("messageIdHash"),
    func.nullif(func.lower(func.hex(deleted_messages.c.message_id_hash)), ""),
)
_deleted_messages = (
    select(func.nullif(func.json_group_array(func.json(_stone)), "[]"))
    .select_from(deleted_messages)
    .where(deleted_messages.c.session_key == sessions.c.key, deleted_messages.c.sequence > sessions.c.deleted_through)
    .correlate(sessions)
    .scalar_subquery()
)

# What refers to something stands after it; each order is an index's, so that nothing is gathered to be sorted.
_EVERYTHING: list[tuple[Select[Any], type[Row]]] = [
    (select(users).where(in_project(users)).order_by(users.c.created_at, users.c.user_id), UserRow),
    (select(agents).where(in_project(agents)).order_by(agents.c.created_at, agents.c.agent_id), AgentRow),
    (
        select(documents, users.c.user_id, agents.c.agent_id)
        .select_from(
            documents.outerjoin(users, users.c.key == documents.c.user_key).outerjoin(
                agents, agents.c.key == documents.c.agent_key
            )
        )
        .where(in_project(documents))
        .order_by(documents.c.key),
        DocumentRow,
    ),
    (
        select(sessions, users.c.user_id, agents.c.agent_id, _deleted_messages.label("deleted_messages"))
        .select_from(
            sessions.outerjoin(users, users.c.key == sessions.c.user_key).outerjoin(
                agents, agents.c.key == sessions.c.agent_key
            )
        )
        .where(in_project(sessions), _live)
        .order_by(sessions.c.created_at, sessions.c.session_id),
        SessionRow,
    ),
    (
        select(messages, messages.c.forms_memories.label("form_memories"), sessions.c.session_id)
        .join(sessions, sessions.c.key == messages.c.session_key)
        .where(in_project(sessions), _live, messages.c.sequence > sessions.c.deleted_through)
        .order_by(sessions.c.created_at, sessions.c.session_id, messages.c.sequence),
        MessageRow,
    ),
    (
        select(memories, users.c.user_id, sessions.c.session_id, _named_sources.label("sources"))
        .select_from(
            memories.outerjoin(users, users.c.key == memories.c.user_key).outerjoin(
                sessions, sessions.c.key == memories.c.session_key
            )
        )
        .where(in_project(memories), memories.c.deleted_at.is_(None))
        .order_by(memories.c.key),
        MemoryRow,
    ),
]


@contextmanager
def _snapshot(path: Path) -> Generator[sqlite3.Connection]:
    """A connection that sees the file as it is now, and says in words when it can't be read."""
    try:
        with closing(connect(path)) as connection:
            connection.execute("BEGIN")
            yield connection
    except sqlite3.Error as error:
        raise DatabaseProblem(f"{path} can't be read to its end: {error}. Restore it from a backup.") from error


def read_everything(path: Path, scope: Scope) -> Iterator[Record]:
    """Every row that is not deleted, as the file was at one moment; what refers to others comes after them."""
    with _snapshot(path) as connection:
        for clause, kind in _EVERYTHING:
            statement = Statement(clause, kind)
            cursor = connection.cursor()
            cursor.row_factory = statement.row
            yield from cursor.execute(statement.text, {**statement.defaults, **scope.values})


def count_everything(path: Path, scope: Scope) -> int:
    """How many rows an export has, for its progress bar."""
    with _snapshot(path) as connection:
        counts = [Statement(select(func.count()).select_from(clause.subquery())) for clause, _ in _EVERYTHING]
        return sum(connection.execute(c.text, {**c.defaults, **scope.values}).fetchone()[0] for c in counts)
