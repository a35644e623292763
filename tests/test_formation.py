"""Memories that are formed of messages without a model: by rules, and summaries of sentences said."""

import json
from pathlib import Path
from typing import Any

import pytest

from models.formation import SOURCES_OF_MEMORY
from recallql.commands.archive import export_file, import_file
from recallql.settings import Settings
from tests.documents import (
    CREATE_MEMORY,
    CREATE_USER,
    DELETE_MESSAGE,
    DELETE_MESSAGES,
    DELETE_SESSION,
    END_SESSION,
    UPDATE_MEMORY,
    UPDATE_MESSAGE,
    UPDATE_SESSION,
    mutation,
)
from tests.places import Fresh
from tests.servers import Server, Start

FORMED = """id kind method content validFrom validUntil model supersededBy { content } supersedes { content }
  user { userId } session { sessionId } sources(first: 100) { nodes { ... on Message { sequence content } } }"""
ADD = mutation("addMessages", f"messages {{ id sequence }} deduplicated memories {{ {FORMED} }}")
ERASE = mutation("deleteUser", "receipt { memories }")
OF_USER = f"""query ($filter: MemoryFilter) {{
  user(userId: "ada") {{ memories(first: 100, filter: $filter) {{ nodes {{ {FORMED} }} }} }}
}}"""
SUMMARY = f'query {{ session(sessionId: "chat") {{ summary {{ {FORMED} }} }} }}'

SEARCH = """query ($q: String!) { search(query: $q, userId: "ada", scope: [MEMORIES]) {
  edges { node { ... on Memory { content } } }
} }"""

FACTS = [
    "The harbour festival begins on the third of June with a boat race.",
    "My sister rents the blue cottage behind the old lighthouse.",
    "We need twelve lanterns for the boat race at the harbour.",
    "The lighthouse keeper lends his boat for the festival race.",
    "Bread and soup are sold at the harbour during the festival.",
    "Nobody may swim near the lighthouse while the race is on.",
]


def add(server: Server, *texts: str, session: str = "chat", role: str = "USER", **fields: Any) -> dict[str, Any]:
    said = [{"role": role, "content": text} for text in texts]
    if "at" in fields:
        at = fields.pop("at")
        said = [message | {"createdAt": at} for message in said]
    return server.accepted(ADD, sessionId=session, messages=said, **fields)


def formed(payload: dict[str, Any]) -> list[str]:
    return [memory["content"] for memory in payload["memories"]]


def known(server: Server, **filter: Any) -> list[dict[str, Any]]:
    """Ada's memories, oldest first."""
    return server.graphql(OF_USER, filter=filter or None)["user"]["memories"]["nodes"][::-1]


def said(memories: list[dict[str, Any]]) -> list[str]:
    return [memory["content"] for memory in memories]


def summary(server: Server) -> dict[str, Any] | None:
    return server.graphql(SUMMARY)["session"]["summary"]


@pytest.fixture
def ada(server: Server) -> Server:
    server.accepted(CREATE_USER, userId="ada")
    return server


def test_a_statement_becomes_a_memory_with_its_source(ada: Server) -> None:
    payload = add(ada, "Hi!", "I moved to Turin.", at="2024-05-01T10:00:00Z", userId="ada")
    (memory,) = payload["memories"]
    assert (memory["kind"], memory["method"], memory["content"]) == ("FACT", "RULE", "I moved to Turin")
    assert memory["validFrom"] == "2024-05-01T10:00:00Z"
    assert memory["user"] == {"userId": "ada"}
    assert memory["session"] == {"sessionId": "chat"}
    assert memory["sources"]["nodes"] == [{"sequence": 2, "content": "I moved to Turin."}]
    assert known(ada) == [memory]


@pytest.mark.parametrize("role", ["ASSISTANT", "SYSTEM", "DEVELOPER", "TOOL"])
def test_only_users_speak_of_themselves(ada: Server, role: str) -> None:
    assert formed(add(ada, "I live in Turin.", role=role, userId="ada")) == []


