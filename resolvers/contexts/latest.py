"""The newest sessions of a user, and what was said last in them."""

from collections.abc import AsyncIterator, Sequence

from models.messages import latest_messages
from models.rows import MessageRow, SessionRow, UserRow
from models.sessions import SESSIONS_OF_USER
from resolvers.connections import Page, Paging, connect
from resolvers.operation_context import OperationContext
from resolvers.sessions import session_filter

FIRST_READ = 4
"""Messages of another session that are read at first: they may not fit."""

LATEST_SESSIONS, LATEST_MESSAGES = 100, 50
"""The number of a user's other latest sessions that share the rest of a budget, and the messages of each."""


async def latest_sessions(context: OperationContext, user: UserRow, limit: int) -> Sequence[SessionRow]:
    """The user's sessions with the latest activity."""
    paging, live = Paging(limit=limit), session_filter(context, None)
    (page,) = await connect(context, SESSIONS_OF_USER, paging, [user["key"]], order="last_activity_at", filter=live)
    return page.rows if isinstance(page, Page) else []


async def latest_said(context: OperationContext, session: SessionRow) -> AsyncIterator[MessageRow]:
    """A session's messages, newest first; reads few at first, since they may not fit."""
    with context.allowance.passing():
        rows = await latest_messages(context.read, session, FIRST_READ)
    for message in reversed(rows):
        yield message
    if len(rows) == FIRST_READ:
        with context.allowance.passing():
            more = await latest_messages(context.read, session, LATEST_MESSAGES)
        for message in reversed(more[:-FIRST_READ]):
            yield message
