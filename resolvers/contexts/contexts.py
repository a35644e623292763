"""Contexts: the text and messages for a prompt, of a session or of a user.

The situation, the newest message and the current summary come first, then the few facts that always matter, then the
best answers to the query: memories, passages of documents and earlier messages. A session's newest messages have a
share of the budget of their own. The rest goes to other memories and to the latest messages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, TypedDict

from models.messages import newest_messages, newest_of_role
from models.rows import AgentRow, DocumentRow, MemoryRow, MessageRow, SearchedRow, SessionRow, UserRow
from models.search_kinds import Within
from models.statements import is_document, is_memory
from resolvers.agents import agents_of
from resolvers.connections import Paging
from resolvers.contexts.asks import sentences_that_ask
from resolvers.contexts.intents import LOOKED_AT, asked_in
from resolvers.contexts.knowledge import Knowing, knowledge_of
from resolvers.contexts.latest import LATEST_SESSIONS, latest_said, latest_sessions
from resolvers.contexts.narrowing import narrowed
from resolvers.contexts.prompts import (
    ABOUT_AGENT,
    ABOUT_USER,
    DOCUMENTS,
    MEMORIES,
    NEWEST,
    SITUATION,
    SUMMARY,
    Piece,
    Prompt,
)
from resolvers.contexts.recall import Recall
from resolvers.contexts.windows import LARGEST_WINDOW, NO_WINDOW, Window, read_window
from resolvers.documents import document_filter
from resolvers.errors import BadInput
from resolvers.filters import Filter, Given
from resolvers.memories import memory_filter, summaries_of_sessions, summaries_of_users
from resolvers.operation_context import OperationContext
from resolvers.parts import said_in
from resolvers.search.passages import cut
from resolvers.search.questions import parse_question
from resolvers.search.search import search
from resolvers.speakers import speaker_of, user_name
from resolvers.users import users_of

DEFAULT_BUDGET = 4000
"""Default budget in tokens, if neither the query nor the session has one."""

MATCHES = {"TRUNCATE": 0.25, "ADAPTIVE": 2 / 3}
"""The share of the budget for matches, when the messages do not fit."""

MOST_MATCHES, LEAST_MATCH = 500, 10
"""Most matches that are considered; and the least tokens that a match usually takes."""

ABOUT = 1 / 4
"""The share of the tokens left that the description of the user, or of the agent, may take."""

MOST_OF_MATCHES = 8 * 1024 * 1024
"""Most characters of matches that are read, best first: of a long one only a passage is quoted."""

_CHARACTERS = 4
"""Of a token, about, and at most."""


class Context(TypedDict):
    """A context as clients see it."""

    text: str
    token_count: int
    max_tokens: int
    messages: list[MessageRow]
    memories: list[MemoryRow]
    documents: list[DocumentRow]
    recalled: list[MessageRow]
    summary: MemoryRow | None
    dropped_messages: int


class OverBudget(BadInput):
    """The messages exceed the budget, and the query does not allow omitting any."""

    code = "CONTEXT_OVERFLOW"

    def __init__(self, budget: int) -> None:
        super().__init__(
            f"The session's messages and its situation take more than maxTokens ({budget}), or are more than "
            f"{LARGEST_WINDOW:,}; give more, ask for fewer messages with `lastMessages`, or let some be left out with "
            "TRUNCATE or ADAPTIVE."
        )


Searches = dict[tuple[Any, ...], Sequence[SearchedRow]]


@dataclass
class About:
    """The owner of a context; `summary` is the session's, else the user's.

    `filters` are those of memories and of documents, if they were given, by the names of the kinds.
    """

    user: UserRow | None
    session: SessionRow | None = None
    summary: MemoryRow | None = None
    filters: Mapping[str, Filter] = field(default_factory=dict[str, Filter])
    agent: AgentRow | None = None
    window: Window = NO_WINDOW
    searches: Searches = field(default_factory=dict[Any, Any])
    """Searches done so far: the sessions of one user share them."""

    @property
    def within(self) -> Within:
        """The part of the store to search."""
        user, session = self.user, self.session
        own = (session["key"],) if session is not None and user is None else None
        agent = None if session is None else session["agent_key"]
        return Within(own, None if user is None else user["key"], beside=agent)

    @property
    def name(self) -> str:
        """The user's name, for statements by the user."""
        return (self.user is not None and user_name(self.user)) or "User"


