"""Search: what comes back, what must not, and that the index is always in step with the data."""

import asyncio
import contextlib
import json
import random
import sqlite3
import threading
import time
import uuid
from base64 import urlsafe_b64encode
from binascii import crc32
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from models.search import bring_up_to_date
from models.search_kinds import SEARCH_KINDS
from models.sqlite.database import connect
from models.words import words
from resolvers.search.highlights import highlight
from resolvers.search.questions import Asked, beginning, parse_question, term_of
from tests.servers import Server
from tests.test_deletion import raw_bytes

ERRORS = "userErrors { code message path }"
ADD = f"""mutation ($input: AddMessagesInput!) {{
  addMessages(input: $input) {{ messages {{ id sequence }} {ERRORS} }} }}"""
CREATE_USER = f"mutation ($input: CreateUserInput!) {{ createUser(input: $input) {{ user {{ id }} {ERRORS} }} }}"
CREATE_SESSION = (
    f"mutation ($input: CreateSessionInput!) {{ createSession(input: $input) {{ session {{ id }} {ERRORS} }} }}"
)
UPDATE_SESSION = (
    f"mutation ($input: UpdateSessionInput!) {{ updateSession(input: $input) {{ session {{ id }} {ERRORS} }} }}"
)
DELETE_SESSION = (
    f"mutation ($input: DeleteSessionInput!) {{ deleteSession(input: $input) {{ deletedSessionId {ERRORS} }} }}"
)
UPDATE_MESSAGE = (
    f"mutation ($input: UpdateMessageInput!) {{ updateMessage(input: $input) {{ message {{ id }} {ERRORS} }} }}"
)
DELETE_MESSAGE = (
    f"mutation ($input: DeleteMessageInput!) {{ deleteMessage(input: $input) {{ deletedMessageId {ERRORS} }} }}"
)
DELETE_RANGE = (
    f"mutation ($input: DeleteMessagesInput!) {{ deleteMessages(input: $input) {{ deletedMessageIds {ERRORS} }} }}"
)
CREATE_MEMORY = (
    f"mutation ($input: CreateMemoryInput!) {{ createMemory(input: $input) {{ memory {{ id }} {ERRORS} }} }}"
)
UPDATE_MEMORY = (
    f"mutation ($input: UpdateMemoryInput!) {{ updateMemory(input: $input) {{ memory {{ id }} {ERRORS} }} }}"
)
DELETE_MEMORY = (
    f"mutation ($input: DeleteMemoryInput!) {{ deleteMemory(input: $input) {{ deletedMemoryId {ERRORS} }} }}"
)
CREATE_DOCUMENT = (
    f"mutation ($input: CreateDocumentInput!) {{ createDocument(input: $input) {{ document {{ id }} {ERRORS} }} }}"
)
UPDATE_DOCUMENT = (
    f"mutation ($input: UpdateDocumentInput!) {{ updateDocument(input: $input) {{ document {{ id }} {ERRORS} }} }}"
)
DELETE_DOCUMENT = (
    f"mutation ($input: DeleteDocumentInput!) {{ deleteDocument(input: $input) {{ deletedDocumentId {ERRORS} }} }}"
)
PURGE = f"mutation ($input: PurgeDeletedInput!) {{ purgeDeleted(input: $input) {{ sessions {ERRORS} }} }}"
ERASE = f"mutation ($input: DeleteUserInput!) {{ deleteUser(input: $input) {{ deletedUserId {ERRORS} }} }}"
SEARCH = """query ($asked: String!, $scope: [SearchScope!], $userId: String, $sessionId: String, $filter: SearchFilter,
  $first: Int, $after: String) {
  search(query: $asked, scope: $scope, userId: $userId, sessionId: $sessionId, filter: $filter, first: $first,
    after: $after) {
    edges { cursor score highlight node { __typename
      ... on Message { id content session { sessionId } } ... on Memory { id content } ... on Document { id title } } }
    nodes { __typename } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""


def add(server, session_id: str, *contents: Any, **fields: Any) -> list[str]:
    """Adds messages by their contents, or by all that they are; their ids."""
    messages = [{"role": "USER"} | (each if isinstance(each, dict) else {"content": each}) for each in contents]
    payload = server.accepted(ADD, sessionId=session_id, messages=messages, formMemories=False, **fields)
    return [message["id"] for message in payload["messages"]]


def found(server, query: str, **arguments: Any) -> list[dict[str, Any]]:
    """The edges of the first hundred results."""
    return server.graphql(SEARCH, **{"asked": query, "first": 100, **arguments})["search"]["edges"]


def texts(server, query: str, **arguments: Any) -> list[str]:
    """The contents or titles of results that hold a word of the query, best first."""
    edges = found(server, query, **arguments)
    return [edge["node"].get("content") or edge["node"]["title"] for edge in edges if edge["highlight"] is not None]


def index_now(server) -> None:
    """Puts into the index whatever waits."""
    for kind in SEARCH_KINDS.values():
        server.host.wait_for(bring_up_to_date(server.app.state.database, kind, late=0))


@pytest.fixture
def through_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """No scope is small enough to be read whole: everything is found through the index."""
    for each in SEARCH_KINDS.values():
        monkeypatch.setitem(vars(each), "scanned", 0)
        monkeypatch.setitem(vars(each), "scanned_of_one", 0)


# What comes back


def test_messages_memories_and_documents_stand_in_one_ranking(server):
    server.accepted(CREATE_USER, userId="ada", documents=[{"title": "Guide to Turin", "content": "Chocolate."}])
    add(server, "s", "I moved to Turin.", "The weather is fine.", userId="ada")
    server.accepted(CREATE_MEMORY, userId="ada", kind="FACT", content="Lives in Turin")
    edges = found(server, "Turin", userId="ada")
    assert {edge["node"]["__typename"] for edge in edges if edge["highlight"]} == {"Message", "Memory", "Document"}
    scores = [edge["score"] for edge in edges]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)


def test_the_turn_that_answers_comes_first(server):
    add(server, "s", "Hello!", "I adopted two cats last week.", "We talked about dogs.", "Bye.")
    assert texts(server, "When did she adopt a cat?")[0] == "I adopted two cats last week."


def test_words_are_found_in_any_form_and_case(server):
    add(server, "s", "She was HIKING in the mountains.")
    for query in ("hike", "hiked", "Hikes", "mountain", "MOUNTAINS"):
        assert texts(server, query) == ["She was HIKING in the mountains."], query


def test_the_turns_around_a_match_are_found_after_it_without_a_highlight(server):
    add(server, "s", "far before", "x", "What is your cat called?", "Luna.", "y", "far after", "z")
    edges = found(server, "cat called")
    assert edges[0]["node"]["content"] == "What is your cat called?"
    around = {edge["node"]["content"] for edge in edges[1:]}
    assert around == {"far before", "x", "Luna.", "y"}
    assert all(edge["highlight"] is None for edge in edges[1:])


def test_neighbours_are_of_the_same_session(server):
    add(server, "a", "a rare zebra")
    add(server, "b", "something else")
    assert [edge["node"]["content"] for edge in found(server, "zebra")] == ["a rare zebra"]


def test_who_is_named_in_the_question_goes_before_others(server):
    add(server, "s", {"content": "I paint.", "name": "Bo"}, "x", "y", "z", {"content": "I paint.", "name": "Cleo"})
    assert found(server, "What does Cleo paint?")[0]["node"]["id"] == found(server, "paint Cleo")[0]["node"]["id"]
    first = {name: found(server, f"What does {name} paint?")[0]["node"]["id"] for name in ("Bo", "Cleo")}
    assert first["Bo"] != first["Cleo"]


def test_a_message_without_a_name_is_spoken_by_its_user(server):
    server.accepted(CREATE_USER, userId="ada", name="Ada")
    add(server, "s", {"content": "I paint.", "role": "ASSISTANT"}, "x", "y", "z", "I paint.", userId="ada")
    last = found(server, "What does Ada paint?", sessionId="s")[0]["node"]["id"]
    assert last != found(server, "paint", sessionId="s")[0]["node"]["id"]


def test_a_date_in_the_question_prefers_what_was_said_then(server):
    said = [{"content": "I had a setback.", "createdAt": f"2023-{month:02}-13T12:00:00Z"} for month in (3, 8, 10)]
    for number, message in enumerate(said):
        add(server, f"s{number}", message)
    for query, session in (("setback in October 2023", "s2"), ("What was the setback on 13 August?", "s1")):
        assert found(server, query)[0]["node"]["session"]["sessionId"] == session


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("我昨天去了北京。", "北京"),
        ("我喜欢喝茶", "茶"),
        ("أحب القهوة كثيرا", "القهوة"),
        ("مُحَمَّد", "محمد"),
        ("Well done 🎉 everybody", "🎉"),
        ("Я люблю Москву", "москву"),
        ("une crème brûlée", "creme brulee"),
        ("हिन्दी भाषा", "भाषा"),
        ("Straße", "STRASSE"),
        ("한국어를 배운다", "한국어"),
    ],
)
@pytest.mark.parametrize("indexed", [False, True])
def test_any_script_is_found(server, text, query, indexed, request):
    add(server, "s", text, "x", "y", "z", "nothing of it", "nothing at all")
    if indexed:
        request.getfixturevalue("through_index")
        index_now(server)
    assert texts(server, query) == [text]
    assert "<mark>" in found(server, query)[0]["highlight"]


def test_a_highlight_is_escaped_html_with_nothing_but_marks(server):
    add(server, "s", '<script>alert("cats & dogs")</script> <mark>cat</mark>')
    assert found(server, "cat")[0]["highlight"] == (
        "&lt;script&gt;alert(&quot;<mark>cats</mark> &amp; dogs&quot;)&lt;/script&gt; "
        "&lt;mark&gt;<mark>cat</mark>&lt;/mark&gt;"
    )


def test_a_highlight_of_a_long_text_is_the_part_with_the_most_words(server):
    long = "A cat. " + "filler " * 9000 + "the cat sat on the tiny mat" + " more" * 300
    add(server, "s", long)
    shown = found(server, "cat mat sat")[0]["highlight"]
    assert shown.startswith("…" if "mat" in shown else "A")
    assert len(shown) < 400
    question = parse_question("sat mat")
    assert "<mark>sat</mark> on the tiny <mark>mat</mark>" in (highlight(long, question) or "")


# Where it is looked for


def test_a_search_is_within_a_user_a_session_or_the_whole_project(server):
    for user in ("ada", "bob"):
        server.accepted(CREATE_USER, userId=user, documents=[{"title": f"zebra of {user}", "content": "x"}])
        add(server, f"{user}-1", f"zebra one of {user}", userId=user)
        add(server, f"{user}-2", f"zebra two of {user}", userId=user)
        server.accepted(CREATE_MEMORY, sessionId=f"{user}-1", kind="FACT", content=f"zebra known of {user}")
    add(server, "nobody's", "zebra of nobody")
    assert len(texts(server, "zebra")) == 9
    assert all("ada" in text for text in texts(server, "zebra", userId="ada"))
    assert len(texts(server, "zebra", userId="ada")) == 4
    assert set(texts(server, "zebra", sessionId="ada-1")) == {"zebra one of ada", "zebra known of ada"}
    assert set(texts(server, "zebra", sessionId="ada-1", scope=["MESSAGES"])) == {"zebra one of ada"}
    assert set(texts(server, "zebra", userId="bob", scope=["DOCUMENTS"])) == {"zebra of bob"}
    assert texts(server, "zebra", userId="ada", sessionId="bob-1") == []
    for nowhere in ({"userId": "nobody"}, {"sessionId": "none"}, {"scope": []}, {"userId": ""}):
        assert found(server, "zebra", **nowhere) == []


def test_filters_are_by_role_kind_time_metadata_and_score(server):
    server.accepted(CREATE_USER, userId="ada", documents=[{"title": "zebra paper", "content": "x"}])
    add(
        server,
        "s",
        {"content": "zebra old", "createdAt": "2020-01-01T00:00:00Z", "metadata": {"tag": {"a": 1, "b": 2}}},
        {"content": "zebra new", "role": "ASSISTANT"},
        userId="ada",
    )
    server.accepted(CREATE_MEMORY, userId="ada", kind="FACT", content="zebra fact", metadata={"tag": {"a": 1}})
    server.accepted(CREATE_MEMORY, userId="ada", kind="EVENT", content="zebra event")

    def passing(**filter: Any) -> set[str]:
        return set(texts(server, "zebra", filter=filter))

    assert passing() == {"zebra old", "zebra new", "zebra fact", "zebra event", "zebra paper"}
    assert passing(roles=["ASSISTANT"]) == {"zebra new"}
    assert passing(kinds=["FACT"]) == {"zebra fact"}
    assert passing(kinds=["FACT"], roles=["USER"]) == {"zebra fact", "zebra old"}
    assert passing(roles=[]) == set()
    assert passing(createdAt={"until": "2021-01-01T00:00:00Z"}) == {"zebra old"}
    assert "zebra old" not in passing(createdAt={"since": "2021-01-01T00:00:00Z"})
    assert passing(metadata={"tag": {"a": 1}}) == {"zebra old", "zebra fact"}
    assert passing(metadata={"tag": {"a": 1}}, roles=["USER"]) == {"zebra old"}
    scores = [edge["score"] for edge in found(server, "zebra")]
    above = [edge["score"] for edge in found(server, "zebra", filter={"minScore": scores[2]})]
    assert above == [score for score in scores if score >= scores[2]]
    assert found(server, "zebra", filter={"minScore": 1}) == []


def test_what_is_not_true_now_is_not_found(server):
    server.accepted(CREATE_USER, userId="ada")

    def remember(content: str, **fields: Any) -> str:
        return server.accepted(CREATE_MEMORY, userId="ada", kind="FACT", content=content, **fields)["memory"]["id"]

    old = remember("zebra lives in Turin")
    remember("zebra lives in Rome", supersedes=[old])
    remember("zebra expired", expiresAt="2020-01-01T00:00:00Z")
    remember("zebra was", validUntil="2020-01-01T00:00:00Z")
    remember("zebra will be", validFrom="2120-01-01T00:00:00Z")
    assert texts(server, "zebra") == ["zebra lives in Rome"]


# Bad input


@pytest.mark.parametrize("query", ["", " ", "\n\t  "])
def test_an_empty_query_is_refused(server, query):
    (error,) = server.errors(SEARCH, asked=query)
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert "`query` is empty" in error["message"]


@pytest.mark.parametrize("query", ["?!… --- ***", "\u0000", "\ud800", "\u200d\ufe0f", "''\"\"", "_"])
def test_a_query_without_words_finds_nothing(server, query):
    add(server, "s", "hello -- there *** ''")
    assert found(server, query) == []


@pytest.mark.parametrize(
    "query",
    [
        '"',
        "cat OR",
        "cat AND NOT",
        "NEAR(cat",
        "cat*",
        "^cat",
        "content:cat",
        "cat'; DROP TABLE messages",
        "{cat} +",
        "%",
    ],
)
@pytest.mark.parametrize("indexed", [False, True])
def test_no_character_is_an_operator(server, query, indexed, request):
    add(server, "s", "my cat", "dog")
    if indexed:
        request.getfixturevalue("through_index")
        index_now(server)
    assert texts(server, query) == (["my cat"] if "cat" in query else [])


def test_a_query_of_nothing_but_stop_words_is_looked_for_as_it_is(server):
    add(server, "s", "to be or not to be", "x", "y", "z", "something else")
    assert texts(server, "to be or not to be") == ["to be or not to be"]


def test_a_very_long_query_is_answered(server):
    add(server, "s", "my cat", "dog")
    for query in ("cat " * 25_000, "cat " + " ".join(f"w{number}" for number in range(15_000)), "猫" * 33_000):
        assert len(query.encode()) > 90_000
        assert texts(server, query) == (["my cat"] if "cat" in query else [])


@pytest.mark.parametrize(
    "arguments",
    [
        {"first": -1},
        {"first": 101},
        {"after": ""},
        {"after": "x"},
        {"after": "é"},
        {"after": "AAAAAFtd"},
        {"filter": {"metadata": [1]}},
        {"filter": {"roles": ["USER"] * 101}},
        {"filter": {"kinds": ["FACT"] * 101}},
        {"filter": {"createdAt": {"since": "2020-01-01T00:00:00"}}},
    ],
)
def test_wrong_arguments_are_named(server, arguments):
    add(server, "s", "zebra")
    (error,) = server.errors(SEARCH, asked="zebra", **arguments)
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.text(min_size=1, max_size=60).filter(lambda text: text.strip()))
def test_any_sentence_is_answered(server, query):
    if not found(server, "hello"):
        add(server, "s", "hello there")
    found(server, query)


# Pages


def walk(server, between: Any = lambda: None, **arguments: Any) -> list[dict[str, Any]]:
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


def zebras(server) -> None:
    server.accepted(CREATE_USER, userId="ada")
    for number in range(12):
        add(server, f"s{number}", *[f"zebra {'word ' * n}{number}" for n in range(5)], userId="ada")
        server.accepted(CREATE_MEMORY, userId="ada", kind="FACT", content=f"zebra memory {number}")


@pytest.mark.parametrize("size", [1, 7, 100])
@pytest.mark.parametrize("indexed", [False, True])
def test_pages_are_the_whole_ranking_cut(server, size, indexed, request):
    zebras(server)
    if indexed:
        request.getfixturevalue("through_index")
        index_now(server)
    whole = found(server, "zebra word")
    assert len(whole) == 72
    pages = walk(server, asked="zebra word", first=size)
    assert [(edge["node"]["id"], edge["score"]) for edge in pages] == [
        (edge["node"]["id"], edge["score"]) for edge in whole
    ]


@pytest.mark.parametrize("indexed", [False, True])
def test_a_walk_neither_skips_nor_repeats_while_others_write(server, indexed, request):
    zebras(server)
    if indexed:
        request.getfixturevalue("through_index")
        index_now(server)
    there = {edge["node"]["id"] for edge in found(server, "zebra word")}
    written = iter(range(1000))

    def write() -> None:
        number = next(written)
        add(server, f"new{number}", "zebra", "word word", "zebra word", "nothing", userId="ada")
        if number % 5 == 0 and indexed:
            index_now(server)

    walked = [edge["node"]["id"] for edge in walk(server, write, asked="zebra word", first=5)]
    assert len(walked) == len(set(walked))
    assert there <= set(walked)


def test_a_cursor_is_good_for_its_own_search_only(server):
    zebras(server)
    asked = {"asked": "zebra", "first": 2, "userId": "ada", "scope": ["MESSAGES"], "filter": {"roles": ["USER"]}}
    cursor = server.graphql(SEARCH, **asked)["search"]["pageInfo"]["endCursor"]
    assert server.graphql(SEARCH, **{**asked, "after": cursor})["search"]["edges"]
    for other in (
        {"asked": "zebra!"},
        {"userId": None},
        {"sessionId": "s1"},
        {"scope": None},
        {"filter": {"roles": ["ASSISTANT"]}},
        {"after": cursor[:-1]},
        {"after": f"{cursor}A"},
        {"after": f"{cursor[:10]}{'A' if cursor[10] != 'A' else 'B'}{cursor[11:]}"},
    ):
        (error,) = server.errors(SEARCH, **{**asked, "after": cursor, **other})
        assert (error["extensions"]["code"], "start again" in error["message"]) == ("BAD_USER_INPUT", True), other


def test_a_cursor_that_was_made_up_is_refused(server):
    zebras(server)
    usual = ["m", [9], [[]], [0.0], [1.0], 5.0]
    for wrong in ([[[]]], [[{}]], [["1"]], [[None]], [5], "x"):
        position = json.dumps([-1.0, 0, "00", 1, 6, [6], [5.0], 1.0, usual[0], usual[1], wrong, *usual[3:]]).encode()
        asked = Asked("zebra", ("MESSAGES",), None, None, None)
        made_up = crc32(position, asked.seed).to_bytes(4, "big") + position
        cursor = urlsafe_b64encode(made_up).rstrip(b"=").decode()
        (error,) = server.errors(SEARCH, asked="zebra", first=2, scope=["MESSAGES"], after=cursor)
        assert (error["extensions"]["code"], "start again" in error["message"]) == ("BAD_USER_INPUT", True), wrong


def test_a_page_takes_as_many_statements_however_many_results_it_has(server):
    zebras(server)
    counts = []
    for size in (2, 50):
        statements: list[str] = []
        server.app.state.database.listener = statements.append
        edges = found(server, "zebra word", first=size)
        server.app.state.database.listener = None
        assert len(edges) == size
        counts.append(len([text for text in statements if "indexed" not in text]))
    assert counts[0] == counts[1]


# In step


WORDS = ["zebra", "otter", "heron", "lynx"]
OPERATIONS = [
    "add", "add", "add", "edit", "delete", "range", "drop", "anew", "move", "memory", "edit memory", "forget",
    "document", "edit document", "remove", "index", "index", "purge", "erase",
]  # fmt: skip


class Model:
    """What must be found: the texts that are there, by id."""

    def __init__(self, server: Server, seed: int) -> None:
        self.server = server
        self.random = random.Random(seed)
        self.messages: dict[str, dict[str, str]] = {}
        self.memories: dict[str, tuple[str | None, str]] = {}
        self.documents: dict[str, str] = {}
        self.owner: dict[str, str | None] = {}
        self.user()

    def user(self) -> None:
        self.server.accepted(CREATE_USER, userId="ada")

    def text(self) -> str:
        return " ".join(self.random.choices([*WORDS, "and", "so", "élan", "茶"], k=self.random.randint(1, 6)))

    def session(self) -> str:
        return f"s{self.random.randrange(3)}"

    def any_message(self) -> tuple[str, str] | None:
        every = [(session, id) for session, kept in self.messages.items() for id in kept]
        return self.random.choice(every) if every else None

    def step(self, operation: str) -> None:
        getattr(self, operation.replace(" ", "_"))()

    def add(self) -> None:
        session = self.session()
        said = [self.text() for _ in range(self.random.randint(1, 3))]
        owner = {} if self.owner.get(session) or self.random.random() < 0.5 else {"userId": "ada"}
        ids = add(self.server, session, *said, **owner)
        self.messages.setdefault(session, {}).update(zip(ids, said, strict=True))
        self.owner[session] = self.owner.get(session) or owner.get("userId")

    def edit(self) -> None:
        if one := self.any_message():
            session, id = one
            self.messages[session][id] = said = self.text()
            self.server.accepted(UPDATE_MESSAGE, id=id, content=said)

    def delete(self) -> None:
        if one := self.any_message():
            session, id = one
            self.server.accepted(DELETE_MESSAGE, id=id)
            del self.messages[session][id]

    def range(self) -> None:
        if one := self.any_message():
            session, _ = one
            gone = self.server.accepted(DELETE_RANGE, sessionId=session, fromSequence=2)["deletedMessageIds"]
            for id in gone:
                del self.messages[session][id]

    def drop(self) -> None:
        if self.messages:
            session = self.random.choice(list(self.messages))
            permanently = self.random.random() < 0.3
            self.server.accepted(DELETE_SESSION, sessionId=session, permanently=permanently)
            if permanently:
                del self.owner[session]
            self._gone(session)

    def anew(self) -> None:
        """Creates a session under the key of one that was deleted, or never was."""
        session = self.session()
        if session not in self.messages:
            self.server.accepted(CREATE_SESSION, sessionId=session)
            self.messages[session], self.owner[session] = {}, None

    def move(self) -> None:
        if self.messages:
            session = self.random.choice(list(self.messages))
            owner = self.random.choice(["ada", None])
            self.server.accepted(UPDATE_SESSION, sessionId=session, userId=owner)
            self.owner[session] = owner

    def memory(self) -> None:
        content = self.text()
        session = self.session()
        about = {"sessionId": session} if session in self.messages else {"userId": "ada"}
        id = self.server.accepted(CREATE_MEMORY, kind="FACT", content=content, **about)["memory"]["id"]
        self.memories[id] = (about.get("sessionId"), content)

    def edit_memory(self) -> None:
        if self.memories:
            id = self.random.choice(list(self.memories))
            self.memories[id] = (self.memories[id][0], self.text())
            self.server.accepted(UPDATE_MEMORY, id=id, content=self.memories[id][1])

    def forget(self) -> None:
        if self.memories:
            id = self.random.choice(list(self.memories))
            self.server.accepted(DELETE_MEMORY, id=id)
            del self.memories[id]

    def document(self) -> None:
        title = self.text()
        fields = {"userId": "ada", "title": title, "content": "x"}
        self.documents[self.server.accepted(CREATE_DOCUMENT, **fields)["document"]["id"]] = title

    def edit_document(self) -> None:
        if self.documents:
            id = self.random.choice(list(self.documents))
            self.documents[id] = self.text()
            self.server.accepted(UPDATE_DOCUMENT, id=id, title=self.documents[id])

    def remove(self) -> None:
        if self.documents:
            id = self.random.choice(list(self.documents))
            self.server.accepted(DELETE_DOCUMENT, id=id)
            del self.documents[id]

    def index(self) -> None:
        index_now(self.server)

    def purge(self) -> None:
        self.server.accepted(PURGE, deletedBefore="2120-01-01T00:00:00Z")
        self.owner = {session: owner for session, owner in self.owner.items() if session in self.messages}

    def erase(self) -> None:
        if self.random.random() < 0.3:
            self.server.accepted(ERASE, userId="ada")
            for session in [session for session, owner in self.owner.items() if owner]:
                self._gone(session)
                del self.owner[session]
            self.memories = {id: kept for id, kept in self.memories.items() if kept[0] is not None}
            self.documents = {}
            self.user()

    def _gone(self, session: str) -> None:
        self.messages.pop(session, None)
        self.memories = {id: kept for id, kept in self.memories.items() if kept[0] != session}

    def check(self) -> None:
        everything = {id: said for kept in self.messages.values() for id, said in kept.items()}
        everything |= {id: content for id, (_, content) in self.memories.items()} | self.documents
        for word in [*WORDS, "elan", "茶"]:
            expected = {id for id, said in everything.items() if word in words(said)}
            edges = found(self.server, word)
            assert {edge["node"]["id"] for edge in edges if edge["highlight"] is not None} == expected, word
            assert {edge["node"]["id"] for edge in edges} <= everything.keys()
            if any(self.owner.values()):
                of_ada = {id for session, kept in self.messages.items() if self.owner[session] for id in kept}
                hits = found(self.server, word, userId="ada", scope=["MESSAGES"])
                assert {edge["node"]["id"] for edge in hits if edge["highlight"] is not None} == expected & of_ada
        assert_index_is_exact(self.server.path)


_OF_MESSAGE = "content || ' ' || coalesce(parts_text, '') || ' ' || coalesce(aside, '')"
_OF_SESSION = "messages CROSS JOIN sessions ON sessions.key = messages.session_key"


def assert_index_is_exact(path: Path) -> None:
    """The index has each word of each row up to its mark, where the row's project and owner stand, and nothing else."""
    with contextlib.closing(connect(path)) as connection:
        numbers = dict(connection.execute("SELECT project, number FROM indexed_projects").fetchall())
        for name, content, project, lane, rows in (
            ("messages", _OF_MESSAGE, "project", "lane", _OF_SESSION),
            ("memories", "content", "project", "lane_of(coalesce(user_key, session_key))", "memories"),
            ("documents", "title || ' ' || content", "project", "lane_of(coalesce(user_key, agent_key))", "documents"),
        ):
            (through,) = connection.execute("SELECT through FROM indexed WHERE name = ?", (name,)).fetchone()
            (newest,) = connection.execute(f"SELECT coalesce(max(number), 0) FROM {name}").fetchone()
            assert through <= newest
            found = connection.execute(
                f"SELECT number, {project}, {lane}, {content} FROM {rows} WHERE number <= ?", (through,)
            ).fetchall()
            connection.execute(f"CREATE VIRTUAL TABLE temp.vocabulary USING fts5vocab(main, {name}_words, instance)")
            kept = set(connection.execute("SELECT term, doc FROM temp.vocabulary").fetchall())
            connection.execute("DROP TABLE temp.vocabulary")
            expected: set[tuple[str, int]] = set()
            counts: dict[str, int] = dict.fromkeys(numbers, 0)
            for number, project_name, its_lane, text in found:
                place = (numbers[project_name] << 49) + (its_lane << 31) + number
                expected |= {(term_of(word), place) for word in words(text)}
                counts[project_name] += 1
            assert kept == expected, name
            assert dict(connection.execute(f"SELECT project, {name} FROM indexed_projects").fetchall()) == counts, name


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(seed=st.integers(0, 2**32), operations=st.lists(st.sampled_from(OPERATIONS), min_size=8, max_size=25))
@pytest.mark.parametrize("way", ["whole", "index"])
def test_whatever_happens_search_is_in_step(way, seed, operations, migrated_file, tmp_path, request):
    if way == "index":
        request.getfixturevalue("through_index")
    path = tmp_path / f"{uuid.uuid4().hex}.db"
    path.write_bytes(migrated_file.read_bytes())
    server = Server(path)
    try:
        model = Model(server, seed)
        for number, operation in enumerate(operations):
            model.step(operation)
            if number % 4 == 0:
                model.check()
        model.check()
    finally:
        server.close()