def test_nothing_is_formed_where_the_application_says_so(ada: Server) -> None:
    first = add(ada, "I live in Turin.", *FACTS, userId="ada", formMemories=False)
    assert first["memories"] == []
    ada.accepted(UPDATE_MESSAGE, id=first["messages"][0]["id"], content="I live in Milan.")
    ada.accepted(END_SESSION, sessionId="chat")
    assert known(ada, history=True) == []


def test_a_newer_statement_supersedes_the_older_one_and_both_are_kept(ada: Server) -> None:
    add(ada, "I live in Turin.", at="2020-01-01T00:00:00Z", userId="ada")
    (newer,) = add(ada, "I moved to Milan.", at="2022-01-01T00:00:00Z", session="other", userId="ada")["memories"]
    assert newer["supersedes"] == [{"content": "I live in Turin"}]
    assert said(known(ada)) == ["I moved to Milan"]
    older = known(ada, history=True)[0]
    assert (older["content"], older["validUntil"]) == ("I live in Turin", "2022-01-01T00:00:00Z")
    assert said(known(ada, asOf="2021-01-01T00:00:00Z")) == ["I live in Turin"]


def test_what_may_be_said_of_several_supersedes_nothing(ada: Server) -> None:
    add(ada, "I'm allergic to nuts.", "I'm allergic to fish.", "My dog's name is Rex.", userId="ada")
    add(ada, "My dog's name is Max.", "I like hiking.", userId="ada")
    assert len(known(ada)) == 5


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("I love mushrooms.", "I hate mushrooms now."),
        ("I'm vegetarian.", "I'm not vegetarian any more."),
        ("I live in Turin.", "I no longer live in Turin."),
        ("I'm allergic to cats.", "I'm not allergic to cats any more."),
        ("Ich liebe Pilze.", "Ich hasse Pilze."),
        ("Soy vegetariana.", "Ya no soy vegetariana."),
        ("J'adore le jazz.", "Je n'aime plus le jazz."),
    ],
)
def test_a_contradiction_supersedes_what_was_said_of_the_same_thing(ada: Server, older: str, newer: str) -> None:
    (before,) = formed(add(ada, older, at="2020-01-01T00:00:00Z", userId="ada"))
    (after,) = add(ada, newer, at="2022-01-01T00:00:00Z", session="other", userId="ada")["memories"]
    assert after["supersedes"] == [{"content": before}]
    assert said(known(ada)) == [after["content"]]
    assert said(known(ada, asOf="2021-01-01T00:00:00Z")) == [before]


def test_what_is_denied_of_another_thing_supersedes_nothing(ada: Server) -> None:
    add(ada, "I'm vegan.", "I love mushrooms.", at="2020-01-01T00:00:00Z", userId="ada")
    add(ada, "I'm not vegetarian any more.", "I hate olives.", at="2022-01-01T00:00:00Z", userId="ada")
    assert said(known(ada)) == ["I'm vegan", "I love mushrooms", "I'm not vegetarian any more", "I hate olives"]
    # A newer diet ends both.
    add(ada, "I'm pescatarian.", at="2023-01-01T00:00:00Z", userId="ada")
    assert said(known(ada)) == ["I love mushrooms", "I hate olives", "I'm pescatarian"]


def test_a_contradiction_that_comes_first_ends_what_was_said_before_it(ada: Server) -> None:
    add(ada, "I'm not vegetarian any more.", at="2022-01-01T00:00:00Z", userId="ada")
    (older,) = add(ada, "I'm vegetarian.", at="2020-01-01T00:00:00Z", userId="ada")["memories"]
    assert older["supersededBy"] == {"content": "I'm not vegetarian any more"}
    assert said(known(ada)) == ["I'm not vegetarian any more"]