async def contexts_of_sessions(
    context: OperationContext,
    rows: Sequence[SessionRow],
    *,
    query: str | None = None,
    max_tokens: int | None = None,
    overflow: str | None = None,
    last_messages: int | None = None,
    memories: Given = None,
    documents: Given = None,
) -> list[Context | OverBudget | None]:
    """The context of each session; None for one that is deleted."""
    _check(query, max_tokens, last_messages)
    filters = _filters(context, memories, documents)
    agents = await agents_of(context, rows)
    users = await users_of(context, rows)
    owners = {user["key"]: user for user in users if user is not None}
    of_users = dict(zip(owners, await summaries_of_users(context, list(owners.values())), strict=True))
    summaries = await summaries_of_sessions(context, rows)
    found: list[Context | OverBudget | None] = []
    searches: Searches = {}
    for row, user, agent, summary in zip(rows, users, agents, summaries, strict=True):
        if row["deleted_at"] is not None:
            found.append(None)
            continue
        budget = max_tokens or row["token_budget"] or DEFAULT_BUDGET
        summary = summary or of_users.get(row["user_key"] or b"")
        about = About(user, row, summary, filters, agent, searches=searches)
        treatment = overflow or row["context_overflow"] or "ADAPTIVE"
        try:
            found.append(await _build(context, about, budget, query, treatment, last_messages))
        except OverBudget as problem:
            found.append(problem)
    return found


async def contexts_of_users(
    context: OperationContext,
    rows: Sequence[UserRow],
    *,
    query: str | None = None,
    max_tokens: int | None = None,
    memories: Given = None,
    documents: Given = None,
) -> list[Context]:
    """The context of each user, without messages; the default query is what the user's latest session asks for."""
    _check(query, max_tokens)
    filters = _filters(context, memories, documents)
    budget = max_tokens or DEFAULT_BUDGET
    summaries = await summaries_of_users(context, rows)
    return [
        await _build(context, About(row, None, summary, filters), budget, query or await _last_asked(context, row))
        for row, summary in zip(rows, summaries, strict=True)
    ]


def _check(query: str | None, max_tokens: int | None, last_messages: int | None = None) -> None:
    if query is not None and not query.strip():
        raise BadInput("`query` is empty; say what the context is for, or leave it out.")
    for name, number in (("maxTokens", max_tokens), ("lastMessages", last_messages)):
        if number is not None and number < 1:
            raise BadInput(f"`{name}` is {number}; give at least 1, or leave it out.")


def _filters(context: OperationContext, memories: Given, documents: Given) -> dict[str, Filter]:
    """The filters that were given, by the names of the kinds of results."""
    found: dict[str, Filter] = {}
    if memories is not None:
        found["MEMORIES"] = memory_filter(context, memories)
    if documents is not None:
        found["DOCUMENTS"] = document_filter(documents)
    return found


async def _last_asked(context: OperationContext, user: UserRow) -> str | None:
    """The query that the user's latest session implies."""
    latest = await latest_sessions(context, user, 1)
    return asked_in(await newest_messages(context.read, latest[0], LOOKED_AT)) if latest else None


async def _asked(context: OperationContext, about: About) -> str | None:
    """The query that the session implies: after many tool messages the user's turn may be before those read."""
    newest = about.window.rows[:LOOKED_AT]
    if about.session is None or not newest:
        return None
    if not any(row["role"] == "USER" for row in newest):
        newest = await newest_of_role(context.read, about.session, "USER", LOOKED_AT)
    return asked_in(newest)


async def _build(
    context: OperationContext,
    about: About,
    budget: int,
    query: str | None,
    overflow: str = "ADAPTIVE",
    last_messages: int | None = None,
) -> Context:
    """Builds a context. Most rows read for it are freed again; those that it refers to count against the limit."""
    with context.allowance.passing():
        if about.session is not None:
            about.window = await read_window(context, about.session, budget, last_messages)
        built = await _put_together(context, about, budget, query, overflow)
    context.allowance.keep(chain(*(built[name] for name in ("messages", "memories", "documents", "recalled"))))
    return built


