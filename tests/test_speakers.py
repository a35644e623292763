"""Several speakers in a session: whose a memory is, and what is kept apart."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.keys import fingerprint, key_of, user_key
from recallql.commands.archive import export_file, import_file
from recallql.settings import Settings
from tests.documents import CREATE_USER, END_SESSION, UPDATE_MESSAGE, mutation
from tests.places import Fresh, older_place
from tests.servers import Server

MEMORY = "id kind content about method validUntil supersededBy { content } user { userId }"
DECLARE = mutation("createMemory", f"memory {{ {MEMORY} }}")
ADD = mutation("addMessages", f"messages {{ id }} memories {{ {MEMORY} }}")
OF_USER = f"""query ($filter: MemoryFilter) {{
  user(userId: "ada") {{ summary {{ content }} memories(first: 100, filter: $filter) {{ nodes {{ {MEMORY} }} }} }}
}}"""


def declare(server: Server, content: str, **fields: Any) -> dict[str, Any]:
    return server.accepted(DECLARE, **{"userId": "ada", "kind": "FACT", "content": content} | fields)["memory"]


def known(server: Server, **filter: Any) -> list[tuple[str, str | None]]:
    """Ada's memories and whom they are about, oldest first."""
    nodes = server.graphql(OF_USER, filter=filter or None)["user"]["memories"]["nodes"]
    return [(node["content"], node["about"]) for node in reversed(nodes)]


