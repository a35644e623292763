"""The index of search: in step with the data whatever happens, filled in the background, and rid of what is erased."""

import contextlib
import random
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.search_kinds import SEARCH_KINDS
from models.words import words
from tests.documents import (
    CREATE_DOCUMENT,
    CREATE_MEMORY,
    CREATE_SESSION,
    CREATE_USER,
    DELETE_DOCUMENT,
    DELETE_MEMORY,
    DELETE_MESSAGE,
    DELETE_MESSAGES,
    DELETE_SESSION,
    DELETE_USER,
    PURGE_DELETED,
    UPDATE_DOCUMENT,
    UPDATE_MEMORY,
    UPDATE_MESSAGE,
    UPDATE_SESSION,
)
from tests.places import Place, Places
from tests.searches import add, assert_index_is_exact, found, index_now, indexed, texts
from tests.servers import Serve, Server, wait_until

# In step


WORDS = ["zebra", "otter", "heron", "lynx"]
OPERATIONS = [
    "add", "add", "add", "edit", "delete", "range", "drop", "anew", "move", "memory", "edit memory", "forget",
    "document", "edit document", "remove", "index", "index", "purge", "erase",
]  # fmt: skip


class Model:
    """The texts that must be found, by id."""

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
            gone = self.server.accepted(DELETE_MESSAGES, sessionId=session, fromSequence=2)["deletedMessageIds"]
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
        self.server.accepted(PURGE_DELETED, deletedBefore="2120-01-01T00:00:00Z")
        self.owner = {session: owner for session, owner in self.owner.items() if session in self.messages}

    def erase(self) -> None:
        if self.random.random() < 0.3:
            self.server.accepted(DELETE_USER, userId="ada")
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
        assert_index_is_exact(self.server.place)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(seed=st.integers(0, 2**32), operations=st.lists(st.sampled_from(OPERATIONS), min_size=8, max_size=25))
@pytest.mark.parametrize("way", ["whole", "index"])
def test_whatever_happens_search_is_in_step(
    way: str, seed: int, operations: list[str], places: Places, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if way == "index":
        request.getfixturevalue("through_index")
    with places.lent(tmp_path) as place, contextlib.closing(Server(place)) as server:
        model = Model(server, seed)
        for number, operation in enumerate(operations):
            model.step(operation)
            if number % 4 == 0:
                model.check()
        model.check()


def test_both_ways_rank_alike(server: Server, request: pytest.FixtureRequest) -> None:
    """Equal texts get equal scores, whether scanned or found through the index."""
    dice = random.Random(7)
    for number in range(10):
        add(server, f"s{number}", *[" ".join(dice.choices([*WORDS, "so", "it", "goes"], k=6)) for _ in range(6)])
    whole = found(server, "zebra heron", scope=["MESSAGES"])
    request.getfixturevalue("through_index")
    for is_indexed in (False, True):
        if is_indexed:
            index_now(server)
        through = found(server, "zebra heron", scope=["MESSAGES"])
        assert {edge["node"]["id"] for edge in through} == {edge["node"]["id"] for edge in whole}
        assert [edge["node"]["id"] for edge in through[:10]] == [edge["node"]["id"] for edge in whole[:10]]


def test_what_waits_is_put_into_the_index_in_the_background(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recallql.background.indexing.INDEX_EVERY", 0.02)
    for each in SEARCH_KINDS.values():
        monkeypatch.setitem(vars(each), "late", 2)
    server = Server(place)
    try:
        add(server, "s", "one", "two", "three", "four")
        assert wait_until(lambda: indexed(place)) == 4
        add(server, "s", "five")
        time.sleep(0.2)
        assert indexed(place) == 4, "so few are not worth a batch"
        assert_index_is_exact(place)
    finally:
        server.close()


def test_a_number_that_is_given_again_is_indexed_again(server: Server, through_index: None) -> None:
    ids = add(server, "s", "one", "two", "three")
    index_now(server)
    add(server, "s", "four")
    server.accepted(DELETE_MESSAGE, id=ids[2])
    server.accepted(DELETE_MESSAGES, sessionId="s", fromSequence=4)
    add(server, "t", "zebra", "otter")
    assert texts(server, "zebra") == ["zebra"]
    index_now(server)
    assert texts(server, "otter") == ["otter"]
    assert_index_is_exact(server.place)


def test_what_was_imported_is_found(server: Server, serve: Serve, tmp_path: Path) -> None:
    from recallql.commands.archive import import_file
    from recallql.settings import Settings

    lines = b'{"type":"session","sessionId":"s"}\n{"type":"message","sessionId":"s","role":"USER","content":"zebra"}\n'
    file = tmp_path / "lines.ndjson"
    file.write_bytes(lines)
    with file.open("rb") as opened:
        import_file(opened, Settings(database_url=server.place.url), size=len(lines))
    assert texts(server, "zebra") == ["zebra"]


@pytest.mark.sqlite
def test_an_erasure_leaves_no_word_in_the_index(server: Server) -> None:
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
    files = server.place.content()
    assert [place for place, tail in tails.items() if tail[-10:].encode() not in files] == []
    server.accepted(PURGE_DELETED, deletedBefore="2120-01-01T00:00:00Z")
    server.accepted(DELETE_USER, userId="ada")
    files = server.place.content()
    assert [place for place, tail in tails.items() if tail[-10:].encode() in files] == []
    assert b"rareneighbour" in files
    assert_index_is_exact(server.place)


def test_a_killed_server_loses_and_doubles_nothing_of_the_index(serve: Serve) -> None:
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
    assert 0 < indexed(running.place) <= 9000
    again = serve(place=running.place)
    for number in (0, 37, 50, 51, 89):
        assert texts(again, f"zebra{number}x{number}") == [f"zebra{number}x{number} otter"]
    assert_index_is_exact(running.place)


def _ask_quietly(server: Any) -> None:
    with contextlib.suppress(Exception):
        found(server, "otter")
