"""The messages of a session in a context: by the time they were said; one that is too large is cut."""

import pytest

from tests.contexts import FRAMED, of_session, sequences, session, turns
from tests.searches import add
from tests.servers import Server


def test_a_message_that_comes_late_stands_where_it_was_said(server: Server) -> None:
    new = [{"content": f"new {n}", "createdAt": f"2026-02-0{n}T10:00:00Z"} for n in (1, 2)]
    old = [{"content": f"old {n}", "createdAt": f"2025-02-0{n}T10:00:00Z"} for n in (1, 2)]
    add(server, "now", *new)
    add(server, "now", *old)
    context = of_session(server, "now")
    assert [message["content"] for message in context["messages"]] == ["old 1", "old 2", "new 1", "new 2"]
    assert sequences(of_session(server, "now", last=2)) == [1, 2]
    assert sequences(of_session(server, "now", last=3)) == [4, 1, 2]
    truncated = of_session(server, "now", budget=3 * context["messages"][0]["tokenCount"] + 3 * FRAMED + 1)
    assert [message["content"] for message in truncated["messages"]][-2:] == ["new 1", "new 2"]


def test_messages_of_one_time_stand_in_the_order_of_their_sequence(server: Server) -> None:
    add(server, "now", *({"content": f"turn {n}", "createdAt": "2026-02-01T10:00:00Z"} for n in range(9)))
    assert sequences(of_session(server, "now")) == list(range(1, 10))
    assert sequences(of_session(server, "now", last=3, budget=15, overflow="TRUNCATE")) == [8, 9]


def test_a_backfilled_session_is_cut_by_time_where_it_is_long(server: Server) -> None:
    times = [f"2026-01-{day:02}T10:00:00Z" for day in range(28, 0, -1)]
    add(server, "now", *({**turn, "createdAt": at} for turn, at in zip(turns(28), times, strict=True)))
    assert sequences(of_session(server, "now", budget=50, overflow="TRUNCATE")) == [5, 4, 3, 2, 1]
    quoted = of_session(server, "now", asked="turn", last=20, budget=100)
    assert not {message["sequence"] for message in quoted["recalled"]} & set(range(1, 21))


@pytest.mark.parametrize("overflow", ["TRUNCATE", "ADAPTIVE"])
@pytest.mark.parametrize("budget", [60, 300, 1000])
def test_a_newest_message_larger_than_the_budget_stands_in_the_text_cut(
    server: Server, overflow: str, budget: int
) -> None:
    log = "\n".join(f"12:{line % 60:02} worker {line} has answered 200" for line in range(2000))
    large = f"{log}\nWhy does the boiler stop?\n{log}"
    add(server, "now", *turns(3), large)
    context = of_session(server, "now", budget=budget, overflow=overflow)
    assert 4 not in sequences(context)
    assert all(message["content"].startswith("turn") for message in context["messages"])
    assert context["droppedMessages"] == 4 - len(context["messages"])
    assert "cut" in context["text"]
    assert "…" in context["text"]
    assert "Why does the boiler stop?" in context["text"]
    assert [message["sequence"] for message in context["recalled"]] == [4]


@pytest.mark.parametrize("large", ["x" * 20_000, "word " * 5000, "雨が降る。" * 5000, "🦜" * 3000])
def test_any_text_can_be_cut(server: Server, large: str) -> None:
    add(server, "now", large)
    context = of_session(server, "now", budget=60)
    assert context["messages"] == []
    assert context["droppedMessages"] == 1
    assert "cut" in context["text"]
    assert "…" in context["text"]


def test_the_newest_message_comes_before_the_summary(server: Server) -> None:
    session(server)
    add(server, "now", *turns(2), {"content": "The newest.", "tokenCount": 60})
    context = of_session(server, "now", budget=70)
    assert sequences(context) == [3]


def test_a_long_message_of_the_same_session_is_quoted_by_its_best_passage(server: Server) -> None:
    filler = "\n\n".join(f"Paragraph {n} speaks of the weather and of nothing else." for n in range(100))
    add(server, "now", f"{filler}\n\nThe warranty of the boiler ends in March 2031.\n\n{filler}", *turns(30))
    context = of_session(server, "now", asked="When does the warranty of the boiler end?", budget=400)
    assert "The warranty of the boiler ends in March 2031." in context["text"]
    assert context["recalled"][0]["sequence"] == 1
    assert 1 not in sequences(context)
    assert "Paragraph 3 " not in context["text"]


def test_each_message_counts_with_its_frame_role_and_name(server: Server) -> None:
    add(server, "now", {"content": "Hello", "tokenCount": 2})
    assert of_session(server, "now")["tokenCount"] == 2 + 4
    add(server, "named", {"content": "Hello", "tokenCount": 2, "name": "Ada"})
    assert of_session(server, "named")["tokenCount"] == 2 + 4 + 1 + 1
    assert sequences(of_session(server, "named", budget=8)) == [1]
    assert sequences(of_session(server, "named", budget=7)) == []
    session(server, "text", situation="Hello")
    assert of_session(server, "text")["tokenCount"] > 4
