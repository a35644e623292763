"""Memories that a model wrote from several messages, when one of these is deleted or edited."""

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count

import pytest

from tests.documents import ADD_MESSAGES, DELETE_MEMORY, DELETE_MESSAGE, DELETE_MESSAGES, UPDATE_MEMORY, UPDATE_MESSAGE
from tests.forming import (
    add,
    answer,
    done,
    fact,
    forming,
    jobs,
    known,
    said,
    shorten_pauses,
    shown,
    summary,
)
from tests.model_server import Json, ModelServer
from tests.places import Place
from tests.plans import plans, scans
from tests.servers import Server

FOUND = """{ user(userId: "ada") { context(query: "boat") { text }
  memories(filter: {history: true}) { nodes { id content sources { nodes { ... on Message { id } } } } } }
  search(query: "boat", scope: [MEMORIES]) { nodes { ... on Memory { content } } } }"""


def together(body: Json) -> str:
    """A model that writes one memory, and one summary, of all that it is sent."""
    told = shown(body)
    words = [turn["content"] for turn in told["messages"]]
    sequences = [turn["sequence"] for turn in told["messages"]]
    before = [] if told["summary"] is None else [told["summary"]]
    return answer(fact(f"Boat: {' '.join(words)}", *sequences), summary=" ".join([*before, *words]))


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_pauses(monkeypatch)


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with closing(ModelServer(together)) as running:
        yield running


@pytest.fixture
def ada(model: ModelServer, place: Place) -> Iterator[Server]:
    with forming(model, place) as running:
        yield running


def sent(model: ModelServer) -> list[list[int]]:
    """The sequences of the messages in each request."""
    return [[turn["sequence"] for turn in shown(asked.body)["messages"]] for asked in model.asked]


def sources(memory: Json) -> list[int]:
    return [source["sequence"] for source in memory["sources"]["nodes"]]


