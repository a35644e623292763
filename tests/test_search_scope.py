"""Search within a scope: what others write, and how much there is, changes nothing of what is found."""

import json
import random
import resource
import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import crc32
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest

from models.full_text import HIGHEST, LOWEST
from models.search_kinds import SEARCH_KINDS
from models.words import index_text
from recallql.commands.keys import create_key
from recallql.settings import Settings
from resolvers.search.questions import Asked
from tests.documents import (
    ADD_MESSAGES,
    CREATE_DOCUMENT,
    CREATE_MEMORY,
    CREATE_SESSION,
    CREATE_USER,
    DELETE_MESSAGE,
    DELETE_SESSION,
    DELETE_USER,
    UPDATE_MESSAGE,
    UPDATE_SESSION,
)
from tests.places import Place, older_place
from tests.searches import SEARCH, add, assert_index_is_exact, fill, found, index_now, walk
from tests.servers import Server, wait_until

SAY = "addMessages(input: $input) { userErrors { message } }"

MANY = 10_400
"""Texts that another user writes afterwards: more than the index names of a word in one go."""


def answer(server: Server, query: str, **arguments: Any) -> list[tuple[str, float]]:
    """The ids of the first hundred results and their scores."""
    return [(edge["node"]["id"], edge["score"]) for edge in found(server, query, **arguments)]


def test_what_another_user_writes_hides_nothing(server: Server) -> None:
    fill(server.place, "ada", [f"invoice {number}" for number in range(25_200)])
    index_now(server)
    scopes: list[dict[str, Any]] = [{"userId": "ada"}, {"sessionId": "ada-s"}, {"userId": "ada", "sessionId": "ada-s"}]
    before = [answer(server, "invoice", **scope) for scope in scopes]
    assert [len(each) for each in before] == [100, 100, 100]
    fill(server.place, "bob", ["invoice"] * MANY)
    for _ in range(2):
        assert [answer(server, "invoice", **scope) for scope in scopes] == before
        assert len(found(server, "invoice", userId="bob")) == 100
        index_now(server)


FILTERS: list[dict[str, Any]] = [
    {"metadata": {"old": True}},
    {"createdAt": {"until": "2020-01-01T00:00:00Z"}},
    {"roles": ["SYSTEM"]},
    {"createdAt": {"until": "2020-01-01T00:00:00Z"}, "roles": ["SYSTEM"], "metadata": {"old": True}},
]


def test_a_filter_that_one_old_row_of_many_passes_finds_it(server: Server) -> None:
    old = {"content": "zebra long ago", "role": "SYSTEM", "metadata": '{"old": true}'}
    old["created_at"] = "2019-05-05T00:00:00.000000"
    fill(server.place, "ada", ["x", "y", "z", old, "x", "y", "z"], session="first")
    fill(server.place, "ada", [f"zebra {number}" for number in range(21_000)])
    index_now(server)
    for filter in FILTERS:
        for scope in ({"userId": "ada"}, {}):
            edges = found(server, "zebra", filter=filter, **scope)
            assert [edge["node"]["content"] for edge in edges] == ["zebra long ago"], filter


def test_a_filter_applies_to_the_turns_around_a_match_too(server: Server) -> None:
    told = [{"content": "what is the zebra called"}, {"content": "Marty", "role": "ASSISTANT"}]
    fill(server.place, "ada", ["x"] * 10_000 + told + ["zebra"] * 11_000)
    index_now(server)
    edges = found(server, "zebra", userId="ada", filter={"roles": ["ASSISTANT"]})
    assert [edge["node"]["content"] for edge in edges] == ["Marty"]


