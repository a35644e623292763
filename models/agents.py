"""Statements on agents."""

from typing import Any

from sqlalchemy import ColumnElement, FromClause, bindparam, or_, select, tuple_, update

from models.columns import Key
from models.containment import contains
from models.expressions import each_of, in_checked_project, in_project, on_citus, parent_key, parents
from models.keys import agent_key
from models.keyset import Listing, between, fetch_by_key, in_list
from models.rows import AgentRow
from models.scope import Scope, viewer
from models.statements import ByKey, Statement
from models.store import Reader, Transaction
from models.tables import agents, sessions
from models.watched import WATCHED_SESSION, WatchedSession
from models.writing import TypedTable

agent_table = TypedTable(agents, AgentRow)

ORDERS = {
    "created_at": ("created_at", "agent_id"),
    "updated_at": ("updated_at", "agent_id"),
    "agent_id": ("agent_id",),
    "name": ("name_start", "agent_id"),
}
FILTERS = {"agent_ids": in_list("agent_id", "agent_ids"), **contains(), **between("created_at")}
SELECTIVE = ("agent_ids",)

AGENTS = Listing(
    name="agents",
    table=agents,
    row=AgentRow,
    always=in_project,
    nested=False,
    orders=ORDERS,
    filters=FILTERS,
    selective=SELECTIVE,
)


def talks_to(user: ColumnElement[Any], rows: FromClause) -> ColumnElement[bool]:
    """True if the user has a session with the agent.

    Goes by the user's sessions: an agent may have those of all users.
    """
    of_user = (sessions.c.user_key == user) & sessions.c.deleted_at.is_(None)
    return rows.c.key.in_(select(sessions.c.agent_key).where(of_user).correlate(parents))


def _talk_to_parent(rows: FromClause) -> ColumnElement[bool]:
    """True if the parent, a user, has a session with the agent."""
    of_parents = sessions.c.user_key.in_(each_of("parent_keys", Key)) & sessions.c.deleted_at.is_(None)
    met = select(sessions.c.user_key, sessions.c.agent_key).where(of_parents)
    return on_citus(talks_to(parent_key, rows), tuple_(parent_key, rows.c.key).in_(met))


AGENTS_OF_USER = Listing(
    name="agents of a user",
    table=agents,
    row=AgentRow,
    always=lambda rows: in_checked_project(rows) & _talk_to_parent(rows),
    orders=ORDERS,
    filters=FILTERS,
    selective=SELECTIVE,
)

_by_key = ByKey(agents, AgentRow, where=(or_(viewer.is_(None), talks_to(viewer, agents)),), strength="KEY SHARE")
_alone = ByKey(agents, AgentRow, strength="UPDATE")
_release = Statement(
    update(sessions)
    .where(sessions.c.agent_key == bindparam("agent"), in_checked_project(sessions))
    .values(agent_key=bindparam("none"), version=sessions.c.version + 1, updated_at=bindparam("now"))
    .returning(*WATCHED_SESSION),
    WatchedSession,
)


async def agents_by_key(read: Reader, scope: Scope, keys: list[bytes]) -> list[AgentRow | None]:
    return await fetch_by_key(read, scope, _by_key, keys)


async def agent_by_id(read: Reader, scope: Scope, agent_id: str) -> AgentRow | None:
    return (await agents_by_key(read, scope, [agent_key(scope.project, agent_id)]))[0]


async def agent_to_end(write: Transaction, scope: Scope, agent_id: str) -> AgentRow | None:
    """An agent that is about to be deleted: nobody else refers to it meanwhile."""
    return (await fetch_by_key(write, scope, _alone, [agent_key(scope.project, agent_id)]))[0]


async def release_sessions(write: Transaction, scope: Scope, agent: bytes, now: str) -> None:
    """Leaves the agent's sessions without an agent."""
    for row in await write.fetch(_release, {**scope.values, "agent": agent, "none": None, "now": now}, slowly=True):
        write.changed(sessions.name, row, row)
