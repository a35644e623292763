"""The sources of memories: a formed memory is removed with its last source."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, exists, false, func, not_, or_, select

from models.expressions import Parents, each_of, parent_key, parents
from models.keyset import Condition
from models.rows import AgentRow, DocumentRow, MessageRow, SessionDeletionRow, SessionRow, UserRow
from models.statements import Statement
from models.store import Transaction
from models.tables import Number, documents, memories, memory_sources, sessions
from models.watched import WATCHED, Watched, remove_watched

WHICH: dict[str, Condition] = {
    "messages": lambda rows: (
        (rows.c.session_key == bindparam("session")) & rows.c.sequence.in_(each_of("sequences", Number))
    ),
    "session": lambda rows: (rows.c.session_key == bindparam("session")) & (rows.c.sequence <= bindparam("through")),
    "documents": lambda rows: rows.c.document_key.in_(select(parent_key).select_from(parents)),
    "documents of agent": lambda rows: rows.c.document_key.in_(
        select(documents.c.key).where(documents.c.agent_key == bindparam("agent"))
    ),
    "user": lambda rows: or_(
        rows.c.session_key.in_(select(sessions.c.key).where(sessions.c.user_key == bindparam("user"))),
        rows.c.document_key.in_(select(documents.c.key).where(documents.c.user_key == bindparam("user"))),
    ),
}


@lru_cache(maxsize=32)
def _forgetting(which: str, formed_only: bool) -> tuple[Statement[Watched], Statement[Any]]:
    gone, other = memory_sources, memory_sources.alias("other")
    named = WHICH[which](gone)
    formed = memories.c.method != "DECLARED"
    if formed_only:
        # The application vouches for a memory that it corrected, as for one that it declared.
        formed &= memories.c.corrected_at.is_(None)
    rest = exists(
        select(other.c.position).where(
            other.c.memory_key == memories.c.key, not_(func.coalesce(WHICH[which](other), false()))
        )
    )
    keys = select(gone.c.memory_key).where(named)
    sources = delete(gone).where(named)
    if formed_only:
        sources = sources.where(exists(select(memories.c.key).where(memories.c.key == gone.c.memory_key, formed)))
    removal = delete(memories).where(formed, memories.c.key.in_(keys), not_(rest)).returning(*WATCHED)
    return Statement(removal, Watched), Statement(sources)


class Sources(NamedTuple):
    """Sources that are about to be removed, given by rows that were read through a scope."""

    which: str
    values: dict[str, Any]

    @classmethod
    def of_messages(cls, rows: Sequence[MessageRow]) -> "Sources":
        """Messages of one session."""
        return cls("messages", {"session": rows[0]["session_key"], "sequences": [row["sequence"] for row in rows]})

    @classmethod
    def of_session(cls, session: SessionRow) -> "Sources":
        return cls("session", {"session": session["key"], "through": session["last_sequence"]})

    @classmethod
    def of_deletion(cls, deletion: SessionDeletionRow, through: int) -> "Sources":
        """The messages of a deleted session up to one of them."""
        return cls("session", {"session": deletion["session_key"], "through": through})

    @classmethod
    def of_documents(cls, rows: Sequence[DocumentRow]) -> "Sources":
        return cls("documents", Parents([row["key"] for row in rows]).values)

    @classmethod
    def of_agent(cls, agent: AgentRow) -> "Sources":
        """The documents of an agent."""
        return cls("documents of agent", {"agent": agent["key"]})

    @classmethod
    def of_user(cls, user: UserRow) -> "Sources":
        return cls("user", {"user": user["key"]})


async def forget_sources(write: Transaction, gone: Sources, *, formed_only: bool = False) -> None:
    """Removes the memories that were formed from these sources alone, and these sources from the other memories.

    With `formed_only` a declared or corrected memory keeps them: the message was only edited, and is still the source
    that the application named.
    """
    slowly = gone.which in ("user", "documents")
    removal, sources = _forgetting(gone.which, formed_only)
    await remove_watched(write, removal, gone.values, slowly=slowly)
    await write.execute(sources, gone.values, slowly=slowly)
