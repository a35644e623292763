"""Contexts: what goes into a prompt, and that it never takes more than its budget."""

import random
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from recallql.settings import Settings
from resolvers.contexts.prompts import MEMORIES, SAID, Piece, Prompt
from resolvers.search.passages import passage
from resolvers.search.questions import parse_question
from resolvers.tokens import count_tokens
from tests.contexts import FRAMED, OF_SESSION, of_session, of_user, remember, sequences, session, turns, user
from tests.documents import (
    CREATE_AGENT,
    CREATE_DOCUMENT,
    DELETE_MESSAGE,
    DELETE_SESSION,
    ISSUE_USER_TOKEN,
    mutation,
)
from tests.places import Place
from tests.searches import add
from tests.servers import Server


def test_a_context_that_fits_has_all_messages_and_what_the_prompt_needs(server: Server) -> None:
    user(server, name="Ada")
    session(server, userId="ada", situation="Planning a trip to Norway.")
    remember(server, "Ada is allergic to nuts", userId="ada")
    remember(server, "So far they talked about ferries.", kind="SUMMARY", sessionId="now")
    server.accepted(CREATE_DOCUMENT, userId="ada", title="Norway", content="The ferry to Bergen sails at nine.")
    add(server, "old", "I get seasick on every ferry", userId="ada")
    add(server, "now", "Hello", {"role": "ASSISTANT", "content": "Hi Ada"}, "Shall we take the ferry?")
    context = of_session(server, "now")
    assert sequences(context) == [1, 2, 3]
    assert context["droppedMessages"] == 0
    assert context["maxTokens"] == 4000
    assert context["summary"]["content"] == "So far they talked about ferries."
    assert [found["content"] for found in context["memories"]] == ["Ada is allergic to nuts"]
    assert context["documents"] == [{"title": "Norway"}]
    assert context["recalled"] == [{"sequence": 1, "session": {"sessionId": "old"}}]
    for expected in ("Planning a trip to Norway.", "sails at nine", "Ada: I get seasick on every ferry"):
        assert expected in context["text"]
    assert "Hi Ada" not in context["text"], "what stands in `messages` is not repeated"


def test_nothing_makes_an_empty_context(server: Server) -> None:
    user(server)
    session(server)
    for context in (of_session(server, "now", asked="anything"), of_session(server, "now"), of_user(server, "ada")):
        assert context["text"] == ""
        assert context["tokenCount"] == 0
        assert context["droppedMessages"] == 0


def test_truncate_drops_the_oldest(server: Server) -> None:
    add(server, "now", *turns(10))
    context = of_session(server, "now", budget=55, overflow="TRUNCATE")
    assert sequences(context) == [6, 7, 8, 9, 10]
    assert context["droppedMessages"] == 5
    assert context["text"] == ""


def test_error_refuses_what_does_not_fit(server: Server) -> None:
    add(server, "now", *turns(10))
    assert sequences(of_session(server, "now", budget=100, overflow="ERROR")) == list(range(1, 11))
    answer = server.execute(OF_SESSION, id="now", budget=99, overflow="ERROR")
    assert answer["data"] == {"session": {"context": None}}
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == "CONTEXT_OVERFLOW"
    assert error["path"] == ["session", "context"]
    assert "99" in error["message"]
    assert "lastMessages" in error["message"]
    assert sequences(of_session(server, "now", budget=50, overflow="ERROR", last=5)) == [6, 7, 8, 9, 10]


def test_error_is_not_silent_about_a_situation_that_does_not_fit(server: Server) -> None:
    session(server, situation="A rather long situation, which takes more than a few tokens.")
    add(server, "now", *turns(2))
    (error,) = server.errors(OF_SESSION, id="now", budget=25, overflow="ERROR")
    assert error["extensions"]["code"] == "CONTEXT_OVERFLOW"
    assert of_session(server, "now", budget=60, overflow="ERROR")["text"].endswith("few tokens.")


def test_one_session_that_overflows_leaves_the_others_alone(server: Server) -> None:
    add(server, "large", *turns(10))
    add(server, "small", *turns(2))
    answer = server.execute(
        "{ sessions(orderBy: {field: SESSION_ID, direction: ASC}) { nodes { sessionId "
        "context(maxTokens: 50, overflow: ERROR) { tokenCount } } } }"
    )
    nodes = answer["data"]["sessions"]["nodes"]
    assert [node["context"] for node in nodes] == [None, {"tokenCount": 20}]
    assert [error["path"] for error in answer["errors"]] == [["sessions", "nodes", 0, "context"]]


