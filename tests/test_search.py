"""Search: what comes back, in which order, page by page, and what is refused."""

import json
from base64 import urlsafe_b64encode
from binascii import crc32
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resolvers.search.highlights import highlight
from resolvers.search.questions import Asked, parse_question
from tests.documents import (
    CREATE_MEMORY,
    CREATE_USER,
)
from tests.searches import SEARCH, add, found, index_now, texts, walk
from tests.servers import Api, Server

# What comes back


def test_messages_memories_and_documents_stand_in_one_ranking(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada", documents=[{"title": "Guide to Turin", "content": "Chocolate."}])
    add(server, "s", "I moved to Turin.", "The weather is fine.", userId="ada")
    server.accepted(CREATE_MEMORY, userId="ada", kind="FACT", content="Lives in Turin")
    edges = found(server, "Turin", userId="ada")
    assert {edge["node"]["__typename"] for edge in edges if edge["highlight"]} == {"Message", "Memory", "Document"}
    scores = [edge["score"] for edge in edges]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)


def test_the_turn_that_answers_comes_first(server: Server) -> None:
    add(server, "s", "Hello!", "I adopted two cats last week.", "We talked about dogs.", "Bye.")
    assert texts(server, "When did she adopt a cat?")[0] == "I adopted two cats last week."


def test_words_are_found_in_any_form_and_case(server: Server) -> None:
    add(server, "s", "She was HIKING in the mountains.")
    for query in ("hike", "hiked", "Hikes", "mountain", "MOUNTAINS"):
        assert texts(server, query) == ["She was HIKING in the mountains."], query


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("Who broke it?", "The vase was already broken."),
        ("When does it break?", "It broke on Monday."),
        ("breaking things", "Something is broken."),
        ("a goose", "Geese crossed the road."),
        ("Which teeth hurt?", "My tooth aches."),
        ("What was stolen?", "They steal bicycles here."),
        ("getUserName", "Call get_user_name first."),
        ("get_user_name", "It is getUserName in Java."),
        ("user-name", "The field is called username."),
        ("Wi-Fi", "The wifi is down."),
        ("HTTPServer", "Start the http server."),
        ("iPhone 12", "My iPhone12 is broken."),
        ("the 1,000 euros", "It cost 1000 euros, all in all."),
        ("555-1234", "Ring 5551234."),
    ],
)
def test_what_is_written_or_inflected_otherwise_is_found_too(
    server: Server, query: str, text: str, indexed: bool, request: pytest.FixtureRequest
) -> None:
    add(server, "s", "Nothing of that kind.", *["x"] * 5, text)
    if indexed:
        request.getfixturevalue("through_index")
        index_now(server)
    (first, *_) = found(server, query)
    assert first["node"]["content"] == text
    assert "<mark>" in first["highlight"]


def test_a_common_word_is_not_looked_for_in_its_other_forms(server: Server) -> None:
    add(server, "s", "She went home.", *["x"] * 5, "I got it.")
    assert texts(server, "go") == []
    assert texts(server, "getting") == []
    assert texts(server, "iPhone") == []


def test_the_turns_around_a_match_are_found_after_it_without_a_highlight(server: Server) -> None:
    add(server, "s", "far before", "x", "What is your cat called?", "Luna.", "y", "far after", "z")
    edges = found(server, "cat called")
    assert edges[0]["node"]["content"] == "What is your cat called?"
    around = {edge["node"]["content"] for edge in edges[1:]}
    assert around == {"far before", "x", "Luna.", "y"}
    assert all(edge["highlight"] is None for edge in edges[1:])


def test_neighbours_are_of_the_same_session(server: Server) -> None:
    add(server, "a", "a rare zebra")
    add(server, "b", "something else")
    assert [edge["node"]["content"] for edge in found(server, "zebra")] == ["a rare zebra"]


