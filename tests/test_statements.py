"""The cost of a request: its statements, their indexes, and the rows that a page reads."""

import contextlib
import re
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import models.users
import resolvers.users
from models.keys import agent_key, session_key, user_key
from tests.documentation import SCHEMA
from tests.places import Fresh, Place, Places
from tests.plans import plans, scans, sorts, walks
from tests.searches import index_now
from tests.servers import Server

NESTED = """query ($id: String!) { user(userId: $id) { name sessions(first: 5) { edges { cursor node { sessionId
    messages(first: 20) { edges { cursor node { role name content createdAt } } pageInfo { hasNextPage endCursor } }
    } } } } }"""

USERS, SESSIONS, MESSAGES = 20, 5, 10
AGENT = agent_key("default", "a")


def at(number: int) -> str:
    minutes, second = divmod(number, 60)
    hours, minute = divmod(minutes, 60)
    return f"2025-01-{1 + hours // 24:02}T{hours % 24:02}:{minute:02}:{second:02}"


def user_row(user: str, number: int) -> dict[str, Any]:
    return {
        "key": user_key("default", user),
        "project": "default",
        "user_id": user,
        "email": f"{user}@x.org",
        "email_folded": f"{user}@x.org",
        "about": "",
        "metadata": "{}",
        "created_at": at(number),
        "updated_at": at(number),
        "version": 1,
    }


def session_row(session: str, user: str, number: int, last: int) -> dict[str, Any]:
    return {
        "key": session_key("default", session),
        "project": "default",
        "session_id": session,
        "user_key": user_key("default", user),
        "agent_key": AGENT,
        "metadata": "{}",
        "created_at": at(number),
        "updated_at": at(number),
        "last_activity_at": at(number),
        "version": 1,
        "last_sequence": last,
        "deleted_through": 0,
    }


def message_row(session: bytes, sequence: int) -> dict[str, Any]:
    return {
        "session_key": session,
        "sequence": sequence,
        "generation": 0,
        "message_id": f"m{sequence}",
        "role": "USER" if sequence % 2 else "ASSISTANT",
        "content": f"message {sequence}",
        "metadata": "{}",
        "token_count": 2,
        "forms_memories": 1,
        "digest": b"d" * 16,
        "created_at": at(sequence % 80000),
        "updated_at": at(sequence % 80000),
        "version": 1,
    }


def memory_row(number: int, user: str, session: str | None) -> dict[str, Any]:
    return {
        "key": number.to_bytes(16),
        "project": "default",
        "user_key": user_key("default", user),
        "session_key": None if session is None else session_key("default", session),
        "kind": "SUMMARY" if number % 4 == 0 else "FACT",
        "content": f"memory {number}",
        "method": "DECLARED",
        "metadata": "{}",
        "digest": b"d" * 16,
        "fingerprint": b"f" * 16,
        "created_at": at(number),
        "updated_at": at(number),
        "version": 1,
    }