def test_adaptive_puts_what_matches_in_the_place_of_what_does_not_fit(server: Server) -> None:
    session(server, situation="Small talk.")
    old = {"content": "My sister Maria keeps alpacas in Peru.", "role": "USER"}
    add(server, "now", old, *turns(60))
    context = of_session(server, "now", asked="What animals does Maria keep?", budget=100)
    assert sequences(context)[0] == 1
    assert sequences(context)[-4:] == [58, 59, 60, 61], "the newest have a part of their own"
    assert context["droppedMessages"] == 61 - len(context["messages"])
    assert "Maria" not in context["text"], "it stands among the messages"
    plain = of_session(server, "now", asked="What animals does Maria keep?", budget=100, overflow="TRUNCATE")
    assert 1 not in sequences(plain)


def test_last_messages_bounds_the_messages_and_lets_older_ones_be_quoted(server: Server) -> None:
    add(server, "now", "My sister Maria keeps alpacas in Peru.", *turns(20))
    context = of_session(server, "now", asked="What animals does Maria keep?", last=4)
    assert sequences(context) == [18, 19, 20, 21]
    assert context["droppedMessages"] == 0
    assert "User: My sister Maria keeps alpacas in Peru." in context["text"]
    assert context["recalled"][0]["sequence"] == 1, "and what was said right after it"


def test_the_argument_goes_before_the_session_and_the_session_before_the_default(server: Server) -> None:
    session(server, tokenBudget=30, contextOverflow="ERROR")
    add(server, "now", *turns(10))
    (error,) = server.errors(OF_SESSION, id="now")
    assert error["extensions"]["code"] == "CONTEXT_OVERFLOW"
    context = of_session(server, "now", overflow="TRUNCATE")
    assert context["maxTokens"] == 30
    assert sequences(context) == [8, 9, 10]
    assert of_session(server, "now", budget=100)["droppedMessages"] == 0


def test_without_a_query_the_newest_turn_of_the_user_asks(server: Server) -> None:
    user(server)
    add(server, "old", "The vet said the parrot needs seeds.", "Otherwise nothing happened.", userId="ada")
    add(server, "now", *turns(20), "What about the parrot?", "Yes?", userId="ada")
    assert "parrot needs seeds" in of_session(server, "now", budget=60)["text"]
    assert "parrot needs seeds" in of_user(server, "ada", budget=60)["text"]
    add(server, "later", *turns(20), "A castle.", "A lake.", userId="ada")
    assert "parrot" not in of_session(server, "later", budget=60)["text"]
    assert "parrot" not in of_user(server, "ada", budget=60)["text"]


def test_what_is_left_goes_to_what_was_said_last(server: Server) -> None:
    user(server, name="Ada")
    add(server, "gone", "Deleted since", userId="ada")
    for number in range(3):
        add(server, f"s{number}", f"Walk {number} was long", f"Swim {number} was short", userId="ada")
    server.accepted(DELETE_SESSION, sessionId="gone")
    text = of_user(server, "ada", asked="Which castle?")["text"]
    assert [line for line in text.split("\n") if line.startswith("Ada")] == [
        f"Ada: {what}" for n in range(3) for what in (f"Walk {n} was long", f"Swim {n} was short")
    ]
    assert "Deleted since" not in text
    small = of_user(server, "ada", asked="Which castle?", budget=30)["text"]
    assert "Swim 2" in small
    assert "Walk 0" not in small
    assert "Swim" not in of_session(server, "s1", asked="Which castle?", overflow="TRUNCATE")["text"]


def test_what_is_known_comes_even_if_it_matches_nothing(server: Server) -> None:
    user(server)
    session(server, userId="ada")
    remember(server, "Allergic to peanuts", userId="ada")
    remember(server, "Was at a concert", kind="EVENT", userId="ada")
    remember(server, "Outdated", userId="ada", validUntil="2020-01-01T00:00:00Z", validFrom="2019-01-01T00:00:00Z")
    for context in (of_session(server, "now", asked="What shall I cook?"), of_user(server, "ada", asked="cook")):
        assert [found["content"] for found in context["memories"]] == ["Allergic to peanuts"]
    matching = of_user(server, "ada", asked="Which concert was it?")
    assert [found["content"] for found in matching["memories"]] == ["Was at a concert", "Allergic to peanuts"]