def test_a_declared_memory_says_whom_it_is_about(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada")
    assert declare(server, "Lives in Turin.")["about"] is None
    assert declare(server, "Lives in Rome.", about="Bob Smith")["about"] == "Bob Smith"
    assert declare(server, "Lives in Kiel.", about="Greta")["about"] == "Greta"
    assert known(server, about=["bob  SMITH"]) == [("Lives in Rome.", "Bob Smith")]
    assert known(server, about=["Greta", "Bob Smith", "Ada"]) == [
        ("Lives in Rome.", "Bob Smith"),
        ("Lives in Kiel.", "Greta"),
    ]
    assert known(server, about=[]) == []
    assert len(known(server)) == 3
    for about, code in (("", "INVALID"), (" ", "INVALID"), ("x" * 65537, "TOO_LARGE")):
        fault = server.refused(DECLARE, userId="ada", kind="FACT", content="x", about=about)
        assert (fault["code"], fault["path"]) == (code, ["about"])


def test_a_retry_that_is_about_somebody_else_is_another_memory(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada")
    first = declare(server, "Lives in Rome.", memoryId="m", about="Bob")
    assert declare(server, "Lives in Rome.", memoryId="m", about="Bob") == first
    for about in ({"about": "Greta"}, {}):
        fault = server.refused(DECLARE, userId="ada", kind="FACT", content="Lives in Rome.", memoryId="m", **about)
        assert fault["code"] == "CONFLICT"


def test_a_memory_supersedes_only_what_is_about_the_same_person(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada")
    own = declare(server, "Lives in Turin.")["id"]
    bob = declare(server, "Lives in Rome.", about="Bob")["id"]
    for about, older in ({"about": "Bob"}, own), ({}, bob), ({"about": "Greta"}, bob):
        fault = server.refused(DECLARE, userId="ada", kind="FACT", content="x", supersedes=[older], **about)
        assert (fault["code"], fault["path"]) == ("INVALID", ["supersedes", "0"])
    declare(server, "Lives in Milan.", about="BOB", supersedes=[bob])
    assert known(server) == [("Lives in Turin.", None), ("Lives in Milan.", "BOB")]


def test_a_summary_about_somebody_else_is_not_the_users(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada")
    declare(server, "Ada's.", kind="SUMMARY")
    declare(server, "Bob's.", kind="SUMMARY", about="Bob")
    assert known(server) == [("Ada's.", None), ("Bob's.", "Bob")]
    assert server.graphql(OF_USER)["user"]["summary"] == {"content": "Ada's."}
    declare(server, "Bob's second.", kind="SUMMARY", about="bob")
    assert known(server) == [("Ada's.", None), ("Bob's second.", "bob")]


def test_an_export_keeps_whom_memories_are_about(server: Server, fresh: Fresh) -> None:
    server.accepted(CREATE_USER, userId="ada")
    declare(server, "Lives in Rome.", about="Bob Smith")
    copy = fresh()
    exported, again = io.BytesIO(), io.BytesIO()
    export_file(exported, Settings(database_url=server.place.url))
    assert b'"about":"Bob Smith"' in exported.getvalue()
    import_file(io.BytesIO(exported.getvalue()), Settings(database_url=copy.url), size=None)
    export_file(again, Settings(database_url=copy.url))
    assert again.getvalue() == exported.getvalue()
    other = Server(copy)
    try:
        assert known(other, about=["bob smith"]) == [("Lives in Rome.", "Bob Smith")]
    finally:
        other.close()


@pytest.mark.sqlite
def test_memories_of_before_the_upgrade_are_the_users_own(tmp_path: Path) -> None:
    place = older_place(tmp_path, "0004")
    user, key, now = user_key("default", "ada"), key_of("memory", "old"), "2025-01-01T00:00:00"
    common = {"project": "default", "metadata": "{}", "created_at": now, "updated_at": now, "version": 1}
    place.insert("users", [common | {"key": user, "user_id": "ada", "about": ""}])
    formed = {"user_key": user, "kind": "FACT", "content": "I live in Turin", "method": "RULE", "subject": "home"}
    formed |= {"digest": key, "fingerprint": fingerprint("I live in Turin"), "valid_from": now}
    place.insert("memories", [common | {"key": key} | formed])
    server = Server(place)
    try:
        assert known(server) == [("I live in Turin", None)]
        (newer,) = server.accepted(
            ADD, sessionId="chat", userId="ada", messages=[{"role": "USER", "content": "I live in Milan."}]
        )["memories"]
        assert (newer["content"], newer["about"]) == ("I live in Milan", None)
        assert known(server) == [("I live in Milan", None)]
    finally:
        server.close()


def say(server: Server, *lines: tuple[str | None, str], session: str = "chat", **fields: Any) -> list[Any]:
    """Adds USER messages with these names; returns contents of memories and whom they are about."""
    messages = [{"role": "USER", "name": name, "content": content} for name, content in lines]
    memories = server.accepted(ADD, sessionId=session, messages=messages, **fields)["memories"]
    return [(memory["content"], memory["about"]) for memory in memories]


ADA = {"userId": "ada", "firstName": "Ada", "lastName": "Lovelace", "email": "Countess.L@example.com"}
NAMED: dict[str, dict[str, Any]] = {
    "all": {"userId": "all-1", "firstName": "Ada", "lastName": "Lovelace", "email": "Countess.L@Example.com"},
    "shown": {"userId": "shown-1", "name": "Dr. Ada K. LOVELACE", "email": "a.k@example.com"},
    "last": {"userId": "last-1", "lastName": "Lovelace"},
}
"""Users by the names that they have."""
ROLE_NAMES = [
    *("user", "User", "USER", " user ", "human", "Human", "HUMAN", "customer", "Customer", "client", "me", "Me"),
    *("Kunde", "Benutzer", "Benutzerin", "Nutzer", "ich", "usuario", "Usuaria", "cliente", "utilisateur", "moi"),
    *("utente", "usuário", "gebruiker", "klant", "användare", "użytkownik", "kullanıcı", "χρήστης", "пользователь"),
    *("用户", "ユーザー", "사용자", "مستخدم", "उपयोगकर्ता", "Người dùng", "người_dùng", "ｕｓｅｒ"),
]
OWN = [
    *[("all", name) for name in (None, "", " ", *ROLE_NAMES)],
    *[("all", name) for name in ("all-1", "ALL-1", "all_1", "Ada", "ADA", "ada", " Ada ", "Ａｄａ")],
    *[("all", name) for name in ("Ada Lovelace", "ada lovelace", "ADA_LOVELACE", "ada-lovelace", "Ada  Lovelace")],
    *[("all", name) for name in ("countess.l@example.com", "COUNTESS.L@EXAMPLE.COM", "Countess.L", "countess_l")],
    *[("shown", name) for name in ("Dr. Ada K. Lovelace", "dr_ada_k_lovelace", "DR ADA K LOVELACE", "a.k", "A_K")],
    *[("last", name) for name in ("Lovelace", "LOVELACE", "last-1")],
]
OTHERS = [
    *[("all", name) for name in ("Bob", "Adam", "Ada Byron", "Lovelace", "Countess", "Lovelace Ada", "Lovelace, Ada")],
    *[("all", name) for name in ("assistant", "Ben", "user 2", "users", "customer support", "countess.l@example.org")],
    *[("shown", name) for name in ("Ada", "Lovelace", "Ada Lovelace")],
    *[("last", name) for name in ("Ada", "Ada Lovelace")],
]
WHO_SPEAKS = """query ($id: String!) { session(sessionId: $id) { messages(first: 100) {
  nodes { name memories { nodes { about } } } } } }"""


def spoken(kind: str) -> list[dict[str, Any]]:
    """A message under each name, which all say the same."""
    names = [name for each, name in [*OWN, *OTHERS] if each == kind]
    return [{"role": "USER", "name": name, "content": "I live in Turin."} for name in names]


def request(server: Server, kind: str) -> None:
    server.accepted(CREATE_USER, **NAMED[kind])
    server.accepted(ADD, sessionId=kind, userId=NAMED[kind]["userId"], messages=spoken(kind))


def import_lines(server: Server, kind: str) -> None:
    lines = [{"type": "user", **NAMED[kind]}, {"type": "session", "sessionId": kind, "userId": NAMED[kind]["userId"]}]
    times = (f"2024-01-01T00:{minute:02}:00Z" for minute in range(60))
    said = zip(spoken(kind), [*times, *(f"2024-01-01T01:{minute:02}:00Z" for minute in range(60))], strict=False)
    lines += [{"type": "message", "sessionId": kind, **message, "createdAt": time} for message, time in said]
    file = io.BytesIO("\n".join(map(json.dumps, lines)).encode())
    import_file(file, Settings(database_url=server.place.url), size=None)


@pytest.mark.parametrize("kind", NAMED)
@pytest.mark.parametrize("send", [request, import_lines])
def test_a_statement_is_the_users_own_under_role_words_and_own_names_only(
    server: Server, send: Callable[[Server, str], None], kind: str
) -> None:
    send(server, kind)
    nodes = server.graphql(WHO_SPEAKS, id=kind)["session"]["messages"]["nodes"]
    about = {node["name"]: [memory["about"] for memory in node["memories"]["nodes"]] for node in nodes}
    expected: dict[str | None, list[str | None]] = {name: [None] for each, name in OWN if each == kind}
    assert about == expected | {name: [name] for each, name in OTHERS if each == kind}


def test_the_user_is_called_by_name_also_where_messages_repeat_the_role(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada", name="Ada")
    sentences = [f"My sister number {n} lives in house number {n * 41} of our street." for n in range(8)]
    say(server, *(("User", sentence) for sentence in sentences), session="alone", userId="ada")
    said = [("user", sentence) for sentence in sentences] + [("Bob", "My brother owns seven green boats in Kiel.")]
    say(server, *said, userId="ada")
    for session in ("alone", "chat"):
        server.accepted(END_SESSION, sessionId=session)
    query = "query ($id: String!) { session(sessionId: $id) { summary { content } } }"
    alone, both = (server.graphql(query, id=id)["session"]["summary"]["content"] for id in ("alone", "chat"))
    assert all(line.startswith("My sister") for line in alone.splitlines())
    assert {line.split(":")[0] for line in both.splitlines()} == {"Ada", "Bob"}
    server.accepted(mutation("createSession", "session { id }"), sessionId="now", userId="ada")
    asked = """{ session(sessionId: "now") { context(query: "Where does sister number 3 live?") { text } } }"""
    text = server.graphql(asked)["session"]["context"]["text"]
    assert "Ada: My sister number 3" in text
    assert "user: " not in text.lower()


def test_each_fact_belongs_to_its_speaker_and_supersedes_only_that_speakers(server: Server) -> None:
    server.accepted(CREATE_USER, **ADA)
    say(server, ("Ada", "I live in Turin."), ("Bob", "I live in Rome."), ("Bob", "I'm vegan."), userId="ada")
    assert known(server) == [("I live in Turin", None), ("I live in Rome", "Bob"), ("I'm vegan", "Bob")]
    say(server, ("bob", "I moved to Milan."), ("Ada", "I'm vegan."), session="other", userId="ada")
    assert known(server) == [
        ("I live in Turin", None),
        ("I'm vegan", "Bob"),
        ("I moved to Milan", "bob"),
        ("I'm vegan", None),
    ]
    # The same words of the same speaker are known, those of another one are not.
    assert say(server, ("BOB", "I'm vegan!"), ("Eve", "I'm vegan!"), userId="ada") == [
        ("I'm vegan", "Bob"),
        ("I'm vegan", "Eve"),
    ]


def test_for_a_user_without_names_the_first_name_that_speaks_is_the_user(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada")
    assert say(server, ("Greta", "Hi!"), ("Bob", "I live in Rome."), ("Greta", "I live in Kiel."), userId="ada") == [
        ("I live in Rome", "Bob"),
        ("I live in Kiel", None),
    ]
    assert say(server, ("greta", "I'm vegan.")) == [("I'm vegan", None)]
    assert say(server, ("user", "Hi!"), ("Bob", "I'm a nurse."), session="other", userId="ada") == [
        ("I'm a nurse", "Bob")
    ]
    assert say(server, ("Bob", "I'm a teacher."), session="third", userId="ada") == [("I'm a teacher", None)]


def test_where_the_users_key_or_address_speaks_another_name_is_another_person(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada", email="countess@example.com")
    assert say(server, ("Greta", "I live in Kiel."), ("Ada", "I live in Turin."), userId="ada") == [
        ("I live in Kiel", "Greta"),
        ("I live in Turin", None),
    ]
    assert say(server, ("Greta", "I'm a nurse."), ("countess", "Hi!"), session="other", userId="ada") == [
        ("I'm a nurse", "Greta")
    ]


def test_two_users_names_in_one_session_are_two_speakers(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada", name="Ada")
    server.accepted(CREATE_USER, userId="bob", name="Bob")
    say(server, ("Ada", "I live in Turin."), ("Bob", "I live in Rome."), userId="ada")
    say(server, ("Ada", "I'm vegan."), ("Bob", "I'm a nurse."), session="other", userId="bob")
    assert known(server) == [("I live in Turin", None), ("I live in Rome", "Bob")]
    query = OF_USER.replace('"ada"', '"bob"')
    nodes = server.graphql(query)["user"]["memories"]["nodes"]
    assert [(node["content"], node["about"]) for node in nodes] == [("I'm a nurse", None), ("I'm vegan", "Ada")]


ATTACH = mutation("updateSession", "session { sessionId }")


@pytest.mark.parametrize("with_messages", [True, False])
def test_what_is_about_a_name_stays_so_when_the_session_gets_a_user(server: Server, with_messages: bool) -> None:
    server.accepted(CREATE_USER, **ADA)
    say(server, (None, "I live in Turin."), session="own", userId="ada")
    assert say(
        server,
        ("Bob", "I live in Rome."),
        ("Ada", "I moved to Genoa."),
        ("user", "I'm a nurse."),
        ("Bob", "I'm vegan."),
    ) == [("I live in Rome", "Bob"), ("I moved to Genoa", "Ada"), ("I'm a nurse", None), ("I'm vegan", "Bob")]
    if with_messages:
        say(server, ("Bob", "I moved to Milan."), userId="ada")
    else:
        server.accepted(ATTACH, sessionId="chat", userId="ada")
        say(server, ("Bob", "I moved to Milan."))
    # Ada's own name makes it Ada's own, as it would be had she been the user from the start.
    assert sorted(known(server)) == [
        ("I moved to Genoa", None),
        ("I moved to Milan", "Bob"),
        ("I'm a nurse", None),
        ("I'm vegan", "Bob"),
    ]


def test_who_spoke_before_the_session_had_a_user_stays_another(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada")
    say(server, ("Greta", "I live in Kiel."))
    assert say(server, ("Greta", "I moved to Rome."), userId="ada") == [("I moved to Rome", "Greta")]
    assert known(server) == [("I moved to Rome", "Greta")]


def test_a_session_that_changes_its_user_changes_whose_own_its_statements_are(server: Server) -> None:
    server.accepted(CREATE_USER, **ADA)
    server.accepted(CREATE_USER, userId="bob", name="Bob")
    say(server, ("Ada", "I live in Turin."), ("Bob", "I live in Rome."), ("Eve", "I'm vegan."), userId="bob")
    server.accepted(ATTACH, sessionId="chat", userId="ada")
    assert sorted(known(server)) == [("I live in Rome", "Bob"), ("I live in Turin", None), ("I'm vegan", "Eve")]


def test_a_message_that_is_corrected_keeps_its_speaker(server: Server) -> None:
    server.accepted(CREATE_USER, **ADA)
    messages = [{"role": "USER", "name": "Bob", "content": "I live in Turin."}]
    (message,) = server.accepted(ADD, sessionId="chat", userId="ada", messages=messages)["messages"]
    server.accepted(UPDATE_MESSAGE, id=message["id"], content="I live in Rome.")
    assert known(server, history=True) == [("I live in Rome", "Bob")]


def test_a_name_that_nobody_bears_forms_nothing(server: Server) -> None:
    server.accepted(CREATE_USER, **ADA)
    assert say(server, ("x" * 513, "I live in Turin."), userId="ada") == []


def test_summaries_of_others_do_not_end_the_sessions(server: Server) -> None:
    server.accepted(CREATE_USER, userId="ada")
    say(server, (None, "Hi!"), userId="ada")
    declare(server, "The session's.", kind="SUMMARY", sessionId="chat")
    declare(server, "Bob's.", kind="SUMMARY", sessionId="chat", about="Bob")
    session = server.graphql('{ session(sessionId: "chat") { summary { content } } }')["session"]
    assert session == {"summary": {"content": "The session's."}}
