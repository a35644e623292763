"""Searches as the tests make them, and what the index must hold."""

import contextlib
from collections.abc import Sequence
from typing import Any

from models.keys import lane_of, session_key, user_key
from models.postgres.word_index import terms_of
from models.search import bring_up_to_date
from models.search_kinds import SEARCH_KINDS
from models.sqlite.database import connect
from models.stemming import term_of
from models.words import words
from tests.documents import (
    ADD_MESSAGES,
)
from tests.places import Place, SqlitePlace
from tests.servers import Api, Server

SEARCH = """query ($asked: String!, $scope: [SearchScope!], $userId: String, $sessionId: String, $agentId: String,
  $filter: SearchFilter, $first: Int, $after: String) {
  search(query: $asked, scope: $scope, userId: $userId, sessionId: $sessionId, agentId: $agentId, filter: $filter,
    first: $first, after: $after) {
    edges { cursor score highlight node { __typename
      ... on Message { id content session { sessionId } } ... on Memory { id content } ... on Document { id title } } }
    nodes { __typename } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""


def add(server: Api, session_id: str, *contents: Any, **fields: Any) -> list[str]:
    """Adds messages by their contents, or by all that they are; their ids."""
    messages = [{"role": "USER"} | (each if isinstance(each, dict) else {"content": each}) for each in contents]
    payload = server.accepted(ADD_MESSAGES, sessionId=session_id, messages=messages, formMemories=False, **fields)
    return [message["id"] for message in payload["messages"]]


def found(server: Api, query: str, **arguments: Any) -> list[dict[str, Any]]:
    """The edges of the first hundred results."""
    return server.graphql(SEARCH, **{"asked": query, "first": 100, **arguments})["search"]["edges"]


def texts(server: Api, query: str, **arguments: Any) -> list[str]:
    """The contents or titles of results that hold a word of the query, best first."""
    edges = found(server, query, **arguments)
    return [edge["node"].get("content") or edge["node"]["title"] for edge in edges if edge["highlight"] is not None]


def index_now(server: Server) -> None:
    """Puts into the index whatever waits."""
    for kind in SEARCH_KINDS.values():
        server.host.wait_for(bring_up_to_date(server.app.state.database, kind, late=0))


# Pages


def walk(server: Api, between: Any = lambda: None, **arguments: Any) -> list[dict[str, Any]]:
    """All results, page by page; `between` runs after each."""
    edges: list[dict[str, Any]] = []
    page = {"hasNextPage": True, "endCursor": None}
    while page["hasNextPage"]:
        got = server.graphql(SEARCH, **{**arguments, "after": page["endCursor"]})["search"]
        page = got["pageInfo"]
        assert page["hasPreviousPage"] is bool(edges)
        assert (page["startCursor"], page["endCursor"]) == (got["edges"][0]["cursor"], got["edges"][-1]["cursor"])
        assert [edge["node"]["__typename"] for edge in got["edges"]] == [n["__typename"] for n in got["nodes"]]
        edges += got["edges"]
        between()
    return edges


_OF_MESSAGE = "content || ' ' || coalesce(parts_text, '') || ' ' || coalesce(aside, '')"
_OF_SESSION = "messages JOIN sessions ON sessions.key = messages.session_key"


TEXTS = (
    ("messages", _OF_MESSAGE, "lane", _OF_SESSION),
    ("memories", "content", "coalesce(user_key, session_key, agent_key)", "memories"),
    ("documents", "title || ' ' || content", "coalesce(user_key, agent_key)", "documents"),
)
"""The table of each kind, its text, the lane or the owner that determines it, and the rows."""


def indexed(place: Place) -> int:
    """The number of messages in the index."""
    is_there = (
        "number <= (SELECT through FROM indexed WHERE name = 'messages')"
        if isinstance(place, SqlitePlace)
        else "terms IS NOT NULL"
    )
    ((count,),) = place.query(f"SELECT count(*) FROM messages WHERE {is_there}")
    return count


def assert_index_is_exact(place: Place) -> None:
    """The index has each word of each row that does not wait, where the row's project and owner stand, and nothing
    else."""
    if isinstance(place, SqlitePlace):
        _assert_words_are_exact(place)
    else:
        _assert_terms_are_exact(place)


def _lane(owner: Any) -> int:
    return owner if isinstance(owner, int) else lane_of(owner)


def _assert_terms_are_exact(place: Place) -> None:
    for _, content, owner, rows in TEXTS:
        kept = f"SELECT project, {owner}, {content}, terms FROM {rows} WHERE terms IS NOT NULL"
        for project, its_owner, text, terms in place.query(kept):
            assert sorted(terms) == sorted(terms_of(project, _lane(its_owner), text)), text


def _assert_words_are_exact(place: SqlitePlace) -> None:
    numbers = dict(place.query("SELECT project, number FROM indexed_projects"))
    for name, content, owner, rows in TEXTS:
        ((through,),) = place.query("SELECT through FROM indexed WHERE name = $1", name)
        ((newest,),) = place.query(f"SELECT coalesce(max(number), 0) FROM {name}")
        assert through <= newest
        found = place.query(f"SELECT number, project, {owner}, {content} FROM {rows} WHERE number <= $1", through)
        expected: set[tuple[str, int]] = set()
        counts: dict[str, int] = dict.fromkeys(numbers, 0)
        for number, project, its_owner, text in found:
            row = (numbers[project] << 49) + (_lane(its_owner) << 31) + number
            expected |= {(term_of(word), row) for word in words(text)}
            counts[project] += 1
        assert words_in(place, f"{name}_words") == expected, name
        assert dict(place.query(f"SELECT project, {name} FROM indexed_projects")) == counts, name


def words_in(place: SqlitePlace, index: str) -> set[tuple[str, int]]:
    """The words of an index of SQLite, each with the rows that it is in."""
    with contextlib.closing(connect(place.path)) as connection:
        connection.execute(f"CREATE VIRTUAL TABLE temp.vocabulary USING fts5vocab(main, {index}, instance)")
        return set(connection.execute("SELECT term, doc FROM temp.vocabulary").fetchall())


def at(number: int) -> str:
    return f"2025-01-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}.000000"


def fill(
    place: Place, user: str, contents: Sequence[str | dict[str, Any]], *, project: str = "default", session: str = ""
) -> None:
    """Writes a user with one session of messages straight into the database."""
    owner, key = user_key(project, user), session_key(project, session or f"{user}-s")
    kept = {"project": project, "metadata": "{}", "created_at": at(0), "updated_at": at(0), "version": 1}
    if not place.query("SELECT 1 FROM users WHERE key = $1", owner):
        place.insert("users", [kept | {"key": owner, "user_id": user, "about": ""}])
    row = {"key": key, "session_id": session or f"{user}-s", "user_key": owner, "last_activity_at": at(0)}
    numbers = {"last_sequence": len(contents), "deleted_through": 0}
    lane = {"lane": lane_of(owner)} if "lane" in place.columns("sessions") else {}
    place.insert("sessions", [kept | row | numbers | lane])
    fixed = {"session_key": key, "generation": 0, "token_count": 1, "forms_memories": 0, "version": 1}
    place.insert(
        "messages",
        [
            fixed
            | {"sequence": n, "role": "USER", "metadata": "{}", "created_at": at(n), "updated_at": at(n)}
            | (each if isinstance(each, dict) else {"content": each})
            for n, each in enumerate(contents, 1)
        ],
    )