def test_a_user_has_its_summary_and_a_session_its_own(server: Server) -> None:
    user(server)
    session(server, userId="ada")
    remember(server, "Ada is a pilot.", kind="SUMMARY", userId="ada")
    assert of_user(server, "ada")["summary"] == {"content": "Ada is a pilot."}
    assert of_session(server, "now")["summary"] == {"content": "Ada is a pilot."}
    remember(server, "They talked about ferries.", kind="SUMMARY", sessionId="now")
    assert of_session(server, "now")["summary"] == {"content": "They talked about ferries."}


def test_a_long_document_gives_the_passage_that_answers(server: Server) -> None:
    user(server)
    filler = [f"Paragraph {number} speaks of the weather and of nothing else at all." for number in range(200)]
    text = "\n\n".join([*filler[:120], "The warranty of the boiler ends in March 2031.", *filler[120:]])
    server.accepted(CREATE_DOCUMENT, userId="ada", title="House", content=text)
    context = of_user(server, "ada", asked="When does the warranty of the boiler end?", budget=300)
    assert "The warranty of the boiler ends in March 2031." in context["text"]
    assert context["documents"] == [{"title": "House"}]
    assert "Paragraph 3 " not in context["text"]


def test_an_agents_documents_are_for_its_sessions_and_not_for_a_users_token(place: Place) -> None:
    key = "a-key-for-this-test"
    running = Server(place, api_key=key)
    running.client.headers["authorization"] = f"Bearer {key}"
    for agent in ("fern", "other"):
        documents = [{"title": f"Of {agent}", "content": f"The {agent} shop opens at nine."}]
        running.accepted(CREATE_AGENT, agentId=agent, name=agent, documents=documents)
    user(running)
    running.accepted(CREATE_DOCUMENT, userId="ada", title="Own", content="Ada's shop opens at ten.")
    session(running, "with", userId="ada", agentId="fern")
    session(running, "without", userId="ada")
    session(running, "nobody", agentId="fern")

    def titles(id: str) -> set[str]:
        return {
            document["title"] for document in of_session(running, id, asked="When does the shop open?")["documents"]
        }

    assert titles("with") == {"Own", "Of fern"}
    assert titles("without") == {"Own"}
    assert titles("nobody") == {"Of fern"}
    token = running.accepted(ISSUE_USER_TOKEN, userId="ada")["token"]
    running.client.headers["authorization"] = f"Bearer {token}"
    assert titles("with") == {"Own"}
    running.close()


def test_another_users_words_are_in_nobodys_context(server: Server) -> None:
    for name in ("ada", "bob"):
        user(server, name)
        session(server, name, userId=name)
    add(server, "bob", "The parrot's secret name is Xerxes")
    remember(server, "The parrot likes Xerxes", userId="bob")
    server.accepted(CREATE_DOCUMENT, userId="bob", title="Parrot", content="Xerxes")
    for context in (of_session(server, "ada", asked="parrot Xerxes"), of_user(server, "ada", asked="parrot Xerxes")):
        assert "Xerxes" not in context["text"]
    assert "Xerxes" in of_user(server, "bob", asked="parrot Xerxes")["text"]


def test_a_session_without_a_user_recalls_itself_alone(server: Server) -> None:
    add(server, "one", "The parrot is called Xerxes", *turns(30))
    add(server, "two", "Which parrot?")
    assert "Xerxes" not in of_session(server, "two", asked="parrot")["text"]
    assert "Xerxes" in of_session(server, "one", asked="parrot", last=2)["text"]


def test_what_was_deleted_is_neither_there_nor_counted(server: Server) -> None:
    ids = add(server, "now", "The parrot is called Xerxes", *turns(4))
    server.accepted(DELETE_MESSAGE, id=ids[0])
    server.accepted(DELETE_MESSAGE, id=ids[2])
    context = of_session(server, "now", asked="parrot", budget=25, overflow="TRUNCATE")
    assert sequences(context) == [4, 5]
    assert context["droppedMessages"] == 1
    assert "Xerxes" not in str(of_session(server, "now", asked="parrot"))