async def _put_together(
    context: OperationContext, about: About, budget: int, query: str | None, overflow: str
) -> Context:
    window = about.window
    prompt = Prompt(budget, context.count_tokens)
    situation = None if about.session is None else about.session["situation"]
    last = _last_unit(window)
    # The newest message comes before the situation, if there is room for one of them.
    has_last = overflow != "ERROR" and last is not None and prompt.add_messages(last)
    has_situation = not situation or prompt.add(Piece(SITUATION, (), situation))
    if overflow == "ERROR":
        if not (has_situation and window.is_whole and _add_newest(prompt, window)):
            raise OverBudget(budget)
    elif last is not None and not has_last:
        await _add_last(context, prompt, about)
    if about.agent is not None:
        await _add_cut(context, prompt, ABOUT_AGENT, about.agent["about"])
    if about.user is not None:
        await _add_cut(context, prompt, ABOUT_USER, about.user["about"])
    if about.summary is not None:
        prompt.add(Piece(SUMMARY, (), about.summary["content"], node=about.summary), prompt.left // 2)
    query = query or await _asked(context, about)
    if query is not None:
        query = await narrowed(context, query, about.within)
    found: Sequence[SearchedRow] = (
        () if query is None else await _search(context, about, query, budget, quoting=overflow == "ADAPTIVE")
    )
    remembered = about.filters.get("MEMORIES") or memory_filter(context, None)
    knowing = Knowing(about.user, about.session, about.agent, about.name)
    knowledge = await knowledge_of(context, knowing, found, budget, remembered)
    knowledge.add_standing(prompt)
    await knowledge.find_sources(context, prompt)
    recall = Recall(context, prompt, parse_question(query or ""), knowledge, about.user, about.session, window)
    if overflow == "ERROR" or (window.is_whole and prompt.fits(window.units)):
        _add_newest(prompt, window)
        matches = prompt.left
    else:
        matches = int(prompt.left * MATCHES[overflow])
        if overflow == "ADAPTIVE":
            _add_newest(prompt, window, prompt.left - matches)
    await recall.add(found, matches)
    before = prompt.left
    prompt.settle()
    await recall.add(found, prompt.left - before)
    _add_newest(prompt, window)
    await knowledge.find_sources(context, prompt)
    knowledge.forget_said(prompt)
    knowledge.add_rest(prompt)
    # Greetings, thanks and farewells need no earlier messages.
    if overflow == "ADAPTIVE" and not (query is None and window.rows):
        await _add_latest(context, recall, about)
    if not prompt.close() and overflow == "ERROR":
        raise OverBudget(budget)
    messages = prompt.messages
    return {
        "text": prompt.text,
        "token_count": prompt.tokens,
        "max_tokens": budget,
        "messages": messages,
        "memories": prompt.nodes(MEMORIES, is_memory),
        "documents": prompt.nodes(DOCUMENTS, is_document),
        "recalled": prompt.quoted,
        "summary": next(iter(prompt.nodes(SUMMARY, is_memory)), None),
        "dropped_messages": window.wanted - len(messages),
    }


def _last_unit(window: Window) -> Sequence[MessageRow] | None:
    """The newest message with the call that it answers; None if it is an answer without its call."""
    return next((unit for unit in window.units if unit[-1] is window.rows[0]), None) if window.rows else None


async def _add_last(context: OperationContext, prompt: Prompt, about: About) -> None:
    """Adds an excerpt of the newest message to the text, that takes at most half of the remaining budget."""
    last = about.window.rows[0]
    limit = prompt.left // 2
    whole = said_in(last)
    asked = await context.in_thread(sentences_that_ask, whole)
    piece = Piece(NEWEST, (), f"{speaker_of(last, about.user)}: ", node=last)
    await _add_excerpt(context, prompt, piece, whole, asked[0] if asked else None, limit)


async def _add_cut(context: OperationContext, prompt: Prompt, section: int, text: str) -> None:
    """Adds a description, or the beginning of a long one."""
    limit = int(prompt.left * ABOUT)
    if text.strip() and not prompt.add(Piece(section, (), text.strip()), limit):
        await _add_excerpt(context, prompt, Piece(section, (), ""), text, None, limit)


async def _add_excerpt(
    context: OperationContext, prompt: Prompt, piece: Piece, whole: str, sentence: str | None, limit: int
) -> None:
    """Adds a piece with an excerpt of a text around one of its sentences (None: its beginning), as long as fits."""
    longest = limit * _CHARACTERS
    while longest:
        text = await context.in_thread(cut, whole, sentence or whole[:longest], longest)
        if prompt.add(replace(piece, text=piece.text + text), limit):
            return
        longest = longest * 2 // 3


def _add_newest(prompt: Prompt, window: Window, most: int | None = None) -> bool:
    """Adds the newest messages up to a number of tokens; False if some did not fit."""
    floor = 0 if most is None else prompt.left - most
    for unit in window.units:
        # An excerpt of it is in the text, since the whole did not fit.
        if not any(map(prompt.quotes, unit)) and not prompt.add_messages(unit, prompt.left - floor):
            return False
    return True


async def _add_latest(context: OperationContext, recall: Recall, about: About) -> None:
    """Fills the rest of the budget with the newest messages of the user's other sessions."""
    if about.user is None:
        return
    for session in await latest_sessions(context, about.user, LATEST_SESSIONS):
        if about.session is not None and session["key"] == about.session["key"]:
            continue
        async for message in latest_said(context, session):
            if said_in(message) and not await recall.add_said(message):
                return


async def _search(
    context: OperationContext, about: About, query: str, most: int, *, quoting: bool
) -> Sequence[SearchedRow]:
    """The best answers to the query, best first: about as many as fit."""
    scopes = ("MESSAGES", "MEMORIES", "DOCUMENTS") if quoting else ("MEMORIES", "DOCUMENTS")
    session, user = about.session, about.user
    user_id = None if user is None else user["user_id"]
    session_id = session["session_id"] if session is not None and user is None else None
    agent = None if session is None else session["agent_key"]
    limit = min(MOST_MATCHES, 20 + most // LEAST_MATCH)
    asked = (query, limit, scopes, user_id, session_id, agent)
    if asked not in about.searches:
        paging = Paging(limit=limit)
        found = await search(
            context,
            query=query,
            paging=paging,
            scope=scopes,
            user_id=user_id,
            session_id=session_id,
            beside=agent,
            filters=about.filters,
            most_characters=MOST_OF_MATCHES,
        )
        about.searches[asked] = found.nodes
    return about.searches[asked]
