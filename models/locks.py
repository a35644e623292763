"""Locks: how transactions that run at the same time keep out of each other's way.

On SQLite there is one writer, and nothing of this is needed: `held` is None. On PostgreSQL each statement of a
transaction sees what others have committed until then. So what an operation reads, and goes by when it writes, nobody
else may change until the transaction ends. These are the rules:

- A user or an agent that an operation refers to stays (FOR KEY SHARE). Many transactions hold the same one at the same
  time. Who erases, renames, merges or deletes it waits for all of them, and keeps others waiting (FOR UPDATE).
- A session is changed by one transaction at a time (FOR NO KEY UPDATE), with its messages, tombstones and job. A
  transaction that holds a session also holds its user: an erasure would miss what is added to the session meanwhile.
  One statement holds a session without its user: that of `models.appending`, which adds messages and nothing else. If
  the session is removed or gets another owner, its messages follow it. An erasure holds the user's sessions before it
  counts their messages, so it counts these, too.
- The memories and documents of a user, an agent or a session without a user are changed by one transaction at a time:
  it holds their owner (`hold_memories`). It does so before it looks for memories, since what it finds decides what it
  writes. A memory or document that is read by its key is held together with its owner.
- Whatever else a transaction reads is either held by one of these rules, or checked when it is written: a row with a
  version is updated only if it has the version that was read (`models.writing`), and a unique key refuses a second row.
  The store then runs the operation again, which finds what the other one has written.

A transaction waits for a lock only if that lock comes after all that it holds: users and agents, then sessions, then
what belongs to them, then jobs (`models.statements.rank_of`). A lock that comes before is only tried: if somebody else
has it, the store begins anew and takes it first. Statements that change many rows keep to this order, too: sessions
before memories. So transactions do not wait for each other in a circle, but for one case: a statement on all sessions
of an agent or a user takes them in any order. There PostgreSQL ends a deadlock, and the store begins anew.

The functions that read by key do this by themselves. An operation calls the ones below for what it reads otherwise. No
statement locks rows of several shards: on Citus each goes by one key.
"""

from collections.abc import Iterable
from typing import TypedDict

from sqlalchemy import bindparam, select

from models.expressions import is_in_project, upsert
from models.scope import Owned, Scope, of_viewer
from models.statements import Keyed, Statement, lock_of
from models.store import Reader, Transaction
from models.tables import agents, leases, sessions, users


class Choice(TypedDict):
    form_memories: bool | None


class OfUser(Owned):
    key: bytes


_user = Statement(
    select(users.c.form_memories).where(users.c.key == bindparam("key"), is_in_project(users)),
    Choice,
    single=True,
    lock=lock_of(users, "KEY SHARE"),
)
_session = Statement(
    select(sessions.c.key, sessions.c.user_key).where(
        sessions.c.key == bindparam("key"), is_in_project(sessions), of_viewer(sessions.c.user_key)
    ),
    OfUser,
    single=True,
    lock=lock_of(sessions),
)
_for_change = {
    owner: Statement(
        select(table.c.key).where(table.c.key == bindparam("key"), is_in_project(table)),
        Keyed,
        single=True,
        lock=lock_of(table),
    )
    for owner, table in (("user", users), ("agent", agents))
}
_name = Statement(
    upsert(leases)
    .values(name=bindparam("name"), holder=bindparam("holder"), until=0)
    .on_conflict_do_update(index_elements=["name"], set_={"holder": bindparam("holder")}),
    upkeep=True,
)


async def hold_sessions(read: Reader, scope: Scope, keys: Iterable[bytes]) -> None:
    """Before the messages of sessions are read: nobody else changes them until the transaction ends."""
    if read.held is None:
        return
    for key in sorted(set(keys) - read.held.sessions.keys()):
        for row in await read.fetch(_session, {**scope.values, "key": key}):
            await hold_user_of(read, scope, row)


async def hold_user_of(read: Reader, scope: Scope, session: OfUser) -> bool | None:
    """After a session was locked: its user is not erased until the transaction ends. Returns the user's choice to form
    memories."""
    if read.held is None:
        return None
    user = read.held.sessions[session["key"]] = session["user_key"]
    if user is not None and user not in read.held.users:
        for row in await read.fetch(_user, {**scope.values, "key": user}):
            read.held.users[user] = row["form_memories"]
    return None if user is None else read.held.users.get(user)


async def hold_memories(read: Reader, scope: Scope, *, user: bytes | None = None, agent: bytes | None = None) -> None:
    """Before memories or documents are read that decide what is written: nobody else changes those of their owner until
    the transaction ends. Those of a session without a user are held with the session."""
    if read.held is not None:
        for kind, key in (("user", user), ("agent", agent)):
            if key is None or key in read.held.changing:
                continue
            if await read.fetch(_for_change[kind], {**scope.values, "key": key}):
                read.held.changing.add(key)


async def hold_memories_of_session(read: Reader, scope: Scope, session: bytes) -> None:
    """The same for those of a session that is held, given by its key."""
    if read.held is not None:
        await hold_memories(read, scope, user=read.held.sessions.get(session))


async def hold_name(write: Transaction, name: str) -> None:
    """Before a table is read that must get one row only: one transaction at a time goes on, until it ends."""
    if write.held is not None:
        await write.execute(_name, {"name": name, "holder": bytes(16)})