WAYS: dict[str, Callable[[Server, str], object]] = {
    "deleteMessage": lambda server, id: server.accepted(DELETE_MESSAGE, id=id),
    "deleteMessages": lambda server, id: server.accepted(DELETE_MESSAGES, sessionId="chat", toSequence=1),
    "updateMessage": lambda server, id: server.accepted(UPDATE_MESSAGE, id=id, content="teal"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_memory_of_several_messages_goes_at_once_and_is_formed_again(
    ada: Server, model: ModelServer, way: str
) -> None:
    first, _, _ = add(ada, "crimson", "fast", "wooden")
    done(ada)
    assert said(ada) == ["Boat: crimson fast wooden"]
    model.hold.clear()
    WAYS[way](ada, first)
    model.wait_for(2)
    found = ada.graphql(FOUND)
    assert (found["user"]["memories"]["nodes"], found["search"]["nodes"], summary(ada)) == ([], [], None)
    assert "crimson" not in str([found["user"]["context"]["text"], ada.tables()["memories"]])
    assert ada.graphql('{ session(sessionId: "chat") { memoriesPending } }')["session"]["memoriesPending"]
    model.hold.set()
    done(ada)
    words, left = ("teal fast wooden", [1, 2, 3]) if way == "updateMessage" else ("fast wooden", [2, 3])
    (memory,) = known(ada, history=True)
    assert (memory["content"], memory["method"], sources(memory)) == (f"Boat: {words}", "MODEL", left)
    assert summary(ada) == words
    assert sent(model) == [[1, 2, 3], left]
    assert "crimson" not in str(ada.tables()["memories"])


def test_a_memory_of_two_sessions_is_formed_again_from_both(ada: Server, model: ModelServer) -> None:
    model.chat = lambda body: answer(fact("Ada has a boat.", *[turn["sequence"] for turn in shown(body)["messages"]]))
    first, _ = add(ada, "one", "two")
    add(ada, "three", session="other")
    done(ada)
    # The two sessions are read in any order.
    assert [sorted(sources(memory)) for memory in known(ada)] == [[1, 1, 2]]
    model.chat = together
    ada.accepted(DELETE_MESSAGE, id=first)
    done(ada)
    assert {(memory["content"], memory["session"]["sessionId"]) for memory in known(ada, history=True)} == {
        ("Boat: two", "chat"),
        ("Boat: three", "other"),
    }


def test_nothing_is_read_again_when_all_sources_are_deleted(ada: Server, model: ModelServer) -> None:
    add(ada, "one", "two")
    done(ada)
    ada.accepted(DELETE_MESSAGES, sessionId="chat")
    assert (jobs(ada), ada.tables()["memories"], len(model.asked)) == ([], [], 1)


def test_a_corrected_memory_loses_the_source_and_stays(ada: Server, model: ModelServer) -> None:
    first, second = add(ada, "one", "two")
    done(ada)
    (memory,) = [row for row in ada.graphql(FOUND)["user"]["memories"]["nodes"] if row["content"] == "Boat: one two"]
    ada.accepted(UPDATE_MEMORY, id=memory["id"], content="A boat, it is.")
    ada.accepted(UPDATE_MESSAGE, id=second, content="too")
    done(ada)
    ada.accepted(DELETE_MESSAGE, id=first)
    done(ada)
    found = {memory["content"]: sources(memory) for memory in known(ada, history=True)}
    assert found == {"A boat, it is.": [2], "Boat: too": [2]}


def test_what_was_withheld_is_not_formed_again(ada: Server, model: ModelServer) -> None:
    model.chat = lambda body: answer(
        *(fact(word, *[turn["sequence"] for turn in shown(body)["messages"]]) for word in ("red", "fast"))
    )
    first, _ = add(ada, "one", "two")
    done(ada)
    ids = {memory["content"]: memory["id"] for memory in ada.graphql(FOUND)["user"]["memories"]["nodes"]}
    ada.accepted(DELETE_MEMORY, id=ids["red"])
    ada.accepted(DELETE_MESSAGE, id=first)
    done(ada)
    assert said(ada, history=True) == ["fast"]


def test_without_a_model_the_memory_and_the_summary_go_for_good(ada: Server) -> None:
    first, _ = add(ada, "one", "two")
    done(ada)
    ada.close()
    with closing(Server(ada.place)) as server:
        server.accepted(DELETE_MESSAGE, id=first)
        assert (server.tables()["memories"], jobs(server), summary(server)) == ([], [], None)


def test_what_is_superseded_neither_stays_nor_comes_back(ada: Server, model: ModelServer) -> None:
    model.chat = lambda body: answer(fact("Ada's boat is red.", 1, 2))
    first, _ = add(ada, "red", "boat")
    done(ada)
    model.chat = lambda body: answer(fact("Ada's boat is blue.", 3, replaces=[1]))
    add(ada, "blue")
    done(ada)
    assert said(ada) == ["Ada's boat is blue."]
    ada.accepted(DELETE_MESSAGE, id=first)
    assert jobs(ada) == []
    assert said(ada, history=True) == ["Ada's boat is blue."]


def test_a_message_that_is_read_again_does_not_revive_what_it_said_before(ada: Server, model: ModelServer) -> None:
    model.chat = lambda body: answer(fact("Ada's boat is red.", 2), fact("Bo sails with Ada.", 1, 2))
    first, _ = add(ada, "Bo", "red")
    done(ada)
    model.chat = lambda body: answer(fact("Ada's boat is blue.", 3, replaces=[2]))
    add(ada, "blue")
    done(ada)
    assert sorted(said(ada)) == ["Ada's boat is blue.", "Bo sails with Ada."]
    model.chat = lambda body: answer(fact("Ada's boat is red.", 2), fact("Ada sails.", 2))
    ada.accepted(DELETE_MESSAGE, id=first)
    done(ada)
    assert sorted(said(ada)) == ["Ada sails.", "Ada's boat is blue."]
    (ended,) = [memory for memory in shown(model.asked[-1].body)["memories"] if "until" in memory]
    assert (ended["content"], "number" in ended) == ("Ada's boat is red.", False)


@pytest.mark.parametrize("way", WAYS)
def test_what_belongs_to_a_finding_that_is_dropped_is_read_again(ada: Server, model: ModelServer, way: str) -> None:
    model.hold.clear()
    first, _ = add(ada, "crimson", "fast")
    model.wait_for(1)
    WAYS[way](ada, first)
    model.hold.set()
    done(ada)
    assert said(ada, history=True) == ["Boat: teal fast" if way == "updateMessage" else "Boat: fast"]
    assert "crimson" not in str(ada.tables()["memories"])


def test_an_answer_that_knows_a_memory_that_is_gone_meanwhile_is_asked_for_again(
    ada: Server, model: ModelServer
) -> None:
    """The model may have left out what the memory said, or have repeated it."""
    first, _ = add(ada, "crimson", "fast")
    done(ada)
    model.chat = lambda body: answer(
        fact(
            f"Knows: {[memory['content'] for memory in shown(body)['memories']]}",
            shown(body)["messages"][0]["sequence"],
        )
    )
    model.hold.clear()
    add(ada, "wooden")
    model.wait_for(2)
    ada.accepted(DELETE_MESSAGE, id=first)
    model.hold.set()
    done(ada)
    assert sent(model) == [[1, 2], [3], [2, 3]]
    assert "crimson" not in str(ada.tables()["memories"])


def test_a_summary_goes_with_an_early_message_that_it_no_longer_names(ada: Server, model: ModelServer) -> None:
    written = count()
    model.chat = lambda body: answer(summary=f"up to {shown(body)['messages'][-1]['sequence']}: {next(written)}")
    ids = [id for n in range(4) for id in add(ada, *[f"turn {30 * n + i}" for i in range(30)])]
    done(ada)
    named = (
        '{ session(sessionId: "chat") { summary { sources(first: 100) { nodes { ... on Message { sequence } } } } } }'
    )
    nodes = ada.graphql(named)["session"]["summary"]["sources"]["nodes"]
    assert [node["sequence"] for node in nodes] == list(range(21, 121))
    asked = len(model.asked)
    model.hold.clear()
    ada.accepted(DELETE_MESSAGE, id=ids[0])
    assert summary(ada) is None
    model.hold.set()
    done(ada)
    assert (summary(ada) or "").startswith("up to 120: ")
    assert sent(model)[asked:] == [list(range(n, min(n + 30, 121))) for n in range(21, 121, 30)]
    # The edited message is read, however many others are.
    asked = len(model.asked)
    ada.accepted(UPDATE_MESSAGE, id=ids[1], content="edited")
    done(ada)
    assert [n for batch in sent(model)[asked:] for n in batch] == [2, *range(21, 121)]


def test_long_messages_are_read_again_in_several_questions(ada: Server, model: ModelServer) -> None:
    said_once = count()
    model.chat = lambda body: answer(summary=f"summary {next(said_once)}")
    ids = add(ada, *["long " * 1000] * 12)
    done(ada)
    asked = len(model.asked)
    ada.accepted(DELETE_MESSAGE, id=ids[0])
    done(ada)
    assert sent(model)[asked:] == [list(range(2, 8)), list(range(8, 13))]


@pytest.mark.sqlite
def test_a_deletion_without_memories_takes_no_statement_more_and_goes_by_indexes(server: Server) -> None:
    said = [{"role": "USER", "content": "Hello."}]
    payload = server.accepted(ADD_MESSAGES, sessionId="chat", messages=said, formMemories=False)
    seen: list[str] = []
    server.app.state.database.listener = seen.append
    server.accepted(DELETE_MESSAGE, id=payload["messages"][0]["id"])
    server.app.state.database.listener = None
    assert len(seen) == 6, seen
    assert [step for plan in plans(server.path, seen).values() for step in scans(plan)] == []
