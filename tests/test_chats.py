"""A context as chat messages in OpenAI's form, what user and agent are about, and filters of a context."""

import json
from typing import Any

import pytest

from resolvers.tokens import count_tokens
from tests.contexts import FRAMED, PARTS, of_session, of_user, remember, session, user
from tests.documents import CREATE_AGENT, CREATE_DOCUMENT, ISSUE_USER_TOKEN, mutation
from tests.searches import add
from tests.servers import Server

CHAT = "query ($id: String!, $budget: Int) { session(sessionId: $id) { context(maxTokens: $budget) { text chat } } }"
CALL = {"id": "c1", "type": "function", "function": {"name": "ferries", "arguments": '{"to": "Bergen"}'}}
FILTERED = f"""query ($id: String!, $asked: String, $memories: MemoryFilter, $documents: DocumentFilter) {{
  session(sessionId: $id) {{
    context(query: $asked, memories: $memories, documents: $documents) {{ {PARTS} }} }} }}"""
FILTERED_USER = f"""query ($id: String!, $asked: String, $memories: MemoryFilter, $documents: DocumentFilter) {{
  user(userId: $id) {{
    context(query: $asked, memories: $memories, documents: $documents) {{ {PARTS} }} }} }}"""


def speak_as_ada(server: Server) -> None:
    """From now on requests are the user's own."""
    token = server.accepted(ISSUE_USER_TOKEN, userId="ada")["token"]
    server.client.headers["authorization"] = f"Bearer {token}"


def chat(server: Server, id: str = "now", **asked: Any) -> list[dict[str, Any]]:
    context = server.graphql(CHAT, id=id, **asked)["session"]["context"]
    if context["text"]:
        assert context["chat"][0] == {"role": "system", "content": context["text"]}
    return context["chat"]


