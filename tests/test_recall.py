"""The text of a context: facts, quoted turns, speakers and dates; and that nothing is said twice."""

from tests.contexts import of_session, of_user, remember, session, turns, user
from tests.documents import ADD_MESSAGES
from tests.searches import add
from tests.servers import Server


def tell(server: Server, id: str, *messages: dict[str, str]) -> None:
    """Adds messages of which memories are formed."""
    said = [{"role": "USER"} | message for message in messages]
    server.accepted(ADD_MESSAGES, sessionId=id, userId="ada", messages=said)


COOK = "What should I cook tonight?"


def test_budget_that_is_left_goes_to_what_is_known_the_best_rated_first(server: Server) -> None:
    user(server, name="Ada")
    session(server, userId="ada")
    remember(server, "Is allergic to peanuts", userId="ada", rating=1.0)
    for number, fact in enumerate(
        ("Has a piano", "Collects stamps", "Works at a bank", "Was born in May", "Likes trams")
    ):
        remember(server, fact, userId="ada", rating=0.1 * number)
    context = of_session(server, "now", asked=COOK, budget=300)
    assert len(context["memories"]) == 6
    assert of_session(server, "now", asked=COOK, budget=45)["memories"][0]["content"] == "Is allergic to peanuts"


def test_a_well_rated_fact_stands_also_where_many_newer_ones_are_known(server: Server) -> None:
    user(server)
    remember(server, "Is allergic to peanuts", userId="ada", rating=1.0)
    for number in range(120):
        remember(server, f"Has visited the museum of number {number}", userId="ada", rating=0.2)
    assert "peanuts" in of_user(server, "ada", asked=COOK, budget=200)["text"]


def test_what_is_known_names_whom_it_is_about(server: Server) -> None:
    user(server, name="Ada")
    remember(server, "Keeps bees", userId="ada", about="Audrey")
    remember(server, "Keeps hens", userId="ada")
    text = of_user(server, "ada", asked="Who keeps what?")["text"]
    assert "- Audrey: Keeps bees" in text
    assert "- Ada: Keeps hens" in text


def test_a_fact_and_the_sentence_it_was_formed_from_are_not_both_said(server: Server) -> None:
    user(server, name="Ada")
    tell(server, "old", {"content": "I live in Turin."})
    session(server, userId="ada")
    text = of_session(server, "now", asked="Where do I live?")["text"]
    assert text.count("Turin") == 1
    assert of_session(server, "old", asked="Where do I live?")["text"] == "", "it stands among the messages"
    remember(server, "I live in Turin!", userId="ada")
    assert of_session(server, "now", asked="Where do I live?")["text"].count("Turin") == 1


def test_a_question_is_quoted_with_its_answer(server: Server) -> None:
    user(server, name="Ada")
    said = [
        {"role": "ASSISTANT", "content": "What is your parrot called?"},
        {"role": "USER", "content": "Xerxes, after a king."},
    ]
    add(server, "old", *turns(10), *said, *turns(10), userId="ada")
    session(server, userId="ada")
    text = of_session(server, "now", asked="parrot", budget=60)["text"]
    assert "What is your parrot called?\nAda: Xerxes, after a king." in text


def test_turns_that_are_far_apart_are_marked_and_neighbours_are_not(server: Server) -> None:
    user(server, name="Ada")
    at = {"createdAt": "2026-03-01T10:00:00Z"}
    first, last = ({"content": f"The parrot said {word}.", **at} for word in ("hello", "goodbye"))
    add(server, "old", first, *({**turn, **at} for turn in turns(30)), last, userId="ada")
    session(server, userId="ada")
    text = of_session(server, "now", asked="parrot", budget=70)["text"]
    lines = text.split("\n")
    assert "…" in lines[lines.index("Ada: The parrot said hello.") : lines.index("Ada: The parrot said goodbye.")]
    add(server, "near", first, last, userId="ada")
    assert "hello.\nAda: The parrot said goodbye." in of_session(server, "now", asked="parrot", budget=400)["text"]


def test_greetings_and_thanks_are_not_quoted(server: Server) -> None:
    user(server, name="Ada")
    add(server, "old", "Hello!", "The parrot eats seeds.", "Thanks, bye!", "See you soon!", userId="ada")
    session(server, userId="ada")
    text = of_session(server, "now", asked="What does the parrot eat?")["text"]
    assert "seeds" in text
    assert not any(filler in text for filler in ("Hello!", "bye", "See you"))


def test_relative_times_carry_their_dates_by_the_offset_they_were_said_with(server: Server) -> None:
    user(server, name="Ada")
    late = {"content": "I fed the parrot yesterday.", "createdAt": "2026-03-01T23:30:00-05:00"}
    week = {"content": "The parrot was ill last week.", "createdAt": "2026-03-11T10:00:00Z"}
    add(server, "old", late, week, userId="ada")
    session(server, userId="ada")
    text = of_session(server, "now", asked="parrot")["text"]
    assert "2026-03-01\nAda: I fed the parrot yesterday. (yesterday: 2026-02-28)" in text
    assert "(last week: 2026-03-02 to 2026-03-08)" in text


def test_a_summary_names_its_speakers_and_prefers_what_they_say_of_themselves(server: Server) -> None:
    user(server)
    lines = [
        ("Audrey", "I moved to Lyon in March with my two dogs."),
        ("Andrew", "That sounds really wonderful for all of you there!"),
        ("Andrew", "My sister Clara opened a bakery in Porto last week."),
        ("Audrey", "You always know how to make other people smile!"),
        ("Audrey", "I will start my new job at the harbour on Monday."),
        ("Andrew", "We adopted a grey parrot from Bristol in 2021."),
    ]
    said = [{"name": name, "content": text, "createdAt": "2026-03-11T10:00:00Z"} for name, text in lines]
    tell(server, "old", *said, *({"content": "Ok."} for _ in range(14)))
    content = server.graphql('{ session(sessionId: "old") { summary { content } } }')["session"]["summary"]["content"]
    assert content.split("\n") == [
        "Audrey: I moved to Lyon in March with my two dogs.",
        "Andrew: My sister Clara opened a bakery in Porto last week. (last week: 2026-03-02 to 2026-03-08)",
        "Audrey: I will start my new job at the harbour on Monday.",
        "Andrew: We adopted a grey parrot from Bristol in 2021.",
    ]