def test_an_answer_of_a_tool_never_stands_without_its_call(server: Server) -> None:
    call = {"role": "ASSISTANT", "content": "", "toolCalls": [{"id": "c1"}], "tokenCount": 46}
    answers = [{"role": "TOOL", "content": "sunny", "toolCallId": "c1", "tokenCount": 6}] * 2
    add(server, "now", "How is the weather?", call, *answers, *turns(2))
    assert sequences(of_session(server, "now", budget=50, overflow="TRUNCATE")) == [5, 6]
    assert sequences(of_session(server, "now", budget=90, overflow="TRUNCATE")) == [2, 3, 4, 5, 6]
    for overflow in ("ERROR", "TRUNCATE", "ADAPTIVE"):
        context = of_session(server, "now", last=4, overflow=overflow)
        assert sequences(context) == [5, 6]
        assert context["droppedMessages"] == 2


def test_what_stands_among_the_messages_is_not_quoted_as_well(server: Server) -> None:
    call = {"role": "ASSISTANT", "content": "", "toolCalls": [{"id": "c1"}]}
    said = [f"The weather of day {day}" for day in range(10)]
    ids = add(server, "now", "How is the weather?", call, {"role": "TOOL", "content": "weather: sunny"}, *said)
    server.accepted(DELETE_MESSAGE, id=ids[8])
    assert of_session(server, "now", asked="weather")["recalled"] == []
    for last in (2, 5, 8):
        context = of_session(server, "now", asked="weather", last=last)
        quoted = {message["sequence"] for message in context["recalled"]}
        assert quoted
        assert quoted.isdisjoint(sequences(context))
        assert len(context["messages"]) == last


def test_a_deleted_session_has_no_context(server: Server) -> None:
    user(server)
    add(server, "gone", "The parrot is called Xerxes", userId="ada")
    add(server, "other", "Which parrot?", userId="ada")
    server.accepted(DELETE_SESSION, sessionId="gone")
    (node,) = server.graphql("{ sessions(filter: {deleted: true}) { nodes { context { text } } } }")["sessions"][
        "nodes"
    ]
    assert node == {"context": None}


def test_sessions_of_one_user_are_searched_once(server: Server) -> None:
    user(server)
    for number in range(5):
        add(server, f"s{number}", f"The parrot of day {number}", userId="ada")
    nodes = server.graphql(
        '{ sessions { nodes { sessionId context(query: "parrot") { text recalled { content } } } } }'
    )["sessions"]["nodes"]
    for node in nodes:
        assert len(node["context"]["recalled"]) == 4, "its own is among the messages"
        alone = server.graphql(OF_SESSION, id=node["sessionId"], asked="parrot")["session"]["context"]
        assert alone["text"] == node["context"]["text"]


def test_calls_of_tools_count_as_tokens(server: Server) -> None:
    arguments = {"city": "Trondheim", "days": list(range(30))}
    payload = server.accepted(
        mutation("addMessages", "messages { tokenCount }"),
        sessionId="now",
        messages=[{"role": "ASSISTANT", "toolCalls": [{"name": "weather", "arguments": arguments}]}],
    )
    assert payload["messages"][0]["tokenCount"] > 50


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"budget": 0}, "maxTokens"),
        ({"budget": -5}, "maxTokens"),
        ({"last": 0}, "lastMessages"),
        ({"asked": ""}, "query"),
        ({"asked": " \n"}, "query"),
    ],
)
def test_a_wrong_argument_is_named(server: Server, asked: dict[str, Any], named: str) -> None:
    add(server, "now", "Hello")
    (error,) = server.errors(OF_SESSION, id="now", **asked)
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert f"`{named}`" in error["message"]


@pytest.mark.parametrize(
    "asked",
    ["parrot " * 15_000, "x" * 100_000, "the of and", "?!…", '"*()-^:{}', "我的鹦鹉叫什么", "ما اسم الببغاء", "🦜"],
)
def test_no_query_is_too_strange(server: Server, asked: str) -> None:
    user(server)
    add(server, "now", "The parrot is called Xerxes", "我的鹦鹉叫小绿", "اسم الببغاء سمير", "🦜!", userId="ada")
    assert of_session(server, "now", asked=asked)["droppedMessages"] == 0
    of_user(server, "ada", asked=asked)


