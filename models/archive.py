"""Reads all data of some projects, or of one user, for an export: one snapshot, row by row."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, TypedDict

from sqlalchemy import ColumnElement, FromClause, Select, bindparam, func, literal, literal_column, null, select

from models.agents import talks_to
from models.expressions import Hex, JsonList, JsonObject, in_checked_project, in_project
from models.keys import user_key
from models.memories import is_there
from models.rows import AgentRow, AnyRow, DocumentRow, MemoryRow, MessageRow, SessionRow, UserRow
from models.scope import Scope, viewer
from models.statements import Count, Statement
from models.store import Snapshot
from models.tables import (
    agents,
    deleted_messages,
    documents,
    memories,
    memory_sources,
    messages,
    sessions,
    users,
    withheld_memories,
)

_live = sessions.c.deleted_at.is_(None)
_sources = memory_sources.alias("s")
_source = JsonObject(
    literal("position"),
    _sources.c.position,
    literal("sessionId"),
    sessions.c.session_id,
    literal("sequence"),
    _sources.c.sequence,
    literal("documentKey"),
    Hex(_sources.c.document_key),
)
_named_sources = (
    select(func.coalesce(JsonList(_source, _sources.c.position), literal_column("'[]'")))
    .select_from(_sources.outerjoin(sessions, sessions.c.key == _sources.c.session_key))
    .where(_sources.c.memory_key == memories.c.key, is_there(_sources))
    .correlate(memories)
    .scalar_subquery()
)

_tombstone = JsonObject(
    literal("sequence"),
    deleted_messages.c.sequence,
    literal("messageIdHash"),
    Hex(deleted_messages.c.message_id_hash),
)
_deleted_messages = (
    select(JsonList(_tombstone, deleted_messages.c.sequence))
    .select_from(deleted_messages)
    .where(deleted_messages.c.session_key == sessions.c.key, deleted_messages.c.sequence > sessions.c.deleted_through)
    .correlate(sessions)
    .scalar_subquery()
)

_withheld = (
    select(JsonList(Hex(withheld_memories.c.fingerprint), withheld_memories.c.fingerprint))
    .where(
        withheld_memories.c.session_key == messages.c.session_key, withheld_memories.c.sequence == messages.c.sequence
    )
    .correlate(messages)
    .scalar_subquery()
)


def _with_sources(remembered: Select[Any], owned: FromClause, conditions: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """Memories with their sources on Citus: those of all of them are gathered first."""
    gathered = (
        select(_sources.c.memory_key, JsonList(_source, _sources.c.position).label("sources"))
        .select_from(_sources.outerjoin(sessions, sessions.c.key == _sources.c.session_key))
        .where(_sources.c.memory_key.in_(select(memories.c.key).where(*conditions)), is_there(_sources))
        .group_by(_sources.c.memory_key)
        .subquery("gathered")
    )
    return remembered.add_columns(
        func.coalesce(gathered.c.sources, literal_column("'[]'")).label("sources")
    ).select_from(owned.outerjoin(gathered, gathered.c.memory_key == memories.c.key))


def _selections(*, of_user: bool, on_citus: bool = False) -> list[tuple[Select[Any], type[Any]]]:
    """Statements for everything of a project, or of one user of it, who is the scope's viewer.

    A row comes after the rows that it refers to; each order is that of an index, so that nothing has to be sorted
    except the few agents of a user. A user's export has those fields of an agent that a user token may read.
    """

    def own(rows: FromClause, owner: ColumnElement[Any]) -> list[ColumnElement[bool]]:
        return [in_checked_project(rows), owner == viewer] if of_user else [in_project(rows)]

    def indexed(rows: FromClause) -> list[ColumnElement[Any]]:
        return [rows.c.created_at, rows.c.key] if of_user else [rows.c.key]

    agent = [column for column in agents.columns if not of_user or column.name != "instructions"]
    met = [in_checked_project(agents), talks_to(viewer, agents)]
    own_memories = (memories.c.deleted_at.is_(None), *own(memories, memories.c.user_key))
    owned = (
        memories.outerjoin(users, users.c.key == memories.c.user_key)
        .outerjoin(sessions, sessions.c.key == memories.c.session_key)
        .outerjoin(agents, agents.c.key == memories.c.agent_key)
    )
    remembered = select(memories, users.c.user_id, sessions.c.session_id, agents.c.agent_id)
    if on_citus:
        remembered = _with_sources(remembered, owned, own_memories)
    else:
        remembered = remembered.add_columns(_named_sources.label("sources")).select_from(owned)
    return [
        (
            select(users).where(*own(users, users.c.key)).order_by(users.c.created_at, users.c.user_id),
            UserRow,
        ),
        (
            select(*agent, *([null().label("instructions")] if of_user else []))
            .where(*(met if of_user else [in_project(agents)]))
            .order_by(agents.c.created_at, agents.c.agent_id),
            AgentRow,
        ),
        (
            select(documents, users.c.user_id, agents.c.agent_id)
            .select_from(
                documents.outerjoin(users, users.c.key == documents.c.user_key).outerjoin(
                    agents, agents.c.key == documents.c.agent_key
                )
            )
            .where(*own(documents, documents.c.user_key))
            .order_by(*indexed(documents)),
            DocumentRow,
        ),
        (
            select(sessions, users.c.user_id, agents.c.agent_id, _deleted_messages.label("deleted_messages"))
            .select_from(
                sessions.outerjoin(users, users.c.key == sessions.c.user_key).outerjoin(
                    agents, agents.c.key == sessions.c.agent_key
                )
            )
            .where(_live, *own(sessions, sessions.c.user_key))
            .order_by(sessions.c.created_at, sessions.c.session_id),
            SessionRow,
        ),
        (
            select(
                messages,
                messages.c.forms_memories.label("form_memories"),
                sessions.c.session_id,
                sessions.c.project,
                _withheld.label("withheld_memories"),
            )
            .join(sessions, sessions.c.key == messages.c.session_key)
            .where(_live, messages.c.sequence > sessions.c.deleted_through, *own(sessions, sessions.c.user_key))
            .order_by(sessions.c.created_at, sessions.c.session_id, messages.c.sequence),
            MessageRow,
        ),
        (
            remembered.where(*own_memories).order_by(*indexed(memories)),
            MemoryRow,
        ),
    ]


@lru_cache(maxsize=2)
def _statements(*, of_user: bool) -> list[tuple[Statement[AnyRow], Statement[Count]]]:
    """The statement that reads the rows of each kind, and the one that counts them."""
    both = zip(_selections(of_user=of_user), _selections(of_user=of_user, on_citus=True), strict=True)
    return [
        (
            Statement(clause, kind, others={"citus": instead}),
            Statement(_counted(clause), Count, others={"citus": _counted(instead)}),
        )
        for (clause, kind), (instead, _) in both
    ]


def _counted(clause: Select[Any]) -> Select[*tuple[Any, ...]]:
    return select(func.count().label("count")).select_from(clause.subquery())


_PROJECTS = (users, agents, sessions, documents, memories)


class _Project(TypedDict):
    project: str | None


def _next_project(table: FromClause) -> Statement[_Project]:
    # Skips from one project to the next by an index: DISTINCT would read all rows.
    return Statement(
        select(func.min(table.c.project).label("project")).where(table.c.project > bindparam("after")), _Project
    )


_next_projects = [_next_project(table) for table in _PROJECTS]
_user = Statement(select(users.c.key).where(users.c.key == bindparam("key")))


class Archive:
    """Everything in a snapshot, for an export."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._rows = snapshot.rows

    def projects(self) -> list[str]:
        """The projects that have any data, in order."""
        found: list[str] = []
        while following := [
            row["project"]
            for statement in _next_projects
            for row in self._rows(statement, {"after": found[-1] if found else ""})
            if row["project"] is not None
        ]:
            found.append(min(following))
        return found

    def scopes(self, *, project: str | None, user_id: str | None) -> list[Scope]:
        """The scopes to export: projects, or the users with an id in them."""
        projects = self.projects() if project is None else [project]
        if user_id is None:
            return [Scope(name) for name in projects]
        keys = {name: user_key(name, user_id) for name in projects}
        return [Scope(name, key) for name, key in keys.items() if list(self._rows(_user, {"key": key}))]

    def read(self, scopes: Sequence[Scope]) -> Iterator[AnyRow]:
        """Every row that is not deleted, after the rows that it refers to."""
        for scope in scopes:
            for statement, _ in _statements(of_user=scope.user is not None):
                yield from self._rows(statement, scope.values)

    def count(self, scopes: Sequence[Scope]) -> int:
        """Counts the rows that `read` yields."""
        return sum(
            next(self._rows(counting, scope.values))["count"]
            for scope in scopes
            for _, counting in _statements(of_user=scope.user is not None)
        )