def test_who_is_named_in_the_question_goes_before_others(server: Server) -> None:
    add(server, "s", {"content": "I paint.", "name": "Bo"}, "x", "y", "z", {"content": "I paint.", "name": "Cleo"})
    assert found(server, "What does Cleo paint?")[0]["node"]["id"] == found(server, "paint Cleo")[0]["node"]["id"]
    first = {name: found(server, f"What does {name} paint?")[0]["node"]["id"] for name in ("Bo", "Cleo")}
    assert first["Bo"] != first["Cleo"]


def test_a_message_without_a_name_is_spoken_by_its_user(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada", name="Ada")
    add(server, "s", {"content": "I paint.", "role": "ASSISTANT"}, "x", "y", "z", "I paint.", userId="ada")
    last = found(server, "What does Ada paint?", sessionId="s")[0]["node"]["id"]
    assert last != found(server, "paint", sessionId="s")[0]["node"]["id"]


def test_a_date_in_the_question_prefers_what_was_said_then(server: Server) -> None:
    said = [{"content": "I had a setback.", "createdAt": f"2023-{month:02}-13T12:00:00Z"} for month in (3, 8, 10)]
    for number, message in enumerate(said):
        add(server, f"s{number}", message)
    queries = [
        ("setback in October 2023", "s2"),
        ("What was the setback on 13 August?", "s1"),
        ("the setback of 13 Aug 2023", "s1"),
        ("the setback of Aug. 13th", "s1"),
        ("the setback in Aug 2023", "s1"),
        ("the setback on 13.8.2023", "s1"),
        ("the setback on 13/08/2023", "s1"),
        ("the setback on 8/13/2023", "s1"),
        ("the setback on 2023/8/13", "s1"),
        ("the setback on 2023-08-13", "s1"),
    ]
    for query, session in queries:
        assert found(server, query)[0]["node"]["session"]["sessionId"] == session, query


def test_a_short_form_of_a_month_alone_is_no_date() -> None:
    assert [parse_question(text).day for text in ("What did Jan say?", "12 junior devs", "version 1.2.3")] == [None] * 3
    assert parse_question("on 99.99.2024").day is None


def test_a_long_turn_is_not_found_by_its_neighbours_as_a_short_one_is(server: Server) -> None:
    long = "Here is a plan. " + "It has many steps and much advice. " * 40
    add(server, "s", "My key is called Otter.", {"content": long, "role": "ASSISTANT"})
    add(server, "t", "My key is called Otter.", {"content": "Fine.", "role": "ASSISTANT"})
    edges = found(server, "What is the key called?")
    contents = [edge["node"]["content"] for edge in edges]
    assert contents == ["My key is called Otter."] * 2 + ["Fine.", long]
    assert edges[3]["score"] < 0.8 * edges[2]["score"]


def test_a_turn_without_words_of_its_own_is_no_result(server: Server) -> None:
    call = [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]
    add(
        server,
        "s",
        "The rare zebra.",
        {"role": "ASSISTANT", "content": "", "toolCalls": call},
        {"role": "TOOL", "content": "{}"},
        {"role": "ASSISTANT", "content": "…"},
        "Lovely!",
    )
    contents = [edge["node"]["content"] for edge in found(server, "zebra")]
    assert "{}" not in contents
    assert "…" not in contents
    assert contents[0] == "The rare zebra."


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
def test_any_script_is_found(
    server: Server, text: str, query: str, indexed: bool, request: pytest.FixtureRequest
) -> None:
    add(server, "s", text, "x", "y", "z", "nothing of it", "nothing at all")
    if indexed:
        request.getfixturevalue("through_index")
        index_now(server)
    assert texts(server, query) == [text]
    assert "<mark>" in found(server, query)[0]["highlight"]


def test_a_highlight_is_escaped_html_with_nothing_but_marks(server: Server) -> None:
    add(server, "s", '<script>alert("cats & dogs")</script> <mark>cat</mark>')
    assert found(server, "cat")[0]["highlight"] == (
        "&lt;script&gt;alert(&quot;<mark>cats</mark> &amp; dogs&quot;)&lt;/script&gt; "
        "&lt;mark&gt;<mark>cat</mark>&lt;/mark&gt;"
    )


def test_a_highlight_of_a_long_text_is_the_part_with_the_most_words(server: Server) -> None:
    long = "A cat. " + "filler " * 9000 + "the cat sat on the tiny mat" + " more" * 300
    add(server, "s", long)
    shown = found(server, "cat mat sat")[0]["highlight"]
    assert shown.startswith("…" if "mat" in shown else "A")
    assert len(shown) < 400
    question = parse_question("sat mat")
    assert "<mark>sat</mark> on the tiny <mark>mat</mark>" in (highlight(long, question) or "")


# Where it is looked for


def test_a_search_is_within_a_user_a_session_or_the_whole_project(server: Server) -> None:
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


def test_filters_are_by_role_kind_time_metadata_and_score(server: Server) -> None:
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


def test_what_is_not_true_now_is_not_found(server: Server) -> None:
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
def test_an_empty_query_is_refused(server: Server, query: str) -> None:
    (error,) = server.errors(SEARCH, asked=query)
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert "`query` is empty" in error["message"]


@pytest.mark.parametrize("query", ["?!… --- ***", "\u0000", "\ud800", "\u200d\ufe0f", "''\"\"", "_"])
def test_a_query_without_words_finds_nothing(server: Server, query: str) -> None:
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
def test_no_character_is_an_operator(server: Server, query: str, indexed: bool, request: pytest.FixtureRequest) -> None:
    add(server, "s", "my cat", "dog")
    if indexed:
        request.getfixturevalue("through_index")
        index_now(server)
    assert texts(server, query) == (["my cat"] if "cat" in query else [])


def test_a_query_of_nothing_but_stop_words_is_looked_for_as_it_is(server: Server) -> None:
    add(server, "s", "to be or not to be", "x", "y", "z", "something else")
    assert texts(server, "to be or not to be") == ["to be or not to be"]


def test_a_very_long_query_is_answered(server: Server) -> None:
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
def test_wrong_arguments_are_named(server: Server, arguments: dict[str, Any]) -> None:
    add(server, "s", "zebra")
    (error,) = server.errors(SEARCH, asked="zebra", **arguments)
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.text(min_size=1, max_size=60).filter(lambda text: text.strip()))
def test_any_sentence_is_answered(server: Server, query: str) -> None:
    if not found(server, "hello"):
        add(server, "s", "hello there")
    found(server, query)