def test_text_to_be_answered_forms_no_memory(ada: Server) -> None:
    letter = "Please reply to this mail.\n\nHello, my name is Greta and I live in Kiel."
    assert formed(add(ada, letter, "I moved to Figma.", userId="ada")) == []
    parts = [{"type": "text", "text": part} for part in letter.split("\n\n")]
    told = [{"role": "USER", "parts": parts}, {"role": "USER", "content": "I went strict vegan."}]
    payload = ada.accepted(ADD, sessionId="chat", messages=told)
    assert formed(payload) == ["I went strict vegan"]


def test_an_older_statement_that_comes_later_takes_its_place_in_the_past(ada: Server) -> None:
    add(ada, "I live in Turin.", at="2018-01-01T00:00:00Z", userId="ada")
    add(ada, "I live in Milan.", at="2022-01-01T00:00:00Z", userId="ada")
    (late,) = add(ada, "I live in Genoa.", at="2020-01-01T00:00:00Z", userId="ada")["memories"]
    assert late["supersededBy"] == {"content": "I live in Milan"}
    assert late["supersedes"] == [{"content": "I live in Turin"}]
    assert said(known(ada)) == ["I live in Milan"]
    for year, town in ((2019, "Turin"), (2021, "Genoa"), (2023, "Milan")):
        assert said(known(ada, asOf=f"{year}-01-01T00:00:00Z")) == [f"I live in {town}"]


def test_what_is_known_already_gains_a_source(ada: Server) -> None:
    (first,) = add(ada, "I'm vegan.", userId="ada")["memories"]
    (again,) = add(ada, "Hm...", "  I'm \u00a0 vegan!!", session="other", userId="ada")["memories"]
    assert again["id"] == first["id"]
    assert [source["content"] for source in again["sources"]["nodes"]] == ["I'm vegan.", "  I'm \u00a0 vegan!!"]
    assert len(known(ada, history=True)) == 1


def test_what_is_known_gains_a_hundred_sources_at_most_and_each_once(ada: Server) -> None:
    once = add(ada, "I'm vegan. I like tea, I'm vegan.", userId="ada")
    assert sorted(len(memory["sources"]["nodes"]) for memory in once["memories"]) == [1] * len(once["memories"])
    for _ in range(2):
        add(ada, *["I'm vegan."] * 60, userId="ada")
    rows = ada.tables()["memory_sources"]
    assert len(rows) == SOURCES_OF_MEMORY + len(once["memories"]) - 1
    assert told(known(ada, kinds=["FACT"])) == [("I'm vegan", "chat", list(range(1, SOURCES_OF_MEMORY + 1)))]


def test_what_was_declared_is_not_formed_again(ada: Server) -> None:
    ada.accepted(CREATE_MEMORY, userId="ada", kind="FACT", content="I'm Vegan")
    assert add(ada, "I'm vegan.", userId="ada")["memories"] == []
    assert [memory["method"] for memory in known(ada, history=True)] == ["DECLARED"]


def test_a_retry_is_told_what_was_formed_the_first_time(ada: Server) -> None:
    batch = [{"messageId": "m", "role": "USER", "content": "I live in Turin."}]
    first = ada.accepted(ADD, sessionId="chat", userId="ada", messages=batch)
    again = ada.accepted(ADD, sessionId="chat", userId="ada", messages=batch)
    assert again["deduplicated"] == 1
    assert again["memories"] == first["memories"] != []
    assert len(known(ada, history=True)) == 1


def test_users_do_not_share_what_is_known(ada: Server) -> None:
    ada.accepted(CREATE_USER, userId="bo")
    add(ada, "I live in Turin.", userId="ada")
    (memory,) = add(ada, "I live in Turin.", "I live in Milan.", session="bo", userId="bo")["memories"][:1]
    assert memory["user"] == {"userId": "bo"}
    assert said(known(ada)) == ["I live in Turin"]


def test_what_nobodys_session_told_goes_along_to_its_user(ada: Server) -> None:
    assert formed(add(ada, "I live in Turin.")) == ["I live in Turin"]
    assert formed(add(ada, "I live in Turin.", session="other")) == ["I live in Turin"]
    add(ada, "Hello again", userId="ada")
    assert said(known(ada)) == ["I live in Turin"]
    add(ada, "I live in Milan.", session="new", userId="ada")
    assert said(known(ada)) == ["I live in Milan"]