def test_both_ways_rank_alike(server, request):
    """What is read whole and what comes through the index gets the same scores, where the texts are the same."""
    dice = random.Random(7)
    for number in range(10):
        add(server, f"s{number}", *[" ".join(dice.choices([*WORDS, "so", "it", "goes"], k=6)) for _ in range(6)])
    whole = found(server, "zebra heron", scope=["MESSAGES"])
    request.getfixturevalue("through_index")
    for indexed in (False, True):
        if indexed:
            index_now(server)
        through = found(server, "zebra heron", scope=["MESSAGES"])
        assert {edge["node"]["id"] for edge in through} == {edge["node"]["id"] for edge in whole}
        assert [edge["node"]["id"] for edge in through[:10]] == [edge["node"]["id"] for edge in whole[:10]]


def test_what_waits_is_put_into_the_index_in_the_background(migrated_file, tmp_path, monkeypatch):
    path = tmp_path / "background.db"
    path.write_bytes(migrated_file.read_bytes())
    monkeypatch.setattr("recallql.background.indexing.INDEX_EVERY", 0.02)
    for each in SEARCH_KINDS.values():
        monkeypatch.setitem(vars(each), "late", 2)
    server = Server(path)
    try:
        add(server, "s", "one", "two", "three", "four")
        deadline = time.monotonic() + 10
        while not (through := indexed_through(path)) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert through == 4
        add(server, "s", "five")
        time.sleep(0.2)
        assert indexed_through(path) == 4, "so few are not worth a batch"
        assert_index_is_exact(path)
    finally:
        server.close()


