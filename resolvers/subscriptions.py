"""Subscriptions: the events of a session, or of the sessions and memories of a user.

Each event is looked up in the viewer's scope when it is about to be sent.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypedDict, TypeVar, cast

from models.errors import Unavailable
from models.keys import session_key, user_key
from models.messages import nonce_of
from models.notices import Notice
from models.rows import SessionRow
from models.sessions import session_by_key
from resolvers.connections import Edge
from resolvers.errors import BadInput
from resolvers.feeds import Feed, Place, Stopped, cursors_of
from resolvers.ids import NodeId, global_id, message_id
from resolvers.inputs import key_rule
from resolvers.live import Live, Topic, Watch
from resolvers.nodes import LARGEST_LIST, fetch_nodes
from resolvers.operation_context import OperationContext

T = TypeVar("T")

PAUSE = 0.5
"""Seconds from one attempt to read to the next, while the database is away."""


class Event(TypedDict):
    """A change of an object, which is None after a deletion."""

    change: str
    node_id: str
    object: Any


def position_of(event: Any) -> str | None:
    """The cursor from which a subscription continues after this event, if it can."""
    if not isinstance(event, tuple):
        return None
    rows, place, _ = cast(Edge, event)
    return rows.cursors[place]


async def message_added(
    context: OperationContext, session_id: str, after: str | None = None, after_sequence: int | None = None
) -> AsyncGenerator[Edge]:
    """The messages of a session after a place, then each new one. Without a place those that are added from now on."""
    if after is not None and after_sequence is not None:
        raise BadInput("Give `after` (a cursor) or `afterSequence` (a number), not both.")
    if after_sequence is not None and after_sequence < 0:
        raise BadInput(f"`afterSequence` is {after_sequence}; it is 0 (from the start) or more.")
    if context.resume_after is not None:
        after, after_sequence = context.resume_after, None
    _check_key("sessionId", session_id)
    live = _live(context)
    context.read_current()
    feed = await live.feed(context.scope.project, session_id)
    session = await session_by_key(context.read, context.scope.whole_project, feed.key)
    shown = session if session is not None and context.may_see(session) else None
    return _messages(context, feed, _place(session, shown, after, after_sequence))


def _place(
    session: SessionRow | None, shown: SessionRow | None, after: str | None, after_sequence: int | None
) -> Place:
    """The place that a subscription starts after. A session that the viewer may not see is as one that is not there."""
    last = 0 if shown is None else shown["last_sequence"]
    nonce = 0 if session is None else session["nonce"]
    if after is not None:
        if shown is None:
            raise BadInput("The cursor in `after` is not one of this session's messages; start again without `after`.")
        (after_sequence,) = cursors_of(shown).position(after, "after")
    if after_sequence is not None:
        if after_sequence > last:
            raise BadInput(f"This place is after {after_sequence} messages; the session has had {last} so far.")
        return Place(nonce, after_sequence)
    return Place(nonce, 0 if session is None else session["last_sequence"])


async def _messages(context: OperationContext, feed: Feed, place: Place) -> AsyncGenerator[Edge]:
    while True:
        version, owners = feed.version, feed.owners
        piece = await _patiently(lambda place=place: feed.after(place))
        session = piece.session
        if session is None or not piece.edges or not context.may_see(session):
            await feed.changed(version)
            continue
        for edge in piece.edges:
            yield edge
            _, _, message = edge
            place = Place(session["nonce"], message["sequence"])
            if feed.owners != owners:
                # The session may belong to somebody else by now.
                break


async def message_changed(context: OperationContext, session_id: str) -> AsyncGenerator[Event]:
    """The edits and deletions of a session's messages."""
    _check_key("sessionId", session_id)
    live, key = _live(context), session_key(context.scope.project, session_id)

    async def is_visible() -> bool:
        session = await session_by_key(context.database.reader, context.scope, key)
        return session is not None and session["deleted_at"] is None

    return _changes(context, "Message", await live.watch(Topic("messages", key)), is_visible)


async def memory_changed(context: OperationContext, user_id: str | None = None) -> AsyncGenerator[Event]:
    """The changes of a user's memories; without a user of all memories that the viewer sees."""
    return _changes(context, "Memory", await _watch_owner(context, "memories", user_id))


async def session_changed(context: OperationContext, user_id: str | None = None) -> AsyncGenerator[Event]:
    """The changes of a user's sessions; without a user of all sessions that the viewer sees."""
    return _changes(context, "Session", await _watch_owner(context, "sessions", user_id))


async def _watch_owner(context: OperationContext, table: str, user_id: str | None) -> Watch:
    owner: bytes | str = context.scope.user or context.scope.project
    if user_id is not None:
        _check_key("userId", user_id)
        named = user_key(context.scope.project, user_id)
        # Nothing ever changes under an empty key: somebody else's objects do not exist for a user.
        owner = named if context.scope.user in (None, named) else b""
    return await _live(context).watch(Topic(table, owner))


async def _changes(
    context: OperationContext, noun: str, watch: Watch, is_visible: Callable[[], Awaitable[bool]] | None = None
) -> AsyncGenerator[Event]:
    while True:
        notices = await watch.take(LARGEST_LIST)
        if is_visible is not None and not await _patiently(is_visible):
            continue
        changes = [(notice, change) for notice in notices if (change := watch.change_of(notice)) is not None]
        wanted = [_node(noun, notice) for notice, change in changes if change != "DELETED"]
        rows = await _patiently(lambda w=wanted: fetch_nodes(context.database.reader, context.scope, noun, w))
        found = dict(zip(wanted, rows, strict=True))
        for notice, change in changes:
            row = None if change == "DELETED" else found[_node(noun, notice)]
            # What is gone by now has another notice.
            if change == "DELETED" or row is not None:
                yield {"change": change, "node_id": _id(noun, notice), "object": row}


def _node(noun: str, notice: Notice) -> NodeId:
    nonce = nonce_of(notice.generation) if noun == "Message" else notice.generation
    return NodeId(noun, notice.key, nonce, notice.sequence if noun == "Message" else 0)


def _id(noun: str, notice: Notice) -> str:
    if noun == "Message":
        return message_id(notice.key, notice.generation, notice.sequence)
    return global_id(noun, notice.key, notice.generation)


async def _patiently(read: Callable[[], Awaitable[T]]) -> T:
    """Reads; while the database is away it tries again, for nothing is lost meanwhile."""
    while True:
        try:
            return await read()
        except Stopped:
            raise
        except Unavailable:
            await asyncio.sleep(PAUSE)


def _live(context: OperationContext) -> Live:
    if context.live is None:
        raise Unavailable("There are no subscriptions here.")
    return context.live


def _check_key(argument: str, key: str) -> None:
    problem = key_rule(key)
    if problem is not None:
        raise BadInput(f"`{argument}`: {problem[1]}")