def test_a_project_is_searched_beside_a_larger_one(server: Server) -> None:
    fill(server.place, "ada", [f"invoice {number} heron" for number in range(3200)], project="small")
    create_key(Settings(database_url=server.place.url), name="a", project="small")
    _, key = create_key(Settings(database_url=server.place.url), name="b", project="small")
    server.client.headers["authorization"] = f"Bearer {key}"
    index_now(server)
    before = answer(server, "the invoice of a heron")
    assert len(before) == 100
    for project in ("default", "other"):
        fill(server.place, "ada", [f"invoice {number}" for number in range(13_000)], project=project)
    assert answer(server, "the invoice of a heron") == before
    index_now(server)
    assert answer(server, "the invoice of a heron") == before, "scores go by the project's own words"
    assert_index_is_exact(server.place)


def test_a_small_project_is_read_whole_whatever_else_is_there(server: Server) -> None:
    fill(server.place, "ada", ["zebra", "otter"], project="small")
    fill(server.place, "ada", ["zebra"] * 4000)
    _, key = create_key(Settings(database_url=server.place.url), name="a", project="small")
    server.client.headers["authorization"] = f"Bearer {key}"
    statements: list[str] = []
    server.app.state.database.listener = statements.append
    assert len(found(server, "zebra")) == 2
    assert not [text for text in statements if "MATCH" in text]


# Paging through everything


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch, through_index: None) -> None:
    """Windows of a few candidates, and few words that are rare."""
    for each in SEARCH_KINDS.values():
        monkeypatch.setitem(vars(each), "chosen", 7)
    monkeypatch.setattr("resolvers.search.candidates.GATHERED", 20)


def mixed(server: Server) -> dict[str, set[str]]:
    """Rows with a rare word, rows with a common one, rows with neither; their ids by kind."""
    dice = random.Random(5)
    server.accepted(CREATE_USER, userId="ada")
    ids: dict[str, set[str]] = {"rare": set(), "common": set()}
    for number in range(8):
        said = [dice.choice(["zebra", "otter", "nothing", "zebra otter", "gone"]) for _ in range(30)]
        for id, content in zip(add(server, f"s{number}", *said, userId="ada"), said, strict=True):
            if "zebra" in content or "otter" in content:
                ids["rare" if "zebra" in content else "common"].add(id)
    for number in range(30):
        id = server.accepted(CREATE_MEMORY, userId="ada", kind="FACT", content=f"otter {number}")["memory"]["id"]
        ids["common"].add(id)
    add(server, "rare", "zebra", "heron", "heron zebra otter", userId="ada")
    return ids