def indexed_through(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT through FROM indexed WHERE name = 'messages'").fetchone()[0]


def test_a_number_that_is_given_again_is_indexed_again(server, through_index):
    ids = add(server, "s", "one", "two", "three")
    index_now(server)
    add(server, "s", "four")
    server.accepted(DELETE_MESSAGE, id=ids[2])
    server.accepted(DELETE_RANGE, sessionId="s", fromSequence=4)
    add(server, "t", "zebra", "otter")
    assert texts(server, "zebra") == ["zebra"]
    index_now(server)
    assert texts(server, "otter") == ["otter"]
    assert_index_is_exact(server.path)


def test_what_was_imported_is_found(server, serve, tmp_path):
    from recallql.commands.archive import import_file
    from recallql.settings import Settings

    lines = b'{"type":"session","sessionId":"s"}\n{"type":"message","sessionId":"s","role":"USER","content":"zebra"}\n'
    file = tmp_path / "lines.ndjson"
    file.write_bytes(lines)
    with file.open("rb") as opened:
        import_file(opened, Settings(database_url=f"sqlite:///{server.path}"), size=len(lines))
    assert texts(server, "zebra") == ["zebra"]


def test_an_erasure_leaves_no_word_in_the_index(server):
    tails = {
        place: uuid.uuid4().hex[:16] for place in ("kept", "before an edit", "deleted", "memory", "title", "purged")
    }
    word = {place: f"{tail[:4]}{tail}" for place, tail in tails.items()}
    server.accepted(CREATE_USER, userId="ada", documents=[{"title": word["title"], "content": "x"}])
    add(server, "bob", "rareneighbour")
    edited, deleted, _ = add(
        server, "s", word["before an edit"], word["deleted"], f"{word['kept']} " + "filler " * 500, userId="ada"
    )
    add(server, "t", word["purged"], userId="ada")
    server.accepted(CREATE_MEMORY, userId="ada", kind="FACT", content=word["memory"])
    index_now(server)
    server.accepted(UPDATE_MESSAGE, id=edited, content="edited")
    server.accepted(DELETE_MESSAGE, id=deleted)
    server.accepted(DELETE_SESSION, sessionId="t")
    files = raw_bytes(server.path)
    assert [place for place, tail in tails.items() if tail[-10:].encode() not in files] == []
    server.accepted(PURGE, deletedBefore="2120-01-01T00:00:00Z")
    server.accepted(ERASE, userId="ada")
    files = raw_bytes(server.path)
    assert [place for place, tail in tails.items() if tail[-10:].encode() in files] == []
    assert b"rareneighbour" in files
    assert_index_is_exact(server.path)


def test_a_killed_server_loses_and_doubles_nothing_of_the_index(serve):
    running = serve()
    batch = 100
    for number in range(90):
        add(running, f"s{number % 7}", *[f"zebra{number}x{turn} otter" for turn in range(batch)])
        if number == 50:
            found(running, "zebra0x0")
    threading.Thread(
        target=lambda: contextlib.suppress(Exception).__enter__() or _ask_quietly(running), daemon=True
    ).start()
    time.sleep(0.03)
    running.process.kill()
    running.process.wait()
    assert 0 < indexed_through(running.path) <= 9000
    again = serve(path=running.path)
    for number in (0, 37, 50, 51, 89):
        assert texts(again, f"zebra{number}x{number}") == [f"zebra{number}x{number} otter"]
    assert_index_is_exact(running.path)


def _ask_quietly(server: Any) -> None:
    with contextlib.suppress(Exception):
        found(server, "otter")


# The parts


@settings(max_examples=300, deadline=None)
@given(st.text("abcdeghilmnorstuyz", min_size=1, max_size=14) | st.text("aeilstbyng", min_size=3, max_size=9))
def test_every_word_begins_as_its_stem_says(word):
    assert word.startswith(beginning(term_of(word)))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40))
@example("00\U0001d608")
def test_words_are_the_same_taken_apart_twice(text):
    once = words(text)
    assert all(word and not word.isspace() and " " not in word for word in once)
    spaced_again = [word for word in once if len(word) > 2 and word.isascii()]
    assert [part for word in spaced_again for part in words(word)] == spaced_again


def test_searches_in_several_threads_stem_alike():
    said = [
        f"{stem}{ending}" for stem in ("hik", "relat", "happi", "organ") for ending in ("ing", "ed", "ization", "ness")
    ]
    alone = [term_of(word) for word in said]

    async def together() -> list[list[str]]:
        term_of.cache_clear()
        return await asyncio.gather(*(asyncio.to_thread(lambda: [term_of(word) for word in said]) for _ in range(8)))

    assert all(each == alone for each in asyncio.run(together()))
