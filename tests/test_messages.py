"""Messages: appended in order and without gaps, once for each messageId, edited and deleted."""

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.documents import CREATE_USER, DELETE_MESSAGE, DELETE_MESSAGES, DELETE_SESSION, END_SESSION, mutation
from tests.servers import Server
from tests.sessions import instant, turn

MESSAGE = """id messageId sequence role name content parts toolCalls toolCallId metadata tokenCount
  createdAt updatedAt version"""
ADD = mutation(
    "addMessages",
    f"""session {{ sessionId }} messages {{ {MESSAGE} }} messageEdges {{ cursor node {{ id }} }}
    deduplicated""",
)
UPDATE = mutation("updateMessage", f"message {{ {MESSAGE} }}")
GET_SESSION = "query ($sessionId: String!) { session(sessionId: $sessionId) { id version updatedAt lastActivityAt } }"
PAGE = f"""query ($sessionId: String!, $first: Int, $after: String, $last: Int, $filter: MessageFilter) {{
  session(sessionId: $sessionId) {{ messages(first: $first, after: $after, last: $last, filter: $filter) {{
    nodes {{ {MESSAGE} }} pageInfo {{ hasNextPage endCursor }} totalCount
  }} }} }}"""
NODE = f"query ($id: ID!) {{ node(id: $id) {{ ... on Message {{ {MESSAGE} session {{ sessionId }} }} }} }}"


def add(server: Server, session_id: str, *messages: dict[str, Any] | str, **fields: Any) -> dict[str, Any]:
    turns = [turn(message) if isinstance(message, str) else message for message in messages]
    return server.accepted(ADD, sessionId=session_id, messages=turns, formMemories=False, **fields)


