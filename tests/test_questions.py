"""The questions of contexts: in a long query, and without one what the newest turn of the user asks."""

from typing import Any

import pytest

from resolvers.contexts.asks import sentences_that_ask
from resolvers.contexts.courtesies import is_courtesy
from tests.contexts import of_session, of_user, remember, session, turns, user
from tests.searches import add
from tests.servers import Server

LOG = [
    f"2026-03-01 12:{line:02} worker {line} request {line * 7919} path /api/v{line} status code 200"
    for line in range(99)
]


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def quoted(context: dict[str, Any]) -> list[str]:
    return [f"{message['session']['sessionId']} {message['sequence']}" for message in context["recalled"]]


def with_parrot(server: Server) -> None:
    user(server, name="Ada")
    add(server, "old", "The vet said that Xerxes needs sunflower seeds.", *turns(4), userId="ada")
    add(server, "older", "We painted the kitchen wall green.", *turns(4), userId="ada")
    session(server, userId="ada")


QUESTION = "Which seeds does the parrot Xerxes need?"


@pytest.mark.parametrize("line", [0, 50, 99])
@pytest.mark.parametrize("question", [QUESTION, "tell me what the vet said of Xerxes"])
def test_a_question_counts_wherever_it_stands_in_a_long_text(server: Server, line: int, question: str) -> None:
    with_parrot(server)
    text = "\n".join([*LOG[:line], question, *LOG[line:]])
    assert "sunflower" in of_session(server, "now", asked=text, budget=100)["text"]
    assert "sunflower" in of_user(server, "ada", asked=text, budget=100)["text"]
    add(server, "now", text)
    assert "sunflower" in of_session(server, "now", budget=8000)["text"]


def test_of_a_long_text_that_asks_nothing_the_rarest_words_are_looked_for(server: Server) -> None:
    with_parrot(server)
    text = "\n".join([*LOG, "status of the kitchen", *LOG])
    assert "painted" in of_session(server, "now", asked=text, budget=100)["text"]


def test_a_question_counts_in_a_text_of_a_megabyte(server: Server) -> None:
    with_parrot(server)
    lines = "\n".join(f"{line:x} {line * 31:x} {line * 17:x}" for line in range(35_000))
    text = f"{lines[:500_000]}\n{QUESTION}\n{lines[500_000:]}"
    assert "sunflower" in of_session(server, "now", asked=text, budget=100)["text"]


@pytest.mark.once
@pytest.mark.parametrize(
    "courtesy",
    [
        *(
            "Thanks!",
            "Thank you so much, Xerxes!",
            "Hello",
            "Hi there, how are you?",
            "Bye Xerxes, see you soon!",
            "ok, got it",
            "👍",
        ),
        *(
            "Danke schön, bis bald!",
            "Merci beaucoup !",
            "¡Muchas gracias, hasta luego!",
            "Grazie mille",
            "Obrigada!",
            "Спасибо!",
        ),
        *(
            "谢谢你！",
            "ありがとうございます。",
            "감사합니다!",
            "شكرا جزيلا",
            "Dziękuję bardzo",
            "Teşekkürler",
            "Dank je wel!",
        ),
        "Thanks, that was really helpful. Take care and say hi to Xerxes!",
    ],
)
def test_a_courtesy_asks_for_nothing(server: Server, courtesy: str) -> None:
    with_parrot(server)
    remember(server, "Likes green tea", userId="ada")
    add(server, "now", said("USER", QUESTION), said("ASSISTANT", "Sunflower seeds."), said("USER", courtesy))
    context = of_session(server, "now", budget=4000, overflow="TRUNCATE")
    assert context["recalled"] == []
    assert [memory["content"] for memory in context["memories"]] == ["Likes green tea"]
    assert "kitchen" not in of_session(server, "now", last=1)["text"]


def test_a_turn_that_asks_counts_also_where_thanks_follow_it(server: Server) -> None:
    with_parrot(server)
    add(server, "now", *turns(4), said("USER", QUESTION), said("USER", "Thanks!"))
    assert "old 1" in quoted(of_session(server, "now", budget=120))
    add(server, "now", said("USER", "Thanks, but which wall did we paint?"))
    assert "older 1" in quoted(of_session(server, "now", budget=120))


SHORT = ("And the second one?", "why?", "And what about him?", "Et le deuxième ?", "Und der zweite?", "那第二个呢？")


@pytest.mark.once
@pytest.mark.parametrize("short", SHORT)
def test_a_short_turn_is_about_the_turns_before_it(server: Server, short: str) -> None:
    with_parrot(server)
    asked = said("USER", "Which seeds does Xerxes get?")
    add(server, "now", *turns(6), asked, said("ASSISTANT", "There are two."), said("USER", short))
    assert "old 1" in quoted(of_session(server, "now", budget=150))


def test_yes_is_about_what_was_offered(server: Server) -> None:
    with_parrot(server)
    add(server, "now", *turns(6), said("ASSISTANT", "Shall I order seeds for Xerxes?"), said("USER", "Yes, please"))
    assert "old 1" in quoted(of_session(server, "now", budget=150))


def test_a_long_answer_does_not_drown_the_question(server: Server) -> None:
    with_parrot(server)
    answer = "We painted the kitchen wall green, and the wall of the hall. " * 60
    add(
        server,
        "now",
        said("USER", QUESTION),
        said("ASSISTANT", answer),
        said("USER", "And what did the vet say of him?"),
    )
    assert quoted(of_session(server, "now", budget=1500, last=1))[0] == "old 1"


def test_the_users_turn_counts_after_the_answer_and_many_calls_of_tools(server: Server) -> None:
    with_parrot(server)
    calls = [
        message
        for number in range(15)
        for message in (
            {"role": "ASSISTANT", "content": "", "toolCalls": [{"id": f"c{number}", "name": "look"}]},
            {"role": "TOOL", "content": "Nothing.", "toolCallId": f"c{number}"},
        )
    ]
    add(server, "now", said("USER", QUESTION), *calls)
    assert "old 1" in quoted(of_session(server, "now", last=2))
    add(server, "done", said("USER", QUESTION), said("ASSISTANT", "Let me see."), userId="ada")
    assert "old 1" in quoted(of_session(server, "done"))


def test_sentences_that_ask_are_told_from_addresses_and_statements() -> None:
    assert sentences_that_ask("GET /a?b=c 200\nWhy does it stop?\nGET /x?y=1") == ["Why does it stop?"]
    assert sentences_that_ask("I moved to Turin. It is fine.") == []
    assert sentences_that_ask("¿Cómo se llama? Nada.") == ["¿Cómo se llama?"]
    assert sentences_that_ask("我的鹦鹉叫什么") == ["我的鹦鹉叫什么"]


@pytest.mark.parametrize(
    "text", ["Thanks, but which seeds?", "Hello, I need a dentist", "Is it good?", "Ok, and Paris?", "Good seeds"]
)
def test_what_says_more_is_no_courtesy(text: str) -> None:
    assert not is_courtesy(text)