def said(server: Server, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """The chat of a session with these messages and nothing else."""
    add(server, "now", *messages)
    return chat(server)


def test_a_chat_has_the_text_first_and_then_the_messages(server: Server) -> None:
    session(server, situation="Planning a trip.")
    messages = [
        {"role": "SYSTEM", "content": "Be brief."},
        {"role": "DEVELOPER", "content": "Be kind."},
        {"role": "USER", "content": "Hello", "name": "Ada"},
        {"role": "ASSISTANT", "content": "Good day."},
    ]
    of_messages = [{**message, "role": message["role"].lower()} for message in messages]
    assert said(server, *messages) == [{"role": "system", "content": "## Situation\nPlanning a trip."}, *of_messages]


def test_without_a_text_there_is_no_system_message(server: Server) -> None:
    assert said(server, {"role": "USER", "content": "Hello"}) == [{"role": "user", "content": "Hello"}]


def test_an_empty_context_is_an_empty_chat(server: Server) -> None:
    session(server)
    assert chat(server) == []


def test_tool_calls_and_their_results_are_as_they_were_stored(server: Server) -> None:
    messages = [
        {"role": "USER", "content": "When is the ferry?"},
        {"role": "ASSISTANT", "toolCalls": [CALL]},
        {"role": "TOOL", "content": "09:00", "toolCallId": "c1"},
        {"role": "ASSISTANT", "content": "At nine.", "toolCalls": [{**CALL, "id": "c2"}]},
    ]
    assert said(server, *messages) == [
        {"role": "user", "content": "When is the ferry?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "09:00", "tool_call_id": "c1"},
        {"role": "assistant", "content": "At nine.", "tool_calls": [{**CALL, "id": "c2"}]},
    ]


def test_results_of_tools_stand_right_after_their_calls(server: Server) -> None:
    other = {**CALL, "id": "c2"}
    messages = [
        {"role": "USER", "content": "When?"},
        {"role": "ASSISTANT", "toolCalls": [CALL, other]},
        {"role": "USER", "content": "Hurry!"},
        {"role": "TOOL", "content": "two", "toolCallId": "c2"},
        {"role": "TOOL", "content": "one", "toolCallId": "c1"},
    ]
    assert said(server, *messages) == [
        {"role": "user", "content": "When?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL, other]},
        {"role": "tool", "content": "one", "tool_call_id": "c1"},
        {"role": "tool", "content": "two", "tool_call_id": "c2"},
        {"role": "user", "content": "Hurry!"},
    ]


@pytest.mark.parametrize("empty", [[], {}])
def test_empty_lists_of_calls_and_parts_are_left_out(server: Server, empty: Any) -> None:
    messages = [
        {"role": "USER", "content": "Hello", "parts": empty},
        {"role": "ASSISTANT", "content": "Good day.", "toolCalls": empty},
        {"role": "ASSISTANT", "content": "", "toolCalls": empty, "parts": empty},
    ]
    assert said(server, *messages) == [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Good day."},
        {"role": "assistant", "content": ""},
    ]


def test_a_call_in_the_older_form_keeps_it(server: Server) -> None:
    call = {"name": "ferries", "arguments": "{}"}
    result = {"role": "FUNCTION", "content": "09:00", "name": "ferries"}
    assert said(server, {"role": "USER", "content": "Go"}, {"role": "ASSISTANT", "toolCalls": call}, result) == [
        {"role": "user", "content": "Go"},
        {"role": "assistant", "content": None, "function_call": call},
        {"role": "function", "content": "09:00", "name": "ferries"},
    ]


@pytest.mark.parametrize(
    ("content", "parts", "sent"),
    [
        (None, [{"type": "text", "text": "Look"}], [{"type": "text", "text": "Look"}]),
        ("Look", [{"type": "text", "text": "Look"}], [{"type": "text", "text": "Look"}]),
        (
            "Look",
            [{"type": "image_url", "image_url": {"url": "https://x.org/a.png"}}],
            [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": "https://x.org/a.png"}}],
        ),
        ("Look", [], "Look"),
        (None, {"type": "text", "text": "Look"}, [{"type": "text", "text": "Look"}]),
        (
            'Say "ä\n',
            {"type": "text", "text": "there"},
            [{"type": "text", "text": 'Say "ä\n'}, {"type": "text", "text": "there"}],
        ),
    ],
)
def test_parts_are_the_content_with_what_else_was_said(server: Server, content: Any, parts: Any, sent: Any) -> None:
    assert said(server, {"role": "USER", "content": content, "parts": parts}) == [{"role": "user", "content": sent}]


@pytest.mark.parametrize(
    ("name", "sent"),
    [("Ada", "Ada"), ("Ada Lovelace", "Ada_Lovelace"), ("<a|b\\c/d>", "_a_b_c_d_"), ("x" * 70, "x" * 64), ("李", "李")],
)
def test_a_name_has_no_character_that_openai_refuses(server: Server, name: str, sent: str) -> None:
    assert said(server, {"role": "USER", "content": "Hi", "name": name})[0]["name"] == sent


def test_a_users_chat_is_its_text(server: Server) -> None:
    user(server, about="Allergic to penicillin.")
    context = server.graphql('{ user(userId: "ada") { context { text chat } } }')["user"]["context"]
    assert context["chat"] == [{"role": "system", "content": context["text"]}]
    assert "Allergic to penicillin." in context["text"]


def test_a_chat_takes_the_tokens_that_its_context_counts(server: Server) -> None:
    user(server, about="Likes long walks.")
    session(server, userId="ada", situation="A walk.")
    add(server, "now", {"content": "Where shall we go?", "name": "Ada"}, {"role": "ASSISTANT", "content": "Up."})
    query = '{ session(sessionId: "now") { context { tokenCount chat } } }'
    context = server.graphql(query)["session"]["context"]
    names = [1 + count_tokens(message["name"]) for message in context["chat"] if "name" in message]
    tokens = [count_tokens(message["content"]) + FRAMED for message in context["chat"]]
    assert context["tokenCount"] == sum(tokens) + sum(names)


# What user and agent are about


def test_a_context_says_what_user_and_agent_are_about(server: Server) -> None:
    user(server, about="Allergic to penicillin.")
    server.accepted(CREATE_AGENT, agentId="nurse", name="Nurse", about="Answers questions on medicines.")
    session(server, userId="ada", agentId="nurse", situation="A consultation.")
    add(server, "now", "What may I take for a cough?")
    text = of_session(server, "now")["text"]
    assert text == (
        "## Situation\nA consultation.\n\n## About the assistant\nAnswers questions on medicines.\n\n"
        "## About the user\nAllergic to penicillin."
    )
    assert "Allergic to penicillin." in of_user(server, "ada")["text"]
    assert "medicines" not in of_user(server, "ada")["text"]


def test_a_memory_that_about_says_as_well_is_not_repeated(server: Server) -> None:
    user(server, about="Ada is a nurse. She is allergic to penicillin.")
    remember(server, "allergic to penicillin", userId="ada")
    remember(server, "Keeps bees", userId="ada")
    context = of_user(server, "ada")
    assert [memory["content"] for memory in context["memories"]] == ["Keeps bees"]
    assert context["text"].count("allergic to penicillin") == 1


def test_of_a_long_about_the_beginning_is_there_within_the_budget(server: Server) -> None:
    about = "Allergic to penicillin. " + "Collects stamps from every country. " * 1700
    user(server, about=about)
    session(server, userId="ada")
    add(server, "now", "What may I take?")
    for budget in (100, 500, 4000):
        context = of_session(server, "now", budget=budget)
        assert "Allergic to penicillin." in context["text"]
        assert len(context["messages"]) == 1
    assert count_tokens(context["text"]) <= 4000 / 4


@pytest.mark.parametrize("about", ["", " \n"])
def test_an_empty_about_has_no_heading(server: Server, about: str) -> None:
    user(server, about=about)
    assert of_user(server, "ada")["text"] == ""


def test_with_error_the_messages_come_before_what_the_user_is_about(server: Server) -> None:
    user(server, about="Allergic to penicillin and to several other things.")
    session(server, userId="ada")
    add(server, "now", {"content": "Hello", "tokenCount": 40 - FRAMED})
    context = of_session(server, "now", budget=45, overflow="ERROR")
    assert (context["text"], context["tokenCount"]) == ("", 40)


def test_templates_are_not_rendered(server: Server) -> None:
    user(server, about="{{ user.name }} likes {{tea}}")
    session(server, userId="ada", situation="{{situation}}")
    assert of_session(server, "now")["text"] == (
        "## Situation\n{{situation}}\n\n## About the user\n{{ user.name }} likes {{tea}}"
    )


def test_a_user_token_is_told_what_its_agent_is_about_but_not_its_instructions(server: Server) -> None:
    user(server)
    server.accepted(CREATE_AGENT, agentId="tutor", name="Tutor", about="Teaches.", instructions="Be secret.")
    session(server, userId="ada", agentId="tutor")
    speak_as_ada(server)
    context = server.graphql(CHAT, id="now")["session"]["context"]
    assert context["text"] == "## About the assistant\nTeaches."


# What the agent has learned


@pytest.fixture
def guided(server: Server) -> Server:
    user(server, name="Ada")
    server.accepted(CREATE_AGENT, agentId="guide", name="Guide")
    session(server, userId="ada", agentId="guide")
    session(server, "alone", agentId="guide")
    session(server, "other", userId="ada")
    remember(server, "The museum closes on Mondays", agentId="guide")
    remember(server, "Ada dislikes museums", userId="ada")
    for id in ("now", "alone", "other"):
        add(server, id, "What shall I see?")
    return server


@pytest.mark.parametrize("asked", [None, "When is the museum closed?"])
def test_the_contexts_of_an_agents_sessions_draw_on_what_it_has_learned(guided: Server, asked: str | None) -> None:
    def memories(id: str) -> list[str]:
        return sorted(memory["content"] for memory in of_session(guided, id, asked=asked)["memories"])

    assert memories("now") == ["Ada dislikes museums", "The museum closes on Mondays"]
    assert memories("alone") == ["The museum closes on Mondays"]
    assert memories("other") == ["Ada dislikes museums"]
    assert "- Guide: The museum closes on Mondays (" in of_session(guided, "now", asked=asked)["text"]
    assert "museum closes" not in of_user(guided, "ada", asked=asked)["text"]


def test_the_best_rated_come_first_whether_the_users_or_the_agents(guided: Server) -> None:
    for number in range(40):
        remember(guided, f"The bridge {number} was built in {1800 + number}", agentId="guide", rating=0.4)
        remember(guided, f"Ada has crossed the bridge {number}", userId="ada", rating=0.45)
    remember(guided, "Always greet in Norwegian", agentId="guide", rating=0.9)
    remember(guided, "Ada walks with a stick", userId="ada", rating=0.95)
    found = [memory["content"] for memory in of_session(guided, "now", budget=100)["memories"]]
    assert found[:2] == ["Ada walks with a stick", "Always greet in Norwegian"]


def test_a_filter_of_memories_holds_for_the_agents_too(guided: Server) -> None:
    remember(guided, "Tours start at nine", agentId="guide", rating=0.8)
    assert filtered(guided, id="now", memories={"minRating": 0.5})[0] == ["Tours start at nine"]


def test_a_user_token_does_not_see_what_an_agent_has_learned(guided: Server) -> None:
    speak_as_ada(guided)
    for asked in ("museum", "closes on Mondays"):
        selected = "context(query: $asked) { chat memories { content } }"
        query = f'query ($asked: String) {{ session(sessionId: "now") {{ {selected} }} }}'
        context = guided.graphql(query, asked=asked)["session"]["context"]
        assert [memory["content"] for memory in context["memories"]] == ["Ada dislikes museums"]
        assert "Mondays" not in json.dumps(context)


# Filters


def filtered(server: Server, query: str = FILTERED, **asked: Any) -> tuple[list[str], list[str]]:
    (found,) = server.graphql(query, **asked).values()
    context = found["context"]
    return sorted(memory["content"] for memory in context["memories"]), [
        document["title"] for document in context["documents"]
    ]


@pytest.fixture
def told(server: Server) -> Server:
    user(server)
    session(server, userId="ada")
    remember(server, "Sails a boat", userId="ada", metadata={"topic": "sea"}, rating=0.9)
    remember(server, "Sails badly", "PREFERENCE", userId="ada", rating=0.2)
    past = {"validFrom": "2019-01-01T00:00:00Z", "validUntil": "2020-01-01T00:00:00Z"}
    remember(server, "Sailed a raft", userId="ada", **past)
    for title, topic in (("Sailing", "sea"), ("Sails on mills", "land")):
        document = {"title": title, "content": "How to set a sail.", "metadata": {"topic": topic}}
        server.accepted(CREATE_DOCUMENT, userId="ada", **document)
    add(server, "now", "What do you know of sails?")
    return server


@pytest.mark.parametrize(("query", "id"), [(FILTERED, "now"), (FILTERED_USER, "ada")])
@pytest.mark.parametrize("asked", [None, "sails", "nothing of that"])
def test_a_context_holds_only_memories_that_pass_the_filter(
    told: Server, query: str, id: str, asked: str | None
) -> None:
    def memories(filter: Any) -> list[str]:
        return filtered(told, query, id=id, asked=asked, memories=filter)[0]

    assert memories(None) == ["Sails a boat", "Sails badly"]
    assert memories({}) == ["Sails a boat", "Sails badly"]
    assert memories({"kinds": ["PREFERENCE"]}) == ["Sails badly"]
    assert memories({"minRating": 0.5}) == ["Sails a boat"]
    assert memories({"metadata": {"topic": "sea"}}) == ["Sails a boat"]
    assert memories({"history": True}) == ["Sailed a raft", "Sails a boat", "Sails badly"]
    assert memories({"asOf": "2019-06-01T00:00:00Z"}) == ["Sailed a raft"]
    assert memories({"kinds": []}) == []


@pytest.mark.parametrize(("query", "id"), [(FILTERED, "now"), (FILTERED_USER, "ada")])
def test_a_context_quotes_only_documents_that_pass_the_filter(told: Server, query: str, id: str) -> None:
    def documents(filter: Any) -> list[str]:
        return filtered(told, query, id=id, asked="sail", documents=filter)[1]

    assert sorted(documents(None)) == ["Sailing", "Sails on mills"]
    assert documents({"metadata": {"topic": "land"}}) == ["Sails on mills"]
    assert documents({"metadata": {"topic": "air"}}) == []


def test_a_filter_of_memories_leaves_the_summary_and_the_messages(told: Server) -> None:
    remember(told, "They spoke of sails.", kind="SUMMARY", sessionId="now")
    context = told.graphql(FILTERED, id="now", memories={"kinds": ["EVENT"]})["session"]["context"]
    assert context["summary"] == {"content": "They spoke of sails."}
    assert len(context["messages"]) == 1


@pytest.mark.parametrize(
    ("filter", "named"),
    [
        ({"memories": {"about": ["x"] * 101}}, "filter.about"),
        ({"memories": {"metadata": 1}}, "filter.metadata"),
        ({"documents": {"metadata": []}}, "filter.metadata"),
    ],
)
def test_a_bad_filter_of_a_context_is_named(told: Server, filter: dict[str, Any], named: str) -> None:
    (error,) = told.execute(FILTERED, id="now", **filter)["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert named in error["message"]


def test_numbers_in_a_chat_are_as_they_were_sent(server: Server) -> None:
    call = json.loads('{"id": "c1", "name": "f", "arguments": {"n": 12345678901234567890123, "x": 1.10}}')
    assert said(server, {"role": "USER", "content": "Go"}, {"role": "ASSISTANT", "toolCalls": [call]})[1] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [call],
    }


# Corrections


def test_what_the_application_has_corrected_stays_beside_the_message_that_it_came_from(server: Server) -> None:
    user(server, name="Una")
    said = [{"role": "USER", "content": "I live in Rome."}]
    formed = server.accepted(mutation("addMessages", "memories { id }"), sessionId="now", userId="ada", messages=said)[
        "memories"
    ]
    correct = {"id": formed[0]["id"], "content": "Una lives in Milan."}
    server.accepted(mutation("updateMemory", "memory { id }"), **correct)
    add(server, "now", "Where do I live?")
    context = of_session(server, "now")
    assert "Una lives in Milan." in context["text"]
    assert [memory["content"] for memory in context["memories"]] == ["Una lives in Milan."]


def test_what_the_application_declares_of_a_message_stays_beside_it(server: Server) -> None:
    user(server)
    (said,) = add(server, "now", "I moved to Lyon.", userId="ada")
    remember(server, "Has left Lyon and lives in Nantes", userId="ada", sources=[said])
    add(server, "now", "Where do I live now?")
    assert "lives in Nantes" in of_session(server, "now")["text"]


def test_a_past_memory_says_until_when_it_held(server: Server) -> None:
    user(server)
    past = {"validFrom": "2019-01-01T00:00:00Z", "validUntil": "2020-02-03T00:00:00Z"}
    remember(server, "Lives in Turin", userId="ada", **past)
    query = '{ user(userId: "ada") { context(memories: {history: true}) { text } } }'
    assert "Lives in Turin (2019-01-01 to 2020-02-03)" in server.graphql(query)["user"]["context"]["text"]


@pytest.mark.parametrize("overflow", ["TRUNCATE", "ADAPTIVE"])
def test_a_larger_budget_never_loses_the_newest_message_to_the_situation(server: Server, overflow: str) -> None:
    session(server, situation="word " * 60)
    add(server, "now", {"content": "Where?", "tokenCount": 50 - FRAMED})
    for budget in (50, 60, 70, 80, 100, 120, 150):
        assert len(of_session(server, "now", budget=budget, overflow=overflow)["messages"]) == 1
    assert "## Situation" in of_session(server, "now", budget=150, overflow=overflow)["text"]