def test_a_context_writes_nothing_and_is_the_same_each_time(server: Server) -> None:
    chance = random.Random(3)
    words = ["ferry", "parrot", "alpaca", "Bergen", "Maria", "boiler", "warranty", "concert", "pilot", "seeds"]
    user(server)
    for number in range(6):
        said = [" ".join(chance.choices(words, k=6)) for _ in range(20)]
        add(server, f"s{number}", *said, userId="ada")
        remember(server, " ".join(chance.choices(words, k=4)), userId="ada")
    before = server.tables()
    asked = {"asked": "Does Maria have a parrot?", "budget": 500}
    first = of_session(server, "s3", **asked), of_user(server, "ada", **asked)
    assert [of_session(server, "s3", **asked), of_user(server, "ada", **asked)] == list(first)
    assert server.tables() == before


def test_another_counter_counts_messages_and_contexts(place: Place) -> None:
    running = Server(place, token_counter="builtins:len")
    add(running, "now", "x" * 30, "y" * 20)
    context = running.graphql(OF_SESSION, id="now", budget=35)["session"]["context"]
    assert [message["tokenCount"] for message in context["messages"]] == [20]
    assert context["tokenCount"] == 20 + FRAMED
    running.close()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere:count", "nowhere"),
        ("builtins:nothing", "nothing"),
        ("builtins:str", "whole number"),
        ("builtins:bool", "whole number"),
        ("len(", "len("),
    ],
)
def test_a_counter_that_cannot_be_used_is_refused_at_the_start(name: str, said: str) -> None:
    with pytest.raises(ValidationError, match="token_counter") as problem:
        Settings(token_counter=name)
    assert said in str(problem.value)


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    said=st.lists(TEXTS.filter(str.strip), max_size=12),
    situation=TEXTS,
    budget=st.integers(1, 120),
    overflow=st.sampled_from(["TRUNCATE", "ADAPTIVE"]),
)
def test_no_budget_is_ever_exceeded(
    server: Server, said: list[str], situation: str, budget: int, overflow: str
) -> None:
    number = uuid4()
    user(server, f"u{number}")
    session(server, f"s{number}", userId=f"u{number}", situation=situation)
    for place, text in enumerate(said):
        kind = ("FACT", "EVENT", "SUMMARY")[place % 3]
        if place % 4 == 3:
            remember(server, text, kind=kind, userId=f"u{number}")
        elif place % 4 == 2:
            server.accepted(CREATE_DOCUMENT, userId=f"u{number}", title=text, content=text * 20)
        else:
            add(server, f"s{number}" if place % 2 else f"o{number}", text, userId=f"u{number}")
    context = of_session(server, f"s{number}", asked=" ".join(said) or None, budget=budget, overflow=overflow)
    assert context["maxTokens"] == budget
    of_user(server, f"u{number}", asked=" ".join(said) or None, budget=budget)


def test_a_prompt_takes_back_what_a_counter_turns_out_to_count() -> None:
    # Each piece is one token alone, but all the words count together.
    prompt = Prompt(14, lambda text: 1 if "\n" not in text else len(text.split()))
    for place in range(4):
        prompt.add(Piece(MEMORIES, (place,), "- three words each"))
    assert prompt.close(), "no message had to go"
    assert prompt.tokens <= 14
    assert prompt.text == "## What is known\n- three words each"


def test_a_prompt_keeps_its_sections_and_groups_in_order() -> None:
    prompt = Prompt(100, count_tokens)
    for place, group in ((2, "b"), (1, "a"), (3, "b")):
        prompt.add(Piece(SAID, (place,), f"said {place}", group=group))
    prompt.add(Piece(MEMORIES, (0,), "- known"))
    prompt.close()
    assert prompt.text == "## What is known\n- known\n\n## Said before\na\nsaid 1\nb\nsaid 2\nsaid 3"


@pytest.mark.parametrize(
    "text", ["word " * 3000, "x" * 9000, "Ein Satz. " * 900, "雨が降る。" * 2000, "\n\n" * 5000 + "end"]
)
def test_a_passage_is_no_longer_than_it_may_be(text: str) -> None:
    for longest in (90, 300, 2000):
        found = passage(text, parse_question("What is the word at the end?"), longest)
        assert len(found) <= longest
        assert found.strip("…\n "), "some of the text"