@pytest.mark.parametrize("size", [3, 100])
@pytest.mark.parametrize("indexed", [True, False])
def test_paging_goes_on_through_all_that_match(server: Server, little: None, size: int, indexed: bool) -> None:
    ids = mixed(server)
    if indexed:
        index_now(server)
    every = ids["rare"] | ids["common"]
    edges = walk(server, asked="zebra heron otter", first=size, userId="ada")
    walked = [edge["node"]["id"] for edge in edges]
    assert len(walked) == len(set(walked))
    assert every <= set(walked)
    assert [edge["score"] for edge in edges] == sorted((edge["score"] for edge in edges), reverse=True)
    least = edges[len(edges) // 2]["score"]
    above = walk(server, asked="zebra heron otter", first=size, userId="ada", filter={"minScore": least})
    assert {edge["node"]["id"] for edge in above} == {edge["node"]["id"] for edge in edges if edge["score"] >= least}


def test_all_sizes_of_pages_give_the_same_order(server: Server, little: None) -> None:
    mixed(server)
    index_now(server)
    pages = [
        [(edge["node"]["id"], edge["score"]) for edge in walk(server, asked="zebra heron otter", first=size)]
        for size in (3, 11, 100)
    ]
    assert pages[0] == pages[1] == pages[2]


def test_nothing_is_skipped_or_repeated_while_others_write(server: Server, little: None) -> None:
    ids = mixed(server)
    numbers = iter(range(1000))

    def write() -> None:
        number = next(numbers)
        add(server, f"new{number % 9}", "zebra", "otter", "heron zebra", "nothing", userId="ada")
        if number % 3 == 0:
            index_now(server)

    walked = [edge["node"]["id"] for edge in walk(server, write, asked="zebra heron otter", first=40, userId="ada")]
    assert len(walked) == len(set(walked))
    assert ids["rare"] | ids["common"] <= set(walked)


def test_rows_with_nothing_but_common_words_come_after_the_others(server: Server) -> None:
    fill(server.place, "ada", ["the invoice", "x"] * 10_500 + ["a zebra", "x", "y"])
    index_now(server)
    pages = server.graphql(SEARCH, asked="zebra invoice", first=50, userId="ada")["search"]
    contents = [edge["node"]["content"] for edge in pages["edges"]]
    assert contents[0] == "a zebra"
    assert contents.count("the invoice") > 20
    assert pages["pageInfo"]["hasNextPage"]


# Where a scope's texts stand


def test_a_session_that_is_attached_later_is_searched_with_its_user(
    server: Server,
    through_index: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.accepted(CREATE_USER, userId="ada")
    server.accepted(CREATE_USER, userId="bob")
    for number in range(5):
        add(server, f"s{number}", f"zebra {number}")
        server.accepted(CREATE_MEMORY, sessionId=f"s{number}", kind="FACT", content=f"zebra memory {number}")
    index_now(server)
    for number in range(4):
        server.accepted(UPDATE_SESSION, sessionId=f"s{number}", userId="ada" if number else "bob")
    add(server, "own", "zebra own", userId="ada")

    def contents(**scope: Any) -> set[str]:
        return {edge["node"]["content"] for edge in found(server, "zebra", **scope)}

    for sought in (64, 1):
        monkeypatch.setattr("models.sqlite.word_search.SOUGHT", sought)
        for _ in range(2):
            assert contents(userId="ada") == {
                *(f"zebra {number}" for number in (1, 2, 3)),
                *(f"zebra memory {number}" for number in (1, 2, 3)),
                "zebra own",
            }
            assert contents(userId="bob") == {"zebra 0", "zebra memory 0"}
            assert contents(sessionId="s1") == {"zebra 1", "zebra memory 1"}
            assert contents(sessionId="s4") == {"zebra 4", "zebra memory 4"}
            assert len(contents()) == 11
            index_now(server)
    assert_index_is_exact(server.place)


def test_a_cursor_cannot_have_a_large_scope_ranked_at_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resolvers.search.candidates.RECALLED", 300)
    monkeypatch.setattr("resolvers.search.gathering.MOST", 1500)
    fill(server.place, "ada", [f"zebra {number}" for number in range(21_000)])
    index_now(server)
    asked = {"asked": "zebra", "userId": "ada", "scope": ["MESSAGES"]}
    cursor = found(server, "zebra", userId="ada", scope=["MESSAGES"])[0]["cursor"]
    seed = Asked("zebra", ("MESSAGES",), "ada", None, None).seed
    position = orjson.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[4:])
    for window in (None, [[0], *HIGHEST, *LOWEST]):
        raw = orjson.dumps([*position[:5], [window], *position[6:]])
        forged = urlsafe_b64encode(crc32(raw, seed).to_bytes(4, "big") + raw).rstrip(b"=").decode()
        (error,) = server.errors(SEARCH, **asked, after=forged)
        assert (error["extensions"]["code"], "start again" in error["message"]) == ("BAD_USER_INPUT", True), error


def test_the_index_forgets_what_is_deleted_on_every_way(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada", documents=[{"title": "zebra", "content": "x"}])
    for session in ("softly", "permanently", "recreated", "erased", "upserted"):
        add(server, session, *(f"zebra{session}{number}" for number in range(3)), userId="ada")
        server.accepted(CREATE_MEMORY, sessionId=session, kind="FACT", content=f"zebra{session}")
    add(server, "nobody's", "zebra")
    server.accepted(DELETE_SESSION, sessionId="softly")
    server.accepted(DELETE_SESSION, sessionId="recreated")
    index_now(server)
    server.accepted(DELETE_SESSION, sessionId="permanently", permanently=True)
    server.accepted(CREATE_SESSION, sessionId="recreated")
    server.accepted(DELETE_MESSAGE, id=add(server, "upserted", "zebralast")[0])
    assert_index_is_exact(server.place)
    purged = 'mutation { purgeDeleted(input: {deletedBefore: "2120-01-01T00:00:00Z"}) { sessions } }'
    server.graphql(purged)
    assert_index_is_exact(server.place)
    # A cascade, as a deletion of the session's row alone would be.
    server.place.query("DELETE FROM sessions WHERE session_id = 'erased'")
    assert_index_is_exact(server.place)
    server.accepted(DELETE_USER, userId="ada")
    assert_index_is_exact(server.place)
    assert [edge["node"]["content"] for edge in found(server, "zebra")] == ["zebra"]


# Indexing in the background


def waiting(server: Any) -> int:
    return server.client.get(f"{server.base}/ready").json()["index"]["waiting"]


def test_no_search_writes_into_the_index(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: Any, **__: Any) -> None:
        """Leaves all of it waiting, as a server does that is too busy."""

    monkeypatch.setattr("recallql.background.indexing.bring_up_to_date", nothing)
    fill(server.place, "ada", [f"zebra {number}" for number in range(21_000)])
    assert len(found(server, "zebra")) == 100
    assert len(found(server, "zebra", userId="ada")) == 100
    assert waiting(server) == 21_000


def test_writes_wake_the_background_and_ready_tells_what_waits(server: Server) -> None:
    fill(server.place, "ada", [f"zebra {number}" for number in range(5000)])
    assert waiting(server) > SEARCH_KINDS["MESSAGES"].late
    add(server, "s", "a write that wakes it")
    wait_until(lambda: waiting(server) <= SEARCH_KINDS["MESSAGES"].late)
    assert_index_is_exact(server.place)


def test_an_import_indexes_as_it_goes(server: Server, tmp_path: Path) -> None:
    from recallql.commands.archive import import_file

    lines = b"".join(
        json.dumps({"type": "message", "sessionId": f"s{n % 50}", "role": "USER", "content": f"zebra {n}"}).encode()
        + b"\n"
        for n in range(4000)
    )
    file = tmp_path / "lines.ndjson"
    file.write_bytes(lines)
    with file.open("rb") as opened:
        import_file(opened, Settings(database_url=server.place.url), size=len(lines))
    assert waiting(server) <= sum(each.late for each in SEARCH_KINDS.values())
    assert_index_is_exact(server.place)
    assert len(found(server, "zebra")) == 100


@pytest.mark.sqlite
def test_indexing_keeps_up_with_clients_that_write_all_the_time(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.sqlite.word_index.STEP_ROWS", 32)
    monkeypatch.setitem(vars(SEARCH_KINDS["MESSAGES"]), "late", 32)
    query = f"mutation ($input: AddMessagesInput!) {{ {' '.join(f'a{n}: {SAY}' for n in range(4))} }}"

    def write(client: int) -> None:
        for _ in range(5):
            said = [{"role": "USER", "content": "zebra"}] * 100
            server.graphql(query, input={"sessionId": f"s{client}", "messages": said, "formMemories": False})

    with ThreadPoolExecutor(6) as clients:
        list(clients.map(write, range(6)))
    assert waiting(server) < 6000, "of 12,000 messages more than half wait"


def test_a_search_that_cannot_finish_is_an_error_and_no_shorter_list(place: Place) -> None:
    fill(place, "ada", [f"zebra {'word ' * 200}{number}" for number in range(25_000)])
    running = Server(place, request_timeout=0.1)
    try:
        (error,) = running.errors(SEARCH, asked="zebra", userId="ada")
        assert error["extensions"]["code"] == "TIMEOUT"
    finally:
        running.close()


@pytest.mark.sqlite
def test_a_file_of_the_version_before_is_indexed_by_its_migration(tmp_path: Path) -> None:
    place = older_place(tmp_path, "0003")
    fill(place, "ada", [f"zebra {number}" for number in range(3000)])
    fill(place, "bob", ["zebra of bob"], project="other")
    place.query(
        "INSERT INTO messages_words (rowid, text) SELECT number, indexed(content) FROM messages WHERE number <= 1000"
    )
    place.query("UPDATE indexed SET through = 1000 WHERE name = 'messages'")
    server = Server(place)
    try:
        assert waiting(server) == 0
        assert_index_is_exact(place)
        server.accepted(ADD_MESSAGES, sessionId="ada-s", messages=[{"role": "USER", "content": "zebra last"}])
        edges = found(server, "zebra last", userId="ada")
        assert (len(edges), edges[0]["node"]["content"]) == (100, "zebra last")
        server.accepted(CREATE_DOCUMENT, userId="ada", title="zebra", content="x")
        server.accepted(DELETE_USER, userId="ada")
        index_now(server)
        assert_index_is_exact(place)
    finally:
        server.close()


@pytest.fixture
def long_texts(server: Server) -> Server:
    filler = "filler words of a long text " * 36_000
    fill(server.place, "ada", [f"zebra {number} {filler}" for number in range(60)])
    return server


def test_long_texts_are_read_a_few_at_a_time(long_texts: Server) -> None:
    import tracemalloc

    tracemalloc.start()
    try:
        answer = long_texts.graphql('{ search(query: "zebra 7", userId: "ada", first: 1) { edges { score } } }')
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(answer["search"]["edges"]) == 1
    assert peak < 16 * 2**20, "60 MB of texts were in memory at once"


@pytest.mark.sqlite
def test_long_texts_change_the_index_outside_the_event_loop(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    def watched(text: str) -> str:
        threads.append(threading.current_thread().name)
        return index_text(text)

    monkeypatch.setattr("models.sqlite.database.index_text", watched)
    server = Server(place)
    try:
        fill(place, "ada", ["Я люблю Москву и чай " * 25_000] * 2)
        index_now(server)
        (first, second) = (edge["node"]["id"] for edge in found(server, "чай", userId="ada"))
        server.accepted(UPDATE_MESSAGE, id=first, content="une crème brûlée " * 50_000)
        server.accepted(DELETE_MESSAGE, id=second)
        assert len(threads) == 5
        assert all(name.startswith("recallql-writer") for name in threads)
        assert_index_is_exact(place)
    finally:
        server.close()


def test_after_a_kill_the_background_catches_up(place: Place, serve: Any) -> None:
    fill(place, "ada", [f"zebra {number}" for number in range(6000)])
    running = serve(place=place)
    # What an import that was killed has left waiting is found at once, and indexed soon.
    assert len(found(running, "zebra")) == 100
    wait_until(lambda: waiting(running) <= SEARCH_KINDS["MESSAGES"].late)
    assert len(found(running, "zebra")) == 100


def resident() -> int:
    """The bytes of memory that this process takes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_a_question_of_many_common_words_takes_little_memory(server: Server) -> None:
    common = "alpha bravo carbon delta engine forest garden harbor island jungle kettle ladder"
    fill(server.place, "ada", [common] * 50_000 + [f"zebra {common}"] * 20)
    index_now(server)
    before, peak, is_done = resident(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not is_done.wait(0.005):
            peak = max(peak, resident())

    with ThreadPoolExecutor(1) as watcher:
        watcher.submit(watch)
        try:
            assert len(found(server, f"zebra {common}", userId="ada")) == 100
        finally:
            is_done.set()
    assert peak - before < 18 * 2**20, "600,000 numbers were sorted in memory"