def zebras(server: Api) -> None:
    server.accepted(CREATE_USER, userId="ada")
    for number in range(12):
        add(server, f"s{number}", *[f"zebra {'word ' * n}{number}" for n in range(5)], userId="ada")
        server.accepted(CREATE_MEMORY, userId="ada", kind="FACT", content=f"zebra memory {number}")


@pytest.mark.parametrize("size", [1, 7, 100])
@pytest.mark.parametrize("indexed", [False, True])
def test_pages_are_the_whole_ranking_cut(
    server: Server, size: int, indexed: bool, request: pytest.FixtureRequest
) -> None:
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
def test_a_walk_neither_skips_nor_repeats_while_others_write(
    server: Server, indexed: bool, request: pytest.FixtureRequest
) -> None:
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


def test_a_cursor_is_good_for_its_own_search_only(server: Server) -> None:
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


def test_a_cursor_that_was_made_up_is_refused(server: Server) -> None:
    zebras(server)
    usual = ["m", [9], [[]], [0.0], [1.0], 5.0]
    for wrong in ([[[]]], [[{}]], [["1"]], [[None]], [5], "x"):
        position = json.dumps([-1.0, 0, "00", 1, 6, [6], [5.0], 1.0, usual[0], usual[1], wrong, *usual[3:]]).encode()
        asked = Asked("zebra", ("MESSAGES",), None, None, None)
        made_up = crc32(position, asked.seed).to_bytes(4, "big") + position
        cursor = urlsafe_b64encode(made_up).rstrip(b"=").decode()
        (error,) = server.errors(SEARCH, asked="zebra", first=2, scope=["MESSAGES"], after=cursor)
        assert (error["extensions"]["code"], "start again" in error["message"]) == ("BAD_USER_INPUT", True), wrong


def test_a_page_takes_as_many_statements_however_many_results_it_has(server: Server) -> None:
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
