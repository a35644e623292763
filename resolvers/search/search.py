"""Search: messages, memories and documents that answer a question, best first."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from models.keys import agent_key, session_key, user_key
from models.search_kinds import MEMORIES, MEMORIES_EVER, Within
from resolvers.connections import Columns, Paging
from resolvers.errors import BadInput
from resolvers.filters import Filter, FilterBuilder, Given
from resolvers.operation_context import OperationContext
from resolvers.search.candidates import Source
from resolvers.search.kinds import RESULT_KINDS
from resolvers.search.pages import SearchPage, edges_of
from resolvers.search.questions import Asked
from resolvers.search.results import Results


async def search(
    context: OperationContext,
    *,
    query: str,
    paging: Paging,
    scope: Sequence[str] | None = None,
    user_id: str | None = None,
    session_id: str | None = None,
    agent_id: str | None = None,
    filter: Given = None,
    beside: bytes | None = None,
    filters: Mapping[str, Filter] | None = None,
    most_characters: int | None = None,
    columns: Columns = None,
) -> SearchPage:
    """A page of what answers the query, of all there is within the scope; a later page is scored as the first was.

    For the application itself what an agent (its key) has of its own is searched `beside` the rest. `filters` are
    further ones by the name of the kind; one of memories also says at which time they hold. With `most_characters` the
    page ends early once its texts have that many. `columns` is empty when nobody asks for the objects that are found.
    """
    if not query.strip():
        raise BadInput("`query` is empty; say what to look for.")
    names = tuple(name for name in RESULT_KINDS if scope is None or name in scope)
    asked = Asked(query, names, user_id, session_id, filter, agent_id, beside if context.scope.user is None else None)
    own = filters or {}
    parts = {name: _filtered(part, own.get(name)) for name, part in _filters(context, asked).items()}
    sources = [
        Source(
            context,
            MEMORIES_EVER if name == MEMORIES.name and name in own else RESULT_KINDS[name].searched,
            asked.question,
            parts.get(name, Within()),
            is_empty=name not in parts or not asked.question.terms,
        )
        for name in names
    ]
    after = paging.after
    found = await (
        Results.first(context, asked, sources) if after is None else Results.after(context, asked, sources, after)
    )
    results, has_more = await found.page(paging.limit)
    edges = await edges_of(context, asked, results, most_characters=most_characters, columns=columns)
    return SearchPage(edges, has_more, after is not None)


def _filtered(within: Within, filter: Filter | None) -> Within:
    """The part of the store that passes a further filter."""
    if filter is None:
        return within
    return replace(within, given=within.given + filter.given, values={**within.values, **filter.values})


def _filters(context: OperationContext, asked: Asked) -> dict[str, Within]:
    """The part of the store and the filters to search for each kind, without kinds of which nothing can pass.

    Roles ask for messages, kinds and ratings for memories; together for messages of these roles and memories of these
    kinds and ratings. A user searches its own, and finds nothing of another.
    """
    project, viewer = context.scope.project, context.scope.user
    user = viewer if asked.user_id is None else user_key(project, asked.user_id)
    given = {name: value for name, value in (asked.filter or {}).items() if value is not None}
    sessions = _sessions(context, asked, given)
    if (viewer is not None and user != viewer) or sessions == ():
        return {}
    agent = None if asked.agent_id is None else agent_key(project, asked.agent_id)
    whole = Within(sessions, user, agent, asked.beside)
    found: dict[str, Within] = {}
    is_of_some_kinds = any(kind.has_own(given) for kind in RESULT_KINDS.values())
    for name in asked.scopes:
        kind = RESULT_KINDS[name]
        within = kind.searched.narrowed(whole)
        if within is None or (is_of_some_kinds and not kind.has_own(given)):
            continue
        builder = FilterBuilder(given).lists(*kind.own_lists).values(*kind.own_values)
        built = builder.metadata().ranges("created_at").build()
        values = {**built.values, "as_of": context.clock.now()}
        found[name] = replace(within, given=built.given, values=values)
    return found


def _sessions(context: OperationContext, asked: Asked, given: Given) -> tuple[bytes, ...] | None:
    """The sessions to search, by key: those of the argument and of the filter; None if neither is given."""
    listed = FilterBuilder(given).lists("session_ids").build().values.get("session_ids")
    named = None if asked.session_id is None else [asked.session_id]
    if listed is None and named is None:
        return None
    both = named if listed is None else listed if named is None else [id for id in named if id in listed]
    return tuple(session_key(context.scope.project, id) for id in dict.fromkeys(both or ()))