def refused(server: Server, session_id: str, *messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return server.refused(ADD, sessionId=session_id, messages=list(messages), **fields)


def stored(server: Server, session_id: str, **arguments: Any) -> list[dict[str, Any]]:
    """All messages of a session, page by page, which totalCount must agree with."""
    messages: list[dict[str, Any]] = []
    after = None
    while True:
        page = server.graphql(PAGE, sessionId=session_id, first=100, after=after, **arguments)["session"]["messages"]
        messages += page["nodes"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            assert page["totalCount"] == len(messages)
            return messages


def contents(server: Server, session_id: str, **filters: Any) -> list[str]:
    return [message["content"] for message in stored(server, session_id, filter=filters or None)]


def sequences(messages: list[dict[str, Any]]) -> list[int]:
    return [message["sequence"] for message in messages]


def test_messages_are_appended_in_their_order(server: Server) -> None:
    first = add(server, "s", "one", "two")
    second = add(server, "s", "three")
    assert [(m["sequence"], m["content"]) for m in first["messages"]] == [(1, "one"), (2, "two")]
    assert [(m["sequence"], m["content"]) for m in second["messages"]] == [(3, "three")]
    assert (first["deduplicated"], second["deduplicated"]) == (0, 0)
    assert stored(server, "s") == first["messages"] + second["messages"]


def test_a_message_is_stored_with_what_the_application_gives(server: Server) -> None:
    given = {
        "messageId": "m-1",
        "role": "ASSISTANT",
        "name": "Bot",
        "content": "See the picture. 😀\n\ttab",
        "parts": [
            {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
            {"type": "file", "n": None},
        ],
        "toolCalls": [{"id": "call-1", "function": {"name": "search", "arguments": '{"q": "é"}'}}],
        "toolCallId": "call-0",
        "metadata": {"model": "x", "n": {"m": [1, None, True]}},
        "tokenCount": 42,
        "createdAt": "2020-01-02T03:04:05.123456Z",
    }
    (message,) = add(server, "s", given)["messages"]
    assert {field: message[field] for field in given} == given
    assert (message["sequence"], message["version"]) == (1, 1)
    assert server.graphql(NODE, id=message["id"])["node"] == message | {"session": {"sessionId": "s"}}


def test_a_message_that_is_given_nothing_else_has_its_defaults(server: Server) -> None:
    (message,) = add(server, "s", "hello there")["messages"]
    empty = ("messageId", "name", "parts", "toolCalls", "toolCallId")
    assert [message[field] for field in empty] == [None] * len(empty)
    assert (message["metadata"], message["version"]) == ({}, 1)
    assert message["tokenCount"] > 0
    assert message["createdAt"].endswith("Z")
    (nulls,) = add(server, "s", turn("x") | dict.fromkeys([*empty, "metadata", "tokenCount", "createdAt"], None))[
        "messages"
    ]
    assert ([nulls[field] for field in empty], nulls["metadata"]) == ([None] * len(empty), {})


def test_every_role_is_kept(server: Server) -> None:
    roles = ["SYSTEM", "DEVELOPER", "USER", "ASSISTANT", "TOOL", "FUNCTION"]
    added = add(server, "s", *[turn(role, role=role) for role in roles])["messages"]
    assert [message["role"] for message in added] == roles
    assert [message["role"] for message in stored(server, "s")] == roles


def test_parts_and_tool_calls_may_be_any_json(server: Server) -> None:
    values = [[], {}, [1], {"a": None}, "text", 0, False, [[{"é": "😀"}]], {"n": 2**53 + 1, "f": 0.5}]
    for number, value in enumerate(values):
        (message,) = add(server, "s", turn("x", parts=value, toolCalls=value))["messages"]
        assert (message["parts"], message["toolCalls"]) == (value, value)
        assert repr(stored(server, "s")[number]["parts"]) == repr(value)


def test_messages_are_listed_by_sequence_whatever_their_creation_time(server: Server) -> None:
    times = [f"2020-01-0{day}T00:00:00Z" for day in (3, 1, 2)]
    messages = add(server, "s", *[turn(time, createdAt=time) for time in times])["messages"]
    assert [instant(message["createdAt"]) for message in messages] == [instant(time) for time in times]
    assert contents(server, "s") == times


def test_the_last_messages_are_the_newest_page_oldest_first(server: Server) -> None:
    add(server, "s", *[f"turn {number}" for number in range(1, 31)])
    page = server.graphql(PAGE, sessionId="s", last=20)["session"]["messages"]
    assert sequences(page["nodes"]) == list(range(11, 31))
    assert sequences(server.graphql(PAGE, sessionId="s")["session"]["messages"]["nodes"]) == list(range(1, 21))


def test_the_edges_of_a_payload_say_where_reading_goes_on(server: Server) -> None:
    payload = add(server, "s", "one", "two", "three")
    edges = payload["messageEdges"]
    assert [edge["node"]["id"] for edge in edges] == [message["id"] for message in payload["messages"]]
    add(server, "s", "four")
    rest = server.graphql(PAGE, sessionId="s", first=10, after=edges[1]["cursor"])["session"]["messages"]["nodes"]
    assert sequences(rest) == [3, 4]


def test_messages_are_filtered_by_role_time_and_metadata(server: Server) -> None:
    add(
        server,
        "s",
        turn("a", role="SYSTEM", createdAt="2020-01-01T00:00:00Z", metadata={"k": {"x": 1, "y": 2}}),
        turn("b", role="USER", createdAt="2020-01-02T00:00:00Z", metadata={"k": [1, 2], "flag": True}),
        turn("c", role="ASSISTANT", createdAt="2020-01-03T00:00:00Z", metadata={"flag": 1}),
    )
    assert contents(server, "s", roles=["USER"]) == ["b"]
    assert contents(server, "s", roles=["ASSISTANT", "SYSTEM"]) == ["a", "c"]
    assert contents(server, "s", roles=["TOOL"]) == []
    assert contents(server, "s", createdAt={"since": "2020-01-02T00:00:00Z"}) == ["b", "c"]
    assert contents(server, "s", createdAt={"since": "2020-01-02T00:00:00Z", "until": "2020-01-03T00:00:00Z"}) == ["b"]
    assert contents(server, "s", metadata={"k": {"x": 1}}) == ["a"]
    assert contents(server, "s", metadata={"k": [2]}) == ["b"]
    assert contents(server, "s", metadata={"flag": True}) == ["b"]
    assert contents(server, "s", metadata={"flag": 1}) == ["c"]
    assert contents(server, "s", metadata={"flag": True}, roles=["ASSISTANT"]) == []


def test_sequences_of_sessions_are_independent(server: Server) -> None:
    for number in range(1, 4):
        for session_id in ("a", "b"):
            assert sequences(add(server, session_id, "x")["messages"]) == [number]


def test_twenty_clients_appending_to_one_session_leave_no_gap(server: Server) -> None:
    def client(number: int) -> list[tuple[list[str], list[int]]]:
        chance = random.Random(number)
        batches = []
        for batch in range(5):
            sent = [f"{number}.{batch}.{place}" for place in range(chance.randint(1, 4))]
            messages = add(server, "s", *sent)["messages"]
            assert [message["content"] for message in messages] == sent
            batches.append((sent, sequences(messages)))
        return batches

    with ThreadPoolExecutor(20) as pool:
        of_clients = list(pool.map(client, range(20)))
    expected: dict[int, str] = {}
    for batches in of_clients:
        previous = 0
        for sent, numbers in batches:
            assert numbers == list(range(numbers[0], numbers[0] + len(sent))), "a batch does not stand together"
            assert numbers[0] > previous, "a later batch of one client stands before its earlier one"
            previous = numbers[-1]
            expected |= dict(zip(numbers, sent, strict=True))
    found = stored(server, "s")
    assert sequences(found) == list(range(1, len(found) + 1))
    assert {message["sequence"]: message["content"] for message in found} == expected


def test_a_refused_batch_leaves_no_gap(server: Server) -> None:
    add(server, "s", "one")
    refused(server, "s", turn("fine"), turn("nul \0"))
    assert sequences(add(server, "s", "two")["messages"]) == [2]


def test_refused_batches_leave_no_gap_among_concurrent_ones(server: Server) -> None:
    def client(number: int) -> None:
        messages = [turn(f"{number}.0"), turn(f"{number}.1 \0" if number % 2 else f"{number}.1")]
        payload = server.graphql(ADD, input={"sessionId": "s", "messages": messages})["addMessages"]
        assert bool(payload["userErrors"]) == bool(number % 2)

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(client, range(40)))
    found = stored(server, "s")
    assert sequences(found) == list(range(1, 41))
    assert {message["content"] for message in found} == {
        f"{number}.{part}" for number in range(0, 40, 2) for part in (0, 1)
    }


def test_a_retry_is_deduplicated(server: Server) -> None:
    batch = [turn("one", "m-1"), turn("two", "m-2", metadata={"a": 1})]
    first = add(server, "s", *batch)
    second = add(server, "s", *batch)
    assert (first["deduplicated"], second["deduplicated"]) == (0, 2)
    assert second["messages"] == first["messages"]
    assert second["messageEdges"] == first["messageEdges"]
    assert stored(server, "s") == first["messages"]


def test_a_batch_of_known_and_new_messages_answers_in_the_order_of_the_input(server: Server) -> None:
    one, two = add(server, "s", turn("one", "m-1"), turn("two", "m-2"))["messages"]
    payload = add(
        server, "s", turn("three", "m-3"), turn("two", "m-2"), turn("four"), turn("one", "m-1"), turn("five", "m-5")
    )
    assert payload["deduplicated"] == 2
    assert [m["content"] for m in payload["messages"]] == ["three", "two", "four", "one", "five"]
    assert sequences(payload["messages"]) == [3, 2, 4, 1, 5]
    assert (payload["messages"][1], payload["messages"][3]) == (two, one)
    assert [edge["node"]["id"] for edge in payload["messageEdges"]] == [m["id"] for m in payload["messages"]]
    assert contents(server, "s") == ["one", "two", "three", "four", "five"]


def test_twenty_clients_retrying_one_batch_store_it_once(server: Server) -> None:
    batch = [turn(f"turn {number}", f"m-{number}") for number in range(3)]
    with ThreadPoolExecutor(20) as pool:
        payloads = list(pool.map(lambda _: add(server, "s", *batch), range(20)))
    assert sorted(payload["deduplicated"] for payload in payloads) == [0] + [3] * 19
    assert all(payload["messages"] == payloads[0]["messages"] for payload in payloads)
    assert sequences(stored(server, "s")) == [1, 2, 3]


@pytest.mark.parametrize(
    "change",
    [
        {"role": "ASSISTANT"},
        {"name": "Someone else"},
        {"name": None},
        {"content": "something else"},
        {"content": "Hello"},
        {"parts": [{"type": "image", "n": 2}]},
        {"parts": None},
        {"toolCalls": [{"id": "2"}]},
        {"toolCalls": []},
        {"toolCallId": "other"},
        {"toolCallId": None},
    ],
    ids=repr,
)
def test_a_known_message_id_with_other_content_is_a_conflict(server: Server, change: dict[str, Any]) -> None:
    message = turn(
        "hello", "m-1", name="Ada", parts=[{"type": "image", "n": 1}], toolCalls=[{"id": "1"}], toolCallId="call"
    )
    before = add(server, "s", message)["messages"]
    error = refused(server, "s", turn("new", "m-0"), message | change, turn("newer", "m-2"))
    assert error["code"] == "CONFLICT"
    assert error["path"][:2] == ["messages", "1"]
    assert stored(server, "s") == before
    assert add(server, "s", message)["deduplicated"] == 1
    assert sequences(add(server, "s", turn("new", "m-0"))["messages"]) == [2]


def test_a_retry_is_known_by_whatever_json_it_carries(server: Server) -> None:
    parts = [{"b": 1e16, "a": 12345678901234567890123, "c": [1.0, -0.0, 1e-7], "d": {"é": None, "": True}}, "x"]
    calls = [{"id": "c", "function": {"name": "f", "arguments": '{"n": 1}'}}]
    sent = turn("look", "m1", role="ASSISTANT", parts=parts, toolCalls=calls)
    add(server, "s", sent)
    assert add(server, "s", sent)["deduplicated"] == 1
    for other in ({"parts": [*parts, 1]}, {"toolCalls": []}, {"parts": None}):
        assert refused(server, "s", sent | other)["code"] == "CONFLICT"


def test_a_retry_with_other_metadata_or_times_is_given_what_is_stored(server: Server) -> None:
    message = turn("hello", "m-1", metadata={"attempt": 1}, tokenCount=3, createdAt="2020-01-01T00:00:00Z")
    before = add(server, "s", message)["messages"]
    again = add(server, "s", turn("hello", "m-1", metadata={"attempt": 2}, tokenCount=4))
    assert (again["deduplicated"], again["messages"]) == (1, before)
    assert stored(server, "s") == before


def test_an_edited_message_is_still_deduplicated_as_first_sent(server: Server) -> None:
    (message,) = add(server, "s", turn("first", "m-1"))["messages"]
    edited = server.accepted(UPDATE, id=message["id"], content="edited")["message"]
    again = add(server, "s", turn("first", "m-1"))
    assert (again["deduplicated"], again["messages"]) == (1, [edited])
    assert refused(server, "s", turn("edited", "m-1"))["code"] == "CONFLICT"
    assert contents(server, "s") == ["edited"]


def test_the_id_of_a_deleted_message_is_a_conflict(server: Server) -> None:
    one, _, _ = add(server, "s", turn("one", "m-1"), turn("two", "m-2"), turn("three", "m-3"))["messages"]
    server.accepted(DELETE_MESSAGE, id=one["id"])
    server.accepted(DELETE_MESSAGES, sessionId="s", fromSequence=2, toSequence=2)
    for message in (turn("one", "m-1"), turn("other", "m-1"), turn("two", "m-2")):
        error = refused(server, "s", turn("new"), message)
        assert (error["code"], error["path"][:2]) == ("CONFLICT", ["messages", "1"])
    assert add(server, "s", turn("three", "m-3"))["deduplicated"] == 1
    assert contents(server, "s") == ["three"]


@pytest.mark.parametrize("permanently", [False, True], ids=["softly", "permanently"])
def test_message_ids_are_free_again_after_their_session_was_deleted(server: Server, permanently: bool) -> None:
    old = add(server, "s", turn("one", "m-1"), turn("two", "m-2"))["messages"]
    server.accepted(DELETE_SESSION, sessionId="s", permanently=permanently)
    payload = add(server, "s", turn("one", "m-1"), turn("other", "m-2"))
    assert payload["deduplicated"] == 0
    if not permanently:
        assert {m["id"] for m in payload["messages"]}.isdisjoint(m["id"] for m in old)
    assert contents(server, "s") == ["one", "other"]
    assert add(server, "s", turn("other", "m-2"))["deduplicated"] == 1


def test_a_batch_of_known_messages_succeeds_in_an_ended_session(server: Server) -> None:
    batch = [turn("one", "m-1"), turn("two", "m-2")]
    before = add(server, "s", *batch)["messages"]
    server.accepted(END_SESSION, sessionId="s")
    again = add(server, "s", *batch)
    assert (again["deduplicated"], again["messages"]) == (2, before)
    assert refused(server, "s", *batch, turn("three", "m-3"))["code"] == "SESSION_ENDED"
    assert refused(server, "s", turn("without an id"))["code"] == "SESSION_ENDED"
    assert stored(server, "s") == before


def test_a_message_id_twice_in_one_batch_is_one_message(server: Server) -> None:
    payload = add(server, "s", turn("one", "m-1"), turn("between"), turn("one", "m-1"))
    assert payload["deduplicated"] == 1
    assert payload["messages"][0] == payload["messages"][2]
    assert sequences(payload["messages"]) == [1, 2, 1]
    assert contents(server, "s") == ["one", "between"]


def test_a_message_id_twice_in_one_batch_with_other_content_is_a_conflict(server: Server) -> None:
    error = refused(server, "s", turn("one", "m-1"), turn("other", "m-1"))
    assert error["code"] == "CONFLICT"
    assert server.graphql(GET_SESSION, sessionId="s")["session"] is None


def test_message_ids_are_unique_only_in_their_session(server: Server) -> None:
    a = add(server, "a", turn("one", "m-1"))
    b = add(server, "b", turn("other", "m-1"))
    assert (a["deduplicated"], b["deduplicated"]) == (0, 0)
    assert (contents(server, "a"), contents(server, "b")) == (["one"], ["other"])


def test_message_ids_are_byte_exact_and_have_1_to_512_characters(server: Server) -> None:
    keys = ["M", "m", "m ", "\u00e9", "e\u0301", "😀" * 512]
    payload = add(server, "s", *[turn(key, key) for key in keys])
    assert [message["messageId"] for message in payload["messages"]] == keys
    assert add(server, "s", *[turn(key, key) for key in keys])["deduplicated"] == len(keys)
    error = refused(server, "s", turn("fine"), turn("x", ""))
    assert (error["code"], error["path"]) == ("INVALID", ["messages", "1", "messageId"])
    error = refused(server, "s", turn("x", "x" * 513))
    assert error["code"] in ("INVALID", "TOO_LARGE")
    assert error["path"] == ["messages", "0", "messageId"]


def test_the_session_id_of_a_batch_has_1_to_512_characters(server: Server) -> None:
    assert refused(server, "", turn())["path"] == ["sessionId"]
    assert refused(server, "x" * 513, turn())["path"] == ["sessionId"]
    assert add(server, "é" * 512, "hello")["session"]["sessionId"] == "é" * 512


def test_a_batch_has_1_to_100_messages(server: Server) -> None:
    error = refused(server, "s")
    assert (error["code"], error["path"]) == ("INVALID", ["messages"])
    error = refused(server, "s", *[turn(str(number)) for number in range(101)])
    assert error["code"] in ("INVALID", "TOO_LARGE")
    assert error["path"] == ["messages"]
    assert server.graphql(GET_SESSION, sessionId="s")["session"] is None
    assert sequences(add(server, "s", *map(str, range(100)))["messages"]) == list(range(1, 101))


def test_content_may_be_null_only_beside_tool_calls_or_parts(server: Server) -> None:
    left_out = {"role": "USER"}
    for message in (turn(None), left_out, turn(None, name="Ada", metadata={"a": 1}), turn(None, toolCallId="call")):
        error = refused(server, "s", turn("fine"), message)
        assert (error["code"], error["path"][:2]) == ("INVALID", ["messages", "1"])
    assert server.graphql(GET_SESSION, sessionId="s")["session"] is None
    tool_calls, parts = [{"id": "1"}], [{"type": "image"}]
    payload = add(
        server,
        "s",
        turn(None, toolCalls=tool_calls, role="ASSISTANT"),
        turn(None, parts=parts),
        left_out | {"parts": parts, "toolCalls": tool_calls},
    )
    assert [message["content"] for message in payload["messages"]] == ["", "", ""]
    assert contents(server, "s") == ["", "", ""]


def test_content_holds_1_mib_of_utf_8(server: Server) -> None:
    for text in ("x" * 2**20, "é" * 2**19):
        assert add(server, "s", text)["messages"][0]["content"] == text
    (message,) = add(server, "t", "short")["messages"]
    for text in ("x" * (2**20 + 1), "é" * (2**19 + 1)):
        error = refused(server, "t", turn("fine"), turn(text))
        assert (error["code"], error["path"]) == ("TOO_LARGE", ["messages", "1", "content"])
        error = server.refused(UPDATE, id=message["id"], content=text)
        assert (error["code"], error["path"]) == ("TOO_LARGE", ["content"])
    assert contents(server, "t") == ["short"]


def test_metadata_and_parts_of_a_message_keep_to_their_limits(server: Server) -> None:
    deep: dict[str, Any] = {}
    for _ in range(32):
        deep = {"a": deep}
    (message,) = add(server, "s", turn("x", metadata=deep["a"], parts=deep["a"]))["messages"]
    assert (message["metadata"], message["parts"]) == (deep["a"], deep["a"])
    large = {"a": "é" * 32_700}
    (message,) = add(server, "s", turn("x", metadata=large, parts=[large]))["messages"]
    assert (message["metadata"], message["parts"]) == (large, [large])
    for value in ({"a": "é" * 32_768}, deep):
        for field in ("metadata", "parts"):
            error = refused(server, "s", turn("fine"), turn("x") | {field: value})
            assert (error["code"], error["path"][:3]) == ("TOO_LARGE", ["messages", "1", field])
    for value in ([], "x", 1, True):
        error = refused(server, "s", turn("fine"), turn("x", metadata=value))
        assert (error["code"], error["path"]) == ("INVALID", ["messages", "1", "metadata"])


@pytest.mark.parametrize("character", ["\0", "\ud800"], ids=["nul", "surrogate"])
def test_what_no_database_stores_is_invalid_in_a_message(server: Server, character: str) -> None:
    text = f"before {character} after"
    for field, value in (
        ("content", text),
        ("messageId", text),
        ("name", text),
        ("toolCallId", text),
        ("metadata", {"a": [text]}),
        ("metadata", {text: 1}),
        ("parts", [{"a": text}]),
        ("parts", text),
        ("toolCalls", [{text: 1}]),
    ):
        error = refused(server, "s", turn("fine", "m-1"), turn("x") | {field: value})
        assert (error["code"], error["path"][:3]) == ("INVALID", ["messages", "1", field])
    assert server.graphql(GET_SESSION, sessionId="s")["session"] is None
    (message,) = add(server, "s", "hello")["messages"]
    assert server.refused(UPDATE, id=message["id"], content=text)["path"] == ["content"]
    assert server.refused(UPDATE, id=message["id"], metadata={"a": text})["path"][:1] == ["metadata"]


def test_a_lone_surrogate_in_the_bytes_of_a_message_is_invalid(server: Server) -> None:
    query = "mutation ($i: AddMessagesInput!) { addMessages(input: $i) { messages { id } userErrors { code path } } }"
    variables = rb'{"i": {"sessionId": "s", "messages": [{"role": "USER", "content": "lone \udc00"}]}}'
    body = b'{"query": "' + query.encode() + b'", "variables": ' + variables + b"}"
    payload = server.post(body).json()["data"]["addMessages"]
    assert payload == {"messages": [], "userErrors": [{"code": "INVALID", "path": ["messages", "0", "content"]}]}


def test_null_in_a_merge_into_the_metadata_of_a_new_message_is_kept(server: Server) -> None:
    metadata = {"a": None, "b": {"c": None}}
    assert add(server, "s", turn("x", metadata=metadata))["messages"][0]["metadata"] == metadata


def test_an_edited_message_says_so(server: Server) -> None:
    (before,) = add(server, "s", turn("before", "m-1", name="Ada", parts=[1], metadata={"a": 1}))["messages"]
    session = server.graphql(GET_SESSION, sessionId="s")["session"]
    after = server.accepted(UPDATE, id=before["id"], content="after")["message"]
    own = ("content", "version", "updatedAt", "tokenCount")
    assert {k: v for k, v in after.items() if k not in own} == {k: v for k, v in before.items() if k not in own}
    assert (after["content"], after["version"]) == ("after", 2)
    assert instant(after["updatedAt"]) > instant(before["updatedAt"])
    assert stored(server, "s") == [after]
    found = server.graphql(GET_SESSION, sessionId="s")["session"]
    assert (found["version"], found["updatedAt"]) == (session["version"], session["updatedAt"])


def test_an_update_of_a_message_keeps_what_is_left_out(server: Server) -> None:
    (before,) = add(server, "s", turn("content", metadata={"a": 1, "n": {"x": 1}}, tokenCount=9))["messages"]
    merged = server.accepted(UPDATE, id=before["id"], metadata={"b": 2, "n": {"x": None, "y": 2}})["message"]
    assert merged["metadata"] == {"a": 1, "b": 2, "n": {"y": 2}}
    assert (merged["content"], merged["tokenCount"], merged["version"]) == ("content", 9, 2)
    counted = server.accepted(UPDATE, id=before["id"], tokenCount=7)["message"]
    assert (counted["tokenCount"], counted["content"], counted["metadata"]) == (7, "content", merged["metadata"])
    replaced = server.accepted(UPDATE, id=before["id"], metadata={"z": None}, metadataMode="REPLACE")["message"]
    assert replaced["metadata"] == {"z": None}
    cleared = server.accepted(UPDATE, id=before["id"], metadata=None)["message"]
    assert (cleared["metadata"], cleared["version"]) == ({}, 5)


def test_content_that_is_required_cannot_be_cleared(server: Server) -> None:
    (message,) = add(server, "s", "hello")["messages"]
    error = server.refused(UPDATE, id=message["id"], content=None)
    assert (error["code"], error["path"]) == ("INVALID", ["content"])
    assert server.refused(UPDATE, id=message["id"], metadata=[])["code"] == "INVALID"


def test_an_update_that_changes_nothing_keeps_the_version_of_a_message(server: Server) -> None:
    (before,) = add(server, "s", turn("hello", metadata={"a": 1}, tokenCount=5))["messages"]
    for fields in ({}, {"content": "hello"}, {"metadata": {"a": 1}}, {"metadata": {"z": None}}, {"tokenCount": 5}):
        assert server.accepted(UPDATE, id=before["id"], **fields)["message"] == before
    assert stored(server, "s") == [before]


def test_an_update_of_another_version_of_a_message_is_a_conflict(server: Server) -> None:
    (message,) = add(server, "s", "1")["messages"]
    assert server.accepted(UPDATE, id=message["id"], content="2", expectedVersion=1)["message"]["version"] == 2
    for version in (1, 3):
        assert server.refused(UPDATE, id=message["id"], content="3", expectedVersion=version)["code"] == "CONFLICT"
    assert contents(server, "s") == ["2"]


def test_of_ten_clients_editing_one_version_exactly_one_succeeds(server: Server) -> None:
    (message,) = add(server, "s", "start")["messages"]

    def attempt(number: int) -> dict[str, Any]:
        fields = {"id": message["id"], "content": f"client {number}", "expectedVersion": 1}
        return server.graphql(UPDATE, input=fields)["updateMessage"]

    with ThreadPoolExecutor(10) as pool:
        payloads = list(pool.map(attempt, range(10)))
    (winner,) = [payload["message"] for payload in payloads if payload["message"]]
    assert [error["code"] for payload in payloads for error in payload["userErrors"]] == ["CONFLICT"] * 9
    assert stored(server, "s") == [winner]


def test_what_is_no_message_cannot_be_edited_or_deleted(server: Server) -> None:
    user = server.accepted(CREATE_USER, userId="ada")["user"]
    (message,) = add(server, "s", "hello", userId="ada")["messages"]
    session = server.graphql(GET_SESSION, sessionId="s")["session"]
    server.accepted(DELETE_MESSAGE, id=message["id"])
    for document in (UPDATE, DELETE_MESSAGE):
        error = server.refused(document, id=message["id"])
        assert (error["code"], error["path"]) == ("NOT_FOUND", ["id"])
        for id_ in (user["id"], session["id"], "", "none of ours", "s"):
            error = server.refused(document, id=id_)
            assert error["code"] in ("NOT_FOUND", "INVALID")
            assert error["path"] == ["id"]


def test_a_deleted_message_leaves_a_gap(server: Server) -> None:
    one, two, three = add(server, "s", "one", "two", "three")["messages"]
    assert server.accepted(DELETE_MESSAGE, id=two["id"])["deletedMessageId"] == two["id"]
    assert server.graphql(NODE, id=two["id"])["node"] is None
    assert stored(server, "s") == [one, three]
    server.accepted(DELETE_MESSAGE, id=three["id"])
    assert sequences(add(server, "s", "four")["messages"]) == [4]
    assert sequences(stored(server, "s")) == [1, 4]


def test_the_sequence_of_deleted_messages_is_not_given_again(server: Server) -> None:
    messages = add(server, "s", "one", "two")["messages"]
    for message in messages:
        server.accepted(DELETE_MESSAGE, id=message["id"])
    assert stored(server, "s") == []
    added = add(server, "s", "three")["messages"]
    assert sequences(added) == [3]
    assert added[0]["id"] not in [message["id"] for message in messages]


def test_deleting_a_message_twice_succeeds_once(server: Server) -> None:
    (message,) = add(server, "s", "hello")["messages"]
    with ThreadPoolExecutor(5) as pool:
        payloads = list(
            pool.map(lambda _: server.graphql(DELETE_MESSAGE, input={"id": message["id"]})["deleteMessage"], range(5))
        )
    assert sorted(payload["deletedMessageId"] is not None for payload in payloads) == [False] * 4 + [True]
    assert [error["code"] for payload in payloads for error in payload["userErrors"]] == ["NOT_FOUND"] * 4


def test_a_range_of_messages_is_deleted_with_both_its_ends(server: Server) -> None:
    messages = add(server, "s", *map(str, range(1, 11)))["messages"]
    payload = server.accepted(DELETE_MESSAGES, sessionId="s", fromSequence=4, toSequence=6)
    assert sorted(payload["deletedMessageIds"]) == sorted(message["id"] for message in messages[3:6])
    assert payload["hasMore"] is False
    assert sequences(stored(server, "s")) == [1, 2, 3, 7, 8, 9, 10]
    server.accepted(DELETE_MESSAGES, sessionId="s", toSequence=2)
    assert sequences(stored(server, "s")) == [3, 7, 8, 9, 10]
    server.accepted(DELETE_MESSAGES, sessionId="s", fromSequence=9)
    assert sequences(stored(server, "s")) == [3, 7, 8]
    payload = server.accepted(DELETE_MESSAGES, sessionId="s", fromSequence=7, toSequence=7)
    assert payload["deletedMessageIds"] == [messages[6]["id"]]
    payload = server.accepted(DELETE_MESSAGES, sessionId="s")
    assert sorted(payload["deletedMessageIds"]) == sorted([messages[2]["id"], messages[7]["id"]])
    assert stored(server, "s") == []
    assert sequences(add(server, "s", "next")["messages"]) == [11]


def test_a_range_deletes_only_in_its_own_session(server: Server) -> None:
    add(server, "a", "1", "2")
    add(server, "b", "1", "2")
    server.accepted(DELETE_MESSAGES, sessionId="a")
    assert (contents(server, "a"), contents(server, "b")) == ([], ["1", "2"])
    error = server.refused(DELETE_MESSAGES, sessionId="nothing")
    assert (error["code"], error["path"]) == ("NOT_FOUND", ["sessionId"])


def test_at_most_1000_messages_of_a_range_are_deleted_at_once(server: Server) -> None:
    def fill(count: int) -> None:
        for start in range(0, count, 100):
            add(server, "s", *map(str, range(start, min(start + 100, count))))

    fill(1_050)
    payload = server.accepted(DELETE_MESSAGES, sessionId="s")
    assert (len(set(payload["deletedMessageIds"])), payload["hasMore"]) == (1_000, True)
    payload = server.accepted(DELETE_MESSAGES, sessionId="s")
    assert (len(set(payload["deletedMessageIds"])), payload["hasMore"]) == (50, False)
    assert stored(server, "s") == []
    fill(1_000)
    payload = server.accepted(DELETE_MESSAGES, sessionId="s")
    assert (len(set(payload["deletedMessageIds"])), payload["hasMore"]) == (1_000, False)


def test_a_message_leads_back_to_its_session(server: Server) -> None:
    add(server, "s", "hello")
    query = 'query { session(sessionId: "s") { messages { nodes { session { sessionId messages { totalCount } } } } } }'
    (node,) = server.graphql(query)["session"]["messages"]["nodes"]
    assert node["session"] == {"sessionId": "s", "messages": {"totalCount": 1}}