def test_an_edited_message_loses_what_it_said_and_is_looked_at_again(ada: Server) -> None:
    add(ada, "I live in Turin.", at="2020-01-01T00:00:00Z", userId="ada")
    payload = add(ada, "I live in Milan.", at="2022-01-01T00:00:00Z", userId="ada")
    ada.accepted(UPDATE_MESSAGE, id=payload["messages"][0]["id"], content="I live in Genoa, I mean.")
    assert said(known(ada, history=True)) == ["I live in Turin", "I live in Genoa"]
    assert said(known(ada)) == ["I live in Genoa"]
    ada.accepted(UPDATE_MESSAGE, id=payload["messages"][0]["id"], content="Forget it.")
    assert said(known(ada, history=True)) == ["I live in Turin"]


def test_a_session_takes_along_what_only_it_told(ada: Server) -> None:
    add(ada, "I'm vegan.", "I like hiking.", userId="ada")
    add(ada, "I'm vegan.", session="other", userId="ada")
    ada.accepted(DELETE_SESSION, sessionId="chat")
    (left,) = known(ada, history=True)
    assert (left["content"], left["session"]) == ("I'm vegan", {"sessionId": "other"})
    ada.accepted(DELETE_SESSION, sessionId="other", permanently=True)
    assert known(ada, history=True) == []


def test_permanent_deletion_too_leaves_what_another_session_told(ada: Server) -> None:
    add(ada, "I'm vegan.", userId="ada")
    add(ada, "I'm vegan.", session="other", userId="ada")
    ada.accepted(DELETE_SESSION, sessionId="chat", permanently=True)
    (left,) = known(ada)
    assert [source["sequence"] for source in left["sources"]["nodes"]] == [1]
    assert left["session"] == {"sessionId": "other"}


def give_to_bo(server: Server, session: str) -> list[dict[str, Any]]:
    """Bo's memories, once a session of Ada's is hers."""
    server.accepted(CREATE_USER, userId="bo")
    server.accepted(UPDATE_SESSION, sessionId=session, userId="bo")
    return server.graphql(OF_USER.replace('"ada"', '"bo"'), filter=None)["user"]["memories"]["nodes"]


def told(memories: list[dict[str, Any]]) -> list[tuple[str, str, list[int]]]:
    """Of each its content, its session and the sequences that it rests on."""
    return sorted(
        (row["content"], row["session"]["sessionId"], [source["sequence"] for source in row["sources"]["nodes"]])
        for row in memories
    )


def test_what_two_sessions_told_is_known_of_both_owners_once_one_is_anothers(ada: Server) -> None:
    add(ada, "I'm vegan.", "I like hiking.", userId="ada")
    add(ada, "I'm vegan.", "I live in Rome.", session="other", userId="ada")
    add(ada, "I live in Rome.", userId="ada")
    taken = give_to_bo(ada, "chat")
    assert told(taken) == [("I like hiking", "chat", [2]), ("I live in Rome", "chat", [3]), ("I'm vegan", "chat", [1])]
    assert told(known(ada, history=True)) == [("I live in Rome", "other", [2]), ("I'm vegan", "other", [1])]


@pytest.mark.parametrize("gone", ["chat", "other"])
def test_what_is_left_of_one_session_stays_with_its_owner(ada: Server, gone: str) -> None:
    first = add(ada, "I'm vegan.", userId="ada")
    second = add(ada, "I'm vegan.", session="other", userId="ada")
    ada.accepted(DELETE_MESSAGE, id={"chat": first, "other": second}[gone]["messages"][0]["id"])
    left = [("I'm vegan", "other" if gone == "chat" else "chat", [1])]
    assert (told(give_to_bo(ada, "chat")), told(known(ada))) == (([], left) if gone == "chat" else (left, []))


