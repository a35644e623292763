"""Calls of tools and their answers in contexts: together or not at all, matched by ids."""

from itertools import product
from typing import Any

import pytest

from tests.contexts import FRAMED, of_session, sequences
from tests.documents import DELETE_MESSAGE
from tests.searches import add
from tests.servers import Server

ASKED = {"content": "How is the weather?", "tokenCount": 10 - FRAMED}
SAID = {"role": "ASSISTANT", "content": "It is sunny.", "tokenCount": 10 - FRAMED}


def call(*ids: str, **fields: Any) -> dict[str, Any]:
    calls = [{"id": id, "type": "function", "function": {"name": "weather", "arguments": "{}"}} for id in ids]
    return {"role": "ASSISTANT", "content": "", "toolCalls": calls, "tokenCount": 10 - FRAMED, **fields}


def answer(id: str, content: str = "sunny", **fields: Any) -> dict[str, Any]:
    return {"role": "TOOL", "content": content, "toolCallId": id, "tokenCount": 10 - FRAMED, **fields}


def blocks(role: str, kind: str, *ids: str) -> dict[str, Any]:
    """Calls or answers as Anthropic writes them."""
    named = {"tool_use": "id", "tool_result": "tool_use_id"}[kind]
    parts = [{"type": kind, named: id, "name": "weather", "input": {}, "content": "sunny"} for id in ids]
    return {"role": role, "content": "", "parts": parts, "tokenCount": 10 - FRAMED}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([ASKED, call("a"), answer("a"), SAID], [1, 2, 3, 4]),
        ([ASKED, call("a", "b"), answer("b"), answer("a"), SAID], [1, 2, 3, 4, 5]),
        ([ASKED, call("a", "b"), answer("b"), SAID], [1, 4]),
        ([ASKED, call("a"), SAID, answer("a"), ASKED], [1, 2, 3, 4, 5]),
        ([ASKED, call("a"), ASKED, SAID], [1, 3, 4]),
        ([answer("a"), ASKED], [2]),
        ([ASKED, answer("other"), call("a"), answer("a")], [1, 3, 4]),
        ([ASKED, call("a"), answer("b"), SAID], [1, 4]),
        ([ASKED, call("a"), answer("a"), call("a"), answer("a"), SAID], [1, 2, 3, 4, 5, 6]),
        ([ASKED, call("a"), call("a"), answer("a"), SAID], [1, 3, 4, 5]),
        ([ASKED, answer("a"), call("a"), SAID], [1, 4]),
        ([ASKED, {"role": "TOOL", "content": "sunny"}, SAID], [1, 3]),
        ([ASKED, call("a")], [1, 2]),
        ([ASKED, call("a", "b"), answer("a")], [1, 2, 3]),
        ([ASKED, call("a"), call("b")], [1, 3]),
        ([ASKED, call("a"), call("b"), answer("b")], [1, 3, 4]),
        ([ASKED, blocks("ASSISTANT", "tool_use", "a"), blocks("USER", "tool_result", "a"), SAID], [1, 2, 3, 4]),
        ([ASKED, blocks("ASSISTANT", "tool_use", "a", "b"), blocks("USER", "tool_result", "b"), SAID], [1, 4]),
        ([ASKED, blocks("USER", "tool_result", "a"), SAID], [1, 3]),
        ([ASKED, blocks("ASSISTANT", "tool_use", "a")], [1, 2]),
    ],
)
@pytest.mark.parametrize("overflow", ["TRUNCATE", "ADAPTIVE", "ERROR"])
def test_no_call_stands_without_its_answers_and_no_answer_without_its_call(
    server: Server, said: list[dict[str, Any]], expected: list[int], overflow: str
) -> None:
    add(server, "now", *said)
    context = of_session(server, "now", overflow=overflow)
    assert sequences(context) == expected
    assert context["droppedMessages"] == len(said) - len(expected)


def test_a_function_without_an_id_is_matched_by_its_name(server: Server) -> None:
    named = {"role": "ASSISTANT", "content": "", "toolCalls": [{"name": "weather", "arguments": {}}]}
    add(server, "now", ASKED, named, {"role": "FUNCTION", "name": "weather", "content": "sunny"}, SAID)
    add(server, "other", ASKED, named, {"role": "FUNCTION", "name": "news", "content": "none"}, SAID)
    assert sequences(of_session(server, "now")) == [1, 2, 3, 4]
    assert sequences(of_session(server, "other")) == [1, 2, 4]


def test_no_budget_and_no_number_of_messages_parts_a_call_from_its_answers(server: Server) -> None:
    said = [ASKED, call("a", "b"), answer("a"), ASKED, answer("b"), SAID, call("c"), answer("c"), SAID, ASKED]
    add(server, "now", *said)
    for overflow, number in product(("TRUNCATE", "ADAPTIVE"), range(1, 11)):
        for asked in ({"budget": number * 10}, {"last": number}):
            there = set(sequences(of_session(server, "now", overflow=overflow, **asked)))
            assert there & {2, 3, 5} in (set(), {2, 3, 5}), asked
            assert there & {7, 8} in (set(), {7, 8}), asked
            assert 10 in there
    assert sequences(of_session(server, "now", last=4)) == [7, 8, 9, 10]
    assert sequences(of_session(server, "now", last=3)) == [9, 10]


def test_what_was_deleted_takes_the_rest_of_its_exchange_with_it(server: Server) -> None:
    for gone, expected in ((1, [1, 5]), (2, [1, 5]), (3, [1, 5])):
        ids = add(server, f"s{gone}", ASKED, call("a", "b"), answer("a"), answer("b"), SAID)
        server.accepted(DELETE_MESSAGE, id=ids[gone])
        assert sequences(of_session(server, f"s{gone}")) == expected
    # The last call is open again.
    ids = add(server, "open", ASKED, call("a"), answer("a"))
    server.accepted(DELETE_MESSAGE, id=ids[2])
    assert sequences(of_session(server, "open")) == [1, 2]


def test_an_answer_that_is_too_large_is_quoted_without_its_call(server: Server) -> None:
    large = " ".join(f"Day {day} is sunny." for day in range(500))
    add(server, "now", ASKED, call("a"), answer("a", large, tokenCount=3000))
    context = of_session(server, "now", budget=300)
    assert sequences(context) == [1]
    assert "Tool: " in context["text"]
    assert "is sunny" in context["text"]
    assert [message["sequence"] for message in context["recalled"]] == [3]