@pytest.fixture(scope="module")
def crowd(shared: Fresh) -> Place:
    """20 users with 5 sessions of 10 messages each, an agent, documents, and memories that rest on them."""
    place = shared()
    users = [f"u{n:02}" for n in range(USERS)]
    place.insert("users", [user_row(user, n) for n, user in enumerate(users)])
    agent = {"key": AGENT, "project": "default", "agent_id": "a", "name": "a", "about": "", "metadata": "{}"}
    place.insert("agents", [agent | {"created_at": at(0), "updated_at": at(0), "version": 1}])
    sessions = [(f"{user}-s{n}", user) for user in users for n in range(SESSIONS)]
    place.insert("sessions", [session_row(s, u, n, MESSAGES) for n, (s, u) in enumerate(sessions)])
    for session, _ in sessions:
        key = session_key("default", session)
        place.insert("messages", [message_row(key, n) for n in range(1, MESSAGES + 1)])
    document = {"project": "default", "title": "t", "content": "c", "metadata": "{}", "digest": b"d" * 16}
    document |= {"created_at": at(0), "updated_at": at(0), "version": 1}
    owners = [(user_key("default", user), None) for user in users] + [(None, AGENT)]
    place.insert(
        "documents",
        [
            document | {"key": b"D" + n.to_bytes(15), "user_key": user, "agent_key": agent}
            for n, (user, agent) in enumerate(owners)
        ],
    )
    memories = [memory_row(4 * n + k, user, s) for n, (s, user) in enumerate(sessions) for k in range(2)]
    memories += [memory_row(10_000 + 4 * n + k, user, None) for n, user in enumerate(users) for k in range(3)]
    place.insert("memories", memories)
    # The second memory of each session takes the place of a third, which is therefore history.
    older = [memory_row(20_000 + n, user, s) for n, (s, user) in enumerate(sessions)]
    place.insert(
        "memories",
        [row | {"superseded_by": (4 * n + 1).to_bytes(16), "superseded_from": at(n)} for n, row in enumerate(older)],
    )
    sources = []
    for n, (session, _) in enumerate(sessions):
        key, memory = session_key("default", session), (4 * n).to_bytes(16)
        sources += [
            {
                "memory_key": memory,
                "position": position,
                "session_key": key,
                "sequence": position + 1,
                "document_key": None,
            }
            for position in range(3)
        ]
        sources.append(
            {
                "memory_key": memory,
                "position": 3,
                "session_key": None,
                "sequence": None,
                "document_key": b"D" + (n // SESSIONS).to_bytes(15),
            }
        )
    place.insert("memory_sources", sources)
    return place


def at_rest(place: Place) -> Server:
    """A server that has indexed all texts: it runs no statements but those of its requests."""
    running = Server(place)
    index_now(running)
    return running


@pytest.fixture(scope="module")
def reading(crowd: Place, places: Places, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for all tests that only read."""
    with served_copy(crowd, places, tmp_path_factory.mktemp("reading")) as running:
        yield running


@pytest.fixture
def filled(crowd: Place, places: Places, tmp_path: Path) -> Iterator[Server]:
    """A server for a test that writes."""
    with served_copy(crowd, places, tmp_path) as running:
        yield running


@contextlib.contextmanager
def served_copy(place: Place, places: Places, folder: Path) -> Generator[Server]:
    copy = places.copy(place, folder)
    running = at_rest(copy)
    yield running
    running.close()
    copy.close()


def statements(server: Server, query: str, **variables: Any) -> tuple[list[str], dict[str, Any]]:
    """The texts of the statements that a query takes, and its data."""
    seen: list[str] = []
    server.app.state.database.listener = seen.append
    try:
        data = server.graphql(query, **variables)
    finally:
        server.app.state.database.listener = None
    return seen, data


def taken(server: Server, query: str, **variables: Any) -> int:
    return len(statements(server, query, **variables)[0])


def size_of(data: Any) -> int:
    """Counts the objects of an answer; a query whose statements are counted must find something."""
    if isinstance(data, dict):
        return 1 + sum(size_of(value) for value in data.values())
    return sum(size_of(value) for value in data) if isinstance(data, list) else 0


def test_the_nested_query_takes_one_statement_a_level(reading: Server) -> None:
    seen, data = statements(reading, NESTED, id="u00")
    assert size_of(data) > SESSIONS * MESSAGES
    assert len(seen) == 3, seen


def test_twenty_users_take_as_many_statements_as_one(reading: Server) -> None:
    query = NESTED.replace("query ($id: String!) { user(userId: $id) {", "{ users(first: 20) { nodes {") + "}"
    seen, data = statements(reading, query)
    assert size_of(data) > USERS * SESSIONS * MESSAGES
    assert len(seen) == 3, seen


LEVELS = {
    "a user": ('{ user(userId: "u01") { name email metadata } }', 1),
    "an unknown user": ('{ user(userId: "none") { sessions { nodes { messages { nodes { id } } } } } }', 1),
    "the viewer": ("{ viewer { role project } }", 0),
    "an empty page": ("{ users(first: 0) { nodes { id } } }", 1),
    "page info and cursors": ("{ users { pageInfo { hasNextPage endCursor } edges { cursor } } }", 1),
    "a count with its page": ("{ users(first: 1) { totalCount nodes { id } } }", 2),
    "a count that is not included": ("{ users(first: 1) { totalCount @include(if: false) nodes { id } } }", 1),
    "counts on three levels": (
        """{ users(first: 20) { totalCount nodes { sessions { totalCount nodes { messages { totalCount nodes { id }
        } } } } } }""",
        6,
    ),
    "aliases": (
        """{ users { nodes { a: sessions(first: 1) { nodes { id } } b: sessions(first: 2) { nodes { id } }
        c: sessions(last: 1) { nodes { id } } } } }""",
        4,
    ),
    "the same field twice": ("{ users { nodes { sessions { nodes { id } } sessions { nodes { sessionId } } } } }", 2),
    "fragments": (
        """{ users { nodes { ...f ...g } } } fragment f on User { sessions { nodes { id } } }
        fragment g on User { sessions { edges { cursor } } }""",
        2,
    ),
    "pending memories of sessions": ("{ sessions(first: 100) { nodes { memoriesPending } } }", 2),
    "summaries of users": ("{ users { nodes { summary { content } } } }", 2),
    "summaries of sessions": ("{ sessions(first: 100) { nodes { summary { content } } } }", 2),
    "the users of sessions": ("{ sessions(first: 100) { nodes { user { userId } } } }", 2),
    "the agents of sessions": ("{ sessions(first: 100) { nodes { agent { agentId } } } }", 2),
    "sessions of agents": ("{ agents { nodes { sessions(first: 100) { nodes { user { id } } } } } }", 3),
    "the sessions of messages": ("{ sessions(first: 50) { nodes { messages { nodes { session { id } } } } } }", 3),
    "memories of users": ("{ users { nodes { memories { nodes { id } } } } }", 2),
    "memories of sessions": ("{ sessions { nodes { memories { nodes { user { id } session { id } } } } } }", 4),
    "memories of messages": ("{ sessions { nodes { messages { nodes { memories { nodes { id } } } } } } }", 3),
    "documents of users": ("{ users { nodes { documents { nodes { user { id } } } } } }", 3),
    "documents of agents": ("{ agents { nodes { documents { nodes { agent { id } } } } } }", 3),
    "superseded memories": (
        "{ sessions { nodes { memories(filter: {history: true}) { nodes { supersededBy { id } } } } } }",
        3,
    ),
    "superseding memories": (
        "{ sessions { nodes { memories(filter: {history: true}) { nodes { supersedes { id } } } } } }",
        3,
    ),
    "wide, not deep": (
        """{ users { nodes { summary { id } sessions { nodes { id } } memories { nodes { id } }
        documents { nodes { id } } } } }""",
        5,
    ),
}


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_takes_one_statement_however_many_parents_it_has(reading: Server, level: str) -> None:
    query, expected = LEVELS[level]
    seen, _ = statements(reading, query)
    assert len(seen) == expected, seen


def test_sources_take_at_most_three_statements_however_many_memories(reading: Server) -> None:
    query = """{ users { nodes { memories(first: 100) { nodes { sources { totalCount edges { cursor node { __typename
        ... on Message { content } ... on Document { title } } } } } } } } }"""
    seen, data = statements(reading, query)
    kinds = re.findall(r"'__typename': '(\w+)'", str(data))
    assert kinds.count("Message") == 3 * USERS * SESSIONS
    assert kinds.count("Document") == USERS * SESSIONS
    assert 3 <= len(seen) <= 2 + 3 + 1, seen


def test_nodes_take_one_statement_for_each_kind(reading: Server) -> None:
    query = """{ users { nodes { id documents { nodes { id } } memories { nodes { id } }
        sessions { nodes { id messages(first: 1) { nodes { id } } } } } } agents { nodes { id } } }"""
    ids = re.findall(r"'id': '([^']+)'", str(reading.graphql(query)))
    by_kind = {letter: [id for id in ids if id[0] == letter] for letter in "USMYDA"}
    assert all(by_kind.values())
    for found in by_kind.values():
        assert taken(reading, "query ($id: ID!) { node(id: $id) { id } }", id=found[0]) == 1
        assert taken(reading, "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=found[:20]) == 1
    mixed = [id for found in by_kind.values() for id in found[:10]]
    seen, data = statements(reading, "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=[*mixed, "nonsense"])
    assert [node and node["id"] for node in data["nodes"]] == [*mixed, None]
    assert len(seen) == len(by_kind)
    assert taken(reading, '{ nodes(ids: []) { id } node(id: "nonsense") { id } }') == 0


MUTATIONS: dict[str, tuple[str, str]] = {
    "createUser": ("CreateUser", '{userId: "new"}'),
    "updateUser": ("UpdateUser", '{userId: "u00", name: "x"}'),
    "upsertUser": ("UpsertUser", '{userId: "u00", name: "y"}'),
    "deleteUser": ("DeleteUser", '{userId: "u00"}'),
    "createSession": ("CreateSession", '{sessionId: "new", userId: "u01"}'),
    "updateSession": ("UpdateSession", '{sessionId: "u01-s0", situation: "x"}'),
    "endSession": ("EndSession", '{sessionId: "u01-s0"}'),
    "addMessages": ("AddMessages", '{sessionId: "u01-s1", messages: [{role: USER, content: "x", messageId: "k"}]}'),
    "deleteMessages": ("DeleteMessages", '{sessionId: "u01-s2", fromSequence: 1, toSequence: 3}'),
    "createMemory": ("CreateMemory", '{userId: "u01", sessionId: "u01-s1", kind: SUMMARY, content: "x"}'),
    "createDocument": ("CreateDocument", '{userEmail: "u01@x.org", title: "t", content: "c"}'),
    "deleteSession": ("DeleteSession", '{sessionId: "u01-s3"}'),
    "deleteSession permanently": ("DeleteSession", '{sessionId: "u01-s4", permanently: true}'),
    "renameUser": ("RenameUser", '{userId: "u01", newUserId: "u01-renamed"}'),
}


def mutation(name: str) -> str:
    _, given = {**MUTATIONS, **MUTATIONS_OF_MORE}[name]
    return f"mutation {{ {name.split()[0]}(input: {given}) {{ userErrors {{ code message }} }} }}"


def test_mutations_take_as_many_statements_on_a_large_table_as_on_a_small_one(filled: Server, place: Place) -> None:
    small = at_rest(place)
    try:
        for user in ("u00", "u01"):
            document = '{title: "t", content: "c"}'
            small.graphql(
                f'mutation {{ createUser(input: {{userId: "{user}", email: "{user}@x.org", documents: [{document}]}}) '
                "{ userErrors { code } } }"
            )
            messages = ", ".join(f'{{role: USER, content: "x", messageId: "m{n}"}}' for n in range(1, 11))
            for n in range(SESSIONS):
                small.graphql(
                    f'mutation {{ addMessages(input: {{sessionId: "{user}-s{n}", userId: "{user}", '
                    f"messages: [{messages}]}}) {{ userErrors {{ code }} }} }}"
                )
                small.graphql(
                    f'mutation {{ createMemory(input: {{sessionId: "{user}-s{n}", kind: SUMMARY, content: "x"}}) '
                    "{ userErrors { code } } }"
                )
        for name in MUTATIONS:
            seen_small, few = statements(small, mutation(name))
            seen_large, many = statements(filled, mutation(name))
            assert next(iter(few.values())) == {"userErrors": []}, name
            assert next(iter(many.values())) == {"userErrors": []}, name
            assert len(seen_small) == len(seen_large), (name, seen_small, seen_large)
            assert len(seen_large) <= 40, (name, seen_large)
    finally:
        small.close()


def test_a_batch_of_messages_is_looked_up_at_once(filled: Server) -> None:
    add = "mutation ($input: AddMessagesInput!) { addMessages(input: $input) { deduplicated userErrors { code } } }"

    def batch(count: int, session: str) -> int:
        messages = [{"role": "USER", "content": "x", "messageId": f"k{n}"} for n in range(count)]
        first = taken(filled, add, input={"sessionId": session, "messages": messages})
        again = taken(filled, add, input={"sessionId": session, "messages": messages})
        assert again <= 6, "a retry looks up all its messages together"
        return first

    ten, hundred = batch(10, "ten"), batch(100, "hundred")
    assert hundred == ten + 2, "one insert however many messages there are; a summary falls due and reads twice"


@pytest.mark.sqlite
def test_the_choices_of_session_and_user_to_form_memories_cost_an_append_no_statement(filled: Server) -> None:
    said = '[{role: USER, content: "x"}, {role: ASSISTANT, content: "y"}]'
    add = f'mutation {{ addMessages(input: {{sessionId: "u01-s1", messages: {said}}}) {{ messages {{ id }} }} }}'
    seen, _ = statements(filled, add)
    assert len(seen) == 2, seen
    found = [step for plan in plans(filled.path, seen).values() for step in plan]
    assert not walks(found), "an append looks at its own session and user alone"


# Plans


HOT = {
    "nested": NESTED.replace("query ($id: String!) { user(userId: $id)", '{ user(userId: "u01")'),
    "users": "{ users { nodes { id sessions { nodes { id messages(last: 20) { nodes { id } } } } } } }",
    "sessions": "{ sessions { nodes { id user { id } agent { id } } } }",
    "oldest sessions": "{ sessions(last: 5) { nodes { id } } }",
    "agents": "{ agents { nodes { id sessions { nodes { id } } documents { nodes { id } } } } }",
    "memories": """{ users { nodes { memories { nodes { sources { nodes { __typename } } supersedes { id }
        supersededBy { id } session { id } } } documents { nodes { id } } summary { id } } } }""",
    "memories of messages": """{ sessions { nodes { summary { id } messages { nodes { memories { nodes { id } } } } } }
        }""",
    "by key": '{ session(sessionId: "u01-s1") { id } agent(agentId: "a") { id } user(userId: "u01") { id } }',
    "filtered": """{ users { nodes { sessions(filter: {ended: false, hasUser: true}) { nodes { id } }
        documents(filter: {metadata: {}}) { nodes { id } } } }
        session(sessionId: "u01-s1") { messages(filter: {roles: [USER]}) { nodes { id } } } }""",
    "by time": '{ users(filter: {createdAt: {since: "2025-01-01T00:00:00Z"}}) { nodes { id } } }',
    "by activity": "{ sessions(orderBy: {field: LAST_ACTIVITY_AT, direction: DESC}) { nodes { id } } }",
    "by id": """{ sessions(orderBy: {field: SESSION_ID, direction: ASC}) { nodes { id } }
        users(orderBy: {field: USER_ID, direction: DESC}) { nodes { id } } }""",
    "named": """{ users(filter: {userIds: ["u01", "u02"]}) { nodes { id } }
        sessions(filter: {sessionIds: ["u01-s1"]}) { nodes { id } } }""",
    "counts of nested lists": """{ user(userId: "u01") { sessions { totalCount nodes { messages { totalCount }
        memories { totalCount } } } documents { totalCount } memories { totalCount } } }""",
}


@pytest.mark.sqlite
@pytest.mark.parametrize("name", HOT)
def test_no_hot_statement_goes_through_a_whole_table(reading: Server, name: str) -> None:
    seen, data = statements(reading, HOT[name])
    assert size_of(data) > 2
    for text, plan in plans(reading.path, seen).items():
        # A list of the project is read along an index that has its order, and stops at the page.
        assert not scans(plan), f"{plan}\n{text}"
        assert ":parents" not in text or not walks(plan), f"{plan}\n{text}"


@pytest.mark.sqlite
@pytest.mark.parametrize("name", ["nested", "users", "sessions", "oldest sessions", "by key", "by activity", "by id"])
def test_no_page_sorts_more_than_itself(reading: Server, name: str) -> None:
    seen, _ = statements(reading, HOT[name])
    for text, plan in plans(reading.path, seen).items():
        if "json_each" in text:
            # The rows of a page for many parents are put in order; what they are cut from must not be.
            cut = [step for step in plan if "TEMP B-TREE" in step]
            assert len(cut) <= 1, f"{plan}\n{text}"
            assert not cut or plan[-1] == cut[0], f"{plan}\n{text}"
        else:
            assert not sorts(plan), f"{plan}\n{text}"


# The index that answers each filter by ids and each order. A filter by ids sorts what it finds, an order sorts nothing.
BY_INDEX = {
    'users(filter: {userIds: ["u01"]})': "ix_users_project_user_id",
    'users(filter: {emails: ["u01@x.org"]})': "ix_users_project_email_folded",
    "users(orderBy: {field: NAME, direction: ASC})": "ix_users_project_name_ascending_user_id",
    "users(orderBy: {field: NAME, direction: DESC})": "ix_users_project_name_descending_user_id",
    "users(orderBy: {field: EMAIL, direction: ASC})": "ix_users_project_email_ascending_user_id",
    "users(orderBy: {field: EMAIL, direction: DESC})": "ix_users_project_email_descending_user_id",
    'sessions(filter: {sessionIds: ["u01-s1"]})': "ix_sessions_project_session_id",
    "sessions(orderBy: {field: USER_ID, direction: ASC})": "ix_sessions_project_user_ascending_session_id",
    "sessions(orderBy: {field: USER_ID, direction: DESC})": "ix_sessions_project_user_descending_session_id",
    'agents(filter: {agentIds: ["a"]})': "ix_agents_project_agent_id",
    "agents(orderBy: {field: UPDATED_AT, direction: DESC})": "ix_agents_project_updated_at_agent_id",
    "agents(orderBy: {field: AGENT_ID, direction: ASC})": "ix_agents_project_agent_id",
    "agents(orderBy: {field: NAME, direction: DESC})": "ix_agents_project_name_start_agent_id",
    's.messages(filter: {messageIds: ["m1"]})': "uq_messages_session_key_generation_message_id",
    's.messages(filter: {messageIds: ["m1"]}, orderBy: {field: CREATED_AT, direction: ASC})': (
        "uq_messages_session_key_generation_message_id"
    ),
    's.messages(filter: {names: ["Ada"]})': "sqlite_autoindex_messages_1",
    's.memories(filter: {memoryIds: ["y"]})': "ix_memories_session_key_memory_id",
    'u.sessions(filter: {sessionIds: ["u01-s1"]})': "ix_sessions_project_session_id",
    'a.sessions(filter: {sessionIds: ["u01-s1"]})': "ix_sessions_project_session_id",
    'u.memories(filter: {memoryIds: ["y"]})': "ix_memories_user_key_memory_id",
    'u.memories(filter: {memoryIds: ["y"]}, orderBy: {field: RATING, direction: ASC})': (
        "ix_memories_user_key_memory_id"
    ),
    'u.documents(filter: {documentIds: ["d"]})': "ix_documents_user_key_document_id",
    "u.documents(orderBy: {field: UPDATED_AT, direction: ASC})": "ix_documents_user_key_updated_at_key",
    "u.documents(orderBy: {field: TITLE, direction: DESC})": "ix_documents_user_key_title_start_key",
    'a.memories(filter: {memoryIds: ["y"]})': "ix_memories_agent_key_memory_id",
    'a.documents(filter: {documentIds: ["d"]})': "ix_documents_agent_key_document_id",
    "a.documents(orderBy: {field: UPDATED_AT, direction: ASC})": "ix_documents_agent_key_updated_at_key",
    "a.documents(orderBy: {field: TITLE, direction: DESC})": "ix_documents_agent_key_title_start_key",
}
LIST_OWNERS = {
    "s": 'session(sessionId: "u01-s1")',
    "u": 'user(userId: "u01")',
    "a": 'agents(filter: {agentIds: ["a"]}) { nodes',
}


@pytest.mark.sqlite
@pytest.mark.parametrize("list", BY_INDEX)
def test_filters_by_ids_and_orders_use_an_index(reading: Server, list: str) -> None:
    owner, _, field = list.rpartition(".") if list[1] == "." else ("", "", list)
    query = f"{field} {{ nodes {{ id }} totalCount }}"
    if owner:
        query = f"{LIST_OWNERS[owner]} {{ {query} }}" + (" }" if owner == "a" else "")
    seen, _ = statements(reading, f"{{ {query} }}")
    page, count = (found for text, found in plans(reading.path, seen).items() if text in seen[-2:])
    # Of a list below an owner, the rows of the page are looked up in `x`.
    read = [step for step in page if step.startswith(("SEARCH x", f"SEARCH {field.partition('(')[0]} USING INDEX"))]
    index = BY_INDEX[list]
    assert f" {index} " in next(step for step in read if "PRIMARY KEY" not in step), page
    assert not scans(page), page
    if "filter" in field:
        assert any(f" {index} " in step for step in count), count
    else:
        assert len([step for step in page if "TEMP B-TREE" in step]) <= len(owner), page


@pytest.mark.sqlite
def test_people_are_found_by_the_index_of_their_words(reading: Server) -> None:
    seen, _ = statements(reading, '{ users(filter: {text: "ada lov"}) { nodes { id } totalCount } }')
    assert len(seen) == 3, seen
    for text, plan in plans(reading.path, seen).items():
        assert any(" ix_user_words_project_word_user_key " in step for step in plan), plan
        assert [step for step in scans(plan) if not step.startswith("SCAN anon")] == [], f"{plan}\n{text}"


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("list", "searched"),
    [
        ("users", "SEARCH users USING INDEX sqlite_autoindex_users_1 (key=?)"),
        ("sessions", "SEARCH sessions USING INDEX sqlite_autoindex_sessions_1 (key=?)"),
        ('user(userId: "u01") { sessions', "SEARCH x USING INDEX sqlite_autoindex_sessions_1 (key=?)"),
        ('user(userId: "u01") { documents', "SEARCH x USING INDEX sqlite_autoindex_documents_1 (key=?)"),
    ],
)
def test_metadata_is_found_by_the_index_of_its_leaves(reading: Server, list: str, searched: str) -> None:
    query = f'{list}(filter: {{metadata: {{db: {{uuid: "a"}}, n: 1}}}}) {{ nodes {{ id }} totalCount }}'
    seen, _ = statements(reading, f"{{ {query} {'}' if '{' in list else ''} }}")
    counted, *read = seen[-3:]
    found = plans(reading.path, seen)
    assert "SEARCH metadata_leaves USING PRIMARY KEY (leaf=?)" in found[counted], found[counted]
    for text in read:
        assert "SEARCH metadata_leaves USING PRIMARY KEY (leaf=?)" in found[text], found[text]
        assert searched in found[text], found[text]
        assert scans(found[text]) == [], found[text]


@pytest.mark.sqlite
def test_people_of_a_common_word_are_first_tried_in_the_order_of_the_list(
    reading: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolvers.users, "USERS_TRIED", [(0, replace(models.users.USERS, tried=1))])
    order = "orderBy: {field: NAME, direction: ASC}"
    seen, _ = statements(reading, f'{{ users(filter: {{text: "ada"}}, {order}) {{ nodes {{ id }} }} }}')
    assert len(seen) == 3, seen
    plan = plans(reading.path, seen)[seen[1]]
    assert any("SEARCH users USING INDEX ix_users_project_name_ascending_user_id" in step for step in plan), plan
    assert any("SEARCH own USING PRIMARY KEY (user_key=? AND word>? AND word<?)" in step for step in plan), plan
    assert scans(plan) == sorts(plan) == []


MUTATIONS_OF_MORE: dict[str, tuple[str, str]] = {
    "createAgent": ("CreateAgent", '{name: "b"}'),
    "updateAgent": ("UpdateAgent", '{agentId: "a", name: "b"}'),
    "upsertAgent": ("UpsertAgent", '{agentId: "a", name: "b"}'),
    "deleteAgent": ("DeleteAgent", '{agentId: "a"}'),
    "upsertSession": ("UpsertSession", '{sessionId: "u01-s0", userId: "u01", title: "x"}'),
    "updateSession of another user": ("UpdateSession", '{sessionId: "u01-s0", userId: "u02"}'),
    "reopenSession": ("ReopenSession", '{sessionId: "u01-s0"}'),
    "cloneSession": ("CloneSession", '{sessionId: "u01-s0", newSessionId: "clone", throughSequence: 5}'),
    "deleteInactiveSessions": ("DeleteInactiveSessions", '{inactiveSince: "2025-01-01T00:00:30Z", limit: 5}'),
    "deleteInactiveSessions of a user": (
        "DeleteInactiveSessions",
        '{inactiveSince: "2025-01-01T00:00:30Z", userId: "u01"}',
    ),
    "updateMessage": ("UpdateMessage", '{id: "M", content: "x"}'),
    "deleteMessage": ("DeleteMessage", '{id: "M"}'),
    "upsertMemory": ("UpsertMemory", '{memoryId: "m", userId: "u01", kind: FACT, content: "x"}'),
    "updateMemory": ("UpdateMemory", '{id: "Y", content: "x"}'),
    "deleteMemory": ("DeleteMemory", '{id: "Y"}'),
    "updateDocument": ("UpdateDocument", '{id: "D", content: "x"}'),
    "deleteDocument": ("DeleteDocument", '{id: "D"}'),
    "deleteDocuments": ("DeleteDocuments", '{userId: "u01"}'),
    "deleteMemories": ("DeleteMemories", '{userId: "u01", filter: {memoryIds: ["y"]}}'),
    "purgeDeleted": ("PurgeDeleted", '{deletedBefore: "2025-01-01T00:00:00Z"}'),
    "mergeUsers": ("MergeUsers", '{fromUserId: "u01", intoUserId: "u02"}'),
}


def test_every_mutation_is_examined() -> None:
    assert SCHEMA.mutation_type is not None
    examined = {name.split()[0] for name in (*MUTATIONS, *MUTATIONS_OF_MORE)}
    assert examined == SCHEMA.mutation_type.fields.keys() - {"issueUserToken"}


@pytest.mark.sqlite
@pytest.mark.parametrize("name", [*MUTATIONS, *MUTATIONS_OF_MORE])
def test_no_statement_of_a_mutation_goes_through_a_whole_table_or_project(filled: Server, name: str) -> None:
    objects = """{ session(sessionId: "u01-s1") { messages { nodes { id } } memories { nodes { id } }
        user { documents { nodes { id } } } } }"""
    ids = {id[0]: id for id in re.findall(r"'id': '([^']+)'", str(filled.graphql(objects)))}
    seen, data = statements(filled, re.sub(r'(?<=id: ")[MYD](?=")', lambda kind: ids[kind[0]], mutation(name)))
    assert [answer["userErrors"] for answer in data.values()] == [[]]
    for text, plan in plans(filled.path, seen).items():
        assert not scans(plan), f"{plan}\n{text}"
        assert name == "deleteInactiveSessions" or not walks(plan), f"{plan}\n{text}"


# Cost


LONG = 100_000


@pytest.fixture(scope="module")
def long_session(shared: Fresh) -> Place:
    place = shared()
    place.insert("users", [user_row("u", 0)])
    place.insert("sessions", [session_row("long", "u", 0, LONG), session_row("short", "u", 1, 100)])
    key = session_key("default", "long")
    place.insert("messages", [message_row(key, n) for n in range(1, LONG + 1)])
    place.insert("messages", [message_row(session_key("default", "short"), n) for n in range(1, 101)])
    return place


@pytest.fixture
def long(long_session: Place) -> Iterator[Server]:
    """One file for the tests of this part: they only read."""
    running = at_rest(long_session)
    yield running
    running.close()


@contextlib.contextmanager
def steps(server: Server) -> Generator[Callable[[], int]]:
    """Counts the steps of SQLite's virtual machine on all connections of the server, in tens."""
    counted = [0]

    def tick() -> int:
        counted[0] += 10
        return 0

    database = server.app.state.database

    async def listen(handler: Callable[[], int] | None) -> None:
        readers = [database.reading, *database.slow_reads.connections]
        for connection in (database._writing, *(reader.sqlite for reader in readers)):
            connection.set_progress_handler(handler, 10)

    # In the server's loop, where short reads run: a handler that is set during a statement waits for it with the GIL.
    server.host.wait_for(listen(tick))
    try:
        yield lambda: counted[0]
    finally:
        server.host.wait_for(listen(None))


PAGE = """query ($first: Int, $after: String, $last: Int, $before: String) { session(sessionId: "long") {
    messages(first: $first, after: $after, last: $last, before: $before) { edges { cursor node { sequence content } }
    pageInfo { hasNextPage hasPreviousPage } } } }"""


def page(server: Server, **arguments: Any) -> list[dict[str, Any]]:
    return server.graphql(PAGE, **arguments)["session"]["messages"]["edges"]


@pytest.mark.sqlite
def test_a_page_costs_the_same_wherever_it_is_in_a_long_session(long: Server) -> None:
    start = page(long, first=20)
    assert [edge["node"]["sequence"] for edge in start] == list(range(1, 21))
    end = page(long, last=20)
    assert [edge["node"]["sequence"] for edge in end] == list(range(LONG - 19, LONG + 1))
    costs: dict[str, int] = {}

    def measure(name: str, expected: range, **arguments: Any) -> str:
        with steps(long) as counted:
            found = page(long, **arguments)
            costs[name] = counted()
        assert [edge["node"]["sequence"] for edge in found] == list(expected), name
        return found[-1]["cursor"]

    # Cursors of the middle are got by walking there: a hundred pages from the end.
    before = end[0]["cursor"]
    for _ in range(10):
        before = page(long, last=100, before=before)[0]["cursor"]
    middle = LONG - 19 - 1000
    measure("start", range(1, 21), first=20)
    measure("second", range(21, 41), first=20, after=start[-1]["cursor"])
    measure("middle, forwards", range(middle + 1, middle + 21), first=20, after=before)
    measure("middle, backwards", range(middle - 20, middle), last=20, before=before)
    measure("end", range(LONG - 19, LONG + 1), last=20)
    measure("before the end", range(LONG - 39, LONG - 19), last=20, before=end[0]["cursor"])
    with steps(long) as counted:
        long.graphql(PAGE.replace('"long"', '"short"'), first=20)
        costs["of a short session"] = counted()
    assert min(costs.values()) > 0
    assert max(costs.values()) < 2 * min(costs.values()), costs
    assert max(costs.values()) < 5000, costs


@pytest.mark.sqlite
@pytest.mark.parametrize("field", ["SEQUENCE", "CREATED_AT"])
@pytest.mark.parametrize("direction", ["ASC", "DESC"])
def test_a_page_in_any_order_costs_the_same_wherever_it_is_in_a_long_session(
    long: Server, field: str, direction: str
) -> None:
    query = PAGE.replace("before: $before", f"before: $before, orderBy: {{field: {field}, direction: {direction}}}")
    costs: list[int] = []

    def measure(**arguments: Any) -> list[dict[str, Any]]:
        with steps(long) as counted:
            edges = long.graphql(query, **arguments)["session"]["messages"]["edges"]
            costs.append(counted())
        return edges

    start, end = measure(first=20), measure(last=20)
    assert len(start) == len(end) == 20
    assert len(measure(first=20, after=start[-1]["cursor"])) == 20
    assert len(measure(last=20, before=end[0]["cursor"])) == 20
    assert 0 < max(costs) < 5000, costs


@pytest.mark.sqlite
def test_a_page_of_the_newest_session_first_does_not_read_the_messages_of_others(long: Server) -> None:
    query = NESTED.replace("first: 20", "last: 20")
    with steps(long) as counted:
        data = long.graphql(query, id="u")
        cost = counted()
    assert len(data["user"]["sessions"]["edges"]) == 2
    assert 0 < cost < 10_000


WINDOW = "query ($first: Int, $after: String, $last: Int, $before: String)"
LISTS = {
    "users": (f"{WINDOW} {{ list: users(PAGE) {{ edges {{ cursor }} }} }}", []),
    "users by id": (
        f"{WINDOW} {{ list: users(PAGE, orderBy: {{field: USER_ID, direction: ASC}}) {{ edges {{ cursor }} }} }}",
        [],
    ),
    "sessions": (f"{WINDOW} {{ list: sessions(PAGE) {{ edges {{ cursor }} }} }}", []),
    "sessions by activity": (
        f"""{WINDOW} {{ list: sessions(PAGE, orderBy: {{field: LAST_ACTIVITY_AT, direction: ASC}}) {{
        edges {{ cursor }} }} }}""",
        [],
    ),
    "sessions of a user": (
        f'{WINDOW} {{ user(userId: "u00000") {{ list: sessions(PAGE) {{ edges {{ cursor }} }} }} }}',
        ["user"],
    ),
    "memories of a user": (
        f"""{WINDOW} {{ user(userId: "u00000") {{ list: memories(PAGE, filter: {{asOf: "2030-01-01T00:00:00Z"}}) {{
        edges {{ cursor }} }} }} }}""",
        ["user"],
    ),
}


@pytest.fixture(scope="module", params=[False, True], ids=["each at its time", "all at the same time"])
def many(request: pytest.FixtureRequest, shared: Fresh) -> Place:
    place = shared()
    times = [0 if request.param else n for n in range(5000)]
    place.insert("users", [user_row(f"u{n:05}", time) for n, time in enumerate(times)])
    place.insert("sessions", [session_row(f"s{n:05}", "u00000", time, 0) for n, time in enumerate(times)])
    memories = [memory_row(n, "u00000", None) | {"created_at": at(time)} for n, time in enumerate(times)]
    place.insert("memories", memories)
    return place


@pytest.mark.sqlite
@pytest.mark.parametrize("name", LISTS)
def test_a_page_of_a_long_list_costs_the_same_wherever_it_is(many: Place, name: str) -> None:
    query, below = LISTS[name]
    query = query.replace("PAGE", "first: $first, after: $after, last: $last, before: $before")
    running = at_rest(many)
    try:

        def measure(**arguments: Any) -> tuple[int, list[str]]:
            with steps(running) as counted:
                data = running.graphql(query, **arguments)
                cost = counted()
            for field in below:
                data = data[field]
            return cost, [edge["cursor"] for edge in data["list"]["edges"]]

        measure(first=20)  # a connection reads the schema once
        first, start = measure(first=20)
        last, end = measure(last=20)
        for _ in range(20):
            _, end = measure(last=100, before=end[0])
        forwards, after = measure(first=20, after=end[0])
        backwards, before = measure(last=20, before=end[0])
        costs = {"first": first, "last": last, "forwards": forwards, "backwards": backwards}
        assert len(start) == len(after) == len(before) == 20
        assert 0 < max(costs.values()) < 3 * min(costs.values()), costs
    finally:
        running.close()


@pytest.mark.sqlite
def test_appending_costs_the_same_in_a_long_session_and_after_many_deletions(
    long_session: Place, places: Places, tmp_path: Path
) -> None:
    place = places.copy(long_session, tmp_path)
    key = session_key("default", "long")
    gone = [{"session_key": key, "sequence": n, "message_id_hash": n.to_bytes(16)} for n in range(1, 20_001)]
    place.insert("deleted_messages", gone)
    place.query("DELETE FROM messages WHERE session_key = $1 AND sequence <= 20000", key)
    running = at_rest(place)
    add = "mutation ($input: AddMessagesInput!) { addMessages(input: $input) { deduplicated userErrors { code } } }"
    try:
        costs: dict[str, int] = {}
        for session in ("short", "long"):
            message = {"role": "USER", "content": "x", "messageId": "new"}
            with steps(running) as counted:
                answer = running.graphql(add, input={"sessionId": session, "messages": [message]})
                costs[session] = counted()
            assert answer == {"addMessages": {"deduplicated": 0, "userErrors": []}}
        assert 0 < costs["long"] < 3 * costs["short"], costs
    finally:
        running.close()