def test_what_is_left_of_a_deleted_session_goes_to_nobody(ada: Server) -> None:
    first = add(ada, "I'm vegan.", userId="ada")
    add(ada, "I'm vegan.", session="other", userId="ada")
    ada.accepted(DELETE_MESSAGE, id=first["messages"][0]["id"])
    ada.accepted(DELETE_SESSION, sessionId="other")
    assert (give_to_bo(ada, "chat"), known(ada)) == ([], [])


def test_what_stays_may_move_to_the_session_that_told_it_when_that_one_goes(ada: Server) -> None:
    add(ada, "I'm vegan.", userId="ada")
    second = add(ada, "I'm vegan.", session="other", userId="ada")
    ada.accepted(DELETE_MESSAGE, id=second["messages"][0]["id"])
    add(ada, "I'm vegan.", session="third", userId="ada")
    assert told(give_to_bo(ada, "third")) == [("I'm vegan", "third", [1])]
    assert told(known(ada)) == [("I'm vegan", "chat", [1])]


def test_what_comes_with_a_session_takes_its_place_in_what_is_known(ada: Server) -> None:
    add(ada, "I live in Turin.", at="2018-01-01T00:00:00Z", userId="ada")
    add(ada, "I live in Milan.", "I'm vegan.", at="2022-01-01T00:00:00Z", userId="ada")
    add(ada, "I live in Genoa.", "I'm vegan.", at="2020-01-01T00:00:00Z", session="other")
    add(ada, "I live in Rome.", at="2024-01-01T00:00:00Z", session="other")
    add(ada, "Hello", session="other", userId="ada")
    assert sorted(said(known(ada))) == ["I live in Rome", "I'm vegan"]
    assert len(said(known(ada, history=True))) == 5
    for year, town in ((2019, "Turin"), (2021, "Genoa"), (2023, "Milan"), (2025, "Rome")):
        held = said(known(ada, asOf=f"{year}-01-01T00:00:00Z"))
        assert [content for content in held if "live" in content] == [f"I live in {town}"]
    assert {row["content"]: len(row["sources"]["nodes"]) for row in known(ada)} == {"I'm vegan": 2, "I live in Rome": 1}


def test_nothing_names_what_went_to_somebody_else_in_its_place(ada: Server) -> None:
    add(ada, "I live in Turin.", session="other", userId="ada")
    add(ada, "I live in Milan.", userId="ada")
    assert [row["supersededBy"] for row in known(ada, history=True)] == [{"content": "I live in Milan"}, None]
    (taken,) = give_to_bo(ada, "chat")
    assert (taken["content"], taken["supersedes"]) == ("I live in Milan", [])
    assert [row["supersededBy"] for row in known(ada, history=True)] == [None]


def test_what_a_batch_ends_itself_comes_back_ended(ada: Server) -> None:
    older, newer = add(ada, "I live in Turin.", "I live in Milan.", userId="ada")["memories"]
    assert older["supersededBy"] == {"content": newer["content"]} == {"content": "I live in Milan"}
    assert older["validUntil"] is not None


def test_a_refused_batch_forms_nothing(ada: Server) -> None:
    ada.accepted(ADD, sessionId="chat", messages=[{"messageId": "m", "role": "USER", "content": "Hi"}])
    batch = [{"role": "USER", "content": "I live in Turin."}, {"messageId": "m", "role": "USER", "content": "Ho"}]
    assert ada.refused(ADD, sessionId="chat", userId="ada", messages=batch)["code"] == "CONFLICT"


def test_a_conversation_is_summarised_in_sentences_of_it(ada: Server) -> None:
    quiet = add(ada, *FACTS, *["Ok."] * 13, userId="ada")
    assert quiet["memories"] == []
    assert summary(ada) is None
    (made,) = add(ada, "Do the lanterns for the boat race cost much?", userId="ada")["memories"]
    assert (made["kind"], made["method"]) == ("SUMMARY", "EXTRACTIVE")
    assert summary(ada) == made
    lines = made["content"].split("\n")
    assert lines == [line for line in FACTS if line in lines]
    assert 3 <= len(lines) <= 8
    assert [source["content"] for source in made["sources"]["nodes"]] == lines


def test_a_session_that_ends_is_summarised_and_once(ada: Server) -> None:
    add(ada, *FACTS, userId="ada")
    ada.accepted(END_SESSION, sessionId="chat")
    assert summary(ada) is not None
    before = ada.tables()["memories"]
    ada.accepted(END_SESSION, sessionId="chat")
    assert ada.tables()["memories"] == before


def test_a_newer_summary_supersedes_the_older_one_and_may_quote_it(ada: Server) -> None:
    add(ada, *FACTS, *["Ok."] * 14, userId="ada")
    first = summary(ada)
    assert first is not None
    later = [f"The ferry number {n} carries {n} apples and {n + 1} pears to the island." for n in range(40)]
    (second,) = add(ada, *later, userId="ada")["memories"]
    assert [older["content"] for older in second["supersedes"]] == [first["content"]]
    lines = second["content"].split("\n")
    assert set(lines) & set(FACTS)
    assert set(lines) & set(later)
    assert [source["content"] for source in second["sources"]["nodes"]] == lines


@pytest.mark.parametrize("method", ["declared before", "declared after"])
def test_a_declared_summary_is_not_superseded_by_sentences(ada: Server, method: str) -> None:
    if method == "declared after":
        add(ada, *FACTS, *["Ok."] * 14, userId="ada")
    else:
        add(ada, "Hello", userId="ada")
    ada.accepted(CREATE_MEMORY, sessionId="chat", kind="SUMMARY", content="A festival is prepared.")
    add(ada, *FACTS, *["Ok."] * 60, userId="ada")
    ada.accepted(END_SESSION, sessionId="chat")
    stands = summary(ada)
    assert stands is not None
    assert stands["content"] == "A festival is prepared."


@pytest.mark.parametrize("way", ["edit", "delete", "range"])
def test_no_sentence_of_a_message_survives_in_a_summary(ada: Server, way: str) -> None:
    payload = add(ada, *FACTS, *["Ok."] * 14, userId="ada")
    add(ada, *[f"The ferry number {n} carries {n} apples to the island." for n in range(40)], userId="ada")
    texts = [memory["content"] for memory in known(ada, kinds=["SUMMARY"], history=True)]
    assert len(texts) == 2
    quoted = next(fact for fact in FACTS if all(fact in text for text in texts))
    sequence = FACTS.index(quoted) + 1
    id = payload["messages"][sequence - 1]["id"]
    if way == "edit":
        ada.accepted(UPDATE_MESSAGE, id=id, content="Nothing.")
    elif way == "delete":
        ada.accepted(DELETE_MESSAGE, id=id)
    else:
        ada.accepted(DELETE_MESSAGES, sessionId="chat", fromSequence=sequence, toSequence=sequence)
    for memory in known(ada, kinds=["SUMMARY"], history=True):
        assert quoted not in memory["content"]
        assert [source["content"] for source in memory["sources"]["nodes"]] == memory["content"].split("\n")
    found = ada.graphql(SEARCH, q=quoted)["search"]["edges"]
    assert quoted not in str(found)
    ada.accepted(DELETE_MESSAGES, sessionId="chat")
    assert known(ada, history=True) == []


def test_a_summary_that_the_application_rewrote_keeps_its_words_and_loses_the_source(ada: Server) -> None:
    payload = add(ada, *FACTS, *["Ok."] * 14, userId="ada")
    (made,) = known(ada, kinds=["SUMMARY"])
    ada.accepted(UPDATE_MEMORY, id=made["id"], content="A festival is prepared.")
    quoted = made["content"].split("\n")
    ada.accepted(DELETE_MESSAGE, id=payload["messages"][FACTS.index(quoted[0])]["id"])
    (left,) = known(ada, kinds=["SUMMARY"])
    assert left["content"] == "A festival is prepared."
    assert [source["content"] for source in left["sources"]["nodes"]] == quoted[1:]


def test_an_erasure_reaches_all_that_was_formed(ada: Server) -> None:
    add(ada, "I live in Turin.", *FACTS, *["Ok."] * 14, userId="ada")
    receipt = ada.accepted(ERASE, userId="ada")["receipt"]
    assert receipt == {"memories": 2}
    tables = ada.tables()
    assert tables["memories"] == tables["memory_sources"] == []


def test_an_export_takes_along_what_formation_needs_to_know(ada: Server, fresh: Fresh, tmp_path: Path) -> None:
    add(ada, "I live in Turin.", at="2020-01-01T00:00:00Z", userId="ada")
    add(ada, *FACTS, *["Ok."] * 14, userId="ada")
    add(ada, "I live in Rome.", session="quiet", userId="ada", formMemories=False)
    first, again = tmp_path / "first.ndjson", tmp_path / "again.ndjson"
    with first.open("wb") as file:
        export_file(file, Settings(database_url=ada.place.url))
    place = fresh()
    copy = Settings(database_url=place.url)
    with first.open("rb") as file:
        import_file(file, copy, size=None)
    with again.open("wb") as file:
        export_file(file, copy)
    assert again.read_bytes() == first.read_bytes()
    other = Server(place)
    try:
        assert said(known(other)) == said(known(ada))
        quiet = other.graphql('{ session(sessionId: "quiet") { messages { nodes { id } } } }')["session"]["messages"]
        other.accepted(UPDATE_MESSAGE, id=quiet["nodes"][0]["id"], content="I live in Genoa.")
        (moved,) = add(other, "I live in Milan.", session="later", userId="ada")["memories"]
        assert moved["supersedes"] == [{"content": "I live in Turin"}]
        other.accepted(DELETE_MESSAGES, sessionId="chat")
        assert said(known(other, history=True)) == ["I live in Milan"]
    finally:
        other.close()


def test_an_imported_conversation_forms_memories_once(ada: Server, tmp_path: Path) -> None:
    add(ada, "I live in Milan.", at="2022-01-01T00:00:00Z", userId="ada")
    lines: list[dict[str, Any]] = [{"type": "session", "sessionId": "old", "userId": "ada"}]
    for year, text, more in [
        (2018, "I live in Turin.", {}),
        (2019, "I'm vegan.", {}),
        (2020, "I like hiking.", {"formMemories": False}),
    ]:
        line = {"type": "message", "sessionId": "old", "role": "USER", "content": text}
        lines.append({**line, "createdAt": f"{year}-01-01T00:00:00Z", **more})
    (tmp_path / "old.ndjson").write_text("\n".join(json.dumps(line) for line in lines))
    for _ in range(2):
        with (tmp_path / "old.ndjson").open("rb") as file:
            import_file(file, Settings(database_url=ada.place.url), size=None)
        assert sorted(said(known(ada))) == ["I live in Milan", "I'm vegan"]
        assert len(known(ada, history=True)) == 3


def test_what_the_application_has_replaced_is_left_as_it_is(ada: Server) -> None:
    (turin,) = add(ada, "I live in Turin.", at="2020-01-01T00:00:00Z", userId="ada")["memories"]
    declared = {"userId": "ada", "kind": "FACT", "content": "Travels", "validFrom": "2021-01-01T00:00:00Z"}
    ada.accepted(CREATE_MEMORY, **declared, supersedes=[turin["id"]])
    (milan,) = add(ada, "I live in Milan.", at="2022-01-01T00:00:00Z", userId="ada")["memories"]
    assert milan["supersedes"] == []
    (before,) = [memory for memory in known(ada, history=True) if memory["id"] == turin["id"]]
    assert before["supersededBy"] == {"content": "Travels"}
    assert before["validUntil"] == "2021-01-01T00:00:00Z"


def test_summaries_and_facts_are_the_same_whenever_they_are_made(ada: Server, start: Start) -> None:
    other = start()
    other.accepted(CREATE_USER, userId="ada")
    for server in (ada, other):
        add(server, *FACTS, "I live in Turin.", *["Ok."] * 14, userId="ada")
    assert said(known(ada)) == said(known(other))
